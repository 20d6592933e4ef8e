//! Bounds, floods, credentials, and sessions that are given up.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::{baseline, name};
use crate::conversation::{Conversation, playbook::play};
use crate::{
    Act, Direction, Elapsed, Label::*, Layer, Limits, Outcome::*, Protocol, Script, ScriptStep,
    Segment, When,
};

fn limited(protocol: Protocol, received: usize, reply_lines: usize) -> Script {
    Script::baseline(
        protocol,
        &name(),
        false,
        Limits {
            received,
            reply_lines,
            ..Limits::default()
        },
    )
}

#[test]
fn bounds_hold() {
    let played = play(limited(Protocol::Smtp, 12, 99))
        .server("220 0123456789\r\n")
        .ends(&[(Greeting, TooLong, "220 01234567")]);
    assert_eq!(played.transcript.discarded, 4);
    let played = play(limited(Protocol::Smtp, 99, 2))
        .server("220-a\r\n220-b\r\n220-c\r\n")
        .ends(&[(Greeting, TooLong, "220-a\r\n220-b\r\n")]);
    assert_eq!(
        played.bytes(Direction::ToClient, Layer::Plain).len(),
        21,
        "what was read stays in the transcript"
    );
}

#[test]
fn a_long_line_and_many_small_reads_are_cheap() {
    let line = [b"220 ".as_slice(), &b"x".repeat(1 << 20), b"\r\n"].concat();
    let mut session = Conversation::new(baseline(Protocol::Smtp), Elapsed::default());
    for piece in line.chunks(7) {
        session.handle_input(piece, Elapsed::default());
    }
    assert_eq!(session.exchanges()[0].received.len(), line.len() as u64);
    let (transcript, _) = session.into_record();
    assert_eq!(transcript.chunks.len(), crate::Transcript::SEGMENTS);
    assert_eq!(transcript.length(Direction::ToClient), line.len() as u64);
}

#[test]
fn a_flood_of_unasked_replies_is_one_exchange() {
    let flood = "250 ok\r\n".repeat(100_000);
    let mut session = Conversation::new(baseline(Protocol::Smtp), Elapsed::default());
    session.handle_input(b"220 mx\r\n", Elapsed::default());
    session.handle_input(flood.as_bytes(), Elapsed::default());
    assert!(session.poll_transmit(Elapsed::default()).is_some());
    let found: Vec<_> = session
        .exchanges()
        .iter()
        .map(|exchange| (exchange.label, exchange.received.len()))
        .collect();
    assert_eq!(found, [(Greeting, 8), (Other, flood.len() as u64)]);
}

#[test]
fn credentials_of_a_foreign_script_are_not_kept() {
    let mut script = Script::capabilities_only(Protocol::Smtp, &name(), Limits::default());
    let segments = vec![
        Segment {
            bytes: b"AUTH PL".to_vec(),
            pause_after: Duration::ZERO,
        },
        Segment {
            bytes: b"AIN c2VjcmV0\r\n".to_vec(),
            pause_after: Duration::ZERO,
        },
    ];
    script.steps.insert(
        1,
        ScriptStep {
            act: Act::Command {
                label: Auth,
                segments,
            },
            when: When::Always,
        },
    );
    let answer = vec![Segment {
        bytes: b"c2VjcmV0\r\n".to_vec(),
        pause_after: Duration::ZERO,
    }];
    script.steps.insert(
        2,
        ScriptStep {
            act: Act::Command {
                label: Auth,
                segments: answer,
            },
            when: When::Always,
        },
    );
    let played = play(script)
        .server("220 mx\r\n")
        .client("AUTH PL")
        .client("AIN c2VjcmV0\r\n")
        .server("334 more\r\n")
        .client("c2VjcmV0\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Auth, Replied, "334 more\r\n"),
            (Auth, Closed, ""),
        ]);
    assert_eq!(
        played.bytes(Direction::ToServer, Layer::Plain),
        "AUTH PLAIN ********\r\n********\r\n"
    );
}

#[test]
fn a_session_given_up_is_recorded_as_unfinished() {
    let mut session = Conversation::new(baseline(Protocol::Smtp), Elapsed::default());
    session.handle_input(b"220-half", Elapsed::from_millis(3));
    let (_, exchanges) = session.into_record();
    assert_eq!(
        (exchanges[0].outcome, exchanges[0].received.len()),
        (Unfinished, 8)
    );
}
