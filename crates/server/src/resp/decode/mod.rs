//! Arguments to typed commands. Pure: the table tests need no node.

pub(crate) mod beyond;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod expiry;
pub(crate) mod keys;
pub(crate) mod number;
pub(crate) mod scan;
pub(crate) mod server;
pub(crate) mod sketches;
pub(crate) mod slots;
pub(crate) mod strings;

#[cfg(test)]
mod tests;
