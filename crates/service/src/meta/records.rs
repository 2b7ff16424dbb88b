//! The records of the meta shard. All but the placements are a version byte and JSON.
//!
//! ```text
//! mc          -> cluster: format, cluster id, settings, next table id, number of tables
//! mm | node, u64 BE      -> a member
//! mt | table name        -> a table
//! md | table id, u32 BE  -> a table that was dropped, with rows left in some shards
//! mf | function name                        -> a function
//! mw | function name | 0 | version, u64 BE  -> its module, as it was deployed
//! mp          -> the placement of the shards, as `breccia-ring` encodes it
//! mq          -> the placement of the meta shard
//! ```

use breccia_ring::Placement;
use breccia_store::Transaction;
use breccia_types::{ClusterId, Function, Member, NodeId, Table, TableId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::state::{MetaError, Settings};
use super::{Placed, decode, encode};

pub(super) const CLUSTER: &[u8] = b"mc";
pub(super) const MEMBERS: &[u8] = b"mm";
pub(super) const TABLES: &[u8] = b"mt";
pub(super) const DROPPING: &[u8] = b"md";
pub(super) const FUNCTIONS: &[u8] = b"mf";
const MODULES: &[u8] = b"mw";
pub(super) const FORMAT: u32 = 1;

/// What there is one of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClusterRecord {
    pub(super) format: u32,
    pub(super) id: ClusterId,
    pub(super) settings: Settings,
    pub(super) next_table: TableId,
    /// How many tables there are, dropped ones left out.
    pub(super) tables: usize,
}

/// The records as a change sees them.
pub(super) struct Records<'r, 't>(&'r mut Transaction<'t>);

impl<'r, 't> Records<'r, 't> {
    pub(super) const fn new(transaction: &'r mut Transaction<'t>) -> Self {
        Self(transaction)
    }

    pub(super) fn cluster(&self) -> Result<ClusterRecord, MetaError> {
        self.get(CLUSTER)?.ok_or(MetaError::NotFounded)
    }

    pub(super) fn put_cluster(&mut self, cluster: &ClusterRecord) {
        self.put(CLUSTER, cluster);
    }

    pub(super) fn member(&self, node: NodeId) -> Result<Option<Member>, MetaError> {
        self.get(&member(node))
    }

    pub(super) fn put_member(&mut self, of: &Member) {
        self.put(&member(of.node), of);
    }

    pub(super) fn delete_member(&mut self, node: NodeId) {
        self.0.delete_own(&member(node));
    }

    pub(super) fn table(&self, name: &str) -> Result<Option<Table>, MetaError> {
        self.get(&table(name))
    }

    pub(super) fn put_table(&mut self, of: &Table) {
        self.put(&table(&of.name), of);
    }

    pub(super) fn delete_table(&mut self, name: &str) {
        self.0.delete_own(&table(name));
    }

    pub(super) fn put_dropping(&mut self, table: &Table) {
        self.put(&dropping(table.id), table);
    }

    pub(super) fn delete_dropping(&mut self, table: TableId) {
        self.0.delete_own(&dropping(table));
    }

    pub(super) fn function(&self, name: &str) -> Result<Option<Function>, MetaError> {
        self.get(&function(name))
    }

    /// How many functions there are, up to a number.
    pub(super) fn functions_up_to(&self, most: usize) -> Result<usize, MetaError> {
        Ok(self.0.own_first(FUNCTIONS, most)?.len())
    }

    pub(super) fn put_function(&mut self, of: &Function, module: &[u8]) {
        self.0.put_own(&self::module(&of.name, of.version), module.to_vec());
        self.put(&function(&of.name), of);
    }

    pub(super) fn delete_module(&mut self, name: &str, version: u64) {
        self.0.delete_own(&module(name, version));
    }

    pub(super) fn delete_function(&mut self, name: &str) {
        self.0.delete_own(&function(name));
    }

    pub(super) fn placement(&self, of: Placed) -> Result<Placement, MetaError> {
        let encoded = self.0.get_own(placement(of))?.ok_or(MetaError::NotFounded)?;
        Ok(Placement::decode(encoded)?)
    }

    pub(super) fn put_placement(&mut self, of: Placed, new: &Placement) {
        self.0.put_own(placement(of), new.encode());
    }

    fn get<T: for<'de> Deserialize<'de>>(&self, name: &[u8]) -> Result<Option<T>, MetaError> {
        let stored: Option<Bytes> = self.0.get_own(name)?;
        stored.map(|stored| decode(&stored)).transpose()
    }

    fn put(&mut self, name: &[u8], value: &impl Serialize) {
        self.0.put_own(name, encode(value).to_vec());
    }
}

pub(super) fn member(node: NodeId) -> Vec<u8> {
    [MEMBERS, &node.get().to_be_bytes()].concat()
}

pub(super) fn table(name: &str) -> Vec<u8> {
    [TABLES, name.as_bytes()].concat()
}

pub(super) fn dropping(table: TableId) -> Vec<u8> {
    [DROPPING, &table.get().to_be_bytes()].concat()
}

pub(super) fn function(name: &str) -> Vec<u8> {
    [FUNCTIONS, name.as_bytes()].concat()
}

/// The name of the record that holds a version's module.
pub(super) fn module(name: &str, version: u64) -> Vec<u8> {
    [MODULES, name.as_bytes(), &[0], &version.to_be_bytes()].concat()
}

pub(super) const fn placement(of: Placed) -> &'static [u8] {
    match of {
        Placed::Shards => b"mp",
        Placed::Meta => b"mq",
    }
}
