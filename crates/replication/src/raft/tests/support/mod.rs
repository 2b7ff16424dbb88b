//! A cluster in memory.

mod cluster;
mod log;
mod machine;
mod net;

pub(super) use cluster::{
    Cluster, Options, SHARD, assert_once, command, replica, timing, wait_for,
};
