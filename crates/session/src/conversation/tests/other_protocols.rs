//! LMTP, IMAP, POP3, ManageSieve and implicit TLS: where they differ from SMTP.

use super::{baseline, name};
use crate::conversation::playbook::play;
use crate::{Label::*, Layer, Limits, Outcome::*, Protocol, Script};

#[test]
fn implicit_tls_comes_first() {
    let script = Script::baseline(Protocol::Imap, &name(), true, Limits::default());
    let played = play(script.clone())
        .tls()
        .server("* OK hi\r\n")
        .client("h1 CAPABILITY\r\n")
        .server("* CAPABILITY IMAP4rev1 STARTTLS\r\nh1 OK\r\n")
        .client("hq LOGOUT\r\n")
        .server("* BYE\r\nhq OK\r\n")
        .ends(&[
            (Greeting, Replied, "* OK hi\r\n"),
            (
                Capabilities,
                Replied,
                "* CAPABILITY IMAP4rev1 STARTTLS\r\nh1 OK\r\n",
            ),
            (Quit, Replied, "* BYE\r\nhq OK\r\n"),
        ]);
    assert!(
        played
            .exchanges
            .iter()
            .all(|exchange| exchange.layer == Layer::Tls)
    );
    let played = play(script).server("* OK plain\r\n").no_tls().ends(&[(
        Other,
        Unfinished,
        "* OK plain\r\n",
    )]);
    assert_eq!(played.exchanges[0].layer, Layer::Plain);
}

#[test]
fn imap_answers_by_tag() {
    let list = "* CAPABILITY IMAP4rev1 STARTTLS\r\nh1 OK done\r\n";
    let played = play(baseline(Protocol::Imap))
        .server("* OK [CAPABILITY IMAP4rev1] hi\r\n")
        .client("h1 CAPABILITY\r\n")
        .server(list)
        .client("h2 STARTTLS\r\n")
        .server("1 OK forged\r\n* OK [ALERT] x\r\nh2 OK go\r\nh3 OK forged\r\n")
        .tls()
        .client("h3 CAPABILITY\r\n")
        .server("h3 BAD no\r\n")
        .client("hq LOGOUT\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "* OK [CAPABILITY IMAP4rev1] hi\r\n"),
            (Capabilities, Replied, list),
            (
                StartTls,
                Replied,
                "1 OK forged\r\n* OK [ALERT] x\r\nh2 OK go\r\n",
            ),
            (Capabilities, Replied, "h3 BAD no\r\n"),
            (Quit, Closed, ""),
        ]);
    assert_eq!(played.leftover(), "h3 OK forged\r\n");
}

#[test]
fn a_masked_tag_still_gets_an_answer() {
    play(Script::differential(
        Protocol::Imap,
        &name(),
        "QWZKVBNX",
        Limits::default(),
    ))
    .server("* PREAUTH hi\r\n")
    .client("h1 CAPABILITY\r\n")
    .server("XXXXXXXX BAD what\r\n")
    .client("h2 CAPABILITY\r\n")
    .server("* BYE enough\r\n")
    .client("hq LOGOUT\r\n")
    .closed()
    .ends(&[
        (Greeting, Replied, "* PREAUTH hi\r\n"),
        (Capabilities, Replied, "XXXXXXXX BAD what\r\n"),
        (CapabilitiesAgain, Replied, "* BYE enough\r\n"),
        (Quit, Closed, ""),
    ]);
}

#[test]
fn pop3_lists_and_upgrades() {
    let list = "+OK\r\nSTLS\r\n.\r\n";
    play(baseline(Protocol::Pop3))
        .server("+OK hi\r\n")
        .client("CAPA\r\n")
        .server(list)
        .client("STLS\r\n")
        .server("+OK go\r\n")
        .tls()
        .client("CAPA\r\n")
        .server("-ERR no\r\n")
        .client("QUIT\r\n")
        .server("+OK\r\n")
        .ends(&[
            (Greeting, Replied, "+OK hi\r\n"),
            (Capabilities, Replied, list),
            (StartTls, Replied, "+OK go\r\n"),
            (Capabilities, Replied, "-ERR no\r\n"),
            (Quit, Replied, "+OK\r\n"),
        ]);
}

#[test]
fn sieve_repeats_its_list_inside_tls() {
    let (greeting, inside) = ("\"STARTTLS\"\r\nOK\r\n", "\"SASL\" \"PLAIN\"\r\nOK\r\n");
    let until_tls = || {
        play(baseline(Protocol::Sieve))
            .server(greeting)
            .client("CAPABILITY\r\n")
            .server(greeting)
            .client("STARTTLS\r\n")
            .server("OK\r\n")
            .tls()
            .silent()
    };
    let before = [
        (Greeting, Replied, greeting),
        (Capabilities, Replied, greeting),
        (StartTls, Replied, "OK\r\n"),
    ];
    let after = [(Capabilities, Replied, inside), (Quit, Replied, "OK\r\n")];
    let played = until_tls()
        .server(inside)
        .client("CAPABILITY\r\n")
        .server(inside)
        .client("LOGOUT\r\n")
        .server("OK\r\n")
        .ends(&[&before[..], &[(Greeting, Replied, inside)], &after].concat());
    assert_eq!(played.exchanges[3].layer, Layer::Tls);
    until_tls()
        .wait()
        .client("CAPABILITY\r\n")
        .server(inside)
        .client("LOGOUT\r\n")
        .server("OK\r\n")
        .ends(&[&before[..], &[(Greeting, TimedOut, "")], &after].concat());
}

#[test]
fn lmtp_says_lhlo() {
    play(baseline(Protocol::Lmtp))
        .server("220 mx\r\n")
        .client("LHLO c\r\n")
        .server("500 no\r\n")
        .client("QUIT\r\n")
        .closed()
        .ends(&[
            (Greeting, Replied, "220 mx\r\n"),
            (Capabilities, Replied, "500 no\r\n"),
            (Quit, Closed, ""),
        ]);
}
