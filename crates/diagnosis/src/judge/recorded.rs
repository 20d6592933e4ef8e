//! What only recordings give: log lines without bytes, sessions broken off, lists without an attempt.
//!
//! A log line is indirect evidence: somebody's program says what it saw. It names no culprit.

use alloc::{format, string::String, vec::Vec};
use hoofbeat_observation::dialogue::{Claim, Claimed};
use hoofbeat_session::{Label, Layer, Outcome};

use crate::{
    Confidence, Encryption, Mechanism, Support, Verdict,
    attribution::likelihood::{Observation, State},
    bench::{Bench, Offer},
    evidence,
    hearing::Hearing,
    judge::{Opinion, masked},
};

/// Sayings in the order in which they decide.
const ORDER: &[Claimed] = &[
    Claimed::PixWorkarounds,
    Claimed::CertificateInvalid,
    Claimed::LostAfterStartTls,
    Claimed::HandshakeFailed,
    Claimed::StartTlsRefused,
    Claimed::StartTlsNotOffered,
    Claimed::PlaintextUsed,
    Claimed::TlsVerified,
    Claimed::TlsEstablished,
    Claimed::ConnectFailed,
];

/// Faults of a certificate that no want of trusted authorities explains.
const FAULTS: &[&str] = &[
    "expired",
    "self-signed",
    "self signed",
    "mismatch",
    "not valid for",
    "does not match",
    "not yet valid",
];

/// Whether a line says what is wrong with the certificate itself.
fn names_a_fault(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    FAULTS.iter().any(|fault| line.contains(fault))
}

/// What log lines say.
pub(crate) fn judge(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let (leading, hearing, claim) = ORDER.iter().find_map(|what| {
        bench
            .hearings
            .iter()
            .find_map(|hearing| Some((*what, *hearing, hearing.claim(*what)?)))
    })?;
    let has_tls = bench.hearings.iter().any(|hearing| {
        hearing.claim(Claimed::TlsVerified).is_some()
            || hearing.claim(Claimed::TlsEstablished).is_some()
    });
    let mut opinion = opinion_of(leading, has_tls, &claim.line);
    let supports: Support = opinion
        .mechanism
        .map_or_else(|| opinion.verdict.into(), Into::into);
    opinion.evidence.push(evidence::whole(
        hearing.id,
        supports,
        sentence(leading),
        &claim.line,
    ));
    if leading == Claimed::PixWorkarounds {
        opinion.state = Some(State::Odd);
        opinion.observations.push(Observation::MaskedGreeting);
        opinion.certain = Some(Confidence::Indicated);
    }
    let others: Vec<(&Hearing<'_>, &Claim)> = ORDER
        .iter()
        .filter(|what| **what != leading)
        .filter_map(|what| {
            bench
                .hearings
                .iter()
                .find_map(|hearing| Some((*hearing, hearing.claim(*what)?)))
        })
        .collect();
    for (hearing, claim) in others.into_iter().take(3) {
        opinion.evidence.push(evidence::whole(
            hearing.id,
            supports,
            sentence(claim.what),
            &claim.line,
        ));
    }
    masked::add_harmless(bench, &mut opinion);
    opinion
        .innocent
        .push("a log tells what one program concluded; the bytes that it saw are not in it".into());
    opinion.next = Some("check this server live from the same machine".into());
    Some(opinion)
}

fn opinion_of(leading: Claimed, has_tls: bool, line: &str) -> Opinion {
    let elsewhere = if has_tls {
        Encryption::Unknown
    } else {
        Encryption::None
    };
    match leading {
        Claimed::PixWorkarounds => Opinion::new(
            Verdict::Interference,
            Mechanism::BannerMasked,
            Encryption::Unknown,
            "the sending Postfix found the greeting overwritten and turned its PIX workarounds on: it then says HELO and never encrypts",
        ),
        Claimed::CertificateInvalid if names_a_fault(line) => {
            let mut opinion = Opinion::new(
                Verdict::Server,
                Mechanism::CertificateInvalid,
                Encryption::Unverified,
                "the log says that the certificate does not verify",
            );
            opinion.state = Some(State::BadCertificate);
            opinion.observations.push(Observation::OperatorMistake);
            opinion
        }
        Claimed::CertificateInvalid => Opinion::inconclusive(
            Mechanism::CertificateInvalid,
            Encryption::Unverified,
            "the log says that the certificate was not trusted; that may be the client's want of trusted authorities",
        ),
        Claimed::LostAfterStartTls => Opinion::inconclusive(
            Mechanism::HandshakeReset,
            elsewhere,
            "the log says that the connection was lost at STARTTLS; by whom, it cannot say",
        ),
        Claimed::HandshakeFailed => Opinion::inconclusive(
            Mechanism::StarttlsBroken,
            elsewhere,
            "the log says that the handshake failed; by whose doing, it cannot say",
        ),
        Claimed::StartTlsRefused => Opinion::inconclusive(
            Mechanism::TlsUnavailable,
            elsewhere,
            "the log says that STARTTLS was refused; by whom, it cannot say",
        ),
        Claimed::StartTlsNotOffered => Opinion::inconclusive(
            Mechanism::NotOffered,
            elsewhere,
            "the log says that STARTTLS was not offered; whether it was removed on its way, a log cannot say",
        ),
        Claimed::PlaintextUsed => Opinion::inconclusive(
            Mechanism::NotOffered,
            elsewhere,
            "the log says that mail or credentials went in the clear",
        ),
        Claimed::TlsVerified => {
            let mut opinion = Opinion::new(
                Verdict::Clear,
                None,
                Encryption::Verified,
                "the log says that TLS came up and the certificate verified",
            );
            opinion.certain = Some(Confidence::Likely);
            opinion
        }
        Claimed::TlsEstablished => Opinion::inconclusive(
            None,
            Encryption::Unverified,
            "the log says that TLS came up; whether the certificate verifies, it does not say",
        ),
        Claimed::ConnectFailed => {
            let mut opinion = Opinion::new(
                Verdict::Unreachable,
                None,
                Encryption::Unknown,
                "the log says that no connection could be made",
            );
            opinion.certain = Some(Confidence::Likely);
            opinion
        }
    }
}

const fn sentence(what: Claimed) -> &'static str {
    match what {
        Claimed::TlsEstablished => "TLS was established",
        Claimed::TlsVerified => "TLS was established and the certificate verified",
        Claimed::CertificateInvalid => "the certificate was not trusted",
        Claimed::StartTlsNotOffered => "STARTTLS was wanted and not offered",
        Claimed::StartTlsRefused => "STARTTLS was refused",
        Claimed::HandshakeFailed => "the handshake failed",
        Claimed::LostAfterStartTls => "the connection was lost at STARTTLS",
        Claimed::PixWorkarounds => {
            "Postfix does this when a greeting holds nothing but asterisks, 2, 0 and blanks"
        }
        Claimed::ConnectFailed => "the connection failed",
        Claimed::PlaintextUsed => "something went in the clear",
    }
}

/// No rule knows this session: say what is there.
pub(crate) fn nothing_to_judge(bench: &Bench<'_, '_>) -> Opinion {
    let begun = bench
        .attempts()
        .into_iter()
        .find(|(hearing, step)| hearing.is_ready(step));
    let mut opinion = if let Some((hearing, step)) = begun {
        let up = hearing.came_up();
        let mut opinion = Opinion::inconclusive(
            None,
            if up {
                Encryption::Unverified
            } else {
                Encryption::Unknown
            },
            if up {
                "STARTTLS is offered and TLS comes up; the record does not show whether the certificate verifies"
            } else {
                "STARTTLS is offered and accepted; the record ends before TLS"
            },
        );
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            Verdict::Inconclusive,
            "STARTTLS was accepted",
        ));
        opinion
    } else if let Some((hearing, list)) = bench
        .hearings
        .iter()
        .find_map(|hearing| Some((*hearing, hearing.list(Layer::Plain)?)))
    {
        let reason = if bench.offer() == Offer::Always {
            "STARTTLS is offered; it was not tried in this record"
        } else {
            "the session ends before STARTTLS"
        };
        let mut opinion = Opinion::inconclusive(None, Encryption::Unknown, reason);
        opinion.evidence.push(evidence::reply(
            hearing,
            list.step,
            Verdict::Inconclusive,
            "the list as it arrived",
        ));
        opinion
    } else {
        broken_off(bench)
    };
    masked::add_harmless(bench, &mut opinion);
    opinion
        .next
        .get_or_insert_with(|| "check this server live".into());
    opinion
}

fn broken_off(bench: &Bench<'_, '_>) -> Opinion {
    let asked = bench.hearings.iter().find_map(|hearing| {
        Some((
            *hearing,
            hearing
                .list_steps(Layer::Plain)
                .next()
                .or_else(|| hearing.list_steps(Layer::Tls).next())?,
        ))
    });
    let Some((hearing, step)) = asked else {
        let helo = bench
            .hearings
            .iter()
            .find_map(|hearing| Some((*hearing, hearing.step(Layer::Plain, Label::Helo)?)));
        let mut opinion = Opinion::inconclusive(
            None,
            Encryption::Unknown,
            "the record holds no list of what the server offers",
        );
        if let Some((hearing, step)) = helo {
            opinion.reason = "the client said HELO and never asked for extensions, so nothing is known of STARTTLS".into();
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Verdict::Inconclusive,
                "HELO asks for no extensions",
            ));
        }
        return opinion;
    };
    let what: String = match step.exchange.outcome {
        Outcome::TimedOut => {
            "the server did not answer the question for its extensions in time".into()
        }
        Outcome::Closed => "the connection was closed at the question for extensions".into(),
        Outcome::Reset => "the connection was reset at the question for extensions".into(),
        Outcome::TooLong => "the answer to the question for extensions did not end".into(),
        Outcome::Unfinished => "the record ends at the question for extensions".into(),
        Outcome::Replied => format!(
            "the question for extensions was answered with \"{}\"",
            step.line.chars().take(80).collect::<String>()
        ),
    };
    let mut opinion = Opinion::inconclusive(None, Encryption::Unknown, what);
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Verdict::Inconclusive,
        "the step where it ended",
    ));
    opinion
        .innocent
        .push("limits, tarpits and overload end sessions like this".into());
    opinion
}
