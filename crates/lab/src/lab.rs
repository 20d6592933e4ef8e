//! Starts a scenario on loopback: the server, the boxes in front of it, its siblings and a control server, and tells the
//! addresses. Everything ends when the returned value is dropped. It must not know any verdict.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket};

use crate::authority::{Authority, AuthorityError, CertificateKind, HOST};
use crate::middlebox::handshake::Act;
use crate::middlebox::relay::{Relaying, Route, relay};
use crate::middlebox::{BoxSpec, Kind};
use crate::protocol::Scheme;
use crate::scenario::{Door, Scenario};
use crate::server::{Listening, ServerSpec, serve};

/// The lab's front door.
pub struct Lab;

/// A scenario could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be had.
    #[error("the lab cannot listen on {address}: {cause}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// A certificate could not be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The upstream server is not on this machine, and nobody said that any is allowed.
    #[error("the lab puts boxes in front of loopback servers only, and {0} is none")]
    ForeignUpstream(SocketAddr),
    /// The background thread could not be started.
    #[error("the lab's thread could not be started: {0}")]
    Thread(io::Error),
}

/// A further service of the scenario's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// How it is named.
    pub scheme: Scheme,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether the scenario's boxes stand in front of it.
    pub boxed: bool,
}

/// A scenario that runs until this is dropped.
pub struct Running {
    /// What a client connects to.
    pub address: SocketAddr,
    /// The same door over IPv6, in a dual-stack scenario on a machine that has IPv6.
    pub address_v6: Option<SocketAddr>,
    /// The server behind the boxes (the same as `address` without boxes).
    pub server_address: SocketAddr,
    /// A clean server of the same scheme; in a client-side scenario it is behind the same boxes.
    pub control: SocketAddr,
    /// Further services of the same host.
    pub siblings: Vec<Sibling>,
    /// What a client should trust: the lab's root, and an interceptor's when the scenario says it is installed.
    pub ca_pem: String,
    /// The name a client should verify.
    pub host: &'static str,
    /// How a client names the service.
    pub scheme: Scheme,
    /// A certificate that names other hosts says nothing to who asks by address.
    by_name: bool,
    accepted: Arc<AtomicUsize>,
    _parts: Vec<Part>,
}

/// Held only to be dropped.
enum Part {
    Server {
        _own: Listening,
    },
    Relay {
        _own: Relaying,
    },
    /// Bound and not listening: the port is ours, and connections to it are refused.
    Closed {
        _own: TcpSocket,
    },
}

impl Lab {
    /// Starts `scenario` on an ephemeral loopback port, or where `listen` says. With `upstream` the boxes stand in front
    /// of that server, which must be on loopback, instead of the lab's own.
    ///
    /// # Errors
    /// When a socket or a certificate cannot be had, or `upstream` is not on loopback.
    pub async fn start(
        scenario: &Scenario,
        listen: Option<SocketAddr>,
        upstream: Option<SocketAddr>,
    ) -> Result<Running, StartError> {
        if let Some(upstream) = upstream.filter(|address| !address.ip().is_loopback()) {
            return Err(StartError::ForeignUpstream(upstream));
        }
        begin(scenario, listen, upstream).await
    }

    /// As [`Lab::start`], in front of a server anywhere. The caller answers for the mail that passes.
    ///
    /// # Errors
    /// When a socket or a certificate cannot be had.
    pub async fn start_in_front_of_any(
        scenario: &Scenario,
        listen: Option<SocketAddr>,
        upstream: SocketAddr,
    ) -> Result<Running, StartError> {
        begin(scenario, listen, Some(upstream)).await
    }

    /// A clean server of this scheme, for use as a control.
    ///
    /// # Errors
    /// When a socket or a certificate cannot be had.
    pub async fn control(scheme: Scheme) -> Result<Running, StartError> {
        let mut host = Host::new(&[])?;
        let place = host
            .serve(&ServerSpec::default(), scheme, &[], None)
            .await?;
        let address = place.address;
        Ok(host.running(scheme, place, address, Vec::new()))
    }
}

impl Running {
    /// The target as `hoofbeat check` takes it. An address, so that nothing is resolved; the name where both families
    /// or the certificate's names count.
    pub fn url(&self) -> String {
        if self.by_name || self.address_v6.is_some() {
            format!("{}://{}:{}", self.scheme, self.host, self.address.port())
        } else {
            format!("{}://{}", self.scheme, self.address)
        }
    }

    /// The control server as `--control` takes it.
    pub fn control_url(&self) -> String {
        format!("{}://{}", self.scheme, self.control)
    }

    /// Client connections accepted so far at `address` (and `address_v6`).
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Stops: no further connection is accepted, those that stand are dropped.
    pub async fn stop(self) {
        drop(self._parts);
        // Lets the aborted tasks run to their end, so that the ports are free on return.
        tokio::task::yield_now().await;
    }
}

/// A scenario that runs in a thread of its own, for callers without a tokio runtime.
pub struct Background {
    running: Running,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Background {
    /// As [`Lab::start`].
    ///
    /// # Errors
    /// As [`Lab::start`], and when the thread or its runtime cannot be had.
    pub fn start(
        scenario: &Scenario,
        listen: Option<SocketAddr>,
        upstream: Option<SocketAddr>,
    ) -> Result<Self, StartError> {
        let scenario = scenario.clone();
        let (started, start) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let thread = std::thread::Builder::new()
            .name(format!("lab {}", scenario.id))
            .spawn(move || {
                runtime.block_on(async move {
                    // Nobody to tell when the receiver is gone; then the thread simply ends.
                    if started
                        .send(Lab::start(&scenario, listen, upstream).await)
                        .is_ok()
                    {
                        let _ = stopped.await;
                    }
                });
            })
            .map_err(StartError::Thread)?;
        let running = start
            .recv()
            .map_err(|gone| StartError::Thread(io::Error::other(gone)))??;
        Ok(Self {
            running,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl std::ops::Deref for Background {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A thread that has ended already needs no telling.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn begin(
    scenario: &Scenario,
    listen: Option<SocketAddr>,
    upstream: Option<SocketAddr>,
) -> Result<Running, StartError> {
    let mut host = Host::new(&scenario.boxes)?;
    let door = Where {
        listen,
        dual_stack: scenario.dual_stack,
    };
    let (scheme, boxes) = (scenario.scheme, scenario.boxes.as_slice());
    let main = match (upstream, scenario.door) {
        (_, Door::Closed) => host.refuse(listen)?,
        (Some(upstream), Door::Open) => host.box_in(upstream, scheme, boxes, Some(&door)).await?,
        (None, Door::Open) => {
            host.serve(&scenario.server, scheme, boxes, Some(&door))
                .await?
        }
    };
    let mut siblings = Vec::new();
    for sibling in scenario.siblings.iter().filter(|_| upstream.is_none()) {
        let spec = sibling.server.as_ref().unwrap_or(&scenario.server);
        let boxes = if sibling.boxed { boxes } else { &[] };
        let place = host.serve(spec, sibling.scheme, boxes, None).await?;
        siblings.push(Sibling {
            scheme: sibling.scheme,
            address: place.address,
            boxed: sibling.boxed,
        });
    }
    let around_control = if scenario.client_side { boxes } else { &[] };
    let control = match (scenario.client_side, scenario.door) {
        (true, Door::Closed) => host.refuse(None)?,
        _ => {
            let spec = ServerSpec::control(scheme.protocol());
            host.serve(&spec, scheme, around_control, None).await?
        }
    };
    let by_name = scenario.server.certificate == CertificateKind::WrongName;
    Ok(Running {
        by_name,
        ..host.running(scheme, main, control.address, siblings)
    })
}

/// Where the main door is to be.
struct Where {
    listen: Option<SocketAddr>,
    dual_stack: bool,
}

/// What one door turned out to be.
struct Place {
    address: SocketAddr,
    address_v6: Option<SocketAddr>,
    server: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

/// Collects what a scenario starts.
struct Host {
    authority: &'static Authority,
    interceptor: Option<Arc<ServerConfig>>,
    ca_pem: String,
    parts: Vec<Part>,
}

impl Host {
    fn new(boxes: &[BoxSpec]) -> Result<Self, StartError> {
        let authority = Authority::shared()?;
        let mut host = Self {
            authority,
            interceptor: None,
            ca_pem: authority.ca_pem().to_owned(),
            parts: Vec::new(),
        };
        for one in boxes {
            if let Kind::Handshake(spec) = &one.kind
                && spec.act == Act::Intercept
            {
                let issuer = Authority::new(&spec.issuer, &spec.issuer_organization)?;
                let names = [ServerSpec::default().host];
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let settings =
                    issuer.server_config(CertificateKind::Good, &names, spec.versions)?;
                host.interceptor = Some(settings);
                if spec.trusted {
                    host.ca_pem.push_str(issuer.ca_pem());
                }
            }
        }
        Ok(host)
    }

    async fn serve(
        &mut self,
        spec: &ServerSpec,
        scheme: Scheme,
        boxes: &[BoxSpec],
        door: Option<&Where>,
    ) -> Result<Place, StartError> {
        let tls =
            self.authority
                .server_config(spec.certificate, &[spec.host.as_str()], spec.versions)?;
        let boxed = !boxes.is_empty();
        let (listeners, address_v6) = if boxed {
            (vec![open(loopback()).await?], None)
        } else {
            doors(door).await?
        };
        let server =
            serve(listeners, spec.clone(), scheme, tls).map_err(|cause| StartError::Listen {
                address: loopback(),
                cause,
            })?;
        let (address, accepted) = (server.address, Arc::clone(&server.accepted));
        self.parts.push(Part::Server { _own: server });
        if boxed {
            return self.box_in(address, scheme, boxes, door).await;
        }
        Ok(Place {
            address,
            address_v6,
            server: address,
            accepted,
        })
    }

    async fn box_in(
        &mut self,
        upstream: SocketAddr,
        scheme: Scheme,
        boxes: &[BoxSpec],
        door: Option<&Where>,
    ) -> Result<Place, StartError> {
        let (listeners, address_v6) = doors(door).await?;
        let route = Route {
            boxes: boxes.to_vec(),
            scheme,
            upstream,
            interceptor: self.interceptor.clone(),
        };
        let relay = relay(listeners, route).map_err(|cause| StartError::Listen {
            address: loopback(),
            cause,
        })?;
        let (address, accepted) = (relay.address, Arc::clone(&relay.accepted));
        self.parts.push(Part::Relay { _own: relay });
        Ok(Place {
            address,
            address_v6,
            server: upstream,
            accepted,
        })
    }

    fn refuse(&mut self, listen: Option<SocketAddr>) -> Result<Place, StartError> {
        let wanted = listen.unwrap_or_else(loopback);
        let bind = || -> io::Result<(TcpSocket, SocketAddr)> {
            let socket = if wanted.is_ipv4() {
                TcpSocket::new_v4()?
            } else {
                TcpSocket::new_v6()?
            };
            socket.bind(wanted)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let (socket, address) = bind().map_err(|cause| StartError::Listen {
            address: wanted,
            cause,
        })?;
        self.parts.push(Part::Closed { _own: socket });
        Ok(Place {
            address,
            address_v6: None,
            server: address,
            accepted: Arc::default(),
        })
    }

    fn running(
        self,
        scheme: Scheme,
        main: Place,
        control: SocketAddr,
        siblings: Vec<Sibling>,
    ) -> Running {
        Running {
            address: main.address,
            address_v6: main.address_v6,
            server_address: main.server,
            control,
            siblings,
            ca_pem: self.ca_pem,
            host: HOST,
            scheme,
            by_name: false,
            accepted: main.accepted,
            _parts: self.parts,
        }
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn open(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| StartError::Listen { address, cause })
}

/// The listeners of a door, and the IPv6 address when there is a second one.
async fn doors(door: Option<&Where>) -> Result<(Vec<TcpListener>, Option<SocketAddr>), StartError> {
    let wanted = door.and_then(|door| door.listen).unwrap_or_else(loopback);
    let first = open(wanted).await?;
    let own = first.local_addr().map_err(|cause| StartError::Listen {
        address: wanted,
        cause,
    })?;
    let mut listeners = vec![first];
    let mut second = None;
    let dual =
        door.is_some_and(|door| door.dual_stack) && own.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
    if dual {
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, own.port()));
        // A machine without IPv6, or with that port taken, shows the scenario over IPv4 alone.
        if let Ok(listener) = TcpListener::bind(address).await {
            listeners.push(listener);
            second = Some(address);
        }
    }
    Ok((listeners, second))
}
