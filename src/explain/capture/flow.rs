//! One TCP connection of a capture: who is the server, what was said when, how it ended.
//!
//! It must not know frames, nor the grammar of mail beyond a greeting's first characters.

use hoofbeat_observation::{
    Connect, Dialogue, Failure, FailureKind, Operation, Scheme, Service,
    recorded::stream::{self, Heard, Surroundings},
};
use hoofbeat_session::{Direction, Elapsed, Label};
use std::{net::SocketAddr, time::Duration};

use super::{
    half::{Came, Half, KEPT},
    packet::Segment,
};
use crate::explain::kept::Dated;

/// Ports on which mail is spoken; 26 and 2525 are common ways around a blocked 25.
const MAIL_PORTS: [u16; 11] = [24, 25, 26, 110, 143, 465, 587, 993, 995, 2525, 4190];
/// Most events of one connection.
const EVENTS: usize = 8192;
/// A SYN that had no answer for so long had none.
const NO_ANSWER: Duration = Duration::from_secs(3);

/// Whether mail is expected on a port.
pub(super) fn is_mail_port(port: u16) -> bool {
    MAIL_PORTS.contains(&port)
}

/// Whether bytes begin as mail servers greet.
pub(super) fn looks_like_greeting(payload: &[u8]) -> bool {
    [
        &b"220 "[..],
        b"220-",
        b"220*",
        b"* OK",
        b"* PREAUTH",
        b"+OK",
        b"\"IMPLEMENTATION\"",
    ]
    .iter()
    .any(|begin| payload.starts_with(begin))
}

/// The opening of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Opening {
    /// The SYN: who sent it, when, and its number.
    pub(super) syn: Option<(SocketAddr, Duration, u32)>,
    /// The SYN-ACK.
    pub(super) syn_ack: Option<(SocketAddr, Duration, u32)>,
    /// How many SYNs there were.
    pub(super) syns: u32,
}

impl Opening {
    /// Notes a segment that opens.
    pub(super) fn note(&mut self, segment: &Segment<'_>, at: Duration) {
        if !segment.syn {
            return;
        }
        let seen = (segment.from, at, segment.sequence);
        if segment.acknowledged.is_some() {
            self.syn_ack.get_or_insert(seen);
        } else {
            self.syn.get_or_insert(seen);
            self.syns = self.syns.saturating_add(1);
        }
    }
}

#[derive(Debug)]
enum Event {
    Came(usize, Came),
    Closed(usize, Duration),
    Reset(usize, Duration),
}

/// The connection.
#[derive(Debug)]
pub(super) struct Flow {
    ends: [SocketAddr; 2],
    halves: [Half; 2],
    opening: Opening,
    events: Vec<Event>,
    first: Duration,
    last: Duration,
    /// The side whose first payload looked like a greeting.
    greeter: Option<usize>,
    /// Time to live of each side's ordinary packets, and of its first reset.
    ttl: [Option<u8>; 2],
    reset_ttl: [Option<u8>; 2],
    cut: u64,
    over: bool,
}

/// What is told of a connection besides the dialogue.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    pub(super) notes: Vec<String>,
}

impl Flow {
    /// A connection of which a segment was seen.
    pub(super) fn new(segment: &Segment<'_>, at: Duration, opening: Opening) -> Self {
        let first = opening.syn.map_or(at, |(_, syn, _)| syn.min(at));
        let mut flow = Self {
            ends: [segment.from, segment.to],
            halves: [Half::default(), Half::default()],
            opening,
            events: Vec::new(),
            first,
            last: at,
            greeter: None,
            ttl: [None; 2],
            reset_ttl: [None; 2],
            cut: 0,
            over: false,
        };
        for (end, _, number) in [opening.syn, opening.syn_ack].into_iter().flatten() {
            let side = flow.side(end);
            flow.halves[side].begin(number);
        }
        flow
    }

    /// Whether a SYN begins another connection between the same ends.
    pub(super) fn is_followed_by(&self, segment: &Segment<'_>) -> bool {
        let known = self
            .opening
            .syn
            .is_some_and(|(_, _, number)| number == segment.sequence);
        segment.syn
            && segment.acknowledged.is_none()
            && !known
            && (self.over || self.opening.syn_ack.is_some())
    }

    /// The next segment, in the order of capture.
    pub(super) fn segment(&mut self, segment: &Segment<'_>, at: Duration) {
        let side = self.side(segment.from);
        self.last = self.last.max(at);
        self.opening.note(segment, at);
        if segment.syn {
            self.halves[side].begin(segment.sequence);
        }
        if segment.rst {
            self.reset_ttl[side].get_or_insert(segment.ttl);
        } else {
            self.ttl[side].get_or_insert(segment.ttl);
        }
        if segment.cut {
            self.cut += 1;
        }
        if let Some(number) = segment
            .acknowledged
            .filter(|_| !segment.rst && !segment.syn)
        {
            let came = self.halves[1 - side].acknowledged(number);
            self.keep(1 - side, came);
        }
        if !segment.payload.is_empty() && !segment.syn && !segment.rst {
            if self.greeter.is_none() && looks_like_greeting(segment.payload) {
                self.greeter = Some(side);
            }
            let came = self.halves[side].segment(segment.sequence, at, segment.payload);
            self.keep(side, came);
        }
        if segment.fin {
            self.event(Event::Closed(side, at));
            self.over = true;
        }
        if segment.rst {
            self.event(Event::Reset(side, at));
            self.over = true;
        }
    }

    /// When it began, and the dialogue, where it is one of mail. `end` is when the capture ended, or another connection followed.
    pub(super) fn finish(
        mut self,
        end: Duration,
        remarks: &mut Remarks,
    ) -> Option<(Duration, Dated)> {
        for side in [0, 1] {
            let came = self.halves[side].finish();
            // What waited for lost bytes came before the connection's end, as far as one can know.
            let at = self
                .events
                .iter()
                .position(|event| matches!(event, Event::Closed(..) | Event::Reset(..)));
            let late = came
                .into_iter()
                .map(|came| Event::Came(side, came))
                .collect::<Vec<_>>();
            let at = at.unwrap_or(self.events.len());
            self.events.splice(at..at, late);
        }
        let server = self.server();
        let service = self.service(server);
        let dialogue = self.dialogue(server, service, end);
        if !is_mail(&dialogue) {
            return None;
        }
        self.remark(server, remarks);
        let started = self.first.as_secs().try_into().unwrap_or(i64::MAX);
        Some((self.first, Dated { dialogue, started }))
    }

    fn side(&self, end: SocketAddr) -> usize {
        usize::from(self.ends[0] != end)
    }

    fn keep(&mut self, side: usize, came: Vec<Came>) {
        for came in came {
            self.event(Event::Came(side, came));
        }
    }

    fn event(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push(event);
        }
    }

    /// Which side is the server: who was called, who listens on a mail port, who greeted.
    fn server(&self) -> usize {
        if let Some((caller, ..)) = self.opening.syn {
            return 1 - self.side(caller);
        }
        if let Some((called, ..)) = self.opening.syn_ack {
            return self.side(called);
        }
        let [first, second] = self.ends.map(|end| is_mail_port(end.port()));
        match (self.greeter, first, second) {
            (_, true, false) => 0,
            (_, false, true) => 1,
            (Some(side), ..) => side,
            _ => usize::from(self.ends[1].port() < self.ends[0].port()),
        }
    }

    fn service(&self, server: usize) -> Service {
        let end = self.ends[server];
        let scheme = Scheme::of_port(end.port()).unwrap_or(Scheme::Smtp);
        Service {
            scheme,
            host: end.ip().to_string(),
            address: Some(end.ip()),
            port: end.port(),
        }
    }

    fn dialogue(&self, server: usize, service: Service, end: Duration) -> Dialogue {
        let since = |at: Duration| Elapsed(at.saturating_sub(self.first));
        let from_start = self.opening.syn.is_some() || self.opening.syn_ack.is_some();
        let known =
            Scheme::of_port(service.port).or(is_mail_port(service.port).then_some(Scheme::Smtp));
        let connect = Connect {
            started: Elapsed::default(),
            established: self.opening.syn_ack.map(|(_, at, _)| since(at)),
            local: Some(self.ends[1 - server].to_string()),
            failure: self.failure(server, end),
        };
        let surroundings = Surroundings {
            service,
            protocol: known.map(Scheme::protocol),
            from_start,
            connect,
        };
        let direction = |side: usize| {
            if side == server {
                Direction::ToClient
            } else {
                Direction::ToServer
            }
        };
        let heard = self.events.iter().map(|event| match *event {
            Event::Came(side, Came::Bytes { at, from, to }) => Heard::Bytes {
                direction: direction(side),
                at: since(at),
                bytes: self.halves[side].bytes(from, to).to_vec(),
            },
            Event::Came(side, Came::Gap { missing }) => Heard::Gap {
                direction: direction(side),
                missing,
            },
            Event::Closed(side, at) => Heard::Closed {
                direction: direction(side),
                at: since(at),
            },
            Event::Reset(side, at) => Heard::Reset {
                direction: direction(side),
                at: since(at),
            },
        });
        let mut dialogue =
            stream::read(surroundings, heard.chain([Heard::Until { at: since(end) }]));
        for certificate in dialogue
            .handshake
            .iter_mut()
            .flat_map(|handshake| &mut handshake.chain)
        {
            *certificate = hoofbeat_probe::certificate::summary(&certificate.der);
        }
        // On an odd port the words tell which service it is.
        if known.is_none() {
            let fitting = Scheme::ALL
                .into_iter()
                .find(|scheme| scheme.protocol() == dialogue.protocol);
            dialogue.service.scheme = fitting.unwrap_or(Scheme::Smtp);
        }
        dialogue
    }

    fn failure(&self, server: usize, end: Duration) -> Option<Failure> {
        let spoken = self
            .events
            .iter()
            .any(|event| matches!(event, Event::Came(..)));
        if spoken || self.opening.syn_ack.is_some() {
            return None;
        }
        let (_, began, _) = self.opening.syn?;
        let refused = self
            .events
            .iter()
            .any(|event| matches!(event, Event::Reset(side, _) if *side == server));
        let (kind, raw) = if refused {
            (
                FailureKind::Refused,
                "the SYN was answered with a reset".to_owned(),
            )
        } else if self.opening.syns >= 2 && end.saturating_sub(began) >= NO_ANSWER {
            (
                FailureKind::TimedOut,
                format!("{} SYNs, and no answer", self.opening.syns),
            )
        } else {
            return None;
        };
        Some(Failure {
            operation: Operation::Connect,
            kind,
            raw,
        })
    }

    fn remark(&self, server: usize, remarks: &mut Remarks) {
        let name = self.ends[server];
        let differing: u64 = self.halves.iter().map(|half| half.differing).sum();
        if differing > 0 {
            remarks.notes.push(format!(
                "{name}: {differing} retransmissions differ from what came first; somebody sent bytes of their own, and the first copy is judged"
            ));
        }
        if let (Some(usual), Some(reset)) = (self.ttl[server], self.reset_ttl[server])
            && usual != reset
        {
            remarks.notes.push(format!(
                "{name}: the reset came with TTL {reset}, the server's other packets with TTL {usual}; another machine may have sent it"
            ));
        }
        if self.cut > 0 {
            remarks.notes.push(format!(
                "{name}: {} packets were cut when they were captured (snapshot length)",
                self.cut
            ));
        }
        if self.halves.iter().any(|half| half.beyond > 0) {
            remarks.notes.push(format!(
                "{name}: only the first {} KiB of each direction are judged",
                KEPT >> 10
            ));
        }
    }
}

/// Whether what was read is mail, and not another protocol that greets with 220 (FTP does).
fn is_mail(dialogue: &Dialogue) -> bool {
    if is_mail_port(dialogue.service.port) {
        return !dialogue.exchanges.is_empty()
            || dialogue.handshake.is_some()
            || dialogue.connect.failure.is_some();
    }
    dialogue.exchanges.iter().any(|exchange| {
        exchange.sent.is_some()
            && matches!(
                exchange.label,
                Label::Capabilities | Label::Helo | Label::StartTls | Label::MixedCaseStartTls
            )
    })
}
