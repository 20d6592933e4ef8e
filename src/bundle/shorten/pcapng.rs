//! Addresses in a pcapng file: every packet of it is cut in place; no length and no offset changes.
//!
//! Blocks: draft-ietf-opsawg-pcapng. It reads what our own tracer writes, and leaves alone what it does not know.

use super::{Shortener, packet};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;

// https://www.tcpdump.org/linktypes.html
const ETHERNET: u16 = 1;
const RAW: u16 = 101;
const LINUX_SLL: u16 = 113;
const IPV4: u16 = 228;
const IPV6: u16 = 229;
const LINUX_SLL2: u16 = 276;

/// Cuts the addresses of every packet.
pub(super) fn shorten(file: &mut [u8], shortener: &Shortener) {
    let mut links: Vec<u16> = Vec::new();
    let mut is_little = true;
    let mut at = 0;
    loop {
        let Some(kind) = number(file, at, is_little) else {
            return;
        };
        if kind == SECTION {
            // The byte order magic follows the length (§4.1).
            is_little = number(file, at + 8, true) == Some(0x1a2b_3c4d);
            links.clear();
        }
        let Some(length) = number(file, at + 4, is_little).map(|length| length as usize) else {
            return;
        };
        if length < 12 || file.len().saturating_sub(at) < length {
            return;
        }
        let body = at + 8;
        match kind {
            INTERFACE => {
                let bytes = [file.get(body), file.get(body + 1)].map(|b| b.copied().unwrap_or(0));
                links.push(if is_little {
                    u16::from_le_bytes(bytes)
                } else {
                    u16::from_be_bytes(bytes)
                });
            }
            ENHANCED => {
                let link =
                    number(file, body, is_little).and_then(|n| links.get(n as usize).copied());
                let captured = number(file, body + 12, is_little).unwrap_or(0) as usize;
                frame(file, body + 20, captured, at + length, link, shortener);
            }
            SIMPLE => {
                let link = links.first().copied();
                frame(file, body + 4, length, at + length - 4, link, shortener);
            }
            _ => {}
        }
        at += length;
    }
}

fn frame(
    file: &mut [u8],
    from: usize,
    length: usize,
    block_end: usize,
    link: Option<u16>,
    shortener: &Shortener,
) {
    let end = from.saturating_add(length).min(block_end);
    let Some(frame) = file.get_mut(from..end) else {
        return;
    };
    let header = match link {
        Some(RAW | IPV4 | IPV6) => 0,
        Some(ETHERNET) => {
            // The half of a hardware address that names one device.
            for range in [3..6, 9..12] {
                if let Some(device) = frame.get_mut(range) {
                    device.fill(0);
                }
            }
            14
        }
        Some(LINUX_SLL) => {
            if let Some(device) = frame.get_mut(6..14) {
                device.fill(0);
            }
            16
        }
        Some(LINUX_SLL2) => {
            if let Some(device) = frame.get_mut(12..20) {
                device.fill(0);
            }
            20
        }
        _ => return,
    };
    if let Some(ip) = frame.get_mut(header..) {
        packet::shorten(ip, shortener);
    }
}

fn number(bytes: &[u8], at: usize, is_little: bool) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if is_little {
        u32::from_le_bytes(four)
    } else {
        u32::from_be_bytes(four)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = (4 - body.len() % 4) % 4;
        let length = (12 + body.len() + padding) as u32;
        let mut out = kind.to_le_bytes().to_vec();
        out.extend(length.to_le_bytes());
        out.extend(body);
        out.extend(vec![0; padding]);
        out.extend(length.to_le_bytes());
        out
    }

    fn file(link: u16, frame: &[u8]) -> Vec<u8> {
        let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        section.extend([0xff; 8]);
        let mut interface = link.to_le_bytes().to_vec();
        interface.extend([0, 0, 0, 0, 4, 0]);
        let mut enhanced = vec![0; 12];
        enhanced.extend((frame.len() as u32).to_le_bytes());
        enhanced.extend((frame.len() as u32).to_le_bytes());
        enhanced.extend(frame);
        [
            block(SECTION, &section),
            block(INTERFACE, &interface),
            block(ENHANCED, &enhanced),
        ]
        .concat()
    }

    fn shortener() -> Shortener {
        Shortener::for_addresses(["192.0.2.57".parse().unwrap()], [])
    }

    #[test]
    fn packets_of_every_link_layer_lose_the_address() {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([192, 0, 2, 57], [198, 51, 100, 25], 64)
            .tcp(40000, 25, 7, 1024)
            .write(&mut packet, b"EHLO [192.0.2.57]\r\n")
            .unwrap();
        for (link, header) in [(RAW, 0), (ETHERNET, 14), (LINUX_SLL, 16), (LINUX_SLL2, 20)] {
            let mut capture = file(link, &[vec![7; header], packet.clone()].concat());
            let length = capture.len();
            shorten(&mut capture, &shortener());
            assert_eq!(capture.len(), length);
            let holds = |needle: &[u8]| capture.windows(needle.len()).any(|w| w == needle);
            assert!(!holds(&[192, 0, 2, 57]) && !holds(b"192.0.2.57"), "{link}");
            assert!(holds(b"192.0.2.00"), "{link}");
        }
    }

    proptest! {
        #[test]
        fn damaged_files_are_borne(at in 0_usize..200, byte: u8, length in 0_usize..200) {
            let mut capture = file(RAW, &[0x45; 60]);
            if let Some(one) = capture.get_mut(at) {
                *one = byte;
            }
            capture.truncate(length);
            shorten(&mut capture, &shortener());
        }
    }
}
