//! The TLS handshake as it went, and the chain that was presented, valid or not.

use alloc::{string::String, vec::Vec};
use hoofbeat_session::{Elapsed, bytes};
use serde::{Deserialize, Serialize};

/// One certificate as presented, with what was read from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The exact DER.
    #[serde(with = "bytes")]
    pub der: Vec<u8>,
    /// The SubjectPublicKeyInfo's exact DER; empty where it could not be read.
    #[serde(with = "bytes")]
    pub public_key: Vec<u8>,
    /// The subject's distinguished name as text (RFC 4514).
    pub subject: String,
    /// The issuer's distinguished name as text.
    pub issuer: String,
    /// DNS names and addresses of the subjectAltName, or the common name where there is none.
    pub names: Vec<String>,
    /// Start of validity, seconds since 1970.
    pub not_before: Option<i64>,
    /// End of validity, seconds since 1970.
    pub not_after: Option<i64>,
    /// Key type and size or curve, such as `RSA 2048` or `EC P-256`.
    pub key: Option<String>,
}

/// Why a chain does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InvalidReason {
    /// Past its validity.
    Expired,
    /// Before its validity (or our clock is wrong).
    NotYetValid,
    /// The leaf signed itself.
    SelfSigned,
    /// No trusted root signed it.
    UnknownIssuer,
    /// It names other hosts.
    WrongName,
    /// A signature is wrong, in the chain or in the handshake.
    BadSignature,
    /// It cannot be parsed or uses what no verifier accepts.
    Malformed,
    /// Any other reason; see the text.
    Other,
}

/// The outcome of checking the chain against trusted roots and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Verification {
    /// Chain, time and one of the names are good.
    Verified {
        /// Which of the accepted names matched.
        name: String,
    },
    /// Something is not.
    Invalid {
        /// The first reason found.
        reason: InvalidReason,
        /// The verifier's words.
        detail: String,
    },
    /// There was nothing to check (no chain was seen), or a recording does not tell.
    Unknown,
}

/// How the handshake ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum HandshakeOutcome {
    /// Keys were agreed; the chain was presented and recorded whatever it was worth.
    Completed,
    /// The peer sent a TLS alert.
    Alert {
        /// Its name, such as `protocol_version` or `handshake_failure`.
        description: String,
    },
    /// The peer answered the ClientHello with something that is not TLS.
    NotTls,
    /// The connection was reset.
    Reset,
    /// The peer closed.
    Closed,
    /// No complete handshake within the limit.
    TimedOut,
    /// The two sides could not agree, by our library's words.
    Failed {
        /// Those words.
        detail: String,
    },
}

/// One handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// When the ClientHello was sent.
    pub started: Elapsed,
    /// When it was over.
    pub ended: Elapsed,
    /// How it ended.
    pub outcome: HandshakeOutcome,
    /// The server name sent (SNI), where one was.
    pub server_name: Option<String>,
    /// `TLSv1.3`, `TLSv1.2`, ….
    pub version: Option<String>,
    /// The IANA name of the cipher suite.
    pub cipher: Option<String>,
    /// The presented chain, leaf first.
    pub chain: Vec<Certificate>,
    /// Whether it verifies.
    pub verification: Verification,
    /// The first bytes the peer sent after the ClientHello, at most 512: the evidence where it was no TLS.
    #[serde(with = "bytes")]
    pub first_bytes: Vec<u8>,
}
