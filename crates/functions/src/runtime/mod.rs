//! Runs modules within their limits.
//!
//! A module sees nothing of its host but what `host` offers: the rows that its call may touch,
//! and the instant of the call. Bytes that it is given lie in memory that it has allocated
//! itself by `breccia_alloc`, and are its own from then on.

mod abi;
mod call;
mod engine;
mod host;
mod instance;
mod module;
mod reducer;

pub use abi::Batch;
pub use call::{Call, Change, Shard, Visit, Written};
pub use module::Module;
pub use reducer::Reducer;

/// The export by which a function gives memory to its host.
const ALLOC: &str = "breccia_alloc";
/// The export of a function's memory.
const MEMORY: &str = "memory";

#[cfg(test)]
mod tests;
