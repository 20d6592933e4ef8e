//! Every embedded scenario starts, and a simple blocking client sees on the wire what the scenario says it should.
//! The client is written here anew, from std and rustls only: it must not share code with the prober.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hoofbeat_lab::scenario::Door;
use hoofbeat_lab::{Background, Protocol, Scenario, Scheme};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// How long a quiet connection is waited on.
const QUIET: Duration = Duration::from_millis(700);
/// The same for scenarios that are slow by nature.
const SLOW: Duration = Duration::from_secs(20);

struct Client {
    stream: TcpStream,
    transcript: String,
    over: bool,
}

impl Client {
    fn connect(address: SocketAddr, patience: Duration) -> Self {
        let mut transcript = String::new();
        let stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(error) => panic!("{address}: {error}"),
        };
        stream.set_read_timeout(Some(patience)).expect("a timeout");
        transcript.push_str("[connected]\n");
        Self {
            stream,
            transcript,
            over: false,
        }
    }

    fn note(&mut self, text: &str) {
        self.transcript.push_str(&format!("[{text}]\n"));
        self.over = true;
    }

    /// Reads until `done` holds for what came, or the connection is quiet or over.
    fn read_until(&mut self, done: impl Fn(&str) -> bool) -> String {
        let mut got = Vec::new();
        while !self.over && !done(&String::from_utf8_lossy(&got)) {
            let mut byte = [0u8; 1];
            match self.stream.read(&mut byte) {
                Ok(0) => self.note("closed"),
                Ok(_) => got.extend_from_slice(&byte),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    self.note("silence");
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.note("reset"),
                Err(error) => self.note(&error.to_string()),
            }
        }
        let text = String::from_utf8_lossy(&got).into_owned();
        self.transcript.push_str(&text);
        text
    }

    fn ask(&mut self, command: &str, done: impl Fn(&str) -> bool) -> String {
        if self.over {
            return String::new();
        }
        self.transcript.push_str(&format!("> {command}\n"));
        if self
            .stream
            .write_all(format!("{command}\r\n").as_bytes())
            .is_err()
        {
            self.note("reset");
            return String::new();
        }
        self.read_until(done)
    }
}

fn last_line(text: &str) -> Option<&str> {
    text.strip_suffix('\n')
        .map(|text| text.rsplit('\n').next().unwrap_or(text))
}

fn smtp_done(text: &str) -> bool {
    last_line(text).is_some_and(|line| line.as_bytes().get(3) != Some(&b'-'))
}

fn line_done(text: &str) -> bool {
    text.ends_with('\n')
}

fn sieve_done(text: &str) -> bool {
    last_line(text).is_some_and(|line| {
        ["OK", "NO", "BYE"]
            .iter()
            .any(|word| line.starts_with(word))
    })
}

fn capa_done(text: &str) -> bool {
    text.starts_with('-') && line_done(text)
        || last_line(text).is_some_and(|line| line.trim_end() == ".")
}

fn tagged(tag: &'static str) -> impl Fn(&str) -> bool {
    move |text| {
        last_line(text).is_some_and(|line| {
            line.starts_with(tag) || line.starts_with("* BYE") || line.starts_with('+')
        })
    }
}

/// The plaintext part; whether the server agreed to start TLS.
fn talk(client: &mut Client, scheme: Scheme) -> bool {
    match scheme.protocol() {
        Protocol::Smtp | Protocol::Lmtp => {
            client.read_until(smtp_done);
            let hello = if scheme.protocol() == Protocol::Lmtp {
                "LHLO"
            } else {
                "EHLO"
            };
            if client
                .ask(&format!("{hello} client.example"), smtp_done)
                .starts_with('5')
            {
                client.ask("HELO client.example", smtp_done);
            }
            client
                .ask("STARTTLS", smtp_done)
                .lines()
                .any(|line| line.starts_with("220"))
        }
        Protocol::Imap => {
            client.read_until(line_done);
            client.ask("a1 CAPABILITY", tagged("a1"));
            client
                .ask("a2 STARTTLS", tagged("a2"))
                .lines()
                .any(|line| line.starts_with("a2 OK"))
        }
        Protocol::Pop3 => {
            client.read_until(line_done);
            client.ask("CAPA", capa_done);
            client.ask("STLS", line_done).starts_with("+OK")
        }
        Protocol::Sieve => {
            client.read_until(sieve_done);
            client.ask("STARTTLS", sieve_done).starts_with("OK")
        }
    }
}

/// The handshake with full verification, and then one harmless question inside TLS.
fn secure(client: &mut Client, scheme: Scheme, ca_pem: &str) {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots
            .add(certificate.expect("a certificate"))
            .expect("a root");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut client.stream) {
            let text = match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "tls] [reset".to_owned(),
                ErrorKind::UnexpectedEof => "tls] [closed".to_owned(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => "tls] [silence".to_owned(),
                _ => format!("tls] [{error}"),
            };
            client.note(&text);
            return;
        }
    }
    client.transcript.push_str("[tls] verified\n");
    let version = tls.protocol_version().expect("a version");
    client.transcript.push_str(&format!("[tls] {version:?}\n"));
    let question = match scheme.protocol() {
        Protocol::Smtp => "EHLO client.example\r\n",
        Protocol::Lmtp => "LHLO client.example\r\n",
        Protocol::Imap => "b1 CAPABILITY\r\n",
        Protocol::Pop3 => "CAPA\r\n",
        Protocol::Sieve => "NOOP\r\n",
    };
    let mut inside = rustls::Stream::new(&mut tls, &mut client.stream);
    inside
        .write_all(question.as_bytes())
        .expect("a question inside TLS");
    let mut answer = [0u8; 2048];
    let read = inside.read(&mut answer).expect("an answer inside TLS");
    let text = String::from_utf8_lossy(&answer[..read]).into_owned();
    for line in text.lines() {
        client.transcript.push_str(&format!("[tls] {line}\n"));
    }
}

fn visit(scenario: &Scenario) -> String {
    let lab = Background::start(scenario, None, None)
        .unwrap_or_else(|error| panic!("{}: {error}", scenario.id));
    if scenario.door == Door::Closed {
        let refused = TcpStream::connect(lab.address).expect_err("a closed door");
        assert_eq!(
            refused.kind(),
            ErrorKind::ConnectionRefused,
            "{}",
            scenario.id
        );
        return "[refused]".to_owned();
    }
    let silent = scenario.sees.iter().any(|text| text.contains("[silence]"));
    let patience = if scenario.slow && !silent {
        SLOW
    } else {
        QUIET
    };
    let mut client = Client::connect(lab.address, patience);
    if scenario.scheme.implicit_tls() || talk(&mut client, scenario.scheme) {
        secure(&mut client, scenario.scheme, &lab.ca_pem);
    }
    assert_eq!(
        lab.connections(),
        1,
        "{}: connections are counted",
        scenario.id
    );
    client.transcript
}

#[test]
fn every_scenario_shows_on_the_wire_what_it_says() {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(scenario) = Scenario::all().get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let transcript = visit(scenario);
                    let missing = scenario
                        .sees
                        .iter()
                        .filter(|text| !transcript.contains(text.as_str()));
                    let unwanted = scenario
                        .never
                        .iter()
                        .filter(|text| transcript.contains(text.as_str()));
                    let faults: Vec<String> = missing
                        .map(|text| format!("misses {text:?}"))
                        .chain(unwanted.map(|text| format!("has {text:?}")))
                        .collect();
                    if !faults.is_empty() || scenario.sees.is_empty() {
                        let report =
                            format!("{}: {}\n{transcript}", scenario.id, faults.join(", "));
                        wrong.lock().expect("a list").push(report);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("a list");
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        Scenario::all().len(),
        wrong.join("\n")
    );
}
