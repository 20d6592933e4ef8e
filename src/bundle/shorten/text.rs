//! Addresses written in text: found in the forms in which mail servers and reverse names write them, and cut
//! without changing the text's length, so that every offset into it still holds.
//!
//! `[192.0.2.57]` becomes `[192.0.2.00]`, `dsl-192-0-2-57` becomes `dsl-192-0-2-00`, `IPv6:2001:db8:1:2::57`
//! becomes `IPv6:2001:db8:1:0::00`. It must not know which addresses are meant: it is told by a predicate.

use hoofbeat_observation::address::shortened;
use std::{
    net::{IpAddr, Ipv6Addr},
    ops::Range,
};

/// Longest text form of an address (RFC 4291 §2.2, with an IPv4 tail).
const LONGEST: usize = 45;
/// Groups of an IPv6 address that a /48 keeps.
const KEPT_GROUPS: usize = 3;

/// An address in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Which.
    pub(super) address: IpAddr,
    /// Where it stands.
    pub(super) at: Range<usize>,
    /// The digits that do not survive.
    hidden: Vec<Range<usize>>,
}

impl Found {
    /// What may stand in its place where lengths do not matter: an address stays one that can be read.
    pub(super) fn written_short(&self, text: &str) -> String {
        let written = text.get(self.at.clone()).unwrap_or_default();
        if written.parse::<IpAddr>().is_ok() {
            return shortened(self.address).to_string();
        }
        let mut bytes = written.as_bytes().to_vec();
        for range in &self.hidden {
            let range = range.start - self.at.start..range.end - self.at.start;
            if let Some(digits) = bytes.get_mut(range) {
                digits.fill(b'0');
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Every address in `text` that `is_meant`, from the left.
pub(super) fn find(text: &[u8], is_meant: &dyn Fn(IpAddr) -> bool) -> Vec<Found> {
    let mut found = version_4(text, is_meant);
    found.extend(version_6(text, is_meant));
    found.sort_by_key(|one| one.at.start);
    found
}

/// Cuts every address that `is_meant`; the length stays. Returns whether there was one.
pub(super) fn cut(text: &mut [u8], is_meant: &dyn Fn(IpAddr) -> bool) -> bool {
    let found = find(text, is_meant);
    for range in found.iter().flat_map(|one| &one.hidden) {
        if let Some(digits) = text.get_mut(range.clone()) {
            digits.fill(b'0');
        }
    }
    !found.is_empty()
}

/// Four numbers with one kind of separator, in either order: reverse names turn them round.
fn version_4(text: &[u8], is_meant: &dyn Fn(IpAddr) -> bool) -> Vec<Found> {
    let mut numbers: Vec<Range<usize>> = Vec::new();
    let mut from = None;
    for (at, byte) in text.iter().chain(b" ").enumerate() {
        match (byte.is_ascii_digit(), from) {
            (true, None) => from = Some(at),
            (false, Some(start)) => {
                numbers.push(start..at);
                from = None;
            }
            _ => {}
        }
    }
    let value = |range: &Range<usize>| -> Option<u8> {
        let digits = text.get(range.clone())?;
        (digits.len() <= 3)
            .then(|| std::str::from_utf8(digits).ok()?.parse().ok())
            .flatten()
    };
    let separator = |a: &Range<usize>, b: &Range<usize>| {
        let between = *text.get(a.end)?;
        (a.end + 1 == b.start && matches!(between, b'.' | b'-')).then_some(between)
    };
    let mut found: Vec<Found> = Vec::new();
    for window in numbers.windows(4) {
        let [a, b, c, d] = window else { continue };
        let between = [separator(a, b), separator(b, c), separator(c, d)];
        if between[0].is_none() || between.iter().any(|one| *one != between[0]) {
            continue;
        }
        let (Some(w), Some(x), Some(y), Some(z)) = (value(a), value(b), value(c), value(d)) else {
            continue;
        };
        let forward = IpAddr::from([w, x, y, z]);
        let backward = IpAddr::from([z, y, x, w]);
        let (address, hidden) = if is_meant(forward) {
            (forward, d)
        } else if is_meant(backward) {
            (backward, a)
        } else {
            continue;
        };
        found.push(Found {
            address,
            at: a.start..d.end,
            hidden: vec![hidden.clone()],
        });
    }
    found
}

/// Runs of hexadecimal digits, colons and dots: the longest part of each that reads as an address which is meant.
fn version_6(text: &[u8], is_meant: &dyn Fn(IpAddr) -> bool) -> Vec<Found> {
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let length = text
            .iter()
            .skip(at)
            .take_while(|byte| is_part(byte))
            .count();
        let run = at..at + length;
        at = run.end + 1;
        let mut from = run.start;
        while let Some(one) = longest(text, from..run.end, is_meant) {
            from = one.at.end;
            found.push(one);
        }
    }
    found
}

fn longest(text: &[u8], run: Range<usize>, is_meant: &dyn Fn(IpAddr) -> bool) -> Option<Found> {
    let is_edge = |at: usize| {
        at == run.start
            || at == run.end
            || [at.checked_sub(1), Some(at)]
                .into_iter()
                .flatten()
                .any(|near| matches!(text.get(near), Some(b':' | b'.')))
    };
    for start in run.clone().filter(|at| is_edge(*at)) {
        let furthest = run.end.min(start + LONGEST);
        for end in (start + 2..=furthest).rev().filter(|at| is_edge(*at)) {
            let Some(written) = text
                .get(start..end)
                .and_then(|part| std::str::from_utf8(part).ok())
            else {
                continue;
            };
            let Ok(address) = written.parse::<Ipv6Addr>() else {
                continue;
            };
            let address = address.to_canonical();
            if is_meant(address) {
                return Some(Found {
                    address,
                    at: start..end,
                    hidden: hidden_groups(written, start),
                });
            }
        }
    }
    None
}

/// The digits of an IPv6 address behind its first 48 bits; of an embedded IPv4 address the last number.
fn hidden_groups(written: &str, start: usize) -> Vec<Range<usize>> {
    if let Some(last) = written.rfind('.') {
        let octet = start + last + 1..start + written.len();
        return Vec::from([octet]);
    }
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    let mut gap = None;
    for part in written.split(':') {
        if part.is_empty() {
            gap.get_or_insert(groups.len());
        } else {
            groups.push(start + from..start + from + part.len());
        }
        from += part.len() + 1;
    }
    let total = groups.len();
    groups
        .into_iter()
        .enumerate()
        .filter(|(index, _)| {
            // Behind `::` groups count from the end.
            let position = match gap {
                Some(gap) if *index >= gap => 8_usize.saturating_sub(total - index),
                _ => *index,
            };
            position >= KEPT_GROUPS
        })
        .map(|(_, range)| range)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut_all(text: &str, addresses: &[&str]) -> String {
        let meant: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let mut bytes = text.as_bytes().to_vec();
        cut(&mut bytes, &|address| meant.contains(&address));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn forms_of_mail_servers_and_reverse_names() {
        let meant = ["192.0.2.57", "2001:db8:1:2::57", "2001:db8::9"];
        for (text, wanted) in [
            ("EHLO [192.0.2.57]\r\n", "EHLO [192.0.2.00]\r\n"),
            (
                "250 mx Hello dsl-192-0-2-57.isp.example [192.0.2.57], pleased",
                "250 mx Hello dsl-192-0-2-00.isp.example [192.0.2.00], pleased",
            ),
            ("57.2.0.192.in-addr.arpa", "00.2.0.192.in-addr.arpa"),
            (
                "192.0.2.58 192.0.2.5 192.0.2.571",
                "192.0.2.58 192.0.2.5 192.0.2.571",
            ),
            (
                "EHLO [IPv6:2001:db8:1:2::57]",
                "EHLO [IPv6:2001:db8:1:0::00]",
            ),
            ("[2001:0DB8:1:2:0:0:0:57]:25", "[2001:0DB8:1:0:0:0:0:00]:25"),
            ("from 2001:db8::9: ok", "from 2001:db8::0: ok"),
            ("::ffff:192.0.2.57", "::ffff:192.0.2.00"),
            ("at 12:30:45 nothing", "at 12:30:45 nothing"),
            ("192.0-2.57", "192.0-2.57"),
        ] {
            assert_eq!(cut_all(text, &meant), wanted);
        }
    }

    proptest! {
        #[test]
        fn no_address_survives_and_no_length_changes(before in "[ -~]{0,12}", octets: [u8; 4], after in "[^0-9a-f.:-][ -~]{0,9}") {
            let address = IpAddr::from(octets);
            let mut text = format!("{before} {address}{after}").into_bytes();
            let length = text.len();
            prop_assert!(cut(&mut text, &|one| one == address));
            prop_assert_eq!(text.len(), length);
            if octets[3] != 0 && octets[0] != 0 {
                prop_assert!(find(&text, &|one| one == address).is_empty());
            }
        }

        #[test]
        fn any_bytes_are_borne(mut bytes: Vec<u8>) {
            cut(&mut bytes, &|_| true);
        }

        #[test]
        fn version_6_keeps_its_first_forty_eight_bits(segments: [u16; 8]) {
            let address = Ipv6Addr::from(segments);
            prop_assume!(address.to_ipv4_mapped().is_none());
            let mut text = format!("[IPv6:{address}]").into_bytes();
            cut(&mut text, &|one| one == IpAddr::from(address));
            let inner = std::str::from_utf8(&text[6..text.len() - 1]).unwrap();
            let mut kept = segments;
            kept[3..].fill(0);
            prop_assert_eq!(inner.parse::<Ipv6Addr>().unwrap(), Ipv6Addr::from(kept));
        }
    }
}
