//! From hop to hop with SYNs: which routers are on the way, and at which TTL somebody answers for the service.
//!
//! Every TTL at which somebody answers costs that server a connection, so TTLs known to fall short go out together and
//! the last steps one by one. It must not know what the answers prove.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use hoofbeat_observation::{
    Answered, Failure, FailureKind, Method, Operation, PacketKind, Payload, Probe, ReceivedTtl,
    Trace, TtlMethod,
};
use hoofbeat_session::{Direction, Elapsed};

use super::{
    TraceAsk,
    bench::{Bench, spent},
    syn::{self, Tried},
};
use crate::budget::Permit;

/// The highest TTL that is tried: longer paths are not seen on the Internet.
pub(super) const HIGHEST: u8 = 30;

/// Probes on the way at the same time where none is expected to arrive.
const AT_ONCE: usize = 6;

/// Between two of them: routers count what they answer.
const STAGGER: Duration = Duration::from_millis(4);

/// So many TTLs without any answer behind the last router: nobody answers at all.
const SILENT_HOPS: usize = 5;

/// Linux routers answer six packets of one sender in a burst and then one a second; so do others.
pub(super) const BREATHER: Duration = Duration::from_millis(1100);

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Nobody is expected to listen on the port: an answer is a RST, and costs nobody anything.
    Closed,
    /// Every hop.
    Whole,
    /// Only whether anybody answers before the end that is known.
    Edge,
}

/// What was found.
pub(super) struct Climbed {
    pub(super) trace: Trace,
    /// The lowest TTL at which somebody answered for the service.
    pub(super) end: Option<u8>,
    /// Whether that answer was a connection.
    pub(super) connects: bool,
}

impl Climbed {
    /// The TTLs at which a router answered.
    pub(super) fn hops(&self) -> BTreeSet<u8> {
        let probes = self.trace.probes.iter();
        probes
            .filter(|probe| syn::is_hop(probe))
            .map(|probe| probe.ttl)
            .collect()
    }
}

struct Climb<'a> {
    bench: &'a Bench<'a>,
    ask: &'a TraceAsk,
    address: SocketAddr,
    tried: Vec<Tried>,
    /// The leave to connect once; a TTL that falls short does not use it up.
    permit: Option<Permit>,
    connects: bool,
    failure: Option<Failure>,
}

/// Traces the path to a service; `expected` is the TTL at which another port of the host answered.
pub(super) async fn climb(
    bench: &Bench<'_>,
    ask: &TraceAsk,
    address: SocketAddr,
    expected: Option<u8>,
    manner: Manner,
) -> Climbed {
    let started = bench.context.now();
    let mut climb = Climb {
        bench,
        ask,
        address,
        tried: Vec::new(),
        permit: None,
        connects: false,
        failure: None,
    };
    match (manner, expected) {
        (Manner::Closed, _) => climb.window(1, HIGHEST).await,
        (Manner::Whole, None) | (Manner::Edge, None) => climb.steps(1, HIGHEST).await,
        (Manner::Whole, Some(end)) => {
            climb.below(end).await;
            climb.fill(climb.end().unwrap_or(end)).await;
            if climb.end().is_none() {
                climb.steps(end, HIGHEST).await;
            }
        }
        (Manner::Edge, Some(end)) => {
            climb.below(end).await;
            if climb.end().is_none() {
                climb.steps(end, end.saturating_add(1).min(HIGHEST)).await;
            }
        }
    }
    if ask.thorough {
        climb.once_more(expected).await;
    }
    climb.part().await;
    climb.finish(manner, started)
}

impl Climb<'_> {
    fn end(&self) -> Option<u8> {
        let ends = self.tried.iter().filter(|tried| tried.is_end());
        ends.map(|tried| tried.probe.ttl).min()
    }

    /// The next TTL downwards while somebody answers: between what answers and what does not.
    async fn below(&mut self, end: u8) {
        let (mut silent, mut probe) = (0, end.saturating_sub(1));
        let mut answers = end;
        while probe > silent && self.failure.is_none() {
            self.step(probe).await;
            if self.tried.last().is_some_and(Tried::is_end) {
                answers = probe;
            } else {
                silent = probe;
                // Nobody answers here, and it was the first try: the end is where it was expected.
                if answers == end {
                    return;
                }
            }
            probe = silent + (answers - silent) / 2;
        }
    }

    /// Every TTL below the end that was not tried yet, together.
    async fn fill(&mut self, end: u8) {
        let known: BTreeSet<u8> = self.tried.iter().map(|tried| tried.probe.ttl).collect();
        let missing: Vec<u8> = (1..end).filter(|ttl| !known.contains(ttl)).collect();
        self.together(&missing).await;
    }

    async fn together(&mut self, ttls: &[u8]) {
        let (bench, address) = (self.bench, self.address);
        for some in ttls.chunks(AT_ONCE) {
            let probes = some.iter().zip(0_u32..).map(|(ttl, place)| async move {
                tokio::time::sleep(STAGGER * place).await;
                syn::syn(bench, address, *ttl, None).await
            });
            for outcome in join_all(probes).await {
                self.keep(outcome);
            }
        }
    }

    /// One TTL after the other until somebody answers, or nobody does for long.
    async fn steps(&mut self, from: u8, to: u8) {
        let mut silent = 0;
        for ttl in from..=to {
            if self.failure.is_some() || silent >= SILENT_HOPS {
                return;
            }
            self.step(ttl).await;
            match self.tried.last() {
                Some(tried) if tried.is_end() => return,
                Some(tried) if tried.is_hop() => silent = 0,
                _ => silent += 1,
            }
        }
    }

    /// One TTL at which somebody may answer.
    async fn step(&mut self, ttl: u8) {
        // What stands must part first: a server takes two at a time, and one more would wait for it for ever.
        if self.tried.iter().any(|tried| tried.open.is_some()) {
            self.part().await;
        }
        if self.permit.is_none() {
            self.permit = self.bench.admit(self.address).await;
            if self.permit.is_none() {
                self.failure = Some(spent());
                return;
            }
        }
        let outcome = syn::syn(self.bench, self.address, ttl, None).await;
        self.keep(outcome);
    }

    /// All TTLs upwards, several on the way at a time, until the port answers.
    async fn window(&mut self, from: u8, to: u8) {
        let mut next = from;
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < AT_ONCE && next <= to && self.goes_on(next) {
                let (bench, address, ttl) = (self.bench, self.address, next);
                next += 1;
                under_way.push(async move { syn::syn(bench, address, ttl, None).await });
                tokio::time::sleep(STAGGER).await;
            }
            match under_way.next().await {
                Some(outcome) => self.keep(outcome),
                None => return,
            }
        }
    }

    fn goes_on(&self, next: u8) -> bool {
        let heard = self.tried.iter().filter(|tried| tried.is_hop());
        let last = heard.map(|tried| tried.probe.ttl).max().unwrap_or(0);
        let silence = usize::from(next.saturating_sub(last));
        self.failure.is_none() && self.end().is_none() && silence <= SILENT_HOPS + AT_ONCE
    }

    /// Hops that said nothing get a second chance, after a pause: a lost packet or a router's limit must not look like a
    /// place where packets end. Where nobody answers, those up to `expected` are all the path that there is.
    async fn once_more(&mut self, expected: Option<u8>) {
        let hops: BTreeSet<u8> = self
            .tried
            .iter()
            .filter(|tried| tried.is_hop())
            .map(|tried| tried.probe.ttl)
            .collect();
        let end = match self.end() {
            Some(end) => end,
            None => hops.last().copied().max(expected).unwrap_or(0),
        };
        let silent: Vec<u8> = (1..end).filter(|ttl| !hops.contains(ttl)).collect();
        if !silent.is_empty() && self.failure.is_none() {
            tokio::time::sleep(BREATHER.min(self.bench.context.time_left())).await;
            self.together(&silent).await;
        }
    }

    /// Ends what came to stand with courtesy; only then others may connect in its place.
    async fn part(&mut self) {
        let open = self.tried.iter_mut().filter_map(|tried| tried.open.take());
        let partings: Vec<_> = open
            .map(|socket| syn::part(socket, self.ask.goodbye()))
            .collect();
        self.connects |= !partings.is_empty();
        join_all(partings).await;
        self.permit = None;
    }

    fn keep(&mut self, outcome: Result<Tried, Failure>) {
        match outcome {
            Ok(tried) => self.tried.push(tried),
            Err(failure) => self.failure = self.failure.take().or(Some(failure)),
        }
    }

    fn finish(mut self, manner: Manner, started: Elapsed) -> Climbed {
        let ask = self.ask;
        let end = self.end();
        self.tried.sort_by_key(|tried| tried.probe.at);
        let mut probes: Vec<Probe> = self.tried.into_iter().map(|tried| tried.probe).collect();
        for probe in &mut probes {
            syn::complete(self.bench, self.address, probe);
        }
        let failure = self.failure.or_else(|| {
            (end.is_none() && manner == Manner::Whole && !probes.is_empty()).then(|| Failure {
                operation: Operation::Connect,
                kind: FailureKind::TimedOut,
                raw: "nobody answered for this port at any TTL".to_owned(),
            })
        });
        let trace = Trace {
            service: ask.service.clone(),
            role: ask.role.clone(),
            engine: self.bench.engine(),
            method: Method::Syn,
            direction: Direction::ToServer,
            local: None,
            received: syn_acks(&probes),
            probes,
            started,
            ended: self.bench.context.now(),
            failure,
        };
        Climbed {
            trace,
            end,
            connects: self.connects,
        }
    }
}

/// The TTLs that SYN-ACKs were captured with, each once.
fn syn_acks(probes: &[Probe]) -> Vec<ReceivedTtl> {
    let answers = probes.iter().flat_map(|probe| &probe.answers);
    let ttls: BTreeSet<u8> = answers
        .filter(|answer| answer.what == Answered::Connected)
        .filter_map(|answer| answer.ttl)
        .collect();
    let received = |ttl| ReceivedTtl {
        of: PacketKind::SynAck,
        ttl,
        by: TtlMethod::Capture,
    };
    ttls.into_iter().map(received).collect()
}

/// Sends the two commands in SYNs that fall short of the end: routers that quote everything show what became of them.
pub(super) async fn with_data(
    bench: &Bench<'_>,
    ask: &TraceAsk,
    address: SocketAddr,
    hops: &BTreeSet<u8>,
    commands: [(Payload, &[u8]); 2],
) -> Trace {
    let started = bench.context.now();
    let mut probes = Vec::new();
    let mut failure = None;
    'all: for command in commands {
        for some in Vec::from_iter(hops).chunks(AT_ONCE) {
            let tries = some.iter().zip(0_u32..).map(|(ttl, place)| async move {
                tokio::time::sleep(STAGGER * place).await;
                syn::syn(bench, address, **ttl, Some(command)).await
            });
            for outcome in join_all(tries).await {
                match outcome {
                    Ok(tried) => probes.push(tried.probe),
                    Err(why) => failure = Some(why),
                }
            }
            if failure.is_some() {
                break 'all;
            }
        }
    }
    probes.sort_by_key(|probe| probe.at);
    for probe in &mut probes {
        syn::complete(bench, address, probe);
    }
    Trace {
        service: ask.service.clone(),
        role: ask.role.clone(),
        engine: bench.engine(),
        method: Method::FastOpen,
        direction: Direction::ToServer,
        local: None,
        received: syn_acks(&probes),
        probes,
        started,
        ended: bench.context.now(),
        failure,
    }
}
