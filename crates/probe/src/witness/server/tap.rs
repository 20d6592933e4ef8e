//! The headers of packets at the witness's own ports, kept for a while: a packet socket, opened while the right was
//! there, and what it heard last.
//!
//! Headers only, in both directions: TTLs, flags, numbers and options. What is inside is in the transcripts, without
//! anybody's secrets. Everything is bounded; where much goes on, the oldest is forgotten. packet(7), bpf(4).

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hoofbeat_net::{
    Clock,
    sys::{self, Instruction},
};
use hoofbeat_observation::PacketHeader;
use hoofbeat_session::Elapsed;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    path::{
        filter::{
            self, HEADER_LENGTH, JUMP_ANY_SET, JUMP_EQUAL, LOAD_BYTE, LOAD_HALF, LOAD_HALF_BEHIND,
            REJECT,
        },
        packet::{self, Packet},
    },
    witness::packets::LONGEST_HEADERS,
};

/// Most headers that are remembered, of everybody.
const REMEMBERED: usize = 16_384;
/// Most headers of one connection that a report gets.
const MOST_OF_ONE: usize = 128;
/// Most that are read at a time, so that a flood cannot keep us from everything else.
const AT_A_TIME: usize = 1024;
/// Most ports that the kernel's filter looks for; more are looked for by nobody.
const MOST_PORTS: usize = 64;

/// What one packet belonged to: the witness's end and the client's.
type Flow = (SocketAddr, SocketAddr);

/// The headers heard last.
#[derive(Debug)]
pub(super) struct Tap {
    /// None in tests.
    socket: Option<OwnedFd>,
    clock: Clock,
    ports: Vec<u16>,
    latest: Mutex<VecDeque<(Flow, PacketHeader)>>,
}

/// The socket before the runtime stands; it hears nothing yet.
pub(super) fn open() -> Option<OwnedFd> {
    sys::packet_listener().ok()
}

impl Tap {
    /// Lets the socket hear the ports, and keeps what it hears for as long as the reader is polled.
    pub(super) fn listen(
        socket: OwnedFd,
        ports: &[u16],
        clock: Clock,
    ) -> io::Result<(Arc<Self>, Reader)> {
        // Without its filter it would hear the whole machine: then rather nothing.
        sys::attach_filter(&socket, &only(ports))?;
        sys::activate(&socket)?;
        let watched = sys::watch(socket.try_clone()?, Interest::READABLE)?;
        let tap = Arc::new(Self {
            socket: Some(socket),
            clock,
            ports: ports.to_vec(),
            latest: Mutex::default(),
        });
        let reader = Reader {
            socket: watched,
            tap: Arc::clone(&tap),
        };
        Ok((tap, reader))
    }

    /// Reads what has arrived by now.
    fn catch_up(&self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; LONGEST_HEADERS as usize];
        for _ in 0..AT_A_TIME {
            let Ok(received) = sys::receive(socket, &mut buffer) else {
                break;
            };
            // On the loopback each packet is seen as it leaves and as it arrives.
            if !(received.loopback && received.outgoing) {
                let bytes = buffer.get(..received.length).unwrap_or_default();
                self.hear(bytes, received.length);
            }
        }
    }

    fn latest(&self) -> MutexGuard<'_, VecDeque<(Flow, PacketHeader)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, bytes: &[u8], length: usize) {
        let Some(Packet::Tcp(segment)) = packet::read(bytes) else {
            return;
        };
        let from = SocketAddr::new(segment.from, segment.from_port);
        let to = SocketAddr::new(segment.to, segment.to_port);
        let flow = if self.ports.contains(&from.port()) {
            (from, to)
        } else {
            (to, from)
        };
        // Where even the header is cut, what there is of it holds nobody's words.
        let payload = segment.payload.map_or(0, <[u8]>::len);
        let end = bytes.len().saturating_sub(payload);
        let length = packet::told_length(bytes).max(length);
        let header = PacketHeader {
            at: Elapsed(self.clock.now()),
            length: u32::try_from(length).unwrap_or(u32::MAX),
            bytes: bytes.get(..end).unwrap_or_default().to_vec(),
        };
        let mut latest = self.latest();
        if latest.len() >= REMEMBERED {
            latest.pop_front();
        }
        latest.push_back((flow, header));
    }

    /// The headers of one connection, oldest first, and whether there were more than are told.
    pub(super) fn of(&self, local: SocketAddr, peer: SocketAddr) -> (Vec<PacketHeader>, bool) {
        self.catch_up();
        let canonical = |one: SocketAddr| SocketAddr::new(one.ip().to_canonical(), one.port());
        let flow = (canonical(local), canonical(peer));
        let latest = self.latest();
        let mut all = latest.iter().filter(|(of, _)| *of == flow);
        let told = all.by_ref().take(MOST_OF_ONE);
        let told = told.map(|(_, header)| header.clone()).collect();
        (told, all.next().is_some())
    }
}

/// Reads the packet socket for ever.
#[derive(Debug)]
pub(super) struct Reader {
    socket: AsyncFd<OwnedFd>,
    tap: Arc<Tap>,
}

impl Reader {
    pub(super) async fn run(self) {
        loop {
            match self.socket.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
            self.tap.catch_up();
        }
    }
}

/// The packet filter: whole TCP packets from or to the ports, cut behind the longest headers.
fn only(ports: &[u16]) -> Vec<Instruction> {
    const TCP: u32 = 6;
    const FRAGMENT: u32 = 0x1fff;
    let ports: Vec<u32> = ports
        .iter()
        .take(MOST_PORTS)
        .copied()
        .map(u32::from)
        .collect();
    let look = |load, places| filter::any_of(load, places, &ports, LONGEST_HEADERS);
    let mut v4 = vec![
        (LOAD_BYTE, 0, 0, 9),
        (JUMP_EQUAL, 1, 0, TCP),
        REJECT,
        (LOAD_HALF, 0, 0, 6),
        (JUMP_ANY_SET, 0, 1, FRAGMENT),
        REJECT,
        (HEADER_LENGTH, 0, 0, 0),
    ];
    v4.extend(look(LOAD_HALF_BEHIND, [0, 2]));
    let mut v6 = vec![(LOAD_BYTE, 0, 0, 6), (JUMP_EQUAL, 1, 0, TCP), REJECT];
    v6.extend(look(LOAD_HALF, [40, 42]));
    filter::by_version(&v4, &v6)
}

#[cfg(test)]
mod tests {
    use super::{filter::accepts, *};
    use proptest::prelude::*;

    /// From 192.0.2.7:40000 to 198.18.0.25:25, with a command inside.
    fn command(ports: [u16; 2]) -> Vec<u8> {
        let mut bytes = vec![
            0x45, 0, 0, 50, 0, 7, 0x40, 0, 61, 6, 0, 0, 192, 0, 2, 7, 198, 18, 0, 25,
        ];
        bytes.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        bytes.extend([0, 0, 1, 0, 0, 0, 2, 0, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        bytes.extend(b"AUTH x y\r\n");
        bytes
    }

    fn tap() -> Tap {
        Tap {
            socket: None,
            clock: Clock::start(),
            ports: vec![25, 143],
            latest: Mutex::default(),
        }
    }

    fn ends() -> Flow {
        (
            "198.18.0.25:25".parse().unwrap(),
            "192.0.2.7:40000".parse().unwrap(),
        )
    }

    #[test]
    fn headers_of_both_directions_and_nobodys_words() {
        let tap = tap();
        tap.hear(&command([40_000, 25]), 50);
        let mut back = command([25, 40_000]);
        back[12..20].rotate_left(4);
        tap.hear(&back, 50);
        tap.hear(&command([40_001, 25]), 50);
        let (local, peer) = ends();
        let (heard, more) = tap.of(local, peer);
        assert_eq!((heard.len(), more), (2, false));
        assert_eq!((heard[0].length, heard[0].bytes.len()), (50, 40));
        assert_eq!(heard[0].bytes[8], 61);
        assert!(heard.iter().all(|one| !one.bytes.ends_with(b"\r\n")));
        // An IPv6 socket names IPv4 clients in its own way.
        let mapped = SocketAddr::new("::ffff:192.0.2.7".parse().unwrap(), 40_000);
        assert_eq!(tap.of(local, mapped).0.len(), 2);
    }

    #[test]
    fn bounds_are_kept_and_told() {
        let tap = tap();
        for _ in 0..MOST_OF_ONE + 1 {
            tap.hear(&command([40_000, 25]), 50);
        }
        let (local, peer) = ends();
        let (heard, more) = tap.of(local, peer);
        assert_eq!((heard.len(), more), (MOST_OF_ONE, true));
        for _ in 0..REMEMBERED {
            tap.hear(&command([41_000, 25]), 50);
        }
        assert_eq!(tap.of(local, peer), (Vec::new(), false));
        assert_eq!(tap.latest().len(), REMEMBERED);
    }

    #[test]
    fn the_filter_lets_through_our_ports_alone() {
        let program = only(&[25, 143]);
        assert!(accepts(&program, &command([40_000, 25])));
        assert!(accepts(&program, &command([143, 40_000])));
        assert!(!accepts(&program, &command([40_000, 22])));
        let mut datagram = command([40_000, 25]);
        datagram[9] = 17;
        assert!(!accepts(&program, &datagram));
        let mut later = command([40_000, 25]);
        later[7] = 9;
        assert!(!accepts(&program, &later), "a later fragment has no ports");
        let mut six = vec![0x60, 0, 0, 0, 0, 20, 6, 60];
        six.extend([0; 32]);
        six.extend([0x9c, 0x40, 0, 143]);
        assert!(accepts(&program, &six));
        six[43] = 1;
        assert!(!accepts(&program, &six));
        assert!(!accepts(&only(&[]), &command([40_000, 25])));
    }

    proptest! {
        #[test]
        fn any_packet_is_survived(bytes: Vec<u8>, at in 0..50_usize, byte: u8) {
            let tap = tap();
            tap.hear(&bytes, bytes.len());
            let mut near = command([40_000, 25]);
            near[at] = byte;
            tap.hear(&near, 50);
            tap.hear(&near[..at], at);
        }
    }
}
