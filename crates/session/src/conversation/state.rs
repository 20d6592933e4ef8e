//! The states of a conversation: each holds what is true in it and nothing else.

use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

use crate::{ByteRange, Elapsed, Framer, Label, Protocol, Segment};

/// Where a conversation stands.
#[derive(Debug)]
pub(super) enum State {
    /// The server speaks first.
    AwaitGreeting(Awaiting),
    /// A command is being written, segment by segment.
    Sending(Sending),
    /// A command is written; its reply is awaited.
    AwaitReply(Awaiting),
    /// The driver does the handshake; `exchange` is the STARTTLS that led here, none with implicit TLS.
    AwaitTls { exchange: Option<usize> },
    /// Nothing was asked on this layer; an answer would be one to a command from before TLS.
    AwaitInjected(Awaiting),
    /// Over.
    Finished,
}

impl State {
    /// Notes the arrival of bytes: silence begins anew.
    pub(super) fn arrived(&mut self, now: Elapsed) {
        if let Self::AwaitReply(Awaiting {
            patience: Patience::Quiet { last, .. },
            ..
        })
        | Self::AwaitInjected(Awaiting {
            patience: Patience::Quiet { last, .. },
            ..
        }) = self
        {
            *last = now;
        }
    }
}

/// A step under way, as it will stand in its exchange.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) label: Label,
    /// IMAP's tag.
    pub(super) tag: Option<Vec<u8>>,
    /// Whether a positive reply begins TLS.
    pub(super) upgrades: bool,
    pub(super) sent: Option<ByteRange>,
    pub(super) started: Elapsed,
}

impl Step {
    pub(super) const fn new(label: Label, started: Elapsed) -> Self {
        Self {
            label,
            tag: None,
            upgrades: false,
            sent: None,
            started,
        }
    }

    pub(super) fn framer(&self, protocol: Protocol, most_lines: usize) -> Framer {
        Framer::new(protocol, self.label, self.tag.as_deref(), most_lines)
    }
}

/// A command on its way out.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) step: Step,
    /// What is still to be written.
    pub(super) segments: VecDeque<Segment>,
    /// The same bytes as the transcript may keep them.
    pub(super) recordable: Vec<u8>,
    /// The end of a pause.
    pub(super) resume_at: Option<Elapsed>,
    /// Up to where bytes were there before the first segment.
    pub(super) unasked_to: Option<u64>,
}

/// A reply on its way in.
#[derive(Debug)]
pub(super) struct Awaiting {
    pub(super) step: Step,
    pub(super) framer: Framer,
    pub(super) deadline: Elapsed,
    pub(super) patience: Patience,
    /// Length of a reply that was complete before the command was.
    pub(super) answered: usize,
    /// Replies that began before the command was sent and are passed over first.
    pub(super) unasked: Option<Unasked>,
}

impl Awaiting {
    /// Frames unasked replies until one ends at or behind `to`.
    pub(super) fn await_unasked(
        &mut self,
        protocol: Protocol,
        from: u64,
        to: u64,
        most_lines: usize,
    ) {
        self.unasked = Some(Unasked { from, to });
        self.framer = Framer::new(protocol, Label::Other, None, most_lines);
    }

    /// When waiting ends.
    pub(super) fn due(&self) -> Elapsed {
        match self.patience {
            Patience::Firm | Patience::Courtesy => self.deadline,
            Patience::Quiet { quiet, last } => self.deadline.min(last.after(quiet)),
        }
    }
}

/// Bytes `[from, to)` of the stream to the client that were there before a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unasked {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What the end of waiting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// The peer failed to answer.
    Firm,
    /// Nothing: it was free to answer.
    Courtesy,
    /// Silence of this length, counted from the last byte, is an answer.
    Quiet { quiet: Duration, last: Elapsed },
}
