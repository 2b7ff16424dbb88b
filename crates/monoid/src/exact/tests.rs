//! Exact sums against arithmetic that is known to be exact.

use proptest::prelude::*;

use super::*;

fn exact(numbers: &[f64]) -> Exact<SUM_LIMBS> {
    let mut sum = Exact::default();
    for number in numbers {
        let parts = decompose(*number);
        sum.add(u128::from(parts.significand), parts.shift, parts.negative);
    }
    sum
}

fn sum(numbers: &[f64]) -> f64 {
    exact(numbers).round(SUM_UNIT_LOG2).to_f64()
}

fn finite() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |number| number.is_finite())
}

#[test]
fn what_rounding_would_lose_is_kept() {
    assert_eq!(sum(&[1e308, 1e308, -1e308]), 1e308);
    assert_eq!(sum(&[1e16, 1.0, 1.0, -1e16]), 2.0);
    assert_eq!(sum(&[f64::MAX, 5e-324, -f64::MAX]), 5e-324);
    assert_eq!(sum(&[0.1; 10]), 1.0);
    assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
    assert_eq!(sum(&[-f64::MAX, -f64::MAX]), f64::NEG_INFINITY);
    assert_eq!(sum(&[]).to_bits(), 0);
}

#[test]
fn a_tie_goes_to_even_and_the_smallest_tail_breaks_it() {
    let ulp = f64::EPSILON;
    assert_eq!(sum(&[1.0, ulp / 2.0]), 1.0);
    assert_eq!(sum(&[1.0, ulp / 2.0, 5e-324]), 1.0 + ulp);
    assert_eq!(sum(&[1.0 + ulp, ulp / 2.0]), 1.0 + 2.0 * ulp);
    assert_eq!(sum(&[1.0 + ulp, ulp / 2.0, -5e-324]), 1.0 + ulp);
}

proptest! {
    #[test]
    fn one_number_is_itself(number in finite()) {
        prop_assert_eq!(sum(&[number]), number);
    }

    #[test]
    fn two_numbers_add_as_ieee_754_does(a in finite(), b in finite()) {
        prop_assert_eq!(sum(&[a, b]), a + b);
    }

    #[test]
    fn near_numbers_add_as_ieee_754_does(a in -1e3f64..1e3, b in -1e3f64..1e3) {
        prop_assert_eq!(sum(&[a, b]), a + b);
    }

    #[test]
    fn integers_add_exactly(numbers in prop::collection::vec(-(1i64 << 53)..(1 << 53), 0..50)) {
        let floats: Vec<f64> = numbers.iter().map(|number| *number as f64).collect();
        let expected: i128 = numbers.iter().map(|number| i128::from(*number)).sum();
        prop_assert_eq!(sum(&floats), expected as f64);
    }

    #[test]
    fn a_number_and_its_negative_leave_nothing(numbers in prop::collection::vec(finite(), 0..20)) {
        let mut all = numbers.clone();
        all.extend(numbers.iter().map(|number| -number));
        let mut bytes = Vec::new();
        exact(&all).encode(&mut bytes);
        prop_assert_eq!(bytes, [0, 0]);
    }

    #[test]
    fn an_encoded_sum_is_read_back(numbers in prop::collection::vec(finite(), 0..5)) {
        let sum = exact(&numbers);
        let mut bytes = Vec::new();
        sum.encode(&mut bytes);
        let mut cursor = Cursor::new(&bytes);
        let mut again = Exact::<SUM_LIMBS>::default();
        again.absorb(&mut cursor).unwrap();
        cursor.finish().unwrap();
        prop_assert_eq!(again.limbs, sum.limbs);
    }

    #[test]
    fn squares_and_multiples_are_those_of_integers(a in any::<i64>(), n in any::<u32>()) {
        let mut number = Exact::<4>::default();
        number.add(u128::from(a.unsigned_abs()), 0, a < 0);
        let square = number.squared::<5>();
        let expected = u128::from(a.unsigned_abs()) * u128::from(a.unsigned_abs());
        prop_assert_eq!(square.limbs, [low_limb(expected), high_limb(expected), 0, 0, 0]);
        let product = number.squared::<4>().times::<5>(u64::from(n));
        prop_assert_eq!(product.limbs[0], low_limb(expected.wrapping_mul(u128::from(n))));
    }
}
