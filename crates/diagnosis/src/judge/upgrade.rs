//! Between the 220 and the first byte inside TLS: bytes behind the reply, resets, silence, alerts, plaintext.
//!
//! | the handshake | held against | verdict |
//! |---|---|---|
//! | alert, close, plaintext, nonsense | – | server, `starttls-broken` |
//! | any of them | controls fail alike on this port | interference |
//! | reset or silence | – | inconclusive, naming the mechanism |
//! | reset or silence, twice | a sibling of the host completes TLS | inconclusive: a process that dies with the ClientHello unread resets, too |
//! | reset or silence | controls fail alike on this port | interference |
//! | the ServerHello's random says "downgraded" | RFC 8446 §4.1.3 | interference, `tls-downgraded` |
//!
//! A success among failures of one address is a pool, not a contrast: it accuses nobody.

use alloc::{format, string::String, vec::Vec};
use hoofbeat_observation::{Handshake, HandshakeOutcome, Variation};
use hoofbeat_session::bytes::printable;

use crate::{
    Encryption, Mechanism, Verdict,
    attribution::likelihood::{Observation, State},
    bench::{Bench, Offer},
    evidence,
    hearing::Hearing,
    judge::Opinion,
};

/// The first byte of a TLS alert record: a server that fails early, not somebody who injects.
const ALERT_RECORD: u8 = 0x15;

/// Replies behind the 220, before any TLS.
pub(crate) fn leftover(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let (hearing, step, range) = bench.hearings.iter().find_map(|hearing| {
        // In the injection test a second reply before TLS is the server's answer to our second command.
        if hearing.dialogue.variation == Variation::Injection || hearing.is_text() {
            return None;
        }
        hearing.upgrades().find_map(|step| {
            let range = step.exchange.leftover.filter(|range| !range.is_empty())?;
            hearing.is_ready(step).then_some((*hearing, step, range))
        })
    })?;
    let bytes = hearing
        .dialogue
        .transcript
        .bytes(hoofbeat_session::Direction::ToClient, range);
    if bytes.first() == Some(&ALERT_RECORD) || !bytes.contains(&b'\n') {
        return None;
    }
    let encryption = match (bench.is_proven(), bench.completed().next().is_some()) {
        (true, _) => Encryption::Verified,
        (_, true) => Encryption::Unverified,
        _ => Encryption::None,
    };
    let mut opinion = Opinion::new(
        Verdict::Interference,
        Mechanism::PlaintextInjected,
        encryption,
        "replies that answer nothing stand behind the go-ahead for TLS, in the clear: clients that buffer take them for the server's",
    );
    opinion.state = Some(State::Odd);
    opinion.observations.push(Observation::ForeignLeftover);
    opinion.evidence.push(evidence::range(
        hearing,
        step,
        range,
        Mechanism::PlaintextInjected,
        "one command was sent, and behind its one reply, before any TLS, came this",
    ));
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::PlaintextInjected,
        "the reply that ends the conversation in the clear",
    ));
    opinion.innocent.push("a server that talks too soon would break TLS for everybody, since its words would run into the handshake".into());
    Some(opinion)
}

struct Failed<'c, 'a> {
    hearing: &'c Hearing<'a>,
    handshake: &'a Handshake,
}

/// TLS was begun, and never came up.
pub(crate) fn judge(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let failed: Vec<Failed<'_, '_>> = bench
        .hearings
        .iter()
        .filter(|hearing| hearing.dialogue.variation != Variation::LegacyTls)
        .filter_map(|hearing| {
            Some(Failed {
                hearing,
                handshake: hearing.handshake()?,
            })
        })
        .filter(|failed| failed.handshake.outcome != HandshakeOutcome::Completed)
        .collect();
    if bench.completed().next().is_some() {
        return None;
    }
    let first = failed.first()?;
    let die = bench.dying_controls();
    let sibling = bench.working_sibling();
    let legacy = bench
        .hearings
        .iter()
        .find_map(|hearing| Some((*hearing, hearing.dialogue.legacy.as_ref()?)));
    if let HandshakeOutcome::Failed { detail } = &first.handshake.outcome
        && detail.contains("AttemptedDowngrade")
    {
        let mut opinion = opinion(
            Verdict::Interference,
            Mechanism::TlsDowngraded,
            "the server can TLS 1.3, and its own signed answer says that the offer of it did not arrive",
        );
        opinion.observations.push(Observation::DowngradeSentinel);
        cite(
            &mut opinion,
            first,
            Mechanism::TlsDowngraded,
            "the ServerHello bears the downgrade mark of RFC 8446 §4.1.3",
        );
        return Some(opinion);
    }
    let (mechanism, what, own) = meaning(&first.handshake.outcome);
    let mut opinion = if !die.is_empty() {
        let mut opinion = opinion(
            Verdict::Interference,
            mechanism_between(&first.handshake.outcome),
            format!(
                "{what}, here and on servers that are known to work: something on this side cuts TLS"
            ),
        );
        opinion.observations.push(Observation::ControlsDie);
        opinion
    } else if own {
        let mut opinion = opinion(
            Verdict::Server,
            mechanism,
            format!("STARTTLS is accepted, and then {what}"),
        );
        opinion.observations.push(Observation::ServerFails);
        opinion
    } else {
        let mut opinion = opinion(
            Verdict::Inconclusive,
            mechanism,
            format!(
                "STARTTLS is accepted, and then {what}; a broken server and a box between look alike"
            ),
        );
        opinion
            .observations
            .push(if sibling.is_some() && failed.len() >= 2 {
                Observation::SiblingWorks
            } else {
                Observation::HandshakeDies
            });
        opinion
    };
    if bench.service.scheme.is_implicit_tls() {
        opinion.reason = opinion
            .reason
            .replace("STARTTLS is accepted, and then ", "on a port for TLS, ");
    }
    let supports = opinion.mechanism.unwrap_or(mechanism);
    for one in failed.iter().take(3) {
        cite(&mut opinion, one, supports, what);
    }
    if let Some(sibling) = sibling {
        opinion.evidence.push(evidence::whole(
            sibling.id,
            supports,
            format!(
                "TLS comes up on port {} of the same host",
                sibling.dialogue.service.port
            ),
            sibling
                .handshake()
                .and_then(|handshake| handshake.version.as_deref())
                .unwrap_or_default(),
        ));
    }
    for control in die.iter().take(3) {
        opinion.evidence.push(evidence::whole(
            control.id,
            supports,
            format!("{} fails alike from here", control.dialogue.service.host),
            "",
        ));
    }
    if let Some((hearing, hello)) = legacy {
        older(bench, &mut opinion, hearing, hello, first);
    }
    if bench.offer() == Offer::Sometimes {
        opinion.innocent.push("the offer was withdrawn after the failed handshake: some servers (Haraka) remember who could not, and offer it no more".into());
    }
    match opinion.verdict {
        Verdict::Server => opinion.innocent.push("a missing key, a certificate that cannot be read, or a crashed TLS process does this; the server's log names it".into()),
        _ => opinion.innocent.push("a TLS process that crashes resets or falls silent as well; a path that loses large packets falls silent too".into()),
    }
    if opinion.verdict != Verdict::Interference {
        opinion.next = Some("compare with implicit TLS on the same host, and with other providers' servers on this port".into());
    }
    Some(opinion)
}

fn opinion(verdict: Verdict, mechanism: Mechanism, reason: impl Into<String>) -> Opinion {
    let mut opinion = Opinion::new(verdict, mechanism, Encryption::None, reason);
    opinion.state = Some(State::NoHandshake);
    opinion
}

/// The mechanism, the words for it, and whether the server's own voice is in it.
fn meaning(outcome: &HandshakeOutcome) -> (Mechanism, &'static str, bool) {
    match outcome {
        HandshakeOutcome::Reset => (
            Mechanism::HandshakeReset,
            "the connection is reset as soon as TLS begins",
            false,
        ),
        HandshakeOutcome::TimedOut => (
            Mechanism::HandshakeBlackholed,
            "silence follows as soon as TLS begins",
            false,
        ),
        HandshakeOutcome::Alert { .. } => (
            Mechanism::StarttlsBroken,
            "the server ends the handshake with an alert",
            true,
        ),
        HandshakeOutcome::NotTls => (
            Mechanism::StarttlsBroken,
            "what answers the handshake is no TLS",
            true,
        ),
        HandshakeOutcome::Closed => (
            Mechanism::StarttlsBroken,
            "the server closes the connection",
            true,
        ),
        HandshakeOutcome::Failed { .. } | HandshakeOutcome::Completed => {
            (Mechanism::StarttlsBroken, "the handshake fails", true)
        }
    }
}

fn mechanism_between(outcome: &HandshakeOutcome) -> Mechanism {
    match outcome {
        HandshakeOutcome::NotTls => Mechanism::PlaintextInjected,
        HandshakeOutcome::TimedOut => Mechanism::HandshakeBlackholed,
        HandshakeOutcome::Alert { description }
            if description.to_ascii_lowercase().contains("version") =>
        {
            Mechanism::TlsDowngraded
        }
        _ => Mechanism::HandshakeReset,
    }
}

fn cite(opinion: &mut Opinion, failed: &Failed<'_, '_>, supports: Mechanism, claim: &str) {
    let shown = match &failed.handshake.outcome {
        HandshakeOutcome::Alert { description } => format!("alert {description}"),
        HandshakeOutcome::Failed { detail } => detail.clone(),
        _ => printable(&failed.handshake.first_bytes),
    };
    opinion
        .evidence
        .push(evidence::whole(failed.hearing.id, supports, claim, &shown));
    if let Some(step) = failed
        .hearing
        .upgrades()
        .find(|step| failed.hearing.is_ready(step))
    {
        opinion.evidence.push(evidence::reply(
            failed.hearing,
            step,
            supports,
            "STARTTLS was accepted",
        ));
    }
}

/// What a hand-made ClientHello of older TLS met.
fn older(
    bench: &Bench<'_, '_>,
    opinion: &mut Opinion,
    hearing: &Hearing<'_>,
    hello: &hoofbeat_observation::LegacyHello,
    first: &Failed<'_, '_>,
) {
    let Some(version) = hello.version.as_deref() else {
        return;
    };
    opinion.evidence.push(evidence::whole(
        hearing.id,
        opinion.mechanism.unwrap_or(Mechanism::StarttlsBroken),
        format!("an older ClientHello is answered with {version}"),
        version,
    ));
    let modern = matches!(version, "TLSv1.2" | "TLSv1.3");
    let refused_version = matches!(&first.handshake.outcome, HandshakeOutcome::Alert { description } if description.to_ascii_lowercase().contains("version"));
    if opinion.verdict == Verdict::Interference || bench.completed().next().is_some() {
        return;
    }
    if modern && refused_version {
        opinion.verdict = Verdict::Interference;
        opinion.mechanism = Some(Mechanism::TlsDowngraded);
        opinion.observations = alloc::vec![Observation::RefusedByVersion];
        opinion.reason = format!(
            "a handshake that offers TLS 1.3 is refused by version, and one that offers {version} only gets through"
        );
        opinion.innocent.push(
            "a server may be intolerant of TLS 1.3 offers; none is known to be since 2018".into(),
        );
    } else if !modern {
        opinion.reason = format!(
            "the server speaks nothing newer than {version}, which current programs refuse"
        );
    }
}
