//! Probes with a limited TTL: what came back from which hop, and what it quoted.
//!
//! The record keeps packets and quotes as bytes; whether a quote differs from what was sent, and what that
//! proves, is the judge's. Methods: tracebox (Detal et al., IMC 2013), CenTrace (CoNEXT 2022), RFC 792,
//! RFC 1812 §4.3.2.3, RFC 4443 §3.3.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;
use hoofbeat_session::{Direction, Elapsed, bytes};
use serde::{Deserialize, Serialize};

use crate::{Failure, Role, Service};

/// With which right packets were sent and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Ordinary sockets: the error queue, socket errors, a lower bound on the received TTL.
    Unprivileged,
    /// A raw ICMP socket and a packet capture beside ordinary sockets (`CAP_NET_RAW`).
    Raw,
}

/// Which packets were limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A SYN for each TTL, each from a new source port.
    Syn,
    /// A SYN that carries data (TCP Fast Open without a cookie, RFC 7413 §4.2.2 leaves it to the server).
    FastOpen,
    /// Data segments of one standing connection: one 5-tuple, hence one path, for all hops and both payloads.
    Sweep,
}

/// What a probe's payload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// None: a bare SYN.
    None,
    /// A command that no box looks for, of the same length as the test command where the protocol has one.
    Control,
    /// STARTTLS or STLS.
    StartTls,
    /// The first message of a TLS handshake, after STARTTLS was accepted.
    ClientHello,
    /// A verb that nobody knows.
    UnknownVerb,
    /// A capability list, sent by a cooperating server.
    Capabilities,
}

/// One trace: limited packets to one service, or from a cooperating server to its client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Whose path.
    pub service: Service,
    /// What it is held against: the target itself, another port of it, a control server, the witness.
    pub role: Role,
    /// With which right.
    pub engine: Engine,
    /// Which packets.
    pub method: Method,
    /// Which direction the limited packets went. Hops count from their sender.
    pub direction: Direction,
    /// Our end, where one flow carried the whole trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// The probes, in the order in which they were sent.
    pub probes: Vec<Probe>,
    /// TTLs of packets that came from the other end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<ReceivedTtl>,
    /// When it began.
    pub started: Elapsed,
    /// When it was over.
    pub ended: Elapsed,
    /// Why it could not be carried out, or not to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// One packet with a limited TTL, and everything that it caused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The TTL (hop limit) that it left with, 1–255.
    pub ttl: u8,
    /// Our port.
    pub source_port: u16,
    /// What its payload is for.
    pub payload: Payload,
    /// The TCP payload; credentials never get here, for only the commands of [`Payload`] are sent.
    #[serde(default, with = "bytes", skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<u8>,
    /// The packet from the IP header on as our interface sent it, where it was captured.
    #[serde(default, with = "bytes", skip_serializing_if = "Vec::is_empty")]
    pub packet: Vec<u8>,
    /// When it left, or was written where an answer came before it left.
    pub at: Elapsed,
    /// When it passed our interface, where it was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Elapsed>,
    /// When the first packet came in that acknowledges the whole payload, where that was captured. Nobody behind the
    /// interface can acknowledge what has not passed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Elapsed>,
    /// When the connection's TTL was raised again: what came from then on may be the answer to the retransmission,
    /// which arrives whole, and says nothing of who answers at this TTL. None: it was not raised while this probe
    /// was waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Elapsed>,
    /// What came back, in order; empty: silence until the limit. An injector on the path causes several.
    pub answers: Vec<Answer>,
}

/// One thing that came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// When.
    pub at: Elapsed,
    /// The TTL that the answering packet arrived with, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// What.
    #[serde(flatten)]
    pub what: Answered,
}

/// The kinds of answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answered {
    /// ICMP time exceeded.
    TimeExceeded {
        /// The router's address.
        from: IpAddr,
        /// What it quoted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quote: Option<Quote>,
    },
    /// ICMP destination unreachable.
    Unreachable {
        /// Who said so.
        from: IpAddr,
        /// The ICMP (or ICMPv6) code.
        code: u8,
        /// What it quoted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quote: Option<Quote>,
    },
    /// The socket only told that some hop dropped the segment, not which (no privilege, standing connection).
    Expired,
    /// The TCP handshake was completed: somebody at or before this TTL answers connections.
    Connected,
    /// The segment was acknowledged, and nothing was said.
    Acknowledged,
    /// An answer of the mail protocol.
    Reply {
        /// Its bytes, at most 4 KiB.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// RST.
    Reset,
    /// FIN.
    Closed,
}

/// What a router quoted of the packet that it dropped: it shows the packet as it arrived there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// With which header the bytes begin.
    pub begins: QuoteBegins,
    /// The bytes; RFC 792 asks for the IP header and 8 bytes behind it, many routers give all.
    #[serde(with = "bytes")]
    pub bytes: Vec<u8>,
}

/// Where a quote begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuoteBegins {
    /// The IP header.
    Ip,
    /// The TCP header: the kernel's error queue keeps the IP header to itself.
    Tcp,
}

/// The TTL that a packet of the other end arrived with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedTtl {
    /// Which packet.
    pub of: PacketKind,
    /// Its TTL (hop limit).
    pub ttl: u8,
    /// How it was found out.
    pub by: TtlMethod,
}

/// Packets whose TTL is compared: those of one host must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PacketKind {
    /// SYN (seen by a witness).
    Syn,
    /// SYN-ACK.
    SynAck,
    /// The greeting.
    Greeting,
    /// The reply to a control command.
    ControlReply,
    /// The reply to STARTTLS.
    StartTlsReply,
    /// A RST or FIN after STARTTLS.
    End,
    /// Other data.
    Data,
}

/// How a received TTL was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TtlMethod {
    /// By raising `IP_MINTTL` until the kernel dropped the packet.
    MinTtl,
    /// Read from the captured packet.
    Capture,
    /// Read from a saved SYN (`TCP_SAVED_SYN`).
    SavedSyn,
}
