//! Who said a line: by its mark where it has one, by its grammar where it has none.
//!
//! RFC 5321 §4.2, RFC 9051 §7, RFC 1939 §3, RFC 5804 §1.2.

use hoofbeat_session::{Direction, Layer, Protocol};

use super::{
    super::{
        super::{
            cutter::{protocol_of_server, reply_code},
            verb::{self, first_word},
        },
        dress::Dressed,
    },
    LONGEST_GUESS, Said, Session,
};

impl Session {
    /// Whether a line greets anew: then it belongs to another dialogue.
    pub(in super::super) fn is_ended_by_line(&self, dressed: &Dressed<'_>) -> bool {
        let text = dressed.text;
        if self.cutter.is_hiding() && !dressed.sure {
            // A message may hold anything.
            return false;
        }
        if dressed.who == Some(Direction::ToClient) && dressed.sure && self.greets(text) {
            // A marked greeting in another language than this dialogue's.
            let other = |protocol| {
                !matches!(
                    (self.cutter.protocol(), protocol),
                    (None, _) | (Some(Protocol::Lmtp), Protocol::Smtp)
                ) && self.cutter.protocol() != Some(protocol)
            };
            if protocol_of_server(text.as_bytes()).is_some_and(other) {
                return true;
            }
        }
        if self.server_lines == 0 || self.cutter.is_listing() {
            return self.over && self.server_lines + self.client_lines > 0 && self.greets(text);
        }
        let idle = !self.cutter.is_waiting();
        match self.cutter.protocol() {
            Some(Protocol::Smtp | Protocol::Lmtp) => {
                let code = reply_code(text.as_bytes());
                (self.over && (self.greets(text) || self.is_opening(text)))
                    || (idle && code == Some(220) && !text.contains("TLS") && self.client_lines > 0)
                    || (idle && code.is_some_and(|c| c == 200 || c == 220) && text.contains("****"))
                    || (idle && self.client_lines > 1 && starts(text, "* OK"))
            }
            Some(Protocol::Imap | Protocol::Pop3 | Protocol::Sieve) => {
                (self.over && (self.greets(text) || self.is_opening(text)))
                    || (idle
                        && self.client_lines > 0
                        && self.cutter.layer() == Layer::Plain
                        && self.greets(text))
            }
            None => false,
        }
    }

    pub(super) fn greets(&self, text: &str) -> bool {
        matches!(reply_code(text.as_bytes()), Some(220 | 421 | 554 | 200))
            || starts(text, "* OK")
            || starts(text, "* PREAUTH")
            || starts(text, "* BYE")
            || starts(text, "+OK")
            || starts(text, "\"IMPLEMENTATION\"")
    }

    pub(super) fn is_opening(&self, text: &str) -> bool {
        ["EHLO ", "HELO ", "LHLO "]
            .iter()
            .any(|verb| starts(text, verb))
            || text.eq_ignore_ascii_case("CAPA")
    }

    pub(super) fn speaker(&self, dressed: &Dressed<'_>) -> Said {
        let text = dressed.text;
        let begun = self.server_lines + self.client_lines > 0;
        if dressed.sure {
            return match dressed.who {
                Some(Direction::ToClient)
                    if self.is_server_like(text) || self.cutter.is_listing() =>
                {
                    Said::Server
                }
                Some(Direction::ToServer)
                    if self.is_client_like(text) || self.cutter.is_hiding() =>
                {
                    Said::Client
                }
                Some(Direction::ToServer)
                    if begun && self.form.marks_sides() && !text.is_empty() =>
                {
                    Said::Client
                }
                _ => Said::Nobody,
            };
        }
        if self.cutter.is_hiding() {
            let secret_answered = self.cutter.is_waiting() && self.is_server_like(text);
            // A form that marks the client's lines marks these too.
            let hidden =
                !text.is_empty() && (dressed.who == Some(Direction::ToServer) || !self.marked);
            return match (secret_answered, hidden) {
                (true, _) => Said::Server,
                (false, true) => Said::Client,
                (false, false) => Said::Nobody,
            };
        }
        if text.is_empty() {
            return Said::Nobody;
        }
        if self.cutter.is_listing() && !self.breaks_list(text) {
            return if self.marked {
                Said::Nobody
            } else {
                Said::Server
            };
        }
        if self.is_server_like(text) {
            return Said::Server;
        }
        if self.is_client_like(text) {
            return Said::Client;
        }
        let guess = begun
            && !self.cutter.is_answering()
            && text.len() <= LONGEST_GUESS
            && !text.contains('\'')
            && text.starts_with(|c: char| c.is_ascii_alphabetic());
        if guess { Said::Perhaps } else { Said::Nobody }
    }

    /// Whether a line can be no part of a POP3 list: its end was left out of the text.
    fn breaks_list(&self, text: &str) -> bool {
        let (first, rest) = first_word(text);
        let secret = ["USER", "PASS", "APOP"]
            .iter()
            .any(|verb| first.eq_ignore_ascii_case(verb));
        !self.marked
            && (starts(text, "+OK") || starts(text, "-ERR") || (secret && !rest.is_empty()))
    }

    pub(super) fn is_server_like(&self, text: &str) -> bool {
        let protocol = self.cutter.protocol();
        let is = |wanted: &[Protocol]| protocol.is_none_or(|p| wanted.contains(&p));
        if is(&[Protocol::Smtp, Protocol::Lmtp])
            && reply_code(text.as_bytes()).is_some_and(|code| code >= 200)
        {
            return true;
        }
        if is(&[Protocol::Imap]) {
            if let Some(rest) = text.strip_prefix("* ") {
                let (word, _) = first_word(rest);
                return [
                    "OK",
                    "NO",
                    "BAD",
                    "BYE",
                    "PREAUTH",
                    "CAPABILITY",
                    "FLAGS",
                    "LIST",
                    "ID",
                ]
                .iter()
                .any(|w| word.eq_ignore_ascii_case(w))
                    || (!word.is_empty()
                        && word.bytes().all(|b| b.is_ascii_digit())
                        && protocol.is_some());
            }
            let (tag, rest) = first_word(text);
            let status = first_word(rest).0;
            let ends = ["OK", "NO", "BAD"]
                .iter()
                .any(|w| status.eq_ignore_ascii_case(w));
            let asked = self.cutter.expects_tag(tag)
                || self
                    .perhaps
                    .as_ref()
                    .is_some_and(|perhaps| first_word(perhaps).0 == tag)
                || (protocol.is_some() && self.cutter.is_answering());
            if ends && asked && verb::is_tag(tag) {
                return true;
            }
            if protocol.is_some()
                && self.cutter.is_waiting()
                && (text == "+" || text.starts_with("+ "))
            {
                return true;
            }
        }
        if is(&[Protocol::Pop3]) {
            if starts(text, "+OK") || starts(text, "-ERR") {
                return true;
            }
            if protocol.is_some()
                && self.cutter.is_waiting()
                && (text == "+" || text.starts_with("+ "))
            {
                return true;
            }
        }
        if is(&[Protocol::Sieve]) {
            if starts(text, "\"IMPLEMENTATION\"")
                || starts(text, "\"SASL\"")
                || starts(text, "\"SIEVE\"")
            {
                return true;
            }
            let open = self.cutter.is_waiting() || self.cutter.exchanges().is_empty();
            let word = text.split([' ', '(']).next().unwrap_or_default();
            return protocol.is_some()
                && open
                && (text.starts_with('"')
                    || ["OK", "NO", "BYE"]
                        .iter()
                        .any(|w| word.eq_ignore_ascii_case(w)));
        }
        false
    }

    pub(super) fn is_client_like(&self, text: &str) -> bool {
        let begun = self.server_lines + self.client_lines > 0;
        match self.cutter.protocol() {
            Some(protocol) if begun || protocol != Protocol::Smtp => {
                verb::is_command(protocol, text)
            }
            // Without a dialogue only the verbs that begin one are taken at their word.
            _ => {
                let (first, rest) = first_word(text);
                let opens = ["EHLO", "HELO", "LHLO"]
                    .iter()
                    .any(|v| first.eq_ignore_ascii_case(v))
                    && !rest.is_empty();
                (opens && !rest.contains(' '))
                    || (begun
                        && (text.eq_ignore_ascii_case("CAPA") || text.eq_ignore_ascii_case("STLS")))
                    || (verb::is_command(Protocol::Imap, text)
                        && ["CAPABILITY", "STARTTLS"]
                            .iter()
                            .any(|v| rest.eq_ignore_ascii_case(v)))
            }
        }
    }
}

/// Whether a line can begin a dialogue: a quick look before a session is made for it.
pub(in super::super) fn may_begin(dressed: &Dressed<'_>) -> bool {
    let text = dressed.text;
    match text.as_bytes() {
        _ if dressed.sure => true,
        [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', ..] | [b'*' | b'+' | b'-', ..] => true,
        [b'"', ..] => {
            starts(text, "\"IMPLEMENTATION\"")
                || starts(text, "\"SASL\"")
                || starts(text, "\"SIEVE\"")
        }
        [a, ..] if a.is_ascii_alphanumeric() => {
            let (first, rest) = first_word(text);
            let is = |word: &str, verbs: &[&str]| {
                verbs.iter().any(|verb| word.eq_ignore_ascii_case(verb))
            };
            is(first, &["EHLO", "HELO", "LHLO"]) || is(rest, &["CAPABILITY", "STARTTLS"])
        }
        _ => false,
    }
}

pub(super) fn starts(text: &str, prefix: &str) -> bool {
    text.as_bytes()
        .get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}
