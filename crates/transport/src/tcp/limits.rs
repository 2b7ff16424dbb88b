//! Every limit of the TCP transport, with its unit and what happens at it.

/// The longest content of a frame, in bytes: a value may have 64 MiB. A longer call is
/// refused as `TooLarge`; a frame that claims more closes its connection.
pub const FRAME_BODY_BYTES_MAX: usize = 80 << 20;
/// The same while the other side is a member of no cluster.
pub const STRANGER_BODY_BYTES_MAX: usize = 1 << 20;
/// Calls longer than this, in bytes, go by the bulk connection, so that small ones need not
/// wait behind them.
pub const CONTROL_CALL_BYTES_MAX: usize = 1 << 20;
/// Bytes of calls that may wait for one peer's replies. Beyond: `Busy`, at once. The peer
/// holds each of our connections to the same.
pub const CALL_BYTES_PER_PEER_MAX: usize = 128 << 20;
/// What a call counts at least against that, in bytes; so there are at most 128 Ki calls.
pub const CALL_BYTES_CHARGED_MIN: usize = 1 << 10;
/// Bytes of stream messages and replies that one connection queues before those who send
/// wait; one message may exceed it.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;
/// Frames that one connection queues, whatever their length. Beyond, the other side asks
/// without reading the answers, and the connection is closed.
pub const QUEUE_FRAMES_MAX: usize = 512 << 10;
/// Streams open on one connection. Beyond, a stream ends at once with `Busy`.
pub const STREAMS_PER_CONNECTION_MAX: usize = 4_096;
/// Connections accepted. Beyond, a connection is closed as soon as it is made.
pub const CONNECTIONS_ACCEPTED_MAX: usize = 1_024;
/// Nodes whose incarnations are remembered. Beyond, a node without a connection is forgotten.
pub const NODES_SEEN_MAX: usize = 4_096;
/// The longest greeting, in bytes. A longer one closes the connection.
pub const GREETING_BYTES_MAX: usize = 1 << 10;
/// The longest address, in bytes; a longer one is cut in greetings.
pub const ADDRESS_BYTES_MAX: usize = 255;
/// Refused connections that the status remembers; the oldest go first.
pub const REFUSALS_REMEMBERED: usize = 16;

/// Frames whose content is no longer than this, in bytes, are gathered in one buffer.
pub(crate) const GATHERED_BODY_BYTES_MAX: usize = 16 << 10;
/// The size at which the buffer of gathered frames is written, in bytes.
pub(crate) const WRITE_BYTES: usize = 256 << 10;
/// The size of a connection's buffer of read bytes.
pub(crate) const READ_BYTES: usize = 64 << 10;
/// How much memory a frame's claimed length reserves before its bytes are there.
pub(crate) const RESERVED_BYTES_MAX: usize = 1 << 20;
/// Connections that one call may wait for, if they break before it could be sent.
pub(crate) const CONNECTIONS_PER_CALL_MAX: usize = 3;

const _: () = assert!(CALL_BYTES_PER_PEER_MAX >= FRAME_BODY_BYTES_MAX);
/// Each call may queue itself and its cancelling; as much again is left for the rest.
const _: () = assert!(QUEUE_FRAMES_MAX >= 4 * CALL_BYTES_PER_PEER_MAX / CALL_BYTES_CHARGED_MIN);
const _: () = assert!(GREETING_BYTES_MAX >= 3 * ADDRESS_BYTES_MAX);
