//! One response line: untagged, tagged or a continuation (RFC 9051 §2.2.2). RFC 3501 differs nowhere here.

use crate::token::first_word;

/// The status words (RFC 9051 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Ok,
    No,
    Bad,
    Bye,
    Preauth,
}

/// What kind of line it is, and what follows the part that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// `* word …`: `tag` is `None`; `<tag> word …` else.
    Status {
        tag: Option<&'a [u8]>,
        word: Word,
        rest: &'a [u8],
    },
    /// `* …` of another sort.
    Untagged { rest: &'a [u8] },
    /// `+ …`.
    Continuation { rest: &'a [u8] },
    /// None of these.
    Odd,
}

/// Looks at a line without its end.
pub(crate) fn kind(text: &[u8]) -> Kind<'_> {
    let (tag, rest) = first_word(text);
    match tag {
        b"+" => return Kind::Continuation { rest },
        b"" => return Kind::Odd,
        _ => {}
    }
    let untagged = tag == b"*";
    let (word, behind) = first_word(rest);
    let word = match word.to_ascii_uppercase().as_slice() {
        b"OK" => Some(Word::Ok),
        b"NO" => Some(Word::No),
        b"BAD" => Some(Word::Bad),
        b"BYE" if untagged => Some(Word::Bye),
        b"PREAUTH" if untagged => Some(Word::Preauth),
        _ => None,
    };
    match word {
        Some(word) => Kind::Status {
            tag: (!untagged).then_some(tag),
            word,
            rest: behind,
        },
        None if untagged => Kind::Untagged { rest },
        None => Kind::Odd,
    }
}
