//! Packets that are heard of no more: a command that is swallowed, a port whose SYNs end on the way.
//!
//! Routers are silent for many reasons, so a silence counts only beside something like it that is told of. It must not
//! know whose rule it is.

use alloc::{format, vec::Vec};
use core::net::IpAddr;

use super::{
    changepoint::{ChangePoint, MISLABEL},
    place::Acts,
    reading::{MOST_HOPS, Reading, Side, Word},
    rewritten::merged,
    terminated::passes_beyond,
    walk::{Intact, Kind, Traced, Walk, control, routers, settle},
};
use crate::{Evidence, Mechanism, evidence};

/// STARTTLS dies without a word where a control command's death is told.
pub(super) fn dropped(traced: &Traced<'_>, walk: &mut Walk) {
    let heard = |side: &Side<'_>| !side.voices.is_empty() || side.answered_late;
    let hops = || traced.sweeps.iter().flat_map(|reading| reading.hops.iter());
    // Not even the whole packet was ever answered, and control commands were.
    if hops().any(|hop| heard(&hop.test)) || !hops().any(|hop| heard(&hop.control)) {
        return;
    }
    let told: Vec<(&Reading<'_>, Vec<Option<bool>>)> = traced
        .sweeps
        .iter()
        .map(|reading| (reading, silences(reading, traced)))
        .collect();
    let (mut flags, contradiction) = merged(&told);
    forget_lost(&mut flags);
    let first = flags.iter().position(|flag| *flag == Some(true));
    let Some(first) = first.filter(|_| !contradiction) else {
        return;
    };
    let Some(point) = ChangePoint::of_silences(&flags, traced.distance) else {
        return;
    };
    let Some((reading, _)) = told.first() else {
        return;
    };
    settle(
        walk,
        point,
        Kind::Dropped,
        Acts::InPassing,
        true,
        reading.trace.engine,
    );
    walk.evidence.push(evidence::whole(
        reading.id,
        Mechanism::CommandDropped,
        format!("from TTL {} on nothing is heard of STARTTLS, where hops tell of a control command's end on the same connection", first + 1),
        "",
    ));
    walk.innocent.push("routers limit how often they tell of such deaths; what speaks against it is that control packets beside these were told of, and that the whole command was never answered".into());
}

/// Whoever is heard of behind a silence was not stopped at it: a packet was lost there, or a router limits what it tells.
fn forget_lost(flags: &mut [Option<bool>]) {
    let heard = flags.iter().rposition(|flag| *flag == Some(false));
    for flag in flags.iter_mut().take(heard.unwrap_or(0)) {
        *flag = flag.filter(|silent| !silent);
    }
}

/// Where a control command is heard of and STARTTLS is not.
pub(super) fn silences(reading: &Reading<'_>, traced: &Traced<'_>) -> Vec<Option<bool>> {
    reading
        .hops
        .iter()
        .take(usize::from(traced.distance))
        .map(|read| {
            let told = read.control.expired || !read.control.voices.is_empty();
            match (told, read.test.expired, read.test.is_silent()) {
                (_, true, _) => Some(false),
                (true, false, true) => Some(true),
                _ => None,
            }
        })
        .collect()
}

/// The port's SYN dies, or is refused, where other ports' go on.
pub(super) fn blocked(traced: &Traced<'_>, walk: &mut Walk) {
    let Some(reading) = traced.syns.first() else {
        return;
    };
    let connected = traced.syns.iter().any(|reading| {
        reading.hops.iter().any(|hop| {
            hop.control
                .voices
                .iter()
                .any(|voice| voice.word == Word::Connected)
        })
    });
    if connected {
        return;
    }
    let supports = Mechanism::PortBlocked.into();
    let port = reading.trace.service.port;
    let engine = reading.trace.engine;
    let at =
        |walk: &mut Walk, point| settle(walk, point, Kind::Blocked, Acts::InPassing, false, engine);
    // Somebody says so.
    let said = (1..=MOST_HOPS).zip(&reading.hops).find_map(|(hop, read)| {
        let (from, code, step) = *read.control.unreachable.first()?;
        Some((hop, from, code, step))
    });
    if let Some((hop, from, code, step)) = said
        && let Some(further) = open_further(traced, hop, from)
        && let Some(point) = ChangePoint::at(hop, traced.distance, MISLABEL)
    {
        at(walk, point);
        // Who speaks is known by address: where that is a router of the path, the place is its.
        let speaker = (1..traced.distance).find(|hop| {
            routers(traced)
                .get(usize::from(*hop) - 1)
                .is_some_and(|addresses| addresses.contains(&from))
        });
        let is_placed = speaker.is_some_and(|hop| walk.change_at(hop));
        if let Some(change) = walk.change.as_mut().filter(|_| is_placed) {
            change.direct = true;
        }
        walk.evidence.push(Evidence {
            claim: format!("{from} answers SYNs to port {port} by \"unreachable\" (code {code}), while another port of the address is heard of up to hop {further}"),
            supports,
            measurement: reading.id.into(),
            step: Some(step),
            bytes: None,
            direction: "to-client",
            excerpt: format!("TTL {hop}: unreachable, code {code}, from {from}"),
        });
        return;
    }
    arrives(traced, reading, walk);
    // A RST from nearer than the far end.
    if let Some(end) = reading.end(control)
        && let Some((other, further)) = passes_beyond(traced, end)
        && let Some(point) = ChangePoint::at(end, traced.distance, MISLABEL)
    {
        at(walk, point);
        if let Some(voice) = reading
            .side(end, control)
            .and_then(|side| side.voices.first())
        {
            walk.evidence.push(reading.cite_voice(end, voice, supports, format!(
                "port {port} is refused at hop {end}, port {} of the same address is heard of up to hop {further}", other.trace.service.port
            )));
        }
        return;
    }
    // Silence.
    let Some((other, further)) = passes_beyond(traced, 0) else {
        return;
    };
    let mut flags: Vec<Option<bool>> = (1..=traced.distance)
        .map(|hop| {
            let told = traced.others.iter().any(|other| {
                other
                    .side(hop, control)
                    .is_some_and(|side| side.expired || !side.voices.is_empty())
            });
            let here = reading.side(hop, control)?;
            match (told, here.expired, here.is_silent()) {
                (_, true, _) => Some(false),
                (true, false, true) => Some(true),
                _ => None,
            }
        })
        .collect();
    forget_lost(&mut flags);
    let silent = flags.iter().filter(|flag| **flag == Some(true)).count();
    if silent < 2 {
        return;
    }
    if let Some(point) = ChangePoint::of_silences(&flags, traced.distance) {
        let segment = point.segment();
        at(walk, point);
        walk.evidence.push(evidence::whole(
            reading.id,
            Mechanism::PortBlocked,
            format!("SYNs to port {port} are heard of no more behind hop {}, those to port {} of the same address up to hop {further}", segment.after_hop, other.trace.service.port),
            "",
        ));
    }
}

/// SYNs die at the last hop before the address as any other, and other ports of it answer: whoever closes the port is at
/// the end of the path.
fn arrives(traced: &Traced<'_>, reading: &Reading<'_>, walk: &mut Walk) {
    let others = traced.others.iter();
    let answers = others.filter_map(|other| other.end(control)).max();
    let told = |hop: u8| {
        let side = reading.side(hop, control);
        side.map(|side| side.expired && side.voices.is_empty())
    };
    let Some(before) = traced.distance.checked_sub(1) else {
        return;
    };
    if answers != Some(traced.distance) || told(before) != Some(true) {
        return;
    }
    let flags: Vec<Option<bool>> = (1..=before)
        .map(|hop| (told(hop) == Some(true)).then_some(false))
        .collect();
    if let Some(point) = ChangePoint::of(&flags, traced.distance, MISLABEL) {
        walk.syn_intact = Some(Intact::at(before, &point, &walk.nodes));
    }
}

/// How far other ports of the address are heard of, where that is behind a hop, or where who complains at that hop is not
/// the address itself.
fn open_further(traced: &Traced<'_>, hop: u8, from: IpAddr) -> Option<u8> {
    if let Some((_, further)) = passes_beyond(traced, hop) {
        return Some(further);
    }
    let is_target = traced
        .syns
        .iter()
        .any(|reading| reading.trace.service.address == Some(from));
    let end = traced
        .others
        .iter()
        .filter_map(|reading| reading.end(control))
        .max()?;
    (!is_target && end >= hop).then_some(end)
}
