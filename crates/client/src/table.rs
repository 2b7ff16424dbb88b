//! A table, and what can be asked of its rows.

use std::sync::Arc;

use breccia_api::v1;
use breccia_api::v1::{merge_request, put_request};
use breccia_ring::slot_of;
use breccia_types::Slot;
use bytes::Bytes;

use crate::batch::{Batch, Command};
use crate::cluster::Cluster;
use crate::multi_get::MultiGet;
use crate::read::{Count, Get, History};
use crate::request::Request;
use crate::scan::Scan;
use crate::tables::TableDescription;
use crate::write::{CompareAndSet, Delete, Merge, Put};

/// A table, opened by [`Client::table`](crate::Client::table). Clones are the same table.
///
/// Stays good when the table is dropped and another of its name created. Keys have at most
/// 65,535 bytes, values at most 64 MiB.
///
/// # Errors
/// Every request can fail as [`Error`](crate::Error) says; a node's refusals are named by
/// [`Code`](crate::Code).
#[derive(Debug, Clone)]
pub struct Table {
    cluster: Arc<Cluster>,
    description: Arc<TableDescription>,
}

impl Table {
    pub(crate) fn new(cluster: Arc<Cluster>, description: TableDescription) -> Self {
        Self { cluster, description: Arc::new(description) }
    }

    /// The table as it was described when it was opened.
    #[must_use]
    pub fn description(&self) -> &TableDescription {
        &self.description
    }

    /// Reads one row. Answers `None` if there is none.
    ///
    /// ```no_run
    /// # async fn example(table: breccia_client::Table) -> Result<(), breccia_client::Error> {
    /// use std::time::Duration;
    ///
    /// use breccia_client::Consistency;
    ///
    /// let row = table.get("alice").deadline(Duration::from_millis(200)).await?;
    /// // From any replica that lacks only what was acknowledged in the last five seconds.
    /// let consistency = Consistency::Stale { max: Duration::from_secs(5) };
    /// let row = table.get("alice").consistency(consistency).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self, key: impl AsRef<[u8]>) -> Request<Get> {
        let (slot, key) = self.slot_and_key(key);
        let message = v1::GetRequest { table: self.name(), key, as_of_micros: None };
        self.request(Get { slot, message })
    }

    /// Reads up to 100,000 rows, of up to 64 MiB on each node: those of one leader together,
    /// those of several at the same time. Answers one entry per key, in the order of the
    /// keys. Each row is read linearizably; together they are no snapshot.
    ///
    /// ```no_run
    /// # async fn example(table: breccia_client::Table) -> Result<(), breccia_client::Error> {
    /// let rows = table.multi_get(["alice", "bob"]).await?;
    /// let found = rows.iter().flatten().count();
    /// # Ok(())
    /// # }
    /// ```
    pub fn multi_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Request<MultiGet> {
        let keys = keys.into_iter().map(|key| self.slot_and_key(key)).collect();
        self.request(MultiGet { table: self.name(), keys })
    }

    /// Reads the versions of one row of a versioned table, newest first.
    ///
    /// ```no_run
    /// # async fn example(prices: breccia_client::Table) -> Result<(), breccia_client::Error> {
    /// let page = prices.history("shoe/berlin").limit(10).await?;
    /// for version in page.versions {
    ///     println!("{:?}: {:?}", version.version, version.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn history(&self, key: impl AsRef<[u8]>) -> Request<History> {
        let (slot, key) = self.slot_and_key(key);
        let message = v1::HistoryRequest { table: self.name(), key, ..Default::default() };
        self.request(History { slot, message })
    }

    /// Reads rows in key order over all shards.
    ///
    /// ```no_run
    /// # async fn example(table: breccia_client::Table) -> Result<(), breccia_client::Error> {
    /// use futures::TryStreamExt;
    ///
    /// let mut rows = table.scan().prefix("B6/").reverse().limit(100).rows();
    /// while let Some(row) = rows.try_next().await? {
    ///     println!("{:?}: {:?}", row.key, row.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan(&self) -> Request<Scan> {
        let message = v1::ScanRequest { table: self.name(), ..Default::default() };
        self.request(Scan { message, rows_max: None })
    }

    /// Counts the rows exactly, by reading their keys.
    pub fn count(&self) -> Request<Count> {
        self.request(Count { message: v1::CountRequest { table: self.name() } })
    }

    /// Writes a row, or a version of it. Answers the instant at which it was written. In a
    /// monoid table the value is an operand as text, which replaces the state.
    ///
    /// ```no_run
    /// # async fn example(table: breccia_client::Table) -> Result<(), breccia_client::Error> {
    /// use std::time::Duration;
    ///
    /// table.put("alice", "berlin").ttl(Duration::from_secs(1_800)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Request<Put> {
        self.put_content(key, put_request::Content::Value(value.into()))
    }

    /// Writes a row of a monoid table: an encoded state, as [`Row::value`](crate::Row::value)
    /// has it, which replaces the state.
    pub fn put_state(&self, key: impl AsRef<[u8]>, state: impl Into<Bytes>) -> Request<Put> {
        self.put_content(key, put_request::Content::EncodedState(state.into()))
    }

    /// Removes a row. Answers whether there was one. In a versioned table the history before
    /// it stays readable.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Request<Delete> {
        let (slot, key) = self.slot_and_key(key);
        let message = v1::DeleteRequest { table: self.name(), key, ..Default::default() };
        self.request(Delete { slot, message })
    }

    /// Writes `new` (`None`: removes the row) if the row's value is `expected` (`None`: if
    /// there is no row). Answers what was found.
    ///
    /// ```no_run
    /// # async fn example(table: breccia_client::Table) -> Result<(), breccia_client::Error> {
    /// use breccia_client::Swap;
    ///
    /// match table.compare_and_set("lock", None, Some("mine".into())).await? {
    ///     Swap::Done => println!("locked"),
    ///     Swap::Refused { actual } => println!("{actual:?} has it"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> Request<CompareAndSet> {
        let (slot, key) = self.slot_and_key(key);
        let table = self.name();
        let message = v1::CompareAndSetRequest { table, key, expected, new, ..Default::default() };
        self.request(CompareAndSet { slot, message })
    }

    /// Merges an operand into a row of a monoid table: text such as `1.5`; which texts fit is
    /// the monoid's choice. Answers the instant at which it was merged.
    ///
    /// ```no_run
    /// # async fn example(visits: breccia_client::Table) -> Result<(), breccia_client::Error> {
    /// visits.merge("page-1", "1").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn merge(&self, key: impl AsRef<[u8]>, operand: impl Into<Bytes>) -> Request<Merge> {
        self.merge_content(key, merge_request::Content::Operand(operand.into()))
    }

    /// Merges an encoded state, as [`Row::value`](crate::Row::value) has it, into a row of a
    /// monoid table.
    pub fn merge_state(&self, key: impl AsRef<[u8]>, state: impl Into<Bytes>) -> Request<Merge> {
        self.merge_content(key, merge_request::Content::EncodedOperand(state.into()))
    }

    /// Applies up to 100,000 commands, of up to 64 MiB of keys and values, together or not at
    /// all. Their keys must have the same partition key. Answers one [`Reply`](crate::Reply)
    /// per command, in order.
    ///
    /// ```no_run
    /// # async fn example(carts: breccia_client::Table) -> Result<(), breccia_client::Error> {
    /// use breccia_client::{Code, Command};
    ///
    /// // The table's partition rule is `before:/`.
    /// let paid = carts.batch([
    ///     Command::compare_and_set("7/state", Some("open".into()), Some("paid".into())),
    ///     Command::put("7/receipt", "a receipt"),
    /// ]);
    /// match paid.await {
    ///     Err(error) if error.code() == Some(Code::GuardFailed) => println!("was not open"),
    ///     other => drop(other?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn batch(&self, commands: impl IntoIterator<Item = Command>) -> Request<Batch> {
        let commands: Vec<_> = commands.into_iter().collect();
        let slot = commands.first().map(|command| self.slot(command.key()));
        let commands = commands.into_iter().map(Command::into_message).collect();
        let message = v1::BatchRequest { table: self.name(), commands, ..Default::default() };
        self.request(Batch { slot, message })
    }

    fn put_content(&self, key: impl AsRef<[u8]>, content: put_request::Content) -> Request<Put> {
        let (slot, key) = self.slot_and_key(key);
        let (table, content) = (self.name(), Some(content));
        let message = v1::PutRequest { table, key, content, ..Default::default() };
        self.request(Put { slot, message })
    }

    fn merge_content(
        &self,
        key: impl AsRef<[u8]>,
        content: merge_request::Content,
    ) -> Request<Merge> {
        let (slot, key) = self.slot_and_key(key);
        let (table, content) = (self.name(), Some(content));
        let message = v1::MergeRequest { table, key, content, ..Default::default() };
        self.request(Merge { slot, message })
    }

    fn request<O>(&self, operation: O) -> Request<O> {
        Request::new(Arc::clone(&self.cluster), operation)
    }

    fn name(&self) -> String {
        self.description.name.clone()
    }

    fn slot_and_key(&self, key: impl AsRef<[u8]>) -> (Slot, Bytes) {
        let key = Bytes::copy_from_slice(key.as_ref());
        (self.slot(&key), key)
    }

    fn slot(&self, key: &[u8]) -> Slot {
        slot_of(self.description.options.partition, key)
    }
}
