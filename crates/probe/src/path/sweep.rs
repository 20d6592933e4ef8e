//! Which TTLs a standing connection's commands leave with: the control at every hop, STARTTLS as often as a server
//! bears to be asked for what it refuses.
//!
//! What an answer is taken for here only steers the search; the record keeps the bytes, and the judge reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use hoofbeat_observation::{
    Answer, Answered, Failure, FailureKind, Method, Operation, PacketKind, Payload, Probe,
    QuoteBegins, ReceivedTtl, Trace, TtlMethod,
};
use hoofbeat_session::{Direction, Elapsed, Protocol};

use super::{
    TraceAsk, arrival,
    bench::Bench,
    climb::BREATHER,
    packet::{self, Packet},
    standing::{After, Standing},
};

/// STARTTLS commands of one connection that an SMTP server bears to refuse: Postfix slows down at 10.
const MOST_REFUSED: usize = 8;

/// The same for IMAP, POP3 and ManageSieve: Dovecot hangs up at the third command that it does not know.
const MOST_REFUSED_BY_MAILBOXES: usize = 2;

/// Times that one hop is asked on one connection while it says nothing.
const MOST_TRIES: usize = 3;

/// TTLs at which a command that never gets through is sent again on one connection; the waits double.
pub(super) const MOST_RETRANSMITTED: usize = 5;

/// What became of STARTTLS at each TTL, over all connections so far; `true` where something changed, answered or
/// swallowed it before the server could.
#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    pub(super) effects: BTreeMap<u8, Option<bool>>,
    /// It never got through, not even with a full TTL.
    pub(super) is_swallowed: bool,
    /// It ended the connection.
    pub(super) is_fatal: bool,
    /// Somebody replied that TLS may begin.
    pub(super) was_accepted: bool,
}

impl Known {
    /// Whether more connections would narrow down where the effect begins.
    pub(super) fn is_open(&self, end: u8) -> bool {
        let mut before = self.effects.range(..end);
        let had_one = before.any(|(_, effect)| *effect == Some(true));
        // What the server took for STARTTLS came to it as STARTTLS.
        (had_one || !self.was_accepted) && between(&self.effects, end).is_some()
    }

    /// The TTL that tells most: one between the two where the effect begins; where none is left, those two, so that they
    /// are seen on this connection too.
    pub(super) fn next(&self, here: &BTreeMap<u8, Option<bool>>, end: u8) -> Option<u8> {
        let had_one = self
            .effects
            .iter()
            .find(|(_, effect)| **effect == Some(true));
        let first = had_one.map(|(ttl, _)| *ttl);
        let is_edge = |ttl: &u8| first.is_some_and(|first| *ttl == first || *ttl + 1 == first);
        between(&self.effects, end).or_else(|| {
            let mut edges = (1..=end).rev().filter(is_edge);
            edges.find(|ttl| !here.contains_key(ttl))
        })
    }
}

/// The path's length and what its routers did when SYNs went over it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach<'a> {
    /// The TTL at which the service's port answers.
    pub(super) end: u8,
    /// The TTLs at which a router answered.
    pub(super) hops: &'a BTreeSet<u8>,
}

/// One connection's sweep, with every hop's quotes where the engine has them.
pub(super) async fn sweep(
    bench: &Bench<'_>,
    ask: &TraceAsk,
    address: SocketAddr,
    reach: Reach<'_>,
    known: &mut Known,
) -> Trace {
    let mut trace = begun(bench, ask);
    let mut standing = match Standing::open(bench, &ask.service, address).await {
        Ok(standing) => standing,
        Err(failure) => return ended(trace, bench, Some(failure)),
    };
    let local = standing.local;
    trace.local = Some(local.to_string());
    let outcome = match bench.inbox {
        Some(_) => controls(&mut standing, reach, &mut trace.probes).await,
        None => alone(&mut standing, reach, &mut trace).await,
    };
    let mut began_tls = false;
    let failure = match outcome {
        Ok(()) => {
            let protocol = ask.service.scheme.protocol();
            let tests = tests(&mut standing, protocol, reach, known, &mut trace.probes).await;
            began_tls = tests == Tests::BeganTls;
            if tests == Tests::Done && !standing.is_over() {
                unknown(&mut standing, protocol, known, &mut trace.probes).await;
            }
            (tests == Tests::Silent).then(silent)
        }
        Err(failure) => Some(failure),
    };
    if bench.inbox.is_none() && failure.is_none() && !began_tls && !known.is_swallowed {
        arrival::of_starttls(&mut standing, &mut trace).await;
    }
    if began_tls {
        standing.hang_up().await;
    } else {
        standing.quit().await;
    }
    if let Some(inbox) = bench.up_to_now() {
        trace.received = received(&inbox.flow(local.port(), address), local, &trace.probes);
    }
    ended(trace, bench, failure)
}

/// Whether two sweeps saw the same path: no hop with two routers, and no command both changed and unchanged.
pub(super) fn agree(one: &Trace, other: &Trace) -> bool {
    let seen = |trace: &Trace| {
        let mut seen = BTreeMap::new();
        for probe in &trace.probes {
            for answer in &probe.answers {
                if let Answered::TimeExceeded { from, .. } = answer.what {
                    seen.insert((probe.ttl, probe.payload), (from, is_changed(probe)));
                }
            }
        }
        seen
    };
    let (one, other) = (seen(one), seen(other));
    one.iter()
        .all(|(place, what)| other.get(place).is_none_or(|there| there == what))
}

/// The control command at every hop; those that said nothing now although they had answered SYNs, again.
pub(super) async fn controls(
    standing: &mut Standing<'_>,
    reach: Reach<'_>,
    probes: &mut Vec<Probe>,
) -> Result<(), Failure> {
    let mut wanted: Vec<u8> = (1..=reach.end).collect();
    for attempt in 0..MOST_TRIES {
        let mut spared = Vec::new();
        for ttl in wanted {
            if attempt > 0 {
                tokio::time::sleep(BREATHER).await;
            }
            let (probe, after) = standing.limited(ttl, Payload::Control).await;
            let is_silent = probe.answers_before_restored().next().is_none();
            if is_silent && reach.hops.contains(&ttl) {
                spared.push(ttl);
            }
            goes_on(standing, probe, after, probes)?;
        }
        wanted = spared;
    }
    Ok(())
}

/// Without quotes there is one hop worth a try: the last before whoever answers.
async fn alone(
    standing: &mut Standing<'_>,
    reach: Reach<'_>,
    trace: &mut Trace,
) -> Result<(), Failure> {
    if let Some(before) = reach.end.checked_sub(1).filter(|ttl| *ttl > 0) {
        let (probe, after) = standing.limited(before, Payload::Control).await;
        goes_on(standing, probe, after, &mut trace.probes)?;
    }
    arrival::of_controls(standing, reach.end, &mut trace.received).await;
    if standing.is_over() {
        return Err(silent());
    }
    Ok(())
}

fn goes_on(
    standing: &Standing<'_>,
    probe: Probe,
    after: After,
    probes: &mut Vec<Probe>,
) -> Result<(), Failure> {
    probes.push(probe);
    match after {
        After::Replied(reply) if !standing.is_goodbye(&reply) => Ok(()),
        After::Replied(_) | After::Over => Err(Failure {
            operation: Operation::Talk,
            kind: FailureKind::Closed,
            raw: "the server ended the session".to_owned(),
        }),
        After::Swallowed | After::Silent => Err(silent()),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Tests {
    Done,
    BeganTls,
    Silent,
}

async fn tests(
    standing: &mut Standing<'_>,
    protocol: Protocol,
    reach: Reach<'_>,
    known: &mut Known,
    probes: &mut Vec<Probe>,
) -> Tests {
    let most = match protocol {
        Protocol::Smtp | Protocol::Lmtp => MOST_REFUSED,
        Protocol::Imap | Protocol::Pop3 | Protocol::Sieve => MOST_REFUSED_BY_MAILBOXES,
    };
    let controls: Vec<Probe> = probes.clone();
    let control = |ttl| controls.iter().rfind(|probe| probe.ttl == ttl);
    let mut here = BTreeMap::new();
    if known.is_swallowed {
        let command = standing.command(Payload::StartTls);
        let sent = standing
            .retransmitted(Payload::StartTls, command, MOST_RETRANSMITTED, |latest| {
                if let Some(probe) = latest {
                    let effect = effect(probe, control(probe.ttl));
                    here.insert(probe.ttl, effect);
                    known.effects.insert(probe.ttl, effect);
                }
                known.next(&here, reach.end)
            })
            .await;
        probes.extend(sent);
        return Tests::Done;
    }
    let everywhere = standing.has_quotes() && usize::from(reach.end) <= most;
    let mut asked = 0;
    while asked < most {
        let untried = |ttl: &u8| !here.contains_key(ttl);
        // A hop that told of the control and not of this has told enough for one second.
        let spared = |ttl: &u8| {
            let told = control(*ttl).is_some_and(expired);
            here.get(ttl) == Some(&None) && told && probes_at(probes, *ttl) < MOST_TRIES
        };
        let ttl = if !standing.has_quotes() && known.effects.is_empty() {
            // Where nothing happened to it before the last hop, nothing did.
            reach.end.checked_sub(1).filter(|ttl| *ttl > 0)
        } else if everywhere && !here.is_empty() {
            (1..=reach.end).find(untried)
        } else {
            let first = known.next(&here, reach.end);
            first.or_else(|| (1..=reach.end).find(untried).filter(|_| everywhere))
        };
        let again = || (1..=reach.end).find(spared);
        let Some(ttl) = ttl.or_else(again) else { break };
        if here.contains_key(&ttl) {
            tokio::time::sleep(BREATHER).await;
        }
        asked += 1;
        let (probe, after) = standing.limited(ttl, Payload::StartTls).await;
        let mut effect = effect(&probe, control(ttl));
        if probe.answers_before_restored().next().is_none() && matches!(after, After::Replied(_)) {
            // It got through in the end: the silence was the router's.
            effect = None;
        }
        here.insert(ttl, effect);
        let entry = known.effects.entry(ttl).or_default();
        *entry = effect.or(*entry);
        probes.push(probe);
        match after {
            After::Replied(reply) if standing.begins_tls(&reply) => {
                known.was_accepted = true;
                return Tests::BeganTls;
            }
            After::Replied(reply) if standing.is_goodbye(&reply) => return Tests::Done,
            After::Replied(_) => {}
            After::Swallowed => {
                known.is_swallowed = true;
                return Tests::Done;
            }
            After::Silent => return Tests::Silent,
            After::Over => {
                known.is_fatal = true;
                return Tests::Done;
            }
        }
    }
    Tests::Done
}

/// One verb that nobody knows, to the first hop that got STARTTLS changed: is it changed as well? Only SMTP servers bear one
/// more thing to refuse.
async fn unknown(
    standing: &mut Standing<'_>,
    protocol: Protocol,
    known: &Known,
    probes: &mut Vec<Probe>,
) {
    let tests = probes
        .iter()
        .filter(|probe| probe.payload == Payload::StartTls);
    let bears = matches!(protocol, Protocol::Smtp | Protocol::Lmtp)
        && tests.clone().count() < MOST_REFUSED
        && !known.is_swallowed;
    let changed = tests.filter(|probe| is_changed(probe) == Some(true));
    let first = changed.map(|probe| probe.ttl).min();
    if let Some(ttl) = first.filter(|_| bears) {
        let (probe, _) = standing.limited(ttl, Payload::UnknownVerb).await;
        probes.push(probe);
    }
}

/// How many test commands left with a TTL.
fn probes_at(probes: &[Probe], ttl: u8) -> usize {
    let tests = probes
        .iter()
        .filter(|probe| probe.ttl == ttl && probe.payload == Payload::StartTls);
    tests.count()
}

/// A TTL halfway between the highest that had no effect and the lowest that had one, if there is one left untried.
pub(super) fn between(effects: &BTreeMap<u8, Option<bool>>, end: u8) -> Option<u8> {
    let of = |wanted: bool| {
        effects
            .iter()
            .filter(move |(_, effect)| **effect == Some(wanted))
            .map(|(ttl, _)| *ttl)
    };
    // A step upwards is looked for; with a balanced path there may be several, of which this is the lowest.
    let high = of(true).min().unwrap_or(end);
    let low = of(false).filter(|ttl| *ttl < high).max().unwrap_or(0);
    let middle = low + (high - low) / 2;
    (low + 1..high)
        .filter(|ttl| !effects.contains_key(ttl))
        .min_by_key(|ttl| ttl.abs_diff(middle))
}

/// Whether something happened to a test command before the server; none where nothing can be said.
fn effect(probe: &Probe, control: Option<&Probe>) -> Option<bool> {
    let spoken = probe.answers_before_restored().any(|what| {
        matches!(
            what,
            Answered::Reply { .. } | Answered::Acknowledged | Answered::Reset | Answered::Closed
        )
    });
    if spoken {
        return Some(true);
    }
    match is_changed(probe) {
        Some(changed) => Some(changed),
        // The hop told that it got something, and not what.
        None if expired(probe) => {
            let known = |answer: &Answer| answer.what == Answered::Expired;
            probe.answers.iter().any(known).then_some(false)
        }
        None => control.is_some_and(expired).then_some(true),
    }
}

/// Whether a router told that it got the probe.
pub(super) fn expired(probe: &Probe) -> bool {
    probe.answers.iter().any(|answer| {
        matches!(
            answer.what,
            Answered::TimeExceeded { .. } | Answered::Expired
        )
    })
}

/// Whether a quote shows another payload; none where no quote shows enough.
fn is_changed(probe: &Probe) -> Option<bool> {
    let mut changed = None;
    for answer in &probe.answers {
        let Answered::TimeExceeded {
            quote: Some(quote), ..
        } = &answer.what
        else {
            continue;
        };
        let payload = match quote.begins {
            QuoteBegins::Ip => packet::quoted(&quote.bytes).and_then(|segment| segment.payload),
            QuoteBegins::Tcp => packet::payload_behind_tcp(&quote.bytes),
        };
        let shown = payload.unwrap_or_default();
        let differs = shown
            .iter()
            .zip(&probe.sent)
            .any(|(one, other)| one != other);
        // Line ends may be missing, words may not.
        let is_enough = differs || shown.len() + 2 >= probe.sent.len();
        if is_enough {
            changed = Some(changed.unwrap_or(false) | differs);
        }
    }
    changed
}

/// The TTLs of what came back, each kind's distinct ones in order.
fn received(flow: &[(Elapsed, Vec<u8>)], local: SocketAddr, probes: &[Probe]) -> Vec<ReceivedTtl> {
    let mut received: Vec<ReceivedTtl> = Vec::new();
    let mut greeted = false;
    for (at, bytes) in flow {
        let Some(Packet::Tcp(segment)) = packet::read(bytes) else {
            continue;
        };
        if segment.to_port != local.port() || segment.to != local.ip() {
            continue;
        }
        let latest = probes.iter().rfind(|probe| probe.at <= *at);
        let latest = latest.map(|probe| probe.payload);
        let speaks = segment.payload.is_some_and(|payload| !payload.is_empty());
        let of = if segment.has(packet::SYN | packet::ACK) {
            PacketKind::SynAck
        } else if segment.has(packet::RST) || (segment.has(packet::FIN) && !speaks) {
            if latest != Some(Payload::StartTls) {
                continue;
            }
            PacketKind::End
        } else if speaks {
            match latest {
                None if !std::mem::replace(&mut greeted, true) => PacketKind::Greeting,
                Some(Payload::Control) => PacketKind::ControlReply,
                Some(Payload::StartTls) => PacketKind::StartTlsReply,
                _ => PacketKind::Data,
            }
        } else {
            continue;
        };
        let entry = ReceivedTtl {
            of,
            ttl: segment.ttl,
            by: TtlMethod::Capture,
        };
        if !received.contains(&entry) {
            received.push(entry);
        }
    }
    received
}

pub(super) fn begun(bench: &Bench<'_>, ask: &TraceAsk) -> Trace {
    Trace {
        service: ask.service.clone(),
        role: ask.role.clone(),
        engine: bench.engine(),
        method: Method::Sweep,
        direction: Direction::ToServer,
        local: None,
        probes: Vec::new(),
        received: Vec::new(),
        started: bench.context.now(),
        ended: bench.context.now(),
        failure: None,
    }
}

pub(super) fn ended(mut trace: Trace, bench: &Bench<'_>, failure: Option<Failure>) -> Trace {
    trace.ended = bench.context.now();
    trace.failure = failure;
    trace
}

fn silent() -> Failure {
    Failure {
        operation: Operation::Talk,
        kind: FailureKind::TimedOut,
        raw: "the session did not go on after a command with a limited TTL".to_owned(),
    }
}

/// What the limited segment itself caused, as opposed to its retransmission.
trait BeforeRestored {
    fn answers_before_restored(&self) -> impl Iterator<Item = &Answered>;
}

impl BeforeRestored for Probe {
    fn answers_before_restored(&self) -> impl Iterator<Item = &Answered> {
        self.answers
            .iter()
            .filter(|answer| {
                // An error is the limited segment's however late it comes: the retransmission does not expire.
                matches!(
                    answer.what,
                    Answered::TimeExceeded { .. }
                        | Answered::Unreachable { .. }
                        | Answered::Expired
                ) || self.restored.is_none_or(|restored| answer.at < restored)
            })
            .map(|answer| &answer.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoofbeat_observation::Quote;

    fn probe(ttl: u8, answers: Vec<Answered>) -> Probe {
        let answer = |what| Answer {
            at: Elapsed::from_millis(5),
            ttl: None,
            what,
        };
        Probe {
            ttl,
            source_port: 40000,
            payload: Payload::StartTls,
            sent: b"STARTTLS\r\n".to_vec(),
            packet: Vec::new(),
            left: None,
            acknowledged: None,
            at: Elapsed::default(),
            restored: Some(Elapsed::from_millis(100)),
            answers: answers.into_iter().map(answer).collect(),
        }
    }

    fn quoting(payload: &[u8]) -> Answered {
        let mut bytes = vec![0; 20];
        bytes[12] = 0x50;
        bytes.extend(payload);
        Answered::TimeExceeded {
            from: [192, 0, 2, 1].into(),
            quote: Some(Quote {
                begins: QuoteBegins::Tcp,
                bytes,
            }),
        }
    }

    #[test]
    fn effects() {
        let short = || quoting(b"");
        for (answers, wanted) in [
            (vec![quoting(b"STARTTLS\r\n")], Some(false)),
            (vec![quoting(b"STARTTLS")], Some(false)),
            (vec![quoting(b"XXXXXXXX\r\n")], Some(true)),
            (vec![quoting(b"STAX")], Some(true)),
            (vec![quoting(b"STAR")], None),
            (vec![short()], None),
            (vec![Answered::Expired], Some(false)),
            (vec![quoting(b"STARTTLS\r\n"), Answered::Reset], Some(true)),
            (vec![Answered::Acknowledged], Some(true)),
        ] {
            let probe = probe(2, answers);
            assert_eq!(effect(&probe, None), wanted, "{:?}", probe.answers);
        }
        let silent = probe(2, vec![]);
        assert_eq!(effect(&silent, None), None);
        assert_eq!(effect(&silent, Some(&probe(2, vec![short()]))), Some(true));
        let mut late = probe(2, vec![Answered::Reset]);
        late.restored = Some(Elapsed::from_millis(1));
        assert_eq!(effect(&late, None), None, "the retransmission's");
    }

    #[test]
    fn the_search_ends_at_the_step() {
        for end in 2..=30_u8 {
            for step in 1..=end {
                let mut effects = BTreeMap::new();
                let mut tries = 0;
                while let Some(ttl) = between(&effects, end) {
                    effects.insert(ttl, Some(ttl >= step));
                    tries += 1;
                }
                let high = effects.iter().find(|(_, effect)| **effect == Some(true));
                assert_eq!(high.map_or(end, |(ttl, _)| *ttl), step.min(end));
                assert!(tries <= 5, "{end} {step}: {tries}");
            }
        }
    }

    #[test]
    fn silent_hops_are_passed_by() {
        let mut effects = BTreeMap::from([(4, None)]);
        let mut tried = Vec::new();
        while let Some(ttl) = between(&effects, 8) {
            tried.push(ttl);
            effects.insert(ttl, Some(ttl >= 6));
        }
        assert_eq!(tried, [3, 5, 6]);
    }
}
