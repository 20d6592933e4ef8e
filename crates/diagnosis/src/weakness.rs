//! What weakens a service that otherwise works: each with its citation.

use alloc::{format, vec::Vec};
use hoofbeat_observation::{Scheme, Variation, Verification};
use hoofbeat_policy::mta_sts::document::Mode;
use hoofbeat_session::{Label, Layer, Outcome, Protocol, Status};

use crate::{
    Evidence, Weakness,
    bench::{Bench, Offer},
    evidence, sunset, time,
};

/// How long before its end a certificate is worth a warning: two weeks, a renewal's usual slack.
const SOON: i64 = 14 * 86_400;

/// Ways to log in that hand the password, or what is as good, to whoever listens.
const REVEALING: &[&str] = &["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "USER"];

/// Every weakness of a service, and the citations.
pub(crate) fn find(bench: &Bench<'_, '_>) -> (Vec<Weakness>, Vec<Evidence>) {
    let mut evidence = Vec::new();
    logins(bench, &mut evidence);
    preauth(bench, &mut evidence);
    injection(bench, &mut evidence);
    certificate(bench, &mut evidence);
    published(bench, &mut evidence);
    let mut weaknesses = Vec::new();
    for (weakness, _) in &evidence {
        if !weaknesses.contains(weakness) {
            weaknesses.push(*weakness);
        }
    }
    (
        weaknesses,
        evidence.into_iter().map(|(_, one)| one).collect(),
    )
}

type Found = Vec<(Weakness, Evidence)>;

fn logins(bench: &Bench<'_, '_>, found: &mut Found) {
    let protocol = bench.protocol();
    let mut first = true;
    for hearing in &bench.hearings {
        // The lists of one server are cited once, by its first dialogue that has one.
        let Some(list) = hearing.list(Layer::Plain).filter(|_| first) else {
            continue;
        };
        first = false;
        let ways: Vec<_> = list
            .items
            .auth(protocol)
            .into_iter()
            .filter(|way| REVEALING.contains(&way.as_str()))
            .collect();
        if !ways.is_empty() {
            let claim = format!("logging in by {} is offered before TLS", ways.join(", "));
            found.push((
                Weakness::AuthBeforeTls,
                evidence::reply(hearing, list.step, Weakness::AuthBeforeTls, claim),
            ));
        }
        if protocol == Protocol::Imap
            && !list.items.login_disabled()
            && hearing.list_steps(Layer::Plain).any(|step| step.positive())
        {
            let claim =
                "LOGINDISABLED is missing, so LOGIN may be sent before TLS (RFC 9051 §6.2.3)";
            found.push((
                Weakness::LogindisabledMissing,
                evidence::reply(hearing, list.step, Weakness::LogindisabledMissing, claim),
            ));
        }
    }
}

fn preauth(bench: &Bench<'_, '_>, found: &mut Found) {
    let greeting = bench.hearings.iter().find_map(|hearing| {
        let step = hearing.greeting().filter(|step| {
            step.exchange.layer == Layer::Plain && step.reply.status == Status::Preauthenticated
        })?;
        Some((*hearing, step))
    });
    if let Some((hearing, step)) = greeting {
        found.push((
            Weakness::Preauth,
            evidence::reply(
                hearing,
                step,
                Weakness::Preauth,
                "the session starts logged in, which forbids STARTTLS (RFC 9051 §6.2.1)",
            ),
        ));
    }
}

fn injection(bench: &Bench<'_, '_>, found: &mut Found) {
    for hearing in bench
        .hearings
        .iter()
        .filter(|hearing| hearing.dialogue.variation == Variation::Injection)
    {
        let answer = hearing.steps.iter().find(|step| {
            step.exchange.label == Label::Injected
                && step.exchange.layer == Layer::Tls
                && step.exchange.outcome == Outcome::Replied
                && !step.bytes.is_empty()
        });
        if let Some(step) = answer {
            let claim = "a command sent in the clear behind STARTTLS was answered inside TLS (CVE-2011-0411 class)";
            found.push((
                Weakness::CommandInjection,
                evidence::reply(hearing, step, Weakness::CommandInjection, claim),
            ));
            return;
        }
    }
}

fn certificate(bench: &Bench<'_, '_>, found: &mut Found) {
    if let Some(hearing) = bench.completed().next()
        && let Some(handshake) = hearing.completed()
    {
        // An archive is judged by the clock of its day, so that it gives the same verdict again.
        let now = if hearing.started > 0 {
            hearing.started
        } else {
            bench.settings.now
        };
        if let Some(end) = hearing.leaf().and_then(|leaf| leaf.not_after)
            && end > now
            && end - now < SOON
        {
            let claim = format!("the certificate ends {}", time::rfc3339(end));
            found.push((
                Weakness::ExpiresSoon,
                evidence::whole(
                    hearing.id,
                    Weakness::ExpiresSoon,
                    claim,
                    &time::rfc3339(end),
                ),
            ));
        }
        for sentence in sunset::in_handshake(handshake) {
            let shown = [handshake.version.as_deref(), handshake.cipher.as_deref()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", ");
            found.push((
                Weakness::OldTls,
                evidence::whole(hearing.id, Weakness::OldTls, sentence, &shown),
            ));
        }
    }
    for hearing in &bench.hearings {
        for sentence in hearing.dialogue.legacy.iter().flat_map(sunset::in_hello) {
            let shown = hearing
                .dialogue
                .legacy
                .as_ref()
                .and_then(|hello| hello.version.as_deref())
                .unwrap_or_default();
            found.push((
                Weakness::OldTls,
                evidence::whole(hearing.id, Weakness::OldTls, sentence, shown),
            ));
        }
    }
}

fn published(bench: &Bench<'_, '_>, found: &mut Found) {
    // DANE for SMTP and MTA-STS are about mail between servers.
    if bench.service.scheme != Scheme::Smtp || bench.known.is_some() {
        return;
    }
    let policy = &bench.policy;
    if let Some((id, _)) = &policy.tlsa {
        let contradicted = bench.completed().find(|hearing| {
            hearing
                .completed()
                .and_then(|handshake| policy.tlsa_names_chain(handshake))
                == Some(false)
        });
        if let Some(hearing) = contradicted {
            let shown = hearing
                .leaf()
                .map(|leaf| leaf.subject.as_str())
                .unwrap_or_default();
            let claim = "no TLSA record of the secure answer names the certificate that is served: DANE senders will not deliver";
            found.push((
                Weakness::PolicyMismatch,
                evidence::whole(id, Weakness::PolicyMismatch, claim, shown),
            ));
        }
    }
    if let Some((id, document)) = &policy.mta_sts
        && document.mode == Mode::Enforce
    {
        let host = &bench.service.host;
        if !document.mx.iter().any(|pattern| pattern.matches(host)) {
            let claim = format!(
                "the MTA-STS policy (enforce) does not list {host}: senders that honour it will not deliver here"
            );
            found.push((
                Weakness::PolicyMismatch,
                evidence::whole(id, Weakness::PolicyMismatch, claim, host),
            ));
        } else if bench.completed().next().is_some()
            && !bench.completed().any(|hearing| {
                hearing.completed().is_some_and(|handshake| {
                    matches!(
                        handshake.verification,
                        Verification::Verified { .. } | Verification::Unknown
                    )
                })
            })
        {
            let claim = "the MTA-STS policy (enforce) wants a certificate that verifies: senders that honour it will not deliver";
            found.push((
                Weakness::PolicyMismatch,
                evidence::whole(id, Weakness::PolicyMismatch, claim, host),
            ));
        } else if bench.offer() == Offer::Never {
            let claim = "the MTA-STS policy (enforce) wants STARTTLS, which is not offered from here: senders that honour it will not deliver";
            found.push((
                Weakness::PolicyMismatch,
                evidence::whole(id, Weakness::PolicyMismatch, claim, host),
            ));
        }
    }
    if policy.is_absent() && bench.hearings.iter().any(|hearing| hearing.connected()) {
        let id = bench.hearings.first().map_or("", |hearing| hearing.id);
        let claim = "neither a DNSSEC-secure TLSA record nor an MTA-STS policy is published: stripping goes unnoticed by senders";
        found.push((
            Weakness::NoPolicy,
            evidence::whole(id, Weakness::NoPolicy, claim, ""),
        ));
    }
}
