//! What an address says by its bits alone: private ranges, common prefixes, and what is left of one that is shortened.
//!
//! It must not know whose an address is.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits that are kept of an IPv4 address that is shortened.
pub const SHORTENED_V4: u8 = 24;
/// Bits that are kept of an IPv6 address that is shortened.
pub const SHORTENED_V6: u8 = 48;

/// Whether it lies in the space that a provider shares with its customers (RFC 6598).
#[must_use]
pub const fn is_shared(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
}

/// Whether it belongs to a network that the world does not route to: RFC 1918, RFC 6598, RFC 3927, RFC 4193 and
/// link-local. Loopback is no network, and an IPv4-mapped address is taken as IPv6.
#[must_use]
pub const fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || is_shared(address),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Whether two addresses of one family agree in their first bits; a length beyond the family's means all of them.
#[must_use]
pub fn shares_prefix(a: IpAddr, b: IpAddr, length: u8) -> bool {
    let agreeing = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    agreeing >= u32::from(length.min(if a.is_ipv4() { 32 } else { 128 }))
}

/// The /24 or /48 that an address lies in; of an IPv4-mapped one, the mapped /24.
#[must_use]
pub fn shortened(address: IpAddr) -> IpAddr {
    let network = |v4: Ipv4Addr| {
        let [a, b, c, _] = v4.octets();
        Ipv4Addr::new(a, b, c, 0)
    };
    match address {
        IpAddr::V4(v4) => network(v4).into(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(mapped) => network(mapped).to_ipv6_mapped().into(),
            None => {
                let [a, b, c, ..] = v6.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_are_compared_within_a_family() {
        assert!(shares_prefix(ip("10.1.2.3"), ip("10.1.2.200"), 24));
        assert!(!shares_prefix(ip("10.1.2.3"), ip("10.1.3.3"), 24));
        assert!(shares_prefix(
            ip("2001:db8:1::1"),
            ip("2001:db8:1:9::2"),
            48
        ));
        assert!(!shares_prefix(ip("10.1.2.3"), ip("2001:db8::1"), 0));
        assert!(shares_prefix(ip("10.1.2.3"), ip("10.1.2.3"), 200));
        assert!(!shares_prefix(ip("10.1.2.3"), ip("10.1.2.2"), 200));
    }

    #[test]
    fn private_ranges() {
        for private in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.7.1",
            "169.254.1.1",
            "100.64.0.1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(is_private(ip(private)), "{private}");
        }
        for other in [
            "198.18.0.1",
            "100.128.0.1",
            "127.0.0.1",
            "::1",
            "2001:db8::1",
        ] {
            assert!(!is_private(ip(other)), "{other}");
        }
    }

    #[test]
    fn host_parts_are_cut() {
        for (whole, cut) in [
            ("192.0.2.57", "192.0.2.0"),
            ("2001:db8:1:2::3", "2001:db8:1::"),
            ("::ffff:192.0.2.57", "::ffff:192.0.2.0"),
        ] {
            assert_eq!(shortened(ip(whole)), ip(cut));
        }
    }
}
