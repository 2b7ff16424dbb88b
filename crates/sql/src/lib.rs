//! SQL over tables: Apache DataFusion plans and computes, and what concerns single rows
//! travels to the shards.
//!
//! A query takes this way. [`Sql::query`] plans it (`session`) over the tables it names
//! (`relation`). The plan is cut (`cut`): scans with their filters and projections, first
//! halves of aggregations, and the best rows of a sort with a limit become *stages*. A
//! [`Stage`] is a reduction: it carries the query's text, every node plans it again and finds
//! the same stage, and runs it over the rows of its shards (`pump`); what comes of it is
//! combined per node and on the way back. The rest of the plan runs here, where
//! `gather` puts in what the stages came to.

mod cut;
mod decode;
mod error;
mod explain;
mod function;
mod gather;
mod json;
mod keys;
mod leaf;
mod limits;
mod nesting;
mod pump;
mod query;
mod relation;
mod session;
mod stage;
mod states;
mod sum;
mod view;

pub mod format;

pub use error::SqlError;
pub use limits::Limits;
pub use query::{Answer, Asked, Report, Sql, StageReport};
pub use stage::{Stage, with_stages};
