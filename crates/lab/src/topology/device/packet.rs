//! IP packets that carry TCP: where their parts lie, how one is edited, and how one is made. IPv4 and IPv6.
//!
//! Pure functions of bytes. Whatever is not a whole, unfragmented TCP segment is left alone. It must not know flows,
//! boxes or sockets. RFC 791, 8200, 9293, 1071, 2018.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

/// TCP's flags, RFC 9293 §3.1.
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Ends it at once.
    pub const RST: u8 = 0x04;
    /// Data for the reader now.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement counts.
    pub const ACK: u8 = 0x10;
}

/// The TCP header without options.
const TCP_HEADER: usize = 20;
/// The offset of the checksum in it.
const TCP_CHECKSUM: usize = 16;
/// The window that made packets offer: what Linux opens with.
const WINDOW: u16 = 64_240;
/// The option that carries selective acknowledgements, RFC 2018.
const SACK: u8 = 5;

/// One TCP segment, as read from its packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The sender.
    pub source: SocketAddr,
    /// The receiver.
    pub destination: SocketAddr,
    /// The sequence number of its first octet, or of SYN.
    pub sequence: u32,
    /// What it acknowledges, if it does.
    pub acknowledged: Option<u32>,
    /// The flags' octet.
    pub flags: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// The packet is longer than the bytes at hand: it can be looked at, not edited.
    pub cut: bool,
    /// Where the TCP header begins.
    transport: usize,
    payload: Range<usize>,
}

impl Segment {
    /// Reads a packet. `None` for what is not TCP, for fragments and for broken headers.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let sliced = LaxSlicedPacket::from_ip(packet).ok()?;
        let (source, destination, ttl, inside): (IpAddr, IpAddr, _, _) = match &sliced.net {
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
            _ => return None,
        };
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
            return None;
        };
        if inside.fragmented {
            return None;
        }
        let transport = offset(packet, inside.payload)?;
        let payload = transport + tcp.header_slice().len()..transport + inside.payload.len();
        let flags = *packet.get(transport + 13)?;
        Some(Self {
            source: SocketAddr::new(source, tcp.source_port()),
            destination: SocketAddr::new(destination, tcp.destination_port()),
            sequence: tcp.sequence_number(),
            acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
            flags,
            ttl,
            // Without a length of its own the header says nothing about the end (jumbograms, offloaded giants).
            cut: inside.incomplete || declared_length(packet) != Some(payload.end),
            transport,
            payload,
        })
    }

    /// Whether it has one of these flags.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Whether it opens a connection: SYN without ACK.
    pub fn opens(&self) -> bool {
        self.has(flag::SYN) && self.acknowledged.is_none()
    }

    /// The sequence number of the first octet of payload.
    pub fn data_at(&self) -> u32 {
        self.sequence.wrapping_add(u32::from(self.has(flag::SYN)))
    }

    /// The payload's length in octets.
    pub fn length(&self) -> usize {
        self.payload.len()
    }

    /// The payload, within the packet that this was read from.
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.payload.clone()).unwrap_or_default()
    }

    /// The packet with another payload, of any length that IP can tell; lengths and checksums fit it.
    ///
    /// `None` when the segment is cut or the payload too long.
    pub fn with_payload(&self, packet: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
        let head = packet.get(..self.payload.start).filter(|_| !self.cut)?;
        let mut edited = head.to_vec();
        edited.extend_from_slice(payload);
        set_length(&mut edited)?;
        self.seal(&mut edited);
        Some(edited)
    }

    /// Renumbers in place: `sequence` is the new one; what is acknowledged, selectively too, is told through `acknowledge`.
    /// The checksum is left to [`Segment::seal`].
    pub fn renumber(&self, packet: &mut [u8], sequence: u32, acknowledge: impl Fn(u32) -> u32) {
        let Some(tcp) = packet.get_mut(self.transport..self.payload.start) else {
            return;
        };
        put(tcp, 4, &sequence.to_be_bytes());
        if let Some(acknowledged) = self.acknowledged {
            put(tcp, 8, &acknowledge(acknowledged).to_be_bytes());
            let options = tcp.get_mut(TCP_HEADER..).unwrap_or_default();
            for edge in selective_edges(options) {
                if let Some(&[a, b, c, d]) = options.get(edge..edge + 4) {
                    let told = acknowledge(u32::from_be_bytes([a, b, c, d]));
                    put(options, edge, &told.to_be_bytes());
                }
            }
        }
    }

    /// Makes `packet`'s checksums right: TCP's, and IPv4's header's. `packet` has this segment's headers.
    pub fn seal(&self, packet: &mut [u8]) {
        seal_network(packet);
        let (head, tcp) = match packet.split_at_mut_checked(self.transport) {
            Some(parts) if parts.1.len() >= TCP_HEADER => parts,
            _ => return,
        };
        put(tcp, TCP_CHECKSUM, &[0, 0]);
        let sum = transport_checksum(head, 6, tcp);
        put(tcp, TCP_CHECKSUM, &sum.to_be_bytes());
    }
}

/// A packet to be made.
#[derive(Clone, Debug)]
pub struct Made<'a> {
    /// In whose name.
    pub source: SocketAddr,
    /// For whom; of the same family.
    pub destination: SocketAddr,
    /// The sequence number.
    pub sequence: u32,
    /// What it acknowledges.
    pub acknowledged: Option<u32>,
    /// The flags, besides ACK.
    pub flags: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// The data.
    pub payload: &'a [u8],
}

impl Made<'_> {
    /// The packet's bytes. `None` when the families differ or the payload is too long.
    pub fn packet(&self) -> Option<Vec<u8>> {
        let mut packet = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                // Version and header length, DSCP, total length, identification, don't fragment.
                let mut head = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, self.ttl, 6, 0, 0];
                head.extend_from_slice(&source.octets());
                head.extend_from_slice(&destination.octets());
                head
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut head = vec![0x60, 0, 0, 0, 0, 0, 6, self.ttl];
                head.extend_from_slice(&source.octets());
                head.extend_from_slice(&destination.octets());
                head
            }
            _ => return None,
        };
        let ack = if self.acknowledged.is_some() {
            flag::ACK
        } else {
            0
        };
        packet.extend_from_slice(&self.source.port().to_be_bytes());
        packet.extend_from_slice(&self.destination.port().to_be_bytes());
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.acknowledged.unwrap_or(0).to_be_bytes());
        packet.extend_from_slice(&[0x50, self.flags | ack]);
        packet.extend_from_slice(&WINDOW.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(self.payload);
        set_length(&mut packet)?;
        Segment::read(&packet)?.seal(&mut packet);
        Some(packet)
    }
}

/// The Internet checksum of `parts`, each but the last of even length. RFC 1071.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            let high = pair.first().copied().unwrap_or(0);
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_be_bytes([high, low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Writes the packet's own length into its IP header. `None` when it is no IP packet, or too long to be told.
pub(super) fn set_length(packet: &mut [u8]) -> Option<()> {
    let (at, length) = match packet.first()? >> 4 {
        4 => (2, packet.len()),
        6 => (4, packet.len().checked_sub(40)?),
        _ => return None,
    };
    let length = u16::try_from(length).ok()?;
    packet
        .get_mut(at..at + 2)?
        .copy_from_slice(&length.to_be_bytes());
    Some(())
}

/// Makes an IPv4 header's checksum right; IPv6 has none.
pub(super) fn seal_network(packet: &mut [u8]) {
    let length = match packet.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 0x0f) * 4,
        _ => return,
    };
    if let Some(header) = packet.get_mut(..length).filter(|header| header.len() >= 20) {
        put(header, 10, &[0, 0]);
        let sum = checksum(&[header]);
        put(header, 10, &sum.to_be_bytes());
    }
}

/// A transport's checksum, pseudo-header included. Its own field must be zero.
fn transport_checksum(network: &[u8], protocol: u8, transport: &[u8]) -> u16 {
    let addresses = match network.first().map(|first| first >> 4) {
        Some(4) => network.get(12..20),
        _ => network.get(8..40),
    };
    let length = u32::try_from(transport.len()).unwrap_or(0).to_be_bytes();
    checksum(&[
        addresses.unwrap_or_default(),
        &length,
        &[0, protocol],
        transport,
    ])
}

/// The packet's length as its header tells it.
fn declared_length(packet: &[u8]) -> Option<usize> {
    let word = |at: usize| {
        let pair = packet.get(at..at + 2)?;
        Some(usize::from(u16::from_be_bytes([
            *pair.first()?,
            *pair.last()?,
        ])))
    };
    match packet.first()? >> 4 {
        4 => word(2),
        _ => word(4).map(|length| length + 40),
    }
}

/// The offsets of the sequence numbers in a SACK option, within a TCP header's options.
fn selective_edges(options: &[u8]) -> Vec<usize> {
    let mut edges = Vec::new();
    let mut at = 0;
    loop {
        match (options.get(at), options.get(at + 1)) {
            (Some(1), _) => at += 1,
            (Some(&kind), Some(&length)) if kind != 0 && length >= 2 => {
                let end = at + usize::from(length);
                if kind == SACK && end <= options.len() {
                    edges.extend((at + 2..end).step_by(4).filter(|edge| edge + 4 <= end));
                }
                at = end;
            }
            _ => return edges,
        }
    }
}

/// Where `part`, a sub-slice, begins in `whole`.
fn offset(whole: &[u8], part: &[u8]) -> Option<usize> {
    let at = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (at + part.len() <= whole.len()).then_some(at)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in super::super) fn v4() -> (SocketAddr, SocketAddr) {
        (
            "198.18.1.2:40001".parse().expect("an address"),
            "198.18.9.2:25".parse().expect("an address"),
        )
    }

    pub(in super::super) fn v6() -> (SocketAddr, SocketAddr) {
        (
            "[2001:db8:1::2]:40001".parse().expect("an address"),
            "[2001:db8:9::2]:25".parse().expect("an address"),
        )
    }

    /// A packet from the first of `ends` to the second.
    pub(in super::super) fn packet(
        ends: (SocketAddr, SocketAddr),
        flags: u8,
        sequence: u32,
        acknowledged: Option<u32>,
        payload: &[u8],
    ) -> Vec<u8> {
        let made = Made {
            source: ends.0,
            destination: ends.1,
            sequence,
            acknowledged,
            flags,
            ttl: 61,
            payload,
        };
        made.packet().expect("a packet")
    }

    /// Whether the checksums are right, as another implementation reckons.
    pub(in super::super) fn sealed(packet: &[u8]) -> bool {
        let sliced = etherparse::SlicedPacket::from_ip(packet).expect("a strict reading");
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
            return false;
        };
        match &sliced.net {
            Some(etherparse::NetSlice::Ipv4(ip)) => {
                let header = ip.header();
                header.header_checksum() == header.to_header().calc_header_checksum()
                    && tcp.calc_checksum_ipv4(header.source(), header.destination())
                        == Ok(tcp.checksum())
            }
            Some(etherparse::NetSlice::Ipv6(ip)) => {
                let header = ip.header();
                tcp.calc_checksum_ipv6(header.source(), header.destination()) == Ok(tcp.checksum())
            }
            _ => false,
        }
    }

    #[test]
    fn what_is_made_reads_back_and_has_right_checksums() {
        for ends in [v4(), v6()] {
            let bytes = packet(ends, flag::PSH, 1000, Some(77), b"STARTTLS\r\n");
            assert!(sealed(&bytes));
            let segment = Segment::read(&bytes).expect("a segment");
            assert_eq!((segment.source, segment.destination), ends);
            assert_eq!((segment.sequence, segment.acknowledged), (1000, Some(77)));
            assert_eq!(
                (segment.ttl, segment.cut, segment.opens()),
                (61, false, false)
            );
            assert_eq!(segment.payload(&bytes), b"STARTTLS\r\n");
        }
        assert!(
            Made {
                source: v4().0,
                destination: v6().1,
                sequence: 0,
                acknowledged: None,
                flags: 0,
                ttl: 1,
                payload: b""
            }
            .packet()
            .is_none()
        );
    }

    #[test]
    fn a_payload_of_another_length_fits() {
        for ends in [v4(), v6()] {
            let bytes = packet(ends, 0, 5, Some(6), b"QUIT\r\n");
            let segment = Segment::read(&bytes).expect("a segment");
            for payload in [&b""[..], b"x", b"something longer\r\n"] {
                let edited = segment.with_payload(&bytes, payload).expect("edited");
                assert!(sealed(&edited));
                let read = Segment::read(&edited).expect("a segment");
                assert_eq!(read.payload(&edited), payload);
                assert_eq!((read.sequence, read.cut), (5, false));
            }
            assert!(segment.with_payload(&bytes, &[0; 70_000]).is_none());
        }
    }

    #[test]
    fn a_cut_packet_is_looked_at_and_not_edited() {
        let bytes = packet(v4(), 0, 5, Some(6), b"STARTTLS\r\n");
        let short = &bytes[..bytes.len() - 4];
        let segment = Segment::read(short).expect("a segment");
        assert!(segment.cut);
        assert_eq!(segment.payload(short), b"STARTT");
        assert!(segment.with_payload(short, b"x").is_none());
    }

    #[test]
    fn fragments_and_other_protocols_are_left_alone() {
        let mut fragment = packet(v4(), 0, 5, None, b"STARTTLS\r\n");
        fragment[6] = 0x20;
        assert!(Segment::read(&fragment).is_none());
        let mut udp = packet(v4(), 0, 5, None, b"STARTTLS\r\n");
        udp[9] = 17;
        assert!(Segment::read(&udp).is_none());
    }

    #[test]
    fn selective_acknowledgements_are_renumbered_too() {
        let bytes = packet(v4(), 0, 100, Some(200), b"");
        // NOP NOP SACK with two blocks.
        let mut with_options = bytes[..40].to_vec();
        with_options.extend_from_slice(&[1, 1, 5, 18]);
        for edge in [300u32, 310, 400, 410] {
            with_options.extend_from_slice(&edge.to_be_bytes());
        }
        with_options[32] = 0xa0;
        set_length(&mut with_options).expect("a length");
        let segment = Segment::read(&with_options).expect("a segment");
        segment.renumber(&mut with_options, 150, |number| number + 7);
        segment.seal(&mut with_options);
        assert!(sealed(&with_options));
        let read = Segment::read(&with_options).expect("a segment");
        assert_eq!((read.sequence, read.acknowledged), (150, Some(207)));
        let edges: Vec<u32> = with_options[44..]
            .chunks(4)
            .map(|edge| u32::from_be_bytes(edge.try_into().expect("four")))
            .collect();
        assert_eq!(edges, [307, 317, 407, 417]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), first in prop::sample::select(vec![0x45u8, 0x46, 0x4f, 0x60, 0x00])) {
            let mut bytes = bytes;
            if let Some(place) = bytes.first_mut() { *place = first; }
            if bytes.len() > 9 && first >> 4 == 4 { bytes[9] = 6; bytes[6] = 0; bytes[7] = 0; }
            if bytes.len() > 9 && first >> 4 == 6 { bytes[6] = 6; }
            if let Some(segment) = Segment::read(&bytes) {
                let _ = segment.with_payload(&bytes, b"other");
                let mut copy = bytes.clone();
                segment.renumber(&mut copy, 1, |number| number.wrapping_add(1));
                segment.seal(&mut copy);
                prop_assert_eq!(copy.len(), bytes.len());
                prop_assert_eq!(segment.payload(&copy), segment.payload(&bytes));
            }
        }

        #[test]
        fn an_edit_changes_the_payload_and_nothing_else(payload in prop::collection::vec(any::<u8>(), 0..300), six in any::<bool>(), sequence in any::<u32>()) {
            let bytes = packet(if six { v6() } else { v4() }, flag::PSH, sequence, Some(9), &payload);
            prop_assert!(sealed(&bytes));
            let segment = Segment::read(&bytes).expect("a segment");
            let other: Vec<u8> = payload.iter().map(|byte| byte.wrapping_add(1)).collect();
            let edited = segment.with_payload(&bytes, &other).expect("edited");
            prop_assert!(sealed(&edited));
            let read = Segment::read(&edited).expect("a segment");
            prop_assert_eq!(&read, &segment);
            prop_assert_eq!(read.payload(&edited), other.as_slice());
            let back = read.with_payload(&edited, &payload).expect("edited");
            prop_assert_eq!(back, bytes);
        }
    }
}
