//! The laws of a monoid, byte for byte, for every monoid.

use breccia_monoid::{Monoid, merge, merge_all};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{MONOIDS, merged, monoid, operand, state};

fn for_every_monoid<T: std::fmt::Debug>(
    strategy: impl Fn(Monoid) -> BoxedStrategy<T>,
    law: impl Fn(Monoid, T) -> Result<(), TestCaseError>,
) {
    for text in MONOIDS {
        let monoid = monoid(text);
        let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&strategy(monoid), |input| law(monoid, input));
        assert!(result.is_ok(), "{text}: {}", result.unwrap_err());
    }
}

/// Merges two states at a time, whichever the picks say, until one is left.
fn merge_as_picked(mut states: Vec<Vec<u8>>, picks: &[(Index, Index)]) -> Vec<u8> {
    for (a, b) in picks {
        if states.len() == 1 {
            break;
        }
        let a = states.swap_remove(a.index(states.len()));
        let b = states.swap_remove(b.index(states.len()));
        states.push(merge(&a, &b).unwrap());
    }
    states.pop().unwrap()
}

#[test]
fn any_order_and_grouping_of_operands_gives_the_same_bytes() {
    let picks = || prop::collection::vec(any::<(Index, Index)>(), 60);
    for_every_monoid(
        |monoid| (prop::collection::vec(operand(monoid), 1..60), picks()).boxed(),
        |monoid, (operands, picks)| {
            let states = operands.iter().map(|text| monoid.parse_operand(text).unwrap()).collect();
            prop_assert_eq!(merge_as_picked(states, &picks), merged(monoid, &operands));
            Ok(())
        },
    );
}

#[test]
fn merging_is_associative() {
    for_every_monoid(
        |of| (state(of, 0..12), state(of, 0..12), state(of, 0..12)).boxed(),
        |_, (a, b, c)| {
            let left = merge(&merge(&a, &b).unwrap(), &c).unwrap();
            let right = merge(&a, &merge(&b, &c).unwrap()).unwrap();
            prop_assert_eq!(&left, &right);
            prop_assert_eq!(merge_all([&a[..], &b, &c]).unwrap(), left);
            Ok(())
        },
    );
}

#[test]
fn merging_is_commutative() {
    for_every_monoid(
        |of| (state(of, 0..20), state(of, 0..20)).boxed(),
        |_, (a, b)| {
            prop_assert_eq!(merge(&a, &b).unwrap(), merge(&b, &a).unwrap());
            Ok(())
        },
    );
}

#[test]
fn the_identity_changes_nothing() {
    for_every_monoid(
        |of| state(of, 0..20),
        |monoid, state| {
            let identity = monoid.identity();
            prop_assert_eq!(&merge(&identity, &state).unwrap(), &state);
            prop_assert_eq!(&merge(&state, &identity).unwrap(), &state);
            prop_assert_eq!(monoid.merge_all([]).unwrap(), identity);
            Ok(())
        },
    );
}

#[test]
fn what_is_merged_passes_the_check_and_names_its_monoid() {
    for_every_monoid(
        |of| state(of, 0..20),
        |monoid, state| {
            prop_assert!(monoid.check(&state).is_ok());
            prop_assert_eq!(Monoid::of(&state).unwrap(), monoid);
            Ok(())
        },
    );
}

#[test]
fn states_of_many_items_keep_the_laws_across_a_change_of_form() {
    for text in ["hll:4", "hll:8", "hll", "top:3", "bitmap", "quantiles"] {
        let monoid = monoid(text);
        let part = |from: u32, to: u32| {
            let operands: Vec<_> =
                (from..to).map(|i| format!("{} {i}", i * 7 % 1000).into_bytes()).collect();
            let operands: Vec<_> = match text {
                "top:3" | "hll:4" | "hll:8" | "hll" | "bitmap" => operands,
                _ => (from..to).map(|i| (i * 7 % 1000).to_string().into_bytes()).collect(),
            };
            merged(monoid, &operands)
        };
        for total in [6, 7, 8, 24, 25, 383, 384, 385, 386, 5000] {
            let whole = part(0, total);
            for cut in [1, total / 2, total - 1] {
                let halves = merge(&part(0, cut), &part(cut, total)).unwrap();
                assert_eq!(halves, whole, "{text}: {total} cut at {cut}");
                // Overlap: the same items again change sets and extremes in nothing.
                if text != "quantiles" {
                    assert_eq!(merge(&whole, &part(0, cut)).unwrap(), whole, "{text}: {total}");
                }
            }
        }
    }
}

#[test]
fn states_of_different_monoids_or_parameters_do_not_merge() {
    for (index, a) in MONOIDS.iter().enumerate() {
        for b in &MONOIDS[index + 1..] {
            let (a, b) = (monoid(a), monoid(b));
            let error = merge(&a.identity(), &b.identity()).unwrap_err().to_string();
            assert!(error.contains(&format!("{a}")) && error.contains(&format!("{b}")), "{error}");
            assert!(a.merge_all([&b.identity()[..]]).is_err());
            assert!(a.present(&b.identity()).is_err());
            assert!(a.check(&b.identity()).is_err());
        }
    }
    assert!(merge_all([]).is_err());
}
