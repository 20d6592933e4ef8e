//! The server's side of a dialogue: replies of each protocol, and which command each of them answers.
//!
//! RFC 5321 §4.2, RFC 9051 §7, RFC 1939 §3, RFC 5804 §1.2. It must not know what a reply proves.

use hoofbeat_session::{ByteRange, Direction, Label, Layer, Outcome, Protocol};

use super::{
    super::{
        lines::Held,
        tls,
        verb::{self, Opens},
    },
    ClientMode, Cutter, Trust,
};

impl Cutter {
    pub(super) fn server_step(&mut self) -> bool {
        if let Some(watch) = &mut self.tls {
            if !watch.has_heard() && self.server.waiting().len() < 2 {
                // One byte does not tell TLS from anything else.
                return false;
            }
            let Some(held) = self.server.take_all() else {
                return false;
            };
            watch.input(Direction::ToClient, held.last_at(), &held.bytes);
            if watch.is_not_tls() {
                self.layer = Layer::Plain;
                self.keep(Direction::ToClient, &held, None);
                self.layer = Layer::Tls;
            }
            return false;
        }
        if let Some(step) = self.upgrade
            && self.trust != Trust::Copied
        {
            // Decided by the first two bytes, so that the segments' cuts decide nothing.
            let begins = self
                .exchanges
                .get(step)
                .is_some_and(|exchange| exchange.leftover.is_none());
            let waiting = self.server.waiting();
            if begins && matches!(waiting, [20..=24]) {
                return false;
            }
            if begins && tls::looks_like_record(waiting) {
                self.begin_tls(self.server.waiting_since());
                return true;
            }
            let Some(held) = self.server.take_all() else {
                return false;
            };
            let range = self.keep(Direction::ToClient, &held, None);
            if let Some(exchange) = self.exchanges.get_mut(step) {
                let from = exchange.leftover.map_or(range.from, |before| before.from);
                exchange.leftover = Some(ByteRange { from, to: range.to });
            }
            return false;
        }
        if self.trust == Trust::MidStream && self.exchanges.is_empty() && self.server.offset() == 0
        {
            let waiting = self.server.waiting();
            if matches!(waiting, [20..=24]) {
                return false;
            }
            if tls::looks_like_record(waiting) {
                self.begin_tls(self.server.waiting_since());
                return true;
            }
        }
        if self.server_skip > 0 {
            let Some(held) = self
                .server
                .take(usize::try_from(self.server_skip).unwrap_or(usize::MAX))
            else {
                return false;
            };
            self.server_skip = self.server_skip.saturating_sub(held.bytes.len() as u64);
            self.hide(&held);
            return true;
        }
        match self.server.next_line() {
            Some(held) => {
                self.server_line(&held);
                true
            }
            None => false,
        }
    }

    pub(super) fn server_line(&mut self, held: &Held) {
        let line = held.text();
        if !self.settled
            && let Some(protocol) = protocol_of_server(line)
        {
            // A port's hint of LMTP stands: its replies are SMTP's.
            if !(protocol == Protocol::Smtp && self.protocol == Some(Protocol::Lmtp)) {
                self.protocol = Some(protocol);
            }
            self.settled = true;
        }
        let protocol = self.protocol.unwrap_or(Protocol::Smtp);
        let whole = held.bytes.ends_with(b"\n");
        if core::mem::replace(&mut self.mid_line, !whole) || !whole {
            self.add(held);
            return;
        }
        match protocol {
            Protocol::Smtp | Protocol::Lmtp => self.smtp_line(held),
            Protocol::Imap => self.imap_line(held),
            Protocol::Pop3 => self.pop3_line(held),
            Protocol::Sieve => self.sieve_line(held),
        }
    }

    pub(super) fn smtp_line(&mut self, held: &Held) {
        let line = held.text();
        self.add(held);
        let code = reply_code(line);
        let last = match (code, line.get(3)) {
            (Some(_), Some(b'-')) | (None, _) => false,
            (Some(_), _) => true,
        };
        if !last {
            return;
        }
        let code = code.unwrap_or_default();
        // A copied text may show the answer to a message without its last lines.
        let body =
            self.trust == Trust::Copied && self.mode == ClientMode::Body && self.asked.is_empty();
        let (mut label, asked) = self.answered();
        if body && code != 354 {
            self.mode = ClientMode::Commands;
            label = Label::Transaction;
        }
        if let Some(asked) = &asked {
            match (code, asked.opens) {
                (354, Opens::Body) => self.mode = ClientMode::Body,
                (334, Opens::Secret) => {
                    self.await_secret();
                    // The same question goes on: the exchange ends with the last answer.
                    self.continue_asking(asked);
                    return;
                }
                _ => self.end_tail(),
            }
        } else if code == 334 {
            self.await_secret();
        } else if code == 354 {
            self.mode = ClientMode::Body;
        }
        let step = self.conclude(label, asked, Outcome::Replied);
        if code == 220 && is_starttls(label) {
            self.upgrade = step;
        }
    }

    pub(super) fn imap_line(&mut self, held: &Held) {
        let line = held.text();
        let first = verb::tag(line);
        let second = line
            .get(first.len()..)
            .unwrap_or_default()
            .trim_ascii_start();
        let status = |text: &[u8], words: &[&str]| {
            let word = text.split(|b| *b == b' ').next().unwrap_or_default();
            words
                .iter()
                .any(|w| word.eq_ignore_ascii_case(w.as_bytes()))
        };
        let private = self
            .asked
            .front()
            .is_some_and(|asked| matches!(asked.label, Label::Other | Label::Auth));
        if first == b"*" {
            let literal = verb::literal(line);
            if private && !status(second, &["OK", "NO", "BAD", "BYE", "CAPABILITY", "PREAUTH"]) {
                // Mailbox data is nobody's business here.
                self.hide(held);
            } else {
                self.add(held);
                if self.exchanges.is_empty()
                    && (self.asked.is_empty() || self.trust == Trust::Whole)
                    && status(second, &["OK", "PREAUTH", "BYE", "NO"])
                {
                    self.conclude(Label::Greeting, None, Outcome::Replied);
                } else if self.asked.is_empty() {
                    let label = if status(second, &["CAPABILITY"]) {
                        Label::Capabilities
                    } else {
                        Label::Other
                    };
                    // Untagged words that nobody asked for; a copied list whose question was left out goes on.
                    if !(self.trust == Trust::Copied && label == Label::Capabilities) {
                        self.conclude(label, None, Outcome::Replied);
                    }
                }
            }
            if let Some(left) = literal
                && self.trust != Trust::Copied
            {
                self.server_skip = left;
            }
            return;
        }
        if first == b"+" {
            self.add(held);
            if let Some(front) = self.asked.front() {
                if front.opens == Opens::Secret && self.mode == ClientMode::Commands {
                    self.await_secret();
                }
            } else {
                self.await_secret();
            }
            return;
        }
        let tagged = status(second, &["OK", "NO", "BAD"])
            && core::str::from_utf8(first).is_ok_and(verb::is_tag);
        if !tagged {
            if private {
                self.hide(held);
            } else {
                self.add(held);
            }
            return;
        }
        self.add(held);
        let position = self
            .asked
            .iter()
            .position(|asked| asked.tag.eq_ignore_ascii_case(first))
            .unwrap_or(0);
        let asked = self.asked.remove(position);
        let label = asked
            .as_ref()
            .map_or_else(|| self.unasked_label(), |asked| asked.label);
        self.mode = ClientMode::Commands;
        let step = self.conclude(label, asked, Outcome::Replied);
        if is_starttls(label) && status(second, &["OK"]) {
            self.upgrade = step;
        }
    }

    pub(super) fn pop3_line(&mut self, held: &Held) {
        let line = held.text();
        if self.trust == Trust::Copied && (starts_with(line, b"+OK") || starts_with(line, b"-ERR"))
        {
            // The end of a list was left out of the text.
            self.break_off();
        }
        let opens = self
            .asked
            .front()
            .map_or(Opens::Nothing, |asked| asked.opens);
        if self.answer.is_some() && matches!(opens, Opens::List | Opens::Message) {
            if opens == Opens::Message && line != b"." {
                self.hide(held);
            } else {
                self.add(held);
            }
            if line == b"." {
                let asked = self.asked.pop_front();
                let label = asked.as_ref().map_or(Label::Other, |asked| asked.label);
                self.conclude(label, asked, Outcome::Replied);
            }
            return;
        }
        self.add(held);
        let positive = starts_with(line, b"+OK");
        if line.starts_with(b"+ ") || line == b"+" {
            self.await_secret();
            return;
        }
        if !positive && !starts_with(line, b"-ERR") {
            return;
        }
        if positive && matches!(opens, Opens::List | Opens::Message) {
            return;
        }
        self.mode = ClientMode::Commands;
        let (label, asked) = self.answered();
        let step = self.conclude(label, asked, Outcome::Replied);
        if positive && is_starttls(label) {
            self.upgrade = step;
        }
    }

    pub(super) fn sieve_line(&mut self, held: &Held) {
        let line = held.text();
        let private = self
            .asked
            .front()
            .is_some_and(|asked| matches!(asked.label, Label::Other | Label::Auth));
        let ends = ["OK", "NO", "BYE"].iter().any(|word| {
            starts_with(line, word.as_bytes())
                && line
                    .get(word.len())
                    .is_none_or(|next| matches!(next, b' ' | b'(' | b'"'))
        });
        if private && !ends {
            self.hide(held);
            if self
                .asked
                .front()
                .is_some_and(|asked| asked.label == Label::Auth)
            {
                self.await_secret();
            }
        } else {
            self.add(held);
        }
        if self.trust != Trust::Copied
            && let Some(left) = verb::literal(line)
        {
            self.server_skip = left;
            return;
        }
        if !ends {
            return;
        }
        self.mode = ClientMode::Commands;
        let (label, asked) = self.answered();
        let step = self.conclude(label, asked, Outcome::Replied);
        if is_starttls(label) && starts_with(line, b"OK") {
            self.upgrade = step;
        }
    }

    /// The server asks for a secret: the client's next line is one.
    pub(super) const fn await_secret(&mut self) {
        self.mode = ClientMode::Secret;
        self.guarded = true;
    }

    pub(super) fn end_tail(&mut self) {
        if self.mode == ClientMode::Tail && self.trust == Trust::Copied {
            self.mode = ClientMode::Commands;
        }
    }
}

/// The protocol that a server's line can only belong to.
pub(in super::super) fn protocol_of_server(line: &[u8]) -> Option<Protocol> {
    if reply_code(line).is_some() {
        Some(Protocol::Smtp)
    } else if line.starts_with(b"* ") {
        Some(Protocol::Imap)
    } else if starts_with(line, b"+OK") || starts_with(line, b"-ERR") {
        Some(Protocol::Pop3)
    } else if starts_with(line, b"\"IMPLEMENTATION\"")
        || starts_with(line, b"\"SIEVE\"")
        || starts_with(line, b"\"SASL\"")
    {
        Some(Protocol::Sieve)
    } else {
        None
    }
}

/// The code of an SMTP reply line: three digits, then a hyphen, a space or nothing.
pub(in super::super) fn reply_code(line: &[u8]) -> Option<u16> {
    let [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
        return None;
    };
    // A masked banner may have lost its space too: `220***…`.
    matches!(rest.first(), None | Some(b'-' | b' ' | b'*' | b'\t'))
        .then(|| u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
}

const fn is_starttls(label: Label) -> bool {
    matches!(
        label,
        Label::StartTls | Label::MixedCaseStartTls | Label::SplitStartTls
    )
}

fn starts_with(line: &[u8], prefix: &[u8]) -> bool {
    line.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}
