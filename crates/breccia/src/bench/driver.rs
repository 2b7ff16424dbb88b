//! Drives a workload over many connections and measures each operation.
//!
//! Without a rate the load is closed: a connection sends its next batch when the last one is
//! answered, and latency counts from sending. With a rate the load is open: every
//! operation has an intended start, whatever became of those before it. An operation whose
//! connection was still busy at that time is measured from the intended start, so a stall
//! of the server counts against every operation that it delayed ("coordinated omission",
//! Gil Tene). One whose connection was idle is measured from when it was really sent, so
//! that the coarse timer of this process is not taken for the server's latency.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;

use super::target::{Connection, Done, Outcome};
use super::workload::{Generator, Operation, OperationKind, Values, load};

/// Significant decimal digits of recorded latencies.
const LATENCY_DIGITS: u8 = 3;
/// Operations that a connection sends together while it loads records.
const LOAD_BATCH: usize = 128;
/// The records that all connections together load at once: etcd refuses when its backlog passes 5,000.
const LOADED_AT_ONCE: usize = 1000;

/// How long and how fast a workload runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How long operations run before any is recorded.
    pub(crate) warmup: Duration,
    /// How long operations are recorded.
    pub(crate) measured: Duration,
    /// Operations that a connection has in flight at most.
    pub(crate) pipeline: usize,
    /// Between the intended starts of one connection's operations; `None` for a closed loop.
    pub(crate) interval: Option<Duration>,
}

/// What was measured.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Latencies in nanoseconds, by the kind of operation.
    pub(crate) latencies: BTreeMap<OperationKind, Histogram<u64>>,
    /// How long operations were recorded.
    pub(crate) elapsed: Duration,
    /// Reads of records that were not there.
    pub(crate) missing: u64,
    /// Operations that were refused; their latencies are not recorded.
    pub(crate) failed: u64,
    /// The first refusal.
    pub(crate) first_failure: Option<String>,
    /// Operations of an open loop whose intended start had passed, and which were never sent
    /// because the target could not keep the rate.
    pub(crate) unsent: u64,
}

impl Measured {
    fn new() -> Self {
        Self {
            latencies: BTreeMap::new(),
            elapsed: Duration::ZERO,
            missing: 0,
            failed: 0,
            first_failure: None,
            unsent: 0,
        }
    }

    /// Operations that were carried out.
    pub(crate) fn operations(&self) -> u64 {
        self.latencies.values().map(Histogram::len).sum()
    }

    /// Operations carried out in a second.
    pub(crate) fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.operations() as f64 / seconds } else { 0.0 }
    }

    /// The latencies of all kinds together.
    pub(crate) fn all_latencies(&self) -> Result<Histogram<u64>> {
        let mut all = Histogram::new(LATENCY_DIGITS)?;
        for histogram in self.latencies.values() {
            all.add(histogram)?;
        }
        Ok(all)
    }

    fn record(&mut self, kind: OperationKind, started: Instant, done: &Done) -> Result<()> {
        match &done.outcome {
            Outcome::Failed(reason) => {
                self.failed += 1;
                self.first_failure.get_or_insert_with(|| reason.clone());
                return Ok(());
            }
            Outcome::Missing => self.missing += 1,
            Outcome::Done => {}
        }
        let nanos = done.at.saturating_duration_since(started).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX >> 1).max(1);
        match self.latencies.entry(kind) {
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                entry.get_mut().record(nanos)?;
            }
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Histogram::new(LATENCY_DIGITS)?).record(nanos)?;
            }
        }
        Ok(())
    }

    /// Adds what another connection, or a later round, measured; `elapsed` is left alone.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        for (kind, histogram) in &other.latencies {
            match self.latencies.get_mut(kind) {
                Some(mine) => mine.add(histogram)?,
                None => {
                    self.latencies.insert(*kind, histogram.clone());
                }
            }
        }
        self.missing += other.missing;
        self.failed += other.failed;
        self.unsent += other.unsent;
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
        Ok(())
    }
}

/// Runs a workload on all connections at once, and gives the connections back.
///
/// # Errors
/// If a connection breaks.
pub(crate) async fn run(
    connections: Vec<(Connection, Generator)>,
    pace: Pace,
) -> Result<(Measured, Vec<Connection>)> {
    let count = u32::try_from(connections.len()).unwrap_or(u32::MAX).max(1);
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for (index, (connection, generator)) in connections.into_iter().enumerate() {
        // The connections' intended starts interleave evenly.
        let share = u32::try_from(index).unwrap_or(0);
        let offset = pace.interval.map_or(Duration::ZERO, |interval| interval / count * share);
        let driver = Driver { connection, generator, pace, begin, measured: Measured::new() };
        tasks.spawn(driver.drive(offset));
    }
    let mut total = Measured::new();
    let mut back = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (measured, connection) = ended.context("a connection's task failed")??;
        total.elapsed = total.elapsed.max(measured.elapsed);
        total.add(&measured)?;
        back.push(connection);
    }
    Ok((total, back))
}

struct Driver {
    connection: Connection,
    generator: Generator,
    pace: Pace,
    begin: Instant,
    measured: Measured,
}

impl Driver {
    async fn drive(mut self, offset: Duration) -> Result<(Measured, Connection)> {
        let from = self.begin + self.pace.warmup;
        let end = from + self.pace.measured;
        let mut due = self.begin + offset;
        let mut batch = Vec::with_capacity(self.pace.pipeline);
        let mut starts = Vec::with_capacity(self.pace.pipeline);
        let mut done = Vec::with_capacity(self.pace.pipeline);
        loop {
            starts.clear();
            match self.pace.interval {
                None => starts.resize(self.pace.pipeline, Instant::now()),
                Some(interval) => due = self.wait_until_due(due, interval, &mut starts, end).await,
            }
            if starts.is_empty() || starts.first().is_some_and(|start| *start >= end) {
                break;
            }
            if Instant::now() >= end {
                self.count_unsent(starts.len(), due, end);
                break;
            }
            batch.clear();
            batch.extend(starts.iter().map(|_| self.generator.next()));
            done.clear();
            self.connection.execute(&batch, &mut done).await?;
            self.generator.settle();
            for ((operation, started), done) in batch.iter().zip(&starts).zip(&done) {
                if done.at >= from {
                    self.measured.record(operation.kind, *started, done)?;
                }
            }
        }
        self.measured.elapsed = Instant::now().saturating_duration_since(from);
        Ok((self.measured, self.connection))
    }

    /// Waits until the next operation is due, and collects the start times of all that are
    /// due by then, as many as may be in flight. Returns when the one after them is due.
    async fn wait_until_due(
        &self,
        mut due: Instant,
        interval: Duration,
        starts: &mut Vec<Instant>,
        end: Instant,
    ) -> Instant {
        if due >= end {
            return due;
        }
        let mut now = Instant::now();
        let idle_since = now;
        if due > now {
            tokio::time::sleep_until(due.into()).await;
            now = Instant::now();
        }
        while due <= now && due < end && starts.len() < self.pace.pipeline {
            starts.push(if due > idle_since { now } else { due });
            due += interval;
        }
        due
    }

    /// Counts the operations that were due before the end and never sent.
    fn count_unsent(&mut self, collected: usize, due: Instant, end: Instant) {
        let Some(interval) = self.pace.interval else {
            return;
        };
        let late = end.saturating_duration_since(due).as_nanos();
        let more = late / interval.as_nanos().max(1);
        let collected = u64::try_from(collected).unwrap_or(u64::MAX);
        self.measured.unsent += u64::try_from(more).unwrap_or(u64::MAX).saturating_add(collected);
    }
}

/// Loads records `0..count`, shared out evenly among the connections. Calls `progress` with
/// the number of records that one batch added.
///
/// # Errors
/// If a connection breaks, or a record is refused.
pub(crate) async fn load_records(
    connections: Vec<Connection>,
    count: u64,
    values: &Values,
    progress: impl Fn(u64) + Clone + Send + 'static,
) -> Result<Vec<Connection>> {
    let stride = u64::try_from(connections.len()).unwrap_or(1).max(1);
    let batch_size = (LOADED_AT_ONCE / connections.len().max(1)).clamp(1, LOAD_BATCH);
    let mut tasks = JoinSet::new();
    for (first, mut connection) in (0..).zip(connections) {
        let values = values.clone();
        let progress = progress.clone();
        tasks.spawn(async move {
            let mut random = SmallRng::seed_from_u64(first);
            let mut record: u64 = first;
            let mut done = Vec::new();
            while record < count {
                let mut batch: Vec<Operation> = Vec::with_capacity(batch_size);
                while record < count && batch.len() < batch_size {
                    batch.push(load(record, &values, &mut random));
                    record += stride;
                }
                done.clear();
                connection.execute(&batch, &mut done).await?;
                for done in &done {
                    if let Outcome::Failed(reason) = &done.outcome {
                        bail!("the target refused a record while loading: {reason}");
                    }
                }
                progress(u64::try_from(batch.len()).unwrap_or(0));
            }
            Ok(connection)
        });
    }
    let mut back = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        back.push(ended.context("a connection's task failed")??);
    }
    Ok(back)
}
