//! One direction of a TCP connection, put together from what was captured (RFC 9293 §3.4).
//!
//! The first copy of a byte counts; a second one that differs is counted, for somebody must have made it
//! up. Bytes that never come are a gap. It must not know the other direction.

use std::{collections::BTreeMap, time::Duration};

/// Most bytes of a direction that are kept: what matters comes early.
pub(super) const KEPT: usize = 256 << 10;
/// Most segments that wait for an earlier one.
const WAITING: usize = 256;

/// What came of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// Bytes of the stream, as offsets `[from, to)` of [`Half::bytes`].
    Bytes {
        at: Duration,
        from: usize,
        to: usize,
    },
    /// Bytes that were not captured.
    Gap { missing: u64 },
}

/// The direction.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// The sequence number of the stream's first byte.
    base: Option<u32>,
    /// How much of the stream was handed on, gaps included.
    next: u64,
    bytes: Vec<u8>,
    /// Where the kept runs lie in the stream: stream offset, offset in `bytes`, length.
    runs: Vec<(u64, usize, usize)>,
    waiting: BTreeMap<u64, (Duration, Vec<u8>)>,
    /// How many bytes wait.
    held: usize,
    /// Retransmissions whose bytes differ from what came first.
    pub(super) differing: u64,
    /// Bytes beyond [`KEPT`].
    pub(super) beyond: u64,
}

impl Half {
    /// The bytes that were kept.
    pub(super) fn bytes(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// The connection's first number was seen: the stream begins behind it.
    pub(super) const fn begin(&mut self, sequence: u32) {
        if self.base.is_none() {
            self.base = Some(sequence.wrapping_add(1));
        }
    }

    /// A segment; what became readable through it.
    pub(super) fn segment(&mut self, sequence: u32, at: Duration, payload: &[u8]) -> Vec<Came> {
        if payload.is_empty() {
            return Vec::new();
        }
        let base = *self.base.get_or_insert(sequence);
        let offset = self.place(base, sequence);
        let Ok(offset) = u64::try_from(offset) else {
            // From before the first byte that was seen: what overlaps is new to us only behind it.
            let before = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            return payload
                .get(before..)
                .map_or_else(Vec::new, |rest| self.at_offset(0, at, rest));
        };
        self.at_offset(offset, at, payload)
    }

    /// The receiver has everything up to here: what was not captured by now is a gap.
    pub(super) fn acknowledged(&mut self, number: u32) -> Vec<Came> {
        let Some(base) = self.base else {
            return Vec::new();
        };
        let Ok(offset) = u64::try_from(self.place(base, number)) else {
            return Vec::new();
        };
        let mut came = Vec::new();
        while let Some((first, _)) = self.waiting.first_key_value()
            && *first < offset
        {
            came.extend(self.leap());
        }
        came
    }

    /// Nothing more will come: what waits is handed on behind its gaps.
    pub(super) fn finish(&mut self) -> Vec<Came> {
        let mut came = Vec::new();
        while !self.waiting.is_empty() {
            came.extend(self.leap());
        }
        came
    }

    /// Signed distance from the stream's begin, right across the wrap of sequence numbers.
    fn place(&self, base: u32, sequence: u32) -> i64 {
        let expected = base.wrapping_add(self.next as u32);
        let distance = i64::from(sequence.wrapping_sub(expected) as i32);
        i64::try_from(self.next)
            .unwrap_or(i64::MAX)
            .saturating_add(distance)
    }

    fn at_offset(&mut self, offset: u64, at: Duration, payload: &[u8]) -> Vec<Came> {
        if offset < self.next {
            let known = usize::try_from(self.next - offset)
                .unwrap_or(usize::MAX)
                .min(payload.len());
            let (again, fresh) = payload.split_at(known);
            // A keep-alive repeats one byte, of any value (RFC 1122 §4.2.3.6).
            let keep_alive = again.len() == 1 && fresh.is_empty();
            if !keep_alive && self.differs(offset, again) {
                self.differing += 1;
            }
            return if fresh.is_empty() {
                Vec::new()
            } else {
                self.at_offset(self.next, at, fresh)
            };
        }
        if offset > self.next {
            match self.waiting.get(&offset) {
                Some((_, first)) => {
                    let common = first.len().min(payload.len());
                    if first.get(..common) != payload.get(..common) {
                        self.differing += 1;
                    }
                    if payload.len() > first.len() {
                        let longer =
                            [first.as_slice(), payload.get(common..).unwrap_or_default()].concat();
                        self.held += longer.len() - first.len();
                        self.waiting.insert(offset, (at, longer));
                    }
                }
                None => {
                    self.held += payload.len();
                    self.waiting.insert(offset, (at, payload.to_vec()));
                }
            }
            return if self.waiting.len() > WAITING || self.held > KEPT {
                self.leap()
            } else {
                Vec::new()
            };
        }
        let mut came = vec![self.take(at, payload)];
        came.extend(self.follow());
        came
    }

    /// Hands on what waited for the bytes that just came.
    fn follow(&mut self) -> Vec<Came> {
        let mut came = Vec::new();
        while let Some((first, _)) = self.waiting.first_key_value()
            && *first <= self.next
            && let Some((offset, (at, payload))) = self.waiting.pop_first()
        {
            self.held = self.held.saturating_sub(payload.len());
            came.extend(self.at_offset(offset, at, &payload));
        }
        came
    }

    /// Goes on behind a gap.
    fn leap(&mut self) -> Vec<Came> {
        let Some((first, _)) = self.waiting.first_key_value() else {
            return Vec::new();
        };
        let missing = first.saturating_sub(self.next);
        self.next = self.next.max(*first);
        let mut came = Vec::new();
        if missing > 0 {
            came.push(Came::Gap { missing });
        }
        came.extend(self.follow());
        came
    }

    fn take(&mut self, at: Duration, payload: &[u8]) -> Came {
        let room = KEPT.saturating_sub(self.bytes.len()).min(payload.len());
        let from = self.bytes.len();
        self.bytes
            .extend_from_slice(payload.get(..room).unwrap_or_default());
        match self.runs.last_mut() {
            Some((stream, start, length))
                if *stream + *length as u64 == self.next && *start + *length == from =>
            {
                *length += room;
            }
            _ => self.runs.push((self.next, from, room)),
        }
        self.beyond = self.beyond.saturating_add((payload.len() - room) as u64);
        self.next = self.next.saturating_add(payload.len() as u64);
        Came::Bytes {
            at,
            from,
            to: from + room,
        }
    }

    /// Whether bytes that came again differ from those that are kept.
    fn differs(&self, offset: u64, again: &[u8]) -> bool {
        self.runs.iter().any(|(stream, start, length)| {
            let from = offset.max(*stream);
            let to = (offset + again.len() as u64).min(*stream + *length as u64);
            if from >= to {
                return false;
            }
            let size = (to - from) as usize;
            let kept = start + (from - stream) as usize;
            let copy = (from - offset) as usize;
            self.bytes.get(kept..kept + size) != again.get(copy..copy + size)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::ZERO;

    fn text(half: &Half, came: &[Came]) -> String {
        came.iter()
            .map(|came| match came {
                Came::Bytes { from, to, .. } => {
                    String::from_utf8_lossy(half.bytes(*from, *to)).into_owned()
                }
                Came::Gap { missing } => format!("<{missing}>"),
            })
            .collect()
    }

    #[test]
    fn order_is_restored_across_the_wrap() {
        let mut half = Half::default();
        half.begin(u32::MAX - 2);
        assert_eq!(half.segment(1, AT, b"def"), []);
        let came = half.segment(u32::MAX - 1, AT, b"abc");
        assert_eq!(text(&half, &came), "abcdef");
    }

    #[test]
    fn the_first_copy_counts_and_a_different_one_is_noticed() {
        let mut half = Half::default();
        half.begin(99);
        assert_eq!(half.segment(100, AT, b"250-STARTTLS\r\n").len(), 1);
        assert_eq!(half.segment(100, AT, b"250-STARTTLS\r\n"), []);
        assert_eq!(half.differing, 0);
        assert_eq!(half.segment(100, AT, b"250-XXXXXXXA\r\n"), []);
        assert_eq!(half.differing, 1);
        assert_eq!(half.segment(113, AT, b"\0"), [], "a keep-alive");
        assert_eq!(half.differing, 1);
        let came = half.segment(110, AT, b"LS\r\n250 x");
        assert_eq!(text(&half, &came), "250 x");
    }

    #[test]
    fn a_gap_is_declared_when_the_receiver_acknowledges_it_or_at_the_end() {
        let mut half = Half::default();
        half.begin(0);
        assert_eq!(half.segment(11, AT, b"late"), []);
        assert_eq!(half.acknowledged(11), []);
        let came = half.acknowledged(15);
        assert_eq!(text(&half, &came), "<10>late");
        assert_eq!(half.segment(20, AT, b"end"), []);
        let came = half.finish();
        assert_eq!(text(&half, &came), "<5>end");
    }

    #[test]
    fn a_late_start_begins_where_it_begins() {
        let mut half = Half::default();
        let came = half.segment(5000, AT, b"250 ok");
        assert_eq!(text(&half, &came), "250 ok");
        assert_eq!(half.segment(4990, AT, b"old bytes!"), []);
    }

    #[test]
    fn much_is_counted_and_not_kept() {
        let mut half = Half::default();
        let mut sequence = 0u32;
        for _ in 0..300 {
            half.segment(sequence, AT, &[b'a'; 1024]);
            sequence += 1024;
        }
        assert_eq!(half.bytes.len(), KEPT);
        assert_eq!(half.beyond, 300 * 1024 - KEPT as u64);
    }
}
