//! What of the node is out of service, and why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use breccia_types::{RequestError, ShardId};

/// Whether the node takes writes.
#[derive(Debug, Default)]
pub(crate) struct NodeHealth {
    read_only: ArcSwapOption<String>,
    failed: ArcSwapOption<String>,
    closing: AtomicBool,
}

/// Whether one shard is in service.
#[derive(Debug, Default)]
pub(crate) struct ShardHealth {
    quarantined: ArcSwapOption<String>,
}

impl NodeHealth {
    /// Refuses writes that take space, until there is room again.
    pub(crate) fn set_read_only(&self, reason: String) {
        if self.read_only.load().is_none() {
            tracing::error!(%reason, "the node is read-only");
        }
        self.read_only.store(Some(Arc::new(reason)));
    }

    pub(crate) fn clear_read_only(&self) {
        if self.read_only.swap(None).is_some() {
            tracing::info!("there is room again: the node takes writes");
        }
    }

    /// Refuses all writes until the node is restarted: storage did something other than run
    /// full, and what it holds is only known after a recovery.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(%reason, "storage failed: the node takes no writes until restarted");
        self.failed.store(Some(Arc::new(reason)));
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Whether the node waits for room on the disk, and for nothing else.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.failed.load().is_none() && self.read_only.load().is_some()
    }

    /// Why only a restart makes the node take writes again, if that is so.
    pub(crate) fn failed(&self) -> Option<String> {
        self.failed.load_full().map(|reason| reason.as_ref().clone())
    }

    /// Why the node takes no writes, if it takes none.
    pub(crate) fn read_only(&self) -> Option<String> {
        let failed = self.failed.load_full();
        failed.or_else(|| self.read_only.load_full()).map(|reason| reason.as_ref().clone())
    }

    /// Whether a write may be proposed; one that frees space may while the disk is full.
    pub(crate) fn check_write(&self, frees_space: bool) -> Result<(), RequestError> {
        if self.is_closing() {
            return Err(RequestError::ShuttingDown);
        }
        let read_only = |reason: Arc<String>| RequestError::ReadOnly { reason: (*reason).clone() };
        if let Some(reason) = self.failed.load_full() {
            return Err(read_only(reason));
        }
        match self.read_only.load_full() {
            Some(reason) if !frees_space => Err(read_only(reason)),
            _ => Ok(()),
        }
    }
}

impl ShardHealth {
    /// Takes the shard out of service.
    pub(crate) fn quarantine(&self, shard: ShardId, reason: String) {
        if self.quarantined.load().is_none() {
            tracing::error!(%shard, %reason, "the shard is out of service");
            self.quarantined.store(Some(Arc::new(reason)));
        }
    }

    pub(crate) fn quarantined(&self) -> Option<String> {
        self.quarantined.load_full().map(|reason| reason.as_ref().clone())
    }

    pub(crate) fn check(&self, shard: ShardId) -> Result<(), RequestError> {
        match &*self.quarantined.load() {
            None => Ok(()),
            Some(reason) => Err(RequestError::ShardUnavailable {
                shard,
                reason: format!(
                    "{reason}; the other shards serve on; restore this one from a backup"
                ),
            }),
        }
    }
}
