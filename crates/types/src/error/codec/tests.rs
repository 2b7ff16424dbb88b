use bytes::Bytes;

use super::*;
use crate::function::FunctionKind;

/// Errors as the first build wrote them, one a line: code, then hexadecimal bytes. Later
/// builds must read them. They may write another text.
const FIXTURE: &str = include_str!("../../../testdata/errors-v1.hex");

/// The error after this one. Not a list, so that a new variant does not compile before it
/// has its place here.
fn after(error: &RequestError) -> Option<RequestError> {
    use RequestError as E;
    let (shard, text) = (ShardId::new(300), || "why ü".to_owned());
    let table = |error| Some(E::InvalidTable(error));
    match error {
        E::UnknownTable { .. } => Some(E::TableExists { name: text() }),
        E::TableExists { .. } => Some(E::TableProtected { name: text() }),
        E::TableProtected { .. } => Some(E::TableDropped { id: TableId::new(u32::MAX) }),
        E::TableDropped { .. } => Some(E::TooManyTables { max: 10_000 }),
        E::TooManyTables { .. } => table(TableError::Name { name: text() }),
        E::InvalidTable(TableError::Name { .. }) => {
            table(TableError::Kind { text: text(), reason: text() })
        }
        E::InvalidTable(TableError::Kind { .. }) => table(TableError::Partition { text: text() }),
        E::InvalidTable(TableError::Partition { .. }) => {
            table(TableError::RetentionWithoutVersions { kind: "plain" })
        }
        E::InvalidTable(TableError::RetentionWithoutVersions { .. }) => {
            table(TableError::Zero { option: "--keep" })
        }
        E::InvalidTable(TableError::Zero { .. }) => Some(E::WrongKind {
            table: text(),
            kind: "plain",
            operation: "history",
            needed: "versioned",
        }),
        E::WrongKind { .. } => Some(E::KeyTooLong { bytes: 70_000 }),
        E::KeyTooLong { .. } => Some(E::ValueTooLong { bytes: 70_000_000 }),
        E::ValueTooLong { .. } => Some(E::BatchTooLarge { commands: 3, bytes: 0 }),
        E::BatchTooLarge { .. } => Some(E::TooManyKeys { keys: 100_001 }),
        E::TooManyKeys { .. } => Some(E::CrossSlot),
        E::CrossSlot => Some(E::InvalidOperand { reason: text() }),
        E::InvalidOperand { .. } => Some(E::InvalidCursor),
        E::InvalidCursor => Some(E::InvalidArgument { argument: "batch", reason: text() }),
        E::InvalidArgument { .. } => Some(E::GuardFailed { index: 1 }),
        E::GuardFailed { .. } => Some(E::Busy { shard }),
        E::Busy { .. } => Some(E::ReadOnly { reason: text() }),
        E::ReadOnly { .. } => Some(E::ShardUnavailable { shard, reason: text() }),
        E::ShardUnavailable { .. } => Some(E::DeadlineExceeded),
        E::DeadlineExceeded => Some(E::OutcomeUnknown { shard }),
        E::OutcomeUnknown { .. } => Some(E::ShuttingDown),
        E::ShuttingDown => Some(E::Storage { reason: text() }),
        E::Storage { .. } => Some(E::Internal { reason: text() }),
        E::Internal { .. } => Some(E::UnfitRow { key: text(), reason: text() }),
        E::UnfitRow { .. } => Some(E::InvalidQuery { reason: text() }),
        E::InvalidQuery { .. } => Some(E::UnknownFunction { name: text() }),
        E::UnknownFunction { .. } => Some(E::WrongFunctionKind {
            name: text(),
            kind: FunctionKind::Read,
            needed: FunctionKind::Reduce,
        }),
        E::WrongFunctionKind { .. } => Some(E::TooManyFunctions { max: 1_000 }),
        E::TooManyFunctions { .. } => Some(E::InvalidModule { reason: text() }),
        E::InvalidModule { .. } => Some(E::FunctionFailed { name: text(), reason: text() }),
        E::FunctionFailed { .. } => None,
    }
}

fn every_error() -> impl Iterator<Item = RequestError> {
    let first = RequestError::UnknownTable { name: String::new() };
    std::iter::successors(Some(first), after)
}

fn encoded(error: &RequestError) -> Bytes {
    let mut out = Vec::new();
    error.put(&mut Writer::new(&mut out));
    out.into()
}

fn decoded(bytes: Bytes) -> Result<RequestError, DecodeError> {
    let mut from = Reader::new(bytes);
    let error = RequestError::take(&mut from)?;
    from.finish()?;
    Ok(error)
}

#[test]
fn every_error_comes_back_and_no_prefix_of_it_does() {
    for error in every_error() {
        let bytes = encoded(&error);
        for end in 0..bytes.len() {
            assert!(decoded(bytes.slice(..end)).is_err(), "{error:?} cut at {end}");
        }
        assert_eq!(decoded(bytes), Ok(error));
    }
}

#[test]
fn errors_that_an_earlier_build_wrote_are_still_read() {
    let read = FIXTURE.lines().map(|line| {
        let (code, hex) = line.split_once(' ').expect("two words");
        let pairs = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
        let bytes: Bytes =
            pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect();
        let error = decoded(bytes).expect(code);
        assert_eq!(error.code(), code);
        error
    });
    assert_eq!(read.collect::<Vec<_>>(), every_error().collect::<Vec<_>>());
}

#[test]
fn an_error_of_a_newer_build_is_internal_with_its_text() {
    let newer = |code: &str, fields: &[u8]| {
        let mut out = Vec::new();
        let mut to = Writer::new(&mut out);
        put_texts(&mut to, &[code, "the moon is full"]);
        to.put_bytes(fields);
        decoded(out.into())
    };
    let internal = Ok(RequestError::Internal { reason: "the moon is full".to_owned() });
    assert_eq!(newer("moon-full", &[1, 2, 3]), internal);
    assert_eq!(newer("invalid-table", b"\x04moon\x01x"), internal);
    assert_eq!(newer("cross-slot", &[9]), Err(DecodeError::Trailing { bytes: 1 }));
}
