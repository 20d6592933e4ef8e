//! A visit to a witness as it bears on one service: which direction was changed on this port, and where.
//!
//! Clean means that the words which boxes look for arrived in both directions as they were sent. What the witness's
//! own network does to its packets is not held against the client's. It must not know weights.

use alloc::{format, string::String, vec::Vec};
use core::net::IpAddr;
use hoofbeat_observation::{
    HandshakeOutcome, QuoteBegins, Report, Role, Scheme, Service, Standing, Trace, WitnessService, WitnessVisit,
    WitnessedConnection,
};
use hoofbeat_session::{Direction, Protocol};
use sha2::{Digest, Sha256};

use super::{WitnessSummary, compare, errands};
use crate::{
    DirectedPath, Evidence, LocationClass, Mechanism, Segment, evidence,
    hearing::Hearing,
    path::{
        place::{Map, Places},
        reverse::{self, Reverse},
    },
};

/// What the witness's word comes to for one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Both directions arrived as sent, STARTTLS among it.
    Clean,
    /// At least one did not.
    Tampered {
        /// To the server.
        to_server: bool,
        /// To the client.
        to_client: bool,
    },
    /// The port did not answer, although the witness was there.
    Unreached,
}

/// Where the witness's own trace saw its list change.
#[derive(Debug, Clone)]
pub(crate) struct Backward {
    /// In the client's numbering, where both ends' distances agree.
    pub(crate) segment: Option<Segment>,
    pub(crate) places: Option<Places>,
}

/// What a visit shows of one service.
pub(crate) struct Testimony {
    pub(crate) summary: WitnessSummary,
    /// None where it says nothing of this port, or counts for nothing.
    pub(crate) word: Option<Word>,
    /// How STARTTLS left and arrived, where the list was changed.
    pub(crate) list: Option<(String, String)>,
    /// The certificate that was presented here is not the one that the witness presents.
    pub(crate) intercepted: bool,
    /// This port's SYN arrived otherwise than other ports'.
    pub(crate) syn_differs: bool,
    pub(crate) backward: Option<Backward>,
    /// The witness's trace, as reports draw it.
    pub(crate) path: Option<DirectedPath>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) innocent: Vec<String>,
    /// Why it counts for nothing.
    pub(crate) unweighed: Option<String>,
}

/// The word for a standing.
const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Unchecked => "unchecked",
        Standing::Absent => "absent",
        Standing::Signed => "signed",
        Standing::WrongKey => "wrong-key",
        Standing::Forged => "forged",
        Standing::CutOff => "cut-off",
        Standing::OtherSession => "other-session",
    }
}

fn reason(visit: &WitnessVisit) -> Option<String> {
    let why = match visit.standing {
        Standing::Signed => return None,
        Standing::Unchecked => "nobody has checked the signature of its report",
        Standing::Absent => "there is no report",
        Standing::WrongKey => "its report is signed with another key than the expected one",
        Standing::Forged => "the signature does not belong to its report",
        Standing::CutOff => "its report is cut off",
        Standing::OtherSession => "its report is about another session",
    };
    let failure = visit
        .failure
        .as_ref()
        .map_or_else(String::new, |failure| format!(" ({failure})"));
    Some(format!(
        "the witness {} counts for nothing: {why}{failure}",
        visit.host
    ))
}

/// Hears the visits on one service: the first whose report counts, or else says why none does.
pub(crate) fn hear<'a>(
    service: &Service,
    visits: &[(&'a str, &'a WitnessVisit)],
    hearings: &[Hearing<'a>],
    map: &Map<'_>,
) -> Option<Testimony> {
    let mut silent: Option<Testimony> = None;
    let mut heard: Option<Testimony> = None;
    for (id, visit) in visits {
        let testimony = match report_of(visit) {
            Some(report) => hear_report(service, id, visit, &report, hearings, map),
            None => without_report(visit),
        };
        // A witness that saw something outranks one that did not, and any that counts outranks one that does not.
        let better = |kept: &Option<Testimony>| {
            kept.as_ref()
                .is_none_or(|kept| rank(kept.word) < rank(testimony.word))
        };
        if testimony.unweighed.is_some() {
            silent = silent.or(Some(testimony));
        } else if better(&heard) {
            heard = Some(testimony);
        }
    }
    heard.or(silent)
}

fn rank(word: Option<Word>) -> u8 {
    match word {
        None => 0,
        Some(Word::Unreached) => 1,
        Some(Word::Clean) => 2,
        Some(Word::Tampered { .. }) => 3,
    }
}

fn report_of(visit: &WitnessVisit) -> Option<Report> {
    if visit.standing != Standing::Signed {
        return None;
    }
    let report = visit.report.as_ref()?.read()?;
    // The check has looked at both already; whoever marks a visit as signed must not be able to skip them.
    (report.session == visit.session && report.nonce == visit.nonce).then_some(report)
}

fn without_report(visit: &WitnessVisit) -> Testimony {
    let unweighed = reason(visit).unwrap_or_else(|| {
        format!(
            "the witness {} counts for nothing: its report cannot be read",
            visit.host
        )
    });
    Testimony {
        summary: WitnessSummary {
            host: visit.host.clone(),
            standing: standing(visit.standing),
            to_server: None,
            to_client: None,
            http_inserted: Vec::new(),
            blocked_names: Vec::new(),
            notes: Vec::new(),
        },
        word: None,
        list: None,
        intercepted: false,
        syn_differs: false,
        backward: None,
        path: None,
        evidence: Vec::new(),
        innocent: Vec::new(),
        unweighed: Some(unweighed),
    }
}

fn hear_report<'a>(
    service: &Service,
    id: &str,
    visit: &WitnessVisit,
    report: &Report,
    hearings: &[Hearing<'a>],
    map: &Map<'_>,
) -> Testimony {
    let mut testimony = without_report(visit);
    testimony.unweighed = None;
    testimony.summary.http_inserted = errands::inserted(visit, report);
    testimony.summary.blocked_names = errands::blocked(visit, report);
    testimony.summary.notes = errands::notes(
        &testimony.summary.http_inserted,
        &testimony.summary.blocked_names,
    );
    for line in testimony.summary.http_inserted.iter().take(2) {
        testimony.evidence.push(evidence::whole(
            id,
            LocationClass::Undetermined,
            "this line arrived in a plain HTTP request that did not hold it when it left",
            line,
        ));
    }
    if report.dropped > 0 {
        testimony.summary.notes.push(format!(
            "the witness could not keep {} connection(s)",
            report.dropped
        ));
    }
    let mine = hearings.iter().filter(|hearing| {
        matches!(hearing.dialogue.role, Role::Witness { .. })
            && hearing.dialogue.service.port == service.port
            && hearing.protocol() == service.scheme.protocol()
    });
    for hearing in mine {
        hear_dialogue(hearing, report, &mut testimony);
    }
    others(service, report, hearings, &mut testimony);
    saved_syns(service, id, report, &mut testimony);
    if let Some((trace, seen)) = backward_trace(service.port, report) {
        hear_trace(id, trace, seen, hearings, map, &mut testimony);
    }
    testimony
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

fn hear_dialogue(hearing: &Hearing<'_>, report: &Report, testimony: &mut Testimony) {
    let supports = LocationClass::Undetermined;
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
    let merge = |kept: &mut Option<super::Compared>, new: super::Compared| {
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
        if to_client {
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
fn others(service: &Service, report: &Report, hearings: &[Hearing<'_>], testimony: &mut Testimony) {
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

/// TTL and options of the SYNs that arrived: a proxy's are its own.
fn saved_syns(service: &Service, id: &str, report: &Report, testimony: &mut Testimony) {
    let read = |seen: &WitnessedConnection| {
        let (ttl, options) = reverse::syn(QuoteBegins::Ip, &seen.syn)?;
        Some((seen.port, ttl, options))
    };
    let all: Vec<(u16, u8, Vec<u8>)> = report.connections.iter().filter_map(read).collect();
    let Some((_, here, options)) = all.iter().find(|(port, ..)| *port == service.port) else {
        return;
    };
    let mut beyond = all
        .iter()
        .filter(|(port, ..)| *port != service.port)
        .peekable();
    if beyond.peek().is_none() {
        return;
    }
    let other = beyond.find(|(_, ttl, other)| ttl == here && other == options);
    if other.is_some() {
        return;
    }
    let Some((port, there, _)) = all.iter().find(|(port, ..)| *port != service.port) else {
        return;
    };
    testimony.syn_differs = true;
    testimony.evidence.push(evidence::whole(
        id,
        LocationClass::Undetermined,
        format!(
            "the SYN to the witness's port {} arrived there with TTL {here}, the one to port {port} with TTL {there}{}: another machine may have opened the connection",
            service.port,
            if here == there { " and other options" } else { "" }
        ),
        "",
    ));
    testimony
        .innocent
        .push("SYNs are flows of their own and may take routes of different lengths".into());
}

fn backward_trace(port: u16, report: &Report) -> Option<(&Trace, &WitnessedConnection)> {
    report
        .connections
        .iter()
        .filter(|seen| seen.port == port)
        .find_map(|seen| {
            let trace = seen.trace.as_ref()?;
            (trace.direction == Direction::ToClient).then_some((trace, seen))
        })
}

fn hear_trace(
    id: &str,
    trace: &Trace,
    seen: &WitnessedConnection,
    hearings: &[Hearing<'_>],
    map: &Map<'_>,
    testimony: &mut Testimony,
) {
    let witness: Option<IpAddr> = hearings
        .iter()
        .find(|hearing| matches!(hearing.dialogue.role, Role::Witness { .. }))
        .and_then(|hearing| hearing.dialogue.service.address);
    let distance = reverse::syn(QuoteBegins::Ip, &seen.syn).map(|(ttl, _)| reverse::hops(ttl));
    let found: Reverse = reverse::read(id, trace, witness, distance, map);
    testimony.evidence.extend(found.evidence);
    testimony.innocent.extend(found.innocent);
    if found.near_witness && matches!(testimony.word, Some(Word::Tampered { .. })) {
        testimony.word = None;
        testimony.innocent.push("the witness's own network changes what it sends: its testimony says nothing of this side, and is not weighed".into());
    } else if found.segment.is_some() {
        testimony.backward = Some(Backward {
            segment: found.in_our_numbers,
            places: found.places,
        });
    }
    testimony.path = Some(DirectedPath {
        direction: Direction::ToClient,
        engine: trace.engine,
        path: found.hops,
        segment: found.segment,
    });
}
