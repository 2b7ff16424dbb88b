//! What the transport counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the transport's start.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $(pub(crate) $name: Counter,)*
        }

        impl Metrics {
            pub(crate) fn counts(&self) -> Counts {
                Counts { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Frames handed to the operating system.
    frames_sent,
    /// Frames received and delivered.
    frames_received,
    /// Bytes handed to the operating system, greetings not included.
    bytes_sent,
    /// Bytes read, greetings not included.
    bytes_received,
    /// Writes to the operating system; frames that wait together share one.
    writes,
    /// Calls sent to peers.
    calls_sent,
    /// Calls refused here as `Busy`, because too much waits for the peer.
    calls_busy,
    /// Calls received from peers.
    calls_received,
    /// Attempts to connect.
    connects_attempted,
    /// Attempts that failed.
    connects_failed,
    /// Connections made again after an earlier one of the same peer was lost.
    reconnects,
    /// Connections accepted, before their greetings.
    accepted,
    /// Connections closed at once because there were too many.
    turned_away,
    /// Accepted connections that did not get past their greetings.
    greetings_failed,
    /// Nodes rejected by name, on either side.
    rejections,
    /// Connections closed because a frame broke the rules.
    frames_invalid,
    /// Connections closed because the other side was silent.
    silences,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
