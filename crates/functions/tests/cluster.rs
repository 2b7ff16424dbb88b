//! Functions in a cluster of three nodes: the same answer through any of them, whatever
//! happens to the others.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use breccia_functions::{Asked, FunctionService, Functions, Modules, with_functions};
use breccia_node::{Consistency, MembershipKind, Node, NodeConfig, OpenError, Peering};
use breccia_store::StoreError;
use breccia_types::reduce::Scope;
use breccia_types::{
    Actor, FunctionKind, FunctionLimits, RequestError, RequestId, Table, TableOptions,
};
use bytes::Bytes;

const VISITS: &str = include_str!("../../../examples/functions/text/visits.wat");
const LOOKUP: &str = include_str!("../../../examples/functions/text/lookup.wat");
const TOTAL: &str = include_str!("../../../examples/functions/text/total.wat");
const SHARDS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

struct Member {
    node: Node,
    functions: Functions,
    _directory: tempfile::TempDir,
}

async fn open(path: &Path, join: Option<&Node>) -> (Node, Functions) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_open(path, join).await {
            // A node that has ended lets go of its directory shortly after.
            Err(OpenError::Store(StoreError::InUse { .. })) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened.expect("opens"),
        }
    }
}

async fn try_open(path: &Path, join: Option<&Node>) -> Result<(Node, Functions), OpenError> {
    let peering = Peering {
        listen: "127.0.0.1:0".to_owned(),
        advertise: None,
        join: join.iter().map(|node| node.peer_address()).collect(),
        zone: String::new(),
        membership: MembershipKind::default(),
    };
    let modules = Modules::new();
    let mut config = NodeConfig {
        shards: join.is_none().then_some(SHARDS),
        peering: Some(peering),
        memory_bytes: 64 << 20,
        ..NodeConfig::new(path)
    };
    config.services.push(Arc::new(FunctionService::new(Arc::clone(&modules))));
    config.reduce.reductions =
        with_functions(std::mem::take(&mut config.reduce.reductions), Arc::clone(&modules));
    let node = Node::open(config).await?;
    let functions = Functions::new(node.clone(), modules);
    Ok((node, functions))
}

async fn start(count: usize) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for _ in 0..count {
        join(&mut members).await;
    }
    members
}

async fn join(members: &mut Vec<Member>) {
    let directory = tempfile::tempdir().expect("a directory");
    let (node, functions) =
        open(directory.path(), members.first().map(|member| &member.node)).await;
    members.push(Member { node, functions, _directory: directory });
}

async fn wait_until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until every shard has a replica on every node, and none lags.
async fn settled(members: &[Member]) {
    wait_until("every shard has its replicas", async || {
        let overview = members[0].node.overview().await.expect("an overview");
        overview.shards.iter().all(|shard| {
            shard.leader.is_some()
                && shard.replicas.len() == members.len()
                && shard.replicas.iter().all(|replica| replica.lag == Some(0))
        })
    })
    .await;
}

async fn shut_down(members: Vec<Member>) {
    futures::future::join_all(members.iter().map(|member| member.node.shutdown())).await;
}

async fn table(node: &Node, kind: &str) -> Table {
    let kind = kind.parse().expect("a kind");
    let options = TableOptions { kind, ..TableOptions::default() };
    node.create_table("t", options).await.expect("creates").as_ref().clone()
}

fn asked(function: &str, key: &str) -> Asked {
    Asked {
        function: function.to_owned(),
        kind: None,
        keys: vec![Bytes::copy_from_slice(key.as_bytes())],
        args: Vec::new(),
        request_id: None,
    }
}

async fn deploy(functions: &Functions, name: &str, text: &str) {
    let module = Bytes::copy_from_slice(text.as_bytes());
    functions.deploy(name, FunctionLimits::default(), module).await.expect("deploys");
}

fn number(reply: &Bytes) -> u64 {
    u64::from_le_bytes(reply.as_ref().try_into().expect("eight bytes"))
}

/// Calls until the answer is no mere request for another try.
async fn call(functions: &Functions, table: &Table, call: Asked) -> Result<Bytes, RequestError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match functions.call(table, call.clone()).await {
            Err(error) if error.actor() == Actor::Retry && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            done => return done,
        }
    }
}

fn request_id(number: u32) -> Option<RequestId> {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Some(RequestId::new(id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_deployed_through_one_node_runs_the_same_through_all() {
    let members = start(3).await;
    let table = table(&members[0].node, "plain").await;
    deploy(&members[0].functions, "visits", VISITS).await;
    deploy(&members[0].functions, "lookup", LOOKUP).await;
    settled(&members).await;
    let mut expected = 0;
    for round in 0..4 {
        for member in &members {
            expected += 1;
            for key in ["alice", "bob", "carol"] {
                let reply = call(&member.functions, &table, asked("visits", key)).await;
                assert_eq!(reply.map(|reply| number(&reply)), Ok(expected), "{key}, {round}");
            }
        }
    }
    // Every replica came to the same: each is read on its own node.
    for member in &members {
        let stale = Consistency::Stale { max: Duration::from_secs(30) };
        let here = member.functions.at(member.node.reading(stale));
        wait_until("the replica has followed", async || {
            let found = here.call(&table, asked("lookup", "bob")).await;
            found.is_ok_and(|found| number(&found) == expected)
        })
        .await;
    }
    let missing = members[1].functions.call(&table, asked("lookup", "dave")).await;
    let reason = "there is no such row".to_owned();
    let name = "lookup".to_owned();
    assert_eq!(missing, Err(RequestError::FunctionFailed { name, reason }));
    shut_down(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_a_request_id_is_run_once_however_often_it_is_sent() {
    let members = start(3).await;
    let table = table(&members[0].node, "plain").await;
    deploy(&members[0].functions, "visits", VISITS).await;
    settled(&members).await;
    for member in members.iter().cycle().take(7) {
        // The first of these meets a shard that lacks the module.
        let once = Asked { request_id: request_id(1), ..asked("visits", "alice") };
        let reply = call(&member.functions, &table, once).await.expect("calls");
        assert_eq!(number(&reply), 1);
    }
    let again = call(&members[2].functions, &table, asked("visits", "alice")).await;
    assert_eq!(again.map(|reply| number(&reply)), Ok(2));
    shut_down(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_call_counts_once_while_leaders_move() {
    let members = start(3).await;
    let table = table(&members[0].node, "plain").await;
    deploy(&members[0].functions, "visits", VISITS).await;
    settled(&members).await;
    let stop = Arc::new(AtomicBool::new(false));
    let nodes: Vec<Node> = members.iter().map(|member| member.node.clone()).collect();
    let stopped = Arc::clone(&stop);
    let moving = tokio::spawn(async move {
        let mut moves = 0;
        while !stopped.load(Ordering::Relaxed) {
            nodes[moves % nodes.len()].hand_over().await;
            moves += 1;
        }
    });
    let until = Instant::now() + Duration::from_secs(5);
    let mut calls = 0;
    while Instant::now() < until || calls < 20 {
        let member = &members[calls as usize % members.len()];
        let once = Asked { request_id: request_id(calls), ..asked("visits", "alice") };
        let reply = call(&member.functions, &table, once).await.expect("calls");
        calls += 1;
        assert_eq!(number(&reply), u64::from(calls));
    }
    stop.store(true, Ordering::Relaxed);
    moving.await.expect("moves");
    shut_down(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_later_and_one_that_starts_again_run_what_was_installed_before() {
    let mut members = start(1).await;
    let table = table(&members[0].node, "plain").await;
    deploy(&members[0].functions, "visits", VISITS).await;
    let reply = call(&members[0].functions, &table, asked("visits", "alice")).await;
    assert_eq!(reply.map(|reply| number(&reply)), Ok(1));
    join(&mut members).await;
    join(&mut members).await;
    settled(&members).await;
    // The shards are led by nodes that were not there when the module was installed.
    members[0].node.hand_over().await;
    let reply = call(&members[2].functions, &table, asked("visits", "alice")).await;
    assert_eq!(reply.map(|reply| number(&reply)), Ok(2));
    shut_down(members).await;

    let directory = tempfile::tempdir().expect("a directory");
    let (node, functions) = open(directory.path(), None).await;
    let alone = self::table(&node, "plain").await;
    deploy(&functions, "visits", VISITS).await;
    call(&functions, &alone, asked("visits", "alice")).await.expect("calls");
    node.shutdown().await;
    drop((node, functions));
    let (node, functions) = open(directory.path(), None).await;
    let reply = call(&functions, &alone, asked("visits", "alice")).await;
    assert_eq!(reply.map(|reply| number(&reply)), Ok(2));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_is_a_version_and_no_call_is_done_by_two() {
    let members = start(3).await;
    let table = table(&members[0].node, "plain").await;
    let functions = &members[0].functions;
    deploy(functions, "visits", VISITS).await;
    settled(&members).await;
    let by_hundred =
        VISITS.replace("(i64.const 1)))\n    (call $put", "(i64.const 100)))\n    (call $put");
    assert_ne!(by_hundred, VISITS);
    let (mut last, mut by_one, mut by_many) = (0, 0, 0);
    for round in 0..60 {
        if round == 30 {
            deploy(functions, "visits", &by_hundred).await;
        }
        let member = &members[round % members.len()];
        let reply = call(&member.functions, &table, asked("visits", "alice")).await;
        let reply = number(&reply.expect("calls"));
        match reply - last {
            1 => by_one += 1,
            100 => by_many += 1,
            other => panic!("one call added {other}"),
        }
        last = reply;
    }
    assert!(by_one >= 30 && by_many > 0, "{by_one} {by_many}");
    let listed = members[2].functions.list().await.expect("lists");
    let shown: Vec<_> = listed.iter().map(|f| (f.name.as_str(), f.kind, f.version)).collect();
    assert_eq!(shown, [("visits", FunctionKind::Write, 2)]);
    // The same again is nothing new.
    deploy(&members[1].functions, "visits", &by_hundred).await;
    assert_eq!(members[1].functions.list().await.expect("lists")[0].version, 2);
    members[1].functions.remove("visits").await.expect("removes");
    let gone = members[1].functions.call(&table, asked("visits", "alice")).await;
    assert_eq!(gone, Err(RequestError::UnknownFunction { name: "visits".to_owned() }));
    shut_down(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reduce_function_counts_every_row_once_while_leaders_move() {
    let members = start(3).await;
    let table = table(&members[0].node, "plain").await;
    let mut sum = 0;
    for row in -200..300_i64 {
        let put = table.put(Bytes::from(format!("row{row}")), Bytes::from(row.to_string()));
        members[0].node.write(&table, put, None).await.expect("writes");
        sum += row;
    }
    deploy(&members[0].functions, "total", TOTAL).await;
    settled(&members).await;
    for round in 0..12 {
        let member = &members[round % members.len()];
        let moving = members[(round + 1) % members.len()].node.clone();
        let moved = tokio::spawn(async move { moving.hand_over().await });
        let (scope, meter) = (Scope::default(), Arc::default());
        let reduced = member.functions.reduce(&table, ("total", Bytes::new()), &scope, &meter);
        match reduced.await {
            Ok(reduced) => {
                assert_eq!(reduced.presented, sum.to_string());
                assert_eq!(reduced.coverage.read.rows, 500);
            }
            Err(error) => assert_eq!(error.actor(), Actor::Retry, "{error}"),
        }
        moved.await.expect("moves");
    }
    let wrong = members[0].functions.call(&table, asked("total", "row1")).await;
    assert!(matches!(wrong, Err(RequestError::WrongFunctionKind { .. })), "{wrong:?}");
    shut_down(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_function_that_fails_has_written_nothing_and_harms_nobody() {
    let members = start(1).await;
    let (node, functions) = (&members[0].node, &members[0].functions);
    let table = table(node, "plain").await;
    // Writes, and then does not come to its end.
    let spins = VISITS.replace(
        "    (call $pack (local.get $value) (i32.const 8))))",
        "    (loop $again (br $again)) (i64.const 0)))",
    );
    assert_ne!(spins, VISITS);
    let limits = FunctionLimits { fuel: 1_000_000, ..FunctionLimits::default() };
    functions.deploy("spins", limits, spins.into()).await.expect("deploys");
    deploy(functions, "visits", VISITS).await;
    let failed = functions.call(&table, asked("spins", "alice")).await.expect_err("fails");
    assert!(failed.to_string().contains("fuel"), "{failed}");
    assert_eq!(node.get(&table, b"alice").await, Ok(None));
    // A retry with a request id is told the same, without another run.
    let once = || Asked { request_id: request_id(9), ..asked("spins", "bob") };
    let first = functions.call(&table, once()).await;
    assert_eq!(functions.call(&table, once()).await, first);
    let reply = call(functions, &table, asked("visits", "alice")).await;
    assert_eq!(reply.map(|reply| number(&reply)), Ok(1));
    // A value where eight bytes are expected: a wrong state of affairs is the function's own.
    node.write(&table, table.put(Bytes::from_static(b"x"), Bytes::from_static(b"y")), None)
        .await
        .expect("writes");
    assert!(functions.call(&table, asked("visits", "x")).await.is_ok());
    node.drop_table("t").await.expect("drops");
    let dropped = functions.call(&table, asked("visits", "alice")).await;
    assert_eq!(dropped, Err(RequestError::TableDropped { id: table.id }));
    deploy(functions, "lookup", LOOKUP).await;
    let dropped = functions.call(&table, asked("lookup", "alice")).await;
    assert_eq!(dropped, Err(RequestError::TableDropped { id: table.id }));
    shut_down(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_cannot_be_made_are_refused_before_anything_runs() {
    let members = start(1).await;
    let (node, functions) = (&members[0].node, &members[0].functions);
    let table = table(node, "plain").await;
    deploy(functions, "visits", VISITS).await;
    let unknown = functions.call(&table, asked("visit", "alice")).await;
    assert_eq!(unknown, Err(RequestError::UnknownFunction { name: "visit".to_owned() }));
    let none = Asked { keys: Vec::new(), ..asked("visits", "") };
    let refused = functions.call(&table, none).await;
    assert!(matches!(refused, Err(RequestError::InvalidArgument { .. })), "{refused:?}");
    let keys = vec![Bytes::from_static(b"alice"), Bytes::from_static(b"bob")];
    let two = Asked { keys, ..asked("visits", "") };
    assert_eq!(functions.call(&table, two).await, Err(RequestError::CrossSlot));
    let long = Asked { args: vec![Bytes::from(vec![0; 9 << 20])], ..asked("visits", "alice") };
    let refused = functions.call(&table, long).await;
    assert!(matches!(refused, Err(RequestError::InvalidArgument { .. })), "{refused:?}");
    let long = Asked { keys: vec![Bytes::from(vec![0; 70_000])], ..asked("visits", "") };
    let refused = functions.call(&table, long).await;
    assert_eq!(refused, Err(RequestError::KeyTooLong { bytes: 70_000 }));
    let reads = Asked { kind: Some(FunctionKind::Read), ..asked("visits", "alice") };
    let refused = functions.call(&table, reads).await;
    assert!(matches!(refused, Err(RequestError::WrongFunctionKind { .. })), "{refused:?}");
    for (name, module) in [("Visits", VISITS), ("v", "(module)"), ("v", "nothing")] {
        let module = Bytes::copy_from_slice(module.as_bytes());
        let refused = functions.deploy(name, FunctionLimits::default(), module).await;
        assert_eq!(refused.expect_err("refused").actor(), Actor::Fix);
    }
    shut_down(members).await;
}
