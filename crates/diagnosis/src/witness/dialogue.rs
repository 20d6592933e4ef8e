//! Our dialogues with a witness, each against the witness's record of it: bytes, the command's fate, TLS.
//!
//! It must not know what the comparison weighs.

use alloc::{format, string::String};
use hoofbeat_observation::{
    HandshakeOutcome, Report, Role, Scheme, Service, WitnessService, WitnessedConnection,
};
use hoofbeat_session::{Direction, Protocol};
use sha2::{Digest, Sha256};

use super::{
    Compared, compare,
    testimony::{Testimony, Word},
};
use crate::{
    LocationClass, Mechanism, evidence,
    hearing::{Hearing, Step},
};

pub(super) fn hear_dialogue(hearing: &Hearing<'_>, report: &Report, testimony: &mut Testimony) {
    let supports = LocationClass::Undetermined;
    if let Some(step) = cut(hearing) {
        testimony.word = Some(Word::Tampered {
            to_server: true,
            to_client: true,
        });
        testimony.evidence.push(evidence::sent(
            hearing,
            step,
            Mechanism::CommandDropped,
            "STARTTLS meets silence or a cut connection with the witness as well, which is known to answer it",
        ));
    }
    let tls = tls(hearing, report);
    if tls != Some(false) && dies(hearing) {
        testimony.word = Some(Word::Tampered {
            to_server: true,
            to_client: true,
        });
        testimony.evidence.push(evidence::whole(
            hearing.id,
            Mechanism::HandshakeReset,
            "TLS dies with the witness as well, whose TLS is known to work: something on this side cuts it",
            "",
        ));
    }
    if let Some(false) = tls {
        testimony.intercepted |= hearing.leaf().is_some();
        testimony.word = Some(Word::Tampered {
            to_server: true,
            to_client: true,
        });
        testimony.evidence.push(evidence::whole(
            hearing.id,
            Mechanism::TlsIntercepted,
            "the certificate that was presented here is not the one that the witness presents (its signed report): TLS ends at somebody else",
            hearing.leaf().map_or("", |leaf| leaf.issuer.as_str()),
        ));
    }
    let Some(seen) = record_of(hearing, report) else {
        if !hearing.connected() {
            testimony.word = testimony.word.or(Some(Word::Unreached));
            testimony.evidence.push(evidence::whole(
                hearing.id,
                Mechanism::PortBlocked,
                format!(
                    "port {} of the witness does not answer from here, while the witness itself does",
                    hearing.dialogue.service.port
                ),
                hearing
                    .dialogue
                    .connect
                    .failure
                    .as_ref()
                    .map_or("", |failure| failure.raw.as_str()),
            ));
            return;
        }
        // Its name for the session was said and understood, and the witness never heard it: somebody else did.
        let understood = hearing.protocol() == Protocol::Smtp
            && hearing.list(hoofbeat_session::Layer::Plain).is_some();
        let strangers = report
            .connections
            .iter()
            .any(|seen| seen.port == hearing.dialogue.service.port);
        if understood && report.dropped == 0 && !strangers {
            testimony.word = Some(Word::Tampered {
                to_server: true,
                to_client: true,
            });
            if let Some(greeting) = hearing.greeting() {
                testimony.evidence.push(evidence::reply(
                    hearing,
                    greeting,
                    Mechanism::SessionProxied,
                    "the witness never saw this connection: somebody else answered in its place",
                ));
            }
        }
        return;
    };
    let transcript = &hearing.dialogue.transcript;
    let held = |direction: Direction| {
        let (ours, theirs) = (
            compare::plain(transcript, direction),
            compare::plain(&seen.transcript, direction),
        );
        let (sent, arrived, complete) = match direction {
            Direction::ToServer => (ours, theirs, transcript.discarded == 0),
            Direction::ToClient => (theirs, ours, seen.transcript.discarded == 0),
        };
        let held = compare::hold(&sent, &arrived, complete);
        (sent, arrived, held)
    };
    let (sent, received, up) = held(Direction::ToServer);
    let (offered, heard, down) = held(Direction::ToClient);
    let (to_server, to_client) = (up.difference.is_some(), down.difference.is_some());
    let merge = |kept: &mut Option<Compared>, new: Compared| {
        let worse = kept
            .as_ref()
            .is_none_or(|before| !before.changed && (new.changed || new.bytes > before.bytes));
        if worse {
            *kept = Some(new);
        }
    };
    let (up_told, down_told) = (
        compare::told(&sent, &received, &up),
        compare::told(&offered, &heard, &down),
    );
    if to_server || to_client {
        let before = match testimony.word {
            Some(Word::Tampered {
                to_server,
                to_client,
            }) => (to_server, to_client),
            _ => (false, false),
        };
        testimony.word = Some(Word::Tampered {
            to_server: to_server || before.0,
            to_client: to_client || before.1,
        });
        for (changed, told, ours) in [
            (to_server, &up_told, "left here, and the witness received"),
            (
                to_client,
                &down_told,
                "left the witness, and what arrived here is",
            ),
        ] {
            if changed {
                let (was, became) = (
                    told.was.clone().unwrap_or_default(),
                    told.became.clone().unwrap_or_default(),
                );
                testimony.evidence.push(evidence::whole(
                    hearing.id,
                    supports,
                    format!("\"{was}\" {ours} \"{became}\" (the witness's signed report)"),
                    &became,
                ));
            }
        }
        // The reply to STARTTLS is no list: who forges it need not touch what the witness traces with.
        let lists = hearing.upgrades().next().map_or(usize::MAX, |step| {
            let reply = step.exchange.received.from;
            compare::plain_before(transcript, Direction::ToClient, reply).len()
        });
        let differs = down.difference.as_ref();
        if differs.is_some_and(|(_, heard)| heard.start < lists) {
            testimony.list = down_told.was.clone().zip(down_told.became.clone());
        }
    } else {
        let holds = |bytes: &[u8]| {
            let upper = bytes.to_ascii_uppercase();
            [&b"STARTTLS"[..], b"STLS"]
                .iter()
                .any(|word| upper.windows(word.len()).any(|window| window == *word))
        };
        let arrived = received.get(..up.bytes).unwrap_or_default();
        let list = heard.get(..down.bytes).unwrap_or_default();
        // Without the words that boxes look for, nothing was tested.
        let finished = hearing
            .handshake()
            .is_none_or(|handshake| handshake.outcome == HandshakeOutcome::Completed);
        if tls != Some(false) && finished && holds(arrived) && holds(list) {
            testimony.word = testimony
                .word
                .filter(|word| matches!(word, Word::Tampered { .. }))
                .or(Some(Word::Clean));
            testimony.evidence.push(evidence::whole(
                hearing.id,
                supports,
                format!(
                    "{} bytes to the witness and {} bytes from it arrived as they were sent, STARTTLS among them (its signed report)",
                    up.bytes, down.bytes
                ),
                "",
            ));
        } else if up.missing > 0 && holds(&sent) && !holds(arrived) {
            testimony.summary.notes.push("the connection ended before STARTTLS reached the witness; whether it was held back cannot be told from this".into());
        }
    }
    merge(&mut testimony.summary.to_server, up_told);
    merge(&mut testimony.summary.to_client, down_told);
}

/// What happened on other ports: told, not weighed.
pub(super) fn others(
    service: &Service,
    report: &Report,
    hearings: &[Hearing<'_>],
    testimony: &mut Testimony,
) {
    for hearing in hearings {
        let here = hearing.dialogue.service.port == service.port
            && hearing.protocol() == service.scheme.protocol();
        if here || !matches!(hearing.dialogue.role, Role::Witness { .. }) {
            continue;
        }
        let Some(seen) = record_of(hearing, report) else {
            continue;
        };
        let differs = [Direction::ToServer, Direction::ToClient]
            .into_iter()
            .any(|direction| {
                let ours = compare::plain(&hearing.dialogue.transcript, direction);
                let theirs = compare::plain(&seen.transcript, direction);
                let (sent, arrived) = match direction {
                    Direction::ToServer => (ours, theirs),
                    Direction::ToClient => (theirs, ours),
                };
                compare::hold(&sent, &arrived, false).difference.is_some()
            });
        let scheme = Scheme::of_port(hearing.dialogue.service.port)
            .map_or_else(String::new, |scheme| format!(" ({scheme})"));
        let note = format!(
            "on port {}{scheme} the witness's bytes arrive {}",
            hearing.dialogue.service.port,
            if differs { "changed" } else { "as sent" }
        );
        if testimony.summary.notes.len() < 16 && !testimony.summary.notes.contains(&note) {
            testimony.summary.notes.push(note);
        }
    }
}

/// The witness's record of one of our dialogues.
fn record_of<'r>(hearing: &Hearing<'_>, report: &'r Report) -> Option<&'r WitnessedConnection> {
    let Role::Witness { token } = &hearing.dialogue.role else {
        return None;
    };
    let here = |seen: &&WitnessedConnection| {
        seen.port == hearing.dialogue.service.port
            && seen.service
                == WitnessService::Mail {
                    protocol: hearing.protocol(),
                }
    };
    let named = report
        .connections
        .iter()
        .filter(here)
        .find(|seen| seen.token.as_deref() == Some(token.as_str()));
    named.or_else(|| {
        // Without a token it must be the only one.
        let mut unnamed = report
            .connections
            .iter()
            .filter(here)
            .filter(|seen| seen.token.is_none());
        unnamed.next().filter(|_| unnamed.next().is_none())
    })
}

/// STARTTLS with the witness met no answer, or the end of the connection, where everything before it was answered.
fn cut<'h, 'a>(hearing: &'h Hearing<'a>) -> Option<&'h Step<'a>> {
    let step = hearing.upgrades().next()?;
    let before = hearing
        .steps
        .iter()
        .take_while(|one| one.exchange.step < step.exchange.step)
        .all(Step::answered);
    (step.unanswered() && before).then_some(step)
}

/// Whether the handshake with the witness was cut, or met silence; alerts may be our own library's matter.
fn dies(hearing: &Hearing<'_>) -> bool {
    hearing.handshake().is_some_and(|handshake| {
        matches!(
            handshake.outcome,
            HandshakeOutcome::Reset | HandshakeOutcome::TimedOut
        )
    })
}

/// Whether TLS was with the witness itself; none where no certificate was presented, or the report names none.
fn tls(hearing: &Hearing<'_>, report: &Report) -> Option<bool> {
    let leaf = hearing.leaf()?;
    let told = report.certificate.as_deref()?;
    let digest = Sha256::digest(&leaf.der);
    let mut hex = String::new();
    for byte in digest {
        hex.push_str(&format!("{byte:02x}"));
    }
    Some(hex.eq_ignore_ascii_case(told))
}
