//! REST.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value as Json, json};

use super::code::outcome_of_code;
use super::{
    Driver, HttpConnection, HttpError, Reply, RequestId, TABLE, Targets, no_such_node,
    not_in_protocol,
};
use crate::history::{Answer, Call, Outcome, Protocol, Value};

const NO_SUCH_ROW: &str = "no-such-row";

/// A client of REST.
pub struct RestDriver {
    targets: Targets,
    /// The node it is connected to, and the connection.
    connected: Option<(usize, HttpConnection)>,
}

impl RestDriver {
    /// A client of these nodes.
    #[must_use]
    pub fn new(targets: Targets) -> Self {
        Self { targets, connected: None }
    }

    async fn send(
        &mut self,
        node: usize,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, HttpError> {
        let deadline = self.targets.deadline;
        let kept = self.connected.take().filter(|(to, _)| *to == node);
        let mut connection = match (kept, self.targets.nodes.get(node)) {
            (Some((_, connection)), _) => connection,
            (None, Some(address)) => HttpConnection::open(address.http, deadline).await?,
            (None, None) => {
                return Err(HttpError::NotConnected { reason: "no such node".to_owned() });
            }
        };
        let reply = connection.send(request, deadline).await?;
        self.connected = Some((node, connection));
        Ok(reply)
    }
}

#[async_trait]
impl Driver for RestDriver {
    fn protocol(&self) -> Protocol {
        Protocol::Rest
    }

    fn has(&self, call: &Call) -> bool {
        parts(call).is_some()
    }

    async fn ask(&mut self, node: usize, key: &str, call: &Call, id: Option<RequestId>) -> Outcome {
        let Some((method, suffix, body)) = parts(call) else { return not_in_protocol(call) };
        let Some(address) = self.targets.nodes.get(node) else { return no_such_node(node) };
        let millis = self.targets.deadline.as_millis();
        let path = format!("/v1/tables/{TABLE}/rows/{key}{suffix}?timeout_ms={millis}");
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", address.http.to_string());
        if matches!(call, Call::CompareAndSet { .. }) {
            request = request.header("content-type", "application/json");
        }
        if let Some(RequestId(id)) = id {
            let text: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            request = request.header("idempotency-key", text);
        }
        let request = match request.body(Full::from(body)) {
            Ok(request) => request,
            Err(error) => return Outcome::Refused(format!("no request: {error}")),
        };
        match self.send(node, request).await {
            Ok(reply) => read_reply(call, &reply),
            Err(error @ HttpError::NotConnected { .. }) => Outcome::Refused(error.to_string()),
            Err(error) => Outcome::Unknown(error.to_string()),
        }
    }
}

/// The method of a call, the end of its path, and its body.
fn parts(call: &Call) -> Option<(&'static str, &'static str, String)> {
    match call {
        Call::Read => Some(("GET", "", String::new())),
        Call::Write(value) => Some(("PUT", "", value.to_string())),
        Call::CompareAndSet { expected, new } => {
            let body = json!({ "expected": expected.as_deref(), "new": new.as_deref() });
            Some(("POST", "/cas", body.to_string()))
        }
        Call::Delete => Some(("DELETE", "", String::new())),
        Call::Exchange(_) | Call::Increment(_) | Call::Append(_) => None,
    }
}

fn read_reply(call: &Call, reply: &Reply) -> Outcome {
    let Ok(body) = serde_json::from_slice::<Json>(&reply.body) else {
        return Outcome::Unknown(format!("status {} without JSON", reply.status));
    };
    let text = |member: &str| body.get(member).and_then(Json::as_str).map(Value::from);
    let flag = |member: &str| body.get(member).and_then(Json::as_bool);
    if reply.status != 200 {
        let code = text("code").unwrap_or_default();
        if *call == Call::Read && &*code == NO_SUCH_ROW {
            return Outcome::Answered(Answer::Found(None));
        }
        return outcome_of_code(&code, &text("detail").unwrap_or_default());
    }
    let answer = match call {
        Call::Read => text("value").map(|value| Answer::Found(Some(value))),
        Call::Write(_) => Some(Answer::Done),
        Call::CompareAndSet { .. } => flag("swapped").map(|swapped| Answer::Swapped {
            swapped,
            instead: (!swapped).then(|| text("actual")),
        }),
        Call::Delete => flag("existed").map(Answer::Existed),
        Call::Exchange(_) | Call::Increment(_) | Call::Append(_) => None,
    };
    match answer {
        Some(answer) => Outcome::Answered(answer),
        None => Outcome::Unknown(format!("unexpected reply {body}")),
    }
}
