//! TLSA records (RFC 6698): any record data, held against any certificate.
#![no_main]

use hoofbeat_policy::tlsa::{Matching, TlsaRecord};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(record) = TlsaRecord::parse(data) else {
        return;
    };
    let (certificate, key) = data.split_at(data.len() / 2);
    let matches = record.matches(certificate, key);
    assert!(
        !matches || !matches!(record.matching, Matching::Other(_)),
        "an unknown matching type matched"
    );
    let _ = record.is_usable_for_smtp();
    // "Full" matching matches itself, whatever it is.
    let full = TlsaRecord {
        matching: Matching::Full,
        ..record.clone()
    };
    assert!(
        full.matches(&record.association, &record.association)
            || matches!(full.selector, hoofbeat_policy::tlsa::Selector::Other(_))
    );
});
