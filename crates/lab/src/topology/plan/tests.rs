//! The map is walked as packets would walk it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;

fn plan(change: impl FnOnce(&mut ChainSpec)) -> Plan {
    let mut spec = ChainSpec::default();
    change(&mut spec);
    Plan::draw(&spec).expect("a map")
}

#[test]
fn hops_are_counted_from_the_client_and_the_home_router_is_the_first() {
    let plan = plan(|_| {});
    let hops = [
        "home",
        "isp-1",
        "isp-2",
        "transit-1",
        "transit-2",
        "edge",
        "server",
    ];
    for (n, name) in (1..).zip(hops) {
        assert_eq!(plan.hop("client", name), Some(n), "{name}");
    }
    assert_eq!(plan.hop("mobile", "carrier-1"), Some(1));
    assert_eq!(plan.hop("mobile", "transit-1"), Some(3));
    assert_eq!(plan.hop("mobile", "server"), Some(6));
    assert_eq!(plan.hop("client", "control"), None);
}

/// Walks the routes as packets would.
fn walk(plan: &Plan, from: &str, to: &str, v6: bool) -> Vec<String> {
    let goal = plan.address(to, v6).expect("an address");
    let mut at = from.to_owned();
    let mut path = Vec::new();
    for _ in 0..16 {
        if at == to {
            return path;
        }
        let direct = plan.segments.iter().find(|segment| {
            segment.has(&at) && segment.members.iter().any(|(name, ..)| name == to)
        });
        if direct.is_some() {
            at = to.to_owned();
            path.push(at.clone());
            continue;
        }
        let routes = plan.routes(&at);
        let specific = routes.lines().find(|line| {
            let prefix = line.split_whitespace().nth(2).unwrap_or_default();
            prefix
                .split_once('/')
                .is_some_and(|(net, length)| within(goal, net.parse().expect("a prefix"), length))
        });
        let family = |line: &&str| {
            line.contains(" default ")
                && line.rsplit(' ').next().expect("a gateway").contains(':') == v6
        };
        let line = specific
            .or_else(|| routes.lines().find(family))
            .unwrap_or_else(|| panic!("{at} knows no way to {to}: {routes}"));
        let via: IpAddr = line.rsplit(' ').next().expect("via").parse().expect("via");
        let next = plan.segments.iter().filter(|segment| segment.has(&at));
        at = next
            .flat_map(|segment| &segment.members)
            .find(|(_, v4, six)| IpAddr::from(*v4) == via || IpAddr::from(*six) == via)
            .unwrap_or_else(|| panic!("{at} has no neighbour {via}"))
            .0
            .clone();
        path.push(at.clone());
    }
    panic!("a loop from {from} to {to}: {path:?}");
}

fn within(address: IpAddr, net: IpAddr, length: &str) -> bool {
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => {
            length == "24" && address.octets()[..3] == net.octets()[..3]
        }
        (IpAddr::V6(address), IpAddr::V6(net)) => {
            length == "64" && address.segments()[..4] == net.segments()[..4]
        }
        _ => false,
    }
}

#[test]
fn everybody_finds_the_way_to_every_server_and_back() {
    for second_way in [0, 2] {
        let plan = plan(|spec| spec.second_way = second_way);
        for v6 in [false, true] {
            let there = walk(&plan, "client", "server", v6);
            let names: Vec<&str> = there.iter().map(String::as_str).collect();
            assert_eq!(
                names,
                [
                    "home",
                    "isp-1",
                    "isp-2",
                    "transit-1",
                    "transit-2",
                    "edge",
                    "server"
                ]
            );
            for to in ["server", "server-b", "inside", "control", "witness"] {
                for from in ["client", "peer", "mobile"] {
                    walk(&plan, from, to, v6);
                    // With translation the way back ends at the home router, whose first address is private.
                    let back = if from == "mobile" || v6 {
                        from
                    } else {
                        "isp-1"
                    };
                    walk(&plan, to, back, v6);
                }
            }
            for from in ["branch-1", "branch-2"].iter().filter(|_| second_way > 0) {
                walk(&plan, from, "server", v6);
                walk(&plan, from, if v6 { "client" } else { "isp-1" }, v6);
            }
        }
    }
}

#[test]
fn the_second_way_leads_to_the_server_and_back_to_the_client() {
    let plan = plan(|spec| spec.second_way = 2);
    assert_eq!(
        plan.around_second_way(),
        Some(("isp-2".to_owned(), "transit-2".to_owned()))
    );
    let routes = plan.second_routes(true, "main");
    let (_, there) = &routes[0];
    assert!(
        there.contains(
            "route replace 198.18.64.0/24 nexthop via 198.18.49.2 nexthop via 198.18.59.2"
        ),
        "{there}"
    );
    let (_, back) = &routes[1];
    assert!(
        back.contains("route replace 198.18.17.0/24 via 198.18.62.1 table main"),
        "{back}"
    );
    assert!(
        !back.contains("198.18.33.0"),
        "the carrier is not on this way: {back}"
    );
}

#[test]
fn no_two_interfaces_share_an_address_and_names_fit_the_kernel() {
    let plan = plan(|spec| {
        spec.isp_routers = 4;
        spec.transit_routers = 4;
        spec.second_way = 3;
        spec.bridge_before = Some("edge".to_owned());
    });
    let mut seen = BTreeSet::new();
    for spot in &plan.spots {
        for interface in &spot.interfaces {
            if let Some((v4, v6)) = interface.addresses {
                assert!(seen.insert(IpAddr::from(v4)), "{v4} twice");
                assert!(seen.insert(IpAddr::from(v6)), "{v6} twice");
            }
            for name in interface.ports.iter().chain([&interface.name]) {
                assert!(name.len() < 16, "{name}");
            }
        }
    }
    let mut nets = BTreeSet::new();
    for segment in &plan.segments {
        assert!(nets.insert(segment.net.v4), "{} twice", segment.net.v4);
    }
}

#[test]
fn addresses_lie_in_the_prefixes_of_the_router_that_answers_from_them() {
    let plan = plan(|_| {});
    let table = plan.prefix_table();
    assert!(
        table.contains("198.18.64.0\t20\t64504\tLAB-MAIL\n"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 12);
    for spot in &plan.spots {
        let Some(network) = spot.network else {
            continue;
        };
        let left = spot.interfaces.iter().find(|one| one.name == "left");
        let Some((v4, _)) = left.and_then(|one| one.addresses) else {
            continue;
        };
        let [(IpAddr::V4(prefix), _), _] = network.prefixes() else {
            panic!()
        };
        assert_eq!(
            v4.octets()[2] / 16,
            prefix.octets()[2] / 16,
            "{} answers from {v4}",
            spot.name
        );
    }
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let wrong = |change: fn(&mut ChainSpec)| {
        let mut spec = ChainSpec::default();
        change(&mut spec);
        Plan::draw(&spec).expect_err("impossible").to_string()
    };
    assert!(wrong(|spec| spec.isp_routers = 9).contains("isp-routers"));
    assert!(wrong(|spec| spec.bridge_before = Some("control".into())).contains("control"));
    assert!(
        wrong(|spec| {
            spec.second_way = 1;
            spec.transit_routers = 1;
        })
        .contains("second way")
    );
}
