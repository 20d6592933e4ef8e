//! The terminating box: accepts what was meant for a server, connects there itself and carries both ways through the
//! sans-IO boxes. The server sees the client's address and port (TPROXY) or the box's own (NAT REDIRECT).
//!
//! It listens before any rule leads packets to it: a TPROXY rule without a listener lets them through. It must not know
//! what the boxes do.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::middlebox::relay::{accept, carry};
use crate::middlebox::spec::row;
use crate::middlebox::{BoxSpec, Connection, Middlebox};
use crate::protocol::Scheme;
use crate::topology::device::http::HeaderInserter;
use crate::topology::device::inspect::Tally;
use crate::topology::device::spec::{Address, scheme_of};

/// Connections carried at once; more wait to be accepted.
const AT_ONCE: usize = 256;
/// How long the server may take to accept.
const UPSTREAM_WAIT: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// What is done with each connection.
pub(super) enum Work {
    /// It passes these boxes.
    Boxes(Vec<BoxSpec>),
    /// Its HTTP requests get this header.
    Header { name: String, value: String },
}

/// The proxy.
pub(super) struct Proxy {
    pub(super) work: Work,
    pub(super) address: Address,
    pub(super) scheme: Scheme,
    pub(super) interceptor: Option<Arc<ServerConfig>>,
    /// Marks the proxy's own connections where its address is its own, so that no rule leads them back.
    pub(super) mark: u32,
    pub(super) tally: Arc<Tally>,
}

/// The listening sockets, made in the namespace of the calling thread.
pub(super) struct Doors {
    v4: std::net::TcpListener,
    v6: std::net::TcpListener,
    /// Where they listen: IPv4's port and IPv6's.
    pub(super) ports: (u16, u16),
}

impl Proxy {
    /// Opens the doors.
    pub(super) fn listen(&self) -> io::Result<Doors> {
        let door = |domain, any: SocketAddr| -> io::Result<(std::net::TcpListener, u16)> {
            let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
            if domain == Domain::IPV6 {
                socket.set_only_v6(true)?;
            }
            if self.address == Address::Kept {
                transparent(&socket, domain)?;
            }
            socket.set_nonblocking(true)?;
            socket.bind(&any.into())?;
            socket.listen(BACKLOG)?;
            let listener: std::net::TcpListener = socket.into();
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        };
        let (v4, port_v4) = door(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, 0).into())?;
        let (v6, port_v6) = door(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, 0).into())?;
        Ok(Doors {
            v4,
            v6,
            ports: (port_v4, port_v6),
        })
    }

    /// Serves until told to stop.
    pub(super) async fn serve(self, doors: Doors, stop: oneshot::Receiver<()>) -> io::Result<()> {
        let shared = Arc::new(self);
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let count = Arc::new(AtomicUsize::new(0));
        let mut accepting = JoinSet::new();
        for door in [doors.v4, doors.v6] {
            let proxy = Arc::clone(&shared);
            accepting.spawn(accept(
                TcpListener::from_std(door)?,
                Arc::clone(&permits),
                Arc::clone(&count),
                move |client, connection| {
                    proxy.tally.seen();
                    let proxy = Arc::clone(&proxy);
                    async move { proxy.passage(client, &connection).await }
                },
            ));
        }
        // Told, or the one who would tell is gone: both mean the end.
        let _ = stop.await;
        Ok(())
    }

    async fn passage(&self, client: TcpStream, connection: &Connection) -> io::Result<()> {
        let peer = connection.client;
        client.set_nodelay(true)?;
        let wanted = match (self.address, peer) {
            (Address::Kept, _) => Some(client.local_addr()?),
            (Address::Own, SocketAddr::V4(_)) => {
                SockRef::from(&client).original_dst_v4()?.as_socket()
            }
            (Address::Own, SocketAddr::V6(_)) => {
                SockRef::from(&client).original_dst_v6()?.as_socket()
            }
        };
        let wanted = wanted.ok_or_else(|| io::Error::other("no original destination"))?;
        let server = match timeout(UPSTREAM_WAIT, self.connect(peer, wanted)).await {
            Ok(Ok(server)) => server,
            _ => return client.set_zero_linger(),
        };
        server.set_nodelay(true)?;
        let scheme = scheme_of(wanted.port(), self.scheme);
        let boxes: Box<dyn Middlebox> = match &self.work {
            Work::Boxes(boxes) => Box::new(row(boxes, scheme, connection)),
            Work::Header { name, value } => Box::new(HeaderInserter::new(name, value)),
        };
        carry(client, server, boxes, self.interceptor.as_ref()).await
    }

    async fn connect(&self, client: SocketAddr, server: SocketAddr) -> io::Result<TcpStream> {
        let domain = Domain::for_address(server);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if self.address == Address::Kept {
            // Not marked: the mark would lead it back to this node.
            transparent(&socket, domain)?;
            socket.set_reuse_address(true)?;
            socket.bind(&client.into())?;
        } else {
            socket.set_mark(self.mark)?;
        }
        TcpSocket::from_std_stream(socket.into())
            .connect(server)
            .await
    }
}

fn transparent(socket: &Socket, domain: Domain) -> io::Result<()> {
    if domain == Domain::IPV6 {
        socket.set_ip_transparent_v6(true)
    } else {
        socket.set_ip_transparent_v4(true)
    }
}
