//! The promises that held-out runs are measured against, each with its numbers.

use super::bound::upper;
use super::case::Case;
use super::engine::Engine;
use super::place::Place;
use super::row::{Live, Row};
use super::score::{Said, Tally, share};

/// Least share of exact segments, and of right classes.
const SEGMENTS: f64 = 0.95;
const CLASSES: f64 = 0.90;
/// Least number of runs, both sets together.
pub(crate) const RUNS: usize = 300;

/// One promise.
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) found: String,
    /// None where there was nothing to measure.
    pub(crate) met: Option<bool>,
}

/// All of them, over held-out runs.
pub(crate) fn all(rows: &[&Row]) -> Vec<Target> {
    vec![
        no_false_accusation(rows),
        no_other_accused(rows),
        segments(
            rows,
            Engine::Raw,
            "engine R, routers that quote in full, boxes that touch what the client sends",
            |case| case.segment.is_some(),
        ),
        segments(
            rows,
            Engine::Witness,
            "R + witness, routers that quote in full, every box that this path or the witness's crosses",
            |case| case.segment.is_some() || is_on_our_side(case),
        ),
        classes(rows, Engine::Witness, Allows::TheTruthAlone),
        classes(rows, Engine::Witness, Allows::WhatNothingTellsApart),
        classes(rows, Engine::FULLEST, Allows::WhatNothingTellsApart),
        offline(rows),
    ]
}

/// A box on the client's side of the Internet: the witness's path crosses it as well.
fn is_on_our_side(case: &Case) -> bool {
    case.reply_segment.is_some()
        && matches!(
            case.truth,
            Place::Transit | Place::Access | Place::Local | Place::Host
        )
}

fn no_false_accusation(rows: &[&Row]) -> Target {
    let tallies = Engine::ALL.map(|engine| {
        let tally = Tally::of(rows.iter().filter_map(|row| row.said(engine)));
        (tally.false_accusations.len(), tally.innocent)
    });
    let errors: usize = tallies.iter().map(|(errors, _)| errors).sum();
    let runs = tallies.iter().map(|(_, runs)| *runs).max().unwrap_or(0);
    Target {
        what: "no false accusation, by any engine".to_owned(),
        found: format!(
            "{errors}, in {runs} innocent runs judged by {} engines; by each the rate is below {:.1} % (95 %)",
            tallies.len(),
            100.0
                * upper(
                    tallies.iter().map(|(errors, _)| *errors).max().unwrap_or(0),
                    runs
                )
        ),
        met: (runs > 0).then_some(errors == 0),
    }
}

fn no_other_accused(rows: &[&Row]) -> Target {
    let tallies =
        Engine::ALL.map(|engine| Tally::of(rows.iter().filter_map(|row| row.said(engine))));
    let errors: usize = tallies.iter().map(|tally| tally.another_named.len()).sum();
    let runs = tallies.iter().map(|tally| tally.guilty).max().unwrap_or(0);
    Target {
        what: "nobody accused for another, by any engine".to_owned(),
        found: format!("{errors}, in {runs} runs with a box"),
        met: (runs > 0).then_some(errors == 0),
    }
}

fn segments(rows: &[&Row], engine: Engine, whose: &str, counts: fn(&Case) -> bool) -> Target {
    let judged = rows
        .iter()
        .filter_map(|row| row.said(engine))
        .filter(|(case, _)| case.quoting && case.truth.accuses() && counts(case));
    let hops = Tally::of(judged).hops;
    let exact = share(hops.exact, hops.on_path);
    Target {
        what: format!("≥ 95 % exact segment: {whose}"),
        found: format!(
            "{} of {} ({:.1} %); told in {}, of which {:.1} % exact",
            hops.exact,
            hops.on_path,
            100.0 * exact,
            hops.told,
            100.0 * share(hops.exact, hops.told)
        ),
        met: (hops.on_path > 0).then_some(exact >= SEGMENTS),
    }
}

/// Which answers count as right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allows {
    TheTruthAlone,
    /// And places that the scenario names beside it, for nothing on the wire tells them from it.
    WhatNothingTellsApart,
}

fn classes(rows: &[&Row], engine: Engine, allows: Allows) -> Target {
    let judged: Vec<(&Case, Said)> = rows
        .iter()
        .filter_map(|row| row.said(engine))
        .filter(|(case, _)| case.truth != Place::Undetermined)
        .collect();
    let tally = Tally::of(judged.iter().copied());
    let (right, whose) = match allows {
        Allows::TheTruthAlone => (tally.right, ""),
        Allows::WhatNothingTellsApart => (
            tally.right + tally.honest,
            ", or another place that nothing on the wire tells from it",
        ),
    };
    let right_share = share(right, tally.runs);
    Target {
        what: format!("≥ 90 % right class: {}{whose}", engine.name()),
        found: format!(
            "{right} of {} ({:.1} %); {} right, {} name another place that is as honest, {} undetermined, {} wrong",
            tally.runs,
            100.0 * right_share,
            tally.right,
            tally.honest,
            tally.abstained,
            tally.wrong
        ),
        met: (tally.runs > 0).then_some(right_share >= CLASSES),
    }
}

fn offline(rows: &[&Row]) -> Target {
    let compared = rows.iter().filter(|row| row.live != Live::NotCompared);
    let same = rows.iter().filter(|row| row.live == Live::Same).count();
    let compared = compared.count();
    Target {
        what: "an archive judged offline says what the live check said".to_owned(),
        found: format!("{same} of {compared}"),
        met: (compared > 0).then_some(same == compared),
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::super::place::Segment;
    use super::super::score::tests::case;
    use super::*;
    use std::collections::BTreeMap;

    fn row(truth: Place, segment: Option<(u8, u8)>, said: Place, told: Option<(u8, u8)>) -> Row {
        let verdict = match said {
            Place::None => "clear",
            said if said.is_innocent() => "server",
            _ => "interference",
        };
        let mut said = answer(verdict, said, 0.9);
        said.segment = told.map(|(after, up_to)| Segment { after, up_to });
        Row {
            case: case("x", truth, segment),
            answers: Engine::ALL.map(|engine| (engine, said.clone())).into(),
            live: Live::Same,
            without: BTreeMap::new(),
            claims: Vec::new(),
            cost: BTreeMap::new(),
            seconds: 0.0,
        }
    }

    fn met(rows: &[Row]) -> Vec<Option<bool>> {
        let rows: Vec<&Row> = rows.iter().collect();
        all(&rows).into_iter().map(|target| target.met).collect()
    }

    #[test]
    fn what_is_right_meets_every_target() {
        let rows = [
            row(Place::Access, Some((1, 2)), Place::Access, Some((1, 2))),
            row(Place::None, None, Place::None, None),
        ];
        assert_eq!(met(&rows), [Some(true); 8]);
    }

    #[test]
    fn each_kind_of_error_misses_its_target() {
        let accused = [row(Place::Server, None, Place::ServerEdge, None)];
        assert_eq!(met(&accused)[0], Some(false));
        let another = [row(
            Place::Access,
            Some((1, 2)),
            Place::ServerEdge,
            Some((1, 2)),
        )];
        assert_eq!(met(&another)[1], Some(false));
        let off = [row(
            Place::Access,
            Some((1, 2)),
            Place::Access,
            Some((2, 3)),
        )];
        assert_eq!(met(&off)[2..4], [Some(false), Some(false)]);
        let untold = [row(Place::Access, Some((1, 2)), Place::Undetermined, None)];
        assert_eq!(met(&untold)[2..7], [Some(false); 5]);
        let mut other = row(Place::None, None, Place::None, None);
        other.live = Live::Differs("live clear, offline server".to_owned());
        assert_eq!(met(&[other])[7], Some(false));
    }

    #[test]
    fn another_place_counts_only_where_the_scenario_allows_it() {
        let mut border = row(Place::Access, Some((1, 2)), Place::Local, Some((1, 2)));
        assert_eq!(met(std::slice::from_ref(&border))[4..7], [Some(false); 3]);
        border.case.also_honest.push(Place::Local);
        assert_eq!(met(&[border])[4..7], [Some(false), Some(true), Some(true)]);
    }

    #[test]
    fn routers_that_do_not_quote_are_not_promised() {
        let mut silent = row(Place::Access, Some((1, 2)), Place::Access, None);
        silent.case.quoting = false;
        assert_eq!(met(&[silent])[2..4], [None, None]);
        assert_eq!(met(&[]), [None; 8]);
    }
}
