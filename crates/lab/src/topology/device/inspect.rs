//! What a queue asks a box about each packet, what the box may answer, and what is counted.
//! It must not know netfilter or any box.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on as it is.
    Pass,
    /// This goes on in its place.
    Replace(Vec<u8>),
    /// It ends here.
    Swallow,
    /// It goes on, but later.
    Late(Duration),
}

/// A box that looks at packets.
pub(super) trait Inspector: Send {
    /// Decides about one packet. What is pushed to `forged` is sent before the packet goes on.
    fn inspect(&mut self, packet: &[u8], forged: &mut Vec<Vec<u8>>, tally: &Tally) -> Fate;
}

/// What a device has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets (for terminating boxes: connections) looked at.
    pub seen: u64,
    /// Packets that went on changed.
    pub changed: u64,
    /// Packets that went no further.
    pub swallowed: u64,
    /// Packets of its own that it sent.
    pub forged: u64,
    /// Changes that a box wanted and that could not be made in place. Zero unless a scenario is wrong.
    pub refused: u64,
    /// Packets that the kernel did not take back or send. Zero unless the lab is broken.
    pub failed: u64,
}

/// The counts, while the device works.
#[derive(Debug, Default)]
pub(super) struct Tally {
    seen: AtomicU64,
    changed: AtomicU64,
    swallowed: AtomicU64,
    forged: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    pub(super) fn seen(&self) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn changed(&self) {
        self.changed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn swallowed(&self) {
        self.swallowed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn forged(&self) {
        self.forged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            seen: read(&self.seen),
            changed: read(&self.changed),
            swallowed: read(&self.swallowed),
            forged: read(&self.forged),
            refused: read(&self.refused),
            failed: read(&self.failed),
        }
    }
}
