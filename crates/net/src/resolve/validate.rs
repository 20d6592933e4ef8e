//! From a validator's word to the four states of RFC 4035 §4.3, with the doubt that the word deserves.
//!
//! No validator tells "signed and wrong" from "somebody drops DS and DNSKEY questions": both come out as
//! bogus. So bogus is only believed when the anchor itself validates, when every delegation on the way
//! is answered, and when the same question fails again from an empty memory.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    base::{Name, Rtype, iana::OptRcode, message::Message, name::ToName, opt::ExtendedError},
    dnssec::validator::context::{ValidationContext, ValidationState},
};
use hoofbeat_observation::DnsStatus;

use super::upstream::{Connection, Upstream};

/// Longest validation, in limits of one question: a chain has several links, each cached for the next name.
const VALIDATION_LIMITS: u32 = 3;

/// Most names whose chains are checked before bogus is believed.
const MOST_NAMES: usize = 4;

/// Most labels of one name whose delegations are checked.
const MOST_LABELS: usize = 10;

/// The validator has no P-384 and no Edwards curves and calls such zones insecure: that is not known.
const UNSUPPORTED: &str = "No supported algorithm";

/// The status of an answer, and the validator's reason.
pub(super) async fn status(
    upstream: &Upstream,
    message: &Message<Bytes>,
    limit: Duration,
) -> (DnsStatus, Option<String>) {
    if !matches!(message.opt_rcode(), OptRcode::NOERROR | OptRcode::NXDOMAIN) {
        return (DnsStatus::Indeterminate, None);
    }
    let whole = async {
        let (status, why) = judge(upstream.validator(limit).await, message.clone()).await;
        match status {
            DnsStatus::Bogus => confirm(upstream, message, limit, why).await,
            status => (status, why),
        }
    };
    match tokio::time::timeout(limit.saturating_mul(VALIDATION_LIMITS), whole).await {
        Ok(found) => found,
        Err(_) => (
            DnsStatus::Indeterminate,
            Some("validation took too long".to_owned()),
        ),
    }
}

/// The validator's word. In a task of its own: a panic over foreign bytes must end nothing but itself.
async fn judge(
    validator: Arc<ValidationContext<Connection>>,
    mut message: Message<Bytes>,
) -> (DnsStatus, Option<String>) {
    let task = tokio::spawn(async move {
        let found = validator.validate_msg::<Bytes, Vec<u8>>(&mut message).await;
        found.map(|(state, why)| (state, why.map(|why| in_words(&why))))
    });
    match task.await {
        Ok(Ok((ValidationState::Secure, why))) => (DnsStatus::Secure, why),
        Ok(Ok((ValidationState::Insecure, why))) => match why {
            Some(why) if why.contains(UNSUPPORTED) => (DnsStatus::Indeterminate, Some(why)),
            why => (DnsStatus::Insecure, why),
        },
        Ok(Ok((ValidationState::Bogus, why))) => (DnsStatus::Bogus, why),
        Ok(Ok((ValidationState::Indeterminate, why))) => (DnsStatus::Indeterminate, why),
        Ok(Err(error)) => (DnsStatus::Indeterminate, Some(error.to_string())),
        Err(_) => (
            DnsStatus::Indeterminate,
            Some("the validator gave up".to_owned()),
        ),
    }
}

async fn confirm(
    upstream: &Upstream,
    message: &Message<Bytes>,
    limit: Duration,
    why: Option<String>,
) -> (DnsStatus, Option<String>) {
    let doubt = |reason: &str| (DnsStatus::Indeterminate, Some(reason.to_owned()));
    let anchor = anchor_owner(&upstream.anchor);
    let validator = upstream.fresh_validator(limit).await;
    let anchored = match upstream.ask(anchor.clone(), Rtype::SOA, limit).await {
        Ok(answer) => judge(Arc::clone(&validator), answer).await.0,
        Err(_) => DnsStatus::Indeterminate,
    };
    if anchored != DnsStatus::Secure {
        return doubt("not even the trust anchor's own zone validates through this resolver");
    }
    for name in names(message) {
        if !is_chain_answered(upstream, &anchor, &name, limit).await {
            return doubt("questions for DS or DNSKEY are not answered");
        }
    }
    let Ok(question) = message.sole_question() else {
        return doubt("the answer has no question");
    };
    match upstream
        .ask(question.qname().to_vec(), question.qtype(), limit)
        .await
    {
        Ok(again) if matches!(again.opt_rcode(), OptRcode::NOERROR | OptRcode::NXDOMAIN) => {
            let (status, reason) = judge(validator, again).await;
            (status, reason.or(why))
        }
        _ => doubt("asked again, the resolver did not answer"),
    }
}

/// Whether each delegation from the anchor down to a name is answered: DS or its absence, and the keys where
/// there is a DS.
async fn is_chain_answered(
    upstream: &Upstream,
    anchor: &Name<Vec<u8>>,
    name: &Name<Vec<u8>>,
    limit: Duration,
) -> bool {
    let has = |answer: &Message<Bytes>, rtype| {
        answer
            .answer()
            .is_ok_and(|mut section| section.any(|r| r.is_ok_and(|r| r.rtype() == rtype)))
    };
    let useful = |answer: &Message<Bytes>| {
        matches!(answer.opt_rcode(), OptRcode::NOERROR | OptRcode::NXDOMAIN)
    };
    let below_anchor: Vec<Name<Vec<u8>>> = name
        .iter_suffixes()
        .map(|suffix| suffix.to_vec())
        .filter(|suffix| suffix.ends_with(anchor) && suffix != anchor)
        .take(MOST_LABELS)
        .collect();
    for zone in below_anchor.into_iter().rev() {
        match upstream.ask(zone.clone(), Rtype::DS, limit).await {
            Ok(answer) if useful(&answer) => {
                if has(&answer, Rtype::DS) {
                    match upstream.ask(zone, Rtype::DNSKEY, limit).await {
                        Ok(keys) if useful(&keys) && has(&keys, Rtype::DNSKEY) => {}
                        _ => return false,
                    }
                }
            }
            _ => return false,
        }
    }
    true
}

/// The name that was asked for, and those that its aliases lead to.
fn names(message: &Message<Bytes>) -> Vec<Name<Vec<u8>>> {
    let asked = message
        .sole_question()
        .ok()
        .map(|question| question.qname().to_vec());
    let owners = message
        .answer()
        .ok()
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|r| r.owner().to_vec());
    let mut names: Vec<Name<Vec<u8>>> = Vec::new();
    for name in asked.into_iter().chain(owners) {
        if !names.contains(&name) && names.len() < MOST_NAMES {
            names.push(name);
        }
    }
    names
}

fn anchor_owner(anchor: &[u8]) -> Name<Vec<u8>> {
    let text = String::from_utf8_lossy(anchor);
    let first = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with(';'));
    let owner = first.and_then(|line| line.split_whitespace().next());
    owner
        .and_then(|owner| Name::vec_from_str(owner).ok())
        .unwrap_or_else(Name::root_vec)
}

fn in_words(error: &ExtendedError<Vec<u8>>) -> String {
    match error.text_slice() {
        Some(text) if !text.is_empty() => String::from_utf8_lossy(text).into_owned(),
        _ => error.code().to_string(),
    }
}
