//! The dropper and the reset injector: packets that match go no further, or set off resets in both sides' names.
//! They must not know netfilter. RFC 9293 §3.5.3, RFC 5961 §3.

use crate::protocol::Scheme;
use crate::topology::device::flow::{Flows, Heading, ends};
use crate::topology::device::forge::own_ttl;
use crate::topology::device::inspect::{Fate, Inspector, Tally};
use crate::topology::device::packet::{Made, Segment, flag};
use crate::topology::device::spec::{DropSpec, ResetSpec, Scope, scheme_of};
use crate::topology::device::trigger::Watch;

/// Swallows.
pub(super) struct Dropper {
    spec: DropSpec,
    ports: Vec<u16>,
    scheme: Scheme,
    flows: Flows<Doomed>,
}

#[derive(Default)]
struct Doomed {
    opened_with: Option<u32>,
    watch: Watch,
    doomed: bool,
}

impl Doomed {
    fn another(&self, opening: Option<u32>) -> bool {
        opening.is_some() && self.opened_with != opening
    }
}

impl Dropper {
    pub(super) fn new(spec: DropSpec, scheme: Scheme) -> Self {
        Self {
            ports: spec.only.mail_ports().to_vec(),
            spec,
            scheme,
            flows: Flows::new(),
        }
    }
}

impl Inspector for Dropper {
    fn inspect(&mut self, packet: &[u8], _forged: &mut Vec<Vec<u8>>, _tally: &Tally) -> Fate {
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
            |known| known.another(opening),
            || Doomed {
                opened_with: opening,
                ..Doomed::default()
            },
        );
        let protocol = scheme_of(ends.server.port(), self.scheme).protocol();
        let matches = heading == Heading::ToServer
            && flow.watch.sets_off(
                &self.spec.trigger,
                protocol,
                segment.data_at(),
                segment.payload(packet),
            );
        flow.doomed |= matches && self.spec.scope == Scope::Flow;
        if matches || flow.doomed {
            Fate::Swallow
        } else {
            Fate::Pass
        }
    }
}

/// Resets.
pub(super) struct Resetter {
    spec: ResetSpec,
    ports: Vec<u16>,
    scheme: Scheme,
    flows: Flows<Doomed>,
}

impl Resetter {
    pub(super) fn new(spec: ResetSpec, scheme: Scheme) -> Self {
        Self {
            ports: spec.only.mail_ports().to_vec(),
            spec,
            scheme,
            flows: Flows::new(),
        }
    }
}

impl Inspector for Resetter {
    fn inspect(&mut self, packet: &[u8], forged: &mut Vec<Vec<u8>>, _tally: &Tally) -> Fate {
        let Some(segment) = Segment::read(packet) else {
            return Fate::Pass;
        };
        let Some((ends, Heading::ToServer)) = ends(&segment, &self.ports) else {
            return Fate::Pass;
        };
        let opening = segment.opens().then_some(segment.sequence);
        let flow = self.flows.of(
            ends,
            Heading::ToServer,
            |known| known.another(opening),
            || Doomed {
                opened_with: opening,
                ..Doomed::default()
            },
        );
        let protocol = scheme_of(ends.server.port(), self.scheme).protocol();
        let payload = segment.payload(packet);
        let at = segment.data_at();
        if !flow
            .watch
            .sets_off(&self.spec.trigger, protocol, at, payload)
        {
            return Fate::Pass;
        }
        let behind = at.wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
        let ttl = own_ttl(self.spec.ttl, &segment);
        let reset = |from, to, sequence, acknowledged| {
            let made = Made {
                source: from,
                destination: to,
                sequence,
                acknowledged,
                flags: flag::RST,
                ttl,
                payload: b"",
            };
            made.packet()
        };
        if let (true, Some(told)) = (
            Heading::ToClient.within(self.spec.direction),
            segment.acknowledged,
        ) {
            forged.extend(reset(ends.server, ends.client, told, Some(behind)));
        }
        if Heading::ToServer.within(self.spec.direction) {
            // One that fits before the segment has arrived, and one that fits when it overtook.
            forged.extend(reset(ends.client, ends.server, at, None));
            if !self.spec.swallows {
                forged.extend(reset(ends.client, ends.server, behind, None));
            }
        }
        if self.spec.swallows {
            Fate::Swallow
        } else {
            Fate::Pass
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::device::packet::tests as made;
    use crate::topology::device::spec::{Direction, Trigger};
    use crate::topology::device::trigger::tests::hello;

    fn fate(inspector: &mut dyn Inspector, packet: &[u8]) -> (Fate, Vec<Vec<u8>>) {
        let mut forged = Vec::new();
        let fate = inspector.inspect(packet, &mut forged, &Tally::default());
        (fate, forged)
    }

    #[test]
    fn a_packet_or_a_whole_connection_is_swallowed() {
        let (client, server) = made::v4();
        for (scope, after) in [(Scope::Packet, Fate::Pass), (Scope::Flow, Fate::Swallow)] {
            let spec = DropSpec {
                scope,
                ..DropSpec::default()
            };
            let mut dropper = Dropper::new(spec, Scheme::Smtp);
            let to =
                |flags, at, bytes: &[u8]| made::packet((client, server), flags, at, None, bytes);
            assert_eq!(fate(&mut dropper, &to(0, 1, b"EHLO x\r\n")).0, Fate::Pass);
            assert_eq!(
                fate(&mut dropper, &to(0, 9, b"STARTTLS\r\n")).0,
                Fate::Swallow
            );
            assert_eq!(
                fate(&mut dropper, &to(0, 9, b"STARTTLS\r\n")).0,
                Fate::Swallow
            );
            assert_eq!(fate(&mut dropper, &to(0, 19, b"QUIT\r\n")).0, after);
            let back = made::packet((server, client), 0, 7, Some(9), b"250 ok\r\n");
            assert_eq!(fate(&mut dropper, &back).0, after);
            assert_eq!(fate(&mut dropper, &to(flag::SYN, 77, b"")).0, Fate::Pass);
        }
    }

    #[test]
    fn a_hello_is_swallowed_by_the_name_in_it() {
        let ends = made::v6();
        let spec = DropSpec {
            trigger: Trigger::ServerName("mx.lab.test".into()),
            ..DropSpec::default()
        };
        let mut dropper = Dropper::new(spec, Scheme::Smtp);
        let packet = |bytes: &[u8]| made::packet(ends, 0, 1, Some(2), bytes);
        assert_eq!(
            fate(&mut dropper, &packet(&hello("mx.lab.test"))).0,
            Fate::Swallow
        );
        assert_eq!(
            fate(&mut dropper, &packet(&hello("other.test"))).0,
            Fate::Pass
        );
    }

    #[test]
    fn resets_fit_both_sides() {
        for ends in [made::v4(), made::v6()] {
            let mut resetter = Resetter::new(ResetSpec::default(), Scheme::Smtp);
            let command = made::packet(ends, flag::PSH, 100, Some(508), b"STARTTLS\r\n");
            let (fate, forged) = fate(&mut resetter, &command);
            assert_eq!(fate, Fate::Pass);
            let read: Vec<_> = forged
                .iter()
                .map(|packet| {
                    assert!(made::sealed(packet));
                    let reset = Segment::read(packet).expect("a segment");
                    assert!(reset.has(flag::RST));
                    (reset.destination, reset.sequence, reset.acknowledged)
                })
                .collect();
            assert_eq!(
                read,
                [
                    (ends.0, 508, Some(110)),
                    (ends.1, 100, None),
                    (ends.1, 110, None)
                ]
            );
        }
    }

    #[test]
    fn one_side_is_reset_and_the_command_swallowed() {
        let ends = made::v4();
        let spec = ResetSpec {
            direction: Direction::ToClient,
            swallows: true,
            ..ResetSpec::default()
        };
        let mut resetter = Resetter::new(spec, Scheme::Smtp);
        let command = made::packet(ends, 0, 100, Some(508), b"STARTTLS\r\n");
        let (swallowed, forged) = fate(&mut resetter, &command);
        assert_eq!((swallowed, forged.len()), (Fate::Swallow, 1));
        let other = made::packet(ends, 0, 110, Some(508), b"QUIT\r\n");
        assert_eq!(fate(&mut resetter, &other), (Fate::Pass, Vec::new()));
    }
}
