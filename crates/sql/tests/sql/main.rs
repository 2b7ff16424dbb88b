//! Queries over the tables of a node.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "tests fail by panicking"
)]

mod answers;
mod cluster;
mod equality;
mod support;
