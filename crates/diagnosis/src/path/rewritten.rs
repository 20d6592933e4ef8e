//! Quotes show other bytes from some hop on: a device changes STARTTLS in place.
//!
//! What counts is the same change at every hop behind it, against control commands of the same flow that pass. It must
//! not know what the dialogue said. Tracebox (Detal et al., IMC 2013).

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use hoofbeat_observation::Engine;

use super::{
    changepoint::{ChangePoint, MISLABEL},
    place::Acts,
    reading::{Of, Reading, flags},
    walk::{Intact, Kind, Traced, Walk, settle, test},
};
use crate::{Mechanism, Segment};

/// Quotes show other bytes from some hop on.
pub(super) fn rewritten(traced: &Traced<'_>, walk: &mut Walk) {
    let last = traced.distance;
    let told: Vec<(&Reading<'_>, Vec<Option<bool>>)> = traced
        .sweeps
        .iter()
        .map(|reading| (reading, steady_flags(reading, test, last)))
        .filter(|(_, flags)| flags.iter().any(Option::is_some))
        .collect();
    walk.forks = traced.sweeps.iter().flat_map(Reading::unsteady).collect();
    let unsteady = !walk.forks.is_empty();
    if unsteady {
        walk.unsteady = true;
        walk.innocent.push("the route changed while it was traced: packets with the same TTL met different routers, so no place is named that lies there".into());
    }
    let has = |flags: &[Option<bool>], wanted: bool| flags.contains(&Some(wanted));
    let changed: Vec<&(&Reading<'_>, Vec<Option<bool>>)> =
        told.iter().filter(|(_, flags)| has(flags, true)).collect();
    if changed.is_empty() {
        let whole = told
            .iter()
            .filter_map(|(_, flags)| flags.iter().rposition(|flag| *flag == Some(false)))
            .max();
        if let Some(whole) = whole.and_then(|at| u8::try_from(at + 1).ok())
            && !unsteady
            && let Some(point) = ChangePoint::of(&merged(&told).0, last, MISLABEL)
        {
            walk.intact = Some(Intact::at(whole, &point, &walk.nodes));
        }
        return;
    }
    if told.len() > changed.len() {
        walk.innocent.push("some flows to this address pass without a change: routers share the load over several ways, and what changes packets stands on one of them".into());
    }
    let (flags, contradiction) = merged_refs(&changed);
    let routes_differ = changed.windows(2).any(|pair| match pair {
        [first, second] => (1..=last).any(|hop| {
            let (a, b) = (first.0.addresses(hop), second.0.addresses(hop));
            !a.is_empty() && !b.is_empty() && a.is_disjoint(&b)
        }),
        _ => false,
    });
    if routes_differ {
        walk.innocent.push("flows took different routes (equal-cost paths); what is said of hops holds for the routes that were traced".into());
    }
    let point = if contradiction || routes_differ {
        // Each flow on its own; where they agree nothing is lost, where they do not it widens.
        let points: Vec<ChangePoint> = changed
            .iter()
            .filter_map(|(_, flags)| ChangePoint::of(flags, last, MISLABEL))
            .collect();
        ChangePoint::averaged(&points)
    } else {
        ChangePoint::of(&flags, last, MISLABEL)
    };
    let Some(point) = point else {
        return;
    };
    let segment = point.segment();
    // From the change on, no hop may have received it whole.
    let consistent = changed.iter().all(|(_, flags)| {
        let first = flags.iter().position(|flag| *flag == Some(true));
        first.is_some_and(|first| !flags.iter().skip(first).any(|flag| *flag == Some(false)))
    });
    if !consistent {
        walk.unsteady = true;
        walk.forks.clear();
        walk.innocent.push("hops contradict each other: behind a hop that received changed bytes another one received them whole, as over several routes; so no place is named".into());
    }
    let one_word = {
        let words: BTreeSet<(String, String)> = changed
            .iter()
            .flat_map(|(reading, _)| reading.hops.iter())
            .filter_map(|hop| hop.test.changed())
            .filter_map(Reading::words)
            .collect();
        words.len() == 1
    };
    let control_whole = changed.iter().any(|(reading, flags)| {
        flags
            .iter()
            .zip(&reading.hops)
            .any(|(flag, hop)| *flag == Some(true) && hop.control.whole().is_some())
    });
    let raw = changed
        .iter()
        .any(|(reading, _)| reading.trace.engine == Engine::Raw);
    let engine = if raw {
        Engine::Raw
    } else {
        Engine::Unprivileged
    };
    let direct = consistent && control_whole && one_word;
    settle(
        walk,
        point,
        Kind::Rewritten,
        Acts::InPassing,
        direct,
        engine,
    );
    cite_change(&changed, segment, walk);
    if direct {
        cite_unknown(&changed, segment, walk);
    }
}

/// Whether the device changes a verb that nobody knows as well: what it looks for tells a setting from an aim, and is told
/// without being weighed.
fn cite_unknown(changed: &[&(&Reading<'_>, Vec<Option<bool>>)], segment: Segment, walk: &mut Walk) {
    let supports = Mechanism::CommandRewritten.into();
    let behind = || {
        changed.iter().flat_map(|(reading, _)| {
            let hops = (1_u8..).zip(&reading.hops);
            hops.filter(|(hop, _)| *hop >= segment.up_to_hop)
                .map(move |(hop, read)| (reading, hop, &read.unknown))
        })
    };
    let edited = behind().find_map(|(reading, hop, side)| Some((reading, hop, side.changed()?)));
    let whole = behind().find_map(|(reading, hop, side)| Some((reading, hop, side.whole()?)));
    match (edited, whole) {
        (Some((reading, hop, quoted)), None) => {
            walk.evidence.push(reading.cite(
                quoted,
                supports,
                format!("a verb that no server knows arrives changed at hop {hop} as well: the device edits whatever it does not know, and did not look for STARTTLS"),
            ));
            walk.innocent.push("an inspection that overwrites every unknown verb is how some firewalls are delivered; it says nothing of anybody's aim".into());
        }
        (None, Some((reading, hop, quoted))) => walk.evidence.push(reading.cite(
            quoted,
            supports,
            format!("a verb that no server knows arrives whole at hop {hop}: the device changes STARTTLS, and not whatever it does not know"),
        )),
        _ => {}
    }
}

fn cite_change(changed: &[&(&Reading<'_>, Vec<Option<bool>>)], segment: Segment, walk: &mut Walk) {
    let supports = Mechanism::CommandRewritten.into();
    let Some((reading, _)) = changed.first() else {
        return;
    };
    let first = reading
        .hops
        .iter()
        .enumerate()
        .find_map(|(at, hop)| Some((at, hop.test.changed()?)));
    if let Some((at, quoted)) = first
        && let Some((was, became)) = Reading::words(quoted)
    {
        walk.evidence.push(reading.cite(
            quoted,
            supports,
            format!("\"{was}\" left here, and hop {} received \"{became}\": it was changed on the way there", at + 1),
        ));
    }
    let before = reading
        .hops
        .iter()
        .take(usize::from(segment.after_hop))
        .enumerate()
        .filter_map(|(at, hop)| Some((at, hop.test.whole()?)))
        .next_back();
    if let Some((at, quoted)) = before {
        walk.evidence.push(reading.cite(
            quoted,
            supports,
            format!("hop {} still received the command whole", at + 1),
        ));
    }
    let beside = reading
        .hops
        .iter()
        .enumerate()
        .filter(|(_, hop)| hop.test.changed().is_some())
        .find_map(|(at, hop)| Some((at, hop.control.whole()?)));
    if let Some((at, quoted)) = beside {
        walk.evidence.push(reading.cite(
            quoted,
            supports,
            format!("on the same connection hop {} received a control command whole: only STARTTLS is changed", at + 1),
        ));
    }
    walk.innocent.push("routers count hops and do not sign what they quote: the stretch is where the bytes changed, not whose device changed them (MPLS and devices without a hop of their own hide in it)".into());
}

/// One sweep's flags, with those hops taken out at which routers differ.
fn steady_flags<'a>(reading: &Reading<'a>, of: Of<'a>, last: u8) -> Vec<Option<bool>> {
    let mut flags = flags(reading, of, last);
    for hop in reading.unsteady() {
        if let Some(flag) = flags.get_mut(usize::from(hop) - 1) {
            *flag = None;
        }
    }
    flags
}

/// Flags of several sweeps; where they disagree none, and whether they did.
pub(super) fn merged(told: &[(&Reading<'_>, Vec<Option<bool>>)]) -> (Vec<Option<bool>>, bool) {
    merged_refs(&told.iter().collect::<Vec<_>>())
}

fn merged_refs(told: &[&(&Reading<'_>, Vec<Option<bool>>)]) -> (Vec<Option<bool>>, bool) {
    let length = told.iter().map(|(_, flags)| flags.len()).max().unwrap_or(0);
    let mut contradiction = false;
    let merged = (0..length)
        .map(|at| {
            let seen: BTreeSet<bool> = told
                .iter()
                .filter_map(|(_, flags)| flags.get(at).copied().flatten())
                .collect();
            contradiction |= seen.len() > 1;
            (seen.len() == 1).then(|| seen.contains(&true))
        })
        .collect();
    (merged, contradiction)
}
