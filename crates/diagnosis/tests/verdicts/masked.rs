//! Overwritten keywords and greetings: products, places, and the letter that counts.

use hoofbeat_diagnosis::{
    Confidence, Encryption, LocationClass, Mechanism as M, Question as Q,
    Verdict::{Clear, Interference, Server},
};
use hoofbeat_observation::{Scheme, Variation};
use hoofbeat_session::Label;

use crate::{
    scene::*,
    stand::{expect, first, judge},
};

#[test]
fn an_asa_masks_the_offer() {
    let baseline = Scene::new().talk(Talk::smtp().greets(STARS).ehlo(POSTFIX_ASA).quit(BYE));
    assert!(matches!(
        judge(&baseline).questions.as_slice(),
        [Q::Differential(_)]
    ));
    let scene = baseline.talk(differential(STARS, POSTFIX_ASA).starttls(UNKNOWN).quit(BYE));
    let finding = expect(
        &scene,
        Interference,
        Some(M::CapabilityMasked),
        Some("cisco-asa"),
    );
    assert_eq!(
        (finding.encryption, finding.confidence),
        (Encryption::None, Confidence::Established)
    );
    assert!(
        finding
            .remedies
            .iter()
            .any(|r| r.commands.iter().any(|c| c.contains("allow-tls")))
    );
    assert!(finding.remedies.iter().any(|r| {
        r.commands
            .iter()
            .any(|c| c.contains("smtp_pix_workarounds"))
    }));
    let mask = &finding.evidence[0];
    assert_eq!(mask.excerpt, "XXXXXXXA");
    assert_eq!(judge(&scene).exit_status(), 2);
}

#[test]
fn controls_turn_the_place() {
    let stripped = Scene::new()
        .talk(Talk::smtp().greets(STARS).ehlo(POSTFIX_ASA))
        .talk(differential(STARS, POSTFIX_ASA).starttls(UNKNOWN));
    let clean_elsewhere = stripped
        .clone()
        .talk(clean_control(Scheme::Smtp, 1))
        .talk(clean_control(Scheme::Smtp, 2));
    let finding = first(&clean_elsewhere);
    assert_eq!(
        finding.location.class,
        LocationClass::ServerEdge,
        "{:?}",
        finding.location
    );
    let everywhere = stripped
        .talk(
            Talk::to(control_service(Scheme::Smtp, 1))
                .role(control("one"))
                .greets(STARS)
                .ehlo(POSTFIX_ASA),
        )
        .talk(
            Talk::to(control_service(Scheme::Smtp, 2))
                .role(control("two"))
                .greets(STARS)
                .ehlo(POSTFIX_ASA),
        );
    let finding = first(&everywhere);
    assert_ne!(finding.location.class, LocationClass::ServerEdge);
    assert!(
        finding.location.posterior["server-edge"] < 0.1,
        "{:?}",
        finding.location
    );
}

#[test]
fn ground_truths_of_the_mask() {
    // Truth 2: Exim, 2006.
    let exim = "250-mail.example\n250-PIPELINING\n250-XXXXXXXA\n250 XXXB\n";
    let talk = Talk::smtp()
        .text()
        .greets(STARS)
        .ehlo(exim)
        .starttls("500 unrecognized command");
    let finding = expect(
        &Scene::new().talk(talk),
        Interference,
        Some(M::CapabilityMasked),
        Some("cisco-asa"),
    );
    assert!(
        finding.confidence >= Confidence::Likely,
        "a text is never established"
    );
    // Truth 3: Postfix through a carrier, list only.
    let vodafone = "250-mail.example\n250-PIPELINING\n250-SIZE 307200000\n250-VRFY\n250-ETRN\n250-XXXXXXXA\n250-AUTH PLAIN CRAM-MD5\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250 DSN\n";
    expect(
        &Scene::new().talk(Talk::smtp().text().ehlo(vodafone)),
        Interference,
        Some(M::CapabilityMasked),
        Some("cisco-asa"),
    );
    // Truth 4: allow-tls in front of a Barracuda: HELP is masked, STARTTLS is there.
    let stars = format!("220 {}", "*".repeat(81));
    let barracuda = "250-mx.example.org\n250-STARTTLS\n250-PIPELINING\n250-8BITMIME\n250 XXXA\n";
    let allow = inside(
        Talk::smtp()
            .greets(&stars)
            .ehlo(barracuda)
            .starttls("220 go ahead")
            .verified(),
    );
    let finding = expect(
        &Scene::new().talk(allow),
        Interference,
        Some(M::BannerMasked),
        Some("cisco-asa"),
    );
    assert_eq!(finding.encryption, Encryption::Verified);
    // Truth 5: several lines, masked one by one.
    let finding = first(
        &Scene::new().talk(inside(
            Talk::smtp()
                .greets("220-***************\n220 ******************")
                .ehlo(POSTFIX)
                .starttls(GO)
                .verified(),
        )),
    );
    assert_eq!(finding.mechanism, Some(M::BannerMasked));
    // The 2014 filing prints 200 for 220.
    let fcc = Talk::smtp()
        .text()
        .greets("200 ********************")
        .ehlo(vodafone)
        .starttls("502 5.5.2 Error: command not recognized");
    expect(
        &Scene::new().talk(fcc),
        Interference,
        Some(M::CapabilityMasked),
        Some("cisco-asa"),
    );
}

#[test]
fn truth_one_nine_lines_of_exchange() {
    let lines = [
        "TURN",
        "STARTTLS",
        "X-EXPS GSSAPI NTLM LOGIN",
        "X-LINK2STATE",
        "XEXCH50",
        "OK",
    ];
    let mut reply = String::from(
        "250-mail.example Hello [192.0.2.1]\n250-SIZE 10485760\n250-PIPELINING\n250-DSN\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n",
    );
    for (n, line) in lines.iter().enumerate() {
        let masked = format!(
            "{}{}",
            "X".repeat(line.len() - 1),
            char::from(b'A' + u8::try_from(n).unwrap())
        );
        reply.push_str(&format!(
            "250{}{masked}\n",
            if n + 1 == lines.len() { ' ' } else { '-' }
        ));
    }
    let scene = Scene::new()
        .talk(Talk::smtp().greets(STARS).ehlo(&reply))
        .talk(
            Talk::smtp()
                .variation(Variation::Differential)
                .greets(STARS)
                .ehlo(&reply)
                .noop("250 2.0.0 OK")
                .unknown("500 5.3.3 Unrecognized command")
                .starttls("500 5.3.3 Unrecognized command"),
        );
    expect(
        &scene,
        Interference,
        Some(M::CapabilityMasked),
        Some("cisco-asa"),
    );
}

#[test]
fn the_counter_letter_trap_fools_nobody() {
    // STARTTLS visible, SMTPUTF8 and CHUNKING masked as XXXXXXXA and XXXXXXXB, the greeting intact.
    let list = POSTFIX
        .replace("250-SMTPUTF8", "250-XXXXXXXA")
        .replace("250 CHUNKING", "250 XXXXXXXB");
    let finding = expect(
        &Scene::new().talk(inside(
            Talk::smtp()
                .greets(GREETING)
                .ehlo(&list)
                .starttls(GO)
                .verified(),
        )),
        Clear,
        None,
        None,
    );
    assert!(
        finding
            .evidence
            .iter()
            .any(|e| e.claim.contains("overwritten")),
        "told, not accused"
    );
    // No STARTTLS at the server, CHUNKING and SMTPUTF8 masked behind DSN: nothing of STARTTLS was hidden.
    let without = list.replace("250-STARTTLS\n", "");
    let scene = Scene::new()
        .talk(Talk::smtp().greets(GREETING).ehlo(&without))
        .talk(differential(GREETING, &without).starttls(OFF));
    let finding = first(&scene);
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Server, Some(M::NotOffered)),
        "{finding:#?}"
    );
}

#[test]
fn generic_masks_have_no_product() {
    for mask in ["XXXXXXXX", "STARTTLX", "STARTTLF", "STAR*TLS"] {
        let list = POSTFIX.replace("STARTTLS", mask);
        let scene = Scene::new()
            .talk(Talk::smtp().greets(GREETING).ehlo(&list))
            .talk(differential(GREETING, &list).starttls(UNKNOWN));
        expect(&scene, Interference, Some(M::CapabilityMasked), None);
    }
    let capability =
        "* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ XXXXXXXX LOGINDISABLED\n{tag} OK done\n";
    let imap = Talk::imap()
        .greets("* OK Dovecot ready.")
        .step(Label::Capabilities, "CAPABILITY", capability)
        .unknown("{tag} BAD Error in IMAP command received by server.")
        .starttls("{tag} BAD Error in IMAP command received by server.");
    expect(
        &Scene::new().talk(imap.variation(Variation::Differential)),
        Interference,
        Some(M::CapabilityMasked),
        None,
    );
    let pop3 = Talk::pop3()
        .greets("+OK Dovecot ready.")
        .step(
            Label::Capabilities,
            "CAPA",
            "+OK\nCAPA\nTOP\nUIDL\nRESP-CODES\nPIPELINING\nAUTH-RESP-CODE\nXXXX\nSASL\n.\n",
        )
        .unknown("-ERR Unknown command.")
        .starttls("-ERR Unknown command.");
    expect(
        &Scene::new().talk(pop3.variation(Variation::Differential)),
        Interference,
        Some(M::CapabilityMasked),
        None,
    );
}
