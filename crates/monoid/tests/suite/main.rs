//! What a monoid promises: its laws, its values, its errors, its formats, its calm.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

mod values;

mod accuracy;
mod fixtures;
mod hostile;
mod laws;
