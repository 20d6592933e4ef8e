//! The packets' headers of a witness's report as a file for other tools.
//!
//! It must not know whether the report is to be believed.

use std::time::Duration;

use hoofbeat_observation::Report;

use crate::path::pcapng::{self, Captured};

/// Most bytes of a packet that a witness keeps: the longest IPv4 and TCP headers (RFC 791, RFC 9293 §3.1).
pub(super) const LONGEST_HEADERS: u32 = 120;

/// What passed the witness's interface, as a pcapng file with cut packets; none where it kept no packets. Times are the
/// witness's.
#[must_use]
pub fn packets(report: &Report) -> Option<Vec<u8>> {
    let start = Duration::from_secs(report.started.try_into().unwrap_or(0));
    let connections = report.connections.iter();
    let mut all: Vec<Captured> = connections
        .flat_map(|connection| &connection.packets)
        .map(|packet| Captured {
            at: start.saturating_add(packet.at.0),
            bytes: packet.bytes.clone(),
            length: usize::try_from(packet.length).unwrap_or(usize::MAX),
        })
        .collect();
    all.sort_by_key(|packet| packet.at);
    (!all.is_empty()).then(|| pcapng::file(&all, 0, LONGEST_HEADERS, &report.tool))
}
