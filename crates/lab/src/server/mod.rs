//! Honest mail servers: sans-IO dialogues in real programs' dialects, and the one driver that gives them sockets.
//! They must not know that boxes or verdicts exist; what they do is their own doing.

mod connection;
mod dialogue;
mod imap;
mod listen;
mod pop3;
mod sieve;
mod smtp;
mod smtp_dialect;
mod spec;

pub(crate) use connection::drain;
pub(crate) use listen::{Listening, serve};
pub use spec::{
    AuthOffer, Breakage, Dialect, KeywordCase, Place, ServerSpec, SplitReply, Starttls,
};
