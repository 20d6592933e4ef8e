//! The client's side of a dialogue: commands, and what must not be kept of what follows them.
//!
//! RFC 5321 §4.1, RFC 4954 §4, RFC 3030 §2, RFC 9051 §4.3 (literals). It must not know replies.

use alloc::{borrow::Cow, vec::Vec};
use hoofbeat_session::{
    ByteRange, Direction, Elapsed, Label, Layer, Protocol, secret::redact_command,
};

use super::{
    super::{
        lines::Held,
        tls::{self, Watch},
        verb::{self, Opens},
    },
    After, Asked, ClientMode, Cutter, EXCHANGES, PIPELINE, Trust,
};

impl Cutter {
    pub(super) fn client_step(&mut self) -> bool {
        if let Some(watch) = &mut self.tls {
            while let Some(held) = self.client.take_all() {
                watch.input(Direction::ToServer, held.last_at(), &held.bytes);
            }
            return false;
        }
        if self.trust != Trust::Copied && self.expects_hello() {
            let waiting = self.client.waiting();
            if tls::begins_handshake(waiting) {
                self.begin_tls(self.client.waiting_since());
                return true;
            }
            if tls::may_begin_handshake(waiting) {
                return false;
            }
        }
        if let ClientMode::Skip { left, then } = self.mode {
            if left == 0 {
                self.mode = match then {
                    After::Commands => ClientMode::Commands,
                    After::Tail => ClientMode::Tail,
                };
                return !self.client.waiting().is_empty();
            }
            let Some(held) = self
                .client
                .take(usize::try_from(left).unwrap_or(usize::MAX))
            else {
                return false;
            };
            self.mode = ClientMode::Skip {
                left: left.saturating_sub(held.bytes.len() as u64),
                then,
            };
            self.hide(&held);
            return true;
        }
        match self.client.next_line() {
            Some(held) => {
                self.client_line(&held);
                true
            }
            None => false,
        }
    }

    /// TLS may begin here: behind a positive answer to STARTTLS, or where nothing was said before.
    pub(super) fn expects_hello(&self) -> bool {
        self.upgrade.is_some()
            || (self.exchanges.is_empty()
                && self.answer.is_none()
                && self.asked.is_empty()
                && self.client.offset() == 0)
            || (self.trust == Trust::MidStream
                && self.exchanges.len() <= 1
                && self.asked.is_empty())
    }

    pub(super) fn begin_tls(&mut self, at: Option<Elapsed>) {
        self.upgrade = None;
        self.layer = Layer::Tls;
        self.tls = Some(Watch::new(at.unwrap_or(self.last)));
    }

    pub(super) fn client_line(&mut self, held: &Held) {
        let line = held.text();
        match self.mode {
            ClientMode::Body => {
                if line == b"." {
                    self.mode = ClientMode::Commands;
                    let sent = self.keep(Direction::ToServer, held, None);
                    self.ask(Label::Transaction, Opens::Nothing, Vec::new(), sent, held);
                } else {
                    self.hide(held);
                }
            }
            ClientMode::Secret => {
                self.mode = ClientMode::Commands;
                self.hide(held);
            }
            ClientMode::Tail | ClientMode::Skip { .. } => {
                self.hide(held);
                if self.trust != Trust::Copied {
                    self.mode = match verb::literal(line) {
                        Some(left) => ClientMode::Skip {
                            left,
                            then: After::Tail,
                        },
                        None => ClientMode::Commands,
                    };
                }
            }
            ClientMode::Commands => self.command(held),
        }
    }

    pub(super) fn command(&mut self, held: &Held) {
        // The client went on in the clear where TLS was agreed.
        self.upgrade = None;
        if self.trust == Trust::Copied && self.mode == ClientMode::Commands {
            // Whoever copied the text left out the rest of the answer.
            self.break_off();
        }
        let line = held.text();
        if line.is_empty() {
            self.keep(Direction::ToServer, held, None);
            return;
        }
        if !is_wordlike(line) {
            // Not a command: bytes of an unknown kind are secrets until the contrary is proven.
            self.hide(held);
            return;
        }
        let protocol = self.protocol_of_client(line);
        let understood = verb::read(protocol, line);
        let label = verb::again(understood.label, self.layer, self.history());
        if label == Label::UnknownVerb && self.guarded && !is_masked(line) {
            // A client that did not wait for the server to ask for its secret, or a dialogue whose
            // language was mistaken.
            self.hide(held);
            return;
        }
        self.guarded |= label == Label::Auth || verb::may_authenticate(line);
        let tag = if protocol == Protocol::Imap {
            verb::tag(line).to_vec()
        } else {
            Vec::new()
        };
        let redacted = match label {
            Label::UnknownVerb | Label::Other => veil_arguments(protocol, &held.bytes),
            _ => redact_command(protocol, &held.bytes),
        };
        let sent = self.keep(Direction::ToServer, held, Some(&redacted));
        self.ask(label, understood.opens, tag, sent, held);
        if let Opens::Chunk(left) = understood.opens {
            self.mode = if self.trust == Trust::Copied {
                ClientMode::Tail
            } else {
                ClientMode::Skip {
                    left,
                    then: After::Commands,
                }
            };
        } else if matches!(protocol, Protocol::Imap | Protocol::Sieve)
            && let Some(left) = verb::literal(line)
        {
            self.mode = if self.trust == Trust::Copied {
                ClientMode::Tail
            } else {
                ClientMode::Skip {
                    left,
                    then: After::Tail,
                }
            };
        }
    }

    pub(super) fn ask(
        &mut self,
        label: Label,
        opens: Opens,
        tag: Vec<u8>,
        sent: ByteRange,
        held: &Held,
    ) {
        if self.asked.len() < PIPELINE && self.exchanges.len() < EXCHANGES {
            let layer = self.layer;
            self.asked.push_back(Asked {
                label,
                layer,
                opens,
                tag,
                sent,
                started: held.first_at(),
            });
        }
    }

    pub(super) fn protocol_of_client(&mut self, line: &[u8]) -> Protocol {
        let (first, rest) =
            line.split_at(line.iter().position(|b| *b == b' ').unwrap_or(line.len()));
        let is = |word: &[u8], verb: &str| word.eq_ignore_ascii_case(verb.as_bytes());
        let second = rest
            .get(1..)
            .unwrap_or_default()
            .split(|b| *b == b' ')
            .next()
            .unwrap_or_default();
        let told = if is(first, "LHLO") {
            Some(Protocol::Lmtp)
        } else if self.settled {
            None
        } else if is(first, "EHLO") || is(first, "HELO") {
            Some(Protocol::Smtp)
        } else if is(first, "CAPA") || is(first, "STLS") {
            Some(Protocol::Pop3)
        } else if is(second, "CAPABILITY") || is(second, "STARTTLS") || is(second, "LOGIN") {
            Some(Protocol::Imap)
        } else {
            None
        };
        if let Some(protocol) = told {
            self.protocol = Some(protocol);
            self.settled = true;
        }
        self.protocol.unwrap_or(Protocol::Smtp)
    }
}

/// A box writes X over what it refuses, arguments included.
fn is_masked(line: &[u8]) -> bool {
    line.len() > 3 && line.iter().all(|b| matches!(b, b'X' | b' '))
}

/// A line of which only the verb is kept: what an unknown or foreign command carries may be anybody's secret.
fn veil_arguments(protocol: Protocol, line: &[u8]) -> Cow<'_, [u8]> {
    let tag = if protocol == Protocol::Imap {
        verb::tag(line).len() + 1
    } else {
        0
    };
    let word = line.get(tag..).unwrap_or_default();
    let word = word
        .get(
            ..word
                .iter()
                .position(|b| b.is_ascii_whitespace())
                .unwrap_or(word.len()),
        )
        .unwrap_or_default();
    let verb = word.len() <= 16 && word.iter().all(u8::is_ascii_alphabetic);
    let open = match word {
        // A tag without a verb is no tag.
        [] => 0,
        word if is_masked(word) || verb => tag + word.len(),
        _ => tag,
    };
    let mut veiled = line.to_vec();
    for byte in veiled
        .iter_mut()
        .skip(open)
        .filter(|b| !b.is_ascii_whitespace())
    {
        *byte = b'*';
    }
    Cow::Owned(veiled)
}

/// Printable and not too long: what a command can be. A key or a message's binary is not.
fn is_wordlike(line: &[u8]) -> bool {
    line.len() <= 4096
        && line
            .iter()
            .all(|b| matches!(b, b'\t' | b' '..=b'~' | 0x80..))
}
