//! A visit to a witness as it bears on one service: which direction was changed on this port, and where.
//!
//! Clean means that the words which boxes look for arrived in both directions as they were sent. What the witness's
//! own network does to its packets is not held against the client's. It must not know weights.

use alloc::{format, string::String, vec::Vec};
use hoofbeat_observation::{Report, Role, Service, Standing, WitnessVisit};

use super::{
    WitnessSummary,
    dialogue::{hear_dialogue, others},
    errands,
    packets::{backward_trace, hear_trace, saved_syns},
};
use crate::{
    DirectedPath, Evidence, LocationClass, Segment, evidence,
    hearing::Hearing,
    path::place::{Map, Places},
};

/// Most citations of one visit.
const MOST_EVIDENCE: usize = 12;

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

/// The report of a visit, where it is signed and about this visit.
pub(crate) fn report_of(visit: &WitnessVisit) -> Option<Report> {
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
    // A report speaks of its own session's connections; a witness may be visited more than once.
    let of_session = |role: &Role| match role {
        Role::Witness { token } => token.starts_with(&visit.session),
        _ => false,
    };
    let mine = hearings.iter().filter(|hearing| {
        of_session(&hearing.dialogue.role)
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
    testimony.evidence.truncate(MOST_EVIDENCE);
    testimony
}
