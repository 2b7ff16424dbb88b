//! Exit codes, and failures that carry one.

use std::io;
use std::process::ExitCode;

use thiserror::Error;

/// What the process tells its caller when it ends. Scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: the answer is no: no such row, or a compare-and-set that found another value.
    Negative,
    /// 2: the command line or configuration is not valid.
    Usage,
    /// 3: no node answers.
    Unreachable,
    /// 4: refused; another request may succeed.
    Fix,
    /// 5: not now; the same request may succeed later.
    Retry,
    /// 6: whoever operates the node must act.
    Operator,
}

/// The codes as `--help` explains them.
pub(crate) const EXIT_HELP: &str = "\
Exit codes:
  0  done
  1  the answer is no: no such row, or cas found another value
  2  the command line or the configuration is not valid
  3  no node answers
  4  refused: change the request (import: some lines were bad)
  5  not now: send the same request again a little later
  6  the node's operator must act

Breccia is configured by flags, then environment variables (BRECCIA_...), then
breccia.toml, then defaults: the first that says something wins.";

impl Exit {
    /// The number.
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Negative => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Fix => 4,
            Self::Retry => 5,
            Self::Operator => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A failure whose exit code is known.
#[derive(Debug, Error)]
#[error("{message}")]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// A failure that says what happened and what to do.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The command line or configuration is not valid.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something that the caller can put right.
    pub(crate) fn fix(message: impl Into<String>) -> Self {
        Self::new(Exit::Fix, message)
    }

    /// Its exit code.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }
}

/// The exit code of any error: the failure's own, 0 when the reader of our output went
/// away (as `| head` does), else 4.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    // A failure may stand in the chain as a cause, or around it as context.
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit();
    }
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.exit();
        }
        if is_broken_pipe(cause) {
            return Exit::Done;
        }
    }
    Exit::Fix
}

/// Whether the error only says that nobody reads our output any more.
fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    let pipe = io::ErrorKind::BrokenPipe;
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return error.kind() == pipe;
    }
    if let Some(error) = cause.downcast_ref::<serde_json::Error>() {
        return error.io_error_kind() == Some(pipe);
    }
    match cause.downcast_ref::<csv::Error>().map(csv::Error::kind) {
        Some(csv::ErrorKind::Io(error)) => error.kind() == pipe,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_failure_keeps_its_code_under_context() {
        let error = anyhow::Error::from(Failure::usage("no")).context("while reading");
        assert_eq!(exit_of(&error), Exit::Usage);
        let cause = Err::<(), _>(io::Error::other("cause"));
        let error = cause.context(Failure::new(Exit::Retry, "later"));
        assert_eq!(exit_of(&error.unwrap_err()), Exit::Retry);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let pipe = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(exit_of(&pipe.context("writing").unwrap_err()), Exit::Done);
        let other = anyhow::anyhow!("anything else");
        assert_eq!(exit_of(&other), Exit::Fix);
    }
}
