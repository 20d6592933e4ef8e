//! Words of foreign lines: the few cuts that every grammar here shares.
//!
//! Nothing here decides what a word means.

use alloc::string::String;

/// Cuts at the first blank: the word, and what follows the blank.
pub(crate) fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| matches!(byte, b' ' | b'\t')) {
        Some(at) => (
            text.get(..at).unwrap_or_default(),
            text.get(at + 1..).unwrap_or_default(),
        ),
        None => (text, &[]),
    }
}

/// Where `part`, which must be a slice of `whole`, begins in it.
pub(crate) fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize)
        .saturating_sub(whole.as_ptr() as usize)
        .min(whole.len())
}

/// A word in upper case, with what is not UTF-8 replaced.
pub(crate) fn upper(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_uppercase()
}

/// Without blanks at both ends.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// Whether the text begins with the word, in any case, and the word ends there.
pub(crate) fn starts_with_word(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(word))
        && text
            .get(word.len())
            .is_none_or(|next| !next.is_ascii_alphanumeric())
}
