//! What can be checked of a bundle by somebody who was not there, and what cannot.
//!
//! Hashes, the witness's signature and the verdict are recomputed; nothing that the file says of itself is believed.

use hoofbeat_observation::{Body, Measurement, Standing, WitnessVisit};
use serde::Serialize;
use std::collections::BTreeSet;

use super::{Addresses, Bundle, Judged, bundle_hash, read::Held};

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: `whole`, `lines`, `hash`, `ids`, `witness`, `verdict`.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// What was found, as a sentence.
    pub found: String,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Always `hoofbeat.verification/1`.
    pub schema: &'static str,
    /// Whether everything that can be checked holds.
    pub holds: bool,
    /// The hash of the whole as recomputed: what must have been published to prove a time.
    pub bundle: Option<String>,
    /// The program that wrote it, as it says.
    pub tool: String,
    /// When, as it says.
    pub started: String,
    /// Whether addresses were shortened, as it says.
    pub addresses: Addresses,
    /// Everything that was checked.
    pub checks: Vec<Check>,
    /// What nobody can know from this file.
    pub unknowable: Vec<String>,
}

/// Checks a bundle. `signature` finds out the standing of a visit's report (it needs cryptography), `is_named` tells
/// whether a report's key (base64) is one that the user named; none: no key was named.
#[must_use]
pub fn verify(
    bundle: &Bundle,
    signature: &dyn Fn(&mut WitnessVisit),
    is_named: Option<&dyn Fn(&str) -> bool>,
) -> Verification {
    let mut checks = Vec::new();
    whole(bundle, &mut checks);
    lines(bundle, &mut checks);
    let hash = hash(bundle, &mut checks);
    ids(bundle, &mut checks);
    let measurements = witnessed(bundle, signature, is_named, &mut checks);
    verdicts(bundle, &measurements, &mut checks);
    Verification {
        schema: "hoofbeat.verification/1",
        holds: checks.iter().all(|check| check.holds),
        bundle: hash,
        tool: bundle.header.tool.clone(),
        started: bundle.header.started.clone(),
        addresses: bundle.header.addresses,
        unknowable: unknowable(bundle, &measurements, is_named.is_some()),
        checks,
    }
}

fn whole(bundle: &Bundle, checks: &mut Vec<Check>) {
    let found = match (&bundle.manifest, bundle.behind) {
        (None, _) => "there is no manifest: the file is cut off, or the run was ended".to_owned(),
        (Some(_), 0) => "it has a header and ends with its manifest".to_owned(),
        (Some(_), behind) => format!("{behind} lines stand behind the manifest"),
    };
    checks.push(Check {
        name: "whole",
        holds: bundle.manifest.is_some() && bundle.behind == 0,
        found,
    });
}

/// Each line against the manifest's list: what was changed, added, removed, moved.
fn lines(bundle: &Bundle, checks: &mut Vec<Check>) {
    let Some(manifest) = &bundle.manifest else {
        return;
    };
    let here: Vec<&str> = bundle.lines.iter().map(|line| line.hash.as_str()).collect();
    let listed: Vec<&str> = manifest.lines.iter().map(String::as_str).collect();
    if here == listed {
        checks.push(Check {
            name: "lines",
            holds: true,
            found: format!("all {} lines are as the manifest lists them", here.len()),
        });
        return;
    }
    let mut found = Vec::new();
    let strangers: Vec<usize> = (0..here.len())
        .filter(|at| !listed.contains(&here[*at]))
        .collect();
    let lost: Vec<usize> = (0..listed.len())
        .filter(|at| !here.contains(&listed[*at]))
        .collect();
    for at in &strangers {
        // Where line and list differ at the same place, and in number agree, the line was changed.
        let what = if here.len() == listed.len() && lost.contains(at) {
            "was changed"
        } else {
            "is not in the manifest: added or changed"
        };
        found.push(format!("line {} {what}", at + 1));
    }
    for at in &lost {
        if here.len() != listed.len() || !strangers.contains(at) {
            found.push(format!("line {} of the manifest is missing", at + 1));
        }
    }
    if strangers.is_empty() && lost.is_empty() {
        let repeated = here.len() != listed.len();
        found.push(if repeated {
            "lines of the manifest stand there more or less often than listed".to_owned()
        } else {
            "the lines are those of the manifest in another order".to_owned()
        });
    }
    checks.push(Check {
        name: "lines",
        holds: false,
        found: found.join("; "),
    });
}

fn hash(bundle: &Bundle, checks: &mut Vec<Check>) -> Option<String> {
    let manifest = bundle.manifest.as_ref()?;
    let lines = bundle.lines.iter().map(|line| line.hash.as_str());
    let computed = bundle_hash(lines, manifest.verdicts.get());
    let holds = computed == manifest.bundle;
    checks.push(Check {
        name: "hash",
        holds,
        found: if holds {
            "the hash of the whole is as the manifest says".to_owned()
        } else {
            format!(
                "the hash of the whole is {computed}, and the manifest says {}",
                manifest.bundle
            )
        },
    });
    Some(computed)
}

fn ids(bundle: &Bundle, checks: &mut Vec<Check>) {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for line in &bundle.lines {
        match &line.held {
            Held::Damaged(why) => found.push(format!("line {} is damaged: {why}", line.number)),
            Held::Measurement(measurement) if !seen.insert(measurement.id.as_str()) => {
                found.push(format!(
                    "line {}: the id {} stands there twice",
                    line.number, measurement.id
                ));
            }
            Held::Measurement(_) | Held::Header => {}
        }
    }
    checks.push(Check {
        name: "ids",
        holds: found.is_empty(),
        found: if found.is_empty() {
            format!("{} measurements can be read", seen.len())
        } else {
            found.join("; ")
        },
    });
}

/// The measurements, with every witness report's standing recomputed.
fn witnessed(
    bundle: &Bundle,
    signature: &dyn Fn(&mut WitnessVisit),
    is_named: Option<&dyn Fn(&str) -> bool>,
    checks: &mut Vec<Check>,
) -> Vec<Measurement> {
    let mut measurements: Vec<Measurement> = bundle.measurements().cloned().collect();
    let mut any = false;
    for measurement in &mut measurements {
        let id = measurement.id.clone();
        let Body::Witness(visit) = &mut measurement.body else {
            continue;
        };
        any = true;
        signature(visit);
        let key = visit.report.as_ref().map(|report| report.key.as_str());
        let is_foreign = key
            .zip(is_named)
            .is_some_and(|(key, is_named)| !is_named(key));
        let host = &visit.host;
        let key = key.map(as_named).unwrap_or_default();
        let (holds, found) = match visit.standing {
            Standing::Signed if is_foreign => (
                false,
                format!("{host} signed with {key}, which is no key that was named"),
            ),
            Standing::Signed => (true, format!("the report of {host} is signed by {key}")),
            Standing::Absent => (true, format!("{host} gave no report, and none is claimed")),
            Standing::Unchecked => (false, format!("the report of {host} was not checked")),
            Standing::WrongKey => (
                false,
                format!(
                    "the report of {host} is signed by {key}, another key than the expected one"
                ),
            ),
            Standing::Forged => (
                false,
                format!("the signature under the report of {host} does not belong to it"),
            ),
            Standing::CutOff => (false, format!("the report of {host} is cut off")),
            Standing::OtherSession => (
                false,
                format!("the report of {host} is about another session"),
            ),
        };
        if is_foreign {
            // Somebody else's signature proves nothing here.
            visit.standing = Standing::WrongKey;
        }
        checks.push(Check {
            name: "witness",
            holds,
            found: format!("{id}: {found}"),
        });
    }
    if is_named.is_some() && !any {
        checks.push(Check {
            name: "witness",
            holds: false,
            found: "a key was named, and no report of a witness is in the bundle".to_owned(),
        });
    }
    measurements
}

/// A key as witnesses are named by it: the alphabet of RFC 4648 §5, without padding.
fn as_named(key: &str) -> String {
    key.trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

fn verdicts(bundle: &Bundle, measurements: &[Measurement], checks: &mut Vec<Check>) {
    let Some(manifest) = &bundle.manifest else {
        return;
    };
    let stored: Vec<Judged> = match serde_json::from_str(manifest.verdicts.get()) {
        Ok(stored) => stored,
        Err(error) => {
            checks.push(Check {
                name: "verdict",
                holds: false,
                found: format!("the verdicts cannot be read: {error}"),
            });
            return;
        }
    };
    let mut judged_ids: BTreeSet<&str> = BTreeSet::new();
    for judged in &stored {
        let case: Vec<Measurement> = measurements
            .iter()
            .filter(|measurement| judged.measurements.contains(&measurement.id))
            .cloned()
            .collect();
        judged_ids.extend(judged.measurements.iter().map(String::as_str));
        let again = judged.again(&case);
        let target = named(&judged.target);
        let holds = again == *judged;
        checks.push(Check {
            name: "verdict",
            holds,
            found: if holds {
                format!("{target}: judged again to the same: {}", again.sentence())
            } else if again.measurements != judged.measurements {
                format!(
                    "{target}: the bundle says {}, and measurements that led to it are missing",
                    judged.sentence()
                )
            } else {
                format!(
                    "{target}: the bundle says {}, and its measurements lead to {}",
                    judged.sentence(),
                    again.sentence()
                )
            },
        });
    }
    let left: Vec<&str> = measurements
        .iter()
        .map(|measurement| measurement.id.as_str())
        .filter(|id| !judged_ids.contains(id))
        .collect();
    if !left.is_empty() {
        checks.push(Check {
            name: "verdict",
            holds: false,
            found: format!("no verdict was concluded from {}", left.join(", ")),
        });
    }
}

fn named(target: &str) -> &str {
    if target.is_empty() {
        "the network"
    } else {
        target
    }
}

fn unknowable(bundle: &Bundle, measurements: &[Measurement], key_named: bool) -> Vec<String> {
    let has_report = measurements.iter().any(|measurement| {
        measurement
            .visit()
            .is_some_and(|visit| visit.standing == Standing::Signed)
    });
    let has_capture = measurements
        .iter()
        .any(|measurement| matches!(measurement.body, Body::Capture(_)));
    let mut unknown = vec![
        "when it was measured: the times are the client's own; only a hash that was published (a time stamp by \
         RFC 3161, a public log) proves that the bundle is not younger than that"
            .to_owned(),
    ];
    if has_report {
        unknown.push(if key_named {
            "whether the witness's operator is honest: the signature says who speaks, not that it is true; two \
             witnesses of two operators say more"
                .to_owned()
        } else {
            "whether the key that signed is the witness's: compare it with what its operator published, or name it \
             with --key"
                .to_owned()
        });
        unknown.push(
            "what happened on connections that the signed report does not cover: those are the client's word alone"
                .to_owned(),
        );
    } else {
        unknown.push(
            "whether the client tells the truth: no report of a witness is signed, and whoever wrote the bundle \
             could have written another"
                .to_owned(),
        );
    }
    unknown.push(
        "that something was not there: the absence of a STARTTLS line cannot be proven by one side alone".to_owned(),
    );
    if has_capture {
        unknown.push(
            "whether the packets were on the wire: a capture of one side alone can be made up"
                .to_owned(),
        );
    }
    if bundle.header.addresses == Addresses::Shortened {
        unknown.push(
            "the client's exact address: it was cut to /24 or /48 before it was written, in packets too".to_owned(),
        );
    }
    unknown
}
