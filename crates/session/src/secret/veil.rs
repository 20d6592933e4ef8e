//! The veil itself: `*` over bytes, line ends and literals' lengths left in sight.

use alloc::vec::Vec;

use crate::{Protocol, frame::literal};

/// A line's text and its end.
pub(super) fn split_end(line: &[u8]) -> (&[u8], &[u8]) {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    line.split_at(text.len())
}

/// Hides all but line ends.
pub(super) fn veil(bytes: &[u8], kept: &mut Vec<u8>) {
    kept.extend(bytes.iter().map(|byte| {
        if matches!(byte, b'\r' | b'\n') {
            *byte
        } else {
            b'*'
        }
    }));
}

/// Hides a line's text from `from` on, but neither its end nor the literal it announces; that one's
/// length is returned.
pub(super) fn veil_from(
    protocol: Protocol,
    line: &[u8],
    from: usize,
    kept: &mut Vec<u8>,
) -> Option<usize> {
    let (text, end) = split_end(line);
    let (shown, hidden) = text.split_at(from.min(text.len()));
    let length = if matches!(protocol, Protocol::Imap | Protocol::Sieve) {
        literal(hidden)
    } else {
        None
    };
    let mark = length
        .and_then(|_| hidden.iter().rposition(|byte| *byte == b'{'))
        .unwrap_or(hidden.len());
    let (hidden, mark) = hidden.split_at(mark);
    kept.extend_from_slice(shown);
    veil(hidden, kept);
    kept.extend_from_slice(mark);
    kept.extend_from_slice(end);
    length
}

/// The shortest word that is looked for in a server's answer: shorter ones stand everywhere.
const SHORTEST: usize = 4;
/// The most of a word that is remembered, in bytes.
const LONGEST: usize = 512;
/// The most words that are remembered.
const MOST: usize = 16;

/// The words of a hidden text that a server could quote.
pub(super) fn quotable(text: &[u8]) -> Vec<Vec<u8>> {
    text.split(|byte| byte.is_ascii_whitespace() || *byte == b'"')
        .filter(|word| word.len() >= SHORTEST)
        .map(|word| word.get(..LONGEST).unwrap_or(word).to_vec())
        .take(MOST)
        .collect()
}

/// Hides every occurrence of the words in `kept`, from `from` on.
pub(super) fn veil_words(words: &[Vec<u8>], from: usize, kept: &mut [u8]) {
    for word in words {
        let mut at = from;
        while let Some(rest) = kept.get_mut(at..) {
            let Some(found) = rest.windows(word.len()).position(|window| window == word) else {
                break;
            };
            if let Some(found) = rest.get_mut(found..found + word.len()) {
                found.fill(b'*');
            }
            at += found + word.len();
        }
    }
}
