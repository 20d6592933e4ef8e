//! Words that half the world uses name no server, and a server that is not named is not convicted of foreign words.

use hoofbeat_diagnosis::{
    Mechanism as M,
    Verdict::{Inconclusive, Interference, Server},
};
use hoofbeat_observation::Variation;
use hoofbeat_session::Label;

use crate::{scene::*, stand::expect};

fn pop3(list: &str, quit: &str, stls: &str) -> Scene {
    Scene::new().talk(
        Talk::pop3()
            .variation(Variation::Differential)
            .greets("+OK POP3 server ready")
            .step(Label::Capabilities, "CAPA", list)
            .unknown("-ERR Unknown command.")
            .starttls(stls)
            .quit(quit),
    )
}

fn imap(list: &str, logout: &str, starttls: &str) -> Scene {
    Scene::new().talk(
        Talk::imap()
            .variation(Variation::Differential)
            .greets("* OK IMAP4rev1 Service Ready")
            .step(
                Label::Capabilities,
                "CAPABILITY",
                &format!("* CAPABILITY {list}\n{{tag}} OK done\n"),
            )
            .unknown("{tag} BAD Unknown command.")
            .starttls(&format!("{{tag}} {starttls}"))
            .quit(&format!("* BYE\n{{tag}} {logout}")),
    )
}

#[test]
fn strangers_who_do_not_know_starttls_are_not_dovecot() {
    // Dovecot knows STLS in every build; whoever answers it as the unknown is somebody else, or was sent something else.
    for stls in ["-ERR Unknown command.", "-ERR STLS is not supported"] {
        let stranger = pop3("+OK\nTOP\nUIDL\nUSER\n.\n", "+OK bye", stls);
        expect(&stranger, Server, Some(M::NotOffered), None);
    }
    for starttls in ["BAD Unknown command.", "BAD STARTTLS is not supported"] {
        let stranger = imap("IMAP4rev1 IDLE AUTH=PLAIN", "OK Logout completed", starttls);
        expect(&stranger, Server, Some(M::NotOffered), None);
    }
    let smtp = |refusal: &str| {
        Scene::new().talk(
            Talk::smtp()
                .variation(Variation::Differential)
                .greets("220 mx.example.org ESMTP service ready")
                .ehlo("250-mx.example.org\n250-HELP\n250 SIZE 1000\n")
                .noop("250 OK")
                .unknown("500 unrecognized command")
                .starttls(refusal)
                .quit("221 bye"),
        )
    };
    for refusal in ["502 Command not implemented", "500 unrecognized command"] {
        expect(&smtp(refusal), Server, Some(M::NotOffered), None);
    }
    let transient = "454 TLS not available due to temporary reason";
    expect(&smtp(transient), Server, Some(M::TlsUnavailable), None);
}

#[test]
fn dovecot_under_another_name_is_known_by_all_its_other_traits() {
    let list =
        "+OK\nCAPA\nTOP\nUIDL\nRESP-CODES\nPIPELINING\nAUTH-RESP-CODE\nUSER\nSASL PLAIN\n.\n";
    let renamed = pop3(list, "+OK Logging out", "-ERR Unknown command.");
    expect(&renamed, Interference, Some(M::CommandRewritten), None);
    let renamed = imap(
        "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN",
        "OK Logout completed.",
        "BAD Unknown command.",
    );
    expect(&renamed, Interference, Some(M::CommandRewritten), None);
}

#[test]
fn a_status_code_in_another_place_is_doubt_and_no_more() {
    let qmail = |list: &str, refusal: &str| {
        Scene::new().talk(
            Talk::smtp()
                .variation(Variation::Differential)
                .greets("220 mx.example.org ESMTP")
                .ehlo(list)
                .noop("250 ok")
                .unknown("502 unimplemented (#5.5.1)")
                .starttls(refusal)
                .quit("221 mx.example.org"),
        )
    };
    let without = "250-mx.example.org\n250-PIPELINING\n250 8BITMIME\n";
    let with = "250-mx.example.org\n250-STARTTLS\n250-PIPELINING\n250 8BITMIME\n";
    for (list, refusal) in [
        (without, "550 5.7.1 Encryption is closed by the gateway"),
        (without, "550 #5.7.1 Encryption is closed by the gateway"),
        (with, "554 5.7.3 Encryption is closed by the gateway"),
    ] {
        let finding = expect(&qmail(list, refusal), Inconclusive, None, None);
        assert!(
            finding
                .evidence
                .iter()
                .any(|cited| cited.excerpt.contains("(#5.5.1)")),
            "{finding:#?}"
        );
    }
    // In its own form, or in none, the words are the server's as far as can be told.
    for refusal in [
        "550 encryption is closed here (#5.7.1)",
        "550 encryption is closed here",
    ] {
        expect(&qmail(without, refusal), Server, Some(M::NotOffered), None);
    }
}

#[test]
fn a_misshapen_refusal_convicts_only_a_server_whose_source_was_read() {
    // Exchange promises enhanced codes; its source was not read.
    let exchange = Talk::smtp()
        .variation(Variation::Differential)
        .greets("220 mx.example.org Microsoft ESMTP MAIL Service ready at Mon")
        .ehlo("250-mx Hello\n250-SIZE 1\n250-PIPELINING\n250-DSN\n250-ENHANCEDSTATUSCODES\n250-STARTTLS\n250 8BITMIME\n")
        .noop("250 2.0.0 OK")
        .unknown("500 5.3.3 Unrecognized command '{verb}'")
        .starttls("454 come back later");
    expect(&Scene::new().talk(exchange), Inconclusive, None, None);
    let postfix = postfix()
        .noop("250 2.0.0 Ok")
        .starttls("454 come back later");
    expect(
        &Scene::new().talk(postfix),
        Interference,
        Some(M::CommandRefused),
        None,
    );
}

#[test]
fn who_answers_everything_alike_is_no_pix() {
    let alike = |quit: &str| {
        Scene::new().talk(
            Talk::smtp()
                .variation(Variation::Differential)
                .greets("220 mx.example.org ESMTP")
                .ehlo("250 ok\n")
                .noop("250 ok")
                .starttls("250 ok")
                .quit(quit),
        )
    };
    let pix = Some("cisco-pix");
    expect(
        &alike("221 bye"),
        Interference,
        Some(M::CommandRewritten),
        pix,
    );
    expect(
        &alike("250 ok"),
        Interference,
        Some(M::CommandRewritten),
        None,
    );
}

#[test]
fn one_keyword_that_is_left_names_no_product() {
    let only_auth = Talk::smtp()
        .greets(GREETING)
        .ehlo("250-mx.example.org\n250 AUTH PLAIN LOGIN\n")
        .starttls(GO)
        .verified();
    expect(
        &Scene::new().talk(only_auth),
        Interference,
        Some(M::CapabilityRemoved),
        None,
    );
}
