//! From bytes to replies: which are complete, which nobody asked for, and what they change.

use alloc::vec::Vec;
use core::mem;

use super::{
    Conversation, Event,
    state::{Awaiting, State, Step, Unasked},
};
use crate::{
    ByteRange, Elapsed, Framer, Label, Outcome, Progress, Protocol, Reply, Status, capabilities,
    frame, is_ready_for_tls, reply,
};

impl Conversation {
    /// Looks whether what is awaited is complete, and goes on as far as it leads.
    pub(super) fn advance(&mut self, now: Elapsed) {
        loop {
            let (State::AwaitGreeting(awaiting)
            | State::AwaitReply(awaiting)
            | State::AwaitInjected(awaiting)) = &mut self.state
            else {
                return;
            };
            let answered = awaiting.answered;
            match awaiting
                .framer
                .advance(self.buffer.get(answered..).unwrap_or_default())
            {
                Progress::Incomplete => return,
                Progress::Complete(length) => {
                    let length = length + answered;
                    if let Some(unasked) = awaiting.unasked {
                        self.pass_unasked(unasked, length, now);
                    } else if let Some(awaiting) = self.take_awaiting() {
                        self.answered(awaiting.step, length, now);
                    }
                }
                Progress::TooManyLines(length) => {
                    self.buffer.truncate(length + answered);
                    return self.break_off(Outcome::TooLong, now);
                }
            }
        }
    }

    pub(super) fn take_awaiting(&mut self) -> Option<Awaiting> {
        match mem::replace(&mut self.state, State::Finished) {
            State::AwaitGreeting(awaiting)
            | State::AwaitReply(awaiting)
            | State::AwaitInjected(awaiting) => Some(awaiting),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// One unasked reply is complete: records all of them once the last one is, then awaits the answer itself.
    pub(super) fn pass_unasked(&mut self, unasked: Unasked, length: usize, now: Elapsed) {
        let (protocol, most_lines) = (self.script.protocol, self.script.limits.reply_lines);
        // All that are complete at once: a flood of small ones must not be moved one by one.
        let mut passed = length;
        while self.buffer_from.saturating_add(passed as u64) < unasked.to {
            let rest = self.buffer.get(passed..).unwrap_or_default();
            match Framer::new(protocol, Label::Other, None, most_lines).advance(rest) {
                Progress::Complete(length) => passed += length,
                Progress::Incomplete | Progress::TooManyLines(_) => break,
            }
        }
        self.consume(passed);
        let over = self.buffer_from >= unasked.to;
        if over {
            let range = ByteRange {
                from: unasked.from,
                to: self.buffer_from,
            };
            self.record(Step::new(Label::Other, now), range, Outcome::Replied, now);
        }
        if let State::AwaitReply(awaiting) = &mut self.state {
            if over {
                awaiting.unasked = None;
                awaiting.framer = awaiting.step.framer(protocol, most_lines);
            } else {
                awaiting.await_unasked(protocol, unasked.from, unasked.to, most_lines);
            }
        }
    }

    /// A complete reply to a step: the buffer's first `length` bytes.
    pub(super) fn answered(&mut self, step: Step, length: usize, now: Elapsed) {
        let bytes: Vec<u8> = self.buffer.get(..length).unwrap_or_default().to_vec();
        let (label, upgrades) = (step.label, step.upgrades);
        let range = ByteRange {
            from: self.buffer_from,
            to: self.buffer_from.saturating_add(length as u64),
        };
        self.consume(length);
        let reply = reply::read(self.script.protocol, label, &bytes);
        for line in frame::lines(self.script.protocol, &bytes) {
            self.redactor
                .server_line(self.script.protocol, line.range.of(&bytes));
        }
        self.learn(label, &reply, &bytes);
        let number = self.record(step, range, Outcome::Replied, now);
        if upgrades && is_ready_for_tls(self.script.protocol, &reply) {
            let end = self.buffer_from.saturating_add(self.buffer.len() as u64);
            if let Some(exchange) = self
                .exchanges
                .get_mut(number)
                .filter(|_| !self.buffer.is_empty())
            {
                exchange.leftover = Some(ByteRange {
                    from: self.buffer_from,
                    to: end,
                });
            }
            self.consume(self.buffer.len());
            self.state = State::AwaitTls {
                exchange: Some(number),
            };
            self.events.push_back(Event::Upgrade);
        } else if label == Label::Quit {
            self.finish();
        } else {
            self.proceed(now);
        }
    }

    /// What a reply changes for the rest of the script.
    pub(super) fn learn(&mut self, label: Label, reply: &Reply, bytes: &[u8]) {
        self.malformed_in_a_row = if reply.status == Status::Malformed {
            self.malformed_in_a_row + 1
        } else {
            0
        };
        self.only_goodbye |= self.malformed_in_a_row > 1 || reply.status == Status::Goodbye;
        let positive = matches!(reply.status, Status::Positive | Status::Preauthenticated);
        match label {
            Label::Greeting => {
                self.only_goodbye |= !positive && reply.status != Status::Malformed;
                if matches!(self.script.protocol, Protocol::Imap | Protocol::Sieve) {
                    self.offered = positive
                        && capabilities(self.script.protocol, bytes)
                            .offers_starttls(self.script.protocol);
                }
            }
            Label::Capabilities | Label::CapabilitiesAgain if positive => {
                self.offered =
                    capabilities(self.script.protocol, bytes).offers_starttls(self.script.protocol);
                self.refused = false;
            }
            Label::Capabilities => self.refused = true,
            _ => {}
        }
    }
}
