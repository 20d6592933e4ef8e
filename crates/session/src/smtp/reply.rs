//! `ddd-text` and `ddd text` (RFC 5321 §4.2), read as tolerantly as mailers read it: a line of
//! another shape inside a reply is kept and passed over, and the last coded line decides.

use alloc::vec::Vec;

use crate::{ByteRange, Line, Reply, ReplyLine, Status};

/// Whether the line is the last of its reply.
pub(crate) fn ends(text: &[u8], first: bool) -> bool {
    match coded(text) {
        Some((_, continued)) => !continued,
        None => first,
    }
}

/// The code, and whether a line follows; `None` where this is no reply line.
fn coded(text: &[u8]) -> Option<(u16, bool)> {
    let (digits, rest) = text.split_first_chunk::<3>()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.first() {
        None | Some(b' ') => Some((code, false)),
        Some(b'-') => Some((code, true)),
        Some(_) => None,
    }
}

/// Reads a reply from its lines.
pub(crate) fn read(bytes: &[u8], lines: &[Line]) -> Reply {
    let mut code = None;
    let mut enhanced = None;
    let lines: Vec<ReplyLine> = lines
        .iter()
        .map(|line| {
            let mut text = line.text();
            if let Some((found, _)) = coded(text.of(bytes)) {
                text = ByteRange {
                    from: text.to.min(text.from + 4),
                    to: text.to,
                };
                code = Some(found);
                enhanced = enhanced_code(text.of(bytes));
            }
            ReplyLine {
                range: line.range,
                text,
                terminator: line.terminator,
            }
        })
        .collect();
    let status = match code {
        Some(421) => Status::Goodbye,
        Some(200..=299) => Status::Positive,
        Some(300..=399) => Status::Intermediate,
        Some(400..=499) => Status::Transient,
        Some(500..=599) => Status::Permanent,
        _ => Status::Malformed,
    };
    Reply {
        status,
        code,
        enhanced,
        lines,
    }
}

/// `class.subject.detail` at the beginning of a reply's text (RFC 3463 §2).
fn enhanced_code(text: &[u8]) -> Option<(u8, u16, u16)> {
    let word = text.split(|byte| *byte == b' ').next()?;
    let mut numbers = core::str::from_utf8(word).ok()?.splitn(3, '.');
    let mut number = |most: usize| -> Option<u16> {
        let digits = numbers.next()?;
        let plain =
            (1..=most).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let class = match number(1)? {
        2 => 2,
        4 => 4,
        5 => 5,
        _ => return None,
    };
    Some((class, number(3)?, number(3)?))
}

#[cfg(test)]
mod tests {
    use crate::{Label, Protocol, Status, is_ready_for_tls, reply};

    #[test]
    fn codes_have_their_meaning() {
        for (bytes, status, code) in [
            (&b"220 mx\r\n"[..], Status::Positive, Some(220)),
            (b"250", Status::Positive, Some(250)),
            (b"354 go\r\n", Status::Intermediate, Some(354)),
            (b"454 4.7.0 no\r\n", Status::Transient, Some(454)),
            (b"421 4.3.2 bye\r\n", Status::Goodbye, Some(421)),
            (b"250-a\r\n550 b\r\n", Status::Permanent, Some(550)),
            (b"250-a\r\ngarbage\r\n", Status::Positive, Some(250)),
            (b"2500 a\r\n", Status::Malformed, None),
            (b"SSH-2.0-x\r\n", Status::Malformed, None),
            (b"", Status::Malformed, None),
            (b"\xff\x00\r", Status::Malformed, None),
        ] {
            let reply = reply::read(Protocol::Smtp, Label::Noop, bytes);
            assert_eq!((reply.status, reply.code), (status, code), "{bytes:?}");
        }
    }

    #[test]
    fn only_220_lets_tls_begin() {
        let ready = |bytes: &[u8]| {
            is_ready_for_tls(
                Protocol::Smtp,
                &reply::read(Protocol::Smtp, Label::StartTls, bytes),
            )
        };
        assert!(ready(b"220 2.0.0 Ready\r\n"));
        assert!(!ready(b"250 OK\r\n") && !ready(b"200 STRIPTLS\r\n") && !ready(b"454 x\r\n"));
    }

    #[test]
    fn enhanced_codes_are_exact() {
        let enhanced = |bytes: &[u8]| reply::read(Protocol::Smtp, Label::StartTls, bytes).enhanced;
        assert_eq!(enhanced(b"502 5.5.1 Error\r\n"), Some((5, 5, 1)));
        assert_eq!(enhanced(b"502 5.5.1\r\n"), Some((5, 5, 1)));
        for bytes in [
            &b"502 unimplemented (#5.5.1)\r\n"[..],
            b"250 3.5.1 x\r\n",
            b"250 2.5\r\n",
            b"250 2.5.1.1\r\n",
            b"250 2.5555.1\r\n",
        ] {
            assert_eq!(enhanced(bytes), None);
        }
    }
}
