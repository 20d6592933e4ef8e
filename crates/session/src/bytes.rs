//! How exact bytes look in JSON: readable text where that loses nothing, base64 elsewhere.
//!
//! `"220 mx ESMTP\r\n"` stays a string; anything that is not UTF-8, or holds control characters
//! other than CR, LF and TAB, becomes `{"base64": "…"}`. Use with `#[serde(with = "bytes")]`.

use alloc::{string::String, vec::Vec};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Text(alloc::borrow::Cow<'a, str>),
    Base64 { base64: String },
}

/// Writes bytes as text or as base64.
///
/// # Errors
/// Only those of the serializer.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match core::str::from_utf8(bytes) {
        Ok(text)
            if !text
                .chars()
                .any(|c| c.is_control() && !matches!(c, '\r' | '\n' | '\t')) =>
        {
            Written::Text(text.into()).serialize(serializer)
        }
        _ => Written::Base64 {
            base64: STANDARD.encode(bytes),
        }
        .serialize(serializer),
    }
}

/// Reads what [`serialize`] wrote.
///
/// # Errors
/// When the value is neither a string nor valid base64 in a `base64` member.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Text(text) => Ok(text.into_owned().into_bytes()),
        Written::Base64 { base64 } => STANDARD.decode(base64).map_err(D::Error::custom),
    }
}

/// Bytes as one printable line for a person: CR and LF as `\r` and `\n`, others as `\xNN`.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\r' => out.push_str("\\r"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.extend(core::ascii::escape_default(*byte).map(char::from));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Holder(#[serde(with = "super")] Vec<u8>);

    #[test]
    fn text_stays_readable_and_the_rest_survives() {
        for (bytes, json) in [
            (b"220 mx\r\n".to_vec(), r#""220 mx\r\n""#),
            (vec![0xff, 0], r#"{"base64":"/wA="}"#),
        ] {
            let written = serde_json::to_string(&Holder(bytes.clone())).unwrap();
            assert_eq!(written, json);
            assert_eq!(
                serde_json::from_str::<Holder>(&written).unwrap(),
                Holder(bytes)
            );
        }
    }

    #[test]
    fn printable_is_one_line() {
        assert_eq!(
            printable(b"250 a\r\n\x00\xff\xc3\xa9"),
            "250 a\\r\\n\\u{0}\\xff\u{e9}"
        );
    }
}
