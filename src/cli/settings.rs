//! What was typed, resolved once into what is meant. Each default is a named constant with its reason.

use hoofbeat_net::{Families, Resolver, Route, Trust};
use hoofbeat_observation::Scheme;
use hoofbeat_probe::{Budget, Context, Numbering, Target, budget, context::WHOLE_LIMIT};
use hoofbeat_session::ClientName;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{Stop, render::text::Detail, typed};

/// Whole check, seconds: a postscreen greeting delay (15 s) twice, and room for the judge's questions.
pub(super) const TIMEOUT_SECONDS: u64 = WHOLE_LIMIT.as_secs();
/// Servers allow few connections (Internet.nl has seen limits near two a minute); a verdict needs at most these.
pub(super) const CONNECTIONS_PER_SERVER: u32 = budget::CONNECTIONS_PER_SERVER;
/// Targets at once: enough to overlap waiting, few enough to stay polite to one resolver.
pub(super) const JOBS: u16 = 8;
/// After a timed-out question, another round is only begun with this much time left.
pub(super) const LEAST_FOR_A_ROUND: Duration = Duration::from_secs(2);
/// Rounds of questions: differential, contrast, repetition, and reserve.
pub(super) const ROUNDS: usize = 6;
/// How many control servers answer for "this network": fewer than three operators prove little.
pub(super) const CONTROLS: usize = 3;

/// The program as archives and reports name it.
pub(super) const TOOL: &str = concat!("hoofbeat ", env!("CARGO_PKG_VERSION"));

/// Where control servers come from.
#[derive(Debug, Clone)]
pub(super) enum Controls {
    /// The built-in list of large providers.
    BuiltIn,
    /// The user's own.
    Own(Vec<Target>),
    /// None: contact no server but the target's.
    None,
}

/// A check as meant.
#[derive(Debug)]
pub(super) struct CheckSettings {
    /// Each target as typed, with its meaning; none: the network one sits on.
    pub(super) targets: Vec<(String, Target)>,
    pub(super) output: OutputSettings,
    pub(super) archive: Option<PathBuf>,
    pub(super) jobs: usize,
    pub(super) inquiry: InquirySettings,
}

/// What every inquiry of one command shares.
#[derive(Debug)]
pub(super) struct InquirySettings {
    pub(super) controls: Controls,
    /// Further services of the same host that the user named, to compare with.
    pub(super) siblings: Vec<Target>,
    pub(super) trust: Arc<Trust>,
    pub(super) resolver: Resolver,
    pub(super) route: Route,
    pub(super) families: Families,
    pub(super) timeout: Duration,
    pub(super) connections_per_server: u32,
    pub(super) client_name: Option<ClientName>,
    pub(super) thorough: bool,
    /// One count of measurement ids for all targets: they may share an archive.
    pub(super) numbering: Arc<Numbering>,
}

impl InquirySettings {
    /// The surroundings of one target's check; its clock starts now.
    pub(super) fn context(&self, typed: &str) -> Context {
        Context {
            resolver: self.resolver.clone(),
            route: self.route.clone(),
            families: self.families,
            trust: Arc::clone(&self.trust),
            client_name: self.client_name.clone(),
            deadline: self.timeout,
            budget: Budget::new(self.connections_per_server),
            numbering: Arc::clone(&self.numbering),
            ..Context::new(TOOL, typed)
        }
    }
}

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputSettings {
    pub(super) json: bool,
    pub(super) detail: Detail,
    pub(super) progress: bool,
}

/// Resolves `--json`, `--quiet` and `--verbose`.
pub(super) fn output(typed: typed::Output) -> OutputSettings {
    let detail = match (typed.quiet, typed.verbose) {
        (true, _) => Detail::Verdicts,
        (_, true) => Detail::Everything,
        _ => Detail::Report,
    };
    OutputSettings {
        json: typed.json,
        detail,
        progress: !typed.quiet,
    }
}

/// Resolves `check`.
pub(super) fn check(typed: typed::Check) -> Result<CheckSettings, Stop> {
    let target = |text: &String| {
        Target::parse(text).map_err(|error| Stop::usage(format!("{text:?}: {error}")))
    };
    let targets = typed
        .targets
        .iter()
        .map(|text| Ok((text.clone(), target(text)?)))
        .collect::<Result<_, Stop>>()?;
    let controls = if typed.no_controls {
        Controls::None
    } else if typed.control.is_empty() {
        Controls::BuiltIn
    } else {
        Controls::Own(
            typed
                .control
                .iter()
                .map(target)
                .collect::<Result<_, Stop>>()?,
        )
    };
    let trust = match &typed.ca {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| {
                Stop::usage(format!("--ca: cannot read {}: {error}", path.display()))
            })?;
            Trust::system()
                .with_pem(&pem)
                .map_err(|error| Stop::usage(format!("--ca {}: {error}", path.display())))?
        }
        None => Trust::system(),
    };
    let resolver = match &typed.resolver {
        Some(address) => Resolver::at(resolver_address(address)?),
        None => Resolver::system(),
    };
    let route = typed
        .route
        .parse()
        .map_err(|error| Stop::usage(format!("--route {}: {error}", typed.route)))?;
    Ok(CheckSettings {
        targets,
        output: output(typed.output),
        archive: typed.archive,
        jobs: typed.jobs.into(),
        inquiry: InquirySettings {
            controls,
            siblings: typed
                .sibling
                .iter()
                .map(target)
                .collect::<Result<_, Stop>>()?,
            trust: Arc::new(trust),
            resolver,
            route,
            families: match (typed.ipv4, typed.ipv6) {
                (true, _) => Families::OnlyV4,
                (_, true) => Families::OnlyV6,
                _ => Families::Both,
            },
            timeout: Duration::from_secs(typed.timeout),
            connections_per_server: typed.max_connections,
            client_name: typed.ehlo.map(ehlo_name).transpose()?,
            thorough: typed.thorough,
            numbering: Arc::default(),
        },
    })
}

/// `ADDR` or `ADDR:PORT`; 53 where no port is given.
fn resolver_address(text: &str) -> Result<SocketAddr, Stop> {
    const DNS: u16 = 53;
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse().or_else(|_| bare.parse().map(|address| SocketAddr::new(address, DNS))).map_err(|_| {
        Stop::usage(format!("--resolver {text:?} is no address; write 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53"))
    })
}

/// A name that cannot break out of its command (RFC 5321 §4.1.1.1).
fn ehlo_name(name: String) -> Result<ClientName, Stop> {
    let good =
        !name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic());
    good.then_some(ClientName(name.clone())).ok_or_else(|| {
        Stop::usage(format!(
            "--ehlo {name:?} is no host name or address literal"
        ))
    })
}

/// The schemes that a check of one's own network tries on control servers.
pub(super) const NETWORK_SCHEMES: [Scheme; 4] =
    [Scheme::Smtp, Scheme::Submission, Scheme::Imap, Scheme::Pop3];
