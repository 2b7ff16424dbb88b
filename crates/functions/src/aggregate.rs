//! A reduce function as an aggregate over groups of rows that somebody else makes.

use std::sync::Arc;

use breccia_types::RequestError;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::modules::Modules;
use crate::service::FunctionVersion;
use crate::{Batch, FunctionError, Reducer};

/// A version of a reduce function, to be called for any number of groups. All clones share
/// what is at work: a function keeps nothing between its calls, so there need be no more of
/// that than threads.
#[derive(Clone)]
pub struct Aggregate {
    function: FunctionVersion,
    modules: Arc<Modules>,
    idle: Arc<Mutex<Vec<Reducer>>>,
}

impl std::fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Aggregate").field(&self.function).finish()
    }
}

impl Aggregate {
    /// A function, of which nothing is at work yet.
    #[must_use]
    pub fn new(function: FunctionVersion, modules: Arc<Modules>) -> Self {
        Self { function, modules, idle: Arc::default() }
    }

    /// The state after some more rows, keys and values; `None` before the first.
    ///
    /// # Errors
    /// [`RequestError::FunctionFailed`], or what finding the module reports.
    pub fn step<'r>(
        &self,
        state: Option<Bytes>,
        rows: impl Iterator<Item = (&'r [u8], &'r [u8])>,
    ) -> Result<Option<Bytes>, RequestError> {
        self.with(|reducer| {
            let (mut state, mut batch) = (state, Batch::default());
            let step = |reducer: &mut Reducer, state: &mut Option<Bytes>, batch: &Batch| {
                *state = Some(reducer.step(state.as_deref().unwrap_or_default(), batch)?);
                Ok(())
            };
            for (key, value) in rows {
                batch.push(key, value);
                if batch.is_full() {
                    step(reducer, &mut state, &batch)?;
                    batch.clear();
                }
            }
            if !batch.is_empty() {
                step(reducer, &mut state, &batch)?;
            }
            Ok(state)
        })
    }

    /// The state of the rows of two states.
    ///
    /// # Errors
    /// As [`Aggregate::step`].
    pub fn combine(&self, left: &[u8], right: &[u8]) -> Result<Bytes, RequestError> {
        self.with(|reducer| reducer.combine(left, right))
    }

    /// What people see of a state.
    ///
    /// # Errors
    /// As [`Aggregate::step`].
    pub fn present(&self, state: &[u8]) -> Result<Bytes, RequestError> {
        self.with(|reducer| reducer.present(state))
    }

    fn with<T>(
        &self,
        call: impl FnOnce(&mut Reducer) -> Result<T, FunctionError>,
    ) -> Result<T, RequestError> {
        aside(|| {
            let idle = self.idle.lock().pop();
            let mut reducer = match idle {
                Some(reducer) => reducer,
                None => {
                    let module = self.modules.load(&self.function)?;
                    let started = module.reducer(self.function.limits(), Bytes::new());
                    started.map_err(|error| self.function.failed(&error))?
                }
            };
            let done = call(&mut reducer).map_err(|error| self.function.failed(&error))?;
            // One that failed may be in any state, and is not used again.
            self.idle.lock().push(reducer);
            Ok(done)
        })
    }
}

/// Runs what may take its time where it does not hold up others.
fn aside<T>(call: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(call),
        _ => call(),
    }
}
