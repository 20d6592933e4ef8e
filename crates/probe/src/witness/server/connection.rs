//! One mail connection at the witness: reads, answers, keeps the record, and hands it over at the end.
//!
//! Whatever a stranger sends is answered as a server would, or ends the connection; none of it is an error of ours.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc, time::Duration};

use hoofbeat_net::{classify, sys};
use hoofbeat_observation::{
    Ending, FailureKind, PacketHeader, PacketKind, ReceivedTtl, Scheme, Service, TtlMethod,
    WitnessService, WitnessedConnection,
};
use hoofbeat_session::{Elapsed, Layer, Protocol};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Shared,
    mail::{Mail, Say},
    recording::Recording,
    registry::Place,
    tap::Tap,
    trace::{QUOTE_WAIT, Tracing},
    wording::Wording,
};
use crate::{
    path::packet::{self, Packet},
    witness::{Errandry, Token, token},
};

/// Longest line, in bytes: RFC 5321 §4.5.3.1.4 asks for 512, RFC 7162 §4 for 8192 of IMAP servers with users.
const LONGEST_LINE: usize = 2048;
/// Bytes of one read.
const READ_SIZE: usize = 4096;
/// How long the client may take to close after the goodbye.
const PARTING: Duration = Duration::from_millis(500);

/// What is known of a connection before anybody speaks.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) accepted: Elapsed,
    pub(super) syn: Vec<u8>,
}

impl Arrival {
    pub(super) fn new(stream: &TcpStream, peer: SocketAddr, shared: &Shared) -> io::Result<Self> {
        let accepted = Elapsed(shared.clock.now());
        stream.set_nodelay(true)?;
        Ok(Self {
            peer,
            local: stream.local_addr()?,
            accepted,
            // Not every kernel keeps it; the report then lacks it.
            syn: sys::saved_syn(stream).unwrap_or_default(),
        })
    }

    /// The TTL that the client's SYN arrived with.
    pub(super) fn ttl(&self) -> Option<u8> {
        match self.syn.first()? >> 4 {
            4 => self.syn.get(8).copied(),
            6 => self.syn.get(7).copied(),
            _ => None,
        }
    }

    /// The TTL that something the client said arrived with.
    fn data_ttl(&self, packet: &PacketHeader) -> Option<u8> {
        let Packet::Tcp(segment) = packet::read(&packet.bytes)? else {
            return None;
        };
        let headers = u32::try_from(packet.bytes.len()).ok()?;
        let is_theirs =
            segment.from_port == self.peer.port() && segment.from == self.peer.ip().to_canonical();
        (is_theirs && packet.length > headers && !segment.has(packet::SYN)).then_some(segment.ttl)
    }

    /// The record of a connection of which nothing else is known yet, with the packets that were heard so far.
    pub(super) fn record(
        self,
        token: Option<&Token>,
        service: WitnessService,
        tap: Option<&Tap>,
    ) -> WitnessedConnection {
        let heard = tap.map(|tap| tap.of(self.local, self.peer));
        let (packets, packets_cut) = heard.unwrap_or_default();
        let data: BTreeSet<u8> = packets
            .iter()
            .filter_map(|packet| self.data_ttl(packet))
            .collect();
        let data = data.into_iter().map(|ttl| ReceivedTtl {
            of: PacketKind::Data,
            ttl,
            by: TtlMethod::Capture,
        });
        let ttl = self.ttl().map(|ttl| ReceivedTtl {
            of: PacketKind::Syn,
            ttl,
            by: TtlMethod::SavedSyn,
        });
        WitnessedConnection {
            token: token.map(Token::to_string),
            service,
            port: self.local.port(),
            peer: self.peer.to_string(),
            accepted: self.accepted,
            syn: self.syn,
            received: ttl.into_iter().chain(data).collect(),
            packets,
            packets_cut,
            transcript: hoofbeat_session::Transcript::default(),
            tls_completed: None,
            trace: None,
            ending: Ending::None,
        }
    }
}

/// Serves one connection and hands its record over.
pub(super) async fn serve(
    stream: TcpStream,
    arrival: Arrival,
    protocol: Protocol,
    shared: Arc<Shared>,
    place: Place,
) {
    let peer = arrival.peer.ip();
    let limits = *shared.registry.limits();
    let lent = shared.registry.only(peer);
    let mut talk = Talk {
        mail: Mail::new(protocol, shared.name_at(arrival.local)),
        recording: Recording::new(protocol),
        wording: lent
            .as_ref()
            .map_or_else(|| shared.wording.clone(), |lent| lent.wording.clone()),
        due: lent.map(|lent| lent.due),
        shared: &shared,
        protocol,
        arrival,
        channel: Channel::Plain(stream),
        unread: Vec::new(),
        token: None,
        tracing: None,
        tls_completed: None,
        ending: None,
    };
    let spoken = tokio::time::timeout(limits.connection, talk.speak()).await;
    if spoken.is_err() {
        talk.ending = Some(Ending::Limit);
    }
    talk.part().await;
    let (token, connection) = talk.into_record();
    shared.registry.deliver(peer, token.as_ref(), connection);
    // Only now: a report waits for places to be given back.
    drop(place);
}

/// Turns a connection away.
pub(super) async fn refuse(mut stream: TcpStream, name: String, protocol: Protocol, why: &str) {
    let words = Mail::new(protocol, name).turned_away(why);
    let goodbye = async {
        stream.write_all(&words).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(PARTING, goodbye).await;
}

enum Channel {
    Plain(TcpStream),
    Inside(Box<TlsStream<TcpStream>>),
    /// After a failed handshake there is none.
    Gone,
}

struct Talk<'a> {
    shared: &'a Shared,
    protocol: Protocol,
    arrival: Arrival,
    mail: Mail,
    wording: Wording,
    /// Tells that the session's report is due.
    due: Option<watch::Receiver<bool>>,
    channel: Channel,
    /// Bytes that were read and not yet answered.
    unread: Vec<u8>,
    recording: Recording,
    token: Option<Token>,
    tracing: Option<Tracing>,
    tls_completed: Option<bool>,
    /// Set once the connection is to end.
    ending: Option<Ending>,
}

impl Talk<'_> {
    async fn speak(&mut self) {
        self.say(&self.mail.greeting()).await;
        while self.ending.is_none() {
            if let Some(line) = self.next_line() {
                self.answer(&line).await;
            } else if self.unread.len() > LONGEST_LINE {
                let words = self.mail.turned_away("that line is too long");
                self.say(&words).await;
                self.ending = Some(Ending::Limit);
            } else {
                self.read().await;
            }
        }
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let end = self.unread.iter().position(|byte| *byte == b'\n')?;
        Some(self.unread.drain(..=end).collect())
    }

    async fn answer(&mut self, line: &[u8]) {
        self.recognise(line);
        match self.mail.hear(line, &self.wording) {
            Say::Reply(words) => self.say(&words).await,
            Say::Capabilities(list) => {
                let ttl = self.tracing.as_ref().and_then(Tracing::next_ttl);
                match ttl {
                    Some(ttl) => self.say_limited(&list, ttl).await,
                    None => self.say(&list).await,
                }
            }
            Say::StartTls(words) => {
                self.say(&words).await;
                // What came in the clear behind the command is kept in the record and not obeyed (RFC 3207 §4.2).
                self.unread.clear();
                self.upgrade().await;
            }
            Say::Goodbye(words) => {
                self.say(&words).await;
                self.ending = self.ending.or(Some(Ending::Ours));
            }
        }
    }

    fn recognise(&mut self, line: &[u8]) {
        if self.token.is_some() {
            return;
        }
        let Some(token) = token::of_line(self.protocol, line) else {
            return;
        };
        let Some(lent) = self.shared.registry.begun(&token) else {
            return;
        };
        self.wording = lent.wording;
        self.due = Some(lent.due);
        if token.errandry == Errandry::Trace
            && let (Some(listeners), Channel::Plain(stream)) =
                (&self.shared.listeners, &self.channel)
        {
            let flow = (self.arrival.local, self.arrival.peer);
            let quotes = listeners.listen(flow);
            let (service, said) = (self.service(), token.to_string());
            let (syn, clock) = (&self.arrival.syn, self.shared.clock);
            let tracing = Tracing::new(stream, flow, service, said, quotes, syn, clock);
            self.tracing = tracing.ok();
        }
        self.token = Some(token);
    }

    fn service(&self) -> Service {
        let port = self.arrival.local.port();
        let plain =
            |scheme: &Scheme| scheme.protocol() == self.protocol && !scheme.is_implicit_tls();
        let scheme = Scheme::of_port(port)
            .filter(plain)
            .or_else(|| Scheme::ALL.into_iter().find(plain));
        Service {
            scheme: scheme.unwrap_or(Scheme::Smtp),
            host: self.shared.name_at(self.arrival.local),
            address: Some(self.arrival.local.ip()),
            port,
        }
    }

    const fn layer(&self) -> Layer {
        match self.channel {
            Channel::Inside(_) => Layer::Tls,
            _ => Layer::Plain,
        }
    }

    async fn say(&mut self, words: &[u8]) {
        let at = Elapsed(self.shared.clock.now());
        let written = match &mut self.channel {
            Channel::Plain(stream) => stream.write_all(words).await,
            Channel::Inside(stream) => match stream.write_all(words).await {
                Ok(()) => stream.flush().await,
                Err(error) => Err(error),
            },
            Channel::Gone => return,
        };
        match written {
            Ok(()) => self.recording.sent(self.layer(), at, words),
            Err(error) => self.ending = Some(ending(&error)),
        }
    }

    /// Sends a list that is to expire on its way, waits for what comes back, and lets it through.
    async fn say_limited(&mut self, list: &[u8], ttl: u8) {
        let (Some(tracing), Channel::Plain(stream)) = (&mut self.tracing, &mut self.channel) else {
            return self.say(list).await;
        };
        if tracing.limit(stream, ttl).is_err() {
            self.tracing = None;
            return self.say(list).await;
        }
        let at = Elapsed(self.shared.clock.now());
        let written = stream.write_all(list).await;
        tracing.sent(ttl, self.recording.place(), list);
        let mut buffer = [0; READ_SIZE];
        let mut read = None;
        if written.is_ok() {
            tokio::select! {
                () = tracing.quoted() => {}
                bytes = stream.read(&mut buffer) => {
                    if matches!(bytes, Ok(1..)) {
                        tracing.arrived();
                    }
                    read = Some(bytes);
                }
                () = tokio::time::sleep(QUOTE_WAIT) => {
                    // Acknowledged without a word: somebody took it, who is at most this far away.
                    if sys::tcp_state(&*stream).is_ok_and(|state| state.unacknowledged == 0) {
                        tracing.arrived();
                    }
                }
            }
        }
        let lifted = tracing.lift(stream);
        match written.and(lifted) {
            Ok(()) => self.recording.sent(Layer::Plain, at, list),
            Err(error) => self.ending = Some(ending(&error)),
        }
        if let Some(read) = read {
            self.received(read, &buffer);
        }
    }

    async fn read(&mut self) {
        let mut buffer = [0; READ_SIZE];
        let silence = self.shared.registry.limits().silence;
        let reading = async {
            match &mut self.channel {
                Channel::Plain(stream) => stream.read(&mut buffer).await,
                Channel::Inside(stream) => stream.read(&mut buffer).await,
                Channel::Gone => Ok(0),
            }
        };
        let read = tokio::select! {
            read = tokio::time::timeout(silence, reading) => read,
            () = until_due(&mut self.due) => {
                self.ending = Some(Ending::Limit);
                return;
            }
        };
        if let Ok(read) = read {
            return self.received(read, &buffer);
        }
        let words = self.mail.turned_away("you say nothing");
        self.say(&words).await;
        self.ending = Some(Ending::Limit);
    }

    fn received(&mut self, read: io::Result<usize>, buffer: &[u8]) {
        let at = Elapsed(self.shared.clock.now());
        match read {
            Ok(0) => self.ending = Some(Ending::Peer),
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                let room = self.shared.registry.limits().bytes_per_connection;
                let room = room.saturating_sub(self.recording.length());
                let kept = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
                let (kept, beyond) = bytes.split_at(kept);
                self.recording.received(self.layer(), at, kept);
                self.unread.extend_from_slice(kept);
                if !beyond.is_empty() {
                    self.recording.discarded(beyond.len());
                    self.ending = Some(Ending::Limit);
                }
            }
            Err(error) => self.ending = Some(ending(&error)),
        }
    }

    async fn upgrade(&mut self) {
        if self.ending.is_some() {
            return;
        }
        let Channel::Plain(stream) = std::mem::replace(&mut self.channel, Channel::Gone) else {
            return;
        };
        let limit = self.shared.registry.limits().handshake;
        let acceptor = TlsAcceptor::from(Arc::clone(&self.shared.tls));
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(limit, acceptor.accept(stream)) => shaken.ok(),
            () = until_due(&mut self.due) => None,
        };
        match shaken {
            Some(Ok(inside)) => {
                self.tls_completed = Some(true);
                self.mail.upgraded();
                self.channel = Channel::Inside(Box::new(inside));
            }
            Some(Err(error)) => {
                self.tls_completed = Some(false);
                self.ending = Some(ending(&error));
            }
            None => {
                self.tls_completed = Some(false);
                self.ending = Some(Ending::Limit);
            }
        }
    }

    /// Closes, and gives the client time to close first where it was told goodbye.
    async fn part(&mut self) {
        if let (Some(tracing), Channel::Plain(stream)) = (&mut self.tracing, &self.channel) {
            // A segment that is still on its way must not expire for ever.
            let _ = tracing.lift(stream);
        }
        let mut rest = [0; READ_SIZE];
        let parting = async {
            match &mut self.channel {
                Channel::Plain(stream) => {
                    stream.shutdown().await?;
                    while stream.read(&mut rest).await? > 0 {}
                }
                Channel::Inside(stream) => {
                    stream.shutdown().await?;
                    while stream.read(&mut rest).await? > 0 {}
                }
                Channel::Gone => {}
            }
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(PARTING, parting).await;
    }

    fn into_record(self) -> (Option<Token>, WitnessedConnection) {
        let service = WitnessService::Mail {
            protocol: self.protocol,
        };
        let tap = self.shared.tap.as_deref();
        let mut record = self.arrival.record(self.token.as_ref(), service, tap);
        record.transcript = self.recording.finish();
        record.tls_completed = self.tls_completed;
        record.trace = self.tracing.and_then(Tracing::finish);
        record.ending = self.ending.unwrap_or(Ending::Limit);
        (self.token, record)
    }
}

/// Until the session's report is due; without a session, for ever.
pub(super) async fn until_due(due: &mut Option<watch::Receiver<bool>>) {
    let told = match due {
        Some(due) => due.wait_for(|due| *due).await.is_ok(),
        None => false,
    };
    // A session that was given up without a report hurries nobody.
    if !told {
        std::future::pending::<()>().await;
    }
}

/// How a connection ended that failed with this error.
pub(super) fn ending(error: &io::Error) -> Ending {
    if classify::kind(error) == FailureKind::Reset {
        Ending::Reset
    } else {
        Ending::Peer
    }
}
