//! Devices that are netfilter rules and nothing else: blocked ports, a router's silence, lifted TTLs.
//! They must not need a thread.

use crate::topology::device::flow::Heading;
use crate::topology::device::rules::{Rules, chains, matches};
use crate::topology::device::spec::{BlockSpec, Family, Hook, Refusal, TtlNormaliseSpec};

/// Refuses connections.
pub(super) fn block(spec: &BlockSpec) -> Rules {
    // REJECT is for the filter table, which is behind the TTL check of a router.
    let chains: &[&str] = match spec.hook {
        Hook::Host => &["OUTPUT", "INPUT"],
        _ => &["FORWARD"],
    };
    let mut rules = Rules::default();
    for (family, matches) in matches(&spec.only, spec.only.mail_ports(), Heading::ToServer) {
        let then = match (spec.how, family) {
            (Refusal::Drop, _) => "-j DROP",
            (Refusal::Reset, _) => "-j REJECT --reject-with tcp-reset",
            (Refusal::Icmp, Family::Ipv4) => "-j REJECT --reject-with icmp-admin-prohibited",
            (Refusal::Icmp, Family::Ipv6) => "-j REJECT --reject-with icmp6-adm-prohibited",
        };
        for chain in chains {
            rules.add(family, "filter", chain, &matches, then);
        }
    }
    rules
}

/// Keeps the node's ICMP errors in.
pub(super) fn silence() -> Rules {
    let mut rules = Rules::default();
    for error in ["time-exceeded", "destination-unreachable"] {
        let four = format!("-p icmp --icmp-type {error}");
        rules.add(Family::Ipv4, "filter", "OUTPUT", &four, "-j DROP");
        let six = format!("-p icmpv6 --icmpv6-type {error}");
        rules.add(Family::Ipv6, "filter", "OUTPUT", &six, "-j DROP");
    }
    rules
}

/// Lifts low TTLs.
pub(super) fn lift(spec: &TtlNormaliseSpec) -> Rules {
    let floor = spec.floor;
    let mut rules = Rules::default();
    for heading in [Heading::ToServer, Heading::ToClient] {
        for (family, matches) in matches(&spec.only, &spec.only.ports, heading) {
            let (low, then) = match family {
                Family::Ipv4 => (
                    format!("-m ttl --ttl-lt {floor}"),
                    format!("-j TTL --ttl-set {floor}"),
                ),
                Family::Ipv6 => (
                    format!("-m hl --hl-lt {floor}"),
                    format!("-j HL --hl-set {floor}"),
                ),
            };
            for chain in chains(spec.hook, heading) {
                rules.add(family, "mangle", chain, &format!("{matches} {low}"), &then);
            }
        }
    }
    rules
}
