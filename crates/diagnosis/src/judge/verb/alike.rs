//! The same on servers that are known to work: then it is not this server.
//!
//! A refusal in any words is a server's own affair until unrelated servers meet it too. What counts is the manner:
//! the offer gone from their lists, or their refusals in the very words that were given here. It must not take a
//! control's own trouble, in its own words, for that.

use crate::{
    Confidence, Encryption, Mechanism, Verdict,
    attribution::likelihood::{Observation, State},
    bench::{Attempt, Bench, Controls, shows_tls},
    dialect::DIALECTS,
    evidence,
    fingerprint::wording,
    hearing::{Hearing, Step},
    judge::{
        Opinion,
        verb::{cite_list, opinion},
        without_tls,
    },
};
use alloc::{collections::BTreeSet, format, vec::Vec};
use hoofbeat_observation::Role;
use hoofbeat_session::Layer;

/// From how many unrelated servers on their manner is more than a hint: one may have changed since it was listed.
const ENOUGH: usize = 2;

/// Not offered here, nor by servers that are known to offer it; `step` asked for it all the same, in vain.
pub(super) fn offered_nowhere<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
) -> Opinion {
    let mut opinion = opinion(
        bench,
        Verdict::Interference,
        Mechanism::CapabilityRemoved,
        without_tls(bench),
        "STARTTLS is missing here, and from here also on servers that are known to offer it: something on this side removes it",
    );
    // One control whose entry grew old would look the same.
    if bench.controls_by(shows_tls).1 < ENOUGH {
        opinion.certain = Some(Confidence::Indicated);
    }
    // The controls are weighed for every opinion; here they are cited too.
    for control in bench.controls_here().take(3) {
        if let Some(list) = control.list(Layer::Plain) {
            opinion.evidence.push(evidence::reply(
                control,
                list.step,
                Mechanism::CapabilityRemoved,
                format!(
                    "{} is known to offer STARTTLS, and from here it does not",
                    control.dialogue.service.host
                ),
            ));
        }
    }
    cite_list(
        bench,
        &mut opinion,
        Mechanism::CapabilityRemoved,
        "the list given here lacks it as well",
    );
    opinion.evidence.push(if step.answered() {
        evidence::reply(
            hearing,
            step,
            Mechanism::CapabilityRemoved,
            "and the command is refused",
        )
    } else {
        evidence::sent(
            hearing,
            step,
            Mechanism::CapabilityRemoved,
            "and the connection ends at the command",
        )
    });
    opinion.innocent.push("what is known of the controls may have grown old; it would have to have done so for all of them".into());
    opinion
}

/// Offered and refused, here and on servers that are known to work, in words that are neither's own.
pub(super) fn refused_alike<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
) -> Option<Opinion> {
    if bench.controls() != Controls::Affected {
        return None;
    }
    let words = step.line_without_verb(hearing.protocol());
    let alike: Vec<Attempt<'_, 'a>> = bench
        .controls_here()
        .filter_map(|control| {
            let other = control.upgrades().find(|other| {
                other.refused() && other.line_without_verb(control.protocol()) == words
            })?;
            (!is_its_own(control, other)).then_some((control, other))
        })
        .collect();
    let mut opinion = opinion(
        bench,
        Verdict::Interference,
        Mechanism::CommandRefused,
        State::Refused,
        "STARTTLS is offered and then refused, here and on servers that are known to work, in the same words: something on this side answers for all of them",
    );
    cite_alike(&mut opinion, (hearing, step), &alike)?;
    Some(opinion)
}

/// EHLO is not recognised, here and on servers that are known to list what they offer, in the same words.
pub(crate) fn ehlo_refused_alike<'a>(
    bench: &Bench<'_, 'a>,
    hearing: &Hearing<'a>,
    step: &Step<'a>,
) -> Option<Opinion> {
    // Rules about who asks refuse by other codes; what they say to one client they may well say everywhere.
    if !matches!(step.reply.code, Some(500 | 502))
        || bench
            .controls_here()
            .any(|control| control.list(Layer::Plain).is_some())
    {
        return None;
    }
    let lists = |control: &Hearing<'_>| matches!(&control.dialogue.role, Role::Control { known, .. } if !known.is_empty());
    let alike: Vec<Attempt<'_, 'a>> = bench
        .controls_here()
        .filter(|control| lists(control))
        .filter_map(|control| {
            let other = control
                .list_steps(Layer::Plain)
                .find(|other| other.refused() && other.line == step.line)?;
            Some((control, other))
        })
        .collect();
    let mut opinion = Opinion::new(
        Verdict::Interference,
        Mechanism::EhloRefused,
        Encryption::None,
        "EHLO is refused as unknown, here and on servers that are known to understand it, in the same words: something on this side answers for all of them",
    );
    opinion.state = Some(without_tls(bench));
    cite_alike(&mut opinion, (hearing, step), &alike)?;
    opinion.observations.push(Observation::ControlsAffected);
    Some(opinion)
}

/// Whether a control may have worded this refusal itself.
fn is_its_own(control: &Hearing<'_>, refusal: &Step<'_>) -> bool {
    match wording::recognise(&[control]) {
        Some(known) => known.refusal(&refusal.line).is_some(),
        None => DIALECTS.iter().any(|known| {
            known.protocol == control.protocol() && known.refusal(&refusal.line).is_some()
        }),
    }
}

/// Cites the refusal here and the same elsewhere; `None` where nobody else met it.
fn cite_alike<'a>(
    opinion: &mut Opinion,
    here: Attempt<'_, 'a>,
    alike: &[Attempt<'_, 'a>],
) -> Option<()> {
    let servers: BTreeSet<_> = alike
        .iter()
        .map(|(control, _)| &control.dialogue.service)
        .collect();
    if servers.is_empty() {
        return None;
    }
    let supports = opinion.mechanism?;
    if servers.len() < ENOUGH {
        opinion.certain = Some(Confidence::Indicated);
    }
    let (hearing, step) = here;
    opinion
        .evidence
        .push(evidence::reply(hearing, step, supports, "the refusal here"));
    for (control, other) in alike.iter().take(3) {
        opinion.evidence.push(evidence::reply(
            control,
            other,
            supports,
            format!(
                "{}, known to work, refuses in the same words",
                control.dialogue.service.host
            ),
        ));
    }
    opinion.innocent.push(
        "servers of one operator may share a filter and its words; unrelated ones do not".into(),
    );
    Some(())
}
