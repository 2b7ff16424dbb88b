//! What the nodes' own errors mean for a write.

use crate::history::Outcome;

/// What an error with this stable name means, as gRPC and REST give it.
pub(super) fn outcome_of_code(code: &str, message: &str) -> Outcome {
    let text = format!("{code}: {message}");
    match code {
        "busy" | "read-only" | "shard-unavailable" | "unknown-table" | "table-dropped"
        | "not-ready" => Outcome::Refused(text),
        "deadline-exceeded" | "outcome-unknown" | "shutting-down" | "storage" | "internal" => {
            Outcome::Unknown(text)
        }
        // Requests of a wrong form are not sent, so this would be a surprise, and no proof.
        _ => Outcome::Unknown(format!("unexpected {text}")),
    }
}

/// What an error reply of the Redis protocol means.
pub(super) fn outcome_of_reply(error: &str) -> Outcome {
    let text = error.to_owned();
    match error.split(' ').next().unwrap_or_default() {
        // A node that shuts down may have applied what it had begun.
        "CLUSTERDOWN" if error.contains("shutting down") => Outcome::Unknown(text),
        "BUSY" | "MISCONF" | "CLUSTERDOWN" | "MOVED" | "ASK" | "LOADING" => Outcome::Refused(text),
        "ERR" if error.contains("not an integer") || error.contains("would overflow") => {
            Outcome::Refused(text)
        }
        _ => Outcome::Unknown(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_certainly_not_done_is_refused() {
        let is_refused = |outcome| matches!(outcome, Outcome::Refused(_));
        for (error, refused) in [
            ("BUSY too much is waiting for s1; try again a little later", true),
            ("MISCONF the node is read-only: full", true),
            ("CLUSTERDOWN s1 is out of service: no leader", true),
            ("CLUSTERDOWN the node is shutting down", false),
            ("TIMEOUT the deadline passed; a write may or may not have been applied", false),
            ("IOERR the storage failed: EIO", false),
            ("ERR value is not an integer or out of range", true),
            ("ERR internal error, please report it: x", false),
        ] {
            assert_eq!(is_refused(outcome_of_reply(error)), refused, "{error}");
        }
        for (code, refused) in [
            ("busy", true),
            ("shard-unavailable", true),
            ("deadline-exceeded", false),
            ("outcome-unknown", false),
            ("shutting-down", false),
            ("something-new", false),
        ] {
            assert_eq!(is_refused(outcome_of_code(code, "")), refused, "{code}");
        }
    }
}
