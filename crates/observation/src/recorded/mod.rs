//! Dialogues that somebody else recorded: pasted texts, logs and captured streams, made into the
//! same record that our own sockets fill.
//!
//! Pure and bounded: bytes in, dialogues out. Credentials and messages never reach a record, in any
//! build. It must not know files, capture formats, nor what a record proves.

mod cutter;
mod lines;
pub mod stream;
pub mod text;
mod tls;
mod verb;

pub use cutter::KEPT;
pub use text::Recording;
