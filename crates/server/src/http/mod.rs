//! gRPC and REST on one port, with health, reflection and metrics.
//!
//! Both protocols turn their requests into the same commands and scans, so that a verb
//! means the same in each. What they answer if something goes wrong is in
//! [`crate::status`].

pub mod limits;
mod server;

mod admission;
mod app;
mod deadline;
mod listener;

mod command;
mod consistency;
mod importer;
mod multi_get;
mod nodes;
mod presented;
mod reduction;
mod scanner;
#[cfg(feature = "sql")]
mod sql;
mod versions;

mod grpc;
mod metrics;
mod rest;

pub use server::{Config, Server};
