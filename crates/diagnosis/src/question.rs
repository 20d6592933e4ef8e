//! What the judge would like to know next. Data: the front door decides whether and how to find it out.

use hoofbeat_observation::{Scheme, Service};

/// One open question.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// Reply to STARTTLS against the reply to a random verb; NOOP whole and cut; a second list.
    Differential(Service),
    /// Does `StartTLS` get through where `STARTTLS` does not?
    MixedCase(Service),
    /// Does STARTTLS in two segments get through?
    SplitVerb(Service),
    /// The plain dialogue again, this many times: do the answers differ?
    Repeat(Service, u8),
    /// Other ports and families of the same host: implicit TLS, submission, IPv4 against IPv6.
    Siblings(Service),
    /// Servers known to offer TLS, spoken to in the same way on the same port.
    Controls(Scheme, u16),
    /// An address where nothing may answer, on this port.
    NegativeControl(u16),
    /// Which old TLS versions the peer speaks, where none in common was found.
    LegacyTls(Service),
    /// Is a plaintext command behind STARTTLS executed inside TLS? Only for servers that one runs.
    Injection(Service),
    /// Where on the path: hops and what they quote.
    Trace(Service),
    /// What does a cooperating server see of the same words on this port?
    Witness(Scheme, u16),
}

impl Question {
    /// Its identifier in `not_run`.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        match self {
            Self::Differential(_) => "verb-differential",
            Self::MixedCase(_) => "mixed-case",
            Self::SplitVerb(_) => "split-verb",
            Self::Repeat(..) => "repeat",
            Self::Siblings(_) => "siblings",
            Self::Controls(..) => "controls",
            Self::NegativeControl(_) => "negative-control",
            Self::LegacyTls(_) => "legacy-tls",
            Self::Injection(_) => "injection",
            Self::Trace(_) => "trace",
            Self::Witness(..) => "witness",
        }
    }
}
