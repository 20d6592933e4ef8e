//! What a bystander sees of a TLS handshake: record headers, the hellos, a chain before TLS 1.3, alerts.
//!
//! RFC 8446 §4, §5, §6 and RFC 5246 §7.4. It must not know keys, nor judge a certificate: nothing is
//! decrypted and nothing is verified here.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use hoofbeat_session::{Direction, Elapsed};

use crate::tls_names::{alert_name, cipher_name, version_name};
use crate::{Certificate, Ending, Handshake, HandshakeOutcome, InvalidReason, Verification};

/// Most bytes of the answer kept as evidence, as [`Handshake::first_bytes`] says.
const FIRST_BYTES: usize = 512;
/// Most bytes of handshake messages read of one side; chains are seldom above 8 KiB.
const MESSAGES: usize = 64 << 10;
/// Most certificates of one chain.
const CHAIN: usize = 16;
/// Silence behind a ClientHello for this long, to the recording's end, is no answer.
pub(super) const SILENCE: core::time::Duration = core::time::Duration::from_secs(10);
/// The length of an encrypted alert's record in TLS 1.3: two bytes, a type and a tag.
const ENCRYPTED_ALERT: usize = 19;
/// SHA-256 of "HelloRetryRequest", which takes the place of a random (RFC 8446 §4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Whether bytes begin like a TLS record: a known type and the version's major 3.
pub(super) fn looks_like_record(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=24, 3, ..])
}

/// Whether a client's bytes begin a handshake: a TLS record, or an SSLv2-framed hello (RFC 5246 appendix E.2).
pub(super) fn begins_handshake(bytes: &[u8]) -> bool {
    matches!(bytes, [22, 3, ..] | [0x80..=0xff, _, 1, 3, ..])
}

/// Whether more bytes are needed to tell.
pub(super) fn may_begin_handshake(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [22] | [0x80..=0xff] | [0x80..=0xff, _] | [0x80..=0xff, _, 1]
    )
}

/// One side's records.
#[derive(Debug, Default)]
struct Side {
    /// The header so far, and how much of the record's body is still to come.
    header: Vec<u8>,
    missing: usize,
    kind: u8,
    messages: Vec<u8>,
    read: usize,
    encrypted: bool,
    /// A record of the encrypted phase that is no alert.
    finished: bool,
    alert: Vec<u8>,
    lost: bool,
}

/// A handshake as it is watched.
#[derive(Debug)]
pub(super) struct Watch {
    started: Elapsed,
    last: Elapsed,
    client: Side,
    server: Side,
    heard: bool,
    first_bytes: Vec<u8>,
    not_tls: bool,
    server_name: Option<String>,
    version: Option<u16>,
    cipher: Option<u16>,
    chain: Vec<Certificate>,
    done: Option<Elapsed>,
}

impl Watch {
    /// A handshake that begins now.
    pub(super) fn new(started: Elapsed) -> Self {
        Self {
            started,
            last: started,
            client: Side::default(),
            server: Side::default(),
            heard: false,
            first_bytes: Vec::new(),
            not_tls: false,
            server_name: None,
            version: None,
            cipher: None,
            chain: Vec::new(),
            done: None,
        }
    }

    /// Bytes of the stream, in order.
    pub(super) fn input(&mut self, direction: Direction, at: Elapsed, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.done.is_none() {
            self.last = at;
        }
        match direction {
            Direction::ToServer => self.client.input(bytes),
            Direction::ToClient => {
                self.heard = true;
                let room = FIRST_BYTES.saturating_sub(self.first_bytes.len());
                self.first_bytes
                    .extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
                if !self.server.lost
                    && self.first_bytes.len() >= 2
                    && !looks_like_record(&self.first_bytes)
                {
                    self.not_tls = true;
                }
                if !self.not_tls {
                    self.server.input(bytes);
                }
            }
        }
        self.read_messages();
        if self.is_complete() && self.done.is_none() {
            self.done = Some(at);
        }
    }

    /// Bytes of this direction are missing: records cannot be followed any more.
    pub(super) fn lose(&mut self, direction: Direction) {
        match direction {
            Direction::ToServer => self.client.lost = true,
            Direction::ToClient => self.server.lost = true,
        }
    }

    /// Whether anything came from the server since the ClientHello.
    pub(super) const fn has_heard(&self) -> bool {
        self.heard
    }

    /// Whether the server answered the ClientHello with something else than TLS.
    pub(super) const fn is_not_tls(&self) -> bool {
        self.not_tls
    }

    /// The handshake as far as it was seen; `None` where the recording ends before its outcome.
    pub(super) fn finish(self, ending: Ending, end: Elapsed) -> Option<Handshake> {
        let mut verification = Verification::Unknown;
        let outcome = if self.not_tls {
            HandshakeOutcome::NotTls
        } else if let [level, description, ..] = *self.server.alert
            && (level == 2 || self.done.is_none())
        {
            HandshakeOutcome::Alert {
                description: alert_name(description),
            }
        } else if let [_, description, ..] = *self.client.alert
            && self.done.is_none()
        {
            verification = refused_chain(description);
            if verification == Verification::Unknown {
                let name = alert_name(description);
                HandshakeOutcome::Failed {
                    detail: format!("the recorded client refused with the alert {name}"),
                }
            } else {
                // The server did its part; what the chain was worth is a question of its own.
                HandshakeOutcome::Completed
            }
        } else if self.done.is_some() {
            HandshakeOutcome::Completed
        } else if self.server.lost || self.client.lost {
            return None;
        } else {
            match ending {
                Ending::Reset => HandshakeOutcome::Reset,
                Ending::Peer => HandshakeOutcome::Closed,
                _ if !self.heard && end.since(self.started) >= SILENCE => {
                    HandshakeOutcome::TimedOut
                }
                // A client that goes away says nothing of the server.
                _ => return None,
            }
        };
        let ended = match outcome {
            HandshakeOutcome::Completed => self.done.unwrap_or(self.last),
            HandshakeOutcome::TimedOut | HandshakeOutcome::Reset | HandshakeOutcome::Closed => end,
            _ => self.last,
        };
        Some(Handshake {
            started: self.started,
            ended,
            outcome,
            server_name: self.server_name,
            version: self.version.map(version_name),
            cipher: self.cipher.map(cipher_name),
            chain: self.chain,
            verification,
            first_bytes: self.first_bytes,
        })
    }

    fn is_complete(&self) -> bool {
        // TLS 1.3: the client's Finished proves its consent; before: the server's ChangeCipherSpec
        // follows the client's Finished (or, resumed, the other way round).
        if self.version == Some(0x0304) {
            self.client.finished
        } else {
            self.version.is_some()
                && self.client.encrypted
                && self.server.encrypted
                && self.server.finished
        }
    }

    fn read_messages(&mut self) {
        while let Some((kind, body)) = self.client.next_message() {
            if kind == 1 && self.server_name.is_none() {
                self.server_name = server_name(&body);
            }
        }
        while let Some((kind, body)) = self.server.next_message() {
            match kind {
                2 => {
                    if let Some((version, cipher, retry)) = server_hello(&body)
                        && !retry
                    {
                        self.version = Some(version);
                        self.cipher = Some(cipher);
                    }
                }
                11 if self.chain.is_empty() => self.chain = certificates(&body),
                _ => {}
            }
        }
        if self.version == Some(0x0304) {
            // From here on every record of type 23 is encrypted handshake or data.
            self.client.encrypted = true;
            self.server.encrypted = true;
        }
    }
}

impl Side {
    fn input(&mut self, mut bytes: &[u8]) {
        while !self.lost && !bytes.is_empty() {
            if self.missing == 0 {
                let wanted = 5 - self.header.len();
                let (head, rest) = bytes.split_at(wanted.min(bytes.len()));
                self.header.extend_from_slice(head);
                bytes = rest;
                if let [kind, 3, _, high, low] = *self.header {
                    let length = usize::from(u16::from_be_bytes([high, low]));
                    self.kind = kind;
                    self.missing = length;
                    self.begin(kind, length);
                    self.header.clear();
                } else if self.header.len() == 5 {
                    // An SSLv2 hello, or no TLS any more.
                    self.lost = true;
                }
            } else {
                let (body, rest) = bytes.split_at(self.missing.min(bytes.len()));
                self.missing -= body.len();
                bytes = rest;
                if !self.encrypted {
                    let sink = match self.kind {
                        22 => &mut self.messages,
                        21 => &mut self.alert,
                        _ => continue,
                    };
                    let room = MESSAGES.saturating_sub(sink.len());
                    sink.extend_from_slice(body.get(..room.min(body.len())).unwrap_or_default());
                }
            }
        }
    }

    fn begin(&mut self, kind: u8, length: usize) {
        match kind {
            20 => self.encrypted = true,
            22 | 23 if self.encrypted && (kind == 22 || length != ENCRYPTED_ALERT) => {
                self.finished = true
            }
            _ => {}
        }
    }

    /// The next whole handshake message: its type and body.
    fn next_message(&mut self) -> Option<(u8, Vec<u8>)> {
        let waiting = self.messages.get(self.read..)?;
        let &[kind, a, b, c, ..] = waiting else {
            return None;
        };
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let body = waiting.get(4..4 + length)?.to_vec();
        self.read += 4 + length;
        Some((kind, body))
    }
}

/// A reader of big-endian fields that ends quietly.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
    fn number(&mut self, width: usize) -> Option<usize> {
        Some(
            self.take(width)?
                .iter()
                .fold(0, |n, b| n << 8 | usize::from(*b)),
        )
    }
    /// A vector with a length in front of `width` bytes.
    fn vector(&mut self, width: usize) -> Option<&'a [u8]> {
        let length = self.number(width)?;
        self.take(length)
    }
    fn short(&mut self) -> Option<u16> {
        self.number(2)?.try_into().ok()
    }
}

fn extension(block: &[u8], wanted: usize) -> Option<&[u8]> {
    let mut fields = Fields(block);
    loop {
        let kind = fields.number(2)?;
        let data = fields.vector(2)?;
        if kind == wanted {
            return Some(data);
        }
    }
}

/// RFC 6066 §3.
fn server_name(hello: &[u8]) -> Option<String> {
    let mut fields = Fields(hello);
    fields.take(2 + 32)?;
    fields.vector(1)?;
    fields.vector(2)?;
    fields.vector(1)?;
    let mut list = Fields(extension(fields.vector(2)?, 0)?);
    let mut names = Fields(list.vector(2)?);
    (names.number(1)? == 0).then_some(())?;
    let name = names.vector(2)?;
    let text = core::str::from_utf8(name).ok()?;
    (!text.is_empty() && text.len() <= 255).then(|| text.to_owned())
}

/// Version, cipher suite, and whether it is a HelloRetryRequest.
fn server_hello(hello: &[u8]) -> Option<(u16, u16, bool)> {
    let mut fields = Fields(hello);
    let legacy = fields.short()?;
    let random = fields.take(32)?;
    fields.vector(1)?;
    let cipher = fields.short()?;
    fields.take(1)?;
    let version = fields
        .vector(2)
        .and_then(|block| extension(block, 43))
        .and_then(|data| Fields(data).short())
        .unwrap_or(legacy);
    Some((version, cipher, random == RETRY_RANDOM))
}

/// The chain of a Certificate message of TLS 1.2 and before; only its exact bytes, unread.
fn certificates(body: &[u8]) -> Vec<Certificate> {
    let mut chain = Vec::new();
    let mut list = Fields(Fields(body).vector(3).unwrap_or_default());
    while let Some(der) = list.vector(3)
        && chain.len() < CHAIN
    {
        chain.push(Certificate {
            der: der.to_vec(),
            public_key: Vec::new(),
            subject: String::new(),
            issuer: String::new(),
            names: Vec::new(),
            not_before: None,
            not_after: None,
            key: None,
        });
    }
    chain
}

/// What a client's alert says about the chain it was shown (RFC 8446 §6.2).
fn refused_chain(description: u8) -> Verification {
    let reason = match description {
        48 => InvalidReason::UnknownIssuer,
        45 => InvalidReason::Expired,
        41..=44 | 46 => InvalidReason::Other,
        _ => return Verification::Unknown,
    };
    Verification::Invalid {
        reason,
        detail: format!("the recorded client said {}", alert_name(description)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 3, 3];
        record.extend_from_slice(&(body.len() as u16).to_be_bytes());
        record.extend_from_slice(body);
        record
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, 0];
        message.extend_from_slice(&(body.len() as u16).to_be_bytes());
        message.extend_from_slice(body);
        message
    }

    pub(super) fn client_hello(name: &str) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]);
        let length = name.len() as u16;
        let mut extension = vec![0, 0];
        extension.extend_from_slice(&(length + 5).to_be_bytes());
        extension.extend_from_slice(&(length + 3).to_be_bytes());
        extension.push(0);
        extension.extend_from_slice(&length.to_be_bytes());
        extension.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&(extension.len() as u16).to_be_bytes());
        body.extend_from_slice(&extension);
        record(22, &message(1, &body))
    }

    pub(super) fn server_hello_13() -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend_from_slice(&[9; 32]);
        body.extend_from_slice(&[0, 0x13, 0x02, 0, 0, 6, 0, 43, 0, 2, 3, 4]);
        record(22, &message(2, &body))
    }

    fn watch(parts: &[(Direction, Vec<u8>)], cut: usize) -> Watch {
        let mut watch = Watch::new(Elapsed::default());
        for (direction, bytes) in parts {
            for part in bytes.chunks(cut) {
                watch.input(*direction, Elapsed::default(), part);
            }
        }
        watch
    }

    #[test]
    fn a_tls13_handshake_however_it_is_cut() {
        let parts = [
            (Direction::ToServer, client_hello("mx.example")),
            (Direction::ToClient, server_hello_13()),
            (Direction::ToClient, record(23, &[0; 900])),
            (Direction::ToServer, record(23, &[0; 53])),
        ];
        for cut in [1, 3, 5, 1000] {
            let handshake = watch(&parts, cut)
                .finish(Ending::Ours, Elapsed::default())
                .unwrap();
            assert_eq!(handshake.outcome, HandshakeOutcome::Completed);
            assert_eq!(handshake.server_name.as_deref(), Some("mx.example"));
            assert_eq!(handshake.version.as_deref(), Some("TLSv1.3"));
            assert_eq!(handshake.cipher.as_deref(), Some("TLS_AES_256_GCM_SHA384"));
        }
    }

    #[test]
    fn how_it_may_fail() {
        let hello = (Direction::ToServer, client_hello("mx.example"));
        let late = Elapsed::from_millis(30_000);
        let outcome = |parts: &[_], ending| watch(parts, 4).finish(ending, late).map(|h| h.outcome);
        assert_eq!(
            outcome(core::slice::from_ref(&hello), Ending::Reset),
            Some(HandshakeOutcome::Reset)
        );
        assert_eq!(
            outcome(core::slice::from_ref(&hello), Ending::Peer),
            Some(HandshakeOutcome::Closed)
        );
        assert_eq!(
            outcome(core::slice::from_ref(&hello), Ending::None),
            Some(HandshakeOutcome::TimedOut)
        );
        let plain = (Direction::ToClient, b"500 what?\r\n".to_vec());
        assert_eq!(
            outcome(&[hello.clone(), plain], Ending::Peer),
            Some(HandshakeOutcome::NotTls)
        );
        let alert = (Direction::ToClient, record(21, &[2, 70]));
        assert_eq!(
            outcome(&[hello.clone(), alert], Ending::Peer),
            Some(HandshakeOutcome::Alert {
                description: "protocol_version".to_owned()
            })
        );
        let answered = (Direction::ToClient, server_hello_13());
        assert_eq!(
            outcome(&[hello.clone(), answered.clone()], Ending::None),
            None
        );
        assert_eq!(
            outcome(&[hello, answered], Ending::Ours),
            None,
            "the client went away"
        );
    }

    #[test]
    fn a_client_that_refuses_the_chain_says_why() {
        let parts = [
            (Direction::ToServer, client_hello("mx.example")),
            (Direction::ToServer, record(21, &[2, 48])),
        ];
        let handshake = watch(&parts, 7)
            .finish(Ending::Ours, Elapsed::default())
            .unwrap();
        assert_eq!(handshake.outcome, HandshakeOutcome::Completed);
        assert!(matches!(
            handshake.verification,
            Verification::Invalid {
                reason: InvalidReason::UnknownIssuer,
                ..
            }
        ));
    }
}
