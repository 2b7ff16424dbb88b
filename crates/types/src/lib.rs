//! Ids, keys, limits, time and the request vocabulary of Breccia; no I/O.
//!
//! Every front end decodes its protocol into these types and encodes its answers from
//! them; every layer below speaks nothing else.

pub mod id;
pub mod limits;
pub mod time;

pub mod cluster;
pub mod table;

pub mod entry;
pub mod error;
pub mod function;
pub mod kv;
pub mod read;
pub mod reduce;
pub mod strings;
pub mod wire;

pub use cluster::{Member, MemberStatus};
pub use entry::{Command, Entry, Outcome, Rejected};
pub use error::{Actor, RequestError, join_parts};
pub use function::{Function, FunctionKind, FunctionLimits, ModuleDigest};
pub use id::{
    ClusterId, Epoch, LogIndex, NodeId, ReductionId, ReplicaId, RequestId, ServiceId, ShardId,
    Slot, TableId,
};
pub use table::{
    Column, ColumnType, Partition, Retention, Table, TableKind, TableOptions, TableView,
};
pub use time::{Clock, NodeClock, Timestamp};
