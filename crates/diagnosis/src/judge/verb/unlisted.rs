//! STARTTLS is in no list: deleted on its way, rewritten, or simply not there.
//!
//! What decides is the blind attempt. The list alone accuses nobody.

use crate::{
    Encryption, Mechanism, Verdict,
    attribution::likelihood::Observation,
    bench::{Attempt, Bench, Controls},
    dialect::{Fixed, Refusal},
    evidence,
    fingerprint::wording::{self, Origin},
    hearing::{Hearing, Step},
    judge::{
        Opinion, masked,
        verb::{
            add_observations, add_split_noop,
            alike::offered_nowhere,
            cite_list,
            deletion::{add_deletion, deletion},
            forged_claim, knows_better, opinion,
            own_words::{contradicts_knowledge, known_to_offer, own_refusal, plain_refusal},
            refused::{limited, misfit, odd_success, unlisted_words},
            silence::{cut_off, silent},
            split_noop_fails,
        },
        without_tls,
    },
};
use alloc::{format, string::String};
use hoofbeat_session::{Outcome, Protocol, Status};

/// No list was given at all.
pub(super) fn unlisted(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let refused = bench.attempts().into_iter().any(|(_, step)| step.refused());
    let accepted = bench
        .attempts()
        .into_iter()
        .any(|(hearing, step)| hearing.is_ready(step));
    (refused && !accepted && bench.protocol() != Protocol::Smtp).then(|| not_offered(bench))
}

/// STARTTLS is in no list.
pub(super) fn not_offered(bench: &Bench<'_, '_>) -> Opinion {
    let attempts = bench.attempts();
    let tried = |wanted: &dyn Fn(&Attempt<'_, '_>) -> bool| {
        attempts.iter().find(|attempt| wanted(attempt)).copied()
    };
    let ready =
        tried(&|(hearing, step)| hearing.is_ready(step) && hearing.came_up()).or_else(|| {
            bench
                .respelt()
                .into_iter()
                .find(|(hearing, step)| hearing.is_ready(step) && hearing.came_up())
        });
    if ready.is_some() {
        return works_though_hidden(bench);
    }
    if let Some((hearing, step)) = tried(&|(hearing, step)| hearing.is_ready(step)) {
        let mut opinion = Opinion::inconclusive(
            Mechanism::CapabilityRemoved,
            Encryption::None,
            "STARTTLS is not listed, yet accepted when sent, and then TLS does not come up",
        );
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            Mechanism::CapabilityRemoved,
            "accepted although it is not listed",
        ));
        opinion
            .innocent
            .push("a server whose TLS is broken may withdraw the offer and keep the verb".into());
        return opinion;
    }
    let Some((hearing, step)) = tried(&|(_, step)| step.exchange.outcome != Outcome::Unfinished)
    else {
        return untested(bench);
    };
    match step.exchange.outcome {
        Outcome::TimedOut => return silent(bench, without_tls(bench)),
        Outcome::Reset | Outcome::Closed if bench.controls() == Controls::Affected => {
            return offered_nowhere(bench, hearing, step);
        }
        Outcome::Reset | Outcome::Closed => return cut_off(bench, hearing, step),
        _ => {}
    }
    if step.positive() {
        return odd_success(bench, hearing, step, without_tls(bench));
    }
    if step.reply.status == Status::Goodbye {
        return limited(hearing, step);
    }
    refused_unlisted(bench, hearing, step)
}

pub(super) fn works_though_hidden(bench: &Bench<'_, '_>) -> Opinion {
    let mut opinion = opinion(
        bench,
        Verdict::Interference,
        Mechanism::CapabilityRemoved,
        without_tls(bench),
        "STARTTLS is deleted from the server's list on its way, although the server has it",
    );
    add_observations(bench, &mut opinion);
    add_deletion(bench, &mut opinion);
    cite_list(
        bench,
        &mut opinion,
        Mechanism::CapabilityRemoved,
        "the list that arrives lacks STARTTLS",
    );
    masked::add_inside(bench, &mut opinion);
    opinion.innocent.push(match bench.dialect {
        Some(known) if known.authoritative => {
            format!("a server may hide STARTTLS from some clients; {} then refuses the command too, and here it was accepted", known.name)
        }
        _ => "a server may hide STARTTLS from some clients; the known ones then refuse the command too, and here it was accepted".into(),
    });
    opinion
}

pub(super) fn refused_unlisted<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
) -> Opinion {
    let like_unknown = wording::like_unknown(hearing, step);
    let origin = wording::origin(hearing, step, bench.dialect);
    if wording::altered_echo(hearing, step).is_some() {
        return rewritten(
            bench,
            "STARTTLS is rewritten on its way to the server, and missing from its list",
            "no server quotes a command other than the one it received",
        );
    }
    let deletion = deletion(bench, hearing, Some(&step.line));
    match origin {
        // Whoever answers for the controls may have worded this refusal too.
        Origin::Own(..) | Origin::Unlisted
            if bench.controls() == Controls::Affected && deletion.is_none() =>
        {
            offered_nowhere(bench, hearing, step)
        }
        Origin::Own(known, refusal @ (Refusal::Off | Refusal::NotAdvertised | Refusal::Busy)) => {
            own_refusal(bench, hearing, step, known, refusal)
        }
        Origin::Own(_, Refusal::Unknown)
            if like_unknown == Some(true) && knows_better(bench, step) =>
        {
            rewritten(
                bench,
                "the server does not recognise STARTTLS, which this server always does: it is rewritten on its way",
                "another program may imitate these words; nothing else in the session differs from the original",
            )
        }
        Origin::Forged(forged, known) => {
            let mut opinion = removed(
                bench,
                (hearing, step),
                Observation::ForgedWords,
                forged_claim(known, forged.source),
            );
            opinion.product = opinion.product.or(deletion.map(|found| found.product));
            opinion
        }
        Origin::Shape(why, Some(known)) if known.authoritative => {
            let observation = if known.fixed == Fixed::No {
                Observation::Misshapen
            } else {
                Observation::ForeignToFixed
            };
            let claim = format!("{} never answers so: {why}", known.name);
            removed(bench, (hearing, step), observation, claim)
        }
        Origin::Foreign(known) if known.authoritative => {
            let claim = format!(
                "{} never answers so: none of the versions whose source was read holds such a reply to STARTTLS",
                known.name
            );
            removed(bench, (hearing, step), Observation::ForeignToFixed, claim)
        }
        _ if deletion.is_some() => {
            let mut opinion = opinion(
                bench,
                Verdict::Interference,
                Mechanism::CapabilityRemoved,
                without_tls(bench),
                "the list is cut down to what a known box lets through, and STARTTLS is not among it",
            );
            add_deletion(bench, &mut opinion);
            add_observations(bench, &mut opinion);
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Mechanism::CapabilityRemoved,
                "and the command is refused",
            ));
            opinion
        }
        _ if split_noop_fails(bench) && like_unknown != Some(false) => rewritten(
            bench,
            "commands are edited packet by packet on their way, and STARTTLS is not recognised at the server",
            "",
        ),
        _ if known_to_offer(bench) => contradicts_knowledge(bench, hearing, step),
        Origin::Unlisted
            if like_unknown == Some(false)
                && bench.dialect.is_some_and(|known| known.authoritative) =>
        {
            unlisted_words(hearing, step)
        }
        Origin::Shape(why, _) => misfit(bench, hearing, step, why),
        Origin::Unlisted => match wording::otherwise_coded(&bench.hearings, step) {
            Some(why) => misfit(bench, hearing, step, why),
            None => plain_refusal(bench, hearing, step, like_unknown),
        },
        _ => plain_refusal(bench, hearing, step, like_unknown),
    }
}

/// The command did not arrive as it was sent, and the list that arrives lacks it.
fn rewritten(bench: &Bench<'_, '_>, reason: &str, innocent: &str) -> Opinion {
    let mut opinion = opinion(
        bench,
        Verdict::Interference,
        Mechanism::CommandRewritten,
        without_tls(bench),
        reason,
    );
    add_observations(bench, &mut opinion);
    cite_list(
        bench,
        &mut opinion,
        Mechanism::CommandRewritten,
        "the list that arrives lacks STARTTLS",
    );
    masked::add_greeting(bench, &mut opinion, Mechanism::CommandRewritten);
    if !innocent.is_empty() {
        opinion.innocent.push(innocent.into());
    }
    opinion
}

/// Missing from the list, and refused in words that this server does not have.
fn removed<'a>(
    bench: &Bench<'_, 'a>,
    (hearing, step): Attempt<'_, 'a>,
    observation: Observation,
    claim: String,
) -> Opinion {
    let mut opinion = opinion(
        bench,
        Verdict::Interference,
        Mechanism::CapabilityRemoved,
        without_tls(bench),
        "STARTTLS is missing from the list, and the command is refused in words that are not this server's",
    );
    opinion.observations.push(observation);
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::CapabilityRemoved,
        claim,
    ));
    add_deletion(bench, &mut opinion);
    add_observations(bench, &mut opinion);
    cite_list(
        bench,
        &mut opinion,
        Mechanism::CapabilityRemoved,
        "the list that arrives lacks STARTTLS",
    );
    opinion
}

/// The list alone was seen: who removed what, or whether anything was, cannot be told.
pub(super) fn untested(bench: &Bench<'_, '_>) -> Opinion {
    if let Some(found) = bench
        .hearings
        .iter()
        .find_map(|hearing| deletion(bench, hearing, None))
    {
        let mut opinion = opinion(
            bench,
            Verdict::Interference,
            Mechanism::CapabilityRemoved,
            without_tls(bench),
            format!(
                "the list is cut down to what {} lets through, and STARTTLS is not among it",
                found.name
            ),
        );
        add_deletion(bench, &mut opinion);
        return opinion;
    }
    if split_noop_fails(bench) {
        let mut opinion = Opinion::inconclusive(
            Mechanism::CommandRewritten,
            Encryption::None,
            "commands are edited packet by packet on their way; STARTTLS is not listed and was not tried",
        );
        add_split_noop(bench, &mut opinion, Mechanism::CommandRewritten);
        return opinion;
    }
    let mut opinion = Opinion::inconclusive(
        Mechanism::NotOffered,
        Encryption::None,
        "STARTTLS is not offered here; whether the server does not, or somebody deletes the offer, the list alone cannot tell",
    );
    cite_list(
        bench,
        &mut opinion,
        Mechanism::NotOffered,
        "the list does not offer STARTTLS",
    );
    opinion
        .innocent
        .push("most servers without STARTTLS in their list simply do not have it".into());
    opinion.next = Some("send STARTTLS although it is not offered, and a made-up command beside it: hoofbeat check does".into());
    opinion
}
