//! By which way a connection goes: directly, through a proxy, or out of a named interface.
//!
//! A route is what was meant; making the connection is `dial`'s. Credentials of a proxy stay in here:
//! [`Route`]'s text form leaves them out, because it is recorded.

use std::{fmt, net::IpAddr, str::FromStr};

/// The way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Route {
    /// As the operating system routes.
    #[default]
    Direct,
    /// Through a SOCKS5 proxy (RFC 1928, RFC 1929), which is given the pinned address.
    Socks5(Proxy),
    /// Through an HTTP proxy's CONNECT (RFC 9110 §9.3.6).
    HttpConnect(Proxy),
    /// Out of this network interface.
    Interface(String),
}

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User name and password, where it wants them.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Proxy({self}{})",
            if self.credentials.is_some() {
                ", with credentials"
            } else {
                ""
            }
        )
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Socks5(proxy) => write!(f, "socks5://{proxy}"),
            Self::HttpConnect(proxy) => write!(f, "http://{proxy}"),
            Self::Interface(name) => write!(f, "interface:{name}"),
        }
    }
}

/// Why a text is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The beginning is not known.
    #[error(
        "unknown route; known are direct, socks5://HOST:PORT, http://HOST:PORT and interface:NAME"
    )]
    Unknown,
    /// A proxy without a host, or with a port that is none.
    #[error("{0:?} is not the HOST:PORT of a proxy")]
    Proxy(String),
    /// An interface's name is 1 to 15 bytes without blanks or slashes.
    #[error("{0:?} is not the name of a network interface")]
    Interface(String),
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        if text.eq_ignore_ascii_case("direct") {
            return Ok(Self::Direct);
        }
        let (kind, rest) = text.split_once(':').ok_or(RouteError::Unknown)?;
        let after_slashes = rest.strip_prefix("//");
        match (kind.to_ascii_lowercase().as_str(), after_slashes) {
            ("socks5" | "socks5h", Some(rest)) => Ok(Self::Socks5(proxy(rest, 1080)?)),
            ("http", Some(rest)) => Ok(Self::HttpConnect(proxy(rest, 8080)?)),
            ("interface", name) => {
                let name = name.unwrap_or(rest);
                let good = (1..=15).contains(&name.len())
                    && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
                good.then(|| Self::Interface(name.to_owned()))
                    .ok_or_else(|| RouteError::Interface(name.to_owned()))
            }
            _ => Err(RouteError::Unknown),
        }
    }
}

fn proxy(text: &str, default_port: u16) -> Result<Proxy, RouteError> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (credentials, place) = match text.rsplit_once('@') {
        Some((credentials, place)) => {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            (
                Some((percent_decoded(user), percent_decoded(password))),
                place,
            )
        }
        None => (None, text),
    };
    // The message must not repeat a password, so it shows the place alone.
    let wrong = || RouteError::Proxy(place.to_owned());
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
        None => place.find(':').map_or((place, ""), |at| place.split_at(at)),
    };
    let port = match port {
        "" => default_port,
        port => port
            .strip_prefix(':')
            .and_then(|p| p.parse().ok())
            .filter(|&p| p != 0)
            .ok_or_else(wrong)?,
    };
    let good = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    if !good {
        return Err(wrong());
    }
    Ok(Proxy {
        host: host.to_owned(),
        port,
        credentials,
    })
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let code = tail.get(..2).filter(|_| *byte == b'%');
        let decoded = code
            .and_then(|c| std::str::from_utf8(c).ok())
            .and_then(|c| u8::from_str_radix(c, 16).ok());
        out.push(decoded.unwrap_or(*byte));
        rest = if decoded.is_some() {
            tail.get(2..).unwrap_or_default()
        } else {
            tail
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Which address families may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Families {
    /// Whatever the name has.
    #[default]
    Both,
    /// IPv4 alone (`-4`).
    OnlyV4,
    /// IPv6 alone (`-6`).
    OnlyV6,
}

impl Families {
    /// Whether an address may be used.
    #[must_use]
    pub const fn allow(self, address: IpAddr) -> bool {
        match self {
            Self::Both => true,
            Self::OnlyV4 => address.is_ipv4(),
            Self::OnlyV6 => address.is_ipv6(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn routes_are_read_and_shown_without_credentials() {
        for (text, shown) in [
            ("direct", "direct"),
            ("Direct", "direct"),
            ("socks5://127.0.0.1:9050", "socks5://127.0.0.1:9050"),
            ("socks5h://proxy.example", "socks5://proxy.example:1080"),
            ("socks5://user:p%40ss@[::1]:1081/", "socks5://[::1]:1081"),
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("interface:eth0", "interface:eth0"),
            ("interface://wwan0", "interface:wwan0"),
        ] {
            let route: Route = text.parse().unwrap();
            assert_eq!(route.to_string(), shown);
        }
        let Ok(Route::Socks5(proxy)) = "socks5://user:p%40ss@h:1".parse() else {
            panic!("a proxy")
        };
        assert_eq!(proxy.credentials, Some(("user".into(), "p@ss".into())));
        assert!(!format!("{proxy:?}").contains("p@ss"));
    }

    #[test]
    fn what_is_no_route() {
        for text in [
            "",
            "tor",
            "ftp://x",
            "socks5:x",
            "https://x",
            "interface:",
            "interface:a/b",
            "interface:0123456789abcdef",
        ] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
        for text in [
            "socks5://",
            "socks5://u:secret@:1",
            "http://h:0",
            "http://h:x",
            "http://[::1",
        ] {
            let error = text.parse::<Route>().unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,40}") {
            if let Ok(route) = text.parse::<Route>() {
                let shown = route.to_string();
                prop_assert_eq!(shown.parse::<Route>().map(|r| r.to_string()), Ok(shown));
            }
        }
    }
}
