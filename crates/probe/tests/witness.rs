//! Visits to a witness over loopback: clean ones, with a box in between, with every kind of bad report, and what the
//! server does with strangers.

#[allow(dead_code, reason = "each test file uses its part")]
mod chain;
mod scripted;

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hoofbeat_net::Trust;
use hoofbeat_observation::{
    Answered, Body, Dialogue, Ending, FailureKind, HandshakeOutcome, Measurement, Method,
    PacketKind, Report, Role, Scheme, Service, SignedReport, Standing, TtlMethod, WitnessService,
    WitnessVisit, WitnessedConnection,
};
use hoofbeat_probe::witness::{
    Key, VisitSettings, WitnessName, check, look, packets,
    server::{Limits, Looking, Prepared, Settings, SigningKey},
    visit,
};
use hoofbeat_session::{ByteRange, Direction, Label, Outcome, Protocol, Transcript};
use nix::sched::{CloneFlags, setns};
use proptest::prelude::*;
use scripted::context;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where the box listens that stands in the way.
const BOXED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A witness that serves until it is dropped.
struct Running {
    name: WitnessName,
    ports: Vec<(WitnessService, u16)>,
    _task: JoinSet<()>,
}

fn settings(key: SigningKey) -> Settings {
    Settings {
        addresses: vec![HERE],
        smtp: vec![0],
        imap: vec![0],
        pop3: vec![0],
        http: vec![0],
        tls: vec![0],
        control: 0,
        key,
        certificate: None,
        name: Some("witness.example".to_owned()),
        statement: "on a desk".to_owned(),
        tool: "test 0".to_owned(),
        looking: Looking::default(),
        limits: Limits::default(),
    }
}

fn start(settings: Settings) -> Running {
    let prepared = Prepared::bind(settings).unwrap();
    let name = WitnessName {
        host: HERE.to_string(),
        control_port: prepared.control_port(),
        key: Some(prepared.key()),
    };
    let ports = prepared.ports();
    let ports = ports.iter().map(|s| (s.service, s.port)).collect();
    let mut task = JoinSet::new();
    task.spawn(async move { prepared.serve(std::future::pending()).await.unwrap() });
    Running {
        name,
        ports,
        _task: task,
    }
}

fn witness() -> Running {
    start(settings(SigningKey::generate().unwrap()))
}

impl Running {
    fn port(&self, service: WitnessService) -> u16 {
        self.ports.iter().find(|(s, _)| *s == service).unwrap().1
    }

    fn smtp(&self) -> u16 {
        self.port(WitnessService::Mail {
            protocol: Protocol::Smtp,
        })
    }

    async fn connect(&self, port: u16) -> TcpStream {
        TcpStream::connect((HERE, port)).await.unwrap()
    }
}

/// Everything that a visit can do.
fn everything() -> VisitSettings {
    VisitSettings {
        schemes: Vec::new(),
        http: true,
        server_names: vec!["blocked.example".to_owned()],
        shorten: false,
        trace: true,
    }
}

/// The visit's record and its dialogues.
async fn visited(name: &WitnessName, settings: &VisitSettings) -> (WitnessVisit, Vec<Dialogue>) {
    let mut measurements = visit(name, settings, &context(), &|_| {}).await;
    let Some(Measurement {
        body: Body::Witness(visit),
        ..
    }) = measurements.pop()
    else {
        panic!("the visit comes last");
    };
    let dialogues = measurements.iter().map(|m| scripted::dialogue(m).clone());
    (visit, dialogues.collect())
}

fn report(visit: &WitnessVisit) -> Report {
    visit
        .report
        .as_ref()
        .expect("a report")
        .read()
        .expect("a readable report")
}

fn token(dialogue: &Dialogue) -> &str {
    match &dialogue.role {
        Role::Witness { token } => token,
        other => panic!("{other:?}"),
    }
}

fn seen<'a>(report: &'a Report, token: &str) -> &'a WitnessedConnection {
    let mut found = report
        .connections
        .iter()
        .filter(|c| c.token.as_deref() == Some(token));
    let one = found
        .next()
        .unwrap_or_else(|| panic!("{token} is not in the report"));
    assert!(found.next().is_none(), "{token} is there twice");
    one
}

fn bytes(transcript: &Transcript, direction: Direction) -> String {
    let all = ByteRange {
        from: 0,
        to: u64::MAX,
    };
    String::from_utf8_lossy(&transcript.bytes(direction, all)).into_owned()
}

/// Whether both ends tell the same of each direction: to the server, to the client.
fn agree(ours: &Transcript, theirs: &Transcript) -> (bool, bool) {
    let same = |direction| bytes(ours, direction) == bytes(theirs, direction);
    (same(Direction::ToServer), same(Direction::ToClient))
}

#[tokio::test]
async fn both_ends_of_a_clean_visit_tell_the_same() {
    let witness = witness();
    let (visit, dialogues) = visited(&witness.name, &everything()).await;
    assert_eq!((visit.standing, &visit.failure), (Standing::Signed, &None));
    let report = report(&visit);
    assert_eq!((report.dropped, report.shortened), (0, false));
    assert_eq!(
        (report.client, report.statement.as_str()),
        (HERE, "on a desk")
    );
    // Baseline and differential of each protocol, and a traced one of each where that is permitted.
    assert!(
        dialogues.len() == 6 || dialogues.len() == 9,
        "{}",
        dialogues.len()
    );
    for dialogue in &dialogues {
        let theirs = seen(&report, token(dialogue));
        assert_eq!(
            agree(&dialogue.transcript, &theirs.transcript),
            (true, true),
            "{dialogue:#?}\n{theirs:#?}"
        );
        assert!(dialogue.transcript.length(Direction::ToServer) > 10);
        assert_eq!(theirs.port, dialogue.service.port);
        assert_eq!(
            dialogue.connect.local.as_deref(),
            Some(theirs.peer.as_str())
        );
        if let Some(handshake) = &dialogue.handshake {
            assert_eq!(theirs.tls_completed, Some(true));
            let leaf = &handshake.chain[0];
            let digest = ring::digest::digest(&ring::digest::SHA256, &leaf.der);
            let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(report.certificate.as_deref(), Some(hex.as_str()));
        }
        // The kernel keeps SYNs: that of a loopback connection came from one hop away.
        assert_eq!(theirs.syn[0] >> 4, 4);
        let ttl = theirs.received[0];
        assert_eq!(
            (ttl.of, ttl.ttl, ttl.by),
            (PacketKind::Syn, 64, TtlMethod::SavedSyn)
        );
        // Who may trace may listen to its interface as well: headers from the SYN on, and nothing that was said.
        assert_eq!(theirs.packets.is_empty(), dialogues.len() == 6);
        if let Some(first) = theirs.packets.first() {
            assert_eq!(first.bytes[33], 2, "a SYN");
            assert!(theirs.packets.len() > 8 && !theirs.packets_cut);
            for packet in &theirs.packets {
                // 20 of IPv4, at most 60 of TCP: RFC 9293 §3.1.
                assert!(packet.bytes.len() <= 80 && packet.length as usize >= packet.bytes.len());
                assert!(packet.at >= first.at);
            }
            let said = theirs.received.iter().skip(1);
            let said: Vec<_> = said.map(|one| (one.of, one.ttl, one.by)).collect();
            assert_eq!(said, [(PacketKind::Data, 64, TtlMethod::Capture)]);
        }
    }
    let kept: usize = report.connections.iter().map(|one| one.packets.len()).sum();
    let file = packets(&report);
    assert_eq!(file.is_some(), kept > 0);
    if let Some(file) = file {
        // Section header, interface, one enhanced packet block each, statistics.
        let mut blocks = Vec::new();
        let mut rest = file.as_slice();
        while let Some(kind) = rest.get(..4) {
            blocks.push(u32::from_le_bytes(kind.try_into().unwrap()));
            let length = u32::from_le_bytes(rest[4..8].try_into().unwrap());
            rest = &rest[length as usize..];
        }
        assert_eq!(
            (blocks[0], blocks[1], blocks.len()),
            (0x0a0d_0d0a, 1, kept + 3)
        );
    }
    let upgraded = dialogues.iter().filter(|d| d.handshake.is_some()).count();
    assert_eq!(upgraded, 6, "STARTTLS works in every ordinary dialogue");
    assert_eq!(
        visit.errands.len(),
        3,
        "HTTP, the control name, the name that may be blocked"
    );
    for errand in &visit.errands {
        let theirs = seen(&report, &errand.token);
        assert_eq!(errand.failure, None);
        assert_eq!(agree(&errand.transcript, &theirs.transcript), (true, true));
        assert_eq!(theirs.tls_completed, errand.tls_completed);
        if errand.service == WitnessService::Tls {
            assert_eq!(
                (errand.tls_completed, &errand.certificate),
                (Some(true), &report.certificate)
            );
        }
    }
}

#[tokio::test]
async fn traced_lists_arrive_whole() {
    let witness = witness();
    let wanted = VisitSettings {
        schemes: vec![(Scheme::Smtp, witness.smtp())],
        trace: true,
        ..VisitSettings::default()
    };
    let (visit, dialogues) = visited(&witness.name, &wanted).await;
    let report = report(&visit);
    let traced = report.connections.iter().find_map(|c| c.trace.as_ref());
    let Some(trace) = traced else {
        eprintln!("skipped: without CAP_NET_RAW a witness does not trace");
        assert_eq!(dialogues.len(), 2);
        return;
    };
    // On loopback the first packet arrives whatever its TTL.
    assert_eq!(
        (trace.direction, trace.method),
        (Direction::ToClient, Method::Sweep)
    );
    assert_eq!(trace.probes.len(), 1);
    assert_eq!(
        (trace.probes[0].ttl, trace.probes[0].restored.is_some()),
        (1, true)
    );
    assert!(matches!(
        trace.probes[0].answers[0].what,
        Answered::Acknowledged
    ));
    let ours = dialogues.iter().find(|d| trace.role == d.role).unwrap();
    let theirs = seen(&report, token(ours));
    assert_eq!(agree(&ours.transcript, &theirs.transcript), (true, true));
    assert_eq!(
        bytes(&ours.transcript, Direction::ToServer)
            .matches("EHLO ")
            .count(),
        3
    );
}

#[tokio::test]
async fn a_willing_witness_looks_from_where_it_stands() {
    let target = witness();
    let asked = Service {
        scheme: Scheme::Smtp,
        host: "target.example".to_owned(),
        address: Some(HERE),
        port: target.smtp(),
    };
    let closed = Service {
        port: TcpListener::bind((HERE, 0))
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .port(),
        ..asked.clone()
    };
    let willing = start(Settings {
        looking: Looking::Anywhere,
        ..settings(SigningKey::generate().unwrap())
    });
    let of = async |witness: &Running, services: &[Service]| {
        let measured = look(&witness.name, services, true, &context()).await;
        let visit = measured.visit().unwrap().clone();
        assert_eq!((visit.standing, &visit.failure), (Standing::Signed, &None));
        report(&visit)
    };
    let seen = of(&willing, &[asked.clone(), closed.clone()]).await;
    assert!(seen.looks_elsewhere && seen.connections.is_empty());
    let [open, shut] = seen.looks.as_slice() else {
        panic!("{:?}", seen.looks);
    };
    assert_eq!((&open.service, &shut.service), (&asked, &closed));
    let dialogue = open.dialogue.as_ref().unwrap();
    assert_eq!(
        dialogue.handshake.as_ref().map(|one| &one.outcome),
        Some(&HandshakeOutcome::Completed)
    );
    // It says who it is, and not whom it asks for.
    assert!(
        bytes(&dialogue.transcript, Direction::ToServer).starts_with("EHLO witness.example\r\n")
    );
    let refused = shut.dialogue.as_ref().unwrap();
    assert_eq!(
        refused.connect.failure.as_ref().map(|one| one.kind),
        Some(FailureKind::Refused)
    );
    let again = of(&willing, std::slice::from_ref(&asked)).await;
    assert!(again.looks[0].dialogue.is_none());
    assert!(
        again.looks[0]
            .declined
            .as_ref()
            .is_some_and(|why| why.contains("a minute")),
        "{:?}",
        again.looks
    );
    let unwilling = of(&witness(), std::slice::from_ref(&asked)).await;
    assert!(!unwilling.looks_elsewhere && unwilling.looks[0].declined.is_some());
    let many = vec![asked; 9];
    assert_eq!(of(&willing, &many).await.looks.len(), 4);
}

#[tokio::test]
async fn addresses_are_shortened_at_the_clients_wish() {
    let witness = witness();
    let wanted = VisitSettings {
        shorten: true,
        ..everything()
    };
    let (visit, dialogues) = visited(&witness.name, &wanted).await;
    assert_eq!(visit.standing, Standing::Signed);
    let report = report(&visit);
    assert_eq!(
        (report.shortened, report.client),
        (true, IpAddr::from([127, 0, 0, 0]))
    );
    for dialogue in &dialogues {
        let theirs = seen(&report, token(dialogue));
        assert!(theirs.peer.starts_with("127.0.0.0:"));
        assert_eq!(theirs.syn[12..16], [127, 0, 0, 0]);
        assert_eq!(
            agree(&dialogue.transcript, &theirs.transcript),
            (true, true)
        );
    }
}

#[tokio::test]
async fn a_witness_with_another_key_is_not_believed() {
    let witness = witness();
    let other = SigningKey::generate().unwrap().public();
    let name = WitnessName {
        key: Some(other),
        ..witness.name.clone()
    };
    let (visit, dialogues) = visited(&name, &everything()).await;
    assert_eq!(visit.standing, Standing::Absent);
    assert!(dialogues.is_empty());
    let raw = visit.failure.unwrap().raw;
    let shown = witness.name.key.unwrap().to_string();
    assert!(raw.contains("another key") && raw.contains(&shown), "{raw}");
}

#[tokio::test]
async fn without_a_key_the_certificate_must_verify() {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![HERE.to_string()])
        .unwrap()
        .signed_by(&key, &rcgen::Issuer::new(params, authority_key))
        .unwrap();
    let witness = start(Settings {
        certificate: Some((leaf.pem().into_bytes(), key.serialize_pem().into_bytes())),
        ..settings(SigningKey::generate().unwrap())
    });
    let name = WitnessName {
        key: None,
        ..witness.name.clone()
    };
    let few = VisitSettings {
        schemes: vec![(Scheme::Smtp, witness.smtp())],
        ..VisitSettings::default()
    };
    let body = |measurements: Vec<Measurement>| match measurements.last().unwrap().body.clone() {
        Body::Witness(visit) => visit,
        other => panic!("{other:?}"),
    };
    let mut context = context();
    context.trust = Arc::new(Trust::none().with_pem(authority.pem().as_bytes()).unwrap());
    let trusted = body(visit(&name, &few, &context, &|_| {}).await);
    assert_eq!((trusted.standing, trusted.pinned), (Standing::Signed, None));
    context.trust = Arc::new(Trust::none());
    let distrusted = body(visit(&name, &few, &context, &|_| {}).await);
    assert_eq!(distrusted.standing, Standing::Absent);
    assert!(distrusted.failure.unwrap().raw.contains("certificate"));
    let (pinned, _) = visited(&witness.name, &few).await;
    assert_eq!(
        pinned.standing,
        Standing::Signed,
        "the key is enough where one has it"
    );
}

#[tokio::test]
async fn bad_reports_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let key = || {
        SigningKey::open_or_create(&folder.path().join("key"))
            .unwrap()
            .0
    };
    let witness = start(settings(key()));
    let few = VisitSettings {
        schemes: vec![(Scheme::Smtp, witness.smtp())],
        ..VisitSettings::default()
    };
    let (good, _) = visited(&witness.name, &few).await;
    let (other, _) = visited(&witness.name, &few).await;
    let signed = good.report.clone().unwrap();
    let standing_of = |report: Option<SignedReport>| {
        let mut visit = good.clone();
        visit.report = report;
        visit.standing = Standing::Unchecked;
        check(&mut visit);
        visit.standing
    };
    assert_eq!(standing_of(Some(signed.clone())), Standing::Signed);
    assert_eq!(standing_of(None), Standing::Absent);
    assert_eq!(standing_of(other.report), Standing::OtherSession);
    for length in [0, 1, signed.bytes.len() / 2, signed.bytes.len() - 1] {
        let mut cut = signed.clone();
        cut.bytes.truncate(length);
        assert_eq!(standing_of(Some(cut)), Standing::CutOff);
    }
    let mut flipped = signed.clone();
    let at = String::from_utf8(flipped.bytes.clone())
        .unwrap()
        .find("STARTTLS")
        .unwrap();
    flipped.bytes[at] = b'X';
    assert_eq!(standing_of(Some(flipped)), Standing::Forged);
    for at in (0..signed.bytes.len()).step_by(97) {
        let mut flipped = signed.clone();
        flipped.bytes[at] ^= 1;
        let found = standing_of(Some(flipped));
        assert!(
            matches!(found, Standing::Forged | Standing::CutOff),
            "{at}: {found:?}"
        );
    }
    let stranger = SigningKey::generate().unwrap();
    assert_eq!(
        standing_of(Some(stranger.sign(signed.bytes.clone()))),
        Standing::WrongKey
    );
    let mut claimed = stranger.sign(signed.bytes.clone());
    claimed.key.clone_from(&signed.key);
    assert_eq!(standing_of(Some(claimed)), Standing::Forged);
    for nonsense in ["", "AAAA", "%%%"] {
        let mut broken = signed.clone();
        nonsense.clone_into(&mut broken.signature);
        assert_eq!(standing_of(Some(broken)), Standing::Forged);
        let mut broken = signed.clone();
        nonsense.clone_into(&mut broken.key);
        assert_eq!(standing_of(Some(broken)), Standing::WrongKey);
    }
    // A witness whose clock is hours off is a witness all the same.
    let mut late = report(&good);
    late.started += 5 * 3600;
    let late = key().sign(serde_json::to_vec(&late).unwrap());
    assert_eq!(standing_of(Some(late)), Standing::Signed);
    // Signed, but no report.
    assert_eq!(
        standing_of(Some(key().sign(b"{}".to_vec()))),
        Standing::CutOff
    );
}

/// A box on the way: what passes on these ports is changed.
type Change = fn(Direction, Vec<u8>) -> Vec<u8>;

/// Relays every port of the witness from another address, changing what passes on the data ports.
async fn boxed(witness: &Running, change: Change) -> (WitnessName, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let data = witness.ports.iter().map(|(_, port)| (*port, change));
    let control = (witness.name.control_port, (|_, bytes| bytes) as Change);
    for (port, change) in data.chain([control]) {
        let listener = TcpListener::bind((BOXED, port)).await.unwrap();
        tasks.spawn(async move {
            let mut relays = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((HERE, port)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                relays.spawn(pass(from_client, to_server, Direction::ToServer, change));
                relays.spawn(pass(from_server, to_client, Direction::ToClient, change));
            }
        });
    }
    let name = WitnessName {
        host: BOXED.to_string(),
        ..witness.name.clone()
    };
    (name, tasks)
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    direction: Direction,
    change: Change,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let changed = change(direction, buffer[..length].to_vec());
        if changed.is_empty() || to.write_all(&changed).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

fn replace(bytes: Vec<u8>, old: &str, new: &str) -> Vec<u8> {
    match String::from_utf8(bytes) {
        Ok(text) => text.replace(old, new).into_bytes(),
        Err(other) => other.into_bytes(),
    }
}

#[tokio::test]
async fn a_masked_list_shows_towards_the_client_alone() {
    let witness = witness();
    let (name, _box) = boxed(&witness, |direction, bytes| match direction {
        Direction::ToClient => replace(bytes, "-STARTTLS\r\n", "-XXXXXXXA\r\n"),
        Direction::ToServer => bytes,
    })
    .await;
    let wanted = VisitSettings {
        schemes: vec![(Scheme::Smtp, witness.smtp())],
        ..everything()
    };
    let (visit, dialogues) = visited(&name, &wanted).await;
    assert_eq!(visit.standing, Standing::Signed);
    let report = report(&visit);
    let mut met = 0;
    for dialogue in &dialogues {
        let theirs = seen(&report, token(dialogue));
        let (to_server, to_client) = agree(&dialogue.transcript, &theirs.transcript);
        assert!(to_server, "{dialogue:#?}\n{theirs:#?}");
        let masked = bytes(&dialogue.transcript, Direction::ToClient).contains("XXXXXXXA");
        assert_eq!(to_client, !masked);
        let sent = bytes(&theirs.transcript, Direction::ToClient);
        assert!(sent.contains("STARTTLS") && !sent.contains("XXXX"));
        met += usize::from(masked);
    }
    // This box does not look at the last line, where STARTTLS stands in one list of three.
    assert!(met > 0);
}

#[tokio::test]
async fn a_rewritten_command_shows_towards_the_server_alone() {
    let witness = witness();
    let (name, _box) = boxed(&witness, |direction, bytes| match direction {
        Direction::ToServer => replace(replace(bytes, "STARTTLS", "XXXXXXXX"), "STLS", "XXXX"),
        Direction::ToClient => bytes,
    })
    .await;
    let (visit, dialogues) = visited(&name, &everything()).await;
    assert_eq!(visit.standing, Standing::Signed);
    let report = report(&visit);
    let mut changed = 0;
    for dialogue in &dialogues {
        let theirs = seen(&report, token(dialogue));
        let (to_server, to_client) = agree(&dialogue.transcript, &theirs.transcript);
        assert!(to_client);
        let asked = bytes(&dialogue.transcript, Direction::ToServer);
        let upgrade = asked.contains("STARTTLS") || asked.contains("STLS");
        assert_eq!(to_server, !upgrade);
        assert_eq!(
            bytes(&theirs.transcript, Direction::ToServer).contains("XXXX"),
            upgrade
        );
        changed += usize::from(upgrade);
    }
    assert_eq!(changed, 6);
}

#[tokio::test]
async fn inserted_headers_and_blocked_names_show() {
    let witness = witness();
    let (name, _box) = boxed(&witness, |direction, bytes| {
        let has = |what: &str| {
            bytes
                .windows(what.len())
                .any(|window| window == what.as_bytes())
        };
        match direction {
            Direction::ToServer if has("blocked.example") => Vec::new(),
            Direction::ToServer if bytes.starts_with(b"GET ") => {
                replace(bytes, "\r\nAccept:", "\r\nX-UIDH: OTgxNT\r\nAccept:")
            }
            _ => bytes,
        }
    })
    .await;
    let (visit, dialogues) = visited(&name, &everything()).await;
    assert_eq!(visit.standing, Standing::Signed);
    let report = report(&visit);
    for dialogue in &dialogues {
        let theirs = seen(&report, token(dialogue));
        assert_eq!(
            agree(&dialogue.transcript, &theirs.transcript),
            (true, true)
        );
    }
    for errand in &visit.errands {
        match (errand.service, errand.server_name.as_deref()) {
            (WitnessService::Http, _) => {
                let theirs = seen(&report, &errand.token);
                assert_eq!(agree(&errand.transcript, &theirs.transcript), (false, true));
                let arrived = bytes(&theirs.transcript, Direction::ToServer);
                assert!(arrived.contains("X-UIDH: OTgxNT\r\n"), "{arrived}");
            }
            (_, Some("blocked.example")) => {
                assert_eq!(errand.tls_completed, Some(false));
                assert!(errand.failure.is_some());
                let tokens = report.connections.iter().filter_map(|c| c.token.as_ref());
                assert!(!tokens.into_iter().any(|token| *token == errand.token));
            }
            _ => {
                assert_eq!((errand.tls_completed, &errand.failure), (Some(true), &None));
                let theirs = seen(&report, &errand.token);
                assert_eq!(agree(&errand.transcript, &theirs.transcript), (true, true));
            }
        }
    }
}

#[tokio::test]
async fn secrets_never_reach_the_report() {
    let witness = witness();
    let (name, _box) = boxed(&witness, |direction, bytes| match direction {
        // Somebody on the way talks in our name.
        Direction::ToServer => {
            let bytes = replace(bytes, "NOOP\r\n", "AUTH PLAIN AGFsaWNlAHMzY3IzdA==\r\n");
            replace(
                bytes,
                "QUIT\r\n",
                "MAIL FROM:<alice@home.example>\r\nPASS s3cr3t\r\nQUIT\r\n",
            )
        }
        Direction::ToClient => bytes,
    })
    .await;
    let (visit, dialogues) = visited(&name, &everything()).await;
    assert_eq!(visit.standing, Standing::Signed);
    assert!(!dialogues.is_empty());
    let text = String::from_utf8(visit.report.unwrap().bytes).unwrap();
    assert!(
        text.contains("AUTH PLAIN ****") && text.contains("PASS ******"),
        "{text}"
    );
    for secret in ["AGFsaWNl", "s3cr3t", "alice@home"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

/// Says these lines to a port and returns all that was answered.
async fn said(witness: &Running, port: u16, lines: &str) -> String {
    let mut stream = witness.connect(port).await;
    stream.write_all(lines.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn it_takes_no_mail_and_knows_nobody() {
    let witness = witness();
    let lines = "EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nAUTH LOGIN\r\nQUIT\r\n";
    let answer = said(&witness, witness.smtp(), lines).await;
    let codes: Vec<&str> = answer
        .lines()
        .filter(|l| l.as_bytes().get(3) == Some(&b' '))
        .map(|l| &l[..3])
        .collect();
    assert_eq!(codes, ["220", "250", "550", "550", "550", "502", "221"]);
    let many = "HELP\r\n".repeat(200);
    let answer = said(&witness, witness.smtp(), &many).await;
    assert!(
        answer.ends_with("421 4.7.0 witness.example too many errors\r\n"),
        "{answer}"
    );
    assert!(answer.len() < 2000);
}

#[tokio::test]
async fn too_many_connections_are_turned_away_politely() {
    let witness = start(Settings {
        limits: Limits {
            connections_per_address: 2,
            ..Limits::default()
        },
        ..settings(SigningKey::generate().unwrap())
    });
    let mut first = witness.connect(witness.smtp()).await;
    let mut second = witness.connect(witness.smtp()).await;
    for stream in [&mut first, &mut second] {
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"220");
    }
    for (service, wanted) in [
        (Protocol::Smtp, "421 4.7.0 "),
        (Protocol::Imap, "* BYE "),
        (Protocol::Pop3, "-ERR [SYS/TEMP] "),
    ] {
        let port = witness.port(WitnessService::Mail { protocol: service });
        let answer = said(&witness, port, "").await;
        assert!(
            answer.starts_with(wanted) && answer.contains("too many connections"),
            "{answer}"
        );
    }
    let answer = said(&witness, witness.port(WitnessService::Http), "").await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("too many connections"),
        "{answer}"
    );
    drop((first, second));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = said(&witness, witness.smtp(), "QUIT\r\n").await;
    assert!(answer.contains("221 "), "{answer}");
}

#[tokio::test]
async fn sessions_are_counted_and_end() {
    let witness = start(Settings {
        limits: Limits {
            sessions_per_address: 0,
            ..Limits::default()
        },
        ..settings(SigningKey::generate().unwrap())
    });
    let (visit, dialogues) = visited(&witness.name, &everything()).await;
    assert!(dialogues.is_empty() && visit.standing == Standing::Absent);
    let failure = visit.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Prohibited);
    assert!(failure.raw.contains("too many sessions"), "{failure}");
    let witness = start(Settings {
        limits: Limits {
            session: Duration::from_millis(1),
            ..Limits::default()
        },
        ..settings(SigningKey::generate().unwrap())
    });
    let (visit, _) = visited(&witness.name, &everything()).await;
    assert_eq!(visit.standing, Standing::Absent);
    assert!(visit.failure.is_some());
}

#[tokio::test]
async fn what_does_not_fit_is_told() {
    let witness = start(Settings {
        limits: Limits {
            bytes_per_session: 3000,
            ..Limits::default()
        },
        ..settings(SigningKey::generate().unwrap())
    });
    let (visit, dialogues) = visited(&witness.name, &everything()).await;
    assert_eq!(visit.standing, Standing::Signed);
    let report = report(&visit);
    let all = dialogues.len() + visit.errands.len();
    assert!(report.dropped > 0);
    assert_eq!(report.connections.len() + report.dropped as usize, all);
}

#[tokio::test]
async fn nobody_at_the_control_port() {
    let address: SocketAddr = TcpListener::bind((HERE, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let name = WitnessName {
        host: HERE.to_string(),
        control_port: address.port(),
        key: Some(Key([1; 32])),
    };
    let (visit, dialogues) = visited(&name, &everything()).await;
    assert!(dialogues.is_empty());
    assert_eq!(visit.failure.unwrap().kind, FailureKind::Refused);
}

/// Runs a part of a test in a namespace of its own; threads have theirs, and so has what they open.
fn in_namespace<T: Send + 'static>(
    name: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let namespace = File::open(format!("/run/netns/{name}")).unwrap();
    std::thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(work)
    })
}

/// A witness three routers away from its client, on the mail's own port.
fn visited_over_a_chain(number: usize, address: IpAddr) -> (Report, Vec<Dialogue>) {
    let (told, name) = std::sync::mpsc::channel();
    let _serving = in_namespace(&format!("t{number}-4"), async move {
        let prepared = Prepared::bind(Settings {
            addresses: vec![address],
            smtp: vec![25],
            ..settings(SigningKey::generate().unwrap())
        });
        let prepared = prepared.unwrap();
        assert!(prepared.can_trace());
        let name = WitnessName {
            host: address.to_string(),
            control_port: prepared.control_port(),
            key: Some(prepared.key()),
        };
        told.send(name).unwrap();
        prepared.serve(std::future::pending()).await.unwrap();
    });
    let name = name.recv().unwrap();
    let wanted = VisitSettings {
        schemes: vec![(Scheme::Smtp, 25)],
        trace: true,
        ..VisitSettings::default()
    };
    let visiting = in_namespace(&format!("t{number}-0"), async move {
        visited(&name, &wanted).await
    });
    let (visit, dialogues) = visiting.join().unwrap();
    assert_eq!(visit.standing, Standing::Signed, "{:?}", visit.failure);
    (report(&visit), dialogues)
}

/// Hop, router, and whether what it quoted holds this word.
fn quoted(report: &Report, word: &str) -> Vec<(u8, IpAddr, bool)> {
    let trace = report
        .connections
        .iter()
        .find_map(|c| c.trace.as_ref())
        .expect("a trace");
    let answers = trace
        .probes
        .iter()
        .flat_map(|probe| probe.answers.iter().map(|answer| (probe.ttl, answer)));
    let quotes = answers.filter_map(|(ttl, answer)| match &answer.what {
        Answered::TimeExceeded { from, quote } => {
            let quote = &quote.as_ref().expect("a quote").bytes;
            let holds = quote
                .windows(word.len())
                .any(|window| window == word.as_bytes());
            Some((ttl, *from, holds))
        }
        _ => None,
    });
    quotes.collect()
}

#[test]
fn a_masker_is_found_between_two_hops_from_the_witness() {
    chain::inside(
        "a_masker_is_found_between_two_hops_from_the_witness",
        || {
            // The list's order changes, so the mask looks everywhere.
            let mask: String = (0..180)
            .map(|at| format!("tcp sport 25 @ih,{},64 0x5354415254544c53 @ih,{0},64 set 0x5858585858585841\n", at * 8))
            .collect();
            for (number, (hook, priority, first)) in
                [("forward", "0", 3), ("prerouting", "-150", 2)]
                    .into_iter()
                    .enumerate()
            {
                let chain = chain::Chain::build(3);
                chain.filter(2, hook, priority, &mask);
                let (report, dialogues) = visited_over_a_chain(number, chain.address(4));
                let router = |hop: u8| IpAddr::from([10, 77, 5 - hop, 1]);
                let wanted: Vec<_> = (1..=3).map(|hop| (hop, router(hop), hop < first)).collect();
                assert_eq!(quoted(&report, "STARTTLS"), wanted, "{hook}");
                let masked: Vec<_> = (1..=3)
                    .map(|hop| (hop, router(hop), hop >= first))
                    .collect();
                assert_eq!(quoted(&report, "XXXXXXXA"), masked, "{hook}");
                assert_eq!(dialogues.len(), 3);
                for dialogue in &dialogues {
                    let theirs = seen(&report, token(dialogue));
                    assert_eq!(
                        agree(&dialogue.transcript, &theirs.transcript),
                        (true, false)
                    );
                    assert_eq!(theirs.received[0].ttl, 61, "three routers");
                }
            }
        },
    );
}

/// What is dropped on its way is sent again until the client gives up; the report has what arrived all the same.
#[test]
fn a_swallowed_command_costs_seconds_and_the_report_holds_what_arrived() {
    let name = "a_swallowed_command_costs_seconds_and_the_report_holds_what_arrived";
    chain::inside(name, || {
        let chain = chain::Chain::build(3);
        let dropped = "tcp dport 25 @ih,0,64 0x5354415254544c53 drop";
        chain.filter(2, "forward", "0", dropped);
        let (report, dialogues) = visited_over_a_chain(0, chain.address(4));
        let cut = dialogues.iter().filter(|one| one.swallowed.is_some());
        let cut: Vec<_> = cut.collect();
        assert_eq!(cut.len(), 2, "the plain dialogue and the differential");
        for dialogue in cut {
            let last = dialogue
                .exchanges
                .iter()
                .find(|one| Some(one.step) == dialogue.swallowed);
            let last = last.expect("the step that was cut");
            assert_eq!(
                (last.label, last.outcome),
                (Label::StartTls, Outcome::TimedOut)
            );
            let waited = last.ended.since(last.started);
            assert!(waited >= Duration::from_secs(5), "{waited:?}");
            assert!(waited < Duration::from_secs(12), "{waited:?}");
            let theirs = seen(&report, token(dialogue));
            let received = bytes(&theirs.transcript, Direction::ToServer);
            assert!(received.contains("EHLO ") && !received.contains("STARTTLS"));
            assert_eq!(theirs.ending, Ending::Limit);
        }
        assert_eq!(report.dropped, 0, "no connection is missing");
    });
}

#[test]
fn a_clean_path_of_either_family_is_quoted_unchanged() {
    chain::inside("a_clean_path_of_either_family_is_quoted_unchanged", || {
        let chain = chain::Chain::build(3);
        for family in [4, 6] {
            let (report, dialogues) = visited_over_a_chain(0, chain.address(family));
            let router = |hop: u8| match family {
                4 => IpAddr::from([10, 77, 5 - hop, 1]),
                _ => format!("fd77:{}::1", 5 - hop).parse().unwrap(),
            };
            let wanted: Vec<_> = (1..=3).map(|hop| (hop, router(hop), true)).collect();
            assert_eq!(quoted(&report, "STARTTLS"), wanted);
            for dialogue in &dialogues {
                let theirs = seen(&report, token(dialogue));
                assert_eq!(
                    agree(&dialogue.transcript, &theirs.transcript),
                    (true, true)
                );
                assert_eq!(theirs.syn[0] >> 4, family);
                assert_eq!(theirs.received[0].ttl, 61);
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever strangers say, on whatever port, the witness goes on.
    #[test]
    fn garbage_is_survived(said in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..4), lines: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let witness = witness();
            let mut ports: Vec<u16> = witness.ports.iter().map(|(_, port)| *port).collect();
            ports.push(witness.name.control_port);
            for (port, bytes) in ports.iter().flat_map(|port| said.iter().map(move |bytes| (*port, bytes))) {
                let mut stream = witness.connect(port).await;
                let _ = stream.write_all(bytes).await;
                if lines {
                    let _ = stream.write_all(b"\r\nSTARTTLS\r\nSTLS\r\na STARTTLS\r\n\r\n").await;
                    let _ = stream.write_all(bytes).await;
                }
                let _ = stream.shutdown().await;
                let mut rest = Vec::new();
                let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
            }
            let few = VisitSettings { schemes: vec![(Scheme::Smtp, witness.smtp())], ..VisitSettings::default() };
            let (visit, _) = visited(&witness.name, &few).await;
            assert_eq!(visit.standing, Standing::Signed);
        });
    }
}
