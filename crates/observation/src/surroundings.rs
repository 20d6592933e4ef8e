//! What is known of addresses on the path: facts that a place can be read from, kept so that an archive is judged
//! again to the same place. It must not conclude a place.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// The addresses around one vantage and on its paths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Surroundings {
    /// Our own addresses, with the lengths of their prefixes (0–128).
    #[serde(default)]
    pub own: Vec<(IpAddr, u8)>,
    /// The address that the world sees, as a witness told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<IpAddr>,
    /// What is known of each address that a trace met, and of the targets.
    #[serde(default)]
    pub addresses: Vec<AddressFact>,
    /// Name, lines and age of the prefix table that was used, as its user gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressFact {
    /// It.
    pub address: IpAddr,
    /// The autonomous system that announces it, by the local prefix table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// That system's name, where the table has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Its reverse name; a hint, never proof of who owns a router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse: Option<String>,
}

/// Packets of a measurement, as a complete pcapng file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Who captured: `client` or `witness`.
    pub by: Side,
    /// Packets in it.
    pub packets: u64,
    /// Packets that the kernel dropped before we could read them.
    pub dropped: u64,
    /// Whether the bound on the capture's size ended it early.
    #[serde(default)]
    pub cut: bool,
    /// The file.
    #[serde(with = "hoofbeat_session::bytes")]
    pub pcapng: Vec<u8>,
}

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Ours.
    Client,
    /// The cooperating server's.
    Witness,
}
