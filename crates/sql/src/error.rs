//! Why a query has no answer.

use breccia_types::RequestError;
use datafusion::error::DataFusionError;
use thiserror::Error;

use crate::limits::QUERY_BYTES_MAX;

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SqlError {
    /// It cannot be planned: it does not parse, names what is not there, or its types do not
    /// fit. Nothing has run.
    #[error("{reason}{}", at(*.line, *.column))]
    Invalid {
        /// What is wrong with it.
        reason: String,
        /// The line, from 1, where that is known.
        line: Option<u64>,
        /// The column, from 1, where that is known.
        column: Option<u64>,
    },
    /// It is too long.
    #[error("the query has {bytes} bytes; at most {QUERY_BYTES_MAX} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It needs more memory than it may take.
    #[error(
        "the query needs more memory than it may take: {reason}; ask for fewer rows, columns or \
         groups, or add a LIMIT"
    )]
    OverLimit {
        /// What wanted more.
        reason: String,
    },
    /// It failed on some row, as by a division by zero.
    #[error("the query failed: {reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
    /// A table or a shard could not be read.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl SqlError {
    /// The error of a query that was not run.
    pub(crate) fn of_planning(error: &DataFusionError) -> Self {
        if let Some(request) = request_in(error) {
            return Self::Request(request);
        }
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
        let (line, column) = match span {
            Some(span) => (Some(span.start.line), Some(span.start.column)),
            None => (None, None),
        };
        Self::Invalid { reason: words(error), line, column }
    }

    /// The error of a query that ran.
    pub(crate) fn of_running(error: &DataFusionError) -> Self {
        if let Some(request) = request_in(error) {
            return match request {
                RequestError::InvalidQuery { reason } => Self::Failed { reason },
                request => Self::Request(request),
            };
        }
        match error.find_root() {
            DataFusionError::ResourcesExhausted(reason) => {
                Self::OverLimit { reason: first_line(reason) }
            }
            root => Self::Failed { reason: words(root) },
        }
    }
}

impl From<SqlError> for RequestError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Request(error) => error,
            error => Self::InvalidQuery { reason: error.to_string() },
        }
    }
}

fn at(line: Option<u64>, column: Option<u64>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!(" (line {line}, column {column})"),
        _ => String::new(),
    }
}

fn request_in(error: &DataFusionError) -> Option<RequestError> {
    match error.find_root() {
        DataFusionError::External(source) => source.downcast_ref::<RequestError>().cloned(),
        _ => None,
    }
}

/// What it says, without the layers it came through.
pub(crate) fn words(error: &DataFusionError) -> String {
    first_line(&error.find_root().strip_backtrace())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
