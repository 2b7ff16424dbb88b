//! Every limit that a client can meet, with its unit. ARCHITECTURE.md says what the
//! client sees at each.

use std::time::Duration;

/// The longest key of a row, in bytes.
pub const KEY_BYTES_MAX: usize = 65_535;
/// The longest value of a row, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 << 20;
/// The most commands in one atomic batch.
pub const BATCH_COMMANDS_MAX: usize = 100_000;
/// The most bytes of keys and values in one atomic batch.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// The longest name of a table, in bytes.
pub const TABLE_NAME_BYTES_MAX: usize = 128;
/// The most tables of a cluster.
pub const TABLES_MAX: usize = 10_000;

/// Rows of a scan page or history page if the client does not say.
pub const PAGE_ROWS_DEFAULT: usize = 1_000;
/// The most rows of one page.
pub const PAGE_ROWS_MAX: usize = 100_000;
/// The bytes of keys and values after which a page ends, even below its row limit.
pub const PAGE_BYTES_MAX: usize = 4 << 20;
/// The most keys of one multi-get.
pub const MULTI_GET_KEYS_MAX: usize = 100_000;

/// Bytes of the commands that are proposed together, which are never split: what the largest
/// batch takes, keys and all. Nodes send each other messages that are a little longer.
pub const PROPOSAL_BYTES_MAX: usize = 72 << 20;
/// Commands that may wait for one shard's log before clients hear `Busy`.
pub const PROPOSALS_WAITING_MAX: usize = 65_536;
/// Bytes of rows that the commands of an entry may write together; the command that passes
/// this is carried out, those after it are not.
pub const ENTRY_WRITTEN_BYTES_MAX: usize = 64 << 20;
/// Bytes of replies that the commands of an entry may give together; the command that passes
/// this is carried out, those after it are not.
pub const ENTRY_REPLY_BYTES_MAX: usize = 8 << 20;
/// Bytes of commands that may wait on a node before clients hear `Busy`.
pub const PROPOSAL_BYTES_WAITING_MAX: usize = 256 << 20;
/// Commands that one entry carries at most.
pub const ENTRY_COMMANDS_MAX: usize = 4_096;
/// Bytes after which an entry is closed.
pub const ENTRY_BYTES_MAX: usize = 4 << 20;

/// Nodes that a request passes at most after the one that took it in.
pub const FORWARD_HOPS_MAX: u8 = 4;
/// Bytes of requests that may wait on a node for the replies of others before clients hear
/// `Busy`.
pub const FORWARD_BYTES_WAITING_MAX: usize = 256 << 20;

/// Nodes that one node asks at once for its part of a reduction; the others are asked by these.
pub const REDUCE_FAN_IN: usize = 8;
/// The most bytes of what a reduction has come to so far.
pub const REDUCE_STATE_BYTES_MAX: usize = 16 << 20;
/// The longest path to a field of a JSON value, in bytes.
pub const FIELD_PATH_BYTES_MAX: usize = 1_024;
/// How often the progress of a reduction is told.
pub const REDUCE_PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// How long a shard remembers the reply to a request id.
pub const REQUEST_ID_REMEMBERED: Duration = Duration::from_secs(15 * 60);
/// The most request ids that one shard remembers; the oldest go first.
pub const REQUEST_IDS_PER_SHARD_MAX: usize = 1_000_000;

/// The most shards of a node's first start.
pub const SHARDS_MAX: u32 = 1_024;
/// The shards of a cluster if `--shards` does not say.
pub const SHARDS_DEFAULT: u32 = 8;
/// The replicas that each shard of a new cluster is to have, unless its founder says otherwise.
pub const REPLICAS_DEFAULT: u8 = 3;
/// The most replicas that a shard can have.
pub const REPLICAS_MAX: u8 = 9;

/// Connections per front end.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Arguments of one RESP command.
pub const RESP_ARGUMENTS_MAX: usize = 1_048_576;
/// The longest argument of a RESP command, in bytes (Redis's `proto-max-bulk-len`).
pub const RESP_BULK_BYTES_MAX: usize = 512 << 20;
/// The longest inline command or protocol line, in bytes.
pub const RESP_INLINE_BYTES_MAX: usize = 64 << 10;
/// Pipelined commands of one connection that are in flight together.
pub const RESP_PIPELINE_COMMANDS_MAX: usize = 1_024;
/// SCAN cursors that a node remembers; the least recently used go first.
pub const RESP_CURSORS_MAX: usize = 65_536;
/// The longest body of a gRPC message or a REST request, in bytes.
pub const HTTP_BODY_BYTES_MAX: usize = 72 << 20;
/// How long a request may take if its client does not say.
pub const REQUEST_DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// How long a node waits for requests in flight when it shuts down.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// The longest module of a function, in bytes.
pub const FUNCTION_MODULE_BYTES_MAX: usize = 2 << 20;
/// The longest name of a function, in bytes.
pub const FUNCTION_NAME_BYTES_MAX: usize = 64;
/// How many functions a cluster holds.
pub const FUNCTIONS_MAX: usize = 1_000;
/// Bytes of modules that a shard keeps for its write functions; the ones installed first go.
pub const FUNCTION_MODULES_BYTES_PER_SHARD: usize = 16 << 20;
/// Fuel of one call of a write function, if its deployment does not say; about one unit per
/// instruction.
pub const FUNCTION_FUEL_DEFAULT: u64 = 100_000_000;
/// The most fuel that a deployment may grant to one call.
pub const FUNCTION_FUEL_MAX: u64 = 1_000_000_000;
/// Fuel that the calls of one log entry may use before the rest of them is left out.
pub const ENTRY_FUEL_MAX: u64 = 2_000_000_000;
/// How long one call of a read or reduce function may run, if its deployment does not say.
pub const FUNCTION_TIME_DEFAULT: Duration = Duration::from_secs(10);
/// The longest time that a deployment may grant to one call.
pub const FUNCTION_TIME_MAX: Duration = Duration::from_secs(60);
/// Memory of one call, in bytes, if its deployment does not say.
pub const FUNCTION_MEMORY_BYTES_DEFAULT: u64 = 64 << 20;
/// The least memory that a deployment may grant to one call, in bytes: a page.
pub const FUNCTION_MEMORY_BYTES_MIN: u64 = 64 << 10;
/// The most memory that a deployment may grant to one call, in bytes.
pub const FUNCTION_MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Keys and arguments of one call together, in bytes.
pub const FUNCTION_INPUT_BYTES_MAX: usize = 8 << 20;
/// What one call may return, in bytes, if its deployment does not say.
pub const FUNCTION_OUTPUT_BYTES_DEFAULT: u64 = 1 << 20;
/// The most that a deployment may allow one call to return, in bytes.
pub const FUNCTION_OUTPUT_BYTES_MAX: u64 = 8 << 20;
/// Rows that one call may read and write, if its deployment does not say.
pub const FUNCTION_ROWS_DEFAULT: u64 = 100_000;
/// The most rows that a deployment may allow one call to read and write.
pub const FUNCTION_ROWS_MAX: u64 = 10_000_000;

/// Free disk space below which a node refuses writes, in bytes.
pub const DISK_RESERVE_BYTES: u64 = 128 << 20;
/// The memory budget if `--memory` does not say, in bytes.
pub const MEMORY_BYTES_DEFAULT: usize = 1 << 30;
/// The smallest memory budget, in bytes.
pub const MEMORY_BYTES_MIN: usize = 64 << 20;

const _: () = assert!(VALUE_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX < HTTP_BODY_BYTES_MAX);
const _: () = assert!(PROPOSAL_BYTES_MAX < PROPOSAL_BYTES_WAITING_MAX);
const _: () = assert!(ENTRY_REPLY_BYTES_MAX + VALUE_BYTES_MAX <= PROPOSAL_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX < PROPOSAL_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX < FORWARD_BYTES_WAITING_MAX);
const _: () = assert!(PAGE_ROWS_DEFAULT <= PAGE_ROWS_MAX);
