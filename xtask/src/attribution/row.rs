//! One run with everything that was said of it.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::archive::Cost;
use super::baseline::Claim;
use super::case::Case;
use super::engine::Engine;
use super::score::Said;

/// A run that was run.
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) answers: BTreeMap<Engine, Answer>,
    /// Whether judging the archive offline says what the live check said.
    pub(crate) live: Live,
    /// The fullest judgement again, with one group of evidence left out.
    pub(crate) without: BTreeMap<String, Answer>,
    /// In the order of the rules.
    pub(crate) claims: Vec<Claim>,
    pub(crate) cost: BTreeMap<Engine, Cost>,
    /// How long the check with everything took, on the client.
    pub(crate) seconds: f64,
}

impl Row {
    /// The run's truth beside one engine's answer, where that engine judged it.
    pub(crate) fn by(&self, engine: Engine) -> Option<(&Case, &Answer)> {
        Some((&self.case, self.answers.get(&engine)?))
    }

    /// The same as what was said.
    pub(crate) fn said(&self, engine: Engine) -> Option<(&Case, Said)> {
        let (case, answer) = self.by(engine)?;
        Some((case, answer.into()))
    }
}

/// The live check's answer beside the offline one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Live {
    Same,
    /// Both, in short.
    Differs(String),
    /// The archive was made earlier, perhaps by another build.
    NotCompared,
}

/// A run that gave nothing to score. It counts for nobody.
pub(crate) struct NotRun {
    pub(crate) id: String,
    pub(crate) held_out: bool,
    pub(crate) why: String,
}
