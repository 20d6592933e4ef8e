//! Nobody answers, or somebody answers only to say no: closed ports, 421, 554, silence before the greeting.
//!
//! Benign nearly always. A closed port is `port-blocked` only where the same port is closed on several
//! servers that are known to be open (a cooperating server is one of them), while other ports answer.

use alloc::{collections::BTreeSet, format, string::String};
use hoofbeat_observation::{Failure, FailureKind, HandshakeOutcome, Role};
use hoofbeat_session::{Outcome, Status};

use crate::{
    Confidence, Encryption, Mechanism, Verdict,
    attribution::likelihood::{Group, Observation, State},
    bench::{Bench, is_welcomed},
    evidence,
    judge::Opinion,
    witness::testimony::Word,
};

/// Independent servers, controls or a witness, that must be closed too before a port counts as blocked.
const CLOSED_CONTROLS: usize = 2;

/// No connection stood.
pub(crate) fn nobody_answers(bench: &Bench<'_, '_>) -> Option<Opinion> {
    if bench
        .hearings
        .iter()
        .any(|hearing| hearing.connected() || !hearing.claims().is_empty())
    {
        return None;
    }
    let port = bench.service.port;
    let failed = bench
        .hearings
        .iter()
        .find_map(|hearing| Some((*hearing, hearing.dialogue.connect.failure.as_ref()?)));
    let mut operators = BTreeSet::new();
    let mut open = false;
    for control in &bench.controls {
        let here = control.dialogue.service.port == port;
        open |= control.connected() && !here;
        if let Role::Control { operator, .. } = &control.dialogue.role
            && here
        {
            if control.connected() {
                operators.clear();
                open = false;
                break;
            }
            operators.insert(operator);
        }
    }
    let witness = bench
        .testimony
        .as_ref()
        .filter(|_| !bench.leaves_out(Group::Witness));
    match witness.and_then(|testimony| testimony.word) {
        // Its report came over a port of its own, and by its own word it serves this one.
        Some(Word::Unreached) => open = true,
        // It answers on this very port.
        Some(Word::Clean | Word::Tampered { .. }) => operators.clear(),
        None => {}
    }
    let witness = witness.filter(|testimony| testimony.word == Some(Word::Unreached));
    let closed = operators.len() + usize::from(witness.is_some());
    open |= bench.siblings.iter().any(|sibling| sibling.connected());
    let (id, failure) = failed.map_or(("", None), |(hearing, failure)| (hearing.id, Some(failure)));
    if closed >= CLOSED_CONTROLS && open {
        let mut opinion = Opinion::new(
            Verdict::Interference,
            Mechanism::PortBlocked,
            Encryption::None,
            format!(
                "port {port} is closed from here for every server that was tried, while other ports answer: this network blocks it"
            ),
        );
        opinion.state = Some(State::Closed);
        opinion.observations.push(Observation::PortClosedForAll);
        opinion.evidence.push(evidence::whole(
            id,
            Mechanism::PortBlocked,
            format!("the connection to port {port} failed"),
            raw(failure),
        ));
        for control in bench
            .controls
            .iter()
            .filter(|control| control.dialogue.service.port == port)
            .take(3)
        {
            opinion.evidence.push(evidence::whole(
                control.id,
                Mechanism::PortBlocked,
                format!(
                    "so did the one to {}, which is known to be open",
                    control.dialogue.service.host
                ),
                raw(control.dialogue.connect.failure.as_ref()),
            ));
        }
        opinion.innocent.push("a policy, not an attack: many providers and clouds close port 25 against spam, and say so in their terms".into());
        return Some(opinion);
    }
    let mut opinion = Opinion::new(
        Verdict::Unreachable,
        None,
        Encryption::Unknown,
        sentence(port, failure),
    );
    if failure.is_some_and(|failure| failure.kind == FailureKind::LocalResources) {
        opinion.verdict = Verdict::Inconclusive;
    }
    opinion.certain = Some(Confidence::Established);
    opinion.evidence.push(evidence::whole(
        id,
        Verdict::Unreachable,
        "no connection stood",
        raw(failure),
    ));
    opinion.next = Some(format!(
        "try port {port} of a server that is known to be open, to tell this network from that server"
    ));
    Some(opinion)
}

fn raw(failure: Option<&Failure>) -> &str {
    failure.map_or("", |failure| failure.raw.as_str())
}

fn sentence(port: u16, failure: Option<&Failure>) -> String {
    let Some(failure) = failure else {
        return format!("port {port} gave no connection");
    };
    match failure.kind {
        FailureKind::Refused => format!("port {port} refuses connections"),
        FailureKind::TimedOut => format!("port {port} does not answer"),
        FailureKind::HostUnreachable | FailureKind::NetworkUnreachable => {
            "there is no route to the address from here".into()
        }
        FailureKind::Prohibited => format!("a firewall says that port {port} is prohibited"),
        FailureKind::NoSuchName => "the name does not exist".into(),
        FailureKind::NoSuchRecord => "the name has no address".into(),
        FailureKind::ResolverFailed | FailureKind::Bogus => "the DNS gave no usable answer".into(),
        FailureKind::LocalResources => {
            "this machine ran out of sockets; nothing was measured".into()
        }
        FailureKind::Reset | FailureKind::Closed | FailureKind::Other => {
            format!("the connection to port {port} failed")
        }
    }
}

/// Connections stood, and in none of them was there a welcome.
pub(crate) fn turned_away(bench: &Bench<'_, '_>) -> Option<Opinion> {
    if bench
        .hearings
        .iter()
        .any(|hearing| is_welcomed(hearing) || !hearing.claims().is_empty())
    {
        return None;
    }
    // Implicit TLS: no greeting where the handshake failed; that is the handshake's case.
    if bench.hearings.iter().any(|hearing| {
        hearing
            .handshake()
            .is_some_and(|handshake| handshake.outcome != HandshakeOutcome::Completed)
    }) {
        return None;
    }
    let hearing = bench
        .hearings
        .iter()
        .copied()
        .find(|hearing| hearing.connected())?;
    let Some(step) = hearing.greeting() else {
        let mut opinion = Opinion::inconclusive(
            None,
            Encryption::Unknown,
            "the connection stood and no greeting was recorded",
        );
        opinion.next = Some("check again, with a longer --timeout".into());
        return Some(opinion);
    };
    let reason = match (step.exchange.outcome, step.reply.status) {
        (Outcome::Replied, Status::Goodbye) => {
            "the server turns this client away for now, most likely a limit on connections"
        }
        (Outcome::Replied, Status::Transient) => {
            "the server turns this client away for now, as greylisting and limits do"
        }
        (Outcome::Replied, Status::Permanent) => {
            "the server refuses to talk to this client; that says nothing of its encryption"
        }
        (Outcome::Replied, _) => "the first words are no greeting of this protocol",
        (Outcome::TimedOut, _) => {
            "no greeting came in time: a tarpit, a greeting delay, or a silent server"
        }
        (Outcome::Closed, _) => "the connection was closed before a greeting",
        (Outcome::Reset, _) => "the connection was reset before a greeting",
        (Outcome::TooLong, _) => "the greeting did not end",
        (Outcome::Unfinished, _) => "the recording ends before the greeting",
    };
    let mut opinion = Opinion::inconclusive(None, Encryption::Unknown, reason);
    opinion.evidence.push(evidence::reply(
        hearing,
        step,
        Verdict::Inconclusive,
        "this is all that was said",
    ));
    opinion.innocent.push("limits, greylisting, tarpits and reputation filters look like this, and none of them concerns STARTTLS".into());
    opinion.next =
        Some("check again after a few minutes, from an address with a reverse name".into());
    Some(opinion)
}
