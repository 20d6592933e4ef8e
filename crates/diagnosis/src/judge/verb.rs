//! What becomes of the verb STARTTLS before any TLS: refused, rewritten, swallowed, or working although hidden.
//!
//! | seen | held against | verdict |
//! |---|---|---|
//! | not listed, blind STARTTLS brings up proven TLS | the list | interference, `capability-removed` |
//! | refused, the reply quotes another verb | what was sent | interference, `command-rewritten` |
//! | refused in the server's own words for "TLS is off" | its words for an unknown verb | server |
//! | refused like an unknown verb, by a server that never does so | its source code | interference, `command-rewritten` |
//! | refused like an unknown verb, by any other server | nothing | server, with less certainty |
//! | refused in words that this recognised server never uses | its other replies | interference |
//! | refused, with another form of status code than its refusal of an unknown verb | its other replies | inconclusive |
//! | missing from the list, however the command fares | the controls' lists lack it too | interference, `capability-removed` |
//! | refused in words that are nobody's own | the controls refuse in the same words | interference, `command-refused` |
//! | refused in unknown words by an unknown server | nothing | server |
//! | silent for STARTTLS alone, twice | the answers before it | interference, `command-dropped` |

mod alike;
mod deletion;
mod own_words;
mod preauth;
mod refused;
mod silence;
mod unlisted;

use crate::pattern;
use crate::{
    Encryption, Mechanism, Verdict,
    attribution::likelihood::{Observation, State},
    bench::{Bench, Offer},
    dialect::{Dialect, Refusal},
    evidence,
    fingerprint::wording::{self},
    hearing::{Hearing, Step},
    judge::Opinion,
};
pub(crate) use alike::ehlo_refused_alike;
use alloc::{format, string::String, vec::Vec};
use hoofbeat_session::{Label, Layer, Outcome};
use preauth::preauthenticated;
pub(crate) use refused::answers_alike;
use refused::refused;
use unlisted::{not_offered, unlisted, works_though_hidden};

/// The verb's fate, where it is not simply accepted.
pub(crate) fn judge(bench: &Bench<'_, '_>) -> Option<Opinion> {
    if bench.service.scheme.is_implicit_tls() {
        return None;
    }
    preauthenticated(bench).or_else(|| match bench.offer() {
        Offer::Never => Some(not_offered(bench)),
        Offer::Always => refused(bench),
        Offer::Sometimes => sometimes(bench),
        // The list was refused (old POP3 knows no CAPA), and STARTTLS was tried all the same.
        Offer::Unseen => unlisted(bench),
    })
}

/// Adds what the verb differential and the cut commands show, whichever rule leads.
pub(crate) fn add_observations(bench: &Bench<'_, '_>, opinion: &mut Opinion) {
    let supports = opinion.mechanism.unwrap_or(Mechanism::CommandRewritten);
    for (hearing, step) in bench.attempts() {
        if let Some(echo) = wording::altered_echo(hearing, step) {
            opinion.observations.push(Observation::AlteredEcho);
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Mechanism::CommandRewritten,
                format!("\"{}\" was sent, and the server quotes \"{echo}\": the command was rewritten on its way", step.sent),
            ));
        } else if hearing.is_ready(step) && hearing.offered() == Some(false) {
            add_blind_success(bench, opinion, hearing, step);
        } else if wording::like_unknown(hearing, step) != Some(false) && knows_better(bench, step) {
            opinion
                .observations
                .push(Observation::LikeUnknownImpossible);
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Mechanism::CommandRewritten,
                unknown_claim(bench.dialect),
            ));
        } else if wording::like_unknown(hearing, step) == Some(true) {
            opinion.observations.push(Observation::LikeUnknown);
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                supports,
                "STARTTLS meets the same words as a made-up command",
            ));
        }
    }
    for (hearing, step) in bench.respelt() {
        if hearing.is_ready(step)
            && hearing.completed().is_some()
            && !bench.attempts().iter().any(|(h, s)| h.is_ready(s))
        {
            opinion.observations.push(Observation::SpellingPasses);
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                supports,
                format!(
                    "spelt or cut otherwise (\"{}\"), the command gets through",
                    step.sent
                ),
            ));
        }
    }
    add_split_noop(bench, opinion, supports);
}

fn add_blind_success<'a>(
    bench: &Bench<'_, 'a>,
    opinion: &mut Opinion,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
) {
    let supports = opinion.mechanism.unwrap_or(Mechanism::CapabilityRemoved);
    if bench.proven(hearing) {
        opinion.observations.push(Observation::WorksThoughHidden);
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            supports,
            "STARTTLS, sent although it is not listed, is accepted, and TLS comes up with a certificate that verifies: the server has it",
        ));
    } else if hearing.came_up() {
        opinion
            .observations
            .push(Observation::WorksThoughHiddenUnverified);
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            supports,
            "STARTTLS, sent although it is not listed, is accepted, and TLS comes up",
        ));
    }
}

/// NOOP passes whole and not in two segments: somebody reads packets where every mail server reads a stream.
fn add_split_noop(bench: &Bench<'_, '_>, opinion: &mut Opinion, supports: Mechanism) {
    for hearing in &bench.hearings {
        let whole = hearing
            .step(Layer::Plain, Label::Noop)
            .filter(|step| step.positive());
        let split = hearing
            .step(Layer::Plain, Label::SplitNoop)
            .filter(|step| !step.positive() && step.exchange.outcome != Outcome::Unfinished);
        if let (Some(_), Some(split)) = (whole, split) {
            opinion.observations.push(Observation::SplitNoopFails);
            opinion.evidence.push(evidence::reply(
                hearing,
                split,
                supports,
                "NOOP passes in one segment and fails in two: something between reads packets, not the stream",
            ));
        }
    }
}

fn split_noop_fails(bench: &Bench<'_, '_>) -> bool {
    bench.hearings.iter().any(|hearing| {
        hearing
            .step(Layer::Plain, Label::Noop)
            .is_some_and(|step| step.positive())
            && hearing
                .step(Layer::Plain, Label::SplitNoop)
                .is_some_and(|step| {
                    !step.positive() && step.exchange.outcome != Outcome::Unfinished
                })
    })
}

/// This server, recognised by other marks, never gives STARTTLS these words: because no build does, or
/// because it offers STARTTLS and so was built with it.
fn knows_better(bench: &Bench<'_, '_>, step: &Step<'_>) -> bool {
    bench.dialect.is_some_and(|known| {
        known.refusal(&step.line) == Some(Refusal::Unknown)
            && (pattern::any(known.never_for_starttls, &step.line)
                || (known.authoritative && bench.offer() == Offer::Always))
    })
}

fn unknown_claim(dialect: Option<&'static Dialect>) -> String {
    let name = dialect.map_or("this server", |dialect| dialect.name);
    format!(
        "{name}'s words for a command that it does not know; every {name} knows STARTTLS, with TLS and without: it received something else"
    )
}

fn opinion(
    bench: &Bench<'_, '_>,
    verdict: Verdict,
    mechanism: Mechanism,
    state: State,
    reason: impl Into<String>,
) -> Opinion {
    let mut opinion = Opinion::new(verdict, mechanism, Encryption::None, reason);
    opinion.state = Some(state);
    opinion.product = bench.gateway().map(|found| found.product);
    opinion
}

fn cite_list(bench: &Bench<'_, '_>, opinion: &mut Opinion, supports: Mechanism, claim: &str) {
    let found = bench.hearings.iter().find_map(|hearing| {
        Some((
            *hearing,
            hearing
                .list(Layer::Plain)
                .filter(|list| !list.items.offers_starttls(hearing.protocol()))?,
        ))
    });
    if let Some((hearing, list)) = found {
        opinion
            .evidence
            .push(evidence::reply(hearing, list.step, supports, claim));
    }
}

fn forged_claim(known: Option<&'static Dialect>, source: &str) -> String {
    match known {
        Some(known) => format!(
            "these are not {}'s own words; they are known from {source}",
            known.name
        ),
        None => format!("the words are known from {source} and from no mail server"),
    }
}

/// Offered on some connections and not on others.
fn sometimes(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let hidden_and_working = bench.attempts().into_iter().find(|(hearing, step)| {
        hearing.offered() == Some(false) && hearing.is_ready(step) && bench.proven(hearing)
    });
    if hidden_and_working.is_some() {
        return Some(works_though_hidden(bench));
    }
    // Offered, tried, failed, withdrawn: servers remember who could not shake hands (Haraka).
    let first_failure = bench.hearings.iter().position(|hearing| {
        hearing.offered() == Some(true)
            && hearing.handshake().is_some()
            && hearing.completed().is_none()
    });
    let later = first_failure.map(|at| {
        bench
            .hearings
            .iter()
            .skip(at + 1)
            .filter_map(|hearing| hearing.offered())
            .collect::<Vec<_>>()
    });
    if later.is_some_and(|later| !later.is_empty() && later.iter().all(|offered| !offered)) {
        return None;
    }
    let mut opinion = Opinion::inconclusive(
        None,
        if bench.is_proven() {
            Encryption::Unknown
        } else {
            Encryption::None
        },
        "STARTTLS is offered on some connections and not on others",
    );
    for wanted in [true, false] {
        let found = bench.hearings.iter().find_map(|hearing| {
            let list = hearing.list(Layer::Plain)?;
            (hearing.offered() == Some(wanted)).then_some((*hearing, list))
        });
        if let Some((hearing, list)) = found {
            let claim = if wanted {
                "this connection was offered STARTTLS"
            } else {
                "this one was not"
            };
            opinion.evidence.push(evidence::reply(
                hearing,
                list.step,
                Verdict::Inconclusive,
                claim,
            ));
        }
    }
    opinion
        .innocent
        .push("several machines behind one address, not all set up alike, look just so".into());
    opinion
        .innocent
        .push("postscreen greets first-comers with a list of its own".into());
    opinion.next = Some("check several times over a day; ask the operator whether all machines behind the address offer STARTTLS".into());
    Some(opinion)
}
