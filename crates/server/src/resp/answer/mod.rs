//! Answers to what was decoded: they ask the node, and encode what it says.

pub(crate) mod beyond;
pub(crate) mod cluster;
pub(crate) mod commands;
pub(crate) mod info;
pub(crate) mod lcs;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod session;
pub(crate) mod view;
pub(crate) mod visit;
pub(crate) mod write;
