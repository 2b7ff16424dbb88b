//! REST: JSON over HTTP, described by `openapi.json`.
//!
//! Keys and values are bytes. In JSON they are a string if they are valid UTF-8, else an
//! object `{"base64": "..."}`; both forms are taken everywhere ([`octets`]).

mod admin;
mod batch;
mod extract;
#[cfg(feature = "functions")]
mod functions;
mod history;
mod import;
mod lines;
mod octets;
mod pages;
mod problem;
mod reduce;
mod route;
mod rows;
mod scan;
#[cfg(feature = "sql")]
mod sql;
mod tables;

pub(crate) use self::problem::{Problem, render_problems};
pub(crate) use self::route::router;
