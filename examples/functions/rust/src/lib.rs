//! A write function: counts the calls on a key, up to a limit that the first argument may give,
//! and returns how many there were, as text.

use breccia_guest::{get, put, write_function, Call};

fn visits(call: &Call) -> Result<Vec<u8>, String> {
    let number = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        text.trim().parse::<u64>().map_err(|error| format!("{text:?} is no number: {error}"))
    };
    let before = get(call.key()).map_or(Ok(0), |text| number(&text))?;
    let limit = if call.arg(0).is_empty() { u64::MAX } else { number(call.arg(0))? };
    if before >= limit {
        return Err(format!("there were {before} visits already"));
    }
    let now = (before + 1).to_string().into_bytes();
    put(call.key(), &now);
    Ok(now)
}

write_function!(visits);

#[cfg(test)]
mod tests {
    use super::*;
    use breccia_guest::testing;

    #[test]
    fn visits_are_counted_up_to_the_limit() {
        let visit = || visits(&testing::call(["alice"], ["2"]));
        assert_eq!(visit(), Ok(b"1".to_vec()));
        assert_eq!(visit(), Ok(b"2".to_vec()));
        assert_eq!(visit(), Err("there were 2 visits already".to_owned()));
        assert_eq!(testing::row("alice"), Some(b"2".to_vec()));
    }

    #[test]
    fn a_row_that_is_no_number_is_left_as_it_is() {
        testing::set_row("bob", "many");
        assert!(visits(&testing::call(["bob"], [""; 0])).is_err());
        assert_eq!(testing::row("bob"), Some(b"many".to_vec()));
    }
}
