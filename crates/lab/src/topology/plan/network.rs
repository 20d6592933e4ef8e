//! The autonomous systems of the lab and their addresses. All public ones come from 198.18.0.0/15 (RFC 2544, benchmarking)
//! and 2001:db8::/32 (RFC 3849); the documentation prefixes of RFC 5737 stay free, because the program under test uses them
//! as addresses where nobody can be. It must not know who stands where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An autonomous system of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// The client's access network.
    Isp,
    /// A mobile carrier: the second access network.
    Carrier,
    /// Between them and the servers.
    Transit,
    /// The checked server's.
    Server,
    /// The witness's hoster.
    Witness,
    /// A big provider that offers encryption without fail.
    Control,
}

impl Network {
    /// Every network.
    pub const ALL: [Self; 6] = [
        Self::Isp,
        Self::Carrier,
        Self::Transit,
        Self::Server,
        Self::Witness,
        Self::Control,
    ];

    /// 1 to 6.
    fn ordinal(self) -> u8 {
        match self {
            Self::Isp => 1,
            Self::Carrier => 2,
            Self::Transit => 3,
            Self::Server => 4,
            Self::Witness => 5,
            Self::Control => 6,
        }
    }

    /// The autonomous system's number, from those for documentation (RFC 5398).
    pub fn number(self) -> u32 {
        64500 + u32::from(self.ordinal())
    }

    /// The name in the prefix table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Isp => "LAB-ISP",
            Self::Carrier => "LAB-MOBILE",
            Self::Transit => "LAB-TRANSIT",
            Self::Server => "LAB-MAIL",
            Self::Witness => "LAB-WITNESS",
            Self::Control => "LAB-CLEAN",
        }
    }

    /// Its prefixes, IPv4 (a /20) and IPv6 (a /48).
    pub fn prefixes(self) -> [(IpAddr, u8); 2] {
        let v4 = Ipv4Addr::new(198, 18, self.ordinal() * 16, 0);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, self.group(), 0, 0, 0, 0, 0);
        [(v4.into(), 20), (v6.into(), 48)]
    }

    /// Written so that the AS number can be read in the address.
    fn group(self) -> u16 {
        0x4500 + u16::from(self.ordinal())
    }

    /// The `n`-th link's networks.
    pub(super) fn link(self, n: u8) -> Net {
        Net {
            v4: Ipv4Addr::new(198, 18, self.ordinal() * 16 + n, 0),
            v6: Ipv6Addr::new(0x2001, 0xdb8, self.group(), n.into(), 0, 0, 0, 0),
        }
    }
}

/// A link's prefixes: a /24 and a /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// The /24.
    pub v4: Ipv4Addr,
    /// The /64.
    pub v6: Ipv6Addr,
}

impl Net {
    /// The host `n` of this link, in both families.
    pub(super) fn host(self, n: u8) -> (Ipv4Addr, Ipv6Addr) {
        let [a, b, c, _] = self.v4.octets();
        let mut groups = self.v6.segments();
        // Written alike: .25 and ::25.
        groups[7] = u16::from(n / 10) * 16 + u16::from(n % 10);
        (Ipv4Addr::new(a, b, c, n), Ipv6Addr::from(groups))
    }
}
