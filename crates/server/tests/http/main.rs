//! gRPC and REST as their clients see them: a real node behind a real socket.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod cluster;
mod connections;
#[cfg(feature = "functions")]
mod functions;
mod grpc;
mod import;
mod rest;
mod scan;
mod standard;
mod support;
