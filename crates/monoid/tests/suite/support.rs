//! Every monoid, with operands that it takes.

use breccia_monoid::Monoid;
use proptest::prelude::*;

/// One text per kind of monoid, and further parameters where they matter.
pub(crate) const MONOIDS: [&str; 21] = [
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
    "top:1",
    "top:5",
    "hll:4",
    "hll",
    "quantiles",
    "quantiles:0.1",
    "quantiles:0.001",
    "bitmap",
];

pub(crate) fn monoid(text: &str) -> Monoid {
    text.parse().unwrap()
}

fn float() -> BoxedStrategy<f64> {
    prop_oneof![
        4 => -1e6f64..1e6,
        2 => any::<u64>().prop_map(f64::from_bits).prop_filter("number", |x| x.is_finite()),
        1 => prop::sample::select(vec![0.0, -0.0, 1e308, -1e308, 5e-324, 1e16, 1.0, 0.1]),
    ]
    .boxed()
}

fn float_or_infinity() -> BoxedStrategy<f64> {
    prop_oneof![30 => float(), 1 => Just(f64::INFINITY), 1 => Just(f64::NEG_INFINITY)].boxed()
}

fn integer() -> BoxedStrategy<i64> {
    prop_oneof![-100i64..100, any::<i64>(), Just(i64::MIN), Just(i64::MAX)].boxed()
}

fn text(
    strategy: BoxedStrategy<impl ToString + std::fmt::Debug + 'static>,
) -> BoxedStrategy<Vec<u8>> {
    strategy.prop_map(|value| value.to_string().into_bytes()).boxed()
}

fn pair(
    strategy: BoxedStrategy<impl ToString + std::fmt::Debug + 'static>,
) -> BoxedStrategy<Vec<u8>> {
    (strategy, prop::collection::vec(any::<u8>(), 0..3))
        .prop_map(|(first, bytes)| [first.to_string().as_bytes(), b" ", &bytes].concat())
        .boxed()
}

/// Operands of a monoid, as people write them.
pub(crate) fn operand(monoid: Monoid) -> BoxedStrategy<Vec<u8>> {
    let name = monoid.to_string();
    match name.split(':').next().unwrap() {
        "count" => text((0u64..1000).boxed()),
        "last" => pair((-3i64..3).boxed()),
        "top" => pair((-3i32..3).prop_map(|score| f64::from(score) / 2.0).boxed()),
        "hll" => prop::collection::vec(any::<u8>(), 0..3).boxed(),
        "quantiles" => text(float()),
        "bitmap" => text(prop_oneof![0u32..100_000, any::<u32>()].boxed()),
        "moments" => text(float_or_infinity()),
        _ if name.ends_with(":i64") => text(integer()),
        _ if name.ends_with(":f64") => text(float_or_infinity()),
        _ => prop::collection::vec(any::<u8>(), 0..4).boxed(),
    }
}

/// A state made of a few operands, perhaps none.
pub(crate) fn state(monoid: Monoid, operands: std::ops::Range<usize>) -> BoxedStrategy<Vec<u8>> {
    prop::collection::vec(operand(monoid), operands)
        .prop_map(move |operands| merged(monoid, &operands))
        .boxed()
}

/// The state of operands, merged in order.
pub(crate) fn merged(monoid: Monoid, operands: &[Vec<u8>]) -> Vec<u8> {
    let states: Vec<_> = operands.iter().map(|text| monoid.parse_operand(text).unwrap()).collect();
    monoid.merge_all(states.iter().map(Vec::as_slice)).unwrap()
}
