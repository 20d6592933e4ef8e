//! Reading packets: our own as they were captured, and the beginnings of them that routers quote.
//!
//! Everything is a slice of foreign bytes that may end anywhere; what is not there is `None`. It must not know what a
//! difference proves. RFC 791, RFC 8200, RFC 9293 §3.1, RFC 792, RFC 4443 §3, RFC 4884.

use std::net::IpAddr;

/// IP protocol numbers (IANA).
const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMP_V6: u8 = 58;

/// Most IPv6 extension headers that are passed over.
const MOST_EXTENSIONS: usize = 8;

/// A TCP segment, or as much of its beginning as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) from_port: u16,
    pub(crate) to_port: u16,
    /// The sequence number of its first byte.
    pub(crate) sequence: Option<u32>,
    /// The number of the next byte that its sender expects; meaningless without [`ACK`].
    pub(crate) acknowledgement: Option<u32>,
    /// The flags byte: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
    pub(crate) flags: Option<u8>,
    /// The payload, as far as it is there; `None` where the header itself is cut.
    pub(crate) payload: Option<&'a [u8]>,
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

impl Segment<'_> {
    /// Whether it acknowledges everything up to this number (RFC 9293 §3.4: numbers wrap).
    pub(crate) fn acknowledges(&self, up_to: u32) -> bool {
        let ahead = |number: u32| number.wrapping_sub(up_to) < 1 << 31;
        self.has(ACK) && self.acknowledgement.is_some_and(ahead)
    }

    pub(crate) fn has(&self, flags: u8) -> bool {
        self.flags.is_some_and(|all| all & flags == flags)
    }
}

/// What an ICMP error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complaint {
    TimeExceeded,
    /// With its code.
    Unreachable(u8),
}

/// An IP packet of one of the two kinds that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    Tcp(Segment<'a>),
    /// An ICMP message: who sent it, its TTL, its bytes.
    Icmp {
        from: IpAddr,
        ttl: u8,
        message: &'a [u8],
        family: hoofbeat_net::sys::Family,
    },
}

struct IpHeader {
    ttl: u8,
    protocol: u8,
    from: IpAddr,
    to: IpAddr,
    /// Where the payload begins.
    length: usize,
    /// How long the whole packet says it is.
    total: usize,
    /// Whether it begins with the payload's beginning (no later fragment).
    is_first: bool,
}

/// Reads a packet from its IP header on.
pub(crate) fn read(bytes: &[u8]) -> Option<Packet<'_>> {
    let header = ip(bytes)?;
    // What lies behind the packet's own end is the link's padding.
    let end = header.total.max(header.length).min(bytes.len());
    let payload = bytes.get(header.length..end)?;
    match header.protocol {
        TCP if header.is_first => Some(Packet::Tcp(tcp(&header, payload)?)),
        ICMP | ICMP_V6 if header.is_first => Some(Packet::Icmp {
            from: header.from,
            ttl: header.ttl,
            message: payload,
            family: header.from.into(),
        }),
        _ => None,
    }
}

/// Reads a quoted segment, from its IP header on. Cut anywhere behind the ports it is still one.
pub(crate) fn quoted(bytes: &[u8]) -> Option<Segment<'_>> {
    let header = ip(bytes)?;
    (header.protocol == TCP && header.is_first)
        .then(|| tcp(&header, bytes.get(header.length..)?))?
}

/// How long a packet says it is, whatever is left of it.
pub(crate) fn told_length(bytes: &[u8]) -> usize {
    ip(bytes).map_or(0, |header| header.total)
}

/// The payload of a quote that begins with the TCP header, as far as it is there.
pub(crate) fn payload_behind_tcp(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(bytes.get(12)? >> 4) * 4;
    bytes.get(length.max(20)..)
}

/// What an ICMP error says and what it quotes, without the extensions behind the quote (RFC 4884 §3).
pub(crate) fn complaint(
    family: hoofbeat_net::sys::Family,
    message: &[u8],
) -> Option<(Complaint, &[u8])> {
    use hoofbeat_net::sys::Family::{V4, V6};
    let (&kind, &code) = (message.first()?, message.get(1)?);
    let complaint = match (family, kind) {
        (V4, 11) | (V6, 3) => Complaint::TimeExceeded,
        (V4, 3) | (V6, 1) => Complaint::Unreachable(code),
        _ => return None,
    };
    let quote = message.get(8..)?;
    // The length of the quote where extensions follow: in words of 4 bytes at offset 5, or of 8 bytes at offset 4.
    let told = match family {
        V4 => usize::from(*message.get(5)?) * 4,
        V6 => usize::from(*message.get(4)?) * 8,
    };
    let length = if told == 0 {
        quote.len()
    } else {
        told.min(quote.len())
    };
    let quote = quote.get(..length)?;
    // Zeros that pad the quote to the 128 bytes that extensions ask for are none of the packet's.
    let own = ip(quote).map_or(quote.len(), |header| header.total);
    let length = if (28..quote.len()).contains(&own) && told != 0 {
        own
    } else {
        quote.len()
    };
    Some((complaint, quote.get(..length)?))
}

fn ip(bytes: &[u8]) -> Option<IpHeader> {
    match bytes.first()? >> 4 {
        4 => {
            let fixed: &[u8; 20] = bytes.first_chunk()?;
            let (from, to) = (
                fixed[12..16].first_chunk::<4>()?,
                fixed[16..20].first_chunk::<4>()?,
            );
            Some(IpHeader {
                ttl: fixed[8],
                protocol: fixed[9],
                from: IpAddr::from(*from),
                to: IpAddr::from(*to),
                length: (usize::from(fixed[0] & 15) * 4).max(20),
                total: usize::from(u16::from_be_bytes([fixed[2], fixed[3]])),
                is_first: u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff == 0,
            })
        }
        6 => {
            let fixed: &[u8; 40] = bytes.first_chunk()?;
            let (from, to) = (
                fixed[8..24].first_chunk::<16>()?,
                fixed[24..40].first_chunk::<16>()?,
            );
            let mut header = IpHeader {
                ttl: fixed[7],
                protocol: fixed[6],
                from: IpAddr::from(*from),
                to: IpAddr::from(*to),
                length: 40,
                total: 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]])),
                is_first: true,
            };
            for _ in 0..MOST_EXTENSIONS {
                // Hop-by-hop, routing, destination options; the fragment header has a length of its own.
                let here = bytes.get(header.length..);
                let extension = || here?.first_chunk::<8>();
                match header.protocol {
                    0 | 43 | 60 => {
                        let extension = extension()?;
                        header.protocol = extension[0];
                        header.length += 8 + usize::from(extension[1]) * 8;
                    }
                    44 => {
                        let extension = extension()?;
                        header.protocol = extension[0];
                        header.length += 8;
                        header.is_first &=
                            u16::from_be_bytes([extension[2], extension[3]]) & 0xfff8 == 0;
                    }
                    _ => break,
                }
            }
            Some(header)
        }
        _ => None,
    }
}

fn tcp<'a>(header: &IpHeader, bytes: &'a [u8]) -> Option<Segment<'a>> {
    let ports: &[u8; 4] = bytes.first_chunk()?;
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*four))
    };
    Some(Segment {
        ttl: header.ttl,
        from: header.from,
        to: header.to,
        from_port: u16::from_be_bytes([ports[0], ports[1]]),
        to_port: u16::from_be_bytes([ports[2], ports[3]]),
        sequence: number(4),
        acknowledgement: number(8),
        flags: bytes.get(13).copied(),
        payload: payload_behind_tcp(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoofbeat_net::sys::Family;
    use proptest::prelude::*;

    pub(crate) fn v4_segment(ttl: u8, payload: &[u8]) -> Vec<u8> {
        let total = u16::try_from(40 + payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![0x45, 0, total[0], total[1], 0, 7, 0x40, 0, ttl, 6, 0, 0];
        bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend([0x9c, 0x40, 0, 25, 0, 0, 1, 0, 0, 0, 2, 0, 0x50, 0x18, 1, 0]);
        bytes.extend([0, 0, 0, 0]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_segment_whole_and_cut() {
        let bytes = v4_segment(3, b"STARTTLS\r\n");
        let Some(Packet::Tcp(segment)) = read(&bytes) else {
            panic!("TCP")
        };
        assert_eq!(
            (segment.ttl, segment.from_port, segment.to_port),
            (3, 40000, 25)
        );
        assert_eq!(segment.payload, Some(&b"STARTTLS\r\n"[..]));
        assert!(segment.has(ACK) && !segment.has(SYN));
        let padded = [bytes.as_slice(), &[0; 9]].concat();
        let Some(Packet::Tcp(segment)) = read(&padded) else {
            panic!("TCP")
        };
        assert_eq!(segment.payload, Some(&b"STARTTLS\r\n"[..]), "padding");
        let eight = quoted(&bytes[..28]).unwrap();
        assert_eq!((eight.sequence, eight.payload), (Some(256), None));
        assert_eq!(quoted(&bytes[..46]).unwrap().payload, Some(&b"STARTT"[..]));
        assert_eq!(quoted(&bytes[..23]), None, "no ports");
    }

    #[test]
    fn an_error_with_and_without_extensions() {
        let packet = v4_segment(1, b"STARTTLS\r\n");
        let plain = [&[11, 0, 0, 0, 0, 0, 0, 0], packet.as_slice()].concat();
        let (complaint_, quote) = complaint(Family::V4, &plain).unwrap();
        assert_eq!((complaint_, quote), (Complaint::TimeExceeded, &packet[..]));
        let mut extended = [&[11, 0, 0, 0, 0, 32, 0, 0], packet.as_slice()].concat();
        extended.resize(8 + 128, 0);
        extended.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0, 0, 0]);
        assert_eq!(complaint(Family::V4, &extended).unwrap().1, &packet[..]);
        let refused = [&[3, 13, 0, 0, 0, 0, 0, 0], packet.as_slice()].concat();
        assert_eq!(
            complaint(Family::V4, &refused).unwrap().0,
            Complaint::Unreachable(13)
        );
        assert_eq!(
            complaint(Family::V4, &[8, 0, 0, 0, 0, 0, 0, 0]),
            None,
            "echo"
        );
    }

    #[test]
    fn extension_headers_are_passed_over() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 38, 0, 9];
        bytes.extend([0x20; 32]);
        bytes.extend([6, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(&v4_segment(1, b"STLS\r\n")[20..]);
        let Some(Packet::Tcp(segment)) = read(&bytes) else {
            panic!("TCP")
        };
        assert_eq!((segment.ttl, segment.payload), (9, Some(&b"STLS\r\n"[..])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200), first in prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()]) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            let _ = read(&bytes);
            if let Some(segment) = quoted(&bytes) {
                prop_assert!(segment.payload.is_none_or(|payload| payload.len() + 28 <= bytes.len()));
            }
            for family in [Family::V4, Family::V6] {
                if let Some((_, quote)) = complaint(family, &bytes) {
                    prop_assert!(quote.len() + 8 <= bytes.len());
                    let _ = quoted(quote);
                }
            }
            let _ = payload_behind_tcp(&bytes);
        }
    }
}
