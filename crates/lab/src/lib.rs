//! The lab across the street: honest mail servers, the boxes that break STARTTLS, and scenarios that say what a
//! careful judge should conclude.
//!
//! It exists so that the prober and the judge can be shown, on loopback and without privilege, every interference
//! that is known and every innocent server that looks like one. It depends on **none** of Hoofbeat's other crates:
//! a misreading of an RFC that both sides shared would cancel itself out and stay unseen.
//!
//! - [`Scenario`]: one TOML text — the server, the boxes in front of it, the expected verdict.
//! - [`Lab::start`]: starts a scenario on loopback and tells the address a client should connect to.
//! - [`server`]: SMTP, LMTP, IMAP, POP3 and ManageSieve in the dialects of real programs (RFC 5321, 3207, 2033, 9051,
//!   1939, 2595, 5804).
//! - [`middlebox`]: sans-IO transforms of the two byte streams, and the one relay that drives them.
//!
//! Credentials and message contents that a client sends are discarded as they arrive.

pub mod authority;
mod lab;
pub mod middlebox;
mod protocol;
pub mod scenario;
pub mod server;
#[cfg(target_os = "linux")]
pub mod topology;

pub use lab::{Background, Lab, Running, Sibling, StartError};
pub use protocol::{Protocol, Scheme};
pub use scenario::{
    Conclusion, Expected, Family, Location, Mechanism, Scenario, Verdict, Weakness,
};
