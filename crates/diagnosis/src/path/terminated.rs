//! A port that answers nearer than the same address's other ports: something ends its connections.
//!
//! Devices that raise the TTL of what passes look alike, but the answers' own TTL tells. It must not know what is said
//! over such a connection.

use alloc::{collections::BTreeSet, format, vec::Vec};
use hoofbeat_observation::{Answered, PacketKind};

use super::{
    changepoint::{ChangePoint, MISLABEL},
    place::Acts,
    reading::{MOST_HOPS, Reading, Word},
    walk::{Kind, Traced, Walk, control, settle},
};
use crate::{LocationClass, evidence};

/// The port answers nearer than the same address's other ports.
pub(super) fn terminated(traced: &Traced<'_>, walk: &mut Walk) {
    let ends: Vec<(&Reading<'_>, u8)> = traced
        .syns
        .iter()
        .filter_map(|reading| Some((reading, reading.end(control)?)))
        .collect();
    let Some((reading, end)) = ends.iter().min_by_key(|(_, end)| *end).copied() else {
        return;
    };
    let connected = |reading: &Reading<'_>, hop: u8| {
        reading.side(hop, control).is_some_and(|side| {
            side.voices
                .iter()
                .any(|voice| matches!(voice.word, Word::Connected | Word::Reply))
        })
    };
    // Every trace of the port must say so: one of them alone may have had a shorter branch.
    if !connected(reading, end) || ends.iter().any(|(_, other)| *other != end) {
        return;
    }
    let Some((other, further)) = passes_beyond(traced, end) else {
        walk.same_end = traced
            .others
            .iter()
            .any(|other| other.end(control) == Some(end));
        return;
    };
    let Some(point) = ChangePoint::at(end, traced.distance, MISLABEL) else {
        return;
    };
    // A machine at that hop answers with the TTL of that distance; another TTL means that only the way there was
    // shortened, as by devices that raise the TTL of what passes.
    let arrived = syn_ack_ttl(&traced.syns).or_else(|| syn_ack_ttl(&traced.sweeps));
    let near = arrived.map(|ttl| super::reverse::sender(ttl).abs_diff(end) <= 1);
    if near == Some(false) {
        walk.innocent.push(format!(
            "port {} is answered at hop {end} already, but from as far away as other ports: something on the way raises the TTL of what passes, which is no proxy",
            reading.trace.service.port
        ));
        return;
    }
    settle(
        walk,
        point,
        Kind::Terminated,
        Acts::AsEnd,
        near == Some(true),
        reading.trace.engine,
    );
    let (port, there) = (reading.trace.service.port, other.trace.service.port);
    let supports = LocationClass::Undetermined.into();
    let voice = reading
        .side(end, control)
        .and_then(|side| side.voices.first());
    if let Some(voice) = voice {
        walk.evidence.push(reading.cite_voice(
            end,
            voice,
            supports,
            format!("connections to port {port} are answered at hop {end}, those to port {there} of the same address go on to hop {further}: something nearer answers for port {port}"),
        ));
    }
    if let (Some(here), Some(beyond)) = (arrived, syn_ack(other))
        && here != beyond
    {
        walk.evidence.push(evidence::whole(
            reading.id,
            LocationClass::Undetermined,
            format!("SYN-ACKs of port {port} arrive with TTL {here}, those of port {there} with TTL {beyond}"),
            "",
        ));
    }
    walk.innocent.push("a load balancer or port forwarding may hand ports of one address to different machines, though near the server only; each SYN is a flow of its own and may take another route".into());
}

/// A trace of another port of the address that passes behind a hop, and the furthest hop that it tells of.
pub(super) fn passes_beyond<'r, 'a>(
    traced: &'r Traced<'a>,
    hop: u8,
) -> Option<(&'r Reading<'a>, u8)> {
    traced
        .others
        .iter()
        .filter_map(|reading| {
            // Who ends there may end nearer on another branch; a router that tells of a death is on the way.
            let router = (hop.max(1)..=MOST_HOPS)
                .filter(|at| {
                    reading
                        .side(*at, control)
                        .is_some_and(|side| !side.addresses.is_empty())
                })
                .max()?;
            let furthest = reading.end(control).unwrap_or(0).max(router);
            Some((reading, furthest))
        })
        .max_by_key(|(_, furthest)| *furthest)
}

/// The TTL that SYN-ACKs arrived with, where all say the same.
fn syn_ack(reading: &Reading<'_>) -> Option<u8> {
    let told = reading
        .trace
        .received
        .iter()
        .filter(|received| received.of == PacketKind::SynAck)
        .map(|received| received.ttl);
    let answers = reading
        .trace
        .probes
        .iter()
        .flat_map(|probe| &probe.answers)
        .filter(|answer| answer.what == Answered::Connected)
        .filter_map(|answer| answer.ttl);
    let seen: BTreeSet<u8> = told.chain(answers).collect();
    seen.first().copied().filter(|_| seen.len() == 1)
}

fn syn_ack_ttl(readings: &[Reading<'_>]) -> Option<u8> {
    let seen: BTreeSet<u8> = readings.iter().filter_map(syn_ack).collect();
    seen.first().copied().filter(|_| seen.len() == 1)
}
