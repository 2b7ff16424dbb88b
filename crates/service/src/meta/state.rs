//! The whole of what the meta shard holds, as a node reads it from its replica.

use std::collections::BTreeMap;
use std::sync::Arc;

use breccia_ring::Placement;
use breccia_store::transaction::own_records;
use breccia_store::{Reader, ShardBatch, StoreError, key};
use breccia_types::wire::DecodeError;
use breccia_types::{ClusterId, Function, LogIndex, Member, NodeId, Table, TableId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::records::{self, ClusterRecord};
use super::{Placed, decode, encode};
use crate::machine::read_applied;
use crate::service::WriteError;

/// What all nodes agree on, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterState {
    /// The last entry of the meta shard's log that it takes in.
    pub applied: LogIndex,
    /// The cluster's identity.
    pub id: ClusterId,
    /// What an operator has set.
    pub settings: Settings,
    /// The nodes.
    pub members: BTreeMap<NodeId, Member>,
    /// The tables, by name.
    pub tables: BTreeMap<String, Arc<Table>>,
    /// Tables that were dropped but whose rows may still be in some shards.
    pub dropping: Vec<Table>,
    /// The functions, by name.
    pub functions: BTreeMap<String, Arc<Function>>,
    /// Where the shards are.
    pub placement: Arc<Placement>,
    /// Where the meta shard is; it is the one shard of this placement.
    pub meta_placement: Arc<Placement>,
}

/// What an operator sets for the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How many replicas each shard is to have, while there are nodes for them.
    pub replicas: u8,
}

/// A cluster as its first node founds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Founding {
    /// The cluster's identity.
    pub id: ClusterId,
    /// What is set.
    pub settings: Settings,
    /// The first node.
    pub member: Member,
    /// The tables there are from the start: the system's, and those of a node that stood
    /// alone before.
    pub tables: Vec<Table>,
    /// Tables that were being dropped.
    pub dropping: Vec<Table>,
    /// The id of the next table.
    pub next_table: TableId,
    /// Where the shards are.
    pub placement: Placement,
    /// Where the meta shard is.
    pub meta_placement: Placement,
}

/// Why the meta shard's records cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetaError {
    /// The shard cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cluster was never founded here.
    #[error("the meta shard holds no cluster")]
    NotFounded,
    /// Something is not what it should be.
    #[error("{what} cannot be read: {reason}")]
    Malformed {
        /// What.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A placement is not what it should be.
    #[error("a placement cannot be read: {0}")]
    Placement(#[from] DecodeError),
    /// The records are of another version.
    #[error("the meta shard has format {found}, and this version reads format {}", records::FORMAT)]
    Format {
        /// The format found.
        found: u32,
    },
}

impl Founding {
    /// The records that found the cluster, to be written to a meta shard that is empty.
    #[must_use]
    pub fn into_batch(self) -> ShardBatch {
        let cluster = ClusterRecord {
            format: records::FORMAT,
            id: self.id,
            settings: self.settings,
            next_table: self.next_table,
            tables: self.tables.len(),
        };
        let mut batch = ShardBatch::default();
        let mut put = |name: &[u8], value: Vec<u8>| batch.put(key::own(name), value);
        put(records::CLUSTER, encode(&cluster).to_vec());
        put(&records::member(self.member.node), encode(&self.member).to_vec());
        for table in &self.tables {
            put(&records::table(&table.name), encode(table).to_vec());
        }
        for table in &self.dropping {
            put(&records::dropping(table.id), encode(table).to_vec());
        }
        put(records::placement(Placed::Shards), self.placement.encode());
        put(records::placement(Placed::Meta), self.meta_placement.encode());
        batch
    }
}

/// The module of a function's version; `None` if it is not kept, or not yet.
///
/// # Errors
/// What reading the shard reports.
pub fn read_module(
    shard: &dyn Reader,
    name: &str,
    version: u64,
) -> Result<Option<Bytes>, StoreError> {
    shard.get(&key::own(&records::module(name, version)))
}

impl ClusterState {
    /// Reads the meta shard; `None` if it is empty, as it is on a node that has not yet
    /// received it.
    ///
    /// # Errors
    /// [`MetaError`].
    pub fn load(shard: &dyn Reader) -> Result<Option<Self>, MetaError> {
        let Some(stored) = shard.get(&key::own(records::CLUSTER))? else {
            return Ok(None);
        };
        let cluster: ClusterRecord = decode(&stored)?;
        if cluster.format != records::FORMAT {
            return Err(MetaError::Format { found: cluster.format });
        }
        let members = load_all::<Member>(shard, records::MEMBERS)?;
        let tables = load_all::<Table>(shard, records::TABLES)?;
        let functions = load_all::<Function>(shard, records::FUNCTIONS)?;
        Ok(Some(Self {
            applied: read_applied(shard)?.index,
            id: cluster.id,
            settings: cluster.settings,
            members: members.into_iter().map(|member| (member.node, member)).collect(),
            tables: tables.into_iter().map(|t| (t.name.clone(), Arc::new(t))).collect(),
            functions: functions.into_iter().map(|f| (f.name.clone(), Arc::new(f))).collect(),
            dropping: load_all(shard, records::DROPPING)?,
            placement: load_placement(shard, Placed::Shards)?,
            meta_placement: load_placement(shard, Placed::Meta)?,
        }))
    }
}

fn load_all<T: for<'de> Deserialize<'de>>(
    shard: &dyn Reader,
    prefix: &[u8],
) -> Result<Vec<T>, MetaError> {
    let found: Vec<(Vec<u8>, Bytes)> = own_records(shard, prefix, usize::MAX)?;
    found.iter().map(|(_, stored)| decode(stored)).collect()
}

fn load_placement(shard: &dyn Reader, of: Placed) -> Result<Arc<Placement>, MetaError> {
    let stored = shard.get(&key::own(records::placement(of)))?.ok_or(MetaError::NotFounded)?;
    Ok(Arc::new(Placement::decode(stored)?))
}

impl From<MetaError> for WriteError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Store(error) => Self::Store(error),
            error => Self::Malformed { reason: error.to_string() },
        }
    }
}
