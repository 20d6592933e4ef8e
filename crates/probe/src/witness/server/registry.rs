//! Who is connected, which sessions stand, and to which of them a connection belongs.
//!
//! A connection that says a session's token belongs to that session, from whatever address: a proxy on the way has its
//! own. One without a token belongs to the only session of its address; where there are several, to none, and each
//! session is told that something was dropped.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hoofbeat_observation::WitnessedConnection;
use hoofbeat_session::{Elapsed, Transcript};
use tokio::sync::watch;

use super::{
    limits::{Limits, Neighbourhood},
    wording::Wording,
};
use crate::witness::{Token, message::Hello};

/// More addresses than this are not remembered once they are gone.
const MOST_ACCOUNTS: usize = 4096;
const MINUTE: Duration = Duration::from_secs(60);

/// All of it. Times are since the server's zero.
#[derive(Debug)]
pub(super) struct Registry {
    limits: Limits,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    open: u32,
    accounts: HashMap<Neighbourhood, Account>,
    sessions: HashMap<String, Session>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Account {
    open: u32,
    /// Open connections to data ports, whose end a report may wait for.
    data: u32,
    minute: Duration,
    in_minute: u32,
}

/// One client's session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) client: IpAddr,
    pub(super) hello: Hello,
    pub(super) opened: Duration,
    pub(super) wall: i64,
    pub(super) wording: Wording,
    pub(super) connections: Vec<WitnessedConnection>,
    pub(super) dropped: u32,
    bytes: usize,
    /// Connections that said its token and are not over.
    running: u32,
    /// Tells them that the report is due.
    due: watch::Sender<bool>,
}

/// What a session lends to its connections.
#[derive(Debug, Clone)]
pub(super) struct Loan {
    pub(super) wording: Wording,
    /// True once the report is due: whoever waits for the client then waits no longer.
    pub(super) due: watch::Receiver<bool>,
}

/// Why a connection or session is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("too many connections, try again later")]
    Everybody,
    #[error("too many connections from your address")]
    Address,
    #[error("too many sessions, try again later")]
    Sessions,
    #[error("too many sessions from your address")]
    AddressSessions,
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    registry: Arc<Registry>,
    neighbourhood: Neighbourhood,
    data: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut books = self.registry.books();
        books.open = books.open.saturating_sub(1);
        if let Some(account) = books.accounts.get_mut(&self.neighbourhood) {
            account.open = account.open.saturating_sub(1);
            account.data = account.data.saturating_sub(u32::from(self.data));
        }
    }
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            books: Mutex::default(),
        })
    }

    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from this address; `data`: not to the control port.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        data: bool,
        now: Duration,
    ) -> Result<Place, Full> {
        let neighbourhood = Neighbourhood::from(peer);
        let mut books = self.books();
        if books.open >= self.limits.connections {
            return Err(Full::Everybody);
        }
        if books.accounts.len() >= MOST_ACCOUNTS {
            books.accounts.retain(|_, account| {
                account.open > 0 || now.saturating_sub(account.minute) < MINUTE
            });
            if books.accounts.len() >= MOST_ACCOUNTS {
                return Err(Full::Everybody);
            }
        }
        let account = books.accounts.entry(neighbourhood).or_default();
        if now.saturating_sub(account.minute) >= MINUTE {
            (account.minute, account.in_minute) = (now, 0);
        }
        if account.open >= self.limits.connections_per_address
            || account.in_minute >= self.limits.connections_per_minute
        {
            return Err(Full::Address);
        }
        account.open += 1;
        account.in_minute += 1;
        account.data += u32::from(data);
        books.open += 1;
        Ok(Place {
            registry: Arc::clone(self),
            neighbourhood,
            data,
        })
    }

    /// Opens a session.
    pub(super) fn open(
        &self,
        id: String,
        client: IpAddr,
        hello: Hello,
        wording: Wording,
        now: Duration,
        wall: i64,
    ) -> Result<Session, Full> {
        let mut books = self.books();
        let lasting = self.limits.session;
        books
            .sessions
            .retain(|_, session| now.saturating_sub(session.opened) < lasting);
        if books.sessions.len() >= usize::try_from(self.limits.sessions).unwrap_or(usize::MAX) {
            return Err(Full::Sessions);
        }
        let neighbourhood = Neighbourhood::from(client);
        if books.of(neighbourhood).count()
            >= usize::try_from(self.limits.sessions_per_address).unwrap_or(usize::MAX)
        {
            return Err(Full::AddressSessions);
        }
        let session = Session {
            id: id.clone(),
            client,
            hello,
            opened: now,
            wall,
            wording,
            connections: Vec::new(),
            dropped: 0,
            bytes: 0,
            running: 0,
            due: watch::Sender::new(false),
        };
        books.sessions.insert(id, session.clone());
        Ok(session)
    }

    /// A connection has said its token: what its session lends it, where the session stands.
    pub(super) fn begun(&self, token: &Token) -> Option<Loan> {
        let mut books = self.books();
        let session = books.sessions.get_mut(&token.session)?;
        session.running = session.running.saturating_add(1);
        Some(session.loan())
    }

    /// What the only session of an address lends.
    pub(super) fn only(&self, peer: IpAddr) -> Option<Loan> {
        let mut books = self.books();
        let mut sessions = books.of(Neighbourhood::from(peer));
        match (sessions.next(), sessions.next()) {
            (Some(session), None) => Some(session.loan()),
            _ => None,
        }
    }

    /// Tells a session's connections that its report is due.
    pub(super) fn hurry(&self, id: &str) {
        if let Some(session) = self.books().sessions.get(id) {
            session.due.send_replace(true);
        }
    }

    /// A connection is over. What belongs to no session is forgotten here.
    ///
    /// `connection` has the server's times; they become the session's.
    pub(super) fn deliver(
        &self,
        peer: IpAddr,
        token: Option<&Token>,
        connection: WitnessedConnection,
    ) {
        let mut books = self.books();
        if let Some(token) = token {
            if let Some(session) = books.sessions.get_mut(&token.session) {
                session.running = session.running.saturating_sub(1);
                session.keep(connection, &self.limits);
            }
            return;
        }
        let accepted = connection.accepted.0;
        let mut candidates: Vec<&mut Session> = books
            .of(Neighbourhood::from(peer))
            .filter(|session| session.opened <= accepted)
            .collect();
        match candidates.as_mut_slice() {
            [only] => only.keep(connection, &self.limits),
            several => several.iter_mut().for_each(|session| session.miss()),
        }
    }

    /// A connection of this address was turned away.
    pub(super) fn turned_away(&self, peer: IpAddr) {
        self.books()
            .of(Neighbourhood::from(peer))
            .for_each(Session::miss);
    }

    /// Whether connections that may belong to the session are still open.
    pub(super) fn is_busy(&self, id: &str) -> bool {
        let books = self.books();
        books.sessions.get(id).is_some_and(|session| {
            let account = books.accounts.get(&Neighbourhood::from(session.client));
            session.running > 0 || account.is_some_and(|account| account.data > 0)
        })
    }

    /// Ends a session.
    pub(super) fn close(&self, id: &str) -> Option<Session> {
        let mut session = self.books().sessions.remove(id)?;
        // What is still running is not in the report.
        session.dropped = session.dropped.saturating_add(session.running);
        Some(session)
    }
}

impl Books {
    fn of(&mut self, neighbourhood: Neighbourhood) -> impl Iterator<Item = &mut Session> {
        self.sessions
            .values_mut()
            .filter(move |session| Neighbourhood::from(session.client) == neighbourhood)
    }
}

impl Session {
    fn loan(&self) -> Loan {
        Loan {
            wording: self.wording.clone(),
            due: self.due.subscribe(),
        }
    }

    fn miss(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    fn keep(&mut self, mut connection: WitnessedConnection, limits: &Limits) {
        let room = limits.bytes_per_session.saturating_sub(self.bytes);
        if weight(&connection) > room && !connection.packets.is_empty() {
            // Bytes prove more than headers do.
            connection.packets = Vec::new();
            connection.packets_cut = true;
        }
        let size = weight(&connection);
        let is_full = self.connections.len() >= usize::from(limits.connections_per_session)
            || self.bytes.saturating_add(size) > limits.bytes_per_session;
        if is_full {
            return self.miss();
        }
        self.bytes += size;
        let zero = self.opened;
        shift(&mut connection.accepted, zero);
        for packet in &mut connection.packets {
            shift(&mut packet.at, zero);
        }
        shift_transcript(&mut connection.transcript, zero);
        if let Some(trace) = &mut connection.trace {
            shift(&mut trace.started, zero);
            shift(&mut trace.ended, zero);
            for probe in &mut trace.probes {
                shift(&mut probe.at, zero);
                probe.restored.iter_mut().for_each(|at| shift(at, zero));
                probe
                    .answers
                    .iter_mut()
                    .for_each(|answer| shift(&mut answer.at, zero));
            }
        }
        self.connections.push(connection);
    }
}

fn shift(time: &mut Elapsed, zero: Duration) {
    *time = Elapsed(time.0.saturating_sub(zero));
}

fn shift_transcript(transcript: &mut Transcript, zero: Duration) {
    for chunk in &mut transcript.chunks {
        shift(&mut chunk.at, zero);
    }
}

/// Roughly what a connection costs to keep, in bytes.
fn weight(connection: &WitnessedConnection) -> usize {
    /// Of one segment besides its bytes.
    const SEGMENT: usize = 64;
    let said: usize = connection
        .transcript
        .chunks
        .iter()
        .map(|chunk| chunk.bytes.len() + SEGMENT)
        .sum();
    let heard = connection.packets.iter().map(|packet| packet.bytes.len());
    let heard: usize = heard.map(|length| length + SEGMENT).sum();
    let traced: usize = connection
        .trace
        .iter()
        .flat_map(|trace| &trace.probes)
        .map(|probe| probe.sent.len() + 8 * SEGMENT)
        .sum();
    said + traced + heard + connection.syn.len() + SEGMENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::{Errandry, message::PROTOCOL, token::session_id};
    use hoofbeat_observation::{Ending, WitnessService};

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn connection(accepted: u64) -> WitnessedConnection {
        WitnessedConnection {
            token: None,
            service: WitnessService::Http,
            port: 80,
            peer: "192.0.2.7:1".to_owned(),
            accepted: Elapsed::from_millis(accepted),
            syn: Vec::new(),
            received: Vec::new(),
            packets: Vec::new(),
            packets_cut: false,
            transcript: Transcript::default(),
            tls_completed: None,
            trace: None,
            ending: Ending::Ours,
        }
    }

    fn opened(registry: &Registry, number: u8, client: IpAddr) -> String {
        let hello = Hello {
            protocol: PROTOCOL.to_owned(),
            tool: String::new(),
            nonce: String::new(),
            shorten: false,
            trace: false,
            look: Vec::new(),
        };
        let (id, wording) = (session_id([number; 12]), Wording::new([0; 5]));
        let now = Duration::from_secs(1);
        registry
            .open(id.clone(), client, hello, wording, now, 0)
            .unwrap();
        id
    }

    fn token(session: &str) -> Token {
        Token {
            session: session.to_owned(),
            errandry: Errandry::Web,
            number: 1,
        }
    }

    #[test]
    fn whose_a_connection_is() {
        let registry = Registry::new(Limits::default());
        let first = opened(&registry, 1, PEER);
        registry.deliver(PEER, None, connection(500));
        registry.deliver(PEER, None, connection(1500));
        let second = opened(&registry, 2, PEER);
        assert!(registry.only(PEER).is_none(), "two are no answer");
        registry.deliver(PEER, None, connection(1600));
        let elsewhere = IpAddr::from([198, 51, 100, 1]);
        registry.begun(&token(&second)).unwrap();
        assert!(registry.is_busy(&second) && !registry.is_busy(&first));
        registry.deliver(elsewhere, Some(&token(&second)), connection(1700));
        registry.deliver(elsewhere, None, connection(1700));
        let of = |id: &str| {
            let session = registry.close(id).unwrap();
            let times: Vec<_> = session.connections.iter().map(|c| c.accepted).collect();
            (times, session.dropped)
        };
        // From before the session; the session's own times; between two sessions; by its token from anywhere.
        assert_eq!(of(&first), (vec![Elapsed::from_millis(500)], 1));
        assert_eq!(of(&second), (vec![Elapsed::from_millis(700)], 1));
        assert!(registry.close(&first).is_none() && registry.begun(&token(&first)).is_none());
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let registry = Registry::new(Limits {
            connections: 3,
            connections_per_address: 2,
            connections_per_minute: 4,
            sessions: 2,
            sessions_per_address: 1,
            ..Limits::default()
        });
        let at = |seconds| Duration::from_secs(seconds);
        let other = IpAddr::from([192, 0, 2, 8]);
        let admit = |peer, seconds| registry.admit(peer, true, at(seconds));
        let two = [admit(PEER, 0).unwrap(), admit(PEER, 0).unwrap()];
        assert_eq!(admit(PEER, 0).unwrap_err(), Full::Address);
        let third = admit(other, 0).unwrap();
        assert_eq!(admit(other, 0).unwrap_err(), Full::Everybody);
        drop((two, third));
        drop([admit(PEER, 1).unwrap(), admit(PEER, 1).unwrap()]);
        assert_eq!(
            admit(PEER, 59).unwrap_err(),
            Full::Address,
            "four in a minute"
        );
        drop(admit(PEER, 61).unwrap());
        opened(&registry, 1, PEER);
        let hello = registry.close(&opened(&registry, 2, other)).unwrap().hello;
        let open = |number, client, now| {
            let (id, wording) = (session_id([number; 12]), Wording::new([0; 5]));
            registry
                .open(id, client, hello.clone(), wording, now, 0)
                .map(|_| ())
        };
        assert_eq!(open(3, PEER, at(2)), Err(Full::AddressSessions));
        assert_eq!(open(3, other, at(2)), Ok(()));
        assert_eq!(
            open(4, IpAddr::from([192, 0, 2, 9]), at(2)),
            Err(Full::Sessions)
        );
        assert_eq!(open(4, PEER, at(400)), Ok(()), "sessions expire");
    }
}
