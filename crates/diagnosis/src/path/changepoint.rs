//! Where along one path bytes change: the posterior of the change-point over hops.
//!
//! Hop `j` is the first at which the packet arrived changed, so the box stands in the stretch `(j−1, j]`; the last
//! `j` is the far end itself. A flag is `true` (arrived changed), `false` (arrived whole), or none (nobody told).
//! It must not know addresses, nor what a change consists of.

use alloc::{vec, vec::Vec};

use crate::{Credible, Segment};

/// Probability that a hop's quote shows the opposite of what arrived there: a second route behind one hop number, a
/// router that quotes a copy. Expert value; no quote in the lab was ever mislabelled.
pub(crate) const MISLABEL: f64 = 0.02;
/// The same where the flags are silences: an ICMP limit is silent as well.
const MISLABEL_SILENCE: f64 = 0.10;
/// Probability that a credible set is to hold.
const CREDIBLE: f64 = 0.90;
/// A stretch counts as leading while it has this share of the best one's probability.
const LEADING: f64 = 0.5;

/// Probabilities of `j = 1, 2, …`; they sum to 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChangePoint {
    masses: Vec<f64>,
}

impl ChangePoint {
    /// `P(j | flags) ∝ π_j ∏ (flag_k = (k ≥ j) ? 1−ε : ε)` for `j` from 1 to `last`, with `π` even: which class of
    /// place is more likely beforehand is weighed elsewhere, and must not be weighed twice.
    ///
    /// `flags[0]` is hop 1. None where nothing at all was told, or there is no stretch.
    pub(crate) fn of(flags: &[Option<bool>], last: u8, mislabel: f64) -> Option<Self> {
        Self::weighed(flags, last, [mislabel, mislabel])
    }

    /// The same for silences (`true`: nothing was heard). An ICMP limit makes a hop silent that the packet reached; but
    /// nothing is heard of a packet at a hop that it never reached.
    pub(crate) fn of_silences(flags: &[Option<bool>], last: u8) -> Option<Self> {
        Self::weighed(flags, last, [MISLABEL, MISLABEL_SILENCE])
    }

    /// `[P(false | k >= j), P(true | k < j)]`.
    fn weighed(flags: &[Option<bool>], last: u8, mislabels: [f64; 2]) -> Option<Self> {
        if last == 0 || flags.iter().all(Option::is_none) {
            return None;
        }
        let [behind, before] = mislabels.map(|mislabel| mislabel.clamp(1e-6, 0.5));
        let masses: Vec<f64> = (1..=last)
            .map(|j| {
                let told = flags.iter().zip(1_u8..=u8::MAX);
                told.filter_map(|(flag, hop)| Some((hop >= j, (*flag)?)))
                    .map(|known| match known {
                        (true, true) => 1.0 - behind,
                        (true, false) => behind,
                        (false, true) => before,
                        (false, false) => 1.0 - before,
                    })
                    .product()
            })
            .collect();
        Self::normalised(masses)
    }

    /// All of it at one stretch, or one before or behind it with the probability of a mislabel.
    pub(crate) fn at(hop: u8, last: u8, mislabel: f64) -> Option<Self> {
        let hop = hop.clamp(1, last.max(1));
        let masses = (1..=last.max(hop))
            .map(|j| match j.abs_diff(hop) {
                0 => 1.0 - mislabel,
                1 => mislabel / 2.0,
                _ => mislabel * mislabel,
            })
            .collect();
        Self::normalised(masses)
    }

    /// The average of several flows' change-points, where they took different ways.
    pub(crate) fn averaged(points: &[Self]) -> Option<Self> {
        let length = points.iter().map(|point| point.masses.len()).max()?;
        let masses = (0..length)
            .map(|at| points.iter().filter_map(|point| point.masses.get(at)).sum())
            .collect();
        Self::normalised(masses)
    }

    /// The same, with what hops told besides.
    pub(crate) fn with(mut self, flags: &[Option<bool>]) -> Option<Self> {
        let last = hop(self.masses.len());
        if let Some(told) = Self::of(flags, last, MISLABEL) {
            for (mass, told) in self.masses.iter_mut().zip(&told.masses) {
                *mass *= told;
            }
        }
        Self::normalised(self.masses)
    }

    fn normalised(mut masses: Vec<f64>) -> Option<Self> {
        let sum: f64 = masses.iter().sum();
        // Far fewer than 1e5 hops at 1e-6 each: a sum of zero means that there was nothing to add.
        if !(sum > 0.0 && sum.is_finite()) {
            return None;
        }
        masses.iter_mut().for_each(|mass| *mass /= sum);
        Some(Self { masses })
    }

    /// Half of it even over every stretch: the path was not the same all the time.
    #[must_use]
    pub(crate) fn blurred(mut self) -> Self {
        let even = 1.0 / self.masses.len() as f64;
        self.masses
            .iter_mut()
            .for_each(|mass| *mass = 0.5 * *mass + 0.5 * even);
        self
    }

    /// The same, counted from the other end.
    #[must_use]
    pub(crate) fn reversed(mut self) -> Self {
        self.masses.reverse();
        self
    }

    /// `(j, probability)`, from the first hop on.
    pub(crate) fn masses(&self) -> impl Iterator<Item = (u8, f64)> + '_ {
        (1_u8..=u8::MAX).zip(self.masses.iter().copied())
    }

    /// The stretch in which it lies: the leading one, joined with neighbours that nothing tells from it.
    pub(crate) fn segment(&self) -> Segment {
        let most = self.masses.iter().copied().fold(0.0, f64::max);
        self.hull(|mass| mass >= LEADING * most)
    }

    /// The smallest set of stretches that holds 90 %, as its hull, with the hull's probability.
    pub(crate) fn credible(&self) -> Credible {
        let mut order: Vec<(u8, f64)> = self.masses().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut chosen = vec![false; self.masses.len()];
        let mut sum = 0.0;
        for (j, mass) in order {
            if sum >= CREDIBLE {
                break;
            }
            sum += mass;
            if let Some(one) = chosen.get_mut(usize::from(j) - 1) {
                *one = true;
            }
        }
        let first = chosen.iter().position(|one| *one).unwrap_or(0);
        let last = chosen.iter().rposition(|one| *one).unwrap_or(0);
        let probability: f64 = self.masses.iter().skip(first).take(last - first + 1).sum();
        Credible {
            after_hop: hop(first),
            up_to_hop: hop(last + 1),
            probability: super::four_decimals(probability.min(1.0)),
        }
    }

    fn hull(&self, wanted: impl Fn(f64) -> bool) -> Segment {
        let first = self.masses.iter().position(|mass| wanted(*mass));
        let last = self.masses.iter().rposition(|mass| wanted(*mass));
        Segment {
            after_hop: hop(first.unwrap_or(0)),
            up_to_hop: hop(last.unwrap_or(0) + 1),
        }
    }
}

fn hop(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: Option<bool> = None;
    const O: Option<bool> = Some(false);
    const X: Option<bool> = Some(true);

    fn probability(flags: &[Option<bool>], j: u8) -> f64 {
        let found = ChangePoint::of(flags, hop(flags.len()), MISLABEL).unwrap();
        found.masses().find(|(hop, _)| *hop == j).unwrap().1
    }

    #[test]
    fn what_hops_told_besides_narrows_it() {
        let wide = [6, 7].map(|at| ChangePoint::at(at, 7, 0.2).unwrap());
        let wide = ChangePoint::averaged(&wide).unwrap();
        assert_eq!(wide.segment().after_hop, 5);
        let narrowed = wide.clone().with(&[O, O, O, O, O, O]).unwrap();
        assert_eq!(
            (narrowed.segment().after_hop, narrowed.segment().up_to_hop),
            (6, 7)
        );
        assert_eq!(wide.clone().with(&[N, N]), Some(wide));
    }

    #[test]
    fn the_worked_examples_hold() {
        assert!((probability(&[O, O, X, X], 3) - 0.96).abs() < 0.005);
        for j in 2..=4 {
            assert!((probability(&[O, N, N, X], j) - 0.33).abs() < 0.01);
        }
    }

    #[test]
    fn segments_join_what_nothing_tells_apart() {
        let at = |flags: &[Option<bool>], last| {
            let found = ChangePoint::of(flags, last, MISLABEL).unwrap();
            (
                found.segment().after_hop,
                found.segment().up_to_hop,
                found.credible(),
            )
        };
        let (after, up_to, credible) = at(&[O, O, X, X], 5);
        assert_eq!((after, up_to), (2, 3));
        assert_eq!((credible.after_hop, credible.up_to_hop), (2, 3));
        assert!(credible.probability >= 0.9);
        let (after, up_to, credible) = at(&[O, N, N, X], 5);
        assert_eq!((after, up_to), (1, 4));
        assert_eq!((credible.after_hop, credible.up_to_hop), (1, 4));
        let (after, up_to, _) = at(&[O, O, O], 4);
        assert_eq!((after, up_to), (3, 4));
        let (after, up_to, _) = at(&[X], 4);
        assert_eq!((after, up_to), (0, 1));
    }

    #[test]
    fn a_contradiction_widens_and_nothing_told_gives_nothing() {
        let found = ChangePoint::of(&[O, X, O, X], 4, MISLABEL).unwrap();
        let credible = found.credible();
        assert!(
            credible.after_hop <= 1 && credible.up_to_hop == 4,
            "{credible:?}"
        );
        assert_eq!(ChangePoint::of(&[N, N], 2, MISLABEL), None);
        assert_eq!(ChangePoint::of(&[X], 0, MISLABEL), None);
        let sum: f64 = found.blurred().masses().map(|(_, mass)| mass).sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}
