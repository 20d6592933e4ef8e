//! The map of a namespace lab, on paper: who stands where, with which addresses, and which way leads to whom.
//!
//! Pure: nothing is built here, so that the map can be tested without privilege.

mod drawing;
mod network;
mod routes;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

pub use network::{Net, Network};

use drawing::Drawing;

/// The most routers that one network of the chain may have: the addresses are planned for that many links.
const MOST_ROUTERS: u8 = 4;
/// The same for the second way.
const MOST_ON_SECOND_WAY: u8 = 3;
/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has one link and forwards nothing.
    Host,
    /// It forwards, and takes one from the TTL.
    Router,
    /// It passes frames and is invisible to both sides.
    Bridge,
}

/// One interface of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// `left` is towards the client, `right` towards the server; others say where they lead.
    pub name: String,
    /// Its addresses; a bridge's port has none.
    pub addresses: Option<(Ipv4Addr, Ipv6Addr)>,
    /// The ports of a bridge interface.
    pub ports: Vec<String>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Whose it is; the client's home has nobody's number.
    pub network: Option<Network>,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
}

/// Two ends of a cable: node and interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cable(pub (String, String), pub (String, String));

/// Where the ways to the control server and the witness leave the way to the checked server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fork {
    /// At the first transit router.
    First,
    /// At the last one.
    #[default]
    Last,
}

/// How the chain is laid out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ChainSpec {
    /// Routers of the client's access network, 1 to 4.
    pub isp_routers: u8,
    /// Routers of the transit network, 1 to 4.
    pub transit_routers: u8,
    /// Whether the home router translates addresses (IPv4 only).
    pub nat: bool,
    /// Before which router of the chain a bridge is put into the cable.
    pub bridge_before: Option<String>,
    /// Where the ways to others leave.
    pub fork: Fork,
    /// The cable between transit and edge bears the provider's addresses, as it often does: the edge then answers from
    /// an address of its provider.
    pub border_of_provider: bool,
    /// Routers of a second way round the first transit router, 0 (none) to 3.
    pub second_way: u8,
}

impl Default for ChainSpec {
    fn default() -> Self {
        Self {
            isp_routers: 2,
            transit_routers: 2,
            nat: true,
            bridge_before: None,
            fork: Fork::Last,
            border_of_provider: false,
            second_way: 0,
        }
    }
}

/// The layout cannot be drawn.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A number of routers is out of range.
    #[error("{what} must be between {least} and {most}, not {found}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The least.
        least: u8,
        /// The most.
        most: u8,
        /// What was written.
        found: u8,
    },
    /// A bridge was asked for before something that is no router of the chain.
    #[error("no bridge can be put before {0:?}: it is no router of the chain")]
    Bridge(String),
    /// A second way needs a router on which the two meet.
    #[error("a second way needs two transit routers and the fork at the last one")]
    SecondWay,
}

/// The map.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everybody, the chain from the client first.
    pub spots: Vec<Spot>,
    /// The cables.
    pub cables: Vec<Cable>,
    /// The routers between the client and the server, in order: hop 1 first. The server is the hop after the last.
    pub chain: Vec<String>,
    /// The same, seen from the mobile client.
    pub mobile_chain: Vec<String>,
    /// The routers of the second way.
    pub second_way: Vec<String>,
    /// Whether the home router translates.
    pub nat: bool,
    segments: Vec<Segment>,
}

/// A link that packets cross between nodes with addresses.
#[derive(Clone, Debug)]
struct Segment {
    net: Net,
    members: Vec<(String, Ipv4Addr, Ipv6Addr)>,
    /// Crossed only by who says so.
    second: bool,
}

impl Plan {
    /// Draws the map.
    ///
    /// # Errors
    /// When a number is out of range, or a bridge or a second way has no place.
    pub fn draw(spec: &ChainSpec) -> Result<Self, PlanError> {
        let count = |what, found, least, most| {
            let fits = (least..=most).contains(&found);
            fits.then_some(()).ok_or(PlanError::Count {
                what,
                least,
                most,
                found,
            })
        };
        count("isp-routers", spec.isp_routers, 1, MOST_ROUTERS)?;
        count("transit-routers", spec.transit_routers, 1, MOST_ROUTERS)?;
        count("second-way", spec.second_way, 0, MOST_ON_SECOND_WAY)?;
        if spec.second_way > 0 && (spec.transit_routers < 2 || spec.fork == Fork::First) {
            return Err(PlanError::SecondWay);
        }
        let mut drawing = Drawing::new(spec);
        drawing.chain();
        drawing.far();
        drawing.mobile();
        drawing.second_way();
        let known = |name: &String| drawing.plan.chain.contains(name);
        if let Some(name) = spec.bridge_before.as_ref().filter(|name| !known(name)) {
            return Err(PlanError::Bridge(name.clone()));
        }
        Ok(drawing.plan)
    }

    /// The node of this name.
    pub fn spot(&self, name: &str) -> Option<&Spot> {
        self.spots.iter().find(|spot| spot.name == name)
    }

    /// A node's first address of a family.
    pub fn address(&self, name: &str, v6: bool) -> Option<IpAddr> {
        let interface = self.spot(name)?.interfaces.iter();
        let (v4, six) = interface.filter_map(|one| one.addresses).next()?;
        Some(if v6 { six.into() } else { v4.into() })
    }

    /// The hop number of a router or of the server, from the client or the mobile client; 0 is the client itself.
    pub fn hop(&self, from: &str, name: &str) -> Option<u8> {
        if from == name {
            return Some(0);
        }
        let chain = if from == "mobile" {
            &self.mobile_chain
        } else {
            &self.chain
        };
        let place = match name {
            "server" => Some(chain.len()),
            _ => chain.iter().position(|router| router == name),
        };
        u8::try_from(place? + 1).ok()
    }

    /// The prefixes that a view or a filter may name: a network, or the client's home as servers see it.
    pub fn prefixes_of(&self, name: &str) -> Option<Vec<(IpAddr, u8)>> {
        let network = match name {
            "isp" => Network::Isp,
            "carrier" => Network::Carrier,
            "transit" => Network::Transit,
            "server" => Network::Server,
            "witness" => Network::Witness,
            "control" => Network::Control,
            _ => return None,
        };
        Some(network.prefixes().to_vec())
    }

    /// `PREFIX<TAB>LENGTH<TAB>ASN<TAB>NAME`, the first three as in CAIDA's prefix-to-AS files.
    pub fn prefix_table(&self) -> String {
        let mut table = String::new();
        for network in Network::ALL {
            for (prefix, length) in network.prefixes() {
                let (number, name) = (network.number(), network.name());
                let _ = writeln!(table, "{prefix}\t{length}\t{number}\t{name}");
            }
        }
        table
    }
}

impl Segment {
    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(member, ..)| member == name)
    }

    fn of(&self, name: &str) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let member = self.members.iter().find(|(member, ..)| member == name)?;
        Some((member.1, member.2))
    }
}
