//! What is done at a witness besides mail: a plain HTTP request, and TLS handshakes with given server names.
//!
//! The exact bytes of our end are kept; the witness keeps those of its own.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hoofbeat_net::{classify, dial, trust};
use hoofbeat_observation::{Errand, Failure, FailureKind, Operation, WitnessService};
use rustls::{
    ClientConfig,
    client::{Resumption, danger::ServerCertVerifier},
    pki_types::ServerName,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::{signature, token, wire::Wire};
use crate::{Context, verifier::Recorder};

/// Longest wait for the whole answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const LARGEST_ANSWER: u64 = 16 << 10;

/// Fetches `/TOKEN` by HTTP/1.1 without TLS.
pub(crate) async fn http(
    address: SocketAddr,
    host: &str,
    token: String,
    context: &Context,
) -> Errand {
    let mut errand = errand(token, WitnessService::Http, address);
    let whole = async {
        let dialled = open(address, context).await?;
        let (mut wire, record) = Wire::of_client(dialled, context.clock);
        let request = request(host, &errand.token, &context.tool);
        let mut answer = Vec::new();
        let talk = async {
            wire.write_all(request.as_bytes()).await?;
            (&mut wire)
                .take(LARGEST_ANSWER)
                .read_to_end(&mut answer)
                .await
        };
        let talked = bounded(talk, Operation::Fetch, context).await;
        errand.transcript = record.take();
        let length = talked?;
        if length == 0 {
            return Err(Failure {
                operation: Operation::Fetch,
                kind: FailureKind::Closed,
                raw: "the connection was closed without an answer".to_owned(),
            });
        }
        Ok(())
    };
    let ended = whole.await;
    errand.failure = ended.err();
    errand
}

/// Makes a TLS handshake in which this server name is asked for; none: without a name.
pub(crate) async fn tls(
    address: SocketAddr,
    server_name: Option<String>,
    token: String,
    context: &Context,
) -> Errand {
    let mut errand = errand(token, WitnessService::Tls, address);
    errand.server_name = server_name;
    errand.tls_completed = Some(false);
    let recorder = Arc::new(Recorder::new());
    let whole = async {
        let (config, name) = prepare(&errand, address, &recorder)?;
        let dialled = open(address, context).await?;
        let (wire, record) = Wire::of_client(dialled, context.clock);
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, wire);
        let shaken = bounded(handshake, Operation::Handshake, context).await;
        let ended = match shaken {
            Ok(mut inside) => {
                errand.tls_completed = Some(true);
                // Both ends say goodbye, so that both have the same bytes.
                let goodbye = async {
                    inside.shutdown().await?;
                    let mut rest = Vec::new();
                    (&mut inside)
                        .take(LARGEST_ANSWER)
                        .read_to_end(&mut rest)
                        .await
                };
                let _ = bounded(goodbye, Operation::Handshake, context).await;
                Ok(())
            }
            Err(failure) => Err(failure),
        };
        errand.transcript = record.take();
        ended
    };
    let ended = whole.await;
    errand.failure = ended.err();
    errand.certificate = recorder
        .take()
        .chain
        .first()
        .map(|leaf| signature::fingerprint(leaf));
    errand
}

fn errand(token: String, service: WitnessService, address: SocketAddr) -> Errand {
    Errand {
        token,
        service,
        server_name: None,
        remote: address.to_string(),
        transcript: hoofbeat_session::Transcript::default(),
        tls_completed: None,
        certificate: None,
        failure: None,
    }
}

fn request(host: &str, token: &str, tool: &str) -> String {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let tool = tool.replace(' ', "/");
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {tool}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        token::path(token)
    )
}

fn prepare(
    errand: &Errand,
    address: SocketAddr,
    recorder: &Arc<Recorder>,
) -> Result<(ClientConfig, ServerName<'static>), Failure> {
    let failed = |raw: String| Failure {
        operation: Operation::Handshake,
        kind: FailureKind::Other,
        raw,
    };
    let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(recorder) as _;
    let mut config = ClientConfig::builder_with_provider(trust::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), errand.token.clone().into_bytes()];
    let name = match &errand.server_name {
        Some(name) => ServerName::try_from(name.clone())
            .map_err(|error| failed(format!("{name:?}: {error}")))?,
        // An address is not sent (RFC 6066 §3).
        None => ServerName::IpAddress(address.ip().into()),
    };
    Ok((config, name))
}

async fn open(address: SocketAddr, context: &Context) -> Result<tokio::net::TcpStream, Failure> {
    let limit = context.connect_limit.min(context.time_left());
    dial(address, &context.route, limit, &context.clock)
        .await
        .map(|dialled| dialled.stream)
}

async fn bounded<T>(
    work: impl Future<Output = io::Result<T>>,
    operation: Operation,
    context: &Context,
) -> Result<T, Failure> {
    let limit = LIMIT.min(context.time_left());
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|error| classify::failure(operation, &error)),
        Err(_) => Err(classify::timed_out(operation, "no complete answer")),
    }
}
