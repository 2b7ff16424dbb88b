//! Identifiers: one type per thing that could be confused with another.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::{DecodeError, Reader};

/// How many hash slots there are, exactly as in Redis Cluster.
pub const SLOT_COUNT: u16 = 16_384;

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        numeric_id!($(#[$doc])* $name($inner));

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a raw number.
            #[must_use]
            pub const fn new(raw: $inner) -> Self {
                Self(raw)
            }

            /// The raw number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }
    };
}

numeric_id!(
    /// A shard: a range of hash slots with its own log. Shown as `s3`; the meta shard as
    /// `meta`.
    ShardId(u32)
);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::META { f.write_str("meta") } else { write!(f, "s{}", self.0) }
    }
}

numeric_id!(
    /// A table. Never reused: a table that is dropped and created again is another table.
    /// Zero is no table; it marks the shard's own records. Shown as `t12`.
    TableId(u32), "t"
);
numeric_id!(
    /// A node's identity, drawn at random when its data directory is initialised and kept there.
    NodeId(u64), "n"
);
numeric_id!(
    /// A shard's copy on a node. Never reused: a copy that is removed and made again, on the
    /// same node even, is another replica. Shown as `r7`.
    ReplicaId(u64), "r"
);
numeric_id!(
    /// The position of an entry in a shard's log; the first entry has index 1.
    LogIndex(u64), ""
);
numeric_id!(
    /// A version of the placement; grows at every change.
    Epoch(u64), "e"
);
numeric_id!(
    /// A service whose write commands a log entry carries.
    ServiceId(u16), "service "
);
numeric_id!(
    /// A reduction that nodes ask each other for.
    ReductionId(u16), "reduction "
);

impl ShardId {
    /// The meta shard: it holds no slots, but what every node must agree on.
    pub const META: Self = Self(u32::MAX);
}

impl ServiceId {
    /// Reads a service's number, written as a varint.
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeError::OutOfRange`] if it is above 65535.
    pub fn take(from: &mut Reader) -> Result<Self, DecodeError> {
        let at = from.position();
        let raw = u16::try_from(from.take_varint()?);
        raw.map(Self).map_err(|_| DecodeError::OutOfRange { at })
    }
}

impl ReductionId {
    /// Reads a reduction's number, written as a varint.
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeError::OutOfRange`] if it is above 65535.
    pub fn take(from: &mut Reader) -> Result<Self, DecodeError> {
        let at = from.position();
        let raw = u16::try_from(from.take_varint()?);
        raw.map(Self).map_err(|_| DecodeError::OutOfRange { at })
    }
}

impl ShardId {
    /// Reads a shard's number, written as a varint.
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeError::OutOfRange`] if it does not fit 32 bits.
    pub fn take(from: &mut Reader) -> Result<Self, DecodeError> {
        let at = from.position();
        let raw = u32::try_from(from.take_varint()?);
        raw.map(Self).map_err(|_| DecodeError::OutOfRange { at })
    }
}

impl LogIndex {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What the consensus library's conformance suite asks of the identities that it is given.
impl From<u64> for ReplicaId {
    fn from(raw: u64) -> Self {
        Self(raw)
    }
}

impl NodeId {
    /// Forty hexadecimal digits, the form in which Redis Cluster names nodes.
    #[must_use]
    pub fn to_cluster_name(self) -> String {
        format!("{:040x}", self.0)
    }
}

/// A cluster's identity, drawn at random when its first node founds it. Shown as 32
/// hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// Wraps sixteen bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        sixteen_bytes(text).map(Self)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A hash slot, `0..16384`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of this number, or `None` if it is not below [`SLOT_COUNT`].
    #[must_use]
    pub const fn new(raw: u16) -> Option<Self> {
        if raw < SLOT_COUNT { Some(Self(raw)) } else { None }
    }

    /// The slot of a CRC16: the checksum modulo [`SLOT_COUNT`].
    #[must_use]
    pub const fn from_crc(crc: u16) -> Self {
        Self(crc % SLOT_COUNT)
    }

    /// The raw number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Names a client's request, so that a retry of it is applied once.
///
/// Sixteen bytes that the client chose (a random UUID, say). The same id must never be
/// used for two different requests: the second gets the reply of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// Wraps the client's sixteen bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id of the same request made to another table: a shard remembers that the request
    /// was refused because its table is dropped, which says nothing of the table that has
    /// the name now. Made twice for the same table it is the same id.
    #[must_use]
    pub const fn for_table(self, table: TableId) -> Self {
        // Odd, so that no two tables have the same; large, so that ids which count up do not meet.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let table = SPREAD.wrapping_mul(table.get() as u128 + 1);
        Self((u128::from_be_bytes(self.0) ^ table).to_be_bytes())
    }

    /// Reads 32 hexadecimal digits, with or without the dashes of a UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        sixteen_bytes(text).map(Self)
    }
}

fn sixteen_bytes(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0u8; 16];
    let mut digits = text.chars().filter(|c| *c != '-');
    for byte in &mut bytes {
        let high = digits.next()?.to_digit(16)?;
        let low = digits.next()?.to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_reads_what_it_shows_with_or_without_dashes() {
        let id = RequestId::new(*b"0123456789abcdef");
        assert_eq!(RequestId::parse(&id.to_string()), Some(id));
        assert_eq!(RequestId::parse("30313233-3435-3637-3839-616263646566"), Some(id));
        assert_eq!(RequestId::parse("30"), None);
        assert_eq!(RequestId::parse(&format!("{id}00")), None);
    }

    #[test]
    fn a_request_id_is_another_one_for_each_table_and_always_the_same() {
        let ids: std::collections::HashSet<_> = (0..100_u8)
            .flat_map(|id| (0..100).map(move |table| (id, TableId::new(table))))
            .map(|(id, table)| RequestId::new([id; 16]).for_table(table))
            .collect();
        assert_eq!(ids.len(), 10_000);
        let id = RequestId::new([7; 16]);
        assert_ne!(id.for_table(TableId::new(0)), id);
        assert_eq!(id.for_table(TableId::new(3)), id.for_table(TableId::new(3)));
    }

    #[test]
    fn slots_end_at_16384() {
        assert_eq!(Slot::new(16_383).map(Slot::get), Some(16_383));
        assert_eq!(Slot::new(16_384), None);
    }
}
