//! Runs the built `hoofbeat check --json` on one service and reads its answer by the published contract only.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// One target's answer: the document and the exit status.
pub(crate) struct Answer {
    pub(crate) exit: i32,
    pub(crate) document: Value,
}

/// `check --json --no-controls --ca CA URL`: without controls, because a test speaks to nothing but loopback.
pub(crate) fn check(url: &str, ca: &Path, options: &[&str]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoofbeat"));
    command
        .args(["check", "--json", "--no-controls", "-4"])
        .args(options)
        .arg("--ca")
        .arg(ca)
        .arg(url);
    let output = command.output().expect("the hoofbeat program");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let exit = output
        .status
        .code()
        .unwrap_or_else(|| panic!("ended by a signal: {errors}"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines.len(),
        1,
        "one target, one line of JSON; exit {exit}; stdout {text:?}; stderr {errors:?}"
    );
    let document: Value =
        serde_json::from_str(lines[0]).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert_eq!(document["schema"], "hoofbeat.diagnosis/1");
    Answer { exit, document }
}

impl Answer {
    /// The finding about the service that was asked for (siblings may be reported beside it).
    pub(crate) fn finding(&self, port: u16) -> &Value {
        let findings = self.document["findings"].as_array().expect("findings");
        let about = |finding: &&Value| finding["service"]["port"] == port;
        findings
            .iter()
            .find(about)
            .unwrap_or_else(|| panic!("no finding on port {port}: {:#}", self.document))
    }

    /// Asserts verdict, mechanism (one of these words of the contract; none = null), encryption (one of these) and exit
    /// status at once, so that a failure shows the whole finding.
    pub(crate) fn is(
        &self,
        port: u16,
        verdict: &str,
        mechanisms: &[&str],
        encryption: &[&str],
        exit: i32,
    ) {
        let finding = self.finding(port);
        let mechanism = finding["mechanism"].as_str();
        let as_expected = match mechanism {
            Some(word) => mechanisms.contains(&word),
            None => mechanisms.is_empty(),
        };
        let encrypted = finding["encryption"]
            .as_str()
            .is_some_and(|word| encryption.contains(&word));
        assert!(
            finding["verdict"] == verdict && as_expected && encrypted && self.exit == exit,
            "expected {verdict} {mechanisms:?} {encryption:?} exit {exit}, got exit {} and {finding:#}",
            self.exit
        );
    }

    pub(crate) fn weaknesses(&self, port: u16) -> Vec<&str> {
        let list = self.finding(port)["weaknesses"].as_array();
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }
}
