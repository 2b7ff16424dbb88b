//! What clients can ask, decoded: every command is one of these values before anything is
//! done about it.

use breccia_types::RequestId;
use breccia_types::strings::StringWrite;
use bytes::Bytes;

use super::encoder::Protocol;
use super::error::ReplyError;

/// A command, checked as far as its words tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Writes rows of one slot.
    Write(StringWrite, WriteReply),
    /// Writes rows of several slots, not atomically together; the replies are added up.
    WriteScattered(Vec<StringWrite>),
    /// Reads rows by their keys.
    Read(Read),
    /// Reads what all rows together tell.
    Visit(Visit),
    /// Asks about or changes the connection.
    Session(Session),
    /// Calls a function, or concerns another table.
    Beyond(Beyond),
    /// Asks about the server, or changes its settings.
    Query(Query),
    /// Has the same answer at any time.
    Fixed(Fixed),
}

/// A command that is not about the rows of the table `redis` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// A call of a function on keys of one slot.
    #[cfg(feature = "functions")]
    Call {
        function: String,
        /// Only a read function will do.
        reads: bool,
        keys: Vec<Bytes>,
        args: Vec<Bytes>,
    },
    /// An operand for a row of a monoid table.
    Merge { table: String, key: Bytes, operand: Bytes, request_id: Option<RequestId> },
    /// A row of any table.
    Get { table: String, key: Bytes },
}

/// How a write's reply is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteReply {
    /// As it is.
    Plain,
    /// `OK` whatever it is.
    Ok,
    /// 1 for `Ok`, 0 for nothing.
    OneOrZero,
}

/// An answer that depends on nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fixed {
    Ok,
    Pong,
    Integer(i64),
    Bulk(Bytes),
    EmptyArray,
}

/// A read of rows by their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// One row, seen in some way.
    One { key: Bytes, view: View },
    /// The values of many rows.
    Values { keys: Vec<Bytes> },
    /// How many of the rows there are.
    Existing { keys: Vec<Bytes> },
    /// The distinct elements in a union of sketches.
    Distinct { keys: Vec<Bytes> },
    /// The longest common subsequence of two values.
    CommonSubsequence { first: Bytes, second: Bytes, shown: LcsShown },
}

impl Read {
    /// The keys of the rows that are read.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let (few, many): (_, &[Bytes]) = match self {
            Self::One { key, .. } => ([Some(key), None], &[]),
            Self::CommonSubsequence { first, second, .. } => ([Some(first), Some(second)], &[]),
            Self::Values { keys } | Self::Existing { keys } | Self::Distinct { keys } => {
                ([None, None], keys)
            }
        };
        few.into_iter().flatten().chain(many)
    }
}

/// What of a row is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Its value.
    Value,
    /// Its value's length.
    Length,
    /// A part of its value; negative positions count from the end, and both are included.
    Range { start: i64, end: i64 },
    /// A bit of its value.
    Bit { offset: u64 },
    /// Its type.
    Type,
    /// How long it still lives.
    TimeToLive(Unit),
    /// When it expires.
    ExpiresAt(Unit),
    /// How Redis would keep its value.
    Encoding,
    /// How many hold its value.
    References,
    /// For how long nobody asked for it.
    IdleTime,
    /// How often it is asked for.
    Frequency,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
}

/// What LCS shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LcsShown {
    /// The subsequence.
    Subsequence,
    /// Its length.
    Length,
    /// Where the two values match, in runs of at least so many bytes.
    Indexes { length_min: u64, with_length: bool },
}

/// A read of what all rows together tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Visit {
    /// A page of keys.
    Scan(ScanPage),
    /// Every key that fits a pattern.
    Keys { pattern: Bytes },
    /// How many rows there are.
    Size,
    /// Some key.
    RandomKey,
    /// How many rows a slot has.
    CountInSlot { slot: u16 },
    /// Some keys of a slot.
    KeysInSlot { slot: u16, most: usize },
}

/// Which page of keys SCAN shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanPage {
    /// Where the page before ended; 0 for the first.
    pub(crate) cursor: u64,
    /// What keys must fit, unless every key does.
    pub(crate) pattern: Option<Bytes>,
    /// How many keys are visited.
    pub(crate) count: usize,
    /// Whether strings are asked for, the one type there is.
    pub(crate) strings: bool,
}

/// A question about, or a change of, the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Session {
    Hello { protocol: Option<Protocol>, name: Option<Bytes> },
    Reset,
    Quit,
    Id,
    Info,
    List(ClientList),
    Kill(Kill),
    GetName,
    SetName(Bytes),
    SetLibrary { attribute: LibraryAttribute, value: Bytes },
    Reply(ReplyMode),
    ReadFrom(ReadFrom),
}

/// Which replicas may answer the reads of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFrom {
    /// The leader of each shard, which has seen everything acknowledged.
    Leaders,
    /// Any that lacks nothing but what was acknowledged of late.
    Replicas,
}

/// Which clients CLIENT LIST shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientList {
    All,
    /// None is of that type.
    Nobody,
    Ids(Vec<u64>),
}

/// Which clients CLIENT KILL ends: those to which everything that is given applies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Kill {
    pub(crate) id: Option<u64>,
    pub(crate) address: Option<Bytes>,
    pub(crate) local_address: Option<Bytes>,
    /// No client is of the type asked for.
    pub(crate) nobody: bool,
    /// The client that asks is spared.
    pub(crate) skip_me: bool,
    /// CLIENT KILL with just an address: it answers OK or an error instead of a count.
    pub(crate) old_style: bool,
}

/// What a client library tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LibraryAttribute {
    Name,
    Version,
}

/// Which commands are replied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ReplyMode {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// All but the next.
    SkipNext,
}

/// A question about the server, or a change of its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Query {
    Time,
    Info { sections: Vec<String> },
    Help { container: &'static str },
    Commands(CommandQuery),
    GetSettings { patterns: Vec<Bytes> },
    ChangeSettings { changes: Vec<(Bytes, Bytes)> },
    ResetStatistics,
    Cluster(ClusterQuery),
}

/// What COMMAND asks about the command table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommandQuery {
    All,
    Count,
    Info(Vec<Bytes>),
    Docs(Vec<Bytes>),
    List(ListFilter),
    Keys(Vec<Bytes>),
}

/// Which commands COMMAND LIST shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListFilter {
    All,
    Nothing,
    Category(Bytes),
    Pattern(Bytes),
}

/// What CLUSTER asks about the placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterQuery {
    Info,
    MyId,
    Slots,
    Shards,
    Nodes,
    NoReplicas,
}

/// A command, or why it is none.
pub(crate) type Decoded = Result<Command, ReplyError>;
