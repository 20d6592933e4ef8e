//! Lists cut down to what a known box lets through.

use crate::{
    Mechanism,
    attribution::likelihood::Observation,
    bench::Bench,
    evidence,
    fingerprint::catalogue::{DELETERS, Deleter},
    hearing::Hearing,
    judge::Opinion,
    pattern,
};
use alloc::{format, vec::Vec};
use hoofbeat_session::{Layer, Protocol};

/// The known deleter whose pattern a list fits, against what the server would list.
pub(super) fn deletion(
    bench: &Bench<'_, '_>,
    hearing: &Hearing<'_>,
    refusal: Option<&str>,
) -> Option<&'static Deleter> {
    let list = hearing.list(Layer::Plain)?;
    if hearing.protocol() != Protocol::Smtp || list.items.items.is_empty() {
        return None;
    }
    let gateway = bench.gateway().map(|found| found.product);
    DELETERS.iter().find(|deleter| {
        if deleter.keeps.is_empty() {
            // Deletes by name: the greeting must name it too.
            return gateway == Some(deleter.product)
                && !deleter
                    .deletes
                    .iter()
                    .any(|keyword| list.items.has(keyword));
        }
        if !list
            .items
            .keywords()
            .all(|keyword| deleter.keeps.contains(&keyword))
        {
            return false;
        }
        let missing = bench.dialect.map_or(0, |known| {
            known
                .always
                .iter()
                .filter(|keyword| !list.items.has(keyword))
                .count()
        });
        let words = refusal.is_some_and(|line| {
            crate::fingerprint::catalogue::FORGED.iter().any(|one| {
                one.product == Some(deleter.product) && pattern::matches(one.pattern, line)
            })
        });
        // One word that is left fits every list of what may pass.
        list.items.items.len() >= 2 && (missing >= 2 || words)
    })
}

pub(super) fn add_deletion(bench: &Bench<'_, '_>, opinion: &mut Opinion) {
    let refusal = bench
        .attempts()
        .into_iter()
        .find(|(_, step)| step.refused())
        .map(|(_, step)| step.line.clone());
    let Some((hearing, found)) = bench
        .hearings
        .iter()
        .find_map(|hearing| Some((*hearing, deletion(bench, hearing, refusal.as_deref())?)))
    else {
        return;
    };
    let Some(list) = hearing.list(Layer::Plain) else {
        return;
    };
    opinion.observations.push(Observation::KnownDeletion);
    opinion.product = Some(found.product);
    let lacking = bench.dialect.map(|known| {
        (
            known.name,
            known
                .always
                .iter()
                .copied()
                .filter(|keyword| !list.items.has(keyword))
                .collect::<Vec<_>>(),
        )
    });
    let claim = match lacking.filter(|(_, lacking)| !lacking.is_empty()) {
        Some((name, lacking)) => format!(
            "{name} always lists {}, and this list keeps only what {} lets through",
            lacking.join(", "),
            found.name
        ),
        None => format!(
            "this list keeps only what {} lets through ({})",
            found.name, found.source
        ),
    };
    opinion.evidence.push(evidence::reply(
        hearing,
        list.step,
        Mechanism::CapabilityRemoved,
        claim,
    ));
}
