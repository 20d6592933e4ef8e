//! One service's path from every trace of it: where something happens to STARTTLS that happens to nothing else.
//!
//! | seen | by | called |
//! |---|---|---|
//! | quotes show other bytes from some hop on | in-place rewriting | [`Kind::Rewritten`] |
//! | STARTTLS is answered short of where a control command is | a forger | [`Kind::Answered`] |
//! | STARTTLS dies without a word where a control command's death is told | a filter | [`Kind::Dropped`] |
//! | a ClientHello is reset, or dies without a word, where a control command's death is told | a filter of TLS | [`Kind::HelloReset`], [`Kind::HelloDropped`] |
//! | the port answers nearer than the same address's other ports | a proxy | [`Kind::Terminated`] |
//! | the port's SYN dies, or is refused, where other ports' go on | a port block | [`Kind::Blocked`] |
//! | the refusal, or a ClientHello's reset, arrives with another TTL than the connection's other packets | a forger | [`Kind::Forged`], [`Kind::HelloForged`] |
//!
//! Test and control packets of one flow take one route, so only what differs between them counts. It must not know
//! what the dialogue said.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::net::IpAddr;
use hoofbeat_observation::{Engine, Method, Role, Service, Trace};
use hoofbeat_session::Direction;

use super::{
    Hop, PathReport,
    answered::{answered, forged},
    changepoint::ChangePoint,
    hello::{hello, resets_from_nearer},
    place::{Acts, Facing, Map, Nodes, Places},
    reading::{HopRead, MOST_HOPS, Reading, Side},
    rewritten::rewritten,
    silent::{blocked, dropped},
    terminated::terminated,
    wire::{Wire, syn_left, syn_never_left, wire},
};
use crate::{Credible, Evidence, Segment};

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
    HelloReset,
    HelloDropped,
    HelloForged,
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
            Self::HelloReset => "hello-reset-early",
            Self::HelloDropped => "hello-dropped-on-the-way",
            Self::HelloForged => "hello-reset-with-another-ttl",
        }
    }

    /// Whether it happens to the handshake, and not to STARTTLS.
    pub(crate) const fn is_of_hello(self) -> bool {
        matches!(
            self,
            Self::HelloReset | Self::HelloDropped | Self::HelloForged
        )
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
    /// Probability that it is behind the last router: only there may it be the server.
    pub(crate) at_end: f64,
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

impl Intact {
    pub(super) fn at(hop: u8, point: &ChangePoint, nodes: &Nodes) -> Self {
        Self {
            hop,
            segment: point.segment(),
            credible: point.credible(),
            places: nodes.places(point, Acts::InPassing),
        }
    }
}

/// One service's path.
pub(crate) struct Walk {
    pub(crate) report: PathReport,
    pub(crate) change: Option<Change>,
    /// STARTTLS arrived whole at every hop that quoted it.
    pub(crate) intact: Option<Intact>,
    /// ClientHellos arrive as far, and what becomes of them there.
    pub(crate) hello_intact: Option<(Kind, Intact)>,
    /// SYNs are told of up to the last hop before the address, as other ports' are, and no connection stood.
    pub(crate) syn_intact: Option<Intact>,
    /// The port answers at the same hop as other ports of the address.
    pub(crate) same_end: bool,
    /// What the interface carried.
    pub(crate) wire: Wire,
    /// A SYN that was answered was seen to leave: whoever answered is not on this host.
    pub(crate) syn_left: bool,
    /// No SYN to the port was seen to leave, and other ports' were.
    pub(crate) syn_never_left: bool,
    pub(crate) evidence: Vec<Evidence>,
    /// Innocent explanations, and what makes the path uncertain.
    pub(crate) innocent: Vec<String>,
    /// Traces that failed, and why.
    pub(crate) failures: Vec<String>,
    /// The routes differed while it was traced: no place may be named.
    pub(crate) unsteady: bool,
    /// The hops at which they differed; empty where they may have differed anywhere.
    pub(super) forks: BTreeSet<u8>,
    /// The path's nodes and what they belong to.
    pub(crate) nodes: Nodes,
    /// The measurement that is cited for the path as a whole.
    pub(crate) id: String,
}

impl Walk {
    /// Puts the change at one node, where that is known better than by the stretch around it. Whether it could be.
    pub(super) fn change_at(&mut self, node: u8) -> bool {
        let places = self.nodes.of_node(node).zip(self.change.as_mut());
        places
            .map(|(places, change)| change.places = places)
            .is_some()
    }
}

/// A trace with its measurement's identifier.
pub(crate) type Cited<'a> = (&'a str, &'a Trace);

pub(super) fn test<'s, 'a>(hop: &'s HopRead<'a>) -> &'s Side<'a> {
    &hop.test
}

pub(super) fn control<'s, 'a>(hop: &'s HopRead<'a>) -> &'s Side<'a> {
    &hop.control
}

/// The traces of one service and of what it is held against, read.
pub(super) struct Traced<'a> {
    pub(super) sweeps: Vec<Reading<'a>>,
    pub(super) syns: Vec<Reading<'a>>,
    /// Other ports of the same address.
    pub(super) others: Vec<Reading<'a>>,
    pub(super) distance: u8,
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
    let nodes = Nodes::of(&routers, traced.distance, service.address, Facing::Us, map);
    let mut walk = Walk {
        report: report(&traced, &routers, map),
        change: None,
        intact: None,
        hello_intact: None,
        syn_intact: None,
        same_end: false,
        wire: wire(&traced),
        syn_left: traced.syns.iter().any(syn_left),
        syn_never_left: syn_never_left(&traced),
        evidence: Vec::new(),
        innocent: Vec::new(),
        failures,
        unsteady: false,
        forks: BTreeSet::new(),
        nodes,
        id: own.first().map_or("", |(id, _)| *id).into(),
    };
    const LOOKS: [fn(&Traced<'_>, &mut Walk); 8] = [
        rewritten,
        answered,
        dropped,
        hello,
        terminated,
        blocked,
        forged,
        resets_from_nearer,
    ];
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
pub(super) fn routers(traced: &Traced<'_>) -> Vec<Vec<IpAddr>> {
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

pub(super) fn settle(
    walk: &mut Walk,
    point: ChangePoint,
    kind: Kind,
    acts: Acts,
    direct: bool,
    engine: Engine,
) {
    // Routers that share the load at one hop change nothing of what happens behind the hop where they meet again.
    let at = point.segment();
    let around = |fork: &u8| (at.after_hop..=at.up_to_hop).contains(fork);
    if !walk.forks.is_empty() && !walk.forks.iter().any(around) {
        walk.unsteady = false;
    }
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
    let routers = walk.report.hops.len();
    let behind = point
        .masses()
        .filter(|(hop, _)| usize::from(*hop) > routers);
    walk.change = Some(Change {
        at_end: behind.map(|(_, mass)| mass).sum(),
        kind,
        direct: direct && !walk.unsteady,
        engine,
        segment,
        credible,
        places: walk.nodes.places(&point, acts),
        first_hop: segment.up_to_hop <= 1,
    });
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
