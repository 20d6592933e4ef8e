//! What is superseded, by what, since which document and when: the table behind `old-tls`.
//!
//! Dated data: the document that deprecates and the month of its publication.

use alloc::{format, string::String, vec::Vec};
use hoofbeat_observation::{Handshake, LegacyHello};

use crate::pattern;

/// Of what an entry speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The protocol version.
    Version,
    /// The cipher suite's IANA name.
    Suite,
    /// The leaf's key.
    Key,
}

struct Sunset {
    of: Of,
    pattern: &'static str,
    what: &'static str,
    instead: &'static str,
    document: &'static str,
    since: &'static str,
}

const fn row(
    of: Of,
    pattern: &'static str,
    what: &'static str,
    instead: &'static str,
    document: &'static str,
    since: &'static str,
) -> Sunset {
    Sunset {
        of,
        pattern,
        what,
        instead,
        document,
        since,
    }
}

static SUNSETS: &[Sunset] = &[
    row(
        Of::Version,
        "SSLv2",
        "SSL 2.0",
        "TLS 1.3",
        "RFC 6176",
        "March 2011",
    ),
    row(
        Of::Version,
        "SSLv3",
        "SSL 3.0",
        "TLS 1.3",
        "RFC 7568",
        "June 2015",
    ),
    row(
        Of::Version,
        "TLSv1",
        "TLS 1.0",
        "TLS 1.3",
        "RFC 8996",
        "March 2021",
    ),
    row(
        Of::Version,
        "TLSv1.0",
        "TLS 1.0",
        "TLS 1.3",
        "RFC 8996",
        "March 2021",
    ),
    row(
        Of::Version,
        "TLSv1.1",
        "TLS 1.1",
        "TLS 1.3",
        "RFC 8996",
        "March 2021",
    ),
    row(
        Of::Suite,
        "%_RC4_%",
        "RC4",
        "AES-GCM or ChaCha20-Poly1305",
        "RFC 7465",
        "February 2015",
    ),
    row(
        Of::Suite,
        "%_NULL_%",
        "a suite without encryption",
        "AES-GCM or ChaCha20-Poly1305",
        "RFC 7525",
        "May 2015",
    ),
    row(
        Of::Suite,
        "%_EXPORT%",
        "an export suite",
        "AES-GCM or ChaCha20-Poly1305",
        "RFC 7525",
        "May 2015",
    ),
    row(
        Of::Suite,
        "%_anon_%",
        "a suite without authentication",
        "a suite with certificates",
        "RFC 9325",
        "November 2022",
    ),
    row(
        Of::Suite,
        "%_3DES_EDE_%",
        "Triple DES",
        "AES-GCM or ChaCha20-Poly1305",
        "RFC 9325",
        "November 2022",
    ),
    row(
        Of::Suite,
        "%_DES_CBC_%",
        "single DES",
        "AES-GCM or ChaCha20-Poly1305",
        "RFC 7525",
        "May 2015",
    ),
    row(
        Of::Suite,
        "%_IDEA_%",
        "IDEA",
        "AES-GCM or ChaCha20-Poly1305",
        "RFC 5469",
        "February 2009",
    ),
    row(
        Of::Key,
        "RSA 512",
        "a 512-bit RSA key",
        "RSA 2048 or EC P-256",
        "RFC 9325",
        "November 2022",
    ),
    row(
        Of::Key,
        "RSA 768",
        "a 768-bit RSA key",
        "RSA 2048 or EC P-256",
        "RFC 9325",
        "November 2022",
    ),
    row(
        Of::Key,
        "RSA 1024",
        "a 1024-bit RSA key",
        "RSA 2048 or EC P-256",
        "RFC 9325",
        "November 2022",
    ),
];

fn sentence(found: &Sunset) -> String {
    format!(
        "{} is superseded by {} since {} ({})",
        found.what, found.instead, found.since, found.document
    )
}

fn find(of: Of, word: &str) -> Option<String> {
    SUNSETS
        .iter()
        .find(|one| one.of == of && pattern::matches(one.pattern, word))
        .map(sentence)
}

/// What of a handshake is superseded, as sentences.
pub(crate) fn in_handshake(handshake: &Handshake) -> Vec<String> {
    let version = handshake
        .version
        .as_deref()
        .and_then(|word| find(Of::Version, word));
    let suite = handshake
        .cipher
        .as_deref()
        .and_then(|word| find(Of::Suite, word));
    let key = handshake
        .chain
        .first()
        .and_then(|leaf| leaf.key.as_deref())
        .and_then(|word| find(Of::Key, word));
    version.into_iter().chain(suite).chain(key).collect()
}

/// What of an answer to a hand-made ClientHello is superseded.
pub(crate) fn in_hello(hello: &LegacyHello) -> Vec<String> {
    let version = hello
        .version
        .as_deref()
        .and_then(|word| find(Of::Version, word));
    let suite = hello
        .cipher
        .as_deref()
        .and_then(|word| find(Of::Suite, word));
    version.into_iter().chain(suite).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_old_from_new() {
        assert!(find(Of::Version, "TLSv1.1").is_some_and(|s| s.contains("RFC 8996")));
        for modern in ["TLSv1.2", "TLSv1.3"] {
            assert!(find(Of::Version, modern).is_none());
        }
        assert!(find(Of::Suite, "TLS_RSA_WITH_RC4_128_SHA").is_some());
        for modern in [
            "TLS13_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ] {
            assert!(find(Of::Suite, modern).is_none(), "{modern}");
        }
        assert!(find(Of::Key, "RSA 2048").is_none() && find(Of::Key, "RSA 1024").is_some());
    }
}
