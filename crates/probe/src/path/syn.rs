//! One SYN with a limited TTL, bare or with data, and everything that it causes: from the socket's error queue,
//! without any privilege; where packets are captured, with what was captured.
//!
//! Each SYN leaves from a port of its own, so a balanced path may differ from one to the next. It must not know which
//! TTLs are worth a try. RFC 9293 §3.5, RFC 7413.

use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

use hoofbeat_net::{
    classify,
    sys::{self, Family},
};
use hoofbeat_observation::{
    Answer, Answered, Failure, Operation, Payload, Probe, Quote, QuoteBegins,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest, unix::AsyncFd},
    net::TcpStream,
    time::Instant,
};

use super::{
    bench::Bench,
    packet::{self, ACK, Complaint, Packet, RST, SYN},
};

/// How often the patience is reckoned anew: the answers to other probes tell how far away things are.
const TICK: Duration = Duration::from_millis(40);

/// How long a greeting is waited for on a connection that was only made to see who answers.
const GREETING: Duration = Duration::from_millis(1000);

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// The probe, and the connection, where one came to stand.
pub(super) struct Tried {
    pub(super) probe: Probe,
    pub(super) open: Option<Socket>,
}

impl Tried {
    /// Whether somebody at or before this TTL answers for the service: the end of the path.
    pub(super) fn is_end(&self) -> bool {
        self.probe.answers.iter().any(|answer| {
            matches!(
                answer.what,
                Answered::Connected | Answered::Reset | Answered::Unreachable { .. }
            )
        })
    }

    /// Whether a router said that the probe expired there.
    pub(super) fn is_hop(&self) -> bool {
        is_hop(&self.probe)
    }
}

pub(super) fn is_hop(probe: &Probe) -> bool {
    probe
        .answers
        .iter()
        .any(|answer| matches!(answer.what, Answered::TimeExceeded { .. }))
}

/// Sends one SYN, with `data` in it where there is some, and waits for what comes.
///
/// # Errors
/// Where nothing could be sent. Data that this kernel would not send in a SYN is such a case.
pub(super) async fn syn(
    bench: &Bench<'_>,
    address: SocketAddr,
    ttl: u8,
    data: Option<(Payload, &[u8])>,
) -> Result<Tried, Failure> {
    let failed = |error: io::Error| classify::failure(Operation::Connect, &error);
    let family = Family::from(address.ip());
    let (payload, sent) = data.unwrap_or((Payload::None, &[]));
    let socket = prepared(bench, address, ttl).map_err(failed)?;
    let at = bench.context.now();
    let begun = Instant::now();
    if sent.is_empty() {
        match socket.connect(&address.into()) {
            Err(error) if !sys::is_under_way(&error) => {
                return Err(failed(error));
            }
            _ => {}
        }
    } else {
        sys::allow_data_in_syn(&socket).map_err(failed)?;
        let length = socket
            .send_to_with_flags(sent, &address.into(), sys::DATA_IN_SYN)
            .map_err(failed)?;
        if length != sent.len() {
            return Err(failed(io::Error::other("the SYN does not hold the data")));
        }
    }
    let source_port = socket
        .local_addr()
        .map_err(failed)?
        .as_socket()
        .map_or(0, |local| local.port());
    if let Some(inbox) = bench.inbox {
        inbox.own(source_port);
    }
    let interest = Interest::READABLE | Interest::WRITABLE | Interest::ERROR;
    let watched = sys::watch(socket.into(), interest).map_err(failed)?;
    let mut probe = Probe {
        ttl,
        source_port,
        payload,
        sent: sent.to_vec(),
        packet: Vec::new(),
        left: None,
        acknowledged: None,
        at,
        restored: None,
        answers: Vec::new(),
    };
    loop {
        look(&watched, family, bench, &mut probe);
        if !probe.answers.is_empty() {
            bench.answered_after(begun.elapsed());
            break;
        }
        let Some(left) = bench.patience().checked_sub(begun.elapsed()) else {
            break;
        };
        let wait = tokio::time::timeout(
            left.min(TICK),
            watched.ready(Interest::ERROR | Interest::WRITABLE),
        );
        if let Ok(Ok(mut ready)) = wait.await {
            look(&watched, family, bench, &mut probe);
            if probe.answers.is_empty() {
                ready.clear_ready();
            }
        }
    }
    let connected = probe.answers.iter().any(|a| a.what == Answered::Connected);
    let open = connected.then(|| watched.into_inner().into());
    Ok(Tried { probe, open })
}

fn prepared(bench: &Bench<'_>, address: SocketAddr, ttl: u8) -> io::Result<Socket> {
    let family = Family::from(address.ip());
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    if let Some(interface) = bench.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.set_tcp_nodelay(true)?;
    sys::set_ttl(&socket, family, ttl)?;
    sys::report_errors(&socket, family, true)?;
    Ok(socket)
}

/// Takes what the socket has to tell. The error queue comes first: an error is told once, and reading it elsewhere
/// takes it away.
fn look(watched: &AsyncFd<OwnedFd>, family: Family, bench: &Bench<'_>, probe: &mut Probe) {
    let socket = SockRef::from(watched.get_ref());
    let now = bench.context.now();
    let mut push = |ttl, what| probe.answers.push(Answer { at: now, ttl, what });
    while let Ok(Some(report)) = sys::next_report(watched.get_ref()) {
        let quote = Some(Quote {
            begins: QuoteBegins::Tcp,
            bytes: report.quote,
        })
        .filter(|quote| !quote.bytes.is_empty());
        let Some(from) = report.from else { continue };
        match (family, report.kind) {
            (Family::V4, 11) | (Family::V6, 3) => {
                push(report.ttl, Answered::TimeExceeded { from, quote });
            }
            (Family::V4, 3) | (Family::V6, 1) => {
                let code = report.code;
                push(report.ttl, Answered::Unreachable { from, code, quote });
            }
            _ => {}
        }
    }
    if !probe.answers.is_empty() {
        return;
    }
    match socket.take_error() {
        Ok(Some(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                probe.answers.push(Answer {
                    at: now,
                    ttl: None,
                    what: Answered::Reset,
                });
            }
            // An ICMP error whose entry in the queue was lost; or our own network's, which is silence.
            io::ErrorKind::HostUnreachable => probe.answers.push(Answer {
                at: now,
                ttl: None,
                what: Answered::Expired,
            }),
            _ => {}
        },
        Ok(None) if socket.peer_addr().is_ok() => probe.answers.push(Answer {
            at: now,
            ttl: None,
            what: Answered::Connected,
        }),
        _ => {}
    }
}

/// Completes a probe by what was captured: the packet that left, quotes with their IP header, the TTLs of answers, and
/// answers that came besides the first.
pub(super) fn complete(bench: &Bench<'_>, address: SocketAddr, probe: &mut Probe) {
    let Some(inbox) = bench.up_to_now() else {
        return;
    };
    for heard in inbox.about(probe.source_port, address.port()) {
        let whole = Quote {
            begins: QuoteBegins::Ip,
            bytes: heard.quote,
        };
        let known = probe.answers.iter_mut().find(|answer| match &answer.what {
            Answered::TimeExceeded { from, .. } => {
                heard.complaint == Complaint::TimeExceeded && *from == heard.from
            }
            Answered::Unreachable { from, code, .. } => {
                heard.complaint == Complaint::Unreachable(*code) && *from == heard.from
            }
            _ => false,
        });
        match known {
            Some(answer) => {
                answer.ttl = answer.ttl.or(heard.ttl);
                if let Answered::TimeExceeded { quote, .. } | Answered::Unreachable { quote, .. } =
                    &mut answer.what
                {
                    *quote = Some(whole);
                }
            }
            None => probe.answers.push(Answer {
                at: heard.at,
                ttl: heard.ttl,
                what: match heard.complaint {
                    Complaint::TimeExceeded => Answered::TimeExceeded {
                        from: heard.from,
                        quote: Some(whole),
                    },
                    Complaint::Unreachable(code) => Answered::Unreachable {
                        from: heard.from,
                        code,
                        quote: Some(whole),
                    },
                },
            }),
        }
    }
    for (at, bytes) in inbox.flow(probe.source_port, address) {
        let Some(Packet::Tcp(segment)) = packet::read(&bytes) else {
            continue;
        };
        let is_ours = segment.from_port == probe.source_port && segment.to == address.ip();
        if is_ours {
            if probe.packet.is_empty() && segment.has(SYN) && segment.ttl == probe.ttl {
                probe.packet = bytes;
            }
            continue;
        }
        let what = if segment.has(SYN | ACK) {
            Answered::Connected
        } else if segment.has(RST) {
            Answered::Reset
        } else {
            continue;
        };
        let ttl = Some(segment.ttl);
        // A RST on a connection that stood is the end of that, no answer to the SYN.
        let stood = probe.answers.iter().any(|a| a.what == Answered::Connected);
        match probe.answers.iter_mut().find(|answer| answer.what == what) {
            Some(answer) => answer.ttl = answer.ttl.or(ttl),
            None if what == Answered::Reset && stood => {}
            None => probe.answers.push(Answer { at, ttl, what }),
        }
    }
    probe.answers.sort_by_key(|answer| answer.at);
}

/// Ends a connection that was only made to see who answers: a greeting is heard and a goodbye said where the service
/// has them, so that nobody's log sees a reset.
pub(super) async fn part(socket: Socket, goodbye: Option<&'static str>) {
    let family = match socket.local_addr().ok().and_then(|local| local.as_socket()) {
        Some(local) => Family::from(local.ip()),
        None => return,
    };
    let _ = sys::report_errors(&socket, family, false);
    let _ = sys::set_ttl(&socket, family, 64);
    let Ok(mut stream) = TcpStream::from_std(socket.into()) else {
        return;
    };
    let mut buffer = [0; 1024];
    if let Some(goodbye) = goodbye {
        let greeted = tokio::time::timeout(GREETING, stream.read(&mut buffer)).await;
        // Who speaks before the greeting is taken for a spammer.
        if matches!(greeted, Ok(Ok(1..))) {
            let _ = stream.write_all(goodbye.as_bytes()).await;
        }
    }
    drain(&mut stream).await;
}

/// Says that we are done and reads to the end, briefly: bytes unread at a close would make it a reset.
pub(super) async fn drain(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let mut buffer = [0; 1024];
    let _ = tokio::time::timeout(GOODBYE, async {
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    })
    .await;
}
