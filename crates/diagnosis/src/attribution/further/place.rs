//! Which verdict stands after all was weighed, and which place may be named.
//!
//! It must not know how evidence was gathered.

use alloc::format;

use super::Further;
use crate::{
    Encryption, Location, LocationClass, Mechanism, Verdict,
    attribution::{
        BORDER_RATIO, Bounds, Posterior,
        decision::{self, Facts},
        likelihood::{Observation, State},
    },
    bench::Bench,
    judge::Opinion,
    path::place::{PLACES, Places, share_of},
};

/// A place is one side of a border from this share on.
const BORDER: f64 = 0.25;

/// Two sides make a border where they hold this much together.
const TWO_SIDES: f64 = 0.80;

/// Most that may be said of a place on a border that nothing tells from its neighbour: less than "likely".
const ON_BORDER: f64 = 0.79;

/// The same where connections are seen to end short of the server, or the server is seen to work from inside.
const OVERTURNS_SHOWN: f64 = 0.60;

/// A posterior from which on a proposal against it is overturned.
const OVERTURNS: f64 = 0.70;

impl Further {
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
        let enough = if self.proxied || self.inside_at_once {
            OVERTURNS_SHOWN
        } else {
            OVERTURNS
        };
        let failed = self.inside_at_once
            || bench.offer() == crate::bench::Offer::Never
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
            && posterior.interference() >= OVERTURNS_SHOWN
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
            && (self.facts.vantages_clean > 0 || self.facts.inside_clean == Some(true))
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
        let rule = decision::rule(&facts).filter(|_| {
            !matches!(
                opinion.verdict,
                Verdict::Inconclusive | Verdict::Unreachable
            )
        });
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
        // On this side of the Internet, and nothing but what was likely beforehand says whose: then nobody is named.
        if let (Some(rule), Some(state)) = (rule, opinion.state)
            && !facts.hops
            && opinion.verdict == Verdict::Interference
            && rule.may.len() > 1
            && rule.may.contains(&location.class)
            && rule.may.iter().any(|other| {
                *other != location.class
                    && posterior.evidence_ratio(state, location.class, *other) < BORDER_RATIO
            })
        {
            location.class = LocationClass::Undetermined;
        }
        if let (Some(places), Some(state)) = (&self.places, opinion.state)
            && is_on_border(places, location.class, posterior, state)
        {
            opinion.innocent.push("the stretch lies where two networks meet, and nothing else tells whose side it is on: which place is likelier is said, and no more".into());
            bounds.others = bounds.others.min(ON_BORDER);
            bounds.third_party = bounds.third_party.min(ON_BORDER);
            let class = location.class;
            location = posterior.location(opinion.verdict, &bounds);
            // A border has two sides; where hops leave more, what was likely beforehand would decide, and must not.
            if class == LocationClass::Undetermined || !self.is_two_sided(places) {
                location.class = LocationClass::Undetermined;
            }
        }
        // What hops nearly exclude is not named, however usual it is.
        if let Some(places) = &self.places
            && opinion.verdict == Verdict::Interference
            && share_of(places, location.class).is_some_and(|share| share < BORDER)
        {
            opinion.innocent.push(format!(
                "what usually does this stands elsewhere ({}) than the hops lead to: no place is named",
                location.class
            ));
            location.class = LocationClass::Undetermined;
        }
        if self.unsteady && opinion.verdict == Verdict::Interference {
            location.class = LocationClass::Undetermined;
        }
        location.weighed = posterior.weighed.clone();
        self.told(opinion.verdict, location)
    }

    /// The place with the stretch of the path where it happens, which is told whoever is to blame; nothing happens where
    /// all is well.
    pub(crate) fn told(&self, verdict: Verdict, mut location: Location) -> Location {
        if verdict == Verdict::Clear {
            return location;
        }
        location.segment = self.segment;
        location.credible = self.credible;
        // Nobody but the server and what stands before it is on the last stretch.
        let fits = verdict != Verdict::Interference
            || matches!(
                location.class,
                LocationClass::Server | LocationClass::ServerPolicy | LocationClass::ServerEdge
            );
        if let Some((segment, credible)) = self.behind.filter(|_| fits)
            && location.segment.is_none()
        {
            location.segment = Some(segment);
            location.credible = Some(credible);
        }
        location
    }

    /// Whether hops leave two places, in one stretch between two hops.
    fn is_two_sided(&self, places: &Places) -> bool {
        let sides = places.iter().filter(|share| **share >= BORDER);
        let exact = self
            .segment
            .is_some_and(|segment| segment.up_to_hop == segment.after_hop + 1);
        exact && sides.clone().count() == 2 && sides.sum::<f64>() >= TWO_SIDES
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
