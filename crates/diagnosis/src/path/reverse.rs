//! The trace that a cooperating server makes towards its client: where its capability list changes on the way here.
//!
//! Hops count from the witness. They are turned into the client's own numbers only where both directions have the
//! same length; routers answer with the address that faces the sender, so addresses of the two directions differ.

use alloc::{format, string::String, vec::Vec};
use core::net::IpAddr;
use hoofbeat_observation::{QuoteBegins, Trace};

use super::{
    Hop,
    changepoint::{ChangePoint, MISLABEL},
    place::{Acts, Facing, Map, Nodes, Places},
    quote::Packet,
    reading::{HopRead, MOST_HOPS, Reading, Side, flags},
    walk::hops as drawn,
};
use crate::{Evidence, LocationClass, Segment};

/// What such a trace shows.
pub(crate) struct Reverse {
    pub(crate) hops: Vec<Hop>,
    /// Counted from the witness.
    pub(crate) segment: Option<Segment>,
    /// Counted from the client.
    pub(crate) in_our_numbers: Option<Segment>,
    pub(crate) places: Option<Places>,
    /// The change happens in the witness's own network.
    pub(crate) near_witness: bool,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) innocent: Vec<String>,
}

/// TTL and TCP options of a saved SYN.
pub(crate) fn syn(begins: QuoteBegins, bytes: &[u8]) -> Option<(u8, Vec<u8>)> {
    let packet = Packet::read(begins, bytes)?;
    Some((packet.ttl?, masked_options(packet.options?)))
}

/// TCP options without the timestamps' values, which differ from SYN to SYN.
fn masked_options(options: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = options;
    while let Some(kind) = rest.first().copied() {
        let length = match kind {
            0 => break,
            1 => 1,
            _ => match rest.get(1).copied().map(usize::from) {
                Some(length) if length >= 2 && length <= rest.len() => length,
                _ => break,
            },
        };
        let one = rest.get(..length).unwrap_or_default();
        if kind == 8 {
            out.extend([kind, 10]);
        } else {
            out.extend_from_slice(one);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// Routers that a packet has passed, by the TTL that it arrived with: senders begin with 64, 128 or 255.
pub(crate) fn hops(ttl: u8) -> u8 {
    [64_u8, 128, 255]
        .into_iter()
        .find(|initial| *initial >= ttl)
        .map_or(0, |initial| initial - ttl)
}

/// The hop that a packet was sent from, by the TTL that it arrived with.
pub(super) fn sender(ttl: u8) -> u8 {
    hops(ttl).saturating_add(1)
}

fn test<'s, 'a>(hop: &'s HopRead<'a>) -> &'s Side<'a> {
    &hop.test
}

/// Reads it. `distance`: routers between the two, as the client's SYN tells. `arrives_changed`: what the witness sent
/// arrived changed, so that it was changed behind the last hop that still quotes it whole.
pub(crate) fn read(
    id: &str,
    trace: &Trace,
    witness: Option<IpAddr>,
    distance: Option<u8>,
    arrives_changed: bool,
    map: &Map<'_>,
) -> Reverse {
    let reading = Reading::of(id, trace);
    let told_last = (1..=MOST_HOPS)
        .filter(|hop| !reading.addresses(*hop).is_empty())
        .max()
        .unwrap_or(0);
    let reached = reading.end(test);
    let last = reached
        .unwrap_or_else(|| told_last.max(distance.unwrap_or(0)).saturating_add(1))
        .max(1);
    let routers: Vec<Vec<IpAddr>> = (1..last)
        .map(|hop| reading.addresses(hop).into_iter().collect())
        .collect();
    let mut found = Reverse {
        hops: drawn(&[&reading], &routers, map),
        segment: None,
        in_our_numbers: None,
        places: None,
        near_witness: false,
        evidence: Vec::new(),
        innocent: Vec::new(),
    };
    let flags = flags(&reading, test, last);
    let first = flags.iter().position(|flag| *flag == Some(true));
    let whole = flags.iter().rposition(|flag| *flag == Some(false));
    if first.is_none() && (whole.is_none() || !arrives_changed) {
        return found;
    }
    let first = first.unwrap_or(flags.len());
    let steady = reading.unsteady().is_empty()
        && !flags.iter().skip(first).any(|flag| *flag == Some(false))
        && !reading.hops.iter().any(|hop| hop.test.disagrees());
    let Some(point) = ChangePoint::of(&flags, last, MISLABEL) else {
        return found;
    };
    if !steady {
        found.innocent.push("the witness's trace contradicts itself, as over several routes: no place is read from it".into());
        return found;
    }
    let segment = point.segment();
    found.segment = Some(segment);
    if let Some(hop) = reading.hops.get(first)
        && let Some(quoted) = hop.test.changed()
        && let Some((was, became)) = Reading::words(quoted)
    {
        found.evidence.push(reading.cite(
            quoted,
            LocationClass::Undetermined.into(),
            format!("\"{was}\" left the witness, and hop {} from there received \"{became}\" (its signed report)", first + 1),
        ));
    } else if let Some(hop) = whole.and_then(|at| reading.hops.get(at))
        && let Some(quoted) = hop.test.whole()
    {
        found.evidence.push(reading.cite(
            quoted,
            LocationClass::Undetermined.into(),
            format!("hop {} from the witness still received its list whole (its signed report), and it arrives changed: it is changed behind that hop", quoted.probe.ttl),
        ));
    }
    // Both directions of one length: then its hop i is ours counted from the other end.
    let routers_between = last - 1;
    if distance != Some(routers_between) || told_last > routers_between {
        found.innocent.push("the ways to the witness and back differ in length, so its hops are not turned into ours".into());
        return found;
    }
    let ours: Vec<Vec<IpAddr>> = routers.into_iter().rev().collect();
    let nodes = Nodes::of(&ours, last, witness, Facing::FarEnd, map);
    let places = nodes.places(&point.reversed(), Acts::InPassing);
    found.near_witness = places.first().is_some_and(|edge| *edge > 0.5);
    found.in_our_numbers = Some(Segment {
        after_hop: last - segment.up_to_hop.min(last),
        up_to_hop: last - segment.after_hop.min(last),
    });
    found.places = Some(places);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_and_options_of_a_saved_syn() {
        assert_eq!((hops(61), hops(64), hops(127), hops(250)), (3, 0, 1, 5));
        let options = [
            2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
        ];
        let later = [
            2, 4, 5, 180, 4, 2, 8, 10, 9, 9, 9, 9, 0, 0, 0, 0, 1, 3, 3, 7,
        ];
        assert_eq!(masked_options(&options), masked_options(&later));
        let clamped = [
            2, 4, 5, 100, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
        ];
        assert_ne!(masked_options(&options), masked_options(&clamped));
        assert_eq!(masked_options(&[5]), Vec::<u8>::new());
        assert_eq!(masked_options(&[5, 0, 0]), Vec::<u8>::new());
    }
}
