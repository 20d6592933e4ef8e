//! STARTTLS is answered by somebody nearer than the server, in the path or beside it.
//!
//! Told by the TTL from which on it is answered, or by the TTL that the answer arrives with. It must not know what the
//! answer says. CenTrace (CoNEXT 2022).

use alloc::{collections::BTreeSet, format, vec::Vec};
use hoofbeat_observation::{PacketKind, TtlMethod};

use super::{
    changepoint::{ChangePoint, MISLABEL},
    place::Acts,
    reading::{HopRead, MOST_HOPS, Reading, Voice, Word},
    reverse::sender,
    rewritten::merged,
    walk::{Kind, Traced, Walk, control, settle},
};
use crate::{Mechanism, evidence};

/// STARTTLS is answered short of where a control command is.
///
/// Each connection may tell of one TTL only, for such an answer ends it: so all sweeps are read together, and what was
/// not tried stays open.
pub(super) fn answered(traced: &Traced<'_>, walk: &mut Walk) {
    let voice = |read: &HopRead<'_>| {
        read.test
            .voices
            .iter()
            .position(|voice| voice.word != Word::Acknowledged)
    };
    let told: Vec<(&Reading<'_>, Vec<Option<bool>>)> = traced
        .sweeps
        .iter()
        .map(|reading| {
            let flags = reading
                .hops
                .iter()
                .take(usize::from(traced.distance.saturating_sub(1)))
                .map(|read| match voice(read) {
                    // What is answered for a control command as well is no answer to STARTTLS.
                    Some(_) => read.control.voices.is_empty().then_some(true),
                    None => read.test.expired.then_some(false),
                })
                .collect();
            (reading, flags)
        })
        .collect();
    let (flags, contradiction) = merged(&told);
    let Some(first) = flags.iter().position(|flag| *flag == Some(true)) else {
        return;
    };
    // A control packet with this TTL, or a larger one, must have died on the way.
    let goes_on = traced
        .sweeps
        .iter()
        .flat_map(|reading| reading.hops.iter().skip(first))
        .any(|read| read.control.expired);
    let controls_end = traced
        .sweeps
        .iter()
        .filter_map(|reading| reading.end(control))
        .max();
    if contradiction
        || !goes_on
        || flags.iter().skip(first).any(|flag| *flag == Some(false))
        || controls_end.is_some_and(|end| first >= usize::from(end))
    {
        walk.innocent.push("STARTTLS was answered at TTLs that contradict each other, as where a device copies a probe's TTL into its reply: its hop is not known".into());
        return;
    }
    let found = traced.sweeps.iter().find_map(|reading| {
        let read = reading.hops.get(first)?;
        Some((reading, read.test.voices.get(voice(read)?)?))
    });
    let (Some((reading, voice)), Some(point)) =
        (found, ChangePoint::of(&flags, traced.distance, MISLABEL))
    else {
        return;
    };
    let (kind, supports) = match voice.word {
        Word::Reset | Word::Closed => (Kind::Reset, Mechanism::CommandDropped.into()),
        _ => (Kind::Answered, Mechanism::CommandRefused.into()),
    };
    settle(walk, point, kind, acts(voice), true, reading.trace.engine);
    let manner = if voice.alongside {
        ", and the packet itself went on and died: whoever answered only listens beside the path"
    } else {
        ""
    };
    let hop = u8::try_from(first + 1).unwrap_or(MOST_HOPS);
    walk.evidence.push(reading.cite_voice(
        hop,
        voice,
        supports,
        format!("STARTTLS with TTL {hop} was answered, where a control command with as large a TTL does not reach the server{manner}"),
    ));
}

/// How whoever said something acts: from the distance that its packet's TTL tells of, where that was captured.
pub(super) fn acts(voice: &Voice<'_>) -> Acts {
    let ttl = voice.answer.ttl;
    ttl.map_or(Acts::InPassing, |ttl| Acts::From(sender(ttl)))
}

/// Probability that a packet did not leave with 64, 128 or 255.
const MISLABEL_INITIAL: f64 = 0.2;

/// The stretches around the node that something was sent from, with what hops tell besides.
pub(super) fn sent_from(hop: u8, distance: u8, told: &[Option<bool>]) -> Option<ChangePoint> {
    // A node lies between two stretches.
    let both: Vec<ChangePoint> = [hop, hop.saturating_add(1)]
        .into_iter()
        .filter_map(|j| ChangePoint::at(j, distance, MISLABEL_INITIAL))
        .collect();
    let around = ChangePoint::averaged(&both)?;
    // Where the hops say something else than the TTL does, the TTL alone is told.
    let narrowed = around.clone().with(told);
    narrowed
        .filter(|narrowed| around.segment().holds(narrowed.segment()))
        .or(Some(around))
}

/// Where STARTTLS died without an answer: nobody who answers it was met up to there.
fn unmet(traced: &Traced<'_>) -> Vec<Option<bool>> {
    let told: Vec<(&Reading<'_>, Vec<Option<bool>>)> = traced
        .sweeps
        .iter()
        .map(|reading| {
            let unmet = |read: &HopRead<'_>| read.test.expired && read.test.voices.is_empty();
            let hops = reading.hops.iter().take(usize::from(traced.distance));
            (
                reading,
                hops.map(|read| unmet(read).then_some(false)).collect(),
            )
        })
        .collect();
    merged(&told).0
}

/// The refusal arrives with another TTL than the connection's other packets.
pub(super) fn forged(traced: &Traced<'_>, walk: &mut Walk) {
    for reading in &traced.sweeps {
        let ttl = |kind: PacketKind| {
            reading
                .trace
                .received
                .iter()
                .find(|received| received.of == kind && received.by == TtlMethod::Capture)
                .map(|received| received.ttl)
        };
        let Some(genuine) = ttl(PacketKind::ControlReply).or_else(|| ttl(PacketKind::Greeting))
        else {
            continue;
        };
        let others_agree = [
            PacketKind::SynAck,
            PacketKind::Greeting,
            PacketKind::ControlReply,
        ]
        .into_iter()
        .filter_map(ttl)
        .all(|other| other == genuine);
        let answers: BTreeSet<u8> = reading
            .trace
            .received
            .iter()
            .filter(|received| {
                matches!(received.of, PacketKind::StartTlsReply | PacketKind::End)
                    && received.by == TtlMethod::Capture
            })
            .map(|received| received.ttl)
            .collect();
        let Some(odd) = answers.iter().copied().find(|odd| *odd != genuine) else {
            continue;
        };
        if !others_agree {
            continue;
        }
        // What is missing are the hops to whoever sent it.
        let hop = Some(sender(odd)).filter(|hop| *hop < traced.distance);
        let point = hop.and_then(|hop| sent_from(hop, traced.distance, &unmet(traced)));
        walk.evidence.push(evidence::whole(
            reading.id,
            Mechanism::CommandRefused,
            format!("the answer to STARTTLS arrived with TTL {odd}, the connection's other packets with TTL {genuine}: another machine sent it"),
            "",
        ));
        walk.innocent.push("answers of one connection may come over several routes, though a connection is seldom split between them".into());
        if let Some(point) = point {
            // Two answers to one command, the server's own among them: the other one is not the server's.
            let twice = answers.contains(&genuine);
            settle(
                walk,
                point,
                Kind::Forged,
                Acts::InPassing,
                twice,
                reading.trace.engine,
            );
            if let Some(hop) = hop {
                walk.change_at(hop);
            }
        }
        return;
    }
}
