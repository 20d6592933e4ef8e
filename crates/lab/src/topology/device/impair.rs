//! Delay and loss for everything that a node forwards, in place of the kernel's netem. The same seed and the same
//! conversation lose the same packets: the choice hangs on a packet's place in its connection, not on a clock.
//!
//! It must not know netfilter.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::topology::device::inspect::{Fate, Inspector, Tally};
use crate::topology::device::packet::Segment;
use crate::topology::device::spec::ImpairSpec;

/// The longest delay, milliseconds.
const LONGEST: u16 = 2000;
/// Directions of connections remembered; then counting begins anew.
const MEMORY: usize = 8192;
/// How many octets of a packet are enough to tell its connection: IPv6 and TCP with their longest usual headers.
pub(super) const HEAD: u16 = 160;

/// The impaired link.
pub(super) struct Impaired {
    delay: Duration,
    loss: u64,
    seed: u64,
    /// For each direction of a connection: which one it is, and how many packets it had.
    known: HashMap<(SocketAddr, SocketAddr), (u64, u64)>,
    directions: u64,
    others: u64,
}

impl Impaired {
    pub(super) fn new(spec: ImpairSpec) -> Self {
        Self {
            delay: Duration::from_millis(spec.delay_ms.min(LONGEST).into()),
            loss: spec.loss_percent.min(100).into(),
            seed: spec.seed,
            known: HashMap::new(),
            directions: 0,
            others: 0,
        }
    }

    /// The packet's place in its connection, as two numbers.
    fn place(&mut self, packet: &[u8]) -> (u64, u64) {
        let Some(segment) = Segment::read(packet) else {
            self.others += 1;
            return (u64::MAX, self.others);
        };
        if self.known.len() >= MEMORY {
            self.known.clear();
        }
        let directions = &mut self.directions;
        let key = (segment.source, segment.destination);
        let (which, count) = self.known.entry(key).or_insert_with(|| {
            *directions += 1;
            (*directions, 0)
        });
        *count += 1;
        (*which, *count)
    }
}

impl Inspector for Impaired {
    fn inspect(&mut self, packet: &[u8], _forged: &mut Vec<Vec<u8>>, _tally: &Tally) -> Fate {
        let (which, count) = self.place(packet);
        if mixed(self.seed ^ mixed(which ^ mixed(count))) % 100 < self.loss {
            return Fate::Swallow;
        }
        if self.delay.is_zero() {
            Fate::Pass
        } else {
            Fate::Late(self.delay)
        }
    }
}

/// Spreads a number over all of 64 bits (the finaliser of SplitMix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::device::packet::tests as made;

    fn lost(seed: u64, loss_percent: u8, packets: u32) -> Vec<bool> {
        let mut impaired = Impaired::new(ImpairSpec {
            delay_ms: 5,
            loss_percent,
            seed,
        });
        (0..packets)
            .map(|number| {
                let packet = made::packet(made::v4(), 0, number, None, b"NOOP\r\n");
                match impaired.inspect(&packet, &mut Vec::new(), &Tally::default()) {
                    Fate::Swallow => true,
                    fate => {
                        assert_eq!(fate, Fate::Late(Duration::from_millis(5)));
                        false
                    }
                }
            })
            .collect()
    }

    #[test]
    fn the_same_seed_loses_the_same_packets() {
        assert_eq!(lost(7, 10, 500), lost(7, 10, 500));
        assert_ne!(lost(7, 10, 500), lost(8, 10, 500));
    }

    #[test]
    fn about_as_many_are_lost_as_were_asked() {
        for (percent, expected) in [(0, 0..=0), (5, 300..=700), (100, 10_000..=10_000)] {
            let count = lost(3, percent, 10_000)
                .into_iter()
                .filter(|lost| *lost)
                .count();
            assert!(
                expected.contains(&count),
                "{count} of 10,000 at {percent} %"
            );
        }
    }

    #[test]
    fn a_cut_packet_is_enough_to_tell_the_connection() {
        let mut impaired = Impaired::new(ImpairSpec::default());
        let packet = made::packet(made::v6(), 0, 1, None, &[b'x'; 1000]);
        impaired.place(&packet[..usize::from(HEAD)]);
        assert_eq!(impaired.place(&packet), (1, 2));
        assert_eq!(impaired.place(b"\x45 no packet").0, u64::MAX);
    }
}
