//! A cooperating server and its client: both ends of one connection tell which bytes they sent and received.
//!
//! Comparing the four byte strings proves tampering for each direction, on the part of the path that both share; where,
//! the witness's own trace tells for the direction that a client cannot probe. Nothing here compares or concludes: that
//! is the judge's. The data ports are plain mail and web ports; session and report go over a control channel with
//! TLS 1.3 on a port of its own.

mod channel;
mod errand;
pub mod message;
mod name;
mod packets;
mod script;
pub mod server;
mod signature;
mod token;
mod visit;
mod wire;

pub use name::{CONTROL_PORT, Key, NameError, WitnessName};
pub use packets::packets;
pub use signature::check;
pub use token::{Errandry, Token};
pub use visit::{VisitSettings, look, visit};
