//! Whole groups over a network, logs and machines in memory.

mod support;

mod agreement;
mod failover;
mod faults;
mod membership;
mod nemesis;
mod snapshots;
mod staleness;
