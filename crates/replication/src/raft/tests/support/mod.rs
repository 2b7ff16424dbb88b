//! A cluster in memory.

mod cluster;
mod log;
mod machine;
mod net;

pub(super) use cluster::Cluster;
