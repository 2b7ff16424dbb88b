//! Proves a cluster of real processes under faults.
//!
//! Clients of all protocols work on the same keys while faults happen to the nodes. What they
//! asked and were told is a [`history`]; the [`checker`] looks for an order of a key's
//! operations that explains all the answers. If there is none, the cluster broke its promise.

pub mod history;

pub mod register;

pub mod checker;

pub mod clients;

pub mod cluster;

pub mod workload;

pub mod nemesis;

pub mod run;

pub mod report;
