//! Bytes of unknown origin: nothing panics, and what passes the check merges and presents.

use breccia_monoid::{Monoid, StateError, merge, merge_all, present};
use proptest::prelude::*;

use crate::support::{MONOIDS, merged, monoid, state};

/// Does everything with the bytes; a panic fails the test.
fn handle(monoid: Monoid, bytes: &[u8], honest: &[u8]) {
    let passed = monoid.check(bytes).is_ok();
    let merged = [
        merge(bytes, honest),
        merge(honest, bytes),
        merge(bytes, bytes),
        monoid.merge_all([bytes, honest, bytes]),
        merge_all([bytes]),
    ];
    for merged in merged {
        match merged {
            Ok(merged) => {
                // A damaged tag may name another monoid.
                Monoid::of(&merged).unwrap().check(&merged).unwrap();
                let _ = present(&merged).unwrap().to_json().to_string();
            }
            Err(error) => assert!(!passed, "{monoid}: {error} after the check passed"),
        }
    }
    match monoid.present(bytes) {
        Ok(presented) => drop(presented.to_json()),
        Err(error) => assert!(!passed, "{monoid}: {error} after the check passed"),
    }
}

fn any_monoid() -> impl Strategy<Value = Monoid> {
    prop::sample::select(MONOIDS.to_vec()).prop_map(monoid)
}

/// A tag of the monoid, then anything.
fn tagged_noise() -> impl Strategy<Value = (Monoid, Vec<u8>)> {
    let byte = prop_oneof![any::<u8>(), 0u8..4, Just(0xff), Just(0x80)];
    (any_monoid(), prop::collection::vec(byte, 0..80)).prop_map(|(monoid, noise)| {
        // The tag is what all states of a monoid begin with.
        let identity = monoid.identity();
        let tag = match monoid {
            Monoid::Top(_) => 4,
            Monoid::Distinct(_) => 3,
            Monoid::Quantiles(_) => 6,
            _ => 2,
        };
        (monoid, [&identity[..tag], &noise].concat())
    })
}

fn mutated() -> impl Strategy<Value = (Monoid, Vec<u8>, Vec<u8>)> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0u8..5);
    let edits = prop::collection::vec(edit, 1..4);
    any_monoid().prop_flat_map(|monoid| (Just(monoid), state(monoid, 0..30))).prop_flat_map(
        move |(monoid, honest)| {
            let honest_again = honest.clone();
            edits.clone().prop_map(move |edits| {
                let mut bytes = honest_again.clone();
                for (at, byte, kind) in edits {
                    let at = at.index(bytes.len() + 1);
                    match kind {
                        0 => bytes.truncate(at),
                        1 => bytes.insert(at, byte),
                        2 if at < bytes.len() => drop(bytes.remove(at)),
                        3 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
                        _ if at < bytes.len() => bytes[at] = byte,
                        _ => {}
                    }
                }
                (monoid, bytes, honest.clone())
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn noise_is_no_state(bytes in prop::collection::vec(any::<u8>(), 0..64), of in any_monoid()) {
        handle(of, &bytes, &of.identity());
    }

    #[test]
    fn noise_behind_a_tag_harms_nothing((of, bytes) in tagged_noise()) {
        handle(of, &bytes, &of.identity());
    }

    #[test]
    fn a_damaged_state_harms_nothing((of, bytes, honest) in mutated()) {
        handle(of, &bytes, &honest);
    }

    #[test]
    fn any_text_is_an_operand_or_an_error(
        text in prop::collection::vec(any::<u8>(), 0..40),
        of in any_monoid(),
    ) {
        if let Ok(state) = of.parse_operand(&text) {
            of.check(&state).unwrap();
        }
    }
}

#[test]
fn every_truncation_of_a_large_state_is_refused_or_a_state() {
    for text in ["hll:8", "bitmap", "quantiles", "top:5", "moments"] {
        let monoid = monoid(text);
        let operands: Vec<_> =
            (0..3000).map(|i| format!("{}", i * 37 % 70_000).into_bytes()).collect();
        let operands = match text {
            "top:5" => {
                operands.into_iter().map(|text| [&text, &b" item"[..], &text].concat()).collect()
            }
            _ => operands,
        };
        let whole = merged(monoid, &operands);
        for end in 0..whole.len() {
            handle(monoid, &whole[..end], &monoid.identity());
        }
    }
}

#[test]
fn another_format_version_and_an_unknown_monoid_are_named() {
    let mut state = monoid("count").identity();
    state[0] = 2;
    assert!(matches!(Monoid::of(&state), Err(StateError::UnknownVersion { version: 2 })));
    state[..2].copy_from_slice(&[1, 200]);
    assert!(matches!(Monoid::of(&state), Err(StateError::UnknownMonoid { id: 200 })));
    assert!(matches!(Monoid::of(&[]), Err(StateError::Truncated)));
}

#[test]
fn a_second_encoding_of_the_same_state_is_refused() {
    let sum = monoid("sum:f64");
    let one = sum.parse_operand(b"1").unwrap();
    // The same sum, with a sign byte too many.
    let mut padded = one.clone();
    let length_at = padded.len() - 2;
    padded[length_at] += 1;
    padded.push(0);
    assert_eq!(sum.present(&padded).unwrap(), sum.present(&one).unwrap());
    assert!(sum.check(&padded).unwrap_err().to_string().contains("one encoding"));
}

#[test]
fn a_small_operand_cannot_claim_a_large_bitmap() {
    let bitmap = monoid("bitmap");
    // A Roaring bitmap with one run container of all 65536 values.
    let run = [59, 48, 0, 0, 1, 0, 0, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff];
    let state = [&bitmap.identity()[..], &run].concat();
    assert!(bitmap.check(&state).is_err());
    assert!(merge(&state, &bitmap.identity()).is_err());
}
