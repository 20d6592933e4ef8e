//! The mail protocols the lab speaks and the URL schemes a client names them by.
//! It must not know any dialect or box. RFC 5321, 6409, 8314, 2033, 9051, 1939, 5804.

use std::fmt;

use serde::Deserialize;

/// A mail protocol, whatever the port and whether or not TLS comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 5321.
    Smtp,
    /// RFC 2033.
    Lmtp,
    /// RFC 9051 and its elders.
    Imap,
    /// RFC 1939.
    Pop3,
    /// ManageSieve, RFC 5804.
    Sieve,
}

/// A scheme as it stands in a target URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// SMTP between servers, usually port 25.
    Smtp,
    /// Message submission with STARTTLS, 587.
    Submission,
    /// Message submission inside TLS, 465.
    Submissions,
    /// Local delivery, 24.
    Lmtp,
    /// IMAP with STARTTLS, 143.
    Imap,
    /// IMAP inside TLS, 993.
    Imaps,
    /// POP3 with STLS, 110.
    Pop3,
    /// POP3 inside TLS, 995.
    Pop3s,
    /// ManageSieve, 4190.
    Sieve,
}

impl Scheme {
    /// The protocol that is spoken once a connection stands.
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Smtp | Self::Submission | Self::Submissions => Protocol::Smtp,
            Self::Lmtp => Protocol::Lmtp,
            Self::Imap | Self::Imaps => Protocol::Imap,
            Self::Pop3 | Self::Pop3s => Protocol::Pop3,
            Self::Sieve => Protocol::Sieve,
        }
    }

    /// Whether TLS starts with the first byte (RFC 8314).
    pub fn implicit_tls(self) -> bool {
        matches!(self, Self::Submissions | Self::Imaps | Self::Pop3s)
    }

    /// The scheme as written in a URL.
    pub fn as_str(self) -> &'static str {
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
}

impl fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
