//! Who, with what probability: naive Bayes over groups of correlated tests.
//!
//! Inside a group the strongest observation counts, each group's ratio is capped, and a test that was not
//! run is no evidence. It must not know how an observation was made.

pub(crate) mod likelihood;

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{Location, LocationClass, Verdict};
use likelihood::{ACCESS_SHARE, Group, Observation, RATIO_CAP, Row, SUPPORT, State};

/// Most that may be said of a place without a cooperating server at the far end.
const WITHOUT_COOPERATION: f64 = 0.90;
/// Most that one vantage may say of a third party's network.
const THIRD_PARTY: f64 = 0.80;
/// Least that names a place at all.
pub(crate) const NAMED: f64 = 0.60;

/// What the observations say together.
#[derive(Debug, Clone)]
pub(crate) struct Posterior {
    /// A, A′, B, C, D1, D2; sums to 1.
    pub(crate) masses: Row,
    /// Groups that speak for interference by themselves.
    pub(crate) against_server: Vec<Group>,
    /// Groups that speak for the server's own doing by themselves.
    pub(crate) for_server: Vec<Group>,
}

impl Posterior {
    /// Weighs the observations.
    pub(crate) fn of(state: State, observations: &[Observation]) -> Self {
        let prior = state.prior();
        let mut strongest: BTreeMap<Group, (f64, Row)> = BTreeMap::new();
        for observation in observations {
            let (group, row) = observation.row();
            let weight = spread(&row);
            if strongest
                .get(&group)
                .is_none_or(|(before, _)| weight > *before)
            {
                strongest.insert(group, (weight, row));
            }
        }
        let mut masses = prior;
        let mut against_server = Vec::new();
        let mut for_server = Vec::new();
        for (group, (_, row)) in &strongest {
            let most = row.iter().copied().fold(0.0_f64, f64::max);
            let capped = row.map(|value| value.max(most / RATIO_CAP));
            for (mass, value) in masses.iter_mut().zip(capped) {
                *mass *= value;
            }
            let ratio = averaged(&capped, &prior, false) / averaged(&capped, &prior, true);
            if ratio >= SUPPORT {
                against_server.push(*group);
            } else if ratio <= 1.0 / SUPPORT {
                for_server.push(*group);
            }
        }
        let sum: f64 = masses.iter().sum();
        Self {
            masses: masses.map(|mass| mass / sum),
            against_server,
            for_server,
        }
    }

    /// Probability that something between the two programs did it.
    pub(crate) fn interference(&self) -> f64 {
        let [_, _, edge, path, local, host] = self.masses;
        edge + path + local + host
    }

    /// The place, given the verdict: a verdict of interference leaves no mass on the server and the reverse.
    pub(crate) fn location(&self, verdict: Verdict) -> Location {
        let [server, policy, edge, path, local, host] = self.masses;
        let classes = [
            (LocationClass::Server, server, true),
            (LocationClass::ServerPolicy, policy, true),
            (LocationClass::ServerEdge, edge, false),
            (LocationClass::Transit, path * (1.0 - ACCESS_SHARE), false),
            (LocationClass::AccessNetwork, path * ACCESS_SHARE, false),
            (LocationClass::LocalNetwork, local, false),
            (LocationClass::ThisHost, host, false),
        ];
        let kept: Vec<(LocationClass, f64)> = classes
            .into_iter()
            .filter(|(_, _, own)| match verdict {
                Verdict::Interference => !own,
                Verdict::Server => *own,
                _ => true,
            })
            .map(|(class, mass, _)| (class, mass))
            .collect();
        capped(kept)
    }
}

/// A place that is not in question.
pub(crate) fn nowhere() -> Location {
    Location {
        class: LocationClass::Undetermined,
        probability: 0.0,
        posterior: BTreeMap::from([(LocationClass::Undetermined.word(), 1.0)]),
        segment: None,
    }
}

/// Normalises, holds the caps (what exceeds them becomes `undetermined`), and names the leader where it leads.
fn capped(masses: Vec<(LocationClass, f64)>) -> Location {
    let sum: f64 = masses.iter().map(|(_, mass)| mass).sum();
    if sum <= 0.0 {
        return nowhere();
    }
    let mut excess = 0.0;
    let mut posterior = BTreeMap::new();
    let mut leader = (LocationClass::Undetermined, 0.0);
    for (class, mass) in masses {
        let cap = match class {
            LocationClass::Transit | LocationClass::AccessNetwork => THIRD_PARTY,
            _ => WITHOUT_COOPERATION,
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
    }
}

/// Four decimals: more would feign precision. (`f64::round` needs std.)
fn rounded(value: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 <= value <= 1"
    )]
    let scaled = (value.max(0.0) * 10_000.0 + 0.5) as u64;
    scaled as f64 / 10_000.0
}

/// How far a row tells hypotheses apart: the ratio of its extremes.
fn spread(row: &Row) -> f64 {
    let most = row.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let least = row
        .iter()
        .copied()
        .fold(f64::MAX, f64::min)
        .max(f64::MIN_POSITIVE);
    (most / least).min(RATIO_CAP)
}

/// The row's average over the server's hypotheses, or over the others, weighed by the prior.
fn averaged(row: &Row, prior: &Row, server: bool) -> f64 {
    let range = if server { 0..2 } else { 2..6 };
    let weight: f64 = prior.iter().take(range.end).skip(range.start).sum();
    let sum: f64 = row
        .iter()
        .zip(prior)
        .take(range.end)
        .skip(range.start)
        .map(|(value, p)| value * p)
        .sum();
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
        let [_, _, edge, path, ..] = masses(&[Observation::WorksThoughHidden]);
        assert!(
            (edge - 0.61).abs() < 0.04 && (path - 0.21).abs() < 0.02,
            "{edge} {path}"
        );
        // "O1 + echo clean -> B 0.88"; with public controls in the echo server's place it is near.
        let [_, _, edge, ..] =
            masses(&[Observation::WorksThoughHidden, Observation::ControlsClean]);
        assert!((0.85..0.97).contains(&edge), "{edge}");
        // Two vantages alone prove little, controls affected turn to the client's side.
        let [_, _, edge, path, local, host] =
            masses(&[Observation::MaskInSlot, Observation::ControlsAffected]);
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
                let location = Posterior::of(State::NoTls, &observations).location(verdict);
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
