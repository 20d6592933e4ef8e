//! A ClientHello is reset, or heard of no more, short of the server.
//!
//! A server that breaks its own handshakes does so where it stands, and acknowledges what it ignores. So something on the
//! path is shown only by two connections on each of which a router told of a control command's death and, at the same
//! TTL, the ClientHello was reset from nearer than the server's words come from, or met by silence; by nobody having taken one in; and by no router behind that telling
//! of one. It must not know what the dialogues said. CenTrace (CoNEXT 2022).

use alloc::{collections::BTreeSet, format, vec::Vec};
use hoofbeat_observation::{Answer, Answered, Engine, Payload, Probe, QuoteBegins};

use super::{
    answered::{acts, sent_from},
    changepoint::{ChangePoint, MISLABEL},
    place::Acts,
    quote::Packet,
    reading::{HopRead, MOST_HOPS, Reading, Voice, Word},
    reverse::sender,
    rewritten::merged,
    walk::{Intact, Kind, Traced, Walk, settle},
    wire::{Wire, is_overtaken},
};
use crate::{Mechanism, evidence};

/// Connections that must tell the same.
const AGREEING: usize = 2;

/// A ClientHello is reset, or heard of no more, short of the server.
pub(super) fn hello(traced: &Traced<'_>, walk: &mut Walk) {
    let readings = readings(traced);
    let all = || readings.iter().flat_map(|reading| &reading.hops);
    // Whoever took one in, at whatever TTL, shows that nothing on the way there ends it.
    let arrived = all().any(|hop| {
        let mut voices = hop.hello.voices.iter();
        hop.hello.answered_late || voices.any(|voice| voice.word != Word::Reset)
    });
    if arrived {
        return;
    }
    let resets = all().any(|hop| reset(hop).is_some());
    let told: Vec<(&Reading<'_>, Vec<Option<bool>>)> = readings
        .iter()
        .map(|reading| {
            let own = own_ttls(reading);
            let before = usize::from(traced.distance.saturating_sub(1));
            let hops = reading.hops.iter().take(before);
            (*reading, hops.map(|hop| flag(hop, resets, &own)).collect())
        })
        .collect();
    let agreeing = |flags: &[Option<bool>]| flags.contains(&Some(true));
    if !told.iter().any(|(_, flags)| agreeing(flags)) {
        arrives(traced, walk, &readings, &merged(&told).0, resets);
        return;
    }
    if told.iter().filter(|(_, flags)| agreeing(flags)).count() < AGREEING {
        return;
    }
    // A silence short of the server is a drop only where the whole packet is met by silence as well.
    let whole_is_silent = readings.iter().filter(|reading| {
        let end = reading.hops.get(usize::from(traced.distance) - 1);
        end.is_some_and(|hop| hop.hello.is_silent())
    });
    if !resets && whole_is_silent.count() < AGREEING {
        return;
    }
    let (flags, contradiction) = merged(&told);
    let Some(first) = flags.iter().position(|flag| *flag == Some(true)) else {
        return;
    };
    if contradiction || flags.iter().skip(first).any(|flag| *flag == Some(false)) {
        return;
    }
    let point = if resets {
        ChangePoint::of(&flags, traced.distance, MISLABEL)
    } else {
        ChangePoint::of_silences(&flags, traced.distance)
    };
    let Some(point) = point.filter(|point| point.segment().up_to_hop < traced.distance) else {
        return;
    };
    let steady = is_steady(traced, &readings);
    if !steady {
        walk.innocent.push("connections to this address took different routes, so where a ClientHello ends is told of the routes that were traced, and proves nothing of others".into());
    }
    let (kind, supports) = if resets {
        (Kind::HelloReset, Mechanism::HandshakeReset)
    } else {
        (Kind::HelloDropped, Mechanism::HandshakeBlackholed)
    };
    let cited = told.iter().find_map(|(reading, flags)| {
        (flags.get(first) == Some(&Some(true))).then_some((*reading, reading.hops.get(first)?))
    });
    let Some((reading, read)) = cited else {
        return;
    };
    let manner = reset(read).map_or(Acts::InPassing, acts);
    settle(walk, point, kind, manner, steady, Engine::Raw);
    walk.wire = wire(&readings);
    let hop = u8::try_from(first + 1).unwrap_or(MOST_HOPS);
    walk.evidence.push(match reset(read) {
        Some(voice) => reading.cite_voice(
            hop,
            voice,
            supports.into(),
            format!("a ClientHello with TTL {hop} was answered by a reset, where on the same connection a control command with that TTL died on its way"),
        ),
        None => evidence::whole(
            reading.id,
            supports,
            format!("from TTL {hop} on nothing is heard of a ClientHello, where hops tell of a control command's end on the same connection"),
            "",
        ),
    });
    if !resets {
        walk.innocent.push("routers limit how often they tell of such deaths; what speaks against it is that control packets on the same connections were told of, and that the whole ClientHello was never acknowledged".into());
    }
}

fn readings<'t, 'a>(traced: &'t Traced<'a>) -> Vec<&'t Reading<'a>> {
    let raw = traced
        .sweeps
        .iter()
        .filter(|reading| reading.trace.engine == Engine::Raw);
    raw.filter(|reading| reading.hops.iter().any(|hop| hop.hello.asked))
        .collect()
}

/// ClientHellos die on their way like any other packet, and whole they meet a reset from the end of the path, or silence.
/// Nobody is accused by it, so one connection is enough.
fn arrives(
    traced: &Traced<'_>,
    walk: &mut Walk,
    readings: &[&Reading<'_>],
    flags: &[Option<bool>],
    resets: bool,
) {
    let Some(before) = traced.distance.checked_sub(1) else {
        return;
    };
    let any = |hop: u8, tells: &dyn Fn(&HopRead<'_>) -> bool| {
        let at = usize::from(hop).checked_sub(1);
        let mut read = readings.iter().filter_map(|reading| reading.hops.get(at?));
        read.any(tells)
    };
    let dies = |hop: &HopRead<'_>| hop.hello.expired && hop.hello.voices.is_empty();
    let from_the_end = |hop: &HopRead<'_>| {
        let ttl = reset(hop).and_then(|voice| voice.answer.ttl);
        ttl.is_some_and(|ttl| sender(ttl) >= before)
    };
    let ends = |hop: &HopRead<'_>| {
        if resets {
            from_the_end(hop)
        } else {
            hop.hello.is_silent()
        }
    };
    if !any(before, &dies) || !any(traced.distance, &ends) {
        return;
    }
    let Some(point) = ChangePoint::of(flags, traced.distance, MISLABEL) else {
        return;
    };
    let kind = if resets {
        Kind::HelloReset
    } else {
        Kind::HelloDropped
    };
    walk.hello_intact = Some((kind, Intact::at(before, &point, &walk.nodes)));
}

/// Resets of ClientHellos come with one TTL, on two connections, and the server's words with another: another machine sends
/// them, as far away as that tells. Which TTL they left with is taken for granted, so nobody is accused by it.
pub(super) fn resets_from_nearer(traced: &Traced<'_>, walk: &mut Walk) {
    // A place that hops tell is better than one that a TTL does.
    if walk.hello_intact.is_some() {
        return;
    }
    let readings = readings(traced);
    let odd = |reading: &&Reading<'_>| -> Option<(u8, u8)> {
        let own = own_ttls(reading);
        let genuine = *own.first().filter(|_| own.len() == 1)?;
        let resets = reading.hops.iter().filter_map(reset);
        let ttls: BTreeSet<Option<u8>> = resets.map(|voice| voice.answer.ttl).collect();
        let ttl = (*ttls.first().filter(|_| ttls.len() == 1)?)?;
        (ttl != genuine).then_some((ttl, genuine))
    };
    let told: Vec<(u8, u8)> = readings.iter().filter_map(odd).collect();
    let [first, others @ ..] = told.as_slice() else {
        return;
    };
    let (ttl, genuine) = *first;
    let hop = sender(ttl);
    if told.len() < AGREEING || others.iter().any(|one| one != first) || hop >= traced.distance {
        return;
    }
    // Where one died, whoever resets it was not met yet.
    let unmet: Vec<Option<bool>> = (0..usize::from(traced.distance))
        .map(|at| {
            let mut there = readings.iter().filter_map(|reading| reading.hops.get(at));
            let died = there.any(|hop| hop.hello.expired && hop.hello.voices.is_empty());
            died.then_some(false)
        })
        .collect();
    let Some((point, reading)) = sent_from(hop, traced.distance, &unmet).zip(readings.first())
    else {
        return;
    };
    settle(
        walk,
        point,
        Kind::HelloForged,
        Acts::InPassing,
        false,
        Engine::Raw,
    );
    walk.change_at(hop);
    walk.wire = wire(&readings);
    walk.evidence.push(evidence::whole(
        reading.id,
        Mechanism::HandshakeReset,
        format!("the resets that answer ClientHellos arrive with TTL {ttl}, the server's words with TTL {genuine}: another machine sends them"),
        "",
    ));
    walk.innocent.push(
        "a device in front of a server may reset connections that the server itself has given up"
            .into(),
    );
}

fn reset<'s, 'a>(hop: &'s HopRead<'a>) -> Option<&'s Voice<'a>> {
    let mut voices = hop.hello.voices.iter();
    voices.find(|voice| voice.word == Word::Reset)
}

/// Whether the ClientHello met something at or before this hop; `own` are the TTLs with which the server's replies came.
fn flag(hop: &HopRead<'_>, resets: bool, own: &BTreeSet<u8>) -> Option<bool> {
    let told = hop.control.expired && hop.control.voices.is_empty();
    if !resets {
        return match (hop.hello.expired, hop.hello.is_silent()) {
            (true, _) => Some(false),
            (false, true) if told => Some(true),
            _ => None,
        };
    }
    match reset(hop) {
        // A reset that came as far as the server's words may be the server's, whatever it was for.
        Some(voice) => {
            let nearer = voice.answer.ttl.is_some_and(|ttl| !own.contains(&ttl));
            (told && nearer && !own.is_empty()).then_some(true)
        }
        None => hop.hello.expired.then_some(false),
    }
}

/// The TTLs with which replies to control commands came.
fn own_ttls(reading: &Reading<'_>) -> BTreeSet<u8> {
    let controls = reading.trace.probes.iter();
    let controls = controls.filter(|probe| probe.payload == Payload::Control);
    let answers = controls.flat_map(|probe| &probe.answers);
    let replies = answers.filter(|answer| matches!(answer.what, Answered::Reply { .. }));
    replies.filter_map(|answer| answer.ttl).collect()
}

/// Whether all connections met the same routers.
fn is_steady(traced: &Traced<'_>, readings: &[&Reading<'_>]) -> bool {
    (1..traced.distance).all(|hop| {
        let mut met = readings.iter().flat_map(|reading| {
            let at = reading.hops.get(usize::from(hop) - 1);
            at.into_iter()
                .flat_map(|read| read.control.addresses.iter().chain(&read.hello.addresses))
        });
        let first = met.next();
        met.all(|other| Some(other) == first)
    })
}

/// Whether the interface carried ClientHellos as they were written; none of them before it was answered, while it carried
/// control commands; or neither is known.
fn wire(readings: &[&Reading<'_>]) -> Wire {
    let probes = readings.iter().flat_map(|reading| &reading.trace.probes);
    let (hellos, controls): (Vec<&Probe>, Vec<&Probe>) =
        probes.partition(|probe| probe.payload == Payload::ClientHello);
    let carried = |probe: &&Probe| {
        let packet = Packet::read(QuoteBegins::Ip, &probe.packet);
        let payload = packet.and_then(|packet| packet.payload());
        payload.is_some_and(|payload| payload == probe.sent)
    };
    // A reset need not acknowledge what it answers.
    let late = |probe: &&Probe| {
        let reset = |answer: &&Answer| answer.what == Answered::Reset;
        let reset = probe.answers.iter().find(reset).map(|answer| answer.at);
        is_overtaken(probe) || reset.zip(probe.left).is_some_and(|(at, left)| at < left)
    };
    let captured = controls.len() >= 3 && controls.iter().all(|probe| !probe.packet.is_empty());
    let (left, kept): (Vec<&Probe>, Vec<&Probe>) =
        hellos.iter().copied().partition(|probe| carried(probe));
    let enough = hellos.len() >= AGREEING && captured;
    let never = left.is_empty() && kept.iter().all(|probe| probe.packet.is_empty());
    Wire {
        same: match left.first() {
            Some(_) => Some(true),
            None => (enough && never).then_some(false),
        },
        // That is said of STARTTLS, which does leave.
        never_left: false,
        answered_here: enough && !left.is_empty() && left.iter().all(late),
    }
}
