//! How much one server is bothered: a bound on its connections, at most two at a time, and a breath
//! between two to the same port.
//!
//! A server is an address; on loopback, where a whole laboratory shares one, it is a port, and nobody
//! needs a breath.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hoofbeat_net::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections to one server in one check, unless the user says otherwise.
pub const CONNECTIONS_PER_SERVER: u32 = 12;

/// Connections to one server at the same time: more looks like an attack, and postscreen and others count.
const AT_A_TIME: usize = 2;

/// Between the beginnings of two connections to the same port of one server.
const BREATH: Duration = Duration::from_millis(300);

/// The connections that were made and may still be made.
#[derive(Debug)]
pub struct Budget {
    per_server: u32,
    accounts: Mutex<HashMap<Server, Account>>,
}

type Server = (IpAddr, u16);

#[derive(Debug)]
struct Account {
    made: u32,
    slots: Arc<Semaphore>,
    /// When the latest connection to a port was allowed to begin.
    latest: HashMap<u16, Duration>,
}

/// The right to one connection; dropped when the connection is over.
#[derive(Debug)]
pub(crate) struct Permit {
    _slot: Option<OwnedSemaphorePermit>,
}

/// The server has had its connections.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spent;

impl Default for Budget {
    fn default() -> Self {
        Self::new(CONNECTIONS_PER_SERVER)
    }
}

impl Budget {
    /// With so many connections for each server.
    #[must_use]
    pub fn new(per_server: u32) -> Self {
        Self {
            per_server,
            accounts: Mutex::default(),
        }
    }

    /// How many each server may have.
    #[must_use]
    pub const fn per_server(&self) -> u32 {
        self.per_server
    }

    /// How many a server may still have.
    #[must_use]
    pub fn remaining(&self, address: IpAddr, port: u16) -> u32 {
        self.per_server
            .saturating_sub(self.account(server(address, port), |account| account.made))
    }

    /// How many were made in all.
    #[must_use]
    pub fn made(&self) -> u32 {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts
            .values()
            .map(|account| account.made)
            .fold(0, u32::saturating_add)
    }

    /// Waits for a turn. The connection counts from this call on.
    pub(crate) async fn admit(&self, address: SocketAddr, clock: &Clock) -> Result<Permit, Spent> {
        let server = server(address.ip(), address.port());
        let slots = self.account(server, |account| {
            (account.made < self.per_server).then(|| {
                account.made += 1;
                Arc::clone(&account.slots)
            })
        });
        // The semaphore is never closed, so a slot always comes.
        let slot = slots.ok_or(Spent)?.acquire_owned().await.ok();
        if !address.ip().is_loopback() {
            let now = clock.now();
            let begin = self.account(server, |account| {
                let begin = account
                    .latest
                    .get(&address.port())
                    .map_or(now, |latest| now.max(*latest + BREATH));
                account.latest.insert(address.port(), begin);
                begin
            });
            if begin > now {
                tokio::time::sleep_until(clock.instant(begin).into()).await;
            }
        }
        Ok(Permit { _slot: slot })
    }

    fn account<T>(&self, server: Server, with: impl FnOnce(&mut Account) -> T) -> T {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        with(accounts.entry(server).or_insert_with(|| Account {
            made: 0,
            slots: Arc::new(Semaphore::new(AT_A_TIME)),
            latest: HashMap::new(),
        }))
    }
}

fn server(address: IpAddr, port: u16) -> Server {
    (address, if address.is_loopback() { port } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn twelve_two_at_a_time_and_a_breath() {
        let budget = Budget::default();
        let clock = Clock::start();
        let mx: SocketAddr = "192.0.2.25:25".parse().unwrap();
        let before = tokio::time::Instant::now();
        let first = budget.admit(mx, &clock).await.unwrap();
        let _second = budget.admit(mx, &clock).await.unwrap();
        assert!(
            tokio::time::Instant::now() - before > BREATH / 2,
            "the second waits"
        );
        let third = tokio::time::timeout(BREATH * 9, budget.admit(mx, &clock)).await;
        assert!(third.is_err(), "no third at a time");
        drop(first);
        assert!(budget.admit(mx, &clock).await.is_ok());
        assert_eq!((budget.made(), budget.remaining(mx.ip(), 587)), (4, 8));
    }

    #[tokio::test]
    async fn what_is_spent_is_spent() {
        let budget = Budget::new(1);
        let clock = Clock::start();
        let mx: SocketAddr = "192.0.2.25:25".parse().unwrap();
        drop(budget.admit(mx, &clock).await);
        let submission: SocketAddr = "192.0.2.25:587".parse().unwrap();
        assert_eq!(budget.admit(submission, &clock).await.unwrap_err(), Spent);
        for port in [1, 2] {
            assert!(
                budget
                    .admit(([127, 0, 0, 1], port).into(), &clock)
                    .await
                    .is_ok(),
                "loopback servers are ports"
            );
        }
    }
}
