//! What kind of file it is, by its first bytes and not by its name.

/// The formats of packet captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// libpcap's, in either byte order, with micro- or nanoseconds.
    Pcap,
    /// pcapng.
    PcapNg,
}

/// The kinds that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Empty,
    /// JSON Lines.
    Archive,
    /// Packets.
    Capture(Format),
    /// Anything that a person can read.
    Text,
    /// Anything else, with what it seems to be.
    Binary(&'static str),
}

/// Beginnings of files that people give by mistake.
const MAGICS: [(&[u8], &str); 12] = [
    (b"\x1f\x8b", "compressed (gzip; unpack it first)"),
    (b"\xfd7zXZ\0", "compressed (xz; unpack it first)"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd; unpack it first)"),
    (b"BZh", "compressed (bzip2; unpack it first)"),
    (b"PK\x03\x04", "an archive (zip; unpack it first)"),
    (b"%PDF-", "a PDF document (copy its text into a file)"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (
        b"snoop\0\0\0",
        "a snoop capture (save it as pcap with `editcap -F pcap`)",
    ),
    (
        b"GMBU",
        "a Network Monitor capture (save it as pcap with `editcap -F pcap`)",
    ),
];

/// Share of control characters, one in so many, above which a file is no text.
const ONE_IN: usize = 10;

/// Tells the kind from a file's beginning.
pub(super) fn kind(head: &[u8]) -> Kind {
    match head {
        [] => return Kind::Empty,
        [0xa1, 0xb2, 0xc3 | 0xcd, 0xd4 | 0x34, ..]
        | [0xd4 | 0x34, 0xc3 | 0xcd, 0xb2, 0xa1, ..]
        | [0xa1, 0xb2, 0x3c, 0x4d, ..]
        | [0x4d, 0x3c, 0xb2, 0xa1, ..] => return Kind::Capture(Format::Pcap),
        [0x0a, 0x0d, 0x0d, 0x0a, ..] => return Kind::Capture(Format::PcapNg),
        _ => {}
    }
    let text = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    if text.starts_with(b"{") && contains(text, b"\"schema\"") && contains(text, b"hoofbeat.") {
        return Kind::Archive;
    }
    if is_utf16(head) {
        return Kind::Text;
    }
    let is_control = |b: &&u8| matches!(**b, 0..=6 | 14..=26 | 28..=31 | 127);
    let controls = head.iter().filter(is_control).count();
    if controls * ONE_IN < head.len() {
        return Kind::Text;
    }
    let known = MAGICS.iter().find(|(magic, _)| head.starts_with(magic));
    Kind::Binary(known.map_or("binary", |(_, what)| *what))
}

/// A byte order mark, or the zeroes between ASCII.
fn is_utf16(head: &[u8]) -> bool {
    matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
        || [0, 1].into_iter().any(|zero| {
            let pairs = head.chunks_exact(2);
            head.len() >= 8
                && pairs.clone().all(|pair| {
                    pair[zero] == 0 && (0x20..0x7f).contains(&pair[1 - zero])
                        || pair.contains(&b'\n')
                        || pair.contains(&b'\r')
                        || pair.contains(&b'\t')
                })
        })
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let utf16: Vec<u8> = "220 mx ESMTP\r\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for (head, expected) in [
            (&b""[..], Kind::Empty),
            (b"220 mx\r\n", Kind::Text),
            (
                b"{\"schema\":\"hoofbeat.measurement/1\",\"id\":\"m1\"}",
                Kind::Archive,
            ),
            (b"{\"a\": 1}", Kind::Text),
            (b"\xd4\xc3\xb2\xa1\x02\0\x04\0", Kind::Capture(Format::Pcap)),
            (b"\xa1\xb2\x3c\x4d\0\x02\0\x04", Kind::Capture(Format::Pcap)),
            (b"\x0a\x0d\x0d\x0a\x1c\0\0\0", Kind::Capture(Format::PcapNg)),
            (
                b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0",
                Kind::Binary("a program"),
            ),
            (b"\0\0\0\0\0\0\0\0", Kind::Binary("binary")),
            (b"MZ is what my initials are\n", Kind::Text),
            (&utf16, Kind::Text),
        ] {
            assert_eq!(kind(head), expected, "{head:?}");
        }
    }

    #[test]
    fn compressed_files_say_so() {
        let head: Vec<u8> = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
            .iter()
            .copied()
            .chain((0..=255).cycle().take(2000))
            .collect();
        assert!(
            matches!(kind(&head), Kind::Binary(what) if what.contains("gzip")),
            "{:?}",
            kind(&head)
        );
    }
}
