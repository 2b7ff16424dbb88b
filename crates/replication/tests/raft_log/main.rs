//! The shared Raft log, on both databases of the store.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

mod conformance;
mod crash;
mod failure;
mod format;
mod full_disk;
mod interrupted;
mod reading;
mod restart;
mod sharing;
