//! One direction's stream, cut into lines without forgetting which segment each byte came in.
//!
//! It must not know what a line means. Bounded: a line without an end is handed out at [`LONGEST`].

use alloc::{collections::VecDeque, vec::Vec};
use hoofbeat_session::Elapsed;

/// Longest line that is waited for, in bytes; RFC 5321 §4.5.3.1 asks for 512 and 1000.
pub(super) const LONGEST: usize = 64 << 10;

/// A run of bytes of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which segment, counted over both directions.
    pub(super) sequence: u64,
    /// When it was seen.
    pub(super) at: Elapsed,
    /// How many of the bytes.
    pub(super) length: usize,
}

/// Bytes that belong together, with the segments that brought them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// The bytes, the line end included where there is one.
    pub(super) bytes: Vec<u8>,
    /// The segments in order; their lengths add up to the bytes'.
    pub(super) pieces: Vec<Piece>,
    /// Offset of the first byte in the direction's stream.
    pub(super) offset: u64,
}

impl Held {
    /// The line without its end.
    pub(super) fn text(&self) -> &[u8] {
        let line = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
    /// When its first byte was seen.
    pub(super) fn first_at(&self) -> Elapsed {
        self.pieces
            .first()
            .map_or_else(Elapsed::default, |piece| piece.at)
    }
    /// When its last byte was seen.
    pub(super) fn last_at(&self) -> Elapsed {
        self.pieces
            .last()
            .map_or_else(Elapsed::default, |piece| piece.at)
    }
}

/// The bytes of one direction that are not handed out yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    start: usize,
    /// How far behind `start` no line feed was found.
    searched: usize,
    pieces: VecDeque<Piece>,
    offset: u64,
}

impl Lines {
    /// Appends a segment.
    pub(super) fn push(&mut self, sequence: u64, at: Elapsed, bytes: &[u8]) {
        if self.start > LONGEST {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
        match self.pieces.back_mut() {
            Some(last) if last.sequence == sequence => last.length += bytes.len(),
            _ if bytes.is_empty() => {}
            _ => self.pieces.push_back(Piece {
                sequence,
                at,
                length: bytes.len(),
            }),
        }
    }

    /// What is held and not handed out.
    pub(super) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Offset of the first waiting byte.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// When the first waiting byte was seen.
    pub(super) fn waiting_since(&self) -> Option<Elapsed> {
        self.pieces.front().map(|piece| piece.at)
    }

    /// The next line, its line feed included; or [`LONGEST`] bytes that hold none.
    pub(super) fn next_line(&mut self) -> Option<Held> {
        let waiting = self.waiting();
        let unsearched = waiting.get(self.searched..).unwrap_or_default();
        match memchr::memchr(b'\n', unsearched) {
            Some(at) => {
                let length = self.searched + at + 1;
                self.take(length.min(LONGEST))
            }
            None if waiting.len() >= LONGEST => self.take(LONGEST),
            None => {
                self.searched = waiting.len();
                None
            }
        }
    }

    /// At most `length` bytes, whatever they are; none where none wait.
    pub(super) fn take(&mut self, length: usize) -> Option<Held> {
        let length = length.min(self.waiting().len());
        if length == 0 {
            return None;
        }
        let bytes = self.waiting().get(..length).unwrap_or_default().to_vec();
        let mut held = Held {
            bytes,
            pieces: Vec::new(),
            offset: self.offset,
        };
        let mut left = length;
        while left > 0 {
            let Some(front) = self.pieces.front_mut() else {
                break;
            };
            let part = front.length.min(left);
            held.pieces.push(Piece {
                length: part,
                ..*front
            });
            front.length -= part;
            left -= part;
            if front.length == 0 {
                self.pieces.pop_front();
            }
        }
        self.start += length;
        self.searched = 0;
        self.offset = self.offset.saturating_add(length as u64);
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
        Some(held)
    }

    /// Everything that waits.
    pub(super) fn take_all(&mut self) -> Option<Held> {
        self.take(usize::MAX)
    }

    /// Notes that bytes of the stream were never seen: offsets go on behind them.
    pub(super) const fn skip(&mut self, missing: u64) {
        self.offset = self.offset.saturating_add(missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn lines_remember_their_segments() {
        let mut lines = Lines::default();
        lines.push(1, Elapsed::from_millis(1), b"220 m");
        assert_eq!(lines.next_line(), None);
        lines.push(4, Elapsed::from_millis(4), b"x\r\n250");
        let held = lines.next_line().unwrap();
        assert_eq!(held.text(), b"220 mx");
        assert_eq!(held.offset, 0);
        assert_eq!(
            held.pieces,
            vec![
                Piece {
                    sequence: 1,
                    at: Elapsed::from_millis(1),
                    length: 5
                },
                Piece {
                    sequence: 4,
                    at: Elapsed::from_millis(4),
                    length: 3
                },
            ]
        );
        assert_eq!(lines.next_line(), None);
        assert_eq!(lines.take_all().unwrap().offset, 8);
    }

    #[test]
    fn an_endless_line_is_handed_out_in_parts() {
        let mut lines = Lines::default();
        lines.push(0, Elapsed::default(), &vec![b'a'; LONGEST * 2 + 1]);
        assert_eq!(lines.next_line().unwrap().bytes.len(), LONGEST);
        assert_eq!(lines.next_line().unwrap().bytes.len(), LONGEST);
        assert_eq!(lines.next_line(), None);
    }
}
