//! Traces over real routers: chains of network namespaces with boxes of nftables on them, asked by a process without any
//! privilege and by one with raw sockets.
//!
//! Each test starts itself again inside `unshare`, so that everything it builds dies with it. Inside, hosts are
//! namespaces, the mail server is a dozen lines, and the tracer is a process of its own, for it gives up its rights.

#![cfg(target_os = "linux")]

mod chain;

use std::net::IpAddr;

use chain::{Chain, Engine, Server, inside};
use hoofbeat_observation::{
    Answered, Body, Capture, Engine as Used, Measurement, Method, PacketKind, Payload, Probe,
    Quote, Role, Trace,
};

/// The process that traces; started by the others.
#[test]
#[ignore = "the tracer of the other tests"]
fn tracer() {
    chain::trace_as_told();
}

fn traces(measurements: &[Measurement]) -> Vec<&Trace> {
    measurements.iter().filter_map(Measurement::trace).collect()
}

fn target(measurements: &[Measurement], method: Method) -> Vec<&Trace> {
    let mut found = traces(measurements);
    found.retain(|trace| trace.role == Role::Target && trace.method == method);
    found
}

fn routers(trace: &Trace, payload: Payload) -> Vec<(u8, IpAddr)> {
    let mut found: Vec<(u8, IpAddr)> = trace
        .probes
        .iter()
        .filter(|probe| probe.payload == payload)
        .filter_map(|probe| {
            probe.answers.iter().find_map(|answer| match answer.what {
                Answered::TimeExceeded { from, .. } => Some((probe.ttl, from)),
                _ => None,
            })
        })
        .collect();
    found.sort();
    found
}

/// The lowest TTL at which something was said or the handshake completed.
fn end(trace: &Trace) -> Option<u8> {
    let ends = trace.probes.iter().filter(|probe| {
        probe
            .answers
            .iter()
            .any(|a| matches!(a.what, Answered::Connected | Answered::Reset))
    });
    ends.map(|probe| probe.ttl).min()
}

fn quote(probe: &Probe) -> Option<&Quote> {
    probe.answers.iter().find_map(|answer| match &answer.what {
        Answered::TimeExceeded { quote, .. } => quote.as_ref(),
        _ => None,
    })
}

/// TTL and whether the quote holds the text, of every quoted probe of a payload.
fn quoted(trace: &Trace, payload: Payload, text: &[u8]) -> Vec<(u8, bool)> {
    let mut found: Vec<(u8, bool)> = trace
        .probes
        .iter()
        .filter(|probe| probe.payload == payload)
        .filter_map(|probe| {
            let quote = quote(probe)?;
            Some((
                probe.ttl,
                quote.bytes.windows(text.len()).any(|part| part == text),
            ))
        })
        .collect();
    found.sort();
    found
}

fn ttls_of(trace: &Trace, of: PacketKind) -> Vec<u8> {
    let entries = trace.received.iter().filter(|entry| entry.of == of);
    entries.map(|entry| entry.ttl).collect()
}

fn capture(measurements: &[Measurement]) -> Option<&Capture> {
    measurements
        .iter()
        .find_map(|measurement| match &measurement.body {
            Body::Capture(capture) => Some(capture),
            _ => None,
        })
}

fn v4(hop: u8) -> IpAddr {
    IpAddr::from([10, 77, hop, 2])
}

fn v6(hop: u8) -> IpAddr {
    format!("fd77:{hop}::2").parse().unwrap()
}

#[test]
fn hops_without_privilege() {
    inside("hops_without_privilege", || {
        let chain = Chain::build(3);
        chain.serve(Server::Refuses);
        for (family, address) in [(4, v4 as fn(u8) -> IpAddr), (6, v6)] {
            let measurements = chain.trace(Engine::Unprivileged, family);
            let syn = target(&measurements, Method::Syn)[0];
            let wanted: Vec<_> = (1..=3).map(|hop| (hop, address(hop))).collect();
            assert_eq!(routers(syn, Payload::None), wanted, "{syn:#?}");
            assert_eq!((end(syn), syn.engine), (Some(4), Used::Unprivileged));
            // The neighbours tell no other story: nobody answers before the server.
            for trace in traces(&measurements) {
                assert!(end(trace).is_none_or(|end| end == 4), "{trace:#?}");
                assert!(trace.failure.is_none(), "{trace:#?}");
            }
            let fast_open = target(&measurements, Method::FastOpen)[0];
            let whole = vec![(1, true), (2, true), (3, true)];
            assert_eq!(quoted(fast_open, Payload::StartTls, b"STARTTLS\r\n"), whole);
            assert_eq!(quoted(fast_open, Payload::Control, b"NOOP 789\r\n"), whole);
            let sweeps = target(&measurements, Method::Sweep);
            assert_eq!(sweeps.len(), 1, "one is enough where nothing is quoted");
            for payload in [Payload::Control, Payload::StartTls] {
                let probe = sweeps[0]
                    .probes
                    .iter()
                    .find(|probe| probe.payload == payload);
                let probe = probe.unwrap();
                assert_eq!(probe.ttl, 3);
                assert_eq!(probe.answers[0].what, Answered::Expired, "{probe:#?}");
            }
            for of in [
                PacketKind::SynAck,
                PacketKind::ControlReply,
                PacketKind::StartTlsReply,
            ] {
                assert_eq!(ttls_of(sweeps[0], of), [61], "{of:?} {:#?}", sweeps[0]);
            }
            assert!(capture(&measurements).is_none());
        }
        assert!(chain.made() <= 12, "{} connections", chain.made());
    });
}

#[test]
fn hops_and_quotes_with_raw_sockets() {
    inside("hops_and_quotes_with_raw_sockets", || {
        let chain = Chain::build(3);
        chain.serve(Server::Refuses);
        for (family, address) in [(4, v4 as fn(u8) -> IpAddr), (6, v6)] {
            let measurements = chain.trace(Engine::Raw, family);
            let syn = target(&measurements, Method::Syn)[0];
            let wanted: Vec<_> = (1..=3).map(|hop| (hop, address(hop))).collect();
            assert_eq!(routers(syn, Payload::None), wanted);
            assert!(syn.probes.iter().all(|probe| !probe.packet.is_empty()));
            let sweeps = target(&measurements, Method::Sweep);
            assert_eq!(sweeps.len(), 2);
            assert_ne!(sweeps[0].local, sweeps[1].local);
            for sweep in sweeps {
                let whole = vec![(1, true), (2, true), (3, true)];
                assert_eq!(routers(sweep, Payload::Control), wanted, "{sweep:#?}");
                assert_eq!(routers(sweep, Payload::StartTls), wanted, "{sweep:#?}");
                assert_eq!(quoted(sweep, Payload::StartTls, b"STARTTLS\r\n"), whole);
                assert_eq!(quoted(sweep, Payload::Control, b"NOOP 789\r\n"), whole);
                assert_eq!(sweep.failure, None);
                for probe in &sweep.probes {
                    assert!(probe.packet.ends_with(&probe.sent), "{probe:#?}");
                    let restored = probe.restored.unwrap();
                    let spoken = probe
                        .answers
                        .iter()
                        .find(|answer| matches!(answer.what, Answered::Reply { .. }));
                    let spoken = spoken.expect("every command is answered in the end");
                    assert_eq!(spoken.at < restored, probe.ttl >= 4, "{probe:#?}");
                    assert_eq!(spoken.ttl, Some(61));
                }
                for of in [
                    PacketKind::SynAck,
                    PacketKind::Greeting,
                    PacketKind::ControlReply,
                    PacketKind::StartTlsReply,
                ] {
                    assert_eq!(ttls_of(sweep, of), [61], "{of:?}");
                }
            }
            let capture = capture(&measurements).unwrap();
            assert!(capture.packets > 50 && !capture.cut, "{}", capture.packets);
            assert_eq!(capture.dropped, 0);
            assert_eq!(&capture.pcapng[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
        }
    });
}

/// The masker of a Cisco: in place, the length kept, the checksum right.
const MASK: &str = "tcp dport 25 @ih,0,64 0x5354415254544c53 @ih,0,64 set 0x5858585858585858";

#[test]
fn a_masker_is_found_between_two_hops() {
    inside("a_masker_is_found_between_two_hops", || {
        for (hook, priority, first) in [("forward", "0", 3), ("prerouting", "-150", 2)] {
            let chain = Chain::build(3);
            chain.serve(Server::Refuses);
            chain.filter(2, hook, priority, MASK);
            let measurements = chain.trace(Engine::Raw, 4);
            for sweep in target(&measurements, Method::Sweep) {
                let same: Vec<_> = (1..=3).map(|hop| (hop, hop < first)).collect();
                assert_eq!(quoted(sweep, Payload::StartTls, b"STARTTLS\r\n"), same);
                let whole = vec![(1, true), (2, true), (3, true)];
                assert_eq!(quoted(sweep, Payload::Control, b"NOOP 789\r\n"), whole);
                assert_eq!(ttls_of(sweep, PacketKind::StartTlsReply), [61]);
                // One more verb, to the first hop that got the change: this box does not look for it.
                let unknown = sweep.probes.iter();
                let mut unknown = unknown.filter(|probe| probe.payload == Payload::UnknownVerb);
                let probe = unknown.next().expect("a verb that nobody knows");
                assert_eq!((probe.ttl, probe.sent.len()), (first, 10));
                let quote = quote(probe).expect("a quote");
                assert!(quote.bytes.ends_with(&probe.sent));
                assert_eq!(unknown.next(), None);
            }
            // Without any privilege SYNs that carry data tell the same.
            let measurements = chain.trace(Engine::Unprivileged, 4);
            let fast_open = target(&measurements, Method::FastOpen)[0];
            let same: Vec<_> = (1..=3).map(|hop| (hop, hop < first)).collect();
            assert_eq!(quoted(fast_open, Payload::StartTls, b"STARTTLS\r\n"), same);
        }
    });
}

#[test]
fn two_refusals_a_connection_are_enough_for_imap() {
    inside("two_refusals_a_connection_are_enough_for_imap", || {
        let chain = Chain::build(5);
        chain.serve(Server::Refuses);
        // Behind a tag of three letters and a blank.
        let mask = "tcp dport 143 @ih,32,64 0x5354415254544c53 @ih,32,64 set 0x5858585858585858";
        chain.filter(4, "forward", "0", mask);
        let measurements = chain.trace_port(Engine::Raw, 4, 143);
        let sweeps = target(&measurements, Method::Sweep);
        let mut seen: Vec<(u8, bool)> = Vec::new();
        for sweep in &sweeps {
            assert_eq!(sweep.failure, None);
            let of_this = quoted(sweep, Payload::StartTls, b"STARTTLS\r\n");
            assert_eq!(of_this.len(), 2, "{sweep:#?}");
            seen.extend(of_this);
        }
        assert!(
            seen.iter().all(|(hop, same)| *same == (*hop < 5)),
            "{seen:?}"
        );
        assert!(
            seen.contains(&(4, true)) && seen.contains(&(5, false)),
            "{seen:?}"
        );
    });
}

#[test]
fn a_neighbour_has_no_hops() {
    inside("a_neighbour_has_no_hops", || {
        let chain = Chain::build(0);
        chain.serve(Server::Refuses);
        for engine in [Engine::Unprivileged, Engine::Raw] {
            let measurements = chain.trace(engine, 4);
            let syn = target(&measurements, Method::Syn)[0];
            assert_eq!(end(syn), Some(1));
            let sweep = target(&measurements, Method::Sweep)[0];
            assert_eq!(sweep.failure, None);
            assert_eq!(ttls_of(sweep, PacketKind::ControlReply), [64]);
            assert_eq!(ttls_of(sweep, PacketKind::SynAck), [64]);
        }
    });
}

#[test]
fn a_terminating_box_is_found_without_privilege() {
    inside("a_terminating_box_is_found_without_privilege", || {
        let chain = Chain::build(3);
        chain.serve(Server::Refuses);
        chain.intercept(2);
        let measurements = chain.trace(Engine::Unprivileged, 4);
        let syn = target(&measurements, Method::Syn)[0];
        assert_eq!(end(syn), Some(2), "{syn:#?}");
        assert_eq!(routers(syn, Payload::None), [(1, v4(1))]);
        for trace in traces(&measurements) {
            let port = trace.service.port;
            if trace.method == Method::Syn && port != 25 {
                assert!(end(trace).is_none_or(|end| end == 4), "{port}: {trace:#?}");
            }
        }
        let sweep = target(&measurements, Method::Sweep)[0];
        assert_eq!(ttls_of(sweep, PacketKind::ControlReply), [63]);
        assert_eq!(ttls_of(sweep, PacketKind::SynAck), [63]);
    });
}

#[test]
fn a_silent_hop_is_silence_and_no_more() {
    inside("a_silent_hop_is_silence_and_no_more", || {
        let chain = Chain::build(3);
        chain.serve(Server::Refuses);
        chain.filter(2, "output", "0", "icmp type time-exceeded drop");
        for engine in [Engine::Unprivileged, Engine::Raw] {
            let measurements = chain.trace(engine, 4);
            let syn = target(&measurements, Method::Syn)[0];
            assert_eq!(routers(syn, Payload::None), [(1, v4(1)), (3, v4(3))]);
            assert_eq!(end(syn), Some(4));
            let tries = syn.probes.iter().filter(|probe| probe.ttl == 2);
            assert_eq!(tries.count(), 2, "a second chance");
        }
        let measurements = chain.trace(Engine::Raw, 4);
        for sweep in target(&measurements, Method::Sweep) {
            let ends = vec![(1, true), (3, true)];
            assert_eq!(quoted(sweep, Payload::StartTls, b"STARTTLS\r\n"), ends);
            assert_eq!(sweep.failure, None);
        }
    });
}

#[test]
fn a_dropper_and_a_resetter_are_found() {
    inside("a_dropper_and_a_resetter_are_found", || {
        const TEST: &str = "tcp dport 25 @ih,0,64 0x5354415254544c53";
        let chain = Chain::build(4);
        chain.serve(Server::Refuses);
        chain.filter(3, "forward", "0", &format!("{TEST} drop"));
        let measurements = chain.trace(Engine::Raw, 4);
        let sweeps = target(&measurements, Method::Sweep);
        let mut silent: Vec<u8> = Vec::new();
        let mut heard: Vec<u8> = Vec::new();
        for probe in sweeps.iter().flat_map(|sweep| &sweep.probes) {
            let list = match (probe.payload, probe.answers.is_empty()) {
                (Payload::StartTls, true) => &mut silent,
                (Payload::StartTls, false) => &mut heard,
                _ => continue,
            };
            list.push(probe.ttl);
        }
        assert!(silent.iter().all(|ttl| *ttl >= 4), "{silent:?}");
        assert!(heard.iter().all(|ttl| *ttl <= 3), "{heard:?}");
        assert!(
            silent.contains(&4) && heard.contains(&3),
            "{silent:?} {heard:?}"
        );

        let chain = Chain::build(4);
        chain.serve(Server::Refuses);
        chain.filter(3, "forward", "0", &format!("{TEST} reject with tcp reset"));
        let measurements = chain.trace(Engine::Raw, 4);
        let mut by_limited: Vec<u8> = Vec::new();
        let mut passed: Vec<u8> = Vec::new();
        for sweep in target(&measurements, Method::Sweep) {
            for probe in &sweep.probes {
                let reset = probe.answers.iter().find(|a| a.what == Answered::Reset);
                if let Some(reset) = reset {
                    assert_eq!(probe.payload, Payload::StartTls);
                    let early = reset.at < probe.restored.unwrap();
                    if early { &mut by_limited } else { &mut passed }.push(probe.ttl);
                }
            }
            assert!(!ttls_of(sweep, PacketKind::End).is_empty());
        }
        assert!(by_limited.iter().all(|ttl| *ttl >= 4), "{by_limited:?}");
        assert!(passed.iter().all(|ttl| *ttl <= 3), "{passed:?}");
        assert!(!by_limited.is_empty() && !passed.is_empty());
    });
}

#[test]
fn an_offer_ends_the_sweep() {
    inside("an_offer_ends_the_sweep", || {
        let chain = Chain::build(3);
        chain.serve(Server::Offers);
        let measurements = chain.trace(Engine::Raw, 4);
        for sweep in target(&measurements, Method::Sweep) {
            let tests: Vec<_> = sweep
                .probes
                .iter()
                .filter(|probe| probe.payload == Payload::StartTls)
                .collect();
            assert_eq!(tests.len(), 1, "nothing is said in the clear after 220");
            let ready = tests[0].answers.iter().any(|answer| {
                matches!(&answer.what, Answered::Reply { bytes } if bytes.starts_with(b"220"))
            });
            assert!(ready, "{sweep:#?}");
            assert_eq!(sweep.failure, None);
        }
    });
}

#[test]
fn routers_that_answer_once_a_second_are_heard() {
    inside("routers_that_answer_once_a_second_are_heard", || {
        let chain = Chain::build(3);
        chain.serve(Server::Refuses);
        chain.with_usual_icmp_limits();
        let measurements = chain.trace(Engine::Raw, 4);
        let wanted: Vec<_> = (1..=3).map(|hop| (hop, v4(hop))).collect();
        let syn = target(&measurements, Method::Syn)[0];
        assert_eq!(routers(syn, Payload::None), wanted, "{syn:#?}");
        for sweep in target(&measurements, Method::Sweep) {
            let whole: Vec<_> = (1..=3).map(|hop| (hop, true)).collect();
            assert_eq!(quoted(sweep, Payload::StartTls, b"STARTTLS\r\n"), whole);
        }
    });
}

#[test]
fn without_the_right_the_message_says_what_to_do() {
    inside("without_the_right_the_message_says_what_to_do", || {
        let chain = Chain::build(1);
        let text = chain.refused();
        assert!(
            text.contains("setcap cap_net_raw+ep") && text.contains("root"),
            "{text}"
        );
    });
}

#[test]
fn a_blocked_port_is_told_from_a_far_one() {
    inside("a_blocked_port_is_told_from_a_far_one", || {
        let chain = Chain::build(3);
        chain.serve(Server::Refuses);
        chain.filter(2, "forward", "0", "tcp dport 25 drop");
        let measurements = chain.trace(Engine::Unprivileged, 4);
        let syn = target(&measurements, Method::Syn)[0];
        assert_eq!(end(syn), None);
        assert_eq!(routers(syn, Payload::None), [(1, v4(1)), (2, v4(2))]);
        assert!(syn.failure.as_ref().unwrap().raw.contains("at any TTL"));
        let reached = traces(&measurements)
            .into_iter()
            .any(|trace| trace.service.port == 587 && end(trace) == Some(4));
        assert!(reached, "{measurements:#?}");
        assert!(target(&measurements, Method::Sweep).is_empty());
    });
}
