//! Runs by their names: every error, what was not run, and all of them with one mark an engine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::answer::Answer;
use super::super::case::Case;
use super::super::engine::Engine;
use super::super::row::{Live, NotRun, Row};
use super::super::score::{Mark, Said, accuses_falsely, mark};

/// Everything that is wrong, by its name.
pub(super) fn errors(rows: &[&Row]) -> String {
    let mut text = "### Every error\n\nA wrong place, by any engine; false accusations in bold. Undetermined is no error.\n\n".to_owned();
    let mut lines = BTreeMap::<&str, Vec<String>>::new();
    for row in rows {
        for engine in Engine::ALL {
            let Some((case, answer)) = row.by(engine) else {
                continue;
            };
            let said = Said::from(answer);
            let falsely = accuses_falsely(case, said);
            if mark(case, said) == Mark::Wrong || falsely {
                let told = answer.in_short();
                let told = if falsely { format!("**{told}**") } else { told };
                lines
                    .entry(&case.id)
                    .or_default()
                    .push(format!("{}: {told}", engine.name()));
            }
        }
    }
    if lines.is_empty() {
        return text + "None.\n\n";
    }
    text += "| run | truth | said |\n|---|---|---|\n";
    for (id, told) in lines {
        let truth = rows
            .iter()
            .find(|row| row.case.id == id)
            .map(|row| truth(&row.case))
            .unwrap_or_default();
        let _ = writeln!(text, "| {id} | {truth} | {} |", told.join("; "));
    }
    text.push('\n');
    text
}

fn truth(case: &Case) -> String {
    let stretch = case.segment.or(case.reply_segment);
    let stretch = stretch.map_or_else(String::new, |segment| format!(" {segment}"));
    format!("{}{stretch}", case.truth.word())
}

pub(super) fn differing(rows: &[Row]) -> String {
    let lines: Vec<String> = rows
        .iter()
        .filter_map(|row| match &row.live {
            Live::Differs(both) => Some(format!("- {}: {both}\n", row.case.id)),
            Live::Same | Live::NotCompared => None,
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("## Judged otherwise offline\n\n{}\n", lines.concat())
}

pub(super) fn left_out(not_run: &[NotRun]) -> String {
    if not_run.is_empty() {
        return String::new();
    }
    let mut text =
        "## Not run\n\nThese count for nobody.\n\n| run | | why |\n|---|---|---|\n".to_owned();
    for run in not_run {
        let set = if run.held_out { "held out" } else { "training" };
        let _ = writeln!(
            text,
            "| {} | {set} | {} |",
            run.id,
            run.why.replace(['\n', '|'], " ")
        );
    }
    text.push('\n');
    text
}

pub(super) fn every(rows: &[Row]) -> String {
    let mut text = "## Every run\n\n+ right, o another place that nothing on the wire speaks against, · undetermined, − wrong; then whether the segment was exact (=), told and another (≠), or not told.\n\n\
| run | | truth | check | U | R | R + witness | + second network | + inside | R + witness said |\n|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let marks: String = Engine::ALL
            .into_iter()
            .map(|engine| format!(" {} |", symbol(row.said(engine))))
            .collect();
        let said = row
            .answers
            .get(&Engine::Witness)
            .map(Answer::in_short)
            .unwrap_or_default();
        let set = if row.case.held_out { "held out" } else { "" };
        let _ = writeln!(
            text,
            "| {} | {set} | {} |{marks} {said} |",
            row.case.id,
            truth(&row.case)
        );
    }
    text
}

fn symbol(said: Option<(&Case, Said)>) -> String {
    let Some((case, said)) = said else {
        return String::new();
    };
    let place = match mark(case, said) {
        Mark::Right => "+",
        Mark::Honest => "o",
        Mark::Abstained => "·",
        Mark::Wrong => "−",
    };
    let segment = match (case.segment.or(case.reply_segment), said.segment) {
        (Some(truth), Some(told)) if truth == told => " =",
        (Some(_), Some(_)) => " ≠",
        _ => "",
    };
    format!("{place}{segment}")
}
