//! The boxes between a client and a mail server, as sans-IO transforms of two byte streams.
//!
//! Two families, as in the world: *in-place* boxes ([`cisco`], [`mask`]) see segments, keep every length, never hold a
//! byte back and never speak themselves; *proxying* boxes ([`proxy`] and the manners it carries) read lines and
//! replies, and may delete, forge, refuse or inject. After TLS has started a box is blind unless it intercepts.
//!
//! It must not know sockets (only [`relay`] does), verdicts or our own session crate.

pub mod answer;
pub mod chain;
pub mod cisco;
pub mod cut;
pub mod handshake;
pub mod hello;
pub mod inject;
pub mod mask;
pub mod proxy;
pub mod relay;
pub mod remove;
pub mod reply;
pub mod spec;

use std::net::SocketAddr;
use std::time::Duration;

pub use spec::{BoxSpec, Kind};

use crate::authority::Versions;

/// What a box knows about the connection that it is to handle.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// How many connections came before this one.
    pub ordinal: usize,
    /// The client.
    pub client: SocketAddr,
}

/// What a box wants done with the two connections it stands between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send to the client.
    ToClient(Vec<u8>),
    /// Send to the server.
    ToServer(Vec<u8>),
    /// Reset both sides.
    Reset,
    /// Reset the client's side; close the server's.
    ResetClient,
    /// Close both sides in order.
    Close,
    /// From now on swallow whatever either side sends, and say nothing.
    Blackhole,
    /// Send nothing and read nothing for this long.
    Pause(Duration),
    /// Terminate TLS towards the client with the interceptor's own certificate.
    InterceptTls(Interception),
}

/// How TLS is intercepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interception {
    /// The versions spoken with the client.
    pub versions: Versions,
    /// Whether the box starts TLS with the server too; otherwise it goes on in the clear there.
    pub upstream_tls: bool,
}

/// A box on the path of one connection.
///
/// The relay hands over bytes as they arrive, a call a segment, and does what is pushed to `out`, in order.
pub trait Middlebox: Send {
    /// The connection stands; nothing was sent yet.
    fn opened(&mut self, _out: &mut Vec<Action>) {}
    /// The client sent this.
    fn client_sent(&mut self, segment: &[u8], out: &mut Vec<Action>);
    /// The server sent this.
    fn server_sent(&mut self, segment: &[u8], out: &mut Vec<Action>);
    /// The client closed its direction. Returns whether the relay may pass the close on.
    fn client_closed(&mut self, _out: &mut Vec<Action>) -> bool {
        true
    }
    /// The server closed its direction. Returns whether the relay may pass the close on.
    fn server_closed(&mut self, _out: &mut Vec<Action>) -> bool {
        true
    }
}

/// A wire: passes everything as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wire;

impl Middlebox for Wire {
    fn client_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        out.push(Action::ToServer(segment.to_vec()));
    }

    fn server_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        out.push(Action::ToClient(segment.to_vec()));
    }
}

#[cfg(test)]
pub(crate) mod play {
    //! Plays bytes through a box and writes down what comes out, for the boxes' unit tests.

    use super::{Action, Middlebox};

    /// What comes out when the server sends `bytes`.
    pub(crate) fn server(middlebox: &mut dyn Middlebox, bytes: &str) -> String {
        let mut out = Vec::new();
        middlebox.server_sent(bytes.as_bytes(), &mut out);
        text(&out)
    }

    /// What comes out when the client sends `bytes`.
    pub(crate) fn client(middlebox: &mut dyn Middlebox, bytes: &str) -> String {
        let mut out = Vec::new();
        middlebox.client_sent(bytes.as_bytes(), &mut out);
        text(&out)
    }

    /// Actions as text: `C:` to the client, `S:` to the server.
    pub(crate) fn text(actions: &[Action]) -> String {
        actions
            .iter()
            .map(|action| match action {
                Action::ToClient(bytes) => format!("C:{}", String::from_utf8_lossy(bytes)),
                Action::ToServer(bytes) => format!("S:{}", String::from_utf8_lossy(bytes)),
                other => format!("<{other:?}>"),
            })
            .collect()
    }
}
