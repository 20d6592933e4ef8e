//! The in-place rewriter: hands each new stretch of a connection's bytes to the sans-IO boxes and puts the answer in its
//! place, octet for octet. A retransmission gets the bytes that went out the first time, however it is cut.
//!
//! It must not know netfilter. What would change a length passes unchanged, and is counted.

use std::collections::BTreeMap;

use crate::middlebox::chain::Chain;
use crate::middlebox::spec::row;
use crate::middlebox::{Action, BoxSpec, Connection, Middlebox};
use crate::protocol::Scheme;
use crate::topology::device::flow::{Flows, Heading, ends};
use crate::topology::device::inspect::{Fate, Inspector, Tally};
use crate::topology::device::packet::Segment;
use crate::topology::device::spec::{Direction, scheme_of};

/// Octets remembered of each direction of a connection, for retransmissions.
const MEMORY: usize = 64 * 1024;
/// How far from its first octet a stream is followed before it is taken for another one.
const REACH: u32 = 1 << 30;

/// The rewriter.
pub(super) struct Rewriter {
    boxes: Vec<BoxSpec>,
    direction: Direction,
    ports: Vec<u16>,
    scheme: Scheme,
    flows: Flows<Flow>,
    ordinal: usize,
}

struct Flow {
    chain: Chain,
    /// The client's initial sequence number, once a SYN was seen.
    opened_with: Option<u32>,
    from_client: Stream,
    from_server: Stream,
}

impl Rewriter {
    pub(super) fn new(
        boxes: Vec<BoxSpec>,
        direction: Direction,
        ports: &[u16],
        scheme: Scheme,
    ) -> Self {
        Self {
            boxes,
            direction,
            ports: ports.to_vec(),
            scheme,
            flows: Flows::new(),
            ordinal: 0,
        }
    }
}

impl Inspector for Rewriter {
    fn inspect(&mut self, packet: &[u8], _forged: &mut Vec<Vec<u8>>, tally: &Tally) -> Fate {
        let Some(segment) = Segment::read(packet) else {
            return Fate::Pass;
        };
        let Some((ends, heading)) = ends(&segment, &self.ports) else {
            return Fate::Pass;
        };
        let opening = segment.opens().then_some(segment.sequence);
        let ordinal = &mut self.ordinal;
        let boxes = &self.boxes;
        let scheme = scheme_of(ends.server.port(), self.scheme);
        let flow = self.flows.of(
            ends,
            heading,
            |known: &Flow| opening.is_some() && known.opened_with != opening,
            || {
                let connection = Connection {
                    ordinal: *ordinal,
                    client: ends.client,
                };
                *ordinal += 1;
                Flow {
                    chain: row(boxes, scheme, &connection),
                    opened_with: opening,
                    from_client: Stream::default(),
                    from_server: Stream::default(),
                }
            },
        );
        let (stream, chain) = match heading {
            Heading::ToServer => (&mut flow.from_client, &mut flow.chain),
            Heading::ToClient => (&mut flow.from_server, &mut flow.chain),
        };
        let payload = segment.payload(packet);
        if payload.is_empty() {
            return Fate::Pass;
        }
        let edited = stream.edit(segment.data_at(), payload, |new| {
            let answer = pass(chain, heading, new);
            if answer.is_none() {
                tally.refused();
            }
            answer
        });
        if edited == payload || !heading.within(self.direction) {
            return Fate::Pass;
        }
        match segment.with_payload(packet, &edited) {
            Some(packet) => Fate::Replace(packet),
            None => {
                tally.refused();
                Fate::Pass
            }
        }
    }
}

/// What the boxes make of `bytes`: `None` unless it is as many octets in the same direction, and nothing else.
fn pass(chain: &mut Chain, heading: Heading, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match heading {
        Heading::ToServer => chain.client_sent(bytes, &mut out),
        Heading::ToClient => chain.server_sent(bytes, &mut out),
    }
    let mut answer = Vec::with_capacity(bytes.len());
    for action in out {
        match (heading, action) {
            (Heading::ToServer, Action::ToServer(part)) => answer.extend(part),
            (Heading::ToClient, Action::ToClient(part)) => answer.extend(part),
            _ => return None,
        }
    }
    (answer.len() == bytes.len()).then_some(answer)
}

/// One direction's bytes as they went out, by their place in the stream.
struct Stream {
    /// The sequence number that place 0 stands for.
    base: Option<u32>,
    sent: BTreeMap<i64, Vec<u8>>,
    kept: usize,
    /// Below this place nothing is remembered any more.
    forgotten: i64,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            base: None,
            sent: BTreeMap::new(),
            kept: 0,
            forgotten: i64::MIN,
        }
    }
}

impl Stream {
    /// The bytes that go out for `payload` at sequence number `at`: remembered ones where there are any, `fresh`'s answer
    /// (or the bytes themselves) elsewhere.
    fn edit(
        &mut self,
        at: u32,
        payload: &[u8],
        mut fresh: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Vec<u8> {
        let mut base = *self.base.get_or_insert(at);
        if at.wrapping_sub(base).cast_signed().unsigned_abs() > REACH {
            *self = Self::default();
            base = *self.base.get_or_insert(at);
        }
        // A distance, so that places just before the first one seen are negative and not four billion.
        let from = i64::from(at.wrapping_sub(base).cast_signed());
        let mut out = Vec::with_capacity(payload.len());
        while out.len() < payload.len() {
            let place = from + offset(out.len());
            let rest = payload.get(out.len()..).unwrap_or_default();
            if place < self.forgotten {
                let take = usize::try_from(self.forgotten - place).unwrap_or(0);
                out.extend_from_slice(rest.get(..take).unwrap_or(rest));
                continue;
            }
            if let Some(known) = self.known(place) {
                let take = known.get(..rest.len()).unwrap_or(known);
                out.extend_from_slice(take);
                continue;
            }
            let until = self.sent.range(place..).next();
            let gap = until.and_then(|(&start, _)| usize::try_from(start - place).ok());
            let new = gap.and_then(|gap| rest.get(..gap)).unwrap_or(rest);
            let answer = fresh(new).unwrap_or_else(|| new.to_vec());
            out.extend_from_slice(&answer);
            self.remember(place, answer);
        }
        out
    }

    /// What went out from `place` on, as far as one piece tells.
    fn known(&self, place: i64) -> Option<&[u8]> {
        let (start, piece) = self.sent.range(..=place).next_back()?;
        let skip = usize::try_from(place - start).ok()?;
        piece.get(skip..).filter(|rest| !rest.is_empty())
    }

    fn remember(&mut self, place: i64, bytes: Vec<u8>) {
        self.kept += bytes.len();
        self.sent.insert(place, bytes);
        while self.kept > MEMORY {
            let Some((start, piece)) = self.sent.pop_first() else {
                return;
            };
            self.kept -= piece.len();
            self.forgotten = self.forgotten.max(start + offset(piece.len()));
        }
    }
}

fn offset(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::device::packet::{flag, tests as made};
    use proptest::prelude::*;

    fn boxes(text: &str) -> Vec<BoxSpec> {
        #[derive(serde::Deserialize)]
        struct Row {
            r#box: Vec<BoxSpec>,
        }
        toml::from_str::<Row>(text).expect("boxes").r#box
    }

    fn cisco(direction: Direction) -> Rewriter {
        Rewriter::new(
            boxes("box=[{kind='cisco'}]"),
            direction,
            &[25],
            Scheme::Smtp,
        )
    }

    fn seen(rewriter: &mut Rewriter, packet: &[u8]) -> Vec<u8> {
        let tally = Tally::default();
        let out = match rewriter.inspect(packet, &mut Vec::new(), &tally) {
            Fate::Pass => packet.to_vec(),
            Fate::Replace(other) => other,
            other => panic!("{other:?}"),
        };
        assert!(made::sealed(&out));
        assert_eq!(tally.counts().refused, 0);
        out
    }

    fn payload(packet: &[u8]) -> Vec<u8> {
        let segment = Segment::read(packet).expect("a segment");
        segment.payload(packet).to_vec()
    }

    #[test]
    fn a_whole_dialogue_is_masked_in_place() {
        for (client, server) in [made::v4(), made::v6()] {
            let mut rewriter = cisco(Direction::Both);
            let to =
                |at, bytes: &[u8]| made::packet((client, server), flag::PSH, at, Some(500), bytes);
            let back =
                |at, bytes: &[u8]| made::packet((server, client), flag::PSH, at, Some(100), bytes);
            seen(
                &mut rewriter,
                &made::packet((client, server), flag::SYN, 99, None, b""),
            );
            assert_eq!(
                payload(&seen(&mut rewriter, &back(500, b"220 mx ESMTP\r\n"))),
                b"220 ********\r\n"
            );
            seen(&mut rewriter, &to(100, b"EHLO me\r\n"));
            assert_eq!(
                payload(&seen(
                    &mut rewriter,
                    &back(514, b"250-mx\r\n250-STARTTLS\r\n250 HELP\r\n")
                )),
                b"250-mx\r\n250-XXXXXXXA\r\n250 XXXB\r\n"
            );
            let command = to(109, b"STARTTLS\r\n");
            let crossed = seen(&mut rewriter, &command);
            assert_eq!(payload(&crossed), b"XXXXXXXX\r\n");
            // Nothing but payload and checksum differs.
            let start = command.len() - 10;
            for (at, (one, other)) in command.iter().zip(&crossed).enumerate() {
                assert!(
                    one == other || at >= start || (start - 4..start - 2).contains(&at),
                    "octet {at}"
                );
            }
        }
    }

    #[test]
    fn retransmissions_get_the_same_bytes_however_they_are_cut() {
        let (client, server) = made::v4();
        let mut rewriter = cisco(Direction::Both);
        let to = |at, bytes: &[u8]| made::packet((client, server), 0, at, Some(5), bytes);
        assert_eq!(
            payload(&seen(&mut rewriter, &to(100, b"STARTTLS\r\n"))),
            b"XXXXXXXX\r\n"
        );
        assert_eq!(
            payload(&seen(&mut rewriter, &to(110, b"QUIT\r\n"))),
            b"QUIT\r\n"
        );
        assert_eq!(
            payload(&seen(&mut rewriter, &to(100, b"STARTTLS\r\n"))),
            b"XXXXXXXX\r\n"
        );
        assert_eq!(
            payload(&seen(
                &mut rewriter,
                &to(100, b"STARTTLS\r\nQUIT\r\nNOOP\r\n")
            )),
            b"XXXXXXXX\r\nQUIT\r\nNOOP\r\n"
        );
        assert_eq!(
            payload(&seen(&mut rewriter, &to(103, b"RTTLS\r\n"))),
            b"XXXXX\r\n"
        );
    }

    #[test]
    fn a_new_connection_of_the_same_ends_starts_anew() {
        let (client, server) = made::v4();
        let mut rewriter = cisco(Direction::Both);
        let to = |flags, at, bytes: &[u8]| made::packet((client, server), flags, at, None, bytes);
        seen(&mut rewriter, &to(flag::SYN, 99, b""));
        seen(&mut rewriter, &to(0, 100, b"STARTTLS\r\n"));
        seen(&mut rewriter, &to(flag::SYN, 98, b""));
        assert_eq!(
            payload(&seen(&mut rewriter, &to(0, 100, b"NOOP 123\r\n"))),
            b"NOOP 123\r\n"
        );
        assert_eq!(rewriter.ordinal, 2);
        seen(&mut rewriter, &to(flag::SYN, 98, b""));
        assert_eq!(rewriter.ordinal, 2, "a repeated SYN is the same connection");
    }

    #[test]
    fn data_in_the_syn_is_data() {
        let (client, server) = made::v4();
        let mut rewriter = cisco(Direction::Both);
        let syn = made::packet((client, server), flag::SYN, 99, None, b"STARTTLS\r\n");
        assert_eq!(payload(&seen(&mut rewriter, &syn)), b"XXXXXXXX\r\n");
    }

    #[test]
    fn one_direction_is_changed_and_both_are_watched() {
        let (client, server) = made::v4();
        let mut rewriter = cisco(Direction::ToClient);
        let to = |at, bytes: &[u8]| made::packet((client, server), 0, at, Some(5), bytes);
        let back = |at, bytes: &[u8]| made::packet((server, client), 0, at, Some(5), bytes);
        seen(&mut rewriter, &back(1, b"220 mx\r\n"));
        seen(&mut rewriter, &to(1, b"EHLO me\r\n"));
        assert_eq!(
            payload(&seen(
                &mut rewriter,
                &back(9, b"250-mx\r\n250 STARTTLS\r\n")
            )),
            b"250-mx\r\n250 XXXXXXXA\r\n"
        );
        assert_eq!(
            payload(&seen(&mut rewriter, &to(10, b"STARTTLS\r\n"))),
            b"STARTTLS\r\n"
        );
    }

    #[test]
    fn a_box_that_would_change_a_length_is_counted_and_changes_nothing() {
        let (client, server) = made::v4();
        let remove = boxes("box=[{kind='answer',verbs={STARTTLS='500 no'}}]");
        let mut rewriter = Rewriter::new(remove, Direction::Both, &[25], Scheme::Smtp);
        let tally = Tally::default();
        let greeting = made::packet((server, client), 0, 1, Some(5), b"220 mx\r\n");
        assert!(matches!(
            rewriter.inspect(&greeting, &mut Vec::new(), &tally),
            Fate::Pass
        ));
        let command = made::packet((client, server), 0, 1, Some(5), b"STARTTLS\r\n");
        assert!(matches!(
            rewriter.inspect(&command, &mut Vec::new(), &tally),
            Fate::Pass
        ));
        assert_eq!(tally.counts().refused, 1);
    }

    #[test]
    fn the_memory_of_a_stream_is_bounded() {
        let mut stream = Stream::default();
        let piece = vec![b'a'; 1000];
        for number in 0..1000u32 {
            stream.edit(number * 1000, &piece, |new| Some(vec![b'b'; new.len()]));
        }
        assert!(stream.kept <= MEMORY);
        assert_eq!(stream.edit(0, &piece, |_| panic!("not new")), piece);
        assert_eq!(
            stream.edit(999_000, &piece, |_| panic!("not new")),
            vec![b'b'; 1000]
        );
    }

    proptest! {
        /// Whatever order and cuts the segments come in, the receiver gets each octet edited the same way.
        #[test]
        fn a_stream_is_edited_once(base in any::<u32>(), cuts in prop::collection::vec((0usize..60, 1usize..30), 1..40)) {
            let text: Vec<u8> = (0..90u8).collect();
            let mut stream = Stream::default();
            let mut first: BTreeMap<usize, u8> = BTreeMap::new();
            let mut stamp = 100u8;
            for (from, length) in cuts {
                let part = &text[from..from + length];
                let at = base.wrapping_add(u32::try_from(from).expect("small"));
                stamp = stamp.wrapping_add(1);
                let out = stream.edit(at, part, |new| Some(vec![stamp; new.len()]));
                prop_assert_eq!(out.len(), part.len());
                for (offset, byte) in out.iter().enumerate() {
                    let known = first.entry(from + offset).or_insert(*byte);
                    prop_assert_eq!(*known, *byte);
                }
            }
        }
    }
}
