//! The lab as a network: hosts, routers and boxes in Linux network namespaces, so that *where* something is done can be
//! measured and not only *that* it is done.
//!
//! - [`scenario::NetScenario`]: one TOML text — chain, confounders, server, boxes, what to conclude at which vantage point.
//! - [`matrix`]: hundreds of them, unfolded from a table.
//! - [`shell::enter`]: the process tree in which a lab lives and with which it ends, leaving nothing.
//! - [`World::build`]: starts a scenario inside of that tree.
//!
//! ```text
//!  peer ─┐                                                        ┌─ control-edge ── control
//! client ┴ home ── isp-1 ── isp-2 ── transit-1 ── transit-2 ──────┼─ witness-edge ── witness
//!                            │         │    └─(branch-1 …)─┘      │
//!          mobile ── carrier-1 ── carrier-2                       └─ edge ──┬─ server
//!                                                                           ├─ server-b
//!                                                                           └─ inside
//! ```
//!
//! Needs root, or user namespaces (then without real servers, unless the user has subordinate ids), and the programs `ip`,
//! `nft`, `iptables`, `unshare` and `nsenter`. It must not know the program under test.

mod chain;
pub mod companion;
mod confounder;
pub mod device;
pub mod matrix;
pub mod namespace;
pub mod plan;
mod real;
pub mod scenario;
mod server;
mod serving;
pub mod shell;
pub mod tool;
mod world;

pub use chain::ChainError;
pub use companion::{Companion, CompanionError};
pub use confounder::ConfounderError;
pub use namespace::Node;
pub use plan::Plan;
pub use real::RealError;
pub use scenario::{Class, NetExpected, NetScenario};
pub use serving::ServingError;
pub use world::{Extras, World, WorldError};
