//! Observation by true class, counted over training runs.
//!
//! A run counts for an observation's trials only where something of the same group was observed: a test that was not run
//! is no evidence. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::super::place::Place;

/// A value a class, in the order of [`Place::CAUSES`].
pub(crate) type Row = [u32; 7];

/// One training run, as far as counting needs it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) truth: Place,
    /// Group and observation.
    pub(crate) weighed: Vec<(String, String)>,
}

impl Seen {
    /// The true class's place in a row; none where nothing stands in the way.
    pub(crate) fn class(&self) -> Option<usize> {
        Place::CAUSES.iter().position(|place| *place == self.truth)
    }
}

/// How often an observation was made, of how many runs in which its group was tested.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Count {
    pub(crate) hits: Row,
    pub(crate) trials: Row,
}

impl Count {
    /// P(observation | class) with one imagined run for each of the group's `kinds` observations (Dirichlet(1)).
    pub(crate) fn smoothed(&self, kinds: usize) -> [f64; 7] {
        std::array::from_fn(|class| {
            f64::from(self.hits[class] + 1) / (f64::from(self.trials[class]) + kinds.max(1) as f64)
        })
    }
}

/// All counts, by observation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) rows: BTreeMap<String, Count>,
    /// Which group an observation belongs to, where it was seen in a run.
    pub(crate) groups: BTreeMap<String, String>,
}

impl Counts {
    pub(crate) fn of<'a>(runs: impl IntoIterator<Item = &'a Seen> + Clone) -> Self {
        let mut counts = Self::default();
        let mut trials: BTreeMap<&str, Row> = BTreeMap::new();
        for run in runs {
            let Some(class) = run.class() else { continue };
            let groups: BTreeSet<&str> = run
                .weighed
                .iter()
                .map(|(group, _)| group.as_str())
                .collect();
            for group in groups {
                trials.entry(group).or_default()[class] += 1;
            }
            let observations: BTreeSet<&(String, String)> = run.weighed.iter().collect();
            for (group, observation) in observations {
                counts.rows.entry(observation.clone()).or_default().hits[class] += 1;
                counts.groups.insert(observation.clone(), group.clone());
            }
        }
        for (observation, count) in &mut counts.rows {
            let group = counts.groups.get(observation).map(String::as_str);
            count.trials = group
                .and_then(|group| trials.get(group))
                .copied()
                .unwrap_or_default();
        }
        counts
    }

    /// How many observations of this one's group were ever seen, this one included.
    pub(crate) fn kinds(&self, observation: &str) -> usize {
        let group = self.groups.get(observation);
        let same = |other: &&String| Some(*other) == group;
        self.groups.values().filter(same).count().max(1)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A made-up run.
    pub(crate) fn seen(id: &str, truth: Place, weighed: &[(&str, &str)]) -> Seen {
        Seen {
            id: id.to_owned(),
            truth,
            weighed: weighed
                .iter()
                .map(|(group, observation)| ((*group).to_owned(), (*observation).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn untested_groups_are_no_trials() {
        let runs = [
            seen(
                "a",
                Place::Access,
                &[("G2", "mask-in-slot"), ("G3", "witness-tampered")],
            ),
            seen("b", Place::Access, &[("G2", "plain-list")]),
            seen("c", Place::Server, &[("G2", "plain-list")]),
            seen("d", Place::None, &[("G2", "plain-list")]),
        ];
        let counts = Counts::of(&runs);
        let mask = counts.rows["mask-in-slot"];
        assert_eq!(mask.hits, [0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(mask.trials, [1, 0, 0, 0, 2, 0, 0]);
        assert_eq!(
            counts.rows["witness-tampered"].trials,
            [0, 0, 0, 0, 1, 0, 0]
        );
        assert_eq!(counts.rows["plain-list"].hits, [1, 0, 0, 0, 1, 0, 0]);
        assert_eq!(
            (counts.kinds("plain-list"), counts.kinds("witness-tampered")),
            (2, 1)
        );
    }

    #[test]
    fn an_observation_said_twice_in_a_run_counts_once() {
        let run = seen("a", Place::Host, &[("G1", "x"), ("G1", "x"), ("G1", "y")]);
        let counts = Counts::of(&[run]);
        assert_eq!(counts.rows["x"].hits[6], 1);
        assert_eq!(counts.rows["y"].trials[6], 1);
    }

    #[test]
    fn smoothing_never_gives_nought() {
        let count = Count {
            hits: [0, 3, 0, 0, 0, 0, 0],
            trials: [4, 3, 0, 0, 0, 0, 0],
        };
        let smoothed = count.smoothed(2);
        assert!((smoothed[0] - 1.0 / 6.0).abs() < 1e-12);
        assert!((smoothed[1] - 4.0 / 5.0).abs() < 1e-12);
        assert!((smoothed[2] - 0.5).abs() < 1e-12);
    }
}
