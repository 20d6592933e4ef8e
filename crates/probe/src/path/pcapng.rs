//! Writing packets down as a pcapng file: one section, one interface of bare IP packets, the packets, the counters.
//!
//! It must not know where the packets come from. IETF draft-ietf-opsawg-pcapng; times in microseconds, its default.

use std::time::Duration;

/// Bare IPv4 and IPv6 packets without a link header (LINKTYPE_RAW).
const LINK_TYPE_RAW: u16 = 101;

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Captured {
    /// Wall clock, since 1970.
    pub(crate) at: Duration,
    /// From the IP header on.
    pub(crate) bytes: Vec<u8>,
    /// How long it was before our buffer cut it.
    pub(crate) length: usize,
}

/// The file; `application` is the program that wrote it, `snapshot` the most bytes that were kept of a packet.
pub(crate) fn file<'a>(
    packets: impl IntoIterator<Item = &'a Captured>,
    dropped: u64,
    snapshot: u32,
    application: &str,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = Vec::new();
    section.extend(0x1a2b_3c4d_u32.to_le_bytes());
    section.extend([1, 0, 0, 0]);
    // The section's length is not told.
    section.extend(u64::MAX.to_le_bytes());
    option(&mut section, 4, application.as_bytes());
    option(&mut section, 0, &[]);
    block(&mut out, 0x0a0d_0d0a, &section);

    let mut interface = Vec::new();
    interface.extend(LINK_TYPE_RAW.to_le_bytes());
    interface.extend([0, 0]);
    interface.extend(snapshot.to_le_bytes());
    block(&mut out, 1, &interface);

    let mut last = (0, 0);
    for packet in packets {
        let mut body = 0_u32.to_le_bytes().to_vec();
        last = halves(packet.at);
        body.extend(last.0.to_le_bytes());
        body.extend(last.1.to_le_bytes());
        body.extend(number(packet.bytes.len()));
        body.extend(number(packet.length.max(packet.bytes.len())));
        body.extend(&packet.bytes);
        block(&mut out, 6, &body);
    }

    let mut statistics = 0_u32.to_le_bytes().to_vec();
    statistics.extend(last.0.to_le_bytes());
    statistics.extend(last.1.to_le_bytes());
    // isb_ifdrop: what the interface's buffer lost.
    option(&mut statistics, 5, &dropped.to_le_bytes());
    option(&mut statistics, 0, &[]);
    block(&mut out, 5, &statistics);
    out
}

/// Microseconds, high half first.
fn halves(at: Duration) -> (u32, u32) {
    let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
    ((micros >> 32) as u32, micros as u32)
}

fn number(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    out.extend(code.to_le_bytes());
    out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(value);
    pad(out);
}

/// A block: type, length, body padded to four bytes, length once more.
fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let length = number(padded + 12);
    out.extend(kind.to_le_bytes());
    out.extend(length);
    out.extend(body);
    pad(out);
    out.extend(length);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_parser::{Block, PcapBlockOwned, PcapNGReader, traits::PcapReaderIterator};

    #[test]
    fn a_strange_reader_reads_it() {
        let packets: Vec<Captured> = [b"abcde".to_vec(), vec![7; 40]]
            .into_iter()
            .zip(1_u32..)
            .map(|(bytes, second)| Captured {
                at: Duration::new(1_700_000_000 + u64::from(second), 250_000_000),
                length: bytes.len() + 2,
                bytes,
            })
            .collect();
        let written = file(&packets, 3, 2048, "hoofbeat");
        let mut reader = PcapNGReader::new(65536, &written[..]).unwrap();
        let mut read = Vec::new();
        let mut dropped = None;
        while let Ok((used, block)) = reader.next() {
            match block {
                PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                    assert_eq!((interface.linktype.0, interface.snaplen), (101, 2048));
                }
                PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                    let micros = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                    read.push(Captured {
                        at: Duration::from_micros(micros),
                        bytes: packet.data[..packet.caplen as usize].to_vec(),
                        length: packet.origlen as usize,
                    });
                }
                PcapBlockOwned::NG(Block::InterfaceStatistics(statistics)) => {
                    dropped = statistics
                        .options
                        .first()
                        .map(|option| option.value.to_vec());
                }
                _ => {}
            }
            reader.consume(used);
        }
        assert_eq!(read, packets);
        assert_eq!(dropped, Some(3_u64.to_le_bytes().to_vec()));
    }
}
