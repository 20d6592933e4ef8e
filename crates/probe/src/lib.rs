//! Asking mail servers: from a typed target to services, from a service and a question to a measurement.
//!
//! The witness of the house: it records exactly what it did and what came back, certificates that nobody
//! should trust included, and never judges. It must not know the words of a verdict.

pub mod budget;
pub mod certificate;
pub mod context;
pub mod control;
mod converse;
mod delivery;
pub mod discover;
mod facts;
mod fetch;
mod handshake;
pub mod legacy;
pub mod path;
pub mod plan;
pub mod run;
mod sibling;
mod tap;
pub mod target;
mod verifier;
pub mod witness;

pub use budget::Budget;
pub use context::{Context, Numbering};
pub use control::{
    Control, all_built_in_controls, built_in_controls, control_asks, negative_control,
};
pub use converse::converse;
pub use discover::{Discovery, discover};
pub use facts::policy_facts;
pub use plan::Ask;
pub use run::{NotRun, Progress, Run, run};
pub use sibling::sibling_asks;
pub use target::{Host, Target, TargetError};
