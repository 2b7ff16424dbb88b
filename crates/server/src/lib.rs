//! The front ends of a node: each decodes its protocol into the request vocabulary of
//! `breccia-types`, asks the node, and encodes the answer.

pub mod http;
pub mod resp;

pub mod status;

mod extensions;

pub use extensions::Extensions;
