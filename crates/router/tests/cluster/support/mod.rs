//! A cluster of routers with one shard.

mod network;
mod shards;
mod world;

pub(crate) use network::Fault;
pub(crate) use world::{SHARD, World, command, n, replies, with_id};
