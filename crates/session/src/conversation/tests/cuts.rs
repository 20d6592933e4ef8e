//! What holds for any server, however its bytes are cut.

use alloc::{format, string::String, vec, vec::Vec};
use core::time::Duration;
use proptest::prelude::*;

use super::name;
use crate::conversation::{Conversation, Event};
use crate::{
    ByteRange, Direction, Elapsed, Exchange,
    Label::{Capabilities, SplitStartTls},
    Limits, Protocol, Script,
};

/// Feeds the server's turns, each cut as told, and lets the session write between turns.
fn perform(
    script: &Script,
    turns: &[Vec<u8>],
    cuts: &[usize],
    closes: bool,
) -> (Vec<Exchange>, Vec<u8>, u64) {
    let mut now = Elapsed::default();
    let mut session = Conversation::new(script.clone(), now);
    let mut turns = turns.iter();
    let mut cuts = cuts.iter().cycle();
    for _ in 0..64 {
        while let Some(event) = session.poll_event() {
            if event == Event::Upgrade {
                session.handle_upgraded(now);
            }
        }
        if session.is_finished() {
            break;
        }
        now = now.after(Duration::from_millis(1));
        if session.poll_transmit(now).is_some() {
            continue;
        }
        match turns.next() {
            Some(turn) => {
                let mut rest = turn.as_slice();
                while !rest.is_empty() {
                    let (piece, behind) =
                        rest.split_at((*cuts.next().unwrap()).clamp(1, rest.len()));
                    session.handle_input(piece, now);
                    rest = behind;
                }
            }
            None if closes => session.handle_eof(now),
            None => {
                now = session
                    .poll_timeout()
                    .expect("who neither writes nor upgrades waits");
                session.handle_timeout(now);
            }
        }
    }
    assert!(session.is_finished(), "every session ends");
    let (transcript, exchanges) = session.into_record();
    let all = ByteRange {
        from: 0,
        to: transcript.length(Direction::ToClient),
    };
    (
        exchanges,
        transcript.bytes(Direction::ToClient, all).into_owned(),
        transcript.discarded,
    )
}

fn scripts() -> impl Strategy<Value = Script> {
    let protocols = prop::sample::select(vec![
        Protocol::Smtp,
        Protocol::Lmtp,
        Protocol::Imap,
        Protocol::Pop3,
        Protocol::Sieve,
    ]);
    (
        protocols,
        0usize..5,
        prop::sample::select(vec![60usize, 400, 1 << 20]),
        2usize..9,
    )
        .prop_map(|(protocol, kind, received, reply_lines)| {
            let limits = Limits {
                received,
                reply_lines,
                ..Limits::default()
            };
            match kind {
                0 => Script::baseline(protocol, &name(), false, limits),
                1 => Script::baseline(protocol, &name(), true, limits),
                2 => Script::differential(protocol, &name(), "QWZKVBNX", limits),
                3 => Script::spelled(protocol, &name(), SplitStartTls, limits),
                _ => Script::injection(protocol, &name(), limits),
            }
        })
}

fn turns() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let line = prop_oneof![
        prop::sample::select(vec![
            "220 mx\r\n",
            "250-mx\r\n",
            "250-STARTTLS\r\n",
            "250 STARTTLS\r\n",
            "250 ok\n",
            "454 no\r\n",
            "421 bye\r\n",
            "500 what\r\n",
            "* OK [CAPABILITY STARTTLS] hi\r\n",
            "* CAPABILITY STARTTLS\r\n",
            "h1 OK\r\n",
            "h2 OK\r\n",
            "h3 NO\r\n",
            "* BYE\r\n",
            "+ go\r\n",
            "+OK\r\n",
            "STLS\r\n",
            ".\r\n",
            "-ERR\r\n",
            "\"STARTTLS\"\r\n",
            "OK\r\n",
            "NO {3}\r\n",
            "* 1 FETCH {4}\r\n",
            "220 x",
            "\r",
            "\n",
            "\r\n",
        ])
        .prop_map(|line| line.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(
        prop::collection::vec(line, 0..5).prop_map(|lines| lines.concat()),
        0..10,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn cuts_do_not_matter(script in scripts(), turns in turns(), cuts in prop::collection::vec(1usize..9, 1..6), closes: bool) {
        let whole = perform(&script, &turns, &[usize::MAX], closes);
        let pieces = perform(&script, &turns, &cuts, closes);
        prop_assert_eq!(&whole, &pieces);

        let (exchanges, bytes, discarded) = whole;
        let said: usize = turns.iter().map(Vec::len).sum();
        prop_assert!(bytes.len() as u64 + discarded <= said as u64);
        prop_assert!(bytes.len() <= script.limits.received);
        let mut at = 0;
        for (number, exchange) in exchanges.iter().enumerate() {
            prop_assert_eq!(exchange.step as usize, number);
            prop_assert_eq!(exchange.received.from, at, "the ranges tile the stream");
            at = exchange.leftover.map_or(exchange.received.to, |leftover| leftover.to);
            prop_assert!(exchange.leftover.is_none_or(|leftover| leftover.from == exchange.received.to && !leftover.is_empty()));
            prop_assert!(exchange.started <= exchange.ended);
            prop_assert_eq!(exchange.first_byte.is_some(), !exchange.received.is_empty());
            let reply = crate::reply::read(script.protocol, exchange.label, exchange.received.of(&bytes));
            prop_assert_eq!(reply.lines.iter().map(|line| line.range.len()).sum::<u64>(), exchange.received.len());
        }
        prop_assert!(at <= bytes.len() as u64);
    }
}

#[test]
fn replies_survive_any_bytes() {
    proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..200))| {
        for protocol in [Protocol::Smtp, Protocol::Imap, Protocol::Pop3, Protocol::Sieve] {
            let reply = crate::reply::read(protocol, Capabilities, &bytes);
            prop_assert_eq!(reply.text(&bytes).len(), reply.lines.len());
            for item in crate::capabilities(protocol, &bytes).items {
                prop_assert!(!item.range.is_empty() && item.range.to <= bytes.len() as u64, "{}", format!("{item:?}"));
                prop_assert_ne!(item.keyword, String::new());
            }
        }
    });
}
