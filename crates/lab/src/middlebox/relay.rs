//! The one relay that gives boxes sockets: accepts, connects upstream, hands segments over as they arrive and does what
//! the boxes ask. Bounded in connections and lifetime. It must not know what any byte means.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::middlebox::spec::row;
use crate::middlebox::{Action, BoxSpec, Connection, Interception, Middlebox};
use crate::protocol::Scheme;
use crate::server::drain;

/// Connections relayed at once; more wait to be accepted.
const AT_ONCE: usize = 64;
/// No connection lives longer.
const LIFETIME: Duration = Duration::from_secs(180);
/// How long the server behind the box may take to accept.
const UPSTREAM_WAIT: Duration = Duration::from_secs(10);
/// The largest segment handed to a box.
const SEGMENT: usize = 16 * 1024;

/// What stands in front of what.
pub(crate) struct Route {
    pub(crate) boxes: Vec<BoxSpec>,
    pub(crate) scheme: Scheme,
    pub(crate) upstream: SocketAddr,
    /// The interceptor's TLS settings, when a box intercepts.
    pub(crate) interceptor: Option<Arc<ServerConfig>>,
}

/// A relay that listens until dropped.
pub(crate) struct Relaying {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Relaying {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Relays each of `listeners` (the first is its address) along `route`.
///
/// # Errors
/// When a listener cannot tell its address.
pub(crate) fn relay(listeners: Vec<TcpListener>, route: Route) -> io::Result<Relaying> {
    let address = listeners
        .first()
        .ok_or_else(|| io::Error::other("a relay needs a listener"))?
        .local_addr()?;
    let accepted = Arc::new(AtomicUsize::new(0));
    let shared = Arc::new(route);
    let count = Arc::clone(&accepted);
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let task = tokio::spawn(async move {
        let mut doors = JoinSet::new();
        for listener in listeners {
            let route = Arc::clone(&shared);
            doors.spawn(accept(
                listener,
                Arc::clone(&permits),
                Arc::clone(&count),
                move |client, connection| {
                    let route = Arc::clone(&route);
                    async move { passage(client, &route, &connection).await }
                },
            ));
        }
        while doors.join_next().await.is_some() {}
    });
    Ok(Relaying {
        address,
        accepted,
        task,
    })
}

/// Accepts until dropped, as many at once as there are permits, and gives each connection its lifetime.
pub(crate) async fn accept<F, P>(
    listener: TcpListener,
    permits: Arc<Semaphore>,
    count: Arc<AtomicUsize>,
    passage: F,
) where
    F: Fn(TcpStream, Connection) -> P,
    P: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut passages = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        while passages.try_join_next().is_some() {}
        let Ok((client, peer)) = listener.accept().await else {
            // Out of descriptors, perhaps: give the others time to end.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = Connection {
            ordinal: count.fetch_add(1, Ordering::Relaxed),
            client: peer,
        };
        let passing = timeout(LIFETIME, passage(client, connection));
        passages.spawn(async move {
            let _permit = permit;
            // A connection that breaks is the scenario's business, not an error of the relay.
            let _ = passing.await;
        });
    }
}

async fn passage(client: TcpStream, route: &Route, connection: &Connection) -> io::Result<()> {
    client.set_nodelay(true)?;
    let server = match timeout(UPSTREAM_WAIT, TcpStream::connect(route.upstream)).await {
        Ok(Ok(server)) => server,
        _ => return client.set_zero_linger(),
    };
    server.set_nodelay(true)?;
    let boxes = Box::new(row(&route.boxes, route.scheme, connection));
    carry(client, server, boxes, route.interceptor.as_ref()).await
}

/// Carries one connection's two sides through `boxes` until either ends it; `interceptor` is for boxes that intercept.
///
/// # Errors
/// When a side breaks.
pub(crate) async fn carry(
    client: TcpStream,
    server: TcpStream,
    mut boxes: Box<dyn Middlebox>,
    interceptor: Option<&Arc<ServerConfig>>,
) -> io::Result<()> {
    let mut sides = Sides {
        client,
        server,
        client_open: true,
        server_open: true,
    };
    let mut out = Vec::new();
    boxes.opened(&mut out);
    let mut from_client = vec![0u8; SEGMENT];
    let mut from_server = vec![0u8; SEGMENT];
    loop {
        match sides.act(std::mem::take(&mut out)).await? {
            Next::Go => {}
            Next::Stop => return Ok(()),
            Next::Silence => return sides.swallow().await,
            Next::Intercept(how) => return sides.intercept(how, interceptor).await,
        }
        if !sides.client_open && !sides.server_open {
            return Ok(());
        }
        tokio::select! {
            read = sides.client.read(&mut from_client), if sides.client_open => match read? {
                0 => {
                    sides.client_open = false;
                    if boxes.client_closed(&mut out) {
                        sides.server.shutdown().await?;
                    }
                }
                read => boxes.client_sent(from_client.get(..read).unwrap_or_default(), &mut out),
            },
            read = sides.server.read(&mut from_server), if sides.server_open => match read? {
                0 => {
                    sides.server_open = false;
                    let pass = boxes.server_closed(&mut out);
                    match sides.act(std::mem::take(&mut out)).await? {
                        Next::Go => {}
                        _ => return Ok(()),
                    }
                    if pass {
                        sides.client.shutdown().await?;
                    }
                }
                read => boxes.server_sent(from_server.get(..read).unwrap_or_default(), &mut out),
            },
        }
    }
}

enum Next {
    Go,
    Stop,
    Silence,
    Intercept(Interception),
}

struct Sides {
    client: TcpStream,
    server: TcpStream,
    client_open: bool,
    server_open: bool,
}

impl Sides {
    async fn act(&mut self, actions: Vec<Action>) -> io::Result<Next> {
        for action in actions {
            match action {
                Action::ToClient(bytes) => self.client.write_all(&bytes).await?,
                Action::ToServer(bytes) => self.server.write_all(&bytes).await?,
                Action::Pause(how_long) => sleep(how_long).await,
                Action::Reset => {
                    self.client.set_zero_linger()?;
                    self.server.set_zero_linger()?;
                    return Ok(Next::Stop);
                }
                Action::ResetClient => {
                    self.client.set_zero_linger()?;
                    return Ok(Next::Stop);
                }
                Action::Close => {
                    self.server.shutdown().await?;
                    self.client.shutdown().await?;
                    drain(&mut self.client).await;
                    return Ok(Next::Stop);
                }
                Action::Blackhole => return Ok(Next::Silence),
                Action::InterceptTls(how) => return Ok(Next::Intercept(how)),
            }
        }
        Ok(Next::Go)
    }

    /// Reads and forgets until the client goes; says nothing to anyone.
    async fn swallow(&mut self) -> io::Result<()> {
        let mut sink = [0u8; 4096];
        while self.client.read(&mut sink).await? > 0 {}
        Ok(())
    }

    async fn intercept(
        self,
        how: Interception,
        interceptor: Option<&Arc<ServerConfig>>,
    ) -> io::Result<()> {
        let Some(settings) = interceptor else {
            return pending().await;
        };
        let mut server = self.server;
        if how.upstream_tls {
            let name = ServerName::try_from(crate::authority::HOST).map_err(io::Error::other)?;
            let mut server = TlsConnector::from(careless()?)
                .connect(name, server)
                .await?;
            let mut client = TlsAcceptor::from(Arc::clone(settings))
                .accept(self.client)
                .await?;
            copy_bidirectional(&mut client, &mut server).await?;
        } else {
            let mut client = TlsAcceptor::from(Arc::clone(settings))
                .accept(self.client)
                .await?;
            copy_bidirectional(&mut client, &mut server).await?;
        }
        Ok(())
    }
}

/// What an interceptor uses towards the server: it believes anything.
fn careless() -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(BelievesAnything { algorithms }))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct BelievesAnything {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for BelievesAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
