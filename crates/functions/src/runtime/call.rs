//! One call of a read or write function.

use std::ops::ControlFlow;

use breccia_types::{FunctionKind, FunctionLimits};
use bytes::Bytes;

use super::engine::Ticking;
use super::host::State;
use super::instance::Running;
use super::module::{Module, READ, WRITE};
use super::{abi, host};
use crate::FunctionError;

/// What is done with each row of a scan, its key and its value.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// The rows that a call may see: those of one table, by their keys.
pub trait Shard {
    /// The value of a row.
    ///
    /// # Errors
    /// [`FunctionError::Storage`].
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, FunctionError>;

    /// Shows the rows whose key starts with `prefix` and is greater than `after`, in key
    /// order, until `visit` breaks off.
    ///
    /// # Errors
    /// [`FunctionError::Storage`].
    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), FunctionError>;

    /// Whether a call may touch the row of this key.
    ///
    /// # Errors
    /// [`FunctionError::Forbidden`].
    fn check_key(&self, key: &[u8]) -> Result<(), FunctionError>;

    /// Whether a call may touch all rows whose keys start so.
    ///
    /// # Errors
    /// [`FunctionError::Forbidden`].
    fn check_prefix(&self, prefix: &[u8]) -> Result<(), FunctionError>;
}

/// What a function is called with.
#[derive(Debug, Clone, Copy)]
pub struct Call<'c> {
    /// The keys that it is about.
    pub keys: &'c [Bytes],
    /// What else it is given.
    pub args: &'c [Bytes],
    /// The instant that it takes for the present, in microseconds since 1970.
    pub now: i64,
}

/// A change that a write function makes to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Puts a value.
    Put {
        /// The row's key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Removes the row.
    Delete {
        /// The row's key.
        key: Bytes,
    },
    /// Merges an operand into the row.
    Merge {
        /// The row's key.
        key: Bytes,
        /// The operand, as people write it.
        operand: Bytes,
    },
}

/// What a write function came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What it returned.
    pub reply: Bytes,
    /// Its changes, in the order in which it made them.
    pub changes: Vec<Change>,
    /// The fuel that it used: the same wherever it runs on the same rows.
    pub fuel: u64,
}

impl Module {
    /// Calls a read function. Takes as long as the limits allow.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub fn read(
        &self,
        limits: &FunctionLimits,
        shard: &mut dyn Shard,
        call: &Call<'_>,
    ) -> Result<Bytes, FunctionError> {
        self.check_kind(FunctionKind::Read)?;
        let _ticking = Ticking::start()?;
        host::with_shard(shard, || {
            let state = State::new(FunctionKind::Read, *limits, call.now);
            let mut running = Running::start(self, state)?;
            running.call(READ, &[&abi::input(call.keys, call.args)])
        })
    }

    /// Calls a write function: what it returns, changes and uses follows from the module, the
    /// limits, the rows and the call alone.
    ///
    /// # Errors
    /// [`FunctionError`]. Of these, [`FunctionError::Host`] and [`FunctionError::Storage`] are
    /// this process's own, and another one may come to something else.
    pub fn write(
        &self,
        limits: &FunctionLimits,
        shard: &mut dyn Shard,
        call: &Call<'_>,
    ) -> Result<Written, FunctionError> {
        self.check_kind(FunctionKind::Write)?;
        host::with_shard(shard, || {
            let state = State::new(FunctionKind::Write, *limits, call.now);
            let mut running = Running::start(self, state)?;
            let reply = running.call(WRITE, &[&abi::input(call.keys, call.args)])?;
            let (fuel, changes) = running.into_changes();
            Ok(Written { reply, changes, fuel })
        })
    }
}
