//! The lab's own servers on a host of the network, at the ports that the world knows them by. It must not know boxes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::namespace::Node;
use crate::protocol::Scheme;
use crate::server::{ServerSpec, serve};

/// Servers that run until dropped.
pub(super) struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One service: the same at every address.
pub(super) struct Service {
    pub(super) scheme: Scheme,
    pub(super) port: u16,
    pub(super) spec: ServerSpec,
    pub(super) tls: Arc<ServerConfig>,
}

/// The port that a scheme is known by.
pub(super) fn port_of(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Smtp => 25,
        Scheme::Submission => 587,
        Scheme::Submissions => 465,
        Scheme::Lmtp => 24,
        Scheme::Imap => 143,
        Scheme::Imaps => 993,
        Scheme::Pop3 => 110,
        Scheme::Pop3s => 995,
        Scheme::Sieve => 4190,
    }
}

/// Starts `services` on each of `addresses` of `node`; all of them listen on return.
///
/// # Errors
/// When a thread, a runtime or a socket cannot be had.
pub(super) fn serve_on(
    node: &Node,
    addresses: Vec<IpAddr>,
    services: Vec<Service>,
) -> io::Result<Serving> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, readiness) = std::sync::mpsc::sync_channel(1);
    let thread = node.thread(&format!("servers {}", node.name), move || {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(cause) => {
                let _ = ready.send(Err(cause));
                return;
            }
        };
        runtime.block_on(async move {
            let started = start(&addresses, services).await;
            let (answer, held) = match started {
                Ok(held) => (Ok(()), held),
                Err(cause) => (Err(cause), Vec::new()),
            };
            if ready.send(answer).is_ok() {
                // Ends when told, and when nobody is left to tell.
                let _ = stopped.await;
            }
            drop(held);
        });
    })?;
    let serving = Serving {
        stop: Some(stop),
        thread: Some(thread),
    };
    readiness.recv().map_err(io::Error::other)??;
    Ok(serving)
}

async fn start(
    addresses: &[IpAddr],
    services: Vec<Service>,
) -> io::Result<Vec<crate::server::Listening>> {
    let mut held = Vec::new();
    for service in services {
        let mut listeners = Vec::new();
        for address in addresses {
            let place = SocketAddr::new(*address, service.port);
            let listener = TcpListener::bind(place)
                .await
                .map_err(|cause| io::Error::new(cause.kind(), format!("{place}: {cause}")))?;
            listeners.push(listener);
        }
        held.push(serve(listeners, service.spec, service.scheme, service.tls)?);
    }
    Ok(held)
}

impl Drop for Serving {
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
