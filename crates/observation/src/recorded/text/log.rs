//! The prefix of a syslog line, and the dialogues that verbose Postfix processes write behind it.
//!
//! RFC 3164 §4.1 and RFC 5424 §6 as syslogd and journald write them to files. It must not know what
//! a line's message says about TLS.

use alloc::{format, string::String};
use hoofbeat_session::Direction;

use super::{
    dress::Dressed,
    form::Form,
    peer::{self, Peer},
};

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Whether a line begins as syslog's lines do: a month's name, or a date and a time joined by `T`.
pub(super) fn begins_like_log(line: &[u8]) -> bool {
    match line {
        [a @ b'A'..=b'Z', b, c, b' ', ..] => MONTHS.contains(&&[*a, *b, *c]),
        [
            b'0'..=b'9',
            b'0'..=b'9',
            b'0'..=b'9',
            b'0'..=b'9',
            b'-',
            _,
            _,
            b'-',
            _,
            _,
            b'T',
            b'0'..=b'9',
            ..,
        ] => true,
        _ => false,
    }
}

/// Whether a log line may hold a line of a dialogue.
pub(super) fn may_hold_dialogue(line: &[u8]) -> bool {
    // `]: < mx.example[192.0.2.1]:25: 250 …`; the bracket stands early.
    let head = line.get(..line.len().min(160)).unwrap_or_default();
    memchr::memmem::find(head, b"]: <").is_some() || memchr::memmem::find(head, b"]: >").is_some()
}

/// Host, program with its process, and message.
fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (head, message) = line.split_once("]: ")?;
    let (before, pid) = head.rsplit_once('[')?;
    if pid.is_empty() || !pid.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (rest, program) = before.rsplit_once(' ')?;
    let host = rest.rsplit(' ').next().unwrap_or_default();
    Some((host, program, message))
}

/// The host that wrote a line; empty where the line does not tell.
pub(super) fn host(line: &str) -> &str {
    if !begins_like_log(line.as_bytes()) {
        return "";
    }
    parts(line).map_or("", |(host, _, _)| host)
}

/// A line of a dialogue in a verbose log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoken<'a> {
    /// Program and process, and everything before.
    program: &'a str,
    /// The party that is spoken with.
    party: &'a str,
    /// The server.
    pub(super) peer: Peer<'a>,
    /// What was said, and by whom.
    pub(super) dressed: Dressed<'a>,
}

impl Spoken<'_> {
    /// Tells this dialogue from others of the same log.
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.program, self.party)
    }
}

/// `postfix/smtp[7]: < mx.example[192.0.2.1]:25: 250-PIPELINING`; smtpd writes `>` for its own words.
pub(super) fn spoken(line: &str) -> Option<Spoken<'_>> {
    let (host, program, message) = parts(line)?;
    let sent = match message.split_at_checked(2)? {
        ("< ", _) => false,
        ("> ", _) => true,
        _ => return None,
    };
    let (party, said) = message.get(2..)?.split_once("]")?;
    let (_, text) = said.split_once(": ")?;
    let (peer, _) = peer::bracketed(message)?;
    let serves = program.contains("smtpd") || program.contains("submission");
    let who = if sent == serves {
        Direction::ToClient
    } else {
        Direction::ToServer
    };
    // In a server's own log the party is its client; the server is the one that writes.
    let peer = if serves {
        Peer {
            host,
            address: None,
            port: Some(25),
        }
    } else {
        peer
    };
    let pid = line.split_once("]: ").map_or(program, |(head, _)| {
        head.rsplit(' ').next().unwrap_or(program)
    });
    let dressed = Dressed {
        text: text.trim_end(),
        who: Some(who),
        sure: true,
        layer: None,
        form: Some(Form::PostfixLog),
    };
    Some(Spoken {
        program: pid,
        party,
        peer,
        dressed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        assert!(begins_like_log(b"Oct  1 10:00:00 mx postfix/smtp[7]: x"));
        assert!(begins_like_log(
            b"2024-10-01T10:00:00.123456+02:00 mx postfix/smtp[7]: x"
        ));
        assert!(!begins_like_log(b"220 mx"));
        assert!(!begins_like_log(b"May"));
        assert_eq!(host("Oct  1 10:00:00 mx postfix/smtp[7]: x"), "mx");
    }

    #[test]
    fn a_verbose_client_and_a_verbose_server() {
        let client = spoken(
            "Oct  1 10:00:00 out postfix/smtp[7]: < mx.example[192.0.2.1]:25: 250-PIPELINING",
        )
        .unwrap();
        assert_eq!(
            (client.dressed.text, client.dressed.who),
            ("250-PIPELINING", Some(Direction::ToClient))
        );
        assert_eq!(
            (client.peer.host, client.peer.port),
            ("mx.example", Some(25))
        );
        let server =
            spoken("Oct  1 10:00:00 mx postfix/smtpd[7]: > c.example[192.0.2.9]: 220 mx ESMTP")
                .unwrap();
        assert_eq!(
            (server.dressed.text, server.dressed.who),
            ("220 mx ESMTP", Some(Direction::ToClient))
        );
        assert_eq!(server.peer.host, "mx");
    }
}
