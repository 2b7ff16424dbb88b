//! Limits of this front end that no other part needs; the others are in
//! `breccia_types::limits`.

use std::time::Duration;

/// Bytes of replies after which they are sent although more follow. A client that does not
/// read its replies gets no more of its commands executed.
pub const REPLY_BYTES_HELD_MAX: usize = 1 << 20;
/// Values of one MGET that are read together: those of them that lie in one shard are seen at
/// one moment.
pub const VALUES_READ_TOGETHER_MAX: usize = 1_024;
/// Bytes of values after which the writes of a pipeline are handed on although more follow.
pub const WRITE_BYTES_GATHERED_MAX: usize = 4 << 20;
/// Bytes that one read from a connection may bring.
pub const READ_BYTES_MAX: usize = 64 << 10;
/// Bytes of requests that one connection may have sent without completing a command. The
/// client sees a protocol error, and the connection is closed.
pub const QUERY_BYTES_MAX: usize = (512 << 20) + (1 << 20);
/// Bytes of incomplete requests of all connections together, beyond [`READ_BYTES_MAX`] each.
/// The client that goes beyond sees an error, and its connection is closed.
pub const QUERY_BYTES_TOTAL_MAX: usize = 1 << 30;
/// Bytes of keys that one KEYS may reply. The client sees an error that names SCAN.
pub const KEYS_REPLY_BYTES_MAX: usize = 64 << 20;
/// Keys that KEYS and SCAN visit at a time.
pub const KEYS_PAGE_ROWS: usize = 1_000;
/// Sketches whose union PFCOUNT makes at a time.
pub const SKETCHES_TOGETHER_MAX: usize = 64;
/// Bytes of working memory of one LCS; one runs at a time.
pub const LCS_BYTES_MAX: usize = 64 << 20;
/// The longest name of a client, in bytes.
pub const CLIENT_NAME_BYTES_MAX: usize = 1_024;
/// Bytes of unknown text that an error repeats.
pub const ECHOED_BYTES_MAX: usize = 128;

const _: () = assert!(QUERY_BYTES_MAX > breccia_types::limits::RESP_BULK_BYTES_MAX);
const _: () = assert!(QUERY_BYTES_MAX < QUERY_BYTES_TOTAL_MAX);

/// How old the answer to a read may be on a connection that said READONLY.
pub(crate) const STALENESS_MAX: Duration = Duration::from_secs(10);
