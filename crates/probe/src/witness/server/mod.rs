//! The server: mail, web and control ports, opened with privilege and served without.
//!
//! It is public, so everything is bounded: connections and sessions for each address and in all, bytes and time of each
//! connection, lines, reports. It relays nothing, answers nobody who has not completed a TCP handshake, and connects to
//! nobody unless its operator lets it look at mail servers that clients ask about.

mod connection;
mod control;
mod icmp;
mod key;
mod limits;
mod look;
pub mod mail;
mod privilege;
mod recording;
mod registry;
mod report;
mod tap;
mod trace;
mod web;
pub mod wording;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use hoofbeat_net::{Clock, sys, trust};
use hoofbeat_observation::WitnessService;
use hoofbeat_session::Protocol;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::{
    ServerConfig,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use socket2::{Domain, Socket, Type};
use tokio::{net::TcpStream, task::JoinSet};

use self::{
    connection::Arrival,
    icmp::{Listeners, RawSockets},
    look::Looker,
    registry::Registry,
    tap::Tap,
    wording::Wording,
};
use super::{
    channel::{CERTIFIED, PINNED},
    message::Served,
    signature,
};

pub use key::{KeyError, SigningKey};
pub use limits::Limits;
pub use look::Looking;
pub use privilege::{PrivilegeError, UNPRIVILEGED_USER, drop_privileges};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// After an accept that failed for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(50);
/// Most listening sockets.
const MOST_LISTENERS: usize = 64;

/// A witness as its operator wants it. A port 0 means any free one.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen, on all ports.
    pub addresses: Vec<IpAddr>,
    /// SMTP ports.
    pub smtp: Vec<u16>,
    /// IMAP ports.
    pub imap: Vec<u16>,
    /// POP3 ports.
    pub pop3: Vec<u16>,
    /// Plain HTTP ports.
    pub http: Vec<u16>,
    /// TLS ports.
    pub tls: Vec<u16>,
    /// The control channel's port.
    pub control: u16,
    /// What signs reports.
    pub key: SigningKey,
    /// Certificate chain and private key, PEM; without them the witness makes a certificate for each start.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// The witness's host name; without one it calls itself by its address.
    pub name: Option<String>,
    /// What the operator says of the place.
    pub statement: String,
    /// The program, such as `hoofbeat 0.1.0`.
    pub tool: String,
    /// Whose servers it looks at for its clients.
    pub looking: Looking,
    /// The bounds.
    pub limits: Limits,
}

/// Why a witness cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// No address or port was given, or too many.
    #[error(
        "a witness listens on at least one port besides the control channel, and on at most {MOST_LISTENERS} sockets"
    )]
    Nothing,
    /// A port cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The operating system's words.
        error: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
    /// No random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandom,
}

/// A witness whose sockets are open and that needs no privilege any more.
#[derive(Debug)]
pub struct Prepared {
    listeners: Vec<(Purpose, TcpListener)>,
    raw: Option<RawSockets>,
    packets: Option<OwnedFd>,
    shared: Shared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Data(WitnessService),
    Control,
}

/// What every connection needs.
#[derive(Debug)]
struct Shared {
    registry: Arc<Registry>,
    clock: Clock,
    tls: Arc<ServerConfig>,
    control_tls: Arc<ServerConfig>,
    certificate: String,
    key: SigningKey,
    name: Option<String>,
    statement: String,
    tool: String,
    ports: Vec<Served>,
    listeners: Option<Arc<Listeners>>,
    tap: Option<Arc<Tap>>,
    looker: Looker,
    random: SystemRandom,
    /// For those who belong to no session.
    wording: Wording,
}

impl Shared {
    /// How the witness calls itself: its name, or its address as RFC 5321 §4.1.3 writes it.
    fn name_at(&self, local: SocketAddr) -> String {
        let literal = || crate::plan::address_literal(Some(local)).0;
        self.name.clone().unwrap_or_else(literal)
    }
}

impl Prepared {
    /// Opens all sockets: the listening ones, and for traces raw ICMP where that is permitted.
    ///
    /// # Errors
    /// When a port cannot be had or the certificate cannot be used.
    pub fn bind(settings: Settings) -> Result<Self, BindError> {
        let data = purposes(&settings);
        let count = settings.addresses.len() * (data.len() + 1);
        if data.is_empty() || count == 0 || count > MOST_LISTENERS {
            return Err(BindError::Nothing);
        }
        let mut listeners = Vec::new();
        let mut ports = Vec::new();
        for (service, port) in data {
            let port = listen_everywhere(
                &settings.addresses,
                port,
                Purpose::Data(service),
                &mut listeners,
            )?;
            ports.push(Served { service, port });
        }
        listen_everywhere(
            &settings.addresses,
            settings.control,
            Purpose::Control,
            &mut listeners,
        )?;
        let random = SystemRandom::new();
        let mut wording = [0; 5];
        random.fill(&mut wording).map_err(|_| BindError::NoRandom)?;
        let bad = |error: String| BindError::Certificate(error);
        let certified = match &settings.certificate {
            Some((chain, key)) => given(chain, key).map_err(bad)?,
            None => self_signed(settings.name.as_deref(), None).map_err(bad)?,
        };
        let pinned = self_signed(settings.name.as_deref(), Some(&settings.key)).map_err(bad)?;
        let certificate = certified
            .cert
            .first()
            .map(|leaf| signature::fingerprint(leaf))
            .unwrap_or_default();
        let certified = Arc::new(certified);
        let tls = tls(Arc::clone(&certified)).map_err(bad)?;
        let control_tls = control_tls(Arc::new(pinned), certified).map_err(bad)?;
        Ok(Self {
            listeners,
            raw: RawSockets::open(),
            packets: tap::open(),
            shared: Shared {
                registry: Registry::new(settings.limits),
                looker: Looker::new(
                    settings.looking,
                    settings.limits,
                    settings.tool.clone(),
                    settings.name.clone(),
                ),
                clock: Clock::start(),
                tls: Arc::new(tls),
                control_tls: Arc::new(control_tls),
                certificate,
                key: settings.key,
                name: settings.name,
                statement: settings.statement,
                tool: settings.tool,
                ports,
                listeners: None,
                tap: None,
                random,
                wording: Wording::new(wording),
            },
        })
    }

    /// What is served where.
    #[must_use]
    pub fn ports(&self) -> &[Served] {
        &self.shared.ports
    }

    /// The control channel's port.
    #[must_use]
    pub fn control_port(&self) -> u16 {
        let mut control = self
            .listeners
            .iter()
            .filter(|(purpose, _)| *purpose == Purpose::Control);
        control
            .find_map(|(_, listener)| listener.local_addr().ok())
            .map_or(0, |address| address.port())
    }

    /// The key by which clients know this witness.
    #[must_use]
    pub fn key(&self) -> super::Key {
        self.shared.key.public()
    }

    /// Whether it can trace towards clients (it had `CAP_NET_RAW`).
    #[must_use]
    pub const fn can_trace(&self) -> bool {
        self.raw.is_some()
    }

    /// Serves until `stop` is ready; connections that are open then are dropped.
    ///
    /// # Errors
    /// When the runtime does not take the sockets.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let mut shared = self.shared;
        let mut loops: Vec<BoxFuture<'static, ()>> = Vec::new();
        if let Some(raw) = self.raw {
            let (listeners, readers) = raw.listen()?;
            shared.listeners = Some(listeners);
            loops.extend(readers.into_iter().map(|reader| reader.run().boxed()));
        }
        if let Some(packets) = self.packets {
            let ports: Vec<u16> = shared.ports.iter().map(|served| served.port).collect();
            // A kernel that takes no filter from us leaves reports without packets.
            if let Ok((tap, reader)) = Tap::listen(packets, &ports, shared.clock) {
                shared.tap = Some(tap);
                loops.push(reader.run().boxed());
            }
        }
        let shared = Arc::new(shared);
        for (purpose, listener) in self.listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loops.push(accept(listener, purpose, Arc::clone(&shared)).boxed());
        }
        tokio::select! {
            () = stop => {}
            _ = join_all(loops) => {}
        }
        Ok(())
    }
}

async fn accept(listener: tokio::net::TcpListener, purpose: Purpose, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(attend(stream, peer, purpose, Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(BREATH).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn attend(stream: TcpStream, peer: SocketAddr, purpose: Purpose, shared: Arc<Shared>) {
    let Ok(arrival) = Arrival::new(&stream, peer, &shared) else {
        return;
    };
    let is_data = purpose != Purpose::Control;
    let place = match shared
        .registry
        .admit(peer.ip(), is_data, shared.clock.now())
    {
        Ok(place) => place,
        Err(full) => {
            if is_data {
                shared.registry.turned_away(peer.ip());
            }
            let why = full.to_string();
            match purpose {
                Purpose::Data(WitnessService::Mail { protocol }) => {
                    let name = shared.name_at(arrival.local);
                    connection::refuse(stream, name, protocol, &why).await;
                }
                Purpose::Data(WitnessService::Http) => web::refuse(stream, &why).await,
                // Saying it would cost a handshake.
                Purpose::Data(WitnessService::Tls) | Purpose::Control => {}
            }
            return;
        }
    };
    match purpose {
        Purpose::Control => control::serve(stream, arrival, shared, place).await,
        Purpose::Data(WitnessService::Mail { protocol }) => {
            connection::serve(stream, arrival, protocol, shared, place).await;
        }
        Purpose::Data(WitnessService::Http) => web::http(stream, arrival, shared, place).await,
        Purpose::Data(WitnessService::Tls) => web::tls(stream, arrival, shared, place).await,
    }
}

fn purposes(settings: &Settings) -> Vec<(WitnessService, u16)> {
    let mail = |protocol| WitnessService::Mail { protocol };
    [
        (mail(Protocol::Smtp), &settings.smtp),
        (mail(Protocol::Imap), &settings.imap),
        (mail(Protocol::Pop3), &settings.pop3),
        (WitnessService::Http, &settings.http),
        (WitnessService::Tls, &settings.tls),
    ]
    .into_iter()
    .flat_map(|(service, ports)| ports.iter().map(move |port| (service, *port)))
    .collect()
}

/// Listens on one port of every address; the port, which is the first address's choice where it was 0.
fn listen_everywhere(
    addresses: &[IpAddr],
    mut port: u16,
    purpose: Purpose,
    listeners: &mut Vec<(Purpose, TcpListener)>,
) -> Result<u16, BindError> {
    let before = listeners.len();
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match listen(address) {
            Ok(listener) => {
                port = listener.local_addr().map_or(port, |local| local.port());
                listeners.push((purpose, listener));
            }
            // A machine without IPv6 has no "every IPv6 address".
            Err(error)
                if address.is_ipv6() && address.ip().is_unspecified() && lacks_family(&error) => {}
            Err(error) => return Err(BindError::Listen { address, error }),
        }
    }
    if listeners.len() == before {
        return Err(BindError::Nothing);
    }
    Ok(port)
}

fn lacks_family(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Each family has its own socket, so that addresses are what they are.
        socket.set_only_v6(true)?;
    }
    // Where the kernel cannot, reports lack the SYN.
    let _ = sys::save_syn(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn given(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| error.to_string())?;
    let certified = CertifiedKey::from_der(chain, key, &trust::provider())
        .map_err(|error| error.to_string())?;
    certified
        .end_entity_cert()
        .map_err(|error| error.to_string())?;
    Ok(certified)
}

/// A certificate for the name, by the witness's own key or a fresh one of the usual kind.
fn self_signed(name: Option<&str>, key: Option<&SigningKey>) -> Result<CertifiedKey, String> {
    let text = |error: rcgen::Error| error.to_string();
    let pair = match key {
        Some(key) => {
            let der = PrivatePkcs8KeyDer::from(key.pkcs8());
            rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519)
                .map_err(text)?
        }
        None => rcgen::KeyPair::generate().map_err(text)?,
    };
    let names = vec![name.unwrap_or("witness.invalid").to_owned()];
    let certificate = rcgen::CertificateParams::new(names)
        .and_then(|params| params.self_signed(&pair))
        .map_err(text)?;
    let der = PrivateKeyDer::Pkcs8(pair.serialize_der().into());
    let signer = any_supported_type(&der).map_err(|error| error.to_string())?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
}

fn tls(certified: Arc<CertifiedKey>) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(trust::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let only = Certificates {
        pinned: Arc::clone(&certified),
        certified,
    };
    Ok(builder
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(only)))
}

fn control_tls(
    pinned: Arc<CertifiedKey>,
    certified: Arc<CertifiedKey>,
) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(trust::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    let both = Certificates { pinned, certified };
    let mut config = builder
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(both));
    config.alpn_protocols = vec![PINNED.to_vec(), CERTIFIED.to_vec()];
    Ok(config)
}

/// Who has the key is shown the certificate that carries it; others the one that a verifier may know.
#[derive(Debug)]
struct Certificates {
    pinned: Arc<CertifiedKey>,
    certified: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_pinned = hello
            .alpn()
            .is_some_and(|mut names| names.any(|name| name == PINNED));
        Some(Arc::clone(if is_pinned {
            &self.pinned
        } else {
            &self.certified
        }))
    }
}
