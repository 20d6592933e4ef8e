//! EHLO is refused or answered like something else: ESMTP turned into SMTP.
//!
//! Every server with a dialect here knows EHLO. If one of them says "unknown command" to it, it did not
//! receive EHLO. A server that nobody knows may well be that old.

use alloc::format;
use hoofbeat_session::{Label, Layer, Protocol};

use crate::{
    Encryption, Mechanism, Verdict,
    attribution::likelihood::Observation,
    bench::Bench,
    dialect::{DIALECTS, Refusal},
    evidence,
    fingerprint::{catalogue::FORGED, mask::Banner, wording},
    hearing::Step,
    judge::{Opinion, masked, verb, without_tls},
    pattern,
};

/// ESMTP is turned into SMTP.
pub(crate) fn judge(bench: &Bench<'_, '_>) -> Option<Opinion> {
    if !matches!(bench.protocol(), Protocol::Smtp | Protocol::Lmtp) {
        return None;
    }
    answered_like_noop(bench).or_else(|| refused(bench))
}

fn refused(bench: &Bench<'_, '_>) -> Option<Opinion> {
    // One list anywhere, and EHLO works.
    if bench
        .hearings
        .iter()
        .any(|hearing| hearing.list(Layer::Plain).is_some())
    {
        return None;
    }
    let (hearing, step) = bench.welcomed().find_map(|hearing| {
        let step = hearing
            .list_steps(Layer::Plain)
            .find(|step| step.refused() || is_odd(step))?;
        Some((hearing, step))
    })?;
    if is_odd(step) {
        let mut opinion = Opinion::inconclusive(
            Mechanism::EhloRefused,
            Encryption::Unknown,
            "EHLO is answered with a code that no server gives to it",
        );
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            Mechanism::EhloRefused,
            "RFC 5321 §4.3.2 knows 250 and refusals",
        ));
        return Some(opinion);
    }
    let echo = wording::altered_echo(hearing, step);
    let unknown_to = DIALECTS
        .iter()
        .filter(|dialect| {
            dialect.protocol == hearing.protocol()
                && bench.dialect.is_none_or(|known| known.name == dialect.name)
        })
        .find(|dialect| dialect.refusal(&step.line) == Some(Refusal::Unknown));
    let forged = FORGED.iter().find(|one| {
        one.unique
            && one.protocol == hearing.protocol()
            && pattern::matches(one.pattern, &step.line)
    });
    let masked_banner = bench.masked_greeting();
    // A server that never said ESMTP may be as old as its refusal says.
    let says_esmtp = bench
        .welcomed()
        .filter_map(|hearing| hearing.greeting())
        .any(|step| step.text().contains("ESMTP"));
    let unknown_to = unknown_to.filter(|_| says_esmtp || masked_banner.is_some());
    let mut opinion = Opinion::new(
        Verdict::Interference,
        Mechanism::EhloRefused,
        Encryption::None,
        "EHLO is refused in front of a server that knows it: without EHLO there is no STARTTLS",
    );
    opinion.state = Some(without_tls(bench));
    if let Some(echo) = echo {
        opinion.observations.push(Observation::AlteredEcho);
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            Mechanism::EhloRefused,
            format!("EHLO was sent, and the server quotes \"{echo}\""),
        ));
    } else if let Some(known) = unknown_to {
        opinion.observations.push(Observation::EhloUnknown);
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            Mechanism::EhloRefused,
            format!("these are {}'s words for an unknown command, and {} knows EHLO: it received something else", known.name, known.name),
        ));
    } else if let (Some(forged), Some(known)) = (forged, bench.dialect) {
        opinion.observations.push(Observation::ForgedWords);
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            Mechanism::EhloRefused,
            format!(
                "{} never says this; it is known from {}",
                known.name, forged.source
            ),
        ));
    } else if let Some(forged) = forged {
        opinion.observations.push(Observation::ForgedWords);
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            Mechanism::EhloRefused,
            format!(
                "the words are known from {} and from no mail server",
                forged.source
            ),
        ));
    } else if masked_banner.is_none() {
        if let Some(opinion) = verb::ehlo_refused_alike(bench, hearing, step) {
            return Some(opinion);
        }
        // HELO restrictions and filters refuse EHLO for who asks, in any words.
        let unknown = matches!(step.reply.code, Some(500 | 502))
            && bench
                .dialect
                .is_none_or(|known| known.refusal(&step.line).is_some());
        if !unknown {
            return Some(refused_by_rule(hearing, step));
        }
        return Some(ancient(bench));
    }
    if let Some((_, _, kind)) = masked_banner {
        opinion.product = if kind == Banner::Short {
            None
        } else {
            Some("cisco-pix")
        };
        masked::add_greeting(bench, &mut opinion, Mechanism::EhloRefused);
        if opinion.observations.len() == 1 {
            opinion.evidence.push(evidence::reply(
                hearing,
                step,
                Mechanism::EhloRefused,
                "and EHLO is refused",
            ));
        }
    }
    verb::add_observations(bench, &mut opinion);
    if let Some(helo) = hearing
        .step(Layer::Plain, Label::Helo)
        .filter(|helo| helo.positive())
    {
        opinion.evidence.push(evidence::reply(
            hearing,
            helo,
            Mechanism::EhloRefused,
            "HELO passes",
        ));
    }
    opinion.innocent.push(
        "a server from before 1993 would refuse EHLO too; its other replies say otherwise".into(),
    );
    Some(opinion)
}

/// EHLO is refused, and not as an unknown command: a rule about names or addresses, or somebody between.
fn refused_by_rule<'a>(hearing: &crate::hearing::Hearing<'a>, step: &Step<'a>) -> Opinion {
    let mut opinion = Opinion::inconclusive(
        Mechanism::EhloRefused,
        Encryption::Unknown,
        "EHLO is refused; servers do that by rules about who asks, and boxes do it too",
    );
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::EhloRefused,
        "the refusal",
    ));
    opinion.innocent.push("a rule about the client's name or address (smtpd_helo_restrictions and the like) refuses EHLO so".into());
    opinion.next =
        Some("check again with --ehlo NAME, a name that resolves to this address".into());
    opinion
}

/// A success that is not 250, or a 3xx.
fn is_odd(step: &Step<'_>) -> bool {
    step.answered()
        && step
            .reply
            .code
            .is_some_and(|code| (200..400).contains(&code) && code != 250)
}

/// EHLO is refused by a server that nobody knows: old or odd, its own doing until more is seen.
fn ancient(bench: &Bench<'_, '_>) -> Opinion {
    let mut opinion = Opinion::new(
        Verdict::Server,
        Mechanism::NotOffered,
        Encryption::None,
        "the server knows no EHLO, so it offers no STARTTLS",
    );
    opinion.state = Some(without_tls(bench));
    opinion.observations.push(Observation::PlainList);
    if let Some((hearing, step)) = bench
        .welcomed()
        .find_map(|hearing| Some((hearing, hearing.list_steps(Layer::Plain).next()?)))
    {
        opinion.evidence.push(evidence::reply(
            hearing,
            step,
            Mechanism::NotOffered,
            "EHLO is refused, and nothing in the session names a server that knows it",
        ));
    }
    verb::add_observations(bench, &mut opinion);
    opinion.innocent.push("a box that rewrites EHLO looks the same in front of an unknown server; controls from here would tell".into());
    opinion
}

/// A PIX replaces what it does not know by NOOP: the server answers `250 Ok` to EHLO and to STARTTLS.
fn answered_like_noop(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let (hearing, step) = bench.welcomed().find_map(|hearing| {
        let step = hearing
            .list_steps(Layer::Plain)
            .find(|step| step.positive() && step.reply.lines.len() == 1)?;
        let text = step.line.get(4..).unwrap_or_default().trim();
        let noop = hearing
            .step(Layer::Plain, Label::Noop)
            .filter(|noop| noop.positive());
        let like_noop = noop.is_some_and(|noop| noop.line == step.line)
            || DIALECTS.iter().any(|dialect| {
                dialect.protocol == hearing.protocol() && pattern::any(dialect.noop, &step.line)
            })
            || text.eq_ignore_ascii_case("ok");
        like_noop.then_some((hearing, step))
    })?;
    let attempt = bench
        .attempts()
        .into_iter()
        .find(|(hearing, attempt)| attempt.positive() && !hearing.is_ready(attempt));
    // One bare `250 OK` proves little; the same to STARTTLS is no answer any server gives.
    let (other, attempt) = attempt?;
    let mechanism = if attempt.line == step.line {
        Mechanism::CommandRewritten
    } else {
        Mechanism::EhloRefused
    };
    let mut opinion = Opinion::new(
        Verdict::Interference,
        mechanism,
        Encryption::None,
        "EHLO and STARTTLS are turned into NOOP on their way: the server answers OK and knows of neither",
    );
    // A PIX passes QUIT; who answers that alike, too, is something else.
    opinion.product = (!verb::answers_alike(other)).then_some("cisco-pix");
    opinion.state = Some(without_tls(bench));
    opinion.observations.push(Observation::OddSuccess);
    opinion.observations.push(Observation::EhloUnknown);
    opinion.evidence.push(evidence::reply(
        other,
        attempt,
        mechanism,
        "STARTTLS is answered with a success that is not 220, as NOOP would be",
    ));
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        mechanism,
        "EHLO is answered with a bare OK: no domain, no extensions (RFC 5321 §4.1.1.1)",
    ));
    masked::add_greeting(bench, &mut opinion, mechanism);
    opinion.innocent.push("a server may be badly written; answering STARTTLS with 250 would break every client that believes it".into());
    Some(opinion)
}
