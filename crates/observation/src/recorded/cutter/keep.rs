//! What is kept of a dialogue: exchanges, and the transcript within its bound.
//!
//! It must not know a protocol's grammar beyond what tells one question from another.

use hoofbeat_session::{
    ByteRange, Chunk, Direction, Elapsed, Exchange, Label, Layer, Outcome, Protocol,
};

use super::{
    super::lines::Held, Answer, Asked, Cutter, EXCHANGES, KEPT, Trust, server::reply_code,
};

impl Cutter {
    /// Which question a complete answer belongs to.
    pub(super) fn answered(&mut self) -> (Label, Option<Asked>) {
        if self.trust == Trust::Whole && self.exchanges.is_empty() {
            return (Label::Greeting, None);
        }
        match self.asked.pop_front() {
            Some(asked) => (asked.label, Some(asked)),
            None => (self.unasked_label(), None),
        }
    }

    /// What an answer without a question most likely answers, judged by its own words.
    pub(super) fn unasked_label(&self) -> Label {
        let smtp = matches!(self.protocol, Some(Protocol::Smtp | Protocol::Lmtp));
        let answer = self.answer.as_ref();
        let (code, lines) = answer.map_or((None, 0), |answer| (answer.code, answer.lines));
        let lists = answer.is_some_and(|answer| answer.lists);
        let listed = self
            .history()
            .any(|(label, layer)| label == Label::Capabilities && layer == self.layer);
        if self.trust == Trust::Copied {
            // Questions are left out of pasted texts more often than answers.
            match (self.protocol, code) {
                _ if smtp && code == Some(250) && lines > 1 && !listed => {
                    return Label::Capabilities;
                }
                _ if smtp && code == Some(250) => return Label::Other,
                (Some(Protocol::Imap), _) if lists => return Label::Capabilities,
                (Some(Protocol::Sieve), _) if self.layer == Layer::Tls && !listed => {
                    return Label::Capabilities;
                }
                _ if smtp && code == Some(220) && !self.exchanges.is_empty() => {
                    return Label::StartTls;
                }
                _ if smtp && code == Some(221) => return Label::Quit,
                _ => {}
            }
        }
        let greets =
            self.trust != Trust::MidStream || !smtp || matches!(code, Some(220 | 421 | 554));
        if self.exchanges.is_empty() && greets {
            Label::Greeting
        } else {
            Label::Other
        }
    }

    /// Ends an answer of which no more will be seen.
    pub(super) fn break_off(&mut self) {
        if self.answer.is_none() {
            return;
        }
        let asked = self.asked.pop_front();
        let label = asked
            .as_ref()
            .map_or_else(|| self.unasked_label(), |asked| asked.label);
        self.conclude(label, asked, Outcome::Unfinished);
    }

    pub(super) fn continue_asking(&mut self, asked: &Asked) {
        let Asked {
            label,
            layer,
            opens,
            ref tag,
            sent,
            started,
        } = *asked;
        self.asked.push_front(Asked {
            label,
            layer,
            opens,
            tag: tag.clone(),
            sent,
            started,
        });
    }

    pub(super) fn history(&self) -> impl Iterator<Item = (Label, Layer)> {
        self.exchanges
            .iter()
            .map(|exchange| (exchange.label, exchange.layer))
            .chain(self.asked.iter().map(|asked| (asked.label, asked.layer)))
    }

    pub(super) fn conclude(
        &mut self,
        label: Label,
        asked: Option<Asked>,
        outcome: Outcome,
    ) -> Option<usize> {
        let offset = self.server.offset();
        let answer = self.answer.take();
        if self.exchanges.len() >= EXCHANGES {
            return None;
        }
        let step = self.exchanges.len();
        let started = asked.as_ref().map_or_else(
            || {
                answer
                    .as_ref()
                    .filter(|_| step > 0)
                    .map_or_else(Elapsed::default, |answer| answer.first_byte)
            },
            |asked| asked.started,
        );
        let cut = answer.as_ref().is_some_and(|answer| answer.cut);
        self.exchanges.push(Exchange {
            step: step.try_into().unwrap_or(u32::MAX),
            label,
            layer: asked.as_ref().map_or(self.layer, |asked| asked.layer),
            sent: asked.map(|asked| asked.sent),
            received: answer.as_ref().map_or(
                ByteRange {
                    from: offset,
                    to: offset,
                },
                |answer| answer.received,
            ),
            started,
            first_byte: answer.as_ref().map(|answer| answer.first_byte),
            ended: answer
                .as_ref()
                .map_or(self.last, |answer| answer.ended)
                .max(started),
            outcome: if cut { Outcome::TooLong } else { outcome },
            leftover: None,
        });
        Some(step)
    }

    /// A line of the server's: kept, and part of the answer that is being given.
    pub(super) fn add(&mut self, held: &Held) {
        let before = self.kept;
        let range = self.keep(Direction::ToClient, held, None);
        let cut = self.kept.saturating_sub(before) < held.bytes.len();
        let answer = self.answer.get_or_insert(Answer {
            code: reply_code(held.text()),
            lists: false,
            received: ByteRange {
                from: range.from,
                to: range.from,
            },
            first_byte: held.first_at(),
            ended: held.last_at(),
            lines: 0,
            cut: false,
        });
        answer.received.to = range.to;
        answer.ended = held.last_at();
        answer.lines += 1;
        answer.lists |= contains_word(held.text(), b"CAPABILITY");
        answer.cut |= cut;
    }

    /// Keeps bytes, or what stands for them where they are secret, as far as there is room.
    pub(super) fn keep(
        &mut self,
        direction: Direction,
        held: &Held,
        instead: Option<&[u8]>,
    ) -> ByteRange {
        let range = ByteRange {
            from: held.offset,
            to: held.offset.saturating_add(held.bytes.len() as u64),
        };
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
            self.discarded = self
                .discarded
                .saturating_add((part.len() - kept.len()) as u64);
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
            let chunk = Chunk {
                direction,
                layer: self.layer,
                at: piece.at,
                offset,
                bytes: kept.to_vec(),
            };
            self.chunks.push((piece.sequence, chunk));
        }
        range
    }

    /// Counts bytes that are not kept.
    pub(super) fn hide(&mut self, held: &Held) {
        self.discarded = self.discarded.saturating_add(held.bytes.len() as u64);
    }
}

fn contains_word(line: &[u8], word: &[u8]) -> bool {
    line.split(|b| !b.is_ascii_alphanumeric())
        .any(|found| found.eq_ignore_ascii_case(word))
}
