//! Recorded dialogues as measurements: numbered, dated, and put under one target.

use hoofbeat_observation::{Body, Dialogue, Measurement, Vantage, archive};
use hoofbeat_session::{Direction, Label};
use std::collections::BTreeSet;

/// What an input held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Read {
    /// The measurements, for the judge.
    pub measurements: Vec<Measurement>,
    /// What a person should know about the reading: cuts, gaps, counts. Sentences without a full stop.
    pub notes: Vec<String>,
}

/// A dialogue and when it began, in seconds since 1970.
#[derive(Debug)]
pub(super) struct Dated {
    pub(super) dialogue: Dialogue,
    pub(super) started: i64,
}

/// Makes measurements of dialogues found in one input.
///
/// One host is the target by its own name; several are one target under the input's name, so that the
/// judge can hold them against each other. A finding is made for each service either way.
pub(super) fn measurements(dialogues: Vec<Dated>, label: &str) -> Vec<Measurement> {
    let mut dialogues = dialogues;
    name_the_unnamed(&mut dialogues, label);
    let hosts: BTreeSet<&str> = dialogues
        .iter()
        .map(|dated| dated.dialogue.service.host.as_str())
        .collect();
    let target = match hosts.iter().next() {
        Some(host) if hosts.len() == 1 => (*host).to_owned(),
        _ => label.to_owned(),
    };
    dialogues
        .into_iter()
        .zip(1..)
        .map(|(dated, number): (Dated, u32)| Measurement {
            schema: archive::SCHEMA.to_owned(),
            id: format!("m{number}"),
            tool: concat!("hoofbeat ", env!("CARGO_PKG_VERSION")).to_owned(),
            target: target.clone(),
            started: dated.started,
            vantage: Vantage::default(),
            body: Body::Dialogue(dated.dialogue),
        })
        .collect()
}

/// A pasted dialogue seldom tells with whom it was held. The name by which the server calls itself in its
/// answer to EHLO serves then; who calls itself otherwise, or not at all, is a finding of its own.
fn name_the_unnamed(dialogues: &mut [Dated], label: &str) {
    let mut strangers: Vec<Option<String>> = Vec::new();
    for dated in dialogues
        .iter_mut()
        .filter(|dated| dated.dialogue.service.host.is_empty())
    {
        let called = own_name(&dated.dialogue);
        dated.dialogue.service.host = match called {
            Some(name) if is_host_name(&name) => name,
            called => {
                let known = strangers
                    .iter()
                    .position(|stranger| stranger.is_some() && *stranger == called);
                let at = known.unwrap_or_else(|| {
                    strangers.push(called);
                    strangers.len() - 1
                });
                if at == 0 {
                    label.to_owned()
                } else {
                    format!("{label}#{}", at + 1)
                }
            }
        };
    }
}

/// The first word of the answer to EHLO or HELO (RFC 5321 §4.1.1.1).
fn own_name(dialogue: &Dialogue) -> Option<String> {
    let named = |label| matches!(label, Label::Capabilities | Label::Helo);
    let exchange = dialogue
        .exchanges
        .iter()
        .find(|exchange| named(exchange.label))?;
    let bytes = dialogue
        .transcript
        .bytes(Direction::ToClient, exchange.received);
    let line = bytes.strip_prefix(b"250")?.get(1..)?;
    let end = line.iter().position(|b| b.is_ascii_whitespace())?;
    let word = String::from_utf8_lossy(line.get(..end)?).into_owned();
    (!word.is_empty()).then_some(word)
}

fn is_host_name(word: &str) -> bool {
    word.len() <= 253
        && word.contains('.')
        && word.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}
