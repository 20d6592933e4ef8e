//! The judge: observations in, verdict with cited evidence out.
//!
//! It never sees a socket, a clock or a file. Every claim cites measurement, step and bytes, and what it
//! was held against. Where the records do not suffice it asks [`Question`]s; only the front door turns
//! them into new measurements. `inconclusive` is an honourable answer; a false accusation is the worst bug.
#![no_std]
extern crate alloc;

pub mod case;
pub mod path;
pub mod question;
pub mod report;
pub mod verdict;
pub mod witness;

mod asking;
mod attribution;
mod bench;
mod dialect;
mod elsewhere;
mod evidence;
mod explain;
mod fingerprint;
mod hearing;
mod judge;
mod pattern;
mod policy;
mod remedy;
mod sunset;
mod time;
mod weakness;

pub use case::{Case, Elsewhere, Settings, diagnose};
pub use path::{DirectedPath, Hop, PathReport};
pub use question::Question;
pub use report::{Header, report};
pub use verdict::{
    Confidence, Credible, Diagnosis, Encryption, Evidence, Finding, Location, LocationClass,
    Mechanism, NotRun, Overall, Remedy, Segment, Support, TlsFacts, Verdict, Weakness,
    WeighedObservation, Who,
};
pub use witness::{Compared, WitnessSummary};
