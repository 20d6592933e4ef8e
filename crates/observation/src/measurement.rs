//! The unit of the archive: one thing that was done, with its surroundings.

use alloc::string::String;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

use crate::{Capture, Dialogue, Failure, Lookup, MtaStsFetch, Surroundings, Trace, WitnessVisit};

/// From where it was measured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Vantage {
    /// A name the user gave, or none.
    pub name: Option<String>,
    /// Our address towards the world, where known.
    pub address: Option<IpAddr>,
    /// Which machine, by a label that the user gave: two vantages with the same label are the same machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Which network it sat on, by a label that the user gave, such as `cafe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Whether it stands in the target's own network, behind whatever guards that from the world.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub inside: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every measurement is a dialogue"
)]
pub enum Body {
    /// A connection to a mail service.
    Dialogue(Dialogue),
    /// A question to the DNS.
    Lookup(Lookup),
    /// The fetch of an MTA-STS policy.
    MtaSts(MtaStsFetch),
    /// The target could not be turned into services at all.
    Unresolved(Unresolved),
    /// Packets with a limited TTL.
    Trace(Trace),
    /// What is known of the addresses around.
    Surroundings(Surroundings),
    /// A visit to a cooperating server.
    Witness(WitnessVisit),
    /// The packets of this target's measurements.
    Capture(Capture),
}

/// Why a target has no services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Unresolved {
    /// The domain says by a null MX (RFC 7505) that it takes no mail.
    NullMx,
    /// Neither MX nor address nor service records.
    NoServices,
    /// The DNS failed.
    Dns {
        /// How.
        failure: Failure,
    },
}

/// One measurement: a line of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// Always [`crate::archive::SCHEMA`].
    pub schema: String,
    /// Unique in its archive, such as `m3`; evidence cites it.
    pub id: String,
    /// The program that wrote it, such as `hoofbeat 0.1.0`.
    pub tool: String,
    /// The target as typed, which this measurement serves.
    pub target: String,
    /// Wall clock at the measurement's zero, seconds since 1970.
    pub started: i64,
    /// From where.
    pub vantage: Vantage,
    /// What was done.
    pub body: Body,
}

impl Measurement {
    /// The dialogue, where it is one.
    #[must_use]
    pub const fn dialogue(&self) -> Option<&Dialogue> {
        match &self.body {
            Body::Dialogue(dialogue) => Some(dialogue),
            _ => None,
        }
    }
    /// The trace, where it is one.
    #[must_use]
    pub const fn trace(&self) -> Option<&Trace> {
        match &self.body {
            Body::Trace(trace) => Some(trace),
            _ => None,
        }
    }
    /// The visit to a witness, where it is one.
    #[must_use]
    pub const fn visit(&self) -> Option<&WitnessVisit> {
        match &self.body {
            Body::Witness(visit) => Some(visit),
            _ => None,
        }
    }
    /// The answer of the DNS, where it is one.
    #[must_use]
    pub const fn lookup(&self) -> Option<&Lookup> {
        match &self.body {
            Body::Lookup(lookup) => Some(lookup),
            _ => None,
        }
    }
}
