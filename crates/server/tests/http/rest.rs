//! REST: one test per verb, and its errors.

use serde_json::json;

use crate::support::{JSON, Running};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_written_read_and_removed() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let row = "/v1/tables/t/rows/a%2Fb%20%C3%BC";
    let written = server.put(row, b"{\"x\": 1}").await.ok();
    assert!(written["version_micros"].as_i64().expect("an instant") > 0);
    assert_eq!(server.get(row).await.ok(), json!({ "key": "a/b ü", "value": "{\"x\": 1}" }));
    let delete = || server.send("DELETE", row, &[], b"");
    assert_eq!(delete().await.ok(), json!({ "existed": true }));
    assert_eq!(delete().await.ok(), json!({ "existed": false }));
    server.get(row).await.problem(404, "no-such-row");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_travel_as_base64() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let row = "/v1/tables/t/rows/_wA?key_encoding=base64url";
    server.put(row, b"\xfe\xff").await.ok();
    let expected = json!({ "key": { "base64": "/wA=" }, "value": { "base64": "/v8=" } });
    assert_eq!(server.get(row).await.ok(), expected);

    let accept = [("accept", "application/octet-stream")];
    let raw = server.send("GET", row, &accept, b"").await;
    assert_eq!(raw.body, b"\xfe\xff");
    assert_eq!(raw.headers["content-type"], "application/octet-stream");

    let keys = json!({ "keys": [{ "base64": "/wA=" }, "none"] });
    let found = server.post("/v1/tables/t/multi-get", &keys).await.ok();
    assert_eq!(found, json!({ "rows": [expected, null] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_expires_when_it_was_told_to() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    server.put("/v1/tables/t/rows/a?ttl_ms=3600000", b"1").await.ok();
    let row = server.get("/v1/tables/t/rows/a").await.ok();
    assert!(row["expires_at_micros"].as_i64() > Some(0), "{row}");
    server.put("/v1/tables/t/rows/a?expires_at_micros=1", b"1").await.ok();
    server.get("/v1/tables/t/rows/a").await.problem(404, "no-such-row");
    let zero = server.put("/v1/tables/t/rows/a?ttl_ms=0", b"1").await;
    zero.problem(400, "invalid-argument");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_read_as_of_an_instant_and_as_a_history() {
    let server = Running::start().await;
    server.create("v", "versioned").await;
    for (version, value) in [(10, "ten"), (30, "thirty"), (20, "twenty")] {
        let path = format!("/v1/tables/v/rows/k?version_micros={version}");
        server.put(&path, value.as_bytes()).await.ok();
    }
    let deleted = server.send("DELETE", "/v1/tables/v/rows/k?version_micros=40", &[], b"").await;
    assert_eq!(deleted.ok(), json!({ "existed": true }));
    let row = server.get("/v1/tables/v/rows/k?as_of_micros=25").await.ok();
    assert_eq!(row, json!({ "key": "k", "value": "twenty", "version_micros": 20 }));

    let first = server.get("/v1/tables/v/rows/k/history?limit=2").await.ok();
    let expected = json!([
        { "version_micros": 40 },
        { "version_micros": 30, "value": "thirty" },
    ]);
    assert_eq!(first["versions"], expected);
    let next =
        format!("/v1/tables/v/rows/k/history?to_micros={}&from_micros=20", first["next_to_micros"]);
    let expected = json!({ "versions": [{ "version_micros": 20, "value": "twenty" }] });
    assert_eq!(server.get(&next).await.ok(), expected);

    server.create("p", "plain").await;
    server.get("/v1/tables/p/rows/k/history").await.problem(400, "wrong-kind");
}

#[tokio::test(flavor = "multi_thread")]
async fn operands_merge_and_their_state_is_presented() {
    let server = Running::start().await;
    server.create("m", "monoid:sum:i64").await;
    let merge = "/v1/tables/m/rows/k/merge";
    server.post(merge, &json!({ "operand": "40" })).await.ok();
    server.post(merge, &json!({ "operand": "2" })).await.ok();
    let row = server.get("/v1/tables/m/rows/k").await.ok();
    assert_eq!(row["presented"], 42, "{row}");

    let copy = json!({ "encoded_state": row["value"] });
    server.post("/v1/tables/m/rows/copy/merge", &copy).await.ok();
    assert_eq!(server.get("/v1/tables/m/rows/copy").await.ok()["presented"], 42);
    server.put("/v1/tables/m/rows/k", b"7").await.ok();
    assert_eq!(server.get("/v1/tables/m/rows/k").await.ok()["presented"], 7);

    let wrong = server.post(merge, &json!({ "operand": "many" })).await;
    wrong.problem(400, "invalid-operand");
    let both = json!({ "operand": "1", "encoded_state": "" });
    server.post(merge, &both).await.problem(400, "invalid-argument");
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_and_set_tells_what_it_found() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let swap = "/v1/tables/t/rows/k/cas";
    let create = json!({ "new": "1" });
    assert_eq!(server.post(swap, &create).await.ok(), json!({ "swapped": true }));
    let again = server.post(swap, &create).await.ok();
    assert_eq!(again, json!({ "swapped": false, "actual": "1" }));
    let remove = json!({ "expected": "1" });
    assert_eq!(server.post(swap, &remove).await.ok(), json!({ "swapped": true }));
    server.get("/v1/tables/t/rows/k").await.problem(404, "no-such-row");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_applied_whole_or_not_at_all() {
    let server = Running::start().await;
    let body = json!({ "name": "t", "partition": "before:/" });
    assert_eq!(server.post("/v1/tables", &body).await.status, 201);
    let batch = "/v1/tables/t/batch";
    let commands = json!({ "commands": [
        { "op": "put", "key": "u/1", "value": "one" },
        { "op": "cas", "key": "u/2", "new": "two" },
        { "op": "delete", "key": "u/3" },
    ]});
    let replies = server.post(batch, &commands).await.ok();
    assert_eq!(replies["replies"][1], json!({ "swapped": true }));
    assert_eq!(replies["replies"][2], json!({ "existed": false }));

    let guarded = json!({ "commands": [
        { "op": "put", "key": "u/1", "value": "changed" },
        { "op": "cas", "key": "u/2", "expected": "three", "new": "four" },
    ]});
    let detail = server.post(batch, &guarded).await.problem(409, "guard-failed");
    assert!(detail.contains("command 1"), "{detail}");
    assert_eq!(server.get("/v1/tables/t/rows/u%2F1").await.ok()["value"], "one");

    let far = json!({ "commands": [
        { "op": "delete", "key": "u/1" },
        { "op": "delete", "key": "w/1" },
    ]});
    server.post(batch, &far).await.problem(400, "cross-slot");
    let unknown = json!({ "commands": [{ "op": "put", "key": "u/1", "vlaue": "x" }] });
    let detail = server.post(batch, &unknown).await.problem(400, "invalid-argument");
    assert!(detail.contains("vlaue"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_the_same_idempotency_key_is_applied_once() {
    let server = Running::start().await;
    server.create("m", "monoid:count").await;
    let key = ("idempotency-key", "6f1f8a36-6f0a-4b6e-9f3c-0d6b6f3f9a11");
    let path = "/v1/tables/m/rows/k/merge";
    let headers = [JSON, key];
    let merge = || server.send("POST", path, &headers, b"{\"operand\": \"1\"}");
    let first = merge().await.ok();
    assert_eq!(merge().await.ok(), first);
    assert_eq!(server.get("/v1/tables/m/rows/k").await.ok()["presented"], 1);

    let other = server.send("DELETE", "/v1/tables/m/rows/k", &[key], b"").await;
    let detail = other.problem(400, "invalid-argument");
    assert!(detail.contains("request id"), "{detail}");
    let bad = server.send("DELETE", "/v1/tables/m/rows/k", &[("idempotency-key", "7")], b"");
    bad.await.problem(400, "invalid-argument");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_created_described_and_dropped() {
    let server = Running::start().await;
    let body = json!({
        "name": "prices", "kind": "versioned", "partition": "before:/", "keep_versions": 3,
        "columns": [{ "name": "price", "type": "float" }], "key_template": "{product}/{store}",
    });
    let created = server.post("/v1/tables", &body).await;
    assert_eq!(created.status, 201, "{}", created.text());
    server.post("/v1/tables", &body).await.problem(409, "table-exists");
    let described = server.get("/v1/tables/prices").await.ok();
    assert_eq!(described, created.json());
    assert_eq!(described["keep_versions"], 3);

    let columns = br#"{"columns": [{"name": "price", "type": "integer", "nullable": true}]}"#;
    let noted = server.send("PUT", "/v1/tables/prices/columns", &[JSON], columns).await.ok();
    assert_eq!(noted["columns"][0]["type"], "integer");

    let names = |list: &serde_json::Value| -> Vec<String> {
        let tables = list["tables"].as_array().expect("tables").iter();
        tables.map(|table| table["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&server.get("/v1/tables").await.ok()), ["prices", "redis"]);
    server.send("DELETE", "/v1/tables/prices", &[], b"").await.ok();
    let gone = server.get("/v1/tables/prices").await.problem(404, "unknown-table");
    assert!(gone.contains("breccia table create prices"), "{gone}");
    let protected = server.send("DELETE", "/v1/tables/redis", &[], b"").await;
    protected.problem(403, "table-protected");
    let unknown = json!({ "name": "g", "kind": "graph" });
    server.post("/v1/tables", &unknown).await.problem(400, "invalid-table");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_a_problem_that_says_what_to_do() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let detail = server.get("/v2/tables").await.problem(404, "no-such-route");
    assert!(detail.contains("/openapi.json"), "{detail}");
    let wrong = server.send("PATCH", "/v1/tables/t/rows/k", &[], b"").await;
    wrong.problem(405, "method-not-allowed");
    assert!(wrong.headers["allow"].contains("PUT"), "{:?}", wrong.headers);
    let typing_error = server.get("/v1/tables/t/rows?limt=3").await;
    assert!(typing_error.problem(400, "invalid-argument").contains("limit"));
    server.get("/v1/tables/t/rows?cursor=AA").await.problem(400, "invalid-cursor");
    server.get("/v1/tables/t/rows/%ff").await.problem(400, "invalid-argument");
    server.get("/v1/tables/t/rows/k?timeout_ms=0").await.problem(400, "invalid-argument");
    server.get("/v1/tables/t/rows/k?timeout_ms=9000").await.problem(404, "no-such-row");
    let untyped = server.send("POST", "/v1/tables", &[], b"{\"name\":\"x\"}").await;
    let detail = untyped.problem(415, "unsupported-media-type");
    assert!(detail.contains("application/json"), "{detail}");
    let long = format!("/v1/tables/t/rows/{}", "k".repeat(60_000));
    assert_eq!(server.put(&long, b"1").await.status, 200);
    let problem = server.get("/v1/tables/none/rows/k").await.json();
    assert_eq!(problem["instance"], "/v1/tables/none/rows/k");
    assert_eq!(problem["actor"], "fix");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_tells_how_it_stands() {
    let server = Running::start().await;
    let status = server.get("/v1/status").await.ok();
    assert_eq!(status["ready"], true);
    let shards = server.get("/v1/shards").await.ok();
    let first = &shards["shards"][0];
    assert_eq!(first["leader"], status["id"]);
    assert_eq!(first["slot_last"], status["shards"][0]["slot_last"]);
    assert_eq!(first["replicas"][0]["role"], "leader");
    assert_eq!(shards["shards"][8]["name"], "meta");
    let nodes = server.get("/v1/nodes").await.ok();
    assert_eq!(nodes["nodes"][0]["address"], server.address.to_string());
    let findings = server.get("/v1/doctor").await.ok();
    assert!(!findings["findings"].as_array().expect("findings").is_empty());
    assert_eq!(server.get("/health/live").await.ok()["status"], "live");
    assert_eq!(server.get("/health/ready").await.ok()["status"], "ready");
    assert!(server.get("/").await.text().contains("/openapi.json"));
    assert_eq!(server.get("/openapi.json").await.ok()["openapi"], "3.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_shuts_down_is_alive_but_not_ready() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    server.node.shutdown().await;
    let detail = server.get("/health/ready").await.problem(503, "not-ready");
    assert!(detail.contains("shutting down"), "{detail}");
    assert_eq!(server.get("/health/live").await.status, 200);
    let refused = server.put("/v1/tables/t/rows/k", b"1").await;
    refused.problem(503, "shutting-down");
    assert_eq!(refused.headers["retry-after"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_requests_by_route_and_tell_of_each_shard() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    server.put("/v1/tables/t/rows/a", b"1").await.ok();
    server.get("/v1/tables/t/rows/b").await.problem(404, "no-such-row");
    let answer = server.get("/metrics").await;
    assert!(answer.headers["content-type"].starts_with("application/openmetrics-text"));
    let text = answer.text();
    for line in [
        "breccia_http_requests_total{protocol=\"rest\",\
         method=\"PUT /v1/tables/{table}/rows/{key}\",status=\"200\"} 1",
        "breccia_http_requests_total{protocol=\"rest\",\
         method=\"GET /v1/tables/{table}/rows/{key}\",status=\"404\"} 1",
        "breccia_shard_leader{shard=\"0\"} 1",
        "breccia_shard_quarantined{shard=\"0\"} 0",
        "breccia_ready 1",
        "breccia_read_only 0",
        "breccia_tables 2",
        "breccia_http_requests_in_flight 1",
        "breccia_memory_budget_bytes 1073741824",
        "breccia_log_commands_total 1",
        "breccia_router_forwards_total 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_table_are_reduced_and_the_answer_says_what_it_covers() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    for (key, value) in [("a%2F1", "{\"d\": 5}"), ("a%2F2", "{\"d\": -2.5}"), ("b%2F1", "{}")] {
        server.put(&format!("/v1/tables/t/rows/{key}"), value.as_bytes()).await.ok();
    }
    let reduce = async |body| server.post("/v1/tables/t/reduce", &body).await;
    let sum = reduce(json!({ "reduction": "sum:f64", "field": "d" })).await.ok();
    assert_eq!(sum["result"], json!(2.5));
    let coverage = &sum["coverage"];
    assert_eq!(coverage["shards_asked"], coverage["shards_answered"]);
    assert_eq!((&coverage["rows"], &coverage["skipped"]), (&json!(3), &json!(1)));
    assert_eq!(coverage["missing"], json!([]));
    let top = reduce(json!({ "reduction": "top:1", "field": "/d", "prefix": "a/" })).await.ok();
    assert_eq!(top["result"], json!([{ "score": 5.0, "item": "a/1" }]));
    let keys = json!({ "reduction": "count", "from": "a/2", "to": { "base64": "Yi8y" } });
    assert_eq!(reduce(keys).await.ok()["result"], json!(2));
    let last = reduce(json!({ "reduction": "max:bytes", "input": "key" })).await.ok();
    assert_eq!(last["result"], json!("b/1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reduction_that_cannot_be_is_refused_with_what_is_wrong() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    server.create("m", "monoid:sum:i64").await;
    server.put("/v1/tables/t/rows/k", b"no json").await.ok();
    for row in ["/v1/tables/m/rows/a", "/v1/tables/m/rows/b"] {
        server.put(row, b"9223372036854775807").await.ok();
    }
    let reduce =
        async |table: &str, body| server.post(&format!("/v1/tables/{table}/reduce"), &body).await;
    let merged = reduce("m", json!({ "reduction": "merge" })).await.ok();
    assert_eq!(merged["result"], json!("18446744073709551614"), "sums go beyond 64 bits");
    for (table, body, status, code) in [
        ("t", json!({ "reduction": "avg", "field": "d" }), 400, "invalid-argument"),
        ("t", json!({ "reduction": "sum:f64" }), 400, "invalid-argument"),
        ("t", json!({ "reduction": "count", "field": "a..b" }), 400, "invalid-argument"),
        ("t", json!({ "reduction": "count", "limit": 3 }), 400, "invalid-argument"),
        ("t", json!({ "reduction": "merge" }), 400, "wrong-kind"),
        ("t", json!({ "reduction": "last", "field": "d" }), 400, "wrong-kind"),
        ("m", json!({ "reduction": "sum:i64", "input": "value" }), 400, "wrong-kind"),
        ("t", json!({ "reduction": "hll", "field": "d", "strict": true }), 422, "unfit-row"),
        ("none", json!({ "reduction": "count" }), 404, "unknown-table"),
    ] {
        let problem = reduce(table, body).await.problem(status, code);
        assert!(code != "unfit-row" || problem.contains("\"k\""), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered_in_the_form_that_is_asked_for() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "x,y")] {
        server.put(&format!("/v1/tables/t/rows/{key}"), value.as_bytes()).await.ok();
    }
    let query = json!({ "sql": "select _key, _value from t order by _key limit 3" });
    let answer = server.post("/v1/sql", &query).await.ok();
    assert_eq!(answer["columns"][1], json!({ "name": "_value", "type": "Utf8" }));
    assert_eq!(answer["rows"][2], json!({ "_key": "c", "_value": "x,y" }));
    let coverage = &answer["coverage"];
    assert_eq!((&coverage["rows"], &coverage["missing"]), (&json!(3), &json!([])));
    assert_eq!(coverage["shards_asked"], coverage["shards_answered"]);
    let body = query.to_string();
    for (accept, expected) in [
        (
            "application/x-ndjson",
            "{\"_key\":\"a\",\"_value\":\"1\"}\n{\"_key\":\"b\",\"_value\":\"2\"}\n\
             {\"_key\":\"c\",\"_value\":\"x,y\"}\n",
        ),
        ("text/csv", "_key,_value\na,1\nb,2\nc,\"x,y\"\n"),
    ] {
        let headers = [JSON, ("accept", accept)];
        let answer = server.send("POST", "/v1/sql", &headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.text()), (200, expected), "{accept}");
    }
    let headers = [JSON, ("accept", "application/vnd.apache.arrow.stream")];
    let arrow = server.send("POST", "/v1/sql", &headers, body.as_bytes()).await;
    assert_eq!(arrow.status, 200);
    assert!(arrow.body.windows(6).any(|bytes| bytes == b"_value"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_cannot_be_answered_is_a_problem_before_anything_is_sent() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    server.put("/v1/tables/t/rows/a", b"0").await.ok();
    for (sql, word) in [
        ("select nothing from t", "nothing"),
        ("select 1 from none", "none"),
        ("drop table t", "DDL"),
        ("select 1 / cast(_value as int) from t", "Divide by zero"),
    ] {
        let body = json!({ "sql": sql }).to_string();
        for accept in ["application/json", "application/x-ndjson", "text/csv"] {
            let headers = [JSON, ("accept", accept)];
            let answer = server.send("POST", "/v1/sql", &headers, body.as_bytes()).await;
            let problem = answer.problem(422, "invalid-query");
            assert!(problem.contains(word), "{sql}: {problem}");
        }
    }
    let unknown = server.post("/v1/sql", &json!({ "query": "select 1" })).await;
    unknown.problem(400, "invalid-argument");
}
