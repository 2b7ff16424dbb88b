//! From the log to the state machine: the adapter that openraft drives.
//!
//! Entries that are ready are drained into batches, decoded, and applied by the machine's
//! thread. [`ShardState::apply`] returns only when they are visible, which is what the read
//! barrier relies on. Proposers hear of an entry as soon as its batch is visible.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use breccia_types::{Entry, LogIndex, NodeClock, Timestamp};
use futures::{FutureExt, Stream, StreamExt};
use openraft::EntryPayload;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};

use super::codec;
use super::machine::Position;
use super::pool::MachineHandle;
use super::progress::Progress;
use super::snapshot::{Exports, ShardSnapshot, SnapshotBuilder, meta_of};
use super::types::{GroupConfig, LogEntry, LogId, Outcomes, StoredMembership};
use crate::consensus::ApplyError;

/// The most entries that are applied together.
const BATCH_ENTRIES_MAX: usize = 256;
/// Bytes of entries after which a batch is closed.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How long a replica without room waits before it tries the same batch again.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(250);

type Responder = ApplyResponder<GroupConfig>;

/// A replica's state machine as openraft sees it.
pub(crate) struct ShardState {
    machine: MachineHandle,
    clock: Arc<NodeClock>,
    progress: Arc<Progress>,
    exports: Arc<Exports>,
    position: Option<Position>,
}

/// Entries that are applied together, and who waits for them.
struct Batch {
    entries: Vec<Entry>,
    responders: Vec<(Option<Responder>, HasCommands)>,
    position: Position,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HasCommands {
    Yes,
    No,
}

impl ShardState {
    /// The adapter of a machine, at the machine's position.
    pub(crate) async fn open(
        machine: MachineHandle,
        clock: Arc<NodeClock>,
        progress: Arc<Progress>,
        exports: Arc<Exports>,
    ) -> Result<Self, ApplyError> {
        let position = read_position(&machine).await?;
        let mut state = Self { machine, clock, progress, exports, position: None };
        if let Some(position) = position {
            // What a machine holds when it is opened is what survived.
            state.progress.on_durable(position.log_id.index());
            state.take(position);
        }
        Ok(state)
    }

    /// Whether no entry of the group's log was ever applied.
    pub(crate) fn is_untouched(&self) -> bool {
        // Term 0 is that of a bootstrapped position.
        let term = |position: &Position| position.log_id.committed_leader_id().term;
        self.position.as_ref().is_none_or(|position| term(position) == 0)
    }

    /// Takes a position as applied.
    fn take(&mut self, position: Position) {
        self.clock.advance_past(position.stamp);
        self.progress.on_applied(position.log_id.index());
        self.position = Some(position);
    }

    fn membership(&self) -> StoredMembership {
        self.position.as_ref().map(|position| position.membership.clone()).unwrap_or_default()
    }

    /// Takes what is ready, at least one entry unless the stream has ended.
    async fn gather<S>(&self, entries: &mut S) -> io::Result<Option<Batch>>
    where
        S: Stream<Item = io::Result<EntryResponder<GroupConfig>>> + Unpin + Send,
    {
        let Some(first) = entries.next().await else { return Ok(None) };
        let (entry, responder) = first?;
        let stamp = self.position.as_ref().map_or(Timestamp::MIN, |position| position.stamp);
        let mut batch = Batch {
            entries: Vec::new(),
            responders: Vec::new(),
            position: Position { log_id: entry.log_id, membership: self.membership(), stamp },
            bytes: 0,
        };
        batch.push(entry, responder)?;
        while batch.responders.len() < BATCH_ENTRIES_MAX && batch.bytes < BATCH_BYTES_MAX {
            let Some(Some(next)) = entries.next().now_or_never() else { break };
            let (entry, responder) = next?;
            batch.push(entry, responder)?;
        }
        Ok(Some(batch))
    }

    async fn apply_batch(&mut self, batch: Batch) -> Result<(), ApplyError> {
        let Batch { entries, responders, position, bytes } = batch;
        let encoded = position.encode();
        let results = loop {
            let (entries, encoded) = (entries.clone(), encoded.clone());
            match self.machine.with(move |machine| machine.apply(entries, encoded)).await {
                Err(ApplyError::ReadOnly { reason }) => self.wait_for_room(reason).await?,
                result => break result?,
            }
        };
        if results.len() != entries.len() {
            let reason = "the state machine lost outcomes".to_owned();
            return Err(ApplyError::Quarantined { reason });
        }
        self.progress.on_room();
        self.progress.on_bytes_applied(bytes);
        self.take(position);
        let mut results = results.into_iter();
        for (responder, has_commands) in responders {
            let outcomes = match has_commands {
                HasCommands::Yes => Outcomes(results.next().unwrap_or_default()),
                HasCommands::No => Outcomes::default(),
            };
            if let Some(responder) = responder {
                responder.send(outcomes);
            }
        }
        Ok(())
    }

    async fn wait_for_room(&self, reason: String) -> Result<(), ApplyError> {
        if self.progress.is_closing() {
            return Err(ApplyError::ReadOnly { reason });
        }
        self.progress.on_no_room(reason);
        tokio::time::sleep(NO_ROOM_PAUSE).await;
        Ok(())
    }

    fn fail(&self, error: &ApplyError) -> io::Error {
        tracing::error!(shard = %self.exports.shard(), %error, "the replica stops");
        self.progress.on_failed(error.clone());
        io::Error::other(error.clone())
    }

    async fn install(&mut self, snapshot: ShardSnapshot) -> Result<(), ApplyError> {
        let ShardSnapshot::Received(incoming) = snapshot else {
            let reason = "a snapshot without files was to be installed".to_owned();
            return Err(ApplyError::Quarantined { reason });
        };
        loop {
            let (folder, position) = (incoming.folder().to_owned(), incoming.position().clone());
            let installing = self.machine.with(move |machine| machine.install(&folder, &position));
            match installing.await {
                Err(ApplyError::ReadOnly { reason }) => self.wait_for_room(reason).await?,
                result => break result?,
            }
        }
        self.progress.on_room();
        let installed = read_position(&self.machine).await?;
        match installed {
            Some(installed) if installed.encode() == *incoming.position() => {
                self.exports.forget();
                self.progress.on_durable(installed.log_id.index());
                self.take(installed);
                Ok(())
            }
            _ => {
                let reason = "an installed snapshot is at another position".to_owned();
                Err(ApplyError::Quarantined { reason })
            }
        }
    }
}

impl Batch {
    fn push(&mut self, entry: LogEntry, responder: Option<Responder>) -> io::Result<()> {
        self.bytes += codec::entry_bytes(&entry);
        self.position.log_id = entry.log_id;
        let has_commands = match entry.payload {
            EntryPayload::Blank => HasCommands::No,
            EntryPayload::Membership(membership) => {
                self.position.membership = StoredMembership::new(Some(entry.log_id), membership);
                HasCommands::No
            }
            EntryPayload::Normal(payload) => {
                let index = LogIndex::new(entry.log_id.index());
                let decoded = codec::decode_payload(index, &payload).map_err(io::Error::other)?;
                let commands = u64::try_from(decoded.commands.len()).unwrap_or(u64::MAX);
                let last = decoded.stamp.saturating_add(Duration::from_micros(commands));
                self.position.stamp = self.position.stamp.max(last);
                self.entries.push(decoded);
                HasCommands::Yes
            }
        };
        self.responders.push((responder, has_commands));
        Ok(())
    }
}

pub(crate) async fn read_position(machine: &MachineHandle) -> Result<Option<Position>, ApplyError> {
    let encoded = machine.with(|machine| machine.position()).await?;
    encoded.map(Position::decode).transpose().map_err(unreadable)
}

pub(crate) fn unreadable(error: breccia_types::wire::DecodeError) -> ApplyError {
    ApplyError::Quarantined { reason: format!("its position cannot be read: {error}") }
}

impl RaftStateMachine<GroupConfig> for ShardState {
    type SnapshotData = ShardSnapshot;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.position.as_ref().map(|position| position.log_id), self.membership()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<GroupConfig>>> + Unpin + Send,
    {
        loop {
            let batch = match self.gather(&mut entries).await {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let reason = format!("its log cannot be read: {error}");
                    return Err(self.fail(&ApplyError::Quarantined { reason }));
                }
            };
            self.apply_batch(batch).await.map_err(|error| self.fail(&error))?;
        }
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        let builder = self.get_snapshot_builder().await;
        match builder.no_room() {
            Some(reason) if !force => {
                tracing::warn!(shard = %self.exports.shard(), %reason, "the log cannot be cut");
                None
            }
            _ => Some(builder),
        }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::flush(&self.machine, &self.progress).await
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<GroupConfig>,
        snapshot: ShardSnapshot,
    ) -> io::Result<()> {
        self.install(snapshot).await.map_err(|error| self.fail(&error))
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<GroupConfig, ShardSnapshot>>> {
        let Some(position) = &self.position else { return Ok(None) };
        if !self.progress.is_started() {
            // Nobody wants its files yet; what is applied before the start is what survived
            // or stands in the log.
            let meta = meta_of(position);
            return Ok(Some(SnapshotOf::<GroupConfig, _> {
                meta,
                snapshot: ShardSnapshot::Virtual,
            }));
        }
        match self.exports.get(&self.machine).await {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(error @ ApplyError::Quarantined { .. }) => Err(self.fail(&error)),
            Err(error) => {
                // The replica itself is well. A snapshot without files is not sent, and after
                // a pause another is asked for.
                tracing::warn!(shard = %self.exports.shard(), %error, "the shard is not exported");
                let meta = meta_of(position);
                Ok(Some(SnapshotOf::<GroupConfig, _> { meta, snapshot: ShardSnapshot::Virtual }))
            }
        }
    }
}
