//! Bundles: what one run measured, under hashes, so that somebody else can check it.
//!
//! A bundle is an archive (JSON Lines) with a [`Header`] as its first line and a [`Manifest`] as its last; between
//! them stands one measurement a line. Hashes show that nothing was changed, added, removed or moved since the
//! manifest was written; *when* that was, and that the client told the truth, they cannot show.
//! This module must not know the network.

mod extract;
mod judged;
mod read;
mod shorten;
mod verify;
mod write;

pub use extract::{ExtractError, extract};
pub use judged::Judged;
pub use read::{Bundle, BundleError, Line, read};
pub use shorten::Shortener;
pub use verify::{Check, Verification, verify};
pub use write::Writer;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The schema of a bundle's first line.
pub const HEADER_SCHEMA: &str = "hoofbeat.bundle/1";
/// The schema of its last line.
pub const MANIFEST_SCHEMA: &str = "hoofbeat.manifest/1";

/// What was done to addresses before they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Addresses {
    /// The client's own addresses and its first hops are cut to /24 and /48 ([`Shortener`]).
    Shortened,
    /// Nothing.
    Full,
}

/// The first line: who measured, when, and with which settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Always [`HEADER_SCHEMA`].
    pub schema: String,
    /// The program, such as `hoofbeat 0.1.0`.
    pub tool: String,
    /// The commit that it was built from, where the build knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The settings as meant, without secrets.
    pub settings: serde_json::Value,
    /// When it began, RFC 3339 in UTC, by the client's clock.
    pub started: String,
    /// Whether addresses were shortened.
    pub addresses: Addresses,
}

impl Header {
    /// A header of this program.
    #[must_use]
    pub fn new(
        tool: &str,
        settings: serde_json::Value,
        started: String,
        addresses: Addresses,
    ) -> Self {
        Self {
            schema: HEADER_SCHEMA.to_owned(),
            tool: tool.to_owned(),
            commit: option_env!("HOOFBEAT_COMMIT")
                .filter(|commit| !commit.is_empty())
                .map(str::to_owned),
            settings,
            started,
            addresses,
        }
    }
}

/// The last line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`MANIFEST_SCHEMA`].
    pub schema: String,
    /// SHA-256 (hex) of each line before this one, the header's first, without its line feed.
    pub lines: Vec<String>,
    /// [`bundle_hash`] of the lines' hashes and the verdicts: the one number to publish.
    pub bundle: String,
    /// What was concluded, a [`Judged`] for each target; kept exactly as written, for it is hashed.
    pub verdicts: Box<RawValue>,
}

/// SHA-256 of one line without its line feed, in hex.
#[must_use]
pub fn line_hash(line: &[u8]) -> String {
    hex(&Sha256::digest(line))
}

/// SHA-256 (hex) over every line's hash as written, each followed by a line feed, and then the JSON of the verdicts
/// as written.
#[must_use]
pub fn bundle_hash<'a>(lines: impl IntoIterator<Item = &'a str>, verdicts: &str) -> String {
    let mut digest = Sha256::new();
    for line in lines {
        digest.update(line);
        digest.update(b"\n");
    }
    digest.update(verdicts);
    hex(&digest.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum() {
        assert_eq!(
            line_hash(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        // printf 'a\nb\n[]' | sha256sum
        assert_eq!(
            bundle_hash(["a", "b"], "[]"),
            line_hash(b"a\nb\n[]"),
            "one number over hashes and verdicts"
        );
    }
}
