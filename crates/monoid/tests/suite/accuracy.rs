//! The errors that sketches state, and the exactness of what is exact.

use breccia_monoid::{Distinct, MomentsValue, Monoid, Presented, QuantilesValue};
use proptest::prelude::*;

use crate::support::{merged, monoid};

fn presented(monoid: Monoid, operands: &[Vec<u8>]) -> Presented {
    monoid.present(&merged(monoid, operands)).unwrap()
}

fn distinct(monoid: Monoid, run: u32, items: u32) -> Distinct {
    let operands: Vec<_> = (0..items).map(|i| format!("{run}/{i}").into_bytes()).collect();
    match presented(monoid, &operands) {
        Presented::Distinct(distinct) => distinct,
        other => panic!("{other}"),
    }
}

#[test]
fn hll_estimates_within_its_stated_error() {
    for (text, stated) in [("hll:8", 1.04 / 16.0), ("hll", 1.04 / 64.0), ("hll:14", 1.04 / 128.0)] {
        let monoid = monoid(text);
        for items in [1, 10, 300, 3_000, 30_000] {
            let runs = 30;
            let mut squares = 0.0;
            for run in 0..runs {
                let found = distinct(monoid, run, items);
                let off = (found.estimate as f64 - f64::from(items)) / f64::from(items);
                assert!(off.abs() <= 4.0 * found.relative_error + 0.5 / f64::from(items));
                assert!(found.relative_error <= stated + 1e-12);
                squares += off * off;
            }
            let rms = (squares / f64::from(runs)).sqrt();
            assert!(rms <= 1.35 * stated, "{text}: {items} items are off by {rms}, not {stated}");
        }
    }
}

#[test]
fn hll_counts_few_items_exactly() {
    for items in [0, 1, 2, 7, 8, 100, 384] {
        assert_eq!(distinct(monoid("hll"), 0, items).estimate, u64::from(items));
    }
}

fn quantiles(monoid: Monoid, numbers: &[f64]) -> QuantilesValue {
    let operands: Vec<_> = numbers.iter().map(|x| x.to_string().into_bytes()).collect();
    match presented(monoid, &operands) {
        Presented::Quantiles(quantiles) => quantiles,
        other => panic!("{other}"),
    }
}

/// Every presented quantile against the sorted numbers.
fn assert_within_the_error(monoid: Monoid, numbers: &mut [f64]) {
    let found = quantiles(monoid, numbers);
    numbers.sort_by(f64::total_cmp);
    assert_eq!(found.count, numbers.len() as u64);
    assert_eq!((found.min, found.max), (numbers.first().copied(), numbers.last().copied()));
    for (name, value) in &found.quantiles {
        let q: f64 = format!("0.{}", &name[1..]).parse().unwrap();
        let exact = numbers[position(q, numbers.len())];
        // Beside the stated error: rounding of logarithms.
        let bound = exact.abs() * found.relative_error * (1.0 + 1e-9);
        assert!((value - exact).abs() <= bound, "{monoid} {name}: {value}, but {exact}");
    }
}

/// The position that the `q`-quantile of so many numbers has in their order.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn position(q: f64, count: usize) -> usize {
    (q * (count - 1) as f64).floor() as usize
}

#[test]
fn quantiles_of_latencies_are_within_one_per_cent() {
    // Log-normal-like: e^(sum of twelve uniforms), by a fixed linear congruence.
    let mut seed = 1u64;
    let mut uniform = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut latencies: Vec<f64> =
        (0..20_000).map(|_| (0..12).map(|_| uniform()).sum::<f64>().exp()).collect();
    for text in ["quantiles", "quantiles:0.001", "quantiles:0.1"] {
        assert_within_the_error(monoid(text), &mut latencies);
    }
    let state = merged(
        monoid("quantiles"),
        &latencies.iter().map(|x| x.to_string().into_bytes()).collect::<Vec<_>>(),
    );
    assert!(state.len() < 1_500, "{} bytes", state.len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quantiles_of_any_numbers_are_within_the_error(
        mut numbers in prop::collection::vec(prop_oneof![
            proptest::num::f64::NORMAL, -10.0..10.0, Just(0.0), Just(f64::MAX), Just(-f64::MAX),
        ], 1..200),
        text in prop::sample::select(vec!["quantiles", "quantiles:0.001", "quantiles:0.1"]),
    ) {
        for number in &mut numbers {
            // -10.0..10.0 holds numbers below the smallest normal one, for which nothing is stated.
            if number.is_subnormal() { *number = 0.0; }
        }
        assert_within_the_error(monoid(text), &mut numbers);
    }

    #[test]
    fn moments_are_those_of_two_passes(
        numbers in prop::collection::vec(-1e3f64..1e3, 2..100),
        offset in prop::sample::select(vec![0.0, 1e6, -1e9]),
    ) {
        let numbers: Vec<f64> = numbers.iter().map(|x| x + offset).collect();
        let n = numbers.len() as f64;
        let mean = numbers.iter().map(|x| x - offset).sum::<f64>() / n + offset;
        let spread: f64 = numbers.iter().map(|x| (x - mean) * (x - mean)).sum();
        let found = moments(&numbers);
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
        prop_assert!(near(found.mean.unwrap(), mean));
        prop_assert!(near(found.variance.unwrap(), spread / n));
        prop_assert!(near(found.sample_variance.unwrap(), spread / (n - 1.0)));
    }
}

fn moments(numbers: &[f64]) -> MomentsValue {
    let operands: Vec<_> = numbers.iter().map(|x| x.to_string().into_bytes()).collect();
    match presented(monoid("moments"), &operands) {
        Presented::Moments(moments) => moments,
        other => panic!("{other}"),
    }
}

#[test]
fn a_small_variance_beside_a_huge_mean_is_exact() {
    let found = moments(&[1e15, 1e15 + 1.0, 1e15 + 2.0]);
    assert_eq!(found.sample_variance, Some(1.0));
    assert_eq!(found.variance, Some(2.0 / 3.0));
    assert_eq!(moments(&[1e300; 3]).variance, Some(0.0));
    assert_eq!(moments(&[1e300, -1e300]).variance, Some(f64::INFINITY));
    assert_eq!(moments(&[1e-160, -1e-160]).variance, Some(1e-320));
}
