//! What lies beyond the target's own dialogues: hops, a witness, other vantages; joined to what the rules proposed.
//!
//! Three steps around the tables: what enters ([`gather`]), what it overturns ([`Further::overturn`]), and which place
//! may be named ([`Further::locate`]). Hops may prove that a refusal is not the server's; they never make an accusation
//! without a dialogue in which STARTTLS failed. It must not know rules of dialogues.

mod hops;
mod place;
mod voices;

use alloc::{string::String, vec::Vec};

use super::{
    COLUMNS, Weighing,
    decision::Facts,
    likelihood::{CLASSES, Group, LEAST, LEAST_FOLLOWED, Observation, Row, State},
};
use crate::{
    Credible, Mechanism, Segment, Verdict,
    bench::{Bench, Controls},
    judge::{Opinion, without_tls},
    path::place::{Places, leading, share_of},
};

/// A place leads the hop evidence from this share on.
const LEADS: f64 = 0.60;

/// What hop evidence says least of any class where it is not held against a control, or the direction is another one.
const LEAST_INDIRECT: f64 = 0.10;

/// The further evidence on one service.
#[derive(Debug, Default)]
pub(crate) struct Further {
    rows: Vec<Weighing>,
    facts: Facts,
    segment: Option<Segment>,
    credible: Option<Credible>,
    /// What failed still travelled whole to the last hop that tells: the stretch behind it, for whom it fits.
    behind: Option<(Segment, Credible)>,
    raw_hops: bool,
    witness: bool,
    vantages: usize,
    /// STARTTLS was seen to work from inside the server's network, within an hour of here.
    inside_at_once: bool,
    /// Where hops lead.
    places: Option<Places>,
    /// Connections end at something that is not in front of the server: what it says is not the server's.
    proxied: bool,
    /// TLS with the witness ended at somebody else, who signs certificates of his own.
    intercepted: bool,
    /// Whether anything beyond dialogues lies before the judge, weighed or not.
    present: bool,
    /// A mechanism for an accusation that the rules did not make, and why.
    proposal: Option<(Mechanism, String)>,
    /// No place may be named, for the path was not steady.
    unsteady: bool,
}

/// Whether the mechanism is about the clear part of a session, where in-place changes show.
const fn in_the_clear(mechanism: Option<Mechanism>) -> bool {
    matches!(
        mechanism,
        None | Some(
            Mechanism::CapabilityMasked
                | Mechanism::CapabilityRemoved
                | Mechanism::CommandRewritten
                | Mechanism::CommandRefused
                | Mechanism::CommandDropped
                | Mechanism::EhloRefused
                | Mechanism::SessionProxied
                | Mechanism::BannerMasked
                | Mechanism::NotOffered
                | Mechanism::HiddenFromUs
                | Mechanism::TlsUnavailable
                | Mechanism::HandshakeReset
        )
    )
}

/// Gathers it, and adds its citations to the opinion. May turn a proposal into an accusation where the path itself
/// shows that the refusal was not the server's.
pub(crate) fn gather(bench: &Bench<'_, '_>, opinion: &mut Opinion) -> Further {
    let mut further = Further {
        present: bench.has_more(),
        ..Further::default()
    };
    if !further.present || matches!(opinion.verdict, Verdict::Clear) {
        return further;
    }
    if opinion.verdict == Verdict::Unreachable || opinion.mechanism == Some(Mechanism::PortBlocked)
    {
        further.closed(bench, opinion);
        // On an accusation the witness is heard as on any other.
        if opinion.verdict == Verdict::Unreachable {
            further.spared(bench, opinion);
        } else {
            further.testimony(bench, opinion);
        }
        further.others(bench, opinion);
        if further.facts.inside_clean.is_some() {
            opinion.state = opinion.state.or(Some(State::Closed));
        }
        return further;
    }
    further.facts.controls_clean = match bench.controls() {
        Controls::Clean => Some(true),
        Controls::Affected => Some(false),
        Controls::Silent => None,
    };
    if let Some(walk) = &bench.path {
        further.walk(bench, walk, opinion);
    }
    further.testimony(bench, opinion);
    further.others(bench, opinion);
    let mut said: Vec<String> = Vec::new();
    opinion.innocent.retain(|one| {
        let first = !said.contains(one);
        if first {
            said.push(one.clone());
        }
        first
    });
    if opinion.state.is_none() && !further.rows.is_empty() && in_the_clear(opinion.mechanism) {
        let welcomed = bench.welcomed().next().is_some();
        if opinion.certain.is_none() && welcomed && !bench.is_proven() {
            opinion.state = Some(without_tls(bench));
        }
    }
    further
}

impl Further {
    /// What enters beside the tables' observations.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Weighing> + '_ {
        self.rows.iter().copied()
    }

    fn push(&mut self, bench: &Bench<'_, '_>, observation: Observation) -> bool {
        let weighing = Weighing::from(observation);
        let kept = !bench.leaves_out(weighing.group);
        if kept {
            self.rows.push(weighing);
        }
        kept
    }

    /// The place that hops lead to, or the border that they lie on.
    fn located(&mut self, places: &Places) {
        self.facts.hops = true;
        self.facts.place = leading(places, LEADS);
        self.places = Some(*places);
    }

    /// Puts a place that is known better into the hops' stead.
    fn replace_places(&mut self, places: &Places) {
        for row in &mut self.rows {
            if row.group == Group::Path {
                let least = if row.followed { LEAST_FOLLOWED } else { LEAST };
                row.row = place_row(places, least);
            }
        }
        self.located(places);
    }

    /// Whether an observation enters.
    pub(crate) fn admits(&self, bench: &Bench<'_, '_>, weighing: &Weighing) -> bool {
        // Whoever ends the connection words the refusal too, and lists what it likes.
        let servers_words = [
            "own-refusal",
            "like-unknown",
            "plain-list",
            "operator-mistake",
        ];
        // Scanners that run on the client's machine keep commands from leaving it.
        let hosts = ["host-scanner", "host-interceptor-issuer"];
        !(bench.leaves_out(weighing.group)
            || (self.facts.wire_equal && hosts.contains(&weighing.name))
            || ((self.proxied || self.intercepted) && servers_words.contains(&weighing.name)))
    }
}

/// `P(hop evidence | class)`: the share of each place, and the least for the server's own, of which hops know least.
fn place_row(places: &Places, least: f64) -> Row {
    let mut row = [least.max(LEAST); CLASSES];
    for (value, (class, own)) in row.iter_mut().zip(COLUMNS) {
        if own {
            continue;
        }
        *value = share_of(places, class).unwrap_or(0.0).max(least);
    }
    row
}
