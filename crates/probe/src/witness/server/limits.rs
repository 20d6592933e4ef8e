//! How much of a public witness one address, and everybody together, may have.

use std::{net::IpAddr, time::Duration};

/// The bounds. An address is a whole IPv4 address or an IPv6 /64, which is what one customer has.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections of everybody: well below the usual 1024 descriptors.
    pub connections: u32,
    /// Open connections of one address: one session's at a time, and a neighbour's behind the same NAT.
    pub connections_per_address: u32,
    /// New connections of one address in a minute.
    pub connections_per_minute: u32,
    /// Open sessions of everybody.
    pub sessions: u32,
    /// Open sessions of one address: several people behind one NAT.
    pub sessions_per_address: u32,
    /// How long a session stands.
    pub session: Duration,
    /// Connections of one session that are kept.
    pub connections_per_session: u16,
    /// Bytes of one session that are kept, all its connections together.
    pub bytes_per_session: usize,
    /// Bytes that one mail connection may send.
    pub bytes_per_connection: u64,
    /// How long one connection may last.
    pub connection: Duration,
    /// How long a connection may say nothing.
    pub silence: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a report waits for connections that are just closing.
    pub closing: Duration,
    /// Looks at other servers in a minute, for everybody.
    pub looks: usize,
    /// Looks in a minute for one address.
    pub looks_per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 400,
            connections_per_address: 32,
            connections_per_minute: 150,
            sessions: 100,
            sessions_per_address: 8,
            session: Duration::from_secs(300),
            connections_per_session: 48,
            bytes_per_session: 1 << 20,
            bytes_per_connection: 64 << 10,
            connection: Duration::from_secs(120),
            silence: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            closing: Duration::from_millis(1500),
            looks: 30,
            looks_per_address: 6,
        }
    }
}

/// Whom a limit counts: an IPv4 address, or the first 64 bits of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Neighbourhood(u128, bool);

impl From<IpAddr> for Neighbourhood {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_bits().into(), false),
            IpAddr::V6(address) => Self(address.to_bits() >> 64, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours() {
        let of = |text: &str| Neighbourhood::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("::"), of("0.0.0.0"));
    }
}
