//! Who serves in a network scenario: the checked server (the lab's own or a real one), its second backend, what it hides
//! from whom, and the control server. It must not know boxes or verdicts.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConfig;

use super::chain::Chain;
use super::namespace::Node;
use super::plan::Plan;
use super::real::{self, Daemon, RealError, Site};
use super::scenario::{NetScenario, Program, SERVICES};
use super::server::{Service, Serving, port_of, serve_on};
use super::tool::{self, ToolError};
use super::world::{CONTROL_NAME, SERVER_NAME};
use crate::authority::{Authority, AuthorityError};
use crate::protocol::{Protocol, Scheme};
use crate::server::{ServerSpec, Starttls};

/// Ports of what hidden-from clients are led to: the service's own and this.
const HIDDEN: u16 = 10_000;

/// Servers that run until dropped.
#[derive(Default)]
pub(super) struct Servers {
    own: Vec<Serving>,
    real: Vec<Daemon>,
}

/// A server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// One of the lab's own.
    #[error("the lab's own server on {node} cannot be started: {cause}")]
    Own {
        /// Where.
        node: String,
        /// Why.
        cause: io::Error,
    },
    /// A real one.
    #[error(transparent)]
    Real(#[from] RealError),
    /// Its certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A network is named that does not exist.
    #[error("{0:?} is neither a network of the lab nor an address prefix")]
    Network(String),
    /// The map lacks a host.
    #[error("the lab has no host {0:?}")]
    Nobody(&'static str),
}

/// Starts all servers of `scenario`; they listen on return.
///
/// # Errors
/// When a socket, a certificate or a program cannot be had.
pub(super) fn start(
    scenario: &NetScenario,
    plan: &Plan,
    chain: &Chain,
) -> Result<Servers, ServingError> {
    let mut servers = Servers::default();
    let part = &scenario.server;
    let hidden_from = prefixes(&part.hides_from, plan)?;
    let host = node(chain, "server")?;
    let mut spec = part.spec.clone();
    named(&mut spec, SERVER_NAME);
    let (real, own): (Vec<Scheme>, Vec<Scheme>) = part
        .services
        .iter()
        .partition(|scheme| is_real(part.program, **scheme));
    let mut services = services_of(&own, &spec, host)?;
    if !hidden_from.is_empty() {
        let mut hidden = spec.clone();
        hidden.starttls = Starttls::Hidden;
        let asked: Vec<Scheme> = own
            .iter()
            .copied()
            .filter(|scheme| !scheme.implicit_tls())
            .collect();
        for mut service in services_of(&asked, &hidden, host)? {
            service.port += HIDDEN;
            services.push(service);
        }
        tool::nft(host, &views(&hidden_from, &asked))?;
    }
    servers.own.push(serve(host, services)?);
    if !real.is_empty() {
        let site = Site {
            services: real,
            spec: &spec,
            hidden_from: &hidden_from,
            authority: Authority::shared()?,
        };
        servers.real = match part.program {
            Program::Postfix => real::postfix(host, &site)?,
            Program::Exim => real::exim(host, &site)?,
            Program::Dovecot => real::dovecot(host, &site)?,
            Program::Own => Vec::new(),
        };
    }
    if let Some(spec) = &part.backend {
        let second = node(chain, "server-b")?;
        let mut spec = spec.clone();
        named(&mut spec, SERVER_NAME);
        // It answers in the first one's name.
        let services = services_for(&part.services, &spec, &[host, second])?;
        servers.own.push(serve(second, services)?);
        let edge = node(chain, "edge")?;
        tool::nft(edge, &backends(host, second, &part.services))?;
    }
    let control = node(chain, "control")?;
    let mut services = Vec::new();
    for scheme in SERVICES {
        let mut spec = ServerSpec::control(scheme.protocol());
        spec.host = CONTROL_NAME.to_owned();
        services.push((scheme, spec));
    }
    let tls = tls_of(
        &ServerSpec::control(Protocol::Smtp),
        CONTROL_NAME,
        &[control],
    )?;
    let services = services.into_iter().map(|(scheme, spec)| Service {
        scheme,
        port: port_of(scheme),
        spec,
        tls: Arc::clone(&tls),
    });
    servers.own.push(serve(control, services.collect())?);
    Ok(servers)
}

fn is_real(program: Program, scheme: Scheme) -> bool {
    match program {
        Program::Own => false,
        Program::Postfix | Program::Exim => scheme.protocol() == Protocol::Smtp,
        Program::Dovecot => matches!(scheme.protocol(), Protocol::Imap | Protocol::Pop3),
    }
}

/// Unless the scenario says otherwise, a server calls itself what it is called.
fn named(spec: &mut ServerSpec, name: &str) {
    if spec.host == ServerSpec::default().host {
        name.clone_into(&mut spec.host);
    }
}

fn node<'a>(chain: &'a Chain, name: &'static str) -> Result<&'a Node, ServingError> {
    chain.node(name).ok_or(ServingError::Nobody(name))
}

fn serve(node: &Node, services: Vec<Service>) -> Result<Serving, ServingError> {
    serve_on(node, node.addresses.clone(), services).map_err(|cause| ServingError::Own {
        node: node.name.clone(),
        cause,
    })
}

fn services_of(
    schemes: &[Scheme],
    spec: &ServerSpec,
    host: &Node,
) -> Result<Vec<Service>, ServingError> {
    services_for(schemes, spec, &[host])
}

fn services_for(
    schemes: &[Scheme],
    spec: &ServerSpec,
    hosts: &[&Node],
) -> Result<Vec<Service>, ServingError> {
    let tls = tls_of(spec, SERVER_NAME, hosts)?;
    let service = |scheme: &Scheme| Service {
        scheme: *scheme,
        port: port_of(*scheme),
        spec: spec.clone(),
        tls: Arc::clone(&tls),
    };
    Ok(schemes.iter().map(service).collect())
}

fn tls_of(
    spec: &ServerSpec,
    name: &str,
    hosts: &[&Node],
) -> Result<Arc<ServerConfig>, AuthorityError> {
    let names = certificate_names(spec, name, hosts);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Authority::shared()?.server_config(spec.certificate, &names, spec.versions)
}

/// What a certificate of `hosts` proves: the name, what the server calls itself, and the addresses.
pub(super) fn certificate_names(spec: &ServerSpec, name: &str, hosts: &[&Node]) -> Vec<String> {
    let mut names = vec![name.to_owned(), spec.host.clone()];
    let addresses = hosts.iter().flat_map(|host| &host.addresses);
    names.extend(addresses.map(IpAddr::to_string));
    names
}

/// Names of networks, and prefixes, as prefixes.
fn prefixes(names: &[String], plan: &Plan) -> Result<Vec<(IpAddr, u8)>, ServingError> {
    let mut all = Vec::new();
    for name in names {
        if let Some(network) = plan.prefixes_of(name) {
            all.extend(network);
            continue;
        }
        let written = name.split_once('/').and_then(|(address, length)| {
            let address: IpAddr = address.parse().ok()?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let length: u8 = length.parse().ok()?;
            (length <= longest).then_some((address, length))
        });
        all.push(written.ok_or_else(|| ServingError::Network(name.clone()))?);
    }
    Ok(all)
}

/// Leads clients from some networks to a server that differs in nothing but STARTTLS.
fn views(from: &[(IpAddr, u8)], schemes: &[Scheme]) -> String {
    let mut rules = "table inet lab-views {\n chain pre {\n  type nat hook prerouting priority dstnat; policy accept;\n".to_owned();
    for (prefix, length) in from {
        let family = if prefix.is_ipv4() { "ip" } else { "ip6" };
        for scheme in schemes {
            let port = port_of(*scheme);
            let _ = writeln!(
                rules,
                "  {family} saddr {prefix}/{length} tcp dport {port} redirect to :{}",
                port + HIDDEN
            );
        }
    }
    rules + " }\n}\n"
}

/// The edge spreads connections over two backends, as load balancers do.
fn backends(first: &Node, second: &Node, schemes: &[Scheme]) -> String {
    let ports: Vec<String> = schemes
        .iter()
        .map(|scheme| port_of(*scheme).to_string())
        .collect();
    let ports = ports.join(", ");
    let mut rules = "table inet lab-backends {\n chain pre {\n  type nat hook prerouting priority dstnat; policy accept;\n".to_owned();
    for (one, two) in first.addresses.iter().zip(&second.addresses) {
        let family = if one.is_ipv4() { "ip" } else { "ip6" };
        let _ = writeln!(
            rules,
            "  {family} daddr {one} tcp dport {{ {ports} }} dnat {family} to numgen inc mod 2 map {{ 0 : {one}, 1 : {two} }}"
        );
    }
    rules + " }\n}\n"
}
