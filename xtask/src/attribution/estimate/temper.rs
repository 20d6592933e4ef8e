//! One exponent for all groups: groups are not as independent as naive Bayes takes them to be, and a belief that
//! is too sure of itself is a false accusation in waiting.
//!
//! Fitted by log loss over training runs, each fifth judged with likelihoods counted from the other four. Pure.

use std::collections::BTreeMap;

use super::counts::{Counts, Seen};

/// Parts that the runs are dealt into.
const FOLDS: usize = 5;
/// As in the judge: the most that one group's ratio may weigh.
const RATIO_CAP: f64 = 50.0;
/// Hundredths of the exponent that are tried: evidence is tamed, never sharpened.
const TRIED: std::ops::RangeInclusive<u32> = 20..=100;

/// The exponent that lost least, with its mean log loss and that of 1 (no tempering).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Fit {
    pub(crate) exponent: f64,
    pub(crate) loss: f64,
    pub(crate) untempered: f64,
}

/// Fits over the runs with a cause; none with fewer runs than parts.
pub(crate) fn fit(runs: &[Seen]) -> Option<Fit> {
    let mut runs: Vec<&Seen> = runs.iter().filter(|run| run.class().is_some()).collect();
    if runs.len() < FOLDS {
        return None;
    }
    // Dealt in order of their names, so that neighbours, which are variants of each other, part.
    runs.sort_by(|one, other| one.id.cmp(&other.id));
    let ratios: Vec<(usize, Vec<[f64; 7]>)> = (0..FOLDS)
        .flat_map(|fold| {
            let (kept, judged): (Vec<_>, Vec<_>) = runs
                .iter()
                .enumerate()
                .partition(|(at, _)| at % FOLDS != fold);
            let counts = Counts::of(kept.iter().map(|(_, run)| **run));
            judged
                .into_iter()
                .filter_map(move |(_, run)| Some((run.class()?, groups(run, &counts))))
                .collect::<Vec<_>>()
        })
        .collect();
    let loss = |exponent: f64| -> f64 {
        let sum: f64 = ratios
            .iter()
            .map(|(truth, groups)| -belief(groups, exponent)[*truth].ln())
            .sum();
        sum / ratios.len() as f64
    };
    let best = TRIED
        .map(|hundredths| f64::from(hundredths) / 100.0)
        .map(|exponent| (exponent, loss(exponent)))
        .min_by(|one, other| one.1.total_cmp(&other.1))?;
    Some(Fit {
        exponent: best.0,
        loss: best.1,
        untempered: loss(1.0),
    })
}

/// The strongest row of each group, capped, as the judge takes it.
fn groups(run: &Seen, counts: &Counts) -> Vec<[f64; 7]> {
    let mut strongest: BTreeMap<&str, (f64, [f64; 7])> = BTreeMap::new();
    for (group, observation) in &run.weighed {
        let Some(count) = counts.rows.get(observation) else {
            continue;
        };
        let row = count.smoothed(counts.kinds(observation));
        let most = row.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let row = row.map(|value| value.max(most / RATIO_CAP));
        let least = row.iter().copied().fold(f64::MAX, f64::min);
        let spread = most / least;
        if strongest
            .get(group.as_str())
            .is_none_or(|(before, _)| spread > *before)
        {
            strongest.insert(group, (spread, row));
        }
    }
    strongest.into_values().map(|(_, row)| row).collect()
}

/// Even odds before, the product of the groups after.
fn belief(groups: &[[f64; 7]], exponent: f64) -> [f64; 7] {
    let logs: [f64; 7] =
        std::array::from_fn(|class| groups.iter().map(|row| row[class].ln() * exponent).sum());
    let most = logs.iter().copied().fold(f64::MIN, f64::max);
    let masses = logs.map(|log| (log - most).exp());
    let sum: f64 = masses.iter().sum();
    masses.map(|mass| mass / sum)
}

#[cfg(test)]
mod tests {
    use super::super::super::place::Place;
    use super::super::counts::tests::seen;
    use super::*;

    #[test]
    fn belief_sums_to_one_and_sharpens_with_the_exponent() {
        let groups = [[0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]; 2];
        for exponent in [0.2, 1.0, 1.5] {
            let sum: f64 = belief(&groups, exponent).iter().sum();
            assert!((sum - 1.0).abs() < 1e-12);
        }
        assert!(belief(&groups, 0.5)[0] < belief(&groups, 1.0)[0]);
        assert!((belief(&[], 1.0)[3] - 1.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn groups_that_only_repeat_each_other_are_tempered() {
        // Five groups that all say the same thing, wrong in a fifth of the runs: taken as independent they are far too sure.
        let groups = ["G1", "G2", "G3", "G4", "G6"];
        let run = |at: usize| {
            let says_access = at.is_multiple_of(2);
            let truth = if (at / 2).is_multiple_of(5) {
                !says_access
            } else {
                says_access
            };
            let word = if says_access { "yes" } else { "no" };
            let names: Vec<String> = groups
                .iter()
                .map(|group| format!("{group}-{word}"))
                .collect();
            let weighed: Vec<(&str, &str)> = groups
                .iter()
                .copied()
                .zip(names.iter().map(String::as_str))
                .collect();
            let place = if truth { Place::Access } else { Place::Server };
            // Names that deal each fold the same mixture.
            seen(&format!("{:03}", at), place, &weighed)
        };
        let runs: Vec<Seen> = (0..100).map(run).collect();
        let fit = fit(&runs).expect("enough runs");
        assert!(fit.exponent < 0.6, "{fit:?}");
        assert!(fit.loss < fit.untempered, "{fit:?}");
    }

    #[test]
    fn an_independent_witness_needs_no_taming() {
        let run = |at: usize| {
            let place = if at.is_multiple_of(2) {
                Place::Access
            } else {
                Place::Server
            };
            let word = if at.is_multiple_of(2) {
                "tampered"
            } else {
                "clean"
            };
            seen(&format!("{at:03}"), place, &[("G3", word)])
        };
        let runs: Vec<Seen> = (0..100).map(run).collect();
        let fit = fit(&runs).expect("enough runs");
        assert!(fit.exponent >= 1.0, "{fit:?}");
        assert!(super::fit(&runs[..3]).is_none());
    }
}
