//! `hoofbeat lab up`: a scenario of the network, built inside of a process tree of its own. This program starts itself
//! again as the tree's first process; with that one everything ends.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus};

use hoofbeat_lab::topology::scenario::Span;
use hoofbeat_lab::topology::{Companion, Extras, NetScenario, World, shell};
use tokio::signal::unix::{SignalKind, signal};

use super::super::{Stop, render};

/// As shells tell that a signal ended a program.
const SIGNALLED: i32 = 128;

/// What was asked for.
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) from: String,
    pub(super) keep: bool,
    pub(super) quiet: bool,
    pub(super) command: Vec<String>,
}

/// Names the scenarios.
pub(super) fn list(json: bool) -> Result<u8, Stop> {
    if json {
        let mut text = String::new();
        for scenario in NetScenario::all() {
            text += &format!("{}\n", document(scenario));
        }
        render::print(&text);
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = NetScenario::all()
        .iter()
        .map(|scenario| {
            let first = scenario.expected.get("client");
            vec![
                scenario.id.clone(),
                scenario.scheme.to_string(),
                first.map_or_else(String::new, |expected| expected.class.to_string()),
                scenario.title.clone(),
            ]
        })
        .collect();
    render::print(&render::table::columns(
        &["SCENARIO", "SCHEME", "PLACE", "WHAT IT IS"],
        &rows,
    ));
    Ok(0)
}

/// Everything that a harness needs to run a scenario and to count it.
fn document(scenario: &NetScenario) -> serde_json::Value {
    let expected: serde_json::Map<String, serde_json::Value> = scenario
        .expected
        .iter()
        .map(|(vantage, expected)| {
            let span = |span: Option<Span>| {
                span.map(|span| {
                    serde_json::json!({"after_hop": span.after_hop, "up_to_hop": span.up_to_hop})
                })
            };
            let verdicts: Vec<serde_json::Value> = expected
                .verdicts
                .iter()
                .map(|one| {
                    serde_json::json!({
                        "verdict": one.verdict.word(),
                        "mechanism": one.mechanism.map(|one| one.word()),
                    })
                })
                .collect();
            let also: Vec<&str> = expected.also_class.iter().map(|one| one.word()).collect();
            let value = serde_json::json!({
                "class": expected.class.word(),
                "also_class": also,
                "segment": span(expected.segment),
                "reply_segment": span(expected.reply_segment),
                "verdicts": verdicts,
            });
            (vantage.clone(), value)
        })
        .collect();
    serde_json::json!({
        "id": scenario.id,
        "title": scenario.title,
        "scheme": scenario.scheme.as_str(),
        "held_out": scenario.held_out,
        "representative": scenario.representative,
        "position": scenario.axes.position,
        "box": scenario.axes.kind,
        "direction": scenario.axes.direction,
        "confounder": scenario.axes.confounder,
        "server": scenario.server.program.word(),
        "expected": expected,
    })
}

/// Builds a scenario and runs the command in it; its status is ours.
pub(super) async fn up(wanted: &Wanted) -> Result<u8, Stop> {
    let scenario = find(&wanted.id)?;
    if !shell::is_inside() {
        return Err(enter());
    }
    let world = World::build(&scenario, &extras(wanted)?)
        .map_err(|error| Stop::unreadable(format!("cannot build {}: {error}", scenario.id)))?;
    if world.node(&wanted.from).is_none() {
        return Err(Stop::usage(format!(
            "--from: the lab has no host {:?}",
            wanted.from
        )));
    }
    if !wanted.quiet {
        eprint!("{}", world.map(&scenario));
    }
    let status = if wanted.command.is_empty() {
        None
    } else {
        let mut command = world
            .command(&wanted.from, &wanted.command)
            .map_err(|error| Stop::usage(error.to_string()))?;
        let ended = command.status();
        let status = ended.map_err(|error| {
            Stop::usage(format!("cannot run {:?}: {error}", wanted.command.first()))
        })?;
        Some(status)
    };
    if wanted.keep || status.is_none() {
        stay(&wanted.from).await?;
    }
    Ok(status.map_or(0, own))
}

/// Starts this program again inside; comes back only when that fails.
fn enter() -> Stop {
    let again = || -> Result<Command, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        shell::enter(program, std::env::args_os().skip(1)).map_err(|error| error.to_string())
    };
    match again() {
        // Takes this process's place, so that whoever kills it kills the lab.
        Ok(mut command) => Stop::unreadable(format!("cannot enter the lab: {}", command.exec())),
        Err(reason) => Stop::unreadable(format!("cannot enter the lab: {reason}")),
    }
}

/// An embedded scenario, or a file.
fn find(id: &str) -> Result<NetScenario, Stop> {
    if let Some(scenario) = NetScenario::by_id(id) {
        return Ok(scenario.clone());
    }
    if !id.ends_with(".toml") {
        return Err(Stop::usage(format!(
            "no scenario is called {id:?}; `hoofbeat lab list --net` names them all"
        )));
    }
    let text = std::fs::read_to_string(id)
        .map_err(|error| Stop::usage(format!("cannot read {id}: {error}")))?;
    let read = NetScenario::read(&text).map_err(|error| Stop::usage(format!("{id}: {error}")))?;
    let mut scenarios = read.into_iter();
    match (scenarios.next(), scenarios.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(Stop::usage(format!("{id}: one scenario is wanted"))),
    }
}

/// A witness on its host, where the command names it, or where somebody is going to look around.
fn extras(wanted: &Wanted) -> Result<Extras, Stop> {
    let named = wanted.command.iter().any(|word| word.contains("{witness}"));
    if !named && !wanted.command.is_empty() {
        return Ok(Extras::default());
    }
    let program = std::env::current_exe()
        .map_err(|error| Stop::bug(format!("cannot find this program: {error}")))?;
    let mut arguments = [
        "witness",
        "--key",
        "{folder}/witness.key",
        "--name",
        "{witness-address}",
        "--look",
    ]
    .map(str::to_owned)
    .to_vec();
    if shell::Rights::inside() == shell::Rights::OneId {
        // There is nobody else to become.
        arguments.extend(["--user", "root"].map(str::to_owned));
    }
    Ok(Extras {
        companions: vec![Companion {
            node: "witness".to_owned(),
            program,
            arguments,
            ready: "ready: ".to_owned(),
            publishes: Some("witness".to_owned()),
        }],
    })
}

/// Tells how to look around, and waits until somebody has seen enough.
async fn stay(from: &str) -> Result<(), Stop> {
    eprintln!(
        "up. Enter from another terminal with:\n  {}\nCtrl-C ends it.",
        shell::way_in(from)
    );
    let mut ended = signal(SignalKind::terminate())
        .map_err(|error| Stop::bug(format!("cannot wait for SIGTERM: {error}")))?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.map_err(|error| Stop::bug(format!("cannot wait for Ctrl-C: {error}")))
        }
        _ = ended.recv() => Ok(()),
    }
}

fn own(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| SIGNALLED + signal))
        .unwrap_or(SIGNALLED);
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoofbeat_lab::topology::Class;

    #[test]
    fn a_signal_is_told_as_shells_do() {
        assert_eq!(own(ExitStatus::from_raw(9)), 137);
        assert_eq!(own(ExitStatus::from_raw(3 << 8)), 3);
    }

    #[test]
    fn every_scenario_says_what_a_harness_needs() {
        for scenario in NetScenario::all() {
            let document = document(scenario);
            for vantage in document["expected"].as_object().expect("vantages").values() {
                let class = vantage["class"].as_str().expect("a class");
                assert!(Class::ALL.iter().any(|one| one.word() == class), "{class}");
                assert!(!vantage["verdicts"].as_array().expect("verdicts").is_empty());
            }
        }
    }
}
