//! STARTTLS in no list: deleted, rewritten, or simply not there.

use hoofbeat_diagnosis::{
    Confidence, Encryption, LocationClass, Mechanism as M, Question as Q,
    Verdict::{Clear, Inconclusive, Interference, Server},
};
use hoofbeat_observation::Variation;
use hoofbeat_session::Label;

use crate::{
    scene::*,
    stand::{expect, first, judge},
};

#[test]
fn a_deleted_offer_is_proven_by_the_blind_verb() {
    let without = postfix_without();
    let baseline = Scene::new().talk(Talk::smtp().greets(GREETING).ehlo(&without).quit(BYE));
    let finding = first(&baseline);
    assert_eq!(
        (finding.verdict, finding.encryption),
        (Inconclusive, Encryption::None)
    );
    assert!(matches!(
        judge(&baseline).questions.as_slice(),
        [Q::Differential(_)]
    ));
    let scene = baseline.talk(inside(
        differential(GREETING, &without).starttls(GO).verified(),
    ));
    let finding = expect(&scene, Interference, Some(M::CapabilityRemoved), None);
    assert_eq!(finding.encryption, Encryption::None);
    assert!(finding.confidence <= Confidence::Likely);
}

#[test]
fn untangle_and_fsecure_are_named() {
    let list = "250-mx.example.org\n250-SIZE 10240000\n250-VRFY\n250 DSN\n";
    let words = "500 Syntax error, command unrecognized";
    let scene = Scene::new()
        .talk(Talk::smtp().greets(GREETING).ehlo(list).quit(BYE))
        .talk(
            Talk::smtp()
                .variation(Variation::Differential)
                .greets(GREETING)
                .ehlo(list)
                .noop("250 2.0.0 Ok")
                .unknown(words)
                .starttls(words)
                .quit(BYE),
        );
    expect(
        &scene,
        Interference,
        Some(M::CapabilityRemoved),
        Some("untangle-ngfw"),
    );
    let greeting = "220 mx.example.org F-Secure/fsigk_smtp/401/mx.example.org";
    let list = POSTFIX
        .replace("250-STARTTLS\n", "")
        .replace("250-PIPELINING\n", "")
        .replace("250-SMTPUTF8\n250 CHUNKING", "250 SMTPUTF8");
    let scene = Scene::new()
        .talk(Talk::smtp().greets(greeting).ehlo(&list))
        .talk(inside(
            differential(greeting, &list).starttls(GO).verified(),
        ));
    expect(
        &scene,
        Interference,
        Some(M::CapabilityRemoved),
        Some("fsecure-igk"),
    );
}

#[test]
fn rewriting_is_shown_by_the_echo_or_by_the_dialect() {
    let sendmail = "250-mx.example.org Hello probe\n250-ENHANCEDSTATUSCODES\n250-PIPELINING\n250-8BITMIME\n250-SIZE\n250-DSN\n250-ETRN\n250-STARTTLS\n250-DELIVERBY\n250 HELP\n";
    let greeting = "220 mx.example.org ESMTP Sendmail 8.17.1/8.17.1; Mon";
    let talk = Talk::smtp()
        .greets(greeting)
        .ehlo(sendmail)
        .starttls("500 5.5.1 Command unrecognized: \"XXXXXXXX\"");
    expect(
        &Scene::new().talk(talk),
        Interference,
        Some(M::CommandRewritten),
        None,
    );
    // The same server, built without TLS: the echo is intact.
    let plain = sendmail.replace("250-STARTTLS\n", "");
    let talk = Talk::smtp()
        .variation(Variation::Differential)
        .greets(greeting)
        .ehlo(&plain)
        .noop("250 2.0.0 OK")
        .unknown("500 5.5.1 Command unrecognized: \"{verb}\"")
        .starttls("500 5.5.1 Command unrecognized: \"STARTTLS\"");
    expect(&Scene::new().talk(talk), Server, Some(M::NotOffered), None);
    // Postfix never answers STARTTLS like an unknown verb.
    expect(
        &Scene::new().talk(postfix().starttls(UNKNOWN).quit(BYE)),
        Interference,
        Some(M::CommandRewritten),
        None,
    );
    // PIX 5: NOOP in the verb's place.
    let pix = Talk::smtp()
        .greets("220 ***************2******0***")
        .ehlo("250 2.0.0 Ok\n")
        .noop("250 2.0.0 Ok")
        .starttls("250 2.0.0 Ok");
    expect(
        &Scene::new().talk(pix),
        Interference,
        Some(M::CommandRewritten),
        Some("cisco-pix"),
    );
    // A filter that reads packets.
    let split = Talk::smtp()
        .variation(Variation::Differential)
        .greets("220 mx.example.org ESMTP")
        .ehlo("250-mx.example.org\n250-SIZE 1000\n250 8BITMIME\n")
        .step(Label::Noop, "NOOP", "250 ok\n")
        .step(Label::SplitNoop, "NOOP", "500 what?\n")
        .unknown("500 what?")
        .starttls("500 what?");
    expect(
        &Scene::new().talk(split),
        Interference,
        Some(M::CommandRewritten),
        None,
    );
}

#[test]
fn servers_that_do_not_offer() {
    let postfix = Scene::new()
        .talk(Talk::smtp().greets(GREETING).ehlo(&postfix_without()))
        .talk(
            differential(GREETING, &postfix_without())
                .starttls(OFF)
                .quit(BYE),
        );
    let finding = expect(&postfix, Server, Some(M::NotOffered), None);
    assert_eq!(
        (finding.confidence, finding.location.class),
        (Confidence::Established, LocationClass::Server)
    );
    assert!(
        matches!(judge(&postfix).questions.as_slice(), [Q::Controls(..)]),
        "this server is settled, this network is not"
    );
    for (greeting, list, unknown, refusal) in [
        (
            "220 mx.example.org ESMTP Exim 4.96 Mon",
            "250-mx.example.org Hello\n250-SIZE 52428800\n250-8BITMIME\n250-PIPELINING\n250 HELP\n",
            "500 unrecognized command",
            "503 STARTTLS command used when not advertised",
        ),
        (
            "220 mx.example.org ESMTP Exim 4.96 Mon",
            "250-mx.example.org Hello\n250-SIZE 52428800\n250-8BITMIME\n250-PIPELINING\n250 HELP\n",
            "500 unrecognized command",
            "500 unrecognized command",
        ),
        (
            "220 mx.example.org ESMTP",
            "250-mx.example.org\n250-PIPELINING\n250 8BITMIME\n",
            "502 unimplemented (#5.5.1)",
            "502 unimplemented (#5.5.1)",
        ),
        (
            "220 mx.example.org ESMTP",
            "250-mx.example.org\n250-8BITMIME\n250 SIZE 33554432\n",
            "500 #5.5.1 command not recognized",
            "500 #5.5.1 command not recognized",
        ),
        (
            "220 mx.example.org Microsoft ESMTP MAIL Service ready at Mon",
            "250-mx Hello\n250-SIZE 1\n250-PIPELINING\n250-DSN\n250-ENHANCEDSTATUSCODES\n250 8BITMIME\n",
            "500 5.3.3 Unrecognized command '{verb}'",
            "502 5.5.1 Command not implemented",
        ),
        (
            "220 mx.example.org ESMTP service ready",
            "250-mx\n250-8BITMIME\n250-PIPELINING\n250-DSN\n250-ENHANCEDSTATUSCODES\n250 SIZE 1\n",
            "500 5.5.1 Unknown or unimplemented command",
            "533 5.7.1 STARTTLS command is not enabled.",
        ),
    ] {
        let talk = Talk::smtp()
            .variation(Variation::Differential)
            .greets(greeting)
            .ehlo(list)
            .noop("250 ok")
            .unknown(unknown)
            .starttls(refusal);
        expect(&Scene::new().talk(talk), Server, Some(M::NotOffered), None);
    }
    let dovecot = Talk::imap()
        .greets("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] Dovecot ready.")
        .unknown("{tag} BAD Error in IMAP command received by server.")
        .starttls("{tag} BAD TLS support isn't enabled.");
    expect(
        &Scene::new().talk(dovecot),
        Server,
        Some(M::NotOffered),
        None,
    );
    let pop = Talk::pop3()
        .greets("+OK Dovecot ready.")
        .step(Label::Capabilities, "CAPA", "+OK\nTOP\nUIDL\nSASL\n.\n")
        .unknown("-ERR Unknown command.")
        .starttls("-ERR TLS support isn't enabled.");
    expect(&Scene::new().talk(pop), Server, Some(M::NotOffered), None);
    let unavailable = postfix_unavailable();
    expect(&unavailable, Server, Some(M::TlsUnavailable), None);
}

fn postfix_unavailable() -> Scene {
    Scene::new().talk(
        postfix()
            .starttls("454 4.7.0 TLS not available due to local problem")
            .quit(BYE),
    )
}

#[test]
fn hidden_by_address_family() {
    let v6 = |talk: Talk| talk.tweak(|d| d.service.address = Some("2001:db8::25".parse().unwrap()));
    let scene = Scene::new()
        .talk(
            differential(GREETING, &postfix_without())
                .starttls(OFF)
                .quit(BYE),
        )
        .talk(v6(clean()));
    let diagnosis = judge(&scene);
    assert_eq!(diagnosis.findings.len(), 2);
    assert_eq!(
        (
            diagnosis.findings[0].verdict,
            diagnosis.findings[0].mechanism
        ),
        (Server, Some(M::HiddenFromUs)),
        "{:#?}",
        diagnosis.findings[0]
    );
    assert_eq!(diagnosis.findings[1].verdict, Clear);
    assert_eq!(diagnosis.exit_status(), 1);
}
