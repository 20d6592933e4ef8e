//! Addresses in packets: cut in IP headers, in what ICMP quotes, and in the text that TCP carries.
//!
//! Checksums are changed by the same difference (RFC 1624), so that a right one stays right and a wrong one wrong.
//! Packets may be cut off anywhere: what is not there is not touched.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Shortener, text};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMP_V6: u8 = 58;
const V6_HEADER: usize = 40;

/// Cuts the addresses of a packet that begins with its IP header; returns the source address that it had.
pub(super) fn shorten(packet: &mut [u8], shortener: &Shortener) -> Option<IpAddr> {
    Layer::of(packet, 0)?.shorten(packet, shortener, &[])
}

/// The source address of a packet that begins with its IP header.
pub(super) fn source(packet: &[u8]) -> Option<IpAddr> {
    let layer = Layer::of(packet, 0)?;
    layer.addresses(packet).map(|(from, _)| from)
}

/// An IP packet within a slice.
struct Layer {
    start: usize,
    is_v6: bool,
    /// Where the transport header begins.
    transport: usize,
    protocol: u8,
    /// Not the first fragment: there is no transport header.
    headless: bool,
}

impl Layer {
    fn of(packet: &[u8], start: usize) -> Option<Self> {
        let first = *packet.get(start)?;
        match first >> 4 {
            4 => {
                let fragment = word(packet, start + 6)? & 0x1fff;
                Some(Self {
                    start,
                    is_v6: false,
                    transport: start + usize::from(first & 15) * 4,
                    protocol: *packet.get(start + 9)?,
                    headless: fragment != 0,
                })
            }
            // Extension headers are not walked: our own packets have none.
            6 => Some(Self {
                start,
                is_v6: true,
                transport: start + V6_HEADER,
                protocol: *packet.get(start + 6)?,
                headless: false,
            }),
            _ => None,
        }
    }

    fn addresses(&self, packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
        let at = |offset: usize| -> Option<IpAddr> {
            let from = self.start + offset;
            if self.is_v6 {
                let bytes: [u8; 16] = packet.get(from..from + 16)?.try_into().ok()?;
                Some(Ipv6Addr::from(bytes).into())
            } else {
                let bytes: [u8; 4] = packet.get(from..from + 4)?.try_into().ok()?;
                Some(Ipv4Addr::from(bytes).into())
            }
        };
        if self.is_v6 {
            Some((at(8)?, at(24)?))
        } else {
            Some((at(12)?, at(16)?))
        }
    }

    /// `around`: checksums of enclosing ICMP messages, which cover every byte of this packet.
    fn shorten(
        &self,
        packet: &mut [u8],
        shortener: &Shortener,
        around: &[usize],
    ) -> Option<IpAddr> {
        let (from, to) = self.addresses(packet)?;
        let (first, second, ip_sum) = if self.is_v6 {
            (8, 24, None)
        } else {
            (12, 16, Some(self.start + 10))
        };
        // What covers the addresses: the IPv4 header's own sum, and the pseudo-header's of TCP and ICMPv6.
        let pseudo = match self.protocol {
            _ if self.headless => None,
            TCP => Some(self.transport + 16),
            ICMP_V6 if self.is_v6 => Some(self.transport + 2),
            _ => None,
        };
        let sums: Vec<usize> = ip_sum.into_iter().chain(pseudo).collect();
        for (address, offset) in [(from, first), (to, second)] {
            let short = shortener.address(address);
            let bytes: &[u8] = match &short {
                IpAddr::V4(short) => &short.octets(),
                IpAddr::V6(short) => &short.octets(),
            };
            replace(
                packet,
                self.start,
                self.start + offset,
                bytes,
                &sums,
                around,
            );
        }
        match self.protocol {
            _ if self.headless => {}
            TCP => self.shorten_text(packet, shortener, around),
            ICMP | ICMP_V6 => self.shorten_quote(packet, shortener, around),
            _ => {}
        }
        Some(from)
    }

    fn shorten_text(&self, packet: &mut [u8], shortener: &Shortener, around: &[usize]) {
        let Some(offset) = packet.get(self.transport + 12) else {
            return;
        };
        let payload = self.transport + usize::from(offset >> 4) * 4;
        let Some(mut copy) = packet.get(payload..).map(<[u8]>::to_vec) else {
            return;
        };
        if text::cut(&mut copy, &|address| shortener.is_meant(address)) {
            let sums = [self.transport + 16];
            replace(packet, self.start, payload, &copy, &sums, around);
        }
    }

    /// Errors quote the packet that caused them behind 8 bytes of their own (RFC 792, RFC 4443 §3).
    fn shorten_quote(&self, packet: &mut [u8], shortener: &Shortener, around: &[usize]) {
        let is_error = match packet.get(self.transport) {
            Some(3 | 11) if self.protocol == ICMP => true,
            Some(1..=4) if self.protocol == ICMP_V6 => true,
            _ => false,
        };
        // One quote within another is nobody's packet.
        if !is_error || !around.is_empty() {
            return;
        }
        if let Some(quoted) = Layer::of(packet, self.transport + 8) {
            quoted.shorten(packet, shortener, &[self.transport + 2]);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Writes `new` at `at`, word by word as checksums count from `start`; `sums` are the checksums that cover it, and
/// `around` those that cover it and `sums` too.
fn replace(
    bytes: &mut [u8],
    start: usize,
    at: usize,
    new: &[u8],
    sums: &[usize],
    around: &[usize],
) {
    let end = (at + new.len()).min(bytes.len());
    let mut from = at - (at - start) % 2;
    while from < end {
        let word_of = |bytes: &[u8]| {
            let low = bytes.get(from + 1).copied().unwrap_or(0);
            u16::from_be_bytes([bytes.get(from).copied().unwrap_or(0), low])
        };
        let before = word_of(bytes);
        for position in from.max(at)..(from + 2).min(end) {
            if let (Some(byte), Some(fresh)) = (bytes.get_mut(position), new.get(position - at)) {
                *byte = *fresh;
            }
        }
        let after = word_of(bytes);
        if before != after {
            for sum in sums {
                if let Some((old, fresh)) = adjust(bytes, *sum, before, after) {
                    for outer in around {
                        adjust(bytes, *outer, old, fresh);
                    }
                }
            }
            for outer in around {
                adjust(bytes, *outer, before, after);
            }
        }
        from += 2;
    }
}

/// RFC 1624, equation 3; returns the checksum's old and new value, where it is there.
fn adjust(bytes: &mut [u8], sum: usize, before: u16, after: u16) -> Option<(u16, u16)> {
    let old = word(bytes, sum)?;
    let mut total = u32::from(!old) + u32::from(!before) + u32::from(after);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let fresh = !(total as u16);
    bytes
        .get_mut(sum..sum + 2)?
        .copy_from_slice(&fresh.to_be_bytes());
    Some((old, fresh))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    fn shortener() -> Shortener {
        Shortener::for_addresses(
            ["192.0.2.57", "2001:db8:1:2::57"].map(|a| a.parse().unwrap()),
            [],
        )
    }

    fn is_whole(packet: &[u8]) -> bool {
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
            panic!("no TCP in {packet:?}")
        };
        match sliced.net.unwrap() {
            etherparse::NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                header.header_checksum == header.calc_header_checksum()
                    && tcp.checksum()
                        == tcp
                            .calc_checksum_ipv4(header.source, header.destination)
                            .unwrap()
            }
            etherparse::NetSlice::Ipv6(ip) => {
                let header = ip.header().to_header();
                tcp.checksum()
                    == tcp
                        .calc_checksum_ipv6(header.source, header.destination)
                        .unwrap()
            }
            etherparse::NetSlice::Arp(_) => false,
        }
    }

    fn tcp_v4(payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([192, 0, 2, 57], [198, 51, 100, 25], 64)
            .tcp(40000, 25, 7, 1024)
            .write(&mut packet, payload)
            .unwrap();
        packet
    }

    #[test]
    fn right_checksums_stay_right_and_wrong_ones_wrong() {
        let greeting: &[u8] = b"EHLO [192.0.2.57]\r\n";
        let mut packet = tcp_v4(greeting);
        assert_eq!(
            shorten(&mut packet, &shortener()),
            "192.0.2.57".parse().ok()
        );
        assert_eq!(source(&packet), "192.0.2.0".parse().ok());
        assert!(packet.ends_with(b"EHLO [192.0.2.00]\r\n") && is_whole(&packet));
        let mut damaged = tcp_v4(greeting);
        *damaged.last_mut().unwrap() ^= 1;
        shorten(&mut damaged, &shortener());
        assert!(!is_whole(&damaged));
        let mut packet = Vec::new();
        let own: Ipv6Addr = "2001:db8:1:2::57".parse().unwrap();
        PacketBuilder::ipv6(own.octets(), [9; 16], 64)
            .tcp(40000, 25, 7, 1024)
            .write(&mut packet, b"EHLO [IPv6:2001:db8:1:2::57]\r\n")
            .unwrap();
        shorten(&mut packet, &shortener());
        assert_eq!(source(&packet), "2001:db8:1::".parse().ok());
        assert!(is_whole(&packet));
    }

    #[test]
    fn quotes_within_errors_are_cut_too() {
        let quoted = tcp_v4(b"EHLO [192.0.2.57]\r\n");
        let mut packet = Vec::new();
        PacketBuilder::ipv4([203, 0, 113, 1], [192, 0, 2, 57], 60)
            .icmpv4(etherparse::Icmpv4Type::TimeExceeded(
                etherparse::icmpv4::TimeExceededCode::TtlExceededInTransit,
            ))
            .write(&mut packet, &quoted)
            .unwrap();
        shorten(&mut packet, &shortener());
        let sliced = SlicedPacket::from_ip(&packet).unwrap();
        let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else {
            panic!()
        };
        let header = icmp.header();
        assert_eq!(
            header.icmp_type.calc_checksum(icmp.payload()),
            header.checksum
        );
        assert!(is_whole(icmp.payload()));
        let traces = |needle: &[u8]| packet.windows(needle.len()).any(|w| w == needle);
        assert!(!traces(&[192, 0, 2, 57]) && !traces(b"192.0.2.57"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(mut bytes: Vec<u8>, version in 4_u8..=6) {
            if let Some(first) = bytes.first_mut() {
                *first = version << 4 | 5;
            }
            let length = bytes.len();
            shorten(&mut bytes, &shortener());
            prop_assert_eq!(bytes.len(), length);
        }

        #[test]
        fn packets_cut_anywhere_lose_the_address(cut in 20_usize..60) {
            let mut packet = tcp_v4(b"EHLO [192.0.2.57]\r\n");
            packet.truncate(cut);
            shorten(&mut packet, &shortener());
            prop_assert_eq!(source(&packet), "192.0.2.0".parse().ok());
        }
    }
}
