//! What happened, written down: exchanges, and the end of the session.

use core::{mem, time::Duration};

use super::{
    Conversation, Event,
    state::{Awaiting, Patience, Sending, State, Step},
};
use crate::{ByteRange, Direction, Elapsed, Exchange, Label, Outcome};

impl Conversation {
    /// Ends a step that got no complete reply; all that had come goes to it.
    pub(super) fn conclude(&mut self, awaiting: Awaiting, outcome: Outcome, now: Elapsed) {
        let end = self.buffer_from.saturating_add(self.buffer.len() as u64);
        let mut range = ByteRange {
            from: self.buffer_from,
            to: end,
        };
        if awaiting.answered > 0 {
            // The answer to a piece was complete; only what came behind it is cut short.
            range.to = self.buffer_from.saturating_add(awaiting.answered as u64);
            self.consume(awaiting.answered);
            self.record(awaiting.step, range, Outcome::Replied, now);
            return self.note_unasked(outcome, now);
        }
        if let Some(unasked) = awaiting.unasked {
            self.record(
                Step::new(Label::Other, now),
                ByteRange {
                    from: unasked.from,
                    to: end,
                },
                outcome,
                now,
            );
            range.from = end;
        }
        self.consume(self.buffer.len());
        self.record(awaiting.step, range, outcome, now);
    }

    /// Ends the session where it stands.
    pub(super) fn break_off(&mut self, outcome: Outcome, now: Elapsed) {
        match mem::replace(&mut self.state, State::Finished) {
            State::AwaitGreeting(awaiting)
            | State::AwaitReply(awaiting)
            | State::AwaitInjected(awaiting) => {
                self.conclude(awaiting, outcome, now);
            }
            State::Sending(Sending {
                step, unasked_to, ..
            }) => {
                if step.sent.is_none() {
                    // What was to be sent was not: there is no such exchange, only words nobody asked for.
                    self.note_unasked(outcome, now);
                } else {
                    let mut awaiting = self.awaiting(step, Duration::ZERO, Patience::Firm, now);
                    if let Some(to) = unasked_to {
                        awaiting.await_unasked(self.script.protocol, self.buffer_from, to, 1);
                    }
                    self.conclude(awaiting, outcome, now);
                }
            }
            State::AwaitTls { .. } => self.note_unasked(outcome, now),
            State::Finished => return,
        }
        self.finish();
    }

    /// Records what lies in the buffer as words that nobody asked for.
    pub(super) fn note_unasked(&mut self, outcome: Outcome, now: Elapsed) {
        if !self.buffer.is_empty() {
            let range = ByteRange {
                from: self.buffer_from,
                to: self.buffer_from.saturating_add(self.buffer.len() as u64),
            };
            self.consume(self.buffer.len());
            self.record(Step::new(Label::Other, now), range, outcome, now);
        }
    }

    pub(super) fn record(
        &mut self,
        step: Step,
        received: ByteRange,
        outcome: Outcome,
        now: Elapsed,
    ) -> usize {
        let number = self.exchanges.len();
        let first_byte = if received.is_empty() {
            None
        } else {
            self.arrival(received.from)
        };
        let started = if step.label == Label::Other {
            first_byte.unwrap_or(step.started)
        } else {
            step.started
        };
        self.exchanges.push(Exchange {
            step: number.try_into().unwrap_or(u32::MAX),
            label: step.label,
            layer: self.layer,
            sent: step.sent,
            received,
            started,
            first_byte,
            ended: now,
            outcome,
            leftover: None,
        });
        self.events
            .push_back(Event::Step(number.try_into().unwrap_or(u32::MAX)));
        number
    }

    /// When the byte at an offset of the stream to the client arrived.
    pub(super) fn arrival(&self, offset: u64) -> Option<Elapsed> {
        self.transcript
            .of(Direction::ToClient)
            .rev()
            .find(|chunk| chunk.offset <= offset)
            .map(|chunk| chunk.at)
    }

    pub(super) fn consume(&mut self, length: usize) {
        let length = length.min(self.buffer.len());
        self.buffer.drain(..length);
        self.buffer_from = self.buffer_from.saturating_add(length as u64);
    }

    pub(super) fn finish(&mut self) {
        self.state = State::Finished;
        self.events.push_back(Event::Finished);
    }
}
