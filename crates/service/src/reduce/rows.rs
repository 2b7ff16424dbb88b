//! The rows of one shard as a reduction sees them.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use breccia_store::{RowRef, ScanRange, TableReader};
use breccia_types::Timestamp;
use breccia_types::reduce::{KeyRange, Meter, Misfits, Progress, Read};
use bytes::Bytes;

use super::ReduceError;

/// Rows between two looks at the clock. Whether anybody still waits is seen at every row.
const ROWS_PER_CHECK: u64 = 256;
/// Bytes of keys and values after which there is one, too.
const BYTES_PER_CHECK: u64 = 1 << 20;

/// When a scan is to end before its last row.
#[derive(Debug, Clone)]
pub struct Stop {
    /// When its time is up.
    pub deadline: Instant,
    /// Set when nobody waits for it any more.
    pub is_given_up: Arc<AtomicBool>,
}

/// A row has no operand for the reduction, for this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit(pub Cow<'static, str>);

/// Which rows of a versioned table are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sight {
    /// The present ones.
    #[default]
    Present,
    /// Those of an instant.
    AsOf(Timestamp),
    /// All versions, those of a key newest first.
    Versions,
}

/// The rows of one shard within the bounds of a reduction. Counts what is read, and ends the
/// scan when nobody waits for it any more.
pub struct Rows<'a> {
    table: TableReader<'a>,
    range: ScanRange,
    sight: Sight,
    misfits: Misfits,
    stop: Stop,
    meter: &'a Meter,
    read: Read,
    /// What the meter has been told.
    told: Progress,
}

impl<'a> Rows<'a> {
    /// The rows of `keys`; the meter is told from time to time how far it has come.
    #[must_use]
    pub fn new(
        table: TableReader<'a>,
        keys: &KeyRange,
        misfits: Misfits,
        stop: Stop,
        meter: &'a Meter,
    ) -> Self {
        let KeyRange { prefix, from, to } = keys.clone();
        let range = ScanRange { prefix, from, to, ..ScanRange::default() };
        let (read, told) = (Read::default(), Progress::default());
        let sight = Sight::Present;
        Self { table, range, sight, misfits, stop, meter, read, told }
    }

    /// Shows other rows of a versioned table from now on.
    pub fn see(&mut self, sight: Sight) {
        self.sight = sight;
        self.range.as_of = match sight {
            Sight::AsOf(instant) => Some(instant),
            Sight::Present | Sight::Versions => None,
        };
    }

    /// Shows each row once, in key order. A row that `on_row` says does not fit is left out
    /// and counted, or in a strict reduction ends it.
    ///
    /// # Errors
    /// [`ReduceError::Unfit`], [`ReduceError::Stopped`], [`ReduceError::Late`] or
    /// [`ReduceError::Store`].
    pub fn visit(
        &mut self,
        mut on_row: impl FnMut(RowRef<'_>) -> Result<(), Misfit>,
    ) -> Result<(), ReduceError> {
        self.visit_while(|row| on_row(row).map(ControlFlow::Continue))
    }

    /// The same, until `on_row` has seen enough.
    ///
    /// # Errors
    /// As [`Rows::visit`].
    pub fn visit_while(
        &mut self,
        mut on_row: impl FnMut(RowRef<'_>) -> Result<ControlFlow<()>, Misfit>,
    ) -> Result<(), ReduceError> {
        let mut pulse = Pulse { stop: &self.stop, meter: self.meter, told: self.told };
        let (read, misfits) = (&mut self.read, self.misfits);
        pulse.check(*read)?;
        let on_row = |row: RowRef<'_>| {
            read.rows += 1;
            read.bytes += u64::try_from(row.key.len() + row.value.len()).unwrap_or(u64::MAX);
            match on_row(row) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return ControlFlow::Break(Ok(())),
                Err(Misfit(reason)) if misfits == Misfits::Refuse => {
                    let (key, reason) = (Bytes::copy_from_slice(row.key), reason.into_owned());
                    return ControlFlow::Break(Err(ReduceError::Unfit { key, reason }));
                }
                Err(_) => read.skipped += 1,
            }
            match pulse.beat(*read) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Err(error)),
            }
        };
        let ended = match self.sight {
            Sight::Versions => self.table.visit_versions(&self.range, on_row),
            Sight::Present | Sight::AsOf(_) => self.table.visit(&self.range, on_row),
        };
        pulse.tell(*read);
        self.told = pulse.told;
        ended?.unwrap_or(Ok(()))
    }

    /// What has been read so far.
    #[must_use]
    pub const fn read(&self) -> Read {
        self.read
    }

    /// What the meter has been told so far.
    #[must_use]
    pub const fn told(&self) -> Progress {
        self.told
    }
}

/// Looks up from the rows from time to time.
struct Pulse<'p> {
    stop: &'p Stop,
    meter: &'p Meter,
    told: Progress,
}

impl Pulse<'_> {
    fn beat(&mut self, read: Read) -> Result<(), ReduceError> {
        if self.stop.is_given_up.load(Ordering::Relaxed) {
            return Err(ReduceError::Stopped);
        }
        let is_due = read.rows - self.told.rows >= ROWS_PER_CHECK
            || read.bytes - self.told.bytes >= BYTES_PER_CHECK;
        if is_due { self.check(read) } else { Ok(()) }
    }

    fn check(&mut self, read: Read) -> Result<(), ReduceError> {
        self.tell(read);
        if Instant::now() >= self.stop.deadline {
            return Err(ReduceError::Late);
        }
        Ok(())
    }

    fn tell(&mut self, read: Read) {
        let now = Progress { shards: 0, rows: read.rows, bytes: read.bytes };
        self.meter.add(now.since(self.told));
        self.told = now;
    }
}
