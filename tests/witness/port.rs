//! Port numbers for servers that cannot be told "any". The kernel never hands out a number below 32768 on its own,
//! and our processes keep out of each other's way by holding the same number on a second loopback address.

use std::net::{Ipv4Addr, TcpListener};

/// A number that no cooperating process uses on 127.0.0.1 while this value lives.
pub(crate) struct Port {
    number: u16,
    _claim: TcpListener,
}

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;
const CLAIMS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

impl Port {
    pub(crate) fn claim() -> Self {
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        let numbers = (0..COUNT).map(|step| FIRST + (start + step) % COUNT);
        for number in numbers {
            let Ok(claim) = TcpListener::bind((CLAIMS, number)) else {
                continue;
            };
            // Somebody else's server may sit there; bound and let go at once, the number stays ours by the claim.
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self {
                    number,
                    _claim: claim,
                };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
