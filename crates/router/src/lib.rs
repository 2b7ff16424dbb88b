//! Where a request runs: here, there, or everywhere. Deadlines and retries live here and
//! nowhere else.
//!
//! A request for one shard takes this way: [`Router::write`] or [`Router::read`], the
//! decision in [`route`](mod@route), then either this node's [`LocalShards`] or the
//! transport, at whose other end [`Router`] is the handler and decides again. What may be
//! done about an attempt that did not succeed is decided in `attempt`. Requests for many
//! shards go through [`scatter`](mod@scatter), and pages of rows through
//! [`merge`](mod@merge); reductions of all rows through [`reduce`](mod@reduce).

pub mod route;

pub mod local;
pub mod router;
pub mod wire;

mod attempt;
mod backoff;
mod draws;
mod forward;
mod knowledge;
mod receive;

pub mod metrics;

pub mod merge;
pub mod reduce;
pub mod scatter;

pub use local::{LocalError, LocalShards, ShardRead};
pub use merge::{MergeLimits, PageSource, merged_page};
pub use metrics::RouterMetrics;
pub use receive::METHOD;
pub use reduce::{LocalReduce, Reduced, Reducer, Work};
pub use route::{Consistency, Hint, Journey, LocalRole, Reason, Route, View, route};
pub use router::{Placed, Placements, Router};
pub use scatter::Scatter;
