//! Why a node does not take a message from another replica.

use breccia_transport::Refusal;
use breccia_types::wire::{DecodeError, Reader};
use breccia_types::{ReplicaId, ShardId};
use thiserror::Error;

use super::wire::encoded;

/// Why a message was refused, as the refusing node says it.
///
/// ```text
/// 0 | shard varint | replica varint   1   2   3   4   5 | version u8
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    /// Another replica, or none, of the shard is on the node.
    #[error("{replica} of {shard} is not on the node")]
    NotHosted { shard: ShardId, replica: ReplicaId },
    /// The replica failed, or is being opened or closed.
    #[error("the replica does not run")]
    NotRunning,
    /// The replica was started so recently that a leader may still count on its promise not to
    /// vote.
    #[error("the replica does not vote yet")]
    NotVotingYet,
    /// More snapshots are on their way than may be.
    #[error("too many snapshots are on their way")]
    TooManySnapshots,
    /// The message cannot be read.
    #[error("the message cannot be read")]
    Malformed,
    /// The sender is of another version of Breccia.
    #[error("messages between replicas of version {version} are not understood")]
    UnknownVersion { version: u8 },
}

impl Refused {
    pub(crate) fn to_refusal(self) -> Refusal {
        Refusal(encoded(|to| match self {
            Self::NotHosted { shard, replica } => {
                to.put_u8(0);
                to.put_varint(u64::from(shard.get()));
                to.put_varint(replica.get());
            }
            Self::NotRunning => to.put_u8(1),
            Self::NotVotingYet => to.put_u8(2),
            Self::TooManySnapshots => to.put_u8(3),
            Self::Malformed => to.put_u8(4),
            Self::UnknownVersion { version } => {
                to.put_u8(5);
                to.put_u8(version);
            }
        }))
    }

    pub(crate) fn from_refusal(refusal: &Refusal) -> Result<Self, DecodeError> {
        let mut from = Reader::new(refusal.0.clone());
        let refused = match from.take_u8()? {
            0 => {
                let at = from.position();
                let shard = u32::try_from(from.take_varint()?);
                let shard = ShardId::new(shard.map_err(|_| DecodeError::OutOfRange { at })?);
                Self::NotHosted { shard, replica: ReplicaId::new(from.take_varint()?) }
            }
            1 => Self::NotRunning,
            2 => Self::NotVotingYet,
            3 => Self::TooManySnapshots,
            4 => Self::Malformed,
            5 => Self::UnknownVersion { version: from.take_u8()? },
            tag => return Err(DecodeError::UnknownTag { at: 0, field: "refusal", tag }),
        };
        from.finish()?;
        Ok(refused)
    }
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::UnknownVersion { version } => Self::UnknownVersion { version },
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_back_by_name() {
        let not_hosted =
            Refused::NotHosted { shard: ShardId::new(9), replica: ReplicaId::new(1 << 40) };
        for refused in [
            not_hosted,
            Refused::NotRunning,
            Refused::NotVotingYet,
            Refused::TooManySnapshots,
            Refused::Malformed,
            Refused::UnknownVersion { version: 1 },
        ] {
            assert_eq!(Refused::from_refusal(&refused.to_refusal()), Ok(refused));
        }
        assert_eq!(not_hosted.to_string(), "r1099511627776 of s9 is not on the node");
    }
}
