//! `+OK`, `-ERR` and `+ ` (RFC 1939 §3, RFC 5034 §4). Only CAPA, as asked here, has an answer of
//! several lines; it ends with a lone dot.

use alloc::vec::Vec;

use crate::{ByteRange, Label, Line, Reply, ReplyLine, Status, token::starts_with_word};

/// Whether the line is the last of its reply.
pub(crate) fn ends(text: &[u8], first: bool, label: Label) -> bool {
    if first {
        // The command that is injected on POP3 is CAPA.
        let several = matches!(
            label,
            Label::Capabilities | Label::CapabilitiesAgain | Label::Injected
        );
        !(several && starts_with_word(text, b"+OK"))
    } else {
        text == b"."
    }
}

/// Reads a reply from its lines.
pub(crate) fn read(bytes: &[u8], lines: &[Line]) -> Reply {
    let mut status = None;
    let lines: Vec<ReplyLine> = lines
        .iter()
        .map(|line| {
            let mut text = line.text();
            let words = text.of(bytes);
            let marked = if status.is_some() {
                // Byte-stuffing (RFC 1939 §3), and the final dot.
                u64::from(words.starts_with(b"."))
            } else if words.trim_ascii().is_empty() {
                0
            } else {
                let (meaning, marked) = status_of(words);
                status = Some(meaning);
                marked
            };
            text = ByteRange {
                from: text.to.min(text.from + marked),
                to: text.to,
            };
            ReplyLine {
                range: line.range,
                text,
                terminator: line.terminator,
            }
        })
        .collect();
    Reply {
        status: status.unwrap_or(Status::Malformed),
        code: None,
        enhanced: None,
        lines,
    }
}

/// The meaning of a status line, and how many bytes its mark takes.
fn status_of(words: &[u8]) -> (Status, u64) {
    let behind = |mark: u64| mark + u64::from(words.get(mark as usize) == Some(&b' '));
    if starts_with_word(words, b"+OK") {
        (Status::Positive, behind(3))
    } else if starts_with_word(words, b"-ERR") {
        let text = words.get(4..).unwrap_or_default().trim_ascii_start();
        // RFC 3206 §4 and RFC 2449 §8.1.
        let later = [&b"[SYS/TEMP]"[..], b"[IN-USE]", b"[LOGIN-DELAY]"]
            .iter()
            .any(|code| {
                text.get(..code.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(code))
            });
        (
            if later {
                Status::Transient
            } else {
                Status::Permanent
            },
            behind(4),
        )
    } else if words == b"+" || words.starts_with(b"+ ") {
        (Status::Intermediate, behind(1))
    } else {
        (Status::Malformed, 0)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Label, Protocol, Status, reply};

    #[test]
    fn marks_have_their_meaning() {
        for (bytes, status, text) in [
            (&b"+OK ready\r\n"[..], Status::Positive, "ready"),
            (b"+ok\r\n", Status::Positive, ""),
            (b"-ERR unknown\r\n", Status::Permanent, "unknown"),
            (
                b"-ERR [SYS/TEMP] later\r\n",
                Status::Transient,
                "[SYS/TEMP] later",
            ),
            (b"+ \r\n", Status::Intermediate, ""),
            (b"+OKAY\r\n", Status::Malformed, "+OKAY"),
            (b"220 mx\r\n", Status::Malformed, "220 mx"),
        ] {
            let reply = reply::read(Protocol::Pop3, Label::StartTls, bytes);
            assert_eq!((reply.status, &*reply.text(bytes)[0]), (status, text));
        }
    }

    #[test]
    fn stuffed_dots_are_taken_off() {
        let bytes = b"+OK\r\n..X\r\n.\r\n";
        assert_eq!(
            reply::read(Protocol::Pop3, Label::Capabilities, bytes).text(bytes),
            ["", ".X", ""]
        );
    }
}
