//! The driver against scripted servers: each way in which a dialogue can go or end.

mod scripted;

use std::{sync::Arc, time::Duration};

use hoofbeat_net::Trust;
use hoofbeat_observation::{
    Dialogue, Ending, FailureKind, HandshakeOutcome, InvalidReason, Role, Scheme, Variation,
    Verification, archive,
};
use hoofbeat_probe::{Ask, Context, converse};
use hoofbeat_session::{Direction, Label, Layer, Outcome};
use scripted::{
    Do, Drip, Hear, Pause, Reset, Say, Tls, context, dialogue, identity, impatient, serve, service,
};

const EHLO: [Do; 2] = [
    Hear("EHLO "),
    Say("250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n"),
];

fn smtp(rest: &[Do]) -> Vec<Do> {
    [&[Say("220 mx ESMTP\r\n")], &EHLO[..], rest].concat()
}

fn starttls(rest: &[Do]) -> Vec<Do> {
    smtp(&[&[Hear("STARTTLS"), Say("220 go\r\n")], rest].concat())
}

async fn ask(script: Vec<Do>, variation: Variation, context: &Context) -> Dialogue {
    let address = serve(script).await;
    let ask = Ask::new(
        service(Scheme::Smtp, "mx.example", address),
        Role::Target,
        variation,
    );
    let measurement = converse(&ask, context).await;
    let line = archive::write(&measurement).unwrap();
    assert_eq!(
        archive::read(line.as_bytes()).unwrap(),
        measurement,
        "what is archived is what was seen"
    );
    dialogue(&measurement).clone()
}

fn labels(dialogue: &Dialogue) -> Vec<(Label, Layer, Outcome)> {
    dialogue
        .exchanges
        .iter()
        .map(|e| (e.label, e.layer, e.outcome))
        .collect()
}

#[tokio::test]
async fn a_clean_dialogue_is_verified_and_short() {
    let identity = identity(&["mx.example"], |_| {});
    let mut context = context();
    context.trust = Arc::new(Trust::none().with_pem(identity.pem.as_bytes()).unwrap());
    let inside = [
        Tls(identity),
        Hear("EHLO "),
        Say("250-mx\r\n250 SIZE\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ];
    let dialogue = ask(starttls(&inside), Variation::Baseline, &context).await;
    use Outcome::Replied;
    assert_eq!(
        labels(&dialogue),
        [
            (Label::Greeting, Layer::Plain, Replied),
            (Label::Capabilities, Layer::Plain, Replied),
            (Label::StartTls, Layer::Plain, Replied),
            (Label::Capabilities, Layer::Tls, Replied),
            (Label::Quit, Layer::Tls, Replied),
        ]
    );
    let handshake = dialogue.handshake.unwrap();
    assert_eq!(handshake.outcome, HandshakeOutcome::Completed);
    assert_eq!(
        handshake.verification,
        Verification::Verified {
            name: "mx.example".into()
        }
    );
    assert_eq!(handshake.server_name.as_deref(), Some("mx.example"));
    assert_eq!(handshake.version.as_deref(), Some("TLSv1.3"));
    assert!(handshake.cipher.unwrap().starts_with("TLS_"));
    assert_eq!(handshake.chain.len(), 1);
    assert_eq!(handshake.first_bytes[..2], [22, 3]);
    assert_eq!(dialogue.ending, Ending::Ours);
    assert!(
        dialogue.connect.established >= Some(dialogue.connect.started)
            && dialogue.connect.local.is_some()
    );
    let ehlo = dialogue.exchanges[1].sent.unwrap();
    assert_eq!(
        &*dialogue.transcript.bytes(Direction::ToServer, ehlo),
        b"EHLO [127.0.0.1]\r\n"
    );
}

#[tokio::test]
async fn implicit_tls_for_imap() {
    let identity = identity(&["imap.example"], |_| {});
    let script = vec![
        Tls(identity),
        Say("* OK [CAPABILITY IMAP4rev1] hi\r\n"),
        Hear(""),
        Say("* CAPABILITY IMAP4rev1\r\n"),
        Pause(60_000),
    ];
    let address = serve(script).await;
    let mut context = context();
    context.limits.reply = Duration::from_secs(1);
    let ask = Ask::baseline(service(Scheme::Imaps, "imap.example", address));
    let dialogue = dialogue(&converse(&ask, &context).await).clone();
    assert_eq!(
        dialogue.handshake.unwrap().outcome,
        HandshakeOutcome::Completed
    );
    assert!(
        dialogue
            .transcript
            .chunks
            .iter()
            .all(|chunk| chunk.layer == Layer::Tls)
    );
    assert_eq!(dialogue.exchanges[0].label, Label::Greeting);
    // The tagged reply never comes: that is the limit's doing.
    assert_eq!(dialogue.ending, Ending::Limit);
}

#[tokio::test]
async fn certificates_that_do_not_verify() {
    let past = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    };
    let future = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
        params.not_after = rcgen::date_time_ymd(2091, 1, 1);
    };
    let as_ca = |params: &mut rcgen::CertificateParams| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    };
    let common_name = |params: &mut rcgen::CertificateParams| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "mx.example");
    };
    for (identity, added, wanted) in [
        (identity(&[], common_name), true, None),
        (
            identity(&["other.example"], common_name),
            true,
            Some(InvalidReason::WrongName),
        ),
        (
            identity(&["mx.example"], |_| {}),
            false,
            Some(InvalidReason::SelfSigned),
        ),
        (
            identity(&["mx.example"], as_ca),
            false,
            Some(InvalidReason::SelfSigned),
        ),
        (identity(&["mx.example"], as_ca), true, None),
        (
            identity(&["mx.example"], past),
            false,
            Some(InvalidReason::Expired),
        ),
        (
            identity(&["mx.example"], past),
            true,
            Some(InvalidReason::Expired),
        ),
        (
            identity(&["mx.example"], future),
            true,
            Some(InvalidReason::NotYetValid),
        ),
        (
            identity(&["other.example"], |_| {}),
            true,
            Some(InvalidReason::WrongName),
        ),
        (identity(&["x.example", "mx.example"], |_| {}), true, None),
    ] {
        let mut context = context();
        let trust = if added {
            Trust::none().with_pem(identity.pem.as_bytes()).unwrap()
        } else {
            Trust::none()
        };
        context.trust = Arc::new(trust);
        let dialogue = ask(
            starttls(&[Tls(identity), Hear("EHLO "), Say("250 mx\r\n")]),
            Variation::Baseline,
            &context,
        )
        .await;
        let handshake = dialogue.handshake.unwrap();
        assert_eq!(handshake.outcome, HandshakeOutcome::Completed);
        match (handshake.verification, wanted) {
            (Verification::Verified { .. }, None) => {}
            (Verification::Invalid { reason, .. }, Some(wanted)) => assert_eq!(reason, wanted),
            other => panic!("{other:?}"),
        }
        assert_eq!(dialogue.ending, Ending::Peer);
    }
}

#[tokio::test]
async fn an_issuer_that_nobody_knows_and_one_that_is_added() {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Test Authority");
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["mx.example".into()]).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "leaf");
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let identity = scripted::Identity::new(vec![leaf.der().clone()], &key, authority_pem.clone());
    for added in [false, true] {
        let mut context = context();
        let trust = if added {
            Trust::none().with_pem(authority_pem.as_bytes()).unwrap()
        } else {
            Trust::none()
        };
        context.trust = Arc::new(trust);
        let dialogue = ask(
            starttls(&[Tls(identity.clone())]),
            Variation::Baseline,
            &context,
        )
        .await;
        let handshake = dialogue.handshake.unwrap();
        assert!(
            handshake.chain[0].issuer.contains("CN=Test Authority"),
            "{}",
            handshake.chain[0].issuer
        );
        match handshake.verification {
            Verification::Verified { name } => assert!(added && name == "mx.example"),
            Verification::Invalid { reason, .. } => {
                assert!(!added && reason == InvalidReason::UnknownIssuer)
            }
            Verification::Unknown => panic!("a chain was seen"),
        }
    }
}

#[tokio::test]
async fn what_may_come_instead_of_a_server_hello() {
    let after_220 = |rest: &[Do]| starttls(&[&[Pause(30)], rest].concat());
    use HandshakeOutcome as How;
    let mut short = context();
    short.handshake_limit = Duration::from_millis(300);
    let prose = [Say("500 what?\r\n"), Pause(500)];
    for (script, context, wanted) in [
        (
            after_220(&[Reset]),
            context(),
            &[(How::Reset, Ending::Reset)][..],
        ),
        // A close with our hello unread is a reset to the kernel, a close before it may be a close.
        (
            after_220(&[]),
            context(),
            &[(How::Reset, Ending::Reset), (How::Closed, Ending::Peer)],
        ),
        (after_220(&prose), context(), &[(How::NotTls, Ending::Ours)]),
        (
            after_220(&[Pause(60_000)]),
            short,
            &[(How::TimedOut, Ending::Limit)],
        ),
    ] {
        let dialogue = ask(script, Variation::Baseline, &context).await;
        let handshake = dialogue.handshake.clone().unwrap();
        let met = (handshake.outcome.clone(), dialogue.ending);
        assert!(wanted.contains(&met), "{met:?}");
        if handshake.outcome == How::NotTls {
            assert_eq!(handshake.first_bytes, b"500 what?\r\n");
        }
        assert_eq!(handshake.verification, Verification::Unknown);
        assert_eq!(
            labels(&dialogue).last().unwrap().0,
            Label::StartTls,
            "nothing is said in a broken channel"
        );
    }
}

#[tokio::test]
async fn an_end_at_every_step() {
    let whole = smtp(&[
        Hear("STARTTLS"),
        Say("454 no\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ]);
    for steps in 0..whole.len() {
        for reset in [false, true] {
            let mut script = whole[..steps].to_vec();
            if reset {
                script.push(Reset);
            }
            let dialogue = ask(script, Variation::Baseline, &context()).await;
            let last = dialogue.exchanges.last().unwrap();
            assert!(
                matches!(last.outcome, Outcome::Closed | Outcome::Reset),
                "{steps} {reset} {:?}",
                labels(&dialogue)
            );
            assert!(
                matches!(dialogue.ending, Ending::Peer | Ending::Reset),
                "{steps} {reset} {:?}",
                dialogue.ending
            );
            if reset && steps > 0 {
                assert_eq!(dialogue.ending, Ending::Reset, "{steps}");
            }
        }
    }
    let dialogue = ask(whole, Variation::Baseline, &context()).await;
    assert_eq!(dialogue.ending, Ending::Ours);
}

#[tokio::test]
async fn a_reply_in_pieces_is_one_reply_and_its_pieces_are_kept() {
    let script = vec![
        Drip("220-mx\r\n220 ready\r\n"),
        Hear("EHLO"),
        Say("250 mx\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ];
    let dialogue = ask(script, Variation::Baseline, &context()).await;
    let greeting = &dialogue.exchanges[0];
    assert_eq!(
        &*dialogue
            .transcript
            .bytes(Direction::ToClient, greeting.received),
        b"220-mx\r\n220 ready\r\n"
    );
    assert!(dialogue.transcript.of(Direction::ToClient).count() > 4);
    assert_eq!(dialogue.ending, Ending::Ours);
}

#[tokio::test]
async fn silence_and_a_closed_port() {
    let dialogue = ask(vec![Pause(60_000)], Variation::Baseline, &impatient()).await;
    assert_eq!(
        (dialogue.exchanges[0].outcome, dialogue.ending),
        (Outcome::TimedOut, Ending::Limit)
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let measurement = converse(
        &Ask::baseline(service(Scheme::Smtp, "mx.example", address)),
        &context(),
    )
    .await;
    let dialogue = scripted::dialogue(&measurement);
    assert_eq!(
        dialogue.connect.failure.as_ref().map(|f| f.kind),
        Some(FailureKind::Refused)
    );
    assert_eq!(
        (dialogue.connect.established, dialogue.ending),
        (None, Ending::None)
    );
    assert!(dialogue.transcript.chunks.is_empty() && dialogue.exchanges.is_empty());
}

#[tokio::test]
async fn the_whole_checks_deadline_ends_a_dialogue_and_keeps_it() {
    let mut context = context();
    context.limits.reply = Duration::from_secs(60);
    context.deadline = context.clock.now() + Duration::from_millis(200);
    let dialogue = ask(
        vec![Say("220 mx\r\n"), Pause(60_000)],
        Variation::Baseline,
        &context,
    )
    .await;
    assert_eq!(
        dialogue.exchanges.last().unwrap().outcome,
        Outcome::Unfinished
    );
    assert_eq!(dialogue.ending, Ending::Limit);
}

#[tokio::test]
async fn the_differential_speaks_an_unknown_verb_and_an_unoffered_starttls() {
    let script = vec![
        Say("220 mx\r\n"),
        Hear("EHLO"),
        Say("250 mx\r\n"),
        Hear("EHLO"),
        Say("250 mx\r\n"),
        Hear("NOOP"),
        Say("250 ok\r\n"),
        Hear("NOOP"),
        Say("250 ok\r\n"),
        Hear(""),
        Say("500 unknown\r\n"),
        Hear("STARTTLS"),
        Say("502 no\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ];
    let mut context = context();
    context.unknown_verb = "BCDFGHJK".into();
    let dialogue = ask(script, Variation::Differential, &context).await;
    let sent: Vec<u8> = dialogue
        .transcript
        .of(Direction::ToServer)
        .flat_map(|chunk| chunk.bytes.clone())
        .collect();
    let sent = String::from_utf8(sent).unwrap();
    assert!(
        sent.contains("\r\nBCDFGHJK\r\n") && sent.contains("\r\nSTARTTLS\r\n"),
        "{sent}"
    );
    let split = dialogue
        .exchanges
        .iter()
        .find(|e| e.label == Label::SplitNoop)
        .unwrap()
        .sent
        .unwrap();
    let pieces = dialogue
        .transcript
        .of(Direction::ToServer)
        .filter(|c| c.offset >= split.from && c.offset < split.to)
        .count();
    assert_eq!(pieces, 2);
    assert_eq!(dialogue.ending, Ending::Ours);
}

#[tokio::test]
async fn injected_replies_behind_220_are_left_over() {
    let script = smtp(&[
        Hear("STARTTLS"),
        Say("220 go\r\n250 injected\r\n"),
        Pause(50),
        Tls(identity(&["mx.example"], |_| {})),
    ]);
    let dialogue = ask(script, Variation::Baseline, &context()).await;
    let step = dialogue
        .exchanges
        .iter()
        .find(|e| e.label == Label::StartTls)
        .unwrap();
    let leftover = step.leftover.unwrap();
    assert_eq!(
        &*dialogue.transcript.bytes(Direction::ToClient, leftover),
        b"250 injected\r\n"
    );
    assert_eq!(
        dialogue.handshake.unwrap().outcome,
        HandshakeOutcome::Completed
    );
}

#[tokio::test]
async fn a_legacy_hello_is_answered_or_not() {
    // TLS 1.0 with TLS_RSA_WITH_AES_128_CBC_SHA, as bytes that survive in a string.
    const HELLO: &str = "\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr\x00\x00\x2f\x00";
    for (answer, version, alert) in [
        (HELLO, Some("TLSv1.0"), None),
        (
            "\x15\x03\x01\x00\x02\x02\x46",
            None,
            Some("protocol_version"),
        ),
        ("500 no\r\n", None, None),
    ] {
        let dialogue = ask(
            starttls(&[Pause(20), Say(answer), Pause(50)]),
            Variation::LegacyTls,
            &context(),
        )
        .await;
        let legacy = dialogue.legacy.unwrap();
        assert_eq!(
            (legacy.version.as_deref(), legacy.alert.as_deref()),
            (version, alert)
        );
        assert_eq!(
            legacy.cipher.as_deref(),
            version.map(|_| "TLS_RSA_WITH_AES_128_CBC_SHA")
        );
        assert_eq!(legacy.offered, "TLSv1.2");
    }
}
