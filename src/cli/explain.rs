//! `hoofbeat explain`: what people paste or keep, judged offline.

use hoofbeat_diagnosis::{Case, Settings, diagnose, verdict::worst};
use hoofbeat_observation::Measurement;
use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{INCONCLUSIVE, Stop, check::show, inquiry::Answer, settings, typed};

/// Runs the command: a diagnosis for each target found in the files.
pub(super) fn run(typed: &typed::Explain) -> Result<u8, Stop> {
    let began = Instant::now();
    let output = settings::output(typed.output);
    let mut statuses = Vec::new();
    // Several archives of one target are one case: the judge sees them together.
    let mut cases: BTreeMap<String, Vec<Measurement>> = BTreeMap::new();
    for file in &typed.files {
        match crate::explain::read(file) {
            Ok(read) => {
                for note in &read.notes {
                    eprintln!("hoofbeat: {}: {note}", file.display());
                }
                for measurement in read.measurements {
                    cases
                        .entry(measurement.target.clone())
                        .or_default()
                        .push(measurement);
                }
            }
            Err(error) => {
                eprintln!("hoofbeat: {}: {error}", file.display());
                statuses.push(INCONCLUSIVE);
            }
        }
    }
    for (target, measurements) in cases {
        let now = measurements
            .iter()
            .map(|m| m.started)
            .max()
            .filter(|at| *at > 0)
            .unwrap_or_else(wall);
        let diagnosis = diagnose(&Case {
            target: &target,
            measurements: &measurements,
            settings: Settings {
                now,
                thorough: false,
                declined: Vec::new(),
            },
        });
        statuses.push(diagnosis.exit_status());
        let connections = measurements
            .iter()
            .filter(|m| m.dialogue().is_some())
            .count();
        let started = measurements.iter().map(|m| m.started).min().unwrap_or(now);
        let elapsed = began.elapsed();
        show(
            &Answer {
                target,
                diagnosis,
                measurements,
                connections,
                started,
                elapsed,
            },
            output,
        );
    }
    Ok(worst(statuses).unwrap_or(INCONCLUSIVE))
}

fn wall() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}
