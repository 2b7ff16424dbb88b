//! The bytes of orders and parts, within the messages between nodes.
//!
//! ```text
//! order   reduction varint | request bytes | table varint | kind u8: 0 plain, 1 versioned,
//!         2 monoid | flag [kept versions varint] | flag [kept for varint, microseconds]
//!         | prefix bytes | flag [from bytes] | flag [to bytes] | misfits u8: 0 count, 1 refuse
//! part    flag [partial bytes] | rows varint | bytes varint | skipped varint
//! ```

use std::time::Duration;

use super::{KeyRange, Misfits, Order, Part, Read};
use crate::id::{ReductionId, TableId};
use crate::table::{Retention, RowKind, TableView};
use crate::wire::{DecodeError, Reader, Writer};

impl Order {
    /// Writes the order.
    pub fn put(&self, to: &mut Writer<'_>) {
        to.put_varint(u64::from(self.reduction.get()));
        to.put_bytes(&self.request);
        to.put_varint(u64::from(self.table.id.get()));
        to.put_u8(match self.table.kind {
            RowKind::Plain => 0,
            RowKind::Versioned => 1,
            RowKind::Monoid => 2,
        });
        let Retention { keep_versions, keep_for } = self.table.retention;
        to.put_option(keep_versions, |to, keep| to.put_varint(u64::from(keep)));
        to.put_option(keep_for, |to, keep| {
            to.put_varint(u64::try_from(keep.as_micros()).unwrap_or(u64::MAX));
        });
        to.put_bytes(&self.keys.prefix);
        to.put_option(self.keys.from.as_ref(), |to, key| to.put_bytes(key));
        to.put_option(self.keys.to.as_ref(), |to, key| to.put_bytes(key));
        to.put_u8(match self.misfits {
            Misfits::Count => 0,
            Misfits::Refuse => 1,
        });
    }

    /// Reads what [`Order::put`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn take(from: &mut Reader) -> Result<Self, DecodeError> {
        let reduction = ReductionId::take(from)?;
        let request = from.take_bytes()?;
        let id = TableId::new(take_u32(from)?);
        let kind = match from.take_u8()? {
            0 => RowKind::Plain,
            1 => RowKind::Versioned,
            2 => RowKind::Monoid,
            tag => return Err(from.unknown("kind of table", tag)),
        };
        let keep_versions = from.take_option(take_u32)?;
        let keep_for = from.take_option(Reader::take_varint)?.map(Duration::from_micros);
        let table = TableView { id, kind, retention: Retention { keep_versions, keep_for } };
        let keys = KeyRange {
            prefix: from.take_bytes()?,
            from: from.take_option(Reader::take_bytes)?,
            to: from.take_option(Reader::take_bytes)?,
        };
        let misfits = match from.take_u8()? {
            0 => Misfits::Count,
            1 => Misfits::Refuse,
            tag => return Err(from.unknown("treatment of misfits", tag)),
        };
        Ok(Self { reduction, request, table, keys, misfits })
    }
}

impl Part {
    /// Writes the part.
    pub fn put(&self, to: &mut Writer<'_>) {
        to.put_option(self.partial.as_ref(), |to, partial| to.put_bytes(partial));
        to.put_varint(self.read.rows);
        to.put_varint(self.read.bytes);
        to.put_varint(self.read.skipped);
    }

    /// Reads what [`Part::put`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn take(from: &mut Reader) -> Result<Self, DecodeError> {
        let partial = from.take_option(Reader::take_bytes)?;
        let (rows, bytes) = (from.take_varint()?, from.take_varint()?);
        Ok(Self { partial, read: Read { rows, bytes, skipped: from.take_varint()? } })
    }
}

fn take_u32(from: &mut Reader) -> Result<u32, DecodeError> {
    let at = from.position();
    u32::try_from(from.take_varint()?).map_err(|_| DecodeError::OutOfRange { at })
}
