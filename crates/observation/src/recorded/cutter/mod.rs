//! Cuts what two programs said to each other into exchanges, whoever recorded it.
//!
//! Bytes or lines go in, in the order in which they were seen; a transcript and its exchanges come out.
//! Credentials are replaced and messages left out before anything is kept, in every build. It must not
//! know where the recording comes from beyond [`Trust`], nor what an answer proves.
//!
//! Replies are paired with commands in order (RFC 2920 allows a client to run ahead); IMAP's tags decide
//! where there are tags (RFC 9051 §2.2.2).

mod client;
mod keep;
mod server;

pub(super) use server::{protocol_of_server, reply_code};

use alloc::{collections::VecDeque, vec::Vec};
use hoofbeat_session::{
    ByteRange, Chunk, Direction, Elapsed, Exchange, Label, Layer, Outcome, Protocol, Transcript,
};

use super::{
    lines::Lines,
    tls::{self, Watch},
    verb::Opens,
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
    /// The word CAPABILITY stands in it.
    lists: bool,
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
    Skip {
        left: u64,
        then: After,
    },
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
            && self
                .asked
                .front()
                .is_some_and(|asked| matches!(asked.opens, Opens::List | Opens::Message))
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
        self.asked
            .iter()
            .any(|asked| asked.tag.eq_ignore_ascii_case(tag.as_bytes()))
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
        if self.asked.is_empty() {
            self.break_off();
        }
        while let Some(asked) = self.asked.pop_front() {
            let outcome = self.unanswered(asked.started, end);
            self.conclude(asked.label, Some(asked), outcome);
        }
        let ending = self.ending.unwrap_or(Ending::None);
        let handshake = self
            .tls
            .take()
            .and_then(|watch| watch.finish(ending, self.ended.unwrap_or(end)));
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
            _ if self.trust != Trust::Copied && end.since(started) >= tls::SILENCE => {
                Outcome::TimedOut
            }
            _ => Outcome::Unfinished,
        }
    }
}
