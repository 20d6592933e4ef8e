//! The same service seen from other places: what another machine, another network, or the server's own network says, and
//! what a cooperating server met there.
//!
//! Places are told apart by the labels that users gave, and where there are none by shortened addresses. Nothing is
//! inferred from a vantage that cannot be told from this one, nor from one of another day. It must not know weights.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::net::IpAddr;
use hoofbeat_observation::{
    Body, Look, Measurement, Report, Role, Service, Vantage, Variation,
    address::{SHORTENED_V4, SHORTENED_V6, shares_prefix},
};
use hoofbeat_session::Layer;

use crate::{
    Elsewhere, Evidence, Support, Verdict,
    attribution::likelihood::{Group, Observation},
    bench::is_welcomed,
    evidence,
    hearing::{Hearing, Step},
    witness::testimony::report_of,
};

/// Further apart than this, two measurements are not of the same time, in seconds.
const SAME_TIME: i64 = 24 * 3600;
/// Within this the server's own network and this place saw the same server, and not one that was mended in between.
const AT_ONCE: i64 = 3600;
/// As many networks count as many.
const MANY: usize = 5;
/// Most vantages that are read.
const MOST: usize = 256;

/// How another vantage lies to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    Inside,
    SameHost,
    SameNetwork,
    Apart,
}

/// One vantage's word on the service.
struct Said {
    relation: Relation,
    clean: bool,
    /// Seconds between that measurement and this place's.
    apart: u64,
    network: String,
    evidence: Evidence,
}

/// What other vantages say together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Others {
    /// What enters the tables.
    pub(crate) observations: Vec<Observation>,
    /// Citations.
    pub(crate) evidence: Vec<Evidence>,
    /// Vantages that count for nothing, and why.
    pub(crate) unweighed: Vec<String>,
    /// What cooperating servers met when they looked, as sentences.
    pub(crate) looks: Vec<String>,
    /// Another host of the same network is clean.
    pub(crate) peer: Option<bool>,
    /// The same host in another network is clean.
    pub(crate) tether: Option<bool>,
    /// Everybody inside the server's network looked within an hour of this place.
    pub(crate) inside_at_once: bool,
    /// Clean and stripped vantages, of those that are apart or the same host elsewhere.
    pub(crate) seen: (usize, usize),
}

impl Others {
    /// Whether anything was said.
    pub(crate) fn is_silent(&self) -> bool {
        self.observations.is_empty()
    }
}

/// Hears every other vantage on one service: what they measured, and what witnesses met that this place asked to look.
pub(crate) fn hear(
    service: &Service,
    here: &Measurement,
    elsewhere: &[Elsewhere<'_>],
    own: &[Measurement],
    left_out: impl Fn(Group) -> bool,
) -> Others {
    let (here, started) = (&here.vantage, here.started);
    let mut others = Others::default();
    let mut said = looks(service, own, &mut others.unweighed);
    others.looks = said.iter().map(|one| one.evidence.claim.clone()).collect();
    for place in elsewhere.iter().take(MOST) {
        let name = name(place.vantage);
        let Some((clean, when, evidence)) = view(service, place, &name) else {
            continue;
        };
        if when.abs_diff(started) > SAME_TIME.unsigned_abs() {
            let hours = when.abs_diff(started) / 3600;
            others.unweighed.push(format!(
                "{name} was measured {hours} hours apart from here: not the same time, so it is not weighed"
            ));
            continue;
        }
        let Some(relation) = relation(here, place.vantage) else {
            others.unweighed.push(format!(
                "{name} cannot be told from this vantage (no labels, and no differing addresses), so it is not weighed"
            ));
            continue;
        };
        said.push(Said {
            relation,
            clean,
            apart: when.abs_diff(started),
            network: network(place.vantage),
            evidence,
        });
    }
    let of = |relation: Relation| -> Vec<&Said> {
        said.iter().filter(|one| one.relation == relation).collect()
    };
    let unanimous = |all: &[&Said]| -> Option<bool> {
        let first = all.first()?.clean;
        all.iter().all(|one| one.clean == first).then_some(first)
    };
    let mut add = |group: Group, observation: Observation, cited: &[&Said]| {
        if !left_out(group) {
            others.observations.push(observation);
            others
                .evidence
                .extend(cited.iter().take(3).map(|one| one.evidence.clone()));
        }
    };
    let inside = of(Relation::Inside);
    let at_once = |one: &&Said| one.apart <= AT_ONCE.unsigned_abs();
    let inside_at_once = !inside.is_empty() && inside.iter().all(at_once);
    match unanimous(&inside) {
        Some(true) => add(Group::Inside, Observation::InsideClean, &inside),
        Some(false) => add(Group::Inside, Observation::InsideStripped, &inside),
        None => {}
    }
    let peers = of(Relation::SameNetwork);
    let peer = unanimous(&peers);
    match peer {
        Some(true) => add(Group::Peer, Observation::PeerClean, &peers),
        Some(false) => add(Group::Peer, Observation::PeerStripped, &peers),
        None => {}
    }
    let tethers = of(Relation::SameHost);
    let tether = unanimous(&tethers);
    match tether {
        Some(true) => add(Group::Tether, Observation::TetherClean, &tethers),
        Some(false) => add(Group::Tether, Observation::TetherStripped, &tethers),
        None => {}
    }
    let apart = of(Relation::Apart);
    let networks = |clean: bool| -> BTreeSet<&str> {
        apart
            .iter()
            .filter(|one| one.clean == clean)
            .map(|one| one.network.as_str())
            .collect()
    };
    let (clean, stripped) = (networks(true).len(), networks(false).len());
    match (clean, stripped) {
        (0, 0) => {}
        (_, 0) if clean >= MANY => add(Group::Vantages, Observation::ManyVantagesClean, &apart),
        (_, 0) => add(Group::Vantages, Observation::FewVantagesClean, &apart),
        (0, _) if stripped >= MANY => {
            add(Group::Vantages, Observation::VantagesStripped, &apart);
        }
        (0, _) => add(Group::Vantages, Observation::FewVantagesStripped, &apart),
        _ => add(Group::Vantages, Observation::VantagesDiffer, &apart),
    }
    let weighed = |group: Group| !left_out(group);
    others.inside_at_once = inside_at_once;
    others.peer = peer.filter(|_| weighed(Group::Peer));
    others.tether = tether.filter(|_| weighed(Group::Tether));
    for one in &said {
        let counts = match one.relation {
            Relation::Apart => weighed(Group::Vantages),
            Relation::SameHost => weighed(Group::Tether),
            _ => false,
        };
        if counts && one.clean {
            others.seen.0 += 1;
        } else if counts {
            others.seen.1 += 1;
        }
    }
    others
}

/// What signed reports of witnesses tell of the service.
fn looks(service: &Service, own: &[Measurement], unweighed: &mut Vec<String>) -> Vec<Said> {
    let mut said = Vec::new();
    for measurement in own {
        let Some(visit) = measurement.visit() else {
            continue;
        };
        let Some(report) = report_of(visit) else {
            continue;
        };
        let name = format!("the witness {}", visit.host);
        for look in report.looks.iter().filter(|look| look.service == *service) {
            match look_of(look, &report, measurement, own, &name) {
                Ok(one) => said.push(one),
                Err(why) => unweighed.push(format!("{name} {why}")),
            }
        }
    }
    said
}

/// One look as a vantage's word, or why it counts for nothing.
fn look_of(
    look: &Look,
    report: &Report,
    visit: &Measurement,
    own: &[Measurement],
    name: &str,
) -> Result<Said, String> {
    let Some(dialogue) = &look.dialogue else {
        let why = look.declined.as_deref().unwrap_or("it did not end in time");
        return Err(format!("did not look at the server: {why}"));
    };
    if dialogue.connect.established.is_none() {
        return Err(
            "reaches no connection there: many hosters close mail ports outwards, so it is not weighed"
                .into(),
        );
    }
    let local = dialogue.connect.local.as_deref();
    let local = local.and_then(|local| local.parse::<core::net::SocketAddr>().ok());
    // A witness has an address of each family, and we know at least one of them.
    let ours = own
        .iter()
        .filter_map(Measurement::dialogue)
        .filter(|dialogue| matches!(dialogue.role, Role::Witness { .. }))
        .filter_map(|dialogue| dialogue.service.address);
    let client = Vantage {
        address: Some(report.client),
        ..Vantage::default()
    };
    let addresses: BTreeSet<IpAddr> = local
        .map(|local| local.ip().to_canonical())
        .into_iter()
        .chain(ours)
        .filter(|address| address.is_ipv4() == report.client.is_ipv4())
        .collect();
    let apart = |address: &IpAddr| {
        let there = Vantage {
            address: Some(*address),
            ..Vantage::default()
        };
        relation(&client, &there) == Some(Relation::Apart)
    };
    if addresses.is_empty() || !addresses.iter().all(apart) {
        return Err("stands in this network, so its look at the server is not weighed".into());
    }
    let measured = Measurement {
        body: Body::Dialogue(dialogue.clone()),
        ..visit.clone()
    };
    let vantage = Vantage {
        address: addresses.first().copied(),
        ..Vantage::default()
    };
    let place = Elsewhere {
        vantage: &vantage,
        measurements: core::slice::from_ref(&measured),
    };
    let Some((clean, _, evidence)) = view(&look.service, &place, name) else {
        return Err("met neither an offer of STARTTLS nor its absence there".into());
    };
    Ok(Said {
        relation: Relation::Apart,
        clean,
        // It was made for this very check; clocks may differ by hours.
        apart: 0,
        network: network(&vantage),
        // Steps and bytes would count in the report's dialogue, not in the measurement that is cited.
        evidence: Evidence {
            step: None,
            bytes: None,
            ..evidence
        },
    })
}

fn name(vantage: &Vantage) -> String {
    match (&vantage.name, &vantage.host, &vantage.network) {
        (Some(name), ..) => name.clone(),
        (None, Some(host), Some(network)) => format!("{host} at {network}"),
        (None, Some(only), None) | (None, None, Some(only)) => only.clone(),
        (None, None, None) => vantage
            .address
            .map_or_else(|| "another vantage".into(), |address| format!("{address}")),
    }
}

/// The network that a vantage counts for.
fn network(vantage: &Vantage) -> String {
    match (&vantage.network, vantage.address) {
        (Some(label), _) => label.clone(),
        (None, Some(IpAddr::V4(address))) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        (None, Some(IpAddr::V6(address))) => {
            let [a, b, c, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
        (None, None) => String::new(),
    }
}

fn relation(here: &Vantage, there: &Vantage) -> Option<Relation> {
    if there.inside && !here.inside {
        return Some(Relation::Inside);
    }
    let same = |a: &Option<String>, b: &Option<String>| match (a, b) {
        (Some(a), Some(b)) => Some(a.eq_ignore_ascii_case(b)),
        _ => None,
    };
    match (
        same(&here.host, &there.host),
        same(&here.network, &there.network),
    ) {
        (Some(true), Some(false)) => Some(Relation::SameHost),
        (Some(false), Some(true)) => Some(Relation::SameNetwork),
        (Some(false), Some(false)) => Some(Relation::Apart),
        // The same place once more is a repetition.
        (Some(true), Some(true)) => None,
        _ => {
            let (Some(a), Some(b)) = (here.address, there.address) else {
                return None;
            };
            let length = if a.is_ipv4() {
                SHORTENED_V4
            } else {
                SHORTENED_V6
            };
            // An IPv4 and an IPv6 address may be one machine's.
            (a.is_ipv4() == b.is_ipv4() && !shares_prefix(a, b, length)).then_some(Relation::Apart)
        }
    }
}

/// Whether STARTTLS works from there, when that was, and the citation. None where nothing is known.
fn view(service: &Service, place: &Elsewhere<'_>, name: &str) -> Option<(bool, i64, Evidence)> {
    let mut best: Option<(Tells, i64, Evidence)> = None;
    for measurement in place.measurements {
        let Some(dialogue) = measurement.dialogue() else {
            continue;
        };
        let same = dialogue.role == Role::Target
            && dialogue.service.host.eq_ignore_ascii_case(&service.host)
            && dialogue.service.scheme == service.scheme
            && dialogue.service.port == service.port;
        // What gets past a box by another spelling does not show that ordinary clients do.
        let ordinary = matches!(
            dialogue.variation,
            Variation::Baseline | Variation::Differential | Variation::Repeat | Variation::Recorded
        );
        if !same || !ordinary {
            continue;
        }
        let Some(hearing) = Hearing::of(measurement) else {
            continue;
        };
        let Some((tells, supports, claim)) = works(&hearing, name) else {
            continue;
        };
        let step = hearing
            .list(Layer::Plain)
            .map(|list| list.step)
            .or_else(|| hearing.greeting());
        let evidence = match step {
            Some(step) => evidence::reply(&hearing, step, supports, claim),
            None => evidence::whole(hearing.id, supports, claim, ""),
        };
        // One connection that works shows that the service does, from there; failures may have other reasons.
        if best.as_ref().is_none_or(|(before, ..)| *before < tells) {
            best = Some((tells, measurement.started, evidence));
        }
    }
    let (tells, when, evidence) = best?;
    Some((
        matches!(tells, Tells::Offered | Tells::Works),
        when,
        evidence,
    ))
}

/// What one connection from another place tells, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tells {
    /// STARTTLS is not offered, or refused.
    Stripped,
    Offered,
    /// It is offered, and nobody answers it: more than an offer that nobody took up.
    Unanswered,
    Works,
}

fn works(hearing: &Hearing<'_>, name: &str) -> Option<(Tells, Support, String)> {
    // Works although it is hidden: then it is hidden there too.
    if hearing.completed().is_some() && hearing.offered() != Some(false) {
        return Some((
            Tells::Works,
            Verdict::Clear.into(),
            format!("from {name}, TLS comes up"),
        ));
    }
    // A handshake that fails there as well clears nobody, and is no other place's doing either.
    let broke = hearing.completed().is_none()
        && (hearing.dialogue.handshake.is_some()
            || hearing.upgrades().any(|step| hearing.is_ready(step)));
    if !is_welcomed(hearing) || broke {
        return None;
    }
    let refused = hearing
        .upgrades()
        .any(|step| step.refused() || (step.positive() && !hearing.is_ready(step)));
    match hearing.offered()? {
        true if hearing.upgrades().any(Step::unanswered) => Some((
            Tells::Unanswered,
            Verdict::Inconclusive.into(),
            format!("from {name}, STARTTLS is offered and gets no answer either"),
        )),
        true if refused => Some((
            Tells::Stripped,
            Verdict::Inconclusive.into(),
            format!("from {name}, STARTTLS is offered and refused as well"),
        )),
        true => Some((
            Tells::Offered,
            Verdict::Clear.into(),
            format!("from {name}, STARTTLS is offered"),
        )),
        false => Some((
            Tells::Stripped,
            Verdict::Inconclusive.into(),
            format!("from {name}, STARTTLS is not offered either"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::str::FromStr;

    fn vantage(host: Option<&str>, network: Option<&str>, address: Option<&str>) -> Vantage {
        Vantage {
            host: host.map(Into::into),
            network: network.map(Into::into),
            address: address.map(|address| IpAddr::from_str(address).unwrap()),
            ..Vantage::default()
        }
    }

    #[test]
    fn labels_decide_and_addresses_where_there_are_none() {
        let here = vantage(Some("laptop"), Some("mobile"), Some("198.18.1.7"));
        let to = |there: Vantage| relation(&here, &there);
        assert_eq!(
            to(vantage(Some("laptop"), Some("cafe"), None)),
            Some(Relation::SameHost)
        );
        assert_eq!(
            to(vantage(Some("pad"), Some("Mobile"), None)),
            Some(Relation::SameNetwork)
        );
        assert_eq!(
            to(vantage(Some("pad"), Some("cafe"), None)),
            Some(Relation::Apart)
        );
        assert_eq!(
            to(vantage(Some("laptop"), Some("mobile"), Some("203.0.113.9"))),
            None
        );
        assert_eq!(to(vantage(None, None, Some("198.18.1.200"))), None);
        assert_eq!(
            to(vantage(None, None, Some("198.18.2.7"))),
            Some(Relation::Apart)
        );
        assert_eq!(to(vantage(None, None, Some("2001:db8::1"))), None);
        assert_eq!(to(vantage(None, Some("cafe"), None)), None);
        let inside = Vantage {
            inside: true,
            ..Vantage::default()
        };
        assert_eq!(to(inside), Some(Relation::Inside));
    }
}
