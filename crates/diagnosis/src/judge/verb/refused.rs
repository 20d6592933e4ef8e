//! STARTTLS is offered and then refused: by the server in its own words, or by something in its place.

use crate::{
    Encryption, Mechanism, Verdict,
    attribution::likelihood::{Observation, State},
    bench::Bench,
    dialect::{Dialect, Fixed, Refusal},
    evidence,
    fingerprint::{
        catalogue::FORGED,
        wording::{self, Origin},
    },
    hearing::{Hearing, Step},
    judge::{
        Opinion, masked,
        verb::{
            add_observations,
            alike::refused_alike,
            forged_claim, knows_better, opinion,
            silence::{cut_off, silent},
            split_noop_fails,
        },
    },
    pattern,
};
use alloc::format;
use hoofbeat_session::{Label, Layer, Outcome, Status};

/// Offered, and no attempt was accepted.
pub(super) fn refused(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let attempts = bench.attempts();
    if attempts
        .iter()
        .any(|(hearing, step)| hearing.is_ready(step))
    {
        return None;
    }
    let (hearing, step) = attempts
        .iter()
        .find(|(_, step)| step.exchange.outcome != Outcome::Unfinished)
        .copied()?;
    match step.exchange.outcome {
        Outcome::TimedOut => return Some(silent(bench, State::Refused)),
        Outcome::Reset | Outcome::Closed => return Some(cut_off(bench, hearing, step)),
        Outcome::TooLong | Outcome::Unfinished => return None,
        Outcome::Replied => {}
    }
    if step.positive() {
        return Some(odd_success(bench, hearing, step, State::Refused));
    }
    if step.reply.status == Status::Goodbye {
        return Some(limited(hearing, step));
    }
    let like_unknown = wording::like_unknown(hearing, step);
    if wording::altered_echo(hearing, step).is_some()
        || (like_unknown == Some(true) && (split_noop_fails(bench) || knows_better(bench, step)))
        || (like_unknown.is_none() && knows_better(bench, step))
    {
        let mut opinion = opinion(
            bench,
            Verdict::Interference,
            Mechanism::CommandRewritten,
            State::Refused,
            "STARTTLS is offered and then rewritten on its way to the server",
        );
        add_observations(bench, &mut opinion);
        return Some(opinion);
    }
    let origin = wording::origin(hearing, step, bench.dialect);
    if matches!(origin, Origin::Unlisted | Origin::Shape(..))
        && let Some(opinion) = refused_alike(bench, hearing, step)
    {
        return Some(opinion);
    }
    let (observation, claim, product) = match origin {
        Origin::Forged(forged, known) => (
            Observation::ForgedWords,
            forged_claim(known, forged.source),
            forged.product,
        ),
        Origin::Shape(why, Some(known)) if known.authoritative => (
            if known.fixed != Fixed::No {
                Observation::ForeignToFixed
            } else {
                Observation::Misshapen
            },
            format!("{} never answers so: {why}", known.name),
            None,
        ),
        Origin::Foreign(known) => (
            Observation::ForeignToFixed,
            format!(
                "{} never answers so: none of the versions whose source was read holds such a reply to STARTTLS",
                known.name
            ),
            None,
        ),
        Origin::Shape(why, _) => return Some(misfit(bench, hearing, step, why)),
        Origin::Own(known, refusal) => {
            return Some(unavailable(bench, hearing, step, Some((known, refusal))));
        }
        // A milter or an ACL of this server may word a 5xx freely; so may a box. Another spelling that passes tells.
        Origin::Unlisted if bench.dialect.is_some_and(|known| known.authoritative) => {
            if !spelling_passes(bench) {
                return Some(unlisted_words(hearing, step));
            }
            (
                Observation::SpellingPasses,
                "the refusal meets STARTTLS in capitals alone: a filter matches the text, no server does".into(),
                None,
            )
        }
        Origin::Unlisted => {
            return Some(match wording::otherwise_coded(&bench.hearings, step) {
                Some(why) => misfit(bench, hearing, step, why),
                None => unavailable(bench, hearing, step, None),
            });
        }
    };
    let mut opinion = opinion(
        bench,
        Verdict::Interference,
        Mechanism::CommandRefused,
        State::Refused,
        "STARTTLS is offered, and then refused in words that are not this server's: something answers in its place",
    );
    opinion.observations.push(observation);
    opinion.product = product.or(opinion.product);
    if product == Some("norton-antivirus") {
        // Known only from clients' own machines.
        opinion.observations.push(Observation::HostScanner);
    }
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::CommandRefused,
        claim,
    ));
    let own = hearing.steps.iter().find(|other| {
        matches!(
            other.exchange.label,
            Label::UnknownVerb | Label::Noop | Label::Quit
        ) && other.answered()
            && bench.dialect.is_some_and(|known| {
                pattern::any(known.unknown, &other.line)
                    || pattern::any(known.noop, &other.line)
                    || pattern::any(known.quit, &other.line)
            })
    });
    if let Some(own) = own {
        opinion.evidence.push(evidence::reply(
            hearing,
            own,
            Mechanism::CommandRefused,
            format!(
                "{}'s own words, in the same session",
                bench.dialect.map_or("the server", |known| known.name)
            ),
        ));
    }
    if let Some((hearing, list)) = bench
        .hearings
        .iter()
        .find_map(|hearing| Some((*hearing, hearing.list(Layer::Plain)?)))
    {
        opinion.evidence.push(evidence::reply(
            hearing,
            list.step,
            Mechanism::CommandRefused,
            "the server's list offers STARTTLS",
        ));
    }
    add_observations(bench, &mut opinion);
    opinion.innocent.push("a server with TLS trouble says so in its own words (454 and the like), which these are not".into());
    Some(opinion)
}

/// The command passes when spelt or cut otherwise: verbs have no case (RFC 5321 §2.4), filters do.
fn spelling_passes(bench: &Bench<'_, '_>) -> bool {
    bench
        .respelt()
        .into_iter()
        .any(|(hearing, step)| hearing.is_ready(step))
}

/// A refusal in words that neither convict nor clear.
pub(super) fn unlisted_words<'a>(hearing: &Hearing<'a>, step: &Step<'a>) -> Opinion {
    let mut opinion = Opinion::inconclusive(
        Mechanism::CommandRefused,
        Encryption::None,
        "STARTTLS is refused in words that are neither this server's own nor known of any box",
    );
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::CommandRefused,
        "the refusal",
    ));
    opinion.innocent.push("filters that the server runs (milters, ACLs) refuse a client in words of their own, STARTTLS included".into());
    opinion.next = Some("send StartTLS in mixed case, and check from another network".into());
    opinion
}

/// A refusal in a form that the rest of the session does not have. Whose it is, only a server's source would tell.
pub(super) fn misfit<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
    why: &'static str,
) -> Opinion {
    let mut opinion = Opinion::inconclusive(
        Mechanism::CommandRefused,
        Encryption::None,
        "STARTTLS is refused in a form that does not fit the server's other replies",
    );
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::CommandRefused,
        why,
    ));
    let own = bench.hearings.iter().find_map(|hearing| {
        let own = hearing.step(Layer::Plain, Label::UnknownVerb)?;
        own.refused().then_some((*hearing, own))
    });
    if let Some((other, own)) = own {
        opinion.evidence.push(evidence::reply(
            other,
            own,
            Mechanism::CommandRefused,
            "its own form",
        ));
    }
    opinion.innocent.push(
        "this server's source was not read: a patch or a filter that it runs may word some refusals otherwise"
            .into(),
    );
    opinion.next = Some("send StartTLS in mixed case, and check from another network".into());
    opinion
}

/// Offered and refused, by the server as far as can be told.
pub(super) fn unavailable<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
    own: Option<(&'static Dialect, Refusal)>,
) -> Opinion {
    let mut opinion = opinion(
        bench,
        Verdict::Server,
        Mechanism::TlsUnavailable,
        State::Refused,
        "the server offers STARTTLS and refuses it when asked",
    );
    match own {
        Some((_, Refusal::Unknown)) => {
            opinion = Opinion::inconclusive(
                Mechanism::CommandRewritten,
                Encryption::None,
                "STARTTLS is offered, and then not recognised",
            );
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Mechanism::CommandRewritten,
                "these words are for an unknown command",
            ));
            opinion
                .innocent
                .push("a front end may list what its back end does not know".into());
            return opinion;
        }
        Some((known, _)) => {
            opinion.observations.push(Observation::OwnRefusal);
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Mechanism::TlsUnavailable,
                format!("{}'s own words: its TLS is not available", known.name),
            ));
        }
        None => opinion.evidence.push(evidence::reply(
            hearing,
            step,
            Mechanism::TlsUnavailable,
            "the refusal; nothing in it is foreign to the session",
        )),
    }
    opinion.innocent.push(
        "a missing key, an exhausted limit or a restart: operators see it in their log".into(),
    );
    opinion
}

/// A success that is not 220.
pub(super) fn odd_success<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
    state: State,
) -> Opinion {
    let noop = hearing
        .step(Layer::Plain, Label::Noop)
        .filter(|noop| noop.positive());
    let as_noop = noop.is_some_and(|noop| noop.line == step.line)
        || bench
            .dialect
            .is_some_and(|known| pattern::any(known.noop, &step.line));
    let mechanism = if as_noop {
        Mechanism::CommandRewritten
    } else {
        Mechanism::CommandRefused
    };
    let reason = if as_noop {
        "STARTTLS is turned into NOOP on its way: the server answers OK and starts no TLS"
    } else {
        "STARTTLS is answered with a success that no server gives, and no TLS starts"
    };
    let mut opinion = opinion(bench, Verdict::Interference, mechanism, state, reason);
    opinion.observations.push(Observation::OddSuccess);
    let forged = FORGED.iter().find(|one| {
        one.protocol == hearing.protocol() && pattern::matches(one.pattern, &step.line)
    });
    if let Some(product) = forged.and_then(|one| one.product) {
        opinion.product = Some(product);
    }
    if as_noop && !answers_alike(hearing) {
        opinion.product = Some("cisco-pix");
    }
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        mechanism,
        "a 2xx that is not 220 is no answer to STARTTLS (RFC 3207 §4)",
    ));
    if let Some(noop) = noop.filter(|_| as_noop) {
        opinion.evidence.push(evidence::reply(
            hearing,
            noop,
            mechanism,
            "NOOP meets the same words",
        ));
    }
    masked::add_greeting(bench, &mut opinion, mechanism);
    opinion.innocent.push(if as_noop {
        "an operator may have told Postfix to treat STARTTLS as NOOP (smtpd_noop_commands); nobody would want that".into()
    } else {
        "a server may be badly written; answering STARTTLS so would break every client that believes it".into()
    });
    opinion
}

/// QUIT meets the words of NOOP: whoever answers everything alike is not the box that passes seven verbs.
pub(crate) fn answers_alike(hearing: &Hearing<'_>) -> bool {
    let said = |label: Label| hearing.step(Layer::Plain, label).map(|step| &step.line);
    said(Label::Noop).is_some_and(|noop| said(Label::Quit) == Some(noop))
}

pub(super) fn limited<'a>(hearing: &Hearing<'a>, step: &Step<'a>) -> Opinion {
    let mut opinion = Opinion::inconclusive(
        None,
        Encryption::Unknown,
        "the server ended the session when asked for TLS, by a limit of its own as it says",
    );
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Verdict::Inconclusive,
        "421 closes the session",
    ));
    opinion.next = Some("check again after a few minutes".into());
    opinion
}
