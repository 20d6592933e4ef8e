//! Recorded dialogues as measurements: numbered, dated, and put under one target.

use hoofbeat_observation::{Body, Dialogue, Measurement, Vantage, archive};
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
    let mut unnamed = 0;
    let mut dialogues = dialogues;
    for dated in dialogues.iter_mut().filter(|dated| dated.dialogue.service.host.is_empty()) {
        unnamed += 1;
        label.clone_into(&mut dated.dialogue.service.host);
        if unnamed > 1 {
            // Nothing says that it is the same server: a finding of its own.
            dated.dialogue.service.host = format!("{label}#{unnamed}");
        }
    }
    let hosts: BTreeSet<&str> = dialogues.iter().map(|dated| dated.dialogue.service.host.as_str()).collect();
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
