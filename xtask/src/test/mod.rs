//! `cargo xtask test`: prepares the machine, runs every kind of test, and closes with a table that hides nothing.
//!
//! A step that cannot run is skipped with its reason; where `CI=true` a skip is a failure, because a green run must mean
//! that everything ran. Nothing is ever run twice in the hope of a better answer.

mod steps;
mod table;

use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::workspace::Workspace;
use steps::Bench;
use table::Line;
pub(crate) use table::Outcome;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only this kind of test (repeatable)
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// Leave out what takes long: real servers, networks of namespaces and fuzzing
    #[arg(long)]
    quick: bool,
    /// Seconds that each fuzz target runs
    #[arg(long, default_value_t = 6)]
    fuzz_seconds: u32,
}

/// The kinds of tests, in the order in which they run: the cheap and telling ones first.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Kind {
    /// The crates' own tests: playbooks, properties, vectors
    Unit,
    /// Which crate may know which; purity; where unsafe stands
    Architecture,
    /// The whole program against the lab
    Scenario,
    /// The whole program against real Postfix, Exim and Dovecot
    Witness,
    /// The whole program in networks of Linux namespaces: boxes at every hop, traces, witnesses
    Network,
    /// Examples in the documentation
    Doc,
    /// The pure crates on a target that has no std
    Bare,
    /// Every parser of foreign bytes, fed with mutated seeds
    Fuzz,
    /// Licences and sources of what comes in
    Licences,
}

const SLOW: [Kind; 3] = [Kind::Witness, Kind::Network, Kind::Fuzz];

/// Runs the chosen kinds; true when nothing failed (in CI: nor was skipped).
pub(crate) fn run(options: &Options) -> Result<bool> {
    let workspace = Workspace::read()?;
    let chosen: Vec<Kind> = Kind::value_variants()
        .iter()
        .copied()
        .filter(|kind| is_chosen(options, *kind))
        .collect();
    let mut bench = Bench::new(&workspace, options.fuzz_seconds);
    let mut lines = Vec::new();
    if chosen.iter().any(|kind| SLOW.contains(kind)) {
        lines.push(timed("machine", || bench.prepare()));
    }
    for kind in chosen {
        let name = format!("{kind:?}").to_lowercase();
        lines.push(timed(&name, || bench.run(kind)));
    }
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    table::print(&lines, strict);
    Ok(lines.iter().all(|line| line.outcome.is_good(strict)))
}

fn is_chosen(options: &Options, kind: Kind) -> bool {
    let wanted = options.only.is_empty() || options.only.contains(&kind);
    wanted && !(options.quick && SLOW.contains(&kind) && !options.only.contains(&kind))
}

fn timed(name: &str, step: impl FnOnce() -> Result<Outcome>) -> Line {
    eprintln!("\n=== {name}");
    let began = Instant::now();
    let outcome = step().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
    Line {
        name: name.to_owned(),
        outcome,
        took: began.elapsed(),
    }
}
