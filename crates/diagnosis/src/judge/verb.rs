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
//! | refused in unknown words by an unknown server | nothing | server |
//! | silent for STARTTLS alone, twice | the answers before it | interference, `command-dropped` |

use alloc::{format, string::String};
use hoofbeat_session::{Label, Layer, Outcome, Protocol, Status};

use crate::{
    Confidence, Encryption, Mechanism, Verdict,
    attribution::likelihood::{Observation, State},
    bench::{Attempt, Bench, Controls, Offer},
    dialect::{Dialect, Refusal},
    evidence,
    fingerprint::{
        catalogue::{DELETERS, Deleter},
        wording::{self, Origin},
    },
    hearing::Hearing,
    judge::{Opinion, masked, without_tls},
    pattern,
};

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
        } else if wording::like_unknown(hearing, step) == Some(true)
            && knows_better(bench.dialect, step)
        {
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
    step: &crate::hearing::Step<'a>,
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

/// This dialect, recognised by other marks, never answers STARTTLS like an unknown verb.
fn knows_better(dialect: Option<&'static Dialect>, step: &crate::hearing::Step<'_>) -> bool {
    dialect.is_some_and(|dialect| {
        dialect.distinguishes && dialect.refusal(&step.line) == Some(Refusal::Unknown)
    })
}

fn unknown_claim(dialect: Option<&'static Dialect>) -> String {
    let name = dialect.map_or("this server", |dialect| dialect.name);
    format!(
        "{name}'s words for a command that it does not know; every {name} knows STARTTLS, with TLS and without: it received something else"
    )
}

/// `* PREAUTH` before anybody logged in: STARTTLS is then forbidden (RFC 9051 §6.2.1).
fn preauthenticated(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let (hearing, step) = bench.hearings.iter().find_map(|hearing| {
        let step = hearing.greeting().filter(|step| {
            step.exchange.layer == Layer::Plain && step.reply.status == Status::Preauthenticated
        })?;
        Some((*hearing, step))
    })?;
    let honest = bench.siblings.iter().find_map(|sibling| {
        Some((
            *sibling,
            sibling.greeting().filter(|step| {
                step.reply.status == Status::Positive && sibling.protocol() == Protocol::Imap
            })?,
        ))
    });
    let mut opinion = Opinion::new(
        if honest.is_some() {
            Verdict::Interference
        } else {
            Verdict::Server
        },
        if honest.is_some() {
            Mechanism::PlaintextInjected
        } else {
            Mechanism::NotOffered
        },
        Encryption::None,
        "the greeting says that we are already logged in, which forbids STARTTLS",
    );
    opinion.state = Some(if honest.is_some() {
        State::Odd
    } else {
        without_tls(bench)
    });
    let supports = opinion.mechanism.unwrap_or(Mechanism::NotOffered);
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        supports,
        "PREAUTH to a stranger: no login preceded it",
    ));
    if let Some((sibling, greeting)) = honest {
        opinion.observations.push(Observation::ForeignLeftover);
        opinion.evidence.push(evidence::reply(
            sibling,
            greeting,
            supports,
            "the same host greets without PREAUTH where nobody can interfere",
        ));
    } else {
        opinion.observations.push(Observation::PlainList);
    }
    opinion.innocent.push(
        "servers for one trusted machine are set up like this; a stranger should never meet it"
            .into(),
    );
    opinion.next = Some("compare with the greeting on port 993 of the same host".into());
    Some(opinion)
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

/// No list was given at all.
fn unlisted(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let refused = bench.attempts().into_iter().any(|(_, step)| step.refused());
    let accepted = bench
        .attempts()
        .into_iter()
        .any(|(hearing, step)| hearing.is_ready(step));
    (refused && !accepted && bench.protocol() != Protocol::Smtp).then(|| not_offered(bench))
}

/// STARTTLS is in no list.
fn not_offered(bench: &Bench<'_, '_>) -> Opinion {
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

fn works_though_hidden(bench: &Bench<'_, '_>) -> Opinion {
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

fn refused_unlisted<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &crate::hearing::Step<'a>,
) -> Opinion {
    let state = without_tls(bench);
    let like_unknown = wording::like_unknown(hearing, step);
    let origin = wording::origin(hearing, step, bench.dialect);
    if wording::altered_echo(hearing, step).is_some() {
        let mut opinion = opinion(
            bench,
            Verdict::Interference,
            Mechanism::CommandRewritten,
            state,
            "STARTTLS is rewritten on its way to the server, and missing from its list",
        );
        add_observations(bench, &mut opinion);
        cite_list(
            bench,
            &mut opinion,
            Mechanism::CommandRewritten,
            "the list that arrives lacks STARTTLS",
        );
        masked::add_greeting(bench, &mut opinion, Mechanism::CommandRewritten);
        opinion
            .innocent
            .push("no server quotes a command other than the one it received".into());
        return opinion;
    }
    let deletion = deletion(bench, hearing, Some(&step.line));
    match origin {
        // Whoever answers for the controls may have worded this refusal too.
        Origin::Own(..) | Origin::Unlisted
            if bench.controls() == Controls::Affected && deletion.is_none() =>
        {
            everywhere(bench, hearing, step)
        }
        Origin::Own(known, refusal @ (Refusal::Off | Refusal::NotAdvertised | Refusal::Busy)) => {
            own_refusal(bench, hearing, step, known, refusal)
        }
        Origin::Own(_, Refusal::Unknown)
            if like_unknown == Some(true) && knows_better(bench.dialect, step) =>
        {
            let mut opinion = opinion(
                bench,
                Verdict::Interference,
                Mechanism::CommandRewritten,
                state,
                "the server does not recognise STARTTLS, which this server always does: it is rewritten on its way",
            );
            add_observations(bench, &mut opinion);
            cite_list(
                bench,
                &mut opinion,
                Mechanism::CommandRewritten,
                "the list that arrives lacks STARTTLS",
            );
            masked::add_greeting(bench, &mut opinion, Mechanism::CommandRewritten);
            opinion.innocent.push("another program may imitate these words; nothing else in the session differs from the original".into());
            opinion
        }
        Origin::Forged(forged, known) => {
            let mut opinion = opinion(
                bench,
                Verdict::Interference,
                Mechanism::CapabilityRemoved,
                state,
                "STARTTLS is missing from the list, and the command is refused in words that are not this server's",
            );
            opinion.observations.push(Observation::ForgedWords);
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Mechanism::CapabilityRemoved,
                forged_claim(known, forged.source),
            ));
            opinion.product = opinion.product.or(deletion.map(|found| found.product));
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
        Origin::Shape(_, Some(known)) | Origin::Foreign(known) if known.authoritative => {
            let mut opinion = opinion(
                bench,
                Verdict::Interference,
                Mechanism::CapabilityRemoved,
                state,
                "STARTTLS is missing from the list, and the command is refused in words that are not this server's",
            );
            opinion
                .observations
                .push(if matches!(origin, Origin::Foreign(_)) || known.fixed {
                    Observation::ForeignToFixed
                } else {
                    Observation::Misshapen
                });
            let why = match origin {
                Origin::Shape(why, _) => why,
                _ => "its source code holds no such reply to STARTTLS",
            };
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Mechanism::CapabilityRemoved,
                format!("{} never answers so: {why}", known.name),
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
        _ if deletion.is_some() => {
            let mut opinion = opinion(
                bench,
                Verdict::Interference,
                Mechanism::CapabilityRemoved,
                state,
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
        _ if split_noop_fails(bench) && like_unknown != Some(false) => {
            let mut opinion = opinion(
                bench,
                Verdict::Interference,
                Mechanism::CommandRewritten,
                state,
                "commands are edited packet by packet on their way, and STARTTLS is not recognised at the server",
            );
            add_observations(bench, &mut opinion);
            masked::add_greeting(bench, &mut opinion, Mechanism::CommandRewritten);
            cite_list(
                bench,
                &mut opinion,
                Mechanism::CommandRewritten,
                "the list that arrives lacks STARTTLS",
            );
            opinion
        }
        _ if known_to_offer(bench) => contradicts_knowledge(bench, hearing, step),
        _ => plain_refusal(bench, hearing, step, like_unknown),
    }
}

fn forged_claim(known: Option<&'static Dialect>, source: &str) -> String {
    match known {
        Some(known) => format!(
            "{} never says this; the words are known from {source}",
            known.name
        ),
        None => format!("the words are known from {source} and from no mail server"),
    }
}

fn known_to_offer(bench: &Bench<'_, '_>) -> bool {
    let wanted = if bench.protocol() == Protocol::Pop3 {
        "STLS"
    } else {
        "STARTTLS"
    };
    bench.known.is_some_and(|(_, keywords)| {
        keywords
            .iter()
            .any(|keyword| keyword.eq_ignore_ascii_case(wanted))
    })
}

fn contradicts_knowledge<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &crate::hearing::Step<'a>,
) -> Opinion {
    let operator = bench.known.map_or("its operator", |(operator, _)| operator);
    let mut opinion = opinion(
        bench,
        Verdict::Interference,
        Mechanism::CapabilityRemoved,
        without_tls(bench),
        format!("{operator}'s server is known to offer STARTTLS, and from here it does not"),
    );
    opinion.observations.push(Observation::KnownToOffer);
    add_observations(bench, &mut opinion);
    cite_list(
        bench,
        &mut opinion,
        Mechanism::CapabilityRemoved,
        "the list that arrives lacks STARTTLS",
    );
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::CapabilityRemoved,
        "and the command is refused",
    ));
    opinion.innocent.push("what is known of this control may have grown old; several controls that agree would settle it".into());
    opinion
}

/// Here as everywhere: no server that is known to offer STARTTLS does so from here.
fn everywhere<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &crate::hearing::Step<'a>,
) -> Opinion {
    let mut opinion = opinion(
        bench,
        Verdict::Interference,
        Mechanism::CapabilityRemoved,
        without_tls(bench),
        "STARTTLS is missing here, and from here also on servers that are known to offer it: something on this side removes it",
    );
    // The controls are weighed for every opinion; here they are cited too.
    for control in bench.controls_here().take(3) {
        if let Some(list) = control.list(Layer::Plain) {
            opinion.evidence.push(evidence::reply(
                control,
                list.step,
                Mechanism::CapabilityRemoved,
                format!(
                    "{} is known to offer STARTTLS, and from here it does not",
                    control.dialogue.service.host
                ),
            ));
        }
    }
    cite_list(
        bench,
        &mut opinion,
        Mechanism::CapabilityRemoved,
        "the list given here lacks it as well",
    );
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::CapabilityRemoved,
        "and the command is refused",
    ));
    opinion.innocent.push("what is known of the controls may have grown old; it would have to have done so for all of them".into());
    opinion
}

fn own_refusal<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &crate::hearing::Step<'a>,
    known: &'static Dialect,
    refusal: Refusal,
) -> Opinion {
    let offers_elsewhere = bench.siblings.iter().copied().find(|sibling| {
        sibling.dialogue.service.scheme == bench.service.scheme
            && sibling.dialogue.service.host == bench.service.host
            && sibling.offered() == Some(true)
    });
    let promised = bench.policy.promises_tls(&bench.service.host);
    let (mechanism, reason): (_, String) = match refusal {
        Refusal::Busy => (
            Mechanism::TlsUnavailable,
            "the server says that its TLS is not available for now, and does not list STARTTLS"
                .into(),
        ),
        _ if offers_elsewhere.is_some() || promised => (
            Mechanism::HiddenFromUs,
            "the server does not offer STARTTLS to this client, and offers it to others".into(),
        ),
        Refusal::NotAdvertised => (
            Mechanism::NotOffered,
            "the server has TLS and does not offer it here: it says so itself".into(),
        ),
        _ => (
            Mechanism::NotOffered,
            "the server does not offer STARTTLS, and says so itself".into(),
        ),
    };
    let mut opinion = opinion(
        bench,
        Verdict::Server,
        mechanism,
        without_tls(bench),
        reason,
    );
    opinion
        .observations
        .extend([Observation::OwnRefusal, Observation::PlainList]);
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        mechanism,
        format!(
            "{}'s own words: the command arrived whole, and the server itself refuses it",
            known.name
        ),
    ));
    if let Some(unknown) = hearing
        .step(Layer::Plain, Label::UnknownVerb)
        .filter(|unknown| unknown.refused())
    {
        opinion.evidence.push(evidence::reply(
            hearing,
            unknown,
            mechanism,
            "a made-up command meets other words: the two are told apart at the far end",
        ));
    }
    cite_list(
        bench,
        &mut opinion,
        mechanism,
        "the list does not offer STARTTLS",
    );
    if let Some(sibling) = offers_elsewhere {
        let address = sibling
            .dialogue
            .service
            .address
            .map_or_else(String::new, |address| format!("{address}"));
        if let Some(list) = sibling.list(Layer::Plain) {
            opinion.evidence.push(evidence::reply(
                sibling,
                list.step,
                mechanism,
                format!("the same host offers STARTTLS at {address}"),
            ));
        }
    }
    if promised {
        opinion.innocent.push("the domain promises TLS for this server (DANE or MTA-STS), so this is a mistake or a rule about who asks".into());
    }
    opinion.innocent.push("a box that strips would have to imitate this server's own refusal, word for word; none is known to".into());
    opinion
}

/// Refused, and nothing says by whom: the server, more likely than not.
fn plain_refusal<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &crate::hearing::Step<'a>,
    like_unknown: Option<bool>,
) -> Opinion {
    let mechanism = if step.reply.status == Status::Transient {
        Mechanism::TlsUnavailable
    } else {
        Mechanism::NotOffered
    };
    let mut opinion = opinion(
        bench,
        Verdict::Server,
        mechanism,
        without_tls(bench),
        "the server does not offer STARTTLS, and refuses it when asked",
    );
    opinion.observations.push(Observation::PlainList);
    cite_list(
        bench,
        &mut opinion,
        mechanism,
        "the list does not offer STARTTLS and shows no sign of editing",
    );
    if like_unknown == Some(true) {
        opinion.observations.push(Observation::LikeUnknown);
        opinion.evidence.push(evidence::reply(hearing, step, mechanism, "STARTTLS meets the same words as a made-up command: this server was built without it, or it did not receive it"));
        opinion.innocent.push("a box that deletes the offer and rewrites the command in front of an unknown server would look the same; no sign of one was found".into());
        opinion.next = Some("ask the server's operator for the list as the server itself gives it, or check from another network".into());
    } else {
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            mechanism,
            "the command is refused",
        ));
    }
    opinion
}

/// The list alone was seen: who removed what, or whether anything was, cannot be told.
fn untested(bench: &Bench<'_, '_>) -> Opinion {
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

/// A success that is not 220.
fn odd_success<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &crate::hearing::Step<'a>,
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
    if as_noop {
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
    opinion.innocent.push("a server may be badly written; answering STARTTLS so would break every client that believes it".into());
    opinion
}

fn limited<'a>(hearing: &Hearing<'a>, step: &crate::hearing::Step<'a>) -> Opinion {
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

/// Offered, and no attempt was accepted.
fn refused(bench: &Bench<'_, '_>) -> Option<Opinion> {
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
        || (like_unknown == Some(true)
            && (split_noop_fails(bench) || knows_better(bench.dialect, step)))
        || (like_unknown.is_none() && knows_better(bench.dialect, step))
    {
        let mut opinion = opinion(
            bench,
            Verdict::Interference,
            Mechanism::CommandRewritten,
            State::Refused,
            "STARTTLS is offered and then rewritten on its way to the server",
        );
        add_observations(bench, &mut opinion);
        if opinion.observations.is_empty() {
            opinion
                .observations
                .push(Observation::LikeUnknownImpossible);
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Mechanism::CommandRewritten,
                unknown_claim(bench.dialect),
            ));
        }
        return Some(opinion);
    }
    let (observation, claim, product) = match wording::origin(hearing, step, bench.dialect) {
        Origin::Forged(forged, known) => (
            Observation::ForgedWords,
            forged_claim(known, forged.source),
            forged.product,
        ),
        Origin::Shape(why, Some(known)) => (
            if known.fixed {
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
                "{} never answers so: its source code holds no such reply to STARTTLS",
                known.name
            ),
            None,
        ),
        Origin::Shape(why, None) => {
            let mut opinion = Opinion::inconclusive(
                Mechanism::CommandRefused,
                Encryption::None,
                "STARTTLS is offered and refused in a form that does not fit the server's other replies",
            );
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Mechanism::CommandRefused,
                why,
            ));
            opinion.innocent.push(
                "the server is not one that is known here, so its own programming may explain it"
                    .into(),
            );
            return Some(opinion);
        }
        Origin::Own(known, refusal) => {
            return Some(unavailable(bench, hearing, step, Some((known, refusal))));
        }
        Origin::Unlisted => return Some(unavailable(bench, hearing, step, None)),
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

/// Offered and refused, by the server as far as can be told.
fn unavailable<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &crate::hearing::Step<'a>,
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

/// No answer to STARTTLS, while everything before it was answered.
fn silent(bench: &Bench<'_, '_>, state: State) -> Opinion {
    let silent: alloc::vec::Vec<Attempt<'_, '_>> = bench
        .attempts()
        .into_iter()
        .chain(bench.respelt())
        .filter(|(hearing, step)| {
            step.exchange.outcome == Outcome::TimedOut
                && hearing.steps.iter().any(|other| {
                    other.exchange.step < step.exchange.step
                        && other.answered()
                        && other.exchange.label != Label::Greeting
                })
        })
        .collect();
    let passes = bench
        .respelt()
        .into_iter()
        .any(|(hearing, step)| hearing.is_ready(step));
    if silent.len() < 2 && !passes {
        let mut opinion = Opinion::inconclusive(
            Mechanism::CommandDropped,
            Encryption::None,
            "STARTTLS met no answer, once",
        );
        for (hearing, step) in silent {
            opinion.evidence.push(evidence::sent(
                hearing,
                step,
                Mechanism::CommandDropped,
                "no answer came to this",
            ));
        }
        opinion
            .innocent
            .push("a server may hang while it starts its TLS; a second try would tell".into());
        opinion.next = Some("try again, and with another spelling of the command".into());
        return opinion;
    }
    let mut opinion = opinion(
        bench,
        Verdict::Interference,
        Mechanism::CommandDropped,
        state,
        "STARTTLS is swallowed on its way: every other command is answered, this one never",
    );
    let at_once = bench
        .dialect
        .filter(|dialect| dialect.distinguishes && dialect.fixed);
    opinion.observations.push(if at_once.is_some() {
        Observation::SilentImpossible
    } else {
        Observation::SilentForVerb
    });
    for (hearing, step) in silent.iter().take(3) {
        opinion.evidence.push(evidence::sent(
            hearing,
            step,
            Mechanism::CommandDropped,
            "no answer came to this, while the commands before it were answered",
        ));
    }
    add_observations(bench, &mut opinion);
    opinion.innocent.push(match at_once {
        Some(known) => format!(
            "a server may hang while it starts its TLS; {} answers the command before that",
            known.name
        ),
        None => {
            "a server may hang while it starts its TLS; it would have to hang every time".into()
        }
    });
    opinion
}

/// The connection ended when the verb was sent.
fn cut_off<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &crate::hearing::Step<'a>,
) -> Opinion {
    let reset = step.exchange.outcome == Outcome::Reset;
    let dying = bench.dying_controls();
    if !dying.is_empty() {
        let mut opinion = opinion(
            bench,
            Verdict::Interference,
            Mechanism::HandshakeReset,
            State::NoHandshake,
            "the connection is cut as soon as STARTTLS is sent, here and on servers that are known to work",
        );
        opinion.observations.push(Observation::ControlsDie);
        opinion.evidence.push(evidence::sent(
            hearing,
            step,
            Mechanism::HandshakeReset,
            "the connection ended after this",
        ));
        for control in dying.iter().take(3) {
            opinion.evidence.push(evidence::whole(
                control.id,
                Mechanism::HandshakeReset,
                format!("{} is cut off alike", control.dialogue.service.host),
                "",
            ));
        }
        return opinion;
    }
    let passes = bench
        .respelt()
        .into_iter()
        .any(|(hearing, step)| hearing.is_ready(step));
    if passes {
        let mut opinion = opinion(
            bench,
            Verdict::Interference,
            Mechanism::HandshakeReset,
            State::Refused,
            "the connection is cut as soon as STARTTLS is sent, unless it is spelt otherwise",
        );
        opinion.evidence.push(evidence::sent(
            hearing,
            step,
            Mechanism::HandshakeReset,
            "the connection was cut after this",
        ));
        add_observations(bench, &mut opinion);
        return opinion;
    }
    if let Some(known) = bench
        .dialect
        .filter(|dialect| dialect.distinguishes && dialect.fixed && bench.offer() == Offer::Never)
    {
        let mut opinion = opinion(
            bench,
            Verdict::Interference,
            Mechanism::CapabilityRemoved,
            without_tls(bench),
            "STARTTLS is missing from the list, and whoever asks for it all the same is cut off",
        );
        opinion.observations.push(Observation::SilentImpossible);
        opinion.evidence.push(evidence::sent(
            hearing,
            step,
            Mechanism::CapabilityRemoved,
            format!(
                "the connection ended after this; {} answers it, with TLS and without",
                known.name
            ),
        ));
        cite_list(
            bench,
            &mut opinion,
            Mechanism::CapabilityRemoved,
            "the list that arrives lacks STARTTLS",
        );
        opinion.innocent.push("a server that crashes at the command would look the same; its list says that it has no TLS to crash in".into());
        return opinion;
    }
    let mut opinion = if reset {
        Opinion::inconclusive(
            Mechanism::HandshakeReset,
            Encryption::None,
            "the connection is reset as soon as STARTTLS is sent",
        )
    } else {
        let mut opinion = opinion(
            bench,
            Verdict::Server,
            Mechanism::StarttlsBroken,
            State::Refused,
            "the connection is closed as soon as STARTTLS is sent",
        );
        opinion.observations.push(Observation::ServerFails);
        opinion.certain = Some(Confidence::Indicated);
        opinion
    };
    let supports = opinion.mechanism.unwrap_or(Mechanism::HandshakeReset);
    opinion.evidence.push(evidence::sent(
        hearing,
        step,
        supports,
        "the connection ended after this",
    ));
    opinion
        .innocent
        .push("a server that crashes when it starts TLS ends the connection just so".into());
    opinion.next = Some(
        "compare with implicit TLS on the same host, and with other providers' servers from here"
            .into(),
    );
    opinion
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
            .collect::<alloc::vec::Vec<_>>()
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

/// The known deleter whose pattern a list fits, against what the server would list.
fn deletion(
    bench: &Bench<'_, '_>,
    hearing: &Hearing<'_>,
    refusal: Option<&str>,
) -> Option<&'static Deleter> {
    let list = hearing.list(Layer::Plain)?;
    if hearing.protocol() != Protocol::Smtp || list.items.items.is_empty() {
        return None;
    }
    let gateway = bench.gateway().map(|found| found.product);
    DELETERS.iter().find(|deleter| {
        if deleter.keeps.is_empty() {
            // Deletes by name: the greeting must name it too.
            return gateway == Some(deleter.product)
                && !deleter
                    .deletes
                    .iter()
                    .any(|keyword| list.items.has(keyword));
        }
        if !list
            .items
            .keywords()
            .all(|keyword| deleter.keeps.contains(&keyword))
        {
            return false;
        }
        let missing = bench.dialect.map_or(0, |known| {
            known
                .always
                .iter()
                .filter(|keyword| !list.items.has(keyword))
                .count()
        });
        let words = refusal.is_some_and(|line| {
            crate::fingerprint::catalogue::FORGED.iter().any(|one| {
                one.product == Some(deleter.product) && pattern::matches(one.pattern, line)
            })
        });
        missing >= 2 || (words && list.items.items.len() >= 2)
    })
}

fn add_deletion(bench: &Bench<'_, '_>, opinion: &mut Opinion) {
    let refusal = bench
        .attempts()
        .into_iter()
        .find(|(_, step)| step.refused())
        .map(|(_, step)| step.line.clone());
    let Some((hearing, found)) = bench
        .hearings
        .iter()
        .find_map(|hearing| Some((*hearing, deletion(bench, hearing, refusal.as_deref())?)))
    else {
        return;
    };
    let Some(list) = hearing.list(Layer::Plain) else {
        return;
    };
    opinion.observations.push(Observation::KnownDeletion);
    opinion.product = Some(found.product);
    let lacking = bench.dialect.map(|known| {
        (
            known.name,
            known
                .always
                .iter()
                .copied()
                .filter(|keyword| !list.items.has(keyword))
                .collect::<alloc::vec::Vec<_>>(),
        )
    });
    let claim = match lacking.filter(|(_, lacking)| !lacking.is_empty()) {
        Some((name, lacking)) => format!(
            "{name} always lists {}, and this list keeps only what {} lets through",
            lacking.join(", "),
            found.name
        ),
        None => format!(
            "this list keeps only what {} lets through ({})",
            found.name, found.source
        ),
    };
    opinion.evidence.push(evidence::reply(
        hearing,
        list.step,
        Mechanism::CapabilityRemoved,
        claim,
    ));
}
