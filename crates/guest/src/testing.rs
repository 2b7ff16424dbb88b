//! A small table of this thread, in place of a shard, for tests on the author's own machine.
//!
//! Limits, and which rows a call may touch, are not looked at here.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::{Call, Reduce, Row};

#[derive(Default)]
struct Table {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    merged: Vec<(Vec<u8>, Vec<u8>)>,
    lines: Vec<String>,
    now: i64,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::new(Table::default());
}

fn with<T>(look: impl FnOnce(&mut Table) -> T) -> T {
    TABLE.with(|table| look(&mut table.borrow_mut()))
}

/// A call with these keys and arguments.
#[must_use]
pub fn call<K: AsRef<[u8]>, A: AsRef<[u8]>>(
    keys: impl IntoIterator<Item = K>,
    args: impl IntoIterator<Item = A>,
) -> Call {
    let keys = keys.into_iter().map(|key| key.as_ref().to_vec()).collect();
    Call { keys, args: args.into_iter().map(|arg| arg.as_ref().to_vec()).collect() }
}

/// The value of a row.
#[must_use]
pub fn row(key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    get(key.as_ref())
}

/// Puts a row.
pub fn set_row(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    put(key.as_ref(), value.as_ref());
}

/// Sets the instant of calls, in microseconds since 1970.
pub fn set_now(micros: i64) {
    with(|table| table.now = micros);
}

/// The keys and operands that were merged, in order.
#[must_use]
pub fn merged() -> Vec<(Vec<u8>, Vec<u8>)> {
    with(|table| table.merged.clone())
}

/// What was logged, in order.
#[must_use]
pub fn logged() -> Vec<String> {
    with(|table| table.lines.clone())
}

/// Empties the table, and forgets everything else.
pub fn reset() {
    with(|table| *table = Table::default());
}

/// What people see of some rows, reduced in two parts as if they lay in two shards: every other
/// row in each, so that an order in which a function must not trust shows.
///
/// # Errors
/// What the function says.
pub fn reduce<R: Reduce, K: AsRef<[u8]>, V: AsRef<[u8]>>(
    rows: impl IntoIterator<Item = (K, V)>,
    arg: impl AsRef<[u8]>,
) -> Result<Vec<u8>, String> {
    let mut parts = [R::default(), R::default()];
    for (at, (key, value)) in rows.into_iter().enumerate() {
        if let Some(part) = parts.get_mut(at % 2) {
            part.step(key.as_ref(), value.as_ref(), arg.as_ref())?;
        }
    }
    // Between the shards there is nothing but what was written.
    let [mut whole, other] = parts.map(|part| R::read(&part.write()));
    whole.combine(other);
    Ok(whole.present())
}

pub(crate) fn get(key: &[u8]) -> Option<Vec<u8>> {
    with(|table| table.rows.get(key).cloned())
}

pub(crate) fn scan(prefix: &[u8], after: &[u8], limit: u32) -> Vec<Row> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    with(|table| {
        let rows = table.rows.iter();
        let ahead = rows.filter(|(key, _)| {
            key.starts_with(prefix) && (after.is_empty() || key.as_slice() > after)
        });
        let found = ahead.map(|(key, value)| Row { key: key.clone(), value: value.clone() });
        found.take(limit).collect()
    })
}

pub(crate) fn put(key: &[u8], value: &[u8]) {
    with(|table| drop(table.rows.insert(key.to_vec(), value.to_vec())));
}

pub(crate) fn delete(key: &[u8]) {
    with(|table| drop(table.rows.remove(key)));
}

pub(crate) fn merge(key: &[u8], operand: &[u8]) {
    with(|table| table.merged.push((key.to_vec(), operand.to_vec())));
}

pub(crate) fn now() -> i64 {
    with(|table| table.now)
}

pub(crate) fn log(line: &str) {
    with(|table| table.lines.push(line.to_owned()));
}
