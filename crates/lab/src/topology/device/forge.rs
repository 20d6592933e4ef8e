//! The forger: answers STARTTLS in the server's name. In the path it swallows the command and translates sequence numbers
//! for the rest of the connection, so that both sides go on talking; as a tap it only races the genuine reply.
//!
//! It must not know netfilter. Norton and its kin (facts of 2002), wiretap injectors.

use crate::middlebox::proxy::fill;
use crate::middlebox::reply::Asked;
use crate::protocol::{Protocol, Scheme};
use crate::topology::device::flow::{Ends, Flows, Heading, ends};
use crate::topology::device::inspect::{Fate, Inspector, Tally};
use crate::topology::device::packet::{Made, Segment, flag};
use crate::topology::device::spec::{ForgeSpec, ForgedTtl, Stance, scheme_of};
use crate::topology::device::splice::Splice;
use crate::topology::device::trigger::{Watch, starttls_line};

/// The forger.
pub(super) struct Forger {
    spec: ForgeSpec,
    ports: Vec<u16>,
    scheme: Scheme,
    flows: Flows<Flow>,
}

#[derive(Default)]
struct Flow {
    opened_with: Option<u32>,
    watch: Watch,
    /// What the client sent and the server did not get.
    client: Splice,
    /// What the client got and the server did not send.
    server: Splice,
    /// The server's next number, as far as the client was sent its octets.
    server_next: Option<u32>,
    answers: Vec<Answer>,
}

/// A forged answer, kept for a client that asks again because it was lost.
#[derive(Clone)]
struct Answer {
    /// The command's first octet.
    command: u32,
    sequence: u32,
    acknowledged: u32,
    text: Vec<u8>,
}

impl Forger {
    pub(super) fn new(spec: ForgeSpec, scheme: Scheme) -> Self {
        Self {
            ports: spec.only.mail_ports().to_vec(),
            spec,
            scheme,
            flows: Flows::new(),
        }
    }
}

impl Inspector for Forger {
    fn inspect(&mut self, packet: &[u8], forged: &mut Vec<Vec<u8>>, tally: &Tally) -> Fate {
        let Some(segment) = Segment::read(packet) else {
            return Fate::Pass;
        };
        let Some((ends, heading)) = ends(&segment, &self.ports) else {
            return Fate::Pass;
        };
        let opening = segment.opens().then_some(segment.sequence);
        let flow = self.flows.of(
            ends,
            heading,
            |known: &Flow| opening.is_some() && known.opened_with != opening,
            || Flow {
                opened_with: opening,
                ..Flow::default()
            },
        );
        let protocol = scheme_of(ends.server.port(), self.scheme).protocol();
        let fate = match heading {
            Heading::ToServer => {
                let case = Case {
                    spec: &self.spec,
                    protocol,
                    ends,
                    segment: &segment,
                    payload: segment.payload(packet),
                };
                match flow.answer(&case, forged) {
                    Some(fate) => Some(fate),
                    None => flow.toward_server(&segment, packet),
                }
            }
            Heading::ToClient => flow.toward_client(&segment, packet),
        };
        fate.unwrap_or_else(|| {
            tally.refused();
            Fate::Pass
        })
    }
}

/// One segment from the client, and what there is to know about it.
struct Case<'a> {
    spec: &'a ForgeSpec,
    protocol: Protocol,
    ends: Ends,
    segment: &'a Segment,
    payload: &'a [u8],
}

impl Flow {
    /// Answers a command, or answers it again. `None` when there is nothing to answer.
    fn answer(&mut self, case: &Case, forged: &mut Vec<Vec<u8>>) -> Option<Fate> {
        let (at, length) = (case.segment.data_at(), case.payload.len());
        let told = case.segment.acknowledged?;
        if length == 0 {
            return None;
        }
        let kept = self.client.kept(at, length);
        if kept.is_empty() {
            // All of it was swallowed before: the answer was lost.
            let known = self.answers.iter().rev().find(|answer| {
                let into = at.wrapping_sub(answer.command);
                into < answer.acknowledged.wrapping_sub(answer.command)
            });
            forged.extend(known.and_then(|answer| answer.packet(case)));
            return Some(Fate::Swallow);
        }
        let new = kept.first() == Some(&(0..length));
        let (trigger, watch) = (&case.spec.trigger, &mut self.watch);
        if !new
            || self.client.is_full()
            || !watch.sets_off(trigger, case.protocol, at, case.payload)
        {
            return None;
        }
        let mut answer = Answer {
            command: at,
            sequence: told,
            acknowledged: at.wrapping_add(u32::try_from(length).unwrap_or(0)),
            text: text(case),
        };
        if case.spec.stance == Stance::OnPath {
            forged.extend(answer.packet(case));
            return Some(Fate::Pass);
        }
        // Behind everything of the server's that went to the client, acknowledged or not.
        let next = self
            .server_next
            .unwrap_or_else(|| self.server.backward(told));
        answer.sequence = self.server.forward(next);
        forged.extend(answer.packet(case));
        self.server.insert(next, answer.text.len());
        self.client.remove(at, length);
        self.answers.push(answer);
        Some(Fate::Swallow)
    }

    /// `None` when the packet would have to be edited and cannot be.
    fn toward_server(&self, segment: &Segment, packet: &[u8]) -> Option<Fate> {
        if self.client.is_empty() && self.server.is_empty() {
            return Some(Fate::Pass);
        }
        let payload = segment.payload(packet);
        let kept = self.client.kept(segment.data_at(), payload.len());
        let parts: Vec<&[u8]> = kept
            .into_iter()
            .filter_map(|part| payload.get(part))
            .collect();
        let mut edited = segment.with_payload(packet, &parts.concat())?;
        let sequence = self.client.forward(segment.sequence);
        segment.renumber(&mut edited, sequence, |told| self.server.backward(told));
        segment.seal(&mut edited);
        Some(Fate::Replace(edited))
    }

    /// `None` when the packet would have to be edited and cannot be.
    fn toward_client(&mut self, segment: &Segment, packet: &[u8]) -> Option<Fate> {
        let payload = segment.payload(packet);
        let at = segment.data_at();
        // An answer was put between octets that the server sends in one piece again: it will send the rest anew.
        let unbroken = self.server.unbroken(at, payload.len());
        let broken = unbroken < payload.len();
        if broken && segment.has(flag::FIN) {
            return Some(Fate::Swallow);
        }
        let end = at
            .wrapping_add(u32::try_from(unbroken).unwrap_or(0))
            .wrapping_add(u32::from(segment.has(flag::FIN)));
        let ahead = |known: u32| end.wrapping_sub(known).cast_signed() > 0;
        if !segment.has(flag::RST) && self.server_next.is_none_or(ahead) {
            self.server_next = Some(end);
        }
        if self.client.is_empty() && self.server.is_empty() {
            return Some(Fate::Pass);
        }
        let payload = payload.get(..unbroken).unwrap_or(payload);
        let mut edited = segment.with_payload(packet, payload)?;
        let sequence = self.server.forward(segment.sequence);
        segment.renumber(&mut edited, sequence, |told| self.client.backward(told));
        segment.seal(&mut edited);
        Some(Fate::Replace(edited))
    }
}

impl Answer {
    fn packet(&self, case: &Case) -> Option<Vec<u8>> {
        let made = Made {
            source: case.ends.server,
            destination: case.ends.client,
            sequence: self.sequence,
            acknowledged: Some(self.acknowledged),
            flags: flag::PSH,
            ttl: own_ttl(case.spec.ttl, case.segment),
            payload: &self.text,
        };
        made.packet()
    }
}

/// The TTL of a box's own packet that `segment` set off.
pub(super) fn own_ttl(ttl: ForgedTtl, segment: &Segment) -> u8 {
    match ttl {
        ForgedTtl::Own(ttl) => ttl,
        ForgedTtl::Copied => segment.ttl,
    }
}

/// The answer to the command in the payload.
fn text(case: &Case) -> Vec<u8> {
    let first = case.payload.split(|&byte| byte == b'\n').next();
    let line = first.unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let asked = starttls_line(case.protocol, case.payload)
        .unwrap_or_else(|| Asked::read(case.protocol, line));
    let text = case.spec.text.as_deref().unwrap_or(match case.protocol {
        Protocol::Imap => "{tag} BAD Command unknown",
        Protocol::Pop3 => "-ERR Command unknown",
        Protocol::Sieve => "NO \"Command unknown\"",
        Protocol::Smtp | Protocol::Lmtp => "500 Unsupported command.",
    });
    fill(text, &asked, line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::device::packet::tests as made;
    use std::net::SocketAddr;

    /// Sequence number, what is acknowledged, payload.
    type Told = (u32, Option<u32>, Vec<u8>);

    struct Wire {
        forger: Forger,
        client: SocketAddr,
        server: SocketAddr,
    }

    impl Wire {
        fn new(spec: ForgeSpec, (client, server): (SocketAddr, SocketAddr)) -> Self {
            let forger = Forger::new(spec, Scheme::Smtp);
            Self {
                forger,
                client,
                server,
            }
        }

        /// What the server gets, as (sequence, acknowledged, payload), and what was forged.
        fn client_sends(
            &mut self,
            at: u32,
            told: u32,
            payload: &[u8],
        ) -> (Option<Told>, Vec<Vec<u8>>) {
            let packet = made::packet(
                (self.client, self.server),
                flag::PSH,
                at,
                Some(told),
                payload,
            );
            self.carry(&packet)
        }

        fn server_sends(&mut self, at: u32, told: u32, payload: &[u8]) -> Option<Told> {
            let packet = made::packet(
                (self.server, self.client),
                flag::PSH,
                at,
                Some(told),
                payload,
            );
            let (out, forged) = self.carry(&packet);
            assert!(forged.is_empty());
            out
        }

        fn carry(&mut self, packet: &[u8]) -> (Option<Told>, Vec<Vec<u8>>) {
            let mut forged = Vec::new();
            let tally = Tally::default();
            let out = match self.forger.inspect(packet, &mut forged, &tally) {
                Fate::Pass => Some(packet.to_vec()),
                Fate::Replace(other) => Some(other),
                Fate::Swallow => None,
                Fate::Late(_) => panic!("a forger delays nothing"),
            };
            assert_eq!(tally.counts().refused, 0);
            assert!(out.iter().chain(&forged).all(|packet| made::sealed(packet)));
            (out.map(|packet| told(&packet)), forged)
        }
    }

    fn told(packet: &[u8]) -> Told {
        let segment = Segment::read(packet).expect("a segment");
        (
            segment.sequence,
            segment.acknowledged,
            segment.payload(packet).to_vec(),
        )
    }

    #[test]
    fn both_sides_go_on_talking() {
        for ends in [made::v4(), made::v6()] {
            let mut wire = Wire::new(ForgeSpec::default(), ends);
            wire.server_sends(500, 100, b"220 mx\r\n");
            let (out, forged) = wire.client_sends(100, 508, b"STARTTLS\r\n");
            assert_eq!(out, None);
            let [answer] = forged.as_slice() else {
                panic!("one answer")
            };
            assert_eq!(
                told(answer),
                (508, Some(110), b"500 Unsupported command.\r\n".to_vec())
            );
            assert_eq!(Segment::read(answer).expect("a segment").ttl, 64);
            // The client goes on behind the answer; the server has seen neither.
            let (out, _) = wire.client_sends(110, 534, b"NOOP\r\n");
            assert_eq!(out, Some((100, Some(508), b"NOOP\r\n".to_vec())));
            assert_eq!(
                wire.server_sends(508, 106, b"250 ok\r\n"),
                Some((534, Some(116), b"250 ok\r\n".to_vec()))
            );
            // A second command.
            let (out, forged) = wire.client_sends(116, 542, b"starttls\r\n");
            assert_eq!(out, None);
            assert_eq!(forged.first().map(|answer| told(answer).0), Some(542));
            let (out, _) = wire.client_sends(126, 568, b"QUIT\r\n");
            assert_eq!(out, Some((106, Some(516), b"QUIT\r\n".to_vec())));
        }
    }

    #[test]
    fn a_lost_answer_is_given_again() {
        let mut wire = Wire::new(ForgeSpec::default(), made::v4());
        wire.server_sends(500, 100, b"220 mx\r\n");
        let (_, first) = wire.client_sends(100, 508, b"STARTTLS\r\n");
        let (out, again) = wire.client_sends(100, 508, b"STARTTLS\r\n");
        assert_eq!(out, None);
        assert_eq!(first, again);
        let (out, _) = wire.client_sends(100, 534, b"STARTTLS\r\nQUIT\r\n");
        assert_eq!(out, Some((100, Some(508), b"QUIT\r\n".to_vec())));
    }

    #[test]
    fn a_tap_answers_and_lets_pass() {
        let spec = ForgeSpec {
            stance: Stance::OnPath,
            ttl: ForgedTtl::Copied,
            text: Some("454 {verb} not now".into()),
            ..ForgeSpec::default()
        };
        let mut wire = Wire::new(spec, made::v4());
        let (out, forged) = wire.client_sends(100, 508, b"STARTTLS\r\n");
        assert_eq!(out, Some((100, Some(508), b"STARTTLS\r\n".to_vec())));
        let [answer] = forged.as_slice() else {
            panic!("one answer")
        };
        assert_eq!(
            told(answer),
            (508, Some(110), b"454 STARTTLS not now\r\n".to_vec())
        );
        assert_eq!(Segment::read(answer).expect("a segment").ttl, 61);
        assert_eq!(
            wire.server_sends(508, 110, b"220 go\r\n"),
            Some((508, Some(110), b"220 go\r\n".to_vec()))
        );
    }

    #[test]
    fn an_imap_answer_carries_the_tag() {
        let (client, mut server) = made::v4();
        server.set_port(143);
        let mut wire = Wire::new(ForgeSpec::default(), (client, server));
        let (_, forged) = wire.client_sends(1, 2, b"a7 STARTTLS\r\n");
        let [answer] = forged.as_slice() else {
            panic!("one answer")
        };
        assert_eq!(told(answer).2, b"a7 BAD Command unknown\r\n");
    }

    #[test]
    fn the_servers_words_on_the_way_stay_before_the_answer() {
        let mut wire = Wire::new(ForgeSpec::default(), made::v4());
        wire.server_sends(500, 100, b"250-mx\r\n");
        // The client has not acknowledged it yet.
        let (_, forged) = wire.client_sends(100, 500, b"STARTTLS\r\n");
        assert_eq!(forged.first().map(|answer| told(answer).0), Some(508));
        // The server repeats it together with what comes next: only the first part keeps its place.
        assert_eq!(
            wire.server_sends(500, 100, b"250-mx\r\n250 HELP\r\n"),
            Some((500, Some(110), b"250-mx\r\n".to_vec()))
        );
        assert_eq!(
            wire.server_sends(508, 100, b"250 HELP\r\n"),
            Some((534, Some(110), b"250 HELP\r\n".to_vec()))
        );
    }
}
