//! Keywords overwritten in place, and greetings: Cisco's `inspect esmtp`, `fixup`, and same-length masks.

use alloc::{format, string::String};
use hoofbeat_session::{ByteRange, Layer};

use crate::{
    Encryption, Mechanism, Verdict,
    attribution::likelihood::{Observation, State},
    bench::{Bench, Offer},
    dialect::Refusal,
    evidence,
    fingerprint::{
        mask::{Banner, Kind, Masked, Masks, Slot},
        wording::{self, Origin},
    },
    hearing::Hearing,
    judge::{Opinion, verb, without_tls},
};

/// The offer of STARTTLS is overwritten.
pub(crate) fn judge(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let found = bench.masks();
    let (hearing, masks) = found.iter().find(|(_, masks)| masks.starttls().is_some())?;
    let masked = masks.starttls()?;
    // The verb arrives and the server itself says no: then nothing of its offer was hidden.
    let own_refusal = bench.attempts().into_iter().any(|(hearing, step)| {
        step.refused()
            && matches!(
                wording::origin(hearing, step, bench.dialect),
                Origin::Own(_, Refusal::Off | Refusal::NotAdvertised)
            )
    });
    if own_refusal && masked.slot != Slot::StartTls {
        return None;
    }
    let by = product(bench, masks);
    let reason = match by {
        Some(_) => format!(
            "the server's STARTTLS offer is overwritten on its way ({})",
            masked.text
        ),
        None => format!(
            "the server's STARTTLS offer is replaced by \"{}\" on its way",
            masked.text
        ),
    };
    let mut opinion = Opinion::new(
        Verdict::Interference,
        Mechanism::CapabilityMasked,
        Encryption::None,
        reason,
    );
    opinion.product = by;
    opinion.state = Some(without_tls(bench));
    opinion.observations.push(if masked.slot == Slot::StartTls {
        Observation::MaskInSlot
    } else {
        Observation::MaskPerhaps
    });
    cite_mask(
        &mut opinion,
        hearing,
        masked,
        masks,
        Mechanism::CapabilityMasked,
    );
    verb::add_observations(bench, &mut opinion);
    if own_refusal {
        opinion.observations.push(Observation::OwnRefusal);
    }
    add_greeting(bench, &mut opinion, Mechanism::CapabilityMasked);
    add_inside(bench, &mut opinion);
    if masked.slot == Slot::Perhaps {
        opinion.innocent.push(format!(
            "\"{}\" may once have been CHUNKING or SMTPUTF8, which are as long as STARTTLS; what speaks against it is said above",
            masked.text
        ));
    } else {
        opinion.innocent.push("no mail server lists a keyword of this form, and its neighbours leave no room for another one of this length".into());
    }
    opinion.innocent.push("usually a firewall's default setting, not an attack: the bytes show the box, not an intent".into());
    Some(opinion)
}

fn product(bench: &Bench<'_, '_>, masks: &Masks) -> Option<&'static str> {
    if masks.cisco {
        // Counter letters came with `inspect esmtp`, on PIX 7 and everything after it.
        return Some("cisco-asa");
    }
    masks
        .items
        .iter()
        .any(|item| item.kind == Kind::Star)
        .then_some("smtp-gated")
        .or_else(|| bench.gateway().map(|found| found.product))
}

fn cite_mask(
    opinion: &mut Opinion,
    hearing: &Hearing<'_>,
    masked: &Masked,
    masks: &Masks,
    supports: Mechanism,
) {
    let Some(step) = hearing
        .list_steps(Layer::Plain)
        .find(|step| step.positive())
        .or_else(|| hearing.greeting())
    else {
        return;
    };
    let claim = match masked.kind {
        Kind::Counter if masked.slot == Slot::StartTls => format!(
            "\"{}\" stands where this server lists STARTTLS",
            masked.text
        ),
        Kind::Counter => format!(
            "\"{}\" is as long as STARTTLS, which is missing",
            masked.text
        ),
        Kind::Run => format!(
            "\"{}\" is one character repeated to the length of the missing keyword",
            masked.text
        ),
        Kind::Altered => format!(
            "\"{}\" is the missing keyword with letters changed, at the same length",
            masked.text
        ),
        Kind::Star => format!(
            "\"{}\" has one byte of its keyword overwritten",
            masked.text
        ),
    };
    opinion
        .evidence
        .push(evidence::part(hearing, step, masked.range, supports, claim));
    if masks.cisco {
        let (Some(first), Some(last)) = (masks.items.first(), masks.items.last()) else {
            return;
        };
        let all = ByteRange {
            from: first.range.from,
            to: last.range.to,
        };
        let verified = if hearing.is_text() {
            format!(
                "{} overwritten line(s), their last letters counting up from A, as Cisco's inspect esmtp does",
                masks.items.len()
            )
        } else {
            format!(
                "{} overwritten line(s) of kept length, their last letters counting up from A, as Cisco's inspect esmtp does",
                masks.items.len()
            )
        };
        opinion
            .evidence
            .push(evidence::part(hearing, step, all, supports, verified));
    }
}

/// Cites a masked greeting as further evidence.
pub(crate) fn add_greeting(bench: &Bench<'_, '_>, opinion: &mut Opinion, supports: Mechanism) {
    if let Some((hearing, step, kind)) = bench.masked_greeting() {
        opinion.observations.push(Observation::MaskedGreeting);
        opinion
            .evidence
            .push(evidence::reply(hearing, step, supports, banner_claim(kind)));
    }
}

fn banner_claim(kind: Banner) -> &'static str {
    match kind {
        Banner::Sparing => {
            "the greeting is overwritten with asterisks that spare only 2, 0 and blanks, as PIX-era fixup does"
        }
        Banner::Solid => {
            "the greeting is overwritten with nothing but asterisks, as ASA's mask-banner does"
        }
        Banner::Short => {
            "the greeting is a few asterisks: Postfix's clients take that for a PIX and fall back to HELO"
        }
    }
}

/// Keywords that stand inside TLS and not outside: the list was edited on its way.
pub(crate) fn add_inside(bench: &Bench<'_, '_>, opinion: &mut Opinion) {
    let Some(supports) = opinion.mechanism else {
        return;
    };
    for hearing in &bench.hearings {
        let (Some(plain), Some(inside)) = (hearing.list(Layer::Plain), hearing.list(Layer::Tls))
        else {
            continue;
        };
        // AUTH, REQUIRETLS and the X-commands differ by layer on honest servers too.
        let lost: alloc::vec::Vec<&str> = inside
            .items
            .keywords()
            .filter(|keyword| {
                !plain.items.has(keyword)
                    && !keyword.starts_with("AUTH")
                    && !keyword.starts_with('X')
                    && !matches!(
                        *keyword,
                        "REQUIRETLS" | "STARTTLS" | "SASL" | "USER" | "SASL-IR"
                    )
            })
            .collect();
        if !lost.is_empty() {
            let claim: String = format!(
                "inside TLS the server also lists {}, which its list in the clear lacks",
                lost.join(", ")
            );
            opinion
                .evidence
                .push(evidence::reply(hearing, inside.step, supports, claim));
            return;
        }
    }
}

/// Overwritten keywords beside a STARTTLS that is there: told, not accused.
pub(crate) fn add_harmless(bench: &Bench<'_, '_>, opinion: &mut Opinion) {
    let Some((hearing, masks)) = bench.masks().into_iter().next() else {
        return;
    };
    let (Some(first), Some(list)) = (masks.items.first(), hearing.list(Layer::Plain)) else {
        return;
    };
    let by = if masks.cisco {
        "Cisco's inspect esmtp"
    } else {
        "something between"
    };
    opinion.evidence.push(evidence::part(
        hearing,
        list.step,
        first.range,
        opinion.verdict,
        format!(
            "{} keyword(s) overwritten by {by}, STARTTLS is not among them",
            masks.items.len()
        ),
    ));
    opinion
        .innocent
        .push("overwritten keywords such as CHUNKING, SMTPUTF8 or HELP are no stripping".into());
}

/// Only the greeting is masked: everything else was in order, or nothing stronger was found.
pub(crate) fn greeting_only(bench: &Bench<'_, '_>) -> Option<Opinion> {
    let (hearing, step, kind) = bench.masked_greeting()?;
    let offered = bench.offer() == Offer::Always;
    let encryption = match (
        bench.is_proven(),
        bench.completed().next().is_some(),
        offered,
    ) {
        (true, _, true) => Encryption::Verified,
        (_, true, true) => Encryption::Unverified,
        (.., true) => Encryption::Unknown,
        _ if bench.offer() == Offer::Never => Encryption::None,
        _ => Encryption::Unknown,
    };
    let reason = match (offered, bench.offer()) {
        (true, _) => {
            "the greeting is overwritten with asterisks; STARTTLS gets through, but Postfix senders fall back to HELO on such a greeting and then never encrypt"
        }
        (_, Offer::Never) => {
            "the greeting is overwritten with asterisks, and the list that comes through does not offer STARTTLS"
        }
        _ => {
            "the greeting is overwritten with asterisks, which makes Postfix senders fall back to HELO and never encrypt"
        }
    };
    let mut opinion = Opinion::new(
        Verdict::Interference,
        Mechanism::BannerMasked,
        encryption,
        reason,
    );
    opinion.state = Some(State::Odd);
    opinion.observations.push(Observation::MaskedGreeting);
    opinion.product = match kind {
        Banner::Sparing => Some("cisco-pix"),
        // Asterisks alone may be the server's own cosmetics; Cisco's letters in the list name the product.
        Banner::Solid | Banner::Short => None,
    };
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Mechanism::BannerMasked,
        banner_claim(kind),
    ));
    for (hearing, masks) in bench.masks() {
        if let Some(first) = masks.items.first() {
            if masks.cisco {
                opinion.product = Some("cisco-asa");
            }
            cite_mask(
                &mut opinion,
                hearing,
                first,
                &masks,
                Mechanism::BannerMasked,
            );
            break;
        }
    }
    opinion.innocent.push("a server may be set to greet with asterisks; real ones keep their name in the greeting, for other servers log it".into());
    if offered {
        opinion.innocent.push("overwritten keywords such as CHUNKING, SMTPUTF8 or HELP are no stripping: STARTTLS itself is there".into());
    }
    Some(opinion)
}
