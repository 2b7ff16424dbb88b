//! Words of errors that came from another node.
//!
//! Errors hold names of operations and arguments as `&'static str`, because nearly all are
//! made where they are shown. A word that is read from bytes is kept for good, once, which
//! is why there is a bound on them: the words that builds of this project use are some
//! dozens.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The most words that are kept.
const WORDS_MAX: usize = 256;
/// The longest word that is kept, in bytes.
const WORD_BYTES_MAX: usize = 64;
/// What stands for a word that is not kept.
const UNKNOWN: &str = "(unknown)";

static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The same word for as long as the process lives.
pub(super) fn kept(word: &str) -> &'static str {
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.get(word) {
        return known;
    }
    if words.len() >= WORDS_MAX || word.len() > WORD_BYTES_MAX {
        return UNKNOWN;
    }
    let word: &'static str = Box::leak(word.into());
    words.insert(word);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_kept_once_and_long_ones_never() {
        let first = kept("compare-and-set");
        assert!(std::ptr::eq(first, kept(&String::from("compare-and-set"))));
        assert_eq!(kept(&"x".repeat(WORD_BYTES_MAX + 1)), UNKNOWN);
    }
}
