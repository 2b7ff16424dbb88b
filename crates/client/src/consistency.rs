//! What a read must have seen.

use std::time::Duration;

use tonic::metadata::AsciiMetadataValue;

/// What a read must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Consistency {
    /// Every write that was acknowledged before the read was sent. The shard's leader answers,
    /// and trusts that clocks run at nearly the same rate.
    #[default]
    Linearizable,
    /// The same, and no clock is trusted: the leader asks a majority of the replicas.
    Strict,
    /// Every write that was acknowledged longer than `max` before the read, in whole
    /// milliseconds. Any replica that has them answers; such reads are spread over the replicas.
    Stale {
        /// How old the answer may be.
        max: Duration,
    },
}

impl Consistency {
    /// The metadata that asks for it, if it is not what nodes do unasked.
    pub(crate) fn metadata(self) -> Option<AsciiMetadataValue> {
        match self {
            Self::Linearizable => None,
            Self::Strict => Some(AsciiMetadataValue::from_static("strict")),
            Self::Stale { max } => format!("stale:{}", max.as_millis()).parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_for_as_nodes_read_it() {
        let stale = Consistency::Stale { max: Duration::from_secs(5) };
        for (consistency, asked) in [
            (Consistency::Linearizable, None),
            (Consistency::Strict, Some("strict")),
            (stale, Some("stale:5000")),
        ] {
            let metadata = consistency.metadata();
            assert_eq!(metadata.as_ref().and_then(|value| value.to_str().ok()), asked);
        }
    }
}
