//! The `_mta-sts` TXT record (RFC 8461 §3.1): whether a policy is announced, and under which id.
//!
//! Strict as the ABNF, because a sender must treat anything else as "no policy"; it must not know
//! what the policy says.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
};

/// What the TXT records of `_mta-sts.<domain>` come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordOutcome {
    /// No record begins with `v=STSv1;`: the domain announces nothing.
    Absent,
    /// Exactly one valid record.
    Valid {
        /// The policy's id, 1 to 32 letters and digits: it changes when the policy does.
        id: String,
    },
    /// Something was meant, and senders must ignore it.
    Invalid {
        /// Why, as a phrase.
        why: String,
    },
}

/// Reads all TXT records of `_mta-sts.<domain>`, each with its strings joined.
///
/// Records that do not begin with `v=STSv1;` are other people's and are passed over; more than one
/// that does is as good as none (RFC 8461 §3.1).
///
/// ```
/// use hoofbeat_policy::mta_sts::record::{RecordOutcome, parse};
/// let records: [&[u8]; 2] = [b"v=STSv1; id=20160831085700Z;", b"something else"];
/// assert_eq!(parse(&records), RecordOutcome::Valid { id: "20160831085700Z".into() });
/// ```
#[must_use]
pub fn parse(txt_records: &[&[u8]]) -> RecordOutcome {
    let mut announced = txt_records.iter().filter_map(|record| fields_of(record));
    match (announced.next(), announced.next()) {
        (None, _) => RecordOutcome::Absent,
        (Some(_), Some(_)) => invalid("more than one record begins with v=STSv1;"),
        (Some(fields), None) => match id_of(fields) {
            Ok(id) => RecordOutcome::Valid { id },
            Err(why) => invalid(why),
        },
    }
}

fn invalid(why: &str) -> RecordOutcome {
    RecordOutcome::Invalid {
        why: why.to_owned(),
    }
}

/// What follows `v=STSv1` and its delimiter, or nothing where the record is of another kind.
fn fields_of(record: &[u8]) -> Option<&[u8]> {
    let rest = record.strip_prefix(b"v=STSv1")?;
    skip_blanks(rest).strip_prefix(b";").map(skip_blanks)
}

fn id_of(fields: &[u8]) -> Result<String, &'static str> {
    let mut id = None;
    let mut rest = fields;
    // A delimiter at the very end is allowed, an empty field elsewhere is not.
    while !rest.is_empty() {
        let (field, behind) = match rest.iter().position(|&b| b == b';') {
            Some(at) => (&rest[..at], skip_blanks(&rest[at + 1..])),
            None => (rest, &rest[rest.len()..]),
        };
        let field = trim_end_blanks(field);
        let text = core::str::from_utf8(field).map_err(|_| "a field is not plain text")?;
        let (name, value) = text.split_once('=').ok_or("a field has no value")?;
        if !is_field_name(name) {
            return Err("a field's name is malformed");
        }
        if value.is_empty()
            || !value
                .bytes()
                .all(|b| matches!(b, 0x21..=0x3a | 0x3c | 0x3e..=0x7e))
        {
            return Err("a field's value is malformed");
        }
        if name == "id" {
            if value.len() > 32 || !value.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err("the id is not 1 to 32 letters and digits");
            }
            if id.replace(value.to_string()).is_some() {
                return Err("there is more than one id");
            }
        }
        rest = behind;
    }
    id.ok_or("there is no id")
}

fn is_field_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() <= 32
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let from = bytes
        .iter()
        .position(|b| !matches!(b, b' ' | b'\t'))
        .unwrap_or(bytes.len());
    &bytes[from..]
}

fn trim_end_blanks(bytes: &[u8]) -> &[u8] {
    let to = bytes
        .iter()
        .rposition(|b| !matches!(b, b' ' | b'\t'))
        .map_or(0, |last| last + 1);
    &bytes[..to]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn id(record: &str) -> Option<String> {
        match parse(&[record.as_bytes()]) {
            RecordOutcome::Valid { id } => Some(id),
            _ => None,
        }
    }

    #[test]
    fn the_grammar_of_rfc_8461() {
        for good in [
            "v=STSv1; id=20160831085700Z;",
            "v=STSv1;id=20160831085700Z",
            "v=STSv1 ;\tid=20160831085700Z ; ext.a-b_c=x:y",
            "v=STSv1; ext=1; id=20160831085700Z",
        ] {
            assert_eq!(id(good).as_deref(), Some("20160831085700Z"), "{good}");
        }
        for bad in [
            "v=STSv1; id=",
            "v=STSv1; id=a-b",
            "v=STSv1; id=123456789012345678901234567890123",
            "v=STSv1; id=a; id=b",
            "v=STSv1; ext=1",
            "v=STSv1;",
            "v=STSv1; id=a;;",
            "v=STSv1; ID=a",
            "v=STSv1; id = a",
            "v=STSv1; -x=a; id=a",
        ] {
            assert!(
                matches!(parse(&[bad.as_bytes()]), RecordOutcome::Invalid { .. }),
                "{bad}"
            );
        }
        for foreign in [
            "",
            "v=STSv1",
            "v=STSv2; id=a",
            "V=STSv1; id=a",
            " v=STSv1; id=a",
            "v=spf1 -all",
        ] {
            assert_eq!(
                parse(&[foreign.as_bytes()]),
                RecordOutcome::Absent,
                "{foreign}"
            );
        }
    }

    #[test]
    fn two_announcements_are_none() {
        let records: [&[u8]; 3] = [b"v=STSv1; id=a", b"v=spf1 -all", b"v=STSv1; id=b"];
        assert!(matches!(parse(&records), RecordOutcome::Invalid { .. }));
        assert_eq!(
            parse(&records[..2]),
            RecordOutcome::Valid { id: "a".into() }
        );
        assert_eq!(parse(&[]), RecordOutcome::Absent);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..4)) {
            let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            let _ = parse(&records);
        }

        #[test]
        fn a_valid_id_is_kept_as_it_is(wanted in "[A-Za-z0-9]{1,32}", tail in "( ?; ?[a-z][a-z0-9]{0,5}=[a-z:]{1,9}){0,3}") {
            prop_assume!(!tail.contains("id="));
            let record = alloc::format!("v=STSv1; id={wanted}{tail}");
            prop_assert_eq!(id(&record), Some(wanted));
        }
    }
}
