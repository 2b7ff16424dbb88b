//! The client commands: what they print, and how they end.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

mod harness;

use harness::Node;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn rows_are_written_read_and_removed() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    node.run(&["table", "create", "t"]).ok();
    node.run(&["put", "t", "a", "one"]).ok();
    assert_eq!(node.run(&["get", "t", "a"]).ok(), "one\n");
    assert_eq!(node.run(&["get", "t", "a", "--raw"]).ok(), "one");
    let row = json(&node.run(&["get", "t", "a", "--json"]).ok());
    assert_eq!((&row["key"], &row["value"]), (&"a".into(), &"one".into()));

    let missing = node.run(&["get", "t", "b"]);
    assert_eq!((missing.code, missing.out.as_str()), (1, ""));
    assert_eq!(json(&node.run(&["get", "t", "b", "--json"]).out), Value::Null);

    node.run(&["del", "t", "a"]).ok();
    assert_eq!(node.run(&["del", "t", "a"]).code, 1);
    assert_eq!(node.run(&["get", "t", "a"]).code, 1);
}

#[test]
fn any_bytes_go_in_and_come_out() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    node.run(&["table", "create", "t"]).ok();
    node.run_with(&["put", "t", "a", "-"], b"line\nbreak").ok();
    assert_eq!(node.run(&["get", "t", "a", "--raw"]).ok(), "line\nbreak");
    node.run(&["put", "t", "/wA=", "//4=", "--key-base64", "--value-base64"]).ok();
    assert_eq!(node.run(&["get", "t", "/wA=", "--key-base64"]).ok(), "base64://4=\n");
    let row = json(&node.run(&["get", "t", "/wA=", "--key-base64", "--json"]).ok());
    assert_eq!((&row["key_base64"], &row["value_base64"]), (&"/wA=".into(), &"//4=".into()));
    assert_eq!(node.run(&["put", "t", "?", "x", "--key-base64"]).code, 2);
}

#[test]
fn compare_and_set_says_by_its_code_whether_it_wrote() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    node.run(&["table", "create", "t"]).ok();
    node.run(&["cas", "t", "a", "--if-absent", "1"]).ok();
    assert_eq!(node.run(&["cas", "t", "a", "--if-absent", "2"]).code, 1);
    node.run(&["cas", "t", "a", "1", "2"]).ok();
    let refused = node.run(&["cas", "t", "a", "1", "3"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains('2'), "{}", refused.err);
    let refused = node.run(&["cas", "t", "a", "1", "3", "--json"]);
    assert_eq!(json(&refused.out)["swapped"], false);
    assert_eq!(node.run(&["get", "t", "a"]).ok(), "2\n");
    node.run(&["cas", "t", "a", "2", "--delete"]).ok();
    assert_eq!(node.run(&["get", "t", "a"]).code, 1);
}

#[test]
fn a_scan_goes_on_where_its_cursor_says() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    node.run(&["table", "create", "t"]).ok();
    for key in ["a1", "a2", "a3", "b1"] {
        node.run(&["put", "t", key, key]).ok();
    }
    let first = node.run(&["scan", "t", "--prefix", "a", "--limit", "2"]);
    assert_eq!(first.out, "a1\ta1\na2\ta2\n");
    let cursor = first.err.split_whitespace().skip_while(|word| *word != "--cursor").nth(1);
    let cursor = cursor.unwrap_or_else(|| panic!("no cursor in {:?}", first.err)).to_owned();
    let rest = node.run(&["scan", "t", "--prefix", "a", "--cursor", &cursor]);
    assert_eq!((rest.out.as_str(), rest.err.as_str()), ("a3\ta3\n", ""));
    let reverse = node.run(&["scan", "t", "--reverse", "--limit", "1"]).ok();
    assert_eq!(reverse, "b1\tb1\n");
    let range = node.run(&["scan", "t", "--from", "a2", "--to", "b1", "--json"]).ok();
    let keys: Vec<Value> = range.lines().map(|line| json(line)["key"].clone()).collect();
    assert_eq!(keys, ["a2", "a3"]);
}

#[test]
fn versioned_tables_remember() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    node.run(&["table", "create", "v", "--kind", "versioned", "--keep", "10"]).ok();
    for (value, at) in [("1", "2013-01-01"), ("2", "2013-01-02"), ("3", "2013-01-03")] {
        node.run(&["put", "v", "k", value, "--version", at]).ok();
    }
    assert_eq!(node.run(&["get", "v", "k"]).ok(), "3\n");
    assert_eq!(node.run(&["get", "v", "k", "--as-of", "2013-01-02T12:00:00Z"]).ok(), "2\n");
    assert_eq!(node.run(&["get", "v", "k", "--as-of", "2012-01-01"]).code, 1);
    assert_eq!(node.run(&["get", "v", "k", "--as-of", "yesterday"]).code, 2);
    assert_eq!(
        node.run(&["history", "v", "k", "--limit", "2"]).out,
        "2013-01-03T00:00:00Z\t3\n2013-01-02T00:00:00Z\t2\n"
    );
    let oldest = node.run(&["history", "v", "k", "--to", "2013-01-01", "--json"]).ok();
    assert_eq!(json(oldest.trim())["value"], "1");
}

#[test]
fn monoid_tables_merge() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    node.run(&["table", "create", "m", "--kind", "monoid", "--monoid", "sum:i64"]).ok();
    for operand in ["5", "7"] {
        node.run(&["merge", "m", "k", operand]).ok();
    }
    assert_eq!(node.run(&["get", "m", "k"]).ok(), "12\n");
    assert_eq!(node.run(&["merge", "m", "k", "many"]).code, 4);
    assert_eq!(node.run(&["table", "create", "n", "--kind", "monoid"]).code, 2);
}

#[test]
fn tables_are_listed_described_and_dropped() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    node.run(&["table", "create", "t", "--ttl", "30d", "--partition", "before:/"]).ok();
    assert_eq!(node.run(&["table", "create", "t"]).code, 4);
    assert_eq!(node.run(&["table", "create", "1t"]).code, 4);
    assert_eq!(node.run(&["table", "create", "u", "--ttl", "soon"]).code, 2);
    let list = node.run(&["table", "list"]).ok();
    assert!(list.contains("t ") && list.contains("redis"), "{list}");
    let described = node.run(&["table", "describe", "t"]).ok();
    assert!(described.contains("30d") && described.contains("before:/"), "{described}");
    let document = json(&node.run(&["table", "describe", "t", "--json"]).ok());
    assert_eq!(document["name"], "t");
    node.run(&["table", "drop", "t"]).ok();
    let gone = node.run(&["get", "t", "a"]);
    assert_eq!(gone.code, 4);
    assert!(gone.err.contains("breccia table create t"), "{}", gone.err);
}

#[test]
fn the_node_tells_how_it_is() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start_with(dir.path(), &["--shards", "2"]);
    for command in ["status", "nodes", "shards"] {
        assert!(!node.run(&[command]).ok().is_empty());
        json(&node.run(&[command, "--json"]).ok());
    }
    let shards = json(&node.run(&["shards", "--json"]).ok());
    let names = shards.as_array().expect("shards").iter().map(|shard| shard["name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["s0", "s1", "meta"]);
    let doctor = node.run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    json(&node.run(&["doctor", "--json"]).ok());
}
