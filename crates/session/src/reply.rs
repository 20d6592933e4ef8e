//! Stage two: what a reply says. The one reader of replies, for live sessions and archived bytes alike.
//!
//! It knows codes and status words and nothing of blame: a 500 is `Permanent` whoever wrote it.
//! RFC 5321 §4.2, RFC 3463, RFC 9051 §7.1, RFC 1939 §3, RFC 5804 §1.3.

use alloc::{borrow::Cow, string::String, vec::Vec};

use crate::{ByteRange, Label, Protocol, Terminator, frame, imap, pop3, sieve, smtp};

/// What a reply says about the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// 2xx, `OK`, `+OK`.
    Positive,
    /// 3xx, `+`: the server waits for more.
    Intermediate,
    /// 4xx, `NO [UNAVAILABLE]` and its like, `-ERR [SYS/TEMP]`: later, perhaps.
    Transient,
    /// 5xx, `NO`, `BAD`, `-ERR`.
    Permanent,
    /// 421 or `BYE`: the server closes.
    Goodbye,
    /// `* PREAUTH`: already logged in, before anybody proved who he is.
    Preauthenticated,
    /// No status of this protocol.
    Malformed,
}

/// A reply, read. All ranges are relative to the bytes that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What it says.
    pub status: Status,
    /// The three-digit code of the line that decides (SMTP, LMTP).
    pub code: Option<u16>,
    /// The enhanced status code behind it (RFC 3463).
    pub enhanced: Option<(u8, u16, u16)>,
    /// Every line, the odd ones included; their ranges tile the bytes.
    pub lines: Vec<ReplyLine>,
}

/// One line of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLine {
    /// All of it, with its end.
    pub range: ByteRange,
    /// Behind code, tag and status word, before the end; all before the end in an odd line.
    pub text: ByteRange,
    /// How it ended.
    pub terminator: Terminator,
}

impl Reply {
    /// The text of every line, with what is not UTF-8 replaced.
    #[must_use]
    pub fn text<'a>(&self, bytes: &'a [u8]) -> Vec<Cow<'a, str>> {
        self.lines
            .iter()
            .map(|line| String::from_utf8_lossy(line.text.of(bytes)))
            .collect()
    }
}

/// Reads one reply. `bytes` are what an exchange received, whole or broken off.
///
/// ```
/// use hoofbeat_session::{Label, Protocol, Status, reply};
/// let bytes = b"454 4.7.0 TLS not available\r\n";
/// let reply = reply::read(Protocol::Smtp, Label::StartTls, bytes);
/// assert_eq!((reply.status, reply.code, reply.enhanced), (Status::Transient, Some(454), Some((4, 7, 0))));
/// assert_eq!(reply.text(bytes), ["4.7.0 TLS not available"]);
/// ```
#[must_use]
pub fn read(protocol: Protocol, label: Label, bytes: &[u8]) -> Reply {
    let lines = frame::lines(protocol, bytes);
    match protocol {
        Protocol::Smtp | Protocol::Lmtp => smtp::reply::read(bytes, &lines),
        Protocol::Imap => imap::reply::read(label, bytes, &lines),
        Protocol::Pop3 => pop3::reply::read(bytes, &lines),
        Protocol::Sieve => sieve::reply::read(bytes, &lines),
    }
}

/// Whether the reply to STARTTLS or STLS lets the handshake begin: exactly 220 (RFC 3207 §4), tagged OK, `+OK`, OK.
///
/// Another 2xx is `Positive` and yet no permission: it is the mark of somebody who is no server.
#[must_use]
pub fn is_ready_for_tls(protocol: Protocol, reply: &Reply) -> bool {
    reply.status == Status::Positive
        && match protocol {
            Protocol::Smtp | Protocol::Lmtp => reply.code == Some(220),
            Protocol::Imap | Protocol::Pop3 | Protocol::Sieve => true,
        }
}
