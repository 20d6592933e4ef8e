//! What the interface carried against what was written: tells this host from the first device behind it.
//!
//! It must not know hops.

use hoofbeat_observation::{Answered, Engine, Payload, QuoteBegins};

use super::{quote::Packet, reading::Reading, walk::Traced};

/// Whether the captured packets carried what was written; and whether STARTTLS alone was never seen to leave.
pub(super) fn wire(traced: &Traced<'_>) -> (Option<bool>, bool) {
    let mut found = None;
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
            Some(payload) if payload == probe.sent && kind == 1 => found = found.or(Some(true)),
            Some(payload) if payload == probe.sent => {}
            Some(_) => return (Some(false), false),
            None => {}
        }
    }
    let [controls, tests] = seen;
    let [lost_controls, lost_tests] = missing;
    // A capture that loses packets loses some of both kinds.
    let never = tests == 0 && lost_tests >= 3 && controls >= 3 && lost_controls == 0;
    (found, never)
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
