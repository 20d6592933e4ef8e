//! Between the go-ahead and TLS: handshakes that die, and lines that nobody asked for.

use hoofbeat_diagnosis::{
    Confidence, Encryption, LocationClass, Mechanism as M, Question as Q,
    Verdict::{Clear, Inconclusive, Interference, Server},
    Weakness,
};
use hoofbeat_observation::{HandshakeOutcome, Role, Scheme, Variation};
use hoofbeat_session::Label;

use crate::{
    scene::*,
    stand::{expect, first, judge},
};

#[test]
fn a_dying_handshake_needs_a_contrast() {
    let reset = || postfix().starttls(GO).dies(HandshakeOutcome::Reset);
    let alone = Scene::new()
        .talk(reset())
        .talk(reset().variation(Variation::Repeat));
    let finding = expect(&alone, Inconclusive, None, None);
    assert_eq!(finding.encryption, Encryption::None);
    assert!(
        matches!(
            judge(&alone).questions.as_slice(),
            [Q::Siblings(_), Q::Controls(Scheme::Smtp, 25)]
        ),
        "{:?}",
        judge(&alone).questions
    );
    let sibling = || {
        Talk::to(service(Scheme::Submissions, HOST))
            .role(Role::Sibling)
            .verified()
    };
    // A process that dies with the ClientHello unread resets as well: even a sibling that works accuses nobody.
    expect(&alone.clone().talk(sibling()), Inconclusive, None, None);
    // Clean controls turn suspicion back to the server: nobody is accused.
    expect(
        &alone
            .clone()
            .talk(sibling())
            .talk(clean_control(Scheme::Smtp, 1)),
        Inconclusive,
        None,
        None,
    );
    let dying = Talk::to(control_service(Scheme::Smtp, 1))
        .role(control("one"))
        .greets(GREETING)
        .ehlo(POSTFIX)
        .starttls(GO)
        .dies(HandshakeOutcome::Reset);
    let finding = expect(
        &alone.talk(dying),
        Interference,
        Some(M::HandshakeReset),
        None,
    );
    assert!(finding.confidence <= Confidence::Likely);
    let silent = Scene::new().talk(postfix().starttls(GO).dies(HandshakeOutcome::TimedOut));
    expect(&silent, Inconclusive, None, None);
    let dying = Talk::to(control_service(Scheme::Smtp, 1))
        .role(control("one"))
        .greets(GREETING)
        .ehlo(POSTFIX)
        .starttls(GO)
        .dies(HandshakeOutcome::TimedOut);
    expect(
        &silent.talk(dying),
        Interference,
        Some(M::HandshakeBlackholed),
        None,
    );
}

#[test]
fn a_server_breaks_its_own_tls() {
    for outcome in [
        HandshakeOutcome::Closed,
        HandshakeOutcome::NotTls,
        HandshakeOutcome::Alert {
            description: "internal_error".into(),
        },
    ] {
        let finding = expect(
            &Scene::new().talk(postfix().starttls(GO).dies(outcome)),
            Server,
            Some(M::StarttlsBroken),
            None,
        );
        assert_eq!(finding.location.class, LocationClass::Server);
    }
    let old = Scene::new().talk(postfix().starttls(GO).dies(HandshakeOutcome::Alert {
        description: "protocol_version".into(),
    }));
    assert!(matches!(
        judge(&old).questions.as_slice(),
        [Q::LegacyTls(_), Q::Controls(..)]
    ));
    let finding = expect(
        &old.clone().talk(postfix().legacy(Some("TLSv1.0"))),
        Server,
        Some(M::StarttlsBroken),
        None,
    );
    assert_eq!(finding.weaknesses, [Weakness::OldTls]);
    expect(
        &old.talk(postfix().legacy(Some("TLSv1.2"))),
        Interference,
        Some(M::TlsDowngraded),
        None,
    );
    let sentinel = HandshakeOutcome::Failed {
        detail: "peer misbehaved: AttemptedDowngradeToTls12WhenTls13IsSupported".into(),
    };
    expect(
        &Scene::new().talk(postfix().starttls(GO).dies(sentinel)),
        Interference,
        Some(M::TlsDowngraded),
        None,
    );
}

#[test]
fn injected_replies_stand_behind_the_go_ahead() {
    let talk = postfix()
        .starttls(GO)
        .leftover(b"250-example.org\r\n250 AUTH LOGIN\r\n")
        .verified();
    let finding = expect(
        &Scene::new().talk(inside(talk)),
        Interference,
        Some(M::PlaintextInjected),
        None,
    );
    assert_eq!(finding.encryption, Encryption::Verified);
    // A TLS alert behind the 220 is the server's own failure, and an injection test earns two replies.
    let alert = postfix()
        .starttls(GO)
        .leftover(&[0x15, 3, 1, 0, 2, 2, b'\n'])
        .dies(HandshakeOutcome::Closed);
    assert_eq!(first(&Scene::new().talk(alert)).verdict, Server);
    let ours = inside(
        postfix()
            .variation(Variation::Injection)
            .starttls(GO)
            .leftover(b"250 2.0.0 Ok\r\n")
            .verified(),
    );
    assert_eq!(first(&Scene::new().talk(clean()).talk(ours)).verdict, Clear);
    let imap = Talk::imap()
        .greets("* OK Dovecot ready.")
        .step(
            Label::Capabilities,
            "CAPABILITY",
            "* 54321 EXISTS\n* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\n{tag} OK done\n",
        )
        .starttls("{tag} OK go")
        .verified();
    expect(
        &Scene::new().talk(imap),
        Interference,
        Some(M::PlaintextInjected),
        None,
    );
    let alert = Talk::imap().greets("* OK IMAP4rev1 ready").step(Label::Capabilities, "CAPABILITY", "* OK [ALERT] maintenance\n* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\n{tag} OK done\n").starttls("{tag} OK go").verified();
    expect(&Scene::new().talk(alert), Inconclusive, None, None);
}

#[test]
fn pools_and_memories_accuse_nobody() {
    let without = Talk::smtp()
        .greets("220 pool7.example.org ESMTP ready")
        .ehlo("250-pool7.example.org\n250 SIZE 1000\n");
    let scene = Scene::new()
        .talk(clean())
        .talk(without.variation(Variation::Repeat));
    expect(&scene, Inconclusive, None, None);
    // Haraka: offered, failed, withdrawn.
    let haraka = "250-mx.example.org Haraka says hi\n250-PIPELINING\n250-8BITMIME\n250-SIZE 0\n";
    let offered = Talk::smtp()
        .greets("220 mx.example.org ESMTP Haraka ready")
        .ehlo(&format!("{haraka}250 STARTTLS\n"))
        .starttls("220 Go ahead.")
        .dies(HandshakeOutcome::Alert {
            description: "handshake_failure".into(),
        });
    let withdrawn = Talk::smtp()
        .variation(Variation::Repeat)
        .greets("220 mx.example.org ESMTP Haraka ready")
        .ehlo(&format!("{haraka}250 SMTPUTF8\n"));
    let finding = expect(
        &Scene::new().talk(offered).talk(withdrawn),
        Server,
        Some(M::StarttlsBroken),
        None,
    );
    assert!(finding.innocent.iter().any(|text| text.contains("Haraka")));
}
