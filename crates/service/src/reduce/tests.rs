use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use breccia_monoid::Monoid;
use breccia_store::{
    Durability, Engine, MemoryEngine, ShardBatch, ShardEngine, TableReader, key, row,
};
use breccia_types::reduce::{Input, KeyRange, Meter, Misfits, Progress, Read};
use breccia_types::table::{Retention, RowKind, TableView};
use breccia_types::{ShardId, TableId, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TABLE: TableId = TableId::new(16);
const VIEW: TableView = TableView {
    id: TABLE,
    kind: RowKind::Plain,
    retention: Retention { keep_versions: None, keep_for: None },
};

/// A shard with these rows.
fn shard(rows: &[(String, String)]) -> Arc<dyn ShardEngine> {
    let engine = MemoryEngine::default();
    let shard = engine.open_shard(ShardId::new(0)).expect("opens");
    let mut batch = ShardBatch::default();
    for (name, value) in rows {
        batch.put(key::row(TABLE, name.as_bytes()), row::encode(value.as_bytes(), None));
    }
    engine.write(&[(ShardId::new(0), batch)], Durability::Volatile).expect("writes");
    shard
}

fn unhurried() -> Stop {
    let deadline = Instant::now() + Duration::from_secs(600);
    Stop { deadline, is_given_up: Arc::new(AtomicBool::new(false)) }
}

fn reduced(
    reduction: &dyn AnyReduce,
    rows: &[(String, String)],
    misfits: Misfits,
) -> Result<(Bytes, Read), ReduceError> {
    let (shard, meter) = (shard(rows), Meter::default());
    let table = TableReader::new(shard.as_ref(), VIEW, Timestamp::MIN);
    let mut rows = Rows::new(table, &KeyRange::default(), misfits, unhurried(), &meter);
    let partial = reduction.partial_bytes(&mut rows)?;
    let Read { rows: read, bytes, .. } = rows.read();
    assert_eq!(meter.progress(), Progress { shards: 0, rows: read, bytes });
    Ok((partial, rows.read()))
}

fn operands(monoid: &str, input: Input) -> Operands {
    Operands { monoid: monoid.parse().expect("a monoid"), input }
}

fn field(path: &str) -> Input {
    Input::Field(path.parse().expect("a path"))
}

fn document(delay: &Value) -> String {
    json!({ "carrier": "UA", "times": { "delay": delay } }).to_string()
}

fn rows_of(delays: &[Value]) -> Vec<(String, String)> {
    let rows = delays.iter().enumerate();
    rows.map(|(at, delay)| (format!("key-{at:04}"), document(delay))).collect()
}

fn shown(reduction: &dyn AnyReduce, rows: &[(String, String)]) -> Value {
    let (partial, _) = reduced(reduction, rows, Misfits::Count).expect("reduces");
    serde_json::from_str(&reduction.present_bytes(partial).expect("presents")).expect("JSON")
}

#[test]
fn a_field_is_summed_ranked_and_counted() {
    let rows = rows_of(&[json!(5), json!(-2), json!(7.5), json!("late"), json!(null)]);
    let delay = || field("times.delay");
    for (monoid, input, expected) in [
        ("sum:f64", delay(), json!(10.5)),
        ("sum:i64", delay(), json!(3)),
        ("min:f64", delay(), json!(-2.0)),
        ("max:i64", delay(), json!(5)),
        ("count", delay(), json!(4)),
        ("max:bytes", delay(), json!("late")),
        ("count", Input::Key, json!(5)),
        ("min:bytes", Input::Key, json!("key-0000")),
        ("count", Input::Value, json!(5)),
    ] {
        assert_eq!(shown(&operands(monoid, input.clone()), &rows), expected, "{monoid} {input:?}");
    }
    let top = shown(&operands("top:2", delay()), &rows);
    let expected = json!([
        { "score": 7.5, "item": "key-0002" },
        { "score": 5.0, "item": "key-0000" },
    ]);
    assert_eq!(top, expected);
    assert_eq!(shown(&operands("hll", delay()), &rows)["estimate"], 4);
    assert_eq!(shown(&Count, &rows), json!(5));
}

#[test]
fn rows_that_do_not_fit_are_counted_or_named() {
    let mut rows = rows_of(&[json!(1), json!(null), json!([1]), json!(true), json!("1")]);
    rows.push(("key-x".to_owned(), "no json".to_owned()));
    let sum = operands("sum:i64", field("times.delay"));
    let (_, read) = reduced(&sum, &rows, Misfits::Count).expect("reduces");
    assert_eq!((read.rows, read.skipped), (6, 5));
    let strict = reduced(&sum, &rows, Misfits::Refuse).map(drop);
    let Err(ReduceError::Unfit { key, reason }) = strict else {
        panic!("{strict:?}");
    };
    assert_eq!((&key[..], reason.as_str()), (&b"key-0001"[..], "the field is null"));
}

#[test]
fn sums_of_integers_beyond_64_bits_are_exact_and_shown_as_text() {
    let rows = rows_of(&[json!(i64::MAX), json!(i64::MAX), json!(2)]);
    let sum = operands("sum:i64", field("times.delay"));
    assert_eq!(shown(&sum, &rows), json!("18446744073709551616"));
    let rows = rows_of(&[json!(u64::MAX), json!(1)]);
    let (_, read) = reduced(&sum, &rows, Misfits::Count).expect("reduces");
    assert_eq!(read.skipped, 1, "an operand beyond 64 bits is none");
}

#[test]
fn a_scan_ends_when_nobody_waits_or_its_time_is_up() {
    let delays: Vec<Value> = (0..2_000).map(Value::from).collect();
    let shard = shard(&rows_of(&delays));
    let meter = Meter::default();
    let run = |stop: Stop, on_row: &mut dyn FnMut()| {
        let table = TableReader::new(shard.as_ref(), VIEW, Timestamp::MIN);
        let mut rows = Rows::new(table, &KeyRange::default(), Misfits::Count, stop, &meter);
        let end = rows.visit(|_| {
            on_row();
            Ok(())
        });
        meter.take_back(rows.told());
        (end, rows.read().rows)
    };
    let stop = unhurried();
    let given_up = Arc::clone(&stop.is_given_up);
    let mut seen = 0;
    let (end, rows) = run(stop, &mut || {
        seen += 1;
        if seen == 300 {
            given_up.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    assert_eq!(end, Err(ReduceError::Stopped));
    assert_eq!(rows, 300);
    let late = Stop { deadline: Instant::now(), ..unhurried() };
    assert_eq!(run(late, &mut || ()), (Err(ReduceError::Late), 0));
    assert_eq!(meter.progress(), Progress::default());
}

#[test]
fn requests_come_back_and_what_is_none_is_refused() {
    let reductions = Reductions::default();
    for request in [operands("top:3", field("/a.b/0")), operands("hll", Input::Key)] {
        assert_eq!(Operands::decode(request.encode().into()), Ok(request.clone()));
        assert!(reductions.decode(Operands::ID, encode_request(&request)).is_ok());
    }
    let merge = MergeStates { monoid: Monoid::Count };
    assert_eq!(MergeStates::decode(merge.encode().into()), Ok(merge));
    assert_eq!(encode_request(&Count), &[1][..]);
    let refused = |id, bytes: &'static [u8]| {
        reductions.decode(id, Bytes::from_static(bytes)).err().expect("refused")
    };
    let unknown = ReductionId::new(999);
    assert_eq!(refused(unknown, &[1]), ReduceError::Unknown { id: unknown });
    assert!(matches!(refused(Count::ID, &[2]), ReduceError::Malformed(_)));
    assert!(matches!(refused(Count::ID, &[]), ReduceError::Malformed(_)));
    assert!(matches!(refused(Operands::ID, b"\x01\x03abc\x01"), ReduceError::Malformed(_)));
    assert!(Count.combine_bytes(Bytes::from_static(&[1, 2]), Bytes::new()).is_err());
}

/// Combines partials two at a time, in an order and grouping that the picks decide.
fn combined(reduction: &dyn AnyReduce, mut partials: Vec<Bytes>, picks: &[usize]) -> Bytes {
    let mut picks = picks.iter().cycle();
    let mut take = |partials: &mut Vec<Bytes>| {
        let pick = picks.next().copied().unwrap_or_default();
        partials.swap_remove(pick % partials.len())
    };
    while partials.len() > 1 {
        let (left, right) = (take(&mut partials), take(&mut partials));
        partials.push(reduction.combine_bytes(left, right).expect("combines"));
    }
    partials.pop().expect("one is left")
}

fn any_delay() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => any::<i64>().prop_map(Value::from),
        2 => (-1e9..1e9).prop_map(|number: f64| Value::from(number)),
        1 => Just(Value::Null),
        1 => "[a-c]{0,2}".prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_rows_combined_in_any_order_equals_one_shard_with_all(
        delays in prop::collection::vec((any_delay(), 0_usize..6), 0..60),
        picks in prop::collection::vec(any::<usize>(), 1..12),
    ) {
        let values: Vec<Value> = delays.iter().map(|(delay, _)| delay.clone()).collect();
        let all = rows_of(&values);
        let mut shards = vec![Vec::new(); 6];
        for (row, (_, at)) in all.iter().zip(&delays) {
            shards[*at].push(row.clone());
        }
        let mut reductions: Vec<Box<dyn AnyReduce>> = vec![Box::new(Count)];
        for monoid in [
            "count", "sum:i64", "sum:f64", "mean:f64", "min:i64", "max:f64", "min:bytes",
            "moments", "top:3", "hll:8", "quantiles",
        ] {
            reductions.push(Box::new(operands(monoid, field("times.delay"))));
        }
        for reduction in &reductions {
            let (whole, read) = reduced(reduction.as_ref(), &all, Misfits::Count).expect("reduces");
            let parts = shards.iter().map(|rows| {
                reduced(reduction.as_ref(), rows, Misfits::Count).expect("reduces")
            });
            let (partials, reads): (Vec<_>, Vec<_>) = parts.unzip();
            prop_assert_eq!(reads.into_iter().fold(Read::default(), Read::and), read);
            prop_assert_eq!(combined(reduction.as_ref(), partials, &picks), whole);
        }
    }

    #[test]
    fn sketches_are_within_their_stated_error(
        numbers in prop::collection::vec(1_u32..1_000_000, 1..400),
    ) {
        let rows = rows_of(&numbers.iter().copied().map(Value::from).collect::<Vec<_>>());
        let quantiles = shown(&operands("quantiles:0.01", field("times.delay")), &rows);
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let median = f64::from(sorted[(sorted.len() - 1) / 2]);
        let found = quantiles["p50"].as_f64().expect("a median");
        let near = |exact: f64| (found - exact).abs() <= 0.0101 * exact;
        prop_assert!(near(median) || near(f64::from(sorted[sorted.len() / 2])), "{found} {median}");
        sorted.dedup();
        let distinct = shown(&operands("hll", field("times.delay")), &rows);
        let estimate = distinct["estimate"].as_f64().expect("an estimate");
        let exact = f64::from(u32::try_from(sorted.len()).expect("few"));
        let error = distinct["relative_error"].as_f64().expect("an error");
        prop_assert!((estimate - exact).abs() <= 5.0 * error * exact + 1.0, "{estimate} {exact}");
    }
}
