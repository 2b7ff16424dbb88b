//! How calls and rows lie in memory: counts and lengths are 32 bits, little endian.

/// What a function is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) args: Vec<Vec<u8>>,
}

/// A row that a reduce function is shown, or that a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; of a monoid table what people see of its state, as JSON.
    pub value: Vec<u8>,
}

impl Call {
    /// The first key; there is always one.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.keys.first().map_or(&[], Vec::as_slice)
    }

    /// All keys, which lie in one slot.
    #[must_use]
    pub fn keys(&self) -> &[Vec<u8>] {
        &self.keys
    }

    /// The argument at a position; empty beyond the last.
    #[must_use]
    pub fn arg(&self, at: usize) -> &[u8] {
        self.args.get(at).map_or(&[], Vec::as_slice)
    }

    /// All arguments.
    #[must_use]
    pub fn args(&self) -> &[Vec<u8>] {
        &self.args
    }

    #[cfg(any(test, target_arch = "wasm32"))]
    pub(crate) fn read(input: &[u8]) -> Option<Self> {
        let mut from = Reader(input);
        let keys = from.list()?;
        Some(Self { keys, args: from.list()? })
    }
}

/// Shows each of some rows.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn rows(input: &[u8], mut show: impl FnMut(&[u8], &[u8])) -> Option<()> {
    let mut from = Reader(input);
    for _ in 0..from.number()? {
        let key = from.bytes()?;
        show(key, from.bytes()?);
    }
    Some(())
}

#[cfg(any(test, target_arch = "wasm32"))]
struct Reader<'i>(&'i [u8]);

#[cfg(any(test, target_arch = "wasm32"))]
impl<'i> Reader<'i> {
    fn number(&mut self) -> Option<usize> {
        let bytes = self.take(4)?;
        let number = u32::from_le_bytes(bytes.try_into().ok()?);
        usize::try_from(number).ok()
    }

    fn bytes(&mut self) -> Option<&'i [u8]> {
        let length = self.number()?;
        self.take(length)
    }

    fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        (0..self.number()?).map(|_| self.bytes().map(<[u8]>::to_vec)).collect()
    }

    fn take(&mut self, length: usize) -> Option<&'i [u8]> {
        let taken = self.0.get(..length)?;
        self.0 = self.0.get(length..)?;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_keys_and_then_arguments() {
        let call = Call::read(b"\x01\0\0\0\x01\0\0\0k\x02\0\0\0\x02\0\0\0ab\0\0\0\0");
        let expected = Call { keys: vec![b"k".to_vec()], args: vec![b"ab".to_vec(), Vec::new()] };
        assert_eq!(call, Some(expected));
        assert_eq!(Call::read(b"\x01\0\0\0\x05\0\0\0k"), None);
    }

    #[test]
    fn rows_are_keys_and_values_in_turn() {
        let mut shown = Vec::new();
        let input = b"\x02\0\0\0\x01\0\0\0k\x01\0\0\0v\0\0\0\0\0\0\0\0";
        let read = rows(input, |key, value| shown.push((key.to_vec(), value.to_vec())));
        assert_eq!(read, Some(()));
        assert_eq!(shown, [(b"k".to_vec(), b"v".to_vec()), (Vec::new(), Vec::new())]);
        assert_eq!(rows(b"\x01\0\0\0", |_, _| {}), None);
    }
}
