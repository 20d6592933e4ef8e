//! No answer to STARTTLS, or a connection that ends at it.

use crate::{
    Confidence, Encryption, Mechanism, Verdict,
    attribution::likelihood::{Observation, State},
    bench::{Attempt, Bench, Offer},
    evidence,
    hearing::{Hearing, Step},
    judge::{
        Opinion,
        verb::{add_observations, cite_list, opinion},
        without_tls,
    },
};
use alloc::{format, vec::Vec};
use hoofbeat_session::{Label, Outcome};

/// No answer to STARTTLS, while everything before it was answered.
pub(super) fn silent(bench: &Bench<'_, '_>, state: State) -> Opinion {
    let silent: Vec<Attempt<'_, '_>> = bench
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
    let at_once = bench.dialect.filter(|dialect| dialect.answers_at_once);
    opinion.observations.push(if at_once.is_some() {
        Observation::SilentImpossible
    } else {
        Observation::SilentForVerb
    });
    let swallowed =
        |(hearing, step): &&Attempt<'_, '_>| hearing.dialogue.swallowed == Some(step.exchange.step);
    for attempt in silent.iter().take(3) {
        let (hearing, step) = attempt;
        opinion.evidence.push(evidence::sent(
            hearing,
            step,
            Mechanism::CommandDropped,
            if swallowed(&attempt) {
                "no answer came to this, and however often it was sent again, the server's host did not even acknowledge it; the commands before it were answered"
            } else {
                "no answer came to this, while the commands before it were answered"
            },
        ));
    }
    add_observations(bench, &mut opinion);
    opinion.innocent.push(match at_once {
        _ if !silent.is_empty() && silent.iter().all(|attempt| swallowed(&attempt)) => {
            "a server may hang while it starts its TLS; its host would acknowledge the command all the same, and did not".into()
        }
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
pub(super) fn cut_off<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
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
        .filter(|dialect| dialect.answers_at_once && bench.offer() == Offer::Never)
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
    } else if bench.offer() == Offer::Never {
        // Some servers hang up on whatever they do not know; nothing was agreed to, so nothing is broken.
        let mut opinion = opinion(
            bench,
            Verdict::Server,
            Mechanism::NotOffered,
            without_tls(bench),
            "the server does not offer STARTTLS, and hangs up when asked",
        );
        opinion.observations.push(Observation::PlainList);
        opinion.certain = Some(Confidence::Indicated);
        cite_list(
            bench,
            &mut opinion,
            Mechanism::NotOffered,
            "the list does not offer STARTTLS",
        );
        opinion
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
