//! Which record an operation touches: uniform, zipfian or latest.
//!
//! The zipfian generator is the one of Gray, Sundaresan, Englert, Baclawski and Weinberger,
//! "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994), section 3.2, with
//! the skew of YCSB (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", SoCC
//! 2010). Ranks are scattered over the records by a hash, so that popular records are not
//! neighbours.

use rand::{Rng, RngExt};

/// YCSB's skew.
const THETA: f64 = 0.99;

/// Zipfian ranks below a number of items that may grow; rank 0 is the most popular.
#[derive(Debug, Clone)]
pub(crate) struct Zipfian {
    items: u64,
    zeta: f64,
    eta: f64,
}

impl Zipfian {
    /// Ranks below `items`, at least one. Takes time linear in `items`.
    pub(crate) fn new(items: u64) -> Self {
        let mut zipfian = Self { items: 0, zeta: 0.0, eta: 0.0 };
        zipfian.grow(items.max(1));
        zipfian
    }

    /// Ranks below `items` from now on, if that is more. Takes time linear in the growth.
    pub(crate) fn grow(&mut self, items: u64) {
        if items <= self.items {
            return;
        }
        for item in self.items..items {
            self.zeta += 1.0 / (as_float(item) + 1.0).powf(THETA);
        }
        self.items = items;
        let zeta_of_two = 1.0 + 0.5_f64.powf(THETA);
        let tail = (2.0 / as_float(items)).powf(1.0 - THETA);
        self.eta = (1.0 - tail) / (1.0 - zeta_of_two / self.zeta);
    }

    /// The rank at `uniform`, a number of `[0, 1)`.
    pub(crate) fn rank(&self, uniform: f64) -> u64 {
        let scaled = uniform * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(THETA) {
            return 1.min(self.items - 1);
        }
        let alpha = 1.0 / (1.0 - THETA);
        let rank = as_float(self.items) * (self.eta * uniform - self.eta + 1.0).powf(alpha);
        floor(rank).min(self.items - 1)
    }
}

/// How records are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Distribution {
    /// Few records are very popular, anywhere among the keys.
    Zipfian,
    /// All records are alike.
    Uniform,
    /// The records written last are the popular ones.
    Latest,
}

impl Distribution {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Zipfian => "zipfian",
            Self::Uniform => "uniform",
            Self::Latest => "latest",
        }
    }
}

/// Chooses records.
#[derive(Debug, Clone)]
pub(crate) struct Chooser {
    distribution: Distribution,
    zipfian: Zipfian,
}

impl Chooser {
    /// Chooses among `records` by this distribution.
    pub(crate) fn new(distribution: Distribution, records: u64) -> Self {
        let items = if distribution == Distribution::Uniform { 1 } else { records };
        Self { distribution, zipfian: Zipfian::new(items) }
    }

    /// A record below `records`.
    pub(crate) fn choose(&mut self, records: u64, random: &mut impl Rng) -> u64 {
        let records = records.max(1);
        match self.distribution {
            Distribution::Uniform => random.random_range(0..records),
            Distribution::Zipfian => {
                self.zipfian.grow(records);
                scatter(self.zipfian.rank(random.random::<f64>())) % records
            }
            Distribution::Latest => {
                self.zipfian.grow(records);
                let back = self.zipfian.rank(random.random::<f64>());
                (records - 1).saturating_sub(back)
            }
        }
    }
}

/// The FNV-1a hash of a number's bytes, as YCSB scatters ranks and orders keys.
pub(crate) fn scatter(number: u64) -> u64 {
    number.to_le_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The key of a record: its number, scattered, so that insertion order is not key order.
pub(crate) fn key_of(record: u64) -> String {
    format!("user{:020}", scatter(record))
}

fn as_float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and that is what is wanted"
)]
fn floor(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn ranks_are_as_popular_as_zipf_says() {
        let zipfian = Zipfian::new(1_000);
        let mut random = SmallRng::seed_from_u64(7);
        let draws = 200_000;
        let mut counts = vec![0_u32; 1_000];
        for _ in 0..draws {
            counts[usize::try_from(zipfian.rank(random.random::<f64>())).expect("small")] += 1;
        }
        let zeta: f64 = (1..=1_000).map(|i| 1.0 / f64::from(i).powf(THETA)).sum();
        for rank in [0, 1] {
            let want = f64::from(draws) / (f64::from(rank + 1).powf(THETA) * zeta);
            let got = f64::from(counts[usize::try_from(rank).expect("small")]);
            assert!((got - want).abs() < want * 0.05, "rank {rank}: {got} of {want}");
        }
        // The approximation is coarse for single ranks, and good for the mass of the tail.
        let head: u32 = counts.iter().take(100).sum();
        let want: f64 = (1..=100).map(|i| 1.0 / f64::from(i).powf(THETA)).sum::<f64>() / zeta;
        assert!((f64::from(head) / f64::from(draws) - want).abs() < 0.03);
    }

    #[test]
    fn growing_is_the_same_as_starting_large() {
        let mut grown = Zipfian::new(10);
        grown.grow(500);
        let fresh = Zipfian::new(500);
        for step in 0..100 {
            let uniform = f64::from(step) / 100.0;
            assert_eq!(grown.rank(uniform), fresh.rank(uniform));
        }
    }

    #[test]
    fn every_choice_is_a_record() {
        let mut random = SmallRng::seed_from_u64(1);
        for distribution in [Distribution::Zipfian, Distribution::Uniform, Distribution::Latest] {
            for records in [1, 2, 3, 1_000] {
                let mut chooser = Chooser::new(distribution, records);
                for _ in 0..1_000 {
                    assert!(chooser.choose(records, &mut random) < records);
                }
            }
        }
    }

    #[test]
    fn latest_prefers_the_newest_record() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut chooser = Chooser::new(Distribution::Latest, 100);
        let newest = (0..1_000).filter(|_| chooser.choose(100, &mut random) == 99).count();
        assert!(newest > 120, "{newest}");
    }

    #[test]
    fn keys_differ_and_have_one_length() {
        let keys: std::collections::HashSet<String> = (0..10_000).map(key_of).collect();
        assert_eq!(keys.len(), 10_000);
        assert!(keys.iter().all(|key| key.len() == 24));
    }
}
