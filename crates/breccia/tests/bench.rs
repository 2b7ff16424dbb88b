//! The load generator against real front ends.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

mod harness;

use harness::{Node, run_with};
use serde_json::Value;

const SMALL: [&str; 10] = [
    "--records",
    "500",
    "--seconds",
    "1",
    "--warmup",
    "0",
    "--connections",
    "4",
    "--json",
    "--pipeline=2",
];

fn report(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn every_target_answers_and_two_are_compared() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    let (resp, grpc) = (format!("resp://{}", node.resp), format!("grpc://{}", node.http));
    let args: Vec<&str> =
        ["bench", "--target", &resp, "--target", &grpc].into_iter().chain(SMALL).collect();
    let report = report(&run_with(dir.path(), &args, b"").ok());
    for target in report["targets"].as_array().expect("targets") {
        let round = &target["rounds"][0];
        assert_eq!(round["failed"], 0, "{round}");
        assert_eq!(round["missing"], 0, "{round}");
        for operation in ["read", "update"] {
            assert!(round["operations"][operation]["count"].as_u64() > Some(0), "{round}");
        }
    }
    assert!(report["ratio"]["median"].as_f64().is_some_and(|ratio| ratio > 0.0));
}

#[test]
fn workloads_run_in_process() {
    let dir = tempfile::tempdir().expect("dir");
    for (workload, operation) in [("d", "insert"), ("e", "scan"), ("f", "read-modify-write")] {
        let args: Vec<&str> = ["bench", "--workload", workload, "--fsync", "never"]
            .into_iter()
            .chain(SMALL)
            .collect();
        let report = report(&run_with(dir.path(), &args, b"").ok());
        let round = &report["targets"][0]["rounds"][0];
        assert_eq!(round["failed"], 0, "{round}");
        assert!(round["operations"][operation]["count"].as_u64() > Some(0), "{round}");
    }
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let dir = tempfile::tempdir().expect("dir");
    let args: Vec<&str> = ["bench", "--rate", "500", "--workload", "c", "--fsync", "never"]
        .into_iter()
        .chain(SMALL)
        .collect();
    let report = report(&run_with(dir.path(), &args, b"").ok());
    let rate = report["targets"][0]["rounds"][0]["ops_per_second"].as_f64().expect("a rate");
    assert!((250.0..=550.0).contains(&rate), "{rate}");
}

#[test]
fn scans_over_the_redis_protocol_are_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let args = ["bench", "--target", "resp://127.0.0.1:1", "--workload", "e"];
    let said = run_with(dir.path(), &args, b"");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("workload e"), "{}", said.err);
    let nobody = run_with(dir.path(), &["bench", "--target", "resp://127.0.0.1:1"], b"");
    assert_eq!(nobody.code, 3, "{nobody:?}");
}
