//! Counts and times requests.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Extensions;
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use crate::http::app::App;
use crate::http::grpc;

/// The upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum Protocol {
    grpc,
    rest,
}

/// One kind of request. Its values are bounded by the routes that there are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    protocol: Protocol,
    method: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    protocol: Protocol,
    method: String,
    status: String,
}

/// The metrics of requests.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    total: Family<Outcome, Counter>,
    seconds: Family<Method, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new_histogram: fn() -> Histogram = || Histogram::new(LATENCY_BUCKETS);
        let requests = Self {
            total: Family::default(),
            seconds: Family::new_with_constructor(new_histogram),
            in_flight: Gauge::default(),
        };
        registry.register(
            "http_requests",
            "Requests by method and status (gRPC: the status code's number)",
            requests.total.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time until a request is answered, for streams until the answer begins",
            Unit::Seconds,
            requests.seconds.clone(),
        );
        registry.register(
            "http_requests_in_flight",
            "Requests that are not answered yet",
            requests.in_flight.clone(),
        );
        requests
    }
}

/// Counts a request as in flight for as long as it lives, so that one whose client goes
/// away does not stay counted.
struct InFlight(Gauge);

impl InFlight {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts and times one request.
pub(crate) async fn measure(State(app): State<App>, request: Request, next: Next) -> Response {
    let requests = &app.metrics.requests;
    let protocol = match grpc::is_grpc(request.headers()) {
        true => Protocol::grpc,
        false => Protocol::rest,
    };
    let verb = request.method().clone();
    let path = request.uri().path().to_owned();
    let matched = matched_path(request.extensions());
    let started = Instant::now();
    let in_flight = InFlight::new(&requests.in_flight);
    let response = next.run(request).await;
    drop(in_flight);
    let status = match protocol {
        Protocol::grpc => grpc_status(&response),
        Protocol::rest => response.status().as_str().to_owned(),
    };
    let method = match (protocol, matched) {
        (_, None) => "unknown".to_owned(),
        (Protocol::grpc, Some(_)) if is_unimplemented(&status) => "unknown".to_owned(),
        (Protocol::grpc, Some(_)) => path.trim_start_matches('/').to_owned(),
        (Protocol::rest, Some(route)) => format!("{verb} {route}"),
    };
    let label = Method { protocol, method: method.clone() };
    requests.seconds.get_or_create(&label).observe(started.elapsed().as_secs_f64());
    requests.total.get_or_create(&Outcome { protocol, method, status }).inc();
    response
}

fn matched_path(extensions: &Extensions) -> Option<String> {
    extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned())
}

/// The status of a call that failed at once is in the headers; else it began well.
fn grpc_status(response: &Response) -> String {
    let status = response.headers().get("grpc-status").and_then(|value| value.to_str().ok());
    status.unwrap_or("0").to_owned()
}

fn is_unimplemented(status: &str) -> bool {
    Code::from_bytes(status.as_bytes()) == Code::Unimplemented
}
