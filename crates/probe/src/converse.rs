//! The one driver of a session over a socket: it dials, reads, writes, waits, begins TLS and keeps the record.
//!
//! Everything a peer can do to it is an outcome. It must not know the protocols: the script and the
//! session do.

use std::{future::pending, io, net::SocketAddr, time::Duration};

use hoofbeat_net::{classify, dial};
use hoofbeat_observation::{
    Body, Connect, Dialogue, Ending, Failure, FailureKind, Handshake, HandshakeOutcome,
    LegacyHello, Measurement, Operation, Role, Source, Variation,
};
use hoofbeat_session::{
    Conversation, Elapsed, Event, Exchange, Label, Outcome, Script, Transcript,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Ask, Context,
    context::GUESS_LIMIT,
    delivery::{self, Delivery},
    handshake,
    handshake::Inside,
    legacy, plan,
    verifier::Presented,
};

/// Most bytes of one read; what the network brings at once is one segment of the record.
const READ_SIZE: usize = 16 << 10;

/// How long a closing TLS channel may take: a courtesy to the peer's log.
const PARTING: Duration = Duration::from_millis(50);

/// Makes one connection, speaks the ask's script and records what happened. It makes no second attempt.
pub async fn converse(ask: &Ask, context: &Context) -> Measurement {
    watched(ask, context, &|_| {}).await
}

/// The same; each finished step is shown as it ends.
pub(crate) async fn watched(
    ask: &Ask,
    context: &Context,
    on_step: &(dyn Fn(&Exchange) + Sync),
) -> Measurement {
    let script = |local| {
        let own = || plan::address_literal(local);
        let name = context.client_name.clone().unwrap_or_else(own);
        plan::script(ask, &name, context)
    };
    speaking(ask, script, context, on_step).await
}

/// The same with a script of the caller's, who is told our end's address.
pub(crate) async fn speaking(
    ask: &Ask,
    script: impl FnOnce(Option<SocketAddr>) -> Script,
    context: &Context,
    on_step: &(dyn Fn(&Exchange) + Sync),
) -> Measurement {
    let mut dialogue = Dialogue {
        service: ask.service.clone(),
        protocol: ask.service.scheme.protocol(),
        role: ask.role.clone(),
        variation: ask.variation,
        source: Source::Live,
        route: context.route.to_string(),
        connect: Connect {
            started: context.now(),
            ..Connect::default()
        },
        transcript: Transcript::default(),
        exchanges: Vec::new(),
        handshake: None,
        legacy: None,
        swallowed: None,
        ending: Ending::None,
    };
    match connect(ask, context, &mut dialogue.connect).await {
        Ok((stream, local)) => {
            let conversation = Conversation::new(script(local), context.now());
            let talk = Talk {
                ask,
                context,
                delivery: Delivery::of(&stream, context.clock),
                channel: Channel::Plain(stream),
                peer: None,
                was_reset: false,
                handshake: None,
                legacy: None,
                swallowed: None,
            };
            talk.run(conversation, on_step, &mut dialogue).await;
        }
        Err(failure) => dialogue.connect.failure = Some(failure),
    }
    context.measurement(Body::Dialogue(dialogue))
}

async fn connect(
    ask: &Ask,
    context: &Context,
    connect: &mut Connect,
) -> Result<(TcpStream, Option<SocketAddr>), Failure> {
    let address = ask.service.address.ok_or_else(|| Failure {
        operation: Operation::Connect,
        kind: FailureKind::NoSuchRecord,
        raw: "no address is known for this host".to_owned(),
    })?;
    let unlikely = ask.tentative || matches!(ask.role, Role::Sibling | Role::NegativeControl);
    let limit = if unlikely {
        GUESS_LIMIT.min(context.connect_limit)
    } else {
        context.connect_limit
    };
    let limit = limit.min(context.time_left());
    let address = SocketAddr::new(address, ask.service.port);
    let dialled = dial(address, &context.route, limit, &context.clock).await?;
    connect.started = Elapsed(dialled.started);
    connect.established = Some(Elapsed(dialled.established));
    connect.local = dialled.local.map(|local| local.to_string());
    Ok((dialled.stream, dialled.local))
}

/// What the bytes go through.
enum Channel {
    Plain(TcpStream),
    Inside(Box<Inside>),
    /// After a failed handshake there is none.
    Gone,
}

impl Channel {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer).await,
            Self::Inside(stream) => stream.read(buffer).await,
            Self::Gone => pending().await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Inside(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Gone => Ok(()),
        }
    }
}

struct Talk<'a> {
    ask: &'a Ask,
    context: &'a Context,
    channel: Channel,
    /// How the peer ended the connection, where it did.
    peer: Option<Ending>,
    /// Whether a write met a reset.
    was_reset: bool,
    handshake: Option<(Handshake, Presented)>,
    legacy: Option<LegacyHello>,
    /// Whether the latest bytes arrive.
    delivery: Option<Delivery>,
    /// The step whose bytes do not.
    swallowed: Option<u32>,
}

impl Talk<'_> {
    async fn run(
        mut self,
        mut conversation: Conversation,
        on_step: &(dyn Fn(&Exchange) + Sync),
        dialogue: &mut Dialogue,
    ) {
        let mut buffer = vec![0; READ_SIZE];
        loop {
            // An event may make something to send, so both are emptied before anything is awaited.
            if let Some(event) = conversation.poll_event() {
                match event {
                    Event::Upgrade => self.upgrade(&mut conversation).await,
                    Event::Step(step) => {
                        let ended = usize::try_from(step)
                            .ok()
                            .and_then(|step| conversation.exchanges().get(step));
                        ended.into_iter().for_each(on_step);
                    }
                    Event::Finished => {}
                }
                continue;
            }
            if let Some(segment) = conversation.poll_transmit(self.context.now()) {
                self.write(&segment).await;
                continue;
            }
            if conversation.is_finished() || self.context.time_left().is_zero() {
                break;
            }
            self.wait(&mut conversation, &mut buffer).await;
        }
        let out_of_time = !conversation.is_finished();
        (dialogue.transcript, dialogue.exchanges) = conversation.into_record();
        dialogue.ending = self.ending(&dialogue.exchanges, out_of_time);
        self.part().await;
        dialogue.legacy = self.legacy;
        dialogue.swallowed = self.swallowed;
        dialogue.handshake = self.handshake.map(|(mut record, presented)| {
            presented.check(&mut record, &self.ask.service, self.context);
            record
        });
    }

    /// Where writing fails the peer may still have said why: reading goes on, and meets the end itself.
    async fn write(&mut self, segment: &[u8]) {
        self.delivery.iter_mut().for_each(Delivery::begins);
        let limit = self.context.limits.reply.min(self.context.time_left());
        if let Ok(Err(error)) = tokio::time::timeout(limit, self.channel.write(segment)).await {
            // The kernel tells of a reset once: a read behind this one only says that there is no more.
            self.was_reset |= classify::kind(&error) == FailureKind::Reset;
        }
    }

    /// For bytes, an end, or the time that the session or the whole check allows.
    async fn wait(&mut self, conversation: &mut Conversation, buffer: &mut [u8]) {
        let deadline = self.context.deadline;
        let until = conversation
            .poll_timeout()
            .map_or(deadline, |due| due.0.min(deadline));
        let until = tokio::time::Instant::from_std(self.context.clock.instant(until));
        tokio::select! {
            read = self.channel.read(buffer) => {
                let now = self.context.now();
                match read {
                    Ok(n @ 1..) => conversation.handle_input(buffer.get(..n).unwrap_or_default(), now),
                    Ok(0) if !self.was_reset => {
                        self.peer = Some(Ending::Peer);
                        conversation.handle_eof(now);
                    }
                    Ok(_) => self.reset(conversation),
                    Err(error) if classify::kind(&error) == FailureKind::Reset => self.reset(conversation),
                    // TLS cut off without its goodbye, an alert, or garbage in its place.
                    Err(_) => {
                        self.peer = Some(Ending::Peer);
                        conversation.handle_eof(now);
                    }
                }
            }
            () = tokio::time::sleep_until(until) => conversation.handle_timeout(self.context.now()),
            () = delivery::fails(self.delivery.as_ref()) => {
                let step = u32::try_from(conversation.exchanges().len()).ok();
                self.swallowed = self.swallowed.or(step);
                // Nothing that follows on this connection would arrive either.
                self.delivery = None;
                conversation.handle_swallowed(self.context.now());
            }
        }
    }

    fn reset(&mut self, conversation: &mut Conversation) {
        self.peer = Some(Ending::Reset);
        conversation.handle_reset(self.context.now());
    }

    async fn upgrade(&mut self, conversation: &mut Conversation) {
        let Channel::Plain(mut stream) = std::mem::replace(&mut self.channel, Channel::Gone) else {
            return conversation.handle_upgrade_failed(self.context.now());
        };
        if self.ask.variation == Variation::LegacyTls {
            let limit = self.context.handshake_limit.min(self.context.time_left());
            let name = Some(self.ask.service.host.as_str())
                .filter(|host| host.parse::<std::net::IpAddr>().is_err());
            self.legacy = Some(legacy::ask(&mut stream, name, limit).await);
            return conversation.handle_upgrade_failed(self.context.now());
        }
        let mut delivery = self.delivery.take();
        delivery.iter_mut().for_each(Delivery::begins);
        let attempt =
            handshake::handshake(stream, &self.ask.service, self.context, delivery.as_ref()).await;
        let record = attempt.record;
        match attempt.inside {
            Some(inside) => {
                self.delivery = delivery;
                self.channel = Channel::Inside(inside);
                conversation.handle_upgraded(record.ended);
            }
            None => {
                self.peer = match record.outcome {
                    HandshakeOutcome::Reset => Some(Ending::Reset),
                    HandshakeOutcome::Closed | HandshakeOutcome::Alert { .. } => Some(Ending::Peer),
                    HandshakeOutcome::TimedOut => Some(Ending::Limit),
                    _ => None,
                };
                conversation.handle_upgrade_failed(record.ended);
            }
        }
        self.handshake = Some((record, attempt.presented));
    }

    fn ending(&self, exchanges: &[Exchange], out_of_time: bool) -> Ending {
        let stopped = |exchange: &Exchange| {
            // Silence is what a goodbye and an injected command may well meet.
            let silent = exchange.outcome == Outcome::TimedOut
                && !matches!(exchange.label, Label::Quit | Label::Injected);
            silent || exchange.outcome == Outcome::TooLong
        };
        match self.peer {
            Some(ending) => ending,
            None if out_of_time || exchanges.iter().any(stopped) => Ending::Limit,
            None => Ending::Ours,
        }
    }

    /// Closes; inside TLS with its own goodbye (RFC 8446 §6.1), so that nobody's log cries truncation.
    async fn part(&mut self) {
        if let (Channel::Inside(stream), None) = (&mut self.channel, self.peer) {
            let _ = tokio::time::timeout(PARTING, stream.shutdown()).await;
        }
    }
}
