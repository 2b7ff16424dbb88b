//! Keys to slots, exactly as Redis Cluster does it.

use breccia_types::{Partition, Slot};

/// The slot of a key under a table's partition rule.
#[must_use]
pub fn slot_of(partition: Partition, key: &[u8]) -> Slot {
    Slot::from_crc(crc16(partition_key(partition, key)))
}

/// The slot of all keys that start so, if the rule gives them one.
#[must_use]
pub fn slot_of_prefix(partition: Partition, prefix: &[u8]) -> Option<Slot> {
    let is_decided = match partition {
        Partition::WholeKey => false,
        Partition::Before(delimiter) => prefix.contains(&delimiter),
        Partition::FirstBytes(count) => prefix.len() >= usize::from(count),
        Partition::HashTag => hash_tag(prefix).is_some(),
    };
    is_decided.then(|| slot_of(partition, prefix))
}

/// The part of a key that decides its slot.
#[must_use]
pub fn partition_key(partition: Partition, key: &[u8]) -> &[u8] {
    match partition {
        Partition::WholeKey => key,
        Partition::Before(delimiter) => key.split(|byte| *byte == delimiter).next().unwrap_or(key),
        Partition::FirstBytes(count) => key.get(..usize::from(count)).unwrap_or(key),
        Partition::HashTag => hash_tag(key).unwrap_or(key),
    }
}

/// What stands between the first `{` and the next `}`, if anything does. See "Hash tags" in
/// the Redis Cluster specification.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let rest = key.get(open + 1..)?;
    let close = rest.iter().position(|byte| *byte == b'}')?;
    rest.get(..close).filter(|tag| !tag.is_empty())
}

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0, not reflected.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ entry(high ^ byte)
    })
}

#[allow(clippy::indexing_slicing, reason = "a byte indexes a table of 256")]
fn entry(byte: u8) -> u16 {
    TABLE[usize::from(byte)]
}

static TABLE: [u16; 256] = table();

#[allow(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_the_one_that_the_redis_cluster_specification_tests() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // As `CLUSTER KEYSLOT` of redis-server 7.0 answers.
        for (key, slot) in [
            (&b"foo"[..], 12_182),
            (b"bar", 5_061),
            (b"", 0),
            (b"{user1000}.following", 3_443),
            (b"{user1000}.followers", 3_443),
        ] {
            assert_eq!(slot_of(Partition::HashTag, key).get(), slot);
        }
    }

    #[test]
    fn each_rule_takes_its_part_of_the_key() {
        for (rule, key, part) in [
            (Partition::WholeKey, "a/b", "a/b"),
            (Partition::Before(b'/'), "a/b/c", "a"),
            (Partition::Before(b'/'), "abc", "abc"),
            (Partition::Before(b'/'), "/abc", ""),
            (Partition::FirstBytes(2), "abc", "ab"),
            (Partition::FirstBytes(2), "a", "a"),
            (Partition::HashTag, "x{a}y{b}", "a"),
            (Partition::HashTag, "foo{}{bar}", "foo{}{bar}"),
            (Partition::HashTag, "foo{{bar}}zap", "{bar"),
            (Partition::HashTag, "foo{bar", "foo{bar"),
        ] {
            assert_eq!(partition_key(rule, key.as_bytes()), part.as_bytes(), "{rule} of {key}");
        }
    }

    proptest! {
        #[test]
        fn keys_with_one_partition_key_share_a_slot(tag in "[a-z]{1,5}", a in "[a-z]*", b in "[a-z]*") {
            let with = |rest: &str| format!("{{{tag}}}{rest}");
            prop_assert_eq!(
                slot_of(Partition::HashTag, with(&a).as_bytes()),
                slot_of(Partition::HashTag, with(&b).as_bytes())
            );
        }

        #[test]
        fn keys_with_a_deciding_prefix_share_its_slot(prefix in "[a-c{}/]{0,8}", rest in "[a-c{}/]{0,8}") {
            let rules = [
                Partition::WholeKey,
                Partition::Before(b'/'),
                Partition::FirstBytes(3),
                Partition::HashTag,
            ];
            for rule in rules {
                if let Some(slot) = slot_of_prefix(rule, prefix.as_bytes()) {
                    prop_assert_eq!(slot_of(rule, format!("{prefix}{rest}").as_bytes()), slot, "{}", rule);
                }
            }
        }

        #[test]
        fn the_table_gives_what_dividing_bit_by_bit_gives(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut crc: u16 = 0;
            for byte in &bytes {
                crc ^= u16::from(*byte) << 8;
                for _ in 0..8 {
                    crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
                }
            }
            prop_assert_eq!(crc16(&bytes), crc);
        }
    }
}
