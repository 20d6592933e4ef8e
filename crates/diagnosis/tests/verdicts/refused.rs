//! STARTTLS offered and refused, or swallowed: in whose words, and how often.

use hoofbeat_diagnosis::{
    Confidence, Mechanism as M,
    Verdict::{Inconclusive, Interference, Server},
};
use hoofbeat_observation::{Scheme, Variation};
use hoofbeat_session::Label;

use crate::{
    scene::*,
    stand::{expect, first},
};

#[test]
fn refusals_in_foreign_words() {
    for (words, product) in [
        ("500 Unsupported command.", Some("norton-antivirus")),
        ("502 gw.example Command not implemented", Some("smtp-gated")),
        ("454 TLS not available due to temporary reason", None),
        ("502 Command not implemented", None),
        ("354 do something else", None),
        ("200 STRIPTLS", Some("striptls")),
    ] {
        expect(
            &Scene::new().talk(postfix().starttls(words).quit(BYE)),
            Interference,
            Some(M::CommandRefused),
            product,
        );
    }
    // The same words from a server that nobody knows accuse nobody.
    for words in [
        "454 TLS not available due to temporary reason",
        "502 Command not implemented",
        "554 Encryption forbidden",
    ] {
        let talk = Talk::smtp()
            .greets("220 mx.example.org ESMTP ready")
            .ehlo("250-mx.example.org\n250-SIZE 1000\n250 STARTTLS\n")
            .starttls(words)
            .quit("221 bye");
        expect(
            &Scene::new().talk(talk),
            Server,
            Some(M::TlsUnavailable),
            None,
        );
    }
    let imap = Talk::imap()
        .greets("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Dovecot ready.")
        .starttls("{tag} BAD unknown command");
    expect(
        &Scene::new().talk(imap),
        Interference,
        Some(M::CommandRefused),
        None,
    );
    let pop3 = Talk::pop3()
        .greets("+OK Dovecot ready.")
        .step(
            Label::Capabilities,
            "CAPA",
            "+OK\nTOP\nUIDL\nSTLS\nSASL\n.\n",
        )
        .starttls("-ERR unknown command");
    expect(
        &Scene::new().talk(pop3),
        Interference,
        Some(M::CommandRefused),
        None,
    );
}

/// What honest servers do say, as their source shows; each of these was once taken for a box here.
#[test]
fn honest_oddities_read_in_source_accuse_nobody() {
    let never = |talk: Talk, why: &str| {
        let scene = Scene::new().talk(talk).talk(clean_control(Scheme::Smtp, 1));
        let finding = first(&scene);
        assert_ne!(finding.verdict, Interference, "{why}: {finding:#?}");
    };
    // A milter's rejection at CONNECT lasts, and words STARTTLS's refusal as it likes.
    for words in [
        "550 Blocked by policy",
        "554 5.7.1 Encryption forbidden",
        "550 5.7.1 Go away",
    ] {
        never(postfix().starttls(words).quit(BYE), "milter, offered");
        never(
            differential(GREETING, &postfix_without())
                .starttls(words)
                .quit(BYE),
            "milter, not offered",
        );
    }
    // A temporary one is turned into this.
    never(
        postfix().starttls("454 4.3.0 Try again later").quit(BYE),
        "milter, temporary",
    );
    // An older Postfix without TLS knows no STARTTLS.
    let old = Talk::smtp()
        .variation(Variation::Differential)
        .greets(GREETING)
        .ehlo(&postfix_without())
        .noop("250 2.0.0 Ok");
    let old = old
        .unknown("502 5.5.2 Error: command not recognized")
        .starttls("502 5.5.2 Error: command not recognized");
    never(old, "built without TLS");
    // Rules about names refuse EHLO.
    for words in [
        "504 5.5.2 <probe>: Helo command rejected: need fully-qualified hostname\n",
        "550 5.7.1 <probe>: Helo command rejected: Access denied\n",
    ] {
        never(
            Talk::smtp().greets(GREETING).ehlo(words),
            "smtpd_helo_restrictions",
        );
    }
    let sendmail = "250-mx.example.org Hello probe\n250-ENHANCEDSTATUSCODES\n250-PIPELINING\n250-8BITMIME\n250-STARTTLS\n250 HELP\n";
    for words in [
        "454 4.7.1 Please try again later",
        "503 5.5.0 TLS not permitted during a mail transaction",
        "550 5.0.0 Access denied",
    ] {
        never(
            Talk::smtp()
                .greets("220 mx.example.org ESMTP Sendmail 8.17.1/8.17.1; Mon")
                .ehlo(sendmail)
                .starttls(words)
                .quit("221 2.0.0 mx closing connection"),
            "Sendmail",
        );
    }
    let alert = "* BAD [ALERT] something\n* OK [ALERT] maintenance\n* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\n{tag} OK done\n";
    never(
        Talk::imap()
            .greets("* OK Dovecot ready.")
            .step(Label::Capabilities, "CAPABILITY", alert)
            .starttls("{tag} OK go")
            .verified(),
        "Dovecot's alerts",
    );
}

#[test]
fn a_spelling_that_passes_convicts_the_refusal() {
    let refused = || {
        postfix()
            .starttls("554 5.7.1 Encryption forbidden")
            .quit(BYE)
    };
    expect(&Scene::new().talk(refused()), Inconclusive, None, None);
    let mixed = postfix()
        .variation(Variation::MixedCase)
        .step(
            Label::MixedCaseStartTls,
            "StartTLS",
            "220 2.0.0 Ready to start TLS\n",
        )
        .verified();
    expect(
        &Scene::new().talk(refused()).talk(inside(mixed)),
        Interference,
        Some(M::CommandRefused),
        None,
    );
}

#[test]
fn swallowed_verbs_need_a_second_silence() {
    let once = Scene::new().talk(postfix().silent(Label::StartTls, "STARTTLS"));
    expect(&once, Inconclusive, None, None);
    let twice = once.talk(differential(GREETING, POSTFIX).silent(Label::StartTls, "STARTTLS"));
    expect(&twice, Interference, Some(M::CommandDropped), None);
    let passes = twice.talk(inside(
        postfix()
            .variation(Variation::MixedCase)
            .step(
                Label::MixedCaseStartTls,
                "StartTLS",
                "220 2.0.0 Ready to start TLS\n",
            )
            .verified(),
    ));
    let finding = expect(&passes, Interference, Some(M::CommandDropped), None);
    assert!(finding.confidence <= Confidence::Likely, "{finding:#?}");
}
