//! What is spoken, as data: verbs, case, cuts and order. A variation is a different script.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use crate::{Label, Protocol};

/// One write to the socket: with `TCP_NODELAY` set it is one segment on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// How long to wait before the next segment of the same step.
    pub pause_after: Duration,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Wait for the greeting.
    Greeting,
    /// Send a command and wait for its reply.
    Command {
        /// What is asked.
        label: Label,
        /// How it goes over the wire.
        segments: Vec<Segment>,
    },
    /// Send STARTTLS or STLS; a positive reply turns into a TLS handshake, and the script goes on inside.
    /// Passed over where TLS is up.
    StartTls {
        /// Which spelling this is.
        label: Label,
        /// How it goes over the wire. A command behind the first line is the injection test.
        segments: Vec<Segment>,
    },
    /// Start with TLS at once (implicit TLS, RFC 8314).
    TlsFirst,
    /// Wait, inside TLS, for an answer to a command that was sent before TLS; silence is the good answer.
    /// Passed over where TLS is not up.
    AwaitInjected {
        /// How long silence must last to count as silence.
        quiet: Duration,
    },
    /// Say goodbye and wait briefly for the answer.
    Quit,
}

/// The condition under which a step is taken; else it is passed over in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every case.
    Always,
    /// The last list of capabilities on this layer offered STARTTLS/STLS.
    Offered,
    /// The last list of capabilities on this layer did not offer it, or there was none.
    NotOffered,
    /// The list of capabilities was refused (EHLO answered with an error).
    CapabilitiesRefused,
    /// TLS is not up.
    StillPlain,
    /// TLS is up.
    InTls,
}

/// One step and its condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStep {
    /// What to do.
    pub act: Act,
    /// When to do it.
    pub when: When,
}

/// The bounds of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait for the greeting: postscreen alone may take 15 s (a pregreet test), tarpits more.
    pub greeting: Duration,
    /// Longest wait for any other complete reply.
    pub reply: Duration,
    /// Longest wait for the answer to QUIT: a courtesy, not a measurement.
    pub goodbye: Duration,
    /// Most bytes kept from the server; what exceeds them is counted and ends the session.
    pub received: usize,
    /// Most lines of one reply.
    pub reply_lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(30),
            reply: Duration::from_secs(15),
            goodbye: Duration::from_millis(500),
            received: 2 << 20,
            reply_lines: 2048,
        }
    }
}

/// A whole script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Whose grammar frames the replies.
    pub protocol: Protocol,
    /// The steps in order.
    pub steps: Vec<ScriptStep>,
    /// The bounds.
    pub limits: Limits,
}

/// How we call ourselves in EHLO and LHLO: an honest name or address literal (RFC 5321 §4.1.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName(pub String);
