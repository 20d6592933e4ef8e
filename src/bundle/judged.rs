//! What a run concluded for one target, with everything that the judge was told besides the measurements: enough to
//! let another judge, elsewhere and later, come to the same.

use hoofbeat_diagnosis::{Case, Diagnosis, Finding, Segment, Settings, diagnose};
use hoofbeat_observation::{Measurement, Service};
use serde::{Deserialize, Serialize};

/// The conclusion for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The target as typed.
    pub target: String,
    /// The ids of the measurements that it was concluded from.
    pub measurements: Vec<String>,
    /// The wall clock that the judge was given, seconds since 1970.
    pub now: i64,
    /// Whether tests for one's own servers were allowed.
    #[serde(default)]
    pub thorough: bool,
    /// Tests that were not run, and why.
    #[serde(default)]
    pub declined: Vec<(String, String)>,
    /// The overall verdict's word.
    pub verdict: String,
    /// The words of each finding.
    pub findings: Vec<JudgedFinding>,
}

/// The words of one finding that scripts rely on (docs/diagnosis-v1.md). Probabilities are left out: a later version
/// may weigh more finely and still conclude the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedFinding {
    /// Which service.
    pub service: Service,
    /// What.
    pub verdict: String,
    /// How.
    #[serde(default)]
    pub mechanism: Option<String>,
    /// By which product.
    #[serde(default)]
    pub product: Option<String>,
    /// Where: the class.
    pub place: String,
    /// Where: behind and up to which hop.
    #[serde(default)]
    pub segment: Option<(u8, u8)>,
    /// How sure.
    pub confidence: String,
    /// What the service gave.
    pub encryption: String,
}

impl Judged {
    /// From a diagnosis and the settings that it was made with.
    #[must_use]
    pub fn of(
        target: &str,
        measurements: &[Measurement],
        diagnosis: &Diagnosis,
        settings: &Settings,
    ) -> Self {
        Self {
            target: target.to_owned(),
            measurements: measurements.iter().map(|m| m.id.clone()).collect(),
            now: settings.now,
            thorough: settings.thorough,
            declined: settings.declined.clone(),
            verdict: diagnosis.overall.verdict.word().to_owned(),
            findings: diagnosis.findings.iter().map(JudgedFinding::of).collect(),
        }
    }

    /// The settings that the judge was given.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            now: self.now,
            thorough: self.thorough,
            declined: self.declined.clone(),
            ..Settings::default()
        }
    }

    /// The conclusion that these measurements lead to with the same settings.
    #[must_use]
    pub fn again(&self, measurements: &[Measurement]) -> Self {
        let settings = self.settings();
        let diagnosis = diagnose(&Case {
            target: &self.target,
            measurements,
            settings: settings.clone(),
            elsewhere: Vec::new(),
        });
        Self::of(&self.target, measurements, &diagnosis, &settings)
    }

    /// The conclusion in one line, such as `interference (smtp://mx.example:25 capability-masked, server-edge)`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let findings: Vec<String> = self
            .findings
            .iter()
            .map(|finding| {
                let how = finding.mechanism.as_deref().unwrap_or(&finding.verdict);
                let segment = finding.segment.map_or_else(String::new, |(from, to)| {
                    format!(", behind hop {from} and up to hop {to}")
                });
                format!(
                    "{} {how}, {} {}{segment}",
                    finding.service, finding.place, finding.confidence
                )
            })
            .collect();
        if findings.is_empty() {
            self.verdict.clone()
        } else {
            format!("{} ({})", self.verdict, findings.join("; "))
        }
    }
}

impl JudgedFinding {
    fn of(finding: &Finding) -> Self {
        Self {
            service: finding.service.clone(),
            verdict: finding.verdict.word().to_owned(),
            mechanism: finding.mechanism.map(|word| word.word().to_owned()),
            product: finding.product.clone(),
            place: finding.location.class.word().to_owned(),
            segment: finding.location.segment.map(
                |Segment {
                     after_hop,
                     up_to_hop,
                 }| (after_hop, up_to_hop),
            ),
            confidence: finding.confidence.word().to_owned(),
            encryption: finding.encryption.word().to_owned(),
        }
    }
}
