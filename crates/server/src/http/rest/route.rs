//! Every route of REST, and the router made from them.

use axum::Router;
use axum::handler::Handler;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use tonic::Status;

#[cfg(feature = "functions")]
use super::functions;
#[cfg(feature = "sql")]
use super::sql;
use super::{admin, batch, history, import, pages, reduce, rows, scan, tables};
use crate::http::app::App;
use crate::http::grpc;

/// A path and its methods. The list can be read, so that a test can hold the description
/// of the interface against it.
struct Route {
    path: &'static str,
    methods: Vec<&'static str>,
    handlers: MethodRouter<App>,
}

macro_rules! method {
    ($name:ident, $text:literal) => {
        fn $name<H: Handler<T, App>, T: 'static>(mut self, handler: H) -> Self {
            self.methods.push($text);
            self.handlers = self.handlers.$name(handler);
            self
        }
    };
}

impl Route {
    fn at(path: &'static str) -> Self {
        Self { path, methods: Vec::new(), handlers: MethodRouter::new() }
    }

    method!(get, "get");
    method!(put, "put");
    method!(post, "post");
    method!(delete, "delete");
}

fn routes() -> Vec<Route> {
    vec![
        Route::at("/").get(pages::welcome),
        Route::at("/openapi.json").get(pages::openapi),
        Route::at("/metrics").get(pages::metrics),
        Route::at("/health/live").get(pages::live),
        Route::at("/health/ready").get(pages::ready),
        Route::at("/v1/tables").get(tables::list).post(tables::create),
        Route::at("/v1/tables/{table}").get(tables::describe).delete(tables::drop_table),
        Route::at("/v1/tables/{table}/columns").put(tables::set_columns),
        Route::at("/v1/tables/{table}/count").get(tables::count),
        Route::at("/v1/tables/{table}/rows").get(scan::scan).delete(scan::delete_range),
        Route::at("/v1/tables/{table}/rows/{key}")
            .get(rows::get)
            .put(rows::put)
            .delete(rows::delete),
        Route::at("/v1/tables/{table}/rows/{key}/cas").post(rows::compare_and_set),
        Route::at("/v1/tables/{table}/rows/{key}/merge").post(rows::merge),
        Route::at("/v1/tables/{table}/rows/{key}/history").get(history::history),
        Route::at("/v1/tables/{table}/multi-get").post(batch::multi_get),
        Route::at("/v1/tables/{table}/batch").post(batch::batch),
        Route::at("/v1/tables/{table}/reduce").post(reduce::reduce),
        Route::at("/v1/tables/{table}/import").post(import::import),
        #[cfg(feature = "functions")]
        Route::at("/v1/functions").get(functions::list),
        #[cfg(feature = "functions")]
        Route::at("/v1/functions/{function}").put(functions::deploy).delete(functions::remove),
        #[cfg(feature = "functions")]
        Route::at("/v1/tables/{table}/call/{function}").post(functions::call),
        #[cfg(feature = "sql")]
        Route::at("/v1/sql").post(sql::query),
        Route::at("/v1/status").get(admin::status),
        Route::at("/v1/nodes").get(admin::nodes),
        Route::at("/v1/shards").get(admin::shards),
        Route::at("/v1/doctor").get(admin::doctor),
    ]
}

/// The routes of REST, and the answer to everything that has none.
pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.path, route.handlers);
    }
    router.method_not_allowed_fallback(pages::method_not_allowed).fallback(fallback).with_state(app)
}

async fn fallback(headers: HeaderMap, uri: axum::http::Uri) -> Response {
    if grpc::is_grpc(&headers) {
        return Status::unimplemented(format!("there is no method {}", uri.path())).into_http();
    }
    pages::no_such_route(uri).await.into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn described() -> BTreeSet<(String, String)> {
        let document: Value = serde_json::from_str(pages::OPENAPI).expect("openapi.json is JSON");
        let paths = document["paths"].as_object().expect("paths");
        let methods = |item: &Value| item.as_object().expect("a path item").clone();
        let pairs = paths.iter().flat_map(|(path, item)| {
            methods(item)
                .into_iter()
                .filter(|(method, _)| method != "parameters")
                .map(|(method, _)| (path.clone(), method))
        });
        pairs.collect()
    }

    #[test]
    fn the_openapi_document_describes_every_route_and_no_other() {
        let served: BTreeSet<(String, String)> = routes()
            .iter()
            .flat_map(|route| {
                route.methods.iter().map(|method| (route.path.to_owned(), (*method).to_owned()))
            })
            .collect();
        assert_eq!(described(), served);
    }

    #[test]
    fn every_reference_of_the_openapi_document_leads_somewhere() {
        fn check(document: &Value, value: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(target)) = members.get("$ref") {
                        let pointer = target.strip_prefix('#').expect("a local reference");
                        assert!(document.pointer(pointer).is_some(), "{target}");
                    }
                    members.values().for_each(|member| check(document, member));
                }
                Value::Array(items) => items.iter().for_each(|item| check(document, item)),
                _ => {}
            }
        }
        let document: Value = serde_json::from_str(pages::OPENAPI).expect("openapi.json is JSON");
        check(&document, &document);
    }
}
