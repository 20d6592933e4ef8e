//! From step to step of the script: which comes next, how it is sent, how long its reply is awaited.

use alloc::{collections::VecDeque, vec::Vec};
use core::{mem, time::Duration};

use super::{
    Conversation, Event,
    state::{Awaiting, Patience, Sending, State, Step},
};
use crate::{Act, Elapsed, Label, Layer, Progress, Protocol, Segment, When, scripts};

/// How long a second answer to one command is waited for, where a first came before the command was whole.
const SECOND_ANSWER: Duration = Duration::from_secs(1);

impl Conversation {
    /// Takes the next step of the script whose condition holds.
    pub(super) fn proceed(&mut self, now: Elapsed) {
        while let Some(step) = self.script.steps.get(self.next) {
            self.next += 1;
            if !self.holds(step.when) || (self.only_goodbye && step.act != Act::Quit) {
                continue;
            }
            let in_tls = self.layer == Layer::Tls;
            match step.act.clone() {
                Act::Greeting => {
                    return self.await_greeting(self.script.limits.greeting, Patience::Firm, now);
                }
                Act::Command { label, segments } => {
                    if self.send(label, false, segments, now) {
                        return;
                    }
                }
                Act::StartTls { label, segments } if !in_tls => {
                    if self.send(label, true, segments, now) {
                        return;
                    }
                }
                Act::TlsFirst if !in_tls => {
                    self.state = State::AwaitTls { exchange: None };
                    return self.events.push_back(Event::Upgrade);
                }
                Act::AwaitInjected { quiet } if in_tls => {
                    let step = Step::new(Label::Injected, now);
                    let patience = Patience::Quiet { quiet, last: now };
                    let awaiting = self.awaiting(step, self.script.limits.reply, patience, now);
                    self.state = State::AwaitInjected(awaiting);
                    return self.advance(now);
                }
                Act::Quit => {
                    if self.send(
                        Label::Quit,
                        false,
                        scripts::goodbye(self.script.protocol),
                        now,
                    ) {
                        return;
                    }
                }
                // Nothing to do on this layer.
                Act::StartTls { .. } | Act::TlsFirst | Act::AwaitInjected { .. } => {}
            }
        }
        self.finish();
    }

    pub(super) fn holds(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::Offered => self.offered,
            When::NotOffered => !self.offered,
            When::CapabilitiesRefused => self.refused,
            When::StillPlain => self.layer == Layer::Plain,
            When::InTls => self.layer == Layer::Tls,
        }
    }

    /// Makes ready to send; `false` where there is nothing to send.
    pub(super) fn send(
        &mut self,
        label: Label,
        upgrades: bool,
        segments: Vec<Segment>,
        now: Elapsed,
    ) -> bool {
        let segments: VecDeque<Segment> = segments
            .into_iter()
            .filter(|segment| !segment.bytes.is_empty())
            .collect();
        let bytes: Vec<u8> = segments
            .iter()
            .flat_map(|segment| segment.bytes.iter().copied())
            .collect();
        let mut recordable = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            recordable.extend_from_slice(&self.redactor.client_line(self.script.protocol, line));
        }
        let mut step = Step::new(label, now);
        step.upgrades = upgrades;
        if self.script.protocol == Protocol::Imap {
            step.tag = bytes.split(|byte| *byte == b' ').next().map(<[u8]>::to_vec);
        }
        let ready = !segments.is_empty();
        if ready {
            self.state = State::Sending(Sending {
                step,
                segments,
                recordable,
                resume_at: None,
                unasked_to: None,
            });
        }
        ready
    }

    pub(super) fn await_greeting(&mut self, limit: Duration, patience: Patience, now: Elapsed) {
        let awaiting = self.awaiting(Step::new(Label::Greeting, now), limit, patience, now);
        self.state = State::AwaitGreeting(awaiting);
        self.advance(now);
    }

    pub(super) fn await_reply(&mut self, now: Elapsed) {
        if let State::Sending(Sending {
            step, unasked_to, ..
        }) = mem::replace(&mut self.state, State::Finished)
        {
            let limits = &self.script.limits;
            let limit = if step.label == Label::Quit {
                limits.goodbye
            } else {
                limits.reply
            };
            let mut awaiting = self.awaiting(step, limit, Patience::Firm, now);
            if let Some(to) = unasked_to {
                awaiting.await_unasked(
                    self.script.protocol,
                    self.buffer_from,
                    to,
                    self.script.limits.reply_lines,
                );
            } else if let Progress::Complete(length) = awaiting.framer.advance(&self.buffer) {
                // Somebody answered a piece of the command. Who does that may well answer the next
                // piece too, and that must not be taken for the next command's answer.
                awaiting.framer = awaiting
                    .step
                    .framer(self.script.protocol, self.script.limits.reply_lines);
                awaiting.answered = length;
                awaiting.patience = Patience::Quiet {
                    quiet: SECOND_ANSWER,
                    last: now,
                };
            }
            self.state = State::AwaitReply(awaiting);
            self.advance(now);
        }
    }

    pub(super) fn awaiting(
        &self,
        mut step: Step,
        limit: Duration,
        patience: Patience,
        now: Elapsed,
    ) -> Awaiting {
        if step.label == Label::Injected && self.script.protocol == Protocol::Imap {
            step.tag = Some(scripts::INJECTED_TAG.into());
        }
        let framer = step.framer(self.script.protocol, self.script.limits.reply_lines);
        Awaiting {
            step,
            framer,
            deadline: now.after(limit),
            patience,
            answered: 0,
            unasked: None,
        }
    }
}
