//! One dialogue as the judge hears it: steps with their replies read, lists, attempts at TLS.
//!
//! The only place that turns recorded bytes into words. It must not know what any of them proves.

use alloc::{
    borrow::Cow,
    string::{String, ToString},
    vec::Vec,
};
use hoofbeat_observation::{
    Certificate, Dialogue, Handshake, HandshakeOutcome, Measurement, Source, Variation,
    dialogue::{Claim, Claimed},
};
use hoofbeat_session::{
    ByteRange, Capabilities, Direction, Exchange, Label, Layer, Outcome, Protocol, Reply, Status,
    capabilities, is_ready_for_tls, reply,
};

/// Most steps of one dialogue that are read; what matters happens in the first dozen.
const MOST_STEPS: usize = 512;
/// Longest line that is compared or matched, in bytes; what is longer is cut.
const LONGEST_LINE: usize = 512;

/// One step with its reply.
pub(crate) struct Step<'a> {
    /// The step as recorded.
    pub(crate) exchange: &'a Exchange,
    /// The reply's bytes.
    pub(crate) bytes: Cow<'a, [u8]>,
    /// The reply's meaning.
    pub(crate) reply: Reply,
    /// What was sent, without line end, lossily; empty for a greeting.
    pub(crate) sent: String,
    /// The deciding line of the reply, without line end; IMAP without its tag.
    pub(crate) line: String,
}

impl Step<'_> {
    /// A complete reply came.
    pub(crate) fn answered(&self) -> bool {
        self.exchange.outcome == Outcome::Replied && !self.bytes.is_empty()
    }
    /// A complete and positive reply came.
    pub(crate) fn positive(&self) -> bool {
        self.answered()
            && matches!(
                self.reply.status,
                Status::Positive | Status::Preauthenticated
            )
    }
    /// A complete and negative reply came.
    pub(crate) fn refused(&self) -> bool {
        self.answered() && matches!(self.reply.status, Status::Transient | Status::Permanent)
    }
    /// Nothing came, or the end of the connection.
    pub(crate) fn unanswered(&self) -> bool {
        matches!(
            self.exchange.outcome,
            Outcome::TimedOut | Outcome::Reset | Outcome::Closed
        )
    }
    /// The verb that was sent: the first word, or the second behind an IMAP tag.
    pub(crate) fn verb(&self, protocol: Protocol) -> &str {
        let mut words = self.sent.split_ascii_whitespace();
        if protocol == Protocol::Imap {
            words.next();
        }
        words.next().unwrap_or_default()
    }
    /// The deciding line with the verb that was sent taken out, so that echoes do not differ by it.
    pub(crate) fn line_without_verb(&self, protocol: Protocol) -> String {
        let verb = self.verb(protocol);
        if verb.len() < 4 {
            return self.line.clone();
        }
        let upper = self.line.to_ascii_uppercase();
        let mut out = String::new();
        let mut from = 0;
        while let Some(found) = upper
            .get(from..)
            .and_then(|rest| rest.find(&verb.to_ascii_uppercase()))
        {
            out.push_str(self.line.get(from..from + found).unwrap_or_default());
            out.push_str("<verb>");
            from += found + verb.len();
        }
        out.push_str(self.line.get(from..).unwrap_or_default());
        out
    }
    /// The range of a part of the reply in the stream to the client.
    pub(crate) fn range_of(&self, part: ByteRange) -> ByteRange {
        let from = self.exchange.received.from;
        ByteRange {
            from: from.saturating_add(part.from),
            to: from.saturating_add(part.to),
        }
    }
    /// The text of every line, joined by line feeds.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for line in self.reply.text(&self.bytes) {
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

/// A list of what is offered, and the step that gave it.
pub(crate) struct List<'h, 'a> {
    /// The step.
    pub(crate) step: &'h Step<'a>,
    /// The items.
    pub(crate) items: Capabilities,
}

/// One dialogue, read.
pub(crate) struct Hearing<'a> {
    /// The measurement's identifier.
    pub(crate) id: &'a str,
    /// Wall clock at its zero.
    pub(crate) started: i64,
    /// The record.
    pub(crate) dialogue: &'a Dialogue,
    /// Its steps.
    pub(crate) steps: Vec<Step<'a>>,
}

impl<'a> Hearing<'a> {
    /// Reads a measurement, where it is a dialogue.
    pub(crate) fn of(measurement: &'a Measurement) -> Option<Self> {
        let dialogue = measurement.dialogue()?;
        let protocol = dialogue.protocol;
        let steps = dialogue
            .exchanges
            .iter()
            .take(MOST_STEPS)
            .map(|exchange| {
                let bytes = dialogue
                    .transcript
                    .bytes(Direction::ToClient, exchange.received);
                let reply = reply::read(protocol, exchange.label, &bytes);
                let sent = exchange
                    .sent
                    .map(|range| dialogue.transcript.bytes(Direction::ToServer, range));
                let sent = sent.map_or_else(String::new, |bytes| first_line(&bytes));
                let line = deciding_line(protocol, exchange.label, &bytes);
                Step {
                    exchange,
                    bytes,
                    reply,
                    sent,
                    line,
                }
            })
            .collect();
        Some(Self {
            id: &measurement.id,
            started: measurement.started,
            dialogue,
            steps,
        })
    }

    /// In which language.
    pub(crate) fn protocol(&self) -> Protocol {
        self.dialogue.protocol
    }
    /// The greeting's lines, each with code and without line end; IMAP without the star.
    pub(crate) fn greeting_lines(&self) -> Vec<String> {
        let Some(step) = self.greeting() else {
            return Vec::new();
        };
        step.bytes
            .split(|byte| *byte == b'\n')
            .take(16)
            .map(|line| String::from_utf8_lossy(cut(line)).trim_end().to_string())
            .filter(|line| !line.is_empty())
            .map(|line| {
                line.strip_prefix("* ")
                    .map(ToString::to_string)
                    .unwrap_or(line)
            })
            .collect()
    }
    /// The first step with that label on that layer.
    pub(crate) fn step(&self, layer: Layer, label: Label) -> Option<&Step<'a>> {
        self.steps
            .iter()
            .find(|step| step.exchange.layer == layer && step.exchange.label == label)
    }
    /// The greeting.
    pub(crate) fn greeting(&self) -> Option<&Step<'a>> {
        self.steps
            .iter()
            .find(|step| step.exchange.label == Label::Greeting)
    }
    /// The steps that asked for the list on that layer, in order.
    pub(crate) fn list_steps(&self, layer: Layer) -> impl Iterator<Item = &Step<'a>> {
        self.steps.iter().filter(move |step| {
            step.exchange.layer == layer
                && matches!(
                    step.exchange.label,
                    Label::Capabilities | Label::CapabilitiesAgain
                )
        })
    }
    /// Every list given on that layer: by command, and by greeting where the protocol has that.
    pub(crate) fn lists(&self, layer: Layer) -> Vec<List<'_, 'a>> {
        // EHLO is answered by 250 and nothing else (RFC 5321 §4.3.2).
        let by_command = self
            .list_steps(layer)
            .filter(|step| step.positive() && step.reply.code.is_none_or(|code| code == 250));
        let by_greeting = self.greeting().filter(|step| {
            step.exchange.layer == layer
                && step.answered()
                && matches!(self.protocol(), Protocol::Imap | Protocol::Sieve)
        });
        by_command
            .chain(by_greeting)
            .map(|step| List {
                step,
                items: capabilities(self.protocol(), &step.bytes),
            })
            .filter(|list| {
                // An IMAP greeting without a list offers nothing and denies nothing.
                list.step.exchange.label != Label::Greeting || !list.items.items.is_empty()
            })
            .collect()
    }
    /// The first list on that layer.
    pub(crate) fn list(&self, layer: Layer) -> Option<List<'_, 'a>> {
        self.lists(layer).into_iter().next()
    }
    /// Whether STARTTLS is offered before TLS; `None` where no list was seen.
    pub(crate) fn offered(&self) -> Option<bool> {
        let lists = self.lists(Layer::Plain);
        (!lists.is_empty()).then(|| {
            lists
                .iter()
                .any(|list| list.items.offers_starttls(self.protocol()))
        })
    }
    /// The steps that asked for TLS, however spelt.
    pub(crate) fn upgrades(&self) -> impl Iterator<Item = &Step<'a>> {
        self.steps.iter().filter(|step| {
            step.exchange.layer == Layer::Plain
                && matches!(
                    step.exchange.label,
                    Label::StartTls | Label::MixedCaseStartTls | Label::SplitStartTls
                )
        })
    }
    /// Whether that step let the handshake begin.
    pub(crate) fn is_ready(&self, step: &Step<'_>) -> bool {
        step.answered() && is_ready_for_tls(self.protocol(), &step.reply)
    }
    /// The handshake, where one was begun.
    pub(crate) fn handshake(&self) -> Option<&'a Handshake> {
        self.dialogue.handshake.as_ref()
    }
    /// The handshake, where it was completed.
    pub(crate) fn completed(&self) -> Option<&'a Handshake> {
        self.handshake()
            .filter(|handshake| handshake.outcome == HandshakeOutcome::Completed)
    }
    /// Whether TLS came up, as seen, or as a recording says.
    pub(crate) fn came_up(&self) -> bool {
        self.completed().is_some()
            || (self.is_recorded()
                && self
                    .steps
                    .iter()
                    .any(|step| step.exchange.layer == Layer::Tls && step.answered()))
            || self.claim(Claimed::TlsEstablished).is_some()
            || self.claim(Claimed::TlsVerified).is_some()
    }
    /// The leaf certificate that was presented.
    pub(crate) fn leaf(&self) -> Option<&'a Certificate> {
        self.handshake()
            .and_then(|handshake| handshake.chain.first())
    }
    /// Whether the connection stood. A recording that shows bytes had one.
    pub(crate) fn connected(&self) -> bool {
        self.dialogue.connect.established.is_some() || !self.dialogue.transcript.chunks.is_empty()
    }
    /// The round trip of the TCP handshake, in microseconds.
    pub(crate) fn connect_micros(&self) -> Option<u128> {
        self.dialogue
            .connect
            .established
            .map(|at| at.since(self.dialogue.connect.started).as_micros())
    }
    /// Whether the bytes are a pasted text: lengths, line ends and omissions are not to be trusted.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.dialogue.source, Source::Text { .. })
    }
    /// Whether somebody else recorded it.
    pub(crate) fn is_recorded(&self) -> bool {
        self.dialogue.source != Source::Live || self.dialogue.variation == Variation::Recorded
    }
    /// What log lines say.
    pub(crate) fn claims(&self) -> &'a [Claim] {
        match &self.dialogue.source {
            Source::Text { claims, .. } => claims,
            _ => &[],
        }
    }
    /// The first claim of that kind.
    pub(crate) fn claim(&self, what: Claimed) -> Option<&'a Claim> {
        self.claims().iter().find(|claim| claim.what == what)
    }
}

fn cut(bytes: &[u8]) -> &[u8] {
    bytes.get(..LONGEST_LINE).unwrap_or(bytes)
}

fn first_line(bytes: &[u8]) -> String {
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(cut(line)).trim_end().into()
}

/// The last line that is not blank, and for IMAP, without the tag.
fn deciding_line(protocol: Protocol, label: Label, bytes: &[u8]) -> String {
    let last = bytes
        .rsplit(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty())
        .unwrap_or_default();
    // A multi-line POP3 answer is decided by its first line.
    let line = if protocol == Protocol::Pop3 {
        bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default()
    } else {
        last
    };
    let text = String::from_utf8_lossy(cut(line));
    let text = text.trim_end();
    match protocol {
        Protocol::Imap
            if !text.starts_with('+') && (label == Label::Greeting || !text.starts_with('*')) =>
        {
            text.split_once(' ').map_or(text, |(_, rest)| rest).into()
        }
        _ => text.into(),
    }
}
