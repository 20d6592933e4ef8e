//! From a captured frame to a TCP segment: link headers, VLANs, IPv4 and IPv6.
//!
//! Parsing is lax: a frame that was cut at the snapshot length still gives what is there. It must not know
//! flows.

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use std::net::{IpAddr, SocketAddr};

/// A segment as captured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
    pub(super) acknowledged: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    /// Time to live, or hop limit.
    pub(super) ttl: u8,
    pub(super) payload: &'a [u8],
    /// The frame was cut: the payload was longer.
    pub(super) cut: bool,
}

/// What a frame is.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    Tcp(Segment<'a>),
    /// A fragment of an IP packet: not put together.
    Fragment,
    /// A link layer that is not understood.
    ForeignLink,
    /// Anything else: ARP, UDP, damaged headers.
    Other,
}

// https://www.tcpdump.org/linktypes.html
const NULL: i32 = 0;
const ETHERNET: i32 = 1;
const RAW_BSD: i32 = 12;
const RAW_OPENBSD: i32 = 14;
const RAW: i32 = 101;
const LOOP: i32 = 108;
const LINUX_SLL: i32 = 113;
const IPV4: i32 = 228;
const IPV6: i32 = 229;
const LINUX_SLL2: i32 = 276;

/// Reads one frame.
pub(super) fn read(link: i32, frame: &[u8]) -> Frame<'_> {
    let behind = |length: usize| frame.get(length..).unwrap_or_default();
    let ether_type = |at: usize| match frame.get(at..at + 2) {
        Some(&[high, low]) => EtherType(u16::from_be_bytes([high, low])),
        _ => EtherType(0),
    };
    let packet = match link {
        ETHERNET => LaxSlicedPacket::from_ethernet(frame).ok(),
        NULL | LOOP => LaxSlicedPacket::from_ip(behind(4)).ok(),
        RAW | RAW_BSD | RAW_OPENBSD | IPV4 | IPV6 => LaxSlicedPacket::from_ip(frame).ok(),
        LINUX_SLL => Some(LaxSlicedPacket::from_ether_type(ether_type(14), behind(16))),
        LINUX_SLL2 => Some(LaxSlicedPacket::from_ether_type(ether_type(0), behind(20))),
        _ => return Frame::ForeignLink,
    };
    packet.as_ref().map_or(Frame::Other, segment)
}

fn segment<'a>(packet: &LaxSlicedPacket<'a>) -> Frame<'a> {
    let (from, to, ttl, payload): (IpAddr, IpAddr, _, _) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                header.ttl(),
                ip.payload(),
            )
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                header.hop_limit(),
                ip.payload(),
            )
        }
        _ => return Frame::Other,
    };
    if payload.fragmented {
        return Frame::Fragment;
    }
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
        return Frame::Other;
    };
    Frame::Tcp(Segment {
        from: SocketAddr::new(from, tcp.source_port()),
        to: SocketAddr::new(to, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        ttl,
        payload: tcp.payload(),
        cut: payload.incomplete,
    })
}
