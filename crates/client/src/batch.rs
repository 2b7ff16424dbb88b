//! Several commands that are applied together or not at all.

use std::time::Duration;

use breccia_api::v1;
use breccia_api::v1::command::Command as Wire;
use breccia_types::kv::Expiry;
use breccia_types::{Slot, Timestamp};
use bytes::Bytes;

use crate::error::Error;
use crate::request::{Caller, Operation, WriteOperation};
use crate::wire::expiry_message;

/// One command of a batch.
///
/// ```
/// use std::time::Duration;
///
/// use breccia_client::Command;
///
/// let commands = [
///     Command::compare_and_set("cart/7/state", Some("open".into()), Some("paid".into())),
///     Command::put("cart/7/receipt", "a receipt").ttl(Duration::from_secs(86_400)),
///     Command::delete("cart/7/lock"),
/// ];
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Command(Wire);

impl Command {
    /// Writes a row, or a version of it. In a monoid table the value is an operand as text,
    /// which replaces the state.
    pub fn put(key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Self {
        let content = Some(v1::command::put::Content::Value(value.into()));
        Self(Wire::Put(v1::command::Put { key: key_of(key), content, ..Default::default() }))
    }

    /// Removes a row.
    pub fn delete(key: impl AsRef<[u8]>) -> Self {
        Self(Wire::Delete(v1::command::Delete { key: key_of(key), ..Default::default() }))
    }

    /// Writes `new` (`None`: no row) if `expected` is there (`None`: no row). If something else
    /// is, nothing of the batch is applied.
    pub fn compare_and_set(
        key: impl AsRef<[u8]>,
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> Self {
        let key = key_of(key);
        Self(Wire::CompareAndSet(v1::command::CompareAndSet { key, expected, new, expiry: None }))
    }

    /// Merges an operand, as text, into a row of a monoid table.
    pub fn merge(key: impl AsRef<[u8]>, operand: impl Into<Bytes>) -> Self {
        let content = Some(v1::command::merge::Content::Operand(operand.into()));
        Self(Wire::Merge(v1::command::Merge { key: key_of(key), content }))
    }

    /// How long the row lives, in whole milliseconds, rounded up; by default as long as the
    /// table says. Plain tables only; no change to what writes no value.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.expiry(Expiry::After(ttl))
    }

    /// When the row expires; by default as the table says. Plain tables only; no change to
    /// what writes no value.
    pub fn expiry(mut self, when: Expiry) -> Self {
        if let Wire::Put(v1::command::Put { expiry, .. })
        | Wire::CompareAndSet(v1::command::CompareAndSet { expiry, .. }) = &mut self.0
        {
            *expiry = Some(expiry_message(when));
        }
        self
    }

    /// The version's instant, in a versioned table; now by default. No change to what writes
    /// no version.
    pub const fn version(mut self, instant: Timestamp) -> Self {
        if let Wire::Put(v1::command::Put { version_micros, .. })
        | Wire::Delete(v1::command::Delete { version_micros, .. }) = &mut self.0
        {
            *version_micros = Some(instant.as_micros());
        }
        self
    }

    pub(crate) const fn key(&self) -> &Bytes {
        match &self.0 {
            Wire::Put(put) => &put.key,
            Wire::Delete(delete) => &delete.key,
            Wire::CompareAndSet(swap) => &swap.key,
            Wire::Merge(merge) => &merge.key,
        }
    }

    pub(crate) fn into_message(self) -> v1::Command {
        v1::Command { command: Some(self.0) }
    }
}

fn key_of(key: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(key.as_ref())
}

/// What a command of a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// It put a row.
    Put {
        /// The instant at which it was written; the version, in a versioned table.
        version: Timestamp,
    },
    /// It deleted.
    Deleted {
        /// Whether there was a row.
        existed: bool,
    },
    /// It found what it expected.
    Swapped,
    /// It merged.
    Merged {
        /// The instant at which it was merged.
        version: Timestamp,
    },
}

impl Reply {
    fn of(reply: v1::CommandReply) -> Result<Self, Error> {
        use v1::command_reply::Reply as Wire;
        match reply.reply {
            Some(Wire::Put(put)) => {
                Ok(Self::Put { version: Timestamp::from_micros(put.version_micros) })
            }
            Some(Wire::Delete(delete)) => Ok(Self::Deleted { existed: delete.existed }),
            Some(Wire::CompareAndSet(_)) => Ok(Self::Swapped),
            Some(Wire::Merge(merge)) => {
                Ok(Self::Merged { version: Timestamp::from_micros(merge.version_micros) })
            }
            None => Err(Error::Unreadable { what: "a reply to a command of a batch" }),
        }
    }
}

/// Applies several commands together or not at all. Answers one reply per command, in order.
#[derive(Debug, Clone)]
pub struct Batch {
    /// That of the first command, if there is one.
    pub(crate) slot: Option<Slot>,
    pub(crate) message: v1::BatchRequest,
}

impl WriteOperation for Batch {}

impl Operation for Batch {
    type Answer = Vec<Reply>;

    async fn run(self, caller: Caller) -> Result<Vec<Reply>, Error> {
        let message = |request_id| v1::BatchRequest { request_id, ..self.message };
        let response = caller.write(self.slot, message, |node, request| async move {
            node.key_value().batch(request).await
        });
        response.await?.replies.into_iter().map(Reply::of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_change_only_the_commands_that_have_them() {
        let instant = Timestamp::from_micros(5);
        let ttl = Duration::from_secs(1);
        for (command, has_version, has_expiry) in [
            (Command::put("k", "v"), true, true),
            (Command::delete("k"), true, false),
            (Command::compare_and_set("k", None, None), false, true),
            (Command::merge("k", "1"), false, false),
        ] {
            assert_eq!(&command.key()[..], b"k");
            assert_eq!(command.clone().version(instant) != command, has_version, "{command:?}");
            assert_eq!(command.clone().ttl(ttl) != command, has_expiry, "{command:?}");
        }
    }

    #[test]
    fn a_reply_that_says_nothing_is_an_error() {
        let nothing = v1::CommandReply { reply: None };
        assert!(matches!(Reply::of(nothing), Err(Error::Unreadable { .. })));
    }
}
