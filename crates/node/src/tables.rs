//! The tables of the cluster: changes go through the log of the meta shard.

use std::sync::{Arc, Weak};
use std::time::Duration;

use breccia_replication::raft::Leadership;
use breccia_router::Consistency;
use breccia_service::meta::{MetaRefusal, MetaReply, MetaWrite};
use breccia_types::kv::KvWrite;
use breccia_types::limits::{REQUEST_DEADLINE_DEFAULT, TABLES_MAX};
use breccia_types::table::check_name;
use breccia_types::{Column, RequestError, ShardId, Table, TableOptions};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::meta::unexpected;
use crate::node::{Inner, Node};

/// How long a drop may be on its way before another node finishes it.
const DROP_PATIENCE: Duration = Duration::from_secs(30);

impl Node {
    /// The table of this name. One that this node does not know may just have been made
    /// through another node: what the cluster has agreed on is then asked for.
    ///
    /// # Errors
    /// [`RequestError::UnknownTable`], or what asking reports.
    pub async fn table(&self, name: &str) -> Result<Arc<Table>, RequestError> {
        match self.0.cluster.table(name) {
            Err(RequestError::UnknownTable { .. }) => self.table_now(name).await,
            Err(error) => Err(error),
            Ok(table) => {
                self.fence_predecessors(name).await?;
                Ok(table)
            }
        }
    }

    /// The table of this name, as the cluster agrees on it now. [`Node::table`] may name one
    /// that was dropped a moment ago through another node; requests on that are answered with
    /// [`RequestError::TableDropped`].
    ///
    /// # Errors
    /// As [`Node::table`].
    pub async fn table_now(&self, name: &str) -> Result<Arc<Table>, RequestError> {
        self.refresh().await?;
        let table = self.0.cluster.table(name)?;
        self.fence_predecessors(name).await?;
        Ok(table)
    }

    /// Waits until this node knows all that the cluster has agreed on. What it knows after a
    /// start is what it had written to its files before, even if there is no other node.
    pub(crate) async fn refresh(&self) -> Result<(), RequestError> {
        self.0.meta.refresh().await
    }

    /// Whether there is no other node.
    pub(crate) fn stands_alone(&self) -> bool {
        self.0.cluster.state().is_some_and(|state| state.members.len() == 1)
    }

    fn check_open(&self) -> Result<(), RequestError> {
        if self.0.health.is_closing() { Err(RequestError::ShuttingDown) } else { Ok(()) }
    }

    /// All tables, by name.
    ///
    /// # Errors
    /// What asking the cluster reports.
    pub async fn tables(&self) -> Result<Vec<Arc<Table>>, RequestError> {
        self.refresh().await?;
        Ok(self.0.cluster.tables())
    }

    /// Creates a table. One of the same name whose drop was begun is no hindrance: what is
    /// left of that drop is done first.
    ///
    /// # Errors
    /// [`RequestError::TableExists`], [`RequestError::InvalidTable`],
    /// [`RequestError::TooManyTables`], [`RequestError::ShardUnavailable`] for a shard that
    /// cannot be told of such a drop, or what writing reports.
    pub async fn create_table(
        &self,
        name: &str,
        options: TableOptions,
    ) -> Result<Arc<Table>, RequestError> {
        check_name(name)?;
        options.check()?;
        self.check_open()?;
        self.refresh().await?;
        self.fence_predecessors(name).await?;
        let write = MetaWrite::CreateTable { name: name.to_owned(), options };
        let table = self.change_table(name, &write).await?;
        // A drop may have come between.
        self.fence_predecessors(name).await?;
        Ok(table)
    }

    /// Notes the columns of a table's JSON values, and how its keys were made.
    ///
    /// # Errors
    /// [`RequestError::UnknownTable`], or what writing reports.
    pub async fn describe_columns(
        &self,
        name: &str,
        columns: Vec<Column>,
        key_template: Option<String>,
    ) -> Result<Arc<Table>, RequestError> {
        self.check_open()?;
        let write = MetaWrite::DescribeColumns { name: name.to_owned(), columns, key_template };
        self.change_table(name, &write).await
    }

    /// Drops a table: no request finds it any more when this returns, and its rows are
    /// removed. Their space comes back in the background.
    ///
    /// # Errors
    /// [`RequestError::UnknownTable`], [`RequestError::TableProtected`], or what writing
    /// reports: if the table is gone then, its rows are removed within a minute, or when the
    /// shards that hold them are back.
    pub async fn drop_table(&self, name: &str) -> Result<(), RequestError> {
        self.check_open()?;
        let (node, name) = (self.clone(), name.to_owned());
        // In a task of its own: a client that goes away must not leave the drop half done.
        let dropping = tokio::spawn(async move {
            let write = MetaWrite::BeginDrop { name: name.clone() };
            let table = node.change_table(&name, &write).await?;
            node.remove_rows(&table).await
        });
        dropping.await.map_err(|error| RequestError::Internal { reason: error.to_string() })?
    }

    /// Removes the rows of tables that are being dropped. What fails is tried again: the
    /// tables are gone for clients in any case.
    pub(crate) async fn finish_drops(&self) {
        for table in self.dropping() {
            match self.remove_rows(&table).await {
                Ok(()) => tracing::info!(table = %table.name, "removed a dropped table's rows"),
                Err(error) => tracing::warn!(table = %table.name, %error, "rows are still there"),
            }
        }
    }

    /// Sees to it that no shard takes a row for a table of this name that is dropped, or shows
    /// one.
    ///
    /// A node that is behind still takes the name for the dropped table. So nothing is done
    /// with a table before every shard refuses requests on those that had its name before:
    /// what such a node then acknowledged would be lost, and what it showed be wrong.
    async fn fence_predecessors(&self, name: &str) -> Result<(), RequestError> {
        let deadline = Instant::now() + REQUEST_DEADLINE_DEFAULT;
        while let Some(old) = self.0.cluster.dropping(name) {
            // One request does it, the others wait for it.
            let Ok(_fencing) = timeout_at(deadline, self.0.fencing.lock()).await else {
                return Err(RequestError::DeadlineExceeded);
            };
            if self.0.cluster.dropping(name).is_none_or(|left| left.id != old.id) {
                continue;
            }
            self.remove_rows(&old).await.map_err(|error| match error {
                RequestError::ShardUnavailable { shard, reason } => {
                    let reason = format!(
                        "it must be told that the table which was called {name:?} before is \
                         dropped; try again when it is back: {reason}"
                    );
                    RequestError::ShardUnavailable { shard, reason }
                }
                error => error,
            })?;
        }
        Ok(())
    }

    /// The tables that are being dropped.
    fn dropping(&self) -> Vec<Table> {
        self.0.cluster.state().map(|state| state.dropping.clone()).unwrap_or_default()
    }

    /// Finishes drops that whoever began them has left unfinished: at once, those that were
    /// unfinished at the start, and while this node leads the meta shard those that have been
    /// on their way for too long. Ends when the node does.
    pub(crate) async fn keep_finishing_drops(node: Weak<Inner>, stop: CancellationToken) {
        let mut seen = Vec::new();
        let mut is_start = true;
        loop {
            let Some(inner) = node.upgrade() else { return };
            let node = Self(inner, Consistency::Linearizable);
            let dropping: Vec<_> = node.dropping().iter().map(|table| table.id).collect();
            let is_late = dropping.iter().any(|table| seen.contains(table));
            if (is_start || is_late && node.leads_meta())
                && stop.run_until_cancelled(node.finish_drops()).await.is_none()
            {
                return;
            }
            (seen, is_start) = (dropping, false);
            drop(node);
            if stop.run_until_cancelled(tokio::time::sleep(DROP_PATIENCE)).await.is_none() {
                return;
            }
        }
    }

    fn leads_meta(&self) -> bool {
        let shards = self.0.shards.load();
        let meta = shards.get(&ShardId::META);
        meta.is_some_and(|meta| meta.group.leadership() == Leadership::Own)
    }

    async fn remove_rows(&self, table: &Table) -> Result<(), RequestError> {
        let drop = KvWrite::DropTable { table: table.to_ref() };
        self.write_everywhere(table, &drop, None).await?;
        let range = breccia_store::key::bounds_of_prefix(table.id, table.to_ref().kind, &[]);
        let shards = self.shards();
        // Detached on purpose: the space may come back after the reply.
        tokio::task::spawn_blocking(move || {
            for shard in shards {
                shard.data.engine().compact(Some(&range));
            }
        });
        self.0.meta.change(&MetaWrite::FinishDrop { table: table.id }).await.map(|_| ())
    }

    async fn change_table(
        &self,
        name: &str,
        write: &MetaWrite,
    ) -> Result<Arc<Table>, RequestError> {
        let name = || name.to_owned();
        match self.0.meta.change(write).await? {
            MetaReply::Table { table } => Ok(Arc::new(table)),
            MetaReply::Refused { refusal } => Err(match refusal {
                MetaRefusal::UnknownTable => RequestError::UnknownTable { name: name() },
                MetaRefusal::TableExists => RequestError::TableExists { name: name() },
                MetaRefusal::TableProtected => RequestError::TableProtected { name: name() },
                MetaRefusal::TooManyTables => RequestError::TooManyTables { max: TABLES_MAX },
                other => unexpected(&other),
            }),
            other => Err(unexpected(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::NodeConfig;

    /// A review found that a table could be made while the old one of its name still took
    /// writes, from nodes which did not know yet, and lost them later.
    #[tokio::test]
    async fn a_table_that_is_made_after_an_unfinished_drop_leaves_none_that_takes_writes() {
        let node = Node::open(NodeConfig::in_memory()).await.expect("opens");
        let key = || Bytes::from_static(b"k");
        let mut old = node.create_table("t", TableOptions::default()).await.expect("creates");
        for _ in 0..3 {
            node.write(&old, old.put(key(), key()), None).await.expect("writes");
            let begin = MetaWrite::BeginDrop { name: "t".to_owned() };
            node.0.meta.change(&begin).await.expect("begins");
            // Whoever began the drop died here.
            let new = node.create_table("t", TableOptions::default()).await.expect("creates");
            assert_ne!(new.id, old.id);
            let late = node.write(&old, old.put(key(), key()), None).await;
            let dropped = RequestError::TableDropped { id: old.id };
            assert_eq!(late, Err(dropped.clone()));
            assert_eq!(node.get(&old, b"k").await, Err(dropped));
            assert_eq!(node.get(&new, b"k").await, Ok(None));
            old = new;
        }
    }

    /// As above, when the drop begins after whoever makes the table has looked for one.
    #[tokio::test]
    async fn a_table_is_used_only_once_the_one_that_had_its_name_is_refused_everywhere() {
        let node = Node::open(NodeConfig::in_memory()).await.expect("opens");
        let key = || Bytes::from_static(b"k");
        let old = node.create_table("t", TableOptions::default()).await.expect("creates");
        node.write(&old, old.put(key(), key()), None).await.expect("writes");
        for write in [
            MetaWrite::BeginDrop { name: "t".to_owned() },
            MetaWrite::CreateTable { name: "t".to_owned(), options: TableOptions::default() },
        ] {
            node.0.meta.change(&write).await.expect("changes");
        }
        assert_eq!(node.count(&old).await, Ok(1), "nobody has told the shards yet");
        let lookups = futures::future::join_all((0..50).map(|_| node.table("t"))).await;
        assert!(lookups.iter().all(Result::is_ok), "{lookups:?}");
        let dropped = RequestError::TableDropped { id: old.id };
        assert_eq!(node.count(&old).await, Err(dropped));
        assert_eq!(node.dropping(), []);
    }
}
