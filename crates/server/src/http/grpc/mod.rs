//! gRPC: package `breccia.v1`, server reflection, and the standard health service.

mod admin;
#[cfg(feature = "functions")]
mod functions;
mod health;
mod import;
mod key_value;
#[cfg(feature = "sql")]
mod sql;
mod tables;
mod wire;

use axum::Router;
use axum::http::{HeaderMap, header};
use breccia_api::v1::admin_server::AdminServer;
#[cfg(feature = "functions")]
use breccia_api::v1::functions_server::FunctionsServer;
use breccia_api::v1::import_server::ImportServer;
use breccia_api::v1::key_value_server::KeyValueServer;
#[cfg(feature = "sql")]
use breccia_api::v1::sql_server::SqlServer;
use breccia_api::v1::tables_server::TablesServer;
use breccia_api::{ACTOR_METADATA, CODE_METADATA, FILE_DESCRIPTOR_SET};
use breccia_types::limits::HTTP_BODY_BYTES_MAX;
use breccia_types::{Actor, RequestError};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::service::Routes;
use tonic::{Response, Status};
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTOR_SET;
use tonic_health::pb::health_server::HealthServer;

use self::admin::AdminService;
#[cfg(feature = "functions")]
use self::functions::FunctionsService;
use self::health::HealthService;
use self::import::ImportService;
use self::key_value::KeyValueService;
#[cfg(feature = "sql")]
use self::sql::SqlService;
use self::tables::TablesService;
use super::admission::Overload;
use super::app::App;
use crate::status::{BUSY, BUSY_CODE, actor_name, codes_of};

const CONTENT_TYPE: &str = "application/grpc";

/// The routes of every gRPC service.
pub(crate) fn router(app: &App) -> Router {
    macro_rules! bounded {
        ($server:expr) => {
            $server
                .max_decoding_message_size(HTTP_BODY_BYTES_MAX)
                .max_encoding_message_size(HTTP_BODY_BYTES_MAX)
        };
    }
    let node = &app.node;
    let mut routes = Routes::builder();
    routes
        .add_service(bounded!(KeyValueServer::new(KeyValueService::new(app.clone()))))
        .add_service(bounded!(TablesServer::new(TablesService::new(node.clone()))))
        .add_service(bounded!(ImportServer::new(ImportService::new(node.clone()))))
        .add_service(bounded!(AdminServer::new(AdminService::new(app.clone()))))
        .add_service(HealthServer::new(HealthService::new(app.clone())));
    #[cfg(feature = "functions")]
    routes.add_service(bounded!(FunctionsServer::new(FunctionsService::new(app.clone()))));
    #[cfg(feature = "sql")]
    routes.add_service(bounded!(SqlServer::new(SqlService::new(app.clone()))));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(HEALTH_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(current), Ok(alpha)) => {
            routes.add_service(current).add_service(alpha);
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "no server reflection: the descriptors cannot be read");
        }
    }
    routes.routes().into_axum_router().reset_fallback()
}

/// Whether a request speaks gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(CONTENT_TYPE.as_bytes()))
}

/// The status of an error, with its name and who must act as metadata.
pub(crate) fn status_of(error: &RequestError) -> Status {
    let metadata = metadata(error.code(), error.actor());
    Status::with_metadata(codes_of(error).grpc, error.to_string(), metadata)
}

/// The status of a request that there is no room for.
pub(crate) fn busy(overload: Overload) -> Status {
    let metadata = metadata(BUSY_CODE, Actor::Retry);
    Status::with_metadata(BUSY.grpc, overload.to_string(), metadata)
}

fn metadata(code: &'static str, actor: Actor) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE_METADATA, AsciiMetadataValue::from_static(code));
    metadata.insert(ACTOR_METADATA, AsciiMetadataValue::from_static(actor_name(actor)));
    metadata
}

/// What a call returns, as tonic wants it.
fn answer<T>(result: Result<T, RequestError>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| status_of(&error))
}
