//! What all probes towards one host share: the check's surroundings, the capture, and how long an answer may take.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hoofbeat_net::Route;
use hoofbeat_observation::{Engine, Failure, FailureKind, Operation};

use crate::{Context, budget::Permit};

use super::{inbox::Inbox, right::RawRight};

/// Longest wait for an answer while nothing is known of the path.
const LONGEST: Duration = Duration::from_millis(1000);

/// Added to what the path is known to take: routers answer in their own time, some slowly.
const SLACK: Duration = Duration::from_millis(250);

/// See above.
pub(super) struct Bench<'a> {
    pub(super) context: &'a Context,
    pub(super) inbox: Option<&'a Arc<Inbox>>,
    right: Option<&'a RawRight>,
    pub(super) interface: Option<&'a str>,
    /// Microseconds that the slowest answer took; 0: none came yet.
    slowest: AtomicU64,
}

impl<'a> Bench<'a> {
    /// For one host.
    ///
    /// # Errors
    /// Over a proxy there is no path of ours to trace.
    pub(super) fn new(
        context: &'a Context,
        heard: Option<(&'a RawRight, &'a Arc<Inbox>)>,
    ) -> Result<Self, Failure> {
        let interface = match &context.route {
            Route::Direct => None,
            Route::Interface(name) => Some(name.as_str()),
            Route::Socks5(_) | Route::HttpConnect(_) => {
                return Err(Failure {
                    operation: Operation::Connect,
                    kind: FailureKind::Other,
                    raw: "a path cannot be traced through a proxy: its TTLs are the proxy's"
                        .to_owned(),
                });
            }
        };
        Ok(Self {
            context,
            inbox: heard.map(|(_, inbox)| inbox),
            right: heard.map(|(right, _)| right),
            interface,
            slowest: AtomicU64::new(0),
        })
    }

    pub(super) const fn engine(&self) -> Engine {
        match self.inbox {
            Some(_) => Engine::Raw,
            None => Engine::Unprivileged,
        }
    }

    /// The inbox, with everything in it that has arrived by now.
    pub(super) fn up_to_now(&self) -> Option<&'a Arc<Inbox>> {
        if let Some(right) = self.right {
            // Sockets that broke tell so where they are waited for.
            let _ = right.catch_up();
        }
        self.inbox
    }

    /// Tells how long an answer took.
    pub(super) fn answered_after(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.slowest.fetch_max(micros, Ordering::Relaxed);
    }

    /// How long the way there and back may take, by what is known of it.
    pub(super) fn round_trip(&self) -> Duration {
        match self.slowest.load(Ordering::Relaxed) {
            0 => LONGEST,
            micros => Duration::from_micros(micros) * 2,
        }
    }

    /// How long an answer is waited for.
    pub(super) fn patience(&self) -> Duration {
        let patience = match self.slowest.load(Ordering::Relaxed) {
            0 => LONGEST,
            micros => (Duration::from_micros(micros) * 3 + SLACK).min(LONGEST),
        };
        patience.min(self.context.time_left())
    }

    /// Waits for a turn to connect; none where the server has had its connections or the time is over.
    pub(super) async fn admit(&self, address: SocketAddr) -> Option<Permit> {
        let turn = self.context.budget.admit(address, &self.context.clock);
        tokio::time::timeout(self.context.time_left(), turn)
            .await
            .ok()?
            .ok()
    }
}

/// The failure of a connection that was not allowed.
pub(super) fn spent() -> Failure {
    Failure {
        operation: Operation::Connect,
        kind: FailureKind::LocalResources,
        raw: "this server has had its connections for one check, or the check's time is over"
            .to_owned(),
    }
}
