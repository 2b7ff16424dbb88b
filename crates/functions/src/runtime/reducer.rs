//! A reduce function at work.

use breccia_types::{FunctionKind, FunctionLimits};
use bytes::Bytes;

use super::abi::Batch;
use super::engine::Ticking;
use super::host::State;
use super::instance::Running;
use super::module::{COMBINE, Module, PRESENT, STEP};
use crate::FunctionError;

/// A reduce function at work. What it knows is in the states that it returns, so its instance
/// is renewed when it has taken much memory: a function need not give any back.
pub struct Reducer {
    module: Module,
    limits: FunctionLimits,
    arg: Bytes,
    running: Running,
}

impl Module {
    /// Puts a reduce function to work with an argument.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub fn reducer(&self, limits: &FunctionLimits, arg: Bytes) -> Result<Reducer, FunctionError> {
        self.check_kind(FunctionKind::Reduce)?;
        let _ticking = Ticking::start()?;
        let running = started(self, limits)?;
        Ok(Reducer { module: self.clone(), limits: *limits, arg, running })
    }
}

impl Reducer {
    /// The state after some more rows. The first state is empty.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub fn step(&mut self, state: &[u8], rows: &Batch) -> Result<Bytes, FunctionError> {
        let arg = self.arg.clone();
        self.call(STEP, &[state, rows.encoded(), &arg])
    }

    /// The state of the rows of two states.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub fn combine(&mut self, left: &[u8], right: &[u8]) -> Result<Bytes, FunctionError> {
        self.call(COMBINE, &[left, right])
    }

    /// What people see of a state.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub fn present(&mut self, state: &[u8]) -> Result<Bytes, FunctionError> {
        self.call(PRESENT, &[state])
    }

    fn call(&mut self, entry: &str, inputs: &[&[u8]]) -> Result<Bytes, FunctionError> {
        let _ticking = Ticking::start()?;
        if self.running.memory_bytes() > self.limits.memory_bytes / 2 {
            self.running = started(&self.module, &self.limits)?;
        }
        self.running.call(entry, inputs)
    }
}

fn started(module: &Module, limits: &FunctionLimits) -> Result<Running, FunctionError> {
    Running::start(module, State::new(FunctionKind::Reduce, *limits, 0))
}
