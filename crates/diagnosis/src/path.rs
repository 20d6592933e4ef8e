//! The path as reports draw it, and what traces prove of it.
//!
//! A changed quote shows where bytes were still whole and where they no longer were: a stretch of the path, never
//! one router. It must not know how packets were sent. Methods: tracebox (Detal et al., IMC 2013), CenTrace (CoNEXT 2022).

mod answered;
pub(crate) mod changepoint;
mod hello;
pub(crate) mod place;
mod quote;
mod reading;
pub(crate) mod reverse;
mod rewritten;
mod silent;
mod terminated;
pub(crate) mod walk;
mod wire;

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;
use hoofbeat_observation::Engine;
use hoofbeat_session::Direction;
use serde::Serialize;

use crate::Segment;

/// One hop of a traced path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hop {
    /// Its number; 1 is the first router behind the sender.
    pub hop: u8,
    /// Who said that the packet's time was exceeded there; none: silent.
    pub address: Option<IpAddr>,
    /// Round trip to it, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// How many bytes of the packet it quoted, headers included.
    pub quoted: Option<usize>,
    /// Whether the test packet's payload arrived there changed; none where the quote does not tell.
    pub changed: Option<bool>,
    /// What was sent, where it arrived changed.
    pub was: Option<String>,
    /// What arrived.
    pub became: Option<String>,
    /// Its reverse name; a hint, never proof of who owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The autonomous system that announces its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// That system's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

/// The path as traced; several where both directions were.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PathReport {
    /// The hops, from the sender on.
    #[serde(rename = "path")]
    pub hops: Vec<Hop>,
    /// With which right it was traced.
    pub engine: Engine,
    /// Which way the traced packets went; hops count from their sender.
    pub direction: Direction,
    /// Every traced direction, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<DirectedPath>,
}

/// One direction of a path that was traced both ways.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DirectedPath {
    /// Which way the traced packets went; hops count from their sender.
    pub direction: Direction,
    /// With which right it was traced.
    pub engine: Engine,
    /// The hops, from the sender on.
    pub path: Vec<Hop>,
    /// Where this direction's bytes were changed.
    pub segment: Option<Segment>,
}

/// Four decimals: more would feign precision. (`f64::round` needs std.)
pub(crate) fn four_decimals(value: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 <= value, and no round trip or probability comes near the bound"
    )]
    let scaled = (value.max(0.0) * 10_000.0 + 0.5) as u64;
    scaled as f64 / 10_000.0
}
