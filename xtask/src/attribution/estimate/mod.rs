//! `--estimate`: likelihoods for the judge, counted from training runs, with what they change.
//!
//! Held-out runs never get here: the caller passes training runs only, and [`seen`] refuses others.

pub(crate) mod counts;
mod file;
mod temper;

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::answer::Answer;
use super::case::Case;
use counts::{Counts, Seen};

/// Where the judge keeps its counts, from the workspace's root.
const TABLE: &str = "crates/diagnosis/src/attribution/counted.rs";
/// What stands in the table's head.
const COMMAND: &str = "cargo xtask attribution --estimate";
/// Fewer runs than this give no table: a handful of counts would drown what people know.
const RUNS_LEAST: usize = 50;

/// One training run's observations; none for a held-out one.
pub(crate) fn seen(case: &Case, answer: &Answer) -> Option<Seen> {
    (!case.held_out).then(|| Seen {
        id: case.id.clone(),
        truth: case.truth,
        weighed: answer.weighed.clone(),
    })
}

/// Counts, writes the table, and tells what changed.
pub(crate) fn write(runs: &[Seen], root: &Path) -> Result<String> {
    ensure!(
        runs.len() >= RUNS_LEAST,
        "{} training runs are too few to count on; {RUNS_LEAST} at least",
        runs.len()
    );
    let counts = Counts::of(runs);
    ensure!(
        !counts.rows.is_empty(),
        "no answer tells what it weighed (location.weighed)"
    );
    let path = root.join(TABLE);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let fit = temper::fit(runs).context("too few runs with a cause")?;
    std::fs::write(
        &path,
        file::source(&counts, runs.len(), COMMAND, fit.exponent),
    )
    .with_context(|| format!("writing {}", path.display()))?;
    let exponent =
        file::temper(&before).map_or_else(|| "none".to_owned(), |old| format!("{old:.2}"));
    Ok(format!(
        "{}temper {exponent} → {:.2}: log loss {:.4} on runs judged by the others' counts, {:.4} without\n\
        written: {TABLE} ({} observations, {} training runs)\n",
        file::changes(&file::rows(&before), &counts),
        fit.exponent,
        fit.loss,
        fit.untempered,
        counts.rows.len(),
        runs.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::super::place::Place;
    use super::super::score::tests::case;
    use super::*;

    #[test]
    fn held_out_runs_are_never_counted() {
        let mut run = case("x", Place::Access, None);
        let said = answer("interference", Place::Access, 0.8);
        assert!(run.held_out && seen(&run, &said).is_none());
        run.held_out = false;
        assert!(seen(&run, &said).is_some());
    }

    #[test]
    fn a_handful_of_runs_writes_nothing() {
        let nowhere = Path::new("/nonexistent");
        assert!(write(&[], nowhere).is_err());
    }
}
