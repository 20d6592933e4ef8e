//! Which connection a segment belongs to and which way it travels, and a bounded memory of connections.
//! It must not know what anybody does with them.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::topology::device::packet::Segment;
use crate::topology::device::spec::Direction;

/// Connections remembered at most, per box; the longest unused makes room.
const MEMORY: usize = 2048;

/// Which way a segment travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    ToServer,
    ToClient,
}

impl Heading {
    /// Whether `direction` includes it.
    pub(super) fn within(self, direction: Direction) -> bool {
        match direction {
            Direction::Both => true,
            Direction::ToServer => self == Self::ToServer,
            Direction::ToClient => self == Self::ToClient,
        }
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

/// Reads a segment's ends by the server's `ports`. `None` when neither end has one of them.
pub(super) fn ends(segment: &Segment, ports: &[u16]) -> Option<(Ends, Heading)> {
    let answers = segment.acknowledged.is_some() && segment.has(super::packet::flag::SYN);
    let to_server = ports.contains(&segment.destination.port());
    let to_client = ports.contains(&segment.source.port());
    match (to_server, to_client) {
        (true, other) if !(other && answers) => Some((
            Ends {
                client: segment.source,
                server: segment.destination,
            },
            Heading::ToServer,
        )),
        (_, true) => Some((
            Ends {
                client: segment.destination,
                server: segment.source,
            },
            Heading::ToClient,
        )),
        _ => None,
    }
}

/// What is remembered of each connection.
pub(super) struct Flows<T> {
    known: HashMap<Ends, Known<T>>,
    clock: u64,
}

struct Known<T> {
    state: T,
    used: u64,
}

impl<T> Flows<T> {
    pub(super) fn new() -> Self {
        Self {
            known: HashMap::new(),
            clock: 0,
        }
    }

    /// The state of this connection, made anew when it is not known or `anew` says that it is another one.
    ///
    /// A box before a NAT in its own node meets the two directions with different client addresses; the NAT of the lab
    /// keeps ports, so an unknown segment from a server belongs to whoever has the same port with that server.
    pub(super) fn of(
        &mut self,
        ends: Ends,
        heading: Heading,
        anew: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> &mut T {
        self.clock += 1;
        let key = self.key(ends, heading);
        if self.known.get(&key).is_some_and(|known| anew(&known.state)) {
            self.known.remove(&key);
        }
        if self.known.len() >= MEMORY && !self.known.contains_key(&key) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used);
            if let Some(oldest) = oldest.map(|(ends, _)| *ends) {
                self.known.remove(&oldest);
            }
        }
        let known = self.known.entry(key).or_insert_with(|| Known {
            state: make(),
            used: 0,
        });
        known.used = self.clock;
        &mut known.state
    }

    fn key(&self, ends: Ends, heading: Heading) -> Ends {
        if heading == Heading::ToServer || self.known.contains_key(&ends) {
            return ends;
        }
        let behind_nat = self
            .known
            .iter()
            .filter(|(known, _)| {
                known.server == ends.server && known.client.port() == ends.client.port()
            })
            .max_by_key(|(_, known)| known.used);
        behind_nat.map_or(ends, |(known, _)| *known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::device::packet::{flag, tests as made};

    fn read(ends_of: (SocketAddr, SocketAddr), flags: u8, acknowledged: Option<u32>) -> Segment {
        Segment::read(&made::packet(ends_of, flags, 1, acknowledged, b"")).expect("a segment")
    }

    #[test]
    fn the_ports_tell_the_heading() {
        let (client, server) = made::v4();
        let there = ends(&read((client, server), 0, None), &[25]);
        let back = ends(&read((server, client), 0, None), &[25]);
        assert_eq!(there, Some((Ends { client, server }, Heading::ToServer)));
        assert_eq!(back, Some((Ends { client, server }, Heading::ToClient)));
        assert_eq!(ends(&read((client, server), 0, None), &[587]), None);
    }

    #[test]
    fn between_two_servers_the_one_that_answers_syn_is_the_server() {
        let one = "198.18.1.2:25".parse().expect("an address");
        let other = "198.18.9.2:25".parse().expect("an address");
        let answer = read((other, one), flag::SYN, Some(5));
        assert_eq!(
            ends(&answer, &[25]),
            Some((
                Ends {
                    client: one,
                    server: other
                },
                Heading::ToClient
            ))
        );
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_longest_unused() {
        let server = made::v4().1;
        let client = |port| SocketAddr::new(made::v4().0.ip(), port);
        let mut flows = Flows::new();
        let mut of = |port: u16, fresh: u32| {
            let ends = Ends {
                client: client(port),
                server,
            };
            *flows.of(ends, Heading::ToServer, |_| false, || fresh)
        };
        for port in 0..u16::try_from(MEMORY).expect("small") {
            of(port, 1);
        }
        assert_eq!(of(0, 2), 1);
        of(60_000, 1);
        assert_eq!(of(0, 2), 1, "the one just used stays");
        assert_eq!(of(1, 2), 2, "the longest unused went");
        assert_eq!(flows.known.len(), MEMORY);
    }

    #[test]
    fn a_nat_in_the_same_node_does_not_part_the_directions() {
        let (client, server) = made::v4();
        let public = SocketAddr::new("198.18.3.1".parse().expect("an address"), client.port());
        let mut flows = Flows::new();
        flows.of(Ends { client, server }, Heading::ToServer, |_| false, || 7);
        let back = flows.of(
            Ends {
                client: public,
                server,
            },
            Heading::ToClient,
            |_| false,
            || 8,
        );
        assert_eq!(*back, 7);
    }
}
