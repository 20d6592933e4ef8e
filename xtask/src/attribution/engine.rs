//! With which means a run is judged: from the plain check up to a witness and a second network.
//!
//! All are judged offline from archives of one run, so that they differ in nothing but the evidence.

use super::archive::Evidence;

/// A set of means, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Engine {
    /// Dialogues and controls.
    Check,
    /// And traces without any privilege.
    Unprivileged,
    /// And traces with raw ICMP and a capture instead.
    Raw,
    /// Raw, and a cooperating server.
    Witness,
    /// The same, and a plain check from another network.
    SecondNetwork,
    /// The same, and a plain check by the postmaster, from inside the server's network.
    Inside,
}

impl Engine {
    /// The one with everything.
    pub(crate) const FULLEST: Self = Self::Inside;

    pub(crate) const ALL: [Self; 6] = [
        Self::Check,
        Self::Unprivileged,
        Self::Raw,
        Self::Witness,
        Self::SecondNetwork,
        Self::Inside,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Check => "check alone",
            Self::Unprivileged => "U",
            Self::Raw => "R",
            Self::Witness => "R + witness",
            Self::SecondNetwork => "R + witness + second network",
            Self::Inside => "R + witness + second network + inside",
        }
    }

    /// What of the archive of its run it sees.
    pub(crate) const fn evidence(self) -> Evidence {
        match self {
            Self::Check => Evidence::Dialogues,
            Self::Unprivileged | Self::Raw => Evidence::Traces,
            Self::Witness | Self::SecondNetwork | Self::Inside => Evidence::Whole,
        }
    }
}
