//! What a reduce function is made of.

/// Comes to one result over many rows: over the rows of each shard first, by [`Reduce::step`],
/// and then over what the shards came to, by [`Reduce::combine`], in any order and grouping.
/// The default is the state before the first row.
pub trait Reduce: Default {
    /// Reads what [`Reduce::write`] wrote; it is never empty.
    fn read(state: &[u8]) -> Self;

    /// Writes the state: not to nothing, because an empty state is the one before the first
    /// row.
    fn write(&self) -> Vec<u8>;

    /// Takes a row in. The argument is what the reduction was asked with.
    ///
    /// # Errors
    /// What the caller is to be told; there is no result then.
    fn step(&mut self, key: &[u8], value: &[u8], arg: &[u8]) -> Result<(), String>;

    /// Takes the rows of another state in.
    fn combine(&mut self, other: Self);

    /// What people see of it, as JSON text if there is nothing better.
    fn present(&self) -> Vec<u8>;
}
