//! Files in, files out.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

mod harness;

use std::path::Path;

use harness::{Node, run_with};
use serde_json::{Value, json};

const FLIGHTS: &str = "\
carrier,flight,origin,dep_delay,air_time,cancelled,time_hour
UA,1545,EWR,2,227.5,false,2013-01-01T10:00:00Z
UA,1714,LGA,4
\"AA\",1141,JFK,NA,160,false,2013-01-01T10:00:00Z
,725,JFK,-1,183,false,2013-01-01T10:00:00Z
DL,461,LGA,-6,,true,2013-01-01T11:00:00Z
\"B6,507,EWR,-5,158,false,2013-01-01T11:00:00Z
EV,5708,LGA,-3,53,false,2013-01-01T11:00:00Z
";

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), bytes).expect("write");
}

#[test]
fn good_lines_are_kept_and_bad_ones_are_reported_with_their_numbers() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    write(dir.path(), "flights.csv", FLIGHTS);
    let said = node.run(&["import", "flights", "flights.csv", "--key", "{carrier}/{flight}"]);
    assert_eq!(said.code, 4, "{said:?}");
    for line in ["line 3:", "line 5:", "line 7:"] {
        assert!(said.err.contains(line), "{}", said.err);
    }
    assert!(said.out.contains("4 rows") && said.out.contains("3 bad lines"), "{}", said.out);

    let row = node.run(&["get", "flights", "AA/1141"]).ok();
    let want = json!({
        "carrier": "AA", "flight": 1141, "origin": "JFK", "dep_delay": null,
        "air_time": 160, "cancelled": false, "time_hour": "2013-01-01T10:00:00Z",
    });
    assert_eq!(serde_json::from_str::<Value>(&row).expect("JSON"), want);
    let table: Value =
        serde_json::from_str(&node.run(&["table", "describe", "flights", "--json"]).ok())
            .expect("JSON");
    assert_eq!(table["key_template"], "{carrier}/{flight}");
    let types: Vec<&str> = table["columns"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| column["type"].as_str().expect("a type"))
        .collect();
    assert_eq!(types, ["text", "integer", "text", "integer", "float", "boolean", "timestamp"]);
    let count = node.run(&["scan", "flights", "--json"]).ok().lines().count();
    assert_eq!(count, 4);
}

#[test]
fn a_key_that_cannot_be_made_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    write(dir.path(), "a.csv", "a,b\n1,2\n");
    let none = node.run(&["import", "t", "a.csv"]);
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.err.contains("--key") && none.err.contains("a, b"), "{}", none.err);
    let unknown = node.run(&["import", "t", "a.csv", "--key", "{c}"]);
    assert_eq!(unknown.code, 4, "{unknown:?}");
    assert!(unknown.err.contains("\"c\"") && unknown.err.contains("a, b"), "{}", unknown.err);
    assert_eq!(node.run(&["import", "t", "a.csv", "--key", "{a"]).code, 2);
    assert_eq!(node.run(&["import", "t", "absent.csv", "--key", "{a}"]).code, 4);
    assert_eq!(node.run(&["table", "describe", "t"]).code, 4);
}

#[test]
fn compressed_tab_separated_and_json_files_are_read() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    let zst = zstd::encode_all(&b"a\tb\n1\tx\n2\ty\n"[..], 1).expect("encodes");
    write(dir.path(), "a.tsv.zst", zst);
    node.run(&["import", "t", "a.tsv.zst", "--key", "{a}"]).ok();
    assert_eq!(node.run(&["get", "t", "2"]).ok(), "{\"a\":2,\"b\":\"y\"}\n");
    write(dir.path(), "b.txt", "{\"k\":\"x\",\"n\":1}\n{\"k\":\"y\"}\nnope\n");
    let said = node.run(&["import", "u", "b.txt", "--format", "ndjson", "--key", "{k}"]);
    assert_eq!(said.code, 4);
    assert!(said.err.contains("line 3"), "{}", said.err);
    assert_eq!(node.run(&["get", "u", "x"]).ok(), "{\"k\":\"x\",\"n\":1}\n");
    assert_eq!(node.run(&["import", "u", "b.txt", "--key", "{k}"]).code, 2);
}

#[test]
fn a_version_column_makes_a_history() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    write(dir.path(), "p.csv", "id,price,at\na,1.5,2013-01-01\na,2.5,2013-01-02\n");
    node.run(&["import", "prices", "p.csv", "--key", "{id}", "--version", "at"]).ok();
    let history = node.run(&["history", "prices", "a", "--json"]).ok();
    assert_eq!(history.lines().count(), 2, "{history}");
    let then = node.run(&["get", "prices", "a", "--as-of", "2013-01-01T12:00:00Z"]).ok();
    assert!(then.contains("1.5"), "{then}");
    node.run(&["table", "create", "plain"]).ok();
    let refused = ["import", "plain", "p.csv", "--key", "{id}", "--version", "at"];
    assert_eq!(node.run(&refused).code, 4);
}

#[test]
fn an_import_of_an_export_restores_the_same_bytes() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    node.run(&["table", "create", "t"]).ok();
    node.run(&["put", "t", "document", "{\"a\": 1.50}"]).ok();
    node.run(&["put", "t", "number", "5"]).ok();
    node.run_with(&["put", "t", "lines", "-"], b"{\n}").ok();
    node.run(&["put", "t", "/w==", "/v8=", "--key-base64", "--value-base64"]).ok();
    let export = node.run(&["export", "t"]).ok();
    assert_eq!(export.lines().count(), 4);
    write(dir.path(), "t.ndjson", &export);
    node.run(&["import", "copy", "t.ndjson"]).ok();
    assert_eq!(node.run(&["export", "copy"]).ok(), export);
}

#[test]
fn a_csv_export_has_the_key_and_the_columns() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    write(dir.path(), "a.csv", "id,text,n\n1,\"x,y\",NA\n2,z,1.5\n");
    node.run(&["import", "t", "a.csv", "--key", "k{id}"]).ok();
    let export = node.run(&["export", "t", "--format", "csv"]).ok();
    assert_eq!(export, "key,id,text,n\nk1,1,\"x,y\",\nk2,2,z,1.5\n");
}

#[test]
fn a_second_file_widens_the_columns() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start(dir.path());
    write(dir.path(), "a.csv", "id,zip\na,00501\n");
    write(dir.path(), "b.csv", "id,zip\nb,10001\n");
    node.run(&["import", "t", "a.csv", "--key", "{id}"]).ok();
    node.run(&["import", "t", "b.csv", "--key", "{id}"]).ok();
    assert_eq!(node.run(&["get", "t", "b"]).ok(), "{\"id\":\"b\",\"zip\":\"10001\"}\n");
}

#[test]
fn dev_loads_a_sample_once() {
    let dir = tempfile::tempdir().expect("dir");
    let mut text = "carrier,flight,origin,time_hour,sched_dep_time\n".to_owned();
    for flight in 0..50 {
        text.push_str(&format!("UA,{flight},EWR,2013-01-01T10:00:00Z,515\n"));
    }
    write(dir.path(), "sample.csv", text);
    let args = ["dev", "--sample", "sample.csv", "--http", "127.0.0.1:0", "--resp", "127.0.0.1:0"];
    let node = Node::spawn(dir.path(), &args);
    let rows = node.run(&["scan", "flights", "--json"]).ok().lines().count();
    assert_eq!(rows, 50);
    node.run(&["del", "flights", "UA/0/EWR/2013-01-01T10:00:00Z/515"]).ok();
    node.end_by("-INT");
    let node = Node::spawn(dir.path(), &args);
    let rows = node.run(&["scan", "flights", "--json"]).ok().lines().count();
    assert_eq!(rows, 49, "a second start does not load again");
}

#[test]
fn a_folder_is_no_file() {
    let dir = tempfile::tempdir().expect("dir");
    let said = run_with(dir.path(), &["import", "t", ".", "--key", "{a}"], b"");
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("no regular file"), "{}", said.err);
}
