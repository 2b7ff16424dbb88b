//! A node as a process: starting, stopping, dying, and refusing to start.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

mod harness;

use harness::{Node, run_with};

#[test]
fn a_node_that_was_stopped_finds_its_data_again() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    node.run(&["table", "create", "t"]).ok();
    node.run(&["put", "t", "a", "1"]).ok();
    let status = node.end_by("-TERM");
    assert!(status.success(), "{status}");
    let node = Node::start(dir.path());
    assert_eq!(node.run(&["get", "t", "a"]).ok(), "1\n");
}

#[test]
fn a_node_that_was_killed_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    node.run(&["table", "create", "t"]).ok();
    for key in ["a", "b", "c"] {
        node.run(&["put", "t", key, "kept"]).ok();
    }
    node.end_by("-KILL");
    let node = Node::start(dir.path());
    for key in ["a", "b", "c"] {
        assert_eq!(node.run(&["get", "t", key]).ok(), "kept\n");
    }
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let _node = Node::start(dir.path());
    let args = ["serve", "--data", "data", "--http", "127.0.0.1:0", "--resp", "127.0.0.1:0"];
    let said = run_with(dir.path(), &args, b"");
    assert_ne!(said.code, 0);
    assert!(said.err.contains("data") && said.err.contains("use"), "{}", said.err);
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let dir = tempfile::tempdir().expect("dir");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("bound").to_string();
    for (flag, other) in [("--http", "--resp"), ("--resp", "--http")] {
        let args = ["serve", "--data", "data", flag, &address, other, "127.0.0.1:0"];
        let said = run_with(dir.path(), &args, b"");
        assert_eq!(said.code, 4, "{said:?}");
        assert!(said.err.contains(&address) && said.err.contains(flag), "{}", said.err);
    }
}

#[test]
fn another_shard_count_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    drop(Node::start_with(dir.path(), &["--shards", "3"]));
    let args = [
        "serve",
        "--data",
        "data",
        "--shards",
        "5",
        "--http",
        "127.0.0.1:0",
        "--resp",
        "127.0.0.1:0",
    ];
    let said = run_with(dir.path(), &args, b"");
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.err.contains('3') && said.err.contains('5'), "{}", said.err);
    drop(Node::start(dir.path()));
}

#[test]
fn settings_that_cannot_be_are_refused_with_what_to_say_instead() {
    let dir = tempfile::tempdir().expect("dir");
    for (words, expected) in [
        (&["--join", "somewhere"][..], "--peer address of a node"),
        (&["--peer", "0.0.0.0:0", "--allow-remote"], "--advertise"),
        (&["--replicas", "0"], "--replicas 0: use 1 to 9"),
        (&["--http", "0.0.0.0:0"], "--allow-remote"),
        (&["--memory", "1k"], "--memory"),
        (&["--fsync", "sometimes"], "--fsync"),
    ] {
        let args: Vec<&str> = ["serve", "--data", "data"].iter().chain(words).copied().collect();
        let said = run_with(dir.path(), &args, b"");
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(expected), "{}", said.err);
    }
    let said = run_with(dir.path(), &["dev", "--nodes", "10"], b"");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(!dir.path().join("data").exists() && !dir.path().join("breccia-data").exists());
}

#[test]
fn the_file_configures_a_node_and_its_mistakes_are_named() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("breccia.toml");
    std::fs::write(&file, "dta = \"data\"\n").expect("write");
    let said = run_with(dir.path(), &["serve"], b"");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("dta") && said.err.contains("breccia.toml"), "{}", said.err);

    let text = "data = \"from-file\"\nhttp = \"127.0.0.1:0\"\nresp = \"127.0.0.1:0\"\nshards = 2\n";
    std::fs::write(&file, text).expect("write");
    let node = Node::spawn(dir.path(), &["serve"]);
    let shards: serde_json::Value =
        serde_json::from_str(&node.run(&["shards", "--json"]).ok()).expect("JSON");
    // The meta shard comes on top.
    assert_eq!(shards.as_array().map(Vec::len), Some(3), "{shards}");
    assert!(dir.path().join("from-file").is_dir());
}

#[test]
fn without_a_node_the_error_says_how_to_start_one() {
    let dir = tempfile::tempdir().expect("dir");
    let said = run_with(dir.path(), &["status", "--server", "127.0.0.1:1"], b"");
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("no node answers at 127.0.0.1:1"), "{}", said.err);
    assert!(said.err.contains("breccia serve --data"), "{}", said.err);
}

#[test]
fn help_documents_the_exit_codes() {
    let dir = tempfile::tempdir().expect("dir");
    let help = run_with(dir.path(), &["--help"], b"").ok();
    assert!(help.contains("Exit codes") && help.contains("BRECCIA_"), "{help}");
    assert_eq!(run_with(dir.path(), &["frobnicate"], b"").code, 2);
    assert!(run_with(dir.path(), &["completions", "bash"], b"").ok().contains("breccia"));
}
