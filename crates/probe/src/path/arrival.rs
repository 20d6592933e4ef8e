//! The TTL that packets of the other end arrive with, found without any privilege: the kernel drops what came farther
//! than we allow, and the other end sends again what we lower the bound for.
//!
//! A SYN-ACK and data of one host have come equally far; a forger's have not. It must not know that.
//! `IP_MINTTL`, `IPV6_MINHOPCOUNT`: RFC 5082.

use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

use hoofbeat_net::sys::{self, Family};
use hoofbeat_observation::{Answered, PacketKind, Payload, ReceivedTtl, Trace, TtlMethod};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

use super::{bench::Bench, standing::Standing};

/// Initial TTLs in use.
const INITIAL: [u8; 3] = [64, 128, 255];

/// Commands that the search may cost.
const MOST_COMMANDS: usize = 10;

/// Longest wait for a SYN-ACK that comes again: a SYN is sent again after a second, or two.
const AGAIN: Duration = Duration::from_millis(2500);

/// Values above the expected one that are tried: a box on the way is that much nearer.
const NEARER: u8 = 4;

/// Finds the TTL of replies to control commands.
pub(super) async fn of_controls(
    standing: &mut Standing<'_>,
    end: u8,
    received: &mut Vec<ReceivedTtl>,
) {
    // The lowest value is sure to pass; the way back is likely as long as the way there.
    let (mut passes, mut fails) = (0_u8, None);
    let mut guesses: Vec<u8> = Vec::new();
    for initial in INITIAL {
        let guess = initial.saturating_sub(end.saturating_sub(1));
        guesses.extend([guess, guess.saturating_add(1)]);
    }
    for _ in 0..MOST_COMMANDS {
        let is_open = |value: u8| value > passes && fails.is_none_or(|fails| value < fails);
        let guess = guesses.iter().copied().find(|guess| is_open(*guess));
        let high = fails.map_or(256, u16::from);
        if u16::from(passes) + 1 >= high {
            break;
        }
        let halfway = u8::try_from(u16::midpoint(passes.into(), high)).unwrap_or(u8::MAX);
        let value = guess.unwrap_or(halfway);
        match standing.comes_with(value).await {
            Some(true) => passes = value,
            Some(false) => fails = Some(value),
            None => return,
        }
    }
    let is_exact = u16::from(passes) + 1 == fails.map_or(256, u16::from);
    if is_exact && passes > 0 {
        received.push(found(PacketKind::ControlReply, passes));
    }
}

/// Finds whether the reply to STARTTLS comes as far as replies to control commands, where those are known.
pub(super) async fn of_starttls(standing: &mut Standing<'_>, trace: &mut Trace) {
    let of_controls = trace
        .received
        .iter()
        .find(|entry| entry.of == PacketKind::ControlReply);
    let Some(expected) = of_controls.map(|entry| entry.ttl) else {
        return;
    };
    if standing.is_over() {
        return;
    }
    // A reply that began TLS was the last word in the clear.
    let refused = trace.probes.iter().any(|probe| {
        let replied = |a: &hoofbeat_observation::Answer| matches!(&a.what, Answered::Reply { .. });
        probe.payload == Payload::StartTls && probe.answers.iter().any(replied)
    });
    if !refused {
        return;
    }
    let (exact, _) = standing.arrival(Payload::StartTls, expected).await;
    trace
        .received
        .extend(exact.map(|ttl| found(PacketKind::StartTlsReply, ttl)));
}

/// Finds the TTL of the SYN-ACK: the expected one with one connection, one a little above with two. The connections are
/// handed back to be ended with courtesy.
pub(super) async fn of_syn_ack(
    bench: &Bench<'_>,
    address: SocketAddr,
    expected: u8,
) -> (Option<ReceivedTtl>, Vec<Socket>) {
    let above = |steps: u8| expected.saturating_add(steps);
    let mut open = Vec::new();
    for bounds in [
        vec![above(1), expected],
        (1..=NEARER).rev().map(above).collect(),
    ] {
        let Some(_permit) = bench.admit(address).await else {
            break;
        };
        let Ok((passed, socket)) = connect_under(bench, address, &bounds).await else {
            break;
        };
        open.push(socket);
        match passed {
            // The highest bound was none: it comes from nearer still.
            Some(0) => {}
            Some(place) => {
                let exact = bounds.get(place).copied();
                let exact = exact.map(|ttl| found(PacketKind::SynAck, ttl));
                return (exact, open);
            }
            None => break,
        }
    }
    (None, open)
}

/// Connects while the bound is lowered step by step; tells at which one the SYN-ACK passed.
async fn connect_under(
    bench: &Bench<'_>,
    address: SocketAddr,
    bounds: &[u8],
) -> io::Result<(Option<usize>, Socket)> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    if let Some(interface) = bench.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    let family = Family::from(address.ip());
    sys::set_minimum_ttl(&socket, family, bounds.first().copied().unwrap_or(0))?;
    match socket.connect(&address.into()) {
        Err(error) if !sys::is_under_way(&error) => return Err(error),
        _ => {}
    }
    let watched = sys::watch(socket.into(), Interest::WRITABLE | Interest::ERROR)?;
    let mut passed = None;
    for (place, bound) in bounds.iter().enumerate() {
        sys::set_minimum_ttl(watched.get_ref(), family, *bound)?;
        let limit = if place == 0 { bench.patience() } else { AGAIN };
        if stands(&watched, limit).await {
            passed = Some(place);
            break;
        }
    }
    sys::set_minimum_ttl(watched.get_ref(), family, 0)?;
    if passed.is_none() {
        stands(&watched, AGAIN).await;
    }
    Ok((passed, watched.into_inner().into()))
}

async fn stands(watched: &AsyncFd<OwnedFd>, limit: Duration) -> bool {
    let stands = || SockRef::from(watched.get_ref()).peer_addr().is_ok();
    let until = Instant::now() + limit;
    loop {
        if stands() {
            return true;
        }
        match tokio::time::timeout_at(until, watched.ready(Interest::WRITABLE | Interest::ERROR))
            .await
        {
            Ok(Ok(mut ready)) => {
                if !stands() {
                    ready.clear_ready();
                }
            }
            _ => return stands(),
        }
    }
}

const fn found(of: PacketKind, ttl: u8) -> ReceivedTtl {
    ReceivedTtl {
        of,
        ttl,
        by: TtlMethod::MinTtl,
    }
}
