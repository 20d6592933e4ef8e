//! The client's end of the control channel: TLS 1.3, the witness's key pinned, or a certificate that verifies.
//!
//! Unlike everywhere else in this crate, here an impostor is refused: what comes over this channel is believed.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hoofbeat_net::{classify, dial, trust};
use hoofbeat_observation::{Failure, FailureKind, Operation, Record, SignedReport};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    Key, WitnessName,
    message::{self, Answer, Hello, LONGEST_ANSWER, LOOK_LIMIT, MessageError, Request, Session},
};
use crate::Context;

/// Asked for by clients that have the key; they are shown the certificate that carries it.
pub(crate) const PINNED: &[u8] = b"hoofbeat-witness-pinned/1";
/// Asked for by clients that verify the host's name.
pub(crate) const CERTIFIED: &[u8] = b"hoofbeat-witness/1";
/// id-Ed25519 (RFC 8410 §3).
const ED25519: &str = "1.3.101.112";
/// Longest wait for an answer: the witness itself waits a little for connections that are just closing, and longer for
/// servers that it looks at.
const ANSWER_LIMIT: Duration = LOOK_LIMIT.saturating_add(Duration::from_secs(5));

/// An open session.
pub(crate) struct Channel {
    stream: BufReader<TlsStream<TcpStream>>,
    /// The witness's address, which its data ports share.
    pub(crate) address: IpAddr,
    pub(crate) session: Session,
    /// The key that must sign.
    key: Key,
}

impl Channel {
    /// Opens the control channel and a session.
    pub(crate) async fn open(
        name: &WitnessName,
        hello: Hello,
        context: &Context,
    ) -> Result<Self, Failure> {
        let address = address(name, context).await?;
        let limit = context.connect_limit.min(context.time_left());
        let to = (address, name.control_port).into();
        let dialled = dial(to, &context.route, limit, &context.clock).await?;
        let limit = context.handshake_limit.min(context.time_left());
        let handshake = secure(dialled.stream, name, context);
        let stream = tokio::time::timeout(limit, handshake)
            .await
            .unwrap_or_else(|_| {
                Err(classify::timed_out(
                    Operation::Handshake,
                    "no TLS handshake on the witness's control port",
                ))
            })?;
        let mut stream = BufReader::new(stream);
        let answer = ask(&mut stream, &Request::Hello(hello), context).await?;
        let Answer::Session(session) = answer else {
            return Err(unexpected(answer));
        };
        let told = Key::from_base64(&session.key);
        let key = match (name.key, told) {
            (Some(pinned), Some(told)) if pinned == told => pinned,
            (None, Some(told)) => told,
            (_, told) => return Err(wrong_key(&name.host, told)),
        };
        Ok(Self {
            stream,
            address,
            session,
            key,
        })
    }

    /// Ends the session and takes its report.
    pub(crate) async fn report(mut self, context: &Context) -> Result<SignedReport, Failure> {
        match ask(&mut self.stream, &Request::Done, context).await? {
            Answer::Report { report } if Key::from_base64(&report.key) == Some(self.key) => {
                let goodbye = self.stream.get_mut().shutdown();
                let _ = tokio::time::timeout(Duration::from_millis(100), goodbye).await;
                Ok(report)
            }
            Answer::Report { .. } => Err(failure(
                FailureKind::Other,
                "the report is signed by another key than the witness told".to_owned(),
            )),
            other => Err(unexpected(other)),
        }
    }
}

async fn ask(
    stream: &mut BufReader<TlsStream<TcpStream>>,
    request: &Request,
    context: &Context,
) -> Result<Answer, Failure> {
    let whole = async {
        let line = message::line(request)?;
        stream.get_mut().write_all(&line).await?;
        stream.get_mut().flush().await?;
        message::read(stream, LONGEST_ANSWER).await
    };
    let limit = ANSWER_LIMIT.min(context.time_left());
    let answer = tokio::time::timeout(limit, whole).await.map_err(|_| {
        failure(
            FailureKind::TimedOut,
            "the witness did not answer on its control channel".to_owned(),
        )
    })?;
    answer.map_err(|error: MessageError| {
        let kind = match &error {
            MessageError::Io(error) => classify::kind(error),
            MessageError::Closed => FailureKind::Closed,
            MessageError::TooLong | MessageError::Unreadable(_) => FailureKind::Other,
        };
        failure(kind, error.to_string())
    })
}

fn failure(kind: FailureKind, raw: String) -> Failure {
    Failure {
        operation: Operation::Talk,
        kind,
        raw,
    }
}

fn unexpected(answer: Answer) -> Failure {
    match answer {
        Answer::Refusal { why } => {
            let why: String = why.chars().take(300).collect();
            failure(
                FailureKind::Prohibited,
                format!("the witness refuses: {why}"),
            )
        }
        _ => failure(
            FailureKind::Other,
            "the witness answered out of turn".to_owned(),
        ),
    }
}

fn wrong_key(host: &str, shown: Option<Key>) -> Failure {
    let shown = shown.map_or_else(|| "none that can be read".to_owned(), |key| key.to_string());
    Failure {
        operation: Operation::Handshake,
        kind: FailureKind::Other,
        raw: format!(
            "the witness at {host} has another key than the one given (it shows {shown}): \
             it was given a new one, or somebody stands in its place"
        ),
    }
}

async fn address(name: &WitnessName, context: &Context) -> Result<IpAddr, Failure> {
    use hoofbeat_observation::Question;
    let none = || Failure {
        operation: Operation::Resolve,
        kind: FailureKind::NoSuchRecord,
        raw: format!("{} has no address of a family that may be used", name.host),
    };
    if let Ok(address) = name.host.parse::<IpAddr>() {
        return Some(address)
            .filter(|address| context.families.allow(*address))
            .ok_or_else(none);
    }
    let (v4, v6) = futures_util::future::join(
        context
            .resolver
            .ask(&name.host, Question::A, &context.clock),
        context
            .resolver
            .ask(&name.host, Question::Aaaa, &context.clock),
    )
    .await;
    // IPv4 first: that is where most boxes sit.
    let found = [&v4, &v6]
        .into_iter()
        .flat_map(|answer| &answer.lookup().records)
        .find_map(|record| match record {
            Record::Address(address) if context.families.allow(*address) => Some(*address),
            _ => None,
        });
    let told = || {
        v4.lookup()
            .failure
            .clone()
            .or_else(|| v6.lookup().failure.clone())
    };
    found.ok_or_else(|| told().unwrap_or_else(none))
}

async fn secure(
    stream: TcpStream,
    name: &WitnessName,
    context: &Context,
) -> Result<TlsStream<TcpStream>, Failure> {
    let failed = |raw: String| Failure {
        operation: Operation::Handshake,
        kind: FailureKind::Other,
        raw,
    };
    let builder = ClientConfig::builder_with_provider(trust::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| failed(error.to_string()))?;
    let (mut config, alpn) = match name.key {
        Some(key) => {
            let verifier = Pinned {
                key,
                host: name.host.clone(),
            };
            let config = builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth();
            (config, PINNED)
        }
        None => {
            let roots = Arc::clone(context.trust.roots());
            (
                builder.with_root_certificates(roots).with_no_client_auth(),
                CERTIFIED,
            )
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    let server = ServerName::try_from(name.host.clone()).map_err(|e| failed(e.to_string()))?;
    let connected = TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await;
    connected.map_err(|error| {
        let raw = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Error::General(sentence)) => sentence.clone(),
            _ => error.to_string(),
        };
        Failure {
            operation: Operation::Handshake,
            kind: classify::kind(&error),
            raw,
        }
    })
}

/// Accepts the one key, whatever else the certificate says: it is the key that the user trusts.
#[derive(Debug)]
struct Pinned {
    key: Key,
    host: String,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = key_of(leaf);
        if shown == Some(self.key) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General(wrong_key(&self.host, shown).raw))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General(
            "the control channel speaks TLS 1.3".to_owned(),
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let provider = trust::provider();
        let algorithms = &provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // More than is accepted, so that somebody else's certificate is seen and can be named.
        trust::provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn key_of(certificate: &[u8]) -> Option<Key> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let info = parsed.public_key();
    let is_ed25519 = info.algorithm.algorithm.to_id_string() == ED25519;
    let bytes = info.subject_public_key.data.as_ref();
    is_ed25519.then(|| bytes.try_into().ok().map(Key)).flatten()
}
