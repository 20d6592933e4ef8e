//! IMAP lines that no server may say before login: mailbox data, tags that were never sent, half a list.
//!
//! RFC 9051 §3 and §7: before authentication there is no mailbox to tell of. An unsolicited `OK [ALERT]`,
//! on the other hand, is allowed at any time, and Dovecot sends alerts before login: it accuses nobody.

use alloc::{format, vec::Vec};
use hoofbeat_session::{Label, Layer, Protocol, ReplyLine, Status};

use crate::{
    Encryption, Mechanism, Verdict,
    attribution::likelihood::{Observation, State},
    bench::Bench,
    evidence,
    hearing::{Hearing, Step},
    judge::Opinion,
};

/// Untagged data of the authenticated and the selected state.
const MAILBOX_DATA: &[&str] = &[
    "LIST",
    "LSUB",
    "STATUS",
    "SEARCH",
    "ESEARCH",
    "FLAGS",
    "NAMESPACE",
    "SORT",
    "THREAD",
    "QUOTA",
    "ACL",
];
/// Data that begins with a number.
const NUMBERED_DATA: &[&str] = &["EXISTS", "RECENT", "EXPUNGE", "FETCH"];

/// Why a line cannot be the server's; `Some(false)` where it is merely odd.
fn oddity(step: &Step<'_>, line: &ReplyLine, tags: &[&str]) -> Option<(&'static str, bool)> {
    let bytes = line.range.of(&step.bytes);
    let text = core::str::from_utf8(bytes.get(..bytes.len().min(200)).unwrap_or(bytes))
        .unwrap_or_default()
        .trim_end();
    let mut words = text.split_ascii_whitespace();
    let (first, second, third) = (
        words.next()?,
        words.next().unwrap_or_default().to_ascii_uppercase(),
        words.next().unwrap_or_default().to_ascii_uppercase(),
    );
    if first != "*" {
        let is_status = matches!(second.as_str(), "OK" | "NO" | "BAD");
        let unknown = is_status && first != "+" && !tags.contains(&first);
        return unknown.then_some(("answers a command with a tag that was never sent", true));
    }
    if MAILBOX_DATA.contains(&second.as_str())
        || (second.bytes().all(|byte| byte.is_ascii_digit())
            && NUMBERED_DATA.contains(&third.as_str()))
    {
        return Some((
            "tells of a mailbox before anybody logged in (RFC 9051 §7)",
            true,
        ));
    }
    if second == "CAPABILITY" && !text.to_ascii_uppercase().contains(" IMAP4") {
        return Some((
            "is a list of capabilities without IMAP4rev1, which every list must hold (RFC 9051 §7.2.2)",
            true,
        ));
    }
    if second == "OK" && third.starts_with("[REFERRAL") {
        return Some(("is a referral that answers no command (RFC 2221)", true));
    }
    let unsolicited = second == "OK" && step.exchange.label != Label::Greeting;
    (unsolicited && third.starts_with("[ALERT]"))
        .then_some(("is an alert that nothing called for", false))
}

fn greets_preauthenticated(hearing: &Hearing<'_>) -> bool {
    hearing
        .greeting()
        .is_some_and(|step| step.reply.status == Status::Preauthenticated)
}

/// Lines in the clear that the server cannot have said.
pub(crate) fn judge(bench: &Bench<'_, '_>) -> Option<Opinion> {
    if bench.protocol() != Protocol::Imap || bench.is_text() {
        return None;
    }
    let mut found: Vec<(&Hearing<'_>, &Step<'_>, ReplyLine, &'static str, bool)> = Vec::new();
    for hearing in bench
        .hearings
        .iter()
        .copied()
        .filter(|hearing| !greets_preauthenticated(hearing))
    {
        let tags: Vec<&str> = hearing
            .steps
            .iter()
            .filter_map(|step| step.sent.split_ascii_whitespace().next())
            .collect();
        // A recorded client may log in; what follows is its own affair.
        let is_login = |step: &Step<'_>| {
            matches!(step.exchange.label, Label::Auth | Label::Transaction)
                || (step.exchange.label == Label::Other && step.exchange.sent.is_some())
        };
        let before_login = hearing.steps.iter().take_while(|step| !is_login(step));
        for step in
            before_login.filter(|step| step.exchange.layer == Layer::Plain && step.answered())
        {
            // The greeting itself may have any tag-like form; it has no command to answer.
            for line in step
                .reply
                .lines
                .iter()
                .skip(usize::from(step.exchange.label == Label::Greeting))
            {
                if let Some((why, impossible)) = oddity(step, line, &tags) {
                    found.push((hearing, step, *line, why, impossible));
                }
            }
        }
    }
    found.first()?;
    let surely = found.iter().any(|(.., impossible)| *impossible);
    let encryption = match (bench.is_proven(), bench.completed().next().is_some()) {
        (true, _) => Encryption::Verified,
        (_, true) => Encryption::Unverified,
        _ => Encryption::Unknown,
    };
    let mut opinion = if surely {
        let mut opinion = Opinion::new(
            Verdict::Interference,
            Mechanism::PlaintextInjected,
            encryption,
            "lines stand in the dialogue that no server may say before login",
        );
        opinion.state = Some(State::Odd);
        opinion.observations.push(Observation::ForeignLeftover);
        opinion
    } else {
        Opinion::inconclusive(
            Mechanism::PlaintextInjected,
            encryption,
            "an alert that nothing called for stands in the clear; servers may send one, and so may anybody between",
        )
    };
    for (hearing, step, line, why, _) in found
        .iter()
        .filter(|(.., impossible)| *impossible == surely)
        .take(3)
    {
        opinion.evidence.push(evidence::part(
            hearing,
            step,
            line.range,
            Mechanism::PlaintextInjected,
            format!("this line {why}"),
        ));
    }
    opinion.innocent.push(if surely {
        "a server so broken would confuse every mail program that reads it".into()
    } else {
        "RFC 9051 lets a server send an alert at any time".into()
    });
    Some(opinion)
}
