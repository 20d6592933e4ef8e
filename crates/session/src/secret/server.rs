//! The server's side: challenges, messages, and secrets quoted back.

use alloc::vec::Vec;

use super::{
    Client, Expected, Redactor, Server,
    veil::{split_end, veil, veil_from, veil_words},
};
use crate::{
    Protocol, imap,
    imap::line::{Kind, Word, kind},
    sieve,
    token::{offset_in, starts_with_word},
};

impl Redactor {
    /// One piece of a line, at most up to its LF.
    pub(super) fn server_piece(
        &mut self,
        protocol: Protocol,
        mut piece: &[u8],
        kept: &mut Vec<u8>,
    ) {
        while !piece.is_empty() {
            match self.server {
                Server::Counted { left } => {
                    let (counted, rest) = piece.split_at(left.min(piece.len()));
                    veil(counted, kept);
                    let left = left - counted.len();
                    self.server = if left == 0 {
                        Server::Rest
                    } else {
                        Server::Counted { left }
                    };
                    piece = rest;
                    continue;
                }
                Server::Rest => {
                    self.server = Server::Replies;
                    let counted = veil_from(protocol, piece, 0, kept);
                    self.begin_server_literal(counted);
                }
                Server::Lines { .. } if split_end(piece).0 == b"." => {
                    self.server = Server::Replies;
                    kept.extend_from_slice(piece);
                }
                Server::Lines { hidden: true } => veil(piece, kept),
                Server::Script if !sieve::reply::ends(piece, false) => veil(piece, kept),
                Server::Lines { hidden: false } | Server::Script | Server::Replies => {
                    let from = kept.len();
                    match protocol {
                        Protocol::Smtp | Protocol::Lmtp => self.smtp_reply(piece, kept),
                        Protocol::Imap => self.imap_reply(piece, kept),
                        Protocol::Pop3 => self.pop3_reply(piece, kept),
                        Protocol::Sieve => self.sieve_reply(piece, kept),
                    }
                    veil_words(&self.hidden, from, kept);
                }
            }
            return;
        }
    }

    fn begin_server_literal(&mut self, length: Option<usize>) {
        match length {
            Some(0) => self.server = Server::Rest,
            Some(left) => self.server = Server::Counted { left },
            None => {}
        }
    }

    /// The server asks for a SASL answer.
    fn challenged(&mut self) {
        if !self.harmless {
            self.sasl = Some(Vec::new());
        }
    }

    /// The server refused: no message and no literal will follow.
    fn refused(&mut self) {
        if matches!(
            self.client,
            Client::MessageAwaited
                | Client::Counted {
                    untouched: true,
                    ..
                }
        ) {
            self.client = Client::Commands;
        }
    }

    fn smtp_reply(&mut self, line: &[u8], kept: &mut Vec<u8>) {
        let is_last = line.get(3) != Some(&b'-');
        match line.first_chunk::<3>() {
            Some(b"334") => {
                self.challenged();
                veil_from(Protocol::Smtp, line, 4, kept);
                return;
            }
            Some(b"354") if self.data_pending => self.client = Client::Message,
            Some([class, ..]) if is_last && class.is_ascii_digit() => {
                self.sasl = None;
                // A chunk is sent without waiting (RFC 3030 §2): a refusal does not take it back.
                if matches!(class, b'4' | b'5') && self.client == Client::MessageAwaited {
                    self.refused();
                }
            }
            _ => {}
        }
        kept.extend_from_slice(line);
    }

    fn imap_reply(&mut self, line: &[u8], kept: &mut Vec<u8>) {
        let text = split_end(line).0;
        match kind(text) {
            Kind::Continuation { .. } if self.sasl.is_some() => {
                veil_from(Protocol::Imap, line, 2, kept);
            }
            Kind::Status { tag, word, .. } => {
                if tag.is_some() && self.sasl.as_deref() == tag {
                    self.sasl = None;
                }
                if tag.is_some() && word != Word::Ok {
                    self.refused();
                }
                kept.extend_from_slice(line);
            }
            Kind::Untagged { rest } => {
                let mut words = rest.split(|byte| *byte == b' ');
                let from = match words.nth(1) {
                    Some(word) if word.eq_ignore_ascii_case(b"FETCH") => {
                        offset_in(text, word) + word.len() + 1
                    }
                    _ => text.len(),
                };
                let counted =
                    veil_from(Protocol::Imap, line, from, kept).or_else(|| self.announced(text));
                self.begin_server_literal(counted);
            }
            Kind::Continuation { .. } | Kind::Odd => kept.extend_from_slice(line),
        }
    }

    fn announced(&self, text: &[u8]) -> Option<usize> {
        if imap::reply::is_free_text(text) {
            None
        } else {
            crate::frame::literal(text)
        }
    }

    fn pop3_reply(&mut self, line: &[u8], kept: &mut Vec<u8>) {
        let text = split_end(line).0;
        if matches!(self.server, Server::Lines { .. }) {
            kept.extend_from_slice(line);
        } else if text == b"+" || text.starts_with(b"+ ") {
            self.challenged();
            veil_from(Protocol::Pop3, line, 2, kept);
        } else if starts_with_word(text, b"+OK") || starts_with_word(text, b"-ERR") {
            self.sasl = None;
            self.server = match self.expected.pop_front() {
                Some(Expected::Message) if text.starts_with(b"+") => Server::Lines { hidden: true },
                Some(Expected::List) if text.starts_with(b"+") => Server::Lines { hidden: false },
                _ => Server::Replies,
            };
            kept.extend_from_slice(line);
        } else if is_header_field(text) {
            // Nobody is known to have asked for a message, but this is one.
            self.server = Server::Lines { hidden: true };
            veil(line, kept);
        } else {
            kept.extend_from_slice(line);
        }
    }

    fn sieve_reply(&mut self, line: &[u8], kept: &mut Vec<u8>) {
        let text = split_end(line).0;
        if sieve::reply::ends(text, false) {
            self.sasl = None;
            self.server = Server::Replies;
            if !starts_with_word(text, b"OK") {
                self.refused();
            }
            kept.extend_from_slice(line);
        } else if self.sasl.is_some() || text.starts_with(b"{") {
            let counted = veil_from(Protocol::Sieve, line, 0, kept);
            self.begin_server_literal(counted);
        } else {
            kept.extend_from_slice(line);
        }
    }
}

/// `Name: …` (RFC 5322 §2.2).
fn is_header_field(text: &[u8]) -> bool {
    let name = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
        .count();
    name > 0 && text.get(name) == Some(&b':')
}
