//! One TLS handshake over an open connection, recorded whatever it is worth, and its chain checked afterwards.

use std::{io, sync::Arc};

use hoofbeat_net::trust;
use hoofbeat_observation::{Handshake, HandshakeOutcome, Service, Verification, tls_names};
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, client::Resumption, pki_types::ServerName,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    Context, certificate,
    delivery::{self, Delivery},
    tap::Tap,
    verifier::{self, Presented, Recorder},
};

/// A connection inside TLS, whoever is at its other end.
pub(crate) type Inside = TlsStream<Tap>;

/// Begins TLS; waits no longer once the connection's `delivery` fails.
pub(crate) async fn handshake(
    stream: TcpStream,
    service: &Service,
    context: &Context,
    delivery: Option<&Delivery>,
) -> Attempt {
    let started = context.now();
    let recorder = Arc::new(Recorder::new());
    let (tap, first_bytes) = Tap::new(stream);
    let name = server_name(service);
    let sent_name = match &name {
        Some(ServerName::DnsName(name)) => Some(name.as_ref().to_owned()),
        _ => None,
    };
    let mut record = Handshake {
        started,
        ended: started,
        outcome: HandshakeOutcome::TimedOut,
        server_name: sent_name,
        version: None,
        cipher: None,
        chain: Vec::new(),
        verification: Verification::Unknown,
        first_bytes: Vec::new(),
    };
    let (config, name) = match (config(&recorder), name) {
        (Ok(config), Some(name)) => (config, name),
        (Err(error), _) => return failed(record, error.to_string()),
        (_, None) => {
            return failed(
                record,
                "neither a name nor an address to ask for".to_owned(),
            );
        }
    };
    let limit = context.handshake_limit.min(context.time_left());
    let attempt = TlsConnector::from(Arc::new(config)).connect(name, tap);
    let attempt = tokio::time::timeout(limit, attempt);
    let shaken = tokio::select! {
        shaken = attempt => shaken.ok(),
        () = delivery::fails(delivery) => None,
    };
    let inside = match shaken {
        Some(Ok(inside)) => {
            record.outcome = HandshakeOutcome::Completed;
            let (_, session) = inside.get_ref();
            record.version = session.protocol_version().map(version_name);
            record.cipher = session.negotiated_cipher_suite().map(|suite| {
                // The library's own names differ from IANA's for TLS 1.3 alone.
                format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
            });
            Some(Box::new(inside))
        }
        Some(Err(error)) => {
            record.outcome = outcome(&error);
            None
        }
        None => None,
    };
    record.ended = context.now();
    record.first_bytes = first_bytes.take();
    if inside.is_none() && !record.first_bytes.is_empty() && !looks_like_tls(&record.first_bytes) {
        record.outcome = HandshakeOutcome::NotTls;
    }
    Attempt {
        record,
        inside,
        presented: recorder.take(),
    }
}

/// The bytes with which [`handshake`] would begin; none where there is no name to ask for.
pub(crate) fn client_hello(service: &Service) -> Option<Vec<u8>> {
    let config = config(&Arc::new(Recorder::new())).ok()?;
    let mut session = ClientConnection::new(Arc::new(config), server_name(service)?).ok()?;
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).ok()?;
    Some(bytes)
}

/// A handshake as it went.
pub(crate) struct Attempt {
    /// Without the chain: see [`Presented::check`].
    pub(crate) record: Handshake,
    /// The channel, where keys were agreed.
    pub(crate) inside: Option<Box<Inside>>,
    pub(crate) presented: Presented,
}

impl Presented {
    /// Sums up and checks the chain. Apart from the handshake, because loading roots takes its time, and the
    /// times of the dialogue are evidence.
    pub(crate) fn check(&self, record: &mut Handshake, service: &Service, context: &Context) {
        let accepted = context.accepted_names.iter().map(String::as_str);
        let names: Vec<&str> = std::iter::once(service.host.as_str())
            .chain(accepted)
            .collect();
        let now = context.clock.wall_now();
        record.chain = self
            .chain
            .iter()
            .map(|der| certificate::summary(der))
            .collect();
        record.verification =
            verifier::verify(self, record.chain.first(), &context.trust, &names, now);
    }
}

fn failed(mut record: Handshake, detail: String) -> Attempt {
    record.outcome = HandshakeOutcome::Failed { detail };
    Attempt {
        record,
        inside: None,
        presented: Presented::default(),
    }
}

fn config(recorder: &Arc<Recorder>) -> Result<ClientConfig, rustls::Error> {
    let verifier: Arc<dyn rustls::client::danger::ServerCertVerifier> = Arc::clone(recorder) as _;
    let mut config = ClientConfig::builder_with_provider(trust::provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // Each handshake is a measurement of its own: nothing is carried over.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The name that the certificate is asked for; an address is not sent (RFC 6066 §3).
fn server_name(service: &Service) -> Option<ServerName<'static>> {
    let by_host = ServerName::try_from(service.host.clone()).ok();
    by_host.or_else(|| {
        service
            .address
            .map(|address| ServerName::IpAddress(address.into()))
    })
}

fn version_name(version: ProtocolVersion) -> String {
    tls_names::version_name(version.into())
}

fn outcome(error: &io::Error) -> HandshakeOutcome {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(rustls::Error::AlertReceived(alert)) => HandshakeOutcome::Alert {
            description: tls_names::alert_name((*alert).into()),
        },
        Some(error) => HandshakeOutcome::Failed {
            detail: error.to_string(),
        },
        None => match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                HandshakeOutcome::Reset
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => HandshakeOutcome::Closed,
            io::ErrorKind::TimedOut => HandshakeOutcome::TimedOut,
            _ => HandshakeOutcome::Failed {
                detail: error.to_string(),
            },
        },
    }
}

/// Whether the bytes begin like a TLS record (RFC 8446 §5.1).
fn looks_like_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=24] | [20..=24, 3, ..])
}
