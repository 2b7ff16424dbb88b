//! Sizes in bytes: `512MiB`, `1g`, `65536`.

use super::UnitError;

/// Reads a size in bytes. `k`, `KB` and `KiB` all mean 1,024 bytes, and so on to `t`;
/// no unit means bytes.
///
/// # Errors
/// [`UnitError`] if it is not a whole number and a unit, or does not fit 64 bits.
pub(crate) fn parse_size(text: &str) -> Result<u64, UnitError> {
    let refuse = || UnitError {
        text: text.to_owned(),
        quantity: "size",
        examples: "a whole number and a unit, such as 512MiB, 1g or 65536",
    };
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(end);
    let count: u64 = digits.parse().map_err(|_| refuse())?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(refuse()),
    };
    count.checked_mul(factor).ok_or_else(refuse)
}

/// Shows a size to people with one decimal: `31.0 MiB`.
pub(crate) fn show_size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_in_every_spelling() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("7b", 7),
            ("1k", 1_024),
            ("2KB", 2_048),
            ("512MiB", 512 << 20),
            ("1g", 1 << 30),
            ("3 GiB", 3 << 30),
            ("1t", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "g", "-1g", "1.5g", "1x", "1bb", "99999999999g", "1 g g"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
