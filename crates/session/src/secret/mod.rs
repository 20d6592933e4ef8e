//! Takes credentials and message contents out of dialogues, in every build, before they are kept.
//!
//! A redacted line is as long as the line was, so every offset stays true: hidden bytes become `*`,
//! line ends and the lengths of literals stay. Hidden are what follows AUTH's mechanism, LOGIN,
//! USER, PASS and APOP, SASL answers and challenges (RFC 4954, RFC 9051 §6.2, RFC 1939 §7, RFC 5034,
//! RFC 5804 §2.1), messages on their way (DATA, BDAT, APPEND, FETCH, RETR, TOP) and scripts. Where
//! only one side was recorded, doubt hides. It must not know who speaks well or badly.

mod client;
mod server;
mod veil;

use alloc::{borrow::Cow, collections::VecDeque, vec::Vec};

use crate::Protocol;

/// Redacts both sides of one connection, line by line in the order in which they were said.
///
/// A line is given whole, with its end and, if one likes, its literals.
///
/// ```
/// use hoofbeat_session::{Protocol, Redactor};
/// let mut redactor = Redactor::default();
/// assert_eq!(&*redactor.client_line(Protocol::Smtp, b"AUTH LOGIN\r\n"), b"AUTH LOGIN\r\n");
/// redactor.server_line(Protocol::Smtp, b"334 VXNlcm5hbWU6\r\n");
/// assert_eq!(&*redactor.client_line(Protocol::Smtp, b"Ym9i\r\n"), b"****\r\n");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    client: Client,
    server: Server,
    /// A SASL exchange is under way; on IMAP under this tag.
    sasl: Option<Vec<u8>>,
    /// The last command cannot have begun a SASL exchange: a challenge to it is only an odd reply.
    harmless: bool,
    /// DATA was said and neither granted nor given up.
    data_pending: bool,
    /// What POP3 commands without an answer ask for, oldest first.
    expected: VecDeque<Expected>,
    /// Words that were hidden last: servers like to quote what they refuse.
    hidden: Vec<Vec<u8>>,
}

/// What the client's next bytes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Client {
    #[default]
    Commands,
    /// DATA was said; a message follows unless the server refuses.
    MessageAwaited,
    /// A message, up to the lone dot.
    Message,
    /// So many bytes of a literal or chunk; `untouched` while none came and the server may still refuse.
    Counted {
        left: usize,
        is_literal: bool,
        untouched: bool,
    },
    /// The line behind a literal.
    Rest,
}

/// What the server's next bytes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Server {
    #[default]
    Replies,
    /// Lines up to the lone dot.
    Lines { hidden: bool },
    /// So many bytes of a literal.
    Counted { left: usize },
    /// The line behind a literal.
    Rest,
    /// Everything up to a status line (ManageSieve GETSCRIPT).
    Script,
}

/// What the answer to a POP3 command looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Line,
    List,
    Message,
}

impl Redactor {
    /// A line of the client as it may be kept: as long as before.
    pub fn client_line<'a>(&mut self, protocol: Protocol, line: &'a [u8]) -> Cow<'a, [u8]> {
        let mut kept = Vec::with_capacity(line.len());
        for piece in line.split_inclusive(|byte| *byte == b'\n') {
            self.client_piece(protocol, piece, &mut kept);
        }
        lend(line, kept)
    }

    /// A line of the server as it may be kept: as long as before.
    pub fn server_line<'a>(&mut self, protocol: Protocol, line: &'a [u8]) -> Cow<'a, [u8]> {
        let mut kept = Vec::with_capacity(line.len());
        for piece in line.split_inclusive(|byte| *byte == b'\n') {
            self.server_piece(protocol, piece, &mut kept);
        }
        lend(line, kept)
    }
}

fn lend(line: &[u8], kept: Vec<u8>) -> Cow<'_, [u8]> {
    if kept == line {
        Cow::Borrowed(line)
    } else {
        Cow::Owned(kept)
    }
}

/// A single command without its arguments' secrets, where nothing is known of what was said before.
///
/// ```
/// use hoofbeat_session::{Protocol, redact_command};
/// assert_eq!(&*redact_command(Protocol::Smtp, b"AUTH PLAIN AGJvYgBwdw==\r\n"), b"AUTH PLAIN ************\r\n");
/// ```
#[must_use]
pub fn redact_command(protocol: Protocol, line: &[u8]) -> Cow<'_, [u8]> {
    Redactor::default().client_line(protocol, line)
}

#[cfg(test)]
mod tests;
