//! Captures written by hand, in every format and link type that is read, and one that was captured.

use super::{super::sniff::Format, *};
use hoofbeat_observation::{Dialogue, Ending, FailureKind, HandshakeOutcome, Source};
use hoofbeat_session::{Direction, Label, Outcome};
use proptest::prelude::*;

const CLIENT: [u8; 4] = [192, 0, 2, 77];
const SERVER: [u8; 4] = [192, 0, 2, 25];
const SYN: u8 = 2;
const FIN: u8 = 1;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A segment to be written: whose, its number, flags, payload.
#[derive(Debug, Clone)]
struct Sent {
    server: bool,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    payload: Vec<u8>,
    at: u32,
    ttl: u8,
}

/// A conversation that numbers itself.
#[derive(Default)]
struct Wire {
    sent: Vec<Sent>,
    next: [u32; 2],
    clock: u32,
}

impl Wire {
    fn opened() -> Self {
        let mut wire = Self {
            next: [1000, u32::MAX - 3],
            ..Self::default()
        };
        wire.flag(false, SYN);
        wire.flag(true, SYN | ACK);
        wire
    }
    fn flag(&mut self, server: bool, flags: u8) -> &mut Self {
        self.push(server, flags, b"");
        if flags & (SYN | FIN) != 0 {
            self.next[usize::from(server)] = self.next[usize::from(server)].wrapping_add(1);
        }
        self
    }
    fn says(&mut self, server: bool, text: &[u8]) -> &mut Self {
        self.push(server, ACK, text);
        self.next[usize::from(server)] =
            self.next[usize::from(server)].wrapping_add(text.len() as u32);
        self
    }
    fn push(&mut self, server: bool, flags: u8, payload: &[u8]) {
        self.clock += 1000;
        self.sent.push(Sent {
            server,
            sequence: self.next[usize::from(server)],
            acknowledged: self.next[usize::from(!server)],
            flags,
            payload: payload.to_vec(),
            at: self.clock,
            ttl: if server { 52 } else { 64 },
        });
    }
    fn session() -> Self {
        let mut wire = Self::opened();
        wire.says(true, b"220 mx ESMTP\r\n")
            .says(false, b"EHLO a\r\n")
            .says(true, b"250-mx\r\n250 START")
            .says(true, b"TLS\r\n")
            .says(false, b"QUIT\r\n")
            .says(true, b"221 bye\r\n")
            .flag(true, FIN | ACK);
        wire
    }
}

fn tcp(sent: &Sent, port: u16) -> Vec<u8> {
    let (from, to) = if sent.server {
        (port, 40_000u16)
    } else {
        (40_000, port)
    };
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    segment.extend(sent.sequence.to_be_bytes());
    segment.extend(sent.acknowledged.to_be_bytes());
    segment.extend([0x50, sent.flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(&sent.payload);
    segment
}

fn ipv4(sent: &Sent, port: u16) -> Vec<u8> {
    let segment = tcp(sent, port);
    let mut packet = vec![0x45, 0];
    packet.extend((20 + segment.len() as u16).to_be_bytes());
    packet.extend([0, 1, 0, 0, sent.ttl, 6, 0, 0]);
    let (from, to) = if sent.server {
        (SERVER, CLIENT)
    } else {
        (CLIENT, SERVER)
    };
    packet.extend(from.iter().chain(&to));
    packet.extend(segment);
    packet
}

fn ipv6(sent: &Sent, port: u16) -> Vec<u8> {
    let segment = tcp(sent, port);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((segment.len() as u16).to_be_bytes());
    packet.extend([6, sent.ttl]);
    let address = |last: u8| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let (from, to) = if sent.server {
        (address(25), address(77))
    } else {
        (address(77), address(25))
    };
    packet.extend(from.iter().chain(&to));
    packet.extend(segment);
    packet
}

fn framed(link: u32, sent: &Sent, port: u16) -> Vec<u8> {
    let head: Vec<u8> = match link {
        1 => [&[0; 12][..], &[0x81, 0, 0, 7, 0x08, 0]].concat(),
        0 => vec![2, 0, 0, 0],
        101 => Vec::new(),
        113 => [&[0; 14][..], &[0x08, 0]].concat(),
        276 => [&[0x08, 0][..], &[0; 18]].concat(),
        // Raw IPv6.
        _ => return ipv6(sent, port),
    };
    [head, ipv4(sent, port)].concat()
}

fn pcap(link: u32, port: u16, sent: &[Sent]) -> Vec<u8> {
    let mut file = 0xa1b2_c3d4u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0]);
    file.extend(link.to_le_bytes());
    for one in sent {
        let frame = framed(link, one, port);
        for number in [
            1_790_000_000 + one.at / 1_000_000,
            one.at % 1_000_000,
            frame.len() as u32,
            frame.len() as u32,
        ] {
            file.extend(number.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn pcapng(port: u16, sent: &[Sent]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let length = (body.len() as u32 + 12).to_be_bytes();
        [&kind.to_be_bytes()[..], &length, body, &length].concat()
    };
    let mut file = block(
        0x0a0d_0d0a,
        &[
            0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
        ],
    );
    file.extend(block(1, &[0, 101, 0, 0, 0, 4, 0, 0]));
    for one in sent {
        let frame = framed(101, one, port);
        let ticks = 1_790_000_000_000_000u64 + u64::from(one.at);
        let mut body = vec![0; 4];
        body.extend(ticks.to_be_bytes());
        body.extend((frame.len() as u32).to_be_bytes().repeat(2));
        body.extend(&frame);
        body.resize(body.len().next_multiple_of(4), 0);
        file.extend(block(6, &body));
    }
    file
}

fn explained(file: &[u8], format: Format) -> Read {
    read(file, format, "x.pcap").unwrap()
}

fn only(read: &Read) -> &Dialogue {
    assert_eq!(read.measurements.len(), 1, "{read:?}");
    read.measurements[0].dialogue().unwrap()
}

fn replies(dialogue: &Dialogue) -> Vec<(Label, String)> {
    let text = |range| {
        String::from_utf8_lossy(&dialogue.transcript.bytes(Direction::ToClient, range)).into_owned()
    };
    dialogue
        .exchanges
        .iter()
        .map(|exchange| (exchange.label, text(exchange.received)))
        .collect()
}

fn expected() -> Vec<(Label, String)> {
    vec![
        (Label::Greeting, "220 mx ESMTP\r\n".to_owned()),
        (Label::Capabilities, "250-mx\r\n250 STARTTLS\r\n".to_owned()),
        (Label::Quit, "221 bye\r\n".to_owned()),
    ]
}

#[test]
fn every_format_and_link_type() {
    let sent = Wire::session().sent;
    for link in [0, 1, 101, 113, 276, 229] {
        let read = explained(&pcap(link, 25, &sent), Format::Pcap);
        let dialogue = only(&read);
        assert_eq!(replies(dialogue), expected(), "link type {link}");
        assert_eq!(dialogue.source, Source::Capture { gaps: false });
        assert_eq!(dialogue.ending, Ending::Peer);
        assert_eq!(
            dialogue.connect.established.map(|at| at.0),
            Some(Duration::from_millis(1))
        );
        assert_eq!(read.measurements[0].started, 1_790_000_000);
    }
    let read = explained(&pcapng(587, &sent), Format::PcapNg);
    assert_eq!(replies(only(&read)), expected());
    assert_eq!(read.measurements[0].target, "192.0.2.25");
}

#[test]
fn an_odd_port_is_known_by_its_words_and_ftp_is_not_mail() {
    assert_eq!(
        replies(only(&explained(
            &pcap(101, 8025, &Wire::session().sent),
            Format::Pcap
        ))),
        expected()
    );
    let mut ftp = Wire::opened();
    ftp.says(true, b"220 FTP ready\r\n")
        .says(false, b"USER joe\r\n")
        .says(true, b"331 password\r\n");
    let error = read(&pcap(101, 21, &ftp.sent)[..], Format::Pcap, "x").unwrap_err();
    assert!(error.to_string().contains("no mail dialogue"), "{error}");
}

#[test]
fn a_late_start_is_told() {
    let dialogue = explained(&pcap(101, 25, &Wire::session().sent[3..]), Format::Pcap);
    let dialogue = only(&dialogue);
    assert_eq!(dialogue.source, Source::Capture { gaps: true });
    assert_eq!(
        dialogue
            .exchanges
            .iter()
            .map(|e| e.label)
            .collect::<Vec<_>>(),
        [Label::Capabilities, Label::Quit]
    );
}

#[test]
fn a_reset_upon_the_hello_and_a_forged_ttl() {
    let mut wire = Wire::opened();
    wire.says(true, b"220 mx\r\n")
        .says(false, b"STARTTLS\r\n")
        .says(true, b"220 go\r\n")
        .says(false, b"\x16\x03\x01\x00\x02\x01\x00");
    wire.flag(true, RST | ACK);
    wire.sent.last_mut().unwrap().ttl = 61;
    let read = explained(&pcap(101, 25, &wire.sent), Format::Pcap);
    assert_eq!(
        only(&read).handshake.as_ref().map(|h| &h.outcome),
        Some(&HandshakeOutcome::Reset)
    );
    assert!(
        read.notes.iter().any(|note| note.contains("TTL 61")),
        "{:?}",
        read.notes
    );
}

#[test]
fn a_different_retransmission_is_noticed() {
    let mut wire = Wire::session();
    let mut forged = wire.sent[4].clone();
    forged.payload = b"250-mx\r\n250 XXXXX".to_vec();
    wire.sent.insert(5, forged);
    let read = explained(&pcap(101, 25, &wire.sent), Format::Pcap);
    assert_eq!(replies(only(&read)), expected());
    assert!(
        read.notes.iter().any(|note| note.contains("differ")),
        "{:?}",
        read.notes
    );
}

#[test]
fn refused_and_unanswered_connections() {
    let mut refused = Wire {
        next: [5, 0],
        ..Wire::default()
    };
    refused.flag(false, SYN).flag(true, RST | ACK);
    let read = explained(&pcap(101, 25, &refused.sent), Format::Pcap);
    assert_eq!(
        only(&read).connect.failure.as_ref().map(|f| f.kind),
        Some(FailureKind::Refused)
    );
    let mut silent = Wire {
        next: [5, 0],
        ..Wire::default()
    };
    for at in [0, 1_000_000, 3_000_000, 7_000_000] {
        silent.flag(false, SYN);
        let last = silent.sent.last_mut().unwrap();
        (last.at, last.sequence) = (at, 5);
    }
    let read = explained(&pcap(101, 25, &silent.sent), Format::Pcap);
    assert_eq!(
        only(&read).connect.failure.as_ref().map(|f| f.kind),
        Some(FailureKind::TimedOut)
    );
}

#[test]
fn one_pair_of_ends_twice_is_two_dialogues() {
    let mut again = Wire::session();
    let mut second = Wire::session().sent;
    for one in &mut second {
        one.at += 60_000_000;
        let base = if one.server { 77_777 } else { 99_999 };
        one.sequence = one.sequence.wrapping_add(base);
    }
    again.sent.extend(second);
    let read = explained(&pcap(101, 25, &again.sent), Format::Pcap);
    assert_eq!(read.measurements.len(), 2);
    assert!(
        read.measurements
            .iter()
            .all(|m| replies(m.dialogue().unwrap()) == expected())
    );
}

#[test]
fn a_capture_that_is_cut_off_is_judged_as_far_as_it_goes() {
    let whole = pcap(101, 25, &Wire::session().sent);
    let read = explained(&whole[..whole.len() - 60], Format::Pcap);
    assert!(
        read.notes.iter().any(|note| note.contains("cut off")),
        "{:?}",
        read.notes
    );
    assert_eq!(replies(only(&read))[..2], expected()[..2]);
    assert_eq!(
        only(&read)
            .exchanges
            .last()
            .map(|exchange| exchange.outcome),
        Some(Outcome::Unfinished)
    );
    let error = super::read(&whole[..10], Format::Pcap, "x").unwrap_err();
    assert!(error.to_string().contains("first block"), "{error}");
}

#[test]
fn what_was_captured_on_a_real_loopback() {
    let file = include_bytes!("../../../tests/explain/loopback-smtp.pcap");
    let read = explained(file, Format::Pcap);
    assert_eq!(read.measurements.len(), 6);
    let outcomes: Vec<_> = read
        .measurements
        .iter()
        .filter_map(|m| m.dialogue()?.handshake.as_ref())
        .map(|handshake| {
            (
                handshake.outcome.clone(),
                handshake.version.as_deref(),
                handshake
                    .chain
                    .iter()
                    .filter(|certificate| certificate.not_after.is_some())
                    .count(),
            )
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            (HandshakeOutcome::Completed, Some("TLSv1.3"), 0),
            (HandshakeOutcome::Reset, None, 0),
            (HandshakeOutcome::Completed, Some("TLSv1.2"), 1),
        ]
    );
    for chunk in read
        .measurements
        .iter()
        .flat_map(|m| &m.dialogue().unwrap().transcript.chunks)
    {
        let text = String::from_utf8_lossy(&chunk.bytes);
        for secret in ["hunter2secret", "aHVudGVyMnNlY3JldA", "am9l", "secretbody"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_and_repetition_of_packets_do_not_matter(
        swaps in prop::collection::vec((2usize..9, 2usize..9), 0..4), again in prop::collection::vec(2usize..9, 0..3),
    ) {
        // Acknowledgements are left out: with them a later one declares what has not come yet lost.
        let mut sent = Wire::session().sent;
        for one in &mut sent {
            if one.flags == ACK {
                one.flags = 0;
            }
        }
        let fin = sent.pop().unwrap();
        for at in again {
            let copy = sent[at.min(sent.len() - 1)].clone();
            sent.push(copy);
        }
        // Only neighbours of one side change places: across sides the order is the dialogue's.
        for (a, b) in swaps {
            let (a, b) = (a.min(sent.len() - 1), b.min(sent.len() - 1));
            if a.abs_diff(b) == 1 && sent[a].server == sent[b].server {
                sent.swap(a, b);
            }
        }
        sent.push(fin);
        let read = explained(&pcap(101, 25, &sent), Format::Pcap);
        prop_assert_eq!(replies(only(&read)), expected());
    }

    #[test]
    fn damaged_captures_never_panic(
        link in prop::sample::select(vec![0u32, 1, 101, 113, 276, 229]), ng: bool,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let sent = Wire::session().sent;
        let mut file = if ng { pcapng(25, &sent) } else { pcap(link, 25, &sent) };
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file.truncate(cut.index(file.len()) + 1);
        let _ = read(&file[..], if ng { Format::PcapNg } else { Format::Pcap }, "x");
    }
}
