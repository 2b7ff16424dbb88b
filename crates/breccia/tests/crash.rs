//! Kills a node at random moments under load, and compares what it finds again with what it
//! acknowledged.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::{Connection, Node};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const ROUNDS: usize = 10;
const WRITERS: u64 = 8; // as many as there are goals
const PIPELINE: u64 = 8;
const DEADLINE: Duration = Duration::from_secs(60);

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

/// The commands of one step: a row by itself, a counter, and two rows written together.
fn step(writer: u64, n: u64) -> [Vec<String>; 3] {
    [
        words(&format!("SET row:{writer}:{n} {n}")),
        words(&format!("INCR count:{writer}")),
        words(&format!("MSET {{{writer}}}a {n} {{{writer}}}b {n}")),
    ]
}

/// Writes step after step until the node is gone; the steps acknowledged whole so far are in
/// `acknowledged`.
fn write(address: String, writer: u64, from: u64, acknowledged: Arc<AtomicU64>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut connection = Connection::open(&address);
        let mut n = from;
        loop {
            let commands: Vec<_> = (n..n + PIPELINE).flat_map(|n| step(writer, n)).collect();
            if connection.send(&commands).is_none() {
                return;
            }
            for done in n + 1..=n + PIPELINE {
                for _ in 0..step(writer, done).len() {
                    match connection.reply() {
                        Some(reply) => assert!(!reply.starts_with('-'), "{reply}"),
                        None => return,
                    }
                }
                acknowledged.store(done, Ordering::SeqCst);
            }
            n += PIPELINE;
        }
    })
}

fn get(connection: &mut Connection, key: &str) -> String {
    connection.send(&[words(&format!("GET {key}"))]).expect("sends");
    connection.reply().expect("a reply")
}

/// Checks what one writer finds again, and returns where it goes on.
fn check(connection: &mut Connection, writer: u64, acknowledged: u64, seed: u64) -> u64 {
    for n in 0..acknowledged {
        let found = get(connection, &format!("row:{writer}:{n}"));
        assert_eq!(found, n.to_string(), "writer {writer} lost row {n}, seed {seed}");
    }
    let count: u64 = get(connection, &format!("count:{writer}")).parse().unwrap_or(0);
    let sent = acknowledged + PIPELINE;
    assert!(
        (acknowledged..=sent).contains(&count),
        "writer {writer}: {count} increments, {acknowledged} acknowledged, seed {seed}"
    );
    let pair =
        [get(connection, &format!("{{{writer}}}a")), get(connection, &format!("{{{writer}}}b"))];
    assert_eq!(pair[0], pair[1], "writer {writer}: half of a batch, seed {seed}");
    let last: u64 = pair[0].parse().map_or(0, |last: u64| last + 1);
    assert!(last >= acknowledged, "writer {writer}: an old batch came back, seed {seed}");
    // Settle the counter, so that the next round starts from what is known.
    let settled = [words(&format!("SET count:{writer} {acknowledged}"))];
    connection.send(&settled).expect("sends");
    assert_eq!(connection.reply().as_deref(), Some("+OK"));
    acknowledged
}

#[test]
fn acknowledged_writes_survive_kills_at_any_moment() {
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("dir");
    let mut goals = [0; 8];
    let mut node = Node::start_with(dir.path(), &["--memory", "64MiB"]);
    for _ in 0..ROUNDS {
        let acknowledged: Vec<_> =
            goals.iter().map(|goal| Arc::new(AtomicU64::new(*goal))).collect();
        let writers: Vec<_> = (0..WRITERS)
            .zip(&acknowledged)
            .map(|(writer, acknowledged)| {
                let from = acknowledged.load(Ordering::SeqCst);
                write(node.resp.clone(), writer, from, Arc::clone(acknowledged))
            })
            .collect();
        let start = Instant::now();
        let total = || acknowledged.iter().map(|a| a.load(Ordering::SeqCst)).sum::<u64>();
        let enough = total() + random.random_range(1..1_500);
        while total() < enough {
            assert!(start.elapsed() < DEADLINE, "no progress, seed {seed}");
            std::thread::park_timeout(Duration::from_micros(random.random_range(1..500)));
        }
        node.end_by("-KILL");
        for writer in writers {
            writer.join().expect("a writer");
        }
        node = Node::start_with(dir.path(), &["--memory", "64MiB"]);
        let mut connection = Connection::open(&node.resp);
        for (writer, (goal, acknowledged)) in (0..).zip(goals.iter_mut().zip(&acknowledged)) {
            let acknowledged = acknowledged.load(Ordering::SeqCst);
            *goal = check(&mut connection, writer, acknowledged, seed);
        }
    }
}
