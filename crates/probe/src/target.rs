//! What may be typed as a target: a domain, a host, an address, `HOST:PORT` or `SCHEME://HOST[:PORT]`.
//!
//! Only the meaning of the text; whether the name exists is for discovery to find out.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use hoofbeat_observation::Scheme;

/// Longest text that is looked at, in bytes: a name has at most 253, in other scripts a few times more.
const LONGEST_TEXT: usize = 1024;

/// A parsed target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A bare name: a mail domain or one host's name, the DNS tells which.
    Domain(String),
    /// A bare address: its usual ports.
    Address(IpAddr),
    /// One service.
    Service {
        /// Given, or that of the port; `smtp` where the port says nothing.
        scheme: Scheme,
        /// Where.
        host: Host,
        /// Given, or the scheme's own.
        port: u16,
        /// Whether the scheme is a mere guess: the greeting then tells better.
        guessed: bool,
    },
}

/// A name in ASCII form, lower case, without a final dot; or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing was typed.
    #[error("the target is empty")]
    Empty,
    /// Longer than any target.
    #[error("the target is longer than any host name")]
    TooLong,
    /// A scheme that is none of ours.
    #[error(
        "{0:?} is no scheme; known are smtp, submission, submissions, lmtp, imap, imaps, pop3, pop3s, sieve"
    )]
    Scheme(String),
    /// Not 1 to 65535.
    #[error("{0:?} is no port; ports are 1 to 65535")]
    Port(String),
    /// Brackets that hold no IPv6 address.
    #[error("{0:?} is no IPv6 address")]
    Brackets(String),
    /// A mail address.
    #[error("this looks like a mail address; the domain alone is the part behind the @: {0}")]
    MailAddress(String),
    /// A path, query or user where none can be.
    #[error("only SCHEME://HOST:PORT is understood, nothing behind it: {0:?}")]
    Rest(String),
    /// Not a name by the rules for host names or internationalised names.
    #[error("{0:?} is no host name")]
    Name(String),
}

impl Target {
    /// Reads a target as it was typed.
    ///
    /// ```
    /// use hoofbeat_probe::{Target, Host};
    /// assert_eq!(Target::parse("Bücher.example"), Ok(Target::Domain("xn--bcher-kva.example".into())));
    /// let Ok(Target::Service { scheme, port, .. }) = Target::parse("[2001:db8::1]:993") else { panic!() };
    /// assert_eq!((scheme.name(), port), ("imaps", 993));
    /// ```
    ///
    /// # Errors
    /// With a sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        match text.len() {
            0 => return Err(TargetError::Empty),
            1..=LONGEST_TEXT => {}
            _ => return Err(TargetError::TooLong),
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let scheme: Scheme = scheme
                .parse()
                .map_err(|_| TargetError::Scheme(scheme.to_owned()))?;
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            if let Some(at) = rest.find(['/', '?', '#', '@']) {
                return Err(TargetError::Rest(
                    rest.get(at..).unwrap_or_default().to_owned(),
                ));
            }
            let (host, port) = host_and_port(rest)?;
            let port = port.unwrap_or(scheme.default_port());
            return Ok(Self::Service {
                scheme,
                host,
                port,
                guessed: false,
            });
        }
        if let Some((_, domain)) = text.rsplit_once('@') {
            return Err(TargetError::MailAddress(domain.to_owned()));
        }
        Ok(match host_and_port(text)? {
            (Host::Name(name), None) => Self::Domain(name),
            (Host::Address(address), None) => Self::Address(address),
            (host, Some(port)) => {
                let known = Scheme::of_port(port);
                Self::Service {
                    scheme: known.unwrap_or(Scheme::Smtp),
                    host,
                    port,
                    guessed: known.is_none(),
                }
            }
        })
    }

    /// The domain or host name, where it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Domain(name)
            | Self::Service {
                host: Host::Name(name),
                ..
            } => Some(name),
            Self::Address(_) | Self::Service { .. } => None,
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        Self::parse(text)
    }
}

fn host_and_port(text: &str) -> Result<(Host, Option<u16>), TargetError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, behind) = rest
            .split_once(']')
            .ok_or_else(|| TargetError::Brackets(text.to_owned()))?;
        // SMTP's own form of an address literal is welcome as well (RFC 5321 §4.1.3).
        let digits = inside.strip_prefix("IPv6:").unwrap_or(inside);
        let address: Ipv6Addr = digits
            .parse()
            .map_err(|_| TargetError::Brackets(inside.to_owned()))?;
        let host = Host::Address(address.into());
        return match behind {
            "" => Ok((host, None)),
            _ => {
                let digits = behind
                    .strip_prefix(':')
                    .ok_or_else(|| TargetError::Rest(behind.to_owned()))?;
                Ok((host, Some(port(digits)?)))
            }
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((Host::Address(address), None));
    }
    match text.split_once(':') {
        None => Ok((host(text)?, None)),
        Some((_, digits)) if digits.contains(':') => Err(TargetError::Brackets(text.to_owned())),
        Some((name, digits)) => Ok((host(name)?, Some(port(digits)?))),
    }
}

fn port(text: &str) -> Result<u16, TargetError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|&number| number != 0);
    number.ok_or_else(|| TargetError::Port(text.to_owned()))
}

fn host(text: &str) -> Result<Host, TargetError> {
    if let Ok(address) = text.parse() {
        return Ok(Host::Address(address));
    }
    let wrong = || TargetError::Name(text.to_owned());
    let ascii = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(text).map_err(|_| wrong())?
    };
    let name = ascii.strip_suffix('.').unwrap_or(&ascii);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let all_digits = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > 253 || !name.split('.').all(is_label) || all_digits {
        return Err(wrong());
    }
    Ok(Host::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn service(scheme: Scheme, host: &str, port: u16, guessed: bool) -> Target {
        let host = host
            .parse()
            .map_or_else(|_| Host::Name(host.to_owned()), Host::Address);
        Target::Service {
            scheme,
            host,
            port,
            guessed,
        }
    }

    #[test]
    fn every_form_of_the_contract() {
        for (text, wanted) in [
            ("example.org", Target::Domain("example.org".into())),
            (" Example.ORG. ", Target::Domain("example.org".into())),
            ("mailserver", Target::Domain("mailserver".into())),
            (
                "müller.example",
                Target::Domain("xn--mller-kva.example".into()),
            ),
            ("192.0.2.25", Target::Address("192.0.2.25".parse().unwrap())),
            ("::1", Target::Address("::1".parse().unwrap())),
            ("[::1]", Target::Address("::1".parse().unwrap())),
            (
                "mx.example:25",
                service(Scheme::Smtp, "mx.example", 25, false),
            ),
            (
                "mx.example:2525",
                service(Scheme::Smtp, "mx.example", 2525, true),
            ),
            ("[::1]:143", service(Scheme::Imap, "::1", 143, false)),
            (
                "192.0.2.25:587",
                service(Scheme::Submission, "192.0.2.25", 587, false),
            ),
            (
                "smtp://mx.example",
                service(Scheme::Smtp, "mx.example", 25, false),
            ),
            (
                "IMAP://mx.example:1143/",
                service(Scheme::Imap, "mx.example", 1143, false),
            ),
            (
                "pop3s://[2001:db8::1]",
                service(Scheme::Pop3s, "2001:db8::1", 995, false),
            ),
            (
                "sieve://192.0.2.1",
                service(Scheme::Sieve, "192.0.2.1", 4190, false),
            ),
            (
                "submissions://mx_1.example",
                service(Scheme::Submissions, "mx_1.example", 465, false),
            ),
        ] {
            assert_eq!(Target::parse(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, error) in [
            ("", TargetError::Empty),
            ("   ", TargetError::Empty),
            ("http://example.org", TargetError::Scheme("http".into())),
            ("mx.example:0", TargetError::Port("0".into())),
            ("mx.example:65536", TargetError::Port("65536".into())),
            ("mx.example:+25", TargetError::Port("+25".into())),
            ("mx.example:", TargetError::Port(String::new())),
            ("[::1", TargetError::Brackets("[::1".into())),
            ("[::1]x", TargetError::Rest("x".into())),
            ("2001:db8::zz", TargetError::Brackets("2001:db8::zz".into())),
            (
                "user@example.org",
                TargetError::MailAddress("example.org".into()),
            ),
            ("smtp://mx.example/path", TargetError::Rest("/path".into())),
            (
                "smtp://u@mx.example",
                TargetError::Rest("@mx.example".into()),
            ),
            ("smtp://", TargetError::Name(String::new())),
            ("a..b", TargetError::Name("a..b".into())),
            ("300.1.2.3", TargetError::Name("300.1.2.3".into())),
            ("mx example", TargetError::Name("mx example".into())),
        ] {
            assert_eq!(Target::parse(text), Err(error), "{text}");
        }
        assert_eq!(Target::parse(&"a".repeat(2000)), Err(TargetError::TooLong));
        assert!(matches!(
            Target::parse(&"a".repeat(64)),
            Err(TargetError::Name(_))
        ));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            if let Ok(Target::Service { port, .. }) = Target::parse(&text) {
                prop_assert_ne!(port, 0);
            }
        }

        #[test]
        fn a_name_is_read_as_it_is_recorded(name in "[a-z][a-z0-9]{0,8}(\\.[a-z][a-z0-9]{0,8}){0,3}", port in 1..=u16::MAX) {
            prop_assert_eq!(Target::parse(&name), Ok(Target::Domain(name.clone())));
            let Ok(Target::Service { scheme, host, port: found, guessed }) = Target::parse(&format!("{name}:{port}")) else {
                panic!("a service")
            };
            prop_assert_eq!((host, found), (Host::Name(name), port));
            prop_assert_eq!(guessed, Scheme::of_port(port).is_none());
            prop_assert!(!guessed || scheme == Scheme::Smtp);
        }
    }
}
