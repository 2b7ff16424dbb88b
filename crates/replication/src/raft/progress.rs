//! What a running replica's state machine has got done, for those who watch it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::consensus::ApplyError;

/// Shared between the adapter, which writes it, and the replica's supervisor.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    applied: AtomicU64,
    durable: AtomicU64,
    /// Bytes of entries applied since the replica was opened.
    bytes_applied: AtomicU64,
    /// Whether openraft has read the replica's state and runs.
    started: AtomicBool,
    closing: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    no_room: Option<String>,
    failed: Option<ApplyError>,
}

impl Progress {
    pub(crate) fn on_applied(&self, index: u64) {
        self.applied.store(index, Ordering::Release);
    }

    pub(crate) fn on_durable(&self, index: u64) {
        self.durable.fetch_max(index, Ordering::AcqRel);
    }

    pub(crate) fn on_bytes_applied(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_applied.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn on_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub(crate) fn on_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn on_no_room(&self, reason: String) {
        let mut trouble = self.trouble.lock();
        if trouble.no_room.is_none() {
            tracing::warn!(%reason, "a replica waits for room");
        }
        trouble.no_room = Some(reason);
    }

    pub(crate) fn on_room(&self) {
        self.trouble.lock().no_room = None;
    }

    pub(crate) fn on_failed(&self, error: ApplyError) {
        self.trouble.lock().failed = Some(error);
    }

    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn bytes_applied(&self) -> u64 {
        self.bytes_applied.load(Ordering::Relaxed)
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Why entries wait to be applied, if they wait for room.
    pub(crate) fn no_room(&self) -> Option<String> {
        self.trouble.lock().no_room.clone()
    }

    /// Why the replica stopped, if its state machine was the cause.
    pub(crate) fn failed(&self) -> Option<ApplyError> {
        self.trouble.lock().failed.clone()
    }
}
