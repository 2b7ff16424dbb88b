//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a-z]`, and `\` before a byte that stands
//! for itself.

/// Whether a whole text fits a pattern.
///
/// Only the last `*` is ever tried again, so this takes at most `pattern * text` steps
/// whatever the pattern.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            again = Some((rest, text));
            pattern = rest;
            continue;
        }
        let step = match text.split_first() {
            Some((byte, rest)) => one(pattern, *byte).map(|after| (after, rest)),
            None if pattern.is_empty() => return true,
            None => return false,
        };
        if let Some((after, rest)) = step {
            (pattern, text) = (after, rest);
            continue;
        }
        match again {
            Some((after_star, [_, rest @ ..])) => {
                again = Some((after_star, rest));
                (pattern, text) = (after_star, rest);
            }
            _ => return false,
        }
    }
}

/// The bytes that every text starts with that fits the pattern.
pub(crate) fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    let end = pattern.iter().position(special).unwrap_or(pattern.len());
    pattern.get(..end).unwrap_or_default()
}

/// What of the pattern is left if its first item fits this byte.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte),
        [b'\\', escaped, rest @ ..] => (*escaped == byte).then_some(rest),
        [same, rest @ ..] => (*same == byte).then_some(rest),
    }
}

/// A class without its opening bracket. One that is not closed reaches to the pattern's end.
fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [] => break,
            [b'\\', escaped, rest @ ..] => {
                found |= *escaped == byte;
                rest
            }
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [start, b'-', end, rest @ ..] => {
                found |= (*start.min(end)..=*start.max(end)).contains(&byte);
                rest
            }
            [same, rest @ ..] => {
                found |= *same == byte;
                rest
            }
        };
    }
    (found != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_fit_in_redis() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("*", "abc", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("key:1??", "key:123", true),
            ("key:1??", "key:12", false),
            ("[abc]x", "bx", true),
            ("[^abc]x", "bx", false),
            ("[^abc]x", "dx", true),
            ("[a-c]", "b", true),
            ("[c-a]", "b", true),
            ("[a-c]", "d", false),
            ("[a-]", "-", false),
            ("[a-]", "^", true),
            (r"[\]]", "]", true),
            ("[abc", "b", true),
            ("[abc", "d", false),
            ("[]", "a", false),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"a\", r"a\", true),
            ("a**b", "ab", true),
            ("*ab*ab*ab", "abababab", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} on {text}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let pattern = "a*".repeat(500) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(5_000).as_bytes()));
    }

    #[test]
    fn the_literal_prefix_ends_at_the_first_special_byte() {
        for (pattern, prefix) in
            [("abc", "abc"), ("ab*", "ab"), ("a?c", "a"), (r"a\*", "a"), ("*", ""), ("x[a]", "x")]
        {
            assert_eq!(literal_prefix(pattern.as_bytes()), prefix.as_bytes());
        }
    }
}
