//! The examples of functions, tested as their authors would.

#![allow(missing_docs, clippy::expect_used, reason = "what is shown stands in the examples")]

#[path = "../../../examples/functions/rust/src/lib.rs"]
mod visits;

#[path = "../../../examples/functions/rust/examples/neighbours.rs"]
mod neighbours;

#[path = "../../../examples/functions/rust/examples/longest.rs"]
mod longest;
