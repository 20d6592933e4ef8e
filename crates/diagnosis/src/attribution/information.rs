//! Which test would tell the two leading places apart best: the Kullback–Leibler spread of its outcomes between them.
//!
//! It must not know what a test costs, nor whether it may be run.

use super::{
    COLUMNS,
    likelihood::{CLASSES, Observation, Row},
    power::ln,
};
use crate::{LocationClass, Question};

/// Probability that hops show the place of a box that is there; the rest are silent hops, short quotes and boxes that
/// touch only what comes back.
const HOPS_TELL: f64 = 0.60;

/// Least probability of an outcome that the tables do not list.
const RESIDUE: f64 = 0.05;

/// How much a question tells the two classes apart, in nats; 0 where it does not, or nothing is known of it.
pub(crate) fn spread(question: &Question, first: LocationClass, second: LocationClass) -> f64 {
    let column = |class: LocationClass| COLUMNS.iter().position(|(known, _)| *known == class);
    let (Some(first), Some(second)) = (column(first), column(second)) else {
        return 0.0;
    };
    use Observation as O;
    let known: &[Observation] = match question {
        Question::Differential(_) => &[
            O::WorksThoughHidden,
            O::OwnRefusal,
            O::LikeUnknown,
            O::AlteredEcho,
        ],
        Question::MixedCase(_) | Question::SplitVerb(_) => &[O::SpellingPasses],
        Question::Siblings(_) => &[O::SiblingWorks],
        Question::Controls(..) => &[O::ControlsClean, O::ControlsAffected],
        Question::NegativeControl(_) => &[O::NegativeAnswers],
        Question::LegacyTls(_) => &[O::RefusedByVersion],
        Question::Witness(..) => &[O::WitnessClean, O::WitnessTampered],
        Question::Repeat(..) | Question::Injection(_) => &[],
        Question::Trace(_) => {
            return divergence(&hops(), first, second);
        }
    };
    let mut outcomes = [[0.0; CLASSES]; 4];
    for (outcome, observation) in outcomes.iter_mut().zip(known) {
        *outcome = observation.row().1;
    }
    divergence(outcomes.get(..known.len()).unwrap_or(&[]), first, second)
}

/// One outcome for each place at which hops may show a change.
fn hops() -> [Row; CLASSES] {
    let mut outcomes = [[(1.0 - HOPS_TELL) / CLASSES as f64; CLASSES]; CLASSES];
    for (place, outcome) in outcomes.iter_mut().enumerate() {
        if let Some(share) = outcome.get_mut(place) {
            *share += HOPS_TELL;
        }
    }
    // Of the server's two own ways hops show the same: nothing.
    let [first, second, ..] = &mut outcomes;
    for (a, b) in first.iter_mut().zip(second) {
        let both = (*a + *b) / 2.0;
        (*a, *b) = (both, both);
    }
    outcomes
}

/// Both directions' divergence summed, over the outcomes and over "none of these".
fn divergence(outcomes: &[Row], first: usize, second: usize) -> f64 {
    let at = |row: &Row, column: usize| row.get(column).copied().unwrap_or(0.0).max(1e-6);
    let (mut left, mut right) = (1.0, 1.0);
    let mut sum = 0.0;
    let mut add = |p: f64, q: f64| sum += (p - q) * (ln(p) - ln(q));
    for outcome in outcomes {
        let (p, q) = (at(outcome, first), at(outcome, second));
        add(p, q);
        left -= p;
        right -= q;
    }
    // Experts' rows need not add up to one: what seems impossible then is a rounding.
    add(f64::max(left, RESIDUE), f64::max(right, RESIDUE));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use LocationClass as L;
    use hoofbeat_observation::{Scheme, Service};

    fn service() -> Service {
        Service {
            scheme: Scheme::Smtp,
            host: "mx.example.org".into(),
            address: None,
            port: 25,
        }
    }

    #[test]
    fn the_test_that_tells_the_leaders_apart_has_the_largest_spread() {
        let controls = Question::Controls(Scheme::Smtp, 25);
        let witness = Question::Witness(Scheme::Smtp, 25);
        let trace = Question::Trace(service());
        let repeat = Question::Repeat(service(), 2);
        // The server's edge or the access provider: others' servers, or a witness, tell.
        let sides = (L::ServerEdge, L::AccessNetwork);
        assert!(spread(&controls, sides.0, sides.1) > spread(&repeat, sides.0, sides.1));
        assert!(spread(&witness, sides.0, sides.1) > 1.0);
        // Transit or access: both look alike to a witness, and hops part them.
        let near = (L::Transit, L::AccessNetwork);
        assert!(spread(&trace, near.0, near.1) > spread(&witness, near.0, near.1));
        assert!(spread(&trace, near.0, near.1) > spread(&controls, near.0, near.1));
        assert_eq!(spread(&trace, L::Undetermined, L::Transit), 0.0);
        assert!(spread(&trace, L::Transit, L::Transit).abs() < 1e-9);
    }
}
