//! Functions for Breccia, in Rust.
//!
//! A function is a WebAssembly module that runs beside the rows of a table. A crate of type
//! `cdylib` holds one; a macro makes its entry point from an ordinary Rust function:
//!
//! ```
//! use breccia_guest::{get, put, write_function, Call};
//!
//! /// Counts the calls on a key, and returns how many there were.
//! fn visits(call: &Call) -> Result<Vec<u8>, String> {
//!     let before = match get(call.key()) {
//!         None => 0,
//!         Some(text) => String::from_utf8_lossy(&text).parse::<u64>().map_err(|e| e.to_string())?,
//!     };
//!     let now = (before + 1).to_string().into_bytes();
//!     put(call.key(), &now);
//!     Ok(now)
//! }
//!
//! write_function!(visits);
//!
//! // Natively the rows are a small table of this thread, so that functions can be tested:
//! use breccia_guest::testing;
//! assert_eq!(visits(&testing::call(["alice"], [""; 0])), Ok(b"1".to_vec()));
//! assert_eq!(visits(&testing::call(["alice"], [""; 0])), Ok(b"2".to_vec()));
//! assert_eq!(testing::row("alice"), Some(b"2".to_vec()));
//! ```
//!
//! It is built and deployed so:
//!
//! ```text
//! cargo build --release --target wasm32-unknown-unknown
//! breccia fn deploy visits target/wasm32-unknown-unknown/release/visits.wasm
//! ```
//!
//! An error that a function returns, and a panic, is what its caller is told; nothing that it
//! wrote is kept then. Write functions run on every replica of a shard, so they must come to
//! the same everywhere: they see the rows, their call and [`now`], and nothing else. In
//! particular the order of a `HashMap` is not the same everywhere unless its hasher is.

mod host;
mod reduce;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod wire;

pub use host::{delete, get, log, merge, now, put, scan};
pub use reduce::Reduce;
pub use wire::{Call, Row};

#[doc(hidden)]
pub mod entry;

/// Makes a read function of `fn(&Call) -> Result<Vec<u8>, String>`. One a crate.
#[macro_export]
macro_rules! read_function {
    ($function:path) => {
        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn breccia_read(at: u32, length: u32) -> u64 {
            $crate::entry::call($function, at, length)
        }
    };
}

/// Makes a write function of `fn(&Call) -> Result<Vec<u8>, String>`. One a crate.
#[macro_export]
macro_rules! write_function {
    ($function:path) => {
        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn breccia_write(at: u32, length: u32) -> u64 {
            $crate::entry::call($function, at, length)
        }
    };
}

/// Makes a reduce function of a type that implements [`Reduce`]. One a crate.
#[macro_export]
macro_rules! reduce_function {
    ($reduce:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn breccia_step(
            state: u32,
            state_length: u32,
            rows: u32,
            rows_length: u32,
            arg: u32,
            arg_length: u32,
        ) -> u64 {
            let (state, rows) = ((state, state_length), (rows, rows_length));
            $crate::entry::step::<$reduce>(state, rows, (arg, arg_length))
        }

        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn breccia_combine(
            left: u32,
            left_length: u32,
            right: u32,
            right_length: u32,
        ) -> u64 {
            $crate::entry::combine::<$reduce>((left, left_length), (right, right_length))
        }

        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn breccia_present(state: u32, state_length: u32) -> u64 {
            $crate::entry::present::<$reduce>((state, state_length))
        }
    };
}
