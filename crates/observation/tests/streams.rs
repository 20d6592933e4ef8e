//! Captured streams: what is read from exact bytes, and that it does not depend on how they were cut.

use hoofbeat_observation::{
    Connect, Dialogue, Ending, HandshakeOutcome, Scheme, Service, Source,
    recorded::stream::{self, Heard, Surroundings},
};
use hoofbeat_session::{ByteRange, Direction, Elapsed, Label, Layer, Outcome, Protocol};
use proptest::prelude::*;

use Direction::{ToClient, ToServer};

fn read(scheme: Scheme, from_start: bool, heard: Vec<Heard>) -> Dialogue {
    let service = Service {
        scheme,
        host: "192.0.2.1".to_owned(),
        address: None,
        port: scheme.default_port(),
    };
    let protocol = Some(scheme.protocol());
    stream::read(
        Surroundings {
            service,
            protocol,
            from_start,
            connect: Connect::default(),
        },
        heard,
    )
}

fn say(direction: Direction, text: &str) -> Heard {
    Heard::Bytes {
        direction,
        at: Elapsed::default(),
        bytes: text.as_bytes().to_vec(),
    }
}

fn steps(dialogue: &Dialogue) -> Vec<(Label, Outcome, String)> {
    dialogue
        .exchanges
        .iter()
        .map(|exchange| {
            let received = dialogue.transcript.bytes(ToClient, exchange.received);
            (
                exchange.label,
                exchange.outcome,
                String::from_utf8_lossy(&received).into_owned(),
            )
        })
        .collect()
}

#[test]
fn a_pipelined_session_pairs_its_answers_and_hides_the_message() {
    let dialogue = read(
        Scheme::Smtp,
        true,
        vec![
            say(ToClient, "220-mx\r\n220 ESMTP\r\n"),
            say(ToServer, "EHLO a\r\n"),
            say(ToClient, "250-mx\r\n250 PIPELINING\r\n"),
            say(ToServer, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
            say(ToClient, "250 1\r\n250 2\r\n354 3\r\n"),
            say(
                ToServer,
                "Subject: secret\r\n\r\nQUIT\r\nsecret\r\n.\r\nQUIT\r\n",
            ),
            say(ToClient, "250 4\r\n221 5\r\n"),
            Heard::Closed {
                direction: ToClient,
                at: Elapsed::default(),
            },
        ],
    );
    let labels: Vec<_> = steps(&dialogue)
        .into_iter()
        .map(|(label, _, received)| (label, received))
        .collect();
    assert_eq!(
        labels,
        [
            (Label::Greeting, "220-mx\r\n220 ESMTP\r\n".to_owned()),
            (
                Label::Capabilities,
                "250-mx\r\n250 PIPELINING\r\n".to_owned()
            ),
            (Label::Transaction, "250 1\r\n".to_owned()),
            (Label::Transaction, "250 2\r\n".to_owned()),
            (Label::Transaction, "354 3\r\n".to_owned()),
            (Label::Transaction, "250 4\r\n".to_owned()),
            (Label::Quit, "221 5\r\n".to_owned()),
        ]
    );
    assert!(
        dialogue
            .transcript
            .chunks
            .iter()
            .all(|chunk| !chunk.bytes.windows(6).any(|w| w == b"secret"))
    );
    assert_eq!(
        dialogue.transcript.discarded,
        "Subject: secret\r\n\r\nQUIT\r\nsecret\r\n".len() as u64
    );
    assert_eq!(dialogue.ending, Ending::Peer);
    // Offsets stay those of the stream: what is left out is skipped, not closed up.
    let quit = dialogue
        .exchanges
        .last()
        .and_then(|exchange| exchange.sent)
        .unwrap();
    assert_eq!(&*dialogue.transcript.bytes(ToServer, quit), b"QUIT\r\n");
}

#[test]
fn bytes_behind_the_reply_are_leftover() {
    let dialogue = read(
        Scheme::Smtp,
        true,
        vec![
            say(ToClient, "220 mx\r\n"),
            say(ToServer, "STARTTLS\r\n"),
            say(ToClient, "220 go\r\n250 injected\r\n"),
            Heard::Bytes {
                direction: ToServer,
                at: Elapsed::default(),
                bytes: vec![22, 3, 1, 0, 1, 0],
            },
        ],
    );
    let starttls = dialogue.exchanges.last().unwrap();
    assert_eq!(starttls.label, Label::StartTls);
    assert_eq!(starttls.leftover, Some(ByteRange { from: 16, to: 30 }));
    assert_eq!(
        dialogue.handshake, None,
        "the recording ends within the handshake"
    );
}

#[test]
fn a_reset_upon_the_client_hello() {
    let hello = vec![22, 3, 1, 0, 2, 1, 0];
    let begun = |end: Heard| {
        read(
            Scheme::Smtp,
            true,
            vec![
                say(ToClient, "220 mx\r\n"),
                say(ToServer, "STARTTLS\r\n"),
                say(ToClient, "220 go\r\n"),
                Heard::Bytes {
                    direction: ToServer,
                    at: Elapsed::from_millis(5),
                    bytes: hello.clone(),
                },
                end,
            ],
        )
    };
    let at = Elapsed::from_millis(9);
    let reset = begun(Heard::Reset {
        direction: ToClient,
        at,
    });
    assert_eq!(
        reset.handshake.map(|h| (h.outcome, h.ended)),
        Some((HandshakeOutcome::Reset, at))
    );
    let closed = begun(Heard::Closed {
        direction: ToClient,
        at,
    });
    assert_eq!(
        closed.handshake.map(|h| h.outcome),
        Some(HandshakeOutcome::Closed)
    );
    let silent = begun(Heard::Until {
        at: Elapsed::from_millis(40_000),
    });
    assert_eq!(
        silent.handshake.map(|h| h.outcome),
        Some(HandshakeOutcome::TimedOut)
    );
    let cut_off = begun(Heard::Until { at });
    assert_eq!(cut_off.handshake, None);
    let plain = begun(say(ToClient, "500 what\r\n"));
    let handshake = plain.handshake.unwrap();
    assert_eq!(
        (handshake.outcome, handshake.first_bytes),
        (HandshakeOutcome::NotTls, b"500 what\r\n".to_vec())
    );
}

#[test]
fn a_dropped_command_times_out_and_a_short_capture_does_not_accuse() {
    let until = |millis| {
        let heard = vec![
            say(ToClient, "220 mx\r\n"),
            say(ToServer, "STARTTLS\r\n"),
            Heard::Until {
                at: Elapsed::from_millis(millis),
            },
        ];
        read(Scheme::Smtp, true, heard)
            .exchanges
            .last()
            .map(|exchange| exchange.outcome)
    };
    assert_eq!(until(20_000), Some(Outcome::TimedOut));
    assert_eq!(until(900), Some(Outcome::Unfinished));
}

#[test]
fn implicit_tls_has_no_exchanges() {
    let hello = vec![22, 3, 1, 0, 2, 1, 0];
    let heard = vec![Heard::Bytes {
        direction: ToServer,
        at: Elapsed::default(),
        bytes: hello,
    }];
    let dialogue = read(Scheme::Imaps, true, heard);
    assert_eq!(dialogue.exchanges, []);
    assert_eq!(dialogue.transcript.chunks, []);
}

#[test]
fn imap_literals_and_mailboxes_stay_private() {
    let dialogue = read(
        Scheme::Imap,
        true,
        vec![
            say(ToClient, "* OK [CAPABILITY IMAP4rev1] hi\r\n"),
            say(ToServer, "a LOGIN {3}\r\n"),
            say(ToClient, "+ go\r\n"),
            say(ToServer, "joe {9}\r\n"),
            say(ToClient, "+ go\r\n"),
            say(ToServer, "mysecret1\r\n"),
            say(ToClient, "a OK in\r\n"),
            say(ToServer, "b FETCH 1 BODY[]\r\n"),
            say(
                ToClient,
                "* 1 FETCH (BODY[] {10}\r\nmysecret2\n)\r\nb OK done\r\n",
            ),
            say(ToServer, "c APPEND x {11}\r\nmysecret3\r\n\r\nd LOGOUT\r\n"),
            say(ToClient, "+ go\r\nc OK done\r\n* BYE\r\nd OK bye\r\n"),
        ],
    );
    let labels: Vec<_> = dialogue
        .exchanges
        .iter()
        .map(|exchange| exchange.label)
        .collect();
    assert_eq!(
        labels,
        [
            Label::Greeting,
            Label::Auth,
            Label::Other,
            Label::Other,
            Label::Quit
        ]
    );
    let kept: Vec<u8> = dialogue
        .transcript
        .chunks
        .iter()
        .flat_map(|chunk| chunk.bytes.clone())
        .collect();
    assert!(
        !kept.windows(8).any(|w| w == b"mysecret"),
        "{}",
        String::from_utf8_lossy(&kept)
    );
}

#[test]
fn the_words_decide_against_the_port() {
    let dialogue = read(
        Scheme::Smtp,
        true,
        vec![say(ToClient, "+OK POP3\r\n"), say(ToServer, "STLS\r\n")],
    );
    assert_eq!(dialogue.protocol, Protocol::Pop3);
    assert_eq!(
        dialogue
            .exchanges
            .iter()
            .map(|e| e.label)
            .collect::<Vec<_>>(),
        [Label::Greeting, Label::StartTls]
    );
}

#[test]
fn gaps_and_late_starts_are_told() {
    let gaps = |dialogue: Dialogue| matches!(dialogue.source, Source::Capture { gaps: true });
    assert!(gaps(read(
        Scheme::Smtp,
        false,
        vec![say(ToClient, "250 ok\r\n")]
    )));
    let heard = vec![
        say(ToClient, "220 mx\r\n"),
        Heard::Gap {
            direction: ToClient,
            missing: 9,
        },
        say(ToClient, "250 x\r\n"),
    ];
    let dialogue = read(Scheme::Smtp, true, heard);
    assert_eq!(
        dialogue.exchanges.last().map(|exchange| exchange.received),
        Some(ByteRange { from: 17, to: 24 })
    );
    assert!(gaps(dialogue));
}

fn any_part() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let words = prop::sample::select(vec![
        "220 mx\r\n",
        "250-a\r\n",
        "250 b\r\n",
        "EHLO a\r\n",
        "STARTTLS\r\n",
        "220 go\r\n",
        "354 go\r\n",
        "DATA\r\n",
        ".\r\n",
        "AUTH LOGIN\r\n",
        "334 x\r\n",
        "\x16\x03\x01\x00\x02\x01\x00",
        "\x15\x03\x03\x00\x02\x02\x28",
        "* OK\r\n",
        "a OK\r\n",
        "a LOGIN {3}\r\n",
        "+ \r\n",
        "+OK\r\n",
        "-ERR\r\n",
        "CAPA\r\n",
        "BDAT 3\r\n",
        "\r\n",
        "\n",
        "x",
        "* 1 FETCH {4}\r\n",
    ])
    .prop_map(|word| word.as_bytes().to_vec());
    let bytes = prop_oneof![6 => words, 1 => prop::collection::vec(any::<u8>(), 0..9)];
    (any::<bool>(), bytes)
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_dialogue(
        parts in prop::collection::vec(any_part(), 0..40), cut in 1usize..9, from_start: bool,
        scheme in prop::sample::select(Scheme::ALL.to_vec()),
    ) {
        let direction = |server: bool| if server { ToClient } else { ToServer };
        let heard = |cut: usize| parts
            .iter()
            .flat_map(|(server, bytes)| bytes.chunks(cut).map(|part| (*server, part.to_vec())))
            .map(|(server, bytes)| Heard::Bytes { direction: direction(server), at: Elapsed::default(), bytes })
            .collect::<Vec<_>>();
        let whole = read(scheme, from_start, heard(usize::MAX));
        let split = read(scheme, from_start, heard(cut));
        prop_assert_eq!(&whole.exchanges, &split.exchanges);
        prop_assert_eq!(whole.handshake, split.handshake);
        for direction in [ToClient, ToServer] {
            let all = ByteRange { from: 0, to: u64::MAX };
            prop_assert_eq!(whole.transcript.bytes(direction, all), split.transcript.bytes(direction, all));
        }
        for chunk in &whole.transcript.chunks {
            prop_assert_eq!(chunk.layer, Layer::Plain);
        }
    }
}
