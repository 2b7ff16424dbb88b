//! The two engines: one that measures fuel, the same everywhere, for what replicas must agree
//! on; and one that measures time, and costs next to nothing, for the rest.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{Config, Engine};

use crate::FunctionError;

/// How precisely time is measured.
const TICK: Duration = Duration::from_millis(10);
/// Stack of a function, in bytes.
const STACK_BYTES: usize = 512 << 10;

/// The engine of write functions.
pub(super) fn by_fuel() -> Result<&'static Engine, FunctionError> {
    static ENGINE: OnceLock<Result<Engine, FunctionError>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| made(Config::new().consume_fuel(true)));
    engine.as_ref().map_err(Clone::clone)
}

/// The engine of read and reduce functions.
pub(super) fn by_time() -> Result<&'static Engine, FunctionError> {
    static ENGINE: OnceLock<Result<Engine, FunctionError>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| made(Config::new().epoch_interruption(true)));
    engine.as_ref().map_err(Clone::clone)
}

/// Nothing in it may give different results on different machines: not the bits of a NaN, and
/// nothing that runs beside other things.
fn made(config: &mut Config) -> Result<Engine, FunctionError> {
    config
        .cranelift_nan_canonicalization(true)
        .max_wasm_stack(STACK_BYTES)
        .wasm_backtrace_max_frames(None)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false);
    Engine::new(config).map_err(|error| FunctionError::Host { reason: error.to_string() })
}

/// How many ticks a time is, at least one.
pub(super) fn ticks(time: Duration) -> u64 {
    let ticks = time.as_millis().div_ceil(TICK.as_millis()).saturating_add(1);
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// Lets time be measured while it is held.
pub(super) struct Ticking(());

static RUNNING: AtomicUsize = AtomicUsize::new(0);

impl Ticking {
    pub(super) fn start() -> Result<Self, FunctionError> {
        static TICKER: OnceLock<Result<Thread, FunctionError>> = OnceLock::new();
        let ticker = TICKER.get_or_init(|| {
            let engine = by_time()?;
            let ticker = std::thread::Builder::new().name("function-clock".to_owned());
            let spawned = ticker.spawn(|| tick(engine));
            let spawned =
                spawned.map_err(|error| FunctionError::Host { reason: error.to_string() })?;
            Ok(spawned.thread().clone())
        });
        let ticker = ticker.as_ref().map_err(Clone::clone)?;
        if RUNNING.fetch_add(1, Ordering::SeqCst) == 0 {
            ticker.unpark();
        }
        Ok(Self(()))
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counts time while functions run, and sleeps otherwise.
fn tick(engine: &'static Engine) {
    loop {
        if RUNNING.load(Ordering::SeqCst) == 0 {
            std::thread::park();
        } else {
            std::thread::sleep(TICK);
            engine.increment_epoch();
        }
    }
}
