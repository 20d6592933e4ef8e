//! The namespace lab itself: that the chain is what the map says, that confounders confuse, that real servers serve, and that
//! nothing is left when a lab ends, however it ends.
//!
//! Each test starts itself again as the first process of a lab. Where labs are not to be had a test says so and returns; with
//! `CI=true` or `HOOFBEAT_NO_SKIP=1` it fails instead, so that a test that did not run is not mistaken for one that passed.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hoofbeat_lab::topology::{Companion, Extras, NetScenario, Node, World, shell};
use socket2::{Domain, Protocol, Socket, Type};

/// Nothing in an idle lab takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// True inside of the lab of the test called `name`; outside, runs that and is false.
fn inside(name: &str) -> bool {
    if shell::is_inside() {
        return true;
    }
    if let Err(reason) = shell::possible() {
        skip(&reason);
        return false;
    }
    let output = again(name)
        .output()
        .unwrap_or_else(|error| panic!("{name} cannot be started again: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "inside: {}\n{said}\n{errors}",
        output.status
    );
    false
}

fn again(name: &str) -> Command {
    let own = std::env::current_exe().expect("this test's program");
    let arguments = ["--exact", name, "--nocapture", "--include-ignored"];
    shell::enter(own, arguments).expect("unshare")
}

fn skip(reason: &str) {
    let forbidden = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    assert!(
        !forbidden("CI", "true") && !forbidden("HOOFBEAT_NO_SKIP", "1"),
        "may not be skipped: {reason}"
    );
    eprintln!("skipped: {reason}");
}

/// The usual chain with `more` said about it.
fn scenario(more: &str) -> NetScenario {
    let text = format!(
        "id = \"test\"\ntitle = \"a test\"\nscheme = \"smtp\"\n{more}\n[expected.client]\nclass = \"none\"\nverdicts = []\n"
    );
    NetScenario::read(&text)
        .unwrap_or_else(|error| panic!("{error} in\n{text}"))
        .remove(0)
}

fn build(more: &str) -> World {
    World::build(&scenario(more), &Extras::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn node<'a>(world: &'a World, name: &str) -> &'a Node {
    world.node(name).unwrap_or_else(|| panic!("no {name}"))
}

fn address(world: &World, name: &str, v6: bool) -> IpAddr {
    let address = world.plan.address(name, v6);
    address.unwrap_or_else(|| panic!("{name} has no address"))
}

/// Who answers a packet with this TTL; the packet's own destination when that is reached.
fn hop(from: &Node, to: IpAddr, ttl: u32) -> Option<IpAddr> {
    from.inside(move || {
        let (domain, protocol) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let ears = Socket::new(domain, Type::RAW, Some(protocol)).expect("a raw socket");
        let any: SocketAddr = if to.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0u16; 8], 0).into()
        };
        let mouth = UdpSocket::bind(any).expect("a socket");
        let own = Socket::from(mouth.try_clone().expect("the socket twice"));
        if to.is_ipv4() {
            own.set_ttl_v4(ttl).expect("a TTL");
        } else {
            own.set_unicast_hops_v6(ttl).expect("a hop limit");
        }
        mouth.send_to(b"who?", (to, 33434)).expect("sent");
        // The standard library's receiving works on any datagram socket.
        let ears = UdpSocket::from(ears);
        let until = Instant::now() + Duration::from_millis(1500);
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            ears.set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .expect("a timeout");
            let mut buffer = [0; 2048];
            let (length, from) = ears.recv_from(&mut buffer).ok()?;
            // Neighbour discovery is heard too; ICMPv6 errors have types below 128 (RFC 4443, section 2.1).
            let error = to.is_ipv4() || (length > 0 && buffer[0] < 128);
            if error {
                return Some(from.ip());
            }
        }
    })
    .expect("inside")
}

/// What the server says to these lines, one after the other.
fn talk(from: &Node, to: SocketAddr, lines: &[&str]) -> Result<String, String> {
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\r\n")).collect();
    from.inside(move || {
        let failed = |error: std::io::Error| error.to_string();
        let stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let mut writer = stream.try_clone().map_err(failed)?;
        let mut reader = BufReader::new(stream);
        let mut text = String::new();
        reply(&mut reader, &mut text).map_err(failed)?;
        for line in lines {
            writer.write_all(line.as_bytes()).map_err(failed)?;
            reply(&mut reader, &mut text).map_err(failed)?;
        }
        Ok(text)
    })
    .expect("inside")
}

/// One SMTP reply.
fn reply(reader: &mut impl BufRead, text: &mut String) -> std::io::Result<()> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        text.push_str(&line);
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

fn smtp(world: &World, v6: bool) -> SocketAddr {
    SocketAddr::new(address(world, "server", v6), 25)
}

#[test]
fn every_hop_answers_in_its_turn_in_both_families() {
    if !inside("every_hop_answers_in_its_turn_in_both_families") {
        return;
    }
    let world = build("");
    for v6 in [false, true] {
        for from in ["client", "mobile"] {
            let chain = match from {
                "mobile" => world.plan.mobile_chain.clone(),
                _ => world.plan.chain.clone(),
            };
            let expected: Vec<IpAddr> = chain
                .iter()
                .map(String::as_str)
                .chain(["server"])
                .map(|name| address(&world, name, v6))
                .collect();
            let server = address(&world, "server", v6);
            let heard: Vec<Option<IpAddr>> = (1..)
                .take(expected.len())
                .map(|ttl| hop(node(&world, from), server, ttl))
                .collect();
            // transit-1 answers the carrier's customers from the side that looks at them.
            let mut expected: Vec<Option<IpAddr>> = expected.into_iter().map(Some).collect();
            if from == "mobile" {
                let transit = world.plan.spot("transit-1").expect("transit-1");
                let side = transit.interfaces.iter().find(|one| one.name == "carrier");
                let (v4, six) = side.and_then(|one| one.addresses).expect("addresses");
                expected[2] = Some(if v6 { six.into() } else { v4.into() });
            }
            assert_eq!(heard, expected, "from {from}");
        }
    }
}

#[test]
fn the_home_router_translates_ipv4_and_leaves_ipv6_alone() {
    if !inside("the_home_router_translates_ipv4_and_leaves_ipv6_alone") {
        return;
    }
    let seen = |world: &World, v6: bool| -> IpAddr {
        let place = SocketAddr::new(address(world, "witness", v6), 2525);
        let listener = node(world, "witness")
            .inside(move || TcpListener::bind(place))
            .expect("inside")
            .expect("a listener");
        let caller = node(world, "client")
            .thread("caller", move || {
                TcpStream::connect_timeout(&place, PATIENCE)
            })
            .expect("a thread");
        let (_, peer) = listener.accept().expect("a connection");
        caller.join().expect("no panic").expect("a connection");
        peer.ip()
    };
    let world = build("");
    let outside: IpAddr = "198.18.17.1".parse().expect("an address");
    assert_eq!(seen(&world, false), outside);
    assert_eq!(seen(&world, true), address(&world, "client", true));
    drop(world);
    // The same names can be had again, and without translation the client is seen as it is.
    let world = build("chain = { nat = false }");
    assert_eq!(seen(&world, false), address(&world, "client", false));
    assert!(
        !address(&world, "client", false)
            .to_string()
            .starts_with("192.168")
    );
}

#[test]
fn every_host_reaches_every_server_and_nobody_is_where_nobody_should_be() {
    if !inside("every_host_reaches_every_server_and_nobody_is_where_nobody_should_be") {
        return;
    }
    let world = build("");
    for from in ["client", "peer", "mobile", "inside", "witness"] {
        for to in ["server", "control"] {
            for v6 in [false, true] {
                let place = SocketAddr::new(address(&world, to, v6), 25);
                let said = talk(node(&world, from), place, &["EHLO test", "QUIT"]);
                let said = said.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
                assert!(said.contains("250-STARTTLS"), "{from} to {to}: {said}");
            }
        }
    }
    let nobody: SocketAddr = world.fill("{nobody}:25").parse().expect("an address");
    let tried = node(&world, "client")
        .inside(move || TcpStream::connect_timeout(&nobody, Duration::from_millis(400)).is_ok());
    assert!(!tried.expect("inside"));
    let file = std::fs::read_to_string(&world.prefixes).expect("the prefix table");
    assert!(file.contains("198.18.16.0\t20\t64501\tLAB-ISP\n"), "{file}");
    let names = std::fs::read_to_string("/etc/hosts").expect("names");
    assert!(names.contains("198.18.64.25 mx.lab.test"), "{names}");
}

#[test]
fn a_silent_router_is_silent_and_the_others_are_not() {
    if !inside("a_silent_router_is_silent_and_the_others_are_not") {
        return;
    }
    let world = build("confounders = { silent = [\"isp-2\"] }");
    for v6 in [false, true] {
        let server = address(&world, "server", v6);
        let heard: Vec<bool> = (1..=7)
            .map(|ttl| hop(node(&world, "client"), server, ttl).is_some())
            .collect();
        assert_eq!(heard, [true, true, false, true, true, true, true]);
    }
}

#[test]
fn a_bridge_in_the_cable_is_no_hop() {
    if !inside("a_bridge_in_the_cable_is_no_hop") {
        return;
    }
    let world = build("chain = { bridge-before = \"edge\" }");
    for v6 in [false, true] {
        let server = address(&world, "server", v6);
        let client = node(&world, "client");
        assert_eq!(hop(client, server, 6), Some(address(&world, "edge", v6)));
        assert_eq!(hop(client, server, 7), Some(server));
    }
}

#[test]
fn the_path_changes_after_so_many_connections() {
    if !inside("the_path_changes_after_so_many_connections") {
        return;
    }
    let world = build("confounders = { path-change = { after-syns = 3 } }");
    let client = node(&world, "client");
    let server = address(&world, "server", false);
    let first = address(&world, "transit-1", false);
    let second = address(&world, "branch-1", false);
    assert_eq!(hop(client, server, 4), Some(first));
    for _ in 0..2 {
        talk(client, smtp(&world, false), &["QUIT"]).expect("a greeting");
    }
    assert_eq!(hop(client, server, 4), Some(first));
    assert_eq!(hop(client, server, 7), Some(server));
    talk(client, smtp(&world, false), &["QUIT"]).expect("a greeting");
    let until = Instant::now() + PATIENCE;
    while hop(client, server, 4) != Some(second) {
        assert!(Instant::now() < until, "the path did not change");
    }
    // One router more on the new way; and it carries connections in both families.
    assert_eq!(hop(client, server, 8), Some(server));
    for v6 in [false, true] {
        let said = talk(client, smtp(&world, v6), &["QUIT"]).expect("a greeting");
        assert!(said.starts_with("220 "), "{said}");
    }
}

#[test]
fn two_ways_share_the_connections_and_each_keeps_its_own() {
    if !inside("two_ways_share_the_connections_and_each_keeps_its_own") {
        return;
    }
    // Whoever comes by transit-1 is refused.
    let world = build(
        "confounders = { two-ways = true }\n[[device]]\nat = \"transit-1\"\ndevice = { kind = \"block\", how = \"reset\" }\n",
    );
    for v6 in [false, true] {
        let mut ends = BTreeSet::new();
        for _ in 0..24 {
            let said = talk(node(&world, "client"), smtp(&world, v6), &["QUIT"]);
            ends.insert(said.is_ok());
        }
        assert_eq!(ends.len(), 2, "only one way was taken, v6: {v6}");
    }
    let said = talk(node(&world, "mobile"), smtp(&world, false), &["QUIT"]);
    assert!(
        said.is_err(),
        "the carrier's customers know one way: {said:?}"
    );
}

#[test]
fn the_server_hides_from_whom_it_is_told_to() {
    if !inside("the_server_hides_from_whom_it_is_told_to") {
        return;
    }
    let world = build("server = { hides-from = [\"carrier\"] }");
    for v6 in [false, true] {
        let ask = |from| {
            talk(
                node(&world, from),
                smtp(&world, v6),
                &["EHLO test", "STARTTLS"],
            )
            .expect("a reply")
        };
        let (offered, hidden) = (ask("client"), ask("mobile"));
        assert!(
            offered.contains("250-STARTTLS") && offered.contains("\n220 "),
            "{offered}"
        );
        assert!(
            !hidden.contains("STARTTLS\r") && hidden.contains("\n502 "),
            "{hidden}"
        );
    }
}

#[test]
fn two_backends_take_turns() {
    if !inside("two_backends_take_turns") {
        return;
    }
    let world = build("server = { backend = { dialect = \"exim\", starttls = \"hidden\" } }");
    for v6 in [false, true] {
        let offered: Vec<bool> = (0..6)
            .map(|_| talk(node(&world, "client"), smtp(&world, v6), &["EHLO test"]))
            .map(|said| said.expect("a reply").contains("STARTTLS"))
            .collect();
        let first = offered[0];
        let turns: Vec<bool> = (0..6).map(|n| first == (n % 2 == 0)).collect();
        assert_eq!(offered, turns, "v6: {v6}");
    }
}

#[test]
fn the_three_worlds_of_the_dispute_differ_in_who_sees_what() {
    if !inside("the_three_worlds_of_the_dispute_differ_in_who_sees_what") {
        return;
    }
    let offers = |id: &str, from: &str| -> &'static str {
        let scenario = NetScenario::by_id(id).expect("embedded");
        let world =
            World::build(scenario, &Extras::default()).unwrap_or_else(|error| panic!("{error}"));
        let said = talk(
            node(&world, from),
            smtp(&world, false),
            &["EHLO test", "STARTTLS"],
        );
        let said = said.expect("a reply");
        match (said.contains("250-STARTTLS"), said.contains("250-XXXXXXXA")) {
            (true, false) => "offered",
            (false, true) => "masked",
            (false, false) => "absent",
            (true, true) => panic!("{said}"),
        }
    };
    let seen = |id| (offers(id, "client"), offers(id, "mobile"));
    assert_eq!(seen("dispute-carrier"), ("offered", "masked"));
    assert_eq!(seen("dispute-pix"), ("masked", "masked"));
    assert_eq!(offers("dispute-pix", "inside"), "offered");
    assert_eq!(seen("dispute-policy"), ("offered", "absent"));
}

#[test]
fn real_servers_serve_with_certificates_of_the_lab() {
    if !inside("real_servers_serve_with_certificates_of_the_lab") {
        return;
    }
    if !Path::new("/usr/bin/openssl").exists() {
        return skip("openssl is not installed");
    }
    let servers = [
        ("postfix", "/usr/lib/postfix/sbin/master", "smtp", 25),
        ("dovecot", "/usr/sbin/dovecot", "imap", 143),
        ("dovecot", "/usr/sbin/dovecot", "pop3", 110),
        ("exim", "/usr/sbin/exim4", "smtp", 587),
    ];
    for (program, needs, protocol, port) in servers {
        let elsewhere = program == "exim" && std::env::var_os("HOOFBEAT_EXIM").is_some();
        if !Path::new(needs).exists() && !elsewhere {
            skip(&format!("{needs} is not there"));
            continue;
        }
        if shell::Rights::inside() == shell::Rights::OneId {
            skip("real servers change users");
            continue;
        }
        let world = build(&format!("server = {{ program = \"{program}\" }}"));
        for v6 in [false, true] {
            let place = SocketAddr::new(address(&world, "server", v6), port);
            let arguments = [
                "s_client".to_owned(),
                "-brief".to_owned(),
                "-verify_return_error".to_owned(),
                "-starttls".to_owned(),
                protocol.to_owned(),
                "-connect".to_owned(),
                place.to_string(),
                "-CAfile".to_owned(),
                "{ca}".to_owned(),
                "-verify_ip".to_owned(),
                place.ip().to_string(),
            ];
            let argv: Vec<String> = ["openssl".to_owned()]
                .into_iter()
                .chain(arguments)
                .collect();
            let output = world
                .command("client", &argv)
                .expect("a command")
                .stdin(Stdio::null())
                .output()
                .expect("openssl");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.contains("Verification: OK"),
                "{program} {place}: {said}"
            );
        }
    }
}

#[test]
fn a_companion_is_waited_for_and_what_it_says_is_published() {
    if !inside("a_companion_is_waited_for_and_what_it_says_is_published") {
        return;
    }
    let companion = |script: &str| Companion {
        node: "witness".to_owned(),
        program: "sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        ready: "ready ".to_owned(),
        publishes: Some("witness".to_owned()),
    };
    let extras = |script: &str| Extras {
        companions: vec![companion(script)],
    };
    let script = "sleep 0.2; echo early; echo ready key@{witness-address} and more; sleep 60";
    let world =
        World::build(&scenario(""), &extras(script)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        world.fill("--witness={witness}"),
        "--witness=key@198.18.80.25"
    );
    drop(world);
    let error = World::build(&scenario(""), &extras("echo no >&2; exit 1"))
        .err()
        .expect("it never got ready");
    assert!(error.to_string().contains("no"), "{error}");
}

/// Builds a lab with a sleeper in it, says so, and stays: for the tests below to kill and to count.
#[test]
#[ignore = "started by other tests"]
fn stays_up() {
    if !shell::is_inside() {
        return;
    }
    let world = build("server = { services = [\"smtp\"] }");
    let said = talk(node(&world, "client"), smtp(&world, false), &["QUIT"]).expect("a greeting");
    let argv = ["sleep".to_owned(), "600".to_owned()];
    let _sleeper = world.command("server", &argv).expect("a command").spawn();
    println!("\nUP {}", said.lines().next().unwrap_or_default());
    std::thread::sleep(Duration::from_secs(600));
}

/// Starts a lab that stays up and waits until it is; the rest of its output is what keeps the pipe open.
fn start() -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = again("stays_up")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a lab");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    while !line.starts_with("UP 220 ") {
        line.clear();
        let read = output.read_line(&mut line).expect("a line");
        assert!(read > 0, "the lab ended early");
    }
    (child, output)
}

#[test]
fn a_killed_lab_leaves_nothing_behind() {
    if shell::is_inside() {
        return;
    }
    if let Err(reason) = shell::possible() {
        return skip(&reason);
    }
    let names = || -> BTreeSet<String> {
        let listed = std::fs::read_dir("/run/netns")
            .into_iter()
            .flatten()
            .flatten();
        listed
            .map(|one| one.file_name().to_string_lossy().into_owned())
            .collect()
    };
    let before = names();
    let (mut child, mut output) = start();
    assert_eq!(names(), before, "a lab's names are seen outside");
    // SIGKILL: nobody inside is asked.
    child.kill().expect("killed");
    child.wait().expect("ended");
    // The sleeper on the lab's server holds the pipe, too: its end is the end of every process.
    let (told, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = told.send(output.read_to_end(&mut rest).map(|_| ()));
    });
    ended
        .recv_timeout(PATIENCE)
        .expect("processes of the lab outlive it")
        .expect("the end of the output");
    assert_eq!(names(), before);
}

#[test]
fn three_labs_stand_side_by_side() {
    if shell::is_inside() {
        return;
    }
    if let Err(reason) = shell::possible() {
        return skip(&reason);
    }
    let starters: Vec<_> = (0..3).map(|_| std::thread::spawn(start)).collect();
    let labs: Vec<_> = starters
        .into_iter()
        .map(|starter| starter.join().expect("up"))
        .collect();
    // All three are up at the same time, under the same names.
    for (mut child, _output) in labs {
        assert!(
            child.try_wait().expect("a status").is_none(),
            "one ended early"
        );
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
}

#[test]
fn nothing_is_ever_built_outside() {
    if shell::is_inside() {
        return;
    }
    let refused = World::build(&scenario(""), &Extras::default());
    let error = refused.err().expect("refused").to_string();
    assert!(error.contains("inside"), "{error}");
}
