//! States that earlier builds wrote: later builds must open them and present the same.
//!
//! `testdata/v1/<name>.hex` is a state, `<name>.json` what it presents. Fixtures are only
//! ever added: `BRECCIA_WRITE_FIXTURES=1 cargo test -p breccia-monoid` writes those that do
//! not exist yet, and changes none.

use std::fs;
use std::path::{Path, PathBuf};

use breccia_monoid::{Monoid, merge_all, present};
use serde_json::Value;

use crate::support::{merged, monoid};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/v1");
/// The fewest fixtures of version 1: none may get lost.
const FIXTURES_MIN: usize = 63;

/// Name of a fixture, its monoid, its operands.
fn fixtures() -> Vec<(String, Monoid, Vec<Vec<u8>>)> {
    let numbers: Vec<String> =
        (1..=50).map(|i| format!("{}", f64::from(i * i) / 8.0 - 40.0)).collect();
    let integers: Vec<String> = (1..=50).map(|i| format!("{}", i * i - 700)).collect();
    let items: Vec<String> = (1..=900).map(|i| format!("{} item-{i}", i * 7919 % 1009)).collect();
    let ids: Vec<String> = (1..=6000).map(|i| format!("{}", i * i * 3 % 200_000)).collect();
    let operands = |text: &str| match text {
        "count" => vec!["1".into(), "41".into(), String::new()],
        "last" | "top:5" | "hll" | "hll:4" | "hll:14" => items.clone(),
        "bitmap" => ids.clone(),
        _ if text.ends_with(":i64") => integers.clone(),
        _ => numbers.clone(),
    };
    let mut all = Vec::new();
    for text in [
        "count",
        "sum:i64",
        "sum:f64",
        "mean:i64",
        "mean:f64",
        "min:i64",
        "min:f64",
        "min:bytes",
        "max:i64",
        "max:f64",
        "max:bytes",
        "last",
        "moments",
        "top:5",
        "hll",
        "hll:4",
        "hll:14",
        "quantiles",
        "quantiles:0.1",
        "bitmap",
    ] {
        let name = text.replace(':', "-");
        let operands: Vec<_> = operands(text).into_iter().map(String::into_bytes).collect();
        all.push((format!("{name}.none"), monoid(text), Vec::new()));
        all.push((format!("{name}.one"), monoid(text), operands[..1].to_vec()));
        all.push((format!("{name}.many"), monoid(text), operands));
    }
    let edge = |name: &str, text: &str, operands: &[&str]| {
        let operands = operands.iter().map(|text| text.as_bytes().to_vec()).collect();
        (name.to_owned(), monoid(text), operands)
    };
    all.push(edge("sum-f64.infinite", "sum:f64", &["inf", "-1e308", "2"]));
    all.push(edge("sum-f64.negative", "sum:f64", &["-1e308", "-5e-324", "0.1"]));
    all.push(edge("sum-i64.wide", "sum:i64", &["9223372036854775807", "9223372036854775807"]));
    all
}

fn to_hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<String> = digits.chunks(40).map(<[String]>::concat).collect();
    lines.join("\n") + "\n"
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Equal, but for the last digits of numbers that come from logarithms.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-12 * a.abs()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            // New fields may be presented; none may go.
            a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn write_missing_fixtures() {
    fs::create_dir_all(FOLDER).unwrap();
    for (name, monoid, operands) in fixtures() {
        let path = Path::new(FOLDER).join(format!("{name}.hex"));
        if !path.exists() {
            let state = merged(monoid, &operands);
            let json = serde_json::to_string_pretty(&present(&state).unwrap().to_json()).unwrap();
            fs::write(&path, to_hex(&state)).unwrap();
            fs::write(path.with_extension("json"), json + "\n").unwrap();
        }
    }
}

fn committed() -> Vec<PathBuf> {
    let entries = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "hex")).collect();
    paths.sort();
    paths
}

#[test]
fn states_of_earlier_builds_open_and_present_the_same() {
    if std::env::var_os("BRECCIA_WRITE_FIXTURES").is_some() {
        write_missing_fixtures();
    }
    let paths = committed();
    assert!(paths.len() >= FIXTURES_MIN, "only {} fixtures", paths.len());
    for path in paths {
        let state = from_hex(&fs::read_to_string(&path).unwrap());
        let expected = fs::read_to_string(path.with_extension("json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        Monoid::of(&state).unwrap().check(&state).unwrap();
        let found = present(&state).unwrap().to_json();
        assert!(same(&expected, &found), "{}: {found}", path.display());
        assert_eq!(merge_all([&state[..]]).unwrap(), state, "{}", path.display());
    }
}

#[test]
fn the_same_operands_still_give_the_same_state() {
    for (name, monoid, operands) in fixtures() {
        // Bins come from the platform's logarithm: a value on the border of two bins may
        // fall to either, so only what quantiles present is compared.
        if matches!(monoid, Monoid::Quantiles(_)) {
            continue;
        }
        let path = Path::new(FOLDER).join(format!("{name}.hex"));
        let committed = from_hex(&fs::read_to_string(&path).unwrap());
        assert_eq!(to_hex(&merged(monoid, &operands)), to_hex(&committed), "{name}");
    }
}
