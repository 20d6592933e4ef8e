//! Whether what is sent arrives at all. A program that hangs leaves that to its host, which acknowledges; what nobody
//! acknowledges, however often the kernel sends it again, was lost on its way or taken from it.
//!
//! Where the system does not tell (it does on Linux), everything counts as arrived. It must not know what was sent.

use std::{os::fd::OwnedFd, time::Duration};

use hoofbeat_net::{Clock, sys};
use tokio::net::TcpStream;

/// Bytes that nobody acknowledged for so long, though they were sent again so often, do not arrive: a path that loses
/// every third packet loses five in a row once in 240 times, and one that breaks for so long is broken.
const LONG: Duration = Duration::from_secs(5);
const SENT_AGAIN: u32 = 4;

/// How often the kernel is asked.
const LOOK: Duration = Duration::from_millis(500);

/// What the kernel knows of one connection's latest bytes.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The connection's socket once more: the first is somebody else's to read and write.
    socket: OwnedFd,
    clock: Clock,
    sent: Duration,
    retransmitted: u32,
}

impl Delivery {
    /// None where the system has no descriptor to spare.
    pub(crate) fn of(stream: &TcpStream, clock: Clock) -> Option<Self> {
        use std::os::fd::AsFd as _;
        let socket = stream.as_fd().try_clone_to_owned().ok()?;
        let mut delivery = Self {
            socket,
            clock,
            sent: Duration::ZERO,
            retransmitted: 0,
        };
        delivery.begins();
        Some(delivery)
    }

    /// Something is about to be sent.
    pub(crate) fn begins(&mut self) {
        self.sent = self.clock.now();
        self.retransmitted = self.state().retransmitted;
    }

    /// Waits until what was sent last is known not to arrive: for ever, where it does.
    pub(crate) async fn fails(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let state = self.state();
            let again = state.retransmitted.saturating_sub(self.retransmitted);
            let waited = self.clock.now().saturating_sub(self.sent);
            if state.unacknowledged > 0 && again >= SENT_AGAIN && waited >= LONG {
                return;
            }
        }
    }

    fn state(&self) -> sys::TcpState {
        sys::tcp_state(&self.socket).unwrap_or_default()
    }
}

/// [`Delivery::fails`], where there is one.
pub(crate) async fn fails(delivery: Option<&Delivery>) {
    match delivery {
        Some(delivery) => delivery.fails().await,
        None => std::future::pending().await,
    }
}
