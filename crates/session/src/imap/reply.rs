//! Responses up to the tagged status, and which line decides (RFC 9051 §7.1).
//!
//! A refusal under a foreign tag ends a reply too: a box that masks a command in flight masks its
//! tag with it. A foreign `OK` never does: nobody may grant TLS under another name.

use alloc::vec::Vec;

use super::line::{Kind, Word, kind};
use crate::{ByteRange, Label, Line, Reply, ReplyLine, Status, token::offset_in};

/// Whether the line is the last of its reply.
pub(crate) fn ends(text: &[u8], first: bool, label: Label, tag: Option<&[u8]>) -> bool {
    if matches!(label, Label::Greeting | Label::Other) {
        return true;
    }
    match kind(text) {
        Kind::Continuation { .. } => true,
        Kind::Status {
            tag: None,
            word: Word::Bad,
            ..
        } => true,
        Kind::Status {
            tag: None,
            word: Word::Bye,
            ..
        } => label != Label::Quit,
        Kind::Status { tag: None, .. } | Kind::Untagged { .. } => false,
        Kind::Status {
            tag: Some(found),
            word,
            ..
        } => word != Word::Ok || tag.is_none_or(|ours| ours == found),
        Kind::Odd => first,
    }
}

/// Whether a line's end is free text, in which `{n}` announces nothing.
pub(crate) fn is_free_text(head: &[u8]) -> bool {
    matches!(kind(head), Kind::Status { .. } | Kind::Continuation { .. })
}

/// Reads a reply from its lines.
pub(crate) fn read(label: Label, bytes: &[u8], lines: &[Line]) -> Reply {
    let mut status = None;
    let lines: Vec<ReplyLine> =
        lines
            .iter()
            .map(|line| {
                let mut text = line.text();
                let is_blank = text.of(bytes).trim_ascii().is_empty();
                let kind = kind(text.of(bytes));
                if let Kind::Status { rest, .. }
                | Kind::Untagged { rest }
                | Kind::Continuation { rest } = kind
                    && !rest.is_empty()
                {
                    text.from = offset_in(bytes, rest) as u64;
                } else if kind != Kind::Odd {
                    text = ByteRange {
                        from: text.to,
                        to: text.to,
                    };
                }
                status = match label {
                    _ if is_blank => status,
                    Label::Greeting => status.or_else(|| greeting(kind)),
                    _ => weigh(status, kind),
                };
                ReplyLine {
                    range: line.range,
                    text,
                    terminator: line.terminator,
                }
            })
            .collect();
    Reply {
        status: status.map_or(Status::Malformed, |(status, _)| status),
        code: None,
        enhanced: None,
        lines,
    }
}

/// A status and how much its line weighs against others of the same reply.
type Weighed = (Status, u8);

fn greeting(kind: Kind<'_>) -> Option<Weighed> {
    match kind {
        Kind::Status {
            tag: None,
            word,
            rest,
        } => Some((meaning(word, rest), 0)),
        Kind::Odd | Kind::Status { .. } => Some((Status::Malformed, 0)),
        _ => None,
    }
}

/// Tagged before `* BAD`, `* BYE` and `+`; among equals the last.
fn weigh(so_far: Option<Weighed>, kind: Kind<'_>) -> Option<Weighed> {
    let found = match kind {
        Kind::Status {
            tag: Some(_),
            word,
            rest,
        } => (meaning(word, rest), 3),
        Kind::Status {
            tag: None,
            word: Word::Bad,
            rest,
        } => (meaning(Word::Bad, rest), 2),
        Kind::Status {
            tag: None,
            word: Word::Bye,
            rest,
        } => (meaning(Word::Bye, rest), 2),
        Kind::Continuation { .. } => (Status::Intermediate, 1),
        Kind::Status { .. } | Kind::Untagged { .. } | Kind::Odd => return so_far,
    };
    match so_far {
        Some(before) if before.1 > found.1 => so_far,
        _ => Some(found),
    }
}

fn meaning(word: Word, rest: &[u8]) -> Status {
    match word {
        Word::Ok => Status::Positive,
        Word::Preauth => Status::Preauthenticated,
        Word::Bye => Status::Goodbye,
        Word::No if is_transient(rest) => Status::Transient,
        Word::No | Word::Bad => Status::Permanent,
    }
}

/// Response codes that promise a better answer later (RFC 9051 §7.1).
fn is_transient(rest: &[u8]) -> bool {
    let code = rest
        .strip_prefix(b"[")
        .and_then(|rest| rest.split(|byte| matches!(byte, b']' | b' ')).next());
    code.is_some_and(|code| {
        [&b"UNAVAILABLE"[..], b"INUSE"]
            .iter()
            .any(|known| code.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::ends;
    use crate::{Label, Protocol, Status, reply};

    #[test]
    fn the_tagged_line_decides() {
        for (bytes, status) in [
            (&b"h1 OK begin\r\n"[..], Status::Positive),
            (b"* OK note\r\nh1 NO do not\r\n", Status::Permanent),
            (b"h1 NO [UNAVAILABLE] later\r\n", Status::Transient),
            (
                b"2 OK injected\r\n* CAPABILITY IMAP4rev1\r\nh1 BAD x\r\n",
                Status::Permanent,
            ),
            (b"* BAD no command\r\n", Status::Permanent),
            (b"* BYE gone\r\n", Status::Goodbye),
            (b"* BYE bye\r\nh1 OK done\r\n", Status::Positive),
            (b"+ go on\r\n", Status::Intermediate),
            (b"* CAPABILITY IMAP4rev1\r\n", Status::Malformed),
            (b"HTTP/1.1 400\r\n", Status::Malformed),
        ] {
            assert_eq!(
                reply::read(Protocol::Imap, Label::StartTls, bytes).status,
                status,
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn greetings_are_untagged() {
        for (bytes, status) in [
            (&b"* OK [CAPABILITY IMAP4rev1] hi\r\n"[..], Status::Positive),
            (b"* PREAUTH hi\r\n", Status::Preauthenticated),
            (b"\r\n* OK hi\r\n", Status::Positive),
            (b"* BYE no\r\n", Status::Goodbye),
            (b"A1 OK hi\r\n", Status::Malformed),
            (b"OK IMAP2 Server Ready\r\n", Status::Malformed),
        ] {
            assert_eq!(
                reply::read(Protocol::Imap, Label::Greeting, bytes).status,
                status
            );
        }
    }

    #[test]
    fn texts_stand_behind_tag_and_word() {
        let bytes = b"* CAPABILITY A\r\n* OK\r\nh1 OK [X] done\r\n";
        assert_eq!(
            reply::read(Protocol::Imap, Label::Capabilities, bytes).text(bytes),
            ["CAPABILITY A", "", "[X] done"]
        );
    }

    #[test]
    fn no_foreign_tag_grants_anything() {
        let ends = |text: &[u8]| ends(text, false, Label::StartTls, Some(b"h3"));
        assert!(
            ends(b"h3 OK") && ends(b"h3 NO") && ends(b"XXXXXXXX BAD what") && ends(b"* BAD what")
        );
        assert!(!ends(b"2 OK begin TLS now") && !ends(b"* OK begin TLS now"));
    }
}
