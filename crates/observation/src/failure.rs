//! What the operating system or the resolver refused, typed; the raw cause is kept beside it.

use alloc::string::String;
use serde::{Deserialize, Serialize};

/// What we were doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Asking the DNS.
    Resolve,
    /// Opening a TCP connection.
    Connect,
    /// Reading or writing an open one.
    Talk,
    /// The TLS handshake.
    Handshake,
    /// Fetching a policy over HTTPS.
    Fetch,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// RST to our SYN: nobody listens, or a box says so.
    Refused,
    /// RST on an open connection.
    Reset,
    /// The peer closed.
    Closed,
    /// No answer within the limit.
    TimedOut,
    /// ICMP host unreachable.
    HostUnreachable,
    /// ICMP network unreachable, or no route from here.
    NetworkUnreachable,
    /// ICMP administratively prohibited, or a local firewall's EACCES/EPERM.
    Prohibited,
    /// The name does not exist.
    NoSuchName,
    /// The name exists and has no such record.
    NoSuchRecord,
    /// The resolver did not answer usefully (SERVFAIL, REFUSED, silence).
    ResolverFailed,
    /// DNSSEC validation failed.
    Bogus,
    /// Out of local means (ports, descriptors): ours, not theirs.
    LocalResources,
    /// Anything else; see the raw text.
    Other,
}

/// One failure: operation, kind and raw cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{raw}")]
pub struct Failure {
    /// What we were doing.
    pub operation: Operation,
    /// What went wrong.
    pub kind: FailureKind,
    /// The cause in the operating system's or library's words.
    pub raw: String,
}
