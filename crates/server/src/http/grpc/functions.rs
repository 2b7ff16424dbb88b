//! The service `Functions`.

use std::time::Duration;

use breccia_api::v1;
use breccia_api::v1::functions_server::Functions;
use breccia_functions::Asked;
use breccia_node::Named;
use breccia_types::{Function, FunctionKind, FunctionLimits, RequestError};
use tonic::{Request, Response, Status};

use super::{answer, status_of, wire};
use crate::http::app::App;
use crate::http::consistency;

/// Deploys, lists, removes and calls the functions of a cluster.
pub(super) struct FunctionsService {
    app: App,
}

impl FunctionsService {
    pub(super) const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl Functions for FunctionsService {
    async fn deploy(
        &self,
        request: Request<v1::DeployFunctionRequest>,
    ) -> Result<Response<v1::Function>, Status> {
        let v1::DeployFunctionRequest { name, module, limits } = request.into_inner();
        let limits = limits_of(limits.unwrap_or_default());
        let deployed = self.app.functions.deploy(&name, limits, module).await;
        answer(deployed.map(|function| shown(&function)))
    }

    async fn list(
        &self,
        _: Request<v1::ListFunctionsRequest>,
    ) -> Result<Response<v1::ListFunctionsResponse>, Status> {
        answer(self.app.functions.list().await.map(|functions| v1::ListFunctionsResponse {
            functions: functions.iter().map(|function| shown(function)).collect(),
        }))
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveFunctionRequest>,
    ) -> Result<Response<v1::Function>, Status> {
        let removed = self.app.functions.remove(&request.into_inner().name).await;
        answer(removed.map(|function| shown(&function)))
    }

    async fn call(
        &self,
        request: Request<v1::CallFunctionRequest>,
    ) -> Result<Response<v1::CallFunctionResponse>, Status> {
        let consistency = request.metadata().get(consistency::HEADER).map(|value| value.as_bytes());
        let app = self.app.reading(consistency).map_err(|error| status_of(&error))?;
        answer(call(&app, request.into_inner()).await)
    }
}

async fn call(
    app: &App,
    request: v1::CallFunctionRequest,
) -> Result<v1::CallFunctionResponse, RequestError> {
    let kind = match request.kind() {
        v1::FunctionKind::Unspecified => None,
        v1::FunctionKind::Read => Some(FunctionKind::Read),
        v1::FunctionKind::Write => Some(FunctionKind::Write),
        v1::FunctionKind::Reduce => Some(FunctionKind::Reduce),
    };
    let request_id = wire::request_id(&request.request_id)?;
    let v1::CallFunctionRequest { function, table, keys, args, .. } = request;
    let calling = app.node.on_table(&table, async |on: Named| {
        let request_id = on.request_id(request_id);
        let (function, keys, args) = (function.clone(), keys.clone(), args.clone());
        app.functions.call(&on.table, Asked { function, kind, keys, args, request_id }).await
    });
    Ok(v1::CallFunctionResponse { reply: calling.await? })
}

fn limits_of(limits: v1::FunctionLimits) -> FunctionLimits {
    let default = FunctionLimits::default();
    FunctionLimits {
        fuel: limits.fuel.unwrap_or(default.fuel),
        time: limits.time_ms.map_or(default.time, Duration::from_millis),
        memory_bytes: limits.memory_bytes.unwrap_or(default.memory_bytes),
        output_bytes: limits.output_bytes.unwrap_or(default.output_bytes),
        rows: limits.rows.unwrap_or(default.rows),
    }
}

fn shown(function: &Function) -> v1::Function {
    let limits = &function.limits;
    let kind = match function.kind {
        FunctionKind::Read => v1::FunctionKind::Read,
        FunctionKind::Write => v1::FunctionKind::Write,
        FunctionKind::Reduce => v1::FunctionKind::Reduce,
    };
    v1::Function {
        name: function.name.clone(),
        kind: kind.into(),
        version: function.version,
        digest: function.digest.as_bytes().to_vec().into(),
        module_bytes: function.module_bytes,
        limits: Some(v1::FunctionLimits {
            fuel: Some(limits.fuel),
            time_ms: Some(u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX)),
            memory_bytes: Some(limits.memory_bytes),
            output_bytes: Some(limits.output_bytes),
            rows: Some(limits.rows),
        }),
        deployed_at_micros: function.deployed_at.as_micros(),
    }
}
