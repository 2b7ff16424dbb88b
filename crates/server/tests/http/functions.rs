//! Functions of users over REST and gRPC.

use breccia_api::v1;
use breccia_api::v1::functions_client::FunctionsClient;
use breccia_api::v1::key_value_client::KeyValueClient;
use breccia_api::v1::reduce_response::Event;
use serde_json::json;
use tonic::Code;

use crate::support::{JSON, Running};

const VISITS: &str = include_str!("../../../../examples/functions/text/visits.wat");
const LOOKUP: &str = include_str!("../../../../examples/functions/text/lookup.wat");
const TOTAL: &str = include_str!("../../../../examples/functions/text/total.wat");
const TEXT: (&str, &str) = ("content-type", "text/plain");

async fn deploy(server: &Running, path: &str, module: &str) -> crate::support::Answer {
    server.send("PUT", &format!("/v1/functions/{path}"), &[TEXT], module.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_deployed_called_and_removed_over_rest() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let deployed = deploy(&server, "visits?fuel=5000000", VISITS).await;
    assert_eq!(deployed.status, 201, "{}", deployed.text());
    let function = deployed.json();
    assert_eq!((&function["kind"], &function["version"]), (&json!("write"), &json!(1)));
    assert_eq!(function["limits"]["fuel"], 5_000_000);
    let listed = server.get("/v1/functions").await.ok();
    assert_eq!(listed["functions"], json!([function]));

    let call = json!({"keys": ["alice"]});
    let id = ("idempotency-key", "00112233-4455-6677-8899-aabbccddeeff");
    for _ in 0..3 {
        let body = call.to_string();
        let headers = [JSON, id, ("accept", "application/octet-stream")];
        let once = server.send("POST", "/v1/tables/t/call/visits", &headers, body.as_bytes()).await;
        assert_eq!((once.status, &once.body[..]), (200, &1_u64.to_le_bytes()[..]));
    }
    let again = server.post("/v1/tables/t/call/visits", &call).await.ok();
    // Eight bytes that are text, as it happens.
    assert_eq!(again["reply"], "\u{2}\0\0\0\0\0\0\0");

    deploy(&server, "lookup", LOOKUP).await;
    let absent = server.post("/v1/tables/t/call/lookup", &json!({"keys": ["bob"]})).await;
    let why = absent.problem(422, "function-failed");
    assert!(why.contains("there is no such row"), "{why}");
    let two = server.post("/v1/tables/t/call/lookup", &json!({"keys": ["a", "b"]})).await;
    two.problem(400, "cross-slot");
    let none = server.post("/v1/tables/t/call/lookup", &json!({"keys": []})).await;
    none.problem(400, "invalid-argument");

    let removed = server.delete("/v1/functions/visits").await.ok();
    assert_eq!(removed["version"], 1);
    server.post("/v1/tables/t/call/visits", &call).await.problem(404, "unknown-function");
    server.delete("/v1/functions/visits").await.problem(404, "unknown-function");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_cannot_run_is_refused_and_says_why() {
    let server = Running::start().await;
    let wasi = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32)
        (result i32))))"#;
    for (module, why) in
        [("(module)", "exports none"), ("what", "no WebAssembly"), (wasi, "exports")]
    {
        let refused = deploy(&server, "f", module).await.problem(422, "invalid-module");
        assert!(refused.contains(why), "{refused}");
    }
    let importing = VISITS.replace("\"put\"", "\"format_disk\"");
    let refused = deploy(&server, "f", &importing).await.problem(422, "invalid-module");
    assert!(refused.contains("breccia.format_disk"), "{refused}");
    deploy(&server, "F", VISITS).await.problem(400, "invalid-argument");
    deploy(&server, "f?fuel=0", VISITS).await.problem(400, "invalid-argument");
    deploy(&server, "f?memory_bytes=99999999999", VISITS).await.problem(400, "invalid-argument");
    let untyped = server.put("/v1/functions/f", VISITS.as_bytes()).await;
    assert_eq!(untyped.status, 415, "{}", untyped.text());
    assert_eq!(server.get("/v1/functions").await.ok()["functions"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_reduced_by_a_function_over_rest_and_grpc() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    for row in 1..=100 {
        let path = format!("/v1/tables/t/rows/{row:03}");
        server.put(&path, row.to_string().as_bytes()).await.ok();
    }
    assert_eq!(deploy(&server, "total", TOTAL).await.status, 201);
    let reduce = json!({"reduction": "fn:total"});
    let reduced = server.post("/v1/tables/t/reduce", &reduce).await.ok();
    assert_eq!((&reduced["result"], &reduced["coverage"]["rows"]), (&json!(5_050), &json!(100)));
    let some = json!({"reduction": "fn:total", "from": "091", "argument": "ignored"});
    assert_eq!(server.post("/v1/tables/t/reduce", &some).await.ok()["result"], 955);
    let field = json!({"reduction": "fn:total", "field": "x"});
    server.post("/v1/tables/t/reduce", &field).await.problem(400, "invalid-argument");
    let argument = json!({"reduction": "count", "argument": "x"});
    server.post("/v1/tables/t/reduce", &argument).await.problem(400, "invalid-argument");
    let unknown = json!({"reduction": "fn:nothing"});
    server.post("/v1/tables/t/reduce", &unknown).await.problem(404, "unknown-function");

    let request =
        v1::ReduceRequest { table: "t".into(), reduction: "fn:total".into(), ..Default::default() };
    let mut rows = KeyValueClient::new(server.channel().await);
    let mut events = rows.reduce(request).await.expect("reduces").into_inner();
    let result = loop {
        let message = events.message().await.expect("goes on").expect("a result");
        if let Some(Event::Result(result)) = message.event {
            break result;
        }
    };
    assert_eq!((result.presented.as_str(), result.rows), ("5050", 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_deployed_called_and_removed_over_grpc() {
    let server = Running::start().await;
    server.create("t", "plain").await;
    let mut functions = FunctionsClient::new(server.channel().await);
    let deploy = v1::DeployFunctionRequest {
        name: "visits".into(),
        module: VISITS.into(),
        limits: Some(v1::FunctionLimits { rows: Some(10), ..Default::default() }),
    };
    let deployed = functions.deploy(deploy).await.expect("deploys").into_inner();
    assert_eq!((deployed.kind(), deployed.version), (v1::FunctionKind::Write, 1));
    assert_eq!(deployed.limits.and_then(|limits| limits.rows), Some(10));
    let call = |kind: v1::FunctionKind, table: &str| v1::CallFunctionRequest {
        function: "visits".into(),
        table: table.into(),
        keys: vec!["alice".into()],
        request_id: b"0123456789abcdef".to_vec().into(),
        kind: kind.into(),
        ..Default::default()
    };
    for _ in 0..2 {
        let called = functions.call(call(v1::FunctionKind::Unspecified, "t")).await;
        assert_eq!(&called.expect("calls").into_inner().reply[..], 1_u64.to_le_bytes());
    }
    let reads = functions.call(call(v1::FunctionKind::Read, "t")).await.expect_err("refused");
    assert_eq!(reads.code(), Code::FailedPrecondition);
    let no_table = functions.call(call(v1::FunctionKind::Write, "u")).await.expect_err("refused");
    assert_eq!(no_table.code(), Code::NotFound);
    let listed = functions.list(v1::ListFunctionsRequest {}).await.expect("lists").into_inner();
    assert_eq!(listed.functions, [deployed]);
    let remove = v1::RemoveFunctionRequest { name: "visits".into() };
    functions.remove(remove.clone()).await.expect("removes");
    assert_eq!(functions.remove(remove).await.expect_err("gone").code(), Code::NotFound);
}
