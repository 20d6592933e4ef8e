//! What the DNS and the policy server said: context, never proof of a path.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;
use hoofbeat_session::{Elapsed, bytes};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// The DNSSEC status of an answer (RFC 4035 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsStatus {
    /// Signed from the root on, and right.
    Secure,
    /// Provably unsigned.
    Insecure,
    /// Signed and wrong.
    Bogus,
    /// Could not be found out: neither secure nor insecure may be concluded.
    Indeterminate,
}

/// Which record was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Question {
    /// Mail exchangers.
    Mx,
    /// Service locations (RFC 6186, RFC 8314).
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Text (`_mta-sts`, RFC 8461 §3.1).
    Txt,
    /// Certificate associations (RFC 6698).
    Tlsa,
    /// The name of an address (RFC 1035 §3.5, RFC 3596 §2.5).
    Ptr,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// Preference and host; the host `.` is the null MX (RFC 7505).
    Mx(u16, String),
    /// Priority, weight, port and target; the target `.` says "not offered".
    Srv(u16, u16, u16, String),
    /// An address.
    Address(IpAddr),
    /// The joined strings of one TXT record.
    Txt(#[serde(with = "bytes")] Vec<u8>),
    /// The raw TLSA record data: usage, selector, matching type, association.
    Tlsa(#[serde(with = "bytes")] Vec<u8>),
    /// A name.
    Ptr(String),
}

/// One answer of the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The name that was asked for, without the final dot.
    pub name: String,
    /// Which record.
    pub question: Question,
    /// The answer, empty where there is none.
    pub records: Vec<Record>,
    /// Its DNSSEC status.
    pub status: DnsStatus,
    /// Why there is no answer.
    pub failure: Option<Failure>,
    /// Which resolver answered.
    pub resolver: String,
    /// When it was asked.
    pub started: Elapsed,
    /// When the answer was there.
    pub ended: Elapsed,
}

/// An address with the status of the answer that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// The address.
    pub address: IpAddr,
    /// The status.
    pub status: DnsStatus,
}

/// The fetch of `https://mta-sts.<domain>/.well-known/mta-sts.txt` (RFC 8461 §3.2, §3.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MtaStsFetch {
    /// The domain whose policy it is.
    pub domain: String,
    /// The HTTP status, where an answer came.
    pub http_status: Option<u16>,
    /// The Content-Type header.
    pub content_type: Option<String>,
    /// The body, at most 64 KiB (RFC 8461 §3.2).
    #[serde(with = "bytes")]
    pub body: Vec<u8>,
    /// Why there is no answer, the certificate's failure included.
    pub failure: Option<Failure>,
}
