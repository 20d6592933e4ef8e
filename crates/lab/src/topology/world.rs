//! One lab from end to end: the chain, its servers, what confuses, the boxes, and the caller's companions — started in this
//! order, ended in the reverse when [`World`] is dropped. It must not know any verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::chain::{Chain, ChainError, Habits};
use super::companion::{self, Attended, Companion, CompanionError};
use super::confounder::{self, ConfounderError, Standing};
use super::device::{self, DeviceError, Installed, Surroundings};
use super::namespace::Node;
use super::plan::{Plan, PlanError};
use super::scenario::{Ip, NetScenario};
use super::server::port_of;
use super::serving::{self, Servers, ServingError};
use super::shell::{self, SettleError};
use crate::authority::{Authority, AuthorityError};

/// The checked server's name.
pub(super) const SERVER_NAME: &str = "mx.lab.test";
/// The control server's name.
pub(super) const CONTROL_NAME: &str = "control.lab.test";
/// An address that is routed, and where nobody is.
const NOBODY: (&str, &str) = ("198.18.96.99", "2001:db8:4506::99");

/// What a caller adds to a scenario.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Programs to run on hosts beforehand.
    pub companions: Vec<Companion>,
}

/// A lab that runs until dropped.
pub struct World {
    // Dropped in this order.
    companions: Vec<Attended>,
    devices: Vec<(String, Installed)>,
    standing: Vec<Standing>,
    _servers: Servers,
    chain: Chain,
    /// The map.
    pub plan: Plan,
    /// The authority's certificates, as `--ca` takes them.
    pub ca: PathBuf,
    /// The prefix table.
    pub prefixes: PathBuf,
    values: BTreeMap<String, String>,
}

/// A lab could not be built.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The caller has no place for it.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// The layout cannot be drawn.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The network cannot be built.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A certificate cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A server cannot be started.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// A confounder cannot be installed.
    #[error(transparent)]
    Confounder(#[from] ConfounderError),
    /// A box cannot be installed.
    #[error("the box on {at}: {cause}")]
    Device {
        /// Where.
        at: String,
        /// Why.
        cause: DeviceError,
    },
    /// A companion did not start.
    #[error(transparent)]
    Companion(#[from] CompanionError),
    /// A file cannot be written.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A node is named that the map has not.
    #[error("the lab has no host {0:?}")]
    Nobody(String),
}

impl World {
    /// Builds `scenario` inside of the calling process's namespaces (see [`shell::enter`]).
    ///
    /// # Errors
    /// When the caller is not inside, or anything cannot be had; what was started is ended then.
    pub fn build(scenario: &NetScenario, extras: &Extras) -> Result<Self, WorldError> {
        let mut spec = scenario.chain.clone();
        let confounders = &scenario.confounders;
        if confounders.two_ways {
            spec.second_way = spec.second_way.max(1);
        } else if confounders.path_change.is_some() {
            // One router more than the first way has, so that hops move.
            spec.second_way = spec.second_way.max(2);
        }
        let plan = Plan::draw(&spec)?;
        shell::settle(&names(&plan))?;
        let habits = Habits {
            rate_limited: confounders.rate_limited.clone(),
            both_ways: confounders.two_ways,
        };
        let chain = Chain::build(&plan, &habits)?;
        let authority = Authority::shared()?;
        let (around, trusted) = surroundings(scenario, &plan)?;
        let ca = write("ca.pem", &(authority.ca_pem().to_owned() + &trusted))?;
        let prefixes = write("prefixes.tsv", &plan.prefix_table())?;
        let servers = serving::start(scenario, &plan, &chain)?;
        let mut world = Self {
            companions: Vec::new(),
            devices: Vec::new(),
            standing: Vec::new(),
            _servers: servers,
            values: values(scenario, &plan, &ca, &prefixes),
            chain,
            plan,
            ca,
            prefixes,
        };
        world.standing = confounder::install(scenario, &world.plan, &world.chain)?;
        for (placed, around) in scenario.devices.iter().zip(&around) {
            let node = world.must(&placed.at)?;
            let installed = device::install(&placed.device, node, around).map_err(|cause| {
                WorldError::Device {
                    at: placed.at.clone(),
                    cause,
                }
            })?;
            world.devices.push((placed.at.clone(), installed));
        }
        for companion in &extras.companions {
            let node = world.must(&companion.node)?;
            let arguments: Vec<String> = companion
                .arguments
                .iter()
                .map(|argument| world.fill(argument))
                .collect();
            let attended = companion::start(companion, &arguments, node)?;
            if let Some(name) = &companion.publishes {
                let value = attended.published.clone();
                world.values.insert(name.clone(), value);
            }
            world.companions.push(attended);
        }
        Ok(world)
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.chain.node(name)
    }

    /// The boxes, with the node that each stands on.
    pub fn devices(&self) -> impl Iterator<Item = (&str, &Installed)> {
        self.devices.iter().map(|(at, one)| (at.as_str(), one))
    }

    /// A command that runs on `node`, its arguments filled in.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn command(&self, node: &str, argv: &[String]) -> Result<Command, WorldError> {
        let node = self.must(node)?;
        let mut filled = argv.iter().map(|argument| self.fill(argument));
        let program = filled.next().unwrap_or_default();
        Ok(node.command(program, filled))
    }

    /// `text` with every placeholder replaced: `{target}`, `{control}`, `{ca}`, `{prefixes}`, `{nobody}`, `{server}`,
    /// `{witness-address}`, `{peer}`, `{inside}`, `{folder}` (the lab's own), and what companions publish. An unknown one stays.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.values {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
        filled
    }

    /// The map for people.
    pub fn map(&self, scenario: &NetScenario) -> String {
        let mut map = format!("{}: {}\n", scenario.id, scenario.title);
        let places = std::iter::once("client")
            .chain(self.plan.chain.iter().map(String::as_str))
            .chain(["server", "mobile"])
            .chain(self.plan.mobile_chain.iter().take(2).map(String::as_str))
            .chain(self.plan.second_way.iter().map(String::as_str))
            .chain(["peer", "inside", "control", "witness"]);
        for name in places {
            let Some(spot) = self.plan.spot(name) else {
                continue;
            };
            let hop = match name {
                _ if self.plan.chain.iter().any(|one| one == name) || name == "server" => {
                    self.plan.hop("client", name)
                }
                _ => None,
            };
            let hop = hop.map_or_else(String::new, |hop| hop.to_string());
            let owner = spot.network.map_or("-".to_owned(), |network| {
                format!("AS{} {}", network.number(), network.name())
            });
            let address = |v6| {
                let address = self.plan.address(name, v6);
                address.map_or_else(String::new, |address| address.to_string())
            };
            let boxes: Vec<&str> = scenario
                .devices
                .iter()
                .filter(|placed| placed.at == name)
                .map(|_| "  << box")
                .collect();
            let _ = writeln!(
                map,
                "{hop:>3}  {name:<10} {:<15} {:<20} {owner}{}",
                address(false),
                address(true),
                boxes.concat()
            );
        }
        if let Some(before) = &scenario.chain.bridge_before {
            let boxed = scenario.devices.iter().any(|placed| placed.at == "bridge");
            let mark = if boxed { "  << box" } else { "" };
            let _ = writeln!(map, "     a bridge before {before}, which is no hop{mark}");
        }
        let confounders = scenario.confounders.words();
        if confounders != "none" {
            let _ = writeln!(map, "     confounders: {confounders}");
        }
        for (name, value) in &self.values {
            let _ = writeln!(map, "     {{{name}}} = {value}");
        }
        map
    }

    fn must(&self, name: &str) -> Result<&Node, WorldError> {
        self.chain
            .node(name)
            .ok_or_else(|| WorldError::Nobody(name.to_owned()))
    }
}

/// The lab's `/etc/hosts`.
fn names(plan: &Plan) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for (node, name) in [
        ("server", SERVER_NAME),
        ("control", CONTROL_NAME),
        ("witness", "witness.lab.test"),
    ] {
        for v6 in [false, true] {
            if let Some(address) = plan.address(node, v6) {
                let _ = writeln!(text, "{address} {name}");
            }
        }
    }
    text
}

fn write(name: &str, text: &str) -> Result<PathBuf, WorldError> {
    let path = Path::new(shell::FOLDER).join(name);
    match fs::write(&path, text) {
        Ok(()) => Ok(path),
        Err(cause) => Err(WorldError::Write { path, cause }),
    }
}

fn values(
    scenario: &NetScenario,
    plan: &Plan,
    ca: &Path,
    prefixes: &Path,
) -> BTreeMap<String, String> {
    let v6 = scenario.ip == Ip::V6;
    let mut values = BTreeMap::new();
    let mut put = |name: &str, value: String| values.insert(name.to_owned(), value);
    for (name, node) in [
        ("server", "server"),
        ("witness-address", "witness"),
        ("peer", "peer"),
        ("inside", "inside"),
        ("control-address", "control"),
    ] {
        if let Some(address) = plan.address(node, v6) {
            put(name, address.to_string());
        }
    }
    for (name, node) in [("target", "server"), ("control", "control")] {
        if let Some(address) = plan.address(node, v6) {
            put(name, url(scenario, address));
        }
    }
    let nobody = if v6 { NOBODY.1 } else { NOBODY.0 };
    put("nobody", nobody.to_owned());
    put("folder", shell::FOLDER.to_owned());
    put("ca", ca.display().to_string());
    put("prefixes", prefixes.display().to_string());
    values
}

fn url(scenario: &NetScenario, address: IpAddr) -> String {
    let place = SocketAddr::new(address, port_of(scenario.scheme));
    format!("{}://{place}", scenario.scheme)
}

/// Every name and address that a server of the lab can prove: an interceptor claims them all.
fn every_name(plan: &Plan) -> Vec<String> {
    let mut names = vec![SERVER_NAME.to_owned(), CONTROL_NAME.to_owned()];
    for node in ["server", "server-b", "control", "witness"] {
        let addresses = [false, true].map(|v6| plan.address(node, v6));
        names.extend(addresses.into_iter().flatten().map(|one| one.to_string()));
    }
    names
}

/// What each box needs to know, in the scenario's order, and the issuers that clients were told to trust.
fn surroundings(
    scenario: &NetScenario,
    plan: &Plan,
) -> Result<(Vec<Surroundings>, String), AuthorityError> {
    let names = every_name(plan);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut all = Vec::new();
    let mut trusted = String::new();
    for placed in &scenario.devices {
        let interceptor = device::interceptor(&placed.device, &names)?;
        if let Some(one) = interceptor.as_ref().filter(|one| one.trusted) {
            trusted += &one.ca_pem;
        }
        all.push(Surroundings {
            scheme: Some(scenario.scheme),
            interceptor: interceptor.map(|one| one.settings),
        });
    }
    Ok((all, trusted))
}
