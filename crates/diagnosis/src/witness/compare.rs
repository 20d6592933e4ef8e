//! The four byte strings of one dialogue with a witness, held against each other.
//!
//! Segmentation, what was in flight when the connection ended, and redacted credentials are no differences. It must
//! not know what a difference proves.

use alloc::vec::Vec;
use core::ops::Range;
use hoofbeat_session::{Direction, Layer, Transcript};

use super::Compared;
use crate::evidence;

/// Most bytes of a direction that are compared.
const MOST: usize = 1 << 20;

/// One direction of one dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// How many bytes both ends have.
    pub(super) bytes: usize,
    /// The differing words: in what was sent, and in what arrived.
    pub(super) difference: Option<(Range<usize>, Range<usize>)>,
    /// Bytes that were sent and did not arrive at the end.
    pub(super) missing: usize,
}

/// What one end sent or received in the clear in one direction.
pub(super) fn plain(transcript: &Transcript, direction: Direction) -> Vec<u8> {
    plain_before(transcript, direction, u64::MAX)
}

/// The same up to a place in that direction's stream.
pub(super) fn plain_before(transcript: &Transcript, direction: Direction, end: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in transcript.of(direction) {
        let room = usize::try_from(end.saturating_sub(chunk.offset)).unwrap_or(usize::MAX);
        // Whatever follows TLS is the handshake's business, not this comparison's.
        if chunk.layer != Layer::Plain || room == 0 || bytes.len() >= MOST {
            break;
        }
        bytes.extend_from_slice(chunk.bytes.get(..room).unwrap_or(&chunk.bytes));
    }
    without_credentials(&bytes)
}

/// Lines that carry credentials, cut behind their verb: one end may have redacted them and the other not.
fn without_credentials(bytes: &[u8]) -> Vec<u8> {
    const VERBS: [&[u8]; 4] = [b"AUTH ", b"PASS ", b"LOGIN ", b"AUTHENTICATE "];
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let verb = VERBS.iter().find_map(|verb| {
            // IMAP's verb stands behind a tag.
            let tag = line
                .iter()
                .position(|byte| *byte == b' ')
                .map_or(0, |at| at + 1);
            [0, tag].into_iter().find_map(|from| {
                let found = line.get(from..from + verb.len())?;
                found
                    .eq_ignore_ascii_case(verb)
                    .then_some(from + verb.len())
            })
        });
        match verb {
            Some(end) => {
                out.extend_from_slice(line.get(..end).unwrap_or(line));
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// Holds what arrived against what was sent. `complete`: the sender's record was not cut.
pub(super) fn hold(sent: &[u8], arrived: &[u8], complete: bool) -> Held {
    let bytes = sent.len().min(arrived.len());
    let first = sent.iter().zip(arrived).position(|(a, b)| a != b);
    let difference = match first {
        Some(at) => Some((line_around(sent, at), line_around(arrived, at))),
        // More arrived than was sent.
        None if arrived.len() > sent.len() && complete => {
            Some((sent.len()..sent.len(), sent.len()..arrived.len()))
        }
        None => None,
    };
    Held {
        bytes,
        difference,
        missing: sent.len().saturating_sub(arrived.len()),
    }
}

/// The word that holds a position, up to the line's end where the rest differs as well.
fn line_around(bytes: &[u8], at: usize) -> Range<usize> {
    let is_edge = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'-';
    let before = bytes.get(..at).unwrap_or(bytes);
    let behind = bytes.get(at..).unwrap_or_default();
    let start = before.iter().rposition(is_edge).map_or(0, |edge| edge + 1);
    let end = behind.iter().position(is_edge).unwrap_or(behind.len());
    start..at + end.max(usize::from(!behind.is_empty()))
}

/// A direction for the report.
pub(super) fn told(sent: &[u8], arrived: &[u8], held: &Held) -> Compared {
    let text = |bytes: &[u8], range: &Range<usize>| {
        evidence::excerpt(bytes.get(range.clone()).unwrap_or_default())
    };
    Compared {
        bytes: held.bytes as u64,
        changed: held.difference.is_some(),
        was: held.difference.as_ref().map(|(was, _)| text(sent, was)),
        became: held
            .difference
            .as_ref()
            .map(|(_, became)| text(arrived, became)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identical_and_different_inputs_are_told_apart() {
        let list: &[u8] = b"250-mx\r\n250-STARTTLS\r\n250 HELP\r\n";
        let masked: &[u8] = b"250-mx\r\n250-XXXXXXXA\r\n250 XXXB\r\n";
        assert_eq!(hold(list, list, true).difference, None);
        let held = hold(list, masked, true);
        let told = told(list, masked, &held);
        assert_eq!(
            (told.was.as_deref(), told.became.as_deref(), told.changed),
            (Some("STARTTLS"), Some("XXXXXXXA"), true)
        );
    }

    #[test]
    fn what_was_in_flight_is_no_difference_and_what_was_never_sent_is_one() {
        let held = hold(b"EHLO x\r\nQUIT\r\n", b"EHLO x\r\n", true);
        assert_eq!((held.difference, held.missing), (None, 6));
        assert!(
            hold(b"220 mx\r\n", b"220 mx\r\n500 no\r\n", true)
                .difference
                .is_some()
        );
        // A record that was cut at its bound proves no surplus.
        assert_eq!(
            hold(b"220 mx\r\n", b"220 mx\r\n500 no\r\n", false).difference,
            None
        );
    }

    #[test]
    fn redacted_credentials_are_no_difference() {
        let end = without_credentials(b"EHLO x\r\nAUTH PLAIN AAAA\r\na1 LOGIN me pw\r\nQUIT\r\n");
        let other =
            without_credentials(b"EHLO x\r\nAUTH PLAIN ***\r\na1 LOGIN *** ***\r\nQUIT\r\n");
        assert_eq!(end, other);
        assert_eq!(without_credentials(b"PASS"), b"PASS");
    }
}
