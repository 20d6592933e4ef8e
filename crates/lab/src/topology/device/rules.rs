//! The netfilter rules that lead packets to a device, as the text that `iptables-restore` takes.
//! IPv4 and IPv6. It must not know what a device does with a packet.

use std::fmt::Write as _;

use crate::topology::device::DeviceError;
use crate::topology::device::flow::Heading;
use crate::topology::device::spec::{Family, Hook, Only, Prefix};
use crate::topology::namespace::Node;
use crate::topology::tool::feed;

/// Rules of both families.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    family: Family,
    table: &'static str,
    text: String,
}

/// Both families.
pub(super) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

impl Rules {
    /// One rule more: `chain`, what it matches, what then.
    pub(super) fn add(
        &mut self,
        family: Family,
        table: &'static str,
        chain: &str,
        matches: &str,
        then: &str,
    ) {
        self.rules.push(Rule {
            family,
            table,
            text: format!("{chain} {matches} {then}"),
        });
    }

    /// Puts the rules in.
    pub(super) fn install(&self, node: &Node) -> Result<(), DeviceError> {
        for family in FAMILIES {
            self.run(node, family, 'A')?;
        }
        Ok(())
    }

    /// Takes the rules out, as far as they are there.
    pub(super) fn remove(&self, node: &Node) {
        for family in FAMILIES {
            // The namespace may be gone already, and its rules with it.
            let _ = self.run(node, family, 'D');
        }
    }

    fn run(&self, node: &Node, family: Family, verb: char) -> Result<(), DeviceError> {
        let script = self.script(family, verb);
        if script.is_empty() {
            return Ok(());
        }
        let program = match family {
            Family::Ipv4 => "iptables-restore",
            Family::Ipv6 => "ip6tables-restore",
        };
        Ok(feed(Some(node), program, &["--noflush"], &script)?)
    }

    /// The text that `iptables-restore` takes.
    fn script(&self, family: Family, verb: char) -> String {
        let mut script = String::new();
        let mut tables: Vec<&str> = Vec::new();
        let own = || self.rules.iter().filter(|rule| rule.family == family);
        for rule in own() {
            if !tables.contains(&rule.table) {
                tables.push(rule.table);
            }
        }
        for table in tables {
            // Writing to a string cannot fail.
            let _ = writeln!(script, "*{table}");
            for rule in own().filter(|rule| rule.table == table) {
                let _ = writeln!(script, "-{verb} {}", rule.text);
            }
            script.push_str("COMMIT\n");
        }
        script
    }
}

/// The chains of the mangle table through which packets pass a device at `hook`.
pub(super) fn chains(hook: Hook, heading: Heading) -> &'static [&'static str] {
    match (hook, heading) {
        (Hook::Egress | Hook::Bridge, _) => &["FORWARD"],
        (Hook::Ingress, _)
        | (Hook::ClientLink, Heading::ToServer)
        | (Hook::ServerLink, Heading::ToClient) => &["PREROUTING"],
        (Hook::ClientLink, Heading::ToClient) | (Hook::ServerLink, Heading::ToServer) => {
            &["POSTROUTING"]
        }
        (Hook::Host, _) => &["OUTPUT", "INPUT"],
    }
}

/// What packets travelling this way match, family by family: TCP's with these ports, or all of IP.
pub(super) fn matches(only: &Only, ports: &[u16], heading: Heading) -> Vec<(Family, String)> {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    let ports = ports.join(",");
    // Which end is the source.
    let (port, client, server) = match heading {
        Heading::ToServer => ("dports", "-s", "-d"),
        Heading::ToClient => ("sports", "-d", "-s"),
    };
    let mut all = Vec::new();
    for (family, clients, servers) in parties(only) {
        for one in &clients {
            for other in &servers {
                let mut words = Vec::new();
                if !ports.is_empty() {
                    words.push(format!("-p tcp -m multiport --{port} {ports}"));
                }
                for (flag, prefix) in [(client, one), (server, other)] {
                    if let Some(Prefix { address, bits }) = prefix {
                        words.push(format!("{flag} {address}/{bits}"));
                    }
                }
                all.push((family, words.join(" ")));
            }
        }
    }
    all
}

/// Prefixes that a rule is written for; `None` stands for any.
type Parties = Vec<Option<Prefix>>;

/// Per family the clients and the servers that a device is for.
fn parties(only: &Only) -> Vec<(Family, Parties, Parties)> {
    let of = |all: &[Prefix], family| -> Parties {
        if all.is_empty() {
            return vec![None];
        }
        all.iter()
            .filter(|prefix| prefix.family() == family)
            .map(|prefix| Some(*prefix))
            .collect()
    };
    FAMILIES
        .into_iter()
        .filter(|family| only.family.is_none_or(|wanted| wanted == *family))
        .map(|family| (family, of(&only.clients, family), of(&only.servers, family)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::try_from(text.to_owned()).expect("a prefix")
    }

    #[test]
    fn both_families_and_both_directions() {
        let only = Only::default();
        let mut rules = Rules::default();
        for heading in [Heading::ToServer, Heading::ToClient] {
            for (family, matches) in matches(&only, &[25, 587], heading) {
                for chain in chains(Hook::ClientLink, heading) {
                    rules.add(family, "mangle", chain, &matches, "-j ACCEPT");
                }
            }
        }
        let expected = "*mangle\n-A PREROUTING -p tcp -m multiport --dports 25,587 -j ACCEPT\n-A POSTROUTING -p tcp -m multiport --sports 25,587 -j ACCEPT\nCOMMIT\n";
        assert_eq!(rules.script(Family::Ipv4, 'A'), expected);
        assert_eq!(
            rules.script(Family::Ipv6, 'D'),
            expected.replace("-A", "-D")
        );
    }

    #[test]
    fn a_filter_of_one_family_leaves_the_other_alone() {
        let only = Only {
            clients: vec![prefix("198.18.4.0/24"), prefix("198.18.5.1")],
            servers: vec![prefix("198.18.9.2"), prefix("2001:db8::1")],
            ..Only::default()
        };
        assert_eq!(
            matches(&only, &[25], Heading::ToClient),
            [
                (
                    Family::Ipv4,
                    "-p tcp -m multiport --sports 25 -d 198.18.4.0/24 -s 198.18.9.2/32".to_owned()
                ),
                (
                    Family::Ipv4,
                    "-p tcp -m multiport --sports 25 -d 198.18.5.1/32 -s 198.18.9.2/32".to_owned()
                ),
            ]
        );
        let only = Only {
            family: Some(Family::Ipv6),
            ..Only::default()
        };
        assert_eq!(
            matches(&only, &[25], Heading::ToServer),
            [(Family::Ipv6, "-p tcp -m multiport --dports 25".to_owned())]
        );
    }
}
