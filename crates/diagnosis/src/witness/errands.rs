//! What happened at the witness to things that are not mail: plain HTTP and TLS with given server names.
//!
//! Facts for the reader. They show that this network edits or blocks, and never decide a mail verdict alone.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use hoofbeat_observation::{Report, WitnessService, WitnessVisit};
use hoofbeat_session::Direction;

use super::compare::plain;
use crate::evidence;

/// Most lines that are told.
const MOST: usize = 16;

/// Header lines that arrived and were never sent.
pub(super) fn inserted(visit: &WitnessVisit, report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    for errand in visit
        .errands
        .iter()
        .filter(|errand| errand.service == WitnessService::Http)
    {
        let sent = plain(&errand.transcript, Direction::ToServer);
        let arrived = report
            .connections
            .iter()
            .find(|seen| {
                seen.service == WitnessService::Http
                    && seen.token.as_deref() == Some(errand.token.as_str())
            })
            .map(|seen| plain(&seen.transcript, Direction::ToServer));
        let Some(arrived) = arrived else {
            continue;
        };
        let ours = lines(&sent);
        for line in lines(&arrived) {
            let known = ours.iter().any(|own| own.eq_ignore_ascii_case(line));
            let told = evidence::excerpt(line);
            if !known && !line.is_empty() && found.len() < MOST && !found.contains(&told) {
                found.push(told);
            }
        }
    }
    found
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .take(256)
        .collect()
}

/// Server names whose handshake failed while another name's succeeded at the same witness.
pub(super) fn blocked(visit: &WitnessVisit, report: &Report) -> Vec<String> {
    let completed = |token: &str, here: Option<bool>| {
        let there = report
            .connections
            .iter()
            .find(|seen| {
                seen.service == WitnessService::Tls && seen.token.as_deref() == Some(token)
            })
            .and_then(|seen| seen.tls_completed);
        here == Some(true) || there == Some(true)
    };
    let errands = || {
        visit
            .errands
            .iter()
            .filter(|errand| errand.service == WitnessService::Tls)
    };
    if !errands().any(|errand| completed(&errand.token, errand.tls_completed)) {
        return Vec::new();
    }
    errands()
        .filter(|errand| !completed(&errand.token, errand.tls_completed))
        .filter_map(|errand| errand.server_name.as_deref())
        .take(MOST)
        .map(ToString::to_string)
        .collect()
}

/// What is to be said of them in sentences.
pub(super) fn notes(inserted: &[String], blocked: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if !inserted.is_empty() {
        notes.push(format!(
            "{} line(s) were inserted into a plain HTTP request on its way",
            inserted.len()
        ));
    }
    if !blocked.is_empty() {
        notes.push(format!(
            "TLS with the server name(s) {} does not get through, with others it does",
            blocked.join(", ")
        ));
    }
    notes
}
