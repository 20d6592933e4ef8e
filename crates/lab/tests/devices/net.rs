//! A small network for the tests of boxes: client – r1 – r2 – server, a server that writes down what it gets, and a client
//! with raw sockets beside.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hoofbeat_lab::topology::device::packet::{Segment, checksum};
use hoofbeat_lab::topology::{Node, shell, tool};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// How long a reply that must come may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long silence must last to be silence: longer than two retransmissions.
const SILENCE: Duration = Duration::from_millis(900);
/// How long a quote may take on a network without delay.
const QUOTE: Duration = Duration::from_millis(150);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// Runs `test` as the first process of a lab of its own; `name` is the test's.
pub(crate) fn inside(name: &str, test: fn()) {
    if shell::is_inside() {
        shell::settle("").expect("a place of its own");
        test();
        return;
    }
    if let Err(reason) = shell::possible() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
        eprintln!("SKIPPED {name}: {reason}");
        return;
    }
    let own = std::env::current_exe().expect("this program");
    let output = shell::enter(own, [name, "--exact", "--nocapture"])
        .expect("a lab")
        .output()
        .expect("a lab");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    peer: Option<SocketAddr>,
    resets: usize,
}

pub(crate) struct Net {
    nodes: Vec<Node>,
    seen: Arc<Mutex<Seen>>,
}

const NAMES: [&str; 4] = ["client", "r1", "r2", "server"];

impl Net {
    pub(crate) fn build() -> Self {
        Self::lay(false)
    }

    /// As [`Net::build`], with a bridge between r1 and r2.
    pub(crate) fn with_bridge() -> Self {
        Self::lay(true)
    }

    fn lay(bridge: bool) -> Self {
        let mut nodes: Vec<Node> = NAMES
            .iter()
            .map(|name| Node::create(name).expect("a namespace"))
            .collect();
        if bridge {
            nodes.push(Node::create("bridge").expect("a namespace"));
        }
        for node in &nodes {
            // A fresh address that is still being looked for elsewhere delays everything by seconds.
            let set = || std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
            node.inside(set).expect("inside").expect("a setting");
        }
        let mut outside = String::new();
        for pair in NAMES.windows(2) {
            let (left, right) = (pair[0], pair[1]);
            if bridge && left == "r1" {
                outside += "link add right netns r1 type veth peer name left netns bridge\n\
                            link add right netns bridge type veth peer name left netns r2\n";
            } else {
                outside += &format!(
                    "link add right netns {left} type veth peer name left netns {right}\n"
                );
            }
        }
        tool::ip(None, &outside).expect("links");
        for (place, node) in nodes.iter_mut().enumerate() {
            if node.name == "bridge" {
                let lines = "link add br0 type bridge\nlink set left master br0\nlink set right master br0\n\
                             link set left up\nlink set right up\nlink set br0 up\n";
                tool::ip(Some(node), lines).expect("a bridge");
                continue;
            }
            let mut lines = "link set lo up\n".to_owned();
            if place > 0 {
                node.left = Some("left".into());
                lines += &format!(
                    "link set left up\naddr add 10.77.{place}.2/24 dev left\naddr add fd77:{place}::2/64 dev left nodad\n"
                );
                for beyond in 1..place {
                    lines += &format!(
                        "route add 10.77.{beyond}.0/24 via 10.77.{place}.1\nroute add fd77:{beyond}::/64 via fd77:{place}::1\n"
                    );
                }
            }
            if place < 3 {
                node.right = Some("right".into());
                let next = place + 1;
                lines += &format!(
                    "link set right up\naddr add 10.77.{next}.1/24 dev right\naddr add fd77:{next}::1/64 dev right nodad\n\
                                   route add default via 10.77.{next}.2\nroute add ::/0 via fd77:{next}::2\n"
                );
            }
            tool::ip(Some(node), &lines).expect("addresses");
            node.inside(|| -> io::Result<()> {
                std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
                std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
                std::fs::write("/proc/sys/net/ipv4/icmp_ratemask", "0")?;
                std::fs::write("/proc/sys/net/ipv6/icmp/ratemask", "")
            })
            .expect("inside")
            .expect("settings");
        }
        let net = Self {
            nodes,
            seen: Arc::default(),
        };
        // Without this a virtual cable carries unfinished checksums, and routers quote them.
        for program in ["iptables-restore", "ip6tables-restore"] {
            let rule = "*mangle\n-A POSTROUTING -p tcp -j CHECKSUM --checksum-fill\nCOMMIT\n";
            tool::feed(Some(net.node("client")), program, &["--noflush"], rule).expect("checksums");
        }
        for port in [25, 587, 8080] {
            net.serve(port);
        }
        net
    }

    fn serve(&self, port: u16) {
        let seen = Arc::clone(&self.seen);
        let open = move || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
        let listener = self
            .node("server")
            .inside(open)
            .expect("inside")
            .expect("a listener");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || answer(stream.expect("a connection"), port, &seen));
            }
        });
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .expect("a node")
    }

    fn address(link: usize, end: u16, family: Family) -> IpAddr {
        let link = u8::try_from(link).expect("few links");
        match family {
            Family::V4 => Ipv4Addr::new(10, 77, link, u8::try_from(end).expect("small")).into(),
            Family::V6 => Ipv6Addr::new(0xfd77, link.into(), 0, 0, 0, 0, 0, end).into(),
        }
    }

    fn place(name: &str) -> usize {
        NAMES.iter().position(|one| *one == name).expect("a node")
    }

    /// The node's address towards the client.
    pub(crate) fn left_of(&self, name: &str, family: Family) -> IpAddr {
        Self::address(Self::place(name), 2, family)
    }

    /// The node's address towards the server.
    pub(crate) fn right_of(&self, name: &str, family: Family) -> IpAddr {
        Self::address(Self::place(name) + 1, 1, family)
    }

    pub(crate) fn server(&self, family: Family) -> IpAddr {
        self.left_of("server", family)
    }

    pub(crate) fn connect(&self, server: IpAddr, port: u16) -> io::Result<TcpStream> {
        let to = SocketAddr::new(server, port);
        let connect = move || TcpStream::connect_timeout(&to, Duration::from_millis(1500));
        self.node("client").inside(connect).expect("inside")
    }

    pub(crate) fn talk(&self, family: Family, port: u16) -> Talk {
        self.talk_to(self.server(family), port)
    }

    pub(crate) fn talk_to(&self, server: IpAddr, port: u16) -> Talk {
        // Loss is part of some tests: the kernel tries again after a second, and after two more.
        let to = SocketAddr::new(server, port);
        let connect = move || TcpStream::connect_timeout(&to, PATIENCE);
        let stream = self
            .node("client")
            .inside(connect)
            .expect("inside")
            .expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Talk {
            stream,
            pending: Vec::new(),
        }
    }

    /// A raw socket for ICMP at the client.
    pub(crate) fn icmp(&self, family: Family) -> Socket {
        self.icmp_at("client", family)
    }

    /// A raw socket for ICMP at a node.
    pub(crate) fn icmp_at(&self, node: &str, family: Family) -> Socket {
        let open = move || match family {
            Family::V4 => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)),
            Family::V6 => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)),
        };
        self.node(node)
            .inside(open)
            .expect("inside")
            .expect("a raw socket")
    }

    /// A connection to `port` at the server, both ends: the client's and the server's.
    pub(crate) fn pair(&self, family: Family, port: u16) -> (Talk, Talk) {
        let to = SocketAddr::new(self.server(family), port);
        let open = move || TcpListener::bind(to);
        let listener = self
            .node("server")
            .inside(open)
            .expect("inside")
            .expect("a listener");
        let client = self.talk_to(to.ip(), port);
        let (stream, _) = listener.accept().expect("a client");
        stream.set_nodelay(true).expect("an option");
        let server = Talk {
            stream,
            pending: Vec::new(),
        };
        (client, server)
    }

    /// What TCP comes in at a node from here on.
    pub(crate) fn watch(&self, node: &str, family: Family) -> Watch {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let open = move || Socket::new(domain, Type::RAW, Some(Protocol::TCP));
        let socket = self
            .node(node)
            .inside(open)
            .expect("inside")
            .expect("a raw socket");
        socket.set_read_timeout(Some(QUOTE)).expect("an option");
        Watch {
            socket,
            family,
            seen: Mutex::default(),
        }
    }

    /// IPv6 raw sockets see no IP header: what a TTL looks like there.
    pub(crate) fn ttl_seen(&self, family: Family, ttl: u8) -> Option<u8> {
        Some(if family == Family::V4 {
            ttl
        } else {
            UNKNOWN_TTL
        })
    }

    pub(crate) fn masquerade(&self, node: &str) {
        let rule = "*nat\n-A POSTROUTING -o right -j MASQUERADE\nCOMMIT\n";
        tool::feed(
            Some(self.node(node)),
            "iptables-restore",
            &["--noflush"],
            rule,
        )
        .expect("a rule");
    }

    /// All rules of a node, and its policy routes that are not everybody's.
    pub(crate) fn rules(&self, node: &str) -> String {
        let mut all = String::new();
        for program in ["iptables-save", "ip6tables-save"] {
            let output = self
                .node(node)
                .command(program, [""; 0])
                .output()
                .expect("rules");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            all.extend(
                text.lines()
                    .filter(|line| line.starts_with("-A"))
                    .map(str::to_owned),
            );
        }
        for family in ["-4", "-6"] {
            let output = self
                .node(node)
                .command("ip", [family, "rule"])
                .output()
                .expect("rules");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            all.extend(
                text.lines()
                    .filter(|line| line.contains("fwmark"))
                    .map(str::to_owned),
            );
        }
        all
    }

    pub(crate) fn server_got(&self, text: &str) -> bool {
        let seen = self.seen.lock().expect("a lock");
        seen.bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }

    pub(crate) fn await_server(&self, text: &str) {
        until(|| self.server_got(text), text);
    }

    pub(crate) fn last_peer(&self) -> SocketAddr {
        self.seen.lock().expect("a lock").peer.expect("a client")
    }

    pub(crate) fn resets(&self) -> usize {
        self.seen.lock().expect("a lock").resets
    }

    pub(crate) fn await_resets(&self, count: usize) {
        until(|| self.resets() >= count, "a reset at the server");
    }
}

/// Waits, for a bounded time, until it is so.
pub(crate) fn until(true_at_last: impl Fn() -> bool, what: &str) {
    let begun = Instant::now();
    while !true_at_last() {
        assert!(begun.elapsed() < PATIENCE, "waiting for {what}");
        sleep(Duration::from_millis(5));
    }
}

/// One connection at the server.
fn answer(mut stream: TcpStream, port: u16, seen: &Mutex<Seen>) {
    let peer = stream.peer_addr().expect("a peer");
    seen.lock().expect("a lock").peer =
        Some(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
    let http = port == 8080;
    if !http && stream.write_all(b"220 mx.lab.test ESMTP\r\n").is_err() {
        return;
    }
    let mut pending = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                seen.lock()
                    .expect("a lock")
                    .bytes
                    .extend_from_slice(&buffer[..read]);
                pending.extend_from_slice(&buffer[..read]);
            }
            Err(error) => {
                if error.kind() == ErrorKind::ConnectionReset {
                    seen.lock().expect("a lock").resets += 1;
                }
                return;
            }
        }
        while let Some(end) = pending
            .iter()
            .position(|&byte| byte == b'\n')
            .filter(|_| !http)
        {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let verb = String::from_utf8_lossy(&line).trim().to_ascii_uppercase();
            let reply = match verb.split(' ').next().unwrap_or_default() {
                "EHLO" => "250-mx.lab.test\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 HELP\r\n",
                "STARTTLS" => "220 go ahead\r\n",
                "NOOP" => "250 ok\r\n",
                "QUIT" => "221 bye\r\n",
                _ => "500 5.5.2 what?\r\n",
            };
            if stream.write_all(reply.as_bytes()).is_err() || verb == "QUIT" {
                return;
            }
        }
    }
}

/// A quoted segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) from: IpAddr,
    /// Bytes from the TCP header on.
    pub(crate) transport: usize,
    pub(crate) payload: String,
    /// Whether the quoted TCP checksum is right for what is quoted.
    pub(crate) sealed: bool,
}

/// A client's side of a connection.
pub(crate) struct Talk {
    pub(crate) stream: TcpStream,
    pending: Vec<u8>,
}

impl Talk {
    pub(crate) fn own_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("an address")
    }

    /// Whether the connection is reset, or just silent.
    pub(crate) fn is_reset(&mut self) -> bool {
        self.stream
            .set_read_timeout(Some(SILENCE))
            .expect("an option");
        let read = self.stream.read(&mut [0; 64]);
        read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("sent");
    }

    /// The next whole reply; empty when none comes.
    pub(crate) fn reply(&mut self) -> String {
        self.read(PATIENCE)
    }

    /// Whether nobody says anything.
    pub(crate) fn hears_nothing(&mut self) -> bool {
        self.read(SILENCE).is_empty()
    }

    fn read(&mut self, patience: Duration) -> String {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("an option");
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = whole(&self.pending) {
                let reply = self.pending.drain(..end).collect();
                return String::from_utf8(reply).expect("text");
            }
            match self.stream.read(&mut buffer) {
                Ok(read) if read > 0 => self.pending.extend_from_slice(&buffer[..read]),
                _ => return String::new(),
            }
        }
    }

    pub(crate) fn greeting(&mut self) {
        let greeting = self.reply();
        assert!(greeting.starts_with("220 "), "{greeting:?}");
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.say(&format!("{command}\r\n"));
        self.read(PATIENCE)
    }

    /// Everything until the server closes.
    pub(crate) fn rest(&mut self) -> String {
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("an option");
        let mut rest = std::mem::take(&mut self.pending);
        self.stream.read_to_end(&mut rest).expect("an orderly end");
        String::from_utf8(rest).expect("text")
    }

    /// Greeting, EHLO, NOOP, STARTTLS (in plain words), QUIT: all that was read.
    pub(crate) fn dialogue(&mut self) -> String {
        let mut all = self.read(PATIENCE);
        for command in ["EHLO probe.test", "NOOP", "STARTTLS", "QUIT"] {
            all += &self.ask(command);
        }
        all
    }

    /// Sends with this TTL, waits for the quote, lifts the TTL again.
    pub(crate) fn quote(&mut self, icmp: &Socket, ttl: u32, text: &str) -> Quote {
        let quote = self.probe(icmp, ttl, text, PATIENCE);
        quote.unwrap_or_else(|| panic!("no quote of {text:?} at hop {ttl}"))
    }

    /// As [`Talk::quote`], where none must come. With an empty text: for the retransmissions of before.
    pub(crate) fn is_not_quoted(&mut self, icmp: &Socket, ttl: u32, text: &str) {
        let wait = if text.is_empty() { SILENCE } else { QUOTE };
        assert_eq!(self.probe(icmp, ttl, text, wait), None, "hop {ttl}");
    }

    fn probe(&mut self, icmp: &Socket, ttl: u32, text: &str, wait: Duration) -> Option<Quote> {
        let own = self.own_address();
        let socket = SockRef::from(&self.stream);
        let set = |ttl| match own {
            SocketAddr::V4(_) => socket.set_ttl_v4(ttl),
            SocketAddr::V6(_) => socket.set_unicast_hops_v6(ttl),
        };
        let mut buffer = [0u8; 2048];
        // A retransmission of before may have been quoted too.
        icmp.set_nonblocking(true).expect("an option");
        while receive(icmp, &mut buffer).is_ok() {}
        icmp.set_nonblocking(false).expect("an option");
        icmp.set_read_timeout(Some(wait)).expect("an option");
        set(ttl).expect("a TTL");
        (&self.stream).write_all(text.as_bytes()).expect("sent");
        let begun = Instant::now();
        let mut found = None;
        while found.is_none() && begun.elapsed() < wait {
            let Ok((read, from)) = receive(icmp, &mut buffer) else {
                break;
            };
            found = read_quote(&buffer[..read], from, own);
        }
        set(64).expect("a TTL");
        found
    }

    /// A TLS handshake with `ca` as the only root: the issuer of the certificate shown.
    pub(crate) fn upgrade(&mut self, ca: &str, name: &'static str) -> String {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM"))
            .expect("a root");
        let mut client = client(roots, name);
        while client.is_handshaking() {
            client.complete_io(&mut self.stream).expect("a handshake");
        }
        let chain = client.peer_certificates().expect("a certificate");
        String::from_utf8_lossy(&chain[0]).into_owned()
    }

    /// Sends a ClientHello that names `name`.
    pub(crate) fn hello(&mut self, name: &'static str) {
        let mut client = client(rustls::RootCertStore::empty(), name);
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("a hello");
        self.stream.write_all(&bytes).expect("sent");
    }
}

fn client(roots: rustls::RootCertStore, name: &'static str) -> rustls::ClientConnection {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name).expect("a name");
    rustls::ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// Where the first whole SMTP reply ends.
fn whole(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let end = at + bytes[at..].iter().position(|&byte| byte == b'\n')? + 1;
        if bytes.get(at + 3) != Some(&b'-') {
            return Some(end);
        }
        at = end;
    }
}

/// Reads a time-exceeded that quotes a segment of ours.
fn read_quote(packet: &[u8], from: IpAddr, own: SocketAddr) -> Option<Quote> {
    let (icmp, expired) = match from {
        IpAddr::V4(_) => (&packet[usize::from(packet[0] & 15) * 4..], 11),
        IpAddr::V6(_) => (packet, 3),
    };
    if icmp[0] != expired {
        return None;
    }
    let quoted = &icmp[8..];
    let transport = match from {
        IpAddr::V4(_) => &quoted[usize::from(quoted[0] & 15) * 4..],
        IpAddr::V6(_) => &quoted[40..],
    };
    if transport[..2] != own.port().to_be_bytes() {
        return None;
    }
    let payload = transport
        .get(12)
        .and_then(|first| transport.get(usize::from(first >> 4) * 4..));
    if payload.is_some_and(<[u8]>::is_empty) {
        // An acknowledgement that happened to leave while the TTL was low.
        return None;
    }
    let addresses = if from.is_ipv4() {
        &quoted[12..20]
    } else {
        &quoted[8..40]
    };
    let length = u32::try_from(transport.len()).expect("small").to_be_bytes();
    Some(Quote {
        from,
        transport: transport.len(),
        payload: String::from_utf8_lossy(payload.unwrap_or_default()).into_owned(),
        sealed: checksum(&[addresses, &length, &[0, 6], transport]) == 0,
    })
}

/// What an IPv6 raw socket tells of a packet's TTL.
const UNKNOWN_TTL: u8 = 0;

/// Packets as they come in.
pub(crate) struct Watch {
    socket: Socket,
    family: Family,
    seen: Mutex<Vec<(Segment, Vec<u8>)>>,
}

impl Watch {
    fn gather(&self) {
        let mut buffer = [0u8; 4096];
        while let Ok((read, from)) = receive(&self.socket, &mut buffer) {
            let bytes = match self.family {
                Family::V4 => buffer[..read].to_vec(),
                Family::V6 => {
                    let mut head = vec![0x60, 0, 0, 0, 0, 0, 6, UNKNOWN_TTL];
                    head[4..6].copy_from_slice(&u16::try_from(read).expect("small").to_be_bytes());
                    let IpAddr::V6(source) = from else {
                        panic!("a family")
                    };
                    head.extend_from_slice(&source.octets());
                    head.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
                    head.extend_from_slice(&buffer[..read]);
                    head
                }
            };
            let segment = Segment::read(&bytes).expect("TCP");
            self.seen.lock().expect("a lock").push((segment, bytes));
        }
    }

    /// The first packet whose payload begins so.
    pub(crate) fn with(&self, start: &[u8]) -> Option<(Segment, Vec<u8>)> {
        self.gather();
        let seen = self.seen.lock().expect("a lock");
        seen.iter()
            .find(|(segment, bytes)| segment.payload(bytes).starts_with(start))
            .cloned()
    }

    /// The first packet with one of these flags.
    pub(crate) fn with_flag(&self, flags: u8) -> Option<Segment> {
        self.gather();
        let seen = self.seen.lock().expect("a lock");
        seen.iter()
            .map(|(segment, _)| segment)
            .find(|segment| segment.has(flags))
            .cloned()
    }
}

/// Receives a packet into plain bytes: peeking tells the sender, reading the rest.
fn receive(mut socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, IpAddr)> {
    let (_, from) = socket.peek_from(&mut [MaybeUninit::uninit(); 1])?;
    let read = socket.read(buffer)?;
    let from = from
        .as_socket()
        .ok_or_else(|| io::Error::other("no address"))?;
    Ok((read, from.ip()))
}
