//! The report's signature: Ed25519 over a separating prefix and the exact bytes, and what its check finds.
//!
//! Whether a report is right is not asked here; a witness that lies signs its lies.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hoofbeat_observation::{SignedReport, Standing, WitnessVisit};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::Key;

/// Keeps this signature from being taken for one over anything else that the key signs (TLS handshakes).
const DOMAIN: &[u8] = b"hoofbeat witness report\0";

/// What is signed.
pub(crate) fn signed_bytes(report: &[u8]) -> Vec<u8> {
    [DOMAIN, report].concat()
}

/// Finds out anew what the visit's report is worth; whatever was there before is overwritten.
pub fn check(visit: &mut WitnessVisit) {
    visit.standing = match &visit.report {
        None => Standing::Absent,
        Some(report) => standing(report, visit),
    };
}

fn standing(signed: &SignedReport, visit: &WitnessVisit) -> Standing {
    let key = Key::from_base64(&signed.key);
    let pinned = visit.pinned.as_deref().map(Key::from_base64);
    let Some(key) = key.filter(|key| pinned.is_none_or(|pinned| pinned == Some(*key))) else {
        return Standing::WrongKey;
    };
    let signature = STANDARD.decode(&signed.signature).unwrap_or_default();
    let holds = UnparsedPublicKey::new(&ED25519, key.0)
        .verify(&signed_bytes(&signed.bytes), &signature)
        .is_ok();
    match (holds, signed.read()) {
        (false, _) if is_cut_off(&signed.bytes) => Standing::CutOff,
        (false, _) => Standing::Forged,
        (true, None) => Standing::CutOff,
        (true, Some(report)) => {
            let ours = !visit.session.is_empty()
                && report.session == visit.session
                && report.nonce == visit.nonce;
            if ours {
                Standing::Signed
            } else {
                Standing::OtherSession
            }
        }
    }
}

/// Whether the JSON stops in the middle; a flipped byte breaks it elsewhere, or not at all.
fn is_cut_off(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err_and(|error| error.is_eof())
}

/// SHA-256 of a certificate, in hexadecimal digits.
pub(crate) fn fingerprint(certificate: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
