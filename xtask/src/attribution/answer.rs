//! What Hoofbeat said of one run, read from its JSON by the published contract.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::place::{Place, Segment};

/// From this probability on a place is accused in words that people act on (`likely`).
pub(crate) const ACCUSED: f64 = 0.80;

/// A stretch of the path that holds the box with this probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Credible {
    pub(crate) segment: Segment,
    pub(crate) probability: f64,
}

/// One finding, about the service that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) verdict: String,
    pub(crate) mechanism: Option<String>,
    pub(crate) product: Option<String>,
    pub(crate) confidence: String,
    /// The place that is named, `none` where all is well.
    pub(crate) place: Place,
    pub(crate) probability: f64,
    /// Each place's probability; sums to 1 with `undetermined`.
    pub(crate) posterior: BTreeMap<Place, f64>,
    pub(crate) segment: Option<Segment>,
    pub(crate) credible: Option<Credible>,
    /// Group and name of each observation that entered.
    pub(crate) weighed: Vec<(String, String)>,
    /// What it would do next; kept for the list of errors.
    pub(crate) next: Option<String>,
    pub(crate) connections: u64,
    pub(crate) seconds: f64,
}

impl Answer {
    /// Reads one document and picks the finding about `port`; of several (two families of one name) the one that
    /// decides the exit status.
    pub(crate) fn read(document: &Value, port: u16) -> Result<Self> {
        ensure!(
            document["schema"] == "hoofbeat.diagnosis/1",
            "not a diagnosis: {:?}",
            document["schema"]
        );
        let findings = document["findings"]
            .as_array()
            .context("no list of findings")?;
        let overall = &document["overall"]["verdict"];
        let asked: Vec<&Value> = findings
            .iter()
            .filter(|finding| finding["service"]["port"] == port)
            .collect();
        let finding = asked
            .iter()
            .find(|finding| finding["verdict"] == *overall)
            .or(asked.first())
            .with_context(|| format!("no finding about port {port}"))?;
        let word = |key: &str| finding[key].as_str().map(str::to_owned);
        let verdict = word("verdict").context("a finding without a verdict")?;
        let location = &finding["location"];
        let class = Place::of(location["class"].as_str().unwrap_or_default());
        let posterior = location["posterior"].as_object();
        let posterior = posterior
            .into_iter()
            .flatten()
            .filter_map(|(word, mass)| Some((Place::of(word), mass.as_f64()?)));
        Ok(Self {
            place: if verdict == "clear" {
                Place::None
            } else {
                class
            },
            verdict,
            mechanism: word("mechanism"),
            product: word("product"),
            confidence: word("confidence").unwrap_or_default(),
            probability: location["probability"].as_f64().unwrap_or_default(),
            posterior: posterior.collect(),
            segment: segment(&location["segment"]),
            credible: segment(&location["credible"]).map(|segment| Credible {
                segment,
                probability: location["credible"]["probability"]
                    .as_f64()
                    .unwrap_or_default(),
            }),
            weighed: weighed(&location["weighed"]),
            next: word("next"),
            connections: document["connections"].as_u64().unwrap_or_default(),
            seconds: document["elapsed_ms"].as_f64().unwrap_or_default() / 1000.0,
        })
    }

    /// How the seven causes share the answer's belief. What is left undetermined is spread evenly: whoever does not
    /// know bets on nobody. A `clear` verdict bets on none of them.
    pub(crate) fn belief(&self) -> [f64; 7] {
        if self.place == Place::None {
            return [0.0; 7];
        }
        let named: f64 = Place::CAUSES
            .iter()
            .filter_map(|place| self.posterior.get(place))
            .sum();
        let open = (1.0 - named).max(0.0) / Place::CAUSES.len() as f64;
        Place::CAUSES.map(|place| self.posterior.get(&place).copied().unwrap_or_default() + open)
    }

    /// The answer in a table: the place, or the verdict where it says more.
    pub(crate) fn in_short(&self) -> String {
        let parts = [
            Some(self.verdict.as_str()),
            self.mechanism.as_deref(),
            Some(self.place.word()).filter(|_| self.place != Place::None),
        ];
        let words: Vec<&str> = parts.into_iter().flatten().collect();
        let mut text = words.join(" · ");
        if self.place != Place::None && self.place != Place::Undetermined {
            text += &format!(" {:.2}", self.probability);
        }
        if let Some(segment) = self.segment {
            text += &format!(" {segment}");
        }
        text
    }
}

fn segment(value: &Value) -> Option<Segment> {
    let hop = |key: &str| value[key].as_u64().and_then(|hop| u8::try_from(hop).ok());
    Some(Segment {
        after: hop("after_hop")?,
        up_to: hop("up_to_hop")?,
    })
}

fn weighed(value: &Value) -> Vec<(String, String)> {
    let word = |entry: &Value, key: &str| entry[key].as_str().map(str::to_owned);
    let mut list: Vec<(String, String)> = value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| Some((word(entry, "group")?, word(entry, "observation")?)))
        .collect();
    list.sort();
    list.dedup();
    list
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A made-up answer that names a place.
    pub(crate) fn answer(verdict: &str, place: Place, probability: f64) -> Answer {
        let rest = 1.0 - probability;
        Answer {
            verdict: verdict.to_owned(),
            mechanism: None,
            product: None,
            confidence: String::new(),
            place,
            probability,
            posterior: BTreeMap::from([(place, probability), (Place::Undetermined, rest)]),
            segment: None,
            credible: None,
            weighed: Vec::new(),
            next: None,
            connections: 4,
            seconds: 1.0,
        }
    }

    fn document() -> Value {
        json!({
            "schema": "hoofbeat.diagnosis/1", "overall": {"verdict": "interference"},
            "connections": 7, "elapsed_ms": 2500,
            "findings": [
                {"service": {"port": 587}, "verdict": "interference", "location": {"class": "this-host"}},
                {"service": {"port": 25}, "verdict": "clear", "location": {"class": "undetermined"}},
                {"service": {"port": 25}, "verdict": "interference", "mechanism": "capability-masked",
                 "location": {"class": "access-network", "probability": 0.8,
                    "posterior": {"access-network": 0.8, "local-network": 0.06, "undetermined": 0.14},
                    "segment": {"after_hop": 1, "up_to_hop": 2},
                    "credible": {"after_hop": 1, "up_to_hop": 3, "probability": 0.93},
                    "weighed": [{"group": "G2", "observation": "mask-in-slot"}, {"group": "G11", "observation": "x"},
                                {"group": "G2", "observation": "mask-in-slot"}]}},
            ]
        })
    }

    #[test]
    fn the_finding_that_was_asked_for_is_read() {
        let answer = Answer::read(&document(), 25).expect("a finding");
        assert_eq!(answer.verdict, "interference");
        assert_eq!(answer.place, Place::Access);
        assert_eq!(answer.segment, Some(Segment { after: 1, up_to: 2 }));
        let credible = answer.credible.expect("a credible set");
        assert_eq!(credible.segment.width(), 2);
        assert_eq!(answer.weighed.len(), 2, "said twice, counted once");
        assert_eq!((answer.connections, answer.seconds), (7, 2.5));
        assert!(Answer::read(&document(), 110).is_err());
    }

    #[test]
    fn belief_sums_to_one_and_spreads_what_is_open() {
        let belief = Answer::read(&document(), 25).expect("a finding").belief();
        let sum: f64 = belief.iter().sum();
        assert!((sum - 1.0).abs() < 1e-9, "{belief:?}");
        assert!((belief[4] - (0.8 + 0.14 / 7.0)).abs() < 1e-9, "{belief:?}");
        assert!((belief[0] - 0.02).abs() < 1e-9, "{belief:?}");
        let clear = answer("clear", Place::None, 0.0).belief();
        assert_eq!(clear, [0.0; 7]);
    }
}
