//! What one step of a script met: where its bytes lie in the transcript, and how it ended.

use serde::{Deserialize, Serialize};

use crate::{Elapsed, Layer};

/// Offsets `[from, to)` in one direction's stream of a transcript. Written as `[from, to]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct ByteRange {
    /// Offset of the first byte.
    pub from: u64,
    /// Offset behind the last byte.
    pub to: u64,
}
impl ByteRange {
    /// How many bytes the range spans.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.to.saturating_sub(self.from)
    }
    /// Whether the range spans nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// The bytes of the range, where `bytes` begins at offset 0; empty where it does not fit.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        let (Ok(from), Ok(to)) = (usize::try_from(self.from), usize::try_from(self.to)) else {
            return &[];
        };
        bytes.get(from..to).unwrap_or_default()
    }
    /// A range of a slice.
    pub(crate) const fn at(from: usize, to: usize) -> Self {
        Self {
            from: from as u64,
            to: to as u64,
        }
    }
}
impl From<(u64, u64)> for ByteRange {
    fn from((from, to): (u64, u64)) -> Self {
        Self { from, to }
    }
}
impl From<ByteRange> for (u64, u64) {
    fn from(range: ByteRange) -> Self {
        (range.from, range.to)
    }
}

/// What a step asks, independent of the protocol's verb for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// The server's first words; nothing is sent.
    Greeting,
    /// EHLO, LHLO, CAPABILITY or CAPA: the list of what is offered.
    Capabilities,
    /// The same question once more on the same layer.
    CapabilitiesAgain,
    /// HELO, after EHLO was refused.
    Helo,
    /// NOOP in one segment.
    Noop,
    /// NOOP cut over two segments: a filter that reads packets, not streams, answers otherwise.
    SplitNoop,
    /// A random verb of eight letters that no server knows: the control of the verb differential.
    UnknownVerb,
    /// STARTTLS or STLS, in one segment, in upper case.
    StartTls,
    /// `StartTLS`: verbs are case-insensitive (RFC 5321 §2.4), naive filters are not.
    MixedCaseStartTls,
    /// STARTTLS cut over two segments.
    SplitStartTls,
    /// The answer, inside TLS, to a command that was sent in plaintext behind STARTTLS.
    Injected,
    /// HELP: a Cisco passes the verb and masks the keyword.
    Help,
    /// AUTH, LOGIN, AUTHENTICATE, USER or PASS in a recorded dialogue; never sent by us.
    Auth,
    /// MAIL, RCPT or DATA in a recorded dialogue; never sent by us.
    Transaction,
    /// Anything else in a recorded dialogue; in our own, words that the server said before anybody asked.
    Other,
    /// QUIT or LOGOUT.
    Quit,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A complete reply came; its meaning is read from its bytes.
    Replied,
    /// The peer closed before a complete reply.
    Closed,
    /// The connection was reset before a complete reply.
    Reset,
    /// Nothing complete came within the limit.
    TimedOut,
    /// The reply exceeded the session's bounds.
    TooLong,
    /// The step was reached and left unfinished for a reason of ours (the recording ends here).
    Unfinished,
}

/// One step as it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Position among the connection's exchanges, from 0: what evidence calls `step`.
    pub step: u32,
    /// What was asked.
    pub label: Label,
    /// On which layer.
    pub layer: Layer,
    /// What was sent, in the stream to the server; `None` for a greeting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<ByteRange>,
    /// What came back, in the stream to the client; empty where nothing came.
    pub received: ByteRange,
    /// When the step began.
    pub started: Elapsed,
    /// When the first byte of the answer was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Elapsed>,
    /// When the step ended.
    pub ended: Elapsed,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes that had already arrived *behind* a positive STARTTLS reply, before any TLS record:
    /// response injection, or a server that talks too soon. Part of the stream to the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leftover: Option<ByteRange>,
}
