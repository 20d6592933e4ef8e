//! Counts: right, wrong, and the two kinds of wrong that matter, a false accusation and a miss.

use std::time::Duration;

use hoofbeat_lab::{Conclusion, Scenario};

use super::peers::PEERS;
use super::subject::Answer;
use super::{Row, State};

/// The share of right mechanisms below which the command fails.
const MECHANISMS_RIGHT: f64 = 0.98;

/// Hoofbeat's own counts.
pub(crate) struct Score {
    pub(crate) scenarios: usize,
    pub(crate) states_right: usize,
    pub(crate) mechanisms_right: usize,
    /// Scenarios whose bytes name a product, and how many of them were named rightly.
    pub(crate) products: usize,
    pub(crate) products_right: usize,
    /// A product was named that is not the expected one.
    pub(crate) products_wrong: Vec<&'static str>,
    /// Scenarios whose wire proves the place, and how many were placed rightly.
    pub(crate) places: usize,
    pub(crate) places_right: usize,
    pub(crate) weaknesses_missed: Vec<&'static str>,
    pub(crate) exits_wrong: Vec<&'static str>,
    /// `interference` where nothing interferes.
    pub(crate) false_accusations: Vec<&'static str>,
    /// `clear` or `server` where something interferes.
    pub(crate) misses: Vec<&'static str>,
    /// `inconclusive` or `unreachable` where something interferes: no error, but no help either.
    pub(crate) abstained: Vec<&'static str>,
    pub(crate) peers: Vec<PeerScore>,
}

/// One peer's counts, over the scenarios whose protocol it speaks.
#[derive(Default)]
pub(crate) struct PeerScore {
    pub(crate) asked: usize,
    pub(crate) right: usize,
    /// Blames the server where something in between did it.
    pub(crate) blames_server: usize,
    /// Says that all is well where something interferes.
    pub(crate) calls_clear: usize,
    /// Sees a box where none interferes.
    pub(crate) accuses_falsely: usize,
    /// Blames a server that encrypts well.
    pub(crate) blames_good_server: usize,
    pub(crate) unknown: usize,
    pub(crate) seconds: Vec<f64>,
    pub(crate) connections: Vec<usize>,
}

impl Score {
    pub(crate) fn of(rows: &[Row]) -> Self {
        let named = |wanted: &dyn Fn(&Row) -> bool| -> Vec<&'static str> {
            rows.iter()
                .filter(|row| wanted(row))
                .map(|row| row.scenario.id.as_str())
                .collect()
        };
        let count = |wanted: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| wanted(row)).count();
        let product = |row: &Row| row.scenario.expected.product.clone();
        let place = |row: &Row| row.scenario.expected.location.map(|place| place.word());
        let state = |row: &Row| State::of(&row.answer.verdict);
        let expects = |row: &Row, state: State| {
            conclusions(row.scenario).any(|it| State::of_expected(it.verdict) == state)
        };
        let interferes = |row: &Row| truth(row.scenario) == State::Interference;
        let wrongly = |row: &Row, state_is: &[State]| {
            state_is.contains(&state(row)) && !expects(row, state(row))
        };
        Self {
            scenarios: rows.len(),
            states_right: count(&|row| expects(row, state(row))),
            mechanisms_right: count(&|row| is_right(row.scenario, &row.answer)),
            products: count(&|row| product(row).is_some()),
            products_right: count(&|row| {
                product(row).is_some() && product(row) == row.answer.product
            }),
            places: count(&|row| place(row).is_some()),
            places_right: count(&|row| {
                place(row).is_some() && place(row) == row.answer.place.as_deref()
            }),
            products_wrong: named(&|row| {
                row.answer.product.is_some() && product(row) != row.answer.product
            }),
            weaknesses_missed: named(&|row| {
                let missed = |word: &&str| !row.answer.weaknesses.iter().any(|found| found == word);
                row.scenario
                    .expected
                    .weaknesses
                    .iter()
                    .map(|weakness| weakness.word())
                    .any(|word| missed(&word))
            }),
            exits_wrong: named(&|row| {
                let usual = row.answer.verdict == row.scenario.expected.verdict.word();
                usual && row.answer.exit != Some(i32::from(row.scenario.expected.exit()))
            }),
            false_accusations: named(&|row| wrongly(row, &[State::Interference])),
            misses: named(&|row| {
                interferes(row) && wrongly(row, &[State::Encrypts, State::Server])
            }),
            abstained: named(&|row| interferes(row) && wrongly(row, &[State::Unknown])),
            peers: (0..PEERS.len())
                .map(|peer| PeerScore::of(rows, peer))
                .collect(),
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        let mechanisms = share(self.mechanisms_right, self.scenarios);
        self.false_accusations.is_empty()
            && self.misses.is_empty()
            && mechanisms >= MECHANISMS_RIGHT
    }
}

impl PeerScore {
    fn of(rows: &[Row], peer: usize) -> Self {
        let mut score = Self::default();
        for row in rows {
            let Some(answer) = row.peers.get(peer).and_then(Option::as_ref) else {
                continue;
            };
            let truth = truth(row.scenario);
            score.asked += 1;
            score.right += usize::from(answer.state == truth);
            score.unknown += usize::from(answer.state == State::Unknown && truth != State::Unknown);
            score.blames_server +=
                usize::from(truth == State::Interference && answer.state == State::Server);
            score.calls_clear +=
                usize::from(truth == State::Interference && answer.state == State::Encrypts);
            score.accuses_falsely +=
                usize::from(truth != State::Interference && answer.state == State::Interference);
            score.blames_good_server +=
                usize::from(truth == State::Encrypts && answer.state == State::Server);
            score.seconds.push(answer.took.as_secs_f64());
            score.connections.push(answer.connections);
        }
        score
    }
}

/// Verdict and mechanism together, or another conclusion that the scenario calls honest.
pub(crate) fn is_right(scenario: &Scenario, answer: &Answer) -> bool {
    conclusions(scenario).any(|it| {
        it.verdict.word() == answer.verdict
            && it.mechanism.map(|word| word.word()) == answer.mechanism.as_deref()
    })
}

/// The first expectation in the four words that all tools share.
pub(crate) fn truth(scenario: &Scenario) -> State {
    State::of_expected(scenario.expected.verdict)
}

fn conclusions(scenario: &Scenario) -> impl Iterator<Item = Conclusion> {
    let expected = &scenario.expected;
    let first = Conclusion {
        verdict: expected.verdict,
        mechanism: expected.mechanism,
    };
    std::iter::once(first).chain(expected.also.iter().copied())
}

/// `part` of `whole`; of nothing, everything is right.
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

/// The middle one of the values; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => (below + above) / 2.0,
        (_, Some(value)) => *value,
        _ => 0.0,
    }
}

/// The medians of connections and seconds of Hoofbeat itself.
pub(crate) fn own_medians(rows: &[Row]) -> (f64, f64) {
    let connections: Vec<f64> = rows
        .iter()
        .map(|row| row.answer.connections as f64)
        .collect();
    let seconds: Vec<f64> = rows
        .iter()
        .map(|row| row.answer.took)
        .map(|took: Duration| took.as_secs_f64())
        .collect();
    (median(&connections), median(&seconds))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_middle_of_some() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[3.0, 1.0]), 2.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
    }
}
