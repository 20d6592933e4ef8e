//! What hops add: a change, a proxy, a blocked port, a command that never left.
//!
//! They may prove that a refusal is not the server's; they never accuse without a dialogue in which STARTTLS failed.
//! It must not know how a place is named.

use alloc::format;
use hoofbeat_observation::{Engine, HandshakeOutcome};
use hoofbeat_session::Outcome;

use super::{Further, LEAST_INDIRECT, in_the_clear, place_row};
use crate::{
    Encryption, LocationClass, Mechanism, Segment, Verdict,
    attribution::{
        Weighing,
        likelihood::{CLASSES, Group, LEAST, LEAST_FOLLOWED, Observation, Row, State, TERMINATED},
    },
    bench::Bench,
    evidence,
    judge::Opinion,
    path::{
        place::{Places, leading},
        walk::{Change, Intact, Kind, Walk},
    },
};

/// A place is plain from this share on: no border, no doubt between two.
const PLAIN: f64 = 0.80;

impl Further {
    pub(super) fn walk(&mut self, bench: &Bench<'_, '_>, walk: &Walk, opinion: &mut Opinion) {
        self.unsteady = walk.unsteady;
        if walk.wire.never_left && walk.change.as_ref().is_none_or(|change| !change.first_hop) {
            self.never_left(bench, opinion);
        } else if let Some(change) = &walk.change {
            self.change(bench, walk, change, opinion);
        } else if let Some(intact) = &walk.intact
            && in_the_clear(opinion.mechanism)
        {
            self.raw_hops = walk.report.engine == Engine::Raw;
            self.intact(bench, intact, opinion);
        }
        if let Some((kind, intact)) = &walk.hello_intact {
            self.hello_intact(bench, *kind, intact, opinion);
        }
        // A proxy on this host would end other ports as well; what edits on this host does not.
        if walk.same_end && !self.facts.wire_differs {
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
            kind if kind.is_of_hello() => matches!(
                opinion.mechanism,
                Some(
                    Mechanism::HandshakeReset
                        | Mechanism::HandshakeBlackholed
                        | Mechanism::StarttlsBroken
                )
            ),
            _ => in_the_clear(opinion.mechanism),
        };
        if bench.leaves_out(group) || !relevant {
            return;
        }
        let corroborated = corroborates(bench, change.kind, opinion);
        // A box that changes the command says nothing where the command was accepted: then the sweep and the
        // dialogues met different things.
        if !ends && change.kind != Kind::Blocked && !corroborated {
            if change.kind.is_of_hello() {
                return;
            }
            opinion.innocent.push("hops tell of something that the dialogues do not bear out: STARTTLS was answered there as by the server itself, so the hops are told and not weighed".into());
            return;
        }
        opinion.evidence.extend(walk.evidence.iter().cloned());
        if !walk.unsteady {
            opinion.innocent.extend(walk.innocent.iter().cloned());
        }
        let row = match (ends, change.direct) {
            (true, with_ttl) => terminated_row(&change.places, with_ttl, LEAST_FOLLOWED),
            (false, true) => place_row(&change.places, LEAST_FOLLOWED),
            (false, false) => place_row(&change.places, LEAST_INDIRECT),
        };
        self.rows.push(Weighing::of_hops(
            group,
            change.kind.name(),
            row,
            change.direct,
        ));
        self.located(&change.places);
        self.segment = Some(change.segment);
        self.credible = Some(change.credible);
        self.raw_hops = change.engine == Engine::Raw;
        self.facts.first_hop = change.first_hop;
        let of_the_flow = !ends && change.kind != Kind::Blocked;
        if of_the_flow && change.direct {
            self.facts.shown_in_session |= change.kind == Kind::Rewritten;

            if change.kind.is_of_hello() {
                accuse_of_hello(change, opinion);
            } else {
                accuse(change, opinion);
            }
        }
        // Whatever routes packets took beyond this host, an answer that was given on it came over none of them.
        if of_the_flow && (change.direct || walk.wire.answered_here) {
            self.wire(bench, walk, change, opinion);
        } else if ends && change.direct && change.first_hop {
            self.answered_here(bench, walk);
        }
        if ends
            && change.direct
            && (change.first_hop
                || leading(&change.places, PLAIN)
                    .is_some_and(|place| place != LocationClass::ServerEdge))
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

    /// Somebody answers at the first TTL: the interface tells whether the SYN ever left this host.
    fn answered_here(&mut self, bench: &Bench<'_, '_>, walk: &Walk) {
        if walk.syn_never_left {
            if self.push(bench, Observation::WireDiffers) {
                self.facts.wire_differs = true;
                self.located(&[0.0, 0.0, 0.0, 0.0, 1.0]);
            }
        } else if walk.syn_left && self.push(bench, Observation::WireEqual) {
            self.facts.wire_equal = true;
        }
    }

    /// What the interface carried: where something happens before the first hop already, it tells this host from what
    /// stands next to it.
    fn wire(&mut self, bench: &Bench<'_, '_>, walk: &Walk, change: &Change, opinion: &mut Opinion) {
        let (wire, differs) = match walk.wire {
            wire if wire.answered_here => (Some(false), Observation::AnsweredHere),
            wire if wire.same.is_none() && wire.never_left => {
                (Some(false), Observation::WireDiffers)
            }
            wire => (wire.same, Observation::WireDiffers),
        };
        match wire.filter(|same| *same || change.first_hop) {
            Some(false) if self.push(bench, differs) => {
                if differs == Observation::AnsweredHere {
                    let what = if change.kind.is_of_hello() {
                        "a ClientHello"
                    } else {
                        "STARTTLS"
                    };
                    opinion.evidence.push(evidence::whole(
                        bench.path_id(),
                        LocationClass::ThisHost,
                        format!("the answer to {what} was captured before {what} itself had passed this computer's interface: nobody beyond it can have given that answer"),
                        "",
                    ));
                }
                self.facts.wire_differs = true;
                opinion.state = opinion.state.map(|_| State::AlteredHere);
                // What leaves this host's interface changed was changed on this host, whatever box it looks like.
                self.replace_places(&[0.0, 0.0, 0.0, 0.0, 1.0]);
            }
            Some(true) if self.push(bench, Observation::WireEqual) => {
                self.facts.wire_equal = true;
            }
            _ => {}
        }
    }

    /// Control commands leave the interface as they were written, and STARTTLS never does: hops cannot tell of what
    /// they never got.
    fn never_left(&mut self, bench: &Bench<'_, '_>, opinion: &mut Opinion) {
        let group = Group::Path;
        if bench.leaves_out(group) || !in_the_clear(opinion.mechanism) {
            return;
        }
        let failed = bench.attempts().iter().any(|(_, step)| {
            step.refused() || matches!(step.exchange.outcome, Outcome::TimedOut | Outcome::Reset)
        });
        // The server's own words are an answer to what arrived there: then the capture missed something.
        let answered = opinion.observations.contains(&Observation::OwnRefusal);
        if !failed || answered || !self.push(bench, Observation::WireDiffers) {
            return;
        }
        self.proposal = Some((
            Mechanism::CommandRewritten,
            "STARTTLS does not leave this computer as it was written".into(),
        ));
        self.facts.wire_differs = true;
        self.facts.first_hop = true;
        self.raw_hops = true;
        if opinion.verdict == Verdict::Interference && opinion.certain.is_none() {
            opinion.state = Some(State::AlteredHere);
        }
        let host = [0.0, 0.0, 0.0, 0.0, 1.0];
        let row = place_row(&host, LEAST_FOLLOWED);
        self.rows
            .push(Weighing::of_hops(group, "never-left-this-host", row, true));
        self.located(&host);
        self.segment = Some(Segment {
            after_hop: 0,
            up_to_hop: 1,
        });
        opinion.evidence.push(evidence::whole(
            bench.path_id(),
            LocationClass::ThisHost,
            "every control command was captured as it left this computer's interface, and STARTTLS never was: something on this computer took or changed it before",
            "",
        ));
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
            self.rows.push(Weighing::of_hops(
                Group::Path,
                "whole-up-to-there",
                place_row(&intact.places, 2.0 * LEAST),
                false,
            ));
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
        let attempts = bench.attempts();
        let refused = attempts
            .iter()
            .any(|(hearing, step)| step.refused() && !hearing.is_ready(step));
        // An answer may be changed on its way back; where none comes, it is the command that ended somewhere.
        let unanswered = attempts.iter().any(|(_, step)| step.unanswered());
        if unanswered && !refused {
            self.behind(
                bench,
                intact,
                "STARTTLS is",
                "it is left without an answer by the server or right in front of it, unless the answer is stopped on its way back",
                opinion,
            );
        }
        if refused {
            self.push(bench, Observation::CommandIntact);
        }
    }

    /// ClientHellos travel to the last hop and fail behind it: a place to look, and nobody to accuse.
    fn hello_intact(
        &mut self,
        bench: &Bench<'_, '_>,
        kind: Kind,
        intact: &Intact,
        opinion: &mut Opinion,
    ) {
        if !matches!(opinion.verdict, Verdict::Server | Verdict::Inconclusive)
            || bench.leaves_out(Group::Path)
            || !corroborates(bench, kind, opinion)
        {
            return;
        }
        let what = match kind {
            Kind::HelloReset => {
                "what resets the handshake is the server, or stands right in front of it"
            }
            _ => {
                "they are swallowed by the server or right in front of it, unless the answer is stopped on its way back"
            }
        };
        self.behind(bench, intact, "ClientHellos are", what, opinion);
    }

    /// What fails travels to the last hop that tells, and fails behind it.
    fn behind(
        &mut self,
        bench: &Bench<'_, '_>,
        intact: &Intact,
        whose: &str,
        what: &str,
        opinion: &mut Opinion,
    ) {
        self.behind = Some((intact.segment, intact.credible));
        opinion.evidence.push(evidence::whole(
            bench.path_id(),
            LocationClass::Undetermined,
            format!(
                "{whose} told of up to hop {} like any other packet: {what}",
                intact.hop
            ),
            "",
        ));
    }

    /// Nobody answers: hops may show that a network, and not the server, closes the port.
    pub(super) fn closed(&mut self, bench: &Bench<'_, '_>, opinion: &mut Opinion) {
        let Some(walk) = &bench.path else {
            return;
        };
        if bench.leaves_out(Group::Path) || walk.unsteady {
            return;
        }
        if let Some(intact) = &walk.syn_intact {
            self.behind(
                bench,
                intact,
                "SYNs to the port are",
                "what closes it is the server, or stands right in front of it",
                opinion,
            );
            let [front, ..] = intact.places;
            let mut row = place_row(&intact.places, LEAST_INDIRECT);
            row[0] = front;
            row[1] = front;
            let name = "closed-at-the-end";
            self.rows
                .push(Weighing::of_hops(Group::Path, name, row, false));
        }
        let change = walk.change.as_ref();
        let Some(change) = change.filter(|change| change.kind == Kind::Blocked) else {
            return;
        };
        opinion.evidence.extend(walk.evidence.iter().cloned());
        opinion.state = Some(State::Closed);
        self.segment = Some(change.segment);
        self.credible = Some(change.credible);
        self.raw_hops = change.engine == Engine::Raw;
        let mut places = change.places;
        if walk.syn_never_left && self.push(bench, Observation::WireDiffers) {
            // What never left this host's interface was stopped on this host.
            places = [0.0, 0.0, 0.0, 0.0, 1.0];
            self.facts.wire_differs = true;
        } else if change.first_hop && walk.syn_left && self.push(bench, Observation::WireEqual) {
            self.facts.wire_equal = true;
        }
        self.located(&places);
        // Who complains is known by address; whoever is silent behind the last router may be the server, and whoever is
        // silent before it, where other ports' packets go on, is not.
        let row = if change.direct {
            place_row(&places, LEAST)
        } else {
            let mut row = terminated_row(&places, true, LEAST);
            for own in row.iter_mut().take(2) {
                *own = (*own * change.at_end).max(LEAST / 2.0);
            }
            row
        };
        self.rows.push(Weighing::of_hops(
            Group::Path,
            change.kind.name(),
            row,
            false,
        ));
        let [front, ..] = places;
        if front > 1.0 - PLAIN {
            opinion
                .innocent
                .push("a closed port near the server is the server's operator's own choice".into());
            return;
        }
        opinion.verdict = Verdict::Interference;
        opinion.mechanism = Some(Mechanism::PortBlocked);
        opinion.encryption = Encryption::None;
        opinion.certain = None;
        opinion.next = None;
        opinion.reason = format!(
            "port {} is closed on the way, between hop {} and hop {}, while other ports of the address answer",
            bench.service.port, change.segment.after_hop, change.segment.up_to_hop
        );
        opinion.innocent.push("a policy, not an attack: many providers and clouds close port 25 against spam, and say so in their terms".into());
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

/// The path shows that what breaks the handshake is not the server.
fn accuse_of_hello(change: &Change, opinion: &mut Opinion) {
    let (mechanism, what) = match change.kind {
        Kind::HelloReset | Kind::HelloForged => (Mechanism::HandshakeReset, "answered by a reset"),
        _ => (Mechanism::HandshakeBlackholed, "swallowed"),
    };
    if opinion.certain.is_some() {
        return;
    }
    if matches!(opinion.verdict, Verdict::Server | Verdict::Inconclusive) {
        opinion.verdict = Verdict::Interference;
        opinion.mechanism = Some(mechanism);
        opinion.encryption = Encryption::None;
        opinion.reason = format!(
            "STARTTLS is accepted, and the first message of TLS is {what} on its way, between hop {} and hop {}",
            change.segment.after_hop, change.segment.up_to_hop
        );
    }
    if opinion.verdict == Verdict::Interference {
        opinion.state = Some(State::Altered);
    }
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
    // What completed once is not what the path forbids, and an alert is the server's own voice.
    let handshake = |wanted: &HandshakeOutcome| {
        let handshakes = bench
            .hearings
            .iter()
            .filter_map(|hearing| hearing.handshake());
        let mut met = handshakes.map(|handshake| &handshake.outcome).peekable();
        met.peek().is_some() && met.all(|outcome| outcome == wanted)
    };
    match kind {
        Kind::Rewritten | Kind::Answered => {
            any(&|_, refused| refused) || any(&|outcome, _| *outcome == Outcome::TimedOut)
        }
        // Whoever answers with another TTL refuses, or ends the connection.
        Kind::Forged => attempts
            .iter()
            .any(|(_, step)| step.refused() || step.unanswered()),
        Kind::Reset => any(&|outcome, _| matches!(outcome, Outcome::Reset | Outcome::Closed)),
        Kind::Dropped => any(&|outcome, _| *outcome == Outcome::TimedOut),
        Kind::HelloReset | Kind::HelloForged => handshake(&HandshakeOutcome::Reset),
        Kind::HelloDropped => handshake(&HandshakeOutcome::TimedOut),
        Kind::Terminated | Kind::Blocked => true,
    }
}

/// `P(the port ends nearer than others | class)`, over the places that it may end at. Where its answers came with
/// the TTL of that distance, the place itself counts, and only in front of the server may it be the server's own;
/// otherwise half of it may be a device that raises TTLs.
fn terminated_row(places: &Places, with_ttl: bool, least: f64) -> Row {
    let mut row = [0.0; CLASSES];
    for (table, share) in TERMINATED.iter().zip(places) {
        for (value, of_place) in row.iter_mut().zip(table) {
            *value += share * of_place;
        }
    }
    if !with_ttl {
        let most = row.iter().copied().fold(0.0, f64::max);
        row.iter_mut().for_each(|value| *value += most / 2.0);
        return row;
    }
    let [edge_of_server, edge_of_policy, edge, ..] = TERMINATED[0];
    let mut placed = place_row(places, least);
    let front = places.first().copied().unwrap_or(0.0);
    placed[0] = (front * edge_of_server / edge).max(LEAST / 2.0);
    placed[1] = (front * edge_of_policy / edge).max(LEAST / 2.0);
    placed
}
