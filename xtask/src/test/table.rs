//! The closing table of a test run: every step, its outcome, its seconds.

use std::time::Duration;

/// How a step ended.
pub(crate) enum Outcome {
    Passed(String),
    Failed(String),
    /// Required, but could not run here.
    Skipped(String),
    /// Optional and not installed; said, but never a failure.
    Absent(String),
}

impl Outcome {
    pub(crate) fn is_good(&self, strict: bool) -> bool {
        match self {
            Self::Passed(_) | Self::Absent(_) => true,
            Self::Skipped(_) => !strict,
            Self::Failed(_) => false,
        }
    }

    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Passed(note) => ("passed", note),
            Self::Failed(note) => ("FAILED", note),
            Self::Skipped(note) => ("SKIPPED", note),
            Self::Absent(note) => ("absent", note),
        }
    }
}

/// One step of the run.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

pub(crate) fn print(lines: &[Line], strict: bool) {
    println!("\n{:<14} {:<8} {:>7}  note", "step", "outcome", "seconds");
    for line in lines {
        let (word, note) = line.outcome.words();
        println!(
            "{:<14} {:<8} {:>7.1}  {note}",
            line.name,
            word,
            line.took.as_secs_f64()
        );
    }
    let skipped = lines
        .iter()
        .filter(|line| matches!(line.outcome, Outcome::Skipped(_)))
        .count();
    if skipped > 0 {
        let meaning = if strict {
            "which fails the run (CI=true)"
        } else {
            "which would fail the run with CI=true"
        };
        println!("{skipped} skipped, {meaning}");
    }
}
