//! The meta service: what every node must agree on. Which nodes there are, which tables, and
//! where each shard's replicas are.
//!
//! Its state is the own records of the meta shard, which every node holds a replica of. A
//! node reads its replica after each change and so knows what it needs without asking
//! anyone; it may be a moment behind, which the epoch of the placement tells.

use breccia_ring::{Placement, Role};
use breccia_store::{Reader, Transaction};
use breccia_types::limits::{FUNCTIONS_MAX, TABLES_MAX};
use breccia_types::table::REDIS_TABLE_ID;
use breccia_types::{
    Column, Function, FunctionKind, FunctionLimits, LogIndex, Member, ModuleDigest, NodeId,
    ServiceId, Table, TableId, TableOptions, Timestamp,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

mod records;
mod state;

pub use state::{ClusterState, Founding, MetaError, Settings, read_module};

use crate::machine::read_applied;
use crate::service::{ReadError, Service, ServiceContext, WriteError};
use records::Records;

/// The id of this service in log entries.
pub const SERVICE_ID: ServiceId = ServiceId::new(3);

/// The version of the form of messages and records.
const VERSION: u8 = 1;

/// Changes what all nodes agree on.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetaService;

/// A change. Commands and replies are a version byte and JSON: they are rare, and the tables
/// they carry are JSON everywhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum MetaWrite {
    /// Adds a node, or tells of its new run and addresses.
    Register {
        /// The node.
        member: Member,
    },
    /// Forgets a node that holds no replica any more.
    Remove {
        /// The node.
        node: NodeId,
    },
    /// Replaces the settings.
    Configure {
        /// The settings.
        settings: Settings,
    },
    /// Replaces a placement by one that was made from it.
    Place {
        /// Of the shards, or of the meta shard itself.
        of: Placed,
        /// The epoch of the placement that it was made from.
        from_epoch: u64,
        /// The placement, encoded.
        placement: Vec<u8>,
    },
    /// Creates a table.
    CreateTable {
        /// Its name.
        name: String,
        /// Its options.
        options: TableOptions,
    },
    /// Replaces what is known of a table's columns.
    DescribeColumns {
        /// The table's name.
        name: String,
        /// The columns.
        columns: Vec<Column>,
        /// How keys were made of them.
        key_template: Option<String>,
    },
    /// Takes a table from clients; its rows are still to be removed.
    BeginDrop {
        /// The table's name.
        name: String,
    },
    /// Deploys a function: a further version, if there is one of the name.
    DeployFunction {
        /// Its name.
        name: String,
        /// What it does.
        kind: FunctionKind,
        /// Names the module.
        digest: ModuleDigest,
        /// What a call may use.
        limits: FunctionLimits,
        /// The module.
        #[serde(with = "base64_text")]
        module: Bytes,
    },
    /// Forgets a function.
    RemoveFunction {
        /// Its name.
        name: String,
    },
    /// Forgets a dropped table, once no shard holds rows of it.
    FinishDrop {
        /// The table.
        table: TableId,
    },
}

/// What a placement is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placed {
    /// The shards that hold slots.
    Shards,
    /// The meta shard; it is the one shard of its placement.
    Meta,
}

/// The reply to a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum MetaReply {
    /// It is made.
    Done,
    /// The table as it is now, or was until it was dropped.
    Table {
        /// The table.
        table: Table,
    },
    /// The function as it is now, or was until it was removed.
    Function {
        /// The function.
        function: Function,
    },
    /// It was not made.
    Refused {
        /// Why.
        refusal: MetaRefusal,
    },
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum MetaRefusal {
    /// A later run of the node is known: this one is over, or its directory was copied.
    StaleIncarnation {
        /// The run that is known.
        known: u64,
    },
    /// The node still holds a replica.
    HoldsReplicas,
    /// The placement has changed meanwhile.
    StaleEpoch {
        /// Its epoch now.
        epoch: u64,
    },
    /// There is no such table.
    UnknownTable,
    /// There is such a table already.
    TableExists,
    /// The table belongs to the system.
    TableProtected,
    /// There are as many tables as there may be.
    TooManyTables,
    /// There is no such function.
    UnknownFunction,
    /// There are as many functions as there may be.
    TooManyFunctions,
}

impl Service for MetaService {
    fn id(&self) -> ServiceId {
        SERVICE_ID
    }

    fn write(
        &self,
        context: &mut ServiceContext<'_, '_>,
        command: Bytes,
    ) -> Result<Bytes, WriteError> {
        let command = decode(&command)?;
        let reply = apply(context.transaction, command)?;
        Ok(encode(&reply))
    }

    /// The one read is empty, and answered with the last entry applied: a node whose own
    /// replica has applied it knows everything that was agreed on before it asked.
    fn read(&self, shard: &dyn Reader, _now: Timestamp, _: Bytes) -> Result<Bytes, ReadError> {
        Ok(encode(&read_applied(shard)?.index.get()))
    }
}

/// Encodes a change.
#[must_use]
pub fn encode_write(write: &MetaWrite) -> Bytes {
    encode(write)
}

/// Decodes the answer to a read.
///
/// # Errors
/// [`MetaError::Malformed`].
pub fn decode_applied(reply: &[u8]) -> Result<LogIndex, MetaError> {
    decode(reply).map(LogIndex::new)
}

/// Decodes a reply.
///
/// # Errors
/// [`MetaError::Malformed`].
pub fn decode_reply(reply: &[u8]) -> Result<MetaReply, MetaError> {
    decode(reply)
}

/// Encodes a message or a record: the version of its form, then JSON.
fn encode(value: &impl Serialize) -> Bytes {
    let mut encoded = vec![VERSION];
    // Only a map with keys that are no text could fail, and there is none.
    encoded.extend(serde_json::to_vec(value).unwrap_or_default());
    encoded.into()
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, MetaError> {
    let malformed =
        |reason: String| MetaError::Malformed { what: "what the meta shard holds", reason };
    match bytes.split_first() {
        Some((&VERSION, json)) => {
            serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))
        }
        Some((version, _)) => Err(malformed(format!("its version {version} is not known"))),
        None => Err(malformed("it is empty".to_owned())),
    }
}

/// Applies one change. A refused one has written nothing.
fn apply(transaction: &mut Transaction<'_>, write: MetaWrite) -> Result<MetaReply, MetaError> {
    let transaction_stamp = transaction.stamp();
    let mut records = Records::new(transaction);
    let refusal = match write {
        MetaWrite::Register { member } => register(&mut records, member)?,
        MetaWrite::Remove { node } => remove(&mut records, node)?,
        MetaWrite::Configure { settings } => {
            let mut cluster = records.cluster()?;
            cluster.settings = settings;
            records.put_cluster(&cluster);
            None
        }
        MetaWrite::Place { of, from_epoch, placement } => {
            place(&mut records, of, from_epoch, placement.into())?
        }
        MetaWrite::CreateTable { name, options } => return create(&mut records, name, options),
        MetaWrite::DescribeColumns { name, columns, key_template } => {
            let Some(mut table) = records.table(&name)? else {
                return Ok(refused(MetaRefusal::UnknownTable));
            };
            table.options.columns = columns;
            table.options.key_template = key_template;
            records.put_table(&table);
            return Ok(MetaReply::Table { table });
        }
        MetaWrite::BeginDrop { name } => return begin_drop(&mut records, &name),
        MetaWrite::DeployFunction { name, kind, digest, limits, module } => {
            let deployed_at = transaction_stamp;
            let new = NewFunction { name, kind, digest, limits, module, deployed_at };
            return deploy(&mut records, new);
        }
        MetaWrite::RemoveFunction { name } => return remove_function(&mut records, &name),
        MetaWrite::FinishDrop { table } => {
            records.delete_dropping(table);
            None
        }
    };
    Ok(refusal.map_or(MetaReply::Done, refused))
}

const fn refused(refusal: MetaRefusal) -> MetaReply {
    MetaReply::Refused { refusal }
}

fn register(
    records: &mut Records<'_, '_>,
    mut member: Member,
) -> Result<Option<MetaRefusal>, MetaError> {
    if let Some(known) = records.member(member.node)? {
        if known.incarnation > member.incarnation {
            return Ok(Some(MetaRefusal::StaleIncarnation { known: known.incarnation }));
        }
        member.status = known.status;
    }
    records.put_member(&member);
    Ok(None)
}

fn remove(records: &mut Records<'_, '_>, node: NodeId) -> Result<Option<MetaRefusal>, MetaError> {
    for of in [Placed::Shards, Placed::Meta] {
        let placement = records.placement(of)?;
        if holds_replicas(&placement, node) {
            return Ok(Some(MetaRefusal::HoldsReplicas));
        }
    }
    records.delete_member(node);
    Ok(None)
}

fn holds_replicas(placement: &Placement, node: NodeId) -> bool {
    placement
        .shards()
        .any(|(shard, _)| placement.replicas(shard).iter().any(|place| place.node == node))
}

fn place(
    records: &mut Records<'_, '_>,
    of: Placed,
    from_epoch: u64,
    encoded: Bytes,
) -> Result<Option<MetaRefusal>, MetaError> {
    let present = records.placement(of)?;
    if present.epoch().get() != from_epoch {
        return Ok(Some(MetaRefusal::StaleEpoch { epoch: present.epoch().get() }));
    }
    let next = Placement::decode(encoded)?;
    let grows = next.epoch() > present.epoch() && next.last_replica() >= present.last_replica();
    let is_led = |(shard, _)| next.replicas(shard).iter().any(|place| place.role == Role::Voter);
    if !grows || !next.shards().all(is_led) {
        return Err(MetaError::Malformed {
            what: "a placement",
            reason: "it does not follow the present one".to_owned(),
        });
    }
    records.put_placement(of, &next);
    Ok(None)
}

fn create(
    records: &mut Records<'_, '_>,
    name: String,
    options: TableOptions,
) -> Result<MetaReply, MetaError> {
    if records.table(&name)?.is_some() {
        return Ok(refused(MetaRefusal::TableExists));
    }
    let mut cluster = records.cluster()?;
    if cluster.tables >= TABLES_MAX {
        return Ok(refused(MetaRefusal::TooManyTables));
    }
    let table = Table { id: cluster.next_table, name, options };
    cluster.next_table = TableId::new(table.id.get().saturating_add(1));
    cluster.tables = cluster.tables.saturating_add(1);
    records.put_cluster(&cluster);
    records.put_table(&table);
    Ok(MetaReply::Table { table })
}

/// A function that is to be deployed.
struct NewFunction {
    name: String,
    kind: FunctionKind,
    digest: ModuleDigest,
    limits: FunctionLimits,
    module: Bytes,
    deployed_at: Timestamp,
}

/// Deploys a function. The version before stays, for calls that began with it; the one before
/// that goes.
fn deploy(records: &mut Records<'_, '_>, new: NewFunction) -> Result<MetaReply, MetaError> {
    let NewFunction { name, kind, digest, limits, module, deployed_at } = new;
    let present = records.function(&name)?;
    let is_same = |known: &Function| known.digest == digest && known.limits == limits;
    if let Some(function) = present.as_ref().filter(|known| is_same(known)) {
        return Ok(MetaReply::Function { function: function.clone() });
    }
    if present.is_none() && records.functions_up_to(FUNCTIONS_MAX)? >= FUNCTIONS_MAX {
        return Ok(refused(MetaRefusal::TooManyFunctions));
    }
    let version = present.map_or(1, |known| known.version.saturating_add(1));
    if let Some(before) = version.checked_sub(2).filter(|before| *before > 0) {
        records.delete_module(&name, before);
    }
    let module_bytes = u64::try_from(module.len()).unwrap_or(u64::MAX);
    let function = Function { name, kind, version, digest, module_bytes, limits, deployed_at };
    records.put_function(&function, &module);
    Ok(MetaReply::Function { function })
}

fn remove_function(records: &mut Records<'_, '_>, name: &str) -> Result<MetaReply, MetaError> {
    let Some(function) = records.function(name)? else {
        return Ok(refused(MetaRefusal::UnknownFunction));
    };
    records.delete_function(name);
    for version in [function.version, function.version.saturating_sub(1)] {
        records.delete_module(name, version);
    }
    Ok(MetaReply::Function { function })
}

fn begin_drop(records: &mut Records<'_, '_>, name: &str) -> Result<MetaReply, MetaError> {
    let Some(table) = records.table(name)? else {
        return Ok(refused(MetaRefusal::UnknownTable));
    };
    if table.id == REDIS_TABLE_ID {
        return Ok(refused(MetaRefusal::TableProtected));
    }
    let mut cluster = records.cluster()?;
    cluster.tables = cluster.tables.saturating_sub(1);
    records.put_cluster(&cluster);
    records.delete_table(name);
    records.put_dropping(&table);
    Ok(MetaReply::Table { table })
}

/// Bytes as base64 text: a third longer, where an array of numbers is three times as long.
mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        bytes: &Bytes,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
