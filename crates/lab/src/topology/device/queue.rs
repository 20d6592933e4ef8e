//! Packets from the kernel's queue to a box and back, with the box's own packets sent beside. One thread per device.
//!
//! It must not know what a box looks for. `nfq` gives no descriptor to wait on, so an idle queue is looked at about a
//! thousand times a second.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nfq::{Message, Queue, Verdict};
use socket2::{Domain, Protocol, Socket, Type};

use crate::topology::device::inspect::{Fate, Inspector, Tally};

/// Packets that the kernel keeps for us at most; more are lost.
const LENGTH: u32 = 4096;
/// How long an idle queue is left alone, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(1));
/// After this long without a packet a queue is idle.
const LULL: Duration = Duration::from_millis(100);

/// One device's place in the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The queue's number in its namespace.
    pub(super) number: u16,
    /// The mark that says: this device has seen the packet, or made it.
    pub(super) mark: u32,
    /// How much of each packet the device needs.
    pub(super) copied: u16,
}

/// A queue that is bound and not yet served, and the sockets for packets of the device's own.
pub(super) struct Bound {
    queue: Queue,
    place: Place,
    raw_v4: Socket,
    raw_v6: Socket,
}

/// Binds in the namespace of the calling thread.
pub(super) fn bind(place: Place) -> io::Result<Bound> {
    let mut queue = Queue::open()?;
    queue.bind(place.number)?;
    queue.set_copy_range(place.number, place.copied)?;
    queue.set_queue_max_len(place.number, LENGTH)?;
    queue.set_nonblocking(true);
    // Protocol 255 means: the header comes with the packet, raw(7).
    let raw = |domain| -> io::Result<Socket> {
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(255)))?;
        socket.set_mark(place.mark)?;
        Ok(socket)
    };
    Ok(Bound {
        queue,
        place,
        raw_v4: raw(Domain::IPV4)?,
        raw_v6: raw(Domain::IPV6)?,
    })
}

impl Bound {
    /// Serves until told to stop.
    pub(super) fn serve(
        mut self,
        mut inspector: Box<dyn Inspector>,
        tally: &Tally,
        stop: &Arc<AtomicBool>,
    ) {
        let mut held: VecDeque<(Instant, Message)> = VecDeque::new();
        let mut last = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            while held.front().is_some_and(|(due, _)| *due <= now) {
                if let Some((_, message)) = held.pop_front() {
                    self.go_on(message, tally);
                }
            }
            match self.queue.recv() {
                Ok(message) => {
                    last = now;
                    self.decide(message, inspector.as_mut(), tally, &mut held);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        tally.failed();
                    }
                    let pause = if now - last < LULL {
                        PAUSES.0
                    } else {
                        PAUSES.1
                    };
                    let due = held.front().map(|(due, _)| due.duration_since(now));
                    sleep(due.map_or(pause, |due| due.min(pause)));
                }
            }
        }
        for (_, message) in held {
            self.go_on(message, tally);
        }
    }

    fn decide(
        &mut self,
        mut message: Message,
        inspector: &mut dyn Inspector,
        tally: &Tally,
        held: &mut VecDeque<(Instant, Message)>,
    ) {
        tally.seen();
        let mut forged = Vec::new();
        let fate = inspector.inspect(message.get_payload(), &mut forged, tally);
        for packet in forged {
            match self.send(&packet) {
                Ok(()) => tally.forged(),
                Err(_) => tally.failed(),
            }
        }
        match fate {
            Fate::Pass => self.go_on(message, tally),
            Fate::Replace(packet) => {
                tally.changed();
                message.set_payload(packet);
                self.go_on(message, tally);
            }
            Fate::Swallow => {
                tally.swallowed();
                message.set_verdict(Verdict::Drop);
                self.tell(message, tally);
            }
            Fate::Late(delay) => held.push_back((Instant::now() + delay, message)),
        }
    }

    /// Lets the packet go through the same hook again, marked, so that a second device there sees it too: a plain
    /// acceptance would skip the chain's further rules.
    fn go_on(&mut self, mut message: Message, tally: &Tally) {
        message.set_nfmark(message.get_nfmark() | self.place.mark);
        message.set_verdict(Verdict::Repeat);
        self.tell(message, tally);
    }

    fn tell(&mut self, message: Message, tally: &Tally) {
        if self.queue.verdict(message).is_err() {
            tally.failed();
        }
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        let four = packet.first().is_some_and(|first| first >> 4 == 4);
        let (socket, range) = if four {
            (&self.raw_v4, 16..20)
        } else {
            (&self.raw_v6, 24..40)
        };
        let octets = packet.get(range).unwrap_or_default();
        let address = <[u8; 4]>::try_from(octets)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
            .map_err(io::Error::other)?;
        socket.send_to(packet, &SocketAddr::new(address, 0).into())?;
        Ok(())
    }
}
