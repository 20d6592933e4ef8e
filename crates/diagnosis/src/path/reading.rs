//! One trace, hop by hop: who told that packets died there, what they quoted, who answered in the server's place.
//!
//! The only place that pairs probes with answers. It must not know what follows from them.

use alloc::{collections::BTreeSet, format, string::String, vec, vec::Vec};
use core::net::IpAddr;
use hoofbeat_observation::{
    Answer, Answered, Engine, Method, Payload, Probe, Quote, QuoteBegins, Trace,
};
use hoofbeat_session::{ByteRange, Direction, bytes::printable};

use super::quote::{Arrival, Comparison, Packet, Sent, compare};
use crate::{Evidence, Support, evidence};

/// Most hops that are read; the Internet's paths are shorter than half of it.
pub(crate) const MOST_HOPS: u8 = 64;
/// Most probes of one trace that are read.
const MOST_PROBES: usize = 1024;

/// A quote of a probe, compared.
pub(super) struct Quoted<'a> {
    pub(super) from: IpAddr,
    pub(super) comparison: Comparison,
    pub(super) quote: &'a Quote,
    pub(super) probe: &'a Probe,
    /// The probe's place in the trace.
    pub(super) step: u32,
}

/// Something that only the far end, or whoever stands in for it, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Connected,
    Reply,
    Reset,
    Closed,
    Acknowledged,
}

/// Such a thing, at one hop.
pub(super) struct Voice<'a> {
    pub(super) word: Word,
    pub(super) answer: &'a Answer,
    pub(super) step: u32,
    /// Time exceeded came for the very same packet: it was answered, and went on.
    pub(super) alongside: bool,
}

/// One kind of payload at one hop.
#[derive(Default)]
pub(super) struct Side<'a> {
    /// Packets were sent.
    pub(super) asked: bool,
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) quotes: Vec<Quoted<'a>>,
    /// Some hop told that a packet died, named or not.
    pub(super) expired: bool,
    pub(super) voices: Vec<Voice<'a>>,
    /// The retransmission, with its full TTL, was answered.
    pub(super) answered_late: bool,
    /// Somebody says that the port cannot be reached.
    pub(super) unreachable: Vec<(IpAddr, u8, u32)>,
    /// Shortest round trip to the hop, in microseconds.
    pub(super) rtt: Option<u128>,
}

impl Side<'_> {
    /// Whether the payload arrived changed, where every quote that tells says the same.
    pub(super) fn flag(&self) -> Option<bool> {
        let mut found = None;
        for quoted in &self.quotes {
            let changed = match quoted.comparison.arrival {
                Arrival::Changed { .. } => true,
                Arrival::Unchanged => false,
                Arrival::TooShort | Arrival::NotComparable => continue,
            };
            if found.is_some_and(|before| before != changed) {
                return None;
            }
            found = Some(changed);
        }
        found
    }
    /// Quotes that contradict each other.
    pub(super) fn disagrees(&self) -> bool {
        let told = |wanted: fn(&Arrival) -> bool| {
            self.quotes
                .iter()
                .any(|quoted| wanted(&quoted.comparison.arrival))
        };
        told(|arrival| matches!(arrival, Arrival::Changed { .. }))
            && told(|arrival| *arrival == Arrival::Unchanged)
    }
    /// The first quote that shows a change.
    pub(super) fn changed(&self) -> Option<&Quoted<'_>> {
        self.quotes
            .iter()
            .find(|quoted| matches!(quoted.comparison.arrival, Arrival::Changed { .. }))
    }
    /// The first quote that shows none.
    pub(super) fn whole(&self) -> Option<&Quoted<'_>> {
        self.quotes
            .iter()
            .find(|quoted| quoted.comparison.arrival == Arrival::Unchanged)
    }
    /// Packets were sent and nothing at all came back.
    pub(super) fn is_silent(&self) -> bool {
        self.asked && !self.expired && self.voices.is_empty() && self.unreachable.is_empty()
    }
}

/// One hop.
#[derive(Default)]
pub(super) struct HopRead<'a> {
    /// STARTTLS, or a list that holds it.
    pub(super) test: Side<'a>,
    /// Whatever no box looks for.
    pub(super) control: Side<'a>,
    /// A verb that nobody knows.
    pub(super) unknown: Side<'a>,
    /// A ClientHello.
    pub(super) hello: Side<'a>,
}

/// One trace, read.
pub(crate) struct Reading<'a> {
    pub(super) id: &'a str,
    pub(super) trace: &'a Trace,
    /// Hop 1 first.
    pub(super) hops: Vec<HopRead<'a>>,
}

/// Which side of a hop.
pub(super) type Of<'a> = for<'s> fn(&'s HopRead<'a>) -> &'s Side<'a>;

impl<'a> Reading<'a> {
    pub(crate) fn of(id: &'a str, trace: &'a Trace) -> Self {
        let mut hops = Vec::new();
        for (step, probe) in (0_u32..).zip(trace.probes.iter().take(MOST_PROBES)) {
            if probe.ttl == 0 || probe.ttl > MOST_HOPS {
                continue;
            }
            let at = usize::from(probe.ttl);
            while hops.len() < at {
                hops.push(HopRead::default());
            }
            let Some(hop) = hops.get_mut(at - 1) else {
                continue;
            };
            let side: &mut Side<'a> = match probe.payload {
                Payload::StartTls | Payload::Capabilities => &mut hop.test,
                Payload::ClientHello => &mut hop.hello,
                Payload::UnknownVerb => &mut hop.unknown,
                Payload::None | Payload::Control => &mut hop.control,
            };
            read_probe(trace, probe, step, side);
        }
        Self { id, trace, hops }
    }

    /// The last hop at which such packets died.
    fn last_death(&self, of: Of<'a>) -> u8 {
        (1..=MOST_HOPS)
            .zip(&self.hops)
            .filter(|(_, hop)| of(hop).expired)
            .map(|(hop, _)| hop)
            .max()
            .unwrap_or(0)
    }

    /// The first hop from which on such packets are answered and die no more: the distance of whoever answers.
    pub(super) fn end(&self, of: Of<'a>) -> Option<u8> {
        let dies = self.last_death(of);
        (1..=MOST_HOPS)
            .zip(&self.hops)
            .find(|(hop, read)| *hop > dies && !of(read).voices.is_empty())
            .map(|(hop, _)| hop)
    }

    /// The hop's side, where it was asked.
    pub(super) fn side(&self, hop: u8, of: Of<'a>) -> Option<&Side<'a>> {
        self.hops
            .get(usize::from(hop).checked_sub(1)?)
            .map(of)
            .filter(|side| side.asked)
    }

    /// Addresses at a hop, of both sides.
    pub(super) fn addresses(&self, hop: u8) -> BTreeSet<IpAddr> {
        let Some(read) = usize::from(hop)
            .checked_sub(1)
            .and_then(|at| self.hops.get(at))
        else {
            return BTreeSet::new();
        };
        read.test
            .addresses
            .union(&read.control.addresses)
            .copied()
            .collect()
    }

    /// Hops at which test and control packets met different routers, or one kind met several.
    pub(super) fn unsteady(&self) -> Vec<u8> {
        (1..=MOST_HOPS)
            .zip(&self.hops)
            .filter(|(_, hop)| {
                let (test, control) = (&hop.test.addresses, &hop.control.addresses);
                test.len() > 1
                    || control.len() > 1
                    || (!test.is_empty() && !control.is_empty() && test.is_disjoint(control))
            })
            .map(|(hop, _)| hop)
            .collect()
    }

    /// Cites a quote: what hop showed which bytes.
    pub(super) fn cite(&self, quoted: &Quoted<'_>, supports: Support, claim: String) -> Evidence {
        let range = match &quoted.comparison.arrival {
            Arrival::Changed { became, .. } => became.clone(),
            _ => {
                let end = quoted.quote.bytes.len();
                let length = quoted.probe.sent.len().min(end);
                let at = find(&quoted.quote.bytes, &quoted.probe.sent)
                    .unwrap_or(end.saturating_sub(length));
                at..(at + length).min(end)
            }
        };
        let payload = quoted.quote.bytes.get(range.start..).unwrap_or_default();
        let payload = payload.get(..quoted.probe.sent.len()).unwrap_or(payload);
        Evidence {
            claim,
            supports,
            measurement: self.id.into(),
            step: Some(quoted.step),
            bytes: Some((range.start as u64, range.end as u64)),
            direction: direction(self.trace.direction),
            excerpt: evidence::shortened(&format!(
                "hop {} {} quoted \"{}\"",
                quoted.probe.ttl,
                quoted.from,
                printable(payload)
            )),
        }
    }

    /// Cites an answer that came from nearer than the server.
    pub(super) fn cite_voice(
        &self,
        hop: u8,
        voice: &Voice<'_>,
        supports: Support,
        claim: String,
    ) -> Evidence {
        let (what, range) = match &voice.answer.what {
            Answered::Reply { bytes } => (
                format!("answered \"{}\"", printable(bytes)),
                Some(ByteRange {
                    from: 0,
                    to: bytes.len() as u64,
                }),
            ),
            Answered::Connected => ("the connection stood".into(), None),
            Answered::Reset => ("RST".into(), None),
            Answered::Closed => ("FIN".into(), None),
            _ => ("acknowledged".into(), None),
        };
        Evidence {
            claim,
            supports,
            measurement: self.id.into(),
            step: Some(voice.step),
            bytes: range.map(|range| (range.from, range.to)),
            direction: "to-client",
            excerpt: evidence::shortened(&format!("TTL {hop}: {what}")),
        }
    }

    /// What was sent and what arrived, as text, of a changed quote.
    pub(super) fn words(quoted: &Quoted<'_>) -> Option<(String, String)> {
        let Arrival::Changed { was, became } = &quoted.comparison.arrival else {
            return None;
        };
        let text = |bytes: &[u8]| evidence::excerpt(bytes);
        Some((
            text(quoted.probe.sent.get(was.clone()).unwrap_or_default()),
            text(quoted.quote.bytes.get(became.clone()).unwrap_or_default()),
        ))
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "to-server",
        Direction::ToClient => "to-client",
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // A command behind two headers; whatever is longer is no quote of one.
    let haystack = haystack.get(..4096).unwrap_or(haystack);
    if needle.is_empty() || needle.len() > haystack.len() {
        return None;
    }
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn read_probe<'a>(trace: &'a Trace, probe: &'a Probe, step: u32, side: &mut Side<'a>) {
    side.asked = true;
    let dies = |answer: &Answer| {
        matches!(
            answer.what,
            Answered::TimeExceeded { .. } | Answered::Expired
        )
    };
    let exceeded = probe.answers.iter().any(dies);
    for answer in probe.answers.iter().take(16) {
        let word = match &answer.what {
            Answered::TimeExceeded { from, quote } => {
                if side.expired_at(*from, quote.as_ref(), trace, probe, step) {
                    let rtt = answer.at.since(probe.at).as_micros();
                    side.rtt = Some(side.rtt.map_or(rtt, |before| before.min(rtt)));
                }
                continue;
            }
            Answered::Expired => {
                side.expired = true;
                continue;
            }
            Answered::Unreachable { from, code, .. } => {
                side.unreachable.push((*from, *code, step));
                continue;
            }
            Answered::Connected => Word::Connected,
            Answered::Acknowledged => Word::Acknowledged,
            Answered::Reply { .. } => Word::Reply,
            Answered::Reset => Word::Reset,
            Answered::Closed => Word::Closed,
        };
        // On a standing connection the packet comes again with the full TTL: what is answered then tells no distance.
        // And nothing is answered before it was asked, nor by what an earlier command left behind: where packets are
        // captured, an answer to this one was.
        let left_behind = trace.engine == Engine::Raw
            && trace.method == Method::Sweep
            && word == Word::Reply
            && answer.ttl.is_none();
        let late = answer.at < probe.at
            || left_behind
            || match probe.restored {
                Some(restored) => answer.at >= restored,
                // No ClientHello is sent whole behind a limited one.
                None => {
                    exceeded
                        && trace.method == Method::Sweep
                        && probe.payload != Payload::ClientHello
                }
            };
        if late {
            side.answered_late = true;
        } else {
            side.voices.push(Voice {
                word,
                answer,
                step,
                alongside: exceeded,
            });
        }
    }
}

impl<'a> Side<'a> {
    /// Takes in a time exceeded. False where what it quotes is not this probe.
    fn expired_at(
        &mut self,
        from: IpAddr,
        quote: Option<&'a Quote>,
        trace: &Trace,
        probe: &'a Probe,
        step: u32,
    ) -> bool {
        if let Some(quote) = quote {
            let sent = Sent {
                source: probe.source_port,
                destination: (trace.direction == Direction::ToServer).then_some(trace.service.port),
                payload: &probe.sent,
                kind: probe.payload,
                packet: &probe.packet,
            };
            let comparison = compare(&sent, quote);
            let foreign = comparison.arrival == Arrival::NotComparable
                && Packet::read(quote.begins, &quote.bytes).is_some_and(|packet| {
                    packet.source != probe.source_port && quote.begins == QuoteBegins::Ip
                });
            if foreign {
                return false;
            }
            self.quotes.push(Quoted {
                from,
                comparison,
                quote,
                probe,
                step,
            });
        }
        self.expired = true;
        self.addresses.insert(from);
        true
    }
}

/// Flags as `true` (changed), `false`, none, for hops 1 to `last`.
pub(super) fn flags<'a>(reading: &Reading<'a>, of: Of<'a>, last: u8) -> Vec<Option<bool>> {
    let mut flags = vec![None; usize::from(last)];
    for (flag, hop) in flags.iter_mut().zip(&reading.hops) {
        *flag = of(hop).flag();
    }
    flags
}
