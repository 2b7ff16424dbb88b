//! An instance of a module: what is handed in, what comes out, and what becomes of its end.

use bytes::Bytes;
use wasmtime::{AsContextMut, Memory, Store, Trap, TypedFunc};

use super::host::State;
use super::module::Module;
use super::{ALLOC, MEMORY, abi, call::Change, engine};
use crate::FunctionError;

/// An instance of a module.
pub(super) struct Running {
    store: Store<State>,
    instance: wasmtime::Instance,
}

/// How a host reaches into an instance.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) memory: Memory,
    alloc: TypedFunc<i32, i32>,
}

impl Running {
    pub(super) fn start(module: &Module, state: State) -> Result<Self, FunctionError> {
        let mut store = Store::new(module.instance().module().engine(), state);
        store.limiter(State::limiter);
        renew(&mut store)?;
        let started = module.instance().instantiate(&mut store);
        let instance = started.map_err(|error| told(&error, store.data(), Phase::Start))?;
        let memory = instance.get_memory(&mut store, MEMORY);
        let alloc = instance.get_typed_func(&mut store, ALLOC);
        // Both were checked when the module was compiled.
        let missing = |what: &str| FunctionError::Exports { reason: format!("it has no {what}") };
        let reach = Reach {
            memory: memory.ok_or_else(|| missing(MEMORY))?,
            alloc: alloc.map_err(|_| missing(ALLOC))?,
        };
        store.data_mut().reach = Some(reach);
        Ok(Self { store, instance })
    }

    /// Calls an entry point with byte strings, and returns the one that it returns.
    pub(super) fn call(&mut self, entry: &str, inputs: &[&[u8]]) -> Result<Bytes, FunctionError> {
        renew_time(&mut self.store);
        let store = &mut self.store;
        let reach = reach(store.data()).map_err(|error| told(&error, store.data(), Phase::Call))?;
        let mut places = Vec::with_capacity(2 * inputs.len());
        for input in inputs {
            let placed = reach.give(&mut *store, input);
            let (pointer, length) =
                placed.map_err(|error| told(&error, store.data(), Phase::Call))?;
            places.extend([pointer.cast_signed(), length.cast_signed()]);
        }
        let returned = match places.as_slice() {
            [a, b] => enter(store, &self.instance, entry, (*a, *b)),
            [a, b, c, d] => enter(store, &self.instance, entry, (*a, *b, *c, *d)),
            [a, b, c, d, e, f] => enter(store, &self.instance, entry, (*a, *b, *c, *d, *e, *f)),
            _ => Err(wasmtime::Error::msg("no entry point takes so many inputs")),
        };
        let (pointer, length) = match returned {
            Ok(packed) => abi::unpack(packed),
            Err(error) => return Err(told(&error, store.data(), Phase::Call)),
        };
        let limit = store.data().limits.output_bytes;
        if u64::from(length) > limit {
            return Err(FunctionError::TooMuchOutput { bytes: length.into(), limit });
        }
        let output = reach.take(&*store, pointer, length);
        output.map(Bytes::from).map_err(|error| told(&error, store.data(), Phase::Call))
    }

    /// How large its memory is, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let reach = self.store.data().reach.as_ref();
        reach.map_or(0, |reach| {
            u64::try_from(reach.memory.data_size(&self.store)).unwrap_or(u64::MAX)
        })
    }

    /// The fuel that was used, and the changes that were made.
    pub(super) fn into_changes(self) -> (u64, Vec<Change>) {
        let left = self.store.get_fuel().unwrap_or(0);
        let state = self.store.into_data();
        (state.limits.fuel.saturating_sub(left), state.changes)
    }
}

fn enter<P: wasmtime::WasmParams>(
    store: &mut Store<State>,
    instance: &wasmtime::Instance,
    entry: &str,
    params: P,
) -> Result<i64, wasmtime::Error> {
    instance.get_typed_func::<P, i64>(&mut *store, entry)?.call(store, params)
}

/// How the instance is reached, from within a host function too.
pub(super) fn reach(state: &State) -> Result<Reach, wasmtime::Error> {
    let early = || forbidden("it calls its host while it is being started".to_owned());
    state.reach.clone().ok_or_else(early)
}

impl Reach {
    /// Puts bytes into memory that the function allocates for them.
    pub(super) fn give(
        &self,
        mut store: impl AsContextMut<Data = State>,
        bytes: &[u8],
    ) -> Result<(u32, u32), wasmtime::Error> {
        let length = i32::try_from(bytes.len()).map_err(|_| {
            let limit = store.as_context_mut().data().limits.memory_bytes;
            wasmtime::Error::new(FunctionError::OutOfMemory { limit })
        })?;
        let pointer = self.alloc.call(&mut store, length)?.cast_unsigned();
        let outside = || broken(format!("{ALLOC} returned memory that it does not have"));
        let start = usize::try_from(pointer).map_err(|_| outside())?;
        self.memory.write(&mut store, start, bytes).map_err(|_| outside())?;
        Ok((pointer, length.cast_unsigned()))
    }

    /// Copies bytes out of the function's memory.
    pub(super) fn take(
        &self,
        store: impl wasmtime::AsContext<Data = State>,
        pointer: u32,
        length: u32,
    ) -> Result<Vec<u8>, wasmtime::Error> {
        let data = self.memory.data(&store);
        let range = usize::try_from(pointer).ok().zip(usize::try_from(length).ok());
        let found = range
            .and_then(|(start, length)| data.get(start..start.checked_add(length)?))
            .ok_or_else(|| broken("it points outside of its memory".to_owned()))?;
        Ok(found.to_vec())
    }
}

fn broken(reason: String) -> wasmtime::Error {
    wasmtime::Error::new(FunctionError::Trapped { reason })
}

fn forbidden(reason: String) -> wasmtime::Error {
    wasmtime::Error::new(FunctionError::Forbidden { reason })
}

/// Fills the fuel, and the time.
fn renew(store: &mut Store<State>) -> Result<(), FunctionError> {
    let limits = store.data().limits;
    if store.data().measures_fuel() {
        let filled = store.set_fuel(limits.fuel);
        return filled.map_err(|error| FunctionError::Host { reason: error.to_string() });
    }
    renew_time(store);
    Ok(())
}

fn renew_time(store: &mut Store<State>) {
    if !store.data().measures_fuel() {
        let ticks = engine::ticks(store.data().limits.time);
        store.set_epoch_deadline(ticks);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Call,
}

/// What an end means. Says nothing that could differ between replicas.
fn told(error: &wasmtime::Error, state: &State, phase: Phase) -> FunctionError {
    if let Some(own) = error.downcast_ref::<FunctionError>() {
        return own.clone();
    }
    let limits = &state.limits;
    if state.was_refused_memory {
        return FunctionError::OutOfMemory { limit: limits.memory_bytes };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => FunctionError::OutOfFuel { limit: limits.fuel },
        Some(Trap::Interrupt) => FunctionError::OutOfTime {
            limit_ms: u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX),
        },
        Some(trap) => {
            let when = if phase == Phase::Start { " while it is being started" } else { "" };
            let text = trap.to_string();
            let reason = text.strip_prefix("wasm trap: ").unwrap_or(&text);
            FunctionError::Trapped { reason: format!("{reason}{when}") }
        }
        None => FunctionError::Host { reason: error.to_string() },
    }
}
