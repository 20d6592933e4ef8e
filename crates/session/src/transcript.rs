//! The exact record of one connection: who sent which bytes when, segment by segment.
//!
//! Offsets count a direction's application bytes from the first one, plaintext and TLS alike, so a
//! range of offsets names the same bytes for ever. Nothing is dropped silently: what exceeds the
//! bound is counted in [`Transcript::discarded`].

use alloc::{borrow::Cow, vec::Vec};
use core::time::Duration;
use serde::{Deserialize, Serialize};

use crate::{ByteRange, bytes};

/// Time since the measurement's zero. Written as whole microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Elapsed(pub Duration);

impl Elapsed {
    /// From whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
    /// The time from `earlier` to this moment; zero where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
    /// This moment and a wait behind it.
    #[must_use]
    pub const fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}
impl From<u64> for Elapsed {
    fn from(micros: u64) -> Self {
        Self(Duration::from_micros(micros))
    }
}
impl From<Elapsed> for u64 {
    fn from(elapsed: Elapsed) -> Self {
        elapsed.0.as_micros().try_into().unwrap_or(Self::MAX)
    }
}

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From us (or the recorded client) to the server.
    ToServer,
    /// From the server, or whoever answered in its place.
    ToClient,
}

/// Whether bytes crossed the network in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Readable by everybody on the way.
    Plain,
    /// Inside TLS.
    Tls,
}

/// One segment as it was written or as one read returned it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Which way it went.
    pub direction: Direction,
    /// In the clear or inside TLS.
    pub layer: Layer,
    /// When it was written or read.
    pub at: Elapsed,
    /// Offset of its first byte in its direction's stream.
    pub offset: u64,
    /// The bytes; credentials are replaced before they get here.
    #[serde(with = "bytes")]
    pub bytes: Vec<u8>,
}

/// Both directions of one connection, in the order in which they were seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transcript {
    /// The segments in order of time.
    pub chunks: Vec<Chunk>,
    /// Bytes received beyond the session's bound, which were counted and not kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub discarded: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Transcript {
    /// How many segments are kept apart; see [`Transcript::push`].
    pub const SEGMENTS: usize = 8192;

    /// How many bytes of a direction are kept; the offset that the next byte will have.
    #[must_use]
    pub fn length(&self, direction: Direction) -> u64 {
        self.of(direction).next_back().map_or(0, |chunk| {
            chunk.offset.saturating_add(chunk.bytes.len() as u64)
        })
    }

    /// Appends a segment at the end of its direction's stream and returns its range.
    ///
    /// Behind [`Transcript::SEGMENTS`] segments a further one is joined to its predecessor of the
    /// same direction and layer, which keeps that one's time: a peer that drips single bytes must
    /// not cost a record for each.
    pub fn push(
        &mut self,
        direction: Direction,
        layer: Layer,
        at: Elapsed,
        bytes: &[u8],
    ) -> ByteRange {
        let offset = self.length(direction);
        let range = ByteRange {
            from: offset,
            to: offset.saturating_add(bytes.len() as u64),
        };
        let full = self.chunks.len() >= Self::SEGMENTS;
        match self.chunks.last_mut() {
            _ if bytes.is_empty() => {}
            Some(last) if full && last.direction == direction && last.layer == layer => {
                last.bytes.extend_from_slice(bytes)
            }
            _ => self.chunks.push(Chunk {
                direction,
                layer,
                at,
                offset,
                bytes: bytes.to_vec(),
            }),
        }
        range
    }

    /// The segments of one direction.
    pub fn of(&self, direction: Direction) -> impl DoubleEndedIterator<Item = &Chunk> {
        self.chunks
            .iter()
            .filter(move |chunk| chunk.direction == direction)
    }

    /// The bytes of a range of one direction's stream, as far as they are kept.
    #[must_use]
    pub fn bytes(&self, direction: Direction, range: ByteRange) -> Cow<'_, [u8]> {
        let mut found: Cow<'_, [u8]> = Cow::Borrowed(&[]);
        for chunk in self.of(direction) {
            let end = chunk.offset.saturating_add(chunk.bytes.len() as u64);
            if end <= range.from || chunk.offset >= range.to {
                continue;
            }
            let from = range.from.saturating_sub(chunk.offset) as usize;
            let to = (range.to.min(end).saturating_sub(chunk.offset)) as usize;
            let part = chunk.bytes.get(from..to).unwrap_or_default();
            if found.is_empty() {
                found = Cow::Borrowed(part);
            } else {
                found.to_mut().extend_from_slice(part);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cross_segments() {
        let mut transcript = Transcript::default();
        let first = transcript.push(
            Direction::ToClient,
            Layer::Plain,
            Elapsed::default(),
            b"220 m",
        );
        transcript.push(
            Direction::ToServer,
            Layer::Plain,
            Elapsed::default(),
            b"EHLO x\r\n",
        );
        let second = transcript.push(
            Direction::ToClient,
            Layer::Plain,
            Elapsed::default(),
            b"x\r\n",
        );
        assert_eq!((first.from, first.to, second.from, second.to), (0, 5, 5, 8));
        let all = ByteRange { from: 0, to: 8 };
        assert_eq!(&*transcript.bytes(Direction::ToClient, all), b"220 mx\r\n");
        assert_eq!(
            &*transcript.bytes(Direction::ToClient, ByteRange { from: 4, to: 6 }),
            b"mx"
        );
        assert_eq!(
            &*transcript.bytes(Direction::ToClient, ByteRange { from: 8, to: 99 }),
            b""
        );
    }
}
