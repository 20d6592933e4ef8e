//! The word by which a connection says to which session it belongs, and how each protocol carries it.
//!
//! SMTP: the name in EHLO, below `.invalid` (RFC 2606). IMAP: the first tag. POP3 has no free word before login, so
//! there it is the argument of a command that no server knows. HTTP: the path. TLS: one more name in ALPN, which a
//! server passes over when it does not know it (RFC 7301 §3.2); the server name itself belongs to the test.

use std::{fmt, str::FromStr};

use hoofbeat_session::Protocol;

/// Letters and digits that are not mistaken for one another; 32 of them, so five bits each.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters of a session's identifier: 60 bits, beyond guessing in a session's few minutes.
const SESSION: usize = 12;
/// Below which name SMTP tokens stand; never a host.
const BELOW: &str = ".witness.invalid";
/// POP3's bearer; no server knows it.
const POP3_VERB: &str = "XTOKEN";

/// One connection of one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token {
    /// The session's identifier.
    pub session: String,
    /// What the connection is for.
    pub errandry: Errandry,
    /// Which of them, 0–99.
    pub number: u8,
}

/// What a connection is for, as far as the witness must know at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Errandry {
    /// A mail dialogue, answered as any server would.
    Dialogue,
    /// A mail dialogue whose capability lists are sent with a limited TTL.
    Trace,
    /// HTTP or TLS.
    Web,
}

impl Errandry {
    const ALL: [(Self, char); 3] = [(Self::Dialogue, 'd'), (Self::Trace, 't'), (Self::Web, 'w')];
}

/// Not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no token")]
pub struct NoToken;

/// A session's identifier from random bytes.
#[must_use]
pub(crate) fn session_id(random: [u8; SESSION]) -> String {
    random
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte & 31)]))
        .collect()
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = Errandry::ALL
            .iter()
            .find(|(errandry, _)| *errandry == self.errandry)
            .map_or('d', |(_, letter)| *letter);
        write!(f, "{}{letter}{:02}", self.session, self.number.min(99))
    }
}

impl FromStr for Token {
    type Err = NoToken;

    /// In any case of letters: a box that changes the case must not hide whose connection it was.
    fn from_str(text: &str) -> Result<Self, NoToken> {
        let text = text.to_ascii_lowercase();
        let (session, rest) = text.split_at_checked(SESSION).ok_or(NoToken)?;
        let mut rest = rest.chars();
        let letter = rest.next().ok_or(NoToken)?;
        let (errandry, _) = *Errandry::ALL
            .iter()
            .find(|(_, known)| *known == letter)
            .ok_or(NoToken)?;
        let digits = rest.as_str();
        let good = session.bytes().all(|byte| LETTERS.contains(&byte))
            && digits.len() == 2
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().map_err(|_| NoToken)?;
        good.then(|| Self {
            session: session.to_owned(),
            errandry,
            number,
        })
        .ok_or(NoToken)
    }
}

/// Length of a token in characters.
const LENGTH: usize = SESSION + 3;

/// The name with which an SMTP client greets.
pub(crate) fn greeting_name(token: &str) -> String {
    format!("{token}{BELOW}")
}

/// POP3's command that carries the token.
pub(crate) fn pop3_command(token: &str) -> String {
    format!("{POP3_VERB} {token}\r\n")
}

/// The path of an HTTP request.
pub(crate) fn path(token: &str) -> String {
    format!("/{token}")
}

/// The token that a line of a mail client carries.
#[must_use]
pub(crate) fn of_line(protocol: Protocol, line: &[u8]) -> Option<Token> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (first, second) = (words.next()?, words.next());
    match protocol {
        Protocol::Smtp | Protocol::Lmtp => leading(second?),
        Protocol::Imap => leading(first),
        Protocol::Pop3 => first
            .eq_ignore_ascii_case(POP3_VERB)
            .then(|| leading(second?))
            .flatten(),
        Protocol::Sieve => None,
    }
}

/// The token of an HTTP request line.
#[must_use]
pub(crate) fn of_request(line: &[u8]) -> Option<Token> {
    let text = std::str::from_utf8(line).ok()?;
    // A proxy is asked with the whole address (RFC 9112 §3.2.2).
    text.split_ascii_whitespace()
        .nth(1)?
        .rsplit('/')
        .next()?
        .parse()
        .ok()
}

fn leading(word: &str) -> Option<Token> {
    word.get(..LENGTH)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(errandry: Errandry, number: u8) -> Token {
        Token {
            session: session_id([3; SESSION]),
            errandry,
            number,
        }
    }

    #[test]
    fn every_protocol_carries_it() {
        let whole = token(Errandry::Trace, 7);
        let said = whole.to_string();
        for (protocol, line) in [
            (Protocol::Smtp, format!("EHLO {}\r\n", greeting_name(&said))),
            (
                Protocol::Smtp,
                format!("XXXX {}\r\n", greeting_name(&said).to_uppercase()),
            ),
            (Protocol::Imap, format!("{said}h1 CAPABILITY\r\n")),
            (Protocol::Pop3, pop3_command(&said)),
        ] {
            assert_eq!(
                of_line(protocol, line.as_bytes()),
                Some(whole.clone()),
                "{line}"
            );
        }
        for request in [
            format!("GET {} HTTP/1.1", path(&said)),
            format!("GET http://w:80{} HTTP/1.0", path(&said)),
        ] {
            assert_eq!(of_request(request.as_bytes()), Some(whole.clone()));
        }
    }

    #[test]
    fn other_words_are_none() {
        for line in [
            "EHLO",
            "EHLO [192.0.2.1]",
            "EHLO abcdefghijkmx00.witness.invalid",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} x",
        ] {
            for protocol in [
                Protocol::Smtp,
                Protocol::Imap,
                Protocol::Pop3,
                Protocol::Sieve,
            ] {
                assert_eq!(of_line(protocol, line.as_bytes()), None, "{line}");
            }
        }
        assert_eq!(of_request(b"GET / HTTP/1.1"), None);
    }

    proptest! {
        #[test]
        fn written_and_read(random: [u8; SESSION], kind in 0..3_usize, number in 0..100_u8) {
            let (errandry, _) = Errandry::ALL[kind];
            let token = Token { session: session_id(random), errandry, number };
            prop_assert_eq!(token.to_string().parse(), Ok(token));
        }

        #[test]
        fn any_line_is_survived(line: Vec<u8>) {
            for protocol in [Protocol::Smtp, Protocol::Imap, Protocol::Pop3] {
                let _ = of_line(protocol, &line);
            }
            let _ = of_request(&line);
        }
    }
}
