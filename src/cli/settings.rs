//! What was typed, resolved once into what is meant. Each default is a named constant with its reason.

use hoofbeat_net::{Families, Resolver, Route, Trust};
use hoofbeat_observation::{Scheme, Vantage};
use hoofbeat_probe::{
    Budget, Context, Numbering, Target, budget, context::WHOLE_LIMIT, path::PrefixTable,
    witness::WitnessName,
};
use hoofbeat_session::ClientName;
use std::{fs::File, io::BufWriter, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use super::{
    Stop,
    render::text::Detail,
    tracing::{Tracing, When},
    typed,
};
use crate::bundle::{Addresses, Header, Writer};

/// Whole check, seconds: a postscreen greeting delay (15 s) twice, and room for the judge's questions.
pub(super) const TIMEOUT_SECONDS: u64 = WHOLE_LIMIT.as_secs();
/// Servers allow few connections (Internet.nl has seen limits near two a minute); a verdict needs at most these.
pub(super) const CONNECTIONS_PER_SERVER: u32 = budget::CONNECTIONS_PER_SERVER;
/// With tracing both are doubled: a trace waits for silent routers, and takes a connection for each port and path.
const WITH_TRACING: u32 = 2;
/// Targets at once: enough to overlap waiting, few enough to stay polite to one resolver.
pub(super) const JOBS: u16 = 8;
/// After a timed-out question, another round is only begun with this much time left.
pub(super) const LEAST_FOR_A_ROUND: Duration = Duration::from_secs(2);
/// Rounds of questions: differential, contrast, repetition, and reserve.
pub(super) const ROUNDS: usize = 6;
/// How many control servers answer for "this network": fewer than three operators prove little.
pub(super) const CONTROLS: usize = 3;

/// A vantage's label is a word or two.
const LONGEST_LABEL: usize = 64;

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
    /// Opened before any right is dropped.
    pub(super) archive: Option<Writer<BufWriter<File>>>,
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
    pub(super) tracing: Tracing,
    pub(super) witness: Option<Visiting>,
    /// From where, in the user's words.
    pub(super) vantage: Vantage,
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
            vantage: self.vantage.clone(),
            ..Context::new(TOOL, typed)
        }
    }
}

/// A visit to a cooperating server as meant.
#[derive(Debug, Clone)]
pub(super) struct Visiting {
    pub(super) name: WitnessName,
    pub(super) http: bool,
    pub(super) server_names: Vec<String>,
    /// Whether the witness shortens our address before it signs.
    pub(super) shorten: bool,
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
    let when = if typed.trace {
        When::Asked
    } else {
        When::Never
    };
    if when == When::Never && (typed.asking.engine.is_some() || typed.asking.prefixes.is_some()) {
        return Err(Stop::usage(
            "--engine and --prefixes are for tracing: say --trace, or use `hoofbeat trace`",
        ));
    }
    resolve("check", &typed.targets, typed.jobs, when, typed.asking)
}

/// Resolves `trace`.
pub(super) fn trace(typed: typed::Trace) -> Result<CheckSettings, Stop> {
    resolve(
        "trace",
        std::slice::from_ref(&typed.target),
        1,
        When::Always,
        typed.asking,
    )
}

/// Seconds, and connections to one server.
struct Bounds {
    timeout: u64,
    max_connections: u32,
}

fn target(text: &String) -> Result<Target, Stop> {
    Target::parse(text).map_err(|error| Stop::usage(format!("{text:?}: {error}")))
}

fn resolve(
    command: &str,
    targets: &[String],
    jobs: u16,
    when: When,
    typed: typed::Asking,
) -> Result<CheckSettings, Stop> {
    let times = if when == When::Never { 1 } else { WITH_TRACING };
    let bounds = Bounds {
        timeout: typed.timeout.unwrap_or(TIMEOUT_SECONDS * u64::from(times)),
        max_connections: typed
            .max_connections
            .unwrap_or(CONNECTIONS_PER_SERVER * times),
    };
    let described = described(command, targets, jobs, when, &bounds, &typed);
    let targets = targets
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
    let siblings = typed
        .sibling
        .iter()
        .map(target)
        .collect::<Result<_, Stop>>()?;
    let client_name = typed.ehlo.map(ehlo_name).transpose()?;
    let vantage = vantage(typed.vantage.as_deref(), typed.inside)?;
    let witness = visiting(
        typed.witness.as_deref(),
        typed.server_name,
        !typed.no_witness_http,
        !typed.full_addresses,
    )?;
    let prefixes = typed.prefixes.as_deref().map(prefixes).transpose()?;
    // Last, after everything that may be wrong: files are opened while the right to open them is there.
    let archive = typed
        .archive
        .as_deref()
        .map(|path| archive(path, described, typed.full_addresses))
        .transpose()?;
    let tracing = Tracing::prepare(when, typed.engine.unwrap_or_default(), prefixes)?;
    Ok(CheckSettings {
        targets,
        output: output(typed.output),
        archive,
        jobs: jobs.into(),
        inquiry: InquirySettings {
            controls,
            siblings,
            trust: Arc::new(trust),
            resolver,
            route,
            families: match (typed.ipv4, typed.ipv6) {
                (true, _) => Families::OnlyV4,
                (_, true) => Families::OnlyV6,
                _ => Families::Both,
            },
            timeout: Duration::from_secs(bounds.timeout),
            connections_per_server: bounds.max_connections,
            client_name,
            thorough: typed.thorough,
            tracing,
            witness,
            vantage,
            numbering: Arc::default(),
        },
    })
}

/// The settings as an archive tells them: everything that may change a result, and no secret.
fn described(
    command: &str,
    targets: &[String],
    jobs: u16,
    when: When,
    bounds: &Bounds,
    typed: &typed::Asking,
) -> serde_json::Value {
    let controls = match (typed.no_controls, typed.control.as_slice()) {
        (true, _) => serde_json::json!("none"),
        (false, []) => serde_json::json!("built-in"),
        (false, own) => serde_json::json!(own),
    };
    let families = match (typed.ipv4, typed.ipv6) {
        (true, _) => "ipv4",
        (_, true) => "ipv6",
        _ => "both",
    };
    serde_json::json!({
        "command": command,
        "targets": targets,
        "timeout_s": bounds.timeout,
        "max_connections": bounds.max_connections,
        "jobs": jobs,
        "controls": controls,
        "siblings": typed.sibling,
        "families": families,
        // The text form of a route leaves credentials out.
        "route": typed.route.parse::<Route>().map(|route| route.to_string()).ok(),
        "own_resolver": typed.resolver.is_some(),
        "own_roots": typed.ca.is_some(),
        "ehlo": typed.ehlo,
        "thorough": typed.thorough,
        "trace": when.word(),
        "engine": typed.engine.unwrap_or_default().word(),
        "prefixes": typed.prefixes.is_some(),
        "witness": typed.witness,
        "witness_http": typed.witness.is_some() && !typed.no_witness_http,
        "server_names": typed.server_name,
        "vantage": typed.vantage,
        "inside": typed.inside,
    })
}

fn archive(
    path: &Path,
    described: serde_json::Value,
    full_addresses: bool,
) -> Result<Writer<BufWriter<File>>, Stop> {
    let addresses = if full_addresses {
        Addresses::Full
    } else {
        Addresses::Shortened
    };
    let started = time::OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default();
    File::create(path)
        .map(BufWriter::new)
        .and_then(|file| Writer::begin(file, &Header::new(TOOL, described, started, addresses)))
        .map_err(|error| {
            Stop::usage(format!(
                "--archive: cannot write {}: {error}",
                path.display()
            ))
        })
}

/// `HOST@NETWORK`, `HOST` or `@NETWORK`: labels by which places are told apart later.
fn vantage(typed: Option<&str>, inside: bool) -> Result<Vantage, Stop> {
    let Some(text) = typed else {
        return Ok(Vantage {
            inside,
            ..Vantage::default()
        });
    };
    let (host, network) = text.split_once('@').unwrap_or((text, ""));
    let is_label = |label: &str| {
        label.len() <= LONGEST_LABEL
            && label
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' '))
    };
    if !is_label(host) || !is_label(network) || (host.is_empty() && network.is_empty()) {
        return Err(Stop::usage(format!(
            "--vantage {text:?}: write HOST@NETWORK in words of your own, such as laptop@cafe"
        )));
    }
    let label = |label: &str| (!label.is_empty()).then(|| label.to_owned());
    Ok(Vantage {
        name: Some(text.to_owned()),
        host: label(host),
        network: label(network),
        inside,
        ..Vantage::default()
    })
}

fn visiting(
    typed: Option<&str>,
    server_names: Vec<String>,
    http: bool,
    shorten: bool,
) -> Result<Option<Visiting>, Stop> {
    let Some(text) = typed else {
        return Ok(None);
    };
    let name = text
        .parse()
        .map_err(|error| Stop::usage(format!("--witness {text:?}: {error}")))?;
    let server_names = server_names
        .into_iter()
        .map(|name| match Target::parse(&name) {
            Ok(Target::Domain(name)) => Ok(name),
            _ => Err(Stop::usage(format!(
                "--server-name {name:?} is no host name"
            ))),
        })
        .collect::<Result<_, Stop>>()?;
    Ok(Some(Visiting {
        name,
        http,
        server_names,
        shorten,
    }))
}

fn prefixes(path: &Path) -> Result<PrefixTable, Stop> {
    let table = PrefixTable::read(path)
        .map_err(|error| Stop::usage(format!("--prefixes {}: {error}", path.display())))?;
    if table.bad_lines() > 0 {
        eprintln!(
            "hoofbeat: {}: {} lines are no PREFIX/LEN ASN and were left out",
            path.display(),
            table.bad_lines()
        );
    }
    Ok(table)
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
