//! Every mechanism, server state and weakness, judged from synthetic dialogues; the look-alikes beside them.

mod scene;

use hoofbeat_diagnosis::{
    Case, Confidence, Diagnosis, Encryption, Finding, LocationClass, Mechanism, Question as Q,
    Settings, Verdict, Weakness, diagnose,
};
use hoofbeat_observation::{
    DnsStatus, FailureKind, HandshakeOutcome, InvalidReason, Question, Record, Role, Scheme,
    Variation, dialogue::Claimed, measurement::Unresolved,
};
use hoofbeat_session::{Label, Outcome};
use scene::*;

fn settings() -> Settings {
    Settings {
        now: NOW,
        ..Settings::default()
    }
}
fn judge(scene: &Scene) -> Diagnosis {
    diagnose(&Case {
        target: "example.org",
        measurements: &scene.measurements,
        settings: settings(),
    })
}
fn first(scene: &Scene) -> Finding {
    judge(scene).findings.into_iter().next().expect("a finding")
}
#[track_caller]
fn expect(
    scene: &Scene,
    verdict: Verdict,
    mechanism: Option<Mechanism>,
    product: Option<&str>,
) -> Finding {
    let finding = first(scene);
    assert_eq!(
        (
            finding.verdict,
            finding.mechanism,
            finding.product.as_deref()
        ),
        (verdict, mechanism, product),
        "{finding:#?}"
    );
    for cited in &finding.evidence {
        assert!(
            scene.measurements.iter().any(|m| m.id == cited.measurement),
            "cites what was measured: {cited:?}"
        );
    }
    finding
}
use Mechanism as M;
use Verdict::{Clear, Inconclusive, Interference, Server, Unreachable};

#[test]
fn a_clean_server_is_clear_and_asks_nothing() {
    let scene = Scene::new().talk(clean());
    let finding = expect(&scene, Clear, None, None);
    assert_eq!(
        (finding.encryption, finding.confidence),
        (Encryption::Verified, Confidence::Established)
    );
    assert_eq!(finding.location.class, LocationClass::Undetermined);
    let diagnosis = judge(&scene);
    assert!(
        diagnosis.questions.is_empty() && diagnosis.exit_status() == 0,
        "{:?}",
        diagnosis.questions
    );
    assert!(
        finding
            .tls
            .is_some_and(|tls| tls.not_after.as_deref() == Some("2027-01-17T11:06:40Z"))
    );
}

#[test]
fn thorough_asks_for_the_injection_once() {
    let scene = Scene::new().talk(clean());
    let ask = |scene: &Scene| {
        diagnose(&Case {
            target: "",
            measurements: &scene.measurements,
            settings: Settings {
                thorough: true,
                ..settings()
            },
        })
        .questions
    };
    assert!(matches!(ask(&scene).as_slice(), [Q::Injection(_)]));
    let answered = scene.talk(clean().variation(Variation::Injection));
    assert!(ask(&answered).is_empty());
}

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

#[test]
fn ehlo_is_refused() {
    let pix6 = Talk::smtp()
        .greets("220 ****************2*******")
        .ehlo("500 5.5.2 Error: command not recognized\n")
        .step(Label::Helo, "HELO probe", "250 mx.example.org\n");
    expect(
        &Scene::new().talk(pix6),
        Interference,
        Some(M::EhloRefused),
        Some("cisco-pix"),
    );
    let striptls = Talk::smtp()
        .greets(GREETING)
        .ehlo("502 Error: command \"EHLO\" not implemented\n")
        .step(Label::Helo, "HELO probe", "250 mx.example.org\n");
    expect(
        &Scene::new().talk(striptls),
        Interference,
        Some(M::EhloRefused),
        None,
    );
    // An ancient server that never said ESMTP.
    let old = Talk::smtp()
        .greets("220 mx.example.org SMTP ready")
        .ehlo("500 5.5.2 Error: command not recognized\n")
        .step(Label::Helo, "HELO probe", "250 mx.example.org\n");
    let finding = first(&Scene::new().talk(old));
    assert_ne!(finding.verdict, Interference, "{finding:#?}");
}

#[test]
fn somebody_else_answers() {
    let avast = Talk::smtp()
        .greets("220 mx.example.org avast! SMTP proxy ready.")
        .ehlo(&postfix_without());
    let finding = expect(
        &Scene::new().talk(avast),
        Interference,
        Some(M::SessionProxied),
        Some("avast-antivirus"),
    );
    assert_eq!(finding.location.class, LocationClass::ThisHost);
    let canned = "250-Requested mail action okay, completed\n250-SIZE 20000000\n250-ETRN\n250-8BITMIME\n250 OK\n";
    expect(
        &Scene::new().talk(
            Talk::smtp()
                .greets("220 mx.example.org ESMTP Service ready")
                .ehlo(canned),
        ),
        Interference,
        Some(M::SessionProxied),
        None,
    );
    // McAfee's near-twin has a full stop, and STARTTLS.
    let twin = canned
        .replace("completed\n", "completed.\n")
        .replace("250-ETRN", "250-STARTTLS");
    let finding = first(
        &Scene::new().talk(inside(
            Talk::smtp()
                .greets("220 mx.example.org ESMTP")
                .ehlo(&twin)
                .starttls("220 go")
                .verified(),
        )),
    );
    assert_eq!(finding.verdict, Clear);
    // Postfix's words from an address that is Google's.
    let google = Talk::to(service(Scheme::Smtp, "gmail-smtp-in.l.google.com"))
        .greets("220 relay.carrier.example ESMTP Postfix")
        .ehlo(&postfix_without());
    expect(
        &Scene::new().talk(google),
        Interference,
        Some(M::SessionProxied),
        None,
    );
    // Nobody lives at TEST-NET-1.
    let nowhere = Talk::to(service(Scheme::Smtp, "192.0.2.1"))
        .role(Role::NegativeControl)
        .greets("220 relay ESMTP");
    let scene = Scene::new()
        .talk(
            Talk::smtp()
                .greets("220 relay ESMTP")
                .ehlo("250-relay\n250 SIZE 1\n"),
        )
        .talk(nowhere);
    expect(&scene, Interference, Some(M::SessionProxied), None);
}

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

/// A user's own control may have a private certificate: its STARTTLS arrives all the same.
#[test]
fn a_control_with_a_bad_certificate_accuses_nobody() {
    let list = "250-mail.example.org\n250-8BITMIME\n250 SIZE";
    let plain = |talk: Talk| talk.greets("220 mail.example.org ready").ehlo(list);
    let differential = plain(Talk::smtp().variation(Variation::Differential))
        .unknown("500 What?")
        .starttls("500 What?");
    let control = Talk::to(control_service(Scheme::Smtp, 1))
        .role(control("one"))
        .greets(GREETING)
        .ehlo(POSTFIX)
        .starttls(GO)
        .invalid(InvalidReason::UnknownIssuer, "CN=Own CA", 9);
    let scene = Scene::new()
        .talk(plain(Talk::smtp()))
        .talk(differential)
        .talk(control);
    expect(&scene, Server, Some(M::NotOffered), None);
}

#[test]
fn certificates_of_operators_and_of_forgers() {
    for reason in [
        InvalidReason::Expired,
        InvalidReason::SelfSigned,
        InvalidReason::UnknownIssuer,
        InvalidReason::WrongName,
    ] {
        let scene = Scene::new()
            .talk(postfix().starttls(GO).invalid(reason, "CN=Private CA", 7))
            .talk(clean_control(Scheme::Smtp, 1));
        let finding = expect(&scene, Server, Some(M::CertificateInvalid), None);
        assert_eq!(
            (finding.encryption, finding.location.class),
            (Encryption::Unverified, LocationClass::Server)
        );
    }
    // Who asks by address cannot blame the certificate for naming a host.
    let by_address = postfix()
        .starttls(GO)
        .invalid(InvalidReason::WrongName, "CN=Public CA", 7)
        .tweak(|d| d.service.host = "192.0.2.25".into());
    let finding = expect(&Scene::new().talk(by_address), Inconclusive, None, None);
    assert_eq!(finding.encryption, Encryption::Unverified);
    assert!(
        finding
            .evidence
            .iter()
            .any(|cited| cited.excerpt.contains(HOST))
    );
    // One private issuer for unrelated hosts.
    let forged = |talk: Talk, key| {
        talk.greets(GREETING).ehlo(POSTFIX).starttls(GO).invalid(
            InvalidReason::UnknownIssuer,
            "CN=Gateway CA",
            key,
        )
    };
    let scene = Scene::new().talk(forged(Talk::smtp(), 7)).talk(forged(
        Talk::to(control_service(Scheme::Smtp, 1)).role(control("one")),
        8,
    ));
    let finding = expect(&scene, Interference, Some(M::TlsIntercepted), None);
    assert_eq!(
        finding.confidence,
        Confidence::Likely,
        "one control is one witness"
    );
    // An intercepting product's issuer, even where its root is trusted here.
    let scene = Scene::new().talk(postfix().starttls(GO).verified().tweak(|d| {
        d.handshake.as_mut().unwrap().chain =
            vec![certificate(HOST, "CN=Avast Web/Mail Shield Root", 3)]
    }));
    let finding = expect(
        &scene,
        Interference,
        Some(M::TlsIntercepted),
        Some("avast-antivirus"),
    );
    assert_eq!(
        finding.location.class,
        LocationClass::ThisHost,
        "{:?}",
        finding.location
    );
    // A firewall vendor's factory certificate names the device, not the host.
    let scene = Scene::new().talk(
        postfix()
            .starttls(GO)
            .invalid(InvalidReason::UnknownIssuer, "O=Fortinet, CN=support", 3)
            .tweak(|d| {
                d.handshake.as_mut().unwrap().chain[0].names = vec!["FE400E0000000000".into()];
            }),
    );
    expect(&scene, Server, Some(M::CertificateInvalid), None);
    // A copy of the host's real certificate.
    let sibling = Talk::to(service(Scheme::Submissions, HOST))
        .role(Role::Sibling)
        .verified();
    let scene = Scene::new()
        .talk(
            postfix()
                .starttls(GO)
                .invalid(InvalidReason::UnknownIssuer, "CN=Good CA", 9),
        )
        .talk(sibling);
    expect(&scene, Interference, Some(M::TlsIntercepted), None);
}

fn tlsa(records: &[&[u8]]) -> Vec<Record> {
    records
        .iter()
        .map(|rdata| Record::Tlsa(rdata.to_vec()))
        .collect()
}

#[test]
fn dane_proves_and_contradicts() {
    let scene = |rdata: &[u8], status, reason| {
        Scene::new()
            .lookup(
                "_25._tcp.mx.example.org",
                Question::Tlsa,
                tlsa(&[rdata]),
                status,
            )
            .talk(postfix().starttls(GO).invalid(reason, "CN=Private CA", 7))
    };
    // 3 1 0: the leaf's whole key.
    let matching = [3, 1, 0, 0x30, 0x59, 7];
    let other = [3, 1, 0, 0x30, 0x59, 8];
    let finding = expect(
        &scene(&matching, DnsStatus::Secure, InvalidReason::SelfSigned),
        Clear,
        None,
        None,
    );
    assert_eq!(finding.encryption, Encryption::Verified);
    let finding = expect(
        &scene(&matching, DnsStatus::Insecure, InvalidReason::SelfSigned),
        Server,
        Some(M::CertificateInvalid),
        None,
    );
    assert!(finding.weaknesses.is_empty());
    expect(
        &scene(&other, DnsStatus::Secure, InvalidReason::SelfSigned),
        Inconclusive,
        None,
        None,
    );
    let finding = expect(
        &scene(&other, DnsStatus::Secure, InvalidReason::UnknownIssuer),
        Interference,
        Some(M::TlsIntercepted),
        None,
    );
    assert_eq!(finding.confidence, Confidence::Indicated);
    let mismatch = Scene::new()
        .lookup(
            "_25._tcp.mx.example.org",
            Question::Tlsa,
            tlsa(&[&other]),
            DnsStatus::Secure,
        )
        .talk(clean());
    let finding = expect(&mismatch, Clear, None, None);
    assert_eq!(finding.weaknesses, [Weakness::PolicyMismatch]);
}

#[test]
fn policies_are_missed_or_contradicted() {
    let mx = |scene: Scene| {
        scene.lookup(
            "example.org",
            Question::Mx,
            vec![Record::Mx(10, HOST.into())],
            DnsStatus::Insecure,
        )
    };
    let absent = mx(Scene::new())
        .lookup(
            "_mta-sts.example.org",
            Question::Txt,
            vec![],
            DnsStatus::Insecure,
        )
        .talk(clean());
    let finding = expect(&absent, Clear, None, None);
    assert_eq!(finding.weaknesses, [Weakness::NoPolicy]);
    assert_eq!(judge(&absent).exit_status(), 0);
    let policy = |mx_line: &str| {
        mx(Scene::new())
            .lookup(
                "_mta-sts.example.org",
                Question::Txt,
                vec![Record::Txt(b"v=STSv1; id=1;".to_vec())],
                DnsStatus::Insecure,
            )
            .body(hoofbeat_observation::Body::MtaSts(
                hoofbeat_observation::MtaStsFetch {
                    domain: "example.org".into(),
                    http_status: Some(200),
                    content_type: Some("text/plain".into()),
                    body: format!(
                        "version: STSv1\r\nmode: enforce\r\nmx: {mx_line}\r\nmax_age: 86400\r\n"
                    )
                    .into_bytes(),
                    failure: None,
                },
            ))
    };
    assert!(
        first(&policy("*.example.org").talk(clean()))
            .weaknesses
            .is_empty()
    );
    assert_eq!(
        first(&policy("mail.example.net").talk(clean())).weaknesses,
        [Weakness::PolicyMismatch]
    );
    // Refused in its own words while the policy promises TLS: a rule about who asks.
    let hidden = policy("*.example.org").talk(
        differential(GREETING, &postfix_without())
            .starttls(OFF)
            .quit(BYE),
    );
    expect(&hidden, Server, Some(M::HiddenFromUs), None);
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
        scene::postfix()
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

#[test]
fn turned_away_and_unreachable() {
    for words in [
        "421 4.7.0 too many connections",
        "450 4.2.0 Greylisted",
        "554 5.7.1 blocked",
        "452 syntax error (connecting)",
    ] {
        expect(
            &Scene::new().talk(Talk::smtp().greets(words)),
            Inconclusive,
            None,
            None,
        );
    }
    let tarpit =
        Scene::new().talk(Talk::smtp().raw(Label::Greeting, "", b"220-wait", Outcome::TimedOut));
    expect(&tarpit, Inconclusive, None, None);
    assert!(
        judge(&tarpit).questions.is_empty(),
        "a limit is not answered by asking more often"
    );
    let closed = Scene::new().talk(Talk::smtp().refused(FailureKind::Refused));
    let finding = expect(&closed, Unreachable, None, None);
    assert_eq!(finding.encryption, Encryption::Unknown);
    assert_eq!(judge(&closed).exit_status(), 3);
    let control = |n| {
        Talk::to(control_service(Scheme::Smtp, n))
            .role(control(&format!("provider {n}")))
            .refused(FailureKind::TimedOut)
    };
    let one = closed.clone().talk(control(1)).talk(
        Talk::to(service(Scheme::Submissions, HOST))
            .role(Role::Sibling)
            .verified(),
    );
    expect(&one, Unreachable, None, None);
    expect(
        &one.talk(control(2)),
        Interference,
        Some(M::PortBlocked),
        None,
    );
}

#[test]
fn targets_without_services() {
    let null = Scene::new().unresolved(Unresolved::NullMx);
    let diagnosis = judge(&null);
    assert_eq!(
        (diagnosis.overall.verdict, diagnosis.exit_status()),
        (Unreachable, 3)
    );
    assert!(diagnosis.overall.summary.contains("RFC 7505"));
}

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
fn recordings_say_what_they_can() {
    let list_only = Talk::smtp()
        .text()
        .greets(GREETING)
        .ehlo(&postfix_without());
    let finding = expect(&Scene::new().talk(list_only), Inconclusive, None, None);
    assert!(
        finding
            .not_run
            .iter()
            .any(|test| test.why.contains("line ends"))
    );
    assert!(
        judge(
            &Scene::new().talk(
                Talk::smtp()
                    .text()
                    .greets(GREETING)
                    .ehlo(&postfix_without())
            )
        )
        .questions
        .is_empty()
    );
    let norton = Talk::smtp()
        .text()
        .greets(GREETING)
        .ehlo(POSTFIX)
        .starttls("500 Unsupported command.")
        .quit("221 Closing connection. Good bye.");
    expect(
        &Scene::new().talk(norton),
        Interference,
        Some(M::CommandRefused),
        Some("norton-antivirus"),
    );
    for (claimed, verdict, mechanism) in [
        (Claimed::PixWorkarounds, Interference, Some(M::BannerMasked)),
        (
            Claimed::CertificateInvalid,
            Server,
            Some(M::CertificateInvalid),
        ),
        (Claimed::StartTlsNotOffered, Inconclusive, None),
        (Claimed::LostAfterStartTls, Inconclusive, None),
        (Claimed::TlsVerified, Clear, None),
        (Claimed::TlsEstablished, Inconclusive, None),
        (Claimed::ConnectFailed, Unreachable, None),
    ] {
        let talk = Talk::smtp()
            .claims(&[(
                claimed,
                "postfix/smtp[1]: certificate verification failed: certificate has expired",
            )])
            .tweak(|d| d.connect.established = None);
        expect(&Scene::new().talk(talk), verdict, mechanism, None);
    }
}

#[test]
fn without_a_target_the_network_is_judged() {
    let scene = Scene::new()
        .talk(clean_control(Scheme::Smtp, 1))
        .talk(clean_control(Scheme::Smtp, 2));
    let diagnosis = diagnose(&Case {
        target: "",
        measurements: &scene.measurements,
        settings: settings(),
    });
    assert_eq!(
        (diagnosis.findings.len(), diagnosis.exit_status()),
        (2, 0),
        "{diagnosis:#?}"
    );
    let stripped = |n| {
        // Each keeps its own name: a list is edited, not one proxy for all.
        let list =
            postfix_without().replace("mx.example.org", &format!("mx{n}.provider{n}.example"));
        let talk =
            differential(GREETING, &list).starttls("502 5.5.1 Error: command not implemented");
        talk.tweak(|d| {
            d.service = control_service(Scheme::Smtp, n);
            d.role = control(&format!("provider {n}"));
        })
    };
    let scene = Scene::new().talk(stripped(1)).talk(stripped(2));
    let diagnosis = diagnose(&Case {
        target: "",
        measurements: &scene.measurements,
        settings: settings(),
    });
    assert_eq!(diagnosis.exit_status(), 2, "{diagnosis:#?}");
    assert!(
        diagnosis
            .findings
            .iter()
            .all(|finding| finding.mechanism == Some(M::CapabilityRemoved))
    );
}

#[test]
fn declined_tests_are_said_and_not_asked() {
    let scene = Scene::new().talk(Talk::smtp().greets(GREETING).ehlo(&postfix_without()));
    let settings = Settings {
        declined: vec![("verb-differential".into(), "no time left".into())],
        ..settings()
    };
    let diagnosis = diagnose(&Case {
        target: "",
        measurements: &scene.measurements,
        settings,
    });
    assert!(
        !diagnosis
            .questions
            .iter()
            .any(|q| matches!(q, Q::Differential(_)))
    );
    assert!(
        diagnosis.findings[0]
            .not_run
            .iter()
            .any(|test| test.test == "verb-differential" && test.why == "no time left")
    );
}

#[test]
fn twelve_connections_are_enough() {
    let mut scene = Scene::new();
    for _ in 0..12 {
        scene = scene.talk(Talk::smtp().greets(GREETING).ehlo(&postfix_without()));
    }
    let diagnosis = judge(&scene);
    assert!(
        !diagnosis
            .questions
            .iter()
            .any(|q| matches!(q, Q::Differential(_)))
    );
    assert!(
        diagnosis.findings[0]
            .not_run
            .iter()
            .any(|test| test.test == "verb-differential")
    );
}
