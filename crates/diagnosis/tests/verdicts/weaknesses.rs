//! Logins in the clear.

use hoofbeat_diagnosis::{
    Encryption, Mechanism as M,
    Verdict::{Clear, Inconclusive, Interference, Server},
    Weakness,
};
use hoofbeat_observation::{Role, Scheme, Variation};
use hoofbeat_session::Label;

use crate::{
    scene::*,
    stand::{expect, first},
};

#[test]
fn logins_in_the_clear() {
    let submission = Talk::to(service(Scheme::Submission, HOST))
        .greets(GREETING)
        .ehlo(&POSTFIX.replace("250-ENH", "250-AUTH PLAIN LOGIN\n250-ENH"))
        .starttls(GO)
        .verified();
    let finding = expect(&Scene::new().talk(submission), Clear, None, None);
    assert_eq!(finding.weaknesses, [Weakness::AuthBeforeTls]);
    let imap = Talk::imap()
        .greets("* OK Dovecot ready.")
        .step(
            Label::Capabilities,
            "CAPABILITY",
            "* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\n{tag} OK done\n",
        )
        .starttls("{tag} OK go")
        .verified();
    assert_eq!(
        first(&Scene::new().talk(imap)).weaknesses,
        [Weakness::AuthBeforeTls, Weakness::LogindisabledMissing]
    );
    let preauth = Talk::imap().greets("* PREAUTH [CAPABILITY IMAP4rev1] welcome");
    let finding = first(&Scene::new().talk(preauth.clone()));
    assert_eq!(
        (
            finding.verdict,
            finding.weaknesses.contains(&Weakness::Preauth)
        ),
        (Server, true),
        "{finding:#?}"
    );
    let honest = Talk::to(service(Scheme::Imaps, HOST))
        .role(Role::Sibling)
        .verified()
        .greets("* OK Dovecot ready.");
    expect(
        &Scene::new().talk(preauth).talk(honest),
        Interference,
        Some(M::PlaintextInjected),
        None,
    );
    let injected = postfix()
        .variation(Variation::Injection)
        .starttls(GO)
        .verified()
        .step(Label::Injected, "", "250 2.0.0 Ok\n");
    assert_eq!(
        first(&Scene::new().talk(clean()).talk(injected)).weaknesses,
        [Weakness::CommandInjection]
    );
    let soon = clean()
        .tweak(|d| d.handshake.as_mut().unwrap().chain[0].not_after = Some(NOW + 3 * 86_400));
    assert_eq!(
        first(&Scene::new().talk(soon)).weaknesses,
        [Weakness::ExpiresSoon]
    );
}

#[test]
fn who_starts_tls_behind_preauth_did_not_say_preauth() {
    let works = |list: &str, unknown: &str| {
        Scene::new().talk(
            Talk::imap()
                .variation(Variation::Differential)
                .greets("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] ready.")
                .step(
                    Label::Capabilities,
                    "CAPABILITY",
                    &format!("* CAPABILITY {list}\n{{tag}} OK done\n"),
                )
                .unknown(unknown)
                .starttls("{tag} OK Begin TLS negotiation now.")
                .verified()
                .quit("* BYE Logging out\n{tag} OK Logout completed."),
        )
    };
    let dovecot = expect(
        &works(
            "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS",
            "{tag} BAD Error in IMAP command received by server.",
        ),
        Interference,
        Some(M::PlaintextInjected),
        None,
    );
    assert_eq!(dovecot.encryption, Encryption::Verified);
    assert!(dovecot.weaknesses.contains(&Weakness::Preauth));
    // Of a server that nobody knows it is only odd, and it does encrypt.
    let stranger = expect(
        &works("IMAP4rev1 IDLE STARTTLS", "{tag} BAD Unknown command."),
        Inconclusive,
        None,
        None,
    );
    assert_eq!(stranger.encryption, Encryption::Verified);
}
