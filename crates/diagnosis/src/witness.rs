//! What a cooperating server proves: both ends' bytes held against each other, direction by direction.
//!
//! Only a signed report counts. It must not know how signatures are checked, nor where the box is.

mod compare;
mod dialogue;
mod errands;
mod packets;
pub(crate) mod testimony;

use alloc::{string::String, vec::Vec};
use serde::Serialize;

/// What the visit to a cooperating server showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WitnessSummary {
    /// Which server, as the user named it.
    pub host: String,
    /// `signed`, or why the report counts for nothing: `unchecked`, `absent`, `wrong-key`, `forged`, `cut-off`,
    /// `other-session`.
    pub standing: &'static str,
    /// What was sent against what the witness received.
    pub to_server: Option<Compared>,
    /// What the witness sent against what was received.
    pub to_client: Option<Compared>,
    /// Lines that were inserted into a plain HTTP request on its way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_inserted: Vec<String>,
    /// Server names whose TLS handshake did not get through, while others' did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_names: Vec<String>,
    /// What else was seen, as sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One direction, both ends held against each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// How many bytes were held against each other.
    pub bytes: u64,
    /// Whether they differ.
    pub changed: bool,
    /// What was sent, where it differs first.
    pub was: Option<String>,
    /// What arrived in its place.
    pub became: Option<String>,
}
