//! What must hold for every record: no panic on mutilated archives, no accusation of honest servers,
//! posteriors that sum to one, the same verdict again from the archive.

mod scene;

use hoofbeat_diagnosis::{Case, Confidence, Diagnosis, Settings, Verdict, diagnose};
use hoofbeat_observation::{
    HandshakeOutcome, InvalidReason, Measurement, Role, Scheme, Variation, archive,
};
use hoofbeat_session::{ByteRange, Label, Outcome};
use proptest::prelude::*;
use scene::*;

fn judge(measurements: &[Measurement]) -> Diagnosis {
    diagnose(&Case {
        target: "example.org",
        measurements,
        settings: Settings {
            now: NOW,
            thorough: true,
            declined: Vec::new(),
            ..Settings::default()
        },
        elsewhere: Vec::new(),
    })
}

fn sound(diagnosis: &Diagnosis) {
    for finding in &diagnosis.findings {
        let sum: f64 = finding.location.posterior.values().sum();
        assert!((sum - 1.0).abs() < 1e-3, "{:?}", finding.location);
        assert!((0.0..=1.0).contains(&finding.location.probability));
        assert!(
            finding
                .evidence
                .iter()
                .all(|one| one.excerpt.chars().count() <= 160)
        );
        if finding.verdict == Verdict::Interference {
            assert!(
                !finding.evidence.is_empty()
                    && finding.mechanism.is_some()
                    && !finding.innocent.is_empty(),
                "{finding:#?}"
            );
            assert!(finding.confidence != Confidence::Undetermined);
        }
        assert!(finding.verdict != Verdict::Server || finding.mechanism.is_some());
    }
}

/// One server's honest words: greeting, list (with `{tls}` where STARTTLS stands), NOOP, unknown, QUIT, go, off, busy.
struct Honest(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
);

const HONEST: &[Honest] = &[
    Honest(
        "220 mx.example.org ESMTP Postfix (Debian/GNU)",
        "250-mx.example.org\n250-PIPELINING\n250-SIZE 10240000\n250-VRFY\n250-ETRN\n{tls}250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250-DSN\n250-SMTPUTF8\n250 CHUNKING\n",
        "250 2.0.0 Ok",
        "500 5.5.2 Error: command not recognized",
        "221 2.0.0 Bye",
        "220 2.0.0 Ready to start TLS",
        &["502 5.5.1 Error: command not implemented"],
        "454 4.7.0 TLS not available due to local problem",
    ),
    Honest(
        "220 mx.example.org ESMTP",
        "250-mx.example.org\n250-PIPELINING\n{tls}250-8BITMIME\n250 DSN\n",
        "250 2.0.0 Ok",
        "502 5.5.2 Error: command not recognized",
        "221 2.0.0 Bye",
        "220 2.0.0 Ready to start TLS",
        &["502 5.5.1 Error: command not implemented"],
        "454 4.7.0 Error: too many new TLS sessions from x[192.0.2.1]",
    ),
    Honest(
        "220 mx.example.org ESMTP Exim 4.96 Mon, 02 Nov 2026",
        "250-mx.example.org Hello x\n250-SIZE 52428800\n250-8BITMIME\n250-PIPELINING\n250-PIPECONNECT\n250-CHUNKING\n{tls}250-PRDR\n250 HELP\n",
        "250 OK",
        "500 unrecognized command",
        "221 mx.example.org closing connection",
        "220 TLS go ahead",
        &[
            "503 STARTTLS command used when not advertised",
            "500 unrecognized command",
        ],
        "454 TLS currently unavailable",
    ),
    Honest(
        "220 mx.example.org ESMTP Sendmail 8.17.1/8.17.1; Mon",
        "250-mx.example.org Hello x\n250-ENHANCEDSTATUSCODES\n250-PIPELINING\n250-8BITMIME\n250-SIZE\n250-DSN\n250-ETRN\n{tls}250-DELIVERBY\n250 HELP\n",
        "250 2.0.0 OK",
        "500 5.5.1 Command unrecognized: \"{verb}\"",
        "221 2.0.0 mx.example.org closing connection",
        "220 2.0.0 Ready to start TLS",
        &[
            "503 5.5.0 TLS not available",
            "500 5.5.1 Command unrecognized: \"STARTTLS\"",
        ],
        "454 4.3.3 TLS not available after start",
    ),
    Honest(
        "220 mx.example.org Microsoft ESMTP MAIL Service ready at Mon",
        "250-mx.example.org Hello [192.0.2.1]\n250-SIZE 37748736\n250-PIPELINING\n250-DSN\n250-ENHANCEDSTATUSCODES\n{tls}250-X-ANONYMOUSTLS\n250-AUTH NTLM\n250-8BITMIME\n250-CHUNKING\n250 XRDST\n",
        "250 2.0.0 OK",
        "500 5.3.3 Unrecognized command '{verb}'",
        "221 2.0.0 Service closing transmission channel",
        "220 2.0.0 SMTP server ready",
        &[
            "502 5.5.1 Command not implemented",
            "500 5.3.3 Unrecognized command 'STARTTLS'",
        ],
        "454 4.7.0 TLS not available due to temporary reason",
    ),
    Honest(
        "220 mx.example.org ESMTP",
        "250-mx.example.org\n{tls}250-PIPELINING\n250-8BITMIME\n250 SIZE 20000000\n",
        "250 ok",
        "502 unimplemented (#5.5.1)",
        "221 mx.example.org",
        "220 ready for tls",
        &["502 unimplemented (#5.5.1)"],
        "454 TLS missing certificate: error:02001002 (#4.3.0)",
    ),
    Honest(
        "220 mx.example.org ESMTP",
        "250-mx.example.org\n250-8BITMIME\n{tls}250 SIZE 33554432\n",
        "250 ok",
        "500 #5.5.1 command not recognized",
        "221 mx.example.org",
        "220 Go ahead with TLS",
        &["500 #5.5.1 command not recognized"],
        "454 #4.7.0 TLS not available due to temporary reason",
    ),
    Honest(
        "220 mx.example.org ESMTP Haraka ready",
        "250-mx.example.org Hello x\n250-PIPELINING\n250-8BITMIME\n250-SMTPUTF8\n{tls}250 SIZE 0\n",
        "250 OK",
        "500 Unrecognized command",
        "221 mx.example.org closing connection. Have a jolly good day.",
        "220 Go ahead.",
        &["500 Unrecognized command"],
        "454 TLS not available due to temporary reason",
    ),
    Honest(
        "220 mx.example.org ESMTP service ready",
        "250-mx.example.org\n250-8BITMIME\n250-PIPELINING\n250-DSN\n250-ENHANCEDSTATUSCODES\n{tls}250 SIZE 20971520\n",
        "250 2.0.0 Ok",
        "500 5.5.1 Unknown or unimplemented command",
        "221 2.0.0 Bye",
        "220 2.0.0 Ready",
        &["533 5.7.1 STARTTLS command is not enabled."],
        "454 4.7.0 TLS not available",
    ),
    Honest(
        "220 mx.google.com ESMTP abc - gsmtp",
        "250-mx.google.com at your service, [192.0.2.1]\n250-SIZE 157286400\n250-8BITMIME\n{tls}250-ENHANCEDSTATUSCODES\n250-PIPELINING\n250-CHUNKING\n250 SMTPUTF8\n",
        "250 2.0.0 OK abc - gsmtp",
        "502 5.5.1 Unrecognized command. abc - gsmtp",
        "221 2.0.0 closing connection abc - gsmtp",
        "220 2.0.0 Ready to start TLS",
        &["502 5.5.1 Unrecognized command. abc - gsmtp"],
        "454 4.7.0 TLS not available - gsmtp",
    ),
    Honest(
        "220 mx.example.org ESMTP OpenSMTPD",
        "250-mx.example.org Hello x [192.0.2.1], pleased to meet you\n250-8BITMIME\n250-ENHANCEDSTATUSCODES\n250-SIZE 36700160\n250-DSN\n{tls}250 HELP\n",
        "250 2.0.0 Ok",
        "500 5.5.1 Invalid command: Command unrecognized",
        "221 2.0.0 Bye",
        "220 2.0.0 Ready to start TLS",
        &["503 5.5.1 Invalid command: Command not supported"],
        "421 4.3.0 TLS not ready",
    ),
    Honest(
        "220 mx Python SMTP 1.4",
        "250-mx\n250-SIZE 33554432\n250-8BITMIME\n{tls}250 HELP\n",
        "250 OK",
        "500 Error: command \"{verb}\" not recognized",
        "221 Bye",
        "220 Ready to start TLS",
        &[
            "454 TLS not available",
            "500 Error: command \"STARTTLS\" not recognized",
        ],
        "454 TLS not available",
    ),
];

/// Scheme, greeting, list, unknown, off, go, busy of one mailbox server.
struct Mailbox(
    Scheme,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const MAILBOXES: &[Mailbox] = &[
    Mailbox(
        Scheme::Imap,
        "* OK [CAPABILITY IMAP4rev1 LITERAL+{tls} LOGINDISABLED] Dovecot (Debian) ready.",
        "* CAPABILITY IMAP4rev1 LITERAL+{tls} LOGINDISABLED\n{tag} OK done\n",
        "{tag} BAD Error in IMAP command received by server.",
        "{tag} BAD TLS support isn't enabled.",
        "{tag} OK Begin TLS negotiation now.",
        "{tag} NO [UNAVAILABLE] TLS is temporarily not available.",
    ),
    Mailbox(
        Scheme::Imap,
        "* OK mx Cyrus IMAP 3.6.0 server ready",
        "* CAPABILITY IMAP4rev1 LITERAL+ ID{tls}\n{tag} OK Completed\n",
        "{tag} BAD Unrecognized command",
        "{tag} BAD Unrecognized command",
        "{tag} OK Begin TLS negotiation now",
        "{tag} NO Error initializing TLS",
    ),
    Mailbox(
        Scheme::Imap,
        "* OK [CAPABILITY IMAP4rev1] Courier-IMAP ready. Copyright",
        "* CAPABILITY IMAP4rev1 UIDPLUS CHILDREN{tls}\n{tag} OK CAPABILITY completed\n",
        "{tag} NO Error in IMAP command received by server.",
        "{tag} NO Error in IMAP command received by server.",
        "{tag} OK Begin SSL/TLS negotiation now.",
        "{tag} NO STARTTLS failed",
    ),
    Mailbox(
        Scheme::Imap,
        "* OK IMAP4rev1 ready",
        "* CAPABILITY IMAP4rev1{tls}\n{tag} OK\n",
        "{tag} BAD what",
        "{tag} BAD unknown command",
        "{tag} OK go",
        "{tag} NO later",
    ),
    Mailbox(
        Scheme::Pop3,
        "+OK Dovecot (Debian) ready.",
        "+OK\nCAPA\nTOP\nUIDL\nRESP-CODES\nPIPELINING\nAUTH-RESP-CODE\n{tls}SASL\n.\n",
        "-ERR Unknown command.",
        "-ERR TLS support isn't enabled.",
        "+OK Begin TLS negotiation now.",
        "-ERR [SYS/TEMP] TLS is temporarily not available.",
    ),
    Mailbox(
        Scheme::Pop3,
        "+OK Hello there.",
        "+OK Here's what I can do:\nTOP\nUSER\n{tls}UIDL\n.\n",
        "-ERR Invalid command.",
        "-ERR Invalid command.",
        "+OK Begin SSL/TLS negotiation now.",
        "-ERR STLS failed",
    ),
    Mailbox(
        Scheme::Pop3,
        "+OK ready",
        "+OK\nUSER\n{tls}.\n",
        "-ERR unknown command",
        "-ERR unknown command",
        "+OK go",
        "-ERR later",
    ),
    Mailbox(
        Scheme::Sieve,
        "OK \"Dovecot (Debian) ready.\"",
        "\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\n\"SASL\" \"\"\n{tls}OK \"Capability completed.\"\n",
        "NO \"Error in MANAGESIEVE command received by server.\"",
        "NO \"TLS support isn't enabled.\"",
        "OK \"Begin TLS negotiation now.\"",
        "NO (TRYLATER) \"TLS is temporarily not available.\"",
    ),
    Mailbox(
        Scheme::Sieve,
        "OK \"ready\"",
        "\"IMPLEMENTATION\" \"x\"\n{tls}OK\n",
        "NO \"what\"",
        "NO \"what\"",
        "OK",
        "NO \"later\"",
    ),
];

#[derive(Debug, Clone, Copy)]
enum State {
    Verified,
    Invalid(InvalidReason),
    Off(usize),
    Busy,
    Dies(u8),
    TurnedAway,
    BrokenOff,
}

fn states() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Verified),
        prop_oneof![
            Just(InvalidReason::Expired),
            Just(InvalidReason::SelfSigned),
            Just(InvalidReason::UnknownIssuer),
            Just(InvalidReason::WrongName)
        ]
        .prop_map(State::Invalid),
        (0..2_usize).prop_map(State::Off),
        Just(State::Busy),
        (0..6_u8).prop_map(State::Dies),
        Just(State::TurnedAway),
        Just(State::BrokenOff),
    ]
}

/// An operator's own certificate has dates of its own; only a copy has the original's.
fn own_dates(dialogue: &mut hoofbeat_observation::Dialogue) {
    for certificate in dialogue
        .handshake
        .iter_mut()
        .flat_map(|handshake| &mut handshake.chain)
    {
        certificate.not_before = Some(NOW - 400 * 86_400);
        certificate.not_after = Some(NOW + 3_000 * 86_400);
    }
}

fn talk(honest: &Honest, state: State, variation: Variation) -> Talk {
    let Honest(greeting, list, noop, unknown, quit, go, off, busy) = honest;
    let offered = !matches!(state, State::Off(_));
    let list = list.replace("{tls}", if offered { "250-STARTTLS\n" } else { "" });
    if matches!(state, State::TurnedAway) {
        return Talk::smtp()
            .variation(variation)
            .greets("421 4.7.0 too many connections");
    }
    let mut talk = Talk::smtp().variation(variation).greets(greeting);
    if matches!(state, State::BrokenOff) {
        return talk.raw(
            Label::Capabilities,
            "EHLO probe.example.net",
            b"250-mx.exa",
            Outcome::TimedOut,
        );
    }
    talk = talk.ehlo(&list);
    if variation == Variation::Differential {
        talk = talk
            .step(Label::CapabilitiesAgain, "EHLO probe.example.net", &list)
            .noop(noop)
            .unknown(unknown);
    }
    match state {
        State::Verified => talk
            .starttls(go)
            .verified()
            .ehlo(&list.replace("250-STARTTLS\n", ""))
            .quit(quit),
        State::Invalid(reason) => talk
            .starttls(go)
            .invalid(reason, "CN=Private CA", 7)
            .tweak(own_dates)
            .ehlo(&list)
            .quit(quit),
        State::Off(n) if variation == Variation::Differential => {
            talk.starttls(off[n % off.len()]).quit(quit)
        }
        State::Off(_) => talk.quit(quit),
        State::Busy => talk.starttls(busy).quit(quit),
        State::Dies(n) => talk.starttls(go).dies(match n {
            0 => HandshakeOutcome::Reset,
            1 => HandshakeOutcome::TimedOut,
            2 => HandshakeOutcome::Closed,
            3 => HandshakeOutcome::NotTls,
            4 => HandshakeOutcome::Alert {
                description: "internal_error".into(),
            },
            _ => HandshakeOutcome::Alert {
                description: "protocol_version".into(),
            },
        }),
        State::TurnedAway | State::BrokenOff => talk,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// The worst bug: an honest server, in any dialect and any state, with or without clean controls, is never accused.
    #[test]
    fn honest_servers_are_never_accused(n in 0..HONEST.len(), state in states(), also in proptest::collection::vec(states(), 0..3), with_controls: bool, with_sibling: bool, text: bool, split_at in 0..200_usize) {
        let honest = &HONEST[n];
        let mut scene = Scene::new().talk(talk(honest, state, Variation::Baseline)).talk(talk(honest, state, Variation::Differential));
        // Pools: other machines behind the same address, in other states.
        for other in also {
            scene = scene.talk(talk(honest, other, Variation::Repeat));
        }
        if with_controls {
            scene = scene.talk(clean_control(Scheme::Smtp, 1)).talk(clean_control(Scheme::Smtp, 2));
        }
        if with_sibling {
            scene = scene.talk(Talk::to(service(Scheme::Submissions, HOST)).role(Role::Sibling).verified());
        }
        if text {
            scene = Scene::new().talk(talk(honest, state, Variation::Differential).text());
        }
        // How the reply was cut into segments must not matter.
        for measurement in &mut scene.measurements {
            if let hoofbeat_observation::Body::Dialogue(dialogue) = &mut measurement.body {
                let mut chunks = Vec::new();
                for chunk in dialogue.transcript.chunks.drain(..) {
                    let at = split_at.min(chunk.bytes.len());
                    let (front, back) = chunk.bytes.split_at(at);
                    for (bytes, offset) in [(front, chunk.offset), (back, chunk.offset + at as u64)] {
                        if !bytes.is_empty() {
                            chunks.push(hoofbeat_session::Chunk { bytes: bytes.to_vec(), offset, ..chunk.clone() });
                        }
                    }
                }
                dialogue.transcript.chunks = chunks;
            }
        }
        let diagnosis = judge(&scene.measurements);
        sound(&diagnosis);
        for finding in &diagnosis.findings {
            prop_assert!(finding.verdict != Verdict::Interference, "{} {state:?}: {finding:#?}", honest.0);
        }
        if matches!(state, State::Verified) && diagnosis.findings.len() == 1 && scene.measurements.len() == 2 && !text {
            prop_assert_eq!(diagnosis.findings[0].verdict, Verdict::Clear);
        }
    }

    /// The same for the protocols of people: Dovecot, Cyrus, Courier and strangers, in every state.
    #[test]
    fn honest_mailboxes_are_never_accused(n in 0..MAILBOXES.len(), state in 0..6_usize, with_controls: bool) {
        let Mailbox(scheme, greeting, list, unknown, off, go, busy) = MAILBOXES[n];
        let offered = state != 0;
        let list = list.replace("{tls}", if !offered { "" } else if scheme == Scheme::Pop3 { "STLS\n" } else if scheme == Scheme::Sieve { "\"STARTTLS\"\n" } else { " STARTTLS" });
        let open = |variation| {
            let talk = Talk::to(service(scheme, HOST)).variation(variation).greets(greeting);
            talk.step(Label::Capabilities, if scheme == Scheme::Pop3 { "CAPA" } else { "CAPABILITY" }, &list)
        };
        let end = |talk: Talk| match state {
            0 => talk.starttls(off),
            1 => talk.starttls(go).verified(),
            2 => talk.starttls(go).invalid(InvalidReason::SelfSigned, "CN=Private CA", 7),
            3 => talk.starttls(busy),
            4 => talk.starttls(go).dies(HandshakeOutcome::Reset),
            _ => talk.starttls(go).dies(HandshakeOutcome::Closed),
        };
        let mut scene = Scene::new();
        scene = scene.talk(if offered { end(open(Variation::Baseline)) } else { open(Variation::Baseline) });
        scene = scene.talk(end(open(Variation::Differential).unknown(unknown)));
        if with_controls {
            let talk = Talk::to(control_service(scheme, 1)).role(control("provider 1")).greets(greeting);
            let list = if scheme == Scheme::Pop3 { "+OK\nSTLS\n.\n" } else { "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\n{tag} OK done\n" };
            if scheme != Scheme::Sieve {
                scene = scene.talk(talk.step(Label::Capabilities, "LIST", list).starttls(go).verified());
            }
        }
        let diagnosis = judge(&scene.measurements);
        sound(&diagnosis);
        for finding in &diagnosis.findings {
            prop_assert!(finding.verdict != Verdict::Interference, "{greeting} {state}: {finding:#?}");
        }
    }

    /// Archives mutilated at will: ranges, bytes, labels, outcomes.
    #[test]
    fn mutilated_archives_do_not_panic(which in 0..6_usize, cuts in proptest::collection::vec((any::<u16>(), any::<u8>(), any::<u64>(), any::<u64>()), 0..40)) {
        let mut scene = match which {
            0 => Scene::new().talk(clean()).talk(clean().variation(Variation::Injection)),
            1 => Scene::new().talk(Talk::smtp().greets(STARS).ehlo(POSTFIX_ASA)).talk(differential(STARS, POSTFIX_ASA).starttls(UNKNOWN)).talk(clean_control(Scheme::Smtp, 1)),
            2 => Scene::new().talk(Talk::imap().greets("* OK [CAPABILITY IMAP4rev1 STARTTLS] x").step(Label::Capabilities, "CAPABILITY", "* CAPABILITY IMAP4rev1 {3}\nabc\n{tag} OK\n").starttls("{tag} NO")),
            3 => Scene::new().talk(Talk::pop3().greets("+OK").step(Label::Capabilities, "CAPA", "+OK\nXXXX\n.\n").starttls("-ERR")),
            4 => Scene::new().talk(Talk::sieve().greets("\"STARTTLS\"\nOK").starttls("NO \"x\"")).talk(Talk::smtp().role(Role::NegativeControl).greets("220 x")),
            _ => Scene::new().talk(postfix().starttls(GO).leftover(b"250 x\r\n").dies(HandshakeOutcome::Reset)).talk(Talk::smtp().text().ehlo(POSTFIX_ASA)),
        };
        for (at, byte, from, to) in cuts {
            let count = scene.measurements.len();
            let hoofbeat_observation::Body::Dialogue(dialogue) = &mut scene.measurements[usize::from(at) % count].body else { continue };
            match byte % 7 {
                0 if !dialogue.transcript.chunks.is_empty() => {
                    let chunks = dialogue.transcript.chunks.len();
                    let chunk = &mut dialogue.transcript.chunks[usize::from(at) % chunks];
                    if !chunk.bytes.is_empty() {
                        let len = chunk.bytes.len();
                        chunk.bytes[usize::try_from(from % 4096).unwrap() % len] = byte;
                    }
                }
                1 if !dialogue.exchanges.is_empty() => {
                    let steps = dialogue.exchanges.len();
                    dialogue.exchanges[usize::from(at) % steps].received = ByteRange { from, to };
                }
                2 if !dialogue.exchanges.is_empty() => {
                    let steps = dialogue.exchanges.len();
                    dialogue.exchanges[usize::from(at) % steps].sent = Some(ByteRange { from: from % 300, to: to % 300 });
                }
                3 if !dialogue.exchanges.is_empty() => {
                    let steps = dialogue.exchanges.len();
                    dialogue.exchanges[usize::from(at) % steps].label = [Label::StartTls, Label::UnknownVerb, Label::Noop, Label::SplitNoop, Label::Injected, Label::Greeting][usize::from(byte / 7) % 6];
                }
                4 if !dialogue.exchanges.is_empty() => {
                    let steps = dialogue.exchanges.len();
                    dialogue.exchanges[usize::from(at) % steps].outcome = [Outcome::Closed, Outcome::Reset, Outcome::TimedOut, Outcome::TooLong, Outcome::Unfinished][usize::from(byte / 7) % 5];
                }
                5 => dialogue.handshake = None,
                _ => {
                    let chunks = dialogue.transcript.chunks.len();
                    if chunks > 0 {
                        dialogue.transcript.chunks[usize::from(at) % chunks].offset = from;
                    }
                }
            }
        }
        sound(&judge(&scene.measurements));
    }

    /// Any bytes at all as greeting, list and replies.
    #[test]
    fn arbitrary_bytes_do_not_panic(replies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 4..8), scheme in 0..9_usize) {
        let mut talk = Talk::to(service(Scheme::ALL[scheme], HOST)).variation(Variation::Differential);
        for (reply, (label, sent)) in replies.iter().zip([(Label::Greeting, ""), (Label::Capabilities, "EHLO x"), (Label::Noop, "NOOP"), (Label::SplitNoop, "NOOP"), (Label::UnknownVerb, "QXJVKWZF"), (Label::StartTls, "STARTTLS"), (Label::Quit, "QUIT")]) {
            talk = talk.raw(label, sent, reply, Outcome::Replied);
        }
        sound(&judge(&Scene::new().talk(talk).measurements));
    }
}

#[test]
fn an_archive_is_judged_to_the_same_verdict() {
    let scene = Scene::new()
        .talk(Talk::smtp().greets(STARS).ehlo(POSTFIX_ASA))
        .talk(differential(STARS, POSTFIX_ASA).starttls(UNKNOWN))
        .talk(clean_control(Scheme::Smtp, 1));
    let again: Vec<Measurement> = scene
        .measurements
        .iter()
        .map(|m| archive::read(archive::write(m).unwrap().as_bytes()).unwrap())
        .collect();
    assert_eq!(judge(&scene.measurements), judge(&again));
}
