//! The witness's trace towards a client: each capability list of a traced dialogue leaves with another TTL, and what
//! routers quote of it shows how it looked on its way. (Method S1: the list is the payload that a box looks for.)
//!
//! A quote that comes late must not be taken for one of the next list, from which it differs: the sequence and
//! acknowledgement numbers in it tell which list it was.
//!
//! The limit is lifted as soon as something came back; the kernel then sends the lost segment again, and the dialogue
//! goes on as if nothing had been.

use std::{io, time::Duration};

use hoofbeat_net::{
    Clock,
    sys::{self, Family},
};
use hoofbeat_observation::{
    Answer, Answered, Engine, Method, Payload, Probe, Role, Service, Trace,
};
use hoofbeat_session::{Direction, Elapsed};
use tokio::{net::TcpStream, sync::mpsc};

use super::icmp::{Flow, Heard};

/// How long a quote is waited for; one that comes later still counts for its probe, until the next one leaves.
pub(super) const QUOTE_WAIT: Duration = Duration::from_millis(400);
/// Most probes, and most answers to one of them.
const MOST_PROBES: usize = 30;
const MOST_ANSWERS: usize = 8;

/// A trace in the making.
#[derive(Debug)]
pub(super) struct Tracing {
    trace: Trace,
    quotes: mpsc::Receiver<Heard>,
    usual_ttl: u8,
    local_port: u16,
    family: Family,
    clock: Clock,
    /// Where each probe stands in the two streams.
    places: Vec<Place>,
    /// The client's initial sequence number.
    client_number: Option<u32>,
    /// Sequence numbers of our stream's beginning, as quotes told them: more than one where a box translates them.
    beginnings: Vec<u32>,
    /// A limited list arrived: all further hops are behind the client.
    arrived: bool,
}

/// How many bytes of the plain streams lie before a probe; TCP's numbers wrap, and so do these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sent: u32,
    pub(super) received: u32,
}

impl Tracing {
    pub(super) fn new(
        stream: &TcpStream,
        flow: Flow,
        service: Service,
        token: String,
        quotes: mpsc::Receiver<Heard>,
        syn: &[u8],
        clock: Clock,
    ) -> io::Result<Self> {
        let (local, peer) = flow;
        let family = Family::from(peer.ip());
        let usual_ttl = sys::ttl(stream, family)?;
        let now = Elapsed(clock.now());
        let trace = Trace {
            service,
            role: Role::Witness { token },
            engine: Engine::Raw,
            method: Method::Sweep,
            direction: Direction::ToClient,
            local: Some(local.to_string()),
            probes: Vec::new(),
            received: Vec::new(),
            started: now,
            ended: now,
            failure: None,
        };
        Ok(Self {
            trace,
            quotes,
            usual_ttl,
            local_port: local.port(),
            family,
            clock,
            places: Vec::new(),
            client_number: numbers(syn).map(|(number, _)| number),
            beginnings: Vec::new(),
            arrived: false,
        })
    }

    /// The next list's TTL; none once lists arrive.
    pub(super) fn next_ttl(&self) -> Option<u8> {
        let number = self.trace.probes.len();
        (!self.arrived && number < MOST_PROBES)
            .then(|| u8::try_from(number + 1).ok())
            .flatten()
    }

    /// Limits what the socket sends from now on.
    pub(super) fn limit(&mut self, stream: &TcpStream, ttl: u8) -> io::Result<()> {
        // Late answers belong to the packet before.
        while let Ok(heard) = self.quotes.try_recv() {
            self.heard(heard);
        }
        sys::set_ttl(stream, self.family, ttl)
    }

    /// Lifts the limit.
    pub(super) fn lift(&mut self, stream: &TcpStream) -> io::Result<()> {
        if let Some(probe) = self.trace.probes.last_mut() {
            probe.restored.get_or_insert(Elapsed(self.clock.now()));
        }
        sys::set_ttl(stream, self.family, self.usual_ttl)
    }

    /// A list left.
    pub(super) fn sent(&mut self, ttl: u8, place: Place, bytes: &[u8]) {
        self.places.push(place);
        self.trace.probes.push(Probe {
            ttl,
            source_port: self.local_port,
            payload: Payload::Capabilities,
            sent: bytes.to_vec(),
            packet: Vec::new(),
            left: None,
            acknowledged: None,
            at: Elapsed(self.clock.now()),
            restored: None,
            answers: Vec::new(),
        });
    }

    /// Waits for the first message about the list that left.
    pub(super) async fn quoted(&mut self) {
        match self.quotes.recv().await {
            Some(heard) => self.heard(heard),
            // Nobody reads ICMP any more.
            None => std::future::pending().await,
        }
    }

    /// The client went on although the TTL was low: it has the list.
    pub(super) fn arrived(&mut self) {
        self.arrived = true;
        let last = self.trace.probes.len().saturating_sub(1);
        self.answer(last, Answered::Acknowledged, None);
    }

    fn heard(&mut self, Heard { mut what, ttl }: Heard) {
        let last = self.trace.probes.len().saturating_sub(1);
        let mut at = last;
        if let Answered::TimeExceeded { quote, .. } | Answered::Unreachable { quote, .. } =
            &mut what
            && let Some(told) = quote.as_ref().and_then(|quote| numbers(&quote.bytes))
        {
            match self.probe_of(told) {
                Some(probe) => at = probe,
                // It may be another list that it quotes, and a comparison with this one would find a change.
                None => *quote = None,
            }
        }
        self.answer(at, what, ttl);
    }

    /// Which probe a quote with these numbers is of.
    fn probe_of(&mut self, (sequence, acknowledged): (u32, Option<u32>)) -> Option<usize> {
        let places = &self.places;
        let by_acknowledged = acknowledged
            .zip(self.client_number)
            .and_then(|(said, began)| {
                let received = said.wrapping_sub(began).wrapping_sub(1);
                places.iter().rposition(|place| place.received == received)
            });
        let by_sequence = || {
            let is_known =
                |place: &Place| self.beginnings.contains(&sequence.wrapping_sub(place.sent));
            places.iter().rposition(is_known)
        };
        // Numbers that a box translates: only the last list can be meant where all before it had their answers.
        let by_elimination = || {
            let last = places.len().checked_sub(1)?;
            let mut before = self.trace.probes.iter().take(last);
            before
                .all(|probe| !probe.answers.is_empty())
                .then_some(last)
        };
        let found = by_acknowledged
            .or_else(by_sequence)
            .or_else(by_elimination)?;
        let beginning = sequence.wrapping_sub(places.get(found)?.sent);
        if !self.beginnings.contains(&beginning) {
            self.beginnings.push(beginning);
        }
        Some(found)
    }

    fn answer(&mut self, probe: usize, what: Answered, ttl: Option<u8>) {
        let at = Elapsed(self.clock.now());
        if let Some(probe) = self.trace.probes.get_mut(probe)
            && probe.answers.len() < MOST_ANSWERS
        {
            probe.answers.push(Answer { at, ttl, what });
        }
    }

    /// The trace; none where no list was limited.
    pub(super) fn finish(mut self) -> Option<Trace> {
        while let Ok(heard) = self.quotes.try_recv() {
            self.heard(heard);
        }
        self.trace.ended = Elapsed(self.clock.now());
        (!self.trace.probes.is_empty()).then_some(self.trace)
    }
}

/// Sequence and acknowledgement number of a TCP packet that begins with its IP header; the latter only as far as quoted.
fn numbers(packet: &[u8]) -> Option<(u32, Option<u32>)> {
    let header = match packet.first()? >> 4 {
        4 => usize::from(packet.first()? & 15) * 4,
        6 => 40,
        _ => return None,
    };
    let number = |at: usize| {
        let bytes = packet.get(header + at..header + at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    Some((number(4)?, number(8)))
}

/// How many lists reach a client whose packets arrive with this TTL: hosts begin with 64, 128 or 255, the way back may
/// be a little longer, and one list must arrive without a limit being reached.
pub(super) fn rounds(ttl: u8) -> u8 {
    const MARGIN: u8 = 3;
    let began = [64, 128, 255].into_iter().find(|began| ttl <= *began);
    let hops = began.map_or(0, |began| began - ttl);
    hops.saturating_add(MARGIN).min(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    use hoofbeat_observation::{Quote, QuoteBegins, Scheme};
    use std::net::IpAddr;

    const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 1));

    fn packet(sequence: u32, acknowledged: u32, quoted: usize) -> Vec<u8> {
        let mut packet = vec![0x45; 20];
        packet.extend([0, 25, 0xab, 0xcd]);
        packet.extend(sequence.to_be_bytes());
        packet.extend(acknowledged.to_be_bytes());
        packet.extend([0; 80]);
        packet.truncate(20 + quoted);
        packet
    }

    fn quote(sequence: u32, acknowledged: u32, quoted: usize) -> Heard {
        let quote = Quote {
            begins: QuoteBegins::Ip,
            bytes: packet(sequence, acknowledged, quoted),
        };
        Heard {
            what: Answered::TimeExceeded {
                from: ROUTER,
                quote: Some(quote),
            },
            ttl: None,
        }
    }

    /// A client that began at 1000, and a witness whose stream began at 4294967200: it wraps.
    const CLIENT: u32 = 1000;
    const WITNESS: u32 = u32::MAX - 95;

    async fn tracing() -> Tracing {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let flow = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        let service = Service {
            scheme: Scheme::Smtp,
            host: "w".to_owned(),
            address: None,
            port: 25,
        };
        let (_, quotes) = mpsc::channel(1);
        let syn = packet(CLIENT, 0, 20);
        Tracing::new(
            &stream,
            flow,
            service,
            "t".to_owned(),
            quotes,
            &syn,
            Clock::start(),
        )
        .unwrap()
    }

    fn send(tracing: &mut Tracing, count: u32) {
        for number in 0..count {
            let place = Place {
                sent: 50 + 100 * number,
                received: 30 + 30 * number,
            };
            let ttl = u8::try_from(number).unwrap() + 1;
            tracing.sent(ttl, place, b"250 STARTTLS\r\n");
        }
    }

    /// How many answers and how many quotes each probe has.
    fn counts(tracing: &Tracing) -> Vec<(usize, usize)> {
        let quotes = |probe: &Probe| {
            let has = |answer: &&Answer| {
                matches!(&answer.what, Answered::TimeExceeded { quote: Some(_), .. })
            };
            (
                probe.answers.len(),
                probe.answers.iter().filter(has).count(),
            )
        };
        tracing.trace.probes.iter().map(quotes).collect()
    }

    #[tokio::test]
    async fn late_quotes_go_to_their_list() {
        let mut tracing = tracing().await;
        send(&mut tracing, 3);
        // Of the first list by its acknowledgement, of the second by its sequence, of the third by both.
        tracing.heard(quote(WITNESS.wrapping_add(50), CLIENT + 31, 40));
        tracing.heard(quote(WITNESS.wrapping_add(150), 0, 8));
        tracing.heard(quote(WITNESS.wrapping_add(250), CLIENT + 91, 40));
        assert_eq!(counts(&tracing), [(1, 1), (1, 1), (1, 1)]);
    }

    #[tokio::test]
    async fn a_quote_of_nobody_knows_which_list_is_not_kept() {
        let mut tracing = tracing().await;
        send(&mut tracing, 2);
        // The first list had no answer yet: with foreign numbers this may be it.
        tracing.heard(quote(77, 77, 40));
        assert_eq!(counts(&tracing), [(0, 0), (1, 0)]);
        tracing.heard(quote(WITNESS.wrapping_add(50), CLIENT + 31, 40));
        // Now it can only be the second, and the box's numbers are known from here on.
        tracing.heard(quote(7000, 77, 40));
        tracing.heard(quote(7000 - 100, 99, 40));
        assert_eq!(counts(&tracing), [(2, 2), (2, 1)]);
    }

    #[test]
    fn rounds_follow_the_distance() {
        for (ttl, wanted) in [(64, 3), (61, 6), (128, 3), (113, 18), (255, 3), (1, 30)] {
            assert_eq!(rounds(ttl), wanted, "{ttl}");
        }
    }
}
