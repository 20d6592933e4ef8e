//! Reaching out: names to addresses, routes, connections, TLS roots and the clock.
//!
//! What the operating system, a resolver or a proxy refuses becomes a typed
//! [`Failure`](hoofbeat_observation::Failure), never a lost error. This crate must not know what is said
//! over a connection, nor what any failure proves.

pub mod classify;
pub mod clock;
pub mod dial;
pub mod resolve;
pub mod route;
pub mod sys;
pub mod trust;

pub use clock::Clock;
pub use dial::{Dialled, dial};
pub use resolve::{Answer, Resolver};
pub use route::{Families, Route};
pub use trust::Trust;
