//! The services that every gRPC server has: reflection and health.

use breccia_api::v1;
use breccia_types::limits::SHUTDOWN_GRACE;
use futures::stream;
use tokio::time::timeout;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::Running;

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_every_service() {
    let server = Running::start().await;
    let mut client = ServerReflectionClient::new(server.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(stream::iter([request])).await.expect("answers");
    let answer = answers.into_inner().message().await.expect("an answer").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for expected in [
        "breccia.v1.KeyValue",
        "breccia.v1.Tables",
        "breccia.v1.Import",
        "breccia.v1.Admin",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(&expected), "{expected} is not in {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_node() {
    let server = Running::start().await;
    let mut client = HealthClient::new(server.channel().await);
    let all = HealthCheckRequest { service: String::new() };
    let mut changes = client.watch(all.clone()).await.expect("a watch").into_inner();
    let first = changes.message().await.expect("a status").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);
    server.node.shutdown().await;
    let now = client.check(all).await.expect("a status").into_inner();
    assert_eq!(now.status(), ServingStatus::NotServing);
    let changed = changes.message().await.expect("a status").expect("a status");
    assert_eq!(changed.status(), ServingStatus::NotServing);
    let other = HealthCheckRequest { service: "breccia.v1.Import".into() };
    client.check(other).await.expect("a service of this server");
    let unknown = HealthCheckRequest { service: "none".into() };
    assert_eq!(client.check(unknown).await.expect_err("none").code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_here_is_unimplemented() {
    let server = Running::start().await;
    let channel = server.channel().await;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("ready");
    let path = "/other.v1.Service/Call".parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<v1::CountRequest, v1::CountResponse>::default();
    let request = Request::new(v1::CountRequest { table: "t".into() });
    let refused = client.unary(request, path, codec).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_health_does_not_hold_the_server_up() {
    let mut server = Running::start().await;
    let mut client = HealthClient::new(server.channel().await);
    let all = HealthCheckRequest { service: String::new() };
    let mut changes = client.watch(all).await.expect("a watch").into_inner();
    changes.message().await.expect("a status").expect("a status");
    server.stop.cancel();
    let ended = timeout(SHUTDOWN_GRACE / 2, &mut server.task).await.expect("the server ends");
    ended.expect("no panic").expect("no error");
}
