//! Citations: a claim, what it speaks for, and the bytes that bear it.

use alloc::{string::String, vec::Vec};
use hoofbeat_session::{ByteRange, Direction, bytes::printable};

use crate::{
    Evidence, LocationClass, Mechanism, Support, Verdict, Weakness,
    hearing::{Hearing, Step},
};

/// Longest excerpt, in characters.
const LONGEST_EXCERPT: usize = 160;

impl From<Mechanism> for Support {
    fn from(mechanism: Mechanism) -> Self {
        Self::Mechanism(mechanism)
    }
}
impl From<LocationClass> for Support {
    fn from(class: LocationClass) -> Self {
        Self::Location(class)
    }
}
impl From<Weakness> for Support {
    fn from(weakness: Weakness) -> Self {
        Self::Weakness(weakness)
    }
}
impl From<Verdict> for Support {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

/// Bytes as printable text of at most 160 characters.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    // Four bytes of input give at least one character, so this cut never shortens the result.
    let shown = printable(bytes.get(..LONGEST_EXCERPT * 4).unwrap_or(bytes));
    if bytes.len() <= LONGEST_EXCERPT * 4 {
        return shortened(&shown);
    }
    let mut short: String = shown.chars().take(LONGEST_EXCERPT - 1).collect();
    short.push('…');
    short
}

/// Text of at most 160 characters.
pub(crate) fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST_EXCERPT {
        return text.into();
    }
    let mut short: String = text.chars().take(LONGEST_EXCERPT - 1).collect();
    short.push('…');
    short
}

/// Cites the whole reply of a step.
pub(crate) fn reply(
    hearing: &Hearing<'_>,
    step: &Step<'_>,
    supports: impl Into<Support>,
    claim: impl Into<String>,
) -> Evidence {
    if step.bytes.is_empty() {
        return sent(hearing, step, supports, claim);
    }
    range(hearing, step, step.exchange.received, supports, claim)
}

/// Cites a part of a step's reply; `part` is relative to the reply.
pub(crate) fn part(
    hearing: &Hearing<'_>,
    step: &Step<'_>,
    part: ByteRange,
    supports: impl Into<Support>,
    claim: impl Into<String>,
) -> Evidence {
    range(hearing, step, step.range_of(part), supports, claim)
}

/// Cites a range of the stream to the client.
pub(crate) fn range(
    hearing: &Hearing<'_>,
    step: &Step<'_>,
    range: ByteRange,
    supports: impl Into<Support>,
    claim: impl Into<String>,
) -> Evidence {
    Evidence {
        claim: claim.into(),
        supports: supports.into(),
        measurement: hearing.id.into(),
        step: Some(step.exchange.step),
        bytes: Some(range.into()),
        direction: "to-client",
        excerpt: excerpt(
            &hearing
                .dialogue
                .transcript
                .bytes(Direction::ToClient, range),
        ),
    }
}

/// Cites what was sent, where the point is that nothing came back.
pub(crate) fn sent(
    hearing: &Hearing<'_>,
    step: &Step<'_>,
    supports: impl Into<Support>,
    claim: impl Into<String>,
) -> Evidence {
    Evidence {
        claim: claim.into(),
        supports: supports.into(),
        measurement: hearing.id.into(),
        step: Some(step.exchange.step),
        bytes: step.exchange.sent.map(Into::into),
        direction: "to-server",
        excerpt: step
            .exchange
            .sent
            .map(|range| {
                excerpt(
                    &hearing
                        .dialogue
                        .transcript
                        .bytes(Direction::ToServer, range),
                )
            })
            .unwrap_or_default(),
    }
}

/// Cites a connection, a handshake, a look-up or a log line.
pub(crate) fn whole(
    measurement: &str,
    supports: impl Into<Support>,
    claim: impl Into<String>,
    shown: &str,
) -> Evidence {
    Evidence {
        claim: claim.into(),
        supports: supports.into(),
        measurement: measurement.into(),
        step: None,
        bytes: None,
        direction: "to-client",
        excerpt: excerpt(shown.as_bytes()),
    }
}

/// Drops later citations of the same bytes for the same thing.
pub(crate) fn deduplicate(evidence: &mut Vec<Evidence>) {
    let mut kept: Vec<Evidence> = Vec::new();
    for one in evidence.drain(..) {
        let same = |other: &Evidence| {
            other.measurement == one.measurement
                && other.step == one.step
                && other.bytes == one.bytes
                && other.supports == one.supports
                && other.claim == one.claim
        };
        if !kept.iter().any(same) {
            kept.push(one);
        }
    }
    *evidence = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn excerpts_are_bounded_and_printable() {
        assert_eq!(excerpt(b"250-XXXXXXXA\r\n"), "250-XXXXXXXA\\r\\n");
        let long = excerpt(&vec![b'a'; 100_000]);
        assert_eq!(long.chars().count(), LONGEST_EXCERPT);
        assert!(long.ends_with('…'));
        assert!(excerpt(&vec![0xff; 1000]).chars().count() <= LONGEST_EXCERPT);
    }
}
