//! Whose certificate is it? A forger's, the operator's mistake, or the server's, proven.
//!
//! A self-signed certificate or one of an unknown authority accuses nobody: operators do that every day.
//! Interception needs an intercepting product's issuer over this host's name, one private issuer or key for
//! unrelated hosts, a copy of the host's real certificate, or a contradiction with a secure TLSA answer.

use alloc::{format, vec::Vec};
use hoofbeat_observation::{Certificate, Handshake, InvalidReason, Verification};
use hoofbeat_session::Layer;

use crate::{
    Confidence, Encryption, LocationClass, Mechanism, TlsFacts, Verdict,
    attribution::likelihood::{Observation, State},
    bench::{Bench, Offer},
    evidence,
    fingerprint::catalogue::{INTERCEPTORS, Interceptor},
    hearing::Hearing,
    judge::{Opinion, masked},
    time,
};

/// TLS facts of the first dialogue in which it came up.
pub(crate) fn facts(bench: &Bench<'_, '_>) -> Option<TlsFacts> {
    let handshake = bench.completed().next()?.handshake()?;
    let leaf = handshake.chain.first();
    Some(TlsFacts {
        version: handshake.version.clone(),
        cipher: handshake.cipher.clone(),
        issuer: leaf.map(|leaf| leaf.issuer.clone()),
        not_after: leaf.and_then(|leaf| leaf.not_after).map(time::rfc3339),
        names: leaf.map(|leaf| leaf.names.clone()).unwrap_or_default(),
    })
}

/// Whether a certificate's names cover a host: whole labels, one wildcard on the left (RFC 9525 §6.3).
fn covers(names: &[alloc::string::String], host: &str) -> bool {
    let host = host.trim_end_matches('.');
    names.iter().any(|name| {
        name.eq_ignore_ascii_case(host)
            || name.strip_prefix("*.").is_some_and(|parent| {
                host.split_once('.')
                    .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent))
            })
    })
}

fn interceptor_of(hearing: &Hearing<'_>) -> Option<(&'static Interceptor, alloc::string::String)> {
    let handshake = hearing.completed()?;
    let leaf = handshake.chain.first()?;
    // A product's own certificate on the product's own port is no forgery: it must claim to be this host.
    let host = &hearing.dialogue.service.host;
    let claims = matches!(handshake.verification, Verification::Verified { .. })
        || covers(&leaf.names, host)
        || hearing
            .dialogue
            .service
            .address
            .is_some_and(|address| covers(&leaf.names, &format!("{address}")));
    if !claims {
        return None;
    }
    handshake.chain.iter().find_map(|certificate| {
        let issuer = certificate.issuer.to_ascii_lowercase();
        INTERCEPTORS
            .iter()
            .find(|known| issuer.contains(known.mark))
            .map(|known| (known, certificate.issuer.clone()))
    })
}

/// Whether some dialogue showed an intercepting product's certificate.
pub(crate) fn has_interceptor(bench: &Bench<'_, '_>) -> bool {
    bench
        .completed()
        .any(|hearing| interceptor_of(hearing).is_some())
}

/// Whether a control's certificate verifies and no intercepting product signed it.
pub(crate) fn looks_genuine(control: &Hearing<'_>) -> bool {
    control
        .completed()
        .is_some_and(|handshake| matches!(handshake.verification, Verification::Verified { .. }))
        && interceptor_of(control).is_none()
}

fn reason_of(handshake: &Handshake) -> Option<(InvalidReason, &str)> {
    match &handshake.verification {
        Verification::Invalid { reason, detail } => Some((*reason, detail)),
        _ => None,
    }
}

/// TLS ends at somebody else.
pub(crate) fn intercepted(bench: &Bench<'_, '_>) -> Option<Opinion> {
    by_product(bench).or_else(|| by_contrast(bench))
}

fn opinion(state: State, reason: impl Into<alloc::string::String>) -> Opinion {
    let mut opinion = Opinion::new(
        Verdict::Interference,
        Mechanism::TlsIntercepted,
        Encryption::Unverified,
        reason,
    );
    opinion.state = Some(state);
    opinion
}

fn by_product(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let (hearing, (known, issuer)) = bench
        .completed()
        .find_map(|hearing| Some((hearing, interceptor_of(hearing)?)))?;
    let mut opinion = opinion(
        State::Odd,
        "TLS ends at a scanner that signs certificates in the server's name, not at the server",
    );
    opinion.product = known.product;
    opinion.observations.push(if known.on_host {
        Observation::HostInterceptorIssuer
    } else {
        Observation::InterceptorIssuer
    });
    opinion.evidence.push(evidence::whole(
        hearing.id,
        Mechanism::TlsIntercepted,
        "the certificate for this host was signed by a product that intercepts",
        &issuer,
    ));
    if known.on_host {
        opinion.evidence.push(evidence::whole(
            hearing.id,
            LocationClass::ThisHost,
            "this product runs on the client's own computer",
            &issuer,
        ));
    }
    let control = bench
        .controls
        .iter()
        .find(|control| control.leaf().is_some_and(|leaf| leaf.issuer == issuer));
    if let Some(control) = control {
        opinion.observations.push(Observation::ControlsAffected);
        opinion.evidence.push(evidence::whole(
            control.id,
            Mechanism::TlsIntercepted,
            format!(
                "the same issuer signs for {}",
                control.dialogue.service.host
            ),
            &issuer,
        ));
    }
    opinion.innocent.push(
        "such a scanner is usually there on purpose; whoever runs it can read everything".into(),
    );
    Some(opinion)
}

fn by_contrast(bench: &Bench<'_, '_>) -> Option<Opinion> {
    // Where any connection proved the server, the others are a pool.
    if bench.is_proven() {
        return None;
    }
    let (hearing, handshake, leaf) = bench.completed().find_map(|hearing| {
        let handshake = hearing.completed()?;
        Some((hearing, handshake, handshake.chain.first()?))
    })?;
    let (reason, _) = reason_of(handshake)?;
    let forged = matches!(
        reason,
        InvalidReason::UnknownIssuer | InvalidReason::SelfSigned
    );
    if !forged {
        return None;
    }
    if let Some((control, what)) = shared(bench, leaf) {
        let mut opinion = opinion(
            // The prior of bad certificates is of lone ones.
            State::Odd,
            format!(
                "one {what} stands behind certificates for hosts that have nothing to do with each other: TLS ends at somebody between"
            ),
        );
        opinion.observations.push(Observation::SharedIssuer);
        cite(&mut opinion, hearing, leaf, format!("the {what} here"));
        if let Some(other) = control.leaf() {
            cite(
                &mut opinion,
                control,
                other,
                format!("the same {what} for {}", control.dialogue.service.host),
            );
        }
        return Some(opinion);
    }
    if let Some(sibling) = cloned(bench, leaf) {
        let mut opinion = opinion(
            State::BadCertificate,
            "the certificate copies the host's real one, names and dates, with another key",
        );
        opinion.observations.push(Observation::ClonedCertificate);
        cite(&mut opinion, hearing, leaf, "the copy");
        if let Some(other) = sibling.leaf() {
            cite(
                &mut opinion,
                sibling,
                other,
                format!(
                    "the original, on port {}, which verifies",
                    sibling.dialogue.service.port
                ),
            );
        }
        return Some(opinion);
    }
    if bench.policy.tlsa_names_chain(handshake) == Some(false) {
        let tlsa = bench.policy.tlsa.as_ref().map_or("", |(id, _)| *id);
        let claim = "no TLSA record of a DNSSEC-secure answer names this certificate";
        if reason == InvalidReason::UnknownIssuer {
            let mut opinion = opinion(
                State::BadCertificate,
                "the certificate is of an unknown authority, and contradicts what the domain publishes under DNSSEC",
            );
            opinion.observations.push(Observation::TlsaContradicts);
            cite(
                &mut opinion,
                hearing,
                leaf,
                "signed by an authority that nobody trusts",
            );
            opinion
                .evidence
                .push(evidence::whole(tlsa, Mechanism::TlsIntercepted, claim, ""));
            opinion.innocent.push("the operator may have changed certificate and authority and forgotten the TLSA records".into());
            return Some(opinion);
        }
        let mut opinion = Opinion::inconclusive(
            Mechanism::TlsIntercepted,
            Encryption::Unverified,
            "the certificate is self-signed and contradicts what the domain publishes under DNSSEC: a forgotten record, or somebody between",
        );
        cite(&mut opinion, hearing, leaf, "the certificate signed itself");
        opinion
            .evidence
            .push(evidence::whole(tlsa, Mechanism::TlsIntercepted, claim, ""));
        opinion.innocent.push("renewing a key without renewing the TLSA records does this, and is the commonest DANE mistake".into());
        opinion.next = Some(
            "ask the operator for the key's fingerprint, or check from another network".into(),
        );
        return Some(opinion);
    }
    if let Some((operator, _)) = bench.known {
        let mut opinion = opinion(
            State::BadCertificate,
            format!("{operator}'s server shows a certificate of an unknown authority from here"),
        );
        opinion.observations.push(Observation::KnownToOffer);
        cite(
            &mut opinion,
            hearing,
            leaf,
            format!("not what {operator} uses"),
        );
        return Some(opinion);
    }
    None
}

fn cite(
    opinion: &mut Opinion,
    hearing: &Hearing<'_>,
    leaf: &Certificate,
    claim: impl Into<alloc::string::String>,
) {
    opinion.evidence.push(evidence::whole(
        hearing.id,
        Mechanism::TlsIntercepted,
        claim,
        &format!("subject {}, issuer {}", leaf.subject, leaf.issuer),
    ));
}

/// A control of another host with the same key, or the same issuer that nobody trusts.
fn shared<'c, 'a>(
    bench: &Bench<'c, 'a>,
    leaf: &Certificate,
) -> Option<(&'c Hearing<'a>, &'static str)> {
    bench
        .controls
        .iter()
        .copied()
        .filter(|control| control.dialogue.service != *bench.service)
        .find_map(|control| {
            let handshake = control.completed()?;
            let other = handshake.chain.first()?;
            if !other.public_key.is_empty() && other.public_key == leaf.public_key {
                return Some((control, "key"));
            }
            let untrusted = matches!(
                reason_of(handshake),
                Some((InvalidReason::UnknownIssuer, _))
            );
            (untrusted && other.issuer == leaf.issuer && leaf.issuer != leaf.subject)
                .then_some((control, "issuer"))
        })
}

/// A verified sibling whose names and dates this certificate copies, with another key.
fn cloned<'c, 'a>(bench: &Bench<'c, 'a>, leaf: &Certificate) -> Option<&'c Hearing<'a>> {
    let sibling = bench.working_sibling()?;
    let original = sibling.leaf()?;
    let copies = original.subject == leaf.subject
        && original.names == leaf.names
        && !leaf.names.is_empty()
        && original.not_after.is_some()
        && original.not_after == leaf.not_after
        && original.not_before == leaf.not_before
        && original.public_key != leaf.public_key;
    copies.then_some(sibling)
}

/// TLS came up: proven, or not.
pub(crate) fn judge(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let completed: Vec<&Hearing<'_>> = bench.completed().collect();
    let first = *completed.first()?;
    let handshake = first.completed()?;
    if let Some(bad) = completed
        .iter()
        .copied()
        .find(|hearing| hearing.completed().and_then(reason_of).is_some() && !bench.proven(hearing))
    {
        let by_address = bench.service.host.parse::<core::net::IpAddr>().is_ok();
        return Some(match bad.completed().and_then(reason_of) {
            Some((InvalidReason::WrongName, _)) if by_address => asked_by_address(bad),
            _ => invalid(bench, bad, completed.len()),
        });
    }
    if !completed.iter().any(|hearing| bench.proven(hearing)) {
        let mut opinion = Opinion::inconclusive(
            None,
            Encryption::Unverified,
            "TLS comes up; the record does not show whether the certificate verifies",
        );
        opinion.evidence.push(evidence::whole(
            first.id,
            Verdict::Inconclusive,
            "the handshake completed",
            handshake.version.as_deref().unwrap_or_default(),
        ));
        masked::add_harmless(bench, &mut opinion);
        opinion.next = Some("check live: that verifies the certificate".into());
        return Some(opinion);
    }
    let by = if matches!(handshake.verification, Verification::Verified { .. }) {
        "its certificate verifies"
    } else {
        "its key is the one the domain publishes under DNSSEC"
    };
    let mut opinion = Opinion::new(
        Verdict::Clear,
        None,
        Encryption::Verified,
        format!("mail to this service is encrypted, and {by}"),
    );
    opinion.certain = Some(if first.is_text() {
        Confidence::Likely
    } else {
        Confidence::Established
    });
    if !bench.service.scheme.is_implicit_tls()
        && let Some(list) = first
            .lists(Layer::Plain)
            .into_iter()
            .find(|list| list.items.offers_starttls(first.protocol()))
    {
        let wanted = list
            .items
            .items
            .iter()
            .find(|item| item.keyword == "STARTTLS" || item.keyword == "STLS");
        if let Some(item) = wanted {
            opinion.evidence.push(evidence::part(
                first,
                list.step,
                item.range,
                Verdict::Clear,
                "STARTTLS is offered",
            ));
        }
    }
    let shown = [
        handshake.version.as_deref(),
        handshake.cipher.as_deref(),
        handshake.chain.first().map(|leaf| leaf.subject.as_str()),
    ];
    let shown: Vec<&str> = shown.into_iter().flatten().collect();
    opinion.evidence.push(evidence::whole(
        first.id,
        Verdict::Clear,
        format!("TLS came up, and {by}"),
        &shown.join(", "),
    ));
    masked::add_harmless(bench, &mut opinion);
    if bench.offer() == Offer::Sometimes {
        opinion
            .innocent
            .push("not every connection was offered STARTTLS".into());
    }
    Some(opinion)
}

/// Certificates name hosts, seldom addresses: who asks by address cannot learn whose server it is.
fn asked_by_address(hearing: &Hearing<'_>) -> Opinion {
    let names = hearing
        .leaf()
        .map(|leaf| leaf.names.join(", "))
        .unwrap_or_default();
    let mut opinion = Opinion::inconclusive(
        None,
        Encryption::Unverified,
        format!(
            "TLS comes up with a certificate for {names}; you asked by address, so it cannot be told whether that is the right server"
        ),
    );
    opinion.evidence.push(evidence::whole(
        hearing.id,
        Verdict::Inconclusive,
        "the certificate is trusted and names hosts, not this address",
        &names,
    ));
    opinion.next = Some(format!(
        "check by the name that the certificate bears: {names}"
    ));
    opinion
}

fn invalid(bench: &Bench<'_, '_>, hearing: &Hearing<'_>, completed: usize) -> Opinion {
    let handshake = hearing.completed();
    let (reason, detail) = handshake
        .and_then(reason_of)
        .unwrap_or((InvalidReason::Other, ""));
    let what = match reason {
        InvalidReason::Expired => "has expired",
        InvalidReason::NotYetValid => "is not valid yet (or this computer's clock is wrong)",
        InvalidReason::SelfSigned => "signed itself",
        InvalidReason::UnknownIssuer => "is of an authority that is not trusted",
        InvalidReason::WrongName => "names other hosts",
        InvalidReason::BadSignature => "bears a wrong signature",
        InvalidReason::Malformed => "cannot be read",
        InvalidReason::Other => "does not verify",
    };
    let mut opinion = Opinion::new(
        Verdict::Server,
        Mechanism::CertificateInvalid,
        Encryption::Unverified,
        format!("TLS comes up, but the certificate {what}"),
    );
    opinion.state = Some(State::BadCertificate);
    opinion.observations.push(Observation::OperatorMistake);
    let leaf = hearing.leaf();
    let shown = leaf.map_or_else(
        || detail.into(),
        |leaf| format!("{detail}; subject {}, issuer {}", leaf.subject, leaf.issuer),
    );
    opinion.evidence.push(evidence::whole(
        hearing.id,
        Mechanism::CertificateInvalid,
        format!("the certificate {what}"),
        &shown,
    ));
    if bench.is_proven() {
        opinion.innocent.push(format!("of {completed} connections some showed a good certificate: machines behind one address, not all set up alike"));
    }
    masked::add_harmless(bench, &mut opinion);
    opinion.innocent.push(match reason {
        InvalidReason::SelfSigned | InvalidReason::UnknownIssuer => {
            "somebody between could show such a certificate too; nothing here points to one, and operators use them every day".into()
        }
        _ => "an operator's mistake; somebody between would hardly show a certificate of this kind".into(),
    });
    opinion.next = match reason {
        InvalidReason::SelfSigned | InvalidReason::UnknownIssuer => Some(
            "compare the key's fingerprint with the operator's, or check from another network"
                .into(),
        ),
        _ => None,
    };
    opinion
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_cover_by_whole_labels() {
        let names = ["*.example.org".to_string(), "mx.example.net".to_string()];
        assert!(covers(&names, "MX.example.org.") && covers(&names, "mx.example.net"));
        assert!(!covers(&names, "example.org") && !covers(&names, "a.b.example.org"));
    }
}
