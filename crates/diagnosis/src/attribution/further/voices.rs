//! What a witness and other vantages add.
//!
//! It must not know how a report was checked, nor how vantages are told apart.

use alloc::{format, string::String};
use hoofbeat_observation::HandshakeOutcome;

use super::{Further, place_row};
use crate::{
    Mechanism, Segment,
    attribution::{
        Weighing,
        likelihood::{Group, LEAST, Observation, State},
    },
    bench::{Bench, Offer},
    judge::Opinion,
    path::walk::{Change, Kind},
    witness::testimony::Word,
};

impl Further {
    /// The port is closed, and the witness answers on it: what closes it is not on the part of the path that both share.
    pub(super) fn spared(&mut self, bench: &Bench<'_, '_>, opinion: &mut Opinion) {
        let testimony = bench.testimony.as_ref();
        let clean = testimony.is_some_and(|testimony| testimony.word == Some(Word::Clean));
        if clean && opinion.state.is_some() && self.push(bench, Observation::WitnessClean) {
            self.facts.witness_tampered = Some(false);
            self.witness = true;
            opinion.evidence.extend(
                testimony
                    .into_iter()
                    .flat_map(|one| one.evidence.iter().cloned()),
            );
        }
    }

    pub(super) fn testimony(&mut self, bench: &Bench<'_, '_>, opinion: &mut Opinion) {
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
                let row = place_row(places, 2.0 * LEAST);
                self.rows.push(Weighing::of_hops(
                    Group::Path,
                    "reply-quote-changed",
                    row,
                    false,
                ));
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

    pub(super) fn others(&mut self, bench: &Bench<'_, '_>, opinion: &mut Opinion) {
        let others = &bench.others;
        if others.is_silent() {
            return;
        }
        for observation in &others.observations {
            self.push(bench, *observation);
            match observation {
                Observation::InsideClean => {
                    self.facts.inside_clean = Some(true);
                    // Later the server may have been mended.
                    if others.inside_at_once {
                        self.inside_at_once = true;
                        self.proposal = self.proposal.take().or_else(|| outside(bench));
                        opinion.innocent.push("whoever mended or restarted the server between the two checks made this difference as well: repeat both at the same time".into());
                    }
                }
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
}

/// How an accusation is worded where the server's own network sees STARTTLS work: by what happens out here.
fn outside(bench: &Bench<'_, '_>) -> Option<(Mechanism, String)> {
    let attempts = bench.attempts();
    let mut steps = attempts.iter().map(|(_, step)| step);
    let dies = |wanted: &HandshakeOutcome| {
        let mut handshakes = bench.hearings.iter().filter_map(|one| one.handshake());
        handshakes.any(|handshake| handshake.outcome == *wanted)
    };
    let (mechanism, what) = if dies(&HandshakeOutcome::Reset) {
        (Mechanism::HandshakeReset, "out here its handshake is reset")
    } else if dies(&HandshakeOutcome::TimedOut) {
        (
            Mechanism::HandshakeBlackholed,
            "out here silence meets its handshake",
        )
    } else if steps.clone().any(|step| step.unanswered()) {
        (
            Mechanism::CommandDropped,
            "out here the command gets no answer",
        )
    } else if bench.offer() == Offer::Never {
        (
            Mechanism::CapabilityRemoved,
            "out here it is not even offered",
        )
    } else if steps.any(|step| step.refused()) {
        (Mechanism::CommandRefused, "out here the command is refused")
    } else {
        return None;
    };
    Some((
        mechanism,
        format!(
            "inside the server's own network STARTTLS works, and {what}: something on the way in does that"
        ),
    ))
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
