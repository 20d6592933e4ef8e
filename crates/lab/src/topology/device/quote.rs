//! A router that quotes little: cuts its own ICMP time-exceeded to the IP header of what expired and a few bytes.
//! IPv4 only. It must not know netfilter. RFC 792; RFC 1812 §4.3.2.3 on quoting more.

use crate::topology::device::inspect::{Fate, Inspector, Tally};
use crate::topology::device::packet::{checksum, seal_network, set_length};

/// The ICMP header.
const HEADER: usize = 8;
/// Time exceeded.
const TIME_EXCEEDED: u8 = 11;

/// Cuts quotes.
pub(super) struct ShortQuotes {
    /// Bytes kept behind the quoted IP header.
    pub(super) bytes: u16,
}

impl Inspector for ShortQuotes {
    fn inspect(&mut self, packet: &[u8], _forged: &mut Vec<Vec<u8>>, _tally: &Tally) -> Fate {
        shortened(packet, self.bytes.into()).map_or(Fate::Pass, Fate::Replace)
    }
}

/// The packet with a shorter quote. `None` when it is no IPv4 time-exceeded, or short enough.
fn shortened(packet: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let own = header_length(packet)?;
    if packet.get(9) != Some(&1) || packet.get(own) != Some(&TIME_EXCEEDED) {
        return None;
    }
    let quote = own + HEADER;
    let end = quote + header_length(packet.get(quote..)?)? + bytes;
    let mut short = packet.get(..end).filter(|_| end < packet.len())?.to_vec();
    set_length(&mut short)?;
    seal_network(&mut short);
    let icmp = short.get_mut(own..)?;
    // The length field of RFC 4884 told of a padded quote, which this is no more.
    icmp.get_mut(2..8)?.fill(0);
    let sum = checksum(&[icmp]).to_be_bytes();
    icmp.get_mut(2..4)?.copy_from_slice(&sum);
    Some(short)
}

fn header_length(packet: &[u8]) -> Option<usize> {
    let first = packet.first()?;
    let length = usize::from(first & 0x0f) * 4;
    (first >> 4 == 4 && length >= 20 && packet.len() >= length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::device::packet::tests as made;
    use proptest::prelude::*;

    fn time_exceeded() -> Vec<u8> {
        let quoted = made::packet(made::v4(), 0, 0x0102_0304, Some(9), b"STARTTLS\r\n");
        let mut packet = quoted[..20].to_vec();
        packet[9] = 1;
        packet.extend_from_slice(&[TIME_EXCEEDED, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend_from_slice(&quoted);
        set_length(&mut packet).expect("a length");
        seal_network(&mut packet);
        packet
    }

    #[test]
    fn ports_and_sequence_number_remain() {
        let short = shortened(&time_exceeded(), 8).expect("shorter");
        assert_eq!(short.len(), 20 + 8 + 20 + 8);
        assert_eq!(&short[52..56], &[1, 2, 3, 4]);
        assert_eq!(checksum(&[&short[..20]]), 0);
        assert_eq!(checksum(&[&short[20..]]), 0);
        assert_eq!(u16::from_be_bytes([short[2], short[3]]), 56);
    }

    #[test]
    fn what_is_short_enough_or_something_else_stays() {
        assert!(shortened(&time_exceeded(), 100).is_none());
        let mut unreachable = time_exceeded();
        unreachable[20] = 3;
        assert!(shortened(&unreachable, 8).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..90), keep in 0usize..40) {
            if bytes.len() > 20 { bytes[0] = 0x45; bytes[9] = 1; bytes[20] = TIME_EXCEEDED; }
            if let Some(short) = shortened(&bytes, keep) {
                prop_assert!(short.len() < bytes.len());
                prop_assert_eq!(checksum(&[&short[20..]]), 0);
            }
        }
    }
}
