//! `hoofbeat explain`: what people paste or keep, judged offline; archives of several places are judged together.

use hoofbeat_diagnosis::{Case, Diagnosis, Elsewhere, Settings, diagnose, verdict::worst};
use hoofbeat_observation::{Body, Measurement, Role, Vantage};
use hoofbeat_probe::{Target, witness};
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    INCONCLUSIVE, Stop,
    check::show,
    inquiry::{Answer, connections},
    render::{self, text::Detail},
    settings, typed,
};

/// What one place measured of one target.
struct Seen {
    target: String,
    /// What the place is called where nobody gave it a name: its file.
    file: String,
    measurements: Vec<Measurement>,
}

/// Runs the command: a diagnosis for each target and place found in the files.
pub(super) fn run(typed: &typed::Explain) -> Result<u8, Stop> {
    let began = Instant::now();
    let output = settings::output(typed.output);
    if let Some(group) = typed.leave_out.iter().find(|group| !is_group(group)) {
        return Err(Stop::usage(format!(
            "--leave-out {group:?}: groups of evidence are G1 to G11"
        )));
    }
    let mut statuses = Vec::new();
    let mut cases: Vec<Seen> = Vec::new();
    let mut names = BTreeSet::new();
    for file in &typed.files {
        match crate::explain::read(file) {
            Ok(read) => {
                for note in &read.notes {
                    eprintln!("hoofbeat: {}: {note}", file.display());
                }
                let name = unused_name(file, &mut names);
                let prefix = (typed.files.len() > 1).then_some(name.as_str());
                for measurement in read.measurements {
                    put(&mut cases, loaded(measurement, prefix), &name);
                }
            }
            Err(error) => {
                eprintln!("hoofbeat: {}: {error}", file.display());
                statuses.push(INCONCLUSIVE);
            }
        }
    }
    cases.sort_by(|a, b| a.target.cmp(&b.target));
    let mut answers = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let others: Vec<&Seen> = cases
            .iter()
            .enumerate()
            .filter(|(other, seen)| *other != at && same_subject(case, seen))
            .map(|(_, seen)| seen)
            .collect();
        answers.push((answer(case, &others, typed, began), !others.is_empty()));
    }
    let several = answers.iter().any(|(_, has_others)| *has_others);
    if several && !output.json {
        render::print(&overview(&answers));
    }
    for (mut answer, has_others) in answers {
        statuses.push(answer.diagnosis.exit_status());
        if has_others && !output.json && output.detail != Detail::Verdicts {
            render::print(&format!("\nFrom {}:\n", place(&answer.vantage)));
        }
        if !several {
            answer.vantage.name = answer
                .measurements
                .first()
                .and_then(|m| m.vantage.name.clone());
        }
        show(&answer, output);
    }
    Ok(worst(statuses).unwrap_or(INCONCLUSIVE))
}

/// Signatures are checked here and now; ids of several files are told apart.
fn loaded(mut measurement: Measurement, prefix: Option<&str>) -> Measurement {
    if let Body::Witness(visit) = &mut measurement.body {
        witness::check(visit);
    }
    if let Some(prefix) = prefix {
        measurement.id = format!("{prefix}:{}", measurement.id);
    }
    measurement
}

fn unused_name(file: &Path, names: &mut BTreeSet<String>) -> String {
    let stem = file
        .file_stem()
        .unwrap_or(file.as_os_str())
        .to_string_lossy()
        .into_owned();
    let mut name = stem.clone();
    let mut number = 1;
    while !names.insert(name.clone()) {
        number += 1;
        name = format!("{stem}-{number}");
    }
    name
}

/// Archives of one target and one place are one case.
fn put(cases: &mut Vec<Seen>, measurement: Measurement, file: &str) {
    let known = cases.iter_mut().find(|seen| {
        seen.target == measurement.target
            && seen
                .measurements
                .first()
                .is_some_and(|first| same_place(&first.vantage, &measurement.vantage))
    });
    match known {
        Some(seen) => seen.measurements.push(measurement),
        None => cases.push(Seen {
            target: measurement.target.clone(),
            file: file.to_owned(),
            measurements: vec![measurement],
        }),
    }
}

/// By the labels that people gave; without any by the address.
fn same_place(a: &Vantage, b: &Vantage) -> bool {
    let labels = |v: &Vantage| (v.name.clone(), v.host.clone(), v.network.clone(), v.inside);
    let has_label =
        |v: &Vantage| v.name.is_some() || v.host.is_some() || v.network.is_some() || v.inside;
    labels(a) == labels(b) && (has_label(a) || a.address == b.address)
}

/// Whether two cases tell of the same target: it means the same, or the same service was asked.
fn same_subject(a: &Seen, b: &Seen) -> bool {
    let meaning = |seen: &Seen| Target::parse(&seen.target).ok();
    let services = |seen: &Seen| -> BTreeSet<(String, u16)> {
        seen.measurements
            .iter()
            .filter_map(Measurement::dialogue)
            .filter(|dialogue| dialogue.role == Role::Target)
            .map(|dialogue| (dialogue.service.host.clone(), dialogue.service.port))
            .collect()
    };
    a.target == b.target
        || meaning(a).is_some_and(|meant| meaning(b) == Some(meant))
        || !services(a).is_disjoint(&services(b))
}

fn answer(case: &Seen, others: &[&Seen], typed: &typed::Explain, began: Instant) -> Answer {
    let measurements = &case.measurements;
    let now = measurements
        .iter()
        .map(|m| m.started)
        .max()
        .filter(|at| *at > 0)
        .unwrap_or_else(wall);
    let judged_with = Settings {
        now,
        leave_out: typed.leave_out.clone(),
        ..Settings::default()
    };
    let elsewhere = others
        .iter()
        .filter_map(|seen| {
            Some(Elsewhere {
                vantage: &seen.measurements.first()?.vantage,
                measurements: &seen.measurements,
            })
        })
        .collect();
    let diagnosis = diagnose(&Case {
        target: &case.target,
        measurements,
        settings: judged_with.clone(),
        elsewhere,
    });
    let mut vantage = measurements
        .first()
        .map(|m| m.vantage.clone())
        .unwrap_or_default();
    vantage.name.get_or_insert_with(|| case.file.clone());
    Answer {
        target: case.target.clone(),
        diagnosis,
        judged_with,
        vantage,
        connections: connections(measurements),
        started: measurements.iter().map(|m| m.started).min().unwrap_or(now),
        measurements: measurements.clone(),
        elapsed: began.elapsed(),
    }
}

/// What was concluded from where, a line each.
fn overview(answers: &[(Answer, bool)]) -> String {
    let rows: Vec<Vec<String>> = answers
        .iter()
        .map(|(answer, _)| {
            vec![
                place(&answer.vantage),
                answer.target.clone(),
                answer.diagnosis.overall.verdict.to_string(),
                how(&answer.diagnosis),
            ]
        })
        .collect();
    render::table::columns(&["FROM", "TARGET", "VERDICT", "HOW, AND WHERE"], &rows)
}

/// The finding behind the overall verdict.
fn how(diagnosis: &Diagnosis) -> String {
    let mut findings = diagnosis.findings.iter();
    let Some(worst) = findings.find(|f| f.verdict == diagnosis.overall.verdict) else {
        return String::new();
    };
    match worst.mechanism {
        Some(mechanism) => format!(
            "{mechanism}, {} ({})",
            worst.location.class, worst.confidence
        ),
        None => format!("encryption {}", worst.encryption),
    }
}

fn place(vantage: &Vantage) -> String {
    let name = vantage.name.clone().unwrap_or_default();
    let inside = if vantage.inside { " (inside)" } else { "" };
    match vantage.address {
        Some(address) => format!("{name}{inside} [{address}]"),
        None => format!("{name}{inside}"),
    }
}

fn is_group(text: &str) -> bool {
    text.strip_prefix('G')
        .and_then(|number| number.parse::<u8>().ok())
        .is_some_and(|number| (1..=11).contains(&number) && text == format!("G{number}"))
}

fn wall() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}
