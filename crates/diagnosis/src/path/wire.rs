//! What the interface carried against what was written: tells this host from the first device behind it.
//!
//! It must not know hops.

use hoofbeat_observation::{Answered, Engine, Payload, Probe, QuoteBegins};

use super::{quote::Packet, reading::Reading, walk::Traced};

/// Commands that must be answered before they leave: one may be a capture's mistake.
const AGREEING: usize = 2;

/// What a capture at this host's interface shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wire {
    /// STARTTLS left as it was written (`true`), or something else did (`false`); none where that was not captured.
    pub(crate) same: Option<bool>,
    /// Every control command was seen to leave, and no STARTTLS.
    pub(crate) never_left: bool,
    /// STARTTLS was acknowledged before it left: something on this host answers it.
    pub(crate) answered_here: bool,
}

/// Whether the whole payload was acknowledged before it passed the interface. Nobody behind the interface can do that.
pub(super) fn is_overtaken(probe: &Probe) -> bool {
    let times = probe.acknowledged.zip(probe.left);
    times.is_some_and(|(acknowledged, left)| acknowledged < left)
}

/// Whether the captured packets carried what was written, were never seen, or came too late.
pub(super) fn wire(traced: &Traced<'_>) -> Wire {
    let mut found = None;
    let mut overtaken = 0_usize;
    let mut seen = [0_usize; 2];
    let mut missing = [0_usize; 2];
    let probes = traced
        .sweeps
        .iter()
        .filter(|reading| reading.trace.engine == Engine::Raw)
        .flat_map(|reading| &reading.trace.probes)
        .filter(|probe| !probe.sent.is_empty() && probe.payload != Payload::ClientHello);
    for probe in probes {
        let kind = usize::from(probe.payload == Payload::StartTls);
        let count = if probe.packet.is_empty() {
            &mut missing
        } else {
            &mut seen
        };
        if let Some(count) = count.get_mut(kind) {
            *count += 1;
        }
        let packet = Packet::read(QuoteBegins::Ip, &probe.packet);
        // A capture that cut the packet, or joined two, tells nothing.
        let payload = packet
            .and_then(|packet| packet.payload())
            .filter(|payload| payload.len() == probe.sent.len());
        match payload {
            Some(payload) if payload == probe.sent && kind == 1 => {
                found = found.or(Some(true));
                overtaken += usize::from(is_overtaken(probe));
            }
            Some(payload) if payload == probe.sent => {}
            Some(_) => {
                return Wire {
                    same: Some(false),
                    ..Wire::default()
                };
            }
            None => {}
        }
    }
    let [controls, tests] = seen;
    let [lost_controls, lost_tests] = missing;
    Wire {
        same: found,
        // A capture that loses packets loses some of both kinds.
        never_left: tests == 0 && lost_tests >= 3 && controls >= 3 && lost_controls == 0,
        // All that left were late; what never left speaks for the same.
        answered_here: overtaken >= AGREEING && overtaken == tests,
    }
}

/// Whether not one of the port's SYNs was seen to leave, while other ports' were.
pub(super) fn syn_never_left(traced: &Traced<'_>) -> bool {
    let count = |readings: &[Reading<'_>], captured: bool| {
        readings
            .iter()
            .filter(|reading| reading.trace.engine == Engine::Raw)
            .flat_map(|reading| &reading.trace.probes)
            .filter(|probe| probe.packet.is_empty() != captured)
            .count()
    };
    let (seen, missing) = (count(&traced.syns, true), count(&traced.syns, false));
    let (others, lost) = (count(&traced.others, true), count(&traced.others, false));
    seen == 0 && missing >= 3 && others >= 3 && lost * 4 <= others
}

/// Whether a SYN that was answered, or told of by a hop, was seen to leave.
pub(super) fn syn_left(reading: &Reading<'_>) -> bool {
    reading.trace.engine == Engine::Raw
        && reading.trace.probes.iter().any(|probe| {
            !probe.packet.is_empty()
                && probe
                    .answers
                    .iter()
                    .any(|answer| matches!(answer.what, Answered::Connected | Answered::Reset))
        })
}
