//! The state machine of one shard: applies the entries of its log, one after the other.

use std::sync::Arc;

use breccia_store::transaction::own_records;
use breccia_store::{Applied, Reader, ShardBatch, ShardEngine, StoreError, Transaction};
use breccia_types::limits::{ENTRY_FUEL_MAX, ENTRY_REPLY_BYTES_MAX, ENTRY_WRITTEN_BYTES_MAX};
use breccia_types::{Command, Entry, LogIndex, Outcome, Rejected, TableId, Timestamp};

use bytes::Bytes;

use crate::requests;
use crate::service::{DroppedTables, ServiceContext, Services, WriteError};

/// The name of the record that says how far the log is applied:
/// `format u8 | index u64 BE | stamp i64 BE`. It is written in the same batch as the data.
const APPLIED: &[u8] = b"applied";
const APPLIED_FORMAT: u8 = 1;
/// The names of the records of dropped tables: this, then the table's id as u32 BE.
const DROPPED: &[u8] = b"d";

/// Applies entries to one shard.
///
/// Entries are first prepared, which decides what to write and what to reply, and then,
/// once that is written, committed. Between the two nothing has happened.
pub struct ShardMachine {
    shard: Arc<dyn ShardEngine>,
    services: Services,
    applied: Applied,
    dropped: DroppedTables,
}

/// The effects of entries, decided but not yet written.
pub struct Prepared {
    /// What to write, the applied position included.
    pub batch: ShardBatch,
    /// The outcomes of each entry's commands, in order.
    pub outcomes: Vec<Vec<Outcome>>,
    applied: Applied,
    dropped: Option<DroppedTables>,
}

impl Prepared {
    /// The tables whose rows the shard no longer takes once this is written, if there are
    /// more than before.
    #[must_use]
    pub const fn dropped(&self) -> Option<&DroppedTables> {
        self.dropped.as_ref()
    }
}

impl ShardMachine {
    /// The machine of a shard, at the position that the shard holds.
    ///
    /// # Errors
    /// What reading the shard's own records reports.
    pub fn open(shard: Arc<dyn ShardEngine>, services: Services) -> Result<Self, StoreError> {
        let applied = read_applied(shard.as_ref())?;
        let mut dropped = DroppedTables::default();
        for (name, _) in own_records(shard.as_ref(), DROPPED, usize::MAX)? {
            if let Some(id) = name.strip_prefix(DROPPED).and_then(|id| id.try_into().ok()) {
                dropped.insert(TableId::new(u32::from_be_bytes(id)));
            }
        }
        Ok(Self { shard, services, applied, dropped })
    }

    /// How far the log is applied.
    #[must_use]
    pub const fn applied(&self) -> Applied {
        self.applied
    }

    /// The tables whose rows this shard no longer takes.
    #[must_use]
    pub const fn dropped(&self) -> &DroppedTables {
        &self.dropped
    }

    /// Decides what entries write and reply, one after the other. The effects do not depend
    /// on which entries are prepared together, so replicas may do so differently.
    ///
    /// # Errors
    /// What reading the shard reports. The shard must then be taken out of service: other
    /// replicas may have applied the entries.
    pub fn prepare(&self, entries: &[Entry]) -> Result<Prepared, StoreError> {
        let mut transaction = Transaction::new(self.shard.as_ref());
        let mut dropped = self.dropped.clone();
        let mut applied = self.applied;
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            let (of_entry, stamp) = self.run_entry(&mut transaction, &mut dropped, entry)?;
            outcomes.push(of_entry);
            applied = Applied { index: entry.index, stamp: applied.stamp.max(stamp) };
        }
        transaction.put_own(APPLIED, encode_applied(applied));
        let dropped = dropped.has_grown_since(&self.dropped).then_some(dropped);
        Ok(Prepared { batch: transaction.into_batch(), outcomes, applied, dropped })
    }

    /// Runs an entry's commands. Returns their outcomes and the instant after the last.
    fn run_entry(
        &self,
        transaction: &mut Transaction<'_>,
        dropped: &mut DroppedTables,
        entry: &Entry,
    ) -> Result<(Vec<Outcome>, Timestamp), StoreError> {
        let mut outcomes = Vec::with_capacity(entry.commands.len());
        let mut stamp = entry.stamp;
        let mut new_requests = 0;
        let written_before = transaction.bytes_written();
        let mut reply_bytes = 0;
        let mut fuel_used = 0;
        for command in &entry.commands {
            transaction.begin(stamp);
            stamp = stamp.next();
            if transaction.bytes_written() - written_before >= ENTRY_WRITTEN_BYTES_MAX
                || reply_bytes >= ENTRY_REPLY_BYTES_MAX
                || fuel_used >= ENTRY_FUEL_MAX
            {
                outcomes.push(Err(Rejected::TooMuch { service: command.service }));
                continue;
            }
            let known = match command.request_id {
                Some(id) => requests::recall(transaction, id)?,
                None => None,
            };
            let outcome = match known {
                Some(outcome) => outcome,
                None => {
                    let fuel_used = &mut fuel_used;
                    let mut context = ServiceContext { transaction, dropped, fuel_used };
                    let outcome = run(&self.services, &mut context, command)?;
                    // What was not done may be asked for again.
                    let is_missing = matches!(outcome, Err(Rejected::Missing { .. }));
                    if let Some(id) = command.request_id.filter(|_| !is_missing) {
                        requests::remember(transaction, id, &outcome);
                        new_requests += 1;
                    }
                    outcome
                }
            };
            reply_bytes += outcome.as_ref().map_or(0, Bytes::len);
            outcomes.push(outcome);
        }
        if new_requests > 0 {
            requests::forget(transaction, new_requests)?;
        }
        Ok((outcomes, stamp))
    }

    /// Takes prepared entries as applied, once their batch is written. Returns the outcomes.
    pub fn commit(&mut self, prepared: Prepared) -> Vec<Vec<Outcome>> {
        debug_assert!(prepared.applied.index >= self.applied.index, "entries apply in order");
        self.applied = prepared.applied;
        if let Some(dropped) = prepared.dropped {
            self.dropped = dropped;
        }
        prepared.outcomes
    }
}

/// Notes in the shard that a table was dropped.
pub(crate) fn put_dropped(transaction: &mut Transaction<'_>, table: TableId) {
    let mut name = DROPPED.to_vec();
    name.extend_from_slice(&table.get().to_be_bytes());
    transaction.put_own(&name, Vec::new());
}

/// Whether a shard has been told that a table was dropped.
///
/// # Errors
/// See [`Reader::get`].
pub fn is_dropped(shard: &dyn Reader, table: TableId) -> Result<bool, StoreError> {
    let mut name = DROPPED.to_vec();
    name.extend_from_slice(&table.get().to_be_bytes());
    Ok(shard.get(&breccia_store::key::own(&name))?.is_some())
}

fn run(
    services: &Services,
    context: &mut ServiceContext<'_, '_>,
    command: &Command,
) -> Result<Outcome, StoreError> {
    let Some(service) = services.get(command.service) else {
        return Ok(Err(Rejected::UnknownService { service: command.service }));
    };
    match service.write(context, command.payload.clone()) {
        Ok(reply) => Ok(Ok(reply)),
        Err(WriteError::Malformed { .. }) => {
            Ok(Err(Rejected::Malformed { service: command.service }))
        }
        Err(WriteError::Missing) => Ok(Err(Rejected::Missing { service: command.service })),
        Err(WriteError::Store(error)) => Err(error),
    }
}

/// How far the log of a shard is applied, as its record says.
///
/// # Errors
/// [`StoreError::UnknownFormat`], or what reading reports.
pub fn read_applied(shard: &dyn Reader) -> Result<Applied, StoreError> {
    applied_of(shard.get(&breccia_store::key::own(APPLIED))?)
}

/// How far the log of a shard is applied so that a crash cannot take it away: at least what
/// was applied before the shard's last flush.
///
/// # Errors
/// As those of [`read_applied`].
pub fn read_durable_applied(shard: &dyn ShardEngine) -> Result<Applied, StoreError> {
    applied_of(shard.get_durable(&breccia_store::key::own(APPLIED))?)
}

fn applied_of(stored: Option<Bytes>) -> Result<Applied, StoreError> {
    let Some(stored) = stored else {
        return Ok(Applied { index: LogIndex::default(), stamp: Timestamp::MIN });
    };
    decode_applied(&stored).ok_or_else(|| StoreError::UnknownFormat {
        what: "the applied position",
        found: stored.first().copied().unwrap_or(0),
        known: APPLIED_FORMAT,
    })
}

fn encode_applied(applied: Applied) -> Vec<u8> {
    let mut stored = vec![APPLIED_FORMAT];
    stored.extend_from_slice(&applied.index.get().to_be_bytes());
    stored.extend_from_slice(&applied.stamp.as_micros().to_be_bytes());
    stored
}

fn decode_applied(stored: &[u8]) -> Option<Applied> {
    let (&format, rest) = stored.split_first()?;
    let (index, rest) = rest.split_first_chunk::<8>()?;
    let stamp = rest.first_chunk::<8>()?;
    (format == APPLIED_FORMAT).then(|| Applied {
        index: LogIndex::new(u64::from_be_bytes(*index)),
        stamp: Timestamp::from_micros(i64::from_be_bytes(*stamp)),
    })
}
