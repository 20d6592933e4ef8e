//! What a cooperating server saw of our connections, under its signature.
//!
//! The report is kept exactly as it was signed; [`Report`] is read from those bytes. Whether the signature holds is
//! found out by whoever has the cryptography ([`Standing`]), and never taken from a file: a report that nobody
//! checked counts for nothing.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;
use hoofbeat_session::{Elapsed, Protocol, Transcript, bytes};
use serde::{Deserialize, Serialize};

use crate::{Dialogue, Ending, Failure, ReceivedTtl, Service, Trace};

/// The schema of a report.
pub const REPORT_SCHEMA: &str = "hoofbeat.witness-report/1";

/// One visit to a witness: its report and what we did there besides mail dialogues (those are dialogues of their own,
/// with [`crate::Role::Witness`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessVisit {
    /// The witness as the user named it, without the key.
    pub host: String,
    /// The key that was expected (Ed25519, 32 bytes, base64); none: it was learnt over a verified TLS connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// The session's identifier, chosen by the witness.
    #[serde(default)]
    pub session: String,
    /// Our random number (hex), which the report must repeat.
    #[serde(default)]
    pub nonce: String,
    /// What we sent and received on ports that are not mail.
    #[serde(default)]
    pub errands: Vec<Errand>,
    /// The report, as signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<SignedReport>,
    /// Why there is no report, or why the visit ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When it began.
    pub started: Elapsed,
    /// When it was over.
    pub ended: Elapsed,
    /// Whether the report holds: checked on this machine, never read from a file.
    #[serde(skip)]
    pub standing: Standing,
}

/// What became of the signature's check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Standing {
    /// Nobody has checked it: it counts for nothing.
    #[default]
    Unchecked,
    /// There is no report.
    Absent,
    /// Signed by the expected key, about this session and nonce, and whole.
    Signed,
    /// Signed by another key than the expected one.
    WrongKey,
    /// The signature does not belong to the bytes.
    Forged,
    /// The bytes are no whole report.
    CutOff,
    /// A right signature under a report about another session.
    OtherSession,
}

/// A report with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReport {
    /// JSON of a [`Report`], exactly as signed.
    #[serde(with = "bytes")]
    pub bytes: Vec<u8>,
    /// Ed25519 (RFC 8032) over `"hoofbeat witness report\0"` and the bytes; base64 of 64 bytes.
    pub signature: String,
    /// The witness's key, base64 of 32 bytes.
    pub key: String,
}

impl SignedReport {
    /// The report, where the bytes are one. Says nothing about the signature.
    #[must_use]
    pub fn read(&self) -> Option<Report> {
        let report: Report = serde_json::from_slice(&self.bytes).ok()?;
        (report.schema == REPORT_SCHEMA).then_some(report)
    }
}

/// What the witness saw during one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`REPORT_SCHEMA`].
    pub schema: String,
    /// The program, such as `hoofbeat 0.1.0`.
    pub tool: String,
    /// The session's identifier.
    pub session: String,
    /// The client's random number (hex).
    pub nonce: String,
    /// The witness's wall clock at the session's zero, seconds since 1970. Clocks differ: only differences of the
    /// witness's own times are compared with differences of the client's.
    pub started: i64,
    /// The client's address as the control channel saw it; its host part is zero where [`Report::shortened`].
    pub client: IpAddr,
    /// Whether addresses of the client were shortened before signing (/24, /48), at its wish.
    pub shortened: bool,
    /// What the operator says of the place, such as `VPS in AS64505, nothing in front of port 25`.
    #[serde(default)]
    pub statement: String,
    /// SHA-256 (hex) of the certificate that the witness presents on its data ports: another one in our handshake is
    /// somebody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The connections that belong to the session.
    pub connections: Vec<WitnessedConnection>,
    /// Connections that were not kept because a limit was reached.
    #[serde(default)]
    pub dropped: u32,
    /// Whether it looks at mail servers that its clients ask about, from where it stands.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub looks_elsewhere: bool,
    /// What it met at those that this client asked about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<Look>,
}

/// One mail server as the witness met it: the target seen from another network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Which, as the client asked for it.
    pub service: Service,
    /// When, since the session's zero, on the witness's clock.
    pub at: Elapsed,
    /// The plain dialogue; its times count from the moment above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialogue: Option<Dialogue>,
    /// Why there is none, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declined: Option<String>,
}

/// What a connection at the witness was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum WitnessService {
    /// A mail protocol.
    Mail {
        /// Which.
        protocol: Protocol,
    },
    /// Plain HTTP/1.1, whose request comes back in the report.
    Http,
    /// TLS from the first byte; the ClientHello comes back in the report.
    Tls,
}

/// One connection as the witness saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessedConnection {
    /// The token that the client said in it (in the EHLO name, in the path of the request, as server name), or none
    /// where none arrived: then it was told by the client's address and the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What it was for.
    #[serde(flatten)]
    pub service: WitnessService,
    /// The witness's port.
    pub port: u16,
    /// The client's address and port as they arrived; shortened like [`Report::client`].
    pub peer: String,
    /// When it was accepted, since the session's zero, on the witness's clock.
    pub accepted: Elapsed,
    /// The client's SYN from the IP header on as it arrived (`TCP_SAVED_SYN`), its source address shortened likewise.
    #[serde(default, with = "bytes", skip_serializing_if = "Vec::is_empty")]
    pub syn: Vec<u8>,
    /// TTLs of packets as they arrived here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<ReceivedTtl>,
    /// The headers of its packets in both directions, oldest first, where the witness may listen to its interface.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packets: Vec<PacketHeader>,
    /// There were more packets than that.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub packets_cut: bool,
    /// The exact bytes, as this end sent and received them; directions as the client counts them.
    pub transcript: Transcript,
    /// Whether the TLS handshake was completed, where one was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_completed: Option<bool>,
    /// The trace of its own capability list towards the client (direction to the client, hops counted from here).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// How it ended, as this end saw it; `ours` means the witness closed.
    pub ending: Ending,
}

/// The headers of one packet as it passed the witness's interface; what was inside is in the transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketHeader {
    /// When, since the session's zero, on the witness's clock.
    pub at: Elapsed,
    /// How long the whole packet was, in bytes.
    pub length: u32,
    /// From the IP header to the end of the TCP header, the client's address shortened like [`Report::client`].
    #[serde(with = "bytes")]
    pub bytes: Vec<u8>,
}

/// Something that was sent to the witness and is not mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// The token that it carried.
    pub token: String,
    /// What it was.
    #[serde(flatten)]
    pub service: WitnessService,
    /// The server name of the ClientHello, for TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The witness's address and port.
    pub remote: String,
    /// The exact bytes.
    pub transcript: Transcript,
    /// Whether the TLS handshake was completed, for TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_completed: Option<bool>,
    /// SHA-256 (hex) of the certificate that was presented, for TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}
