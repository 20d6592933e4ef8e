//! Likelihoods counted in the lab's training scenarios: written by `cargo xtask attribution --estimate`, not by hand.
//!
//! Columns: server, server-policy, server-edge, transit, access-network, local-network, this-host. `hits` counts the
//! runs of a class in which the observation entered, `trials` those in which its group was tested at all.

use super::likelihood::CLASSES;

/// Observation, hits and trials by class.
pub(crate) type Counted = (&'static str, [u32; CLASSES], [u32; CLASSES]);

/// The counts; an observation that is not listed keeps its expert row.
pub(crate) const COUNTED: &[Counted] = &[];

/// Exponent on every likelihood, 0 to 1, fitted by log loss on training runs: below 1 where groups agree by chance
/// of construction more than by independence.
pub(crate) const TEMPER: f64 = 1.0;
