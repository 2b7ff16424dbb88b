//! Knows how much of a shard has expired, so that compaction is asked for when it pays.

use std::collections::BTreeMap;

use breccia_types::Timestamp;

/// How long a bucket of expiries is, in microseconds: one minute.
const BUCKET_MICROS: i64 = 60_000_000;
/// Buckets kept; once there are as many, rows count as expiring with a later bucket.
const BUCKETS_MAX: usize = 4_096;

/// Bytes that were written with an expiry, by when they expire. In memory only: after a
/// restart RocksDB's periodic compaction takes care of what was written before.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    bytes_by_bucket: BTreeMap<i64, u64>,
}

impl Expiries {
    pub(super) fn note(&mut self, expires_at: Timestamp, bytes: u64) {
        let bucket = expires_at.as_micros().div_euclid(BUCKET_MICROS);
        let later = self.bytes_by_bucket.range(bucket..).next().map(|(later, _)| *later);
        let last = self.bytes_by_bucket.last_key_value().map(|(last, _)| *last);
        let bucket = match later.or(last) {
            Some(nearest) if self.bytes_by_bucket.len() >= BUCKETS_MAX => nearest,
            _ => bucket,
        };
        *self.bytes_by_bucket.entry(bucket).or_default() += bytes;
    }

    /// Bytes whose whole bucket has expired.
    pub(super) fn expired_bytes(&self, now: Timestamp) -> u64 {
        let bucket = now.as_micros().div_euclid(BUCKET_MICROS);
        self.bytes_by_bucket.range(..bucket).map(|(_, bytes)| bytes).sum()
    }

    /// Forgets what has expired, because a compaction is about to drop it.
    pub(super) fn forget_expired(&mut self, now: Timestamp) {
        let bucket = now.as_micros().div_euclid(BUCKET_MICROS);
        self.bytes_by_bucket = self.bytes_by_bucket.split_off(&bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_are_bounded_and_no_byte_is_lost() {
        let mut expiries = Expiries::default();
        let last = 2 * i64::try_from(BUCKETS_MAX).expect("small");
        for minute in (0..=last).rev() {
            expiries.note(Timestamp::from_micros(minute * BUCKET_MICROS), 1);
        }
        assert_eq!(expiries.bytes_by_bucket.len(), BUCKETS_MAX);
        let late = Timestamp::from_micros((last + 1) * BUCKET_MICROS);
        assert_eq!(expiries.expired_bytes(late), u64::try_from(last + 1).expect("positive"));
    }

    #[test]
    fn bytes_count_as_expired_once_their_minute_is_over() {
        let minute = |n: i64| Timestamp::from_micros(n * BUCKET_MICROS);
        let mut expiries = Expiries::default();
        expiries.note(minute(1), 10);
        expiries.note(minute(2), 5);
        assert_eq!(expiries.expired_bytes(minute(1)), 0);
        assert_eq!(expiries.expired_bytes(minute(2)), 10);
        expiries.forget_expired(minute(2));
        assert_eq!(expiries.expired_bytes(minute(9)), 5);
    }
}
