//! ManageSieve strings: `"quoted"` with backslashes, or `{n}` and n bytes (RFC 5804 §1.2, §4).

use alloc::vec::Vec;

use crate::frame::literal;

/// The strings of one line, unquoted; a bare word counts as one, so that a mangled line is not lost.
pub(crate) fn strings(mut text: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    loop {
        text = text.trim_ascii_start();
        let (string, rest) = match text.first() {
            None => return found,
            Some(b'"') => quoted(text.get(1..).unwrap_or_default()),
            Some(b'{') => counted(text),
            Some(_) => {
                let end = text
                    .iter()
                    .position(|byte| byte.is_ascii_whitespace())
                    .unwrap_or(text.len());
                let (word, rest) = text.split_at(end);
                (word.to_vec(), rest)
            }
        };
        found.push(string);
        text = rest;
    }
}

fn quoted(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut string = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (string, text.get(at + 1..).unwrap_or_default()),
            b'\\' => string.extend(bytes.next().map(|(_, escaped)| *escaped)),
            other => string.push(*other),
        }
    }
    (string, &[])
}

fn counted(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let close = text
        .iter()
        .position(|byte| *byte == b'}')
        .map_or(text.len(), |at| at + 1);
    let (mark, rest) = text.split_at(close);
    let rest = rest
        .strip_prefix(b"\r\n")
        .or_else(|| rest.strip_prefix(b"\n"))
        .unwrap_or(rest);
    match literal(mark) {
        Some(length) => {
            let (string, rest) = rest.split_at(length.min(rest.len()));
            (string.to_vec(), rest)
        }
        None => (mark.to_vec(), rest),
    }
}

#[cfg(test)]
mod tests {
    use super::strings;

    #[test]
    fn every_form_is_read() {
        assert_eq!(
            strings(b"\"SASL\" {5}\r\nPLAIN \"a\\\"b\" XX"),
            [&b"SASL"[..], b"PLAIN", b"a\"b", b"XX"]
        );
        assert_eq!(strings(b"\"open"), [b"open"]);
        assert_eq!(strings(b"{9}\r\nabc"), [b"abc"]);
        assert_eq!(strings(b"{x} \""), [&b"{x}"[..], b""]);
    }
}
