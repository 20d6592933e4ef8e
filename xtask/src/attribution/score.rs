//! Counts over runs: who was named rightly, who was accused falsely, how far off the hop was, how well belief was placed.
//!
//! Pure: answers in, numbers out. A run that was not run is not in here, and is no right answer.

use super::answer::{ACCUSED, Answer};
use super::baseline::Claim;
use super::case::Case;
use super::place::{Place, Segment};

/// Least belief that is scored: a certain error costs ln 1000, not infinity.
const BELIEF_LEAST: f64 = 0.001;

/// What was said of one run, by whomever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) place: Place,
    /// In words that people act on.
    pub(crate) firmly: bool,
    /// "Something between the two programs does it", wherever.
    pub(crate) interference: bool,
    pub(crate) segment: Option<Segment>,
    pub(crate) credible: Option<Segment>,
}

impl From<&Answer> for Said {
    fn from(answer: &Answer) -> Self {
        Self {
            place: answer.place,
            firmly: answer.probability >= ACCUSED,
            interference: answer.verdict == "interference",
            segment: answer.segment,
            credible: answer.credible.map(|credible| credible.segment),
        }
    }
}

impl From<Claim> for Said {
    /// A rule knows no doubt.
    fn from(claim: Claim) -> Self {
        Self {
            place: claim.place,
            firmly: true,
            interference: claim.place.accuses(),
            segment: claim.segment,
            credible: None,
        }
    }
}

/// How one answer stands to the truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    Right,
    /// Not the truth, and a place that nothing which can be seen speaks against, as the scenario says.
    Honest,
    /// `undetermined`.
    Abstained,
    Wrong,
}

/// The mark of one answer.
pub(crate) fn mark(case: &Case, said: Said) -> Mark {
    if said.place == case.truth {
        Mark::Right
    } else if said.place == Place::Undetermined {
        Mark::Abstained
    } else if case.also_honest.contains(&said.place) {
        Mark::Honest
    } else {
        Mark::Wrong
    }
}

/// Somebody is accused of meddling where nobody meddles.
pub(crate) fn accuses_falsely(case: &Case, said: Said) -> bool {
    case.truth.is_innocent() && (said.interference || (said.place.accuses() && said.firmly))
}

/// Somebody meddles, and somebody else is named for it in words that people act on.
pub(crate) fn names_another(case: &Case, said: Said) -> bool {
    case.truth.accuses() && said.place.accuses() && said.firmly && mark(case, said) == Mark::Wrong
}

/// Somebody meddles, and all is called well, or the server is blamed.
pub(crate) fn misses(case: &Case, said: Said) -> bool {
    case.truth.accuses() && said.place.is_innocent()
}

/// Sums over runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) runs: usize,
    pub(crate) right: usize,
    pub(crate) honest: usize,
    pub(crate) abstained: usize,
    pub(crate) wrong: usize,
    /// Runs in which nobody meddles.
    pub(crate) innocent: usize,
    pub(crate) false_accusations: Vec<String>,
    /// Runs in which somebody meddles.
    pub(crate) guilty: usize,
    pub(crate) interference_seen: usize,
    pub(crate) another_named: Vec<String>,
    /// The server's edge blamed for a network on the client's side, and the reverse.
    pub(crate) edge_for_network: usize,
    pub(crate) network_for_edge: usize,
    pub(crate) missed: Vec<String>,
    /// Truth by answer, in the order of [`Place::ALL`].
    pub(crate) confusion: [[usize; 9]; 9],
    pub(crate) hops: Hops,
}

/// How near the stretch of the path is that was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hops {
    /// Runs whose box stands on the path.
    pub(crate) on_path: usize,
    pub(crate) told: usize,
    pub(crate) exact: usize,
    pub(crate) within_one: usize,
    /// Of those that told a credible stretch too: how many hold the truth, and how wide all are together.
    pub(crate) credible: usize,
    pub(crate) covered: usize,
    pub(crate) width: usize,
}

impl Tally {
    pub(crate) fn of<'a>(runs: impl IntoIterator<Item = (&'a Case, Said)>) -> Self {
        let mut tally = Self::default();
        for (case, said) in runs {
            tally.add(case, said);
        }
        tally
    }

    fn add(&mut self, case: &Case, said: Said) {
        self.runs += 1;
        match mark(case, said) {
            Mark::Right => self.right += 1,
            Mark::Honest => self.honest += 1,
            Mark::Abstained => self.abstained += 1,
            Mark::Wrong => self.wrong += 1,
        }
        let named = |wanted: bool, list: &mut Vec<String>| {
            if wanted {
                list.push(case.id.clone());
            }
        };
        named(accuses_falsely(case, said), &mut self.false_accusations);
        named(names_another(case, said), &mut self.another_named);
        named(misses(case, said), &mut self.missed);
        self.innocent += usize::from(case.truth.is_innocent());
        self.guilty += usize::from(case.truth.accuses());
        self.interference_seen += usize::from(case.truth.accuses() && said.interference);
        let network = |place| matches!(place, Place::Transit | Place::Access);
        if names_another(case, said) {
            self.edge_for_network +=
                usize::from(network(case.truth) && said.place == Place::ServerEdge);
            self.network_for_edge +=
                usize::from(case.truth == Place::ServerEdge && network(said.place));
        }
        self.confusion[index(case.truth)][index(said.place)] += 1;
        if let Some(truth) = case.segment.or(case.reply_segment) {
            self.hops.add(truth, said);
        }
    }

    /// The mean of the classes' F1, over the classes that occur: a rare class weighs as much as a common one.
    pub(crate) fn macro_f1(&self) -> f64 {
        let f1 = |place: Place| -> Option<f64> {
            let place = index(place);
            let true_count: usize = self.confusion[place].iter().sum();
            let said_count: usize = self.confusion.iter().map(|row| row[place]).sum();
            (true_count > 0).then(|| {
                2.0 * self.confusion[place][place] as f64 / (true_count + said_count) as f64
            })
        };
        let all: Vec<f64> = Place::ALL.into_iter().filter_map(f1).collect();
        if all.is_empty() {
            return 0.0;
        }
        all.iter().sum::<f64>() / all.len() as f64
    }
}

impl Hops {
    fn add(&mut self, truth: Segment, said: Said) {
        self.on_path += 1;
        if let Some(told) = said.segment {
            self.told += 1;
            self.exact += usize::from(told == truth);
            self.within_one += usize::from(told.distance(truth) <= 1);
        }
        if let Some(credible) = said.credible {
            self.credible += 1;
            self.covered += usize::from(credible.holds(truth));
            self.width += usize::from(credible.width());
        }
    }
}

fn index(place: Place) -> usize {
    Place::ALL
        .into_iter()
        .position(|one| one == place)
        .unwrap_or(Place::ALL.len() - 1)
}

/// How well belief was placed, over the runs whose truth is one of the seven causes: mean log loss (natural) and Brier.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Belief {
    pub(crate) runs: usize,
    pub(crate) log_loss: f64,
    pub(crate) brier: f64,
}

impl Belief {
    pub(crate) fn of<'a>(runs: impl IntoIterator<Item = (&'a Case, &'a Answer)>) -> Self {
        let mut sums = Self::default();
        for (case, answer) in runs {
            let Some(truth) = Place::CAUSES.iter().position(|one| *one == case.truth) else {
                continue;
            };
            let belief = answer.belief();
            sums.runs += 1;
            sums.log_loss -= belief[truth].max(BELIEF_LEAST).ln();
            let squares = belief.iter().enumerate().map(|(place, mass)| {
                let wanted = if place == truth { 1.0 } else { 0.0 };
                (mass - wanted).powi(2)
            });
            sums.brier += squares.sum::<f64>();
        }
        let runs = sums.runs.max(1) as f64;
        Self {
            runs: sums.runs,
            log_loss: sums.log_loss / runs,
            brier: sums.brier / runs,
        }
    }
}

/// The thresholds at which the words change, and how often each word was right.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub(crate) from: f64,
    pub(crate) named: usize,
    pub(crate) right: usize,
    /// Sum of the probabilities that were told.
    pub(crate) told: f64,
}

/// Answers by the probability of the place that they name; those that name none are left out.
pub(crate) fn reliability<'a>(runs: impl IntoIterator<Item = (&'a Case, &'a Answer)>) -> [Step; 4] {
    let mut steps = [0.95, 0.80, 0.60, 0.0].map(|from| Step {
        from,
        ..Step::default()
    });
    for (case, answer) in runs {
        if matches!(answer.place, Place::None | Place::Undetermined) {
            continue;
        }
        let Some(step) = steps
            .iter_mut()
            .find(|step| answer.probability >= step.from)
        else {
            continue;
        };
        step.named += 1;
        step.right += usize::from(mark(case, answer.into()) == Mark::Right);
        step.told += answer.probability;
    }
    steps
}

/// A part of a whole; nothing of nothing is none.
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::answer::Credible;
    use super::super::answer::tests::answer;
    use super::super::case::Vantage;
    use super::*;

    /// A made-up run.
    pub(crate) fn case(id: &str, truth: Place, segment: Option<(u8, u8)>) -> Case {
        Case {
            id: id.to_owned(),
            scenario: "made-up",
            vantage: Vantage::Client,
            held_out: true,
            truth,
            also_honest: Vec::new(),
            verdicts: vec![("interference".to_owned(), None)],
            segment: segment.map(|(after, up_to)| Segment { after, up_to }),
            reply_segment: None,
            kind: "cisco-mask".to_owned(),
            direction: "both".to_owned(),
            confounder: "none".to_owned(),
            quoting: true,
            server: "postfix smtp".to_owned(),
            port: 25,
        }
    }

    fn said(verdict: &str, place: Place, probability: f64) -> Said {
        Said::from(&answer(verdict, place, probability))
    }

    #[test]
    fn accusing_the_innocent_counts_whatever_place_is_named() {
        let clean = case("clean", Place::None, None);
        let policy = case("policy", Place::ServerPolicy, None);
        let accused = said("interference", Place::Undetermined, 0.3);
        assert!(accuses_falsely(&clean, accused));
        assert!(accuses_falsely(
            &policy,
            said("inconclusive", Place::Access, 0.8)
        ));
        assert!(!accuses_falsely(
            &policy,
            said("inconclusive", Place::Access, 0.79)
        ));
        assert!(!accuses_falsely(
            &policy,
            said("server", Place::Server, 0.9)
        ));
        assert!(!accuses_falsely(&case("box", Place::Access, None), accused));
    }

    #[test]
    fn naming_another_party_is_not_abstaining() {
        let mut isp = case("isp", Place::Access, Some((1, 2)));
        let edge = said("interference", Place::ServerEdge, 0.9);
        assert!(names_another(&isp, edge));
        assert_eq!(mark(&isp, edge), Mark::Wrong);
        let doubt = said("interference", Place::Undetermined, 0.5);
        assert!(!names_another(&isp, doubt));
        assert_eq!(mark(&isp, doubt), Mark::Abstained);
        assert!(misses(&isp, said("server", Place::Server, 0.9)));
        assert!(misses(&isp, said("clear", Place::None, 0.0)));
        isp.also_honest.push(Place::ServerEdge);
        assert_eq!(mark(&isp, edge), Mark::Honest);
        assert!(!names_another(&isp, edge));
    }

    #[test]
    fn a_tally_counts_each_run_once() {
        let cases = [
            case("a", Place::Access, Some((1, 2))),
            case("b", Place::Access, Some((1, 2))),
            case("c", Place::ServerEdge, Some((3, 4))),
            case("d", Place::None, None),
            case("e", Place::Server, None),
        ];
        let answers = [
            said("interference", Place::Access, 0.8),
            said("interference", Place::ServerEdge, 0.9),
            said("interference", Place::Transit, 0.9),
            said("clear", Place::None, 0.0),
            said("interference", Place::Undetermined, 0.4),
        ];
        let tally = Tally::of(cases.iter().zip(answers));
        assert_eq!(
            (tally.runs, tally.right, tally.abstained, tally.wrong),
            (5, 2, 1, 2)
        );
        assert_eq!(tally.false_accusations, ["e"]);
        assert_eq!(tally.another_named, ["b", "c"]);
        assert_eq!((tally.edge_for_network, tally.network_for_edge), (1, 1));
        assert_eq!(
            (tally.innocent, tally.guilty, tally.interference_seen),
            (2, 3, 3)
        );
        assert_eq!(tally.confusion.iter().flatten().sum::<usize>(), 5);
        assert_eq!(tally.confusion[5][5], 1);
        assert_eq!(tally.confusion[5][3], 1);
    }

    #[test]
    fn macro_f1_is_one_only_when_all_is_right() {
        let cases = [
            case("a", Place::Access, None),
            case("b", Place::Server, None),
        ];
        let right = [
            said("interference", Place::Access, 0.8),
            said("server", Place::Server, 0.8),
        ];
        let tally = Tally::of(cases.iter().zip(right));
        assert!((tally.macro_f1() - 1.0).abs() < 1e-12);
        assert_eq!((tally.right, tally.runs), (2, 2));
        let swapped = Tally::of(cases.iter().zip([right[1], right[0]]));
        assert_eq!(swapped.macro_f1(), 0.0);
        assert_eq!(Tally::default().macro_f1(), 0.0);
    }

    #[test]
    fn hops_are_scored_only_where_a_box_stands_on_the_path() {
        let told = |told: (u8, u8), credible: (u8, u8)| {
            let segment = |(after, up_to)| Segment { after, up_to };
            let mut answer = answer("interference", Place::Access, 0.8);
            answer.segment = Some(segment(told));
            answer.credible = Some(Credible {
                segment: segment(credible),
                probability: 0.9,
            });
            Said::from(&answer)
        };
        let isp = case("isp", Place::Access, Some((1, 2)));
        let clean = case("clean", Place::None, None);
        let tally = Tally::of([
            (&isp, told((1, 2), (1, 2))),
            (&isp, told((2, 3), (1, 3))),
            (&isp, told((3, 4), (2, 4))),
            (&isp, said("interference", Place::Access, 0.8)),
            (&clean, told((1, 2), (1, 2))),
        ]);
        let hops = tally.hops;
        assert_eq!(
            (hops.on_path, hops.told, hops.exact, hops.within_one),
            (4, 3, 1, 2)
        );
        assert_eq!((hops.credible, hops.covered, hops.width), (3, 2, 5));
    }

    #[test]
    fn belief_is_scored_by_what_was_given_to_the_truth() {
        let isp = case("isp", Place::Access, None);
        let sure = answer("interference", Place::Access, 1.0);
        let perfect = Belief::of([(&isp, &sure)]);
        assert_eq!(
            (perfect.runs, perfect.log_loss, perfect.brier),
            (1, 0.0, 0.0)
        );
        let wrong = answer("interference", Place::Local, 1.0);
        let worst = Belief::of([(&isp, &wrong)]);
        assert!(
            (worst.log_loss - 1000.0_f64.ln()).abs() < 1e-9 && (worst.brier - 2.0).abs() < 1e-9
        );
        let open = answer("interference", Place::Undetermined, 0.0);
        let even = Belief::of([(&isp, &open)]);
        assert!((even.log_loss - 7.0_f64.ln()).abs() < 1e-9, "{even:?}");
        // A clear verdict where a box stands is as wrong as can be; a clean run has no cause to believe in.
        let clear = answer("clear", Place::None, 0.0);
        assert!((Belief::of([(&isp, &clear)]).log_loss - 1000.0_f64.ln()).abs() < 1e-9);
        assert_eq!(
            Belief::of([(&case("clean", Place::None, None), &clear)]).runs,
            0
        );
    }

    #[test]
    fn words_are_held_against_how_often_they_were_right() {
        let isp = case("isp", Place::Access, None);
        let answers = [
            answer("interference", Place::Access, 0.97),
            answer("interference", Place::Access, 0.80),
            answer("interference", Place::Local, 0.85),
            answer("interference", Place::Access, 0.60),
            answer("interference", Place::Undetermined, 0.5),
            answer("clear", Place::None, 0.0),
        ];
        let steps = reliability(answers.iter().map(|answer| (&isp, answer)));
        let counts = steps.map(|step| (step.named, step.right));
        assert_eq!(counts, [(1, 1), (2, 1), (1, 1), (0, 0)]);
        assert!((steps[1].told - 1.65).abs() < 1e-9);
    }
}
