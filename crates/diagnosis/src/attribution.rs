//! Who, with what probability: naive Bayes over groups of correlated tests, with caps, thresholds and a decision table.
//!
//! Inside a group the strongest observation counts, each group's ratio is capped, and a test that was not
//! run is no evidence. It must not know how an observation was made.

pub(crate) mod counted;
pub(crate) mod decision;
pub(crate) mod further;
pub(crate) mod information;
pub(crate) mod likelihood;
pub(crate) mod power;

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{Location, LocationClass, Verdict, WeighedObservation, path::four_decimals as rounded};
use counted::TEMPER;
use likelihood::{CLASSES, Group, Observation, RATIO_CAP, RATIO_CAP_FOLLOWED, Row, SUPPORT, State};

/// Most that may be said of a place with neither hop evidence of the raw engine nor a cooperating server.
const WITHOUT_COOPERATION: f64 = 0.90;
/// Most that may be said of a place with either.
const WITH_COOPERATION: f64 = 0.99;
/// Most that one vantage may say of a third party's network.
const THIRD_PARTY: f64 = 0.80;
/// Most that several vantages may say of it.
const THIRD_PARTY_FROM_SEVERAL: f64 = 0.90;
/// Most that may be said of it where hop evidence and a signed witness agree.
const THIRD_PARTY_PROVEN: f64 = 0.97;
/// Least that names a place at all.
pub(crate) const NAMED: f64 = 0.60;
/// On the border of two places, the evidence (and not what was likely before it) must tell them apart by this ratio.
pub(crate) const BORDER_RATIO: f64 = 3.0;

/// The classes in the order of the tables' columns, and whether they are the server's own.
pub(crate) const COLUMNS: [(LocationClass, bool); CLASSES] = [
    (LocationClass::Server, true),
    (LocationClass::ServerPolicy, true),
    (LocationClass::ServerEdge, false),
    (LocationClass::Transit, false),
    (LocationClass::AccessNetwork, false),
    (LocationClass::LocalNetwork, false),
    (LocationClass::ThisHost, false),
];

/// One observation as it enters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weighing {
    pub(crate) group: Group,
    pub(crate) name: &'static str,
    pub(crate) row: Row,
    /// It tells of a command that was followed hop by hop beside a control on its own flow.
    pub(crate) followed: bool,
}

impl Weighing {
    /// What hops say of places.
    pub(crate) const fn of_hops(
        group: Group,
        name: &'static str,
        row: Row,
        followed: bool,
    ) -> Self {
        Self {
            group,
            name,
            row,
            followed,
        }
    }

    /// Most that its extremes may differ by.
    const fn cap(&self) -> f64 {
        if self.followed {
            RATIO_CAP_FOLLOWED
        } else {
            RATIO_CAP
        }
    }
}

impl From<Observation> for Weighing {
    fn from(observation: Observation) -> Self {
        let (group, row) = observation.row();
        Self {
            group,
            name: observation.name(),
            row,
            followed: false,
        }
    }
}

/// What the observations say together.
#[derive(Debug, Clone)]
pub(crate) struct Posterior {
    /// A, A′, B, C1, C2, D1, D2; sums to 1.
    pub(crate) masses: Row,
    /// Groups that speak for interference by themselves.
    pub(crate) against_server: Vec<Group>,
    /// Groups that speak for the server's own doing by themselves.
    pub(crate) for_server: Vec<Group>,
    /// What entered, one a group.
    pub(crate) weighed: Vec<WeighedObservation>,
}

impl Posterior {
    /// Weighs observations of the tables.
    #[cfg(test)]
    pub(crate) fn of(state: State, observations: &[Observation]) -> Self {
        Self::weigh(state, observations.iter().copied().map(Weighing::from))
    }

    /// Weighs.
    pub(crate) fn weigh(state: State, items: impl Iterator<Item = Weighing>) -> Self {
        let prior = state.prior();
        let mut strongest: BTreeMap<Group, (f64, Weighing)> = BTreeMap::new();
        for item in items {
            let weight = spread(&item.row).min(item.cap());
            if strongest
                .get(&item.group)
                .is_none_or(|(before, _)| weight > *before)
            {
                strongest.insert(item.group, (weight, item));
            }
        }
        let mut masses = prior;
        let mut against_server = Vec::new();
        let mut for_server = Vec::new();
        let mut weighed = Vec::new();
        for (group, (_, item)) in &strongest {
            let most = item.row.iter().copied().fold(0.0_f64, f64::max);
            let capped = item.row.map(|value| value.max(most / item.cap()));
            for (mass, value) in masses.iter_mut().zip(capped) {
                *mass *= power::tempered(value, TEMPER);
            }
            let ratio = averaged(&capped, &prior, false) / averaged(&capped, &prior, true);
            if ratio >= SUPPORT {
                against_server.push(*group);
            } else if ratio <= 1.0 / SUPPORT {
                for_server.push(*group);
            }
            weighed.push(WeighedObservation {
                group: group.code(),
                observation: item.name,
            });
        }
        let sum: f64 = masses.iter().sum();
        Self {
            masses: masses.map(|mass| mass / sum),
            against_server,
            for_server,
            weighed,
        }
    }

    /// By what ratio the evidence, without the prior, tells the class of one column from that of another.
    pub(crate) fn evidence_ratio(
        &self,
        state: State,
        one: LocationClass,
        other: LocationClass,
    ) -> f64 {
        let prior = state.prior();
        let likelihood = |class: LocationClass| {
            COLUMNS
                .iter()
                .zip(self.masses.iter().zip(&prior))
                .find(|((known, _), _)| *known == class)
                .map_or(0.0, |(_, (mass, prior))| mass / prior)
        };
        likelihood(one) / likelihood(other).max(f64::MIN_POSITIVE)
    }

    /// Probability that something between the two programs did it.
    pub(crate) fn interference(&self) -> f64 {
        let [_, _, edge, transit, access, local, host] = self.masses;
        edge + (transit + access) + local + host
    }

    /// The place, given the verdict: a verdict of interference leaves no mass on the server and the reverse.
    pub(crate) fn location(&self, verdict: Verdict, bounds: &Bounds) -> Location {
        let kept: Vec<(LocationClass, f64)> = COLUMNS
            .iter()
            .zip(self.masses)
            .filter(|((_, own), _)| match verdict {
                Verdict::Interference => !own,
                Verdict::Server => *own,
                _ => true,
            })
            .map(|((class, _), mass)| (*class, mass))
            .collect();
        capped(kept, bounds)
    }
}

/// How much may be said of a place, with the evidence there is (attribution notes, §6.7).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    /// Most for transit and access networks.
    pub(crate) third_party: f64,
    /// Most for every other place.
    pub(crate) others: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            third_party: THIRD_PARTY,
            others: WITHOUT_COOPERATION,
        }
    }
}

impl Bounds {
    /// With hop evidence of the raw engine, a signed witness, and how many other vantages.
    pub(crate) const fn with(raw_hops: bool, witness: bool, vantages: usize) -> Self {
        Self {
            third_party: if raw_hops && witness {
                THIRD_PARTY_PROVEN
            } else if vantages > 0 {
                THIRD_PARTY_FROM_SEVERAL
            } else {
                THIRD_PARTY
            },
            others: if raw_hops || witness {
                WITH_COOPERATION
            } else {
                WITHOUT_COOPERATION
            },
        }
    }
}

/// A place that is not in question.
pub(crate) fn nowhere() -> Location {
    Location {
        class: LocationClass::Undetermined,
        probability: 0.0,
        posterior: BTreeMap::from([(LocationClass::Undetermined.word(), 1.0)]),
        segment: None,
        credible: None,
        weighed: Vec::new(),
    }
}

/// Normalises, holds the caps (what exceeds them becomes `undetermined`), and names the leader where it leads.
fn capped(masses: Vec<(LocationClass, f64)>, bounds: &Bounds) -> Location {
    let sum: f64 = masses.iter().map(|(_, mass)| mass).sum();
    if sum <= 0.0 {
        return nowhere();
    }
    let mut excess = 0.0;
    let mut posterior = BTreeMap::new();
    let mut leader = (LocationClass::Undetermined, 0.0);
    for (class, mass) in masses {
        let cap = match class {
            LocationClass::Transit | LocationClass::AccessNetwork => bounds.third_party,
            _ => bounds.others,
        };
        let probability = (mass / sum).min(cap);
        excess += mass / sum - probability;
        posterior.insert(class.word(), rounded(probability));
        if probability > leader.1 {
            leader = (class, probability);
        }
    }
    if excess > 0.0 {
        posterior.insert(LocationClass::Undetermined.word(), rounded(excess));
    }
    // Rounding must break neither the sum nor a cap.
    let written: f64 = posterior.values().sum();
    let rest = if excess > 0.0 {
        LocationClass::Undetermined
    } else {
        leader.0
    };
    if let Some(most) = posterior.get_mut(rest.word()) {
        *most = rounded(*most + 1.0 - written);
    }
    let probability = posterior.get(leader.0.word()).copied().unwrap_or(0.0);
    let class = if probability >= NAMED {
        leader.0
    } else {
        LocationClass::Undetermined
    };
    Location {
        class,
        probability,
        posterior,
        segment: None,
        credible: None,
        weighed: Vec::new(),
    }
}

/// How far a row tells hypotheses apart: the ratio of its extremes.
fn spread(row: &Row) -> f64 {
    let most = row.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let least = row
        .iter()
        .copied()
        .fold(f64::MAX, f64::min)
        .max(f64::MIN_POSITIVE);
    most / least
}

/// The row's average over the server's hypotheses, or over the others, weighed by the prior.
fn averaged(row: &Row, prior: &Row, server: bool) -> f64 {
    let (mut weight, mut sum) = (0.0, 0.0);
    for (((_, own), value), prior) in COLUMNS.iter().zip(row).zip(prior) {
        if *own == server {
            weight += prior;
            sum += value * prior;
        }
    }
    sum / weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn masses(observations: &[Observation]) -> Row {
        Posterior::of(State::NoTls, observations).masses
    }

    #[test]
    fn the_sanity_runs_of_the_method_hold() {
        // "O3 alone -> A 0.85, A' 0.14"
        let [a, policy, ..] = masses(&[Observation::OwnRefusal]);
        assert!(
            (a - 0.85).abs() < 0.02 && (policy - 0.14).abs() < 0.02,
            "{a} {policy}"
        );
        // "O1 alone -> B 0.61, C 0.21"
        let [_, _, edge, transit, access, ..] = masses(&[Observation::WorksThoughHidden]);
        let path = transit + access;
        assert!(
            (edge - 0.61).abs() < 0.04 && (path - 0.21).abs() < 0.02,
            "{edge} {path}"
        );
        // "O1 + echo clean -> B 0.88"
        let [_, _, edge, ..] = masses(&[Observation::WorksThoughHidden, Observation::WitnessClean]);
        assert!((edge - 0.88).abs() < 0.06, "{edge}");
        // "O1 + echo tampered -> C 0.55, D1 0.28, D2 0.13"
        let [.., transit, access, local, host] =
            masses(&[Observation::WorksThoughHidden, Observation::WitnessTampered]);
        assert!((transit + access - 0.55).abs() < 0.05, "{transit} {access}");
        assert!(
            (local - 0.28).abs() < 0.05 && (host - 0.13).abs() < 0.05,
            "{local} {host}"
        );
        // "+ LAN peer also stripped -> C 0.63, D1 0.32, D2 0.005"
        let [.., transit, access, local, host] = masses(&[
            Observation::WorksThoughHidden,
            Observation::WitnessTampered,
            Observation::PeerStripped,
        ]);
        assert!((transit + access - 0.63).abs() < 0.05 && (local - 0.32).abs() < 0.05);
        assert!(host < 0.01, "{host}");
        // "Two-vantage anecdote only -> A' 0.30, C 0.30, B 0.14, D1 0.13": nobody leads.
        let anecdote = masses(&[Observation::TetherClean]);
        assert!(anecdote.iter().all(|mass| *mass < 0.4), "{anecdote:?}");
        // "O1 + echo clean -> B 0.88"; with public controls in the echo server's place it is near.
        let [_, _, edge, ..] =
            masses(&[Observation::WorksThoughHidden, Observation::ControlsClean]);
        assert!((0.85..0.97).contains(&edge), "{edge}");
        // Two vantages alone prove little, controls affected turn to the client's side.
        let [_, _, edge, transit, access, local, host] =
            masses(&[Observation::MaskInSlot, Observation::ControlsAffected]);
        let path = transit + access;
        assert!(
            path + local + host > 0.9 && edge < 0.1,
            "{path} {local} {host} {edge}"
        );
    }

    #[test]
    fn one_observation_a_group_counts() {
        let one = masses(&[Observation::MaskInSlot]);
        let two = masses(&[
            Observation::MaskInSlot,
            Observation::MaskedGreeting,
            Observation::MaskInSlot,
        ]);
        assert_eq!(one, two);
    }

    #[test]
    fn places_are_capped_and_sum_to_one() {
        for observations in [
            vec![
                Observation::AlteredEcho,
                Observation::MaskInSlot,
                Observation::ControlsAffected,
            ],
            vec![
                Observation::AlteredEcho,
                Observation::MaskInSlot,
                Observation::ControlsClean,
            ],
            vec![Observation::ForeignOwner, Observation::ControlsAffected],
            vec![],
        ] {
            for verdict in [
                Verdict::Interference,
                Verdict::Server,
                Verdict::Inconclusive,
            ] {
                let location = Posterior::of(State::NoTls, &observations)
                    .location(verdict, &Bounds::default());
                let sum: f64 = location.posterior.values().sum();
                assert!((sum - 1.0).abs() < 1e-6, "{location:?}");
                assert!(
                    location
                        .posterior
                        .get("access-network")
                        .is_none_or(|p| *p <= THIRD_PARTY + 1e-3)
                );
                assert!(
                    location.probability <= WITHOUT_COOPERATION + 1e-3,
                    "{location:?}"
                );
            }
        }
    }
}
