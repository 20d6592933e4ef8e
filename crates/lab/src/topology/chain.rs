//! Builds a map: namespaces, cables, addresses, routes, address translation. Everything ends when [`Chain`] is dropped.
//! It must not know servers, boxes or scenarios.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;

use nix::mount::{MntFlags, umount2};

use super::namespace::Node;
use super::plan::{Interface, Plan, Role, Spot};
use super::tool::{self, ToolError};

/// The mark of connections that came by the second way, and the table in which their way back stands. Boxes have the
/// upper half of the mark.
const SECOND_WAY: u32 = 102;

/// A built map.
#[derive(Debug)]
pub(super) struct Chain {
    nodes: BTreeMap<String, Node>,
}

/// What differs from node to node, besides the map.
#[derive(Clone, Debug, Default)]
pub(super) struct Habits {
    /// Routers that keep the kernel's limits on ICMP errors; the others answer every time.
    pub(super) rate_limited: Vec<String>,
    /// Whether connections are spread over both ways.
    pub(super) both_ways: bool,
}

/// A map could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A namespace could not be made.
    #[error("the namespace of {name} cannot be made: {cause}")]
    Namespace {
        /// Whose.
        name: String,
        /// Why.
        cause: io::Error,
    },
    /// A setting of the kernel could not be changed.
    #[error("{name}: cannot write {value:?} to {setting}: {cause}")]
    Setting {
        /// Where.
        name: String,
        /// Which.
        setting: String,
        /// What.
        value: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// A program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

impl Chain {
    /// Builds `plan`.
    ///
    /// # Errors
    /// When the kernel or a program refuses; what was built is gone then.
    pub(super) fn build(plan: &Plan, habits: &Habits) -> Result<Self, ChainError> {
        let mut chain = Self {
            nodes: BTreeMap::new(),
        };
        for spot in &plan.spots {
            let node = make(spot, habits)?;
            chain.nodes.insert(spot.name.clone(), node);
        }
        let mut cables = String::new();
        for (n, cable) in plan.cables.iter().enumerate() {
            let ((a, a_if), (b, b_if)) = (&cable.0, &cable.1);
            // Numbers of their own: where both ends have the same one, the kernel may take a second to see that the cable
            // is plugged in.
            let (one, two) = (100 + 2 * n, 101 + 2 * n);
            let _ = writeln!(
                cables,
                "link add {a_if} index {one} netns {a} type veth peer name {b_if} index {two} netns {b}"
            );
        }
        tool::ip(None, &cables)?;
        chain.all_at_once(plan, habits)?;
        Ok(chain)
    }

    /// The node of this name.
    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Half of the time is spent waiting for `ip` and `nft`: two hands are faster than one.
    fn all_at_once(&self, plan: &Plan, habits: &Habits) -> Result<(), ChainError> {
        let half = plan.spots.len().div_ceil(2);
        let furnish_all = |spots: &[Spot]| -> Result<(), ChainError> {
            for spot in spots {
                if let Some(node) = self.nodes.get(&spot.name) {
                    furnish(plan, spot, node, habits)?;
                }
            }
            Ok(())
        };
        let (one, two) = plan.spots.split_at(half.min(plan.spots.len()));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| furnish_all(two));
            let own = furnish_all(one);
            match other.join() {
                Ok(done) => own.and(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        for node in self.nodes.values() {
            // What cannot be taken away goes with the process tree.
            let _ = umount2(&node.path(), MntFlags::MNT_DETACH);
            let _ = fs::remove_file(node.path());
        }
    }
}

/// The namespace, with its settings made before any interface exists, because interfaces inherit them.
fn make(spot: &Spot, habits: &Habits) -> Result<Node, ChainError> {
    let name = &spot.name;
    let failed = |cause| ChainError::Namespace {
        name: name.clone(),
        cause,
    };
    let mut node = Node::create(name).map_err(failed)?;
    let interface = |wanted: &str| {
        let mut names = spot.interfaces.iter().map(|one| &one.name);
        names.find(|name| *name == wanted).cloned()
    };
    node.left = interface("left");
    node.right = interface("right");
    let addresses = spot.interfaces.iter().filter_map(|one| one.addresses);
    node.addresses = addresses
        .flat_map(|(v4, v6)| [v4.into(), v6.into()])
        .collect();
    let limited = habits.rate_limited.contains(name);
    let settings = settings(spot.role, limited);
    let place = name.clone();
    let set = move || {
        for (setting, value, must) in settings {
            let path = format!("/proc/sys/net/{setting}");
            match fs::write(&path, value) {
                Err(cause) if must || cause.kind() != io::ErrorKind::NotFound => {
                    return Err(ChainError::Setting {
                        name: place,
                        setting: path,
                        value,
                        cause,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    };
    node.inside(set).map_err(failed)??;
    Ok(node)
}

/// A question for a neighbour's link address that is asked before the cable is seen to be plugged in is lost. Usually it
/// is asked again after a second, which a measurement would take for a property of the path.
fn ask_often(
    spot: &Spot,
    node: &Node,
    which: impl Fn(&Interface) -> bool,
) -> Result<(), ChainError> {
    let addressed = spot
        .interfaces
        .iter()
        .filter(|one| one.addresses.is_some() && which(one));
    let names: Vec<String> = addressed.map(|one| one.name.clone()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let place = spot.name.clone();
    let set = move || {
        for name in names {
            for family in ["ipv4", "ipv6"] {
                for (setting, value) in [("retrans_time_ms", "20"), ("mcast_solicit", "50")] {
                    let path = format!("/proc/sys/net/{family}/neigh/{name}/{setting}");
                    fs::write(&path, value).map_err(|cause| ChainError::Setting {
                        name: place.clone(),
                        setting: path,
                        value,
                        cause,
                    })?;
                }
            }
        }
        Ok(())
    };
    node.inside(set).map_err(|cause| ChainError::Namespace {
        name: spot.name.clone(),
        cause,
    })?
}

/// Setting, value, and whether a kernel without it is unfit.
fn settings(role: Role, rate_limited: bool) -> Vec<(&'static str, &'static str, bool)> {
    let mut settings = vec![
        ("ipv4/conf/all/rp_filter", "0", true),
        ("ipv4/conf/default/rp_filter", "0", true),
        ("ipv6/conf/all/disable_ipv6", "0", true),
        ("ipv6/conf/default/disable_ipv6", "0", true),
        ("ipv6/conf/default/accept_dad", "0", true),
        ("ipv6/conf/default/accept_ra", "0", true),
        ("ipv6/conf/default/addr_gen_mode", "0", false),
        // Only the bridge that is a box looks into frames, and it says so itself.
        ("bridge/bridge-nf-call-iptables", "0", false),
        ("bridge/bridge-nf-call-ip6tables", "0", false),
    ];
    if role == Role::Router {
        settings.extend([
            ("ipv4/ip_forward", "1", true),
            ("ipv6/conf/all/forwarding", "1", true),
            // By connection; and the same connections on the same way in every run.
            ("ipv4/fib_multipath_hash_policy", "1", true),
            ("ipv6/fib_multipath_hash_policy", "1", true),
            ("ipv4/fib_multipath_hash_seed", "7", false),
        ]);
    }
    if !rate_limited {
        // A mask of 0 limits no type. (A rate of 0 for all of them would mean silence.)
        settings.extend([
            ("ipv4/icmp_ratemask", "0", true),
            ("ipv6/icmp/ratelimit", "0", true),
        ]);
    }
    settings
}

fn furnish(plan: &Plan, spot: &Spot, node: &Node, habits: &Habits) -> Result<(), ChainError> {
    ask_often(spot, node, |interface| interface.ports.is_empty())?;
    let mut lines = "link set lo up\n".to_owned();
    for interface in &spot.interfaces {
        describe(interface, spot.role, &mut lines);
    }
    if spot.role == Role::Bridge {
        lines += &bridge("br0", &["left".to_owned(), "right".to_owned()]);
    }
    lines += &plan.routes(&spot.name);
    if habits.both_ways {
        for (name, routes) in plan.second_routes(true, &SECOND_WAY.to_string()) {
            if name == spot.name {
                lines += &routes;
            }
        }
    }
    tool::ip(Some(node), &lines)?;
    // These exist only now.
    ask_often(spot, node, |interface| !interface.ports.is_empty())?;
    if plan.nat && spot.name == "home" {
        tool::nft(node, TRANSLATION)?;
    }
    if habits.both_ways
        && plan
            .around_second_way()
            .is_some_and(|(_, after)| after == spot.name)
    {
        tool::nft(node, &same_way_back())?;
        let rule = format!("rule add fwmark {SECOND_WAY}/0xffff lookup {SECOND_WAY}\n");
        tool::ip(Some(node), &rule)?;
        tool::feed(Some(node), "ip", &["-6", "-batch", "-"], &rule)?;
    }
    if COMPARED.contains(&spot.name.as_str()) {
        // Otherwise veth leaves checksums to a card that does not exist, and quotes show the unfinished sum.
        for program in ["iptables-restore", "ip6tables-restore"] {
            tool::feed(Some(node), program, &["--noflush"], CHECKSUMS)?;
        }
    }
    Ok(())
}

/// The hosts whose packets are compared with what routers quote of them.
const COMPARED: &[&str] = &["client", "peer", "mobile", "server", "witness"];

const CHECKSUMS: &str = "*mangle\n-A POSTROUTING -p tcp -j CHECKSUM --checksum-fill\nCOMMIT\n";

const TRANSLATION: &str = "table ip lab-nat {
 chain post {
  type nat hook postrouting priority srcnat; policy accept;
  oifname \"right\" masquerade
 }
}
";

/// A connection's two directions take the same way.
fn same_way_back() -> String {
    format!(
        "table inet lab-ways {{
 chain pre {{
  type filter hook prerouting priority -140; policy accept;
  iifname \"branch\" ct mark set {SECOND_WAY}
  iifname != \"branch\" ct mark {SECOND_WAY} meta mark set meta mark or {SECOND_WAY}
 }}
}}
"
    )
}

fn describe(interface: &Interface, role: Role, lines: &mut String) {
    let name = &interface.name;
    if !interface.ports.is_empty() {
        lines.push_str(&bridge(name, &interface.ports));
    }
    if let Some((v4, v6)) = interface.addresses {
        let _ = writeln!(lines, "address add {v4}/24 dev {name}");
        let _ = writeln!(lines, "address add {v6}/64 dev {name} nodad");
    }
    if role == Role::Host {
        // Segments leave as they cross the wire, not as one big piece for a card to cut.
        let _ = writeln!(lines, "link set dev {name} gso_max_segs 1");
    }
    let _ = writeln!(lines, "link set dev {name} up");
}

fn bridge(name: &str, ports: &[String]) -> String {
    let mut lines =
        format!("link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n");
    for port in ports {
        let _ = writeln!(lines, "link set dev {port} master {name}");
        let _ = writeln!(lines, "link set dev {port} up");
    }
    let _ = writeln!(lines, "link set dev {name} up");
    lines
}
