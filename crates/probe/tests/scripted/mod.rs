//! A mail server on loopback that follows a script, step by step, and does nothing else: the tests' peer.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test file uses its part"
)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hoofbeat_observation::{Dialogue, Measurement, Scheme, Service};
use hoofbeat_probe::Context;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls};

/// One thing that the server does.
#[derive(Debug, Clone)]
pub enum Do {
    /// Writes these bytes at once.
    Say(&'static str),
    /// Writes them byte by byte.
    Drip(&'static str),
    /// Reads one line that must begin with this.
    Hear(&'static str),
    /// Waits.
    Pause(u64),
    /// Answers the TLS handshake with this certificate and goes on inside.
    Tls(Identity),
    /// Resets the connection.
    Reset,
}
pub use Do::*;

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Identity {
    pub pem: String,
    config: Arc<rustls::ServerConfig>,
}

/// A self-signed certificate with these names, changed as the test wants it.
pub fn identity(names: &[&str], change: impl FnOnce(&mut rcgen::CertificateParams)) -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params =
        rcgen::CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
            .unwrap();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    Identity::new(vec![certificate.der().clone()], &key, certificate.pem())
}

impl Identity {
    pub fn new(
        chain: Vec<rustls::pki_types::CertificateDer<'static>>,
        key: &rcgen::KeyPair,
        pem: String,
    ) -> Self {
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
        Self {
            pem,
            config: Arc::new(config),
        }
    }
}

/// Serves the script to every connection; the last thing done is closing.
pub async fn serve(script: Vec<Do>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(plain(stream, script.clone()));
        }
    });
    address
}

async fn plain(stream: TcpStream, script: Vec<Do>) {
    let mut stream = BufReader::new(stream);
    let mut steps = script.into_iter();
    while let Some(step) = steps.next() {
        match step {
            Reset => {
                stream.get_ref().set_zero_linger().unwrap();
                return;
            }
            Tls(identity) => {
                let Ok(inside) = TlsAcceptor::from(identity.config)
                    .accept(stream.into_inner())
                    .await
                else {
                    return;
                };
                let mut inside = BufReader::new(inside);
                for step in steps {
                    if !act(&mut inside, step).await {
                        return;
                    }
                }
                let _ = inside.get_mut().shutdown().await;
                return;
            }
            step => {
                if !act(&mut stream, step).await {
                    return;
                }
            }
        }
    }
}

/// `false` once the client is gone or says something else than expected.
async fn act<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, step: Do) -> bool {
    match step {
        Say(text) => {
            stream.write_all(text.as_bytes()).await.is_ok() && stream.flush().await.is_ok()
        }
        Drip(text) => {
            for byte in text.as_bytes() {
                if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            true
        }
        Hear(beginning) => {
            let mut line = String::new();
            stream.read_line(&mut line).await.is_ok() && line.starts_with(beginning)
        }
        Pause(millis) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            true
        }
        Tls(_) | Reset => false,
    }
}

pub fn service(scheme: Scheme, host: &str, address: SocketAddr) -> Service {
    Service {
        scheme,
        host: host.to_owned(),
        address: Some(address.ip()),
        port: address.port(),
    }
}

/// With waits that no busy machine exceeds.
pub fn context() -> Context {
    let mut context = Context::new("test 0", "test");
    context.limits.greeting = Duration::from_secs(20);
    context.limits.reply = Duration::from_secs(20);
    context.handshake_limit = Duration::from_secs(20);
    context
}

/// With short waits, for peers whose silence is the test.
pub fn impatient() -> Context {
    let mut context = context();
    context.limits.greeting = Duration::from_millis(300);
    context.limits.reply = Duration::from_millis(300);
    context.handshake_limit = Duration::from_millis(300);
    context
}

pub fn dialogue(measurement: &Measurement) -> &Dialogue {
    measurement.dialogue().expect("a dialogue")
}
