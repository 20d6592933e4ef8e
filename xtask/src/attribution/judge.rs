//! Judges kept archives again, offline, with more or fewer means: `hoofbeat explain` on thinned copies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::answer::Answer;
use super::archive::{Archive, Evidence};
use super::baseline::RULES;
use super::case::Case;
use super::engine::Engine;
use super::row::{Live, Row};
use super::stage::{self, Kept};
use crate::tool;

/// Judging reads a few hundred kilobytes and asks nobody.
const LIMIT: Duration = Duration::from_secs(30);

/// Everything that is said of one run. `fresh`: the same program made the archives just now, so that what it said live
/// must come out again.
pub(crate) fn row(
    program: &Path,
    case: &Case,
    kept: &Kept,
    folder: &Path,
    fresh: bool,
) -> Result<Row> {
    let raw = Archive::read(&kept.raw)?;
    let unprivileged = Archive::read(&kept.unprivileged)?;
    let elsewhere = Archive::read(&kept.elsewhere)?;
    let whole = |archive: &Archive| archive.thinned(Evidence::Whole);
    let second = kept_as(folder, "elsewhere-thin", &whole(&elsewhere))?;
    let inside = kept_as(folder, "inside-thin", &whole(&Archive::read(&kept.inside)?))?;
    let mut answers = BTreeMap::new();
    let mut cost = BTreeMap::new();
    let mut fullest = Vec::new();
    for engine in Engine::ALL {
        let source = match engine {
            Engine::Unprivileged => &unprivileged,
            _ => &raw,
        };
        let thinned = source.thinned(engine.evidence());
        let mut files = vec![kept_as(folder, "thin", &thinned)?];
        if engine >= Engine::SecondNetwork {
            files.push(second.clone());
        }
        if engine >= Engine::Inside {
            files.push(inside.clone());
        }
        let answer =
            explain(program, &files, None, case).with_context(|| engine.name().to_owned())?;
        answers.insert(engine, answer);
        cost.insert(engine, thinned.cost());
        // The last engine's files stay for the ablation.
        fullest = files;
    }
    let live = match answers.get(&Engine::Witness) {
        Some(answer) if fresh => live(answer, &stage::live(folder)?, case)?,
        _ => Live::NotCompared,
    };
    let fullest_said = answers.get(&Engine::FULLEST).map(groups);
    let without = fullest_said
        .into_iter()
        .flatten()
        .map(|group| {
            let answer = explain(program, &fullest, Some(&group), case)
                .with_context(|| format!("without {group}"))?;
            Ok((group, answer))
        })
        .collect::<Result<BTreeMap<_, _>>>()?;
    Ok(Row {
        case: case.clone(),
        without,
        claims: RULES
            .iter()
            .map(|rule| (rule.apply)(&raw, Some(&elsewhere)))
            .collect(),
        answers,
        live,
        cost,
        seconds: kept.seconds,
    })
}

/// The groups that are left out one by one: those with a number (`--leave-out` knows no others) that entered this judgement.
/// Leaving out what said nothing changes nothing.
fn groups(answer: &Answer) -> BTreeSet<String> {
    answer
        .weighed
        .iter()
        .map(|(group, _)| group)
        .filter(|group| group.starts_with('G'))
        .cloned()
        .collect()
}

/// An archive judged offline must say what the live check said: else the tables would measure something else.
fn live(answer: &Answer, document: &Value, case: &Case) -> Result<Live> {
    let live = Answer::read(document, case.port).context("the live check")?;
    let same = live.verdict == answer.verdict
        && live.mechanism == answer.mechanism
        && live.place == answer.place
        && live.segment == answer.segment;
    if same {
        return Ok(Live::Same);
    }
    let both = format!("live {}, offline {}", live.in_short(), answer.in_short());
    Ok(Live::Differs(both))
}

fn kept_as(folder: &Path, name: &str, archive: &Archive) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.jsonl"));
    archive.write(&path)?;
    Ok(path)
}

fn explain(
    program: &Path,
    files: &[PathBuf],
    leave_out: Option<&str>,
    case: &Case,
) -> Result<Answer> {
    let mut command = Command::new(program);
    command.args(["explain", "--json"]);
    if let Some(group) = leave_out {
        command.args(["--leave-out", group]);
    }
    let ran = tool::run(command.args(files), LIMIT)?;
    ensure!(!ran.timed_out, "explain: no answer within {LIMIT:?}");
    ensure!(
        ran.exit.is_some_and(|exit| (0..=3).contains(&exit)),
        "explain: exit {:?}: {}",
        ran.exit,
        ran.stderr.trim()
    );
    Answer::read(&of_host(&ran.stdout, case.vantage.host())?, case.port)
}

/// One machine's document among those of several vantages.
fn of_host(text: &str, host: &str) -> Result<Value> {
    let documents = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()
        .context("explain's answer is no JSON")?;
    let at = documents
        .iter()
        .position(|document| document["vantage"]["host"] == host)
        .with_context(|| format!("no document of the vantage {host}"))?;
    documents.into_iter().nth(at).context("no document")
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::super::place::Place;
    use super::*;

    #[test]
    fn the_clients_document_is_found_among_others() {
        let text = "{\"vantage\":{\"host\":\"phone\"},\"n\":1}\n{\"vantage\":{\"host\":\"laptop\"},\"n\":2}\n";
        assert_eq!(of_host(text, "laptop").expect("the client's")["n"], 2);
        assert!(of_host("{\"vantage\":{\"host\":\"phone\"}}\n", "laptop").is_err());
        assert!(of_host("no json\n", "laptop").is_err());
    }

    #[test]
    fn only_groups_that_entered_are_left_out() {
        let mut said = answer("interference", Place::Access, 0.8);
        said.weighed = [("G2", "a"), ("G2", "b"), ("G11", "c"), ("segments", "d")]
            .map(|(group, name)| (group.to_owned(), name.to_owned()))
            .into();
        assert_eq!(groups(&said).into_iter().collect::<Vec<_>>(), ["G11", "G2"]);
    }
}
