//! One connection to one service: why it was made, how it was routed, what was said.

use alloc::{string::String, vec::Vec};
use hoofbeat_session::{Elapsed, Exchange, Protocol, Transcript};
use serde::{Deserialize, Serialize};

use crate::{Failure, Handshake, Service};

/// Why a connection was made: what it is held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "role")]
pub enum Role {
    /// The service that is checked.
    Target,
    /// Another port or family of the target's host.
    Sibling,
    /// A server that is known to offer TLS: tells this network from that server.
    Control {
        /// Whose it is.
        operator: String,
        /// Keywords that it is known to offer before TLS.
        known: Vec<String>,
    },
    /// An address where nothing may answer (RFC 5737, RFC 3849): an answer is an interceptor's.
    NegativeControl,
    /// A cooperating server that tells afterwards what it saw.
    Witness {
        /// The token that this connection said, by which the report names it.
        token: String,
    },
}

/// Which question the script asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variation {
    /// The plain dialogue.
    Baseline,
    /// STARTTLS against a random verb, NOOP whole and cut, a second EHLO.
    Differential,
    /// `StartTLS`.
    MixedCase,
    /// STARTTLS in two segments.
    SplitVerb,
    /// The plain dialogue once more, because answers may differ.
    Repeat,
    /// A plaintext command behind STARTTLS (servers that one runs).
    Injection,
    /// A hand-made ClientHello of TLS 1.0–1.2, where our library and the peer found no common version.
    LegacyTls,
    /// A dialogue that somebody else recorded.
    Recorded,
}

/// Where the bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum Source {
    /// Our own sockets.
    #[default]
    Live,
    /// A packet capture: exact bytes, one observer.
    Capture {
        /// Whether packets were missing from the streams.
        gaps: bool,
    },
    /// A pasted text: line endings, lengths and omissions are not to be trusted.
    Text {
        /// The form that was recognised, such as `swaks` or `postfix log`.
        form: String,
        /// What this form cannot prove, as sentences.
        limits: Vec<String>,
        /// Whether the recording itself says that STARTTLS was not offered, TLS was up, and so on, without bytes.
        claims: Vec<Claim>,
    },
}

/// What a log line says without showing bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What it says.
    pub what: Claimed,
    /// The line, with credentials removed.
    pub line: String,
}

/// The sayings of logs that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claimed {
    /// TLS was established.
    TlsEstablished,
    /// TLS was established and the certificate verified.
    TlsVerified,
    /// The certificate was not trusted.
    CertificateInvalid,
    /// TLS was required or wanted and the server did not offer it.
    StartTlsNotOffered,
    /// STARTTLS was refused.
    StartTlsRefused,
    /// The handshake failed.
    HandshakeFailed,
    /// The connection was lost during or right after STARTTLS.
    LostAfterStartTls,
    /// The client turned on its PIX workarounds because the banner was masked.
    PixWorkarounds,
    /// The connection could not be made.
    ConnectFailed,
    /// Mail or credentials went in the clear.
    PlaintextUsed,
}

/// The TCP connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Connect {
    /// When the SYN left.
    pub started: Elapsed,
    /// When the connection stood: the difference is one round trip to whoever answered.
    pub established: Option<Elapsed>,
    /// Our address and port.
    pub local: Option<String>,
    /// Why there is no connection.
    pub failure: Option<Failure>,
}

/// How the connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// We closed, after QUIT where the state allowed it.
    #[default]
    Ours,
    /// The peer closed.
    Peer,
    /// It was reset.
    Reset,
    /// A limit of ours ended it.
    Limit,
    /// It never stood, or the recording does not tell.
    None,
}

/// What a hand-made ClientHello met (variation `legacy-tls`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyHello {
    /// The highest version that was offered.
    pub offered: String,
    /// The version the ServerHello chose, where one came.
    pub version: Option<String>,
    /// The cipher suite it chose: its IANA name, or `0x` and its number.
    pub cipher: Option<String>,
    /// The alert that came instead.
    pub alert: Option<String>,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialogue {
    /// To which service.
    pub service: Service,
    /// In which language; a recording on an odd port is recognised by its words.
    pub protocol: Protocol,
    /// Why.
    pub role: Role,
    /// With which script.
    pub variation: Variation,
    /// From where the bytes are.
    #[serde(default)]
    pub source: Source,
    /// How it was routed: `direct`, or a proxy's URL without credentials.
    pub route: String,
    /// The TCP connection.
    pub connect: Connect,
    /// Every byte.
    pub transcript: Transcript,
    /// Every step.
    pub exchanges: Vec<Exchange>,
    /// The handshake, where one was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Handshake>,
    /// The hand-made ClientHello's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<LegacyHello>,
    /// The step whose bytes the other end's host never acknowledged, however often they were sent again: its reply was not
    /// waited for to the end. A program that hangs leaves that to its host, which acknowledges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swallowed: Option<u32>,
    /// How it ended.
    pub ending: Ending,
}
