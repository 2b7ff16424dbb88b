//! A reduce function: the key of the row with the greatest number, and the number, as JSON.
//!
//!     breccia sql "select origin, longest(_key, dep_delay) from flights group by origin"

use breccia_guest::{reduce_function, Reduce};

/// The number and the key; no number before the first row.
#[derive(Default)]
struct Longest(Option<(f64, Vec<u8>)>);

impl Longest {
    /// Of two rows with the same number the one with the smaller key counts, so that it does
    /// not matter in which order they come.
    fn offer(&mut self, number: f64, key: &[u8]) {
        let is_longer = match &self.0 {
            None => true,
            Some((longest, of)) => number > *longest || number == *longest && key < of.as_slice(),
        };
        if is_longer {
            self.0 = Some((number, key.to_vec()));
        }
    }
}

impl Reduce for Longest {
    /// A byte that says whether there is a number, the number, and the key.
    fn read(state: &[u8]) -> Self {
        let number = state.get(1..9).and_then(|bytes| bytes.try_into().ok());
        Self(
            number.map(|bytes| {
                (f64::from_le_bytes(bytes), state.get(9..).unwrap_or_default().to_vec())
            }),
        )
    }

    fn write(&self) -> Vec<u8> {
        match &self.0 {
            None => vec![0],
            Some((number, key)) => [&[1], &number.to_le_bytes()[..], key].concat(),
        }
    }

    fn step(&mut self, key: &[u8], value: &[u8], _: &[u8]) -> Result<(), String> {
        // What is no number is passed over.
        if let Some(number) = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
            self.offer(number, key);
        }
        Ok(())
    }

    fn combine(&mut self, other: Self) {
        if let Some((number, key)) = other.0 {
            self.offer(number, &key);
        }
    }

    fn present(&self) -> Vec<u8> {
        match &self.0 {
            None => b"null".to_vec(),
            Some((number, key)) => {
                let key = String::from_utf8_lossy(key);
                format!("{{\"key\": {key:?}, \"number\": {number}}}").into_bytes()
            }
        }
    }
}

reduce_function!(Longest);

#[cfg(test)]
mod tests {
    use super::*;
    use breccia_guest::testing;

    #[test]
    fn the_greatest_number_is_found_wherever_it_lies() {
        let rows = [("a", "3"), ("b", "none"), ("c", "7.5"), ("d", "7.5"), ("e", "-1")];
        let shown = testing::reduce::<Longest, _, _>(rows, "");
        assert_eq!(shown, Ok(br#"{"key": "c", "number": 7.5}"#.to_vec()));
        let none: [(&str, &str); 0] = [];
        assert_eq!(testing::reduce::<Longest, _, _>(none, ""), Ok(b"null".to_vec()));
    }
}
