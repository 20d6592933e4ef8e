//! Hop tracing: packets with a limited TTL towards mail services, what routers quoted of them, and who answered where.
//!
//! Without privilege it sees at which TTL somebody answers for a service, on each port; with raw sockets also what
//! became of a command at every hop of one standing connection. It records and never judges: a changed quote is bytes.
//! Tracebox (Detal et al., IMC 2013), CenTrace (CoNEXT 2022); RFC 792, RFC 1812 §4.3.2.3, RFC 4443 §3.3.

mod arrival;
mod bench;
mod climb;
pub(crate) mod filter;
mod hello;
mod inbox;
pub(crate) mod packet;
pub(crate) mod pcapng;
mod prefix;
mod right;
mod standing;
mod surroundings;
mod sweep;
mod syn;
mod words;

use std::{
    collections::{BTreeMap, HashSet},
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use hoofbeat_observation::{
    Answered, Body, Engine, Failure, FailureKind, Measurement, Method, Operation, Payload, Probe,
    Role, Scheme, Service, Trace,
};
use hoofbeat_session::Direction;

pub use prefix::{PrefixTable, TableError};
pub use right::{NoRight, RawRight};
pub use surroundings::surroundings;

use crate::Context;
use bench::Bench;
use climb::{Climbed, Manner};
use inbox::Inbox;
use sweep::{Known, Reach};

/// A port that IANA reserves and gives to nobody (RFC 6335 §6): nobody is expected to listen there.
pub const CLOSED_PORT: u16 = 49151;

/// HTTPS: the port that is seldom tampered with.
const HTTPS: u16 = 443;

/// Most control servers that are traced.
const MOST_CONTROLS: usize = 2;

/// Connections of one service that are swept: two paths, a third where they disagree.
const SWEEPS: usize = 2;
const MOST_SWEEPS: usize = 3;

/// A service that took so long gets no further connection: its path loses much, or its server is slow.
const ENOUGH: Duration = Duration::from_secs(20);

/// Which engine is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// Raw sockets where they are to be had.
    #[default]
    Auto,
    /// Ordinary sockets.
    Unprivileged,
    /// Raw sockets, or nothing.
    Raw,
}

/// A word that names no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown engine; known are auto, unprivileged, raw")]
pub struct UnknownEngine;

impl FromStr for EngineChoice {
    type Err = UnknownEngine;
    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "unprivileged" => Ok(Self::Unprivileged),
            "raw" => Ok(Self::Raw),
            _ => Err(UnknownEngine),
        }
    }
}

/// One path to trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceAsk {
    /// The service, with its pinned address. Of ports that no scheme has only SYNs are sent, so that its scheme is then
    /// without meaning.
    pub service: Service,
    /// What it is held against.
    pub role: Role,
    /// Whether commands are traced too and TTLs of answers found out, or only SYNs are sent.
    pub thorough: bool,
    /// Whether a ClientHello is traced as well, where STARTTLS is accepted: for services whose handshakes die without a
    /// word. It needs raw sockets.
    pub hello: bool,
}

impl TraceAsk {
    /// The last word in the service's language, where it has one in the clear.
    fn goodbye(&self) -> Option<&'static str> {
        let service = &self.service;
        let speaks =
            !service.scheme.is_implicit_tls() && ![HTTPS, CLOSED_PORT].contains(&service.port);
        speaks.then(|| words::goodbye(service.scheme.protocol()))
    }
}

/// What a person may be shown while waiting.
#[derive(Debug, Clone, Copy)]
pub enum TraceProgress<'a> {
    /// A service's path is about to be traced.
    Began(&'a TraceAsk),
    /// A trace is done: its probes tell the hops.
    Traced(&'a TraceAsk, &'a Trace),
    /// Nothing more will be asked of this service.
    Ended(&'a TraceAsk),
}

/// What tracing a service takes: itself; the same host's ports that other boxes guard, and one where nobody listens;
/// and up to two of the controls on the same port.
#[must_use]
pub fn trace_asks(target: &Service, controls: &[Service]) -> Vec<TraceAsk> {
    let beside = |port: u16| TraceAsk {
        service: Service {
            scheme: Scheme::of_port(port).unwrap_or(target.scheme),
            port,
            ..target.clone()
        },
        role: Role::Sibling,
        thorough: false,
        hello: false,
    };
    let mut asks = vec![TraceAsk {
        service: target.clone(),
        role: Role::Target,
        thorough: true,
        hello: false,
    }];
    let siblings = [
        Scheme::Submission.default_port(),
        Scheme::Submissions.default_port(),
        HTTPS,
        CLOSED_PORT,
    ];
    asks.extend(
        siblings
            .into_iter()
            .filter(|port| *port != target.port)
            .map(beside),
    );
    let on_this_port = controls.iter().filter(|control| {
        control.port == target.port
            && control.address.is_some()
            && control.address != target.address
            && control.address.map(|a| a.is_ipv4()) == target.address.map(|a| a.is_ipv4())
    });
    asks.extend(on_this_port.take(MOST_CONTROLS).map(|control| TraceAsk {
        service: control.clone(),
        role: Role::Control {
            operator: control.host.clone(),
            known: Vec::new(),
        },
        thorough: false,
        hello: false,
    }));
    asks
}

/// Traces everything, all hosts at the same time, and keeps every outcome: one measurement for each trace (several for
/// a thorough ask), and with raw sockets one capture of all packets.
///
/// It never fails: what could not be done is in each trace's `failure`. Without a right it works unprivileged.
pub async fn trace(
    asks: Vec<TraceAsk>,
    raw: Option<&RawRight>,
    context: &Context,
    progress: &(dyn Fn(TraceProgress<'_>) + Sync),
) -> Vec<Measurement> {
    let services: HashSet<SocketAddr> = asks
        .iter()
        .filter_map(|ask| address(&ask.service))
        .collect();
    let inbox = raw.and_then(|right| {
        let inbox = Arc::new(Inbox::new(services, context.clock));
        right.subscribe(&inbox).is_ok().then_some((right, inbox))
    });
    let mut hosts: BTreeMap<Option<IpAddr>, Vec<&TraceAsk>> = BTreeMap::new();
    for ask in &asks {
        hosts.entry(ask.service.address).or_default().push(ask);
    }
    let heard = inbox.as_ref().map(|(right, inbox)| (*right, inbox));
    let all = join_all(
        hosts
            .values()
            .map(|asks| host(asks, heard, context, progress)),
    );
    let traces = match &inbox {
        Some((right, _)) => tokio::select! {
            traces = all => traces,
            // The sockets broke. What was asked so far cannot be told apart from what was not heard.
            broken = right.listen() => {
                let raw = match broken {
                    Err(error) => error.to_string(),
                    Ok(never) => match never {},
                };
                let failure = Failure { operation: Operation::Talk, kind: FailureKind::LocalResources, raw };
                vec![asks.iter().map(|ask| untraced(ask, context, Engine::Raw, failure.clone())).collect()]
            }
        },
        None => all.await,
    };
    let mut measurements: Vec<Measurement> = traces
        .into_iter()
        .flatten()
        .map(|trace| context.measurement(Body::Trace(trace)))
        .collect();
    if let Some((_, inbox)) = &inbox {
        measurements.push(context.measurement(Body::Capture(inbox.capture(&context.tool))));
    }
    measurements
}

/// All traces towards one host: first the port where nobody listens, for that costs nobody a connection and tells how far
/// the host is; then what was asked for; then its other ports.
async fn host(
    asks: &[&TraceAsk],
    heard: Option<(&RawRight, &Arc<Inbox>)>,
    context: &Context,
    progress: &(dyn Fn(TraceProgress<'_>) + Sync),
) -> Vec<Trace> {
    let has_address = asks.iter().all(|ask| ask.service.address.is_some());
    let bench = match Bench::new(context, heard) {
        Ok(bench) if has_address => Ok(bench),
        Ok(_) => Err(Failure {
            operation: Operation::Connect,
            kind: FailureKind::NoSuchRecord,
            raw: "no address is known for this host".to_owned(),
        }),
        Err(failure) => Err(failure),
    };
    let bench = match bench {
        Ok(bench) => bench,
        Err(failure) => {
            let none =
                |ask: &&TraceAsk| untraced(ask, context, Engine::Unprivileged, failure.clone());
            return asks.iter().map(none).collect();
        }
    };
    let (closed, others): (Vec<&TraceAsk>, Vec<&TraceAsk>) =
        asks.iter().partition(|ask| is_closed(ask));
    let (siblings, principals): (Vec<&TraceAsk>, Vec<&TraceAsk>) =
        others.iter().partition(|ask| ask.role == Role::Sibling);
    let mut traces = Vec::new();
    let mut expected = None;
    for ask in closed {
        let climbed = one(&bench, ask, None, Manner::Closed, progress).await;
        expected = climbed.as_ref().and_then(|climbed| climbed.end);
        traces.extend(climbed.map(|climbed| climbed.trace));
        progress(TraceProgress::Ended(ask));
    }
    let mut thorough = Vec::new();
    for ask in principals {
        let climbed = one(&bench, ask, expected, Manner::Whole, progress).await;
        let reached = climbed.as_ref().and_then(|climbed| {
            // Whoever answers for one port may stand before the host; the farthest is the host, or nearest to it.
            expected = expected.max(climbed.end);
            let wanted = ask.thorough && climbed.connects;
            Some((climbed.end.filter(|_| wanted)?, climbed.hops()))
        });
        match reached {
            Some((end, hops)) => thorough.push((ask, end, hops)),
            None => progress(TraceProgress::Ended(ask)),
        }
        traces.extend(climbed.map(|climbed| climbed.trace));
    }
    let beside = siblings.iter().map(|ask| async {
        let climbed = one(&bench, ask, expected, Manner::Edge, progress).await;
        progress(TraceProgress::Ended(ask));
        climbed.map(|climbed| climbed.trace)
    });
    traces.extend(join_all(beside).await.into_iter().flatten());
    for (ask, end, hops) in thorough {
        let reach = Reach { end, hops: &hops };
        traces.extend(commands(&bench, ask, reach, progress).await);
        progress(TraceProgress::Ended(ask));
    }
    traces
}

async fn one(
    bench: &Bench<'_>,
    ask: &TraceAsk,
    expected: Option<u8>,
    manner: Manner,
    progress: &(dyn Fn(TraceProgress<'_>) + Sync),
) -> Option<Climbed> {
    let address = address(&ask.service)?;
    progress(TraceProgress::Began(ask));
    let climbed = climb::climb(bench, ask, address, expected, manner).await;
    progress(TraceProgress::Traced(ask, &climbed.trace));
    Some(climbed)
}

/// What became of commands on the way to a service that answers at `reach.end`.
async fn commands(
    bench: &Bench<'_>,
    ask: &TraceAsk,
    reach: Reach<'_>,
    progress: &(dyn Fn(TraceProgress<'_>) + Sync),
) -> Vec<Trace> {
    let mut traces = Vec::new();
    let Some(address) = address(&ask.service).filter(|_| !ask.service.scheme.is_implicit_tls())
    else {
        return traces;
    };
    let protocol = ask.service.scheme.protocol();
    if bench.inbox.is_none() && !reach.hops.is_empty() {
        let test = words::command(protocol, Payload::StartTls, 1);
        let control = words::command(protocol, Payload::Control, 1);
        let both = [
            (Payload::Control, control.as_slice()),
            (Payload::StartTls, test.as_slice()),
        ];
        let trace = climb::with_data(bench, ask, address, reach.hops, both).await;
        progress(TraceProgress::Traced(ask, &trace));
        traces.push(trace);
    }
    let mut known = Known::default();
    let began = bench.context.now();
    let mut sweeps: Vec<Trace> = Vec::new();
    while sweeps.len() < MOST_SWEEPS {
        let Some(_permit) = bench.admit(address).await else {
            if sweeps.is_empty() {
                let engine = bench.engine();
                traces.push(untraced(ask, bench.context, engine, bench::spent()));
            }
            break;
        };
        let trace = sweep::sweep(bench, ask, address, reach, &mut known).await;
        progress(TraceProgress::Traced(ask, &trace));
        let broke = trace.failure.is_some();
        sweeps.push(trace);
        // A session that a lossy path broke gets one successor.
        let broken = sweeps.iter().filter(|sweep| sweep.failure.is_some());
        let long = bench.context.now().since(began) > ENOUGH;
        if long || broken.count() > 1 || (!broke && !wants_another(bench, reach, &sweeps, &known)) {
            break;
        }
    }
    if bench.inbox.is_none()
        && let Some(sweep) = sweeps.last_mut()
    {
        let of_reply = sweep.received.first().map(|entry| entry.ttl);
        if let Some(expected) = of_reply {
            let (found, open) = arrival::of_syn_ack(bench, address, expected).await;
            sweep.received.extend(found);
            join_all(
                open.into_iter()
                    .map(|socket| syn::part(socket, ask.goodbye())),
            )
            .await;
        }
    }
    let talks = sweeps.iter().any(|sweep| sweep.failure.is_none());
    traces.extend(sweeps);
    if ask.hello && talks && bench.inbox.is_some() {
        traces.extend(hello::traced(bench, ask, address, reach, progress).await);
    }
    traces
}

fn wants_another(bench: &Bench<'_>, reach: Reach<'_>, sweeps: &[Trace], known: &Known) -> bool {
    // Where the command ends or jams the connection, each connection tells of one TTL or a few.
    if known.is_fatal || known.is_swallowed {
        return true;
    }
    match sweeps {
        _ if bench.inbox.is_none() => false,
        [one, .., other] => !sweep::agree(one, other) || known.is_open(reach.end),
        _ => sweeps.len() < SWEEPS,
    }
}

fn is_closed(ask: &TraceAsk) -> bool {
    ask.role == Role::Sibling && ask.service.port == CLOSED_PORT
}

fn address(service: &Service) -> Option<SocketAddr> {
    service
        .address
        .map(|address| SocketAddr::new(address, service.port))
}

/// The record of a trace that could not be made.
fn untraced(ask: &TraceAsk, context: &Context, engine: Engine, failure: Failure) -> Trace {
    Trace {
        service: ask.service.clone(),
        role: ask.role.clone(),
        engine,
        method: Method::Syn,
        direction: Direction::ToServer,
        local: None,
        probes: Vec::<Probe>::new(),
        received: Vec::new(),
        started: context.now(),
        ended: context.now(),
        failure: Some(failure),
    }
}

/// Addresses of routers that a trace met.
fn routers(trace: &Trace) -> impl Iterator<Item = IpAddr> {
    let answers = trace.probes.iter().flat_map(|probe| &probe.answers);
    answers.filter_map(|answer| match answer.what {
        Answered::TimeExceeded { from, .. } | Answered::Unreachable { from, .. } => Some(from),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(host: &str, port: u16) -> Service {
        Service {
            scheme: Scheme::Smtp,
            host: host.to_owned(),
            address: host.parse().ok(),
            port,
        }
    }

    #[test]
    fn what_a_trace_takes() {
        let target = service("192.0.2.1", 25);
        let controls = [
            service("192.0.2.1", 25),
            service("198.51.100.1", 587),
            service("198.51.100.1", 25),
            service("2001:db8::1", 25),
            service("198.51.100.2", 25),
            service("198.51.100.3", 25),
        ];
        let asks = trace_asks(&target, &controls);
        let ports: Vec<u16> = asks.iter().map(|ask| ask.service.port).collect();
        assert_eq!(ports, [25, 587, 465, 443, CLOSED_PORT, 25, 25]);
        assert_eq!(asks.iter().filter(|ask| ask.thorough).count(), 1);
        assert_eq!(asks[5].service.host, "198.51.100.1");
        assert_eq!(asks[2].service.scheme, Scheme::Submissions);
    }

    #[tokio::test]
    async fn no_path_through_a_proxy() {
        let mut context = Context::new("test 0", "test");
        context.route = "socks5://127.0.0.1:1".parse().unwrap();
        let asks = trace_asks(&service("127.0.0.1", 25), &[]);
        let measurements = trace(asks, None, &context, &|_| {}).await;
        assert_eq!(measurements.len(), 5);
        for measurement in measurements {
            let failure = measurement.trace().unwrap().failure.clone().unwrap();
            assert!(failure.raw.contains("proxy"), "{failure}");
        }
    }

    #[test]
    fn engines_have_names() {
        assert_eq!("RAW".parse(), Ok(EngineChoice::Raw));
        assert_eq!("x".parse::<EngineChoice>(), Err(UnknownEngine));
    }
}
