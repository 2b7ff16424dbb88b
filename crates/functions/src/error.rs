//! Why a function cannot run, or did not come to its end.

use thiserror::Error;

/// Why a function cannot run, or did not come to its end. What it wrote is not kept then.
///
/// The texts of what a write function may come to are the same on every replica: they say
/// nothing of this process, of addresses or of time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FunctionError {
    /// It is no WebAssembly module.
    #[error("it is no WebAssembly module that can run here: {reason}")]
    Malformed {
        /// What is wrong, and where.
        reason: String,
    },
    /// It wants of its host what there is not.
    #[error("it imports {module}.{name}, {reason}")]
    Import {
        /// The module that it imports from.
        module: String,
        /// What it imports.
        name: String,
        /// Why it may not.
        reason: String,
    },
    /// It does not offer what a function must.
    #[error("{reason}")]
    Exports {
        /// What is missing, or too much.
        reason: String,
    },
    /// It computes for longer than it may.
    #[error(
        "it used up its fuel, {limit} units: a loop without an end? Deploy it with a larger \
         --fuel if it needs more"
    )]
    OutOfFuel {
        /// What it may use.
        limit: u64,
    },
    /// It runs for longer than it may.
    #[error(
        "it ran for longer than {limit_ms} ms: a loop without an end? Deploy it with a longer \
         --time if it needs more"
    )]
    OutOfTime {
        /// How long it may run.
        limit_ms: u64,
    },
    /// It takes more memory than it may.
    #[error(
        "it needs more than {limit} bytes of memory; deploy it with a larger --max-memory if it \
         should have more"
    )]
    OutOfMemory {
        /// What it may take.
        limit: u64,
    },
    /// It reads or writes more rows than it may.
    #[error("it reads or writes more than {limit} rows; deploy it with larger --rows if it should")]
    TooManyRows {
        /// How many it may.
        limit: u64,
    },
    /// It returns more than it may.
    #[error(
        "it returns {bytes} bytes; at most {limit} are allowed: deploy it with a larger --output \
         if it should"
    )]
    TooMuchOutput {
        /// How much it returns.
        bytes: u64,
        /// How much it may.
        limit: u64,
    },
    /// It writes more than one call may.
    #[error("it writes more than {limit} bytes; at most so many are allowed in one call")]
    TooMuchWritten {
        /// How much it may.
        limit: u64,
    },
    /// It broke down.
    #[error("it broke down: {reason}")]
    Trapped {
        /// How.
        reason: String,
    },
    /// It says so itself.
    #[error("{message}")]
    Failed {
        /// What it says.
        message: String,
    },
    /// It asked for what a call may not have.
    #[error("{reason}")]
    Forbidden {
        /// Why.
        reason: String,
    },
    /// Rows cannot be read.
    #[error("{reason}")]
    Storage {
        /// Why.
        reason: String,
    },
    /// This process cannot run it just now, which says nothing about the function.
    #[error("it cannot be run here: {reason}")]
    Host {
        /// Why.
        reason: String,
    },
}
