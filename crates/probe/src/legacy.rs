//! A hand-made ClientHello for TLS 1.0 to 1.2 (RFC 2246, 4346, 5246) and the reader of its answer.
//!
//! Our TLS library speaks nothing below 1.2 and no static RSA; whether the peer does is told by the
//! ServerHello alone, so nothing is agreed and no secret is made. It must not know why it is asked.

use std::time::Duration;

use hoofbeat_net::trust;
use hoofbeat_observation::{
    LegacyHello,
    tls_names::{alert_name, cipher_name, version_name},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Most bytes of the answer that are read: a ServerHello is far smaller.
const LONGEST_ANSWER: usize = 16 << 10;

/// What the answer to a ClientHello is, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerHello {
    /// Not enough bytes yet.
    Incomplete,
    /// A ServerHello with its version and cipher suite.
    Chosen {
        /// `0x0301` is TLS 1.0, `0x0303` TLS 1.2.
        version: u16,
        /// The IANA number.
        cipher: u16,
    },
    /// An alert's number.
    Alert(u8),
    /// Something that is not TLS, or a broken hello.
    NotTls,
}

/// Reads the beginning of what a peer answered to a ClientHello (RFC 5246 §6.2.1, §7.2, §7.4.1.3).
///
/// ```
/// use hoofbeat_probe::legacy::{ServerHello, read_server_hello};
/// assert_eq!(read_server_hello(&[21, 3, 1, 0, 2, 2, 70]), ServerHello::Alert(70));
/// assert_eq!(read_server_hello(b"500 what?\r\n"), ServerHello::NotTls);
/// ```
#[must_use]
pub fn read_server_hello(bytes: &[u8]) -> ServerHello {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        match rest {
            [] | [20..=23] | [20..=23, 3] | [20..=23, 3, _] | [20..=23, 3, _, _] => {
                return ServerHello::Incomplete;
            }
            [kind @ (21 | 22), 3, _, high, low, behind @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if length == 0 || length > (1 << 14) {
                    return ServerHello::NotTls;
                }
                let (fragment, next) = behind.split_at(length.min(behind.len()));
                if *kind == 21 {
                    return match fragment {
                        [_, description, ..] => ServerHello::Alert(*description),
                        _ if fragment.len() < length => ServerHello::Incomplete,
                        _ => ServerHello::NotTls,
                    };
                }
                message.extend_from_slice(fragment);
                if let Some(hello) = server_hello(&message) {
                    return hello;
                }
                if fragment.len() < length {
                    return ServerHello::Incomplete;
                }
                rest = next;
            }
            _ => return ServerHello::NotTls,
        }
    }
}

/// The handshake message, or nothing while it is incomplete.
fn server_hello(message: &[u8]) -> Option<ServerHello> {
    match message.first() {
        None => return None,
        Some(2) => {}
        Some(_) => return Some(ServerHello::NotTls),
    }
    // Type, length (3), version (2), random (32), length of the session id.
    let version = u16::from_be_bytes([*message.get(4)?, *message.get(5)?]);
    let behind_id = 39 + usize::from(*message.get(38)?);
    let cipher = u16::from_be_bytes([*message.get(behind_id)?, *message.get(behind_id + 1)?]);
    Some(if version >> 8 == 3 {
        ServerHello::Chosen { version, cipher }
    } else {
        ServerHello::NotTls
    })
}

/// Sends the hello over an open connection and waits for the answer.
pub(crate) async fn ask(
    stream: &mut TcpStream,
    server_name: Option<&str>,
    limit: Duration,
) -> LegacyHello {
    let mut answer = Vec::new();
    let read = async {
        stream
            .write_all(&client_hello(server_name, random()))
            .await?;
        let mut buffer = [0; 4096];
        while read_server_hello(&answer) == ServerHello::Incomplete && answer.len() < LONGEST_ANSWER
        {
            match stream.read(&mut buffer).await? {
                0 => break,
                n => answer.extend_from_slice(buffer.get(..n).unwrap_or_default()),
            }
        }
        std::io::Result::Ok(())
    };
    // A limit, an end or a reset leave what has come, and that says enough.
    let _ = tokio::time::timeout(limit, read).await;
    let mut hello = LegacyHello {
        offered: version_name(0x0303),
        version: None,
        cipher: None,
        alert: None,
    };
    match read_server_hello(&answer) {
        ServerHello::Chosen { version, cipher } => {
            hello.version = Some(version_name(version));
            hello.cipher = Some(cipher_name(cipher));
        }
        ServerHello::Alert(description) => hello.alert = Some(alert_name(description)),
        ServerHello::Incomplete | ServerHello::NotTls => {}
    }
    hello
}

fn random() -> [u8; 32] {
    let mut random = [0; 32];
    // Without randomness the hello is still a hello: nothing secret hangs on it.
    let _ = trust::provider().secure_random.fill(&mut random);
    random
}

/// A ClientHello that offers TLS 1.2 and everything below, old cipher suites included.
fn client_hello(server_name: Option<&str>, random: [u8; 32]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(random);
    body.push(0);
    let suites: Vec<u8> = CIPHERS
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .chain([0x00, 0xff])
        .collect();
    append(&mut body, &suites);
    body.extend([1, 0]);
    let mut extensions = Vec::new();
    if let Some(name) = server_name {
        let mut entry = vec![0];
        append(&mut entry, name.as_bytes());
        let mut list = Vec::new();
        append(&mut list, &entry);
        extension(&mut extensions, 0, &list);
    }
    // Supported groups x25519, P-256, P-384, P-521; points uncompressed; signatures down to SHA-1.
    extension(&mut extensions, 10, &[0, 8, 0, 29, 0, 23, 0, 24, 0, 25]);
    extension(&mut extensions, 11, &[1, 0]);
    extension(
        &mut extensions,
        13,
        &[0, 16, 4, 3, 5, 3, 6, 3, 4, 1, 5, 1, 6, 1, 2, 3, 2, 1],
    );
    append(&mut body, &extensions);
    let mut message = vec![1, 0];
    append(&mut message, &body);
    // The record says TLS 1.0, which every version of TLS accepts here (RFC 5246 appendix E.1).
    let mut record = vec![22, 3, 1];
    append(&mut record, &message);
    record
}

/// With its length in two bytes before it; everything here is far shorter than that allows.
fn append(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    to.extend_from_slice(bytes);
}

fn extension(to: &mut Vec<u8>, number: u16, bytes: &[u8]) {
    to.extend(number.to_be_bytes());
    append(to, bytes);
}

/// The offered cipher suites, the better ones first, by their IANA numbers.
const CIPHERS: [u16; 26] = [
    0xc02f, 0xc02b, 0xc030, 0xc02c, 0xc027, 0xc013, 0xc014, 0xc009, 0xc00a, 0x009e, 0x009f, 0x0033,
    0x0039, 0x009c, 0x009d, 0x003c, 0x003d, 0x002f, 0x0035, 0x0041, 0x0084, 0xc012, 0x0016, 0x000a,
    0x0005, 0x0004,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello(version: u16, cipher: u16, session_id: usize) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(u8::try_from(session_id).unwrap());
        body.extend(vec![9; session_id]);
        body.extend(cipher.to_be_bytes());
        body.push(0);
        let mut message = vec![2, 0];
        append(&mut message, &body);
        message
    }

    fn records(message: &[u8], piece: usize) -> Vec<u8> {
        message
            .chunks(piece)
            .flat_map(|piece| {
                let mut record = vec![22, 3, 1];
                append(&mut record, piece);
                record
            })
            .collect()
    }

    #[test]
    fn hellos_alerts_and_prose() {
        let whole = records(&hello(0x0301, 0x002f, 32), 500);
        let chosen = ServerHello::Chosen {
            version: 0x0301,
            cipher: 0x002f,
        };
        assert_eq!(read_server_hello(&whole), chosen);
        assert_eq!(
            read_server_hello(&records(&hello(0x0301, 0x002f, 0), 5)),
            chosen
        );
        for end in 0..40 {
            assert_eq!(
                read_server_hello(&whole[..end]),
                ServerHello::Incomplete,
                "{end}"
            );
        }
        assert_eq!(
            read_server_hello(&[21, 3, 3, 0, 2, 2, 40, 1]),
            ServerHello::Alert(40)
        );
        assert_eq!(
            read_server_hello(&[21, 3, 3, 0, 2, 2]),
            ServerHello::Incomplete
        );
        for other in [
            &b"220 hi"[..],
            &[22, 2, 0],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0, 1, 11],
            &[21, 3, 1, 0, 1, 2],
        ] {
            assert_eq!(read_server_hello(other), ServerHello::NotTls, "{other:?}");
        }
        assert_eq!(
            (
                version_name(0x0302),
                cipher_name(0x0005),
                cipher_name(0x1234)
            ),
            (
                "TLSv1.1".into(),
                "TLS_RSA_WITH_RC4_128_SHA".into(),
                "0x1234".into()
            )
        );
    }

    #[test]
    fn our_own_hello_is_well_formed() {
        // The TLS library's own reader is the judge: it takes the hello and answers by its versions.
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor
            .read_tls(&mut client_hello(Some("mx.example"), [1; 32]).as_slice())
            .unwrap();
        let accepted = acceptor.accept().unwrap().unwrap();
        let seen = accepted.client_hello();
        assert_eq!(seen.server_name(), Some("mx.example"));
        assert_eq!(seen.cipher_suites().len(), CIPHERS.len() + 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = read_server_hello(&bytes);
        }

        #[test]
        fn more_bytes_never_undo_an_answer(piece in 1usize..90, end in 0usize..400) {
            let whole = records(&hello(0x0303, 0xc02f, 32), piece);
            let end = end.min(whole.len());
            let part = read_server_hello(&whole[..end]);
            prop_assert!(part == ServerHello::Incomplete || part == read_server_hello(&whole));
        }
    }
}
