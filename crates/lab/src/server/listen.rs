//! Listens for a lab server: bounded, with what a server remembers between connections (pool position, failed
//! handshakes, greylisted addresses). It must not know boxes.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::protocol::Scheme;
use crate::server::connection::{Ended, converse};
use crate::server::dialogue::{Visit, dialogue};
use crate::server::spec::{ServerSpec, Starttls};

/// Connections served at once; more wait to be accepted.
const AT_ONCE: usize = 64;
/// No connection lives longer.
const LIFETIME: Duration = Duration::from_secs(180);
/// Addresses remembered at most, per list.
const MEMORY: usize = 1024;

/// A server that listens until dropped.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct Memory {
    failed: HashSet<IpAddr>,
    greylisted: HashSet<IpAddr>,
}

/// Serves `spec` on each of `listeners` (the first is its address).
///
/// # Errors
/// When a listener cannot tell its address.
pub(crate) fn serve(
    listeners: Vec<TcpListener>,
    spec: ServerSpec,
    scheme: Scheme,
    tls: Arc<ServerConfig>,
) -> io::Result<Listening> {
    let address = listeners
        .first()
        .ok_or_else(|| io::Error::other("a server needs a listener"))?
        .local_addr()?;
    let accepted = Arc::new(AtomicUsize::new(0));
    let shared = Arc::new(Shared {
        spec,
        scheme,
        tls,
        memory: Mutex::new(Memory::default()),
        accepted: Arc::clone(&accepted),
        permits: Arc::new(Semaphore::new(AT_ONCE)),
    });
    let task = tokio::spawn(async move {
        let mut doors = JoinSet::new();
        for listener in listeners {
            doors.spawn(accept(listener, Arc::clone(&shared)));
        }
        while doors.join_next().await.is_some() {}
    });
    Ok(Listening {
        address,
        accepted,
        task,
    })
}

struct Shared {
    spec: ServerSpec,
    scheme: Scheme,
    tls: Arc<ServerConfig>,
    memory: Mutex<Memory>,
    accepted: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
}

impl Shared {
    fn visit(&self, peer: IpAddr, ordinal: usize) -> Visit {
        let spec = &self.spec;
        let mut starttls = spec.starttls;
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let absent_from_pool = spec.pool && ordinal % 2 == 1;
        let remembered = spec.remembers_failures && memory.failed.contains(&peer);
        if absent_from_pool || remembered || (spec.hides_from_ipv4 && peer.to_canonical().is_ipv4())
        {
            starttls = Starttls::Hidden;
        }
        let known = memory.greylisted.contains(&peer);
        if memory.greylisted.len() < MEMORY {
            memory.greylisted.insert(peer);
        }
        Visit {
            starttls,
            secure: false,
            known,
            peer: peer.to_string(),
            scheme: self.scheme,
        }
    }

    /// Remembers, and only then lets go of the socket.
    fn remember(&self, peer: IpAddr, ended: Ended) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(ended, Ended::HandshakeFailed { .. }) && memory.failed.len() < MEMORY {
            memory.failed.insert(peer);
        }
        drop(memory);
        drop(ended);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut visits = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&shared.permits).acquire_owned().await else {
            return;
        };
        while visits.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors, perhaps: give the others time to end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let ordinal = shared.accepted.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&shared);
        visits.spawn(async move {
            let _permit = permit;
            // A socket that refuses the option still serves.
            let _ = stream.set_nodelay(true);
            let visit = shared.visit(peer.ip(), ordinal);
            let talk = dialogue(&shared.spec, visit);
            let run = converse(
                stream,
                &shared.spec,
                shared.scheme.implicit_tls(),
                talk,
                Arc::clone(&shared.tls),
            );
            if let Ok(Ok(ended)) = timeout(LIFETIME, run).await {
                shared.remember(peer.ip(), ended);
            }
        });
    }
}
