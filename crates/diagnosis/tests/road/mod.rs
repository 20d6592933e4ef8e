//! A builder for traces, surroundings and visits over one little world, as a probe and a witness record them.
//!
//! client – home (1) – isp (2) – isp (3) – transit (4) – edge (5) – server (6)
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use core::net::IpAddr;
use hoofbeat_observation::{
    AddressFact, Answer, Answered, Body, Ending, Engine, Look, Method, Payload, Probe, Quote,
    QuoteBegins, Report, Role, Scheme, Service, SignedReport, Standing, Surroundings, Trace,
    WitnessService, WitnessVisit, WitnessedConnection, witness::REPORT_SCHEMA,
};
use hoofbeat_session::{Direction, Elapsed, Layer, Protocol, Transcript};

use crate::scene::{HOST, NOW, Scene, Talk, service};

/// The server's hop.
pub const SERVER: u8 = 6;
pub const TEST: &[u8] = b"STARTTLS\r\n";
pub const MASKED: &[u8] = b"XXXXXXXX\r\n";
pub const CONTROL: &[u8] = b"NOOP 789\r\n";
const REFUSAL: &[u8] = b"500 5.5.2 Error: command not recognized\r\n";

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The router at a hop.
pub fn router(hop: u8) -> IpAddr {
    ip(match hop {
        1 => "192.168.77.1",
        2 => "198.18.1.1",
        3 => "198.18.1.5",
        4 => "198.18.3.1",
        _ => "198.18.4.1",
    })
}

/// Who owns what, with or without a prefix table.
pub fn surroundings(table: bool) -> Body {
    let facts = [
        ("198.18.1.1", 64501),
        ("198.18.1.5", 64501),
        ("198.18.3.1", 64503),
        ("198.18.4.1", 64504),
        ("192.0.2.25", 64504),
        ("198.18.5.1", 64505),
        ("198.18.5.9", 64505),
    ];
    Body::Surroundings(Surroundings {
        own: vec![(ip("192.168.77.2"), 24)],
        public: Some(ip("198.18.1.77")),
        addresses: facts
            .iter()
            .map(|(address, asn)| AddressFact {
                address: ip(address),
                asn: table.then_some(*asn),
                holder: None,
                reverse: None,
            })
            .chain([AddressFact {
                address: ip("198.18.1.77"),
                asn: table.then_some(64501),
                holder: None,
                reverse: None,
            }])
            .collect(),
        table: table.then(|| "prefixes.tsv".into()),
    })
}

/// An IPv4 packet with a payload, as it is quoted.
pub fn packet(ttl: u8, source: u16, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend(u16::try_from(40 + payload.len()).unwrap().to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, ttl, 6, 0, 0, 192, 168, 77, 2, 192, 0, 2, 25]);
    bytes.extend(source.to_be_bytes());
    bytes.extend(port.to_be_bytes());
    bytes.extend(7_u32.to_be_bytes());
    bytes.extend([0, 0, 0, 9, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

/// How a sweep goes: who is silent, who quotes little, where bytes change.
#[derive(Clone)]
pub struct Road {
    /// The first hop that receives STARTTLS changed.
    pub changed_at: Option<u8>,
    pub became: Vec<u8>,
    pub silent: Vec<u8>,
    /// Bytes that routers quote.
    pub quote: usize,
    pub source: u16,
    /// Other addresses of routers, by hop.
    pub detours: Vec<(u8, IpAddr)>,
    /// Such detours only for STARTTLS.
    pub detours_of_test: Vec<(u8, IpAddr)>,
    /// From this TTL on STARTTLS is answered by a forger; and whether the packet goes on all the same.
    pub forged_at: Option<(u8, bool)>,
    /// From this TTL on nothing is heard of STARTTLS.
    pub dropped_at: Option<u8>,
    pub captured: bool,
}

impl Default for Road {
    fn default() -> Self {
        Self {
            changed_at: None,
            became: MASKED.to_vec(),
            silent: Vec::new(),
            quote: 128,
            source: 40_000,
            detours: Vec::new(),
            detours_of_test: Vec::new(),
            forged_at: None,
            dropped_at: None,
            captured: true,
        }
    }
}

impl Road {
    pub fn changed_at(hop: u8) -> Self {
        Self {
            changed_at: Some(hop),
            ..Self::default()
        }
    }

    fn address(&self, hop: u8, test: bool) -> IpAddr {
        let of_test = self.detours_of_test.iter().filter(|_| test);
        self.detours
            .iter()
            .chain(of_test)
            .find(|(at, _)| *at == hop)
            .map_or_else(|| router(hop), |(_, address)| *address)
    }

    fn probe(&self, ttl: u8, kind: Payload, payload: &[u8], clock: &mut u64) -> Probe {
        let test = kind == Payload::StartTls;
        let at = *clock;
        *clock += 600;
        let mut answers = Vec::new();
        let arrived = match self.changed_at {
            Some(first) if test && ttl >= first => self.became.as_slice(),
            _ => payload,
        };
        let forged = self.forged_at.filter(|(hop, _)| test && ttl >= *hop);
        let dropped = test && self.dropped_at.is_some_and(|hop| ttl >= hop);
        if let Some((hop, _)) = forged {
            answers.push(Answer {
                at: Elapsed::from_millis(at + u64::from(hop) * 5),
                ttl: Some(64 - hop + 1),
                what: Answered::Reply {
                    bytes: REFUSAL.to_vec(),
                },
            });
        }
        let goes_on = !dropped && forged.is_none_or(|(_, on)| on);
        if ttl < SERVER && goes_on && !self.silent.contains(&ttl) {
            let mut quoted = packet(1, self.source, 25, arrived);
            quoted.truncate(self.quote);
            answers.push(Answer {
                at: Elapsed::from_millis(at + u64::from(ttl) * 5),
                ttl: Some(64 - ttl + 1),
                what: Answered::TimeExceeded {
                    from: self.address(ttl, test),
                    quote: Some(Quote {
                        begins: QuoteBegins::Ip,
                        bytes: quoted,
                    }),
                },
            });
        }
        // The whole packet, at last; a filter swallows that as well.
        if goes_on && forged.is_none() && !(test && self.dropped_at.is_some()) {
            let late = if ttl < SERVER { 520 } else { 40 };
            answers.push(Answer {
                at: Elapsed::from_millis(at + late),
                ttl: Some(59),
                what: Answered::Reply {
                    bytes: if test {
                        REFUSAL.to_vec()
                    } else {
                        b"250 2.0.0 Ok\r\n".to_vec()
                    },
                },
            });
        }
        Probe {
            ttl,
            source_port: self.source,
            payload: kind,
            sent: payload.to_vec(),
            packet: if self.captured {
                packet(ttl, self.source, 25, payload)
            } else {
                Vec::new()
            },
            at: Elapsed::from_millis(at),
            restored: Some(Elapsed::from_millis(at + 300)),
            left: None,
            acknowledged: None,
            answers,
        }
    }

    /// One sweep over all hops, controls first.
    pub fn sweep(&self) -> Trace {
        let mut clock = 0;
        let mut probes = Vec::new();
        for (kind, payload) in [(Payload::Control, CONTROL), (Payload::StartTls, TEST)] {
            for ttl in 1..=SERVER {
                probes.push(self.probe(ttl, kind, payload, &mut clock));
            }
        }
        trace(Method::Sweep, Role::Target, 25, probes)
    }
}

pub fn trace(method: Method, role: Role, port: u16, probes: Vec<Probe>) -> Trace {
    let scheme = Scheme::of_port(port).unwrap_or(Scheme::Smtp);
    Trace {
        service: Service {
            port,
            ..service(scheme, HOST)
        },
        role,
        engine: Engine::Raw,
        method,
        direction: Direction::ToServer,
        local: None,
        probes,
        received: Vec::new(),
        started: Elapsed::default(),
        ended: Elapsed::from_millis(9000),
        failure: None,
    }
}

/// SYNs to a port: answered from a hop on (`None`: never), dying at routers before it.
pub fn syns(port: u16, role: Role, end: Option<u8>, word: &Answered, routers_until: u8) -> Trace {
    let probes = (1..=SERVER + 1)
        .map(|ttl| {
            let what = match end {
                Some(end) if ttl >= end => Some(word.clone()),
                _ if ttl <= routers_until && ttl < SERVER => Some(Answered::TimeExceeded {
                    from: router(ttl),
                    quote: None,
                }),
                _ => None,
            };
            Probe {
                ttl,
                source_port: 50_000 + u16::from(ttl),
                payload: Payload::None,
                sent: Vec::new(),
                packet: Vec::new(),
                left: None,
                acknowledged: None,
                at: Elapsed::from_millis(0),
                restored: None,
                answers: what
                    .map(|what| Answer {
                        at: Elapsed::from_millis(u64::from(ttl) * 5),
                        // Sent with 64 by whoever is at that hop.
                        ttl: end
                            .filter(|_| what == Answered::Connected)
                            .map(|end| 65 - end),
                        what,
                    })
                    .into_iter()
                    .collect(),
            }
        })
        .collect();
    trace(Method::Syn, role, port, probes)
}

/// One connection to the witness as both ends have it.
pub struct Visit {
    pub sent: Vec<u8>,
    pub received: Vec<u8>,
    pub offered: Vec<u8>,
    pub heard: Vec<u8>,
    pub trace: Option<Trace>,
    pub syn_ttl: u8,
    pub standing: Standing,
    pub reached: bool,
    pub session: &'static str,
    pub looks: Vec<Look>,
}

pub const LIST: &str = "250-w.example\r\n250-STARTTLS\r\n250-XCANARY-1234\r\n250 HELP\r\n";

impl Default for Visit {
    fn default() -> Self {
        let sent = b"EHLO s1d01.witness.invalid\r\nSTARTTLS\r\n".to_vec();
        let offered = format!("220 w.example ESMTP\r\n{LIST}220 go\r\n").into_bytes();
        Self {
            received: sent.clone(),
            sent,
            heard: offered.clone(),
            offered,
            trace: None,
            syn_ttl: 60,
            standing: Standing::Signed,
            reached: true,
            session: "s1",
            looks: Vec::new(),
        }
    }
}

impl Visit {
    /// Both directions masked, as Cisco's box does.
    pub fn masked() -> Self {
        let clean = Self::default();
        Self {
            received: replaced(&clean.sent, "STARTTLS", "XXXXXXXX"),
            heard: replaced(&clean.offered, "STARTTLS", "XXXXXXXA"),
            ..clean
        }
    }

    /// A visit of its own, in which the witness met this at the target, coming from this address.
    pub fn looking(talk: Talk, local: &str) -> Self {
        let talk = talk.tweak(|dialogue| dialogue.connect.local = Some(format!("{local}:40001")));
        let scene = Scene::new().talk(talk);
        let dialogue = scene.measurements[0].dialogue().unwrap().clone();
        let look = Look {
            service: dialogue.service.clone(),
            at: Elapsed::default(),
            dialogue: Some(dialogue),
            declined: None,
        };
        Self {
            reached: false,
            session: "s2",
            looks: vec![look],
            ..Self::default()
        }
    }

    /// The witness's dialogue as the client recorded it.
    pub fn talk(&self) -> Talk {
        let mut witness = service(Scheme::Smtp, "w.example");
        witness.address = Some(ip("198.18.5.9"));
        let (sent, heard) = (self.sent.clone(), self.heard.clone());
        Talk::to(witness)
            .role(Role::Witness {
                token: "s1d01".into(),
            })
            .greets("220 w.example ESMTP")
            .ehlo("250 w.example\n")
            .tweak(|dialogue| dialogue.transcript = transcript(&sent, &heard))
    }

    /// The visit with its report.
    pub fn body(&self) -> Body {
        let connection = WitnessedConnection {
            token: Some("s1d01".into()),
            service: WitnessService::Mail {
                protocol: Protocol::Smtp,
            },
            port: 25,
            peer: "198.18.1.0:40000".into(),
            accepted: Elapsed::from_millis(5),
            syn: syn(self.syn_ttl),
            received: Vec::new(),
            packets: Vec::new(),
            packets_cut: false,
            transcript: transcript(&self.received, &self.offered),
            tls_completed: None,
            trace: self.trace.clone(),
            ending: Ending::Peer,
        };
        let report = Report {
            schema: REPORT_SCHEMA.into(),
            tool: "hoofbeat 0.1.0".into(),
            session: self.session.into(),
            nonce: "00ff".into(),
            started: NOW + 7200,
            client: ip("198.18.1.0"),
            certificate: None,
            shortened: true,
            statement: String::new(),
            connections: if self.reached {
                vec![connection]
            } else {
                Vec::new()
            },
            dropped: 0,
            looks_elsewhere: !self.looks.is_empty(),
            looks: self.looks.clone(),
        };
        Body::Witness(WitnessVisit {
            host: "w.example".into(),
            pinned: None,
            session: self.session.into(),
            nonce: "00ff".into(),
            errands: Vec::new(),
            report: Some(SignedReport {
                bytes: serde_json::to_vec(&report).unwrap(),
                signature: String::new(),
                key: String::new(),
            }),
            failure: None,
            started: Elapsed::default(),
            ended: Elapsed::from_millis(900),
            standing: self.standing,
        })
    }
}

pub fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(bytes)
        .replace(from, to)
        .into_bytes()
}

pub fn transcript(to_server: &[u8], to_client: &[u8]) -> Transcript {
    let mut transcript = Transcript::default();
    // In pieces, as segments come.
    for (direction, bytes) in [
        (Direction::ToClient, to_client),
        (Direction::ToServer, to_server),
    ] {
        for piece in bytes.chunks(11) {
            transcript.push(direction, Layer::Plain, Elapsed::default(), piece);
        }
    }
    transcript
}

fn syn(ttl: u8) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 44, 0, 1, 0x40, 0, ttl, 6, 0, 0];
    bytes.extend([198, 18, 1, 0, 198, 18, 5, 9]);
    bytes.extend(40_000_u16.to_be_bytes());
    bytes.extend(25_u16.to_be_bytes());
    bytes.extend([
        0, 0, 0, 7, 0, 0, 0, 0, 0x60, 2, 1, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4,
    ]);
    bytes
}

/// The witness's trace of its list towards the client: witness – edge (1) – transit (2) – isp (3) – home (4) – client.
pub fn backward(changed_at: Option<u8>) -> Trace {
    let routers = ["198.18.5.1", "198.18.3.2", "198.18.1.2", "198.18.1.78"];
    let probes = (1_u8..)
        .zip(routers)
        .map(|(ttl, from)| {
            let arrived = match changed_at {
                Some(first) if ttl >= first => LIST.replace("STARTTLS", "XXXXXXXA"),
                _ => LIST.into(),
            };
            let mut quoted = packet(1, 25, 40_000, arrived.as_bytes());
            quoted[12..20].copy_from_slice(&[198, 18, 5, 9, 198, 18, 1, 0]);
            Probe {
                ttl,
                source_port: 25,
                payload: Payload::Capabilities,
                sent: LIST.as_bytes().to_vec(),
                packet: Vec::new(),
                left: None,
                acknowledged: None,
                at: Elapsed::default(),
                restored: Some(Elapsed::from_millis(300)),
                answers: vec![Answer {
                    at: Elapsed::from_millis(10),
                    ttl: None,
                    what: Answered::TimeExceeded {
                        from: ip(from),
                        quote: Some(Quote {
                            begins: QuoteBegins::Ip,
                            bytes: quoted,
                        }),
                    },
                }],
            }
        })
        .collect();
    Trace {
        direction: Direction::ToClient,
        role: Role::Witness {
            token: "s1d01".into(),
        },
        ..trace(Method::Sweep, Role::Target, 25, probes)
    }
}
