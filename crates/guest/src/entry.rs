//! What the macros make entry points of. Not to be used otherwise.

#![cfg(target_arch = "wasm32")]

use std::cell::RefCell;
use std::sync::Once;

use crate::host::wasm::fail;
use crate::{wire, Call, Reduce};

/// A place in memory: where it begins, and how long it is.
type Place = (u32, u32);

thread_local! {
    /// What was returned last: the host reads it before it calls again.
    static RETURNED: RefCell<Vec<u8>> = RefCell::new(Vec::new());
}

/// Gives the host memory, which is the function's again when the host calls it with that.
#[no_mangle]
extern "C" fn breccia_alloc(length: u32) -> *mut u8 {
    let place = vec![0_u8; length as usize].into_boxed_slice();
    Box::into_raw(place).cast()
}

/// Takes over what the host has put into memory that it was given.
fn owned((at, length): Place) -> Vec<u8> {
    let place = std::ptr::slice_from_raw_parts_mut(at as *mut u8, length as usize);
    // SAFETY: the host names what `breccia_alloc` gave it, with its length, and each once.
    unsafe { Box::from_raw(place) }.into_vec()
}

/// As [`owned`], of a pointer and a length in one value.
pub(crate) fn taken(packed: u64) -> Vec<u8> {
    owned(((packed >> 32) as u32, packed as u32))
}

fn returned(output: Vec<u8>) -> u64 {
    RETURNED.with(|returned| {
        let mut returned = returned.borrow_mut();
        *returned = output;
        ((returned.as_ptr() as u64) << 32) | returned.len() as u64
    })
}

/// Lets the caller know what a panic says.
fn tell_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| fail(&panic.to_string()))));
}

/// Runs a read or write function.
pub fn call(function: fn(&Call) -> Result<Vec<u8>, String>, at: u32, length: u32) -> u64 {
    tell_panics();
    let call = Call::read(&owned((at, length)));
    match function(&call.unwrap_or_else(|| fail("the call cannot be read"))) {
        Ok(reply) => returned(reply),
        Err(message) => fail(&message),
    }
}

fn state<R: Reduce>(place: Place) -> R {
    match owned(place).as_slice() {
        [] => R::default(),
        state => R::read(state),
    }
}

/// Takes rows in.
pub fn step<R: Reduce>(place: Place, rows: Place, arg: Place) -> u64 {
    tell_panics();
    let (mut state, rows, arg) = (state::<R>(place), owned(rows), owned(arg));
    let read = wire::rows(&rows, |key, value| {
        if let Err(message) = state.step(key, value, &arg) {
            fail(&message);
        }
    });
    match read {
        Some(()) => returned(state.write()),
        None => fail("the rows cannot be read"),
    }
}

/// Combines two states.
pub fn combine<R: Reduce>(left: Place, right: Place) -> u64 {
    tell_panics();
    let mut both = state::<R>(left);
    both.combine(state::<R>(right));
    returned(both.write())
}

/// Shows a state.
pub fn present<R: Reduce>(place: Place) -> u64 {
    tell_panics();
    returned(state::<R>(place).present())
}
