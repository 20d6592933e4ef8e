//! What a witness tells of packets: the SYNs as they arrived, and its own trace towards us.
//!
//! It must not know what was said over the connections.

use alloc::{format, vec::Vec};
use core::net::IpAddr;
use hoofbeat_observation::{QuoteBegins, Report, Role, Service, Trace, WitnessedConnection};
use hoofbeat_session::Direction;

use super::testimony::{Backward, Testimony, Word};
use crate::{
    DirectedPath, LocationClass, evidence,
    hearing::Hearing,
    path::{
        place::Map,
        reverse::{self, Reverse},
    },
};

/// TTL and options of the SYNs that arrived: a proxy's are its own.
pub(super) fn saved_syns(service: &Service, id: &str, report: &Report, testimony: &mut Testimony) {
    let read = |seen: &WitnessedConnection| {
        let (ttl, options) = reverse::syn(QuoteBegins::Ip, &seen.syn)?;
        Some((seen.port, ttl, options))
    };
    let all: Vec<(u16, u8, Vec<u8>)> = report.connections.iter().filter_map(read).collect();
    let Some((_, here, options)) = all.iter().find(|(port, ..)| *port == service.port) else {
        return;
    };
    let mut beyond = all
        .iter()
        .filter(|(port, ..)| *port != service.port)
        .peekable();
    if beyond.peek().is_none() {
        return;
    }
    let other = beyond.find(|(_, ttl, other)| ttl == here && other == options);
    if other.is_some() {
        return;
    }
    let Some((port, there, _)) = all.iter().find(|(port, ..)| *port != service.port) else {
        return;
    };
    testimony.syn_differs = true;
    testimony.evidence.push(evidence::whole(
        id,
        LocationClass::Undetermined,
        format!(
            "the SYN to the witness's port {} arrived there with TTL {here}, the one to port {port} with TTL {there}{}: another machine may have opened the connection",
            service.port,
            if here == there { " and other options" } else { "" }
        ),
        "",
    ));
    testimony
        .innocent
        .push("SYNs are flows of their own and may take routes of different lengths".into());
}

pub(super) fn backward_trace(port: u16, report: &Report) -> Option<(&Trace, &WitnessedConnection)> {
    report
        .connections
        .iter()
        .filter(|seen| seen.port == port)
        .find_map(|seen| {
            let trace = seen.trace.as_ref()?;
            (trace.direction == Direction::ToClient).then_some((trace, seen))
        })
}

pub(super) fn hear_trace(
    id: &str,
    trace: &Trace,
    seen: &WitnessedConnection,
    hearings: &[Hearing<'_>],
    map: &Map<'_>,
    testimony: &mut Testimony,
) {
    let witness: Option<IpAddr> = hearings
        .iter()
        .find(|hearing| matches!(hearing.dialogue.role, Role::Witness { .. }))
        .and_then(|hearing| hearing.dialogue.service.address);
    let distance = reverse::syn(QuoteBegins::Ip, &seen.syn).map(|(ttl, _)| reverse::hops(ttl));
    // What it traces with is its list: other things may happen elsewhere.
    let to_client = |word: Word| {
        matches!(
            word,
            Word::Tampered {
                to_client: true,
                ..
            }
        )
    };
    let arrives_changed = testimony.word.is_some_and(to_client) && testimony.list.is_some();
    let found: Reverse = reverse::read(id, trace, witness, distance, arrives_changed, map);
    testimony.evidence.extend(found.evidence);
    testimony.innocent.extend(found.innocent);
    if found.near_witness && matches!(testimony.word, Some(Word::Tampered { .. })) {
        testimony.word = None;
        testimony.innocent.push("the witness's own network changes what it sends: its testimony says nothing of this side, and is not weighed".into());
    } else if found.segment.is_some() {
        testimony.backward = Some(Backward {
            segment: found.in_our_numbers,
            places: found.places,
        });
    }
    testimony.path = Some(DirectedPath {
        direction: Direction::ToClient,
        engine: trace.engine,
        path: found.hops,
        segment: found.segment,
    });
}
