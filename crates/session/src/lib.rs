//! SMTP, LMTP, IMAP, POP3 and ManageSieve client sessions, without sockets or clocks.
//!
//! A [`Conversation`] speaks a [`Script`] and keeps every byte of both directions in a
//! [`Transcript`]; what each step of the script met is an [`Exchange`] that points into it.
//! The crate must not know what an answer *means* for anybody's guilt: that is `diagnosis`.
#![no_std]
extern crate alloc;

pub mod bytes;
pub mod capability;
pub mod conversation;
pub mod exchange;
pub mod frame;
pub mod reply;
pub mod script;
pub mod secret;
pub mod transcript;

mod imap;
mod pop3;
mod scripts;
mod sieve;
mod smtp;
mod token;

pub use capability::{Capabilities, Capability, capabilities};
pub use conversation::{Conversation, Event};
pub use exchange::{ByteRange, Exchange, Label, Outcome};
pub use frame::{Framer, Line, Progress, Terminator};
pub use reply::{Reply, ReplyLine, Status, is_ready_for_tls};
pub use script::{Act, ClientName, Limits, Script, ScriptStep, Segment, When};
pub use secret::{Redactor, redact_command};
pub use transcript::{Chunk, Direction, Elapsed, Layer, Transcript};

use serde::{Deserialize, Serialize};

/// The mail protocols that are spoken here, all of them line-based and upgradable to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 5321 with STARTTLS of RFC 3207; also submission (RFC 6409).
    Smtp,
    /// RFC 2033: SMTP's grammar with LHLO.
    Lmtp,
    /// RFC 9051 and RFC 3501.
    Imap,
    /// RFC 1939 with CAPA (RFC 2449) and STLS (RFC 2595).
    Pop3,
    /// RFC 5804.
    Sieve,
}
