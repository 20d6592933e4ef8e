//! The engine of every box that reads lines and replies instead of segments: it frames both directions, remembers which
//! command each reply belongs to, keeps the order, and goes blind when TLS starts. What a box *does* is its [`Manner`].
//! It must not know any product.
//!
//! ```text
//! Talk ─354/334/"+"─▶ Aside (the client's next lines are no commands) ─▶ Talk
//!   └──STARTTLS agreed──▶ Handshake (the manner may act on its bytes) or blind
//! ```

use std::collections::VecDeque;

use crate::middlebox::reply::{Asked, agrees, continues, take};
use crate::middlebox::{Action, Middlebox};
use crate::protocol::Protocol;

/// A client line longer than this is passed on in pieces, unread.
const LINE_LIMIT: usize = 64 * 1024;

/// What a manner does with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server gets it.
    Pass,
    /// The server gets this line instead.
    Rewrite(Vec<u8>),
    /// The client gets this answer; the server never sees the command.
    Answer(Vec<u8>),
    /// As `Answer`, and the connection closes.
    AnswerAndClose(Vec<u8>),
    /// Nobody gets anything.
    Drop,
    /// Both sides are reset.
    Reset,
    /// Both sides are closed in order.
    Close,
}

/// What a manner does once TLS was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Becomes a wire.
    Blind,
    /// Takes part: its handshake verbs are called.
    Watch,
    /// Asks the relay to do this.
    Act(Action),
}

/// What a proxying box does with the lines and replies the engine shows it. The defaults are a wire's.
pub trait Manner: Send {
    /// The connection stands.
    fn opened(&mut self, _out: &mut Vec<Action>) {}
    /// A command, without its line end.
    fn command(&mut self, _asked: &Asked, _line: &[u8]) -> Fate {
        Fate::Pass
    }
    /// A reply to `asked`, or the greeting; what is returned goes to the client.
    fn reply(&mut self, _asked: Option<&Asked>, reply: Vec<u8>) -> Vec<u8> {
        reply
    }
    /// Whether the greeting, as just returned by `reply`, ends the connection.
    fn ends_after_greeting(&self) -> bool {
        false
    }
    /// The server agreed to start TLS (or this box did, in its place).
    fn upgraded(&mut self) -> Upgrade {
        Upgrade::Blind
    }
    /// Watching: the client sent this after the agreement.
    fn handshake_from_client(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        out.push(Action::ToServer(segment.to_vec()));
    }
    /// Watching: the server sent this after the agreement.
    fn handshake_from_server(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        out.push(Action::ToClient(segment.to_vec()));
    }
    /// The server closed its direction.
    fn server_closed(&mut self, _out: &mut Vec<Action>) -> bool {
        true
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Talk,
    /// The client's lines are passed unread: a mail body until its dot, or one line.
    Aside {
        body: bool,
    },
    Watching,
    Blind,
}

struct Pending {
    asked: Asked,
    own: Option<(Vec<u8>, bool)>,
}

/// A proxying box.
pub struct Proxy<M> {
    protocol: Protocol,
    manner: M,
    phase: Phase,
    greeted: bool,
    client: Vec<u8>,
    server: Vec<u8>,
    pending: VecDeque<Pending>,
}

impl<M: Manner> Proxy<M> {
    /// A box for this protocol.
    pub fn new(protocol: Protocol, manner: M) -> Self {
        Self {
            protocol,
            manner,
            phase: Phase::Talk,
            greeted: false,
            client: Vec::new(),
            server: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = match self.client.iter().position(|&byte| byte == b'\n') {
            Some(end) => end + 1,
            None if self.client.len() > LINE_LIMIT => self.client.len(),
            None => return None,
        };
        Some(self.client.drain(..end).collect())
    }

    fn read_client(&mut self, out: &mut Vec<Action>) {
        while let Some(line) = self.take_line() {
            let bare = line.strip_suffix(b"\n").unwrap_or(&line);
            let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
            if let Phase::Aside { body } = self.phase {
                if !body || bare == b"." {
                    self.phase = Phase::Talk;
                }
                out.push(Action::ToServer(line));
                continue;
            }
            let asked = Asked::read(self.protocol, bare);
            let fate = self.manner.command(&asked, bare);
            match fate {
                Fate::Pass => {
                    self.pending.push_back(Pending { asked, own: None });
                    out.push(Action::ToServer(line));
                }
                Fate::Rewrite(mut other) => {
                    let asked = Asked::read(self.protocol, &other);
                    other.extend_from_slice(b"\r\n");
                    self.pending.push_back(Pending { asked, own: None });
                    out.push(Action::ToServer(other));
                }
                Fate::Answer(answer) => {
                    self.pending.push_back(Pending {
                        asked,
                        own: Some((answer, false)),
                    });
                }
                Fate::AnswerAndClose(answer) => {
                    self.pending.push_back(Pending {
                        asked,
                        own: Some((answer, true)),
                    });
                }
                Fate::Drop => {}
                Fate::Reset => out.push(Action::Reset),
                Fate::Close => out.push(Action::Close),
            }
            self.flush_own(out);
            if matches!(self.phase, Phase::Blind | Phase::Watching) {
                let rest = std::mem::take(&mut self.client);
                if !rest.is_empty() {
                    self.client_sent(&rest, out);
                }
                return;
            }
        }
    }

    /// Says the box's own answers that are due: those with no server's reply before them.
    fn flush_own(&mut self, out: &mut Vec<Action>) {
        while self.greeted
            && self
                .pending
                .front()
                .is_some_and(|front| front.own.is_some())
        {
            let Some(Pending {
                asked,
                own: Some((answer, close)),
            }) = self.pending.pop_front()
            else {
                return;
            };
            let agreed = agrees(self.protocol, &asked, &answer);
            out.push(Action::ToClient(answer));
            if close {
                out.push(Action::Close);
            }
            if agreed {
                self.upgrade(out);
            }
        }
    }

    fn upgrade(&mut self, out: &mut Vec<Action>) {
        match self.manner.upgraded() {
            Upgrade::Blind => self.phase = Phase::Blind,
            Upgrade::Watch => self.phase = Phase::Watching,
            Upgrade::Act(action) => {
                self.phase = Phase::Blind;
                out.push(action);
            }
        }
    }

    fn read_server(&mut self, out: &mut Vec<Action>) {
        loop {
            let asked = self.pending.front().map(|front| front.asked.clone());
            let asked = if self.greeted { asked } else { None };
            let Some(reply) = take(self.protocol, asked.as_ref(), &mut self.server) else {
                return;
            };
            let agreed = asked
                .as_ref()
                .is_some_and(|asked| agrees(self.protocol, asked, &reply));
            if self.greeted && continues(self.protocol, &reply) {
                self.phase = Phase::Aside {
                    body: reply.starts_with(b"354"),
                };
                if reply.starts_with(b"354") {
                    // The end of the body gets a reply of its own.
                    self.pending.push_back(Pending {
                        asked: Asked::default(),
                        own: None,
                    });
                }
                if !reply.starts_with(b"334") && !reply.starts_with(b"+") {
                    self.pending.pop_front();
                }
            } else if self.greeted {
                self.pending.pop_front();
            }
            let reply = self.manner.reply(asked.as_ref(), reply);
            // A manner may have turned the agreement into something else: the client decides by what it reads.
            let still = agreed
                && asked
                    .as_ref()
                    .is_some_and(|asked| says_yes(self.protocol, asked, &reply));
            out.push(Action::ToClient(reply));
            if !self.greeted {
                self.greeted = true;
                if self.manner.ends_after_greeting() {
                    out.push(Action::Close);
                    return;
                }
            }
            if still {
                self.upgrade(out);
                let rest = std::mem::take(&mut self.server);
                if !rest.is_empty() {
                    self.server_sent(&rest, out);
                }
                return;
            }
            self.flush_own(out);
        }
    }
}

/// As [`agrees`], but the agreement may stand on any line: a box may have added lines behind it.
fn says_yes(protocol: Protocol, asked: &Asked, reply: &[u8]) -> bool {
    reply
        .split_inclusive(|&byte| byte == b'\n')
        .any(|line| agrees(protocol, asked, line))
}

impl<M: Manner> Middlebox for Proxy<M> {
    fn opened(&mut self, out: &mut Vec<Action>) {
        self.manner.opened(out);
    }

    fn client_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        match self.phase {
            Phase::Blind => out.push(Action::ToServer(segment.to_vec())),
            Phase::Watching => self.manner.handshake_from_client(segment, out),
            Phase::Talk | Phase::Aside { .. } => {
                self.client.extend_from_slice(segment);
                self.read_client(out);
            }
        }
    }

    fn server_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        match self.phase {
            Phase::Blind => out.push(Action::ToClient(segment.to_vec())),
            Phase::Watching => self.manner.handshake_from_server(segment, out),
            Phase::Talk | Phase::Aside { .. } => {
                self.server.extend_from_slice(segment);
                self.read_server(out);
            }
        }
    }

    fn server_closed(&mut self, out: &mut Vec<Action>) -> bool {
        // What has come of an unfinished reply is not lost.
        let rest = std::mem::take(&mut self.server);
        if !rest.is_empty() {
            out.push(Action::ToClient(rest));
        }
        self.manner.server_closed(out)
    }
}

/// Fills `{tag}`, `{verb}` and `{line}` into a box's answer and ends each of its lines.
pub(crate) fn fill(text: &str, asked: &Asked, line: &[u8]) -> Vec<u8> {
    let line = String::from_utf8_lossy(line);
    let filled = text
        .replace("{tag}", &asked.tag)
        .replace("{verb}", &asked.verb)
        .replace("{line}", &line);
    ended(&filled)
}

/// Ends each line of `text` with CR LF.
pub(crate) fn ended(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.trim_end_matches('\n').split('\n') {
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::play;

    struct Idle;
    impl Manner for Idle {}

    struct Refuse;
    impl Manner for Refuse {
        fn command(&mut self, asked: &Asked, _line: &[u8]) -> Fate {
            if asked.starts_tls() {
                Fate::Answer(b"500 no\r\n".to_vec())
            } else {
                Fate::Pass
            }
        }
    }

    #[test]
    fn an_idle_proxy_holds_lines_and_replies_until_they_are_whole() {
        let mut proxy = Proxy::new(Protocol::Smtp, Idle);
        assert_eq!(play::server(&mut proxy, "220 m"), "");
        assert_eq!(play::server(&mut proxy, "x\r\n"), "C:220 mx\r\n");
        assert_eq!(play::client(&mut proxy, "NO"), "");
        assert_eq!(play::client(&mut proxy, "OP\r\n"), "S:NOOP\r\n");
    }

    #[test]
    fn own_answers_wait_for_the_replies_before_them() {
        let mut proxy = Proxy::new(Protocol::Smtp, Refuse);
        assert_eq!(play::client(&mut proxy, "STARTTLS\r\n"), "");
        assert_eq!(
            play::server(&mut proxy, "220 mx\r\n"),
            "C:220 mx\r\nC:500 no\r\n"
        );
        assert_eq!(
            play::client(&mut proxy, "NOOP\r\nSTARTTLS\r\n"),
            "S:NOOP\r\n"
        );
        assert_eq!(
            play::server(&mut proxy, "250 ok\r\n"),
            "C:250 ok\r\nC:500 no\r\n"
        );
    }

    #[test]
    fn bodies_and_challenges_are_no_commands() {
        let mut proxy = Proxy::new(Protocol::Smtp, Refuse);
        play::server(&mut proxy, "220 mx\r\n");
        play::client(&mut proxy, "DATA\r\n");
        play::server(&mut proxy, "354 go\r\n");
        assert_eq!(
            play::client(&mut proxy, "STARTTLS\r\n.\r\n"),
            "S:STARTTLS\r\nS:.\r\n"
        );
        assert_eq!(
            play::server(&mut proxy, "250 queued\r\n"),
            "C:250 queued\r\n"
        );
        assert_eq!(play::client(&mut proxy, "STARTTLS\r\n"), "C:500 no\r\n");
        play::client(&mut proxy, "AUTH PLAIN\r\n");
        play::server(&mut proxy, "334 \r\n");
        assert_eq!(play::client(&mut proxy, "STARTTLS\r\n"), "S:STARTTLS\r\n");
    }

    #[test]
    fn after_the_agreement_the_proxy_is_blind() {
        let mut proxy = Proxy::new(Protocol::Imap, Idle);
        play::server(&mut proxy, "* OK hi\r\n");
        play::client(&mut proxy, "a STARTTLS\r\n");
        assert_eq!(
            play::server(&mut proxy, "a OK go\r\n\u{16}"),
            "C:a OK go\r\nC:\u{16}"
        );
        assert_eq!(play::client(&mut proxy, "\u{16}\u{3}"), "S:\u{16}\u{3}");
    }
}
