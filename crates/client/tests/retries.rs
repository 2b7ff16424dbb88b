//! What is tried again, and how, against a node that answers as it is told.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod fake;

use std::time::Duration;

use breccia_api::v1;
use breccia_client::{Client, Code, Consistency, Error, RequestId, Table, TableOptions};
use fake::{Fake, refused};
use futures::TryStreamExt;
use tonic::Status;

async fn start() -> (Fake, Client, Table) {
    let fake = Fake::start().await;
    let client = Client::connect([fake.address()]).await.expect("connects");
    let table = client.table("t").await.expect("opens");
    (fake, client, table)
}

/// As if the connection broke before the reply.
fn broken() -> Status {
    Status::unavailable("broken")
}

#[tokio::test]
async fn all_tries_of_a_write_have_one_request_id_and_share_one_deadline() {
    let (fake, _, table) = start().await;
    fake.fail([broken(), refused("outcome-unknown", "retry"), refused("busy", "retry")]);
    let deadline = Duration::from_secs(20);
    table.put("k", "v").deadline(deadline).await.expect("the fourth try");
    table.put("k", "v").await.expect("puts");
    let seen = fake.seen();
    let [first, .., fourth, other] = &seen.request_ids[..] else { panic!("{seen:?}") };
    assert_eq!((seen.request_ids.len(), first.len()), (5, 16));
    assert!(seen.request_ids[..4].iter().all(|id| id == first), "{seen:?}");
    assert_ne!(fourth, other);
    assert!(seen.timeouts[0] <= deadline);
    assert!(seen.timeouts[..4].is_sorted_by(|earlier, later| earlier > later), "{seen:?}");
}

#[tokio::test]
async fn what_the_caller_must_fix_is_not_tried_again() {
    let (fake, _, table) = start().await;
    fake.fail_for_ever(refused("key-too-long", "fix"));
    let error = table.put("k", "v").await.expect_err("refused");
    assert_eq!(error.code(), Some(Code::KeyTooLong), "{error}");
    assert_eq!(fake.seen().request_ids.len(), 1);
}

#[tokio::test]
async fn only_a_write_that_may_have_been_applied_has_an_unknown_outcome() {
    let (fake, client, table) = start().await;
    fake.fail_for_ever(broken());
    let short = Duration::from_millis(100);
    let id = RequestId::new([7; 16]);
    let error = table.put("k", "v").request_id(id).deadline(short).await.expect_err("broken");
    assert!(matches!(error, Error::OutcomeUnknown { request_id: Some(it), .. } if it == id));
    let seen = fake.seen().request_ids;
    assert!(seen.len() > 1 && seen.iter().all(|it| it[..] == id.as_bytes()[..]), "{seen:?}");
    let error = table.get("k").deadline(short).await.expect_err("broken");
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error}");
    let error = client.create_table("other", TableOptions::default()).await.expect_err("broken");
    assert!(matches!(error, Error::OutcomeUnknown { request_id: None, .. }), "{error}");
}

#[tokio::test]
async fn a_leader_that_is_gone_costs_a_try() {
    let fake = Fake::start().await;
    fake.is_led_by("127.0.0.1:1");
    let client = Client::connect([fake.address()]).await.expect("connects");
    let table = client.table("t").await.expect("opens");
    for _ in 0..10 {
        table.put("k", "v").deadline(Duration::from_secs(5)).await.expect("through the other");
    }
    assert_eq!(fake.seen().request_ids.len(), 10);
}

#[tokio::test]
async fn nobody_there_is_an_error_after_some_tries() {
    let connected = Client::builder().tries_max(3).connect(["127.0.0.1:1"]).await;
    let error = connected.expect_err("nobody is there");
    assert!(matches!(error, Error::Unreachable { tries: 3, .. }), "{error}");
    let none: [&str; 0] = [];
    assert!(matches!(Client::connect(none).await, Err(Error::NoAddress)));
}

#[tokio::test]
async fn reads_say_what_they_must_have_seen() {
    let (fake, _, table) = start().await;
    table.get("k").await.expect("gets");
    table.get("k").consistency(Consistency::Strict).await.expect("gets");
    let stale = Consistency::Stale { max: Duration::from_secs(5) };
    table.scan().consistency(stale).rows().try_next().await.expect("scans");
    let asked = [None, Some("strict".to_owned()), Some("stale:5000".to_owned())];
    assert_eq!(fake.seen().consistencies, asked);
}

#[tokio::test]
async fn a_scan_goes_on_behind_the_last_page_that_came() {
    let (fake, _, table) = start().await;
    let page = |keys: &[&'static str], cursor: &'static str| v1::ScanPage {
        rows: keys.iter().map(|key| v1::Row { key: (*key).into(), ..Default::default() }).collect(),
        cursor: cursor.into(),
    };
    fake.stream(vec![Ok(page(&["a", "b"], "behind b")), Err(broken())]);
    fake.stream(vec![Err(refused("shard-unavailable", "operator"))]);
    fake.stream(vec![Ok(page(&["c"], "behind c")), Ok(page(&["d"], ""))]);
    let rows = table.scan().prefix("p").limit(9).rows();
    let rows: Vec<_> = rows.try_collect().await.expect("scans");
    let keys: Vec<_> = rows.iter().map(|row| &row.key[..]).collect();
    assert_eq!(keys, [b"a", b"b", b"c", b"d"]);
    let asked = fake.seen();
    let asked: Vec<_> = asked.scans.iter().map(|scan| (&scan.cursor[..], scan.limit)).collect();
    assert_eq!(asked, [(&b""[..], 9), (b"behind b", 7), (b"behind b", 7)]);
}
