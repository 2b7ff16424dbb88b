//! `count`: how many. Body: the count, u64 LE.

use crate::cursor::Cursor;
use crate::operand::{OperandError, parse_u64};
use crate::presented::Presented;
use crate::state::{State, StateError};

/// A count. It stops at 2^64 - 1 instead of wrapping; addition that stops there is still
/// associative.
#[derive(Debug, Default)]
pub(crate) struct Count {
    count: u64,
}

impl State for Count {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        let times = if text.trim_ascii().is_empty() { 1 } else { parse_u64(text)? };
        self.count = self.count.saturating_add(times);
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        self.count = self.count.saturating_add(cursor.u64()?);
        cursor.finish()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.count.to_le_bytes());
    }

    fn present(&self) -> Presented {
        Presented::Count(self.count)
    }
}
