//! Limits of connections and bodies, and the end of the server.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Answer, NDJSON, PATIENCE, Running, head};

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so_and_closed() {
    let server = Running::start_with(|mut config| {
        config.connections_max = 1;
        config
    })
    .await;
    let mut first = TcpStream::connect(server.address).await.expect("a connection");
    first.write_all(b"GET /health/live HTTP/1.1\r\nhost: t\r\n\r\n").await.expect("sent");
    let mut byte = [0];
    first.read_exact(&mut byte).await.expect("an answer");

    let mut second = TcpStream::connect(server.address).await.expect("a connection");
    let refused = Answer::read(&mut second).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["content-length"], refused.body.len().to_string());

    drop(first);
    let accepted = async { while !is_served(&server).await {} };
    timeout(PATIENCE, accepted).await.expect("the place of the first is free again");
}

/// Whether a new connection is taken. One that is refused may break off in any way.
async fn is_served(server: &Running) -> bool {
    let mut answer = Vec::new();
    let Ok(mut stream) = TcpStream::connect(server.address).await else {
        return false;
    };
    let request = head("GET", "/health/live", &[]) + "\r\n";
    let sent = stream.write_all(request.as_bytes()).await.is_ok();
    let read = stream.read_to_end(&mut answer).await.is_ok();
    sent && read && answer.starts_with(b"HTTP/1.1 200")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_refused_before_it_is_sent() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let length = [("content-length", "80000000")];
    let head = head("PUT", "/v1/tables/t/rows/k", &length) + "\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    Answer::read(&mut stream).await.problem(413, "body-too-long");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_answered_when_the_server_ends() {
    let mut server = Running::start().await;
    server.create("t", "plain").await;
    let row = b"{\"key\":\"a\",\"value\":\"1\"}";
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let length = [NDJSON, ("content-length", "23"), ("expect", "100-continue")];
    let head = head("POST", "/v1/tables/t/import", &length) + "\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The server asks for the body: the request is in its hands.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");

    server.stop.cancel();
    assert_eq!(row.len(), 23);
    stream.write_all(row).await.expect("sent");
    assert_eq!(Answer::read(&mut stream).await.ok()["rows_written"], 1);
    let ended = timeout(PATIENCE, &mut server.task).await.expect("the server ends");
    ended.expect("no panic").expect("no error");
    TcpStream::connect(server.address).await.expect_err("nobody listens");
}
