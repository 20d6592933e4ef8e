//! The witness's end of the control channel: one session for each connection, one report for each session.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::try_join};
use hoofbeat_session::Elapsed;
use ring::rand::SecureRandom as _;
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Shared, connection::Arrival, registry, registry::Place, report, trace, wording::Wording,
};
use crate::witness::{
    message::{self, Answer, Hello, LONGEST_REQUEST, MOST_LOOKS, PROTOCOL, Request, Session},
    token,
};

/// Between two looks whether the session's connections are over.
const LOOK: Duration = Duration::from_millis(10);
/// Longest name of a client's program that is listened to.
const LONGEST_TOOL: usize = 200;

/// Serves one control connection.
pub(super) async fn serve(stream: TcpStream, arrival: Arrival, shared: Arc<Shared>, place: Place) {
    let limit = shared.registry.limits().handshake;
    let acceptor = TlsAcceptor::from(Arc::clone(&shared.control_tls));
    if let Ok(Ok(stream)) = tokio::time::timeout(limit, acceptor.accept(stream)).await {
        let mut channel = Channel {
            stream: BufReader::new(stream),
            shared: &shared,
        };
        // What the client does wrong is answered in there; a broken connection needs no answer.
        let _ = channel.attend(&arrival).await;
        let goodbye = channel.stream.get_mut().shutdown();
        let _ = tokio::time::timeout(limit, goodbye).await;
    }
    drop(place);
}

struct Channel<'a> {
    stream: BufReader<TlsStream<TcpStream>>,
    shared: &'a Shared,
}

/// The connection is over.
struct Broken;

impl Channel<'_> {
    async fn attend(&mut self, arrival: &Arrival) -> Result<(), Broken> {
        let limits = *self.shared.registry.limits();
        let hello = match self.hear(limits.handshake).await? {
            Request::Hello(hello) if acceptable(&hello) => hello,
            Request::Hello(_) => {
                let why = format!(
                    "this witness speaks {PROTOCOL}, with a nonce of 32 hexadecimal digits, and looks at {MOST_LOOKS} servers at most"
                );
                return self.refuse(why).await;
            }
            Request::Done => return self.refuse("there is no session".to_owned()).await,
        };
        let session = match self.open(hello, arrival) {
            Ok(session) => session,
            Err(why) => return self.refuse(why).await,
        };
        // Whatever happens from here on, the session ends with this connection.
        let ended = self.hold(&session, arrival, &limits).await;
        self.shared.registry.close(&session.id);
        ended
    }

    fn open(&self, hello: Hello, arrival: &Arrival) -> Result<registry::Session, String> {
        let no_random = || "no random numbers".to_owned();
        let mut id = [0; 12];
        let mut wording = [0; 5];
        self.shared.random.fill(&mut id).map_err(|_| no_random())?;
        self.shared
            .random
            .fill(&mut wording)
            .map_err(|_| no_random())?;
        let (now, wall) = (self.shared.clock.now(), self.shared.clock.wall_now());
        self.shared
            .registry
            .open(
                token::session_id(id),
                arrival.peer.ip(),
                hello,
                Wording::new(wording),
                now,
                wall,
            )
            .map_err(|full| full.to_string())
    }

    async fn hold(
        &mut self,
        session: &registry::Session,
        arrival: &Arrival,
        limits: &super::Limits,
    ) -> Result<(), Broken> {
        let may_trace = session.hello.trace && self.shared.listeners.is_some();
        let rounds = match arrival.ttl() {
            Some(ttl) if may_trace => trace::rounds(ttl),
            _ => 0,
        };
        self.say(&Answer::Session(Session {
            session: session.id.clone(),
            tool: self.shared.tool.clone(),
            key: self.shared.key.public().to_base64(),
            client: arrival.peer.ip(),
            ports: self.shared.ports.clone(),
            rounds,
            most_connections: limits.connections_per_session,
            expires_in: u32::try_from(limits.session.as_secs()).unwrap_or(u32::MAX),
        }))
        .await?;
        let shared = self.shared;
        let looking = shared.looker.look_at(
            &session.hello.look,
            session.client,
            arrival.local,
            shared.clock,
            session.opened,
        );
        // Who hangs up is not waited for.
        let (request, looks) = try_join(self.hear(limits.session), looking.map(Result::Ok)).await?;
        match request {
            Request::Done => {}
            Request::Hello(_) => return self.refuse("there is a session already".to_owned()).await,
        }
        if self.is_busy_after(session, limits.closing).await {
            // What never came will not: the report holds what did.
            self.shared.registry.hurry(&session.id);
            self.is_busy_after(session, limits.closing).await;
        }
        let Some(session) = self.shared.registry.close(&session.id) else {
            return self.refuse("the session has expired".to_owned()).await;
        };
        let signed = report::sign(session, looks, shared);
        match signed {
            Ok(report) => self.say(&Answer::Report { report }).await,
            Err(error) => {
                self.refuse(format!("the report cannot be written: {error}"))
                    .await
            }
        }
    }

    /// Waits for connections that may belong to the session; whether some are open all the same.
    async fn is_busy_after(&self, session: &registry::Session, wait: Duration) -> bool {
        let until = Elapsed(self.shared.clock.now()).after(wait);
        while self.shared.registry.is_busy(&session.id) {
            if self.shared.clock.now() >= until.0 {
                return true;
            }
            tokio::time::sleep(LOOK).await;
        }
        false
    }

    async fn hear(&mut self, limit: Duration) -> Result<Request, Broken> {
        match tokio::time::timeout(limit, message::read(&mut self.stream, LONGEST_REQUEST)).await {
            Ok(Ok(request)) => Ok(request),
            Ok(Err(message::MessageError::Io(_) | message::MessageError::Closed)) => Err(Broken),
            Ok(Err(error)) => {
                let _ = self.refuse(error.to_string()).await;
                Err(Broken)
            }
            Err(_) => {
                let _ = self.refuse("that took too long".to_owned()).await;
                Err(Broken)
            }
        }
    }

    async fn refuse(&mut self, why: String) -> Result<(), Broken> {
        self.say(&Answer::Refusal { why }).await
    }

    async fn say(&mut self, answer: &Answer) -> Result<(), Broken> {
        let line = message::line(answer).map_err(|_| Broken)?;
        let limit = self.shared.registry.limits().silence;
        let stream = self.stream.get_mut();
        let written = async {
            stream.write_all(&line).await?;
            stream.flush().await
        };
        match tokio::time::timeout(limit, written).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Broken),
        }
    }
}

fn acceptable(hello: &Hello) -> bool {
    hello.protocol == PROTOCOL
        && message::is_nonce(&hello.nonce)
        && hello.tool.len() <= LONGEST_TOOL
        && hello.look.len() <= MOST_LOOKS
}
