//! From stretches of a path to places: this host, the local network, access, transit, the server's edge.
//!
//! A stretch `(j−1, j]` lies between two nodes, and either may own what stands there; an address on a link between
//! two networks may be numbered by either. So a stretch gives probabilities, and never a router's owner. It must not
//! know what changed.

use alloc::{collections::BTreeMap, vec, vec::Vec};
use core::net::IpAddr;
use hoofbeat_observation::{
    AddressFact, Surroundings,
    address::{self, is_shared, shares_prefix},
};

use super::changepoint::ChangePoint;
use crate::LocationClass;

/// The places a box may be in, in the order of the tables' columns.
pub(crate) const PLACES: [LocationClass; 5] = [
    LocationClass::ServerEdge,
    LocationClass::Transit,
    LocationClass::AccessNetwork,
    LocationClass::LocalNetwork,
    LocationClass::ThisHost,
];

/// Probabilities of [`PLACES`].
pub(crate) type Places = [f64; 5];

const EDGE: Places = [1.0, 0.0, 0.0, 0.0, 0.0];
const TRANSIT: Places = [0.0, 1.0, 0.0, 0.0, 0.0];
const ACCESS: Places = [0.0, 0.0, 1.0, 0.0, 0.0];
const LOCAL: Places = [0.0, 0.0, 0.0, 1.0, 0.0];
const HOST: Places = [0.0, 0.0, 0.0, 0.0, 1.0];

/// How likely a provider's address in front of the server's network is on the server's own first router.
const LENT: f64 = 0.4;

/// How likely the first router on our way is our own network's where its provider's side answers.
const OUTER: f64 = 0.8;

/// How likely a box is the end of its stretch that its packets name: the further one where they were addressed to it,
/// and the one whose distance their TTL tells of. Some senders choose a TTL at will.
const SENDER: f64 = 0.95;

/// How a box acts decides which end of its stretch it more likely belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acts {
    /// On passing packets: as they leave the nearer node, or as they reach the further one.
    InPassing,
    /// It ends connections itself: packets are addressed to it, so it is nearly always the further node.
    AsEnd,
    /// It sends packets of its own, and they arrive with the TTL of this distance: which end of its stretch that is
    /// tells whose it is, as senders begin with 64, 128 or 255.
    From(u8),
}

/// What is known of the addresses around one vantage.
pub(crate) struct Map<'a> {
    own: Vec<(IpAddr, u8)>,
    public: Option<IpAddr>,
    facts: BTreeMap<IpAddr, &'a AddressFact>,
}

impl<'a> Map<'a> {
    /// Reads every record of surroundings; later ones add.
    pub(crate) fn of(
        records: impl Iterator<Item = &'a Surroundings>,
        seen: Option<IpAddr>,
    ) -> Self {
        let mut map = Self {
            own: Vec::new(),
            public: None,
            facts: BTreeMap::new(),
        };
        for record in records {
            map.own.extend(&record.own);
            map.public = map.public.or(record.public);
            map.facts
                .extend(record.addresses.iter().map(|fact| (fact.address, fact)));
        }
        let world = |address: &IpAddr| !is_private(*address);
        map.public = map
            .public
            .or_else(|| map.own.iter().map(|(own, _)| *own).find(world))
            .or(seen.filter(world));
        map
    }

    /// What is known of an address.
    pub(crate) fn fact(&self, address: IpAddr) -> Option<&'a AddressFact> {
        self.facts.get(&address).copied()
    }

    fn asn(&self, address: IpAddr) -> Option<u32> {
        self.fact(address)?.asn
    }

    /// Whether an address is of one of our own networks.
    fn is_own(&self, address: IpAddr) -> bool {
        self.own
            .iter()
            // A prefix as wide as a continent is no network of ours.
            .any(|(own, length)| shares_prefix(*own, address, *length) && *length >= 8)
    }
}

/// Whom the addresses that routers answer with face: the one who traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Facing {
    /// Traced from here.
    Us,
    /// Traced from the far end, and counted from here all the same.
    FarEnd,
}

/// A path as a row of nodes: this host is node 0, the far end node `distance`.
pub(crate) struct Nodes {
    labels: Vec<Places>,
}

impl Nodes {
    /// `routers[0]` holds the addresses that answered at hop 1. `distance` is the far end's hop.
    pub(crate) fn of(
        routers: &[Vec<IpAddr>],
        distance: u8,
        far_end: Option<IpAddr>,
        facing: Facing,
        map: &Map<'_>,
    ) -> Self {
        let last = usize::from(distance.max(1));
        let target = far_end.and_then(|address| map.asn(address));
        let addresses = |hop: usize| routers.get(hop - 1).map_or(&[][..], Vec::as_slice);
        // The access provider: who announces our address, or else the first announced router behind our own network.
        let access = map.public.and_then(|address| map.asn(address)).or_else(|| {
            (1..last)
                .flat_map(|hop| addresses(hop).iter())
                .filter(|address| !is_private(**address) && !map.is_own(**address))
                .find_map(|address| map.asn(*address))
        });
        let mut known: Vec<Option<Places>> = vec![None; last + 1];
        let mut local = true;
        for hop in 1..last {
            let labels: Vec<Option<Places>> = addresses(hop)
                .iter()
                .map(|address| label(*address, hop, local, map, access, target))
                .collect();
            let found = mixed(&labels);
            if let Some(slot) = known.get_mut(hop) {
                *slot = found;
            }
            // Private addresses count as ours only in one run from the first hop on.
            local &= !addresses(hop).is_empty() && found.is_some_and(|places| places[3] >= 0.5);
        }
        if let Some(slot) = known.first_mut() {
            *slot = Some(HOST);
        }
        if let Some(slot) = known.get_mut(last) {
            *slot = Some(EDGE);
        }
        match facing {
            Facing::Us => lent_by_provider(&mut known),
            Facing::FarEnd => lent_by_next(&mut known),
        }
        // The first router is the local network's, unless its address says otherwise.
        if last > 1
            && let Some(slot) = known.get_mut(1)
            && slot.is_none()
        {
            *slot = Some(LOCAL);
        }
        let labels = (0..=last)
            .map(|node| {
                known
                    .get(node)
                    .copied()
                    .flatten()
                    .unwrap_or_else(|| between(&known, node))
            })
            .collect();
        Self { labels }
    }

    /// The probabilities of the places, over a change-point's stretches.
    pub(crate) fn places(&self, point: &ChangePoint, acts: Acts) -> Places {
        let mut sum = [0.0; 5];
        for (j, mass) in point.masses() {
            let further = usize::from(j).min(self.labels.len().saturating_sub(1));
            let (Some(near), Some(far)) = (
                self.labels.get(further.saturating_sub(1)),
                self.labels.get(further),
            ) else {
                continue;
            };
            let far_share = match acts {
                Acts::InPassing => 0.5,
                // Software on this host that ends connections answers every TTL, as the first router would.
                Acts::AsEnd if further <= 1 => 0.5,
                Acts::AsEnd => SENDER,
                // What this host sends to itself arrives as whole as from next door.
                Acts::From(_) if further <= 1 => 0.5,
                Acts::From(hop) if hop == j => SENDER,
                Acts::From(hop) if hop + 1 == j => 1.0 - SENDER,
                Acts::From(_) => 0.5,
            };
            for ((place, near), far) in sum.iter_mut().zip(near).zip(far) {
                *place += mass * (near * (1.0 - far_share) + far * far_share);
            }
        }
        let total: f64 = sum.iter().sum();
        if total > 0.0 {
            sum.map(|place| place / total)
        } else {
            [0.2; 5]
        }
    }

    /// The places of one node.
    pub(crate) fn of_node(&self, node: u8) -> Option<Places> {
        self.labels.get(usize::from(node)).copied()
    }
}

/// The place that has more than the given share.
pub(crate) fn leading(places: &Places, share: f64) -> Option<LocationClass> {
    PLACES
        .iter()
        .zip(places)
        .find(|(_, mass)| **mass > share)
        .map(|(class, _)| *class)
}

/// What hops leave of a place; none for what is none of them.
pub(crate) fn share_of(places: &Places, class: LocationClass) -> Option<f64> {
    let mut all = PLACES.iter().zip(places);
    all.find(|(place, _)| **place == class)
        .map(|(_, share)| *share)
}

fn label(
    address: IpAddr,
    hop: usize,
    local: bool,
    map: &Map<'_>,
    access: Option<u32>,
    target: Option<u32>,
) -> Option<Places> {
    if map.is_own(address) {
        return Some(LOCAL);
    }
    if let Some(asn) = map.asn(address) {
        return Some(match (Some(asn) == access, Some(asn) == target) {
            // One provider at both ends: the address does not tell which.
            (true, true) => blend(ACCESS, EDGE, 0.5),
            (true, false) => ACCESS,
            (false, true) => EDGE,
            (false, false) => TRANSIT,
        });
    }
    if is_shared(address) {
        return Some(ACCESS);
    }
    if is_private(address) {
        // Home routers stand in rows, and providers number their own routers privately as well.
        return match (local, hop) {
            (true, 1) => Some(LOCAL),
            (true, _) => Some(blend(LOCAL, ACCESS, 0.5)),
            _ => None,
        };
    }
    None
}

/// A provider numbers its links to customers out of its own networks: the last router with its addresses in front of
/// the server's is as often the customer's first one as its own last one (bdrmap, Luckie et al., IMC 2016). The other
/// end of such a link is the provider's, so one router of its own stands before it.
fn lent_by_provider(known: &mut [Option<Places>]) {
    let Some(first) = known.iter().position(|node| *node == Some(EDGE)) else {
        return;
    };
    let lender = first.checked_sub(2).and_then(|at| known.get(at).copied());
    let last = first.checked_sub(1).and_then(|at| known.get_mut(at));
    if let (Some(Some(lender)), Some(Some(last))) = (lender, last)
        && lender == *last
        && [TRANSIT, ACCESS].contains(last)
    {
        *last = blend(*last, EDGE, LENT);
    }
}

/// Seen from the far end, a router at a border shows its address on the link that leads to the next network, and either
/// of the two numbers that link: the first router with another network's addresses may still be the network's before.
fn lent_by_next(known: &mut [Option<Places>]) {
    let before = known.to_vec();
    let routers = known.len().saturating_sub(2);
    for (near, slot) in before.iter().zip(known.iter_mut().skip(1)).take(routers) {
        if let (Some(near), Some(places)) = (near, slot)
            && near != places
        {
            *places = match *near {
                // Behind this host stands our own network.
                HOST => blend(*places, LOCAL, OUTER),
                near => blend(*places, near, LENT),
            };
        }
    }
}

/// A node that nothing is known of: what its nearest known neighbours are, nearer ones more.
fn between(known: &[Option<Places>], node: usize) -> Places {
    let before = (0..node)
        .rev()
        .find_map(|at| Some((at, known.get(at).copied().flatten()?)));
    let behind =
        (node + 1..known.len()).find_map(|at| Some((at, known.get(at).copied().flatten()?)));
    match (before, behind) {
        (Some((near, first)), Some((far, second))) => {
            if first == second {
                return first;
            }
            let step = (far - near) as f64;
            let share = (node - near) as f64 / step;
            let mut places = [0.0; 5];
            for ((place, first), second) in places.iter_mut().zip(first).zip(second) {
                *place = first * (1.0 - share) + second * share;
            }
            // Nobody's router is on this host; behind the local network comes the provider, and then the world.
            let [edge, transit, access, local, host] = places;
            let outside = local + host;
            [
                edge * 0.5,
                transit + edge * 0.4,
                access + edge * 0.1 + outside * 0.8,
                outside * 0.2,
                0.0,
            ]
        }
        (Some((_, only)), None) | (None, Some((_, only))) => only,
        (None, None) => [0.25, 0.25, 0.25, 0.25, 0.0],
    }
}

fn mixed(labels: &[Option<Places>]) -> Option<Places> {
    let known: Vec<&Places> = labels.iter().flatten().collect();
    if known.is_empty() {
        return None;
    }
    let mut sum = [0.0; 5];
    for places in &known {
        for (place, one) in sum.iter_mut().zip(places.iter()) {
            *place += one / known.len() as f64;
        }
    }
    Some(sum)
}

/// The one, with the other's share in it.
fn blend(one: Places, other: Places, share: f64) -> Places {
    let mut both = one;
    for (place, other) in both.iter_mut().zip(other) {
        *place = *place * (1.0 - share) + other * share;
    }
    both
}

/// Addresses that the world does not route to: private ones, and loopback.
pub(crate) fn is_private(address: IpAddr) -> bool {
    address::is_private(address) || address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::str::FromStr;

    fn ip(text: &str) -> IpAddr {
        IpAddr::from_str(text).unwrap()
    }
    fn fact(address: &str, asn: u32) -> AddressFact {
        AddressFact {
            address: ip(address),
            asn: Some(asn),
            holder: None,
            reverse: None,
        }
    }
    fn world(table: bool) -> Surroundings {
        Surroundings {
            own: vec![(ip("192.168.77.2"), 24)],
            public: None,
            addresses: if table {
                vec![
                    fact("198.18.1.1", 64501),
                    fact("198.18.1.5", 64501),
                    fact("198.18.3.1", 64503),
                    fact("198.18.4.1", 64504),
                    fact("198.18.4.25", 64504),
                ]
            } else {
                Vec::new()
            },
            table: None,
        }
    }
    /// client – home – isp – isp – transit – edge – server
    fn nodes(surroundings: &Surroundings) -> Nodes {
        let routers: Vec<Vec<IpAddr>> = [
            "192.168.77.1",
            "198.18.1.1",
            "198.18.1.5",
            "198.18.3.1",
            "198.18.4.1",
        ]
        .iter()
        .map(|address| vec![ip(address)])
        .collect();
        let map = Map::of([surroundings].into_iter(), None);
        Nodes::of(&routers, 6, Some(ip("198.18.4.25")), Facing::Us, &map)
    }
    fn at(hop: u8, nodes: &Nodes, acts: Acts) -> Places {
        nodes.places(&ChangePoint::at(hop, 6, 0.02).unwrap(), acts)
    }

    #[test]
    fn with_a_table_stretches_have_owners_and_borders_have_two() {
        let world = world(true);
        let nodes = nodes(&world);
        assert_eq!(
            leading(&at(3, &nodes, Acts::InPassing), 0.9),
            Some(LocationClass::AccessNetwork)
        );
        assert_eq!(
            leading(&at(6, &nodes, Acts::InPassing), 0.9),
            Some(LocationClass::ServerEdge)
        );
        let border = at(2, &nodes, Acts::InPassing);
        assert_eq!(leading(&border, 0.6), None, "{border:?}");
        let first = at(1, &nodes, Acts::InPassing);
        assert!(first[3] > 0.4 && first[4] > 0.4, "{first:?}");
        // Who ends connections at hop 2 is hop 2.
        assert_eq!(
            leading(&at(2, &nodes, Acts::AsEnd), 0.8),
            Some(LocationClass::AccessNetwork)
        );
        assert_eq!(
            leading(&at(4, &nodes, Acts::AsEnd), 0.8),
            Some(LocationClass::Transit)
        );
        // The TTL that its own packets arrive with tells the two sides of a border apart.
        assert_eq!(
            leading(&at(2, &nodes, Acts::From(1)), 0.8),
            Some(LocationClass::LocalNetwork)
        );
        assert_eq!(
            leading(&at(2, &nodes, Acts::From(2)), 0.8),
            Some(LocationClass::AccessNetwork)
        );
        assert_eq!(leading(&at(2, &nodes, Acts::From(7)), 0.6), None);
    }

    #[test]
    fn the_last_address_of_a_provider_may_be_lent_to_its_customer() {
        let mut known = [TRANSIT, TRANSIT, EDGE, EDGE].map(Some);
        lent_by_provider(&mut known);
        assert!(known[1].is_some_and(|[edge, transit, ..]| edge > 0.25 && transit < 0.8));
        assert_eq!((known[0], known[2]), (Some(TRANSIT), Some(EDGE)));
        // Traced from the other end, the first address of a network may stand on the last router before it.
        let mut known = [HOST, ACCESS, TRANSIT, EDGE, EDGE].map(Some);
        lent_by_next(&mut known);
        assert_eq!(
            known.map(|node| node.and_then(|places| leading(&places, 0.5))),
            [
                Some(LocationClass::ThisHost),
                Some(LocationClass::LocalNetwork),
                Some(LocationClass::Transit),
                Some(LocationClass::ServerEdge),
                Some(LocationClass::ServerEdge),
            ]
        );
        assert!(known[3].is_some_and(|[edge, transit, ..]| edge < 0.8 && transit > 0.25));
        assert_eq!(known[4], Some(EDGE));
        // Where the link's near end is another network's, its address is not the customer's.
        let mut known = [ACCESS, TRANSIT, EDGE, EDGE].map(Some);
        lent_by_provider(&mut known);
        assert_eq!(known[1], Some(TRANSIT));
    }

    #[test]
    fn without_a_table_position_speaks_more_softly() {
        let world = world(false);
        let nodes = nodes(&world);
        assert_eq!(
            leading(&at(6, &nodes, Acts::InPassing), 0.6),
            Some(LocationClass::ServerEdge)
        );
        let middle = at(4, &nodes, Acts::InPassing);
        assert!(middle.iter().all(|mass| *mass < 0.8), "{middle:?}");
        let sum: f64 = middle.iter().sum();
        assert!((sum - 1.0).abs() < 1e-9);
        // A silent path has places all the same.
        let silent = Nodes::of(&[], 4, None, Facing::Us, &Map::of([].into_iter(), None));
        let sum: f64 = at(2, &silent, Acts::InPassing).iter().sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }

    #[test]
    fn prefixes_and_private_addresses() {
        assert!(shares_prefix(ip("10.1.2.3"), ip("10.1.2.200"), 24));
        assert!(!shares_prefix(ip("10.1.2.3"), ip("10.1.3.3"), 24));
        assert!(shares_prefix(
            ip("2001:db8:1::1"),
            ip("2001:db8:1:ffff::1"),
            48
        ));
        assert!(!shares_prefix(ip("10.1.2.3"), ip("2001:db8::1"), 0));
        for private in [
            "10.0.0.1",
            "100.64.0.1",
            "192.168.1.1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(is_private(ip(private)), "{private}");
        }
        assert!(!is_private(ip("198.18.0.1")) && !is_private(ip("2001:db8::1")));
    }
}
