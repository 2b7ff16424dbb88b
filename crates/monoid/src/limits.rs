//! Every limit of a monoid's operands and parameters, with its unit.

/// The longest encoded state that [`Monoid::check`](crate::Monoid::check) accepts, in
/// bytes. Merging never refuses by size; only a bitmap of many scattered integers can grow
/// past this (at most 2^32 bits, 512 MiB).
pub const STATE_BYTES_MAX: usize = 64 << 20;
/// The longest value of `last`, `min:bytes` and `max:bytes`, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// The longest item of `top`, in bytes.
pub const TOP_ITEM_BYTES_MAX: usize = 4 << 10;
/// The most items that `top` keeps.
pub const TOP_LENGTH_MAX: u16 = 1_000;
/// The smallest base-2 logarithm of an `hll`'s registers.
pub const LG_K_MIN: u8 = 4;
/// The largest base-2 logarithm of an `hll`'s registers: 256 KiB a row.
pub const LG_K_MAX: u8 = 18;
/// The smallest relative error of `quantiles`, in parts per million.
pub const RELATIVE_ERROR_MIN: u32 = 1_000;
/// The largest relative error of `quantiles`, in parts per million.
pub const RELATIVE_ERROR_MAX: u32 = 100_000;

const _: () = assert!(VALUE_BYTES_MAX < STATE_BYTES_MAX);
const _: () = assert!(TOP_LENGTH_MAX as usize * (TOP_ITEM_BYTES_MAX + 16) < STATE_BYTES_MAX);
const _: () = assert!(1 << LG_K_MAX < STATE_BYTES_MAX);
