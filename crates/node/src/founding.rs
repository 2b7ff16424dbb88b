//! Founding a cluster on a new node, or on one that stood alone before shards had logs of
//! their own.
//!
//! The order makes a crash harmless: each data shard gets its position first, and the meta
//! shard, whose records say that the cluster is founded, comes last.

use breccia_replication::raft::bootstrap_position;
use breccia_ring::{Placement, PlacementError};
use breccia_service::machine::read_applied;
use breccia_service::meta::{ClusterState, Founding, MetaError, Settings};
use breccia_store::{Durability, Engine, ShardBatch, StoreError};
use breccia_types::limits::{REPLICAS_DEFAULT, SHARDS_DEFAULT};
use breccia_types::table::{FIRST_USER_TABLE_ID, REDIS_TABLE, REDIS_TABLE_ID};
use breccia_types::{
    ClusterId, Epoch, Member, NodeId, Partition, ReplicaId, ShardId, Table, TableId, TableOptions,
};
use serde::Deserialize;
use thiserror::Error;

use crate::replica::{put_position, read_position};

/// The record in which a node that stood alone kept its tables.
const CATALOG: &str = "catalog";
const CATALOG_FORMAT: u32 = 1;

/// Why a cluster cannot be founded on a data directory, or what is there be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FoundingError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What all nodes agree on cannot be read.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The number of shards is out of range.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The data directory has another number of shards.
    #[error(
        "the data directory has {present} shards, and --shards asks for {asked}; the number of shards is fixed when a cluster is founded"
    )]
    ShardCount {
        /// What was asked for.
        asked: u32,
        /// What there is.
        present: u32,
    },
    /// The record of tables cannot be read.
    #[error("the catalog cannot be read: {reason}")]
    Catalog {
        /// What is wrong.
        reason: String,
    },
}

/// The tables of a node that stood alone.
#[derive(Debug, Deserialize)]
struct Catalog {
    format: u32,
    shards: u32,
    next_table: TableId,
    tables: Vec<Table>,
    dropping: Vec<Table>,
}

/// Founds a cluster of this node alone, unless the node belongs to one. Blocks.
pub(crate) fn found_if_new(
    engine: &dyn Engine,
    founder: &Member,
    shards: Option<u32>,
    replicas: Option<u8>,
) -> Result<(), FoundingError> {
    let node = founder.node;
    let meta = engine.open_shard(ShardId::META)?;
    if let Some(state) = ClusterState::load(meta.as_ref())? {
        let present = u32::try_from(state.placement.shard_count()).unwrap_or(u32::MAX);
        return check_shards(shards, present);
    }
    let catalog = read_catalog(engine, shards)?;
    check_shards(shards, catalog.shards)?;
    let placement = Placement::founded_by(node, Epoch::new(1), catalog.shards)?;
    for (shard, _) in placement.shards() {
        if let Some(place) = placement.replica_on(shard, node) {
            found_shard(engine, shard, place.replica, node)?;
        }
    }
    let meta_placement = Placement::founded_by(node, Epoch::new(1), 1)?;
    let replica = meta_placement.last_replica();
    let founding = Founding {
        id: ClusterId::new(rand::random()),
        settings: Settings { replicas: replicas.unwrap_or(REPLICAS_DEFAULT) },
        member: founder.clone(),
        tables: catalog.tables,
        dropping: catalog.dropping,
        next_table: catalog.next_table,
        placement,
        meta_placement,
    };
    let mut batch = founding.into_batch();
    let applied = read_applied(meta.as_ref())?;
    put_position(&mut batch, &bootstrap_position(replica, node, applied.index));
    Ok(engine.write(&[(ShardId::META, batch)], Durability::Synced)?)
}

/// Gives a shard the position after which its log begins, unless it has one.
fn found_shard(
    engine: &dyn Engine,
    shard: ShardId,
    replica: ReplicaId,
    node: NodeId,
) -> Result<(), FoundingError> {
    let data = engine.open_shard(shard)?;
    // A damaged shard is founded when it is restored; the others do without it.
    let (Ok(position), Ok(applied)) = (read_position(data.as_ref()), read_applied(data.as_ref()))
    else {
        return Ok(());
    };
    if position.is_none() {
        let mut batch = ShardBatch::default();
        put_position(&mut batch, &bootstrap_position(replica, node, applied.index));
        engine.write(&[(shard, batch)], Durability::Synced)?;
    }
    Ok(())
}

const fn check_shards(asked: Option<u32>, present: u32) -> Result<(), FoundingError> {
    match asked {
        Some(asked) if asked != present => Err(FoundingError::ShardCount { asked, present }),
        _ => Ok(()),
    }
}

fn read_catalog(engine: &dyn Engine, shards: Option<u32>) -> Result<Catalog, FoundingError> {
    let Some(stored) = engine.get_node_record(CATALOG)? else {
        return Ok(Catalog {
            format: CATALOG_FORMAT,
            shards: shards.unwrap_or(SHARDS_DEFAULT),
            next_table: FIRST_USER_TABLE_ID,
            tables: vec![redis_table()],
            dropping: Vec::new(),
        });
    };
    let catalog: Catalog = serde_json::from_slice(&stored)
        .map_err(|error| FoundingError::Catalog { reason: error.to_string() })?;
    if catalog.format != CATALOG_FORMAT {
        let reason = format!("it has format {}, not {CATALOG_FORMAT}", catalog.format);
        return Err(FoundingError::Catalog { reason });
    }
    Ok(catalog)
}

fn redis_table() -> Table {
    let options = TableOptions { partition: Partition::HashTag, ..TableOptions::default() };
    Table { id: REDIS_TABLE_ID, name: REDIS_TABLE.to_owned(), options }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use breccia_store::{RetentionRules, RocksEngine, RocksOptions};
    use tempfile::TempDir;

    use super::*;
    use crate::{Node, NodeConfig};

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("makes a directory");
        for entry in std::fs::read_dir(from).expect("lists") {
            let entry = entry.expect("an entry");
            let target = to.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                copy(&entry.path(), &target);
            } else if entry.file_name() != "LOCK" {
                std::fs::copy(entry.path(), target).expect("copies");
            }
        }
    }

    fn copied(from: &Path) -> TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        copy(from, directory.path());
        directory
    }

    /// What a kill leaves if it comes while a directory of the version before is founded.
    fn killed(found: impl FnOnce(&dyn Engine, NodeId, &Placement)) -> TempDir {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/directory-v1");
        let data = copied(&fixture);
        let options =
            RocksOptions { memory_bytes: 64 << 20, background_jobs: 2, new: Default::default() };
        let rules = Arc::new(RetentionRules::default());
        let engine = RocksEngine::open(&data.path().join("db"), &options, rules).expect("opens");
        let node = crate::directory::Directory::open(data.path()).expect("opens").node;
        let placement = Placement::founded_by(node, Epoch::new(1), 2).expect("a placement");
        found(&engine, node, &placement);
        copied(data.path())
    }

    async fn assert_is_whole(data: &Path) {
        let config = || NodeConfig { memory_bytes: 64 << 20, ..NodeConfig::new(data) };
        for written in [41, 42] {
            let node = Node::open(config()).await.expect("opens");
            let table = node.table("plain").await.expect("the table");
            assert_eq!(node.count(&table).await, Ok(written));
            node.write(&table, table.put("new".into(), "row".into()), None).await.expect("writes");
            node.shutdown().await;
        }
    }

    #[tokio::test]
    async fn a_kill_at_any_write_of_founding_is_harmless() {
        for founded in 0..=2 {
            let data = killed(|engine, node, placement| {
                for (shard, _) in placement.shards().take(founded) {
                    let replica = placement.replica_on(shard, node).expect("it is here").replica;
                    found_shard(engine, shard, replica, node).expect("founds");
                }
            });
            assert_is_whole(data.path()).await;
        }
        let data = killed(|engine, node, _| {
            let founder = Member { node, ..Member::default() };
            found_if_new(engine, &founder, None, None).expect("founds");
        });
        assert_is_whole(data.path()).await;
    }

    #[tokio::test]
    async fn a_kill_while_the_first_log_is_made_is_harmless() {
        for leftover in ["RESERVE", "MANIFEST-000001", "CURRENT.dbtmp"] {
            let data = killed(|_, _, _| {});
            let log = data.path().join("log");
            std::fs::create_dir(&log).expect("makes");
            std::fs::write(log.join(leftover), b"").expect("writes");
            assert_is_whole(data.path()).await;
        }
    }
}
