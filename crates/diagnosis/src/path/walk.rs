//! One service's path from every trace of it: where something happens to STARTTLS that happens to nothing else.
//!
//! | seen | by | called |
//! |---|---|---|
//! | quotes show other bytes from some hop on | in-place rewriting | [`Kind::Rewritten`] |
//! | STARTTLS is answered short of where a control command is | a forger | [`Kind::Answered`] |
//! | STARTTLS dies without a word where a control command's death is told | a filter | [`Kind::Dropped`] |
//! | the port answers nearer than the same address's other ports | a proxy | [`Kind::Terminated`] |
//! | the port's SYN dies, or is refused, where other ports' go on | a port block | [`Kind::Blocked`] |
//! | the refusal arrives with another TTL than the connection's other packets | a forger | [`Kind::Forged`] |
//!
//! Test and control packets of one flow take one route, so only what differs between them counts. It must not know
//! what the dialogue said.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::net::IpAddr;
use hoofbeat_observation::{Answered, Engine, Method, PacketKind, Payload, QuoteBegins, Role, Service, Trace,
    TtlMethod};
use hoofbeat_session::Direction;

use super::{
    Hop, PathReport,
    changepoint::{ChangePoint, MISLABEL, MISLABEL_SILENCE},
    place::{Acts, Map, Nodes, Places},
    reading::{HopRead, MOST_HOPS, Of, Reading, Side, Word, flags},
};
use crate::{Credible, Evidence, LocationClass, Mechanism, Segment, evidence};

/// What happens at the change-point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rewritten,
    Answered,
    Reset,
    Dropped,
    Terminated,
    Blocked,
    Forged,
}

impl Kind {
    /// Its name among the observations.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rewritten => "quote-changed",
            Self::Answered => "answered-early",
            Self::Reset => "reset-early",
            Self::Dropped => "dropped-on-the-way",
            Self::Terminated => "terminated-early",
            Self::Blocked => "blocked-on-the-way",
            Self::Forged => "reply-with-another-ttl",
        }
    }
}

/// Something that happens on the path.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    /// Seen on packets with the command itself, against a control on the same flow: proof that it happens.
    pub(crate) direct: bool,
    pub(crate) engine: Engine,
    pub(crate) segment: Segment,
    pub(crate) credible: Credible,
    pub(crate) places: Places,
    /// At the first hop already: this host, or the device that it is attached to.
    pub(crate) first_hop: bool,
}

/// STARTTLS arrives whole, as far as hops tell.
#[derive(Debug, Clone)]
pub(crate) struct Intact {
    /// The last hop that quotes it.
    pub(crate) hop: u8,
    /// The stretch behind it.
    pub(crate) segment: Segment,
    pub(crate) credible: Credible,
    pub(crate) places: Places,
}

/// One service's path.
pub(crate) struct Walk {
    pub(crate) report: PathReport,
    pub(crate) change: Option<Change>,
    /// STARTTLS arrived whole at every hop that quoted it.
    pub(crate) intact: Option<Intact>,
    /// The port answers at the same hop as other ports of the address.
    pub(crate) same_end: bool,
    /// What the wire carried is what was written (`true`) or not (`false`); none where it was not captured.
    pub(crate) wire: Option<bool>,
    /// Every control command was seen to leave, and no STARTTLS.
    pub(crate) never_left: bool,
    pub(crate) evidence: Vec<Evidence>,
    /// Innocent explanations, and what makes the path uncertain.
    pub(crate) innocent: Vec<String>,
    /// Traces that failed, and why.
    pub(crate) failures: Vec<String>,
    /// The routes differed while it was traced: no place may be named.
    pub(crate) unsteady: bool,
    /// The path's nodes and what they belong to.
    pub(crate) nodes: Nodes,
    /// The measurement that is cited for the path as a whole.
    pub(crate) id: String,
}

/// A trace with its measurement's identifier.
pub(crate) type Cited<'a> = (&'a str, &'a Trace);

fn test<'s, 'a>(hop: &'s HopRead<'a>) -> &'s Side<'a> {
    &hop.test
}
fn control<'s, 'a>(hop: &'s HopRead<'a>) -> &'s Side<'a> {
    &hop.control
}

/// The traces of one service and of what it is held against, read.
struct Traced<'a> {
    sweeps: Vec<Reading<'a>>,
    syns: Vec<Reading<'a>>,
    /// Other ports of the same address.
    others: Vec<Reading<'a>>,
    distance: u8,
}

/// Reads the path to a service; none where it was not traced.
pub(crate) fn walk<'a>(service: &Service, traces: &[Cited<'a>], map: &Map<'_>) -> Option<Walk> {
    let to_server = || {
        traces
            .iter()
            .filter(|(_, trace)| trace.direction == Direction::ToServer)
    };
    let own: Vec<&Cited<'a>> = to_server()
        .filter(|(_, trace)| trace.role == Role::Target && trace.service == *service)
        .collect();
    if own.is_empty() {
        return None;
    }
    let failures = own
        .iter()
        .filter_map(|(_, trace)| trace.failure.as_ref())
        .map(|failure| format!("{failure}"))
        .collect();
    let read = |syn: bool| -> Vec<Reading<'a>> {
        own.iter()
            .filter(|(_, trace)| (trace.method == Method::Syn) == syn)
            .map(|(id, trace)| Reading::of(id, trace))
            .collect()
    };
    let others: Vec<Reading<'a>> = to_server()
        .filter(|(_, trace)| {
            service.address.is_some()
                && trace.service.address == service.address
                && trace.service.port != service.port
                && trace.method == Method::Syn
        })
        .map(|(id, trace)| Reading::of(id, trace))
        .collect();
    let mut traced = Traced {
        sweeps: read(false),
        syns: read(true),
        others,
        distance: 0,
    };
    traced.distance = distance(&traced);
    let routers = routers(&traced);
    let (wire, never_left) = wire(&traced);
    let nodes = Nodes::of(&routers, traced.distance, service.address, map);
    let mut walk = Walk {
        report: report(&traced, &routers, map),
        change: None,
        intact: None,
        same_end: false,
        wire,
        never_left,
        evidence: Vec::new(),
        innocent: Vec::new(),
        failures,
        unsteady: false,
        nodes,
        id: own.first().map_or("", |(id, _)| *id).into(),
    };
    const LOOKS: [fn(&Traced<'_>, &mut Walk); 6] =
        [rewritten, answered, dropped, terminated, blocked, forged];
    for look in LOOKS {
        if walk.change.is_none() {
            look(&traced, &mut walk);
        }
    }
    side_facts(&traced, &mut walk);
    Some(walk)
}

/// The far end's hop: the furthest that anything is answered from, else one behind the last router.
fn distance(traced: &Traced<'_>) -> u8 {
    let ends = traced
        .syns
        .iter()
        .chain(&traced.others)
        .filter_map(|reading| reading.end(control));
    let swept = traced
        .sweeps
        .iter()
        .filter_map(|reading| reading.end(control));
    let last_router = traced
        .sweeps
        .iter()
        .chain(&traced.syns)
        .chain(&traced.others)
        .flat_map(|reading| (1..=MOST_HOPS).filter(|hop| !reading.addresses(*hop).is_empty()))
        .max()
        .unwrap_or(0);
    ends.chain(swept)
        .max()
        .unwrap_or(0)
        .max(last_router.saturating_add(1))
}

/// The routers at each hop; sweeps first, for they keep to one route.
fn routers(traced: &Traced<'_>) -> Vec<Vec<IpAddr>> {
    (1..traced.distance)
        .map(|hop| {
            [&traced.sweeps, &traced.syns, &traced.others]
                .into_iter()
                .map(|readings| {
                    readings
                        .iter()
                        .flat_map(|reading| reading.addresses(hop))
                        .collect::<BTreeSet<IpAddr>>()
                })
                .find(|found| !found.is_empty())
                .unwrap_or_default()
                .into_iter()
                .collect()
        })
        .collect()
}

fn report(traced: &Traced<'_>, routers: &[Vec<IpAddr>], map: &Map<'_>) -> PathReport {
    let raw = traced
        .sweeps
        .iter()
        .chain(&traced.syns)
        .any(|reading| reading.trace.engine == Engine::Raw);
    let readings: Vec<&Reading<'_>> = traced
        .sweeps
        .iter()
        .chain(&traced.syns)
        .chain(&traced.others)
        .collect();
    PathReport {
        hops: hops(&readings, routers, map),
        engine: if raw {
            Engine::Raw
        } else {
            Engine::Unprivileged
        },
        direction: Direction::ToServer,
        paths: Vec::new(),
    }
}

/// Hops as reports draw them.
pub(super) fn hops(readings: &[&Reading<'_>], routers: &[Vec<IpAddr>], map: &Map<'_>) -> Vec<Hop> {
    (1_u8..)
        .zip(routers)
        .map(|(hop, addresses)| {
            let address = addresses.first().copied();
            let fact = address.and_then(|address| map.fact(address));
            let sides = || {
                readings
                    .iter()
                    .filter_map(|reading| reading.hops.get(usize::from(hop) - 1))
            };
            let rtt = sides()
                .flat_map(|read| [read.test.rtt, read.control.rtt])
                .flatten()
                .min();
            let tested: Vec<bool> = sides().filter_map(|read| read.test.flag()).collect();
            // Flows that took different routes may disagree: then the hop tells neither.
            let changed = tested
                .first()
                .copied()
                .filter(|first| tested.iter().all(|one| one == first));
            let words = sides()
                .filter_map(|read| read.test.changed())
                .find_map(Reading::words)
                .filter(|_| changed == Some(true));
            let quoted = sides()
                .flat_map(|read| read.test.quotes.iter().chain(&read.control.quotes))
                .map(|quoted| quoted.quote.bytes.len())
                .next();
            let (was, became) = words.unzip();
            Hop {
                hop,
                address,
                rtt_ms: rtt.map(|micros| super::four_decimals(micros as f64 / 1000.0)),
                quoted,
                changed,
                was,
                became,
                name: fact.and_then(|fact| fact.reverse.clone()),
                asn: fact.and_then(|fact| fact.asn),
                holder: fact.and_then(|fact| fact.holder.clone()),
            }
        })
        .collect()
}

/// Whether the captured packets carried what was written; and whether STARTTLS alone was never seen to leave.
fn wire(traced: &Traced<'_>) -> (Option<bool>, bool) {
    let mut found = None;
    let mut seen = [0_usize; 2];
    let mut missing = [0_usize; 2];
    let probes = traced
        .sweeps
        .iter()
        .filter(|reading| reading.trace.engine == Engine::Raw)
        .flat_map(|reading| &reading.trace.probes)
        .filter(|probe| !probe.sent.is_empty());
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
        let packet = super::quote::Packet::read(QuoteBegins::Ip, &probe.packet);
        // A capture that cut the packet, or joined two, tells nothing.
        let payload = packet
            .and_then(|packet| packet.payload())
            .filter(|payload| payload.len() == probe.sent.len());
        match payload {
            Some(payload) if payload == probe.sent => {
                if kind == 1 {
                    found = found.or(Some(true));
                }
            }
            Some(_) => return (Some(false), false),
            None => {}
        }
    }
    let [controls, tests] = seen;
    let [lost_controls, lost_tests] = missing;
    let never = tests == 0 && lost_tests >= 1 && controls >= 2 && lost_controls == 0;
    (found, never)
}

fn settle(
    walk: &mut Walk,
    point: ChangePoint,
    kind: Kind,
    acts: Acts,
    direct: bool,
    engine: Engine,
) {
    let point = if walk.unsteady {
        point.blurred()
    } else {
        point
    };
    let credible = point.credible();
    let segment = if walk.unsteady {
        Segment {
            after_hop: credible.after_hop,
            up_to_hop: credible.up_to_hop,
        }
    } else {
        point.segment()
    };
    walk.change = Some(Change {
        kind,
        direct: direct && !walk.unsteady,
        engine,
        segment,
        credible,
        places: walk.nodes.places(&point, acts),
        first_hop: segment.up_to_hop <= 1,
    });
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

/// Quotes show other bytes from some hop on.
fn rewritten(traced: &Traced<'_>, walk: &mut Walk) {
    let last = traced.distance;
    let told: Vec<(&Reading<'_>, Vec<Option<bool>>)> = traced
        .sweeps
        .iter()
        .map(|reading| (reading, steady_flags(reading, test, last)))
        .filter(|(_, flags)| flags.iter().any(Option::is_some))
        .collect();
    let unsteady = traced
        .sweeps
        .iter()
        .any(|reading| !reading.unsteady().is_empty());
    if unsteady {
        walk.unsteady = true;
        walk.innocent.push("the route changed while it was traced: packets with the same TTL met different routers, so no place is named".into());
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
            walk.intact = Some(Intact {
                hop: whole,
                segment: point.segment(),
                credible: point.credible(),
                places: walk.nodes.places(&point, Acts::InPassing),
            });
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

/// Flags of several sweeps; where they disagree none, and whether they did.
fn merged(told: &[(&Reading<'_>, Vec<Option<bool>>)]) -> (Vec<Option<bool>>, bool) {
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

/// STARTTLS is answered short of where a control command is.
fn answered(traced: &Traced<'_>, walk: &mut Walk) {
    for reading in &traced.sweeps {
        let controls_end = reading.end(control);
        // The first voice; a forger beside the path answers although the packet goes on and dies further out.
        let early = (1..=MOST_HOPS).zip(&reading.hops).find_map(|(hop, read)| {
            let voice = read
                .test
                .voices
                .iter()
                .find(|voice| voice.word != Word::Acknowledged)?;
            Some((hop, voice, read))
        });
        let Some((hop, voice, read)) = early else {
            continue;
        };
        if controls_end.is_some_and(|end| hop > end) {
            walk.innocent.push("the answer to STARTTLS needed a larger TTL than the server's own answers: a device may copy the probe's TTL into its reply, so its hop is not known".into());
            continue;
        }
        // A control packet with this TTL, or a larger one, must have died on the way, and none been answered here.
        let control_goes_on = reading
            .hops
            .iter()
            .skip(usize::from(hop) - 1)
            .any(|read| read.control.expired);
        if !control_goes_on || !read.control.voices.is_empty() || hop >= traced.distance {
            continue;
        }
        let kind = match voice.word {
            Word::Reset | Word::Closed => Kind::Reset,
            _ => Kind::Answered,
        };
        let supports = match kind {
            Kind::Reset => Mechanism::CommandDropped.into(),
            _ => Mechanism::CommandRefused.into(),
        };
        let Some(point) = ChangePoint::at(hop, traced.distance, MISLABEL) else {
            continue;
        };
        settle(
            walk,
            point,
            kind,
            Acts::InPassing,
            true,
            reading.trace.engine,
        );
        let manner = if voice.alongside {
            ", and the packet itself went on and died: whoever answered only listens beside the path"
        } else {
            ""
        };
        walk.evidence.push(reading.cite_voice(
            hop,
            voice,
            supports,
            format!("STARTTLS with TTL {hop} was answered, where a control command with as large a TTL does not reach the server{manner}"),
        ));
        return;
    }
}

/// STARTTLS dies without a word where a control command's death is told.
fn dropped(traced: &Traced<'_>, walk: &mut Walk) {
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
    let (flags, contradiction) = merged(&told);
    let first = flags.iter().position(|flag| *flag == Some(true));
    let Some(first) = first.filter(|_| !contradiction) else {
        return;
    };
    // Whoever is heard of behind a silence was not swallowed at it.
    if flags.iter().skip(first).any(|flag| *flag == Some(false)) {
        return;
    }
    let Some(point) = ChangePoint::of(&flags, traced.distance, MISLABEL_SILENCE) else {
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

/// Where a control command is heard of and STARTTLS is not.
fn silences(reading: &Reading<'_>, traced: &Traced<'_>) -> Vec<Option<bool>> {
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

/// A trace of another port of the address that passes behind a hop, and the furthest hop that it tells of.
fn passes_beyond<'r, 'a>(traced: &'r Traced<'a>, hop: u8) -> Option<(&'r Reading<'a>, u8)> {
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

/// The port answers nearer than the same address's other ports.
fn terminated(traced: &Traced<'_>, walk: &mut Walk) {
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
    let near = arrived.map(|ttl| super::reverse::hops(ttl).saturating_add(1).abs_diff(end) <= 1);
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

/// The port's SYN dies, or is refused, where other ports' go on.
fn blocked(traced: &Traced<'_>, walk: &mut Walk) {
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
    // Somebody says so.
    let said = (1..=MOST_HOPS).zip(&reading.hops).find_map(|(hop, read)| {
        let (from, code, step) = *read.control.unreachable.first()?;
        Some((hop, from, code, step))
    });
    if let Some((hop, from, code, step)) = said
        && let Some((_, further)) = passes_beyond(traced, hop)
        && let Some(point) = ChangePoint::at(hop, traced.distance, MISLABEL)
    {
        settle(
            walk,
            point,
            Kind::Blocked,
            Acts::InPassing,
            false,
            reading.trace.engine,
        );
        // Who speaks is known by address: where that is a router of the path, the place is its.
        let speaker = (1..traced.distance).find(|hop| {
            routers(traced)
                .get(usize::from(*hop) - 1)
                .is_some_and(|addresses| addresses.contains(&from))
        });
        if let (Some(places), Some(change)) = (
            speaker.and_then(|hop| walk.nodes.of_node(hop)),
            walk.change.as_mut(),
        ) {
            change.places = places;
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
    // A RST from nearer than the far end.
    if let Some(end) = reading.end(control)
        && let Some((other, further)) = passes_beyond(traced, end)
        && let Some(point) = ChangePoint::at(end, traced.distance, MISLABEL)
    {
        settle(
            walk,
            point,
            Kind::Blocked,
            Acts::InPassing,
            false,
            reading.trace.engine,
        );
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
    let flags: Vec<Option<bool>> = (1..=traced.distance)
        .map(|hop| {
            let told = other
                .side(hop, control)
                .is_some_and(|side| side.expired || !side.voices.is_empty());
            let here = reading.side(hop, control)?;
            match (told, here.expired, here.is_silent()) {
                (_, true, _) => Some(false),
                (true, false, true) => Some(true),
                _ => None,
            }
        })
        .collect();
    let silent = flags.iter().filter(|flag| **flag == Some(true)).count();
    let first = flags.iter().position(|flag| *flag == Some(true));
    let after =
        first.is_some_and(|first| flags.iter().skip(first).any(|flag| *flag == Some(false)));
    if silent < 2 || after {
        return;
    }
    if let Some(point) = ChangePoint::of(&flags, traced.distance, MISLABEL_SILENCE) {
        let segment = point.segment();
        settle(
            walk,
            point,
            Kind::Blocked,
            Acts::InPassing,
            false,
            reading.trace.engine,
        );
        walk.evidence.push(evidence::whole(
            reading.id,
            Mechanism::PortBlocked,
            format!("SYNs to port {port} are heard of no more behind hop {}, those to port {} of the same address up to hop {further}", segment.after_hop, other.trace.service.port),
            "",
        ));
    }
}

/// The refusal arrives with another TTL than the connection's other packets.
fn forged(traced: &Traced<'_>, walk: &mut Walk) {
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
        let Some(odd) = ttl(PacketKind::StartTlsReply)
            .or_else(|| ttl(PacketKind::End))
            .filter(|odd| *odd != genuine)
        else {
            continue;
        };
        if !others_agree {
            continue;
        }
        // Packets leave with 64, 128 or 255: what is missing are the hops to whoever sent it.
        let hop = [64_u8, 128, 255]
            .into_iter()
            .find(|initial| *initial >= odd)
            .map(|initial| initial - odd + 1)
            .filter(|hop| *hop < traced.distance);
        let point = match hop {
            Some(hop) => ChangePoint::at(hop, traced.distance, 0.2),
            None => ChangePoint::of(&[None], 1, MISLABEL),
        };
        walk.evidence.push(evidence::whole(
            reading.id,
            Mechanism::CommandRefused,
            format!("the answer to STARTTLS arrived with TTL {odd}, the connection's other packets with TTL {genuine}: another machine sent it"),
            "",
        ));
        walk.innocent.push("answers of one connection may come over several routes, though a connection is seldom split between them".into());
        if let Some(point) = point {
            settle(
                walk,
                point,
                Kind::Forged,
                Acts::InPassing,
                false,
                reading.trace.engine,
            );
        }
        return;
    }
}

/// Rewritten sequence numbers, unexplained checksums: told, and never counted alone.
fn side_facts(traced: &Traced<'_>, walk: &mut Walk) {
    let quotes = || {
        traced
            .sweeps
            .iter()
            .chain(&traced.syns)
            .flat_map(|reading| reading.hops.iter().map(move |hop| (reading, hop)))
            .flat_map(|(reading, hop)| {
                hop.test
                    .quotes
                    .iter()
                    .chain(&hop.control.quotes)
                    .map(move |quoted| (reading, quoted))
            })
    };
    if let Some((_, quoted)) =
        quotes().find(|(_, quoted)| quoted.comparison.sequence_rewritten == Some(true))
    {
        walk.innocent.push(format!(
            "hop {} quotes other sequence numbers than were sent: a firewall that randomises them stands before it, which is no stripping",
            quoted.probe.ttl
        ));
    }
    if let Some((_, quoted)) = quotes().find(|(_, quoted)| quoted.comparison.checksum_unexplained) {
        walk.innocent.push(format!(
            "hop {} quotes a checksum that does not fit what was sent, and too little else to tell why",
            quoted.probe.ttl
        ));
    }
    if let Some((_, quoted)) = quotes().find(|(_, quoted)| quoted.comparison.options_changed) {
        walk.innocent.push(format!(
            "hop {} quotes other TCP options than were sent: normalisers and tunnels clamp segment sizes",
            quoted.probe.ttl
        ));
    }
}
