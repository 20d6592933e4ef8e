//! `* PREAUTH` to a stranger: STARTTLS is then forbidden (RFC 9051 §6.2.1), whoever said so.

use crate::{
    Encryption, Mechanism, Verdict,
    attribution::likelihood::{Observation, State},
    bench::Bench,
    evidence,
    judge::{Opinion, without_tls},
};
use alloc::format;
use hoofbeat_session::{Layer, Protocol, Status};

/// `* PREAUTH` before anybody logged in: STARTTLS is then forbidden (RFC 9051 §6.2.1).
pub(super) fn preauthenticated(bench: &Bench<'_, '_>) -> Option<Opinion> {
    if let Some(opinion) = two_minds(bench) {
        return Some(opinion);
    }
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

/// A greeting that says logged in, and behind it a server that starts TLS as for a stranger: they are not one.
fn two_minds(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let (hearing, greeting, upgrade) = bench.hearings.iter().find_map(|hearing| {
        let greeting = hearing
            .greeting()
            .filter(|step| step.reply.status == Status::Preauthenticated)?;
        let upgrade = hearing.upgrades().find(|step| hearing.is_ready(step))?;
        Some((*hearing, greeting, upgrade)).filter(|_| hearing.came_up())
    })?;
    let encryption = if bench.proven(hearing) {
        Encryption::Verified
    } else {
        Encryption::Unverified
    };
    // A server that nobody knows may forget its own state; of a known one the login process was read.
    let mut opinion = match bench.dialect.filter(|known| known.authoritative) {
        Some(known) => {
            let mut opinion = Opinion::new(
                Verdict::Interference,
                Mechanism::PlaintextInjected,
                encryption,
                "the greeting says that we are already logged in, and the server behind it knows nothing of that: the greeting is not its own",
            );
            opinion.state = Some(State::Odd);
            opinion.observations.push(Observation::ForeignLeftover);
            opinion.innocent.push(format!(
                "a server may forget that it logged us in; {} has no STARTTLS left once it has",
                known.name
            ));
            opinion
        }
        None => {
            let mut opinion = Opinion::inconclusive(
                Mechanism::PlaintextInjected,
                encryption,
                "the greeting says that we are already logged in, and STARTTLS, which that forbids, works all the same",
            );
            opinion
                .innocent
                .push("a server that is badly written may greet so and mean nothing by it".into());
            opinion.next = Some("compare with the greeting on port 993 of the same host".into());
            opinion
        }
    };
    opinion.evidence.push(evidence::reply(
        hearing,
        greeting,
        Mechanism::PlaintextInjected,
        "PREAUTH to a stranger: no login preceded it",
    ));
    opinion.evidence.push(evidence::reply(
        hearing,
        upgrade,
        Mechanism::PlaintextInjected,
        "STARTTLS is accepted, and TLS comes up: for this server nobody is logged in (RFC 9051 §6.2.1)",
    ));
    Some(opinion)
}
