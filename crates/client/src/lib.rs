//! The Rust client of a Breccia cluster.
//!
//! A [`Client`] is told the address of one node or more, and learns from it which nodes there
//! are and who leads which slot. It sends each request straight to the leader of the key's
//! slot, spreads what any node can answer, and asks another node when one does not answer:
//! nodes forward what is not theirs, so outdated knowledge costs a hop and is mended in the
//! background.
//!
//! ```no_run
//! # async fn example() -> Result<(), breccia_client::Error> {
//! use std::time::Duration;
//!
//! use breccia_client::{Client, TableOptions};
//! use futures::TryStreamExt;
//!
//! let client = Client::connect(["10.0.0.1:7400", "10.0.0.2:7400"]).await?;
//! client.create_table("sessions", TableOptions::default()).await?;
//!
//! let sessions = client.table("sessions").await?;
//! sessions.put("alice", "berlin").ttl(Duration::from_secs(1_800)).await?;
//! if let Some(row) = sessions.get("alice").await? {
//!     println!("{:?} expires at {:?}", row.value, row.expires_at);
//! }
//!
//! let mut rows = sessions.scan().prefix("a").rows();
//! while let Some(row) = rows.try_next().await? {
//!     println!("{:?}", row.key);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Requests
//!
//! A method that asks something of the cluster returns a [`Request`], which is sent when it is
//! awaited. Until then it takes options: every request a [`deadline`](Request::deadline), a
//! read its [`consistency`](Request::consistency), a write its
//! [`request_id`](Request::request_id), and some their own, such as [`ttl`](Request::ttl).
//!
//! # What is tried again
//!
//! A request that brought no answer is sent again, after a wait that grows and has jitter,
//! until its deadline, if a node said that nothing was done, or if doing it twice is harmless.
//! That is so for reads, and for writes of rows because each carries one request id over all
//! its tries: the shard applies it once and repeats its first reply. A node's refusal that a
//! retry cannot change is returned at once.
//!
//! A write that may have been applied, and whose tries ended without an answer, is an
//! [`Error::OutcomeUnknown`]; no other error of a write leaves that open. See [`Error`] for who
//! must act on which.

mod client;
mod request;
mod table;

mod batch;
mod multi_get;
mod read;
mod scan;
mod tables;
mod write;

mod consistency;
mod row;

mod code;
mod error;

mod call;
mod cluster;
mod config;
mod failure;
mod node;
mod retry;
mod topology;
mod wire;

pub use breccia_types::kv::Expiry;
pub use breccia_types::{
    Actor, Column, ColumnType, Partition, RequestId, Retention, TableId, TableKind, TableOptions,
    Timestamp,
};

pub use batch::{Batch, Command, Reply};
pub use client::Client;
pub use code::Code;
pub use config::ClientBuilder;
pub use consistency::Consistency;
pub use error::Error;
pub use multi_get::MultiGet;
pub use read::{Count, Get, History};
pub use request::{Operation, ReadOperation, Request, WriteOperation};
pub use row::{Cursor, Page, Row, Swap, Version, VersionPage};
pub use scan::Scan;
pub use table::Table;
pub use tables::{CreateTable, DropTable, ListTables, OpenTable, SetColumns, TableDescription};
pub use write::{CompareAndSet, Delete, Merge, Put};
