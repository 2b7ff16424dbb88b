//! Modules that behave, and modules that do not: each of these ends with an error that says
//! what happened, and the process goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use breccia_types::{FunctionKind, FunctionLimits};
use bytes::Bytes;

use super::*;
use crate::FunctionError;

/// What every module has: memory, and an allocator that gives nothing back.
const COMMON: &str = r#"
  (memory (export "memory") 1)
  (global $top (mut i32) (i32.const 1024))
  (func $alloc (export "breccia_alloc") (param $n i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.add (global.get $top) (local.get $n)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $n) (i32.const 65536))))))
    (local.get $at))
  (func $pack (param $at i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
            (i64.extend_i32_u (local.get $n))))
"#;

fn module(imports: &str, rest: &str) -> Result<Module, FunctionError> {
    Module::compile(format!("(module {imports} {COMMON} {rest})").as_bytes())
}

fn reading(body: &str) -> Module {
    let read = format!(
        r#"(func (export "breccia_read") (param $at i32) (param $n i32) (result i64) {body})"#
    );
    module("", &read).expect("compiles")
}

fn writing(imports: &str, body: &str) -> Module {
    let write = format!(
        r#"(func (export "breccia_write") (param $at i32) (param $n i32) (result i64) {body})"#
    );
    module(imports, &write).expect("compiles")
}

/// A table in memory. Keys that begin with `!` are another shard's.
#[derive(Default)]
struct Rows(BTreeMap<Vec<u8>, Vec<u8>>);

impl Shard for Rows {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, FunctionError> {
        Ok(self.0.get(key).cloned().map(Bytes::from))
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), FunctionError> {
        for (key, value) in &self.0 {
            let is_ahead = after.is_none_or(|after| key.as_slice() > after);
            if key.starts_with(prefix) && is_ahead && visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn check_key(&self, key: &[u8]) -> Result<(), FunctionError> {
        match key.starts_with(b"!") {
            true => Err(FunctionError::Forbidden { reason: "another shard's".to_owned() }),
            false => Ok(()),
        }
    }

    fn check_prefix(&self, prefix: &[u8]) -> Result<(), FunctionError> {
        self.check_key(prefix)
    }
}

fn tight() -> FunctionLimits {
    FunctionLimits {
        fuel: 100_000,
        time: Duration::from_millis(50),
        memory_bytes: 1 << 20,
        output_bytes: 1_000,
        rows: 10,
    }
}

fn read(module: &Module) -> Result<Bytes, FunctionError> {
    let key = [Bytes::from_static(b"key")];
    module.read(&tight(), &mut Rows::default(), &Call { keys: &key, args: &[], now: 7 })
}

fn write_to(module: &Module, rows: &mut Rows) -> Result<Written, FunctionError> {
    let key = [Bytes::from_static(b"key")];
    module.write(&tight(), rows, &Call { keys: &key, args: &[], now: 7 })
}

fn write(module: &Module) -> Result<Written, FunctionError> {
    write_to(module, &mut Rows::default())
}

#[test]
fn a_read_function_returns_what_it_was_given() {
    let echo = reading("(call $pack (local.get $at) (local.get $n))");
    assert_eq!(echo.kind(), FunctionKind::Read);
    assert_eq!(read(&echo).as_deref(), Ok(&b"\x01\0\0\0\x03\0\0\0key\0\0\0\0"[..]));
}

#[test]
fn a_loop_without_an_end_is_stopped_by_time_when_it_reads_and_by_fuel_when_it_writes() {
    let spin = "(loop $again (br $again)) (i64.const 0)";
    let begun = Instant::now();
    assert_eq!(read(&reading(spin)), Err(FunctionError::OutOfTime { limit_ms: 50 }));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(write(&writing("", spin)), Err(FunctionError::OutOfFuel { limit: 100_000 }));
}

#[test]
fn a_module_that_does_not_come_to_its_end_while_it_is_started_is_stopped_too() {
    let rest = r#"(func $spin (loop $again (br $again))) (start $spin)
        (func (export "breccia_write") (param i32 i32) (result i64) (i64.const 0))"#;
    let module = module("", rest).expect("compiles");
    assert_eq!(write(&module), Err(FunctionError::OutOfFuel { limit: 100_000 }));
}

#[test]
fn memory_beyond_the_limit_is_not_given_and_the_end_is_named() {
    let grow = "(loop $again
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
        (br $again)) (i64.const 0)";
    let refused = Err(FunctionError::OutOfMemory { limit: 1 << 20 });
    assert_eq!(read(&reading(grow)), refused);
    let large = r#"(module (memory (export "memory") 1000)
        (func (export "breccia_alloc") (param i32) (result i32) (i32.const 0))
        (func (export "breccia_read") (param i32 i32) (result i64) (i64.const 0)))"#;
    assert_eq!(read(&Module::compile(large.as_bytes()).expect("compiles")), refused);
}

#[test]
fn what_breaks_down_says_how() {
    let trapped = |reason: &str| Err(FunctionError::Trapped { reason: reason.to_owned() });
    for (body, reason) in [
        ("unreachable", "wasm `unreachable` instruction executed"),
        ("(i64.load (i32.const -8))", "out of bounds memory access"),
        ("(i64.extend_i32_u (i32.div_u (i32.const 1) (i32.const 0)))", "integer divide by zero"),
        ("(call $pack (i32.const -1) (i32.const 9))", "it points outside of its memory"),
    ] {
        assert_eq!(read(&reading(body)), trapped(reason), "{body}");
    }
    let recursion = r#"(func $down (param i32 i32) (result i64)
          (call $down (local.get 0) (local.get 1)))
        (func (export "breccia_read") (param i32 i32) (result i64)
          (call $down (i32.const 0) (i32.const 0)))"#;
    assert_eq!(read(&module("", recursion).expect("compiles")), trapped("call stack exhausted"));
}

#[test]
fn an_allocator_that_returns_nonsense_is_told_so() {
    let nonsense = r#"(module (memory (export "memory") 1)
        (func (export "breccia_alloc") (param i32) (result i32) (i32.const -5))
        (func (export "breccia_read") (param i32 i32) (result i64) (i64.const 0)))"#;
    let reason = "breccia_alloc returned memory that it does not have".to_owned();
    let module = Module::compile(nonsense.as_bytes()).expect("compiles");
    assert_eq!(read(&module), Err(FunctionError::Trapped { reason }));
}

#[test]
fn tables_that_no_instance_could_be_given_are_refused_when_the_module_is_compiled() {
    for (tables, fits) in [
        ("(table 100000 funcref)", true),
        ("(table 100001 funcref)", false),
        ("(table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref)", true),
        (
            "(table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) \
             (table 1 funcref)",
            false,
        ),
    ] {
        let read = r#"(func (export "breccia_read") (param i32 i32) (result i64) (i64.const 0))"#;
        match module("", &format!("{tables} {read}")) {
            Ok(module) => assert!(fits && read_nothing(&module), "{tables}"),
            Err(error) => assert!(!fits && error.to_string().contains("tables"), "{error}"),
        }
    }
}

fn read_nothing(module: &Module) -> bool {
    read(module).is_ok_and(|reply| reply.is_empty())
}

#[test]
fn memory_beyond_what_the_module_itself_declares_is_its_own_affair() {
    // The growth is refused, which the function sees, and goes on.
    let text = r#"(module (memory (export "memory") 1 2)
        (func (export "breccia_alloc") (param i32) (result i32) (i32.const 8))
        (func (export "breccia_write") (param i32 i32) (result i64)
          (drop (memory.grow (i32.const 1)))
          (i32.store (i32.const 0) (memory.grow (i32.const 1)))
          (i64.const 4)))"#;
    let written = write(&Module::compile(text.as_bytes()).expect("compiles")).expect("goes on");
    assert_eq!(&written.reply[..], (-1_i32).to_le_bytes());
}

#[test]
fn a_function_called_as_another_kind_is_an_error_of_its_own_and_not_of_the_process() {
    let called = write(&reading("(i64.const 0)"));
    assert!(matches!(called, Err(FunctionError::Exports { .. })), "{called:?}");
    assert!(reading("(i64.const 0)").reducer(&tight(), Bytes::new()).is_err());
}

#[test]
fn output_beyond_the_limit_is_refused() {
    let refused = Err(FunctionError::TooMuchOutput { bytes: 1_001, limit: 1_000 });
    assert_eq!(read(&reading("(call $pack (i32.const 0) (i32.const 1001))")), refused);
}

#[test]
fn modules_that_cannot_be_functions_are_refused_with_what_they_lack() {
    let compile = |text: &str| Module::compile(text.as_bytes()).err().expect("refused").to_string();
    for (text, expected) in [
        ("nonsense", "no WebAssembly module"),
        ("\0asm\x01\0\0\0\x07\x07", "no WebAssembly module"),
        ("(module", "no WebAssembly module"),
        ("(module)", "exports none of"),
        (
            r#"(module (func (export "breccia_read") (param i32 i32) (result i64) (i64.const 0)))"#,
            "breccia_alloc",
        ),
        (
            r#"(module (func (export "breccia_read") (param i32) (result i64) (i64.const 0)))"#,
            "breccia_read as a function (i32, i32) -> i64",
        ),
        (
            r#"(module (func (export "breccia_step") (param i32 i32 i32 i32 i32 i32) (result i64)
                (i64.const 0)))"#,
            "breccia_combine",
        ),
    ] {
        let refused = compile(text);
        assert!(refused.contains(expected), "{text}: {refused}");
    }
    let both = r#"(func (export "breccia_read") (param i32 i32) (result i64) (i64.const 0))
        (func (export "breccia_write") (param i32 i32) (result i64) (i64.const 0))"#;
    assert!(module("", both).is_err());
    let too_long = vec![b' '; breccia_types::limits::FUNCTION_MODULE_BYTES_MAX + 1];
    assert!(Module::compile(&too_long).is_err());
}

#[test]
fn nothing_but_what_its_kind_may_use_can_be_imported() {
    let refused = |kind: &str, from: &str, name: &str, signature: &str| {
        let (params, result) = match kind {
            "step" => ("i32 i32 i32 i32 i32 i32", "i64"),
            _ => ("i32 i32", "i64"),
        };
        let more = r#"(func (export "breccia_combine") (param i32 i32 i32 i32) (result i64)
              (i64.const 0))
            (func (export "breccia_present") (param i32 i32) (result i64) (i64.const 0))"#;
        let more = if kind == "step" { more } else { "" };
        module(
            &format!(r#"(import "{from}" "{name}" (func {signature}))"#),
            &format!(
                r#"(func (export "breccia_{kind}") (param {params}) (result {result})
                     (i64.const 0)) {more}"#
            ),
        )
        .err()
    };
    for (kind, from, name, signature) in [
        ("read", "wasi_snapshot_preview1", "clock_time_get", "(param i32 i64 i32) (result i32)"),
        ("read", "env", "get", "(param i32 i32) (result i64)"),
        ("read", "breccia", "put", "(param i32 i32 i32 i32)"),
        ("step", "breccia", "get", "(param i32 i32) (result i64)"),
        ("write", "breccia", "unheard_of", ""),
    ] {
        let error = refused(kind, from, name, signature).expect("refused");
        let FunctionError::Import { module, name: of, .. } = &error else { panic!("{error}") };
        assert_eq!((module.as_str(), of.as_str()), (from, name));
    }
    // Another signature than is offered.
    assert!(refused("write", "breccia", "put", "(param i64)").is_some());
    assert_eq!(refused("write", "breccia", "put", "(param i32 i32 i32 i32)"), None);
}

const PUT: &str = r#"(import "breccia" "put" (func $put (param i32 i32 i32 i32)))"#;
const GET: &str = r#"(import "breccia" "get" (func $get (param i32 i32) (result i64)))"#;
const MERGE: &str = r#"(import "breccia" "merge" (func $merge (param i32 i32 i32 i32)))"#;

#[test]
fn a_write_function_sees_what_it_has_written_and_returns_its_changes_in_order() {
    // The key is at 8 in the input, three bytes long.
    let body = "
        (call $put (i32.add (local.get $at) (i32.const 8)) (i32.const 3)
                   (local.get $at) (i32.const 2))
        (call $get (i32.add (local.get $at) (i32.const 8)) (i32.const 3))";
    let written = write(&writing(&format!("{PUT}{GET}"), body)).expect("writes");
    assert_eq!(&written.reply[..], b"\x01\0");
    let (key, value) = (Bytes::from_static(b"key"), Bytes::from_static(b"\x01\0"));
    assert_eq!(written.changes, [Change::Put { key, value }]);
    assert!((1..100_000).contains(&written.fuel), "{}", written.fuel);
}

#[test]
fn a_row_that_was_merged_into_cannot_be_read_in_the_same_call() {
    let body = "
        (call $merge (i32.add (local.get $at) (i32.const 8)) (i32.const 3)
                     (local.get $at) (i32.const 1))
        (call $get (i32.add (local.get $at) (i32.const 8)) (i32.const 3))";
    let refused = write(&writing(&format!("{MERGE}{GET}"), body)).expect_err("refused");
    assert!(refused.to_string().contains("merged into"), "{refused}");
}

#[test]
fn rows_of_other_shards_and_more_rows_than_allowed_are_refused() {
    let data = r#"(data (i32.const 0) "!other")"#;
    let other = format!(
        r#"{data} (func (export "breccia_write") (param i32 i32) (result i64)
            (call $put (i32.const 0) (i32.const 6) (i32.const 0) (i32.const 0)) (i64.const 0))"#
    );
    let other = write(&module(PUT, &other).expect("compiles")).err();
    assert!(matches!(other, Some(FunctionError::Forbidden { .. })), "{other:?}");
    let many = "(loop $again
        (call $put (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0)) (br $again))
        (i64.const 0)";
    let many = write(&writing(PUT, many)).err();
    assert_eq!(many, Some(FunctionError::TooManyRows { limit: 10 }));
}

#[test]
fn a_scan_shows_rows_as_the_call_has_left_them_and_goes_on_after_a_key() {
    let imports = format!(
        r#"{PUT} (import "breccia" "delete" (func $delete (param i32 i32)))
        (import "breccia" "scan" (func $scan (param i32 i32 i32 i32 i32) (result i64)))"#
    );
    let rest = |after: i32, limit: i32| {
        format!(
            r#"(data (i32.const 0) "abcdz")
            (func (export "breccia_write") (param i32 i32) (result i64)
              (call $put (i32.const 0) (i32.const 1) (i32.const 4) (i32.const 1))
              (call $put (i32.const 2) (i32.const 1) (i32.const 4) (i32.const 1))
              (call $delete (i32.const 1) (i32.const 1))
              (call $scan (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {after})
                          (i32.const {limit})))"#
        )
    };
    let rows =
        || Rows([("b", "1"), ("c", "2"), ("d", "3")].map(|(k, v)| (k.into(), v.into())).into());
    let shown = |after, limit| {
        let module = module(&imports, &rest(after, limit)).expect("compiles");
        write_to(&module, &mut rows()).expect("writes").reply
    };
    let mut expected = Batch::default();
    for (key, value) in [("a", "z"), ("c", "z"), ("d", "3")] {
        expected.push(key.as_bytes(), value.as_bytes());
    }
    assert_eq!(shown(0, 100), expected.encoded());
    let mut expected = Batch::default();
    expected.push(b"c", b"z");
    assert_eq!(shown(1, 1), expected.encoded());
}

#[test]
fn fuel_and_result_of_a_write_are_the_same_every_time() {
    let body = "(local $i i32)
        (loop $again
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))
        (call $pack (local.get $at) (local.get $n))";
    let module = writing("", body);
    let first = write(&module).expect("writes");
    for _ in 0..10 {
        assert_eq!(write(&module).expect("writes"), first);
    }
}

#[test]
fn a_function_may_say_itself_why_it_fails() {
    let imports = r#"(import "breccia" "fail" (func $fail (param i32 i32)))"#;
    let rest = r#"(data (i32.const 0) "no such visitor")
        (func (export "breccia_write") (param i32 i32) (result i64)
          (call $fail (i32.const 0) (i32.const 15)) (i64.const 0))"#;
    let failed = write(&module(imports, rest).expect("compiles"));
    assert_eq!(failed, Err(FunctionError::Failed { message: "no such visitor".to_owned() }));
}

/// Counts rows; the state is the count in eight bytes.
const COUNTING: &str = r#"
  (func $state (param $of i64) (result i64)
    (local $at i32)
    (local.set $at (call $alloc (i32.const 8)))
    (i64.store (local.get $at) (local.get $of))
    (call $pack (local.get $at) (i32.const 8)))
  (func $count (param $at i32) (param $n i32) (result i64)
    (if (result i64) (i32.eqz (local.get $n))
      (then (i64.const 0)) (else (i64.load (local.get $at)))))
  (func (export "breccia_step") (param i32 i32 i32 i32 i32 i32) (result i64)
    (call $state (i64.add (call $count (local.get 0) (local.get 1))
                          (i64.extend_i32_u (i32.load (local.get 2))))))
  (func (export "breccia_combine") (param i32 i32 i32 i32) (result i64)
    (call $state (i64.add (call $count (local.get 0) (local.get 1))
                          (call $count (local.get 2) (local.get 3)))))
  (func (export "breccia_present") (param i32 i32) (result i64)
    (call $pack (local.get 0) (local.get 1)))
"#;

#[test]
fn a_reduce_function_that_gives_no_memory_back_goes_through_any_number_of_rows() {
    let module = module("", COUNTING).expect("compiles");
    let mut reducer = module.reducer(&tight(), Bytes::new()).expect("starts");
    let (mut state, mut batch, mut rows) = (Bytes::new(), Batch::default(), 0_u64);
    for row in 0..200_000_u32 {
        batch.push(&row.to_be_bytes(), b"some value of some length");
        if batch.is_full() {
            state = reducer.step(&state, &batch).expect("steps");
            batch.clear();
        }
        rows += 1;
    }
    state = reducer.step(&state, &batch).expect("steps");
    assert_eq!(&state[..], rows.to_le_bytes());
    let both = reducer.combine(&state, &state).expect("combines");
    assert_eq!(&reducer.present(&both).expect("presents")[..], (2 * rows).to_le_bytes());
    assert!(reducer.combine(&[], &[]).is_ok(), "of no rows at all");
}
