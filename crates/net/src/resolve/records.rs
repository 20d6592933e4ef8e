//! What an answer's records say, for the few types that mail needs.
//!
//! Only records of the name that the question leads to, aliases followed; a forged extra counts for nothing.

use std::net::IpAddr;

use bytes::Bytes;
use domain::{
    base::{Rtype, iana::OptRcode, message::Message, name::ToName, rdata::ParseRecordData},
    rdata::{A, Aaaa, AllRecordData, Mx, Ptr, Srv, Txt},
};
use hoofbeat_observation::{Failure, FailureKind, Operation, Question, Record};

/// Most records of one answer that are kept.
const MOST_RECORDS: usize = 64;

pub(super) const fn rtype(question: Question) -> Rtype {
    match question {
        Question::Mx => Rtype::MX,
        Question::Srv => Rtype::SRV,
        Question::A => Rtype::A,
        Question::Aaaa => Rtype::AAAA,
        Question::Txt => Rtype::TXT,
        Question::Tlsa => Rtype::TLSA,
        Question::Ptr => Rtype::PTR,
    }
}

/// The records of an answer, or why there are none.
pub(super) fn read(message: &Message<Bytes>, question: Question) -> (Vec<Record>, Option<Failure>) {
    let failed = |kind, raw: String| {
        (
            Vec::new(),
            Some(Failure {
                operation: Operation::Resolve,
                kind,
                raw,
            }),
        )
    };
    match message.opt_rcode() {
        OptRcode::NOERROR => {}
        OptRcode::NXDOMAIN => {
            return failed(
                FailureKind::NoSuchName,
                "the name does not exist".to_owned(),
            );
        }
        other => {
            return failed(
                FailureKind::ResolverFailed,
                format!("the resolver answered {other}"),
            );
        }
    }
    let records = match question {
        Question::A => collect(message, |data: A| Record::Address(IpAddr::V4(data.addr()))),
        Question::Aaaa => collect(message, |data: Aaaa| {
            Record::Address(IpAddr::V6(data.addr()))
        }),
        Question::Mx => collect(message, |data: Mx<_>| {
            Record::Mx(data.preference(), name(data.exchange()))
        }),
        Question::Srv => collect(message, |data: Srv<_>| {
            Record::Srv(
                data.priority(),
                data.weight(),
                data.port(),
                name(data.target()),
            )
        }),
        Question::Txt => collect(message, |data: Txt<_>| Record::Txt(data.text())),
        Question::Tlsa => tlsa(message),
        Question::Ptr => collect(message, |data: Ptr<_>| Record::Ptr(name(data.ptrdname()))),
    };
    match records {
        Some(records) if records.is_empty() => (records, Some(super::no_such_record())),
        Some(records) => (records, None),
        None => failed(
            FailureKind::ResolverFailed,
            "the resolver's answer is malformed".to_owned(),
        ),
    }
}

fn collect<'a, Data: ParseRecordData<'a, Bytes>>(
    message: &'a Message<Bytes>,
    record: impl Fn(Data) -> Record,
) -> Option<Vec<Record>> {
    let owner = message.canonical_name()?;
    let mut found = Vec::new();
    for entry in message.answer().ok()?.limit_to_in::<Data>() {
        let entry = entry.ok()?;
        if entry.owner().name_eq(&owner) && found.len() < MOST_RECORDS {
            found.push(record(entry.into_data()));
        }
    }
    Some(found)
}

/// TLSA has no reader of its own in the library, only among all types.
fn tlsa(message: &Message<Bytes>) -> Option<Vec<Record>> {
    let read = |data: AllRecordData<Bytes, _>| match data {
        AllRecordData::Tlsa(data) => {
            let numbers = [
                data.usage().to_int(),
                data.selector().to_int(),
                data.matching_type().to_int(),
            ];
            Some(Record::Tlsa([&numbers, data.data().as_ref()].concat()))
        }
        _ => None,
    };
    let owner = message.canonical_name()?;
    let mut found = Vec::new();
    for entry in message.answer().ok()? {
        let entry = entry.ok()?;
        if entry.rtype() == Rtype::TLSA
            && entry.owner().name_eq(&owner)
            && found.len() < MOST_RECORDS
        {
            found.extend(
                entry
                    .to_record()
                    .ok()?
                    .and_then(|record| read(record.into_data())),
            );
        }
    }
    Some(found)
}

/// Lower case, without the final dot; the root alone is `.`.
fn name(name: &impl ToName) -> String {
    let text = name.to_vec().to_string().to_ascii_lowercase();
    match text.strip_suffix('.') {
        Some("") | None if text.is_empty() || text == "." => ".".to_owned(),
        Some(text) => text.to_owned(),
        None => text,
    }
}
