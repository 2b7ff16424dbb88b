//! What a function may ask of its host.

use crate::Row;

#[cfg(target_arch = "wasm32")]
use self::wasm as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing as host;

/// The value of the row with this key, which must lie in the slot of the call's keys.
#[must_use]
pub fn get(key: &[u8]) -> Option<Vec<u8>> {
    host::get(key)
}

/// Some rows whose keys start with `prefix` and come after `after`, in key order: at most
/// `limit`, and fewer if they are long, but one if there is one. The prefix must hold the whole
/// partition key, by the rule of the table.
///
/// All rows are visited by asking again with the last key:
///
/// ```
/// # use breccia_guest::{scan, testing};
/// # for key in ["a/1", "a/2", "a/3"] { testing::set_row(key, "value"); }
/// let (mut count, mut after) = (0, Vec::new());
/// loop {
///     let rows = scan(b"a/", &after, 2);
///     let Some(last) = rows.last() else { break };
///     after = last.key.clone();
///     count += rows.len();
/// }
/// assert_eq!(count, 3);
/// ```
#[must_use]
pub fn scan(prefix: &[u8], after: &[u8], limit: u32) -> Vec<Row> {
    host::scan(prefix, after, limit)
}

/// Puts a row. Write functions only.
pub fn put(key: &[u8], value: &[u8]) {
    host::put(key, value);
}

/// Removes a row. Write functions only.
pub fn delete(key: &[u8]) {
    host::delete(key);
}

/// Merges an operand, as people write it, into a row of a monoid table. Write functions only;
/// the row cannot be read in the same call after that.
pub fn merge(key: &[u8], operand: &[u8]) {
    host::merge(key, operand);
}

/// The instant of the call, in microseconds since 1970. Of a write it is the same on every
/// replica.
#[must_use]
pub fn now() -> i64 {
    host::now()
}

/// Says something in the node's log, at the level `debug`.
pub fn log(line: &str) {
    host::log(line);
}

#[cfg(target_arch = "wasm32")]
pub(crate) mod wasm {
    //! The host as a module imports it.

    use crate::{wire, Row};

    mod imports {
        #[link(wasm_import_module = "breccia")]
        extern "C" {
            pub(super) fn get(at: *const u8, length: usize) -> u64;
            pub(super) fn scan(
                prefix: *const u8,
                prefix_length: usize,
                after: *const u8,
                after_length: usize,
                limit: u32,
            ) -> u64;
            pub(super) fn put(at: *const u8, length: usize, value: *const u8, value_length: usize);
            pub(super) fn delete(at: *const u8, length: usize);
            pub(super) fn merge(at: *const u8, length: usize, by: *const u8, by_length: usize);
            pub(super) fn now() -> i64;
            pub(super) fn fail(at: *const u8, length: usize);
            pub(super) fn log(at: *const u8, length: usize);
        }
    }

    // SAFETY, of all calls below: the host reads the bytes that a pointer and a length name,
    // which live for as long as the call, and writes nothing but what `breccia_alloc` gave it.

    pub(crate) fn get(key: &[u8]) -> Option<Vec<u8>> {
        let found = unsafe { imports::get(key.as_ptr(), key.len()) };
        (found != u64::MAX).then(|| crate::entry::taken(found))
    }

    pub(crate) fn scan(prefix: &[u8], after: &[u8], limit: u32) -> Vec<Row> {
        let (prefix, after) = ((prefix.as_ptr(), prefix.len()), (after.as_ptr(), after.len()));
        let found = unsafe { imports::scan(prefix.0, prefix.1, after.0, after.1, limit) };
        let mut rows = Vec::new();
        let read = wire::rows(&crate::entry::taken(found), |key, value| {
            rows.push(Row { key: key.to_vec(), value: value.to_vec() });
        });
        if read.is_none() {
            fail("the rows of a scan cannot be read");
        }
        rows
    }

    pub(crate) fn put(key: &[u8], value: &[u8]) {
        unsafe { imports::put(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
    }

    pub(crate) fn delete(key: &[u8]) {
        unsafe { imports::delete(key.as_ptr(), key.len()) }
    }

    pub(crate) fn merge(key: &[u8], operand: &[u8]) {
        unsafe { imports::merge(key.as_ptr(), key.len(), operand.as_ptr(), operand.len()) }
    }

    pub(crate) fn now() -> i64 {
        unsafe { imports::now() }
    }

    pub(crate) fn log(line: &str) {
        unsafe { imports::log(line.as_ptr(), line.len()) }
    }

    /// Ends the call.
    pub(crate) fn fail(message: &str) -> ! {
        unsafe { imports::fail(message.as_ptr(), message.len()) }
        core::arch::wasm32::unreachable()
    }
}
