//! SMTP: the way to TLS, refusals, silence, odd words at odd times.

use alloc::vec::Vec;
use core::time::Duration;

use super::{baseline, name};
use crate::conversation::playbook::play;
use crate::{
    Act, ByteRange, Direction, Elapsed,
    Label::{self, *},
    Layer, Limits,
    Outcome::{self, *},
    Protocol, Script, ScriptStep, Segment, When,
};

const EHLO: &str = "250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n";

#[test]
fn smtp_to_tls_and_goodbye() {
    let played = play(baseline(Protocol::Smtp))
        .silent()
        .server("220-mx\r\n220 ESMTP\r\n")
        .client("EHLO c\r\n")
        .server(EHLO)
        .client("STARTTLS\r\n")
        .server("220 2.0.0 go\r\n")
        .silent()
        .tls()
        .client("EHLO c\r\n")
        .server("250-mx\r\n250 AUTH PLAIN\r\n")
        .client("QUIT\r\n")
        .server("221 bye\r\n")
        .ends(&[
            (Greeting, Replied, "220-mx\r\n220 ESMTP\r\n"),
            (Capabilities, Replied, EHLO),
            (StartTls, Replied, "220 2.0.0 go\r\n"),
            (Capabilities, Replied, "250-mx\r\n250 AUTH PLAIN\r\n"),
            (Quit, Replied, "221 bye\r\n"),
        ]);
    assert_eq!(
        played.bytes(Direction::ToServer, Layer::Plain),
        "EHLO c\r\nSTARTTLS\r\n"
    );
    assert_eq!(
        played.bytes(Direction::ToServer, Layer::Tls),
        "EHLO c\r\nQUIT\r\n"
    );
    let layers: Vec<_> = played
        .exchanges
        .iter()
        .map(|exchange| exchange.layer)
        .collect();
    assert_eq!(
        layers,
        [
            Layer::Plain,
            Layer::Plain,
            Layer::Plain,
            Layer::Tls,
            Layer::Tls
        ]
    );
    let starttls = &played.exchanges[2];
    assert_eq!(starttls.sent, Some(ByteRange { from: 8, to: 18 }));
    assert_eq!(
        (starttls.started, starttls.first_byte, starttls.ended),
        (
            Elapsed::from_millis(5),
            Some(Elapsed::from_millis(6)),
            Elapsed::from_millis(6)
        )
    );
}

#[test]
fn what_is_not_offered_is_not_asked() {
    play(baseline(Protocol::Smtp))
        .server("220 mx\r\n")
        .client("EHLO c\r\n")
        .server("250-mx\r\n250 XXXXXXXA\r\n")
        .client("QUIT\r\n")
        .wait()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Capabilities, Replied, "250-mx\r\n250 XXXXXXXA\r\n"),
            (Quit, TimedOut, ""),
        ]);
}

#[test]
fn a_refused_ehlo_leads_to_helo() {
    play(baseline(Protocol::Smtp))
        .server("220 mx\n")
        .client("EHLO c\r\n")
        .server("502 what\n")
        .client("HELO c\r\n")
        .server("250 mx\n")
        .client("QUIT\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "220 mx\n"),
            (Capabilities, Replied, "502 what\n"),
            (Helo, Replied, "250 mx\n"),
            (Quit, Closed, ""),
        ]);
}

#[test]
fn after_a_negative_greeting_only_quit() {
    for (protocol, greeting, goodbye) in [
        (Protocol::Smtp, "554 no\r\n", "QUIT\r\n"),
        (Protocol::Smtp, "421 busy\r\n", "QUIT\r\n"),
        (Protocol::Lmtp, "450 later\r\n", "QUIT\r\n"),
        (Protocol::Imap, "* BYE no\r\n", "hq LOGOUT\r\n"),
        (Protocol::Imap, "* NO no\r\n", "hq LOGOUT\r\n"),
        (Protocol::Pop3, "-ERR no\r\n", "QUIT\r\n"),
        (Protocol::Sieve, "BYE \"no\"\r\n", "LOGOUT\r\n"),
    ] {
        play(baseline(protocol))
            .server(greeting)
            .client(goodbye)
            .reset()
            .ends(&[(Greeting, Replied, greeting), (Quit, Reset, "")]);
    }
}

#[test]
fn a_421_ends_in_quit() {
    play(baseline(Protocol::Smtp))
        .server("220 mx\r\n")
        .client("EHLO c\r\n")
        .server("421 enough\r\n")
        .client("QUIT\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Capabilities, Replied, "421 enough\r\n"),
            (Quit, Closed, ""),
        ]);
}

#[test]
fn silence_closes_without_a_word_before_the_greeting_and_with_quit_later() {
    play(baseline(Protocol::Smtp))
        .wait()
        .silent()
        .ends(&[(Greeting, TimedOut, "")]);
    play(baseline(Protocol::Smtp))
        .server("220 m")
        .wait()
        .ends(&[(Greeting, TimedOut, "220 m")]);
    play(baseline(Protocol::Smtp))
        .server("220 mx\r\n")
        .client("EHLO c\r\n")
        .server(EHLO)
        .client("STARTTLS\r\n")
        .wait()
        .client("QUIT\r\n")
        .server("221 bye\r\n")
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Capabilities, Replied, EHLO),
            (StartTls, TimedOut, ""),
            (Quit, Replied, "221 bye\r\n"),
        ]);
}

#[test]
fn what_does_not_arrive_is_waited_for_no_longer_but_a_reply_that_has_begun_is() {
    play(baseline(Protocol::Smtp))
        .swallowed()
        .server("220 mx\r\n")
        .client("EHLO c\r\n")
        .server("250-m")
        .swallowed()
        .server("x\r\n250 STARTTLS\r\n")
        .client("STARTTLS\r\n")
        .swallowed()
        .client("QUIT\r\n")
        .swallowed()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Capabilities, Replied, "250-mx\r\n250 STARTTLS\r\n"),
            (StartTls, TimedOut, ""),
            (Quit, TimedOut, ""),
        ]);
}

#[test]
fn only_220_upgrades() {
    for refusal in [
        "454 4.7.0 later\r\n",
        "250 fine\r\n",
        "200 STRIPTLS\r\n",
        "354 do something else\r\n",
        "XXX\r\n",
    ] {
        play(baseline(Protocol::Smtp))
            .server("220 mx\r\n")
            .client("EHLO c\r\n")
            .server(EHLO)
            .client("STARTTLS\r\n")
            .server(refusal)
            .client("QUIT\r\n")
            .server("221 bye\r\n")
            .ends(&[
                (Greeting, Replied, "220 mx\r\n"),
                (Capabilities, Replied, EHLO),
                (StartTls, Replied, refusal),
                (Quit, Replied, "221 bye\r\n"),
            ]);
    }
}

#[test]
fn what_lies_behind_the_starttls_reply_is_left_over() {
    let played = play(baseline(Protocol::Smtp))
        .server("220 mx\r\n")
        .client("EHLO c\r\n")
        .server(EHLO)
        .client("STARTTLS\r\n")
        .server("220 go\r\n250-evil\r\n250 AUTH LOGIN\r\n")
        .tls()
        .client("EHLO c\r\n")
        .server("250 mx\r\n")
        .client("QUIT\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Capabilities, Replied, EHLO),
            (StartTls, Replied, "220 go\r\n"),
            (Capabilities, Replied, "250 mx\r\n"),
            (Quit, Closed, ""),
        ]);
    assert_eq!(played.leftover(), "250-evil\r\n250 AUTH LOGIN\r\n");
}

#[test]
fn a_failed_handshake_ends_without_a_word() {
    let played = play(baseline(Protocol::Smtp))
        .server("220 mx\r\n")
        .client("EHLO c\r\n")
        .server(EHLO)
        .client("STARTTLS\r\n")
        .server("220 go\r\n")
        .server("500 not TLS\r\n")
        .no_tls()
        .silent()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Capabilities, Replied, EHLO),
            (StartTls, Replied, "220 go\r\n"),
        ]);
    assert_eq!(played.leftover(), "500 not TLS\r\n");
}

#[test]
fn words_from_before_a_command_do_not_answer_it() {
    play(baseline(Protocol::Smtp))
        .server("220 mx\r\n220 mx again\r\n22")
        .client("EHLO c\r\n")
        .server("0 and again\r\n250-mx\r\n250 STARTTLS\r\n")
        .client("STARTTLS\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Other, Replied, "220 mx again\r\n220 and again\r\n"),
            (Capabilities, Replied, "250-mx\r\n250 STARTTLS\r\n"),
            (StartTls, Closed, ""),
        ]);
}

#[test]
fn a_farewell_before_a_command_is_kept() {
    let played = play(baseline(Protocol::Smtp))
        .server("220 mx\r\n421 no\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Other, Closed, "421 no\r\n"),
        ]);
    assert_eq!(played.exchanges[1].sent, None);
    play(baseline(Protocol::Smtp))
        .server("220 mx\r\n42")
        .client("EHLO c\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Other, Closed, "42"),
            (Capabilities, Closed, ""),
        ]);
}

#[test]
fn the_differential_in_full() {
    let script = Script::differential(Protocol::Smtp, &name(), "QWZKVBNX", Limits::default());
    let played = play(script)
        .server("220 mx\r\n")
        .client("EHLO c\r\n")
        .server("250 mx\r\n")
        .client("EHLO c\r\n")
        .server("250 mx\r\n")
        .client("NOOP\r\n")
        .server("250 ok\r\n")
        .client("NO")
        .silent()
        .wait()
        .client("OP\r\n")
        .server("500 XX?\r\n")
        .client("QWZKVBNX\r\n")
        .server("500 what\r\n")
        .client("STARTTLS\r\n")
        .server("220 go\r\n")
        .tls()
        .client("EHLO c\r\n")
        .server("250 mx\r\n")
        .client("QUIT\r\n")
        .server("221 bye\r\n")
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Capabilities, Replied, "250 mx\r\n"),
            (CapabilitiesAgain, Replied, "250 mx\r\n"),
            (Noop, Replied, "250 ok\r\n"),
            (SplitNoop, Replied, "500 XX?\r\n"),
            (UnknownVerb, Replied, "500 what\r\n"),
            (StartTls, Replied, "220 go\r\n"),
            (Capabilities, Replied, "250 mx\r\n"),
            (Quit, Replied, "221 bye\r\n"),
        ]);
    let noop = played.exchanges[4].sent.unwrap();
    assert_eq!(
        &*played.transcript.bytes(Direction::ToServer, noop),
        b"NOOP\r\n"
    );
    let times: Vec<_> = played
        .transcript
        .of(Direction::ToServer)
        .filter(|c| c.offset >= noop.from)
        .take(2)
        .map(|c| c.at)
        .collect();
    assert!(times[1].since(times[0]) >= Duration::from_millis(60));
}

#[test]
fn an_answer_between_two_segments_may_have_a_brother() {
    let until_both_are_sent = || {
        play(Script::spelled(
            Protocol::Smtp,
            &name(),
            SplitStartTls,
            Limits::default(),
        ))
        .server("220 mx\r\n")
        .client("EHLO c\r\n")
        .server("250 mx\r\n")
        .client("STAR")
        .server("500 STAR?\r\n")
        .wait()
        .client("TTLS\r\n")
        .silent()
    };
    let before = [
        (Greeting, Replied, "220 mx\r\n"),
        (Capabilities, Replied, "250 mx\r\n"),
    ];
    let with = |after: &[(Label, Outcome, &'static str)]| [&before[..], after].concat();
    until_both_are_sent()
        .wait()
        .client("QUIT\r\n")
        .closed()
        .ends(&with(&[
            (SplitStartTls, Replied, "500 STAR?\r\n"),
            (Quit, Closed, ""),
        ]));
    until_both_are_sent()
        .server("500 TTLS?\r\n")
        .client("QUIT\r\n")
        .closed()
        .ends(&with(&[
            (SplitStartTls, Replied, "500 STAR?\r\n500 TTLS?\r\n"),
            (Quit, Closed, ""),
        ]));
    until_both_are_sent().server("50").closed().ends(&with(&[
        (SplitStartTls, Replied, "500 STAR?\r\n"),
        (Other, Closed, "50"),
    ]));
}

#[test]
fn injection_is_answered_or_not() {
    let script = || Script::injection(Protocol::Smtp, &name(), Limits::default());
    let until_tls = |script| {
        play(script)
            .server("220 mx\r\n")
            .client("EHLO c\r\n")
            .server(EHLO)
            .client("STARTTLS\r\nNOOP\r\n")
            .server("220 go\r\n")
            .tls()
    };
    let before = [
        (Greeting, Replied, "220 mx\r\n"),
        (Capabilities, Replied, EHLO),
        (StartTls, Replied, "220 go\r\n"),
    ];
    let with = |after: &[(Label, Outcome, &'static str)]| [&before[..], after].concat();
    until_tls(script())
        .silent()
        .wait()
        .client("EHLO c\r\n")
        .server("250 mx\r\n")
        .client("QUIT\r\n")
        .closed()
        .ends(&with(&[
            (Injected, TimedOut, ""),
            (Capabilities, Replied, "250 mx\r\n"),
            (Quit, Closed, ""),
        ]));
    until_tls(script())
        .server("250 ok\r\n")
        .client("EHLO c\r\n")
        .server("250 mx\r\n")
        .client("QUIT\r\n")
        .closed()
        .ends(&with(&[
            (Injected, Replied, "250 ok\r\n"),
            (Capabilities, Replied, "250 mx\r\n"),
            (Quit, Closed, ""),
        ]));
    until_tls(script())
        .server("250 o")
        .wait()
        .client("QUIT\r\n")
        .closed()
        .ends(&with(&[(Injected, TimedOut, "250 o"), (Quit, Closed, "")]));
}

#[test]
fn a_stranger_gets_one_question() {
    play(baseline(Protocol::Smtp))
        .server("SSH-2.0-x\r\n")
        .client("EHLO c\r\n")
        .server("Invalid\x00\r\n")
        .client("QUIT\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "SSH-2.0-x\r\n"),
            (Capabilities, Replied, "Invalid\0\r\n"),
            (Quit, Closed, ""),
        ]);
}

#[test]
fn blank_and_mangled_lines_do_not_end_a_reply() {
    let list = "\r\n250-mx\r\nXXX-XXXX\r\n250 STARTTLS\r\n";
    play(baseline(Protocol::Smtp))
        .server("\r\n220 mx\r\n")
        .client("EHLO c\r\n")
        .server(list)
        .client("STARTTLS\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "\r\n220 mx\r\n"),
            (Capabilities, Replied, list),
            (StartTls, Closed, ""),
        ]);
}

#[test]
fn after_silence_the_rest_of_the_script_is_given_up() {
    play(Script::differential(
        Protocol::Smtp,
        &name(),
        "QWZKVBNX",
        Limits::default(),
    ))
    .server("220 mx\r\n")
    .client("EHLO c\r\n")
    .server("250-m")
    .wait()
    .client("QUIT\r\n")
    .server("x\r\n250 mx\r\n")
    .ends(&[
        (Greeting, Replied, "220 mx\r\n"),
        (Capabilities, TimedOut, "250-m"),
        (Quit, Replied, "x\r\n"),
    ]);
}

#[test]
fn an_offer_is_forgotten_inside_tls() {
    let mut script = baseline(Protocol::Smtp);
    script.steps.truncate(4);
    for (when, line) in [
        (When::Offered, "HELP\r\n"),
        (When::NotOffered, "NOOP\r\n"),
        (When::StillPlain, "RSET\r\n"),
    ] {
        let segments = Vec::from([Segment {
            bytes: line.into(),
            pause_after: Duration::ZERO,
        }]);
        script.steps.push(ScriptStep {
            act: Act::Command {
                label: Noop,
                segments,
            },
            when,
        });
    }
    play(script)
        .server("220 mx\r\n")
        .client("EHLO c\r\n")
        .server(EHLO)
        .client("STARTTLS\r\n")
        .server("220 go\r\n")
        .tls()
        .client("NOOP\r\n")
        .server("250 ok\r\n")
        .silent()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Capabilities, Replied, EHLO),
            (StartTls, Replied, "220 go\r\n"),
            (Noop, Replied, "250 ok\r\n"),
        ]);
}
