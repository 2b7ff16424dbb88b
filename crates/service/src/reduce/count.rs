//! How many rows there are.

use breccia_types::ReductionId;
use breccia_types::wire::{DecodeError, Reader, Writer};
use bytes::Bytes;

use super::{Reduce, ReduceError, Rows};

/// How many rows there are. Its partial is a varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count;

impl Reduce for Count {
    const ID: ReductionId = ReductionId::new(1);
    const NAME: &'static str = "count";
    type Partial = u64;

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(request: Bytes) -> Result<Self, DecodeError> {
        Reader::new(request).finish()?;
        Ok(Self)
    }

    fn partial(&self, rows: &mut Rows<'_>) -> Result<u64, ReduceError> {
        let mut count: u64 = 0;
        rows.visit(|_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    fn combine(&self, left: u64, right: u64) -> Result<u64, ReduceError> {
        Ok(left.saturating_add(right))
    }

    fn encode_partial(&self, partial: &u64) -> Vec<u8> {
        let mut out = Vec::new();
        Writer::new(&mut out).put_varint(*partial);
        out
    }

    fn decode_partial(&self, partial: Bytes) -> Result<u64, ReduceError> {
        let mut from = Reader::new(partial);
        let count = from.take_varint()?;
        from.finish()?;
        Ok(count)
    }

    fn present(&self, whole: &u64) -> Result<String, ReduceError> {
        Ok(whole.to_string())
    }
}
