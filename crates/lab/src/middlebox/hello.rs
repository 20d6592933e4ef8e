//! Reads just enough of a TLS ClientHello for a box that hates TLS 1.3: where it offers that version.
//! It must not parse anything else. RFC 8446 §4.1.2, §4.2.1.

/// The extension that lists versions.
const SUPPORTED_VERSIONS: u16 = 43;
/// TLS 1.3 on the wire.
const TLS13: u16 = 0x0304;

/// Whether `bytes` begin with a whole TLS record.
pub fn whole_record(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, _, high, low, rest @ ..] => {
            rest.len() >= usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
}

/// The offsets in `record` at which the ClientHello offers TLS 1.3. Empty for anything else, and for broken bytes.
pub fn offers_of_tls13(record: &[u8]) -> Vec<usize> {
    find(record).unwrap_or_default()
}

fn find(record: &[u8]) -> Option<Vec<usize>> {
    let mut cursor = Cursor {
        bytes: record,
        at: 0,
    };
    if cursor.number(1)? != 22 {
        return None;
    }
    cursor.skip(4)?;
    if cursor.number(1)? != 1 {
        return None;
    }
    // Length, version, random; then session id, cipher suites, compression methods.
    cursor.skip(3 + 2 + 32)?;
    let session_id = cursor.number(1)?;
    cursor.skip(session_id)?;
    let suites = cursor.number(2)?;
    cursor.skip(suites)?;
    let methods = cursor.number(1)?;
    cursor.skip(methods)?;
    cursor.skip(2)?;
    loop {
        let kind = cursor.number(2)?;
        let length = cursor.number(2)?;
        if kind == usize::from(SUPPORTED_VERSIONS) {
            let list = cursor.number(1)?;
            let start = cursor.at;
            return Some(
                (0..list / 2)
                    .map(|number| start + number * 2)
                    .filter(|&at| record.get(at..at + 2) == Some(&TLS13.to_be_bytes()))
                    .collect(),
            );
        }
        cursor.skip(length)?;
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn number(&mut self, size: usize) -> Option<usize> {
        let bytes = self.bytes.get(self.at..self.at + size)?;
        self.at += size;
        Some(
            bytes
                .iter()
                .fold(0, |number, &byte| number << 8 | usize::from(byte)),
        )
    }

    fn skip(&mut self, size: usize) -> Option<()> {
        self.at = self.at.checked_add(size)?;
        (self.at <= self.bytes.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_real_hello_offers_tls13_once() {
        let record = hello();
        assert!(whole_record(&record));
        let offers = offers_of_tls13(&record);
        assert_eq!(offers.len(), 1);
        let at = offers.first().copied().expect("one offer");
        assert_eq!(record.get(at..at + 2), Some(&[3u8, 4][..]));
    }

    fn hello() -> Vec<u8> {
        use std::sync::Arc;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = "localhost".try_into().expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("a hello");
        bytes
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            offers_of_tls13(&bytes);
            whole_record(&bytes);
        }

        #[test]
        fn a_cut_or_spoiled_hello_never_panics(cut in 0usize..300, at in 0usize..300, byte in any::<u8>()) {
            let mut record = hello();
            if let Some(place) = record.get_mut(at) { *place = byte; }
            record.truncate(cut);
            offers_of_tls13(&record);
        }
    }
}
