//! Quotes of the witness's own packets: a raw ICMP socket, opened while the right was there, and who waits for which flow.
//!
//! Reads only; every packet is foreign, and what quotes no flow of ours is passed over.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hoofbeat_net::sys::{self, Family};
use hoofbeat_observation::{Answered, Quote, QuoteBegins};
use tokio::{io::Interest, net::UdpSocket, sync::mpsc};

/// Most bytes of a quote that are kept: Linux quotes up to 576, IPv6 up to 1280.
const LONGEST_QUOTE: usize = 1280;
/// Most answers that wait for one flow: a flow has one limited packet at a time, sent again at most a few times.
const WAITING: usize = 16;

/// From which port of ours to whom.
pub(super) type Flow = (SocketAddr, SocketAddr);

/// One ICMP message about a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) what: Answered,
    /// The TTL with which it arrived.
    pub(super) ttl: Option<u8>,
}

/// The sockets before the runtime stands.
#[derive(Debug)]
pub(super) struct RawSockets(Vec<(Family, OwnedFd)>);

impl RawSockets {
    /// Opens what may be opened; `None` without the right (`CAP_NET_RAW`).
    pub(super) fn open() -> Option<Self> {
        let open = |family| Some((family, sys::icmp_listener(family).ok()?));
        let sockets: Vec<_> = [Family::V4, Family::V6]
            .into_iter()
            .filter_map(open)
            .collect();
        (!sockets.is_empty()).then_some(Self(sockets))
    }

    /// Turns them into readers; must be called on the runtime.
    pub(super) fn listen(self) -> io::Result<(Arc<Listeners>, Vec<Reader>)> {
        let listeners = Arc::new(Listeners::default());
        let reader = |(family, socket): (Family, OwnedFd)| -> io::Result<Reader> {
            Ok(Reader {
                family,
                // Any datagram socket is waited for in the same way, and never is more done with this one.
                socket: UdpSocket::from_std(socket.into())?,
                listeners: Arc::clone(&listeners),
            })
        };
        let readers = self.0.into_iter().map(reader).collect::<io::Result<_>>()?;
        Ok((listeners, readers))
    }
}

/// Who waits for which flow.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<HashMap<Flow, mpsc::Sender<Heard>>>);

impl Listeners {
    /// Messages about a flow, from now on until the receiver is dropped.
    pub(super) fn listen(&self, flow: Flow) -> mpsc::Receiver<Heard> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, sender| !sender.is_closed());
        all.insert(flow, sender);
        receiver
    }

    fn tell(&self, flow: Flow, heard: Heard) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = all.get(&flow) {
            // Full: somebody floods us with quotes, and more of them prove nothing.
            let _ = sender.try_send(heard);
        }
    }
}

/// Reads one raw socket for ever.
#[derive(Debug)]
pub(super) struct Reader {
    family: Family,
    socket: UdpSocket,
    listeners: Arc<Listeners>,
}

impl Reader {
    pub(super) async fn run(self) {
        let mut buffer = vec![0; 2048];
        loop {
            let received = self
                .socket
                .async_io(Interest::READABLE, || {
                    sys::receive(&self.socket, &mut buffer)
                })
                .await;
            let Ok(received) = received else {
                // Nobody's packet is at fault: out of memory, an interface that went away.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let packet = buffer.get(..received.length).unwrap_or_default();
            let heard = received
                .from
                .and_then(|from| read(self.family, packet, from, received.hop_limit));
            if let Some((flow, heard)) = heard {
                self.listeners.tell(flow, heard);
            }
        }
    }
}

/// What a raw packet says about which flow.
fn read(family: Family, packet: &[u8], from: IpAddr, ttl: Option<u8>) -> Option<(Flow, Heard)> {
    let message = match family {
        // Raw IPv4 sockets give the IP header too, raw IPv6 sockets do not.
        Family::V4 => packet.get(usize::from(packet.first()? & 15) * 4..)?,
        Family::V6 => packet,
    };
    let (kind, code) = (*message.first()?, *message.get(1)?);
    let quoted = message.get(8..)?;
    let flow = flow_of(quoted)?;
    let quote = Some(Quote {
        begins: QuoteBegins::Ip,
        bytes: quoted.get(..quoted.len().min(LONGEST_QUOTE))?.to_vec(),
    });
    let what = match (family, kind) {
        (Family::V4, 11) | (Family::V6, 3) => Answered::TimeExceeded { from, quote },
        (Family::V4, 3) | (Family::V6, 1) => Answered::Unreachable { from, code, quote },
        _ => return None,
    };
    Some((flow, Heard { what, ttl }))
}

/// The flow of a quoted TCP packet, from its sender's side.
fn flow_of(quoted: &[u8]) -> Option<Flow> {
    const TCP: u8 = 6;
    let address_v6 = |from: usize| {
        let bytes: [u8; 16] = quoted.get(from..from + 16)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let address_v4 = |from: usize| {
        let bytes: [u8; 4] = quoted.get(from..from + 4)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let (protocol, header, source, destination) = match quoted.first()? >> 4 {
        4 => (
            *quoted.get(9)?,
            usize::from(quoted.first()? & 15) * 4,
            address_v4(12)?,
            address_v4(16)?,
        ),
        6 => (*quoted.get(6)?, 40, address_v6(8)?, address_v6(24)?),
        _ => return None,
    };
    let port = |at: usize| {
        let bytes: [u8; 2] = quoted.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    };
    (protocol == TCP).then_some(())?;
    Some((
        (source, port(header)?).into(),
        (destination, port(header + 2)?).into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quoted() -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 60, 0, 0, 0x40, 0, 1, 6, 0, 0, 198, 18, 0, 25, 192, 0, 2, 7,
        ];
        packet.extend([0, 25, 0xab, 0xcd, 0, 0, 0, 1]);
        packet
    }

    fn time_exceeded() -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 84, 0, 0, 0, 0, 61, 1, 0, 0, 198, 18, 0, 1, 198, 18, 0, 25,
        ];
        packet.extend([11, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend(quoted());
        packet
    }

    #[test]
    fn a_quote_of_eight_bytes_tells_the_flow() {
        let router = IpAddr::from([198, 18, 0, 1]);
        let (flow, heard) = read(Family::V4, &time_exceeded(), router, Some(61)).unwrap();
        assert_eq!(
            flow,
            (
                "198.18.0.25:25".parse().unwrap(),
                "192.0.2.7:43981".parse().unwrap()
            )
        );
        assert_eq!(heard.ttl, Some(61));
        let Answered::TimeExceeded { from, quote } = heard.what else {
            panic!()
        };
        assert_eq!((from, quote.unwrap().bytes), (router, quoted()));
    }

    #[test]
    fn echoes_and_datagrams_are_passed_over() {
        let router = IpAddr::from([198, 18, 0, 1]);
        let mut echo = time_exceeded();
        echo[20] = 0;
        assert_eq!(read(Family::V4, &echo, router, None), None);
        let mut datagram = time_exceeded();
        datagram[28 + 9] = 17;
        assert_eq!(read(Family::V4, &datagram, router, None), None);
    }

    proptest! {
        #[test]
        fn any_packet_is_survived(packet: Vec<u8>, at in 0..56_usize, byte: u8) {
            let from = IpAddr::from([0; 4]);
            let _ = read(Family::V4, &packet, from, None);
            let _ = read(Family::V6, &packet, from, None);
            let mut near = time_exceeded();
            near[at] = byte;
            let _ = read(Family::V4, &near, from, None);
            let _ = read(Family::V4, &near[..at], from, None);
        }
    }
}
