//! What the session targets and the judge's share: a conversation fed with foreign bytes, cut anywhere, and the promises it must keep.

use hoofbeat_session::{
    ClientName, Conversation, Direction, Elapsed, Event, Exchange, Limits, Protocol, Script,
    Transcript, capabilities, frame, reply,
};

/// Small, so that the fuzzer reaches the bounds with small inputs.
const RECEIVED_MAX: usize = 4096;
const REPLY_LINES_MAX: usize = 16;
/// More events than any script has steps: a conversation that never ends is a bug, too.
const EVENTS_MAX: usize = 10_000;

/// Ends what the server says before it hears the next command. (What counts as an answer depends on what was asked by
/// then, so the turns are part of the input, and only the cuts within a turn must not matter.)
const TURN: u8 = 0x1d;

/// Feeds a server's byte stream to a conversation. The first byte chooses the script, the second how the stream is cut
/// and whether the TLS handshake succeeds; the rest is what the server says, turn by turn.
pub fn converse(protocols: &[Protocol], data: &[u8]) {
    let [choice, cut, stream @ ..] = data else {
        return;
    };
    let Some(protocol) = protocols
        .get(usize::from(choice >> 4) % protocols.len())
        .copied()
    else {
        return;
    };
    let whole = play(protocol, *choice, turns(stream), *cut);
    let split = play(
        protocol,
        *choice,
        turns(stream).map(|turn| cut_up(turn[0], *cut)),
        *cut,
    );
    // What follows an upgrade belongs to the other layer, and where it falls depends on the cuts.
    if !whole.upgraded && !split.upgraded {
        assert_eq!(
            whole.exchanges, split.exchanges,
            "the cuts changed what was seen"
        );
    }
    for exchange in &whole.exchanges {
        read_again(protocol, exchange, &whole.received);
    }
    let tiles: usize = frame::lines(protocol, stream)
        .iter()
        .map(|line| line.range.of(stream).len())
        .sum();
    assert_eq!(tiles, stream.len(), "the framer lost bytes");
}

/// A conversation that has ended.
pub struct Played {
    /// Every byte.
    pub transcript: Transcript,
    /// Every step.
    pub exchanges: Vec<Exchange>,
    /// What came from the server, as one stream.
    pub received: Vec<u8>,
    /// STARTTLS was agreed.
    pub upgraded: bool,
}

/// Plays one conversation, the server's words in turns, each in pieces.
pub fn play<'a>(
    protocol: Protocol,
    choice: u8,
    turns: impl Iterator<Item = Vec<&'a [u8]>>,
    cut: u8,
) -> Played {
    let limits = Limits {
        received: RECEIVED_MAX,
        reply_lines: REPLY_LINES_MAX,
        ..Limits::default()
    };
    let mut now = Elapsed::default();
    let mut conversation = Conversation::new(script(protocol, choice, limits), now);
    let mut upgraded = false;
    let mut fed = Vec::new();
    drain(&mut conversation, now, cut, &mut upgraded);
    for turn in turns {
        if conversation.is_finished() {
            break;
        }
        for piece in turn {
            fed.extend_from_slice(piece);
            conversation.handle_input(piece, now);
        }
        drain(&mut conversation, now, cut, &mut upgraded);
    }
    // Whatever it still waits for: the end of the stream or, every other time, silence.
    if cut & 0x40 == 0 {
        conversation.handle_eof(now);
        drain(&mut conversation, now, cut, &mut upgraded);
    }
    for _ in 0..EVENTS_MAX {
        let Some(at) = conversation
            .poll_timeout()
            .filter(|_| !conversation.is_finished())
        else {
            break;
        };
        now = at;
        conversation.handle_timeout(now);
        drain(&mut conversation, now, cut, &mut upgraded);
    }
    assert!(
        conversation.is_finished(),
        "neither finished nor waiting for anything"
    );
    let (transcript, exchanges) = conversation.into_record();
    let received: Vec<u8> = transcript
        .of(Direction::ToClient)
        .flat_map(|chunk| chunk.bytes.iter().copied())
        .collect();
    assert!(fed.starts_with(&received), "bytes were changed or lost");
    assert!(
        received.len() <= RECEIVED_MAX,
        "more is kept than the limit allows"
    );
    Played {
        transcript,
        exchanges,
        received,
        upgraded,
    }
}

fn drain(conversation: &mut Conversation, now: Elapsed, cut: u8, upgraded: &mut bool) {
    for _ in 0..EVENTS_MAX {
        let mut idle = true;
        while conversation.poll_transmit(now).is_some() {
            idle = false;
        }
        while let Some(event) = conversation.poll_event() {
            idle = false;
            if event == Event::Upgrade {
                *upgraded = true;
                if cut & 0x80 == 0 {
                    conversation.handle_upgraded(now);
                } else {
                    conversation.handle_upgrade_failed(now);
                }
            }
        }
        if idle {
            return;
        }
    }
    panic!("the conversation goes on for ever without input");
}

fn script(protocol: Protocol, choice: u8, limits: Limits) -> Script {
    let name = ClientName("client.example.org".to_owned());
    match choice & 0x0f {
        0 | 1 => Script::baseline(protocol, &name, choice & 1 == 1, limits),
        2 => Script::capabilities_only(protocol, &name, limits),
        3 => Script::injection(protocol, &name, limits),
        _ => Script::differential(protocol, &name, "QVXJWZKP", limits),
    }
}

/// The turns of a server's stream, each whole.
pub fn turns(stream: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    stream.split(|byte| *byte == TURN).map(|turn| vec![turn])
}

/// Pieces of uneven length.
fn cut_up(stream: &[u8], cut: u8) -> Vec<&[u8]> {
    let mut rest = stream;
    let mut pieces = Vec::new();
    let mut step = usize::from(cut & 0x3f) + 1;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(step.min(rest.len()));
        pieces.push(piece);
        rest = after;
        step = (step * 7 + 3) % 97 + 1;
    }
    pieces
}

/// The readers that the judge uses on archived bytes.
fn read_again(protocol: Protocol, exchange: &Exchange, received: &[u8]) {
    let bytes = exchange.received.of(received);
    let read = reply::read(protocol, exchange.label, bytes);
    let _ = (read.text(bytes), reply::is_ready_for_tls(protocol, &read));
    for line in &read.lines {
        assert!(
            line.range.of(bytes).len() >= line.text.of(bytes).len(),
            "a line's text is longer than the line"
        );
    }
    let listed = capabilities(protocol, bytes);
    let _ = (
        listed.offers_starttls(protocol),
        listed.auth(protocol),
        listed.login_disabled(),
    );
}
