//! Cuts what two programs said to each other into exchanges, whoever recorded it.
//!
//! Bytes or lines go in, in the order in which they were seen; a transcript and its exchanges come out.
//! Credentials are replaced and messages left out before anything is kept, in every build. It must not
//! know where the recording comes from beyond [`Trust`], nor what an answer proves.
//!
//! Replies are paired with commands in order (RFC 2920 allows a client to run ahead); IMAP's tags decide
//! where there are tags (RFC 9051 §2.2.2).

use alloc::{borrow::Cow, collections::VecDeque, vec::Vec};
use hoofbeat_session::{
    ByteRange, Chunk, Direction, Elapsed, Exchange, Label, Layer, Outcome, Protocol, Transcript, secret::redact_command,
};

use super::{
    lines::{Held, Lines},
    tls::{self, Watch},
    verb::{self, Opens},
};
use crate::{Ending, Handshake};

/// Most bytes of one recording that are kept, both directions together.
pub const KEPT: usize = 256 << 10;
/// Most exchanges of one recording.
const EXCHANGES: usize = 4096;
/// Most commands that wait for their answers.
const PIPELINE: usize = 1024;

/// How far the input's bytes can be taken at their word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Exact bytes, from the first one of the connection on.
    Whole,
    /// Exact bytes; the beginning is missing.
    MidStream,
    /// Lines that somebody copied: counts and line ends are not the wire's, lines may be missing.
    Copied,
}

/// What came out.
#[derive(Debug)]
pub(super) struct Cut {
    /// The language, where it was recognised.
    pub(super) protocol: Option<Protocol>,
    /// Every byte that may be kept.
    pub(super) transcript: Transcript,
    /// Every step.
    pub(super) exchanges: Vec<Exchange>,
    /// The handshake as seen on the wire.
    pub(super) handshake: Option<Handshake>,
    /// How it ended.
    pub(super) ending: Ending,
}

#[derive(Debug)]
struct Asked {
    label: Label,
    layer: Layer,
    opens: Opens,
    tag: Vec<u8>,
    sent: ByteRange,
    started: Elapsed,
}

#[derive(Debug)]
struct Answer {
    /// The code of its first line.
    code: Option<u16>,
    received: ByteRange,
    first_byte: Elapsed,
    ended: Elapsed,
    lines: usize,
    cut: bool,
}

/// How the client's next bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientMode {
    Commands,
    /// One line of an authentication.
    Secret,
    /// A message, to a dot alone.
    Body,
    /// So many bytes of a message or literal, then the mode that is told.
    Skip { left: u64, then: After },
    /// The rest of a command behind a literal; copied text: everything until the answer.
    Tail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Commands,
    Tail,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Cutter {
    trust: Trust,
    protocol: Option<Protocol>,
    /// The protocol was read from the dialogue's own words, no longer from a port.
    settled: bool,
    sequence: u64,
    client: Lines,
    server: Lines,
    /// Bytes of a message that the server is still sending (a literal).
    server_skip: u64,
    /// The server's last line had no end yet: what comes belongs to it.
    mid_line: bool,
    chunks: Vec<(u64, Chunk)>,
    kept: usize,
    discarded: u64,
    layer: Layer,
    exchanges: Vec<Exchange>,
    asked: VecDeque<Asked>,
    answer: Option<Answer>,
    mode: ClientMode,
    /// Somebody began to authenticate: from now on a word that is no command may be a secret.
    guarded: bool,
    /// The exchange whose answer said that TLS may begin.
    upgrade: Option<usize>,
    tls: Option<Watch>,
    ending: Option<Ending>,
    silent: bool,
    last: Elapsed,
    ended: Option<Elapsed>,
}

impl Cutter {
    /// A machine that has heard nothing.
    pub(super) fn new(protocol: Option<Protocol>, trust: Trust) -> Self {
        Self {
            trust,
            protocol,
            settled: false,
            sequence: 0,
            client: Lines::default(),
            server: Lines::default(),
            server_skip: 0,
            chunks: Vec::new(),
            kept: 0,
            discarded: 0,
            layer: Layer::Plain,
            exchanges: Vec::new(),
            asked: VecDeque::new(),
            answer: None,
            mode: ClientMode::Commands,
            guarded: false,
            mid_line: false,
            upgrade: None,
            tls: None,
            ending: None,
            silent: false,
            last: Elapsed::default(),
            ended: None,
        }
    }

    /// One segment or line, its line end included.
    pub(super) fn hear(&mut self, direction: Direction, at: Elapsed, bytes: &[u8]) {
        self.sequence += 1;
        self.last = self.last.max(at);
        match direction {
            Direction::ToServer => self.client.push(self.sequence, at, bytes),
            Direction::ToClient => self.server.push(self.sequence, at, bytes),
        }
        while match direction {
            Direction::ToServer => self.client_step(),
            Direction::ToClient => self.server_step(),
        } {}
    }

    /// Bytes of a direction were never recorded.
    pub(super) fn miss(&mut self, direction: Direction, bytes: u64) {
        if let Some(watch) = &mut self.tls {
            watch.lose(direction);
            return;
        }
        match direction {
            Direction::ToServer => {
                if let Some(held) = self.client.take_all() {
                    self.hide(&held);
                }
                self.client.skip(bytes);
            }
            Direction::ToClient => {
                if let Some(held) = self.server.take_all() {
                    self.server_line(&held);
                }
                self.server.skip(bytes);
            }
        }
    }

    /// The recording says that TLS is up: what follows is inside.
    pub(super) fn secure(&mut self) {
        self.upgrade = None;
        self.layer = Layer::Tls;
        self.mode = ClientMode::Commands;
    }

    /// How the connection ended; the first word counts.
    pub(super) fn end(&mut self, ending: Ending, at: Elapsed) {
        self.last = self.last.max(at);
        if self.ending.is_none() {
            self.ending = Some(ending);
            self.ended = Some(at);
        }
    }

    /// The recording goes on to this moment, whether anything was said or not.
    pub(super) fn until(&mut self, at: Elapsed) {
        if self.ending.is_none() {
            self.last = self.last.max(at);
        }
    }

    /// The recording says that an answer was waited for in vain.
    pub(super) const fn time_out(&mut self) {
        self.silent = true;
    }

    /// Whether a command waits for its answer, or an answer is unfinished.
    pub(super) fn is_waiting(&self) -> bool {
        !self.asked.is_empty() || self.answer.is_some()
    }
    /// Whether an answer is unfinished.
    pub(super) const fn is_answering(&self) -> bool {
        self.answer.is_some()
    }
    /// Whether an answer of several lines, which end with a dot alone, is unfinished.
    pub(super) fn is_listing(&self) -> bool {
        self.protocol == Some(Protocol::Pop3)
            && self.answer.is_some()
            && self.asked.front().is_some_and(|asked| matches!(asked.opens, Opens::List | Opens::Message))
    }
    /// Whether the client's next line is no command but a message or a secret.
    pub(super) fn is_hiding(&self) -> bool {
        self.mode != ClientMode::Commands
    }
    /// Whether the server said that TLS may begin, and it has not.
    pub(super) const fn awaits_tls(&self) -> bool {
        self.upgrade.is_some()
    }
    /// The layer of what is heard next.
    pub(super) const fn layer(&self) -> Layer {
        self.layer
    }
    /// The language, as far as it is known.
    pub(super) const fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }
    /// The exchanges so far.
    pub(super) fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }
    /// Whether a tag belongs to a command that waits.
    pub(super) fn expects_tag(&self, tag: &str) -> bool {
        self.asked.iter().any(|asked| asked.tag.eq_ignore_ascii_case(tag.as_bytes()))
    }

    /// Everything that was heard.
    pub(super) fn finish(mut self) -> Cut {
        if let Some(watch) = &mut self.tls {
            if let Some(held) = self.server.take_all() {
                watch.input(Direction::ToClient, held.last_at(), &held.bytes);
            }
        } else {
            if let Some(held) = self.client.take_all() {
                self.client_line(&held);
            }
            if let Some(held) = self.server.take_all() {
                self.server_line(&held);
            }
        }
        let end = self.last;
        if self.answer.is_some() && self.asked.is_empty() {
            let label = self.unasked_label(b"");
            self.conclude(label, None, Outcome::Unfinished);
        }
        while let Some(asked) = self.asked.pop_front() {
            let outcome = self.unanswered(asked.started, end);
            self.conclude(asked.label, Some(asked), outcome);
        }
        let ending = self.ending.unwrap_or(Ending::None);
        let handshake = self.tls.take().and_then(|watch| watch.finish(ending, self.ended.unwrap_or(end)));
        self.chunks.sort_by_key(|(sequence, _)| *sequence);
        Cut {
            protocol: self.protocol,
            transcript: Transcript {
                chunks: self.chunks.into_iter().map(|(_, chunk)| chunk).collect(),
                discarded: self.discarded,
            },
            exchanges: self.exchanges,
            handshake,
            ending,
        }
    }

    fn unanswered(&self, started: Elapsed, end: Elapsed) -> Outcome {
        match self.ending {
            Some(Ending::Peer) => Outcome::Closed,
            Some(Ending::Reset) => Outcome::Reset,
            _ if self.silent => Outcome::TimedOut,
            _ if self.trust != Trust::Copied && end.since(started) >= tls::SILENCE => Outcome::TimedOut,
            _ => Outcome::Unfinished,
        }
    }

    // The client's side.

    fn client_step(&mut self) -> bool {
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
            let Some(held) = self.client.take(usize::try_from(left).unwrap_or(usize::MAX)) else { return false };
            self.mode = ClientMode::Skip { left: left.saturating_sub(held.bytes.len() as u64), then };
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
    fn expects_hello(&self) -> bool {
        self.upgrade.is_some()
            || (self.exchanges.is_empty() && self.answer.is_none() && self.asked.is_empty() && self.client.offset() == 0)
            || (self.trust == Trust::MidStream && self.exchanges.len() <= 1 && self.asked.is_empty())
    }

    fn begin_tls(&mut self, at: Option<Elapsed>) {
        self.upgrade = None;
        self.layer = Layer::Tls;
        self.tls = Some(Watch::new(at.unwrap_or(self.last)));
    }

    fn client_line(&mut self, held: &Held) {
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
                        Some(left) => ClientMode::Skip { left, then: After::Tail },
                        None => ClientMode::Commands,
                    };
                }
            }
            ClientMode::Commands => self.command(held),
        }
    }

    fn command(&mut self, held: &Held) {
        // The client went on in the clear where TLS was agreed.
        self.upgrade = None;
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
        let tag = if protocol == Protocol::Imap { verb::tag(line).to_vec() } else { Vec::new() };
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
                ClientMode::Skip { left, then: After::Commands }
            };
        } else if matches!(protocol, Protocol::Imap | Protocol::Sieve)
            && let Some(left) = verb::literal(line)
        {
            self.mode = if self.trust == Trust::Copied {
                ClientMode::Tail
            } else {
                ClientMode::Skip { left, then: After::Tail }
            };
        }
    }

    fn history(&self) -> impl Iterator<Item = (Label, Layer)> {
        self.exchanges
            .iter()
            .map(|exchange| (exchange.label, exchange.layer))
            .chain(self.asked.iter().map(|asked| (asked.label, asked.layer)))
    }

    fn ask(&mut self, label: Label, opens: Opens, tag: Vec<u8>, sent: ByteRange, held: &Held) {
        if self.asked.len() < PIPELINE && self.exchanges.len() < EXCHANGES {
            let layer = self.layer;
            self.asked.push_back(Asked { label, layer, opens, tag, sent, started: held.first_at() });
        }
    }

    fn protocol_of_client(&mut self, line: &[u8]) -> Protocol {
        let (first, rest) = line.split_at(line.iter().position(|b| *b == b' ').unwrap_or(line.len()));
        let is = |word: &[u8], verb: &str| word.eq_ignore_ascii_case(verb.as_bytes());
        let second = rest.get(1..).unwrap_or_default().split(|b| *b == b' ').next().unwrap_or_default();
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

    // The server's side.

    fn server_step(&mut self) -> bool {
        if let Some(watch) = &mut self.tls {
            if !watch.has_heard() && self.server.waiting().len() < 2 {
                // One byte does not tell TLS from anything else.
                return false;
            }
            let Some(held) = self.server.take_all() else { return false };
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
            let begins = self.exchanges.get(step).is_some_and(|exchange| exchange.leftover.is_none());
            let waiting = self.server.waiting();
            if begins && matches!(waiting, [20..=24]) {
                return false;
            }
            if begins && tls::looks_like_record(waiting) {
                self.begin_tls(self.server.waiting_since());
                return true;
            }
            let Some(held) = self.server.take_all() else { return false };
            let range = self.keep(Direction::ToClient, &held, None);
            if let Some(exchange) = self.exchanges.get_mut(step) {
                let from = exchange.leftover.map_or(range.from, |before| before.from);
                exchange.leftover = Some(ByteRange { from, to: range.to });
            }
            return false;
        }
        if self.trust == Trust::MidStream && self.exchanges.is_empty() && self.server.offset() == 0 {
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
            let Some(held) = self.server.take(usize::try_from(self.server_skip).unwrap_or(usize::MAX)) else {
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

    fn server_line(&mut self, held: &Held) {
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

    fn smtp_line(&mut self, held: &Held) {
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
        let body = self.trust == Trust::Copied && self.mode == ClientMode::Body && self.asked.is_empty();
        let (mut label, asked) = self.answered(line);
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

    fn imap_line(&mut self, held: &Held) {
        let line = held.text();
        let first = verb::tag(line);
        let second = line.get(first.len()..).unwrap_or_default().trim_ascii_start();
        let status = |text: &[u8], words: &[&str]| {
            let word = text.split(|b| *b == b' ').next().unwrap_or_default();
            words.iter().any(|w| word.eq_ignore_ascii_case(w.as_bytes()))
        };
        let private = self.asked.front().is_some_and(|asked| matches!(asked.label, Label::Other | Label::Auth));
        if first == b"*" {
            let literal = verb::literal(line);
            if private && !status(second, &["OK", "NO", "BAD", "BYE", "CAPABILITY", "PREAUTH"]) {
                // Mailbox data is nobody's business here.
                self.hide(held);
            } else {
                self.add(held);
                if self.exchanges.is_empty()
                    && (self.asked.is_empty() || self.trust == Trust::Whole)
                    && status(second, &["OK", "PREAUTH", "BYE", "NO"]) {
                    self.conclude(Label::Greeting, None, Outcome::Replied);
                } else if self.asked.is_empty() {
                    let label = if status(second, &["CAPABILITY"]) { Label::Capabilities } else { Label::Other };
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
        let tagged = status(second, &["OK", "NO", "BAD"]) && core::str::from_utf8(first).is_ok_and(verb::is_tag);
        if !tagged {
            if private {
                self.hide(held);
            } else {
                self.add(held);
            }
            return;
        }
        self.add(held);
        let position = self.asked.iter().position(|asked| asked.tag.eq_ignore_ascii_case(first)).unwrap_or(0);
        let asked = self.asked.remove(position);
        let label = asked.as_ref().map_or_else(|| self.unasked_label(line), |asked| asked.label);
        self.mode = ClientMode::Commands;
        let step = self.conclude(label, asked, Outcome::Replied);
        if is_starttls(label) && status(second, &["OK"]) {
            self.upgrade = step;
        }
    }

    fn pop3_line(&mut self, held: &Held) {
        let line = held.text();
        let opens = self.asked.front().map_or(Opens::Nothing, |asked| asked.opens);
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
        let (label, asked) = self.answered(line);
        let step = self.conclude(label, asked, Outcome::Replied);
        if positive && is_starttls(label) {
            self.upgrade = step;
        }
    }

    fn sieve_line(&mut self, held: &Held) {
        let line = held.text();
        let private = self.asked.front().is_some_and(|asked| matches!(asked.label, Label::Other | Label::Auth));
        let ends = ["OK", "NO", "BYE"].iter().any(|word| {
            starts_with(line, word.as_bytes())
                && line.get(word.len()).is_none_or(|next| matches!(next, b' ' | b'(' | b'"'))
        });
        if private && !ends {
            self.hide(held);
            if self.asked.front().is_some_and(|asked| asked.label == Label::Auth) {
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
        let (label, asked) = self.answered(line);
        let step = self.conclude(label, asked, Outcome::Replied);
        if is_starttls(label) && starts_with(line, b"OK") {
            self.upgrade = step;
        }
    }

    // Exchanges.

    /// Which question a complete answer belongs to.
    fn answered(&mut self, line: &[u8]) -> (Label, Option<Asked>) {
        if self.trust == Trust::Whole && self.exchanges.is_empty() {
            return (Label::Greeting, None);
        }
        match self.asked.pop_front() {
            Some(asked) => (asked.label, Some(asked)),
            None => (self.unasked_label(line), None),
        }
    }

    /// What an answer without a question most likely answers, judged by its own words.
    fn unasked_label(&self, line: &[u8]) -> Label {
        let smtp = matches!(self.protocol, Some(Protocol::Smtp | Protocol::Lmtp));
        let (code, lines) = self.answer.as_ref().map_or((None, 0), |answer| (answer.code, answer.lines));
        let listed = self.history().any(|(label, layer)| label == Label::Capabilities && layer == self.layer);
        if self.trust == Trust::Copied {
            // Questions are left out of pasted texts more often than answers.
            match (self.protocol, code) {
                _ if smtp && code == Some(250) && lines > 1 && !listed => return Label::Capabilities,
                _ if smtp && code == Some(250) => return Label::Other,
                (Some(Protocol::Imap), _) if contains_word(line, b"CAPABILITY") => return Label::Capabilities,
                (Some(Protocol::Sieve), _) if self.layer == Layer::Tls && !listed => return Label::Capabilities,
                _ if smtp && code == Some(220) && !self.exchanges.is_empty() => return Label::StartTls,
                _ if smtp && code == Some(221) => return Label::Quit,
                _ => {}
            }
        }
        let greets = self.trust != Trust::MidStream || !smtp || matches!(code, Some(220 | 421 | 554));
        if self.exchanges.is_empty() && greets { Label::Greeting } else { Label::Other }
    }

    /// The server asks for a secret: the client's next line is one.
    const fn await_secret(&mut self) {
        self.mode = ClientMode::Secret;
        self.guarded = true;
    }

    fn end_tail(&mut self) {
        if self.mode == ClientMode::Tail && self.trust == Trust::Copied {
            self.mode = ClientMode::Commands;
        }
    }

    fn continue_asking(&mut self, asked: &Asked) {
        let Asked { label, layer, opens, ref tag, sent, started } = *asked;
        self.asked.push_front(Asked { label, layer, opens, tag: tag.clone(), sent, started });
    }

    fn conclude(&mut self, label: Label, asked: Option<Asked>, outcome: Outcome) -> Option<usize> {
        let offset = self.server.offset();
        let answer = self.answer.take();
        if self.exchanges.len() >= EXCHANGES {
            return None;
        }
        let step = self.exchanges.len();
        let started = asked.as_ref().map_or_else(
            || answer.as_ref().filter(|_| step > 0).map_or_else(Elapsed::default, |answer| answer.first_byte),
            |asked| asked.started,
        );
        let cut = answer.as_ref().is_some_and(|answer| answer.cut);
        self.exchanges.push(Exchange {
            step: step.try_into().unwrap_or(u32::MAX),
            label,
            layer: asked.as_ref().map_or(self.layer, |asked| asked.layer),
            sent: asked.map(|asked| asked.sent),
            received: answer.as_ref().map_or(ByteRange { from: offset, to: offset }, |answer| answer.received),
            started,
            first_byte: answer.as_ref().map(|answer| answer.first_byte),
            ended: answer.as_ref().map_or(self.last, |answer| answer.ended).max(started),
            outcome: if cut { Outcome::TooLong } else { outcome },
            leftover: None,
        });
        Some(step)
    }

    // Keeping.

    /// A line of the server's: kept, and part of the answer that is being given.
    fn add(&mut self, held: &Held) {
        let before = self.kept;
        let range = self.keep(Direction::ToClient, held, None);
        let cut = self.kept.saturating_sub(before) < held.bytes.len();
        let answer = self.answer.get_or_insert(Answer {
            code: reply_code(held.text()),
            received: ByteRange { from: range.from, to: range.from },
            first_byte: held.first_at(),
            ended: held.last_at(),
            lines: 0,
            cut: false,
        });
        answer.received.to = range.to;
        answer.ended = held.last_at();
        answer.lines += 1;
        answer.cut |= cut;
    }

    /// Keeps bytes, or what stands for them where they are secret, as far as there is room.
    fn keep(&mut self, direction: Direction, held: &Held, instead: Option<&[u8]>) -> ByteRange {
        let range = ByteRange { from: held.offset, to: held.offset.saturating_add(held.bytes.len() as u64) };
        // A replacement of another length cannot be placed: then nothing of it is kept.
        let bytes = match instead {
            Some(instead) if instead.len() != held.bytes.len() => {
                self.discarded = self.discarded.saturating_add(held.bytes.len() as u64);
                return range;
            }
            Some(instead) => instead,
            None => &held.bytes,
        };
        let mut from = 0;
        for piece in &held.pieces {
            let part = bytes.get(from..from + piece.length).unwrap_or_default();
            let room = KEPT.saturating_sub(self.kept);
            let kept = part.get(..room.min(part.len())).unwrap_or_default();
            let offset = held.offset.saturating_add(from as u64);
            from += piece.length;
            self.discarded = self.discarded.saturating_add((part.len() - kept.len()) as u64);
            if kept.is_empty() {
                continue;
            }
            self.kept += kept.len();
            // Copied lines of one side in a row are one chunk: their cuts mean nothing.
            let copied = self.trust == Trust::Copied;
            if let Some((sequence, last)) = self.chunks.last_mut()
                && last.direction == direction
                && last.layer == self.layer
                && (copied || *sequence == piece.sequence)
                && last.offset.saturating_add(last.bytes.len() as u64) == offset
            {
                last.bytes.extend_from_slice(kept);
                continue;
            }
            let chunk = Chunk { direction, layer: self.layer, at: piece.at, offset, bytes: kept.to_vec() };
            self.chunks.push((piece.sequence, chunk));
        }
        range
    }

    /// Counts bytes that are not kept.
    fn hide(&mut self, held: &Held) {
        self.discarded = self.discarded.saturating_add(held.bytes.len() as u64);
    }
}

/// The protocol that a server's line can only belong to.
pub(super) fn protocol_of_server(line: &[u8]) -> Option<Protocol> {
    if reply_code(line).is_some() {
        Some(Protocol::Smtp)
    } else if line.starts_with(b"* ") {
        Some(Protocol::Imap)
    } else if starts_with(line, b"+OK") || starts_with(line, b"-ERR") {
        Some(Protocol::Pop3)
    } else if starts_with(line, b"\"IMPLEMENTATION\"") || starts_with(line, b"\"SIEVE\"") || starts_with(line, b"\"SASL\"") {
        Some(Protocol::Sieve)
    } else {
        None
    }
}

/// The code of an SMTP reply line: three digits, then a hyphen, a space or nothing.
pub(super) fn reply_code(line: &[u8]) -> Option<u16> {
    let [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else { return None };
    // A masked banner may have lost its space too: `220***…`.
    matches!(rest.first(), None | Some(b'-' | b' ' | b'*' | b'\t'))
        .then(|| u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
}

const fn is_starttls(label: Label) -> bool {
    matches!(label, Label::StartTls | Label::MixedCaseStartTls | Label::SplitStartTls)
}

fn starts_with(line: &[u8], prefix: &[u8]) -> bool {
    line.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

fn contains_word(line: &[u8], word: &[u8]) -> bool {
    line.split(|b| !b.is_ascii_alphanumeric()).any(|found| found.eq_ignore_ascii_case(word))
}

/// A box writes X over what it refuses, arguments included.
fn is_masked(line: &[u8]) -> bool {
    line.len() > 3 && line.iter().all(|b| matches!(b, b'X' | b' '))
}

/// A line of which only the verb is kept: what an unknown or foreign command carries may be anybody's secret.
fn veil_arguments(protocol: Protocol, line: &[u8]) -> Cow<'_, [u8]> {
    let tag = if protocol == Protocol::Imap { verb::tag(line).len() + 1 } else { 0 };
    let word = line.get(tag..).unwrap_or_default();
    let word = word.get(..word.iter().position(|b| b.is_ascii_whitespace()).unwrap_or(word.len())).unwrap_or_default();
    let verb = word.len() <= 16 && word.iter().all(u8::is_ascii_alphabetic);
    let open = match word {
        // A tag without a verb is no tag.
        [] => 0,
        word if is_masked(word) || verb => tag + word.len(),
        _ => tag,
    };
    let mut veiled = line.to_vec();
    for byte in veiled.iter_mut().skip(open).filter(|b| !b.is_ascii_whitespace()) {
        *byte = b'*';
    }
    Cow::Owned(veiled)
}

/// Printable and not too long: what a command can be. A key or a message's binary is not.
fn is_wordlike(line: &[u8]) -> bool {
    line.len() <= 4096 && line.iter().all(|b| matches!(b, b'\t' | b' '..=b'~' | 0x80..))
}
