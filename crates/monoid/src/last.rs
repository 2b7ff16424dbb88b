//! `last`: the latest value. Body: nothing, or timestamp i64 LE (microseconds) | value.

use crate::cursor::Cursor;
use crate::limits::VALUE_BYTES_MAX;
use crate::operand::{OperandError, parse_i64, split};
use crate::presented::{LastValue, Presented};
use crate::state::{State, StateError};

/// The value with the greatest timestamp; of equal timestamps the greater value, so that
/// the order of merging does not matter.
#[derive(Debug, Default)]
pub(crate) struct Last {
    last: Option<LastValue>,
}

impl Last {
    fn offer(&mut self, timestamp_micros: i64, value: &[u8]) {
        let later = self.last.as_ref().is_none_or(|last| {
            (last.timestamp_micros, last.value.as_slice()) < (timestamp_micros, value)
        });
        if later {
            self.last = Some(LastValue { timestamp_micros, value: value.to_vec() });
        }
    }
}

impl State for Last {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        let (timestamp, value) = split(text, "timestamp_micros value")?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(OperandError::TooLong { bytes: value.len(), bytes_max: VALUE_BYTES_MAX });
        }
        self.offer(parse_i64(timestamp)?, value);
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        if cursor.is_empty() {
            return Ok(());
        }
        let timestamp_micros = cursor.i64()?;
        let value = cursor.rest();
        if value.len() > VALUE_BYTES_MAX {
            return Err(StateError::Invalid { part: "length of a value" });
        }
        self.offer(timestamp_micros, value);
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(last) = &self.last {
            out.extend(last.timestamp_micros.to_le_bytes());
            out.extend(&last.value);
        }
    }

    fn present(&self) -> Presented {
        Presented::Last(self.last.clone())
    }
}
