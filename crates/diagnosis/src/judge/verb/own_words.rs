//! Refusals that the server may well have worded itself.

use crate::{
    Mechanism, Verdict,
    attribution::likelihood::Observation,
    bench::Bench,
    dialect::{Dialect, Refusal},
    evidence,
    hearing::{Hearing, Step},
    judge::{
        Opinion,
        verb::{add_observations, cite_list, opinion},
        without_tls,
    },
};
use alloc::{format, string::String};
use hoofbeat_session::{Label, Layer, Protocol, Status};

pub(super) fn own_refusal<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
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

pub(super) fn known_to_offer(bench: &Bench<'_, '_>) -> bool {
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

pub(super) fn contradicts_knowledge<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
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

/// Refused, and nothing says by whom: the server, more likely than not.
pub(super) fn plain_refusal<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
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
