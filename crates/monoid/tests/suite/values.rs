//! Operands as people write them, and what their merge presents.

use breccia_monoid::{OperandError, VALUE_BYTES_MAX};
use serde_json::{Value, json};

use crate::support::{merged, monoid};

fn value(text: &str, operands: &[&str]) -> Value {
    let monoid = monoid(text);
    let operands: Vec<_> = operands.iter().map(|text| text.as_bytes().to_vec()).collect();
    monoid.present(&merged(monoid, &operands)).unwrap().to_json()
}

#[test]
fn counts_and_sums() {
    assert_eq!(value("count", &["", "2", " 3 "]), json!(6));
    assert_eq!(value("count", &["18446744073709551615", "1"]), json!(u64::MAX));
    assert_eq!(value("sum:i64", &["5", "-7", "+1"]), json!(-1));
    assert_eq!(value("sum:f64", &["0.1", "0.2", "-0.1"]), json!(0.2));
    assert_eq!(value("sum:f64", &["-0"]), json!(0.0));
}

#[test]
fn a_sum_outside_i64_is_exact_digits() {
    let max = i64::MAX.to_string();
    assert_eq!(value("sum:i64", &[&max, &max]), json!("18446744073709551614"));
    assert_eq!(value("sum:i64", &[&max, "1", "-1"]), json!(i64::MAX));
    let mean = value("mean:i64", &[&max, &max]);
    assert_eq!(mean["sum"], json!("18446744073709551614"));
    assert_eq!(mean["mean"], json!(i64::MAX as f64));
}

#[test]
fn a_mean_may_be_finite_though_the_sum_is_not() {
    let mean = value("mean:f64", &["1e308", "1e308"]);
    assert_eq!(mean, json!({ "mean": 1e308, "count": 2, "sum": "Infinity" }));
    assert_eq!(value("mean:i64", &["1", "2"]), json!({ "mean": 1.5, "count": 2, "sum": 3 }));
    assert_eq!(value("mean:i64", &[]), json!({ "mean": null, "count": 0, "sum": 0 }));
}

#[test]
fn infinities_follow_ieee_754() {
    assert_eq!(value("sum:f64", &["inf", "1"]), json!("Infinity"));
    assert_eq!(value("sum:f64", &["-inf", "1"]), json!("-Infinity"));
    assert_eq!(value("sum:f64", &["-inf", "inf"]), json!("NaN"));
    assert_eq!(value("max:f64", &["inf", "1"]), json!("Infinity"));
    let moments = value("moments", &["inf", "1"]);
    assert_eq!((&moments["mean"], &moments["variance"]), (&json!("Infinity"), &json!("NaN")));
}

#[test]
fn extremes_and_the_last_value() {
    assert_eq!(value("min:i64", &["3", "-2"]), json!(-2));
    assert_eq!(value("max:f64", &["3", "-2"]), json!(3.0));
    assert_eq!(value("min:bytes", &["b", "", "a"]), json!(""));
    assert_eq!(value("max:bytes", &["b", "", "ba"]), json!("ba"));
    assert_eq!(value("max:bytes", &[]), Value::Null);
    assert_eq!(
        value("last", &["5 a", "7 b c", "6 z", "7 b"]),
        json!({ "timestamp_micros": 7, "value": "b c" })
    );
    assert_eq!(value("last", &[]), Value::Null);
}

#[test]
fn top_keeps_an_item_once_with_its_highest_score() {
    assert_eq!(
        value("top:3", &["1 a", "3 b", "2 a", "2 c", "1.5 d"]),
        json!([
            { "score": 3.0, "item": "b" },
            { "score": 2.0, "item": "a" },
            { "score": 2.0, "item": "c" },
        ])
    );
    assert_eq!(value("top:3", &[]), json!([]));
}

#[test]
fn sketches_and_bitmaps() {
    assert_eq!(value("hll", &["a", "b", "a", ""])["estimate"], json!(3));
    assert_eq!(
        value("bitmap", &["1 5", "4294967295", "5"]),
        json!({ "cardinality": 3, "min": 1, "max": 4_294_967_295u32 })
    );
    assert_eq!(value("bitmap", &[]), json!({ "cardinality": 0, "min": null, "max": null }));
    let quantiles = value("quantiles", &["1", "2", "3"]);
    assert_eq!((&quantiles["min"], &quantiles["max"]), (&json!(1.0), &json!(3.0)));
    assert!((quantiles["p50"].as_f64().unwrap() - 2.0).abs() <= 0.02);
    assert_eq!(value("quantiles", &["0"])["p99"], json!(0.0));
    assert_eq!(value("quantiles", &[])["count"], json!(0));
}

#[test]
fn bytes_that_are_no_text_are_hex() {
    let max = monoid("max:bytes");
    let state = max.parse_operand(&[0xff, 0]).unwrap();
    assert_eq!(max.present(&state).unwrap().to_json(), json!({ "hex": "ff00" }));
}

#[test]
fn a_wrong_operand_is_refused_with_what_is_wrong() {
    let refused = |of: &str, text: &str| monoid(of).parse_operand(text.as_bytes()).unwrap_err();
    assert!(matches!(refused("count", "-1"), OperandError::NotAnInteger { min: 0, .. }));
    assert!(matches!(refused("sum:i64", "1.5"), OperandError::NotAnInteger { .. }));
    assert!(matches!(refused("sum:i64", ""), OperandError::NotAnInteger { .. }));
    assert!(matches!(refused("sum:f64", "nan"), OperandError::NotANumber { .. }));
    assert!(matches!(refused("max:f64", "x"), OperandError::NotANumber { .. }));
    assert!(matches!(refused("quantiles", "inf"), OperandError::NotFinite { .. }));
    assert!(matches!(refused("last", "5"), OperandError::MissingPart { .. }));
    assert!(matches!(refused("top:3", "x y"), OperandError::NotANumber { .. }));
    assert!(matches!(refused("bitmap", "4294967296"), OperandError::NotAnInteger { .. }));
    assert!(matches!(refused("bitmap", ""), OperandError::NotAnInteger { .. }));
    let long = "x".repeat(VALUE_BYTES_MAX + 1);
    assert!(matches!(refused("max:bytes", &long), OperandError::TooLong { .. }));
    assert!(refused("sum:i64", &long).to_string().len() < 200);
}

#[test]
fn common_states_are_small() {
    let bytes = |of: &str, text: &str| monoid(of).parse_operand(text.as_bytes()).unwrap().len();
    assert_eq!(bytes("count", "5"), 10);
    assert_eq!(bytes("sum:i64", "5"), 18);
    assert!(bytes("sum:f64", "5") <= 8);
    assert!(bytes("sum:f64", "19.99") <= 14);
    assert!(bytes("moments", "19.99") <= 42);
    assert_eq!(bytes("hll", "a"), 8);
    assert!(bytes("quantiles", "19.99") <= 30);
}
