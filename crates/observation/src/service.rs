//! A mail service: scheme, host, address and port, as reports name it.

use alloc::string::String;
use core::{fmt, net::IpAddr, str::FromStr};
use hoofbeat_session::Protocol;
use serde::{Deserialize, Serialize};

/// The schemes a target may have, with their default ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// SMTP between servers, 25.
    Smtp,
    /// Message submission with STARTTLS, 587 (RFC 6409).
    Submission,
    /// Message submission over implicit TLS, 465 (RFC 8314).
    Submissions,
    /// LMTP, 24.
    Lmtp,
    /// IMAP with STARTTLS, 143.
    Imap,
    /// IMAP over implicit TLS, 993.
    Imaps,
    /// POP3 with STLS, 110.
    Pop3,
    /// POP3 over implicit TLS, 995.
    Pop3s,
    /// ManageSieve, 4190 (RFC 5804).
    Sieve,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 9] = [
        Self::Smtp,
        Self::Submission,
        Self::Submissions,
        Self::Lmtp,
        Self::Imap,
        Self::Imaps,
        Self::Pop3,
        Self::Pop3s,
        Self::Sieve,
    ];

    /// The name as written in targets and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Lmtp => "lmtp",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
            Self::Pop3 => "pop3",
            Self::Pop3s => "pop3s",
            Self::Sieve => "sieve",
        }
    }

    /// The port that IANA assigned to it.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Submission => 587,
            Self::Submissions => 465,
            Self::Lmtp => 24,
            Self::Imap => 143,
            Self::Imaps => 993,
            Self::Pop3 => 110,
            Self::Pop3s => 995,
            Self::Sieve => 4190,
        }
    }

    /// The scheme that usually listens on a port.
    #[must_use]
    pub fn of_port(port: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.default_port() == port)
    }

    /// The language spoken.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Smtp | Self::Submission | Self::Submissions => Protocol::Smtp,
            Self::Lmtp => Protocol::Lmtp,
            Self::Imap | Self::Imaps => Protocol::Imap,
            Self::Pop3 | Self::Pop3s => Protocol::Pop3,
            Self::Sieve => Protocol::Sieve,
        }
    }

    /// Whether TLS comes first, before any greeting.
    #[must_use]
    pub const fn is_implicit_tls(self) -> bool {
        matches!(self, Self::Submissions | Self::Imaps | Self::Pop3s)
    }

    /// The scheme of the same service over implicit TLS, where one exists.
    #[must_use]
    pub const fn implicit_sibling(self) -> Option<Self> {
        match self {
            Self::Smtp | Self::Submission => Some(Self::Submissions),
            Self::Imap => Some(Self::Imaps),
            Self::Pop3 => Some(Self::Pop3s),
            _ => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no scheme of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown scheme; known are smtp, submission, submissions, lmtp, imap, imaps, pop3, pop3s, sieve"
)]
pub struct UnknownScheme;

impl FromStr for Scheme {
    type Err = UnknownScheme;
    fn from_str(text: &str) -> Result<Self, UnknownScheme> {
        Self::ALL
            .into_iter()
            .find(|s| s.name().eq_ignore_ascii_case(text))
            .ok_or(UnknownScheme)
    }
}

/// One service of one host at one pinned address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Service {
    /// The scheme.
    pub scheme: Scheme,
    /// The name as asked for (ASCII form), or the address where only that was given.
    pub host: String,
    /// The address that was used; `None` where none was found, or a recording does not tell.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.scheme, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
        }
    }
}
