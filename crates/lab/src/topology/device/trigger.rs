//! Recognises what sets a box off: a STARTTLS line, a ClientHello, the server's name in one, or given bytes.
//! It sees one segment at a time, as taps do; a hello over several segments is put together. It must not know what follows.
//! RFC 3207, 2595, 8446 §4.1.2, 6066 §3.

use crate::middlebox::reply::Asked;
use crate::protocol::Protocol;
use crate::topology::device::spec::Trigger;

/// A hello that is longer is not put together.
const HELLO_LIMIT: usize = 16 * 1024;
/// The extension server_name.
const SERVER_NAME: usize = 0;

/// One connection's watch.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// A ClientHello so far, and the sequence number that comes next.
    hello: Option<(Vec<u8>, u32)>,
}

impl Watch {
    /// Whether this segment from the client, at sequence number `at`, sets `trigger` off.
    pub(super) fn sets_off(
        &mut self,
        trigger: &Trigger,
        protocol: Protocol,
        at: u32,
        payload: &[u8],
    ) -> bool {
        match trigger {
            Trigger::Starttls => starttls_line(protocol, payload).is_some(),
            Trigger::ClientHello => begins_hello(payload),
            Trigger::Text(text) => holds(payload, text.as_bytes()),
            Trigger::ServerName(name) => self.names(name, at, payload),
        }
    }

    fn names(&mut self, name: &str, at: u32, payload: &[u8]) -> bool {
        let mut hello = match self.hello.take() {
            _ if begins_hello(payload) => Vec::new(),
            Some((hello, next)) if next == at => hello,
            other => {
                self.hello = other;
                return false;
            }
        };
        hello.extend_from_slice(payload);
        let hit = server_name(&hello).is_some_and(|told| {
            let told = told.to_ascii_lowercase();
            let name = name.to_ascii_lowercase();
            told == name || told.ends_with(&format!(".{name}"))
        });
        if hello.len() <= HELLO_LIMIT {
            let length = u32::try_from(payload.len()).unwrap_or(0);
            self.hello = Some((hello, at.wrapping_add(length)));
        }
        hit
    }
}

/// The first line of `payload` that asks to start TLS.
pub(super) fn starttls_line(protocol: Protocol, payload: &[u8]) -> Option<Asked> {
    payload
        .split(|&byte| byte == b'\n')
        .map(|line| Asked::read(protocol, line.strip_suffix(b"\r").unwrap_or(line)))
        .find(Asked::starts_tls)
}

fn begins_hello(payload: &[u8]) -> bool {
    matches!(payload, [22, 3, _, _, _, 1, ..])
}

fn holds(payload: &[u8], text: &[u8]) -> bool {
    !text.is_empty()
        && payload
            .windows(text.len())
            .any(|window| window.eq_ignore_ascii_case(text))
}

/// The name in a ClientHello, as far as it is at hand.
fn server_name(record: &[u8]) -> Option<String> {
    let mut rest = Rest(record);
    // Record header, handshake header, version, random; then session id, suites, compression.
    rest.take(5 + 4 + 2 + 32)?;
    for size in [1, 2, 1] {
        let length = rest.number(size)?;
        rest.take(length)?;
    }
    rest.number(2)?;
    loop {
        let kind = rest.number(2)?;
        let length = rest.number(2)?;
        if kind == SERVER_NAME {
            rest.take(3)?;
            let length = rest.number(2)?;
            return String::from_utf8(rest.take(length)?.to_vec()).ok();
        }
        rest.take(length)?;
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, size: usize) -> Option<usize> {
        let fold = |number: usize, &byte: &u8| number << 8 | usize::from(byte);
        Some(self.take(size)?.iter().fold(0, fold))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    pub(in super::super) fn hello(name: &'static str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = name.try_into().expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("a hello");
        bytes
    }

    fn off(trigger: Trigger, protocol: Protocol, payload: &[u8]) -> bool {
        Watch::default().sets_off(&trigger, protocol, 0, payload)
    }

    #[test]
    fn starttls_is_a_verb_and_not_a_word() {
        let starttls = || Trigger::Starttls;
        assert!(off(starttls(), Protocol::Smtp, b"STARTTLS\r\n"));
        assert!(off(starttls(), Protocol::Smtp, b"starttls"));
        assert!(off(starttls(), Protocol::Smtp, b"NOOP\r\nSTARTTLS\r\n"));
        assert!(off(starttls(), Protocol::Imap, b"a1 StartTLS\r\n"));
        assert!(off(starttls(), Protocol::Pop3, b"STLS\r\n"));
        assert!(!off(starttls(), Protocol::Smtp, b"NOOP STARTTLS\r\n"));
        assert!(!off(starttls(), Protocol::Smtp, b"STARTTLSX\r\n"));
        assert!(!off(starttls(), Protocol::Imap, b"STARTTLS\r\n"));
    }

    #[test]
    fn bytes_anywhere_in_any_case() {
        assert!(off(
            Trigger::Text("x-canary".into()),
            Protocol::Smtp,
            b"EHLO X-CANARY\r\n"
        ));
        assert!(!off(
            Trigger::Text(String::new()),
            Protocol::Smtp,
            b"EHLO\r\n"
        ));
    }

    #[test]
    fn a_hello_and_whom_it_names() {
        let bytes = hello("mail.mx.lab.test");
        assert!(off(Trigger::ClientHello, Protocol::Smtp, &bytes));
        let name = |name: &str| Trigger::ServerName(name.into());
        assert!(off(name("mail.mx.lab.test"), Protocol::Smtp, &bytes));
        assert!(off(name("MX.lab.test"), Protocol::Smtp, &bytes));
        assert!(!off(name("x.lab.test"), Protocol::Smtp, &bytes));
        assert!(!off(name("ab.test"), Protocol::Smtp, &bytes));
        assert!(!off(Trigger::ClientHello, Protocol::Smtp, b"EHLO x\r\n"));
    }

    #[test]
    fn a_hello_over_two_segments_is_put_together() {
        let bytes = hello("mx.lab.test");
        let trigger = Trigger::ServerName("mx.lab.test".into());
        for cut in 6..bytes.len() {
            let (one, other) = bytes.split_at(cut);
            let at = 1000 + u32::try_from(cut).expect("small");
            let mut watch = Watch::default();
            let first = watch.sets_off(&trigger, Protocol::Smtp, 1000, one);
            let second = watch.sets_off(&trigger, Protocol::Smtp, at, other);
            assert!(first || second, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..300, byte in any::<u8>()) {
            server_name(&bytes);
            let mut spoiled = hello("mx.lab.test");
            if let Some(place) = spoiled.get_mut(at) { *place = byte; }
            server_name(&spoiled);
            starttls_line(Protocol::Imap, &bytes);
        }
    }
}
