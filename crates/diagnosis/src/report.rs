//! The document that `--json` prints: one line a target, schema `hoofbeat.diagnosis/1`.

use alloc::string::String;
use hoofbeat_observation::Vantage;
use serde::Serialize;

use crate::{Diagnosis, Finding, Overall, verdict::SCHEMA};

/// What the judge cannot know: who measured, when, from where, at what cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The program and its version, such as `hoofbeat 0.1.0`.
    pub tool: String,
    /// The start, RFC 3339 in UTC.
    pub started: String,
    /// The target as typed.
    pub target: String,
    /// From where.
    pub vantage: Vantage,
    /// How many connections were made.
    pub connections: usize,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    tool: &'a str,
    started: &'a str,
    target: &'a str,
    vantage: &'a Vantage,
    overall: &'a Overall,
    findings: &'a [Finding],
    connections: usize,
    elapsed_ms: u64,
}

/// The document of one target, to be serialised as one line.
pub fn report<'a>(diagnosis: &'a Diagnosis, header: &'a Header) -> impl Serialize + 'a {
    Document {
        schema: SCHEMA,
        tool: &header.tool,
        started: &header.started,
        target: &header.target,
        vantage: &header.vantage,
        overall: &diagnosis.overall,
        findings: &diagnosis.findings,
        connections: header.connections,
        elapsed_ms: header.elapsed_ms,
    }
}
