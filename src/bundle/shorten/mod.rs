//! Who measured, made less exact: the client's own addresses and its first hops are cut to /24 and /48 before a
//! bundle is written, wherever they stand: in fields, in packets and quotes, and in the words of dialogues.
//!
//! What is cut: own addresses, those that the world sees of us and servers tell, private and link-local ones, and routers up to and
//! including the first one with a public address. What is never cut: addresses of the services that were asked, and
//! loopback. A witness's report is signed and stays as it is (it was shortened before signing), and so do the words
//! that were exchanged with the witness, for both ends of those are compared. Names by which a server greets us are
//! not addresses and stay.

mod packet;
mod pcapng;
mod text;

use hoofbeat_observation::{
    Answered, Body, Measurement, Probe, Quote, QuoteBegins, Role, Surroundings, Trace,
    address::{SHORTENED_V4, SHORTENED_V6, is_private, shares_prefix, shortened},
};
use hoofbeat_session::{Direction, Transcript};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// Members of a record that are cut by their own rules, or must stay as they are.
const APART: [&str; 5] = ["transcript", "report", "pcapng", "errands", "handshake"];

/// Cuts the addresses of one run.
#[derive(Debug, Clone, Default)]
pub struct Shortener {
    meant: BTreeSet<IpAddr>,
    spared: BTreeSet<IpAddr>,
    /// Our own networks, where they are smaller than what is left of an address.
    own: Vec<(IpAddr, u8)>,
}

impl Shortener {
    /// For the addresses that these measurements tell of.
    #[must_use]
    pub fn of(measurements: &[Measurement]) -> Self {
        let mut meant = BTreeSet::new();
        let mut spared = BTreeSet::new();
        let mut hops: BTreeMap<u8, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut own = Vec::new();
        for measurement in measurements {
            meant.extend(measurement.vantage.address);
            match &measurement.body {
                Body::Dialogue(dialogue) => {
                    meant.extend(host(dialogue.connect.local.as_deref()));
                    spared.extend(dialogue.service.address);
                    if !matches!(dialogue.role, Role::Witness { .. }) {
                        meant.extend(told(&dialogue.transcript));
                    }
                }
                Body::Trace(trace) => {
                    meant.extend(host(trace.local.as_deref()));
                    spared.extend(trace.service.address);
                    if trace.direction == Direction::ToServer {
                        let sent = trace.probes.iter();
                        meant.extend(sent.filter_map(|probe| packet::source(&probe.packet)));
                        for probe in &trace.probes {
                            hops.entry(probe.ttl).or_default().extend(routers(probe));
                        }
                    }
                }
                Body::Surroundings(around) => {
                    meant.extend(around.own.iter().map(|(address, _)| *address));
                    own.extend(around.own.iter().copied().filter(
                        |(address, length)| match address {
                            IpAddr::V4(_) => *length > SHORTENED_V4,
                            IpAddr::V6(_) => *length > SHORTENED_V6,
                        },
                    ));
                    meant.extend(around.public);
                }
                Body::Witness(visit) => {
                    spared.extend(visit.errands.iter().filter_map(|e| host(Some(&e.remote))));
                    let report = visit.report.as_ref().and_then(|signed| signed.read());
                    meant.extend(report.map(|report| report.client));
                }
                Body::Lookup(lookup) => {
                    meant.extend(
                        host(Some(&lookup.resolver)).filter(|a| is_private(a.to_canonical())),
                    );
                }
                Body::MtaSts(_) | Body::Unresolved(_) | Body::Capture(_) => {}
            }
        }
        meant.extend(first_hops(hops));
        Self {
            own,
            ..Self::for_addresses(meant, spared)
        }
    }

    /// For exactly these addresses, besides private ones.
    pub(crate) fn for_addresses(
        meant: impl IntoIterator<Item = IpAddr>,
        spared: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let canonical = |address: IpAddr| address.to_canonical();
        Self {
            meant: meant.into_iter().map(canonical).collect(),
            spared: spared.into_iter().map(canonical).collect(),
            own: Vec::new(),
        }
    }

    /// An address as it may be written: cut where it would tell too much. Those of our own network and those of its
    /// neighbours stay apart: which side of a router is ours decides about the place of a box.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> IpAddr {
        let canonical = address.to_canonical();
        if self.is_meant(canonical) || (is_private(canonical) && !self.spared.contains(&canonical))
        {
            if self
                .own
                .iter()
                .any(|(own, length)| shares_prefix(canonical, *own, *length))
            {
                last_network(address)
            } else {
                shortened(address)
            }
        } else {
            address
        }
    }

    /// A measurement as it may be written.
    ///
    /// # Errors
    /// Never for records that our types can hold; serde_json's signature is passed on.
    pub fn measurement(&self, measurement: &Measurement) -> Result<Measurement, serde_json::Error> {
        let mut measurement = measurement.clone();
        let standing = measurement.visit().map(|visit| visit.standing);
        if let Some(address) = &mut measurement.vantage.address {
            *address = shortened(*address);
        }
        match &mut measurement.body {
            Body::Dialogue(dialogue) => {
                if !matches!(dialogue.role, Role::Witness { .. }) {
                    self.transcript(&mut dialogue.transcript);
                }
            }
            Body::Trace(trace) => self.trace(trace),
            Body::Surroundings(around) => self.surroundings(around),
            Body::Capture(capture) => pcapng::shorten(&mut capture.pcapng, self),
            Body::Lookup(_) | Body::MtaSts(_) | Body::Unresolved(_) | Body::Witness(_) => {}
        }
        // Whatever text is left: our end of a connection, the words of a failure, the resolver.
        let mut written = serde_json::to_value(&measurement)?;
        self.texts(&mut written);
        let mut measurement: Measurement = serde_json::from_value(written)?;
        if let (Body::Witness(visit), Some(standing)) = (&mut measurement.body, standing) {
            visit.standing = standing;
        }
        Ok(measurement)
    }

    /// Whether this (canonical) address is the client's own, or of its first hops.
    fn is_meant(&self, address: IpAddr) -> bool {
        self.meant.contains(&address) && !self.spared.contains(&address) && !address.is_loopback()
    }

    /// Addresses in what was said, across the borders of segments; no byte moves.
    fn transcript(&self, transcript: &mut Transcript) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let mut stream: Vec<u8> = Vec::new();
            for chunk in transcript.of(direction) {
                stream.extend(&chunk.bytes);
            }
            if !text::cut(&mut stream, &|address| self.is_meant(address)) {
                continue;
            }
            let mut rest = stream.as_slice();
            let chunks = transcript.chunks.iter_mut();
            for chunk in chunks.filter(|chunk| chunk.direction == direction) {
                let Some((own, behind)) = rest.split_at_checked(chunk.bytes.len()) else {
                    break;
                };
                chunk.bytes.copy_from_slice(own);
                rest = behind;
            }
        }
    }

    fn trace(&self, trace: &mut Trace) {
        for probe in &mut trace.probes {
            packet::shorten(&mut probe.packet, self);
            for answer in &mut probe.answers {
                match &mut answer.what {
                    Answered::TimeExceeded { from, quote }
                    | Answered::Unreachable { from, quote, .. } => {
                        *from = self.address(*from);
                        // A quote that begins with the TCP header holds no address.
                        if let Some(Quote {
                            begins: QuoteBegins::Ip,
                            bytes,
                        }) = quote
                        {
                            packet::shorten(bytes, self);
                        }
                    }
                    Answered::Reply { bytes } => {
                        text::cut(bytes, &|address| self.is_meant(address));
                    }
                    Answered::Expired
                    | Answered::Connected
                    | Answered::Acknowledged
                    | Answered::Reset
                    | Answered::Closed => {}
                }
            }
        }
    }

    fn surroundings(&self, around: &mut Surroundings) {
        for (address, _) in &mut around.own {
            *address = self.address(*address);
        }
        if let Some(public) = &mut around.public {
            *public = self.address(*public);
        }
        for fact in &mut around.addresses {
            let short = self.address(fact.address);
            if short != fact.address {
                fact.address = short;
                // Names of first hops are made of customers' addresses.
                fact.reverse = None;
            }
        }
    }

    fn texts(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let found = text::find(text.as_bytes(), &|address| self.is_meant(address));
                let mut untouched = text.len();
                for one in found.iter().rev() {
                    // One within another: an IPv4 address at the end of an IPv6 address.
                    if one.at.end > untouched || text.get(one.at.clone()).is_none() {
                        continue;
                    }
                    untouched = one.at.start;
                    text.replace_range(one.at.clone(), &one.written_short(text));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.texts(item)),
            Value::Object(members) => {
                let open = members
                    .iter_mut()
                    .filter(|(name, _)| !APART.contains(&name.as_str()));
                open.for_each(|(_, member)| self.texts(member));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Addresses that a server names: how it sees us (`Hello dsl.example [192.0.2.57]`, `421 too many connections from
/// 192.0.2.57`), which behind a NAT is the only place where that stands. What else it names loses little.
fn told(transcript: &Transcript) -> BTreeSet<IpAddr> {
    let mut stream: Vec<u8> = Vec::new();
    for chunk in transcript.of(Direction::ToClient) {
        stream.extend(&chunk.bytes);
    }
    let may_be_a_clients = |address: IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_unspecified() && !v4.is_broadcast(),
        // Global unicast: `::` alone stands in many a program's name.
        IpAddr::V6(v6) => {
            v6.segments()[0] >> 13 == 1 || is_private(IpAddr::from(v6).to_canonical())
        }
    };
    let found = text::find(&stream, &may_be_a_clients).into_iter();
    // Not backwards, nor with hyphens: an address that is written as one.
    let as_written = found.filter(|one| {
        let written = stream.get(one.at.clone()).unwrap_or_default();
        let written: Option<IpAddr> = String::from_utf8_lossy(written).parse().ok();
        written.is_some_and(|address| address.to_canonical() == one.address)
    });
    as_written.map(|one| one.address).collect()
}

/// Routers up to and including the first with a public address; by hop, of all traces together, for some traces begin
/// far from here.
fn first_hops(hops: BTreeMap<u8, BTreeSet<IpAddr>>) -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::new();
    for routers in hops.into_values() {
        let is_public = routers
            .iter()
            .any(|router| !is_private(router.to_canonical()));
        found.extend(routers);
        if is_public {
            break;
        }
    }
    found
}

fn routers(probe: &Probe) -> impl Iterator<Item = IpAddr> {
    probe.answers.iter().filter_map(|answer| match answer.what {
        Answered::TimeExceeded { from, .. } => Some(from),
        _ => None,
    })
}

/// As [`shortened`], with all ones in what is left of a /64 or in the last octet.
fn last_network(address: IpAddr) -> IpAddr {
    match shortened(address) {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 255).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, u16::MAX, 0, 0, 0, 0).into()
        }
    }
}

/// The address of `ADDRESS:PORT` or `ADDRESS`.
fn host(text: Option<&str>) -> Option<IpAddr> {
    let text = text?;
    text.parse::<SocketAddr>()
        .map(|socket| socket.ip())
        .or_else(|_| text.parse())
        .ok()
}
