//! A builder for synthetic measurements: dialogues from lists of (label, sent, reply), as a probe records them.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use core::net::IpAddr;
use hoofbeat_observation::{
    Body, Certificate, Connect, Dialogue, DnsStatus, Ending, Failure, FailureKind, Handshake,
    HandshakeOutcome, InvalidReason, LegacyHello, Lookup, Measurement, Operation, Question, Record,
    Role, Scheme, Service, Source, Vantage, Variation, Verification, archive,
    dialogue::{Claim, Claimed},
    measurement::Unresolved,
};
use hoofbeat_session::{
    ByteRange, Direction, Elapsed, Exchange, Label, Layer, Outcome, Protocol, Transcript,
};

pub const HOST: &str = "mx.example.org";
pub const NOW: i64 = 1_795_000_000;

/// All that was measured in one scene.
#[derive(Default, Clone)]
pub struct Scene {
    pub measurements: Vec<Measurement>,
}

impl Scene {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn body(mut self, body: Body) -> Self {
        let id = format!("m{}", self.measurements.len() + 1);
        self.measurements.push(Measurement {
            schema: archive::SCHEMA.into(),
            id,
            tool: "hoofbeat 0.1.0".into(),
            target: "example.org".into(),
            started: NOW,
            vantage: Vantage::default(),
            body,
        });
        self
    }
    pub fn talk(self, talk: Talk) -> Self {
        self.body(Body::Dialogue(talk.dialogue))
    }
    pub fn lookup(
        self,
        name: &str,
        question: Question,
        records: Vec<Record>,
        status: DnsStatus,
    ) -> Self {
        let failure = records.is_empty().then(|| Failure {
            operation: Operation::Resolve,
            kind: FailureKind::NoSuchRecord,
            raw: "no data".into(),
        });
        self.body(Body::Lookup(Lookup {
            name: name.into(),
            question,
            records,
            status,
            failure,
            resolver: "192.0.2.53".into(),
            started: Elapsed::default(),
            ended: Elapsed::from_millis(5),
        }))
    }
    pub fn unresolved(self, why: Unresolved) -> Self {
        self.body(Body::Unresolved(why))
    }
}

/// One dialogue.
#[derive(Clone)]
pub struct Talk {
    pub dialogue: Dialogue,
    layer: Layer,
    clock: u64,
    tag: u32,
}

pub fn service(scheme: Scheme, host: &str) -> Service {
    Service {
        scheme,
        host: host.into(),
        address: Some(IpAddr::from([192, 0, 2, 25])),
        port: scheme.default_port(),
    }
}

impl Talk {
    pub fn to(service: Service) -> Self {
        let protocol = service.scheme.protocol();
        Self {
            dialogue: Dialogue {
                service,
                protocol,
                role: Role::Target,
                variation: Variation::Baseline,
                source: Source::Live,
                route: "direct".into(),
                connect: Connect {
                    started: Elapsed::default(),
                    established: Some(Elapsed::from_millis(20)),
                    local: None,
                    failure: None,
                },
                transcript: Transcript::default(),
                exchanges: Vec::new(),
                handshake: None,
                legacy: None,
                swallowed: None,
                ending: Ending::Ours,
            },
            layer: Layer::Plain,
            clock: 20,
            tag: 0,
        }
    }
    pub fn smtp() -> Self {
        Self::to(service(Scheme::Smtp, HOST))
    }
    pub fn imap() -> Self {
        Self::to(service(Scheme::Imap, HOST))
    }
    pub fn pop3() -> Self {
        Self::to(service(Scheme::Pop3, HOST))
    }
    pub fn sieve() -> Self {
        Self::to(service(Scheme::Sieve, HOST))
    }
    pub fn role(mut self, role: Role) -> Self {
        self.dialogue.role = role;
        self
    }
    pub fn variation(mut self, variation: Variation) -> Self {
        self.dialogue.variation = variation;
        self
    }
    pub fn source(mut self, source: Source) -> Self {
        self.dialogue.source = source;
        self.dialogue.variation = Variation::Recorded;
        self
    }
    pub fn text(self) -> Self {
        self.source(Source::Text {
            form: "telnet".into(),
            limits: vec!["line ends are lost".into()],
            claims: Vec::new(),
        })
    }
    pub fn claims(self, claims: &[(Claimed, &str)]) -> Self {
        let claims = claims
            .iter()
            .map(|(what, line)| Claim {
                what: *what,
                line: (*line).into(),
            })
            .collect();
        self.source(Source::Text {
            form: "postfix log".into(),
            limits: Vec::new(),
            claims,
        })
    }
    /// A step. `sent` without line end; in `reply` each `\n` is written as CRLF, and `{tag}` is the command's tag.
    pub fn step(mut self, label: Label, sent: &str, reply: &str) -> Self {
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        let sent = match self.dialogue.protocol {
            Protocol::Imap if !sent.is_empty() => format!("{tag} {sent}"),
            _ => sent.to_string(),
        };
        let reply = reply.replace("{tag}", &tag);
        self.raw(
            label,
            &sent,
            reply.replace('\n', "\r\n").as_bytes(),
            Outcome::Replied,
        )
    }
    pub fn raw(mut self, label: Label, sent: &str, reply: &[u8], outcome: Outcome) -> Self {
        let at = Elapsed::from_millis(self.clock);
        self.clock += 20;
        let ended = Elapsed::from_millis(self.clock);
        let sent = (!sent.is_empty()).then(|| {
            self.dialogue.transcript.push(
                Direction::ToServer,
                self.layer,
                at,
                format!("{sent}\r\n").as_bytes(),
            )
        });
        let received = self
            .dialogue
            .transcript
            .push(Direction::ToClient, self.layer, ended, reply);
        self.dialogue.exchanges.push(Exchange {
            step: u32::try_from(self.dialogue.exchanges.len()).unwrap(),
            label,
            layer: self.layer,
            sent,
            received,
            started: at,
            first_byte: (!reply.is_empty()).then_some(ended),
            ended,
            outcome,
            leftover: None,
        });
        self
    }
    pub fn silent(self, label: Label, sent: &str) -> Self {
        let sent = if self.dialogue.protocol == Protocol::Imap {
            format!("a9 {sent}")
        } else {
            sent.to_string()
        };
        self.raw(label, &sent, b"", Outcome::TimedOut)
    }
    pub fn greets(self, line: &str) -> Self {
        self.step(Label::Greeting, "", &format!("{line}\n"))
    }
    pub fn ehlo(self, reply: &str) -> Self {
        self.step(Label::Capabilities, "EHLO probe.example.net", reply)
    }
    pub fn starttls(self, reply: &str) -> Self {
        let verb = if self.dialogue.protocol == Protocol::Pop3 {
            "STLS"
        } else {
            "STARTTLS"
        };
        self.step(Label::StartTls, verb, &format!("{reply}\n"))
    }
    pub fn noop(self, reply: &str) -> Self {
        self.step(Label::Noop, "NOOP", &format!("{reply}\n")).step(
            Label::SplitNoop,
            "NOOP",
            &format!("{reply}\n"),
        )
    }
    pub fn unknown(self, reply: &str) -> Self {
        let verb = if self.dialogue.protocol == Protocol::Pop3 {
            "QXJV"
        } else {
            "QXJVKWZF"
        };
        self.step(
            Label::UnknownVerb,
            verb,
            &format!("{}\n", reply.replace("{verb}", verb)),
        )
    }
    pub fn quit(self, reply: &str) -> Self {
        let verb = if matches!(self.dialogue.protocol, Protocol::Imap | Protocol::Sieve) {
            "LOGOUT"
        } else {
            "QUIT"
        };
        self.step(Label::Quit, verb, &format!("{reply}\n"))
    }
    pub fn leftover(mut self, bytes: &[u8]) -> Self {
        let at = Elapsed::from_millis(self.clock);
        let range: ByteRange =
            self.dialogue
                .transcript
                .push(Direction::ToClient, Layer::Plain, at, bytes);
        self.dialogue.exchanges.last_mut().unwrap().leftover = Some(range);
        self
    }
    pub fn handshake(
        mut self,
        outcome: HandshakeOutcome,
        verification: Verification,
        chain: Vec<Certificate>,
    ) -> Self {
        let done = outcome == HandshakeOutcome::Completed;
        self.dialogue.handshake = Some(Handshake {
            started: Elapsed::from_millis(self.clock),
            ended: Elapsed::from_millis(self.clock + 30),
            outcome,
            server_name: Some(self.dialogue.service.host.clone()),
            version: done.then(|| "TLSv1.3".into()),
            cipher: done.then(|| "TLS13_AES_256_GCM_SHA384".into()),
            chain,
            verification,
            first_bytes: Vec::new(),
        });
        self.layer = Layer::Tls;
        self
    }
    pub fn verified(self) -> Self {
        let host = self.dialogue.service.host.clone();
        let chain = vec![certificate(&host, "CN=Good CA", 1)];
        self.handshake(
            HandshakeOutcome::Completed,
            Verification::Verified { name: host },
            chain,
        )
    }
    pub fn invalid(self, reason: InvalidReason, issuer: &str, key: u8) -> Self {
        let host = self.dialogue.service.host.clone();
        let chain = vec![certificate(&host, issuer, key)];
        self.handshake(
            HandshakeOutcome::Completed,
            Verification::Invalid {
                reason,
                detail: format!("{reason:?}"),
            },
            chain,
        )
    }
    pub fn dies(self, outcome: HandshakeOutcome) -> Self {
        self.handshake(outcome, Verification::Unknown, Vec::new())
    }
    pub fn legacy(mut self, version: Option<&str>) -> Self {
        self.dialogue.variation = Variation::LegacyTls;
        self.dialogue.legacy = Some(LegacyHello {
            offered: "TLSv1.2".into(),
            version: version.map(Into::into),
            cipher: None,
            alert: None,
        });
        self
    }
    pub fn refused(mut self, kind: FailureKind) -> Self {
        self.dialogue.connect.established = None;
        self.dialogue.connect.failure = Some(Failure {
            operation: Operation::Connect,
            kind,
            raw: format!("{kind:?}"),
        });
        self.dialogue.ending = Ending::None;
        self
    }
    pub fn tweak(mut self, change: impl FnOnce(&mut Dialogue)) -> Self {
        change(&mut self.dialogue);
        self
    }
}

pub fn certificate(host: &str, issuer: &str, key: u8) -> Certificate {
    Certificate {
        der: vec![0x30, key],
        public_key: vec![0x30, 0x59, key],
        subject: format!("CN={host}"),
        issuer: issuer.into(),
        names: vec![host.into()],
        not_before: Some(NOW - 10 * 86_400),
        not_after: Some(NOW + 60 * 86_400),
        key: Some("EC P-256".into()),
    }
}

pub fn control(operator: &str) -> Role {
    Role::Control {
        operator: operator.into(),
        known: vec!["STARTTLS".into(), "STLS".into()],
    }
}

/// A control's service: another host, another address, the same port.
pub fn control_service(scheme: Scheme, n: u8) -> Service {
    Service {
        scheme,
        host: format!("mx{n}.provider{n}.example"),
        address: Some(IpAddr::from([198, 51, 100, n])),
        port: scheme.default_port(),
    }
}

/// Postfix's list, with and without STARTTLS.
pub const POSTFIX: &str = "250-mx.example.org\n250-PIPELINING\n250-SIZE 10240000\n250-VRFY\n250-ETRN\n250-STARTTLS\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250-DSN\n250-SMTPUTF8\n250 CHUNKING\n";
pub fn postfix_without() -> String {
    POSTFIX.replace("250-STARTTLS\n", "")
}
pub const POSTFIX_ASA: &str = "250-mx.example.org\n250-PIPELINING\n250-SIZE 10240000\n250-VRFY\n250-ETRN\n250-XXXXXXXA\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250-DSN\n250-XXXXXXXB\n250 XXXXXXXC\n";
pub const GREETING: &str = "220 mx.example.org ESMTP Postfix";
pub const STARS: &str = "220 ****************************";
pub const UNKNOWN: &str = "500 5.5.2 Error: command not recognized";
pub const OFF: &str = "502 5.5.1 Error: command not implemented";
pub const GO: &str = "220 2.0.0 Ready to start TLS";
pub const BYE: &str = "221 2.0.0 Bye";

pub fn postfix() -> Talk {
    Talk::smtp().greets(GREETING).ehlo(POSTFIX)
}
/// A clean, verified Postfix.
pub fn clean() -> Talk {
    inside(postfix().starttls(GO).verified())
}
pub fn inside(talk: Talk) -> Talk {
    talk.ehlo(&postfix_without()).quit(BYE)
}
/// The verb differential up to STARTTLS, in Postfix's words.
pub fn differential(greeting: &str, list: &str) -> Talk {
    Talk::smtp()
        .variation(Variation::Differential)
        .greets(greeting)
        .ehlo(list)
        .step(Label::CapabilitiesAgain, "EHLO probe.example.net", list)
        .noop("250 2.0.0 Ok")
        .unknown(UNKNOWN)
}
pub fn clean_control(scheme: Scheme, n: u8) -> Talk {
    let talk = Talk::to(control_service(scheme, n)).role(control(&format!("provider {n}")));
    inside(
        talk.greets(GREETING)
            .ehlo(&POSTFIX.replace("mx.example.org", &format!("mx{n}.provider{n}.example")))
            .starttls(GO)
            .verified(),
    )
}
/// Whether an observation entered the weighing, by its stable name.
pub fn weighs(finding: &hoofbeat_diagnosis::Finding, observation: &str) -> bool {
    finding
        .location
        .weighed
        .iter()
        .any(|one| one.observation == observation)
}

/// Masked list, STARTTLS met by the words for an unknown verb.
pub fn masked() -> Scene {
    Scene::new()
        .talk(Talk::smtp().greets(STARS).ehlo(POSTFIX_ASA).quit(BYE))
        .talk(differential(STARS, POSTFIX_ASA).starttls(UNKNOWN).quit(BYE))
}
/// A server of no known make, without STARTTLS, that answers it like an unknown verb.
pub fn plain() -> Scene {
    let list = "250-mx.example.org\n250-8BITMIME\n250 SIZE 1000\n";
    Scene::new().talk(
        Talk::smtp()
            .variation(Variation::Differential)
            .greets("220 mx.example.org ready")
            .ehlo(list)
            .noop("250 fine")
            .unknown("500 what?")
            .starttls("500 what?")
            .quit("221 bye"),
    )
}
/// A Postfix that was built or set up without TLS.
pub fn honest() -> Scene {
    let list = postfix_without();
    Scene::new().talk(differential(GREETING, &list).starttls(OFF).quit(BYE))
}
