//! Somebody else answers: scanners, canned proxies, another owner's greeting, an address where nobody lives.

use alloc::{format, string::String, vec::Vec};
use hoofbeat_session::{Layer, Protocol};

use crate::{
    Confidence, Encryption, LocationClass, Mechanism, Verdict,
    attribution::likelihood::Observation,
    bench::{Bench, Controls, Offer},
    dialect::owner_of,
    evidence,
    fingerprint::{
        catalogue::{CANNED, Canned, Kind},
        mask,
    },
    hearing::{Hearing, List},
    judge::{Opinion, without_tls},
    pattern,
};

/// Another server answers.
pub(crate) fn judge(bench: &Bench<'_, '_>) -> Option<Opinion> {
    // A proven certificate means that the server itself is at the other end, whoever greets.
    if bench.is_proven() && !super::trust::has_interceptor(bench) {
        return None;
    }
    scanner(bench)
        .or_else(|| canned(bench))
        .or_else(|| other_owner(bench))
        .or_else(|| from_nowhere(bench))
        .or_else(|| same_for_all(bench))
}

fn proxied(bench: &Bench<'_, '_>, reason: String) -> Opinion {
    let encryption = if bench.completed().next().is_some() {
        Encryption::Unverified
    } else {
        Encryption::None
    };
    let mut opinion = Opinion::new(
        Verdict::Interference,
        Mechanism::SessionProxied,
        encryption,
        reason,
    );
    opinion.state = Some(without_tls(bench));
    opinion
}

/// A greeting that names a scanner or a proxy.
fn scanner(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let (hearing, step, found) = bench.named()?;
    let reason = match found.kind {
        Kind::HostScanner => format!(
            "{} on this computer answers in the server's place",
            found.name
        ),
        Kind::Proxy => format!("{} answers in the server's place", found.name),
        // A gateway may be the domain's own server, unless another program's voice is heard behind it.
        Kind::Gateway if bench.dialect.is_some() && bench.offer() != Offer::Always => format!(
            "{} greets, and another program's replies come from behind it",
            found.name
        ),
        Kind::Editor | Kind::Gateway => return None,
    };
    let mut opinion = proxied(bench, reason);
    opinion.product = Some(found.product);
    opinion
        .observations
        .push(if found.kind == Kind::HostScanner {
            Observation::HostScanner
        } else {
            Observation::KnownProxy
        });
    // A proxy that names itself is no inference.
    opinion.certain = Some(if found.kind == Kind::Gateway {
        Confidence::Indicated
    } else {
        Confidence::Likely
    });
    if found.kind == Kind::Gateway
        && let Some((other, words)) = bench.second_voice()
    {
        let name = bench
            .dialect
            .map_or("another program", |dialect| dialect.name);
        opinion.evidence.push(evidence::reply(
            other,
            words,
            Mechanism::SessionProxied,
            format!("these are {name}'s words, in the same session"),
        ));
    }
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::SessionProxied,
        format!(
            "the greeting names {} ({}: {})",
            found.name,
            found.grade.words(),
            found.source
        ),
    ));
    if found.kind == Kind::HostScanner {
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            LocationClass::ThisHost,
            "this product runs on the client's own computer",
        ));
    }
    opinion.innocent.push("the proxy may be there on purpose, as a mail scanner; it still ends the encryption before the server".into());
    Some(opinion)
}

fn fits(canned: &Canned, list: &List<'_, '_>) -> bool {
    let mut texts: Vec<String> = list
        .items
        .first_line
        .map(|range| String::from_utf8_lossy(range.of(&list.step.bytes)).into_owned())
        .into_iter()
        .collect();
    texts.extend(
        list.items
            .items
            .iter()
            .map(|item| String::from_utf8_lossy(item.range.of(&list.step.bytes)).into_owned()),
    );
    texts.len() == canned.lines.len()
        && texts
            .iter()
            .zip(canned.lines)
            .all(|(text, line)| pattern::matches(line, text.trim_end()))
}

/// A list that a known proxy gives whatever server is asked for.
fn canned(bench: &Bench<'_, '_>) -> Option<Opinion> {
    if bench.offer() == Offer::Always {
        return None;
    }
    let (hearing, list, known) = bench.hearings.iter().find_map(|hearing| {
        let list = hearing.list(Layer::Plain)?;
        let known = CANNED.iter().find(|known| fits(known, &list))?;
        Some((*hearing, list, known))
    })?;
    let mut opinion = proxied(
        bench,
        format!(
            "the list of extensions is the canned one of {}, not a mail server's",
            known.name
        ),
    );
    opinion.product = known.product;
    opinion.observations.push(Observation::KnownProxy);
    opinion.certain = Some(Confidence::Indicated).filter(|_| bench.controls() == Controls::Silent);
    opinion.evidence.push(evidence::reply(
        hearing,
        list.step,
        Mechanism::SessionProxied,
        format!("line for line the list known from {}; RFC 5321 §4.1.1.1 wants the server's domain first", known.source),
    ));
    opinion.innocent.push("a gateway with these words might be the domain's chosen mail server; controls from here tell".into());
    opinion.next = Some(
        "speak to other providers' servers on the same port: the same list from them settles it"
            .into(),
    );
    Some(opinion)
}

/// The address belongs to an owner whose servers greet otherwise.
fn other_owner(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let owner = owner_of(&bench.service.host, bench.protocol())?;
    let mut welcomed = bench.welcomed().peekable();
    welcomed.peek()?;
    let foreign: Vec<&Hearing<'_>> = welcomed.collect();
    let is_foreign = |hearing: &&Hearing<'_>| {
        hearing.greeting().is_some_and(|step| {
            !step.text().contains(owner.mark) && mask::banner(&step.bytes).is_none()
        })
    };
    if !foreign.iter().all(is_foreign) {
        return None;
    }
    let hearing = *foreign.first()?;
    let step = hearing.greeting()?;
    let mut opinion = proxied(
        bench,
        format!(
            "the greeting is not {}'s: another server answers at this address",
            owner.name
        ),
    );
    opinion.observations.push(Observation::ForeignOwner);
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::SessionProxied,
        format!("every greeting of {} holds \"{}\"", owner.name, owner.mark),
    ));
    opinion.innocent.push(format!(
        "{} may have changed its greeting; the certificate behind STARTTLS would tell",
        owner.name
    ));
    Some(opinion)
}

/// An address where nothing may answer greets, and this service has no TLS either.
fn from_nowhere(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let (nowhere, words) = bench.greeting_from_nowhere()?;
    if bench.offer() == Offer::Always {
        return None;
    }
    let mut opinion = proxied(
        bench,
        "something near answers for every address, even for one where nobody lives".into(),
    );
    opinion.evidence.push(evidence::reply(
        nowhere,
        words,
        Mechanism::SessionProxied,
        format!(
            "{} is reserved for documentation (RFC 5737, RFC 3849), and yet it greets",
            nowhere.dialogue.service.host
        ),
    ));
    if let Some((hearing, step)) = bench
        .welcomed()
        .find_map(|hearing| Some((hearing, hearing.greeting()?)))
    {
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            Mechanism::SessionProxied,
            "this greeting came over the same port",
        ));
    }
    Some(opinion)
}

fn offers(hearing: &Hearing<'_>) -> Option<Vec<String>> {
    let list = hearing.list(Layer::Plain)?;
    (!list.items.items.is_empty()).then(|| {
        list.items
            .items
            .iter()
            .map(|item| format!("{} {}", item.keyword, item.arguments))
            .collect()
    })
}

/// The name that the EHLO reply gives the server.
fn claimed(hearing: &Hearing<'_>) -> Option<Vec<u8>> {
    let list = hearing.list(Layer::Plain)?;
    let line = list.items.first_line?.of(&list.step.bytes);
    Some(
        line.split(u8::is_ascii_whitespace)
            .next()
            .unwrap_or_default()
            .to_vec(),
    )
}

/// The same list from servers of unrelated owners, which are known to offer more.
fn same_for_all(bench: &Bench<'_, '_>) -> Option<Opinion> {
    if bench.controls() != Controls::Affected
        || !matches!(
            bench.protocol(),
            Protocol::Smtp | Protocol::Imap | Protocol::Pop3
        )
    {
        return None;
    }
    let hearing = bench
        .welcomed()
        .find(|hearing| hearing.list(Layer::Plain).is_some())?;
    let here = offers(hearing)?;
    // A mask keeps each server's own list; a proxy has one for all.
    if !bench.masks().is_empty() {
        return None;
    }
    // One name in every EHLO reply, and one that nobody asked for.
    let name =
        claimed(hearing).filter(|name| !name.eq_ignore_ascii_case(bench.service.host.as_bytes()));
    let control = bench.controls_here().find(|control| {
        control.dialogue.service != *bench.service
            && name.is_some()
            && claimed(control) == name
            && offers(control).is_some_and(|there| there == here)
    })?;
    let mut opinion = proxied(bench, "servers of unrelated owners give one and the same list from here, without STARTTLS: one proxy answers for all".into());
    opinion.observations.push(Observation::KnownProxy);
    let list = hearing.list(Layer::Plain)?;
    opinion.evidence.push(evidence::reply(
        hearing,
        list.step,
        Mechanism::SessionProxied,
        "the list given here",
    ));
    if let Some(list) = control.list(Layer::Plain) {
        opinion.evidence.push(evidence::reply(
            control,
            list.step,
            Mechanism::SessionProxied,
            format!(
                "the same list from {}, which is known to offer STARTTLS",
                control.dialogue.service.host
            ),
        ));
    }
    Some(opinion)
}
