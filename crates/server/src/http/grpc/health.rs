//! The service `grpc.health.v1.Health`: asks the node at each check, so that it never
//! lags behind.

use std::pin::Pin;

use breccia_api::v1::admin_server::SERVICE_NAME as ADMIN;
use breccia_api::v1::import_server::SERVICE_NAME as IMPORT;
use breccia_api::v1::key_value_server::SERVICE_NAME as KEY_VALUE;
use breccia_api::v1::tables_server::SERVICE_NAME as TABLES;
use breccia_node::Node;
use futures::stream::{Stream, StreamExt};
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::http::app::App;
use crate::http::limits::HEALTH_WATCH_INTERVAL;

/// Whether the node takes reads and writes. The empty name stands for all services.
pub(super) struct HealthService {
    app: App,
}

type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = WatchStream;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match status(&self.app.node, &service) {
            ServingStatus::ServiceUnknown => {
                Err(Status::not_found(format!("no service {service:?} runs here")))
            }
            status => Ok(Response::new(HealthCheckResponse { status: status.into() })),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<WatchStream>, Status> {
        let service = request.into_inner().service;
        let node = self.app.node.clone();
        let closing = self.app.closing.clone().cancelled_owned();
        let mut last = None;
        let changes = IntervalStream::new(interval(HEALTH_WATCH_INTERVAL)).filter_map(move |_| {
            let now = status(&node, &service);
            let changed = last.replace(now) != Some(now);
            let response = HealthCheckResponse { status: now.into() };
            std::future::ready(changed.then_some(Ok(response)))
        });
        Ok(Response::new(Box::pin(changes.take_until(closing))))
    }
}

impl HealthService {
    pub(super) const fn new(app: App) -> Self {
        Self { app }
    }
}

fn status(node: &Node, service: &str) -> ServingStatus {
    if !["", KEY_VALUE, TABLES, IMPORT, ADMIN].contains(&service) {
        return ServingStatus::ServiceUnknown;
    }
    if node.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}
