//! What is known of the addresses that traces met: our own, the systems of a local table, reverse names.
//!
//! Names are asked for politely: of public addresses alone, all at once, each once, within a bound. It must not conclude
//! a place.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use futures_util::{StreamExt, stream};
use hoofbeat_net::sys;
use hoofbeat_observation::{
    AddressFact, Body, Measurement, Question, Record, Surroundings, address::is_private,
};

use super::{PrefixTable, routers};
use crate::Context;

/// Most addresses that are recorded.
const MOST_ADDRESSES: usize = 256;

/// Names that are asked for at a time.
const AT_ONCE: usize = 16;

/// Longest wait for all names together: they are a hint.
const NAMES: Duration = Duration::from_secs(3);

/// Collects what is known of every router, and of every service, in the traces among `traces`.
pub async fn surroundings(
    traces: &[Measurement],
    table: Option<&PrefixTable>,
    context: &Context,
) -> Measurement {
    let mut addresses = BTreeSet::new();
    for trace in traces.iter().filter_map(Measurement::trace) {
        addresses.extend(trace.service.address);
        addresses.extend(routers(trace));
    }
    let facts = addresses.into_iter().take(MOST_ADDRESSES).map(|address| {
        let known = table.and_then(|table| table.lookup(address));
        AddressFact {
            address,
            asn: known.map(|(asn, _)| asn),
            holder: known.and_then(|(_, name)| name.map(str::to_owned)),
            reverse: None,
        }
    });
    let mut facts: Vec<AddressFact> = facts.collect();
    let limit = NAMES.min(context.time_left());
    let until = tokio::time::Instant::now() + limit;
    let names = stream::iter(facts.iter().map(|fact| fact.address))
        .map(|address| async move {
            tokio::time::timeout_at(until, reverse_name(address, context))
                .await
                .ok()
                .flatten()
        })
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    for (fact, name) in facts.iter_mut().zip(names) {
        fact.reverse = name;
    }
    let own = sys::own_addresses().unwrap_or_default();
    let surroundings = Surroundings {
        own: own
            .into_iter()
            .filter(|(address, _)| !address.is_loopback())
            .collect(),
        public: None,
        addresses: facts,
        table: table.map(PrefixTable::describe),
    };
    context.measurement(Body::Surroundings(surroundings))
}

async fn reverse_name(address: IpAddr, context: &Context) -> Option<String> {
    if !is_public(address) {
        return None;
    }
    let name = reverse_question(address);
    let answer = context
        .resolver
        .ask(&name, Question::Ptr, &context.clock)
        .await;
    answer
        .lookup()
        .records
        .iter()
        .find_map(|record| match record {
            Record::Ptr(name) => Some(name.clone()),
            _ => None,
        })
}

/// The name under which an address's name is found: RFC 1035 §3.5, RFC 3596 §2.5.
fn reverse_question(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev();
            let mut name: String = nibbles
                .map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4))
                .collect();
            name += "ip6.arpa";
            name
        }
    }
}

/// Whether the world's DNS may know it: the special ranges of RFC 6890 tell of nobody but ourselves.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            !(is_private(address.into())
                || address.is_loopback()
                || address.is_documentation()
                || address.is_multicast()
                || a == 0
                || a >= 240
                || (a == 198 && (18..20).contains(&b))
                || address.octets().starts_with(&[192, 0, 0]))
        }
        // What is routed in the world begins with 001 (RFC 4291 §2.4); of it RFC 3849's is for documents.
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0xdb8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_addresses() {
        assert_eq!(
            reverse_question([192, 0, 2, 7].into()),
            "7.2.0.192.in-addr.arpa"
        );
        let v6 = reverse_question("2001:db8::567:89ab".parse().unwrap());
        assert_eq!(
            v6,
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn nobody_is_asked_about_private_addresses() {
        for text in [
            "10.1.2.3",
            "192.168.7.1",
            "172.16.0.1",
            "100.64.0.1",
            "169.254.1.1",
            "198.18.0.1",
            "127.0.0.1",
            "224.0.0.1",
            "fe80::1",
            "fd00::1",
            "::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["8.8.8.8", "100.128.0.1", "2a00::1", "198.20.0.1"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
