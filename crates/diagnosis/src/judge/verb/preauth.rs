//! `* PREAUTH` to a stranger: STARTTLS is then forbidden (RFC 9051 §6.2.1), whoever said so.

use crate::{
    Encryption, Mechanism, Verdict,
    attribution::likelihood::{Observation, State},
    bench::Bench,
    evidence,
    judge::{Opinion, without_tls},
};
use hoofbeat_session::{Layer, Protocol, Status};

/// `* PREAUTH` before anybody logged in: STARTTLS is then forbidden (RFC 9051 §6.2.1).
pub(super) fn preauthenticated(bench: &Bench<'_, '_>) -> Option<Opinion> {
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
