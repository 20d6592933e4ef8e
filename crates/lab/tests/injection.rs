//! The plaintext-injection class (CVE-2011-0411): a command sent in one segment behind STARTTLS is executed inside TLS
//! by the servers that say so, and dropped by every other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use hoofbeat_lab::{Background, Protocol, Scenario};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// What the server says inside TLS, unasked, to a command that was injected before.
fn injected(id: &str) -> String {
    let scenario = Scenario::by_id(id).unwrap_or_else(|| panic!("{id} is embedded"));
    let lab = Background::start(scenario, None, None).expect("it starts");
    let mut stream = TcpStream::connect(lab.address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_millis(700)))
        .expect("a timeout");
    let (segment, agreed): (&[u8], &str) = match scenario.scheme.protocol() {
        Protocol::Smtp | Protocol::Lmtp => (b"STARTTLS\r\nNOOP\r\n", "220 2.0.0"),
        Protocol::Imap => (b"a STARTTLS\r\nb NOOP\r\n", "a OK"),
        Protocol::Pop3 => (b"STLS\r\nCAPA\r\n", "+OK Begin"),
        Protocol::Sieve => (b"STARTTLS\r\nNOOP\r\n", "OK \"Begin"),
    };
    let mut text = String::new();
    let mut byte = [0u8; 1];
    let mut asked = false;
    while !(text.contains(agreed) && text.ends_with('\n')) {
        if text.ends_with('\n') && !asked {
            asked = true;
            stream.write_all(segment).expect("one segment");
        }
        assert_eq!(
            stream.read(&mut byte).expect("the plaintext part"),
            1,
            "{id}: {text}"
        );
        text.push(char::from(byte[0]));
    }
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(lab.ca_pem.as_bytes()).expect("a certificate");
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut inside = rustls::Stream::new(&mut tls, &mut stream);
    let mut answer = Vec::new();
    let mut chunk = [0u8; 1024];
    // Quiet, closed: in either case nothing more comes.
    while let Ok(read) = inside.read(&mut chunk) {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..read]);
    }
    assert!(!inside.conn.is_handshaking(), "{id}: TLS stands");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn vulnerable_servers_execute_what_was_sent_before_tls() {
    assert_eq!(injected("injection-smtp"), "250 2.0.0 Ok\r\n");
    assert_eq!(injected("injection-imap"), "b OK NOOP completed.\r\n");
    assert!(injected("injection-pop3").starts_with("+OK\r\nCAPA\r\n"));
    assert!(injected("injection-sieve").ends_with("OK \"NOOP completed.\"\r\n"));
}

#[test]
fn other_servers_drop_it() {
    assert_eq!(injected("clean-postfix"), "");
    assert_eq!(injected("clean-imap"), "");
    assert_eq!(injected("clean-pop3"), "");
    assert!(!injected("clean-sieve").contains("NOOP"));
}
