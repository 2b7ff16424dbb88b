//! Functions that users write, in WebAssembly: deployed once, known to every node, and run
//! beside the rows within limits.
//!
//! | kind | is called with | runs at | may |
//! |---|---|---|---|
//! | read | keys and arguments | a replica of the shard that may be read | read the rows of one slot |
//! | write | keys and arguments | every replica, in the order of the log | read and change the rows of one slot, all or nothing |
//! | reduce | batches of rows | every shard; states are combined on the way back | see the rows it is shown |
//!
//! [`Module`] runs a module by itself. [`FunctionService`] and [`with_functions`] are what a
//! node is opened with so that it runs functions, and [`Functions`] is how its front ends
//! deploy and call them. A module is known by the digest of its bytes; a call keeps to one
//! version of a function on all nodes.

mod aggregate;
mod error;
mod functions;
mod modules;
mod reduction;
mod runtime;
mod service;

pub use aggregate::Aggregate;
pub use error::FunctionError;
pub use functions::{Asked, Functions};
pub use modules::Modules;
pub use reduction::{REDUCTION_ID, with_functions};
pub use runtime::{Batch, Call, Change, Module, Reducer, Shard, Visit, Written};
pub use service::{FunctionService, FunctionVersion, SERVICE_ID};
