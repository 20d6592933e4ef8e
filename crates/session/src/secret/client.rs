//! The client's side: commands with secrets in them, answers to challenges, messages.

use alloc::vec::Vec;

use super::{
    Client, Expected, Redactor,
    veil::{quotable, split_end, veil, veil_from},
};
use crate::{Protocol, frame::literal, token::offset_in};

/// Most POP3 commands whose answers are awaited; who sends more loses the oldest, and doubt hides.
const MOST_EXPECTED: usize = 1024;

/// Commands after which a challenge makes nothing secret (SMTP, LMTP, POP3).
const HARMLESS: [&[u8]; 8] = [
    b"EHLO",
    b"HELO",
    b"LHLO",
    b"STARTTLS",
    b"STLS",
    b"NOOP",
    b"CAPA",
    b"QUIT",
];

impl Redactor {
    /// One piece of a line, at most up to its LF.
    pub(super) fn client_piece(
        &mut self,
        protocol: Protocol,
        mut piece: &[u8],
        kept: &mut Vec<u8>,
    ) {
        while !piece.is_empty() {
            match self.client {
                Client::Counted {
                    left, is_literal, ..
                } => {
                    let (counted, rest) = piece.split_at(left.min(piece.len()));
                    veil(counted, kept);
                    let left = left - counted.len();
                    self.client = match (left, is_literal) {
                        (0, true) => Client::Rest,
                        (0, false) => Client::Commands,
                        _ => Client::Counted {
                            left,
                            is_literal,
                            untouched: false,
                        },
                    };
                    piece = rest;
                    continue;
                }
                Client::Rest => {
                    self.client = Client::Commands;
                    self.hide(protocol, piece, 0, kept);
                }
                Client::MessageAwaited | Client::Message if split_end(piece).0 == b"." => {
                    self.client = Client::Commands;
                    self.data_pending = false;
                    kept.extend_from_slice(piece);
                }
                Client::MessageAwaited | Client::Message => {
                    self.client = Client::Message;
                    veil(piece, kept);
                }
                Client::Commands if self.sasl.is_some() => {
                    // A lone star takes the attempt back (RFC 4954 §4).
                    let from = if split_end(piece).0 == b"*" { 1 } else { 0 };
                    self.hide(protocol, piece, from, kept);
                }
                Client::Commands => self.command(protocol, piece, kept),
            }
            return;
        }
    }

    /// A command line: hides what its verb says is secret.
    fn command(&mut self, protocol: Protocol, line: &[u8], kept: &mut Vec<u8>) {
        let text = split_end(line).0;
        let words = Words::of(text);
        self.data_pending = false;
        self.harmless = HARMLESS.iter().any(|verb| words.is(0, verb));
        let shown = match protocol {
            Protocol::Smtp | Protocol::Lmtp => self.smtp(&words),
            Protocol::Imap => self.imap(&words),
            Protocol::Pop3 => self.pop3(&words),
            Protocol::Sieve => self.sieve(&words),
        };
        match shown {
            Some(shown) => {
                let from = shown.min(text.len());
                self.hidden = quotable(text.get(from..).unwrap_or_default());
                self.hide(protocol, line, from, kept);
            }
            None => {
                kept.extend_from_slice(line);
                let counted = matches!(protocol, Protocol::Imap | Protocol::Sieve)
                    .then(|| literal(text))
                    .flatten();
                self.begin_literal(counted);
            }
        }
    }

    /// Hides the line from `from` on and remembers what it hid.
    fn hide(&mut self, protocol: Protocol, line: &[u8], from: usize, kept: &mut Vec<u8>) {
        let hidden = quotable(split_end(line).0.get(from..).unwrap_or_default());
        if !hidden.is_empty() {
            self.hidden = hidden;
        }
        let counted = veil_from(protocol, line, from, kept);
        self.begin_literal(counted);
    }

    fn begin_literal(&mut self, length: Option<usize>) {
        if let Some(left) = length {
            self.client = Client::Counted {
                left,
                is_literal: true,
                untouched: true,
            };
            if left == 0 {
                self.client = Client::Rest;
            }
        }
    }

    /// How much of the line may be shown; `None`: all.
    fn smtp(&mut self, words: &Words<'_>) -> Option<usize> {
        if words.is(0, b"AUTH") {
            self.sasl = Some(Vec::new());
            return Some(words.end(1));
        }
        if words.is(0, b"DATA") {
            self.data_pending = true;
            self.client = Client::MessageAwaited;
        } else if words.is(0, b"BDAT") {
            let size = core::str::from_utf8(words.at(1))
                .ok()
                .and_then(|size| size.parse().ok());
            if let Some(left) = size.filter(|size| *size > 0) {
                self.client = Client::Counted {
                    left,
                    is_literal: false,
                    untouched: true,
                };
            }
        }
        None
    }

    fn imap(&mut self, words: &Words<'_>) -> Option<usize> {
        // People at a terminal forget the tag.
        for at in [1, 0] {
            if words.is(at, b"LOGIN") {
                return Some(words.end(at));
            }
            if words.is(at, b"AUTHENTICATE") {
                self.sasl = Some(words.at(0).to_vec());
                return Some(words.end(at + 1));
            }
        }
        None
    }

    fn pop3(&mut self, words: &Words<'_>) -> Option<usize> {
        let bare = words.at(1).is_empty();
        let expected = if words.is(0, b"RETR") || words.is(0, b"TOP") {
            Expected::Message
        } else if words.is(0, b"CAPA")
            || (bare
                && [&b"LIST"[..], b"UIDL", b"AUTH", b"LANG"]
                    .iter()
                    .any(|verb| words.is(0, verb)))
        {
            Expected::List
        } else {
            Expected::Line
        };
        if self.expected.len() >= MOST_EXPECTED {
            self.expected.pop_front();
        }
        self.expected.push_back(expected);
        if words.is(0, b"AUTH") && !bare {
            self.sasl = Some(Vec::new());
            return Some(words.end(1));
        }
        [&b"USER"[..], b"PASS", b"APOP"]
            .iter()
            .any(|verb| words.is(0, verb))
            .then(|| words.end(0))
    }

    fn sieve(&mut self, words: &Words<'_>) -> Option<usize> {
        if words.is(0, b"AUTHENTICATE") {
            self.sasl = Some(Vec::new());
            Some(words.end(1))
        } else if words.is(0, b"PUTSCRIPT") {
            Some(words.end(1))
        } else if words.is(0, b"CHECKSCRIPT") {
            Some(words.end(0))
        } else {
            if words.is(0, b"GETSCRIPT") {
                self.server = super::Server::Script;
            }
            None
        }
    }
}

/// The first words of a line and where each ends.
struct Words<'a> {
    text: &'a [u8],
    words: [&'a [u8]; 3],
}

impl<'a> Words<'a> {
    fn of(text: &'a [u8]) -> Self {
        let mut found = text
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        let words = core::array::from_fn(|_| found.next().unwrap_or_default());
        Self { text, words }
    }

    fn at(&self, index: usize) -> &'a [u8] {
        self.words.get(index).copied().unwrap_or_default()
    }

    fn is(&self, index: usize, verb: &[u8]) -> bool {
        self.at(index).eq_ignore_ascii_case(verb)
    }

    /// The offset behind a word and its blank; the line's length where there is no such word.
    fn end(&self, index: usize) -> usize {
        let word = self.at(index);
        if word.is_empty() {
            self.text.len()
        } else {
            offset_in(self.text, word) + word.len() + 1
        }
    }
}
