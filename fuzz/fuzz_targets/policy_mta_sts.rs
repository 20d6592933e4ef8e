//! MTA-STS (RFC 8461): TXT records and policy bodies.
#![no_main]

use hoofbeat_policy::mta_sts::{document, record};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let records: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let _ = record::parse(&records);
    let Ok(policy) = document::parse(data) else {
        return;
    };
    assert!(policy.max_age <= document::LONGEST_MAX_AGE);
    for pattern in &policy.mx {
        // What a pattern says of itself must match it, once the star stands for a label.
        let host = pattern.to_string().replacen('*', "mx1", 1);
        assert!(pattern.matches(&host), "{host} against {pattern}");
        assert!(policy.allows(&host));
    }
});
