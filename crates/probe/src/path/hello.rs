//! A ClientHello with limited TTLs: where what drops or resets handshakes begins to.
//!
//! Each connection asks for control commands at every hop first, then for TLS with a full TTL; then one ClientHello
//! leaves, and each retransmission of it with another TTL. The first connection sends it whole, which tells whether it
//! is acknowledged, reset, or met by nothing. It must not know whose doing that is. CenTrace (CoNEXT 2022).

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use hoofbeat_observation::{Answered, Payload, Probe, Trace};

use super::{
    TraceAsk, TraceProgress,
    bench::Bench,
    standing::Standing,
    sweep::{self, Known, MOST_RETRANSMITTED, Reach},
};
use crate::handshake::client_hello;

/// Most connections of one service.
const MOST: usize = 4;

/// Connections that must agree on something that happens short of the server.
const AGREEING: usize = 2;

/// Longest ClientHello that is certain to leave as one segment.
const LONGEST: usize = 512;

/// How long nothing may follow the permission to begin TLS.
const QUIET: Duration = Duration::from_millis(300);

/// By how much each connection waits longer than the one before: whoever breaks off by the clock does so elsewhere then.
const LONGER: Duration = Duration::from_secs(1);

/// What became of ClientHellos so far.
#[derive(Default)]
struct Heard {
    /// By TTL; `is_fatal` once one was reset.
    known: Known,
    /// Somebody acknowledged one: nothing swallows or resets it on its way.
    arrived: bool,
    /// Connections on which something happened short of the far end.
    short: usize,
}

impl Heard {
    fn is_settled(&self, end: u8) -> bool {
        let short = self.known.effects.range(..end);
        let happens = short.into_iter().any(|(_, effect)| *effect == Some(true));
        let open = sweep::between(&self.known.effects, end).is_some();
        self.arrived || (!open && (!happens || self.short >= AGREEING))
    }
}

/// As many connections as it takes to tell where a ClientHello meets its end, and no more once one arrives.
pub(super) async fn traced(
    bench: &Bench<'_>,
    ask: &TraceAsk,
    address: SocketAddr,
    reach: Reach<'_>,
    progress: &(dyn Fn(TraceProgress<'_>) + Sync),
) -> Vec<Trace> {
    let mut traces = Vec::new();
    let mut heard = Heard::default();
    while traces.len() < MOST && (traces.is_empty() || !heard.is_settled(reach.end)) {
        let hello = client_hello(&ask.service).filter(|hello| hello.len() <= LONGEST);
        let Some(hello) = hello else { break };
        let Some(_permit) = bench.admit(address).await else {
            break;
        };
        let quiet = QUIET + LONGER * u32::try_from(traces.len()).unwrap_or(0);
        let trace = one(bench, ask, address, reach, (hello, quiet), &mut heard).await;
        progress(TraceProgress::Traced(ask, &trace));
        let sent = |probe: &Probe| probe.payload == Payload::ClientHello;
        let goes_on = trace.failure.is_none() && trace.probes.iter().any(sent);
        traces.push(trace);
        if !goes_on {
            break;
        }
    }
    traces
}

async fn one(
    bench: &Bench<'_>,
    ask: &TraceAsk,
    address: SocketAddr,
    reach: Reach<'_>,
    (hello, quiet): (Vec<u8>, Duration),
    heard: &mut Heard,
) -> Trace {
    let mut trace = sweep::begun(bench, ask);
    let mut standing = match Standing::open(bench, &ask.service, address).await {
        Ok(standing) => standing,
        Err(failure) => return sweep::ended(trace, bench, Some(failure)),
    };
    trace.local = Some(standing.local.to_string());
    if let Err(failure) = sweep::controls(&mut standing, reach, &mut trace.probes).await {
        standing.quit().await;
        return sweep::ended(trace, bench, Some(failure));
    }
    if !standing.start_tls(quiet).await {
        standing.hang_up().await;
        return sweep::ended(trace, bench, None);
    }
    let controls = trace.probes.clone();
    let told = |ttl: u8| {
        let mut there = controls.iter().filter(|probe| probe.ttl == ttl);
        there.any(sweep::expired)
    };
    let end = reach.end;
    let mut here = BTreeMap::new();
    let sent = standing
        .retransmitted(Payload::ClientHello, hello, MOST_RETRANSMITTED, |latest| {
            if let Some(probe) = latest {
                if probe.answers.iter().any(|answer| arrives(&answer.what)) {
                    heard.arrived = true;
                    return None;
                }
                let effect = effect(probe, told(probe.ttl));
                here.insert(probe.ttl, effect);
                let entry = heard.known.effects.entry(probe.ttl).or_default();
                *entry = effect.or(*entry);
            }
            // Whole first, but where it is known to be met by a reset, which ends the connection.
            let whole = !heard.known.is_fatal && !here.contains_key(&end);
            whole
                .then_some(end)
                .or_else(|| heard.known.next(&here, end))
        })
        .await;
    let is_reset = |probe: &Probe| probe.answers.iter().any(|a| a.what == Answered::Reset);
    heard.known.is_fatal |= sent.iter().any(is_reset);
    let mut short = here.range(..end);
    heard.short += usize::from(short.any(|(_, effect)| *effect == Some(true)));
    trace.probes.extend(sent);
    standing.hang_up().await;
    sweep::ended(trace, bench, None)
}

/// Whether somebody took the message in.
const fn arrives(what: &Answered) -> bool {
    matches!(what, Answered::Reply { .. } | Answered::Acknowledged)
}

/// Whether a ClientHello met something before the next router told of its death; `told` says whether that router told of
/// a control command's on this connection.
fn effect(probe: &Probe, told: bool) -> Option<bool> {
    let ends = |what: &Answered| matches!(what, Answered::Reset | Answered::Closed);
    if probe.answers.iter().any(|answer| ends(&answer.what)) {
        return Some(true);
    }
    if sweep::expired(probe) {
        return Some(false);
    }
    told.then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoofbeat_observation::{Scheme, Service};

    #[test]
    fn one_segment_of_tls() {
        let service = Service {
            scheme: Scheme::Smtp,
            host: "mx.example.org".to_owned(),
            address: None,
            port: 25,
        };
        let hello = client_hello(&service).unwrap();
        // A handshake record that holds a ClientHello (RFC 8446 §5.1, §4), to its end.
        assert_eq!((hello[0], hello[1], hello[5]), (22, 3, 1));
        let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
        assert_eq!(length + 5, hello.len());
        assert!(hello.len() <= LONGEST, "{}", hello.len());
    }

    #[test]
    fn when_it_is_settled() {
        let heard = |effects: &[(u8, bool)], short| Heard {
            known: Known {
                effects: effects
                    .iter()
                    .map(|(ttl, one)| (*ttl, Some(*one)))
                    .collect(),
                ..Known::default()
            },
            short,
            ..Heard::default()
        };
        // The server's own: every hop before it told.
        assert!(heard(&[(3, false), (4, false), (5, false), (6, true)], 0).is_settled(6));
        // Between 4 and 5, seen once and twice.
        let step = [(3, false), (4, false), (5, true), (6, true)];
        assert!(!heard(&step, 1).is_settled(6));
        assert!(heard(&step, 2).is_settled(6));
        assert!(!heard(&[(3, true), (6, true)], 2).is_settled(6));
    }
}
