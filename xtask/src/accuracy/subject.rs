//! Asks the built `hoofbeat check --json` and reads its answer by the published contract, as a script would.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hoofbeat_lab::{Running, Scenario};
use serde_json::Value;

use crate::tool;

/// A check has its own limit (60 s); beyond it something is wrong with us.
const LIMIT: Duration = Duration::from_secs(90);

/// What Hoofbeat said of one scenario.
pub(crate) struct Answer {
    pub(crate) verdict: String,
    pub(crate) mechanism: Option<String>,
    pub(crate) product: Option<String>,
    pub(crate) place: Option<String>,
    pub(crate) weaknesses: Vec<String>,
    pub(crate) exit: Option<i32>,
    /// Connections that the scenario's door counted; control servers are not among them.
    pub(crate) connections: usize,
    pub(crate) took: Duration,
}

/// Checks a running scenario as a person would who names one clean server as control, and the host's other ports.
pub(crate) fn ask(program: &Path, scenario: &Scenario, lab: &Running, ca: &Path) -> Result<Answer> {
    let mut command = Command::new(program);
    command
        .args(["check", "--json", "--control", &lab.control_url(), "--ca"])
        .arg(ca);
    for sibling in &lab.siblings {
        command.args([
            "--sibling",
            &format!("{}://{}", sibling.scheme, sibling.address),
        ]);
    }
    if scenario.thorough {
        command.arg("--thorough");
    }
    let before = lab.connections();
    let ran = tool::run(command.arg(lab.url()), LIMIT)?;
    ensure!(
        !ran.timed_out,
        "{}: no answer within {LIMIT:?}",
        scenario.id
    );
    let line = ran.stdout.lines().next().unwrap_or_default();
    let document: Value = serde_json::from_str(line).with_context(|| {
        format!(
            "{}: exit {:?}, {:?}, {:?}",
            scenario.id, ran.exit, ran.stdout, ran.stderr
        )
    })?;
    // The worst of several (two families of one name) is what the exit status tells.
    let findings = document["findings"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let overall = &document["overall"]["verdict"];
    let finding = findings
        .iter()
        .find(|finding| finding["verdict"] == *overall)
        .or(findings.first());
    let word = |key: &str| {
        finding
            .and_then(|finding| finding[key].as_str())
            .map(str::to_owned)
    };
    let weaknesses = finding
        .and_then(|finding| finding["weaknesses"].as_array())
        .into_iter()
        .flatten();
    Ok(Answer {
        verdict: word("verdict")
            .or_else(|| overall.as_str().map(str::to_owned))
            .unwrap_or_default(),
        mechanism: word("mechanism"),
        product: word("product"),
        place: finding
            .and_then(|finding| finding["location"]["class"].as_str())
            .map(str::to_owned),
        weaknesses: weaknesses
            .filter_map(|word| Some(word.as_str()?.to_owned()))
            .collect(),
        exit: ran.exit,
        connections: lab.connections() - before,
        took: ran.took,
    })
}
