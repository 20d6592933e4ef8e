//! What servers and boxes do over several connections, and the lab's own promises: memory, pools, injection, siblings,
//! controls, upstream servers, determinism. The client is std only.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hoofbeat_lab::{Background, Scenario, Scheme, StartError};

fn start(id: &str) -> Background {
    let scenario = Scenario::by_id(id).unwrap_or_else(|| panic!("{id} is embedded"));
    Background::start(scenario, None, None).expect("the scenario starts")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    stream
}

/// Reads until the last line satisfies `done`.
fn read_until(stream: &mut TcpStream, done: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let mut byte = [0u8; 1];
    while !(text.ends_with('\n') && text.lines().last().is_some_and(&done)) {
        match stream.read(&mut byte) {
            Ok(1) => text.push(char::from(byte[0])),
            Ok(_) => break,
            Err(error) => panic!("{error} after {text:?}"),
        }
    }
    text
}

fn reply(stream: &mut TcpStream) -> String {
    read_until(stream, |line| line.as_bytes().get(3) != Some(&b'-'))
}

fn ask(stream: &mut TcpStream, command: &str) -> String {
    stream
        .write_all(format!("{command}\r\n").as_bytes())
        .expect("a command is sent");
    reply(stream)
}

fn ehlo(address: SocketAddr) -> String {
    let mut stream = connect(address);
    reply(&mut stream);
    let text = ask(&mut stream, "EHLO client.example");
    ask(&mut stream, "QUIT");
    text
}

#[test]
fn a_pool_offers_starttls_on_every_other_connection() {
    let lab = start("coin-flip-pool");
    let offers: Vec<bool> = (0..4)
        .map(|_| ehlo(lab.address).contains("STARTTLS"))
        .collect();
    assert_eq!(offers, [true, false, true, false]);
    assert_eq!(lab.connections(), 4);
}

#[test]
fn haraka_withdraws_starttls_after_one_failed_handshake() {
    let lab = start("haraka-memory");
    assert!(ehlo(lab.address).contains("STARTTLS"));
    let mut stream = connect(lab.address);
    reply(&mut stream);
    ask(&mut stream, "EHLO x");
    assert!(ask(&mut stream, "STARTTLS").starts_with("220"));
    stream
        .write_all(b"this is no ClientHello\r\n")
        .expect("nonsense is sent");
    let mut rest = Vec::new();
    // The server says an alert and closes, perhaps with a reset: by then it has remembered.
    let _ = stream.read_to_end(&mut rest);
    assert!(!ehlo(lab.address).contains("STARTTLS"));
}

#[test]
fn a_burst_of_421_ends_after_three_connections() {
    let lab = start("burst-421");
    for _ in 0..3 {
        assert!(reply(&mut connect(lab.address)).starts_with("421"));
    }
    assert!(ehlo(lab.address).contains("STARTTLS"));
}

#[test]
fn only_the_first_connection_is_stripped() {
    let lab = start("strip-first-connection");
    assert!(!ehlo(lab.address).contains("STARTTLS"));
    assert!(ehlo(lab.address).contains("STARTTLS"));
}

#[test]
fn over_ipv6_the_ipv4_stripper_lets_pass() {
    let lab = start("strip-ipv4-only");
    assert!(!ehlo(lab.address).contains("STARTTLS"));
    if let Some(address) = lab.address_v6 {
        assert_eq!(address.port(), lab.address.port());
        assert!(ehlo(address).contains("STARTTLS"));
    }
    let hiding = start("hidden-from-ipv4");
    assert!(!ehlo(hiding.address).contains("STARTTLS"));
    if let Some(address) = hiding.address_v6 {
        assert!(ehlo(address).contains("STARTTLS"));
    }
}

#[test]
fn the_control_is_clean_unless_the_box_is_on_the_clients_side() {
    for (id, clean) in [("cisco-asa-gen2", true), ("cisco-asa-client-side", false)] {
        let lab = start(id);
        assert!(ehlo(lab.address).contains("XXXXXXXA"), "{id}");
        assert_eq!(ehlo(lab.control).contains("250-STARTTLS"), clean, "{id}");
        assert!(ehlo(lab.server_address).contains("250-STARTTLS"), "{id}");
        assert_eq!(lab.connections(), 1, "{id}");
    }
    let closed = start("port-closed-client-side");
    for address in [closed.address, closed.control] {
        let error = TcpStream::connect(address).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn siblings_listen_where_they_are_said_to() {
    let lab = start("no-tls-implicit-works");
    let [sibling] = lab.siblings.as_slice() else {
        panic!("one sibling")
    };
    assert_eq!(
        (sibling.scheme, sibling.boxed),
        (Scheme::Submissions, false)
    );
    connect(sibling.address);
}

#[test]
fn a_split_noop_shows_the_per_segment_editor_and_nothing_else_does() {
    for (id, answer) in [
        ("cisco-asa-gen2", "500"),
        ("mask-smtp", "250"),
        ("strip-smtp", "250"),
    ] {
        let lab = start(id);
        let mut stream = connect(lab.address);
        stream.set_nodelay(true).expect("no delay");
        reply(&mut stream);
        ask(&mut stream, "EHLO x");
        assert!(ask(&mut stream, "NOOP").starts_with("250"), "{id}");
        stream.write_all(b"N").expect("a piece");
        std::thread::sleep(Duration::from_millis(60));
        stream.write_all(b"OOP\r\n").expect("the rest");
        assert!(reply(&mut stream).starts_with(answer), "{id}");
    }
}

#[test]
fn random_verbs_and_refused_verbs_tell_boxes_from_servers() {
    for (id, starttls, random) in [
        ("no-tls-postfix", "502 5.5.1", "500 5.5.2"),
        ("cisco-asa-gen2", "500 5.5.2", "500 5.5.2"),
        (
            "untangle-spam-blocker",
            "500 Syntax error",
            "500 Syntax error",
        ),
        ("norton-2002", "500 Unsupported", "500 5.5.2"),
    ] {
        let lab = start(id);
        let mut stream = connect(lab.address);
        reply(&mut stream);
        ask(&mut stream, "EHLO x");
        assert!(ask(&mut stream, "XQZTLSAB").starts_with(random), "{id}");
        assert!(ask(&mut stream, "STARTTLS").starts_with(starttls), "{id}");
    }
}

#[test]
fn boxes_stand_in_front_of_a_given_server_on_loopback_only() {
    let server = start("clean-exim");
    let scenario = Scenario::by_id("strip-smtp").expect("embedded");
    let boxed = Background::start(scenario, None, Some(server.address)).expect("it starts");
    let text = ehlo(boxed.address);
    assert!(
        text.contains("Hello client.example") && !text.contains("STARTTLS"),
        "{text}"
    );
    let foreign = SocketAddr::from(([192, 0, 2, 25], 25));
    assert!(matches!(
        Background::start(scenario, None, Some(foreign)),
        Err(StartError::ForeignUpstream(address)) if address == foreign
    ));
}

#[test]
fn a_given_listening_address_is_used_and_a_taken_one_is_an_error() {
    let scenario = Scenario::by_id("clean-postfix").expect("embedded");
    let first = Background::start(scenario, None, None).expect("it starts");
    assert!(matches!(
        Background::start(scenario, Some(first.address), None),
        Err(StartError::Listen { address, .. }) if address == first.address
    ));
    assert_eq!(first.url(), format!("smtp://{}", first.address));
    assert_eq!(first.control_url(), format!("smtp://{}", first.control));
    assert!(first.ca_pem.contains("BEGIN CERTIFICATE"));
}

#[test]
fn what_a_dropped_lab_held_is_free_again() {
    let scenario = Scenario::by_id("cisco-asa-gen2").expect("embedded");
    let first = Background::start(scenario, None, None).expect("it starts");
    let address = first.address;
    ehlo(address);
    drop(first);
    let error = TcpStream::connect(address).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_same_scenario_says_the_same_bytes_each_time() {
    for id in [
        "cisco-asa-exchange",
        "untangle-exim",
        "smtp-gated",
        "clean-sendmail",
    ] {
        let transcript = || {
            let lab = start(id);
            let mut stream = connect(lab.address);
            let mut text = reply(&mut stream);
            for command in [
                "EHLO x", "HELP", "NOOP", "XQZTLSAB", "VRFY x", "RSET", "QUIT",
            ] {
                text += &ask(&mut stream, command);
            }
            text
        };
        assert_eq!(transcript(), transcript(), "{id}");
    }
}

#[test]
fn a_mail_is_taken_and_its_lines_are_no_commands() {
    for id in ["clean-postfix", "cisco-asa-gen2", "strip-smtp"] {
        let lab = start(id);
        let mut stream = connect(lab.address);
        reply(&mut stream);
        ask(&mut stream, "EHLO x");
        assert!(
            ask(&mut stream, "MAIL FROM:<a@b>").starts_with("250"),
            "{id}"
        );
        assert!(ask(&mut stream, "RCPT TO:<c@d>").starts_with("250"), "{id}");
        assert!(ask(&mut stream, "DATA").starts_with("354"), "{id}");
        assert!(
            ask(&mut stream, "Subject: x\r\n\r\nSTARTTLS\r\n.").starts_with("250"),
            "{id}"
        );
        assert!(ask(&mut stream, "QUIT").starts_with("221"), "{id}");
    }
}

#[test]
fn endless_lines_end_the_connection_and_never_the_lab() {
    for id in ["clean-postfix", "clean-imap", "strip-smtp", "cisco-pix6-x"] {
        let lab = start(id);
        let mut stream = connect(lab.address);
        let line = vec![b'A'; 16 * 1024];
        let mut sent = 0;
        // The lab closes at its limit; from then on writing fails, with whatever the kernel says.
        while sent < 64 * 1024 * 1024 && stream.write_all(&line).is_ok() {
            sent += line.len();
        }
        assert!(sent < 64 * 1024 * 1024, "{id}");
        let mut again = connect(lab.address);
        let mut byte = [0u8; 1];
        assert_eq!(again.read(&mut byte).expect("a greeting"), 1, "{id}");
    }
}

#[test]
fn an_asa_falls_silent_at_a_command_beyond_its_limit() {
    let lab = start("cisco-asa-gen2");
    let mut stream = connect(lab.address);
    assert!(reply(&mut stream).starts_with("220 "));
    assert!(ask(&mut stream, &format!("NOOP {}", "x".repeat(400))).starts_with("250"));
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a timeout");
    stream
        .write_all(format!("NOOP {}\r\n", "x".repeat(600)).as_bytes())
        .expect("the box reads on");
    let mut byte = [0u8; 1];
    let silence = stream.read(&mut byte).expect_err("no answer");
    assert!(
        matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silence}"
    );
}
