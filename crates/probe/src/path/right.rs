//! The right to raw sockets: opened once while it is there, and given up for good right after.
//!
//! What the sockets hear goes to everybody who traces at the moment; each keeps what is his. It must not know what is
//! looked for. capabilities(7), raw(7), packet(7).

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use hoofbeat_net::sys::{self, Family, Instruction};
use tokio::io::Interest;

use super::{
    filter::{self, JUMP_EQUAL, LOAD_BYTE, LOAD_WORD, REJECT},
    inbox::Inbox,
    packet,
    pcapng::Captured,
};

/// Most bytes that are kept of one packet.
pub(super) const SNAPSHOT: usize = 2048;

/// Most messages that are read of one socket at a time, so that a flood cannot keep us from everything else; then
/// more is waiting when we look again.
const AT_A_TIME: usize = 4096;

/// How many packets are remembered to recognise one that is seen on two interfaces (a bond and its slave).
const REMEMBERED: usize = 8;

/// Raw sockets, opened once while the right was there; everything else of the process has dropped it.
///
/// Without the packet filter attached they would hear the machine's whole traffic; they hear nothing at all until a
/// trace begins.
#[derive(Debug)]
pub struct RawRight {
    icmp_v4: OwnedFd,
    /// None where the machine speaks no IPv6.
    icmp_v6: Option<OwnedFd>,
    packets: OwnedFd,
    listeners: Mutex<Vec<Weak<Inbox>>>,
    latest: Mutex<Vec<(u32, Vec<u8>)>>,
}

/// Why there are no raw sockets.
#[derive(Debug, thiserror::Error)]
pub enum NoRight {
    /// The kernel refused them.
    #[error(
        "raw sockets need the right CAP_NET_RAW, which this process lacks: give it once with \
         `sudo setcap cap_net_raw+ep $(command -v hoofbeat)`, or run as root, or go on without \
         (a box that rewrites in place is then seen, and its hop is not found)"
    )]
    Refused,
    /// They are not to be had here.
    #[error("raw sockets cannot be opened: {0}")]
    Unavailable(#[source] io::Error),
    /// The right could not be given up: then it is not used.
    #[error("the right to raw sockets cannot be given up again, so it is not used: {0}")]
    NotDropped(#[source] io::Error),
}

impl RawRight {
    /// Opens the sockets, then gives up every capability of this thread, and of all that it makes, for good. To be
    /// called before there are others.
    ///
    /// # Errors
    /// Where the kernel refuses. The capabilities are gone even then.
    pub fn acquire() -> Result<Self, NoRight> {
        let opened = Self::open();
        let given_up = sys::drop_capabilities();
        let right = opened.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => NoRight::Refused,
            _ => NoRight::Unavailable(error),
        })?;
        given_up.map_err(NoRight::NotDropped)?;
        Ok(right)
    }

    fn open() -> io::Result<Self> {
        Ok(Self {
            icmp_v4: sys::icmp_listener(Family::V4)?,
            icmp_v6: match sys::icmp_listener(Family::V6) {
                Ok(socket) => Some(socket),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(_) => None,
            },
            packets: sys::packet_listener()?,
            listeners: Mutex::default(),
            latest: Mutex::default(),
        })
    }

    /// Lets somebody hear. It ends when the inbox is dropped.
    pub(super) fn subscribe(&self, inbox: &Arc<Inbox>) -> io::Result<()> {
        // What waits from before is nobody's.
        self.catch_up()?;
        let mut listeners = lock(&self.listeners);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(inbox));
        let addresses: Vec<IpAddr> = listeners
            .iter()
            .filter_map(Weak::upgrade)
            .flat_map(|inbox| inbox.addresses())
            .collect();
        // A kernel that wants a privilege for it leaves us with more to read, no more.
        let _ = sys::attach_filter(&self.packets, &only(&addresses));
        if listeners.len() == 1 {
            // Loss before now was nobody's.
            let _ = sys::dropped(&self.packets);
        }
        sys::activate(&self.packets)
    }

    /// Hands on whatever arrives, for as long as it is polled.
    ///
    /// # Errors
    /// Where the sockets cannot be waited for.
    pub(super) async fn listen(&self) -> io::Result<Infallible> {
        let watch = |socket: &OwnedFd| {
            let clone = socket.try_clone()?;
            sys::watch(clone, Interest::READABLE)
        };
        let icmp_v4 = watch(&self.icmp_v4)?;
        let icmp_v6 = self.icmp_v6.as_ref().map(watch).transpose()?;
        let packets = watch(&self.packets)?;
        loop {
            // Whoever is ready, all are read: what one tells, another may have told before.
            tokio::select! {
                ready = icmp_v4.readable() => ready?.clear_ready(),
                ready = async {
                    match &icmp_v6 {
                        Some(socket) => socket.readable().await,
                        None => std::future::pending().await,
                    }
                } => ready?.clear_ready(),
                ready = packets.readable() => ready?.clear_ready(),
            }
            self.catch_up()?;
        }
    }

    /// Reads what has arrived by now: whatever a TCP socket has told was heard here before.
    ///
    /// # Errors
    /// Where the sockets broke.
    pub(super) fn catch_up(&self) -> io::Result<()> {
        let mut buffer = vec![0; SNAPSHOT];
        self.icmp(Family::V4, &self.icmp_v4, &mut buffer)?;
        if let Some(socket) = &self.icmp_v6 {
            self.icmp(Family::V6, socket, &mut buffer)?;
        }
        self.packets(&mut buffer)
    }

    fn icmp(&self, family: Family, socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..AT_A_TIME {
            let Some(received) = next(socket, buffer)? else {
                break;
            };
            let bytes = buffer.get(..received.length).unwrap_or_default();
            // IPv4's begin with the IP header, IPv6's do not (RFC 3542 §3).
            let (from, ttl, message) = match family {
                Family::V4 => match packet::read(bytes) {
                    Some(packet::Packet::Icmp {
                        from, ttl, message, ..
                    }) => (Some(from), Some(ttl), message),
                    _ => continue,
                },
                Family::V6 => (received.from, received.hop_limit, bytes),
            };
            let Some((from, (complaint, quote))) = from.zip(packet::complaint(family, message))
            else {
                continue;
            };
            for inbox in self.inboxes() {
                inbox.complaint(received.at, from, ttl, complaint, quote);
            }
        }
        Ok(())
    }

    fn packets(&self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..AT_A_TIME {
            let Some(received) = next(&self.packets, buffer)? else {
                break;
            };
            let bytes = buffer.get(..received.length).unwrap_or_default();
            let is_second_sight = (received.loopback && received.outgoing)
                || self.was_seen_elsewhere(received.interface, bytes);
            if is_second_sight || packet::read(bytes).is_none() {
                continue;
            }
            let captured = Captured {
                at: received.at.unwrap_or_else(now),
                bytes: bytes.to_vec(),
                // A buffer cuts without a word.
                length: packet::told_length(bytes).max(received.length),
            };
            for inbox in self.inboxes() {
                inbox.packet(&captured);
            }
        }
        Ok(())
    }

    fn was_seen_elsewhere(&self, interface: u32, bytes: &[u8]) -> bool {
        let mut latest = lock(&self.latest);
        let seen = latest
            .iter()
            .any(|(other, before)| *other != interface && before == bytes);
        if latest.len() >= REMEMBERED {
            latest.remove(0);
        }
        latest.push((interface, bytes.to_vec()));
        seen
    }

    fn inboxes(&self) -> Vec<Arc<Inbox>> {
        let inboxes: Vec<Arc<Inbox>> = lock(&self.listeners)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        // Asking sets the kernel's counter to zero, so everybody who listens is told.
        if let Ok(lost @ 1..) = sys::dropped(&self.packets) {
            for inbox in &inboxes {
                inbox.lost(lost.into());
            }
        }
        inboxes
    }
}

/// The next message, or none.
fn next(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<sys::Received>> {
    match sys::receive(socket, buffer) {
        Ok(received) => Ok(Some(received)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        // An interface that went down says so once (ENETDOWN).
        Err(error) if error.kind() == io::ErrorKind::NetworkDown => Ok(None),
        Err(error) => Err(error),
    }
}

/// Wall clock, since 1970.
pub(super) fn now() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}

/// The packet filter: TCP from or to the addresses, and ICMP. Of an IPv6 address its last word is compared; what is too
/// much is left out by the reader.
fn only(addresses: &[IpAddr]) -> Vec<Instruction> {
    const ACCEPT: Instruction = filter::accept(SNAPSHOT as u32);
    // For one version: where the protocol stands, which one is ICMP, where the two addresses' words stand.
    let half = |protocol: u32, icmp: u32, places: [u32; 2], words: &[u32]| {
        let mut program = vec![
            (LOAD_BYTE, 0, 0, protocol),
            (JUMP_EQUAL, 0, 1, icmp),
            ACCEPT,
            (JUMP_EQUAL, 1, 0, 6),
            REJECT,
        ];
        program.extend(filter::any_of(LOAD_WORD, places, words, SNAPSHOT as u32));
        program
    };
    let (mut of_v4, mut of_v6) = (Vec::new(), Vec::new());
    for address in addresses {
        match address {
            IpAddr::V4(address) => of_v4.push(address.to_bits()),
            IpAddr::V6(address) => of_v6.push(address.to_bits() as u32),
        }
    }
    let v4 = half(9, 1, [12, 16], &of_v4);
    let v6 = half(6, 58, [20, 36], &of_v6);
    filter::by_version(&v4, &v6)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{filter::accepts, *};

    #[test]
    fn the_filter_lets_through_what_is_ours() {
        let program = only(&[
            "192.0.2.1".parse().unwrap(),
            "198.51.100.7".parse().unwrap(),
            "2001:db8::7".parse().unwrap(),
        ]);
        let v4 = |protocol: u8, from: [u8; 4], to: [u8; 4]| {
            let mut packet = vec![0x45; 20];
            packet[9] = protocol;
            packet[12..16].copy_from_slice(&from);
            packet[16..20].copy_from_slice(&to);
            packet
        };
        let v6 = |protocol: u8, last: u8| {
            let mut packet = vec![0x60; 40];
            packet[6] = protocol;
            packet[36..40].copy_from_slice(&[0, 0, 0, last]);
            packet
        };
        for (packet, wanted) in [
            (v4(6, [192, 0, 2, 1], [10, 0, 0, 1]), true),
            (v4(6, [10, 0, 0, 1], [198, 51, 100, 7]), true),
            (v4(6, [10, 0, 0, 1], [10, 0, 0, 2]), false),
            (v4(17, [192, 0, 2, 1], [10, 0, 0, 1]), false),
            (v4(1, [203, 0, 113, 9], [10, 0, 0, 1]), true),
            (v6(6, 7), true),
            (v6(6, 8), false),
            (v6(58, 8), true),
            (vec![0x20; 60], false),
            (vec![], false),
        ] {
            assert_eq!(accepts(&program, &packet), wanted, "{packet:?}");
        }
        assert!(!accepts(&only(&[]), &v4(6, [192, 0, 2, 1], [10, 0, 0, 1])));
    }

    #[test]
    fn the_message_says_what_to_do() {
        let text = NoRight::Refused.to_string();
        assert!(text.contains("setcap cap_net_raw+ep") && text.contains("root"));
    }
}
