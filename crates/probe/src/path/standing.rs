//! One ordinary connection to the service, on which single commands leave with a limited TTL.
//!
//! A command that expired on its way is sent again by the kernel, with the TTL of that moment: once it is raised again
//! the server gets the command, answers, and the session goes on. So one connection, hence one path, serves all hops.
//! The TTL is raised before the kernel's first retransmission (a round trip and 200 ms behind the first sending): what
//! came before that was caused by the limited segment. It must not know which TTLs are worth a try.

use std::{io, net::SocketAddr, time::Duration};

use hoofbeat_net::{
    classify, dial,
    sys::{self, Family},
};
use hoofbeat_observation::{
    Answer, Answered, Failure, FailureKind, Operation, Payload, Probe, Quote, QuoteBegins, Service,
};
use hoofbeat_session::{Elapsed, Framer, Label, Progress, Protocol, Status, reply};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::Instant,
};

use super::{
    bench::Bench,
    packet::{self, Complaint, Packet},
    syn, words,
};
use crate::plan;

/// How long a limited segment is left alone beyond a round trip: the kernel sends again after 200 ms.
const WINDOW: Duration = Duration::from_millis(150);

/// So many retransmissions that nobody acknowledges: a path that loses every fourth packet is no box that swallows
/// commands.
const SWALLOWED: u32 = 4;

/// Longest wait for a reply that is sent again and again.
const AGAIN: Duration = Duration::from_millis(2500);

/// Longest wait for a reply to a command that was acknowledged.
const REPLY: Duration = Duration::from_secs(8);

/// Longest wait for a greeting: postscreen and tarpits take their time.
const GREETING: Duration = Duration::from_secs(20);

/// Most bytes of one reply.
const MOST_REPLY: usize = 64 << 10;

/// Most bytes of a reply that are recorded.
const KEPT_REPLY: usize = 4 << 10;

/// How often a socket is asked for what it does not tell by itself.
const TICK: Duration = Duration::from_millis(10);

/// How the session stands after a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum After {
    /// The server replied; another command may follow.
    Replied(Vec<u8>),
    /// The command was never acknowledged, not even with a full TTL.
    Swallowed,
    /// It was acknowledged and not answered in time.
    Silent,
    /// The connection is over.
    Over,
}

/// See above.
pub(super) struct Standing<'a> {
    bench: &'a Bench<'a>,
    stream: TcpStream,
    address: SocketAddr,
    family: Family,
    protocol: Protocol,
    /// The TTL of a packet that is not limited.
    full: u8,
    pub(super) local: SocketAddr,
    news: Option<watch::Receiver<u64>>,
    count: u8,
    /// Bytes that came behind a reply.
    behind: Vec<u8>,
    is_over: bool,
}

impl<'a> Standing<'a> {
    /// Connects, hears the greeting and asks what is offered.
    ///
    /// # Errors
    /// Where there is no connection, or the server does not want to talk.
    pub(super) async fn open(
        bench: &'a Bench<'a>,
        service: &Service,
        address: SocketAddr,
    ) -> Result<Self, Failure> {
        let context = bench.context;
        let limit = context.connect_limit.min(context.time_left());
        let dialled = dial(address, &context.route, limit, &context.clock).await?;
        let failed = |error: io::Error| classify::failure(Operation::Connect, &error);
        let local = dialled.stream.local_addr().map_err(failed)?;
        if let Some(inbox) = bench.inbox {
            inbox.own(local.port());
        }
        let family = Family::from(address.ip());
        let protocol = service.scheme.protocol();
        let mut standing = Self {
            bench,
            full: sys::ttl(&dialled.stream, family).map_err(failed)?,
            stream: dialled.stream,
            address,
            family,
            protocol,
            local,
            news: bench.inbox.map(|inbox| inbox.news()),
            count: 0,
            behind: Vec::new(),
            is_over: false,
        };
        let limit = context.limits.greeting.min(GREETING);
        let greeting = standing.reply(Label::Greeting, None, limit).await;
        standing.expect(Label::Greeting, &greeting)?;
        let name = match &context.client_name {
            Some(name) => name.0.clone(),
            None => plan::address_literal(Some(local)).0,
        };
        let command = words::opening(protocol, &name);
        standing.say(&command).await;
        let tag = words::tag(protocol, &command);
        let limit = context.limits.reply.min(REPLY);
        let capabilities = standing.reply(Label::Capabilities, tag, limit).await;
        // A refused EHLO is an answer; only somebody who says nothing cannot be talked to.
        match capabilities {
            Ok(_) => Ok(standing),
            Err(end) => Err(end.failure()),
        }
    }

    /// One command with a limited TTL, everything that it caused, and how the session stands then.
    pub(super) async fn limited(&mut self, ttl: u8, payload: Payload) -> (Probe, After) {
        let command = match payload {
            Payload::UnknownVerb => words::unknown(&self.bench.context.unknown_verb),
            _ => self.command(payload),
        };
        let mut probe = self.probe(ttl, payload, &command);
        let _ = self.stream.take_error();
        let _ = sys::set_ttl(&self.stream, self.family, ttl);
        let begun = Instant::now();
        probe.at = self.now();
        self.say(&command).await;
        let window = self.window();
        let mut heard = self.hear(&mut probe, &command, begun + window).await;
        if matches!(heard, Ok(None)) {
            self.acknowledged(&mut probe);
        }
        let _ = sys::set_ttl(&self.stream, self.family, self.full);
        probe.restored = Some(self.now());
        let earlier = self.state().retransmitted;
        if matches!(heard, Ok(None)) {
            heard = self.wait_out(&mut probe, &command, begun).await;
        }
        let after = match heard {
            Ok(Some(reply)) => After::Replied(reply),
            Ok(None)
                if self.unacknowledged() && self.state().retransmitted >= earlier + SWALLOWED =>
            {
                After::Swallowed
            }
            Ok(None) => After::Silent,
            Err(_) => After::Over,
        };
        self.is_over |= after == After::Over;
        self.complete(&mut probe);
        (probe, after)
    }

    /// Asks with a full TTL that TLS begin. Whether it may, and nothing at all follows for a while: a server that breaks off
    /// by itself must not seem to do so because of what is said next.
    pub(super) async fn start_tls(&mut self, quiet: Duration) -> bool {
        let command = self.command(Payload::StartTls);
        self.say(&command).await;
        let tag = words::tag(self.protocol, &command);
        let heard = self.reply(Label::StartTls, tag, REPLY).await;
        // Words behind the reply would be taken for an answer to what comes next.
        let begins = heard.is_ok_and(|reply| self.begins_tls(&reply)) && self.behind.is_empty();
        let mut more = [0; 1];
        begins
            && tokio::time::timeout(quiet, self.stream.read(&mut more))
                .await
                .is_err()
    }

    /// The next command of its kind, with a tag of its own where the protocol has tags.
    pub(super) fn command(&mut self, payload: Payload) -> Vec<u8> {
        self.count = self.count.wrapping_add(1) % 100;
        words::command(self.protocol, payload, self.count)
    }

    /// One message that never gets through, at several TTLs: each retransmission of the kernel leaves with the next.
    /// `next` is told the latest probe and names the TTL that follows.
    pub(super) async fn retransmitted(
        &mut self,
        payload: Payload,
        command: Vec<u8>,
        most: usize,
        mut next: impl FnMut(Option<&Probe>) -> Option<u8>,
    ) -> Vec<Probe> {
        let mut probes = Vec::new();
        let Some(first) = next(None) else {
            return probes;
        };
        let _ = self.stream.take_error();
        let _ = sys::set_ttl(&self.stream, self.family, first);
        let mut probe = self.probe(first, payload, &command);
        self.say(&command).await;
        loop {
            let window = self.window();
            let heard = self
                .hear(&mut probe, &command, Instant::now() + window)
                .await;
            if matches!(heard, Ok(None)) {
                // What is no line of text, and has no end, was said all the same.
                let said = std::mem::take(&mut self.behind);
                if !said.is_empty() {
                    self.answered(&mut probe, &said);
                }
                self.acknowledged(&mut probe);
            }
            self.complete(&mut probe);
            let following = next(Some(&probe)).filter(|_| probes.len() + 1 < most);
            let is_answered = !matches!(heard, Ok(None)) || !self.unacknowledged();
            let ttl = following.filter(|_| !is_answered);
            probes.push(probe);
            let Some(ttl) = ttl else { break };
            let earlier = self.state().retransmitted;
            // Whatever leaves from now on bears this TTL.
            probe = self.probe(ttl, payload, &command);
            let _ = sys::set_ttl(&self.stream, self.family, ttl);
            // Twice what the kernel says it waits, for it doubles.
            let limit = Instant::now() + self.state().timeout * 2 + WINDOW;
            while self.state().retransmitted == earlier {
                if Instant::now() > limit || self.bench.context.time_left().is_zero() {
                    let _ = sys::set_ttl(&self.stream, self.family, self.full);
                    return probes;
                }
                tokio::time::sleep(TICK).await;
            }
        }
        let _ = sys::set_ttl(&self.stream, self.family, self.full);
        probes
    }

    /// Whether a reply to STARTTLS began TLS: then nothing more can be said in the clear.
    pub(super) fn begins_tls(&self, bytes: &[u8]) -> bool {
        let reply = reply::read(self.protocol, Label::StartTls, bytes);
        reply::is_ready_for_tls(self.protocol, &reply)
    }

    /// Whether the server hangs up.
    pub(super) fn is_goodbye(&self, bytes: &[u8]) -> bool {
        reply::read(self.protocol, Label::Noop, bytes).status == Status::Goodbye
    }

    /// Hears a reply to a command while what travels too far is dropped: the TTL that the reply came with, when it is
    /// found; and the bytes.
    pub(super) async fn arrival(
        &mut self,
        payload: Payload,
        expected: u8,
    ) -> (Option<u8>, Option<Vec<u8>>) {
        self.count = self.count.wrapping_add(1) % 100;
        let command = words::command(self.protocol, payload, self.count);
        let above = expected.saturating_add(1);
        let _ = sys::set_minimum_ttl(&self.stream, self.family, above);
        self.say(&command).await;
        let label = words::label(payload, self.protocol);
        let tag = words::tag(self.protocol, &command);
        let window = self.window();
        let mut found = None;
        let mut heard = self.reply(label, tag, window).await;
        if matches!(heard, Err(End::Silent)) {
            let _ = sys::set_minimum_ttl(&self.stream, self.family, expected);
            heard = self.reply(label, tag, AGAIN).await;
            found = heard.is_ok().then_some(expected);
        }
        let _ = sys::set_minimum_ttl(&self.stream, self.family, 0);
        if matches!(heard, Err(End::Silent)) {
            heard = self.reply(label, tag, REPLY).await;
        }
        if heard.is_err() {
            self.is_over = true;
        }
        (found, heard.ok())
    }

    /// Whether a reply to the control command comes with at least this TTL.
    pub(super) async fn comes_with(&mut self, minimum: u8) -> Option<bool> {
        self.count = self.count.wrapping_add(1) % 100;
        let command = words::command(self.protocol, Payload::Control, self.count);
        let _ = sys::set_minimum_ttl(&self.stream, self.family, minimum);
        self.say(&command).await;
        let label = words::label(Payload::Control, self.protocol);
        let tag = words::tag(self.protocol, &command);
        let window = self.window();
        let first = self.reply(label, tag, window).await;
        let _ = sys::set_minimum_ttl(&self.stream, self.family, 0);
        match first {
            Ok(_) => Some(true),
            Err(End::Silent) => match self.reply(label, tag, REPLY).await {
                Ok(_) => Some(false),
                Err(_) => {
                    self.is_over = true;
                    None
                }
            },
            Err(_) => {
                self.is_over = true;
                None
            }
        }
    }

    /// Whether routers' quotes are heard.
    pub(super) const fn has_quotes(&self) -> bool {
        self.bench.inbox.is_some()
    }

    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Says goodbye with a full TTL and closes.
    pub(super) async fn quit(mut self) {
        let _ = sys::set_ttl(&self.stream, self.family, self.full);
        if !self.is_over && !self.unacknowledged() {
            self.say(words::goodbye(self.protocol).as_bytes()).await;
        }
        syn::drain(&mut self.stream).await;
    }

    /// Closes without a word: the server expects a TLS handshake now.
    pub(super) async fn hang_up(mut self) {
        let _ = sys::set_ttl(&self.stream, self.family, self.full);
        syn::drain(&mut self.stream).await;
    }

    fn probe(&self, ttl: u8, payload: Payload, command: &[u8]) -> Probe {
        Probe {
            ttl,
            source_port: self.local.port(),
            payload,
            sent: command.to_vec(),
            packet: Vec::new(),
            left: None,
            acknowledged: None,
            at: self.now(),
            restored: None,
            answers: Vec::new(),
        }
    }

    fn now(&self) -> Elapsed {
        self.bench.context.now()
    }

    fn state(&self) -> sys::TcpState {
        sys::tcp_state(&self.stream).unwrap_or_default()
    }

    /// Every hop's answer comes within a round trip; the kernel sends again a little later than this.
    fn window(&self) -> Duration {
        // A SYN that was lost makes the kernel believe in a long path.
        let rtt = self.state().rtt.min(self.bench.round_trip());
        (rtt + WINDOW).min(Duration::from_secs(1))
    }

    fn unacknowledged(&self) -> bool {
        self.state().unacknowledged > 0
    }

    fn acknowledged(&self, probe: &mut Probe) {
        let spoken = |answer: &Answer| matches!(answer.what, Answered::Reply { .. });
        if !self.unacknowledged() && !probe.answers.iter().any(spoken) {
            let (at, what) = (self.now(), Answered::Acknowledged);
            probe.answers.push(Answer {
                at,
                ttl: None,
                what,
            });
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        let limit = self.bench.context.limits.reply.min(REPLY);
        // Where writing fails, reading meets the end itself.
        let _ = tokio::time::timeout(limit, self.stream.write_all(bytes)).await;
    }

    /// What the limited command causes until a moment: errors, a reply, an end. A whole reply ends it early.
    async fn hear(
        &mut self,
        probe: &mut Probe,
        command: &[u8],
        until: Instant,
    ) -> Result<Option<Vec<u8>>, End> {
        let label = words::label(probe.payload, self.protocol);
        let mut framer = Framer::new(
            self.protocol,
            label,
            words::tag(self.protocol, command),
            2048,
        );
        let mut bytes = std::mem::take(&mut self.behind);
        let mut buffer = [0; 4096];
        loop {
            if let Progress::Complete(length) | Progress::TooManyLines(length) =
                framer.advance(&bytes)
            {
                self.behind = bytes.split_off(length.min(bytes.len()));
                self.answered(probe, &bytes);
                return Ok(Some(bytes));
            }
            let tick = (Instant::now() + TICK).min(until);
            tokio::select! {
                read = self.stream.read(&mut buffer) => match read {
                    Ok(n @ 1..) => {
                        bytes.extend_from_slice(buffer.get(..n).unwrap_or_default());
                        if bytes.len() > MOST_REPLY {
                            self.answered(probe, &bytes);
                            return Err(End::Malformed);
                        }
                    }
                    ended => {
                        if !bytes.is_empty() {
                            self.answered(probe, &bytes);
                        }
                        let (end, what) = match ended {
                            Ok(_) => (End::Closed, Answered::Closed),
                            Err(error) if classify::kind(&error) == FailureKind::Reset => {
                                (End::Reset, Answered::Reset)
                            }
                            // A soft error of the path: the connection stands.
                            Err(error) if error.kind() == io::ErrorKind::HostUnreachable => continue,
                            Err(_) => (End::Closed, Answered::Closed),
                        };
                        probe.answers.push(Answer { at: self.now(), ttl: None, what });
                        return Err(end);
                    }
                },
                () = tokio::time::sleep_until(tick) => {
                    self.soft_error(probe);
                    if Instant::now() >= until {
                        // What came of a reply stays for the next who listens.
                        self.behind = bytes;
                        return Ok(None);
                    }
                }
                () = changed(&mut self.news) => {}
            }
        }
    }

    /// Waits for the reply to the retransmission: shortly while the command is not acknowledged, longer once it is.
    async fn wait_out(
        &mut self,
        probe: &mut Probe,
        command: &[u8],
        begun: Instant,
    ) -> Result<Option<Vec<u8>>, End> {
        let patience = self.bench.context.limits.reply.min(REPLY);
        let before = self.state().retransmitted;
        loop {
            let slice = Instant::now() + Duration::from_millis(100);
            let heard = self.hear(probe, command, slice).await;
            if !matches!(heard, Ok(None)) {
                return heard;
            }
            let waited = begun.elapsed();
            let again = self.state().retransmitted.saturating_sub(before);
            let swallowed =
                probe.payload != Payload::Control && self.unacknowledged() && again >= SWALLOWED;
            if swallowed || waited > patience || self.bench.context.time_left().is_zero() {
                return Ok(None);
            }
        }
    }

    fn answered(&self, probe: &mut Probe, bytes: &[u8]) {
        let kept = bytes.get(..KEPT_REPLY).unwrap_or(bytes).to_vec();
        // What was taken for a bare acknowledgement turns out to be spoken.
        probe.answers.push(Answer {
            at: self.now(),
            ttl: None,
            what: Answered::Reply { bytes: kept },
        });
    }

    /// Without raw sockets the kernel tells, once and when asked, that a segment expired somewhere.
    fn soft_error(&self, probe: &mut Probe) {
        if self.bench.inbox.is_some() || probe.restored.is_some() {
            return;
        }
        let expired = matches!(
            self.stream.take_error(),
            Ok(Some(error)) if error.kind() == io::ErrorKind::HostUnreachable
        );
        let known = probe.answers.iter().any(|a| a.what == Answered::Expired);
        if expired && !known {
            let at = self.now();
            probe.answers.push(Answer {
                at,
                ttl: None,
                what: Answered::Expired,
            });
        }
    }

    /// Completes a probe by what was captured: the packet, what routers said of it, and the TTLs of replies.
    fn complete(&self, probe: &mut Probe) {
        let Some(inbox) = self.bench.up_to_now() else {
            return;
        };
        let flow = inbox.flow(self.local.port(), self.address);
        // What answers on this host may answer before the packet has left it.
        let written = probe.at;
        // The two clocks are read one after the other; once the packet is found, its own time counts.
        let mut since = Elapsed(probe.at.0.saturating_sub(Duration::from_millis(2)));
        let is_ours = |segment: &packet::Segment<'_>| segment.from_port == self.local.port();
        let sent = flow.iter().find(|(at, bytes)| match packet::read(bytes) {
            Some(Packet::Tcp(segment)) => {
                is_ours(&segment)
                    && *at >= since
                    && segment.ttl == probe.ttl
                    && segment.payload == Some(&probe.sent)
            }
            _ => false,
        });
        let mut sequence = None;
        if let Some((at, bytes)) = sent {
            probe.at = *at;
            probe.left = Some(*at);
            since = *at;
            if let Some(Packet::Tcp(segment)) = packet::read(bytes) {
                sequence = segment.sequence;
            }
            probe.packet.clone_from(bytes);
        }
        let length = u32::try_from(probe.sent.len()).unwrap_or(u32::MAX);
        probe.acknowledged = sequence.and_then(|first| {
            let end = first.wrapping_add(length);
            let mut packets = flow.iter();
            let (at, _) = packets.find(|(_, bytes)| match packet::read(bytes) {
                Some(Packet::Tcp(segment)) => !is_ours(&segment) && segment.acknowledges(end),
                _ => false,
            })?;
            Some(*at)
        });
        let own: Vec<Option<u32>> = flow
            .iter()
            .filter_map(|(_, bytes)| match packet::read(bytes) {
                Some(Packet::Tcp(segment)) if is_ours(&segment) => Some(segment.sequence),
                _ => None,
            })
            .collect();
        // The length of a bare acknowledgement, which may expire as well.
        let bare = probe.packet.len().saturating_sub(probe.sent.len());
        for heard in inbox.about(self.local.port(), self.address.port()) {
            // By its sequence number an error about another of our packets is told from ours; where somebody rewrites
            // those, by the length.
            let is_other = heard.sequence != sequence
                && (own.contains(&heard.sequence) || packet::told_length(&heard.quote) <= bare);
            if heard.at < since || is_other {
                continue;
            }
            let quote = Some(Quote {
                begins: QuoteBegins::Ip,
                bytes: heard.quote,
            });
            let from = heard.from;
            let what = match heard.complaint {
                Complaint::TimeExceeded => Answered::TimeExceeded { from, quote },
                Complaint::Unreachable(code) => Answered::Unreachable { from, code, quote },
            };
            probe.answers.push(Answer {
                at: heard.at,
                ttl: heard.ttl,
                what,
            });
        }
        for answer in &mut probe.answers {
            if let Some((at, ttl)) = came(&flow, since.min(written), self.local.port(), answer) {
                answer.at = at;
                answer.ttl = answer.ttl.or(Some(ttl));
                probe.at = probe.at.min(at);
            }
        }
        probe.answers.sort_by_key(|answer| answer.at);
    }

    async fn reply(
        &mut self,
        label: Label,
        tag: Option<&[u8]>,
        limit: Duration,
    ) -> Result<Vec<u8>, End> {
        let until = Instant::now() + limit.min(self.bench.context.time_left());
        let mut framer = Framer::new(self.protocol, label, tag, 2048);
        let mut bytes = std::mem::take(&mut self.behind);
        let mut buffer = [0; 4096];
        loop {
            if let Progress::Complete(length) = framer.advance(&bytes) {
                self.behind = bytes.split_off(length.min(bytes.len()));
                return Ok(bytes);
            }
            if bytes.len() > MOST_REPLY {
                return Err(End::Malformed);
            }
            match tokio::time::timeout_at(until, self.stream.read(&mut buffer)).await {
                Ok(Ok(n @ 1..)) => bytes.extend_from_slice(buffer.get(..n).unwrap_or_default()),
                Ok(Ok(_)) => return Err(End::Closed),
                Ok(Err(error)) if classify::kind(&error) == FailureKind::Reset => {
                    return Err(End::Reset);
                }
                Ok(Err(_)) => return Err(End::Closed),
                Err(_) => {
                    self.behind = bytes;
                    return Err(End::Silent);
                }
            }
        }
    }

    fn expect(&self, label: Label, heard: &Result<Vec<u8>, End>) -> Result<(), Failure> {
        let bytes = match heard {
            Ok(bytes) => bytes,
            Err(end) => return Err(end.failure()),
        };
        match reply::read(self.protocol, label, bytes).status {
            Status::Positive | Status::Intermediate => Ok(()),
            _ => Err(Failure {
                operation: Operation::Talk,
                kind: FailureKind::Closed,
                raw: format!(
                    "the server does not want to talk: {}",
                    String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).trim_end()
                ),
            }),
        }
    }
}

/// How a wait for a reply ended without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Silent,
    Closed,
    Reset,
    Malformed,
}

impl End {
    fn failure(self) -> Failure {
        let (kind, raw) = match self {
            Self::Silent => (FailureKind::TimedOut, "the server said nothing in time"),
            Self::Closed => (FailureKind::Closed, "the server closed the connection"),
            Self::Reset => (FailureKind::Reset, "the connection was reset"),
            Self::Malformed => (FailureKind::Other, "the reply has no end"),
        };
        Failure {
            operation: Operation::Talk,
            kind,
            raw: raw.to_owned(),
        }
    }
}

async fn changed(news: &mut Option<watch::Receiver<u64>>) {
    let heard = match news {
        Some(news) => news.changed().await.is_ok(),
        None => false,
    };
    // Nobody is left who could bring news.
    if !heard {
        std::future::pending::<()>().await;
    }
}

/// When and with which TTL the packet was captured that an answer was read from, at or after `since`.
fn came(
    flow: &[(Elapsed, Vec<u8>)],
    since: Elapsed,
    local_port: u16,
    answer: &Answer,
) -> Option<(Elapsed, u8)> {
    let wants = |segment: &packet::Segment<'_>| match &answer.what {
        Answered::Reply { bytes } => segment
            .payload
            .is_some_and(|payload| !payload.is_empty() && bytes.starts_with(payload)),
        Answered::Reset => segment.has(packet::RST),
        Answered::Closed => segment.has(packet::FIN),
        _ => false,
    };
    flow.iter()
        .filter(|(at, _)| *at >= since)
        .find_map(|(at, bytes)| match packet::read(bytes) {
            Some(Packet::Tcp(segment)) if segment.from_port != local_port && wants(&segment) => {
                Some((*at, segment.ttl))
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the server's port 25, with a TTL.
    fn reply(ttl: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(40 + payload.len()).unwrap();
        let mut bytes = vec![
            0x45, 0, 0, length, 0, 7, 0x40, 0, ttl, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1,
        ];
        bytes.extend([
            0, 25, 0x9c, 0x40, 0, 0, 1, 0, 0, 0, 2, 0, 0x50, 0x18, 1, 0, 0, 0, 0, 0,
        ]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn an_answer_is_found_by_its_words_from_a_moment_on() {
        let at = Elapsed::from_millis;
        let flow = [
            (at(10), reply(58, b"250 Ok\r\n")),
            // What answers on this host does so before the question, sent at 20, is captured at 30.
            (at(25), reply(64, b"500 No\r\n")),
            (at(40), reply(58, b"500 No\r\n")),
        ];
        let read = Answer {
            at: at(50),
            ttl: None,
            what: Answered::Reply {
                bytes: b"500 No\r\n".to_vec(),
            },
        };
        assert_eq!(came(&flow, at(20), 40_000, &read), Some((at(25), 64)));
        assert_eq!(came(&flow, at(30), 40_000, &read), Some((at(40), 58)));
        assert_eq!(came(&flow, at(41), 40_000, &read), None);
        assert_eq!(came(&flow, at(0), 25, &read), None, "our own packets");
    }
}
