//! The Redis protocol, RESP2 and RESP3: a Redis key is a row of the table `redis`.
//!
//! The way of a command: `parser` finds it in the bytes received, the command `table`
//! knows it by name, `decode` makes it a typed `command`, and the `pipeline` of its
//! connection executes it: `answer` asks the node and encodes the reply.
//!
//! Errors have Redis's texts, all of them in `error`. To clients the node is a cluster of
//! one: reads and deletes may span slots, a write that must be atomic may not.

pub mod limits;
pub mod metrics;

mod config;
mod connection;
mod server;
mod socket;

mod arguments;
mod inline;
mod parser;

mod command;
mod decode;
mod table;

mod answer;
mod encoder;
mod error;
mod pipeline;
mod replies;

mod clients;
mod cursors;
mod front;
mod glob;
mod settings;

pub use config::Config;
pub use metrics::Metrics;
pub use server::Server;
