//! The names of a server's refusals.

use std::fmt;

/// Generates [`Code`] from one table of names.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a server refused a request, as its metadata `breccia-code` names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// A name that this version of the client does not know.
            Other,
        }

        impl Code {
            /// The name in kebab case, as every front end of the server shows it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other => "other",
                }
            }

            pub(crate) fn of_name(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

codes! {
    /// No table has this name.
    UnknownTable = "unknown-table",
    /// A table of this name exists already.
    TableExists = "table-exists",
    /// The table belongs to the system.
    TableProtected = "table-protected",
    /// The table was dropped while the request was on its way.
    TableDropped = "table-dropped",
    /// There are as many tables as there may be.
    TooManyTables = "too-many-tables",
    /// The table's name or options are not valid.
    InvalidTable = "invalid-table",
    /// The table's kind does not have this operation.
    WrongKind = "wrong-kind",
    /// The key is longer than a key may be.
    KeyTooLong = "key-too-long",
    /// The value is longer than a value may be.
    ValueTooLong = "value-too-long",
    /// The batch is larger than one atomic batch may be.
    BatchTooLarge = "batch-too-large",
    /// More keys were asked for at once than may be.
    TooManyKeys = "too-many-keys",
    /// The keys of a batch have different partition keys.
    CrossSlot = "cross-slot",
    /// The operand is not one of the table's monoid.
    InvalidOperand = "invalid-operand",
    /// The cursor was not made by this scan.
    InvalidCursor = "invalid-cursor",
    /// Some other argument is not valid.
    InvalidArgument = "invalid-argument",
    /// A row has nothing that a strict reduction can use.
    UnfitRow = "unfit-row",
    /// A query cannot be planned, or fails on some row.
    InvalidQuery = "invalid-query",
    /// No function has this name.
    UnknownFunction = "unknown-function",
    /// A function is not of the kind that it is asked as.
    WrongFunctionKind = "wrong-function-kind",
    /// There are as many functions as there may be.
    TooManyFunctions = "too-many-functions",
    /// A module is not one that can be deployed.
    InvalidModule = "invalid-module",
    /// A function refused, broke a limit or broke down; nothing was written.
    FunctionFailed = "function-failed",
    /// A compare-and-set of a batch did not hold, so nothing of the batch was written.
    GuardFailed = "guard-failed",
    /// More is waiting than may wait.
    Busy = "busy",
    /// The node takes no writes for now.
    ReadOnly = "read-only",
    /// The shard cannot be reached, or is out of service.
    ShardUnavailable = "shard-unavailable",
    /// The time was up at the server.
    DeadlineExceeded = "deadline-exceeded",
    /// The server lost contact to the shard's leader while the write was on its way.
    OutcomeUnknown = "outcome-unknown",
    /// The node is shutting down.
    ShuttingDown = "shutting-down",
    /// The storage failed.
    Storage = "storage",
    /// A bug of the server.
    Internal = "internal",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_unknown_ones_are_other() {
        for name in ["unknown-table", "guard-failed", "outcome-unknown", "internal"] {
            assert_eq!(Code::of_name(name).name(), name);
        }
        assert_eq!(Code::of_name("of-a-later-version"), Code::Other);
    }
}
