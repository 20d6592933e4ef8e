//! What one trace has heard: ICMP errors about its services, and the packets of its own connections, within bounds.
//!
//! Packets of other programs to the same services may pass through here, passwords in them; only those of ports
//! that were announced as ours ever leave it. It must not know which probe a packet belongs to.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Mutex,
    time::Duration,
};

use hoofbeat_net::{Clock, sys::Family};
use hoofbeat_observation::{Capture, Side};
use hoofbeat_session::Elapsed;
use tokio::sync::watch;

use super::{
    packet::{self, Complaint, Packet},
    pcapng::{self, Captured},
    right::{self, SNAPSHOT, lock},
};

/// Most bytes of packets that are kept.
const MOST_BYTES: usize = 4 << 20;

/// Most packets.
const MOST_PACKETS: usize = 20_000;

/// Most ICMP errors.
const MOST_ERRORS: usize = 4096;

/// A wall clock that differs by more from what it should show has been set.
const LEAP: Duration = Duration::from_secs(1);

/// One ICMP error about a packet to one of our services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) at: Elapsed,
    pub(super) from: IpAddr,
    pub(super) ttl: Option<u8>,
    pub(super) complaint: Complaint,
    /// From the IP header on.
    pub(super) quote: Vec<u8>,
    /// The quoted segment's ports and sequence number.
    pub(super) from_port: u16,
    pub(super) to_port: u16,
    pub(super) sequence: Option<u32>,
}

/// Where one trace's messages arrive.
#[derive(Debug)]
pub(super) struct Inbox {
    clock: Clock,
    /// What the wall clock showed at our clock's zero.
    zero: Duration,
    services: HashSet<SocketAddr>,
    ports: HashSet<u16>,
    state: Mutex<State>,
    /// Counts what arrived.
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    heard: Vec<Heard>,
    packets: Vec<Captured>,
    bytes: usize,
    lost: u64,
    cut: bool,
    own: HashSet<u16>,
}

impl Inbox {
    pub(super) fn new(services: HashSet<SocketAddr>, clock: Clock) -> Self {
        Self {
            zero: zero(clock),
            clock,
            ports: services.iter().map(SocketAddr::port).collect(),
            services,
            state: Mutex::default(),
            news: watch::Sender::new(0),
        }
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.services.iter().map(SocketAddr::ip).collect()
    }

    /// Announces one of our ports: what goes there and comes from there is ours.
    pub(super) fn own(&self, port: u16) {
        lock(&self.state).own.insert(port);
    }

    /// Something to wait for: it changes with every arrival.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(super) fn complaint(
        &self,
        at: Option<Duration>,
        from: IpAddr,
        ttl: Option<u8>,
        complaint: Complaint,
        quote: &[u8],
    ) {
        let Some(segment) = packet::quoted(quote) else {
            return;
        };
        // Addresses may have been translated on the way; the ports are what we have to go by.
        if !self.ports.contains(&segment.to_port) {
            return;
        }
        let heard = Heard {
            at: self.elapsed(at.unwrap_or_else(right::now)),
            from,
            ttl,
            complaint,
            quote: quote.to_vec(),
            from_port: segment.from_port,
            to_port: segment.to_port,
            sequence: segment.sequence,
        };
        let mut state = lock(&self.state);
        if state.heard.len() < MOST_ERRORS {
            state.heard.push(heard);
            drop(state);
            self.tell();
        }
    }

    pub(super) fn packet(&self, captured: &Captured) {
        let concerns_us = match packet::read(&captured.bytes) {
            Some(Packet::Tcp(segment)) => {
                let ends = [
                    SocketAddr::new(segment.from, segment.from_port),
                    SocketAddr::new(segment.to, segment.to_port),
                ];
                ends.iter().any(|end| self.services.contains(end))
            }
            Some(Packet::Icmp {
                family, message, ..
            }) => quoted_ports(family, message).is_some_and(|(_, to)| self.ports.contains(&to)),
            None => false,
        };
        if !concerns_us {
            return;
        }
        let mut state = lock(&self.state);
        let bytes = state.bytes.saturating_add(captured.bytes.len());
        if state.packets.len() >= MOST_PACKETS || bytes > MOST_BYTES {
            state.cut = true;
            return;
        }
        state.bytes = bytes;
        state.packets.push(captured.clone());
        drop(state);
        self.tell();
    }

    pub(super) fn lost(&self, packets: u64) {
        let mut state = lock(&self.state);
        state.lost = state.lost.saturating_add(packets);
    }

    /// The errors about segments from one of our ports, from the `seen`th on.
    pub(super) fn about(&self, from_port: u16, to_port: u16) -> Vec<Heard> {
        lock(&self.state)
            .heard
            .iter()
            .filter(|heard| (heard.from_port, heard.to_port) == (from_port, to_port))
            .cloned()
            .collect()
    }

    /// The packets between one of our ports and a service, in order of arrival, with their times.
    pub(super) fn flow(&self, from_port: u16, service: SocketAddr) -> Vec<(Elapsed, Vec<u8>)> {
        let belongs = |captured: &&Captured| match packet::read(&captured.bytes) {
            Some(Packet::Tcp(segment)) => {
                let out = (segment.from_port, segment.to, segment.to_port);
                let back = (segment.to_port, segment.from, segment.from_port);
                let wanted = (from_port, service.ip(), service.port());
                out == wanted || back == wanted
            }
            _ => false,
        };
        lock(&self.state)
            .packets
            .iter()
            .filter(belongs)
            .map(|captured| (self.elapsed(captured.at), captured.bytes.clone()))
            .collect()
    }

    /// The packets of our own ports as a file.
    pub(super) fn capture(&self, application: &str) -> Capture {
        let state = lock(&self.state);
        let is_ours = |captured: &&Captured| match packet::read(&captured.bytes) {
            Some(Packet::Tcp(segment)) => {
                let to = SocketAddr::new(segment.to, segment.to_port);
                let from = SocketAddr::new(segment.from, segment.from_port);
                (self.services.contains(&to) && state.own.contains(&segment.from_port))
                    || (self.services.contains(&from) && state.own.contains(&segment.to_port))
            }
            Some(Packet::Icmp {
                family, message, ..
            }) => quoted_ports(family, message).is_some_and(|(from, _)| state.own.contains(&from)),
            None => false,
        };
        let packets: Vec<&Captured> = state.packets.iter().filter(is_ours).collect();
        Capture {
            by: Side::Client,
            packets: packets.len() as u64,
            dropped: state.lost,
            cut: state.cut,
            pcapng: pcapng::file(packets, state.lost, SNAPSHOT as u32, application),
        }
    }

    fn tell(&self) {
        self.news
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A time of the wall clock on ours. The distance of the two is taken once, so that all times keep their order.
    fn elapsed(&self, at: Duration) -> Elapsed {
        let now = self.clock.now();
        let age = right::now().saturating_sub(at);
        let mut elapsed = at.saturating_sub(self.zero);
        // Unless the wall clock was set meanwhile.
        if elapsed.abs_diff(now.saturating_sub(age)) > LEAP {
            elapsed = now.saturating_sub(age);
        }
        Elapsed::from(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }
}

/// What the wall clock showed at the other clock's zero. Of several readings that counts between whose two ends the least
/// time went by: a busy machine may stop us in the middle.
fn zero(clock: Clock) -> Duration {
    let reading = |_| {
        let before = clock.now();
        let wall = right::now();
        let after = clock.now();
        (after.saturating_sub(before), wall.saturating_sub(before))
    };
    let best = (0..5).map(reading).min_by_key(|(took, _)| *took);
    best.unwrap_or_default().1
}

/// The ports of the segment that an ICMP error quotes.
fn quoted_ports(family: Family, message: &[u8]) -> Option<(u16, u16)> {
    let (_, quote) = packet::complaint(family, message)?;
    let segment = packet::quoted(quote)?;
    Some((segment.from_port, segment.to_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10.0.0.1:40000 to 10.0.0.2:25, or another port.
    fn segment(from_port: u16, to_port: u16) -> Vec<u8> {
        let mut bytes = vec![
            0x45, 0, 0, 40, 0, 7, 0x40, 0, 3, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        bytes.extend(from_port.to_be_bytes());
        bytes.extend(to_port.to_be_bytes());
        bytes.extend([0, 0, 1, 0, 0, 0, 2, 0, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        bytes
    }

    fn captured(bytes: Vec<u8>) -> Captured {
        Captured {
            at: right::now(),
            length: bytes.len(),
            bytes,
        }
    }

    fn inbox() -> Inbox {
        let mx = SocketAddr::from(([10, 0, 0, 2], 25));
        Inbox::new(HashSet::from([mx]), Clock::start())
    }

    #[test]
    fn what_is_not_ours_never_leaves() {
        let inbox = inbox();
        inbox.own(40000);
        for (from, to) in [(40000, 25), (41000, 25), (40000, 26)] {
            inbox.packet(&captured(segment(from, to)));
        }
        let icmp = |about: &[u8]| {
            let mut bytes = segment(0, 0)[..20].to_vec();
            bytes[9] = 1;
            bytes[3] = u8::try_from(28 + about.len()).unwrap();
            bytes.extend([11, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend(about);
            bytes
        };
        inbox.packet(&captured(icmp(&segment(40000, 25))));
        inbox.packet(&captured(icmp(&segment(41000, 25))));
        let capture = inbox.capture("test");
        assert_eq!((capture.packets, capture.cut), (2, false));
        let foreign = 41000_u16.to_be_bytes();
        assert!(!capture.pcapng.windows(2).any(|two| two == foreign));
        let flow = inbox.flow(40000, SocketAddr::from(([10, 0, 0, 2], 25)));
        assert_eq!(flow.len(), 1);
    }

    #[test]
    fn bounds_are_kept_and_told() {
        let inbox = inbox();
        inbox.own(40000);
        for _ in 0..MOST_PACKETS + 5 {
            inbox.packet(&captured(segment(40000, 25)));
        }
        inbox.lost(7);
        let capture = inbox.capture("test");
        assert_eq!(
            (capture.packets, capture.dropped, capture.cut),
            (MOST_PACKETS as u64, 7, true)
        );
    }

    #[test]
    fn errors_about_others_are_not_heard() {
        let inbox = inbox();
        let router = IpAddr::from([192, 0, 2, 1]);
        for quote in [segment(40000, 25), segment(40000, 443), vec![0x45; 9]] {
            inbox.complaint(None, router, Some(60), Complaint::TimeExceeded, &quote);
        }
        assert_eq!(inbox.about(40000, 25).len(), 1);
        assert_eq!(inbox.about(40000, 25)[0].sequence, Some(256));
        assert!(inbox.about(40001, 25).is_empty());
    }
}
