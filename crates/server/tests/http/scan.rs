//! Scans over REST: pages, streams of lines, ranges.

use serde_json::{Value, json};

use crate::support::{NDJSON, Running};

async fn filled(rows: usize) -> Running {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let lines: String =
        (0..rows).map(|i| format!("{{\"key\":\"k{i:05}\",\"value\":\"{i}\"}}\n")).collect();
    let imported =
        server.send("POST", "/v1/tables/t/import", &[NDJSON], lines.as_bytes()).await.ok();
    assert_eq!(imported["rows_written"], rows);
    server
}

fn keys(page: &Value) -> Vec<&str> {
    let rows = page["rows"].as_array().expect("rows");
    rows.iter().map(|row| row["key"].as_str().expect("a key")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_by_cursor_in_either_direction() {
    let server = filled(25).await;
    for reverse in [false, true] {
        let mut found = Vec::new();
        let mut path = format!("/v1/tables/t/rows?limit=10&reverse={reverse}");
        loop {
            let page = server.get(&path).await.ok();
            found.extend(keys(&page).into_iter().map(str::to_owned));
            let Some(cursor) = page["cursor"].as_str() else {
                break;
            };
            path = format!("/v1/tables/t/rows?limit=10&reverse={reverse}&cursor={cursor}");
        }
        let mut expected: Vec<String> = (0..25).map(|i| format!("k{i:05}")).collect();
        if reverse {
            expected.reverse();
        }
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_have_an_end_that_is_not_part_of_them() {
    let server = filled(30).await;
    let page = server.get("/v1/tables/t/rows?from=k00003&to=k00006").await.ok();
    assert_eq!(keys(&page), ["k00003", "k00004", "k00005"]);
    assert_eq!(page["cursor"], Value::Null);
    let page = server.get("/v1/tables/t/rows?prefix=k0002&limit=2").await.ok();
    assert_eq!(keys(&page), ["k00020", "k00021"]);
    let page = server.get("/v1/tables/t/rows?prefix=azAwMDI&key_encoding=base64url").await.ok();
    assert_eq!(keys(&page).len(), 10);

    let delete = |path| server.send("DELETE", path, &[], b"");
    delete("/v1/tables/t/rows").await.problem(400, "invalid-argument");
    assert_eq!(delete("/v1/tables/t/rows?from=k00003").await.ok(), json!({}));
    assert_eq!(server.get("/v1/tables/t/count").await.ok(), json!({ "rows": 3 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_lines_goes_on_over_pages_and_can_be_imported_again() {
    let server = filled(2_500).await;
    let accept = [("accept", "application/x-ndjson")];
    let stream = server.send("GET", "/v1/tables/t/rows", &accept, b"").await;
    assert_eq!(stream.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> = stream
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert_eq!(lines.len(), 2_500);
    assert_eq!(lines[2_499], json!({ "key": "k02499", "value": "2499" }));

    let limited = server.send("GET", "/v1/tables/t/rows?limit=1200", &accept, b"").await;
    assert_eq!(limited.text().lines().count(), 1_200);

    server.create("copy", "plain").await;
    let path = "/v1/tables/copy/import";
    let imported = server.send("POST", path, &[NDJSON], &stream.body).await.ok();
    assert_eq!(imported["rows_written"], 2_500);
    let copy = server.send("GET", "/v1/tables/copy/rows", &accept, b"").await;
    assert_eq!(copy.body, stream.body);
}
