//! Archives as the program wrote them: JSON Lines, read, thinned out and written again.
//!
//! Thinning shows what each means is worth: the same run is judged again without the witness, without the raw engine,
//! without any trace. Nothing is ever changed or added. It must not know what a line proves.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const MEASUREMENT: &str = "hoofbeat.measurement/1";
/// Seals a bundle's lines; untrue of a thinned one.
const MANIFEST: &str = "hoofbeat.manifest/1";

/// What is left of an archive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Evidence {
    /// Dialogues alone: what the check knew before anybody traced.
    Dialogues,
    /// And traces of either engine.
    Traces,
    /// And the visit to the witness.
    Whole,
}

impl Evidence {
    fn keeps(self, line: &Value) -> bool {
        let body = &line["body"];
        match body["kind"].as_str().unwrap_or_default() {
            "capture" if body["by"] == "witness" => self >= Self::Whole,
            "trace" | "surroundings" | "capture" => self >= Self::Traces,
            "witness" => self >= Self::Whole,
            "dialogue" => body["role"]["role"] != "witness" || self >= Self::Whole,
            _ => true,
        }
    }
}

/// What a run asked of the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) connections: usize,
    pub(crate) syns: usize,
}

/// One vantage's archive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive {
    lines: Vec<Value>,
}

impl Archive {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let lines = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(serde_json::from_str)
            .collect::<Result<Vec<Value>, _>>()
            .context("a line is no JSON")?;
        let archive = Self { lines };
        ensure!(
            archive.measurements().next().is_some(),
            "no measurement in it"
        );
        Ok(archive)
    }

    /// The same without what `evidence` leaves out, and without the seal that would no longer hold.
    pub(crate) fn thinned(&self, evidence: Evidence) -> Self {
        let kept = |line: &&Value| match line["schema"].as_str() {
            Some(MANIFEST) => false,
            Some(MEASUREMENT) => evidence.keeps(line),
            _ => true,
        };
        let mut lines: Vec<Value> = self.lines.iter().filter(kept).cloned().collect();
        if evidence < Evidence::Whole {
            lines.iter_mut().for_each(forget_witness);
        }
        Self { lines }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    fn measurements(&self) -> impl Iterator<Item = &Value> {
        self.lines
            .iter()
            .filter(|line| line["schema"] == MEASUREMENT)
            .map(|line| &line["body"])
    }

    /// The bodies of one kind that concern the target itself.
    pub(crate) fn of_target<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.measurements()
            .filter(move |body| body["kind"] == kind && body["role"]["role"] == "target")
    }

    /// The autonomous system of an address, by the surroundings that were recorded.
    pub(crate) fn system_of(&self, address: &str) -> Option<u64> {
        self.surroundings()
            .filter_map(|body| body["addresses"].as_array())
            .flatten()
            .find(|fact| fact["address"] == address)
            .and_then(|fact| fact["asn"].as_u64())
    }

    /// What it took to the target's own host: connections, and SYNs that were limited and never became one.
    pub(crate) fn cost(&self) -> Cost {
        let probes = |trace: &Value| trace["probes"].as_array().map_or(0, Vec::len);
        let traces = || self.of_target("trace");
        let is_sweep = |trace: &&Value| trace["method"] == "sweep";
        Cost {
            connections: self.of_target("dialogue").count() + traces().filter(is_sweep).count(),
            syns: traces().filter(|trace| !is_sweep(trace)).map(probes).sum(),
        }
    }

    pub(crate) fn surroundings(&self) -> impl Iterator<Item = &Value> {
        self.measurements()
            .filter(|body| body["kind"] == "surroundings")
    }
}

/// Our address as the world sees it is what the witness told.
fn forget_witness(line: &mut Value) {
    if line["body"]["kind"] == "surroundings"
        && let Some(body) = line["body"].as_object_mut()
    {
        body.remove("public");
    }
}

/// Bytes as archives write them: a text, or base64 where a text would lose something.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => other["base64"]
            .as_str()
            .and_then(|text| STANDARD.decode(text).ok())
            .unwrap_or_default(),
    }
}

/// Every byte that a dialogue brought to the client in the clear.
pub(crate) fn heard(dialogue: &Value) -> Vec<u8> {
    dialogue["transcript"]["chunks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|chunk| chunk["direction"] == "to-client" && chunk["layer"] == "plain")
        .flat_map(|chunk| bytes(&chunk["bytes"]))
        .collect()
}

/// What a step of this label brought back, where the dialogue got there.
pub(crate) fn reply(dialogue: &Value, label: &str) -> Option<Vec<u8>> {
    let exchange = dialogue["exchanges"]
        .as_array()?
        .iter()
        .find(|exchange| exchange["label"] == label && exchange["layer"] == "plain")?;
    let end = |index: usize| usize::try_from(exchange["received"][index].as_u64()?).ok();
    heard(dialogue).get(end(0)?..end(1)?).map(<[u8]>::to_vec)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A made-up archive of these bodies.
    pub(crate) fn archive(bodies: &[Value]) -> Archive {
        let line = |body: &Value| json!({"schema": MEASUREMENT, "body": body}).to_string() + "\n";
        Archive::parse(&bodies.iter().map(line).collect::<String>()).expect("an archive")
    }

    /// A made-up baseline dialogue with the target.
    pub(crate) fn dialogue(greeting: &str, capabilities: &str, handshake: bool) -> Value {
        let ends = [greeting.len(), greeting.len() + capabilities.len()];
        let chunk =
            |bytes: &str| json!({"direction": "to-client", "layer": "plain", "bytes": bytes});
        json!({
            "kind": "dialogue", "role": {"role": "target"}, "variation": "baseline",
            "transcript": {"chunks": [
                chunk(greeting), {"direction": "to-server", "layer": "plain", "bytes": "EHLO x\r\n"}, chunk(capabilities),
                {"direction": "to-client", "layer": "tls", "bytes": {"base64": "FgMD"}},
            ]},
            "exchanges": [
                {"label": "greeting", "layer": "plain", "received": [0, ends[0]]},
                {"label": "capabilities", "layer": "plain", "received": ends},
            ],
            "handshake": if handshake { json!({"outcome": {"how": "completed"}}) } else { Value::Null },
        })
    }

    #[test]
    fn thinning_drops_means_and_the_seal_and_nothing_else() {
        let text = [
            json!({"schema": "hoofbeat.bundle/1"}),
            json!({"schema": MEASUREMENT, "body": {"kind": "dialogue", "role": {"role": "target"}}}),
            json!({"schema": MEASUREMENT, "body": {"kind": "dialogue", "role": {"role": "witness", "token": "t"}}}),
            json!({"schema": MEASUREMENT, "body": {"kind": "lookup"}}),
            json!({"schema": MEASUREMENT, "body": {"kind": "trace", "engine": "raw"}}),
            json!({"schema": MEASUREMENT, "body": {"kind": "surroundings", "public": "198.18.0.1"}}),
            json!({"schema": MEASUREMENT, "body": {"kind": "capture", "by": "witness"}}),
            json!({"schema": MEASUREMENT, "body": {"kind": "witness"}}),
            json!({"schema": MANIFEST}),
        ]
        .map(|line| format!("{line}\n"))
        .concat();
        let whole = Archive::parse(&text).expect("an archive");
        let left = |evidence| whole.thinned(evidence).lines.len();
        assert_eq!(left(Evidence::Whole), 8);
        assert_eq!(left(Evidence::Traces), 5);
        assert_eq!(left(Evidence::Dialogues), 3);
        let told = |evidence| {
            let thinned = whole.thinned(evidence);
            thinned
                .surroundings()
                .any(|body| body["public"].is_string())
        };
        assert!(told(Evidence::Whole) && !told(Evidence::Traces));
        assert!(Archive::parse("{\"schema\":\"hoofbeat.bundle/1\"}\n").is_err());
        assert!(Archive::parse("not json\n").is_err());
    }

    #[test]
    fn what_was_asked_of_the_target_is_counted() {
        let trace = |method: &str, role: &str, probes: usize| json!({"kind": "trace", "method": method, "role": {"role": role}, "probes": vec![json!({}); probes]});
        let archive = archive(&[
            dialogue("220 mx\r\n", "250 mx\r\n", false),
            trace("sweep", "target", 9),
            trace("syn", "target", 5),
            trace("fast-open", "target", 4),
            trace("syn", "control", 7),
        ]);
        let cost = Cost {
            connections: 2,
            syns: 9,
        };
        assert_eq!(archive.cost(), cost);
    }

    #[test]
    fn bytes_are_read_as_they_were_written() {
        assert_eq!(bytes(&json!("250 ok\r\n")), b"250 ok\r\n");
        assert_eq!(bytes(&json!({"base64": "/wA="})), [0xff, 0]);
        assert_eq!(bytes(&Value::Null), b"");
    }

    #[test]
    fn replies_are_cut_by_their_steps() {
        let dialogue = dialogue("220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", true);
        assert_eq!(
            reply(&dialogue, "greeting").as_deref(),
            Some(&b"220 mx\r\n"[..])
        );
        assert_eq!(
            reply(&dialogue, "capabilities").as_deref(),
            Some(&b"250-mx\r\n250 STARTTLS\r\n"[..])
        );
        assert_eq!(reply(&dialogue, "start-tls"), None);
    }
}
