//! The programming model: a service is a set of methods that run beside the data.
//!
//! | kind | where it runs | here |
//! |---|---|---|
//! | write | every replica of a shard, in log order | [`Service::write`] |
//! | read | a shard's leader, on its present state | [`Service::read`] |
//! | reduce | a shard's leader, for every shard; partials are combined on the way | [`Reduce`] |
//!
//! The key-value service ([`kv`]) and the string service ([`strings`]) are written on it.
//! A [`ShardMachine`] applies the entries of one shard's log by them.

pub mod machine;
pub mod reduce;
pub mod service;

pub mod kv;
pub mod meta;
pub mod strings;

mod requests;

pub use machine::{Prepared, ShardMachine};
pub use reduce::{Count, Reduce, ReduceError, Reductions};
pub use service::{DroppedTables, ReadError, Service, ServiceContext, Services, WriteError};
