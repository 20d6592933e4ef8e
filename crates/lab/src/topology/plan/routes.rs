//! Which way leads to whom: the routes of every node, over the first way and over the second. It must not build anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Net, Network, Plan, Role, Segment};

impl Plan {
    /// What `ip -batch` is told inside the node `name`: routes, over the first way everywhere.
    pub fn routes(&self, name: &str) -> String {
        let mut lines = String::new();
        for (net, via) in self.next_hops(name) {
            // Behind a translating router the prefix is nobody's business; IPv6 is not translated.
            if !(self.nat && net.v4.is_private() && name != "home") {
                let _ = writeln!(lines, "route add {}/24 via {}", net.v4, via.0);
            }
            let _ = writeln!(lines, "route add {}/64 via {}", net.v6, via.1);
        }
        if let Some((v4, v6)) = self.default_of(name) {
            let _ = writeln!(lines, "route add default via {v4}");
            let _ = writeln!(lines, "route add default via {v6}");
        }
        lines
    }

    /// What `ip -batch` is told inside the last access router so that it takes both ways, chosen by connection, or the
    /// second way alone; and inside the last transit router for the way back into table `table`.
    pub fn second_routes(&self, both: bool, table: &str) -> Vec<(String, String)> {
        let (Some(first), Some(last)) = (self.second_way.first(), self.second_way.last()) else {
            return Vec::new();
        };
        let Some((before, after)) = self.around_second_way() else {
            return Vec::new();
        };
        let mut there = String::new();
        if let (Some(main), Some(other)) = (
            self.neighbour(&before, "transit-1", false),
            self.neighbour(&before, first, true),
        ) {
            for (net, via) in self.next_hops(&before) {
                if via != main {
                    continue;
                }
                if both {
                    let _ = writeln!(
                        there,
                        "route replace {}/24 nexthop via {} nexthop via {}",
                        net.v4, main.0, other.0
                    );
                    let _ = writeln!(
                        there,
                        "route replace {}/64 nexthop via {} nexthop via {}",
                        net.v6, main.1, other.1
                    );
                } else {
                    let _ = writeln!(there, "route replace {}/24 via {}", net.v4, other.0);
                    let _ = writeln!(there, "route replace {}/64 via {}", net.v6, other.1);
                }
            }
        }
        let mut back = String::new();
        if let (Some(main), Some(other)) = (
            self.neighbour(&after, "transit-1", false),
            self.neighbour(&after, last, true),
        ) {
            for (net, via) in self.next_hops(&after) {
                // The carrier is reached over the first router alone.
                let carrier = Network::Carrier.link(0).v4.octets()[2];
                let carried = (carrier..carrier + 16).contains(&net.v4.octets()[2])
                    && net.v4.octets()[0] == 198;
                if via == main && !carried {
                    if !(self.nat && net.v4.is_private()) {
                        let _ = writeln!(
                            back,
                            "route replace {}/24 via {} table {table}",
                            net.v4, other.0
                        );
                    }
                    let _ = writeln!(
                        back,
                        "route replace {}/64 via {} table {table}",
                        net.v6, other.1
                    );
                }
            }
        }
        vec![(before, there), (after, back)]
    }

    /// The routers where the two ways part and meet.
    pub fn around_second_way(&self) -> Option<(String, String)> {
        let first = self.chain.iter().position(|name| name == "transit-1")?;
        let before = self.chain.get(first.checked_sub(1)?)?;
        let after = self.chain.get(first + 1)?;
        Some((before.clone(), after.clone()))
    }

    fn neighbour(&self, from: &str, to: &str, second: bool) -> Option<(Ipv4Addr, Ipv6Addr)> {
        self.segments
            .iter()
            .filter(|segment| segment.second == second && segment.has(from))
            .find_map(|segment| segment.of(to))
    }

    /// Who has a way out that needs no map: everybody at the rim.
    fn default_of(&self, name: &str) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let towards = match name {
            "client" | "peer" => "home",
            "home" => "isp-1",
            "mobile" => "carrier-1",
            "server" | "server-b" | "inside" => "edge",
            "control" => "control-edge",
            "witness" => "witness-edge",
            "edge" | "control-edge" | "witness-edge" => {
                let mut around = self.segments.iter().filter(|one| one.has(name));
                let beyond = |one: &Segment| {
                    one.members
                        .iter()
                        .find(|(member, ..)| member.starts_with("transit-"))
                        .map(|(_, v4, v6)| (*v4, *v6))
                };
                return around.find_map(beyond);
            }
            _ => return None,
        };
        self.neighbour(name, towards, false)
    }

    /// Over which neighbour each network that is not at the node itself is reached, by the fewest routers.
    fn next_hops(&self, from: &str) -> Vec<(Net, (Ipv4Addr, Ipv6Addr))> {
        if self.spot(from).is_none_or(|spot| spot.role != Role::Router) {
            return Vec::new();
        }
        let on_second = self.second_way.iter().any(|name| name == from);
        let mut seen: BTreeSet<&str> = BTreeSet::from([from]);
        let mut found: BTreeMap<Ipv4Addr, (Net, (Ipv4Addr, Ipv6Addr))> = BTreeMap::new();
        let mut edge: Vec<(&str, Option<(Ipv4Addr, Ipv6Addr)>)> = vec![(from, None)];
        while !edge.is_empty() {
            let mut next = Vec::new();
            for (at, via) in edge {
                for segment in self.segments.iter().filter(|one| one.has(at)) {
                    // From outside, the second way is nobody's shortest.
                    if segment.second && !on_second && self.through_second(segment, at) {
                        self.remember(&mut found, from, segment, via);
                        continue;
                    }
                    self.remember(&mut found, from, segment, via);
                    for (member, v4, v6) in &segment.members {
                        let routes = self
                            .spot(member)
                            .is_some_and(|spot| spot.role == Role::Router);
                        if routes && seen.insert(member) {
                            next.push((member.as_str(), via.or(Some((*v4, *v6)))));
                        }
                    }
                }
            }
            edge = next;
        }
        found.into_values().collect()
    }

    fn through_second(&self, segment: &Segment, at: &str) -> bool {
        segment
            .members
            .iter()
            .any(|(member, ..)| member != at && self.second_way.contains(member))
            && !self.second_way.iter().any(|name| name == at)
    }

    fn remember(
        &self,
        found: &mut BTreeMap<Ipv4Addr, (Net, (Ipv4Addr, Ipv6Addr))>,
        from: &str,
        segment: &Segment,
        via: Option<(Ipv4Addr, Ipv6Addr)>,
    ) {
        if let Some(via) = via
            && !segment.has(from)
        {
            found.entry(segment.net.v4).or_insert((segment.net, via));
        }
    }
}
