//! The commands of a trace: STARTTLS, and one that no box looks for, as long as that where the protocol has one.
//!
//! It must not know when they are said.

use hoofbeat_observation::Payload;
use hoofbeat_session::{Label, Protocol};

/// A command's bytes. `number` makes IMAP's tags differ, whose length stays the same.
pub(super) fn command(protocol: Protocol, payload: Payload, number: u8) -> Vec<u8> {
    let line = match (protocol, payload) {
        (Protocol::Imap, Payload::StartTls) => format!("s{number:02} STARTTLS"),
        (Protocol::Imap, _) => format!("c{number:02} NOOP"),
        (Protocol::Pop3, Payload::StartTls) => "STLS".to_owned(),
        // Before login POP3 has no NOOP (RFC 1939 §5); CAPA is harmless (RFC 2449 §5).
        (Protocol::Pop3, _) => "CAPA".to_owned(),
        (_, Payload::StartTls) => "STARTTLS".to_owned(),
        // A string that the server says again (RFC 5804 §2.13).
        (Protocol::Sieve, _) => "NOOP \"x\"".to_owned(),
        (Protocol::Smtp | Protocol::Lmtp, _) => "NOOP 789".to_owned(),
    };
    (line + "\r\n").into_bytes()
}

/// SMTP's line with a verb that nobody knows, as long as STARTTLS.
pub(super) fn unknown(verb: &str) -> Vec<u8> {
    format!("{verb}\r\n").into_bytes()
}

/// What a command's reply is framed as, and the tag that it bears.
pub(super) fn label(payload: Payload, protocol: Protocol) -> Label {
    match (payload, protocol) {
        (Payload::StartTls, _) => Label::StartTls,
        (_, Protocol::Pop3) => Label::Capabilities,
        _ => Label::Noop,
    }
}

/// IMAP's tag of a command.
pub(super) fn tag(protocol: Protocol, command: &[u8]) -> Option<&[u8]> {
    (protocol == Protocol::Imap).then(|| command.get(..3))?
}

/// The first command of a session: how we call ourselves, or what is offered.
pub(super) fn opening(protocol: Protocol, name: &str) -> Vec<u8> {
    let line = match protocol {
        Protocol::Smtp => format!("EHLO {name}"),
        Protocol::Lmtp => format!("LHLO {name}"),
        Protocol::Imap => "o01 CAPABILITY".to_owned(),
        Protocol::Pop3 => "CAPA".to_owned(),
        Protocol::Sieve => "CAPABILITY".to_owned(),
    };
    (line + "\r\n").into_bytes()
}

/// The last command.
pub(super) const fn goodbye(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "q01 LOGOUT\r\n",
        Protocol::Sieve => "LOGOUT\r\n",
        Protocol::Smtp | Protocol::Lmtp | Protocol::Pop3 => "QUIT\r\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_is_as_long_as_starttls_where_it_can_be() {
        for protocol in [
            Protocol::Smtp,
            Protocol::Lmtp,
            Protocol::Pop3,
            Protocol::Sieve,
        ] {
            let control = command(protocol, Payload::Control, 1);
            let test = command(protocol, Payload::StartTls, 1);
            assert_eq!(control.len(), test.len(), "{protocol:?}");
            assert_ne!(control, test);
        }
        let imap = command(Protocol::Imap, Payload::StartTls, 7);
        assert_eq!(imap, b"s07 STARTTLS\r\n");
        assert_eq!(tag(Protocol::Imap, &imap), Some(&b"s07"[..]));
    }
}
