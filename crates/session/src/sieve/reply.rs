//! Lines of strings, then `OK`, `NO` or `BYE` with code and text (RFC 5804 §1.2, §1.3).

use alloc::vec::Vec;

use crate::{ByteRange, Line, Reply, ReplyLine, Status, token::starts_with_word};

/// Whether the line is the last of its reply.
pub(crate) fn ends(text: &[u8], first: bool) -> bool {
    word(text).is_some() || (first && !matches!(text.first(), Some(b'"' | b'{')))
}

/// The status word at the beginning of a line, and its length.
fn word(text: &[u8]) -> Option<(Status, u64)> {
    if starts_with_word(text, b"OK") {
        Some((Status::Positive, 2))
    } else if starts_with_word(text, b"NO") {
        let code = text.get(2..).unwrap_or_default().trim_ascii_start();
        let later = code
            .get(..10)
            .is_some_and(|head| head.eq_ignore_ascii_case(b"(TRYLATER)"));
        Some((
            if later {
                Status::Transient
            } else {
                Status::Permanent
            },
            2,
        ))
    } else if starts_with_word(text, b"BYE") {
        Some((Status::Goodbye, 3))
    } else {
        None
    }
}

/// Reads a reply from its lines.
pub(crate) fn read(bytes: &[u8], lines: &[Line]) -> Reply {
    let mut status = Status::Malformed;
    let lines: Vec<ReplyLine> = lines
        .iter()
        .map(|line| {
            let mut text = line.text();
            if let Some((meaning, length)) = word(text.of(bytes)) {
                status = meaning;
                let behind = length + u64::from(text.of(bytes).get(length as usize) == Some(&b' '));
                text = ByteRange {
                    from: text.to.min(text.from + behind),
                    to: text.to,
                };
            }
            ReplyLine {
                range: line.range,
                text,
                terminator: line.terminator,
            }
        })
        .collect();
    Reply {
        status,
        code: None,
        enhanced: None,
        lines,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Label, Protocol, Status, reply};

    #[test]
    fn words_have_their_meaning() {
        for (bytes, status, text) in [
            (&b"OK \"done\"\r\n"[..], Status::Positive, "\"done\""),
            (b"ok\r\n", Status::Positive, ""),
            (
                b"NO (TRYLATER) \"busy\"\r\n",
                Status::Transient,
                "(TRYLATER) \"busy\"",
            ),
            (b"NO {3}\r\nabc\r\n", Status::Permanent, "{3}\r\nabc"),
            (b"BYE \"too many\"\r\n", Status::Goodbye, "\"too many\""),
            (b"NOOP\r\n", Status::Malformed, "NOOP"),
        ] {
            let reply = reply::read(Protocol::Sieve, Label::Noop, bytes);
            assert_eq!((reply.status, &*reply.text(bytes)[0]), (status, text));
        }
    }
}
