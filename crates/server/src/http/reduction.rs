//! A reduction as gRPC and REST bring it, and how it goes on while they wait.

use std::sync::Arc;
use std::time::Duration;

use breccia_node::{Named, Reduction};
use breccia_types::RequestError;
use breccia_types::limits::{REDUCE_PROGRESS_INTERVAL, REQUEST_DEADLINE_DEFAULT};
use breccia_types::reduce::{Aggregate, Input, Meter, Progress, Scope};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{Stream, unfold};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::admission::ScanPermit;
use super::app::App;
use super::deadline::Deadline;

/// What a node keeps of the client's time, to answer with what it has: a tenth, and no more
/// than this.
const MARGIN_MAX: Duration = Duration::from_millis(500);

/// A reduction that a client asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) table: String,
    pub(crate) by: By,
    pub(crate) scope: Scope,
}

/// What rows are reduced by.
#[derive(Debug, Clone)]
pub(crate) enum By {
    Aggregate(Aggregate),
    #[cfg(feature = "functions")]
    Function {
        name: String,
        arg: Bytes,
    },
}

/// What a reduction's name begins with if it is that of a function.
#[cfg(feature = "functions")]
const FUNCTION: &str = "fn:";

/// What a reduction of this name reduces by.
pub(crate) fn by(name: &str, input: Option<Input>, arg: Bytes) -> Result<By, RequestError> {
    let refuse = |argument, reason: &str| {
        Err(RequestError::InvalidArgument { argument, reason: reason.to_owned() })
    };
    #[cfg(feature = "functions")]
    if let Some(name) = name.strip_prefix(FUNCTION) {
        return match input {
            None => Ok(By::Function { name: name.to_owned(), arg }),
            Some(_) => refuse("input", "a function sees keys and values; it takes no input"),
        };
    }
    match arg.is_empty() {
        true => aggregate(name, input).map(By::Aggregate),
        false => refuse("argument", "only functions take one: fn:NAME"),
    }
}

/// The reduction of this name: `count`, `merge`, or a monoid over an input.
fn aggregate(name: &str, input: Option<Input>) -> Result<Aggregate, RequestError> {
    let refuse = |argument, reason: String| RequestError::InvalidArgument { argument, reason };
    match (name, input) {
        ("count", None) => Ok(Aggregate::Count),
        ("merge", None) => Ok(Aggregate::Merge),
        ("merge", Some(_)) => {
            Err(refuse("input", "merge takes the states of a monoid table, no input".to_owned()))
        }
        (monoid, input) => {
            let monoid = monoid.parse().map_err(|error| {
                refuse("reduction", format!("{error}; or merge, for monoid tables"))
            })?;
            let missing = || {
                let reason = format!("{name} reduces a field, the key or the value: say which");
                refuse("input", reason)
            };
            Ok(Aggregate::Operands { monoid, input: input.ok_or_else(missing)? })
        }
    }
}

/// The field of this path.
pub(crate) fn field(path: &str) -> Result<Input, RequestError> {
    path.parse().map(Input::Field).map_err(|error: breccia_types::reduce::FieldPathError| {
        RequestError::InvalidArgument { argument: "field", reason: error.to_string() }
    })
}

/// How long a reduction may take so that its answer is there at the client's deadline.
pub(crate) fn within(deadline: Deadline) -> Duration {
    let left = deadline.time_left().unwrap_or(REQUEST_DEADLINE_DEFAULT);
    left.saturating_sub((left / 10).min(MARGIN_MAX))
}

/// What a client that waits is told.
pub(crate) enum Event {
    Progress(Progress),
    End(Reduction),
}

/// Runs a reduction and tells from time to time how far it has come; the last event is its
/// end. Dropping the stream ends the reading on all nodes.
pub(crate) fn run(
    app: App,
    asked: Asked,
    permit: ScanPermit,
) -> impl Stream<Item = Result<Event, RequestError>> + Send {
    let meter = Arc::new(Meter::default());
    let running = reduce(app, asked, Arc::clone(&meter), permit).boxed();
    let mut ticks = interval(REDUCE_PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    unfold(Some(Running { running, ticks, meter }), |running| async {
        let mut running = running?;
        match running.next().await {
            Ok(Event::Progress(progress)) => Some((Ok(Event::Progress(progress)), Some(running))),
            end => Some((end, None)),
        }
    })
}

/// Runs a reduction to its end.
pub(crate) async fn reduce(
    app: App,
    asked: Asked,
    meter: Arc<Meter>,
    _permit: ScanPermit,
) -> Result<Reduction, RequestError> {
    let (app, asked, meter) = (&app, &asked, &meter);
    let reduced = app.node.on_table(&asked.table, async |on: Named| match &asked.by {
        By::Aggregate(aggregate) => {
            app.node.reduce(&on.table, aggregate, &asked.scope, meter).await
        }
        #[cfg(feature = "functions")]
        By::Function { name, arg } => {
            app.functions.reduce(&on.table, (name, arg.clone()), &asked.scope, meter).await
        }
    });
    reduced.await
}

struct Running {
    running: BoxFuture<'static, Result<Reduction, RequestError>>,
    ticks: Interval,
    meter: Arc<Meter>,
}

impl Running {
    async fn next(&mut self) -> Result<Event, RequestError> {
        tokio::select! {
            end = &mut self.running => end.map(Event::End),
            _ = self.ticks.tick() => Ok(Event::Progress(self.meter.progress())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monoid_needs_an_input_and_merge_takes_none() {
        assert_eq!(aggregate("count", None), Ok(Aggregate::Count));
        assert_eq!(aggregate("merge", None), Ok(Aggregate::Merge));
        let delay = || Some(field("delay").expect("a path"));
        for name in ["count", "sum:f64", "top:5", "hll"] {
            assert!(aggregate(name, delay()).is_ok(), "{name}");
        }
        for (name, input) in [("merge", delay()), ("sum:f64", None), ("avg", delay()), ("", None)] {
            let refused = aggregate(name, input).expect_err(name);
            assert_eq!(refused.code(), "invalid-argument");
        }
        assert!(field("a..b").is_err());
    }
}
