//! Two directions of recorded bytes, as a capture holds them, turned into a dialogue.
//!
//! Exact bytes with their segments and times; TLS is watched, not opened. It must not know how the
//! bytes were reassembled.

use alloc::{borrow::ToOwned, vec::Vec};
use hoofbeat_session::{Direction, Elapsed, Protocol};

use super::cutter::{Cutter, Trust};
use crate::{Connect, Dialogue, Ending, Role, Service, Source, Variation};

/// Something that happened on a recorded connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Payload, in the order of the stream.
    Bytes {
        /// Which way it went.
        direction: Direction,
        /// When it was captured, since the connection's first packet.
        at: Elapsed,
        /// What.
        bytes: Vec<u8>,
    },
    /// Payload that was sent and not captured.
    Gap {
        /// Whose.
        direction: Direction,
        /// How many bytes.
        missing: u64,
    },
    /// One side closed (FIN); the first close counts.
    Closed {
        /// Who sent it: `ToServer` for the client.
        direction: Direction,
        /// When.
        at: Elapsed,
    },
    /// One side's address sent a reset.
    Reset {
        /// From whose address: `ToServer` for the client's.
        direction: Direction,
        /// When.
        at: Elapsed,
    },
    /// The capture goes on to this moment.
    Until {
        /// That moment.
        at: Elapsed,
    },
}

/// What is known of a recorded connection besides its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The service.
    pub service: Service,
    /// The language that the port suggests; the dialogue's own words decide where they are clear.
    pub protocol: Option<Protocol>,
    /// The beginning was captured (a SYN was seen).
    pub from_start: bool,
    /// The connection.
    pub connect: Connect,
}

/// Reads one connection. Never fails: what is no mail dialogue has no exchanges and no handshake.
#[must_use]
pub fn read(surroundings: Surroundings, heard: impl IntoIterator<Item = Heard>) -> Dialogue {
    let trust = if surroundings.from_start {
        Trust::Whole
    } else {
        Trust::MidStream
    };
    let mut cutter = Cutter::new(surroundings.protocol, trust);
    let mut gaps = !surroundings.from_start && surroundings.connect.failure.is_none();
    for event in heard {
        match event {
            Heard::Bytes {
                direction,
                at,
                bytes,
            } => cutter.hear(direction, at, &bytes),
            Heard::Gap { direction, missing } => {
                gaps = true;
                cutter.miss(direction, missing);
            }
            Heard::Closed {
                direction: Direction::ToServer,
                at,
            } => cutter.end(Ending::Ours, at),
            Heard::Closed {
                direction: Direction::ToClient,
                at,
            } => cutter.end(Ending::Peer, at),
            Heard::Reset {
                direction: Direction::ToServer,
                at,
            } => cutter.end(Ending::Ours, at),
            Heard::Reset {
                direction: Direction::ToClient,
                at,
            } => cutter.end(Ending::Reset, at),
            Heard::Until { at } => cutter.until(at),
        }
    }
    let cut = cutter.finish();
    Dialogue {
        protocol: cut
            .protocol
            .unwrap_or_else(|| surroundings.service.scheme.protocol()),
        service: surroundings.service,
        role: Role::Target,
        variation: Variation::Recorded,
        source: Source::Capture { gaps },
        route: "direct".to_owned(),
        connect: surroundings.connect,
        transcript: cut.transcript,
        exchanges: cut.exchanges,
        handshake: cut.handshake,
        legacy: None,
        swallowed: None,
        ending: cut.ending,
    }
}
