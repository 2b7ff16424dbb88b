//! What a function may ask of its host, and nothing else.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use breccia_types::limits::BATCH_BYTES_MAX;
use breccia_types::{FunctionKind, FunctionLimits};
use bytes::Bytes;
use wasmtime::{Caller, Linker, ResourceLimiter};

use super::abi::{self, Batch};
use super::call::{Change, Shard};
use super::instance::{Reach, reach};
use super::module::HOST;
use crate::FunctionError;

/// Fuel of touching a row, and of each byte that is handed over: about what they cost.
const ROW_FUEL: u64 = 1_000;
const BYTES_PER_FUEL: u64 = 8;
/// Bytes of rows that one scan hands over.
const SCAN_BYTES_MAX: usize = 1 << 20;
/// What a function may log in one call.
const LOG_LINES_MAX: u32 = 16;
const LOG_BYTES_MAX: u32 = 1 << 10;
/// Bytes of what a function says of its failure.
const MESSAGE_BYTES_MAX: u32 = 4 << 10;
/// Elements that a function's tables may have.
pub(super) const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Tables that a function may have.
pub(super) const TABLES_MAX: usize = 4;
/// What Wasmtime says of memory that would outgrow what the module itself declares.
const BEYOND_DECLARED: &str = "memory type's limits";

scoped_tls_hkt::scoped_thread_local! {
    /// The rows of the call that runs on this thread.
    static mut SHARD: for<'a> &'a mut (dyn Shard + 'a)
}

/// Lets host functions on this thread see these rows meanwhile.
pub(super) fn with_shard<T>(shard: &mut dyn Shard, call: impl FnOnce() -> T) -> T {
    SHARD.set(shard, call)
}

/// What an instance has at hand, and what it has done.
pub(super) struct State {
    kind: FunctionKind,
    pub(super) limits: FunctionLimits,
    now: i64,
    pub(super) reach: Option<Reach>,
    /// It asked for more memory than it may have.
    pub(super) was_refused_memory: bool,
    pub(super) changes: Vec<Change>,
    /// What the changes make of rows; `None` of one that was merged into.
    written: BTreeMap<Bytes, Option<Option<Bytes>>>,
    bytes_written: usize,
    rows: u64,
    lines: u32,
}

impl State {
    pub(super) fn new(kind: FunctionKind, limits: FunctionLimits, now: i64) -> Self {
        Self {
            kind,
            limits,
            now,
            reach: None,
            was_refused_memory: false,
            changes: Vec::new(),
            written: BTreeMap::new(),
            bytes_written: 0,
            rows: 0,
            lines: 0,
        }
    }

    /// Whether fuel is measured, and not time.
    pub(super) fn measures_fuel(&self) -> bool {
        self.kind == FunctionKind::Write
    }

    pub(super) fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        self
    }

    fn count_rows(&mut self, rows: u64) -> Result<(), FunctionError> {
        self.rows = self.rows.saturating_add(rows);
        match self.rows <= self.limits.rows {
            true => Ok(()),
            false => Err(FunctionError::TooManyRows { limit: self.limits.rows }),
        }
    }

    fn change(
        &mut self,
        key: Bytes,
        change: Change,
        seen: Option<Option<Bytes>>,
        bytes: usize,
    ) -> Result<(), FunctionError> {
        self.count_rows(1)?;
        self.bytes_written = self.bytes_written.saturating_add(key.len() + bytes);
        if self.bytes_written > BATCH_BYTES_MAX {
            let limit = u64::try_from(BATCH_BYTES_MAX).unwrap_or(u64::MAX);
            return Err(FunctionError::TooMuchWritten { limit });
        }
        self.changes.push(change);
        self.written.insert(key, seen);
        Ok(())
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        declared: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        // The module bounds itself.
        if declared.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        let may = u64::try_from(desired).is_ok_and(|bytes| bytes <= self.limits.memory_bytes);
        self.was_refused_memory |= !may;
        Ok(may)
    }

    /// Memory that the function may have and this process does not: on another replica it might
    /// have it, so the function must not see it fail.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<(), wasmtime::Error> {
        let reason = error.to_string();
        match reason.contains(BEYOND_DECLARED) {
            true => Ok(()),
            false => Err(wasmtime::Error::new(FunctionError::Host { reason })),
        }
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }
}

/// What a function of a kind may import.
pub(super) const fn offered(kind: FunctionKind) -> &'static [&'static str] {
    match kind {
        FunctionKind::Read => &["get", "scan", "now", "fail", "log"],
        FunctionKind::Write => &["get", "scan", "put", "delete", "merge", "now", "fail", "log"],
        FunctionKind::Reduce => &["fail", "log"],
    }
}

type Outcome<T> = Result<T, wasmtime::Error>;
type Host<'c> = Caller<'c, State>;

/// Links what a function of a kind may import.
pub(super) fn link(linker: &mut Linker<State>, kind: FunctionKind) -> Result<(), FunctionError> {
    link_all(linker, kind).map_err(|error| FunctionError::Host { reason: error.to_string() })
}

fn link_all(linker: &mut Linker<State>, kind: FunctionKind) -> Outcome<()> {
    linker.func_wrap(HOST, "fail", |mut host: Host<'_>, at: i32, length: i32| -> Outcome<()> {
        let length = length.cast_unsigned().min(MESSAGE_BYTES_MAX);
        let message = take(&mut host, at, length.cast_signed())?;
        let message = String::from_utf8_lossy(&message).into_owned();
        Err(wasmtime::Error::new(FunctionError::Failed { message }))
    })?;
    linker.func_wrap(HOST, "log", |mut host: Host<'_>, at: i32, length: i32| -> Outcome<()> {
        if host.data().lines < LOG_LINES_MAX {
            host.data_mut().lines += 1;
            let length = length.cast_unsigned().min(LOG_BYTES_MAX);
            let line = take(&mut host, at, length.cast_signed())?;
            tracing::debug!(line = %String::from_utf8_lossy(&line), "a function says");
        }
        Ok(())
    })?;
    if kind == FunctionKind::Reduce {
        return Ok(());
    }
    linker.func_wrap(HOST, "now", |host: Host<'_>| host.data().now)?;
    linker.func_wrap(HOST, "get", get)?;
    linker.func_wrap(
        HOST,
        "scan",
        |host: Host<'_>, at: i32, length: i32, after_at: i32, after_length: i32, limit: i32| {
            scan(host, (at, length), (after_at, after_length), limit)
        },
    )?;
    if kind == FunctionKind::Read {
        return Ok(());
    }
    linker.func_wrap(
        HOST,
        "put",
        |mut host: Host<'_>,
         at: i32,
         length: i32,
         value_at: i32,
         value_length: i32|
         -> Outcome<()> {
            let key = key(&mut host, at, length)?;
            let value = Bytes::from(take(&mut host, value_at, value_length)?);
            let change = Change::Put { key: key.clone(), value: value.clone() };
            let bytes = value.len();
            Ok(host.data_mut().change(key, change, Some(Some(value)), bytes)?)
        },
    )?;
    linker.func_wrap(
        HOST,
        "delete",
        |mut host: Host<'_>, at: i32, length: i32| -> Outcome<()> {
            let key = key(&mut host, at, length)?;
            let change = Change::Delete { key: key.clone() };
            Ok(host.data_mut().change(key, change, Some(None), 0)?)
        },
    )?;
    linker.func_wrap(
        HOST,
        "merge",
        |mut host: Host<'_>, at: i32, length: i32, by_at: i32, by_length: i32| -> Outcome<()> {
            let key = key(&mut host, at, length)?;
            let operand = Bytes::from(take(&mut host, by_at, by_length)?);
            let bytes = operand.len();
            let change = Change::Merge { key: key.clone(), operand };
            Ok(host.data_mut().change(key, change, None, bytes)?)
        },
    )?;
    Ok(())
}

fn get(mut host: Host<'_>, at: i32, length: i32) -> Outcome<i64> {
    let key = key(&mut host, at, length)?;
    host.data_mut().count_rows(1)?;
    let found = match host.data().written.get(&key) {
        Some(Some(own)) => own.clone(),
        Some(None) => return Err(merged()),
        None => SHARD.with(|shard| shard.get(&key))?,
    };
    match found {
        Some(value) => give(&mut host, &value),
        None => Ok(-1),
    }
}

fn scan(mut host: Host<'_>, prefix: (i32, i32), after: (i32, i32), limit: i32) -> Outcome<i64> {
    let prefix = take(&mut host, prefix.0, prefix.1)?;
    let after = take(&mut host, after.0, after.1)?;
    SHARD.with(|shard| shard.check_prefix(&prefix))?;
    let after = (!after.is_empty()).then_some(after);
    let limit = u64::from(limit.cast_unsigned()).min(host.data().limits.rows.saturating_add(1));
    let page = page(host.data(), &prefix, after.as_deref(), limit)?;
    charge(&mut host, page.rows.saturating_mul(ROW_FUEL))?;
    host.data_mut().count_rows(page.rows.max(1))?;
    give(&mut host, page.batch.encoded())
}

struct Page {
    batch: Batch,
    rows: u64,
    bytes: usize,
    limit: u64,
}

impl Page {
    fn push(&mut self, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        if self.rows >= self.limit {
            return ControlFlow::Break(());
        }
        self.batch.push(key, value);
        self.rows += 1;
        self.bytes += key.len() + value.len();
        match self.rows >= self.limit || self.bytes >= SCAN_BYTES_MAX {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// The rows of a scan, as the changes of the call leave them.
fn page(
    state: &State,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: u64,
) -> Result<Page, FunctionError> {
    let mut page = Page { batch: Batch::default(), rows: 0, bytes: 0, limit };
    let is_ahead = |key: &[u8]| key.starts_with(prefix) && after.is_none_or(|after| key > after);
    let own = state.written.iter().filter(|(key, _)| is_ahead(key));
    let mut own = own.peekable();
    let mut met_merged = false;
    let mut is_over = false;
    SHARD.with(|shard| {
        shard.scan(prefix, after, &mut |key, value| {
            while let Some((written, made)) = own.next_if(|(written, _)| written.as_ref() <= key) {
                let is_same = written.as_ref() == key;
                let flow = match made {
                    Some(Some(value)) => page.push(written, value),
                    Some(None) => ControlFlow::Continue(()),
                    None => {
                        met_merged = true;
                        ControlFlow::Break(())
                    }
                };
                if flow.is_break() {
                    is_over = true;
                    return flow;
                }
                if is_same {
                    return ControlFlow::Continue(());
                }
            }
            let flow = page.push(key, value);
            is_over = flow.is_break();
            flow
        })
    })?;
    if !is_over {
        for (written, made) in own {
            let flow = match made {
                Some(Some(value)) => page.push(written, value),
                Some(None) => ControlFlow::Continue(()),
                None => {
                    met_merged = true;
                    ControlFlow::Break(())
                }
            };
            if flow.is_break() {
                break;
            }
        }
    }
    match met_merged {
        true => Err(merged_error()),
        false => Ok(page),
    }
}

fn merged_error() -> FunctionError {
    let reason = "it reads a row that it has merged into in the same call: read it first";
    FunctionError::Forbidden { reason: reason.to_owned() }
}

fn merged() -> wasmtime::Error {
    wasmtime::Error::new(merged_error())
}

/// A key that the call may touch.
fn key(host: &mut Host<'_>, at: i32, length: i32) -> Outcome<Bytes> {
    charge(host, ROW_FUEL)?;
    let key = Bytes::from(take(host, at, length)?);
    SHARD.with(|shard| shard.check_key(&key))?;
    Ok(key)
}

fn take(host: &mut Host<'_>, at: i32, length: i32) -> Outcome<Vec<u8>> {
    let length = length.cast_unsigned();
    charge(host, u64::from(length) / BYTES_PER_FUEL)?;
    reach(host.data())?.take(&*host, at.cast_unsigned(), length)
}

fn give(host: &mut Host<'_>, bytes: &[u8]) -> Outcome<i64> {
    charge(host, u64::try_from(bytes.len()).unwrap_or(u64::MAX) / BYTES_PER_FUEL)?;
    let (pointer, length) = reach(host.data())?.give(&mut *host, bytes)?;
    Ok(abi::pack(pointer, length))
}

/// Takes the fuel of what the host does for the function.
fn charge(host: &mut Host<'_>, fuel: u64) -> Outcome<()> {
    if !host.data().measures_fuel() {
        return Ok(());
    }
    match host.get_fuel()?.checked_sub(fuel) {
        Some(left) => host.set_fuel(left),
        None => {
            let limit = host.data().limits.fuel;
            Err(wasmtime::Error::new(FunctionError::OutOfFuel { limit }))
        }
    }
}
