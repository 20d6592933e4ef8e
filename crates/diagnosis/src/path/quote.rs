//! A router's quote held against the packet that was sent: what of it arrived there changed.
//!
//! Lax in both directions: a quote may end anywhere, padding may follow it (RFC 4884), and translated addresses and
//! ports are no tampering. What every router changes (TTL, header checksum) is never counted. It must not know hops.
//! RFC 792, RFC 1812 §4.3.2.3, RFC 4443 §3.3, RFC 9293 §3.1.

use core::{net::IpAddr, ops::Range};
use hoofbeat_observation::{Payload, Quote, QuoteBegins};

/// Bytes of a TCP header without options.
const TCP: usize = 20;
/// Most extension headers of IPv6 that are stepped over.
const EXTENSIONS: usize = 4;

/// A packet's headers and payload, as far as they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'p> {
    /// Source and destination, where the IP header is there.
    addresses: Option<(IpAddr, IpAddr)>,
    /// DSCP and ECN, where the IP header is there.
    class: Option<u8>,
    /// TTL or hop limit.
    pub(super) ttl: Option<u8>,
    /// Source port.
    pub(super) source: u16,
    /// Destination port.
    destination: u16,
    /// Sequence number.
    sequence: u32,
    /// The rest of the TCP header without checksum, where it is all there: acknowledgement number up to window.
    middle: Option<&'p [u8]>,
    /// The TCP checksum.
    checksum: Option<u16>,
    /// TCP options, where they are all there.
    pub(super) options: Option<&'p [u8]>,
    /// The payload; none where the quote ends before it.
    payload: Option<&'p [u8]>,
    /// Where the payload begins in the quote.
    payload_at: usize,
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

impl<'p> Packet<'p> {
    /// Reads from the IP header, or from the TCP header on. None where it holds no TCP ports and sequence number.
    pub(super) fn read(begins: QuoteBegins, bytes: &'p [u8]) -> Option<Self> {
        match begins {
            QuoteBegins::Tcp => Self::segment(bytes, 0, None, None, None),
            QuoteBegins::Ip => match bytes.first()? >> 4 {
                4 => Self::v4(bytes),
                6 => Self::v6(bytes),
                _ => None,
            },
        }
    }

    fn v4(bytes: &'p [u8]) -> Option<Self> {
        let header = usize::from(bytes.first()? & 15) * 4;
        let fragment = word(bytes, 6)? & 0x1fff;
        if header < 20 || *bytes.get(9)? != 6 || fragment != 0 {
            return None;
        }
        let at = |from: usize| -> Option<IpAddr> {
            Some(<[u8; 4]>::try_from(bytes.get(from..from + 4)?).ok()?.into())
        };
        let addresses = Some((at(12)?, at(16)?));
        // Some systems write the length in their own byte order, or without the header: then it bounds nothing.
        let told = usize::from(word(bytes, 2)?);
        let whole = told >= header + TCP && told <= bytes.len();
        let segment = bytes.get(header..if whole { told } else { bytes.len() })?;
        Self::segment(
            segment,
            header,
            addresses,
            bytes.get(1).copied(),
            bytes.get(8).copied(),
        )
    }

    fn v6(bytes: &'p [u8]) -> Option<Self> {
        let at = |from: usize| -> Option<IpAddr> {
            Some(
                <[u8; 16]>::try_from(bytes.get(from..from + 16)?)
                    .ok()?
                    .into(),
            )
        };
        let addresses = Some((at(8)?, at(24)?));
        let class = Some(((bytes.first()? & 15) << 4) | (bytes.get(1)? >> 4));
        let told = 40 + usize::from(word(bytes, 4)?);
        let whole = told <= bytes.len();
        let bytes = bytes.get(..if whole { told } else { bytes.len() })?;
        let mut next = *bytes.get(6)?;
        let mut from = 40;
        for _ in 0..EXTENSIONS {
            let length = match next {
                // Hop-by-hop, routing, destination options.
                0 | 43 | 60 => 8 + 8 * usize::from(*bytes.get(from + 1)?),
                // A fragment that is not the first holds no ports.
                44 if word(bytes, from + 2)? >> 3 == 0 => 8,
                _ => break,
            };
            next = *bytes.get(from)?;
            from += length;
        }
        if next != 6 {
            return None;
        }
        Self::segment(
            bytes.get(from..)?,
            from,
            addresses,
            class,
            bytes.get(7).copied(),
        )
    }

    fn segment(
        bytes: &'p [u8],
        at: usize,
        addresses: Option<(IpAddr, IpAddr)>,
        class: Option<u8>,
        ttl: Option<u8>,
    ) -> Option<Self> {
        let sequence = <[u8; 4]>::try_from(bytes.get(4..8)?).ok()?;
        let header = bytes.get(12).map(|byte| usize::from(byte >> 4) * 4);
        let header = header.filter(|length| *length >= TCP);
        let payload = header.and_then(|length| bytes.get(length..));
        Some(Self {
            addresses,
            class,
            ttl,
            source: word(bytes, 0)?,
            destination: word(bytes, 2)?,
            sequence: u32::from_be_bytes(sequence),
            middle: bytes.get(8..16),
            checksum: word(bytes, 16),
            options: header.and_then(|length| bytes.get(TCP..length)),
            payload,
            payload_at: at + header.unwrap_or(0),
        })
    }

    /// The payload, as far as it is there.
    pub(super) fn payload(&self) -> Option<&'p [u8]> {
        self.payload
    }

    /// The checksum that this packet should carry; the captured one may be left to the network card.
    fn due_checksum(&self) -> Option<u16> {
        let (source, destination) = self.addresses?;
        let (middle, options, payload) = (self.middle?, self.options?, self.payload?);
        let mut sum: u64 = 0;
        let mut add = |bytes: &[u8]| {
            for pair in bytes.chunks(2) {
                let high = u64::from(pair.first().copied().unwrap_or(0)) << 8;
                sum += high | u64::from(pair.get(1).copied().unwrap_or(0));
            }
        };
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => add(&address.octets()),
                IpAddr::V6(address) => add(&address.octets()),
            }
        }
        add(&self.source.to_be_bytes());
        add(&self.destination.to_be_bytes());
        add(&self.sequence.to_be_bytes());
        // Options are whole words, so the payload begins at an even offset.
        add(middle);
        add(options);
        add(payload);
        let length = (TCP + options.len() + payload.len()) as u64;
        sum += 6 + length;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).ok().map(|folded| !folded)
    }
}

/// What became of the payload, as one quote shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Whole, at least up to the end of the keyword.
    Unchanged,
    /// Other bytes than were sent: the differing words, as ranges of what was sent and of what was quoted.
    Changed {
        /// In the payload that was sent.
        was: Range<usize>,
        /// In the quote's bytes.
        became: Range<usize>,
    },
    /// The quote ends before the keyword does.
    TooShort,
    /// Nothing to compare: another flow's packet, no TCP, or no payload was sent.
    NotComparable,
}

/// A quote, compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    /// The payload.
    pub(super) arrival: Arrival,
    /// The sequence number was rewritten: a stateful firewall does that; where known.
    pub(super) sequence_rewritten: Option<bool>,
    /// The TCP checksum is not the one of what was sent, although nothing else that is quoted differs.
    pub(super) checksum_unexplained: bool,
    /// TCP options differ, such as a clamped MSS.
    pub(super) options_changed: bool,
    /// DSCP or ECN differ: queueing, no tampering.
    pub(super) class_changed: bool,
    /// Addresses or ports are translated.
    pub(super) translated: bool,
}

/// What is known of the packet that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'p> {
    /// Source port.
    pub(super) source: u16,
    /// Destination port, where known.
    pub(super) destination: Option<u16>,
    /// The payload.
    pub(super) payload: &'p [u8],
    /// What it is for.
    pub(super) kind: Payload,
    /// The packet from the IP header on, where it was captured.
    pub(super) packet: &'p [u8],
}

impl Sent<'_> {
    /// How many bytes of the payload must be quoted before it counts as unchanged: up to the keyword's end.
    fn needed(&self) -> usize {
        let end = self.payload.trim_ascii_end().len();
        if self.kind != Payload::Capabilities {
            return end;
        }
        let upper = self.payload.to_ascii_uppercase();
        let found = |keyword: &[u8]| {
            upper
                .windows(keyword.len())
                .position(|window| window == keyword)
                .map(|at| at + keyword.len())
        };
        found(b"STARTTLS").or_else(|| found(b"STLS")).unwrap_or(end)
    }
}

/// Holds a quote against what was sent.
pub(super) fn compare(sent: &Sent<'_>, quote: &Quote) -> Comparison {
    let nothing = Comparison {
        arrival: Arrival::NotComparable,
        sequence_rewritten: None,
        checksum_unexplained: false,
        options_changed: false,
        class_changed: false,
        translated: false,
    };
    let Some(quoted) = Packet::read(quote.begins, &quote.bytes) else {
        return nothing;
    };
    let original = Packet::read(QuoteBegins::Ip, sent.packet);
    let same_source = quoted.source == sent.source;
    let same_destination = sent
        .destination
        .is_none_or(|port| quoted.destination == port);
    let same_sequence = original.map(|packet| packet.sequence == quoted.sequence);
    // A translated source port is known again by the sequence number, and by nothing less.
    if !(same_destination && (same_source || same_sequence == Some(true))) {
        return nothing;
    }
    let translated = !same_source
        || original.is_some_and(|packet| {
            packet.addresses.is_some()
                && quoted.addresses.is_some()
                && packet.addresses != quoted.addresses
        });
    let differs = |a: Option<&[u8]>, b: Option<&[u8]>| a.is_some() && b.is_some() && a != b;
    let options_changed = original.is_some_and(|packet| differs(packet.options, quoted.options));
    let class_changed = original.is_some_and(|packet| {
        packet.class.is_some() && quoted.class.is_some() && packet.class != quoted.class
    });
    let arrival = arrival(sent, &quoted);
    let checksum_unexplained = !translated
        && !options_changed
        && same_sequence == Some(true)
        && !matches!(arrival, Arrival::Changed { .. })
        && original.is_some_and(|packet| {
            packet.middle == quoted.middle
                && packet.due_checksum().is_some()
                && quoted.checksum.is_some()
                && packet.due_checksum() != quoted.checksum
                && packet.checksum != quoted.checksum
        });
    Comparison {
        arrival,
        sequence_rewritten: same_sequence.map(|same| !same),
        checksum_unexplained,
        options_changed,
        class_changed,
        translated,
    }
}

fn arrival(sent: &Sent<'_>, quoted: &Packet<'_>) -> Arrival {
    let needed = sent.needed();
    if needed == 0 {
        return Arrival::NotComparable;
    }
    let Some(payload) = quoted.payload else {
        return Arrival::TooShort;
    };
    let first = sent
        .payload
        .iter()
        .zip(payload)
        .position(|(before, after)| before != after);
    let Some(first) = first else {
        return if payload.len() >= needed {
            Arrival::Unchanged
        } else {
            Arrival::TooShort
        };
    };
    // Behind the end of what was sent there is padding, not payload.
    let shown = payload.get(..sent.payload.len()).unwrap_or(payload);
    let was = word_around(sent.payload, first);
    let became = word_around(shown, first);
    // A short quote may be padded with zeros (RFC 4884 §5.1): those are nobody's change.
    if shown
        .get(first..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
    {
        return Arrival::TooShort;
    }
    let offset = quoted.payload_at;
    Arrival::Changed {
        was,
        became: offset + became.start..offset + became.end,
    }
}

/// The word that holds a position: up to blanks, hyphens and line ends.
fn word_around(bytes: &[u8], at: usize) -> Range<usize> {
    let is_edge = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'-';
    let before = bytes.get(..at).unwrap_or(bytes);
    let behind = bytes.get(at..).unwrap_or_default();
    let start = before.iter().rposition(is_edge).map_or(0, |edge| edge + 1);
    let end = behind.iter().position(is_edge).unwrap_or(behind.len());
    start..at + end.max(usize::from(!behind.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    const TEST: &[u8] = b"STARTTLS\r\n";

    fn packet(payload: &[u8], ttl: u8, source: u16, sequence: u32) -> Vec<u8> {
        let mut bytes = vec![0x45, 0];
        bytes.extend((40 + payload.len() as u16).to_be_bytes());
        bytes.extend([0, 1, 0x40, 0, ttl, 6, 0, 0, 192, 168, 77, 2, 198, 18, 4, 25]);
        bytes.extend(source.to_be_bytes());
        bytes.extend(25_u16.to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
        bytes.extend([0, 0, 0, 9, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        bytes.extend(payload);
        let due = Packet::read(QuoteBegins::Ip, &bytes)
            .unwrap()
            .due_checksum()
            .unwrap();
        bytes[36..38].copy_from_slice(&due.to_be_bytes());
        bytes
    }
    fn sent(packet: &[u8]) -> Sent<'_> {
        Sent {
            source: 40_000,
            destination: Some(25),
            payload: TEST,
            kind: Payload::StartTls,
            packet,
        }
    }
    fn held(original: &[u8], quoted: &[u8]) -> Comparison {
        compare(
            &sent(original),
            &Quote {
                begins: QuoteBegins::Ip,
                bytes: quoted.to_vec(),
            },
        )
    }

    #[test]
    fn identical_and_different_inputs_are_told_apart() {
        let original = packet(TEST, 3, 40_000, 7);
        // The TTL runs down on the way.
        assert_eq!(
            held(&original, &packet(TEST, 1, 40_000, 7)).arrival,
            Arrival::Unchanged
        );
        let masked = packet(b"XXXXXXXX\r\n", 1, 40_000, 7);
        let found = held(&original, &masked);
        let Arrival::Changed { was, became } = found.arrival else {
            panic!("{found:?}")
        };
        assert_eq!(
            (&TEST[was], &masked[became]),
            (&b"STARTTLS"[..], &b"XXXXXXXX"[..])
        );
        assert_eq!(found.sequence_rewritten, Some(false));
        // Without the captured packet the payload is enough.
        assert!(matches!(
            held(&[], &masked).arrival,
            Arrival::Changed { .. }
        ));
        assert_eq!(
            held(&[], &packet(TEST, 1, 40_000, 7)).arrival,
            Arrival::Unchanged
        );
    }

    #[test]
    fn cut_quotes_say_what_they_hold() {
        let original = packet(TEST, 3, 40_000, 7);
        let whole = packet(TEST, 1, 40_000, 7);
        let masked = packet(b"XXXXXXXX\r\n", 1, 40_000, 7);
        for (end, expected) in [
            (28, Arrival::TooShort),
            (40, Arrival::TooShort),
            (47, Arrival::TooShort),
            (48, Arrival::Unchanged),
        ] {
            assert_eq!(held(&original, &whole[..end]).arrival, expected, "{end}");
        }
        assert!(matches!(
            held(&original, &masked[..44]).arrival,
            Arrival::Changed { .. }
        ));
        assert_eq!(held(&original, &masked[..40]).arrival, Arrival::TooShort);
        assert_eq!(held(&original, &[]).arrival, Arrival::NotComparable);
        // RFC 4884 pads to 128 bytes with zeros.
        let mut padded = whole.clone();
        padded.resize(128, 0);
        assert_eq!(held(&original, &padded).arrival, Arrival::Unchanged);
        let mut padded = whole[..44].to_vec();
        padded.resize(128, 0);
        assert_eq!(held(&original, &padded).arrival, Arrival::TooShort);
    }

    #[test]
    fn sequence_numbers_checksums_and_translation() {
        let original = packet(TEST, 3, 40_000, 7);
        let rewritten = held(&original, &packet(TEST, 1, 40_000, 99)[..28]);
        assert_eq!(
            (rewritten.sequence_rewritten, rewritten.arrival),
            (Some(true), Arrival::TooShort)
        );
        // The payload was changed and is not quoted: the checksum tells.
        let masked = packet(b"XXXXXXXX\r\n", 1, 40_000, 7);
        assert!(held(&original, &masked[..40]).checksum_unexplained);
        assert!(!held(&original, &packet(TEST, 1, 40_000, 7)[..40]).checksum_unexplained);
        // Another source port with the same sequence number is a translation; with another one, another flow.
        let translated = held(&original, &packet(TEST, 1, 50_000, 7));
        assert!(translated.translated && translated.arrival == Arrival::Unchanged);
        assert_eq!(
            held(&original, &packet(TEST, 1, 50_000, 8)).arrival,
            Arrival::NotComparable
        );
        let mut class = packet(TEST, 1, 40_000, 7);
        class[1] = 0xb8;
        let found = held(&original, &class);
        assert!(found.class_changed && found.arrival == Arrival::Unchanged);
    }

    #[test]
    fn version_six_and_bare_segments() {
        let four = packet(b"XXXXXXXX\r\n", 1, 40_000, 7);
        let bare = Quote {
            begins: QuoteBegins::Tcp,
            bytes: four[20..].to_vec(),
        };
        assert!(matches!(
            compare(&sent(&[]), &bare).arrival,
            Arrival::Changed { .. }
        ));
        let mut six = vec![0x60, 0, 0, 0, 0, (8 + four.len() - 20) as u8, 60, 64];
        six.extend([0_u8; 32]);
        six.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        six.extend(&four[20..]);
        let quote = Quote {
            begins: QuoteBegins::Ip,
            bytes: six.clone(),
        };
        let Arrival::Changed { became, .. } = compare(&sent(&[]), &quote).arrival else {
            panic!("not read")
        };
        assert_eq!(&six[became], b"XXXXXXXX");
    }

    #[test]
    fn a_capability_list_needs_its_keyword() {
        let list: &[u8] = b"250-mx\r\n250-STARTTLS\r\n250 HELP\r\n";
        let sent = Sent {
            source: 25,
            destination: None,
            payload: list,
            kind: Payload::Capabilities,
            packet: &[],
        };
        assert_eq!(&list[..sent.needed()], b"250-mx\r\n250-STARTTLS");
        let range = word_around(b"250-XXXXXXXA\r\n", 6);
        assert_eq!(&b"250-XXXXXXXA\r\n"[range], b"XXXXXXXA");
        assert_eq!(word_around(b"", 0), 0..0);
    }
}
