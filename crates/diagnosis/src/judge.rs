//! The order of the rules. Each looks for one kind of contradiction and leaves what it does not know to the next.
//!
//! ```text
//! nobody answers ─► turned away ─► somebody else answers ─► keywords overwritten ─► EHLO refused
//!   ─► bytes behind 220, lines that cannot be ─► STARTTLS refused, rewritten, swallowed ─► TLS fails ─► forged certificate ─► masked greeting ─► certificate
//! ```
//! A rule proposes; the tables of `attribution` weigh what it saw; a verdict that they do not bear becomes
//! `inconclusive`. It must not write reports.

mod ehlo;
mod impossible;
mod masked;
mod proxied;
mod reach;
mod recorded;
mod trust;
mod upgrade;
mod verb;

use alloc::{string::String, vec::Vec};
use hoofbeat_observation::Scheme;

use crate::{
    Confidence, Encryption, Evidence, Location, Mechanism, Verdict,
    attribution::{
        self, Posterior,
        likelihood::{Group, Observation, State},
    },
    bench::{Bench, Controls},
    evidence,
};

pub(crate) use trust::facts as tls_facts;

/// What a rule proposes.
#[derive(Debug)]
pub(crate) struct Opinion {
    /// What.
    pub(crate) verdict: Verdict,
    /// How.
    pub(crate) mechanism: Option<Mechanism>,
    /// By which product.
    pub(crate) product: Option<&'static str>,
    /// What the service gives.
    pub(crate) encryption: Encryption,
    /// What the observations have to explain; `None` where nothing is to be located.
    pub(crate) state: Option<State>,
    /// What was seen.
    pub(crate) observations: Vec<Observation>,
    /// Citations, strongest first.
    pub(crate) evidence: Vec<Evidence>,
    /// Innocent explanations considered.
    pub(crate) innocent: Vec<String>,
    /// The finding in one sentence, without the service's name.
    pub(crate) reason: String,
    /// The one test that would change the answer most.
    pub(crate) next: Option<String>,
    /// How sure, where the tables have no say: proofs and plain facts.
    pub(crate) certain: Option<Confidence>,
}

impl Opinion {
    /// A proposal without anything yet to show for it.
    pub(crate) fn new(
        verdict: Verdict,
        mechanism: impl Into<Option<Mechanism>>,
        encryption: Encryption,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            verdict,
            mechanism: mechanism.into(),
            product: None,
            encryption,
            state: None,
            observations: Vec::new(),
            evidence: Vec::new(),
            innocent: Vec::new(),
            reason: reason.into(),
            next: None,
            certain: None,
        }
    }
    /// An honourable answer.
    pub(crate) fn inconclusive(
        mechanism: impl Into<Option<Mechanism>>,
        encryption: Encryption,
        reason: impl Into<String>,
    ) -> Self {
        Self::new(Verdict::Inconclusive, mechanism, encryption, reason)
    }
}

/// An opinion, weighed.
#[derive(Debug)]
pub(crate) struct Weighed {
    /// The opinion; its verdict may have become `inconclusive`.
    pub(crate) opinion: Opinion,
    /// Where.
    pub(crate) location: Location,
    /// How sure.
    pub(crate) confidence: Confidence,
}

/// Judges one service.
pub(crate) fn judge(bench: &Bench<'_, '_>) -> Weighed {
    const RULES: &[fn(&Bench<'_, '_>) -> Option<Opinion>] = &[
        proxied::judge,
        reach::nobody_answers,
        reach::turned_away,
        masked::judge,
        ehlo::judge,
        upgrade::leftover,
        impossible::judge,
        verb::judge,
        upgrade::judge,
        trust::intercepted,
        masked::greeting_only,
        trust::judge,
        recorded::judge,
    ];
    let opinion = RULES
        .iter()
        .find_map(|rule| rule(bench))
        .unwrap_or_else(|| recorded::nothing_to_judge(bench));
    weigh(opinion, bench)
}

/// The state that a service without TLS is in.
pub(crate) fn without_tls(bench: &Bench<'_, '_>) -> State {
    match bench.service.scheme {
        Scheme::Smtp | Scheme::Lmtp => State::NoTls,
        _ => State::NoTlsForPeople,
    }
}

fn weigh(mut opinion: Opinion, bench: &Bench<'_, '_>) -> Weighed {
    evidence::deduplicate(&mut opinion.evidence);
    if opinion.verdict == Verdict::Interference && opinion.innocent.is_empty() {
        opinion.innocent.push("a setting of some device, made for another purpose, explains this as well as an intent does".into());
    }
    let mut further = attribution::further::gather(bench, &mut opinion);
    let Some(state) = opinion.state else {
        let confidence = opinion.certain.unwrap_or(Confidence::Undetermined);
        let location = further.told(opinion.verdict, attribution::nowhere());
        return Weighed {
            opinion,
            location,
            confidence,
        };
    };
    let (controls, affected) = match opinion.mechanism {
        Some(Mechanism::BannerMasked) => bench.controls_by(|control| {
            let step = control.greeting().filter(|step| step.positive())?;
            Some(crate::fingerprint::mask::banner(&step.bytes).is_none())
        }),
        Some(Mechanism::PlaintextInjected) => {
            bench.controls_by(|control| match crate::bench::dies(control) {
                Some(true) => Some(false),
                _ => control
                    .upgrades()
                    .find(|step| control.is_ready(step))
                    .map(|step| step.exchange.leftover.is_none_or(|range| range.is_empty())),
            })
        }
        Some(Mechanism::TlsIntercepted) => bench.controls_by(|control| {
            Some(
                control.handshake()?.outcome == hoofbeat_observation::HandshakeOutcome::Completed
                    && trust::looks_genuine(control),
            )
        }),
        // The rule has already held the ports against each other.
        Some(Mechanism::PortBlocked) => (Controls::Silent, 0),
        _ => bench.controls_by(crate::bench::shows_tls),
    };
    // One control must not speak twice: where the rule already rests on it, only a second one adds to it.
    let rests_on_one = opinion.observations.iter().any(|observation| {
        matches!(
            observation,
            Observation::ControlsDie | Observation::SharedIssuer | Observation::KnownToOffer
        )
    }) && affected < 2;
    match controls {
        Controls::Clean => opinion.observations.push(Observation::ControlsClean),
        Controls::Affected if !rests_on_one => {
            opinion.observations.push(Observation::ControlsAffected);
        }
        Controls::Affected | Controls::Silent => {}
    }
    if bench.greeting_from_nowhere().is_some() {
        opinion.observations.push(Observation::NegativeAnswers);
    }
    if let Some((hearing, here, there)) = bench.near_terminator() {
        opinion.observations.push(Observation::NearTerminator);
        opinion.evidence.push(evidence::whole(
            hearing.id,
            crate::LocationClass::LocalNetwork,
            alloc::format!("this port's TCP handshake took {here} µs, the same address's on another port {there} µs: somebody near completes it"),
            "",
        ));
    }
    if matches!(state, State::NoTls) && bench.policy.promises_tls(&bench.service.host) {
        opinion.observations.push(Observation::IntentPublished);
    } else if matches!(state, State::NoTls) && bench.policy.is_absent() {
        opinion.observations.push(Observation::IntentAbsent);
    }
    let posterior = Posterior::weigh(
        state,
        opinion
            .observations
            .iter()
            .copied()
            .map(attribution::Weighing::from)
            .chain(further.rows())
            .filter(|weighing| further.admits(bench, weighing)),
    );
    further.overturn(bench, &mut opinion, &posterior);
    let (probability, groups) = match opinion.verdict {
        Verdict::Interference => (posterior.interference(), &posterior.against_server),
        Verdict::Server => (1.0 - posterior.interference(), &posterior.for_server),
        _ => (0.0, &posterior.for_server),
    };
    let confidence = opinion
        .certain
        .unwrap_or_else(|| worded(probability, groups));
    if confidence == Confidence::Undetermined
        && matches!(opinion.verdict, Verdict::Interference | Verdict::Server)
    {
        opinion.verdict = Verdict::Inconclusive;
        opinion
            .reason
            .push_str("; whether that is the server's own doing cannot be told from this");
    }
    let mut location = further.locate(bench, &mut opinion, &posterior);
    // A text names no vantage and no path; and who accuses nobody names no place.
    if (bench.is_text() && opinion.verdict == Verdict::Interference)
        || opinion.verdict == Verdict::Inconclusive
    {
        location.class = crate::LocationClass::Undetermined;
    }
    let confidence = if bench.is_text() {
        confidence.max(Confidence::Likely)
    } else {
        confidence
    };
    Weighed {
        opinion,
        location,
        confidence,
    }
}

/// The word for a probability; `Confidence` is ordered from sure to unsure.
fn worded(probability: f64, groups: &[Group]) -> Confidence {
    let independent = groups.len() >= 2 && groups.iter().any(|group| !group.is_fingerprint());
    if probability >= 0.95 && independent {
        Confidence::Established
    } else if probability >= 0.80 {
        Confidence::Likely
    } else if probability >= 0.60 {
        Confidence::Indicated
    } else {
        Confidence::Undetermined
    }
}
