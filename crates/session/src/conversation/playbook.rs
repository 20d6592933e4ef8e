//! Plays a script against a server's lines, once whole, once byte by byte, and compares the two.

use alloc::{string::String, vec::Vec};

use super::{Conversation, Event};
use crate::{Direction, Elapsed, Exchange, Label, Layer, Outcome, Script, Transcript};

enum Scene {
    Server(Vec<u8>),
    Client(String),
    Silent,
    Wait,
    Swallowed,
    Tls(bool),
    Closed,
    Reset,
}

/// A play in preparation.
pub(super) struct Play {
    script: Script,
    scenes: Vec<Scene>,
}

/// What is left of a play.
pub(super) struct Played {
    pub(super) transcript: Transcript,
    pub(super) exchanges: Vec<Exchange>,
}

pub(super) fn play(script: Script) -> Play {
    Play {
        script,
        scenes: Vec::new(),
    }
}

impl Play {
    /// The server says these bytes at once.
    pub(super) fn server(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.scenes.push(Scene::Server(bytes.as_ref().to_vec()));
        self
    }
    /// The client writes this segment.
    pub(super) fn client(mut self, segment: &str) -> Self {
        self.scenes.push(Scene::Client(segment.into()));
        self
    }
    /// The client has nothing to write now.
    pub(super) fn silent(mut self) -> Self {
        self.scenes.push(Scene::Silent);
        self
    }
    /// Time passes up to the moment the session waits for.
    pub(super) fn wait(mut self) -> Self {
        self.scenes.push(Scene::Wait);
        self
    }
    /// What was sent last is known not to arrive.
    pub(super) fn swallowed(mut self) -> Self {
        self.scenes.push(Scene::Swallowed);
        self
    }
    /// The session asks for TLS, and the handshake succeeds.
    pub(super) fn tls(mut self) -> Self {
        self.scenes.push(Scene::Tls(true));
        self
    }
    /// The session asks for TLS, and the handshake fails.
    pub(super) fn no_tls(mut self) -> Self {
        self.scenes.push(Scene::Tls(false));
        self
    }
    /// The server closes.
    pub(super) fn closed(mut self) -> Self {
        self.scenes.push(Scene::Closed);
        self
    }
    /// The connection is reset.
    pub(super) fn reset(mut self) -> Self {
        self.scenes.push(Scene::Reset);
        self
    }

    /// Plays, and expects the session over with these exchanges: label, outcome, received bytes.
    #[track_caller]
    pub(super) fn ends(self, expected: &[(Label, Outcome, &str)]) -> Played {
        let whole = self.perform(usize::MAX);
        let pieces = self.perform(1);
        assert_eq!(whole.exchanges, pieces.exchanges, "cuts must not matter");
        let received = |exchange: &Exchange| {
            String::from_utf8_lossy(
                &whole
                    .transcript
                    .bytes(Direction::ToClient, exchange.received),
            )
            .into_owned()
        };
        let found: Vec<_> = whole
            .exchanges
            .iter()
            .map(|e| (e.label, e.outcome, received(e)))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(label, outcome, text)| (*label, *outcome, String::from(*text)))
            .collect();
        assert_eq!(found, expected);
        whole
    }

    #[track_caller]
    fn perform(&self, cut: usize) -> Played {
        let mut now = Elapsed::default();
        let mut session = Conversation::new(self.script.clone(), now);
        let mut events = Vec::new();
        for scene in &self.scenes {
            now = now.after(core::time::Duration::from_millis(1));
            match scene {
                Scene::Server(bytes) => bytes
                    .chunks(cut.min(bytes.len()))
                    .for_each(|piece| session.handle_input(piece, now)),
                Scene::Client(segment) => {
                    let sent = session.poll_transmit(now).unwrap_or_default();
                    assert_eq!(String::from_utf8_lossy(&sent), *segment);
                }
                Scene::Silent => assert_eq!(session.poll_transmit(now), None),
                Scene::Wait => {
                    now = session
                        .poll_timeout()
                        .expect("the session waits for something");
                    session.handle_timeout(now);
                }
                Scene::Swallowed => session.handle_swallowed(now),
                Scene::Tls(works) => {
                    events.extend(core::iter::from_fn(|| session.poll_event()));
                    assert_eq!(events.last(), Some(&Event::Upgrade));
                    if *works {
                        session.handle_upgraded(now)
                    } else {
                        session.handle_upgrade_failed(now)
                    }
                }
                Scene::Closed => session.handle_eof(now),
                Scene::Reset => session.handle_reset(now),
            }
        }
        events.extend(core::iter::from_fn(|| session.poll_event()));
        assert!(
            session.is_finished(),
            "the session still waits: {session:?}"
        );
        assert_eq!(
            events
                .iter()
                .filter(|event| **event == Event::Finished)
                .count(),
            1
        );
        assert_eq!(events.last(), Some(&Event::Finished));
        let (transcript, exchanges) = session.into_record();
        assert_eq!(
            events
                .iter()
                .filter(|event| matches!(event, Event::Step(_)))
                .count(),
            exchanges.len()
        );
        Played {
            transcript,
            exchanges,
        }
    }
}

impl Played {
    /// All bytes of a direction and layer.
    pub(super) fn bytes(&self, direction: Direction, layer: Layer) -> String {
        let bytes: Vec<u8> = self
            .transcript
            .of(direction)
            .filter(|chunk| chunk.layer == layer)
            .flat_map(|chunk| chunk.bytes.clone())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
    /// What was left behind the STARTTLS reply.
    pub(super) fn leftover(&self) -> String {
        let range = self
            .exchanges
            .iter()
            .find_map(|exchange| exchange.leftover)
            .unwrap_or_default();
        String::from_utf8_lossy(&self.transcript.bytes(Direction::ToClient, range)).into_owned()
    }
}
