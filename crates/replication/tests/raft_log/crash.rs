//! A loss of power takes back what was not acknowledged, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use breccia_replication::raft::log::{GroupLog, SharedLog};
use breccia_replication::raft::types::{LogId, Vote};
use breccia_store::{MemoryLog, RocksLog, RocksLogOptions};
use openraft::storage::{RaftLogReader, RaftLogStorage};

use crate::support::{
    append, blank, blanks, eventually, group, large, log_id, log_ids, open_default, positions,
    rocks, submit, vote, written,
};

/// One operation of the script that is cut short everywhere.
#[derive(Clone, Copy)]
enum Step {
    Vote(u64),
    Append(u64, u64, u64),
    /// An entry so large that a purge of it is written at once.
    Large(u64),
    Commit(u64),
    Truncate(u64),
    Purge(u64),
}

const SCRIPT: [Step; 17] = [
    Step::Vote(1),
    Step::Append(1, 1, 3),
    Step::Append(1, 4, 6),
    Step::Commit(3),
    Step::Truncate(4),
    Step::Append(2, 5, 7),
    Step::Vote(3),
    Step::Purge(2),
    Step::Large(8),
    Step::Append(1, 9, 9),
    Step::Purge(8),
    Step::Purge(9),
    Step::Append(3, 10, 12),
    Step::Truncate(10),
    Step::Purge(20),
    Step::Append(4, 21, 22),
    Step::Commit(21),
];

/// What a group must be found to be.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    vote: Option<Vote>,
    /// Every entry there ever was and that was not taken back, purged ones included.
    history: BTreeMap<u64, LogId>,
    last: Option<LogId>,
    purged: Option<LogId>,
}

impl Model {
    fn step(&mut self, step: Step) {
        match step {
            Step::Vote(term) => self.vote = Some(vote(term)),
            Step::Append(term, first, last) => {
                self.history.extend((first..=last).map(|index| (index, log_id(term, index))));
                self.last = Some(log_id(term, last));
            }
            Step::Large(index) => self.step(Step::Append(1, index, index)),
            Step::Commit(_) => {}
            Step::Truncate(index) => {
                self.history.retain(|present, _| *present <= index);
                self.last = self.history.values().next_back().copied();
            }
            Step::Purge(index) => {
                let purged = self.at(index);
                self.purged = Some(purged);
                self.last = self.last.max(Some(purged));
            }
        }
    }

    fn at(&self, index: u64) -> LogId {
        self.history.get(&index).copied().unwrap_or_else(|| log_id(3, index))
    }
}

async fn perform(step: Step, group: &mut GroupLog, model: &Model) {
    match step {
        Step::Vote(term) => group.save_vote(&vote(term)).await.expect("saves"),
        Step::Append(term, first, last) => append(group, blanks(term, first..=last)).await,
        Step::Large(index) => append(group, vec![large(index, 2 << 20)]).await,
        Step::Commit(index) => {
            group.save_committed(Some(model.at(index))).await.expect("saves");
        }
        Step::Truncate(index) => {
            group.truncate_after(Some(model.at(index))).await.expect("truncates");
        }
        Step::Purge(index) => group.purge(model.at(index)).await.expect("purges"),
    }
}

/// Whether what is found is what the model says, but for purges that were put off.
async fn is_as(found: &mut GroupLog, model: &Model) -> bool {
    let state = found.get_log_state().await.expect("reads");
    let start = state.last_purged_log_id.map_or(0, |purged| purged.index() + 1);
    let expected: Vec<_> = model.history.range(start..).map(|(_, log_id)| *log_id).collect();
    found.read_vote().await.expect("reads") == model.vote
        && state.last_log_id == model.last
        && state.last_purged_log_id <= model.purged
        && log_ids(found).await == expected
}

/// Does the first `steps` steps, loses power, and looks. Returns how many writes could have
/// been kept, of which `kept` were.
async fn cut(steps: usize, kept: usize) -> usize {
    let store = Arc::new(MemoryLog::default());
    let log = open_default(&store);
    let mut before = group(&log);
    let mut models = vec![Model::default()];
    let mut acknowledged = 0;
    for (at, step) in SCRIPT.iter().take(steps).enumerate() {
        let model = models.last().expect("the first").clone();
        perform(*step, &mut before, &model).await;
        if matches!(step, Step::Vote(_) | Step::Append(..) | Step::Large(_)) {
            acknowledged = at + 1;
        }
        models.push(model);
        models.last_mut().expect("just pushed").step(*step);
    }
    settle(&log, &store, acknowledged == steps).await;
    let unsynced = store.unsynced();
    let store = Arc::new(store.crash(kept));
    drop((before, log));

    let log = open_default(&store);
    let mut found = group(&log);
    let mut is_known = false;
    for model in &models[acknowledged..] {
        is_known = is_known || is_as(&mut found, model).await;
    }
    let positions = positions(&mut found).await;
    assert!(is_known, "after {steps} steps and {kept} kept writes: {positions:?}");
    let state = found.get_log_state().await.expect("reads");
    let committed = found.read_committed().await.expect("reads");
    assert!(committed <= state.last_log_id, "{committed:?} beyond {state:?}");
    let next = state.last_log_id.map_or(1, |last| last.index() + 1);
    append(&mut found, vec![blank(9, next)]).await;
    unsynced
}

/// Waits until nothing waits for the writer: a last write comes out of the queue.
async fn settle(log: &SharedLog, store: &MemoryLog, is_acknowledged: bool) {
    if !is_acknowledged {
        let mut other = log.group(crate::support::SHARD, 99.into()).expect("loads");
        let before = store.unsynced();
        other.purge(log_id(1, 1)).await.expect("purges");
        eventually("the queue is empty", || store.unsynced() > before).await;
        written(log, 1).await;
    }
}

#[tokio::test]
async fn a_crash_loses_only_what_was_not_acknowledged_at_every_point() {
    let mut crashes = 0;
    for steps in 0..=SCRIPT.len() {
        let mut kept = 0;
        while kept <= cut(steps, kept).await {
            kept += 1;
            crashes += 1;
        }
    }
    assert!(crashes > SCRIPT.len() * 3 / 2, "{crashes}");
}

#[tokio::test]
async fn an_entry_that_was_not_acknowledged_is_lost_and_its_callback_never_says_otherwise() {
    let store = Arc::new(MemoryLog::default());
    let log = open_default(&store);
    let mut before = group(&log);
    append(&mut before, blanks(1, 1..=2)).await;
    store.hold();
    let flushed = submit(&mut before, vec![blank(1, 3)]).await;
    eventually("the writer stands still", || store.held() == 1).await;
    let after = Arc::new(store.crash(usize::MAX));
    flushed.await.expect_err("is not written");
    drop((before, log));
    let log = open_default(&after);
    assert_eq!(positions(&mut group(&log)).await, [(1, 1), (1, 2)]);
}

#[tokio::test]
async fn a_torn_tail_of_the_file_loses_only_the_entry_in_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = tempfile::tempdir().expect("a directory");
    let log = open_default(&rocks(directory.path()));
    let mut before = group(&log);
    for index in 1..=3 {
        append(&mut before, vec![large(index, 1_000)]).await;
    }
    copy_files(directory.path(), copy.path());
    let wal = largest_wal(copy.path());
    let length = fs::metadata(&wal).expect("exists").len();
    let file = fs::OpenOptions::new().write(true).open(&wal).expect("opens");
    file.set_len(length - 100).expect("truncates");
    drop(file);

    let log = open_default(&rocks(copy.path()));
    let mut after = group(&log);
    assert_eq!(positions(&mut after).await, [(1, 1), (1, 2)]);
    append(&mut after, vec![blank(2, 3)]).await;
    drop((after, log));
    let log = open_default(&rocks(copy.path()));
    assert_eq!(positions(&mut group(&log)).await, [(1, 1), (1, 2), (2, 3)]);
}

#[tokio::test]
async fn damage_in_the_middle_of_the_file_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = tempfile::tempdir().expect("a directory");
    let log = open_default(&rocks(directory.path()));
    let mut before = group(&log);
    for index in 1..=3 {
        append(&mut before, vec![large(index, 1_000)]).await;
    }
    copy_files(directory.path(), copy.path());
    let wal = largest_wal(copy.path());
    let mut bytes = fs::read(&wal).expect("reads");
    let second = bytes.windows(9).position(|window| window == [2; 9]).expect("the second entry");
    bytes[second] ^= 1;
    fs::write(&wal, bytes).expect("writes");
    let error = RocksLog::open(copy.path(), &RocksLogOptions::default()).err();
    let error = error.expect("is refused").to_string();
    assert!(error.contains("the log is corrupt"), "{error}");
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    for entry in fs::read_dir(from).expect("lists") {
        let file = entry.expect("lists").path();
        let name = file.file_name().expect("a name");
        if name != "LOCK" {
            fs::copy(&file, to.join(name)).expect("copies");
        }
    }
}

fn largest_wal(path: &std::path::Path) -> std::path::PathBuf {
    let files = fs::read_dir(path).expect("lists").map(|entry| entry.expect("lists").path());
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "log"))
        .max_by_key(|file| fs::metadata(file).expect("exists").len())
        .expect("a write-ahead file")
}
