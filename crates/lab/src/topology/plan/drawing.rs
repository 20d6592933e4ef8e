//! Draws a map: puts hosts and routers in their places and cables between them. It must not know routes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Cable, ChainSpec, Fork, Interface, Net, Network, Plan, Role, Segment, Spot};

/// The host number of servers.
const SERVER_HOST: u8 = 25;

/// A map being drawn.
pub(super) struct Drawing<'a> {
    spec: &'a ChainSpec,
    pub(super) plan: Plan,
}

impl<'a> Drawing<'a> {
    pub(super) fn new(spec: &'a ChainSpec) -> Self {
        Self {
            spec,
            plan: Plan {
                spots: Vec::new(),
                cables: Vec::new(),
                chain: Vec::new(),
                mobile_chain: Vec::new(),
                second_way: Vec::new(),
                nat: spec.nat,
                segments: Vec::new(),
            },
        }
    }

    pub(super) fn chain(&mut self) {
        let lan = Net {
            v4: if self.spec.nat {
                Ipv4Addr::new(192, 168, 77, 0)
            } else {
                Network::Isp.link(15).v4
            },
            v6: Network::Isp.link(15).v6,
        };
        self.spot("client", Role::Host, None);
        self.spot("peer", Role::Host, None);
        self.spot("home", Role::Router, None);
        self.shared(
            lan,
            "home",
            "left",
            &[("client", "right", 10), ("peer", "right", 11)],
        );
        self.plan.chain.push("home".to_owned());
        let mut last = "home".to_owned();
        for n in 1..=self.spec.isp_routers {
            last = self.onward(&last, format!("isp-{n}"), Network::Isp, n);
        }
        for n in 1..=self.spec.transit_routers {
            last = self.onward(&last, format!("transit-{n}"), Network::Transit, n);
        }
        let (border, n) = if self.spec.border_of_provider {
            (Network::Transit, 9)
        } else {
            (Network::Server, 1)
        };
        self.spot("edge", Role::Router, Some(Network::Server));
        self.plan.chain.push("edge".to_owned());
        self.link(&last, "right", "edge", "left", border.link(n), false);
        for host in ["server", "server-b", "inside"] {
            self.spot(host, Role::Host, Some(Network::Server));
        }
        let hosts = [
            ("server", "left", SERVER_HOST),
            ("server-b", "left", SERVER_HOST + 1),
            ("inside", "left", SERVER_HOST + 5),
        ];
        self.shared(Network::Server.link(0), "edge", "right", &hosts);
    }

    fn onward(&mut self, last: &str, name: String, network: Network, n: u8) -> String {
        self.spot(&name, Role::Router, Some(network));
        self.plan.chain.push(name.clone());
        self.link(last, "right", &name, "left", network.link(n), false);
        name
    }

    /// The control server and the witness, each behind an edge of its own.
    pub(super) fn far(&mut self) {
        let fork = match self.spec.fork {
            Fork::First => "transit-1".to_owned(),
            Fork::Last => format!("transit-{}", self.spec.transit_routers),
        };
        for (host, network) in [("control", Network::Control), ("witness", Network::Witness)] {
            let edge = format!("{host}-edge");
            self.spot(&edge, Role::Router, Some(network));
            self.spot(host, Role::Host, Some(network));
            self.link(&fork, host, &edge, "left", network.link(1), false);
            self.shared(
                network.link(0),
                &edge,
                "right",
                &[(host, "left", SERVER_HOST)],
            );
        }
    }

    /// A client at a carrier, with two routers before the transit.
    pub(super) fn mobile(&mut self) {
        self.spot("mobile", Role::Host, Some(Network::Carrier));
        let mut last = "mobile".to_owned();
        for n in 1..=2 {
            let name = format!("carrier-{n}");
            self.spot(&name, Role::Router, Some(Network::Carrier));
            self.link(
                &last,
                "right",
                &name,
                "left",
                Network::Carrier.link(n),
                false,
            );
            self.plan.mobile_chain.push(name.clone());
            last = name;
        }
        let net = Network::Transit.link(10);
        self.link(&last, "right", "transit-1", "carrier", net, false);
        let shared = self.plan.chain.iter();
        let onward = shared.skip_while(|name| *name != "transit-1").cloned();
        let onward: Vec<String> = onward.collect();
        self.plan.mobile_chain.extend(onward);
    }

    /// A way round transit-1.
    pub(super) fn second_way(&mut self) {
        if self.spec.second_way == 0 {
            return;
        }
        let Some((before, after)) = self.plan.around_second_way() else {
            return;
        };
        let mut last = (before, "branch".to_owned());
        for n in 1..=self.spec.second_way {
            let name = format!("branch-{n}");
            self.spot(&name, Role::Router, Some(Network::Transit));
            let net = Network::Transit.link(10 + n);
            self.link(&last.0, &last.1, &name, "left", net, true);
            self.plan.second_way.push(name.clone());
            last = (name, "right".to_owned());
        }
        let net = Network::Transit.link(14);
        self.link(&last.0, &last.1, &after, "branch", net, true);
    }

    fn spot(&mut self, name: &str, role: Role, network: Option<Network>) {
        self.plan.spots.push(Spot {
            name: name.to_owned(),
            role,
            network,
            interfaces: Vec::new(),
        });
    }

    fn interface(&mut self, at: &str, name: &str, addresses: Option<(Ipv4Addr, Ipv6Addr)>) {
        if let Some(spot) = self.plan.spots.iter_mut().find(|spot| spot.name == at) {
            spot.interfaces.push(Interface {
                name: name.to_owned(),
                addresses,
                ports: Vec::new(),
            });
        }
    }

    /// A cable between two nodes, perhaps with a bridge in it. The right side's address ends in 2: it is what the
    /// right router answers the client from, so the link belongs to the right side's network.
    fn link(&mut self, a: &str, a_if: &str, b: &str, b_if: &str, net: Net, second: bool) {
        let (left, right) = (net.host(1), net.host(2));
        self.interface(a, a_if, Some(left));
        self.interface(b, b_if, Some(right));
        self.plan.segments.push(Segment {
            net,
            members: vec![
                (a.to_owned(), left.0, left.1),
                (b.to_owned(), right.0, right.1),
            ],
            second,
        });
        let end = |node: &str, interface: &str| (node.to_owned(), interface.to_owned());
        let bridged = self.spec.bridge_before.as_deref() == Some(b) && b_if == "left";
        if bridged {
            self.bridge();
            let cable = Cable(end(a, a_if), end("bridge", "left"));
            self.plan.cables.push(cable);
            let cable = Cable(end("bridge", "right"), end(b, b_if));
            self.plan.cables.push(cable);
        } else {
            self.plan.cables.push(Cable(end(a, a_if), end(b, b_if)));
        }
    }

    fn bridge(&mut self) {
        self.spot("bridge", Role::Bridge, None);
        for port in ["left", "right"] {
            self.interface("bridge", port, None);
        }
    }

    /// A link with several hosts: the router's interface is a bridge over one port a host.
    fn shared(&mut self, net: Net, router: &str, name: &str, hosts: &[(&str, &str, u8)]) {
        let own = net.host(1);
        let bridged = self.spec.bridge_before.as_deref() == Some(router) && name == "left";
        let mut members = vec![(router.to_owned(), own.0, own.1)];
        let mut ports = Vec::new();
        for (host, interface, n) in hosts {
            let address = net.host(*n);
            self.interface(host, interface, Some(address));
            members.push(((*host).to_owned(), address.0, address.1));
            let port = format!("{name}-{host}");
            let ends = (
                ((*host).to_owned(), (*interface).to_owned()),
                (router.to_owned(), port.clone()),
            );
            // A box in the cable of the first host alone.
            if bridged && ports.is_empty() {
                self.bridge();
                let end = |port: &str| ("bridge".to_owned(), port.to_owned());
                self.plan.cables.push(Cable(ends.0, end("left")));
                self.plan.cables.push(Cable(end("right"), ends.1));
            } else {
                self.plan.cables.push(Cable(ends.0, ends.1));
            }
            ports.push(port);
        }
        self.interface(router, name, Some(own));
        if let Some(spot) = self.plan.spots.iter_mut().find(|spot| spot.name == router)
            && let Some(interface) = spot.interfaces.iter_mut().find(|one| one.name == name)
        {
            interface.ports = ports;
        }
        self.plan.segments.push(Segment {
            net,
            members,
            second: false,
        });
    }
}
