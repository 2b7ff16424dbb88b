//! Imports over REST.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Answer, NDJSON, Running, head};

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_reported_by_number_and_good_ones_are_kept() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let body = concat!(
        "{\"key\":\"a\",\"value\":\"1\"}\n",
        "{\"key\":\"b\",\"valeu\":\"2\"}\n",
        "\n",
        "not json\r\n",
        "{\"key\":\"c\"}\n",
        "{\"key\":\"d\",\"value\":{\"base64\":\"/w==\"}}",
    );
    let path = "/v1/tables/t/import";
    let summary = server.send("POST", path, &[NDJSON], body.as_bytes()).await.ok();
    assert_eq!(summary["rows_written"], 2);
    assert_eq!(summary["rows_failed"], 3);
    let failures = summary["failures"].as_array().expect("failures");
    let lines: Vec<_> = failures.iter().map(|failure| failure["line"].clone()).collect();
    assert_eq!(lines, [json!(2), json!(4), json!(5)]);
    assert_eq!(failures[2]["key"], "c");
    let value = server.get("/v1/tables/t/rows/d").await.ok();
    assert_eq!(value["value"], json!({ "base64": "/w==" }));

    let wrong = server.send("POST", path, &[("content-type", "text/csv")], b"a,b").await;
    wrong.problem(415, "unsupported-media-type");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_failures_are_counted_and_the_first_are_told() {
    let server = Running::start().await;
    server.create("m", "monoid:sum:i64").await;
    let body = "{\"key\":\"k\",\"value\":\"x\"}\n".repeat(250) + "{\"key\":\"k\",\"value\":\"5\"}";
    let path = "/v1/tables/m/import?mode=merge";
    let summary = server.send("POST", path, &[NDJSON], body.as_bytes()).await.ok();
    assert_eq!(summary["rows_failed"], 250);
    assert_eq!(summary["failures"].as_array().map(Vec::len), Some(100));
    assert_eq!(summary["failures"][0]["code"], "invalid-operand");
    assert_eq!(server.get("/v1/tables/m/rows/k").await.ok()["presented"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_come_in_pieces_that_are_no_lines() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let chunked = [NDJSON, ("transfer-encoding", "chunked")];
    let head = head("POST", "/v1/tables/t/import", &chunked) + "\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    for piece in ["{\"key\":\"a\",\"va", "lue\":\"1\"}\n{\"key\"", ":\"b\",\"value\":\"2\"}"] {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        stream.write_all(chunk.as_bytes()).await.expect("sent");
        stream.flush().await.expect("sent");
    }
    stream.write_all(b"0\r\n\r\n").await.expect("sent");
    let summary = Answer::read(&mut stream).await.ok();
    assert_eq!(summary["rows_written"], 2);
    assert_eq!(summary["bytes_written"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_ends_at_the_deadline_its_client_set() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let length = [NDJSON, ("content-length", "1000")];
    let head = head("POST", "/v1/tables/t/import?timeout_ms=100", &length) + "\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    Answer::read(&mut stream).await.problem(504, "deadline-exceeded");
}
