//! Routers of several nodes in one process, joined by a transport whose faults are chosen
//! by the test, under a clock that stands still.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

mod faults;
mod finding;
mod passing_on;
mod reading;
