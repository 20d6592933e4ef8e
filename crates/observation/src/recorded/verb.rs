//! What a client's line asks, and what the protocol lets follow it: a message, a secret, a list.
//!
//! RFC 5321 §4.1, RFC 3207, RFC 4954, RFC 3030 (BDAT); RFC 9051 §6; RFC 1939 and RFC 2449; RFC 5804.
//! It must not know what an answer means, nor where the line was found.

use hoofbeat_session::{Label, Layer, Protocol};

/// A client's line, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verb {
    /// What is asked.
    pub(super) label: Label,
    /// What may follow.
    pub(super) opens: Opens,
}

/// What a command lets follow, which is not to be read as commands and replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opens {
    /// An ordinary reply.
    Nothing,
    /// A message up to a dot alone, once the server has said 354.
    Body,
    /// So many bytes of a message, at once (BDAT).
    Chunk(u64),
    /// Secrets, whenever the server asks for them.
    Secret,
    /// A reply of several lines up to a dot alone (POP3).
    List,
    /// The same, and it is somebody's message.
    Message,
}

const SMTP_OTHER: [&str; 9] = [
    "RSET", "VRFY", "EXPN", "ETRN", "TURN", "ATRN", "SEND", "SAML", "SOML",
];
const IMAP_OTHER: [&str; 32] = [
    "SELECT",
    "EXAMINE",
    "CREATE",
    "DELETE",
    "RENAME",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "LIST",
    "LSUB",
    "STATUS",
    "APPEND",
    "CHECK",
    "CLOSE",
    "UNSELECT",
    "EXPUNGE",
    "SEARCH",
    "FETCH",
    "STORE",
    "COPY",
    "MOVE",
    "UID",
    "IDLE",
    "NAMESPACE",
    "ENABLE",
    "ID",
    "GETQUOTAROOT",
    "GETQUOTA",
    "COMPRESS",
    "SORT",
    "THREAD",
    "NOTIFY",
    "XLIST",
];
const POP3_OTHER: [&str; 5] = ["STAT", "DELE", "RSET", "UTF8", "LANG"];
const SIEVE_OTHER: [&str; 9] = [
    "HAVESPACE",
    "PUTSCRIPT",
    "LISTSCRIPTS",
    "SETACTIVE",
    "GETSCRIPT",
    "DELETESCRIPT",
    "RENAMESCRIPT",
    "CHECKSCRIPT",
    "UNAUTHENTICATE",
];

/// Reads a client's line, without its line end.
pub(super) fn read(protocol: Protocol, line: &[u8]) -> Verb {
    match protocol {
        Protocol::Smtp | Protocol::Lmtp => smtp(line),
        Protocol::Imap => imap(words(line).1),
        Protocol::Pop3 => pop3(line),
        Protocol::Sieve => sieve(line),
    }
}

/// The IMAP tag of a line.
pub(super) fn tag(line: &[u8]) -> &[u8] {
    words(line).0
}

/// Whether a line, of which nothing is known but its words, is a command of this protocol.
pub(super) fn is_command(protocol: Protocol, line: &str) -> bool {
    let (first, rest) = first_word(line);
    let alone = rest.is_empty();
    let is = |word: &str| first.eq_ignore_ascii_case(word);
    let starts = |prefix: &str| {
        line.as_bytes()
            .get(..prefix.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    match protocol {
        Protocol::Smtp | Protocol::Lmtp => {
            ((is("EHLO") || is("HELO") || is("LHLO")) && !rest.contains(' '))
                || (alone
                    && ["STARTTLS", "QUIT", "NOOP", "RSET", "DATA", "HELP"]
                        .iter()
                        .any(|v| is(v)))
                || (is("AUTH") && !alone && rest.split(' ').count() <= 2)
                || ((is("VRFY") || is("EXPN") || is("ETRN")) && !alone && !rest.contains(' '))
                || starts("MAIL FROM:")
                || starts("RCPT TO:")
                || (is("BDAT") && rest.starts_with(|c: char| c.is_ascii_digit()))
        }
        Protocol::Imap => {
            let (verb, after) = first_word(rest);
            let known = |list: &[&str]| list.iter().any(|v| verb.eq_ignore_ascii_case(v));
            is_tag(first)
                && (known(&["CAPABILITY", "STARTTLS", "NOOP", "LOGOUT"]) && after.is_empty()
                    || known(&["LOGIN", "AUTHENTICATE"])
                    || (known(&IMAP_OTHER) && verb.bytes().all(|b| b.is_ascii_uppercase())))
        }
        Protocol::Pop3 => {
            (alone
                && [
                    "CAPA", "STLS", "QUIT", "NOOP", "STAT", "LIST", "UIDL", "RSET",
                ]
                .iter()
                .any(|v| is(v)))
                || (!alone
                    && [
                        "USER", "PASS", "APOP", "AUTH", "RETR", "TOP", "LIST", "UIDL", "DELE",
                    ]
                    .iter()
                    .any(|v| is(v)))
        }
        Protocol::Sieve => {
            alone
                && ["CAPABILITY", "STARTTLS", "LOGOUT", "NOOP"]
                    .iter()
                    .any(|v| is(v))
                || is("AUTHENTICATE")
        }
    }
}

/// Whether a line, in whatever language, begins to authenticate.
pub(super) fn may_authenticate(line: &[u8]) -> bool {
    line.split(|b| *b == b' ').take(2).any(|word| {
        is_any(
            word,
            &["AUTH", "LOGIN", "AUTHENTICATE", "USER", "PASS", "APOP"],
        )
    })
}

/// Whether a word can be an IMAP tag.
pub(super) fn is_tag(word: &str) -> bool {
    (1..=24).contains(&word.len())
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'$'))
}

/// `Capabilities` or, where they were asked before on this layer, `CapabilitiesAgain`.
pub(super) fn again(
    label: Label,
    layer: Layer,
    before: impl Iterator<Item = (Label, Layer)>,
) -> Label {
    let mut before = before;
    if label == Label::Capabilities && before.any(|(l, on)| l == Label::Capabilities && on == layer)
    {
        Label::CapabilitiesAgain
    } else {
        label
    }
}

/// First word and the rest, of text.
pub(super) fn first_word(line: &str) -> (&str, &str) {
    line.split_once([' ', '\t'])
        .map_or((line, ""), |(first, rest)| (first, rest.trim()))
}

fn words(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let (first, rest) = line.split_at(end);
    (first, rest.get(1..).unwrap_or_default())
}

fn plain(label: Label) -> Verb {
    Verb {
        label,
        opens: Opens::Nothing,
    }
}

fn is_any(word: &[u8], list: &[&str]) -> bool {
    list.iter().any(|v| word.eq_ignore_ascii_case(v.as_bytes()))
}

/// `STARTTLS` and `starttls` are one question; letters of both kinds are another (a naive filter's test).
fn spelled(word: &[u8]) -> Verb {
    let mixed = word.iter().any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase);
    plain(if mixed {
        Label::MixedCaseStartTls
    } else {
        Label::StartTls
    })
}

fn smtp(line: &[u8]) -> Verb {
    let (word, rest) = words(line);
    let is = |list: &[&str]| is_any(word, list);
    if is(&["EHLO", "LHLO"]) {
        plain(Label::Capabilities)
    } else if is(&["HELO"]) {
        plain(Label::Helo)
    } else if is(&["STARTTLS"]) {
        spelled(word)
    } else if is(&["NOOP"]) {
        plain(Label::Noop)
    } else if is(&["HELP"]) {
        plain(Label::Help)
    } else if is(&["QUIT"]) {
        plain(Label::Quit)
    } else if is(&["AUTH"]) {
        Verb {
            label: Label::Auth,
            opens: Opens::Secret,
        }
    } else if is(&["MAIL", "RCPT"]) {
        plain(Label::Transaction)
    } else if is(&["DATA"]) {
        Verb {
            label: Label::Transaction,
            opens: Opens::Body,
        }
    } else if is(&["BDAT"]) {
        Verb {
            label: Label::Transaction,
            opens: Opens::Chunk(number(words(rest).0)),
        }
    } else if is(&SMTP_OTHER) || is_any(word, &["XCLIENT", "XFORWARD"]) {
        plain(Label::Other)
    } else {
        plain(Label::UnknownVerb)
    }
}

fn imap(command: &[u8]) -> Verb {
    let word = words(command).0;
    let is = |list: &[&str]| is_any(word, list);
    if is(&["CAPABILITY"]) {
        plain(Label::Capabilities)
    } else if is(&["STARTTLS"]) {
        spelled(word)
    } else if is(&["NOOP"]) {
        plain(Label::Noop)
    } else if is(&["LOGOUT"]) {
        plain(Label::Quit)
    } else if is(&["LOGIN", "AUTHENTICATE"]) {
        Verb {
            label: Label::Auth,
            opens: Opens::Secret,
        }
    } else if is(&IMAP_OTHER) {
        plain(Label::Other)
    } else {
        plain(Label::UnknownVerb)
    }
}

fn pop3(line: &[u8]) -> Verb {
    let (word, rest) = words(line);
    let is = |list: &[&str]| is_any(word, list);
    let list = |label| Verb {
        label,
        opens: Opens::List,
    };
    if is(&["CAPA"]) {
        list(Label::Capabilities)
    } else if is(&["STLS"]) {
        spelled(word)
    } else if is(&["NOOP"]) {
        plain(Label::Noop)
    } else if is(&["QUIT"]) {
        plain(Label::Quit)
    } else if is(&["AUTH"]) && rest.is_empty() {
        list(Label::Other)
    } else if is(&["USER", "PASS", "APOP", "AUTH"]) {
        Verb {
            label: Label::Auth,
            opens: Opens::Secret,
        }
    } else if is(&["LIST", "UIDL"]) {
        if rest.is_empty() {
            list(Label::Other)
        } else {
            plain(Label::Other)
        }
    } else if is(&["RETR", "TOP"]) {
        Verb {
            label: Label::Other,
            opens: Opens::Message,
        }
    } else if is(&POP3_OTHER) {
        plain(Label::Other)
    } else {
        plain(Label::UnknownVerb)
    }
}

fn sieve(line: &[u8]) -> Verb {
    let word = words(line).0;
    let is = |list: &[&str]| is_any(word, list);
    if is(&["CAPABILITY"]) {
        plain(Label::Capabilities)
    } else if is(&["STARTTLS"]) {
        spelled(word)
    } else if is(&["NOOP"]) {
        plain(Label::Noop)
    } else if is(&["LOGOUT"]) {
        plain(Label::Quit)
    } else if is(&["AUTHENTICATE"]) {
        Verb {
            label: Label::Auth,
            opens: Opens::Secret,
        }
    } else if is(&SIEVE_OTHER) {
        plain(Label::Other)
    } else {
        plain(Label::UnknownVerb)
    }
}

/// A decimal number, saturating; 0 for what is none.
pub(super) fn number(digits: &[u8]) -> u64 {
    digits
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .fold(0, |n: u64, b| {
            n.saturating_mul(10).saturating_add(u64::from(b - b'0'))
        })
}

/// The length of the literal that a line announces at its end: `{12}` or `{12+}`.
pub(super) fn literal(line: &[u8]) -> Option<u64> {
    let inner = line.strip_suffix(b"}")?;
    let inner = inner.strip_suffix(b"+").unwrap_or(inner);
    let open = inner.iter().rposition(|b| *b == b'{')?;
    let digits = inner.get(open + 1..)?;
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then(|| number(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_of_each_protocol() {
        for (protocol, line, label) in [
            (Protocol::Smtp, "EHLO a", Label::Capabilities),
            (Protocol::Smtp, "starttls", Label::StartTls),
            (Protocol::Smtp, "StartTLS", Label::MixedCaseStartTls),
            (Protocol::Smtp, "XXXXXXXX", Label::UnknownVerb),
            (Protocol::Lmtp, "LHLO a", Label::Capabilities),
            (Protocol::Imap, "a STARTTLS", Label::StartTls),
            (Protocol::Imap, "a login x y", Label::Auth),
            (Protocol::Imap, "a QZRTWXYK", Label::UnknownVerb),
            (Protocol::Pop3, "STLS", Label::StartTls),
            (Protocol::Pop3, "PASS x", Label::Auth),
            (Protocol::Sieve, "LOGOUT", Label::Quit),
        ] {
            assert_eq!(read(protocol, line.as_bytes()).label, label, "{line}");
        }
    }

    #[test]
    fn literals_are_recognised_at_the_end_only() {
        assert_eq!(literal(b"a LOGIN {4}"), Some(4));
        assert_eq!(literal(b"PUTSCRIPT \"x\" {31+}"), Some(31));
        assert_eq!(literal(b"a {4} b"), None);
        assert_eq!(literal(b"a {}"), None);
        assert_eq!(literal(b"{99999999999999999999999}"), Some(u64::MAX));
    }

    #[test]
    fn prose_is_no_command() {
        assert!(!is_command(Protocol::Smtp, "help me with this"));
        assert!(!is_command(Protocol::Smtp, "EHLO is what it said"));
        assert!(is_command(Protocol::Smtp, "ehlo probe.example"));
        assert!(!is_command(Protocol::Imap, "please list the folders"));
        assert!(is_command(Protocol::Imap, "a1 CAPABILITY"));
    }
}
