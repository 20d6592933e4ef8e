//! The party that a line names: `mx.example[192.0.2.1]:25`, `mx.example [192.0.2.1]`, `[::1]:25`, `host:25`.
//!
//! It must not know why a line names it.

use core::net::IpAddr;

/// A named party, as far as it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Peer<'a> {
    /// The name; empty where only an address is given.
    pub(super) host: &'a str,
    /// The address.
    pub(super) address: Option<IpAddr>,
    /// The port.
    pub(super) port: Option<u16>,
}

/// The first party with an address in brackets, as mail logs write it; and the text behind it.
pub(super) fn bracketed(text: &str) -> Option<(Peer<'_>, &str)> {
    let mut from = 0;
    // A log line has few brackets; more than this are somebody else's.
    for _ in 0..8 {
        let open = from + text.get(from..)?.find('[')?;
        let (inside, rest) = text.get(open + 1..)?.split_once(']')?;
        let Ok(address) = inside.strip_prefix("IPv6:").unwrap_or(inside).parse() else {
            from = open + 1;
            continue;
        };
        let before = text.get(..open)?.trim_end();
        let host = before
            .rsplit([' ', '=', '(', ',', '<', '\t'])
            .next()
            .unwrap_or_default();
        let (port, rest) = port_behind(rest);
        return Some((
            Peer {
                host: name(host),
                address: Some(address),
                port,
            },
            rest,
        ));
    }
    None
}

/// `host:25`, `host`, `192.0.2.1:25`, `[::1]:25`, as a person types it.
pub(super) fn typed(text: &str) -> Option<Peer<'_>> {
    let text = text.trim_matches(['\'', '"']);
    let text = text
        .split_once("://")
        .map_or(text, |(_, rest)| rest)
        .trim_end_matches('/');
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) = inside.split_once(']')?;
        return Some(Peer {
            host: "",
            address: Some(address.parse().ok()?),
            port: port_behind(rest).0,
        });
    }
    if let Ok(address) = text.parse() {
        return Some(Peer {
            host: "",
            address: Some(address),
            port: None,
        });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    let host = host.trim_end_matches('.');
    if let Ok(address) = host.parse() {
        return Some(Peer {
            host: "",
            address: Some(address),
            port,
        });
    }
    (!name(host).is_empty()).then_some(Peer {
        host,
        address: None,
        port,
    })
}

fn port_behind(rest: &str) -> (Option<u16>, &str) {
    let Some(digits) = rest.strip_prefix(':') else {
        return (None, rest);
    };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (port, behind) = digits.split_at(length);
    port.parse()
        .map_or((None, rest), |port| (Some(port), behind))
}

/// A host name, or nothing: logs write `unknown` where they have none.
fn name(word: &str) -> &str {
    let word = word.trim_end_matches('.');
    let plausible = !word.is_empty()
        && word.len() <= 253
        && word != "unknown"
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if plausible { word } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_as_logs_write_them() {
        for (text, host, address, port, rest) in [
            (
                "to mx.example[192.0.2.1]:25: TLSv1.2",
                "mx.example",
                "192.0.2.1",
                Some(25),
                ": TLSv1.2",
            ),
            (
                "postfix/smtp[99]: to mx.example[2001:db8::1]:25",
                "mx.example",
                "2001:db8::1",
                Some(25),
                "",
            ),
            (
                "H=mx.example [192.0.2.1] X=TLS",
                "mx.example",
                "192.0.2.1",
                None,
                " X=TLS",
            ),
            ("from unknown[192.0.2.9]", "", "192.0.2.9", None, ""),
        ] {
            let (peer, behind) = bracketed(text).unwrap();
            assert_eq!((peer.host, peer.port, behind), (host, port, rest), "{text}");
            assert_eq!(peer.address, Some(address.parse().unwrap()), "{text}");
        }
        assert_eq!(bracketed("postfix/smtp[99]: nothing"), None);
    }

    #[test]
    fn parties_as_people_type_them() {
        assert_eq!(
            typed("mx.example:25").unwrap(),
            Peer {
                host: "mx.example",
                address: None,
                port: Some(25)
            }
        );
        assert_eq!(typed("smtp://mx.example").unwrap().host, "mx.example");
        assert_eq!(typed("[::1]:2525").unwrap().port, Some(2525));
        assert_eq!(
            typed("192.0.2.1:25").unwrap().address,
            Some("192.0.2.1".parse().unwrap())
        );
        assert_eq!(typed("::1").unwrap().address, Some("::1".parse().unwrap()));
        assert_eq!(typed("not a host"), None);
    }
}
