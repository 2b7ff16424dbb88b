use proptest::prelude::*;

use super::*;

const FROM_REDIS: &str = include_str!("../../../testdata/strings/sketches.txt");

fn elements(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("e{number}")).collect()
}

fn sketch_of(range: std::ops::Range<u32>) -> Vec<u8> {
    add(None, &elements(range)).unwrap().unwrap()
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn sketches_and_counts_are_those_of_a_redis_server() {
    for line in FROM_REDIS.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let (operation, arguments) = columns[0].split_once(' ').unwrap();
        let arguments: Vec<u32> = arguments.split(' ').map(|text| text.parse().unwrap()).collect();
        let value = match (operation, arguments.as_slice()) {
            ("add", [end]) => sketch_of(0..*end),
            ("merge", [from, to, end]) => {
                merge(Some(&sketch_of(0..*end)), &[&sketch_of(*from..*to)]).unwrap()
            }
            _ => panic!("{line}"),
        };
        assert_eq!(value.len().to_string(), columns[1], "{line}");
        assert_eq!(count(&[&value]).unwrap().to_string(), columns[2], "{line}");
        assert_eq!(format!("{:016x}", fnv(&value)), columns[3], "{line}");
        if !columns[4].is_empty() {
            assert_eq!(hex(&value), columns[4], "{line}");
        }
    }
}

#[test]
fn elements_seen_before_change_nothing() {
    for end in [0, 1, 100, 5_000] {
        let sketch = sketch_of(0..end);
        assert_eq!(add(Some(&sketch), &elements(0..end)), Ok(None));
        assert_eq!(add(Some(&sketch), &[] as &[&[u8]]), Ok(None));
    }
}

#[test]
fn a_fresh_estimate_is_used_and_a_change_makes_it_stale() {
    let mut sketch = sketch_of(0..100);
    sketch[8..16].copy_from_slice(&4_711u64.to_le_bytes());
    assert_eq!(count(&[&sketch]), Ok(4_711));
    // A union counts registers, not estimates.
    assert_eq!(count(&[&sketch, &sketch]), count(&[&sketch_of(0..100)]));
    let changed = add(Some(&sketch), &elements(100..200)).unwrap().unwrap();
    assert_eq!(count(&[&changed]), count(&[&sketch_of(0..200)]));
}

#[test]
fn a_union_counts_what_its_sketches_count_together() {
    let (small, large) = (sketch_of(0..50), sketch_of(40..5_000));
    let all = count(&[&sketch_of(0..5_000)]);
    assert_eq!(count(&[&small, &large]), all);
    assert_eq!(count(&[&merge(None, &[&small, &large]).unwrap()]), all);
    assert_eq!(count(&[]), Ok(0));
}

#[test]
fn strings_that_are_no_sketch_are_told_from_corrupt_ones() {
    let not_a_sketch = Err(StringRefusal::NotASketch);
    let corrupt = Err(StringRefusal::CorruptSketch);
    let sparse = sketch_of(0..3);
    let mut magic = sparse.clone();
    magic[0] = b'h';
    let mut encoding = sparse.clone();
    encoding[4] = 2;
    let mut dense = sketch_of(0..5_000);
    dense.push(0);
    for value in [&b""[..], b"HYLL", b"0123456789abcdefghi", &magic, &encoding, &dense] {
        assert_eq!(count(&[value]), not_a_sketch);
        assert_eq!(count(&[&sparse, value]), not_a_sketch);
        assert_eq!(add(Some(value), &["x"]).map(drop), not_a_sketch.map(drop));
        assert_eq!(merge(Some(&sparse), &[value]).map(drop), not_a_sketch.map(drop));
    }
    let longer = [&sparse[..], b"hello"].concat();
    let shorter = &sparse[..sparse.len() - 1];
    let headless = &sparse[..HEADER_BYTES];
    let mut stale = headless.to_vec();
    stale[15] |= STALE;
    for value in [longer.as_slice(), shorter, &stale] {
        assert_eq!(count(&[value]), corrupt);
        assert_eq!(merge(None, &[value]).map(drop), corrupt.map(drop));
    }
    assert_eq!(add(Some(headless), &["x"]).map(drop), corrupt.map(drop));
}

proptest! {
    #[test]
    fn no_string_makes_it_panic(
        encoding in 0..2u8,
        body in prop::collection::vec(any::<u8>(), 0..200),
        whole in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let sketch = [&MAGIC[..], &[encoding], &[0; 10], &[STALE], &body].concat();
        for value in [sketch, whole] {
            let _ = count(&[&value]);
            let _ = count(&[&value, &value]);
            let _ = merge(Some(&value), &[&value]);
            if let Ok(Some(changed)) = add(Some(&value), &["a", "b", "c"]) {
                prop_assert_eq!(&changed[..4], &MAGIC);
            }
        }
    }

    #[test]
    fn the_order_of_elements_does_not_matter_to_the_count(
        mut numbers in prop::collection::vec(0..4_000u32, 0..400),
    ) {
        let sketch = |numbers: &[u32]| {
            let elements: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            add(None, &elements).unwrap().unwrap()
        };
        let forwards = count(&[&sketch(&numbers)]);
        numbers.reverse();
        prop_assert_eq!(count(&[&sketch(&numbers)]), forwards);
        numbers.sort_unstable();
        numbers.dedup();
        prop_assert_eq!(count(&[&sketch(&numbers)]), forwards);
    }
}
