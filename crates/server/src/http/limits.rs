//! The limits of gRPC and REST alone; those that all front ends share are in
//! `breccia_types::limits`.

use std::time::Duration;

/// Rows that an import writes together at most. They are not atomic together.
pub const IMPORT_BATCH_ROWS_MAX: usize = 4_096;
/// Bytes of keys and values after which an import writes what it has.
pub const IMPORT_BATCH_BYTES: usize = 4 << 20;
/// Refused rows that an import reports; all of them are counted.
pub const IMPORT_FAILURES_REPORTED_MAX: usize = 100;
/// How often an import tries rows again that a shard was too busy for, or whose leader was lost.
pub const IMPORT_BUSY_RETRIES_MAX: u32 = 8;
/// How long an import waits for its client to send more before it gives up.
pub const IMPORT_SILENCE_MAX: Duration = Duration::from_secs(300);
/// How often an import tells how far it has come.
pub const IMPORT_PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Bytes of rows in one message of a streamed scan, unless one row is larger by itself.
pub const SCAN_MESSAGE_BYTES: usize = 1 << 20;
/// Messages that wait for a client that reads slowly.
pub const STREAM_MESSAGES_WAITING_MAX: usize = 4;
/// Bytes of rows that a multi-get returns at most; more must be asked for in parts.
pub const MULTI_GET_BYTES_MAX: usize = 64 << 20;
/// Bytes of request bodies that may be in memory together before clients hear `busy`.
pub const BODY_BYTES_IN_FLIGHT_MAX: usize = 512 << 20;
/// Scans and reductions that may be under way at a time before clients hear `busy`. Each scan
/// holds one page.
pub const SCANS_OPEN_MAX: usize = 128;
/// Bytes of rows in an answer of SQL that is one JSON document. Longer ones are streamed.
pub const QUERY_JSON_BYTES_MAX: usize = 32 << 20;
/// How long a connection may be without a byte in either direction before it is closed.
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(15 * 60);
/// How often a watcher of the health service is told of changes.
pub const HEALTH_WATCH_INTERVAL: Duration = Duration::from_millis(500);
