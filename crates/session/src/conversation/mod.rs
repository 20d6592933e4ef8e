//! One connection as a state machine: a script goes in, bytes go in and out, a record comes out.
//!
//! It owns no socket and no clock: a driver hands it bytes and the time, writes what it transmits,
//! and does the TLS handshake when it says so. It must not know what an answer means for anybody's guilt.
//!
//! ```text
//!                   new                      RFC 5321 §3.1, RFC 3207 §4, RFC 9051 §3,
//!                    │                       RFC 1939 §3, RFC 2595 §4, RFC 5804 §2.2
//!        ┌───────────┴──────────┐
//!        ▼                      ▼ implicit TLS (RFC 8314)
//!  AwaitGreeting ◄────────── AwaitTls ──── upgrade failed ───► Finished
//!        │          upgraded    ▲
//!        │ greeting             │ 220, tagged OK, +OK, OK to STARTTLS
//!        ▼                      │
//!     Sending ── last segment ──► AwaitReply ── closed, reset, too long ──► Finished
//!        ▲  └─ pause ─┘         │
//!        └────── any reply ─────┘         AwaitInjected: inside TLS, silence is the good answer
//! ```
//!
//! After a negative greeting, a 421 or BYE, two replies in a row without a status, or a reply that
//! did not come in time, only QUIT follows. Bytes that were there before a command was sent cannot
//! answer it: they become an exchange of their own, [`Label::Other`](crate::Label::Other) with nothing sent.

mod record;
mod replies;
mod state;
mod steps;

use alloc::{collections::VecDeque, vec::Vec};
use core::{mem, time::Duration};

use crate::{Direction, Elapsed, Exchange, Layer, Outcome, Protocol, Redactor, Script, Transcript};
use state::{Patience, State};

/// Longest wait for the list that a ManageSieve server repeats by itself inside TLS (RFC 5804
/// §2.2): old ones do not, and are not to cost the whole limit.
const UNASKED_LIST: Duration = Duration::from_secs(3);

/// What the driver must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The driver must now do the TLS handshake, then call `handle_upgraded` or
    /// `handle_upgrade_failed`. Bytes that it read before and hands in now are still plaintext.
    Upgrade,
    /// The exchange with this number ended.
    Step(u32),
    /// Nothing more will be sent or awaited.
    Finished,
}

/// A client's session with one server. See the module's diagram.
///
/// ```
/// use hoofbeat_session::{ClientName, Conversation, Elapsed, Event, Limits, Protocol, Script};
/// let at = Elapsed::from_millis;
/// let script = Script::baseline(Protocol::Smtp, &ClientName("c.example".into()), false, Limits::default());
/// let mut session = Conversation::new(script, at(0));
/// session.handle_input(b"220 mx ESMTP\r\n", at(5));
/// assert_eq!(session.poll_event(), Some(Event::Step(0)));
/// assert_eq!(session.poll_transmit(at(5)).as_deref(), Some(&b"EHLO c.example\r\n"[..]));
/// session.handle_input(b"250-mx\r\n250 STARTTLS\r\n", at(9));
/// assert_eq!(session.poll_transmit(at(9)).as_deref(), Some(&b"STARTTLS\r\n"[..]));
/// session.handle_input(b"220 go ahead\r\n", at(12));
/// assert!(std::iter::from_fn(|| session.poll_event()).any(|event| event == Event::Upgrade));
/// ```
#[derive(Debug)]
pub struct Conversation {
    script: Script,
    /// Index of the script's next step.
    next: usize,
    state: State,
    layer: Layer,
    transcript: Transcript,
    exchanges: Vec<Exchange>,
    events: VecDeque<Event>,
    /// Received bytes that belong to no exchange yet.
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte in the stream to the client.
    buffer_from: u64,
    redactor: Redactor,
    /// Whether the last list on this layer offered STARTTLS.
    offered: bool,
    /// Whether the list was refused.
    refused: bool,
    only_goodbye: bool,
    malformed_in_a_row: u32,
    now: Elapsed,
}

impl Conversation {
    /// Begins at the moment the connection stands.
    #[must_use]
    pub fn new(script: Script, now: Elapsed) -> Self {
        let mut conversation = Self {
            script,
            next: 0,
            state: State::Finished,
            layer: Layer::Plain,
            transcript: Transcript::default(),
            exchanges: Vec::new(),
            events: VecDeque::new(),
            buffer: Vec::new(),
            buffer_from: 0,
            redactor: Redactor::default(),
            offered: false,
            refused: false,
            only_goodbye: false,
            malformed_in_a_row: 0,
            now,
        };
        conversation.proceed(now);
        conversation
    }

    /// What one read returned, on the layer that is up.
    pub fn handle_input(&mut self, bytes: &[u8], now: Elapsed) {
        self.now = now;
        let kept = self.transcript.length(Direction::ToClient);
        let room = (self.script.limits.received as u64).saturating_sub(kept);
        let (bytes, beyond) =
            bytes.split_at(bytes.len().min(room.try_into().unwrap_or(usize::MAX)));
        let range = self
            .transcript
            .push(Direction::ToClient, self.layer, now, bytes);
        self.transcript.discarded = self
            .transcript
            .discarded
            .saturating_add(beyond.len() as u64);
        match &mut self.state {
            State::Finished => return,
            State::AwaitTls {
                exchange: Some(step),
            } => {
                let leftover = self
                    .exchanges
                    .get_mut(*step)
                    .map(|exchange| &mut exchange.leftover);
                if let (Some(leftover), false) = (leftover, range.is_empty()) {
                    leftover.get_or_insert(range).to = range.to;
                }
                self.buffer_from = range.to;
            }
            state => {
                self.buffer.extend_from_slice(bytes);
                if !bytes.is_empty() {
                    state.arrived(now);
                }
                self.advance(now);
            }
        }
        if !beyond.is_empty() && !self.is_finished() {
            self.break_off(Outcome::TooLong, now);
        }
    }

    /// The peer closed its side.
    pub fn handle_eof(&mut self, now: Elapsed) {
        self.now = now;
        self.break_off(Outcome::Closed, now);
    }

    /// The connection was reset.
    pub fn handle_reset(&mut self, now: Elapsed) {
        self.now = now;
        self.break_off(Outcome::Reset, now);
    }

    /// The time of [`Self::poll_timeout`] has come; too early a call does nothing.
    pub fn handle_timeout(&mut self, now: Elapsed) {
        self.now = now;
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        self.expire(now);
    }

    /// What was sent last does not reach the peer, however often it is sent again: its reply is waited for no longer, as
    /// if its time were up. Does nothing where no reply is awaited, or one has begun.
    pub fn handle_swallowed(&mut self, now: Elapsed) {
        self.now = now;
        if matches!(&self.state, State::AwaitReply(_)) && self.buffer.is_empty() {
            self.expire(now);
        }
    }

    fn expire(&mut self, now: Elapsed) {
        match mem::replace(&mut self.state, State::Finished) {
            State::Sending(mut sending) => {
                sending.resume_at = None;
                self.state = State::Sending(sending);
            }
            State::AwaitGreeting(awaiting) => {
                let patient = awaiting.patience == Patience::Courtesy;
                self.only_goodbye |= !self.buffer.is_empty();
                self.conclude(awaiting, Outcome::TimedOut, now);
                // Who speaks before the greeting is a spammer to postscreen: no QUIT either.
                if patient {
                    self.proceed(now)
                } else {
                    self.finish()
                }
            }
            State::AwaitReply(awaiting) if awaiting.answered > 0 => {
                self.answered(awaiting.step, awaiting.answered, now)
            }
            State::AwaitReply(awaiting) => {
                // A late answer would be taken for the next command's.
                self.only_goodbye = true;
                self.conclude(awaiting, Outcome::TimedOut, now);
                self.proceed(now);
            }
            State::AwaitInjected(awaiting) => {
                self.only_goodbye |= !self.buffer.is_empty();
                self.conclude(awaiting, Outcome::TimedOut, now);
                self.proceed(now);
            }
            other @ (State::AwaitTls { .. } | State::Finished) => self.state = other,
        }
    }

    /// TLS is up: what follows is inside it.
    pub fn handle_upgraded(&mut self, now: Elapsed) {
        self.now = now;
        let State::AwaitTls { exchange } = self.state else {
            return;
        };
        self.note_unasked(Outcome::Unfinished, now);
        self.layer = Layer::Tls;
        self.offered = false;
        self.refused = false;
        if exchange.is_some() && self.script.protocol == Protocol::Sieve {
            let limit = UNASKED_LIST.min(self.script.limits.reply);
            self.await_greeting(limit, Patience::Courtesy, now);
        } else {
            self.proceed(now);
        }
    }

    /// The handshake failed: the channel is broken, so nothing more is said.
    pub fn handle_upgrade_failed(&mut self, now: Elapsed) {
        self.now = now;
        if matches!(self.state, State::AwaitTls { .. }) {
            self.note_unasked(Outcome::Unfinished, now);
            self.finish();
        }
    }

    /// The next segment to write, if one is due. One segment is one write.
    pub fn poll_transmit(&mut self, now: Elapsed) -> Option<Vec<u8>> {
        let State::Sending(sending) = &mut self.state else {
            return None;
        };
        if sending.resume_at.is_some_and(|at| now < at) {
            return None;
        }
        self.now = now;
        let segment = sending.segments.pop_front()?;
        if sending.step.sent.is_none() {
            sending.step.started = now;
            sending.unasked_to = (!self.buffer.is_empty())
                .then(|| self.buffer_from.saturating_add(self.buffer.len() as u64));
        }
        let kept = segment.bytes.len().min(sending.recordable.len());
        let recorded: Vec<u8> = sending.recordable.drain(..kept).collect();
        let range = self
            .transcript
            .push(Direction::ToServer, self.layer, now, &recorded);
        sending.step.sent.get_or_insert(range).to = range.to;
        if sending.segments.is_empty() {
            self.await_reply(now);
        } else {
            sending.resume_at =
                (!segment.pause_after.is_zero()).then(|| now.after(segment.pause_after));
        }
        Some(segment.bytes)
    }

    /// When [`Self::handle_timeout`] is due: the limit of a reply, or the end of a pause between segments.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Elapsed> {
        match &self.state {
            State::Sending(sending) => sending.resume_at,
            State::AwaitGreeting(awaiting)
            | State::AwaitReply(awaiting)
            | State::AwaitInjected(awaiting) => Some(awaiting.due()),
            State::AwaitTls { .. } | State::Finished => None,
        }
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether nothing more will be sent or awaited.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// The exchanges that ended so far.
    #[must_use]
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// Every byte so far.
    #[must_use]
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The record. A step that is still under way is kept as [`Outcome::Unfinished`].
    #[must_use]
    pub fn into_record(mut self) -> (Transcript, Vec<Exchange>) {
        if !self.is_finished() {
            self.break_off(Outcome::Unfinished, self.now);
        }
        (self.transcript, self.exchanges)
    }
}

#[cfg(test)]
mod playbook;
#[cfg(test)]
mod tests;
