//! The truth of one run: what stands where, and what would be right to say from where it is checked.
//!
//! Taken from the lab's network scenarios, which were written before anything was measured. It must not know any answer.

use anyhow::{Context, Result};
use hoofbeat_lab::Scheme;
use hoofbeat_lab::topology::scenario::{Class, NetScenario, Span};

use super::place::{Place, Segment};

/// The vantage point that is scored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Vantage {
    /// The client at home.
    Client,
    /// The phone on the mobile network.
    Mobile,
}

impl Vantage {
    /// The lab's name of the node.
    pub(crate) const fn node(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Mobile => "mobile",
        }
    }

    /// As `--vantage` takes it: machine and network.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Client => "laptop@home",
            Self::Mobile => "phone@mobile",
        }
    }

    /// The machine alone.
    pub(crate) const fn host(self) -> &'static str {
        match self {
            Self::Client => "laptop",
            Self::Mobile => "phone",
        }
    }

    /// The second network: a plain check is made from there.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Mobile,
            Self::Mobile => Self::Client,
        }
    }
}

/// One scenario, as far as scoring needs it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The scenario's, with the vantage behind it where that is not the client.
    pub(crate) id: String,
    pub(crate) scenario: &'static str,
    pub(crate) vantage: Vantage,
    /// Never looked at while the judge was developed, and never counted for its likelihoods.
    pub(crate) held_out: bool,
    pub(crate) truth: Place,
    /// Other places that nothing on the wire speaks against; `undetermined` is honest always and not listed.
    pub(crate) also_honest: Vec<Place>,
    /// Verdict and mechanism, every pair that is right.
    pub(crate) verdicts: Vec<(String, Option<String>)>,
    /// Where the way to the server is first changed, ended or cut.
    pub(crate) segment: Option<Segment>,
    /// Where the way back is changed: only a cooperating server can see that.
    pub(crate) reply_segment: Option<Segment>,
    /// The kind of box, such as `cisco-mask`; `none` without one.
    pub(crate) kind: String,
    /// `to-server`, `to-client`, `both`, or empty.
    pub(crate) direction: String,
    /// What makes the run harder, such as `short-quotes`; `none`.
    pub(crate) confounder: String,
    /// Every router on the way tells that it dropped a packet, and quotes all of it.
    pub(crate) quoting: bool,
    /// Which program answers, `own` for the lab's, and for which protocol.
    pub(crate) server: String,
    /// The port of the service that is asked about.
    pub(crate) port: u16,
}

impl Case {
    /// Reads the truth out of a scenario: as the client sees it, and as the phone does where that is another story.
    pub(crate) fn all(scenario: &'static NetScenario) -> Result<Vec<Self>> {
        let class = |vantage: Vantage| Some(scenario.expected.get(vantage.node())?.class);
        let mut cases = vec![Self::of(scenario, Vantage::Client)?];
        let only_there = class(Vantage::Client) == Some(Class::None)
            && class(Vantage::Mobile).is_some_and(|class| class != Class::None);
        if only_there {
            cases.push(Self::of(scenario, Vantage::Mobile)?);
        }
        Ok(cases)
    }

    fn of(scenario: &'static NetScenario, vantage: Vantage) -> Result<Self> {
        let expected = scenario.expected.get(vantage.node());
        let expected = expected.with_context(|| {
            format!("{} expects nothing of the {}", scenario.id, vantage.node())
        })?;
        let confounders = &scenario.confounders;
        let named = |word: &str| if word.is_empty() { "none" } else { word }.to_owned();
        let verdicts = expected.verdicts.iter().map(|one| {
            let mechanism = one.mechanism.map(|word| word.word().to_owned());
            (one.verdict.word().to_owned(), mechanism)
        });
        Ok(Self {
            id: match vantage {
                Vantage::Client => scenario.id.clone(),
                Vantage::Mobile => format!("{}-from-mobile", scenario.id),
            },
            scenario: &scenario.id,
            vantage,
            held_out: scenario.held_out,
            truth: Place::of(expected.class.word()),
            also_honest: expected
                .also_class
                .iter()
                .map(|class| Place::of(class.word()))
                .collect(),
            verdicts: verdicts.collect(),
            segment: expected.segment.map(segment),
            reply_segment: expected.reply_segment.map(segment),
            kind: named(&scenario.axes.kind),
            direction: scenario.axes.direction.clone(),
            confounder: named(&scenario.axes.confounder),
            quoting: confounders.silent.is_empty() && confounders.short_quotes.is_empty(),
            server: format!("{} {}", scenario.server.program.word(), scenario.scheme),
            port: port_of(scenario.scheme),
        })
    }

    /// Whether this verdict and mechanism are right.
    pub(crate) fn accepts(&self, verdict: &str, mechanism: Option<&str>) -> bool {
        self.verdicts
            .iter()
            .any(|(word, how)| word == verdict && how.as_deref() == mechanism)
    }
}

/// The port that a service has by its name; the network's servers listen nowhere else.
const fn port_of(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Smtp => 25,
        Scheme::Submission => 587,
        Scheme::Submissions => 465,
        Scheme::Lmtp => 24,
        Scheme::Imap => 143,
        Scheme::Imaps => 993,
        Scheme::Pop3 => 110,
        Scheme::Pop3s => 995,
        Scheme::Sieve => 4190,
    }
}

fn segment(span: Span) -> Segment {
    Segment {
        after: span.after_hop,
        up_to: span.up_to_hop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_truth_that_is_consistent() {
        let cases: Vec<Case> = NetScenario::all()
            .iter()
            .flat_map(|scenario| Case::all(scenario).expect("a truth"))
            .collect();
        assert!(cases.len() >= 300, "{} runs", cases.len());
        for held_out in [false, true] {
            let part = cases.iter().filter(|case| case.held_out == held_out);
            assert!(part.count() >= 100, "too few, held out: {held_out}");
        }
        for case in cases {
            assert!(
                !case.verdicts.is_empty(),
                "{}: no verdict is right",
                case.id
            );
            if case.segment.is_some() {
                assert!(
                    !case.truth.is_innocent(),
                    "{}: a box that nobody is",
                    case.id
                );
            }
            let accused = case
                .verdicts
                .iter()
                .any(|(verdict, _)| verdict == "interference");
            assert!(!(accused && case.truth.is_innocent()), "{}", case.id);
        }
    }
}
