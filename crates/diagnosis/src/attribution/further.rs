//! What lies beyond the target's own dialogues: hops, a witness, other vantages; joined to what the rules proposed.
//!
//! Three steps around the tables: what enters ([`gather`]), what it overturns ([`Further::overturn`]), and which place
//! may be named ([`Further::locate`]). Hops may prove that a refusal is not the server's; they never make an accusation
//! without a dialogue in which STARTTLS failed. It must not know rules of dialogues.

use alloc::{format, string::String, vec::Vec};
use hoofbeat_observation::Engine;
use hoofbeat_session::Outcome;

use super::{
    BORDER_RATIO, Bounds, COLUMNS, Posterior, Weighing,
    decision::{self, Facts},
    likelihood::{CLASSES, Group, LEAST, Observation, Row, State, TERMINATED},
};
use crate::{
    Credible, Encryption, Location, LocationClass, Mechanism, Segment, Verdict,
    bench::{Bench, Controls},
    evidence,
    judge::{Opinion, without_tls},
    path::{
        place::{PLACES, Places, leading},
        walk::{Change, Intact, Kind, Walk},
    },
    witness::testimony::Word,
};

/// A place leads the hop evidence from this share on.
const LEADS: f64 = 0.60;
/// What hop evidence says least of any class where it is not held against a control, or the direction is another one.
const LEAST_INDIRECT: f64 = 0.10;
/// A place is one side of a border from this share on.
const BORDER: f64 = 0.25;
/// The same where connections are seen to end short of the server.
const OVERTURNS_PROXIED: f64 = 0.60;
/// A posterior from which on a proposal against it is overturned.
const OVERTURNS: f64 = 0.70;
/// A place is plain from this share on: no border, no doubt between two.
const PLAIN: f64 = 0.80;

/// The further evidence on one service.
#[derive(Debug, Default)]
pub(crate) struct Further {
    rows: Vec<Weighing>,
    facts: Facts,
    segment: Option<Segment>,
    credible: Option<Credible>,
    raw_hops: bool,
    witness: bool,
    vantages: usize,
    /// Where hops lead.
    places: Option<Places>,
    /// Connections end at something that is not in front of the server: what it says is not the server's.
    proxied: bool,
    /// TLS with the witness ended at somebody else, who signs certificates of his own.
    intercepted: bool,
    /// Whether anything beyond dialogues lies before the judge, weighed or not.
    present: bool,
    /// A mechanism for an accusation that the rules did not make, and why.
    proposal: Option<(Mechanism, String)>,
    /// No place may be named, for the path was not steady.
    unsteady: bool,
}

/// Whether the mechanism is about the clear part of a session, where in-place changes show.
const fn in_the_clear(mechanism: Option<Mechanism>) -> bool {
    matches!(
        mechanism,
        None | Some(
            Mechanism::CapabilityMasked
                | Mechanism::CapabilityRemoved
                | Mechanism::CommandRewritten
                | Mechanism::CommandRefused
                | Mechanism::CommandDropped
                | Mechanism::EhloRefused
                | Mechanism::SessionProxied
                | Mechanism::BannerMasked
                | Mechanism::NotOffered
                | Mechanism::HiddenFromUs
                | Mechanism::TlsUnavailable
                | Mechanism::HandshakeReset
        )
    )
}

/// Gathers it, and adds its citations to the opinion. May turn a proposal into an accusation where the path itself
/// shows that the refusal was not the server's.
pub(crate) fn gather(bench: &Bench<'_, '_>, opinion: &mut Opinion) -> Further {
    let mut further = Further {
        present: bench.has_more(),
        ..Further::default()
    };
    if !further.present || matches!(opinion.verdict, Verdict::Clear) {
        return further;
    }
    if opinion.verdict == Verdict::Unreachable {
        further.closed(bench, opinion);
        return further;
    }
    further.facts.controls_clean = match bench.controls() {
        Controls::Clean => Some(true),
        Controls::Affected => Some(false),
        Controls::Silent => None,
    };
    if let Some(walk) = &bench.path {
        further.walk(bench, walk, opinion);
    }
    further.testimony(bench, opinion);
    further.others(bench, opinion);
    if opinion.state.is_none() && !further.rows.is_empty() && in_the_clear(opinion.mechanism) {
        let welcomed = bench.welcomed().next().is_some();
        if opinion.certain.is_none() && welcomed && !bench.is_proven() {
            opinion.state = Some(without_tls(bench));
        }
    }
    further
}

impl Further {
    /// What enters beside the tables' observations.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Weighing> + '_ {
        self.rows.iter().copied()
    }

    fn push(&mut self, bench: &Bench<'_, '_>, observation: Observation) -> bool {
        let weighing = Weighing::from(observation);
        let kept = !bench.leaves_out(weighing.group);
        if kept {
            self.rows.push(weighing);
        }
        kept
    }

    fn walk(&mut self, bench: &Bench<'_, '_>, walk: &Walk, opinion: &mut Opinion) {
        self.unsteady = walk.unsteady;
        if let Some(change) = &walk.change {
            self.change(bench, walk, change, opinion);
        } else if let Some(intact) = &walk.intact
            && in_the_clear(opinion.mechanism)
        {
            self.raw_hops = walk.report.engine == Engine::Raw;
            self.intact(bench, intact, opinion);
        }
        if walk.same_end {
            self.push(bench, Observation::SameTerminator);
        }
        if walk.unsteady {
            opinion.innocent.extend(walk.innocent.iter().cloned());
        }
    }

    /// Something happens on the path.
    fn change(
        &mut self,
        bench: &Bench<'_, '_>,
        walk: &Walk,
        change: &Change,
        opinion: &mut Opinion,
    ) {
        let ends = change.kind == Kind::Terminated;
        let group = if ends { Group::Terminator } else { Group::Path };
        let relevant = match change.kind {
            Kind::Terminated => true,
            Kind::Blocked => opinion.mechanism == Some(Mechanism::PortBlocked),
            _ => in_the_clear(opinion.mechanism),
        };
        if bench.leaves_out(group) || !relevant {
            return;
        }
        let corroborated = corroborates(bench, change.kind, opinion);
        // A box that changes the command says nothing where the command was accepted: then the sweep and the
        // dialogues met different things.
        if !ends && change.kind != Kind::Blocked && !corroborated {
            opinion.innocent.push("hops tell of something that the dialogues do not bear out: STARTTLS was answered there as by the server itself, so the hops are told and not weighed".into());
            return;
        }
        opinion.evidence.extend(walk.evidence.iter().cloned());
        if !walk.unsteady {
            opinion.innocent.extend(walk.innocent.iter().cloned());
        }
        let row = if ends {
            terminated_row(&change.places, change.direct)
        } else {
            place_row(
                &change.places,
                if change.direct { LEAST } else { LEAST_INDIRECT },
            )
        };
        self.rows.push(Weighing {
            group,
            name: change.kind.name(),
            row,
        });
        self.located(&change.places);
        self.segment = Some(change.segment);
        self.credible = Some(change.credible);
        self.raw_hops = change.engine == Engine::Raw;
        self.facts.first_hop = change.first_hop;
        if change.kind == Kind::Rewritten && change.direct {
            self.facts.shown_in_session = true;
            // Changed at the first hop already, and not as it was written when it left: then on this host.
            let wire = match walk.wire {
                None if walk.never_left => Some(false),
                told => told,
            };
            match wire.filter(|same| *same || change.first_hop) {
                Some(false) if self.push(bench, Observation::WireDiffers) => {
                    self.facts.wire_differs = true;
                    // What leaves this host's interface changed was changed on this host, whatever box it looks like.
                    self.replace_places(&[0.0, 0.0, 0.0, 0.0, 1.0]);
                }
                Some(true) if self.push(bench, Observation::WireEqual) => {
                    self.facts.wire_equal = true;
                }
                _ => {}
            }
        }
        let direct = change.direct && !ends && change.kind != Kind::Blocked;
        if direct {
            accuse(change, opinion);
        } else if ends
            && change.direct
            && leading(&change.places, PLAIN)
                .is_some_and(|place| place != LocationClass::ServerEdge)
        {
            self.proxied = true;
            if opinion.mechanism == Some(Mechanism::CertificateInvalid) {
                // That operators bungle certificates explains nothing of one that is not theirs.
                opinion.state = Some(State::Odd);
            }
            self.proposal = Some((
                Mechanism::SessionProxied,
                format!(
                    "connections to this port end at hop {}, nearer than the server: something else answers in its place",
                    change.segment.up_to_hop
                ),
            ));
        }
    }

    /// STARTTLS arrives whole as far as hops tell.
    fn intact(&mut self, bench: &Bench<'_, '_>, intact: &Intact, opinion: &mut Opinion) {
        if bench.leaves_out(Group::Path) {
            self.raw_hops = false;
            return;
        }
        let rewritten = opinion.observations.iter().any(|observation| {
            matches!(
                observation,
                Observation::AlteredEcho
                    | Observation::LikeUnknownImpossible
                    | Observation::SplitNoopFails
            )
        });
        if rewritten {
            // It is rewritten, and not up to there: so behind it.
            self.rows.push(Weighing {
                group: Group::Path,
                name: "whole-up-to-there",
                row: place_row(&intact.places, 2.0 * LEAST),
            });
            self.located(&intact.places);
            self.segment = Some(intact.segment);
            self.credible = Some(intact.credible);
            opinion.evidence.push(evidence::whole(
                bench.path_id(),
                LocationClass::Undetermined,
                format!("STARTTLS arrives whole at hop {}, the last that quotes it, and rewritten at the server: what rewrites it stands behind that hop", intact.hop),
                "",
            ));
            return;
        }
        let refused = bench
            .attempts()
            .iter()
            .any(|(hearing, step)| step.refused() && !hearing.is_ready(step));
        if refused {
            self.push(bench, Observation::CommandIntact);
        }
    }

    /// The place that hops lead to, or the border that they lie on.
    fn located(&mut self, places: &Places) {
        self.facts.hops = true;
        self.facts.place = leading(places, LEADS);
        self.places = Some(*places);
    }

    fn testimony(&mut self, bench: &Bench<'_, '_>, opinion: &mut Opinion) {
        let Some(testimony) = &bench.testimony else {
            return;
        };
        if testimony.unweighed.is_some() || bench.leaves_out(Group::Witness) {
            return;
        }
        opinion.evidence.extend(testimony.evidence.iter().cloned());
        opinion.innocent.extend(testimony.innocent.iter().cloned());
        match testimony.word {
            Some(Word::Clean) => {
                self.push(bench, Observation::WitnessClean);
                self.facts.witness_tampered = Some(false);
                self.witness = true;
                opinion.innocent.push("a witness that is spared proves nothing for a device that looks at the destination".into());
            }
            Some(Word::Tampered {
                to_server,
                to_client,
            }) => {
                self.push(bench, Observation::WitnessTampered);
                self.facts.witness_tampered = Some(true);
                self.witness = true;
                if testimony.intercepted {
                    self.intercepted = true;
                    if opinion.mechanism == Some(Mechanism::CertificateInvalid) {
                        opinion.state = Some(State::Odd);
                    }
                }
                let proposal = proposal(testimony.list.as_ref(), to_server, to_client);
                // What overwrites in place would have left its marks in the target's list as well.
                let fits = proposal.0 != Mechanism::CapabilityMasked || !bench.masks().is_empty();
                self.proposal = Some(proposal).filter(|_| fits);
            }
            Some(Word::Unreached) if opinion.mechanism == Some(Mechanism::PortBlocked) => {
                self.push(bench, Observation::WitnessUnreached);
            }
            Some(Word::Unreached) | None => {}
        }
        if testimony.syn_differs {
            self.push(bench, Observation::WitnessSynDiffers);
        }
        let Some(backward) = &testimony.backward else {
            return;
        };
        if bench.leaves_out(Group::Path) {
            return;
        }
        let forward = bench.path.as_ref().and_then(|walk| walk.change.as_ref());
        match (forward.filter(|_| self.segment.is_some()), &backward.places) {
            (Some(forward), _) => self.between(bench, forward, backward.segment),
            (None, Some(places)) => {
                self.rows.push(Weighing {
                    group: Group::Path,
                    name: "reply-quote-changed",
                    row: place_row(places, LEAST_INDIRECT / 2.0),
                });
                self.located(places);
                self.segment = self.segment.or(backward.segment);
                self.raw_hops = true;
            }
            (None, None) => {}
        }
    }

    /// Both directions change: a device that does both stands where the stretches touch.
    fn between(&mut self, bench: &Bench<'_, '_>, forward: &Change, backward: Option<Segment>) {
        let Some(backward) = backward else {
            return;
        };
        let exact = |segment: Segment| segment.up_to_hop == segment.after_hop + 1;
        if !exact(forward.segment) || !exact(backward) || forward.kind != Kind::Rewritten {
            return;
        }
        let node = if backward.up_to_hop == forward.segment.after_hop {
            forward.segment.after_hop
        } else if backward.after_hop == forward.segment.up_to_hop {
            forward.segment.up_to_hop
        } else {
            return;
        };
        let places = bench
            .path
            .as_ref()
            .and_then(|walk| walk.nodes.of_node(node));
        let Some(places) = places else {
            return;
        };
        self.replace_places(&places);
    }

    /// Puts a place that is known better into the hops' stead.
    fn replace_places(&mut self, places: &Places) {
        for row in &mut self.rows {
            if row.group == Group::Path {
                row.row = place_row(places, LEAST);
            }
        }
        self.located(places);
    }

    /// Whether an observation enters.
    pub(crate) fn admits(&self, bench: &Bench<'_, '_>, weighing: &Weighing) -> bool {
        // Whoever ends the connection words the refusal too, and lists what it likes.
        let servers_words = ["own-refusal", "like-unknown", "plain-list", "operator-mistake"];
        !(bench.leaves_out(weighing.group)
            || ((self.proxied || self.intercepted) && servers_words.contains(&weighing.name)))
    }

    fn others(&mut self, bench: &Bench<'_, '_>, opinion: &mut Opinion) {
        let others = &bench.others;
        if others.is_silent() {
            return;
        }
        for observation in &others.observations {
            self.push(bench, *observation);
            match observation {
                Observation::InsideClean => self.facts.inside_clean = Some(true),
                Observation::InsideStripped => self.facts.inside_clean = Some(false),
                _ => {}
            }
        }
        opinion.evidence.extend(others.evidence.iter().cloned());
        self.facts.peer_clean = others.peer;
        self.facts.tether_clean = others.tether;
        (self.facts.vantages_clean, self.facts.vantages_stripped) = others.seen;
        self.vantages = others.observations.len();
        if others.seen.0 > 0 {
            opinion.innocent.push("that other places see STARTTLS proves little alone: servers hide it by client address, and pools answer differently".into());
        }
    }

    /// Nobody answers: hops may show that a network, and not the server, closes the port.
    fn closed(&mut self, bench: &Bench<'_, '_>, opinion: &mut Opinion) {
        let Some(walk) = &bench.path else {
            return;
        };
        let Some(change) = walk.change.as_ref().filter(|change| {
            change.kind == Kind::Blocked && !walk.unsteady && !bench.leaves_out(Group::Path)
        }) else {
            return;
        };
        opinion.evidence.extend(walk.evidence.iter().cloned());
        let near = leading(&change.places, PLAIN).filter(|place| {
            matches!(
                place,
                LocationClass::AccessNetwork
                    | LocationClass::LocalNetwork
                    | LocationClass::ThisHost
            )
        });
        if near.is_none() {
            opinion
                .innocent
                .push("a closed port near the server is the server's operator's own choice".into());
            return;
        }
        opinion.verdict = Verdict::Interference;
        opinion.mechanism = Some(Mechanism::PortBlocked);
        opinion.encryption = Encryption::None;
        opinion.certain = None;
        opinion.state = Some(State::Closed);
        opinion.next = None;
        opinion.reason = format!(
            "port {} is closed on the way, between hop {} and hop {}, while other ports of the address answer",
            bench.service.port, change.segment.after_hop, change.segment.up_to_hop
        );
        opinion.innocent.push("a policy, not an attack: many providers and clouds close port 25 against spam, and say so in their terms".into());
        self.rows.push(Weighing {
            group: Group::Path,
            name: change.kind.name(),
            row: place_row(&change.places, LEAST),
        });
        self.located(&change.places);
        self.segment = Some(change.segment);
        self.credible = Some(change.credible);
        self.raw_hops = change.engine == Engine::Raw;
    }

    /// Overturns a proposal that the posterior contradicts and that a witness, hops or other vantages bear out.
    pub(crate) fn overturn(
        &mut self,
        bench: &Bench<'_, '_>,
        opinion: &mut Opinion,
        posterior: &Posterior,
    ) {
        if !self.present {
            return;
        }
        let unproven = matches!(opinion.verdict, Verdict::Server | Verdict::Inconclusive);
        let enough = if self.proxied {
            OVERTURNS_PROXIED
        } else {
            OVERTURNS
        };
        let failed = bench.offer() == crate::bench::Offer::Never
            || bench.attempts().iter().any(|(_, step)| step.refused());
        if unproven
            && failed
            && !bench.is_proven()
            && posterior.interference() >= enough
            && let Some((mechanism, reason)) = self.proposal.take()
        {
            opinion.verdict = Verdict::Interference;
            opinion.mechanism = Some(mechanism);
            opinion.encryption = Encryption::None;
            opinion.certain = None;
            opinion.reason = reason;
            opinion.innocent.push("the server may have no TLS besides; what is shown is that something on this side changes such sessions".into());
        }
        // A certificate that an operator might have bungled, where whoever ends connections is known not to be the server.
        if opinion.mechanism == Some(Mechanism::CertificateInvalid)
            && opinion.verdict == Verdict::Server
            && (self.proxied || self.intercepted)
            && posterior.interference() >= OVERTURNS_PROXIED
        {
            opinion.verdict = Verdict::Interference;
            opinion.mechanism = Some(Mechanism::TlsIntercepted);
            opinion.encryption = Encryption::Unverified;
            opinion.certain = None;
            opinion.reason = "the certificate does not verify, and connections from here end at something nearer than the server".into();
            opinion.innocent.push("a company's or a virus scanner's proxy does this with its user's consent; the encryption ends there all the same".into());
        }
        let [offers, policy, ..] = posterior.masses;
        if opinion.verdict == Verdict::Server
            && opinion.mechanism == Some(Mechanism::NotOffered)
            && self.facts.vantages_clean > 0
            && policy > offers
        {
            opinion.mechanism = Some(Mechanism::HiddenFromUs);
            opinion.reason = "the server offers STARTTLS to others and refuses it to this client in its own words: it decides by who asks".into();
        }
    }

    /// The facts that the rules' observations give to the decision table.
    fn with_opinion(&self, opinion: &Opinion) -> Facts {
        let has = |wanted: &[Observation]| {
            opinion
                .observations
                .iter()
                .any(|observation| wanted.contains(observation))
        };
        let mut facts = self.facts;
        facts.works_though_hidden = has(&[
            Observation::WorksThoughHidden,
            Observation::WorksThoughHiddenUnverified,
        ]);
        facts.shown_in_session |= facts.works_though_hidden
            || has(&[
                Observation::AlteredEcho,
                Observation::LikeUnknownImpossible,
                Observation::MaskInSlot,
                Observation::MaskPerhaps,
                Observation::MaskedGreeting,
                Observation::SplitNoopFails,
                Observation::KnownDeletion,
            ]);
        facts.own_refusal = has(&[Observation::OwnRefusal]);
        facts
    }

    /// The place, with what may be said of it.
    pub(crate) fn locate(
        &self,
        bench: &Bench<'_, '_>,
        opinion: &mut Opinion,
        posterior: &Posterior,
    ) -> Location {
        if !self.present && bench.settings.leave_out.is_empty() {
            return posterior.location(opinion.verdict, &Bounds::default());
        }
        let facts = self.with_opinion(opinion);
        let rule = decision::rule(&facts).filter(|_| opinion.verdict != Verdict::Inconclusive);
        let mut bounds = Bounds::with(self.raw_hops, self.witness, self.vantages);
        if let Some(rule) = rule {
            bounds.others = bounds.others.min(rule.most);
            bounds.third_party = bounds.third_party.min(rule.most);
        }
        let mut location = posterior.location(opinion.verdict, &bounds);
        if let Some(rule) = rule
            && location.class != LocationClass::Undetermined
            && !rule.may.contains(&location.class)
        {
            opinion.innocent.push(format!(
                "the tests together point elsewhere (rule {}) than their weights ({}): no place is named",
                rule.number, location.class
            ));
            location.class = LocationClass::Undetermined;
        }
        if let (Some(places), Some(state)) = (&self.places, opinion.state)
            && is_on_border(places, location.class, posterior, state)
        {
            opinion.innocent.push("the stretch lies where two networks meet, and nothing else tells whose side it is on: no place is named".into());
            location.class = LocationClass::Undetermined;
        }
        if self.unsteady && opinion.verdict == Verdict::Interference {
            location.class = LocationClass::Undetermined;
        }
        if opinion.verdict == Verdict::Interference {
            location.segment = self.segment;
            location.credible = self.credible;
        }
        location.weighed = posterior.weighed.clone();
        location
    }
}

/// The path shows that what fails is not the server's doing.
fn accuse(change: &Change, opinion: &mut Opinion) {
    let (mechanism, what) = match change.kind {
        Kind::Rewritten => (Mechanism::CommandRewritten, "is changed on its way"),
        Kind::Dropped => (Mechanism::CommandDropped, "is swallowed on its way"),
        Kind::Reset => (
            Mechanism::CommandDropped,
            "is answered by cutting the connection, short of the server",
        ),
        _ => (
            Mechanism::CommandRefused,
            "is answered by something nearer than the server",
        ),
    };
    if opinion.state.is_some() || opinion.certain.is_none() {
        let verdict = opinion.verdict;
        if matches!(verdict, Verdict::Server | Verdict::Inconclusive) {
            opinion.verdict = Verdict::Interference;
            opinion.mechanism = Some(mechanism);
            opinion.encryption = Encryption::None;
            opinion.certain = None;
            opinion.reason = format!(
                "STARTTLS {what}, between hop {} and hop {}",
                change.segment.after_hop, change.segment.up_to_hop
            );
            opinion.innocent.push("the server may have no TLS besides; what is shown is that the command does not arrive as it was sent".into());
        }
        if opinion.verdict == Verdict::Interference && opinion.certain.is_none() {
            opinion.state = Some(State::Altered);
        }
    }
}

/// Whether hops leave another place as well, and no other evidence tells it from the named one.
fn is_on_border(
    places: &Places,
    named: LocationClass,
    posterior: &Posterior,
    state: State,
) -> bool {
    PLACES
        .iter()
        .zip(places)
        .filter(|(class, share)| **class != named && **share >= BORDER)
        .any(|(class, _)| {
            named != LocationClass::Undetermined
                && posterior.evidence_ratio(state, named, *class) < BORDER_RATIO
        })
}

/// Whether a dialogue shows the failure that hops explain.
fn corroborates(bench: &Bench<'_, '_>, kind: Kind, opinion: &Opinion) -> bool {
    if opinion
        .observations
        .iter()
        .any(|observation| matches!(observation, Observation::OwnRefusal))
    {
        return false;
    }
    let attempts = bench.attempts();
    let any = |wanted: &dyn Fn(&Outcome, bool) -> bool| {
        attempts
            .iter()
            .any(|(_, step)| wanted(&step.exchange.outcome, step.refused()))
    };
    match kind {
        Kind::Rewritten | Kind::Answered | Kind::Forged => {
            any(&|_, refused| refused) || any(&|outcome, _| *outcome == Outcome::TimedOut)
        }
        Kind::Reset => any(&|outcome, _| matches!(outcome, Outcome::Reset | Outcome::Closed)),
        Kind::Dropped => any(&|outcome, _| *outcome == Outcome::TimedOut),
        Kind::Terminated | Kind::Blocked => true,
    }
}

/// `P(hop evidence | class)`: the share of each place, and the least for the server's own.
fn place_row(places: &Places, least: f64) -> Row {
    let mut row = [least; CLASSES];
    for (value, (class, own)) in row.iter_mut().zip(COLUMNS) {
        if own {
            continue;
        }
        let share = PLACES
            .iter()
            .zip(places)
            .find(|(place, _)| **place == class)
            .map_or(0.0, |(_, share)| *share);
        *value = share.max(least);
    }
    row
}

/// `P(the port ends nearer than others | class)`, over the places that it may end at. Without the TTL that its answers
/// came with, half of it may be a device that raises TTLs.
fn terminated_row(places: &Places, with_ttl: bool) -> Row {
    let mut row = [0.0; CLASSES];
    for (table, share) in TERMINATED.iter().zip(places) {
        for (value, of_place) in row.iter_mut().zip(table) {
            *value += share * of_place;
        }
    }
    if !with_ttl {
        let most = row.iter().copied().fold(0.0, f64::max);
        row.iter_mut().for_each(|value| *value += most / 2.0);
    }
    row
}

/// How a tampered witness words an accusation.
fn proposal(
    list: Option<&(String, String)>,
    to_server: bool,
    to_client: bool,
) -> (Mechanism, String) {
    if let Some((was, became)) = list
        && to_client
    {
        let hidden = was.to_ascii_uppercase();
        if hidden.contains("STARTTLS") || hidden.contains("STLS") {
            let mechanism = if was.len() == became.len() {
                Mechanism::CapabilityMasked
            } else {
                Mechanism::CapabilityRemoved
            };
            return (
                mechanism,
                format!(
                    "a cooperating server's \"{was}\" arrives here as \"{became}\": something on this side edits what servers offer"
                ),
            );
        }
    }
    if to_server && !to_client {
        return (
            Mechanism::CommandRewritten,
            "what is sent from here arrives changed at a cooperating server: something on this side edits commands".into(),
        );
    }
    (
        Mechanism::SessionProxied,
        "what a cooperating server sends and receives differs from what is received and sent here: something on this side edits such sessions".into(),
    )
}
