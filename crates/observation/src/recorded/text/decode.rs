//! Bytes of a text file, whatever its encoding, as bytes in which ASCII is ASCII.
//!
//! UTF-16 with or without a byte order mark becomes UTF-8 as it streams by; UTF-8 and Latin-1 pass
//! untouched, for only their ASCII matters before a line is looked at. It must not know lines.

use alloc::{borrow::Cow, string::String, vec::Vec};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Bytes,
    Utf16 { big_endian: bool },
}

/// Decodes a stream in parts.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    encoding: Option<Encoding>,
    /// Bytes that do not make a whole unit, or are too few to tell the encoding.
    carry: Vec<u8>,
    /// The first half of a surrogate pair.
    high: Option<u16>,
}

impl Decoder {
    /// The next part, decoded.
    pub(super) fn feed<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match self.encoding {
            Some(Encoding::Bytes) => Cow::Borrowed(bytes),
            Some(Encoding::Utf16 { big_endian }) => Cow::Owned(self.utf16(big_endian, bytes)),
            None => {
                self.carry.extend_from_slice(bytes);
                if self.carry.len() < 4 {
                    return Cow::Borrowed(&[]);
                }
                self.decide()
            }
        }
    }

    /// What was too short to tell.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        if self.encoding.is_none() && !self.carry.is_empty() {
            self.decide().into_owned()
        } else {
            Vec::new()
        }
    }

    fn decide(&mut self) -> Cow<'static, [u8]> {
        let start = core::mem::take(&mut self.carry);
        let (encoding, mark) = match *start {
            [0xff, 0xfe, ..] => (Encoding::Utf16 { big_endian: false }, 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16 { big_endian: true }, 2),
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Bytes, 3),
            [a, 0, b, 0, ..] if a != 0 && b != 0 => (Encoding::Utf16 { big_endian: false }, 0),
            [0, a, 0, b, ..] if a != 0 && b != 0 => (Encoding::Utf16 { big_endian: true }, 0),
            _ => (Encoding::Bytes, 0),
        };
        self.encoding = Some(encoding);
        let rest = start.get(mark..).unwrap_or_default().to_vec();
        match encoding {
            Encoding::Bytes => Cow::Owned(rest),
            Encoding::Utf16 { big_endian } => Cow::Owned(self.utf16(big_endian, &rest)),
        }
    }

    fn utf16(&mut self, big_endian: bool, bytes: &[u8]) -> Vec<u8> {
        self.carry.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.carry.len() / 2 + 4);
        let whole = self.carry.len() & !1;
        for pair in self.carry.get(..whole).unwrap_or_default().chunks_exact(2) {
            let &[a, b] = pair else { continue };
            let unit = if big_endian {
                u16::from_be_bytes([a, b])
            } else {
                u16::from_le_bytes([a, b])
            };
            let pending = self.high.take();
            match (pending, unit) {
                (Some(high), 0xdc00..=0xdfff) => {
                    text.extend(
                        char::decode_utf16([high, unit])
                            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)),
                    );
                }
                (pending, unit) => {
                    text.extend(pending.map(|_| char::REPLACEMENT_CHARACTER));
                    if (0xd800..=0xdbff).contains(&unit) {
                        self.high = Some(unit);
                    } else {
                        text.push(
                            char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER),
                        );
                    }
                }
            }
        }
        self.carry.drain(..whole);
        text.into_bytes()
    }
}

/// One line as text: UTF-8 where it is, Latin-1 otherwise, terminal colours left out.
pub(super) fn line(bytes: &[u8]) -> Cow<'_, str> {
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|b| char::from(*b)).collect::<String>()),
    };
    if memchr::memchr(0x1b, text.as_bytes()).is_none() {
        text
    } else {
        Cow::Owned(without_colours(&text))
    }
}

/// Leaves out `ESC [ … letter`, `ESC ] … BEL` and other escapes of one letter (ECMA-48 §5.4).
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('[') => {
                chars.find(|c| ('@'..='~').contains(c));
            }
            Some(']') => {
                chars.find(|c| *c == '\u{7}');
            }
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], cut: usize) -> Vec<u8> {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for part in bytes.chunks(cut) {
            out.extend_from_slice(&decoder.feed(part));
        }
        out.extend(decoder.finish());
        out
    }

    #[test]
    fn utf16_streams_by() {
        let text = "220 mx é 😀\r\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|u| u.to_le_bytes()).collect();
        let big: Vec<u8> = [0xfe, 0xff]
            .into_iter()
            .chain(units.iter().flat_map(|u| u.to_be_bytes()))
            .collect();
        for cut in [1, 2, 3, 7, 100] {
            assert_eq!(decoded(&little, cut), text.as_bytes());
            assert_eq!(decoded(&big, cut), text.as_bytes());
            assert_eq!(decoded(text.as_bytes(), cut), text.as_bytes());
        }
        assert_eq!(decoded(b"22", 1), b"22");
    }

    #[test]
    fn colours_and_latin1() {
        assert_eq!(line(b"\x1b[1;32m220 mx\x1b[0m"), "220 mx");
        assert_eq!(line(b"gr\xfc\xdfe"), "grüße");
    }
}
