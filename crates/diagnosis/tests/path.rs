//! Traces in, places out: every kind of box on the path, every confounder, and what must never follow.

mod road;
mod scene;

use hoofbeat_diagnosis::{
    Case, Diagnosis, Finding, LocationClass as L, Mechanism as M, Question as Q, Settings, Verdict,
    diagnose,
};
use hoofbeat_observation::{
    Answered, Body, FailureKind, HandshakeOutcome, Measurement, PacketKind, Payload, ReceivedTtl,
    Role, Scheme, Trace, TtlMethod,
};
use hoofbeat_session::{Elapsed, Label, Outcome};
use proptest::prelude::*;
use road::*;
use scene::*;

fn diagnosis(measurements: &[Measurement], leave_out: &[&str]) -> Diagnosis {
    diagnose(&Case {
        target: "example.org",
        measurements,
        settings: Settings {
            now: NOW,
            leave_out: leave_out.iter().map(|code| (*code).into()).collect(),
            ..Settings::default()
        },
        elsewhere: Vec::new(),
    })
}
fn judge(scene: &Scene) -> Finding {
    let finding = diagnosis(&scene.measurements, &[]).findings.remove(0);
    let sum: f64 = finding.location.posterior.values().sum();
    assert!((sum - 1.0).abs() < 1e-3, "{:?}", finding.location);
    finding
}
fn traced(scene: Scene, traces: impl IntoIterator<Item = Trace>) -> Scene {
    traces
        .into_iter()
        .fold(scene.body(surroundings(true)), |scene, trace| {
            scene.body(Body::Trace(trace))
        })
}
fn segment(finding: &Finding) -> Option<(u8, u8)> {
    finding
        .location
        .segment
        .map(|segment| (segment.after_hop, segment.up_to_hop))
}
#[test]
fn a_rewriter_in_the_access_network_is_placed_there() {
    let scene = traced(
        masked(),
        [
            Road::changed_at(3).sweep(),
            Road {
                source: 40_001,
                ..Road::changed_at(3)
            }
            .sweep(),
        ],
    );
    let finding = judge(&scene);
    assert_eq!(finding.verdict, Verdict::Interference);
    assert_eq!(
        (finding.location.class, segment(&finding)),
        (L::AccessNetwork, Some((2, 3))),
        "{finding:#?}"
    );
    // One vantage, no witness: a third party is held to four fifths.
    assert!(finding.location.probability <= 0.8 + 1e-9);
    let credible = finding.location.credible.expect("a credible set");
    assert_eq!((credible.after_hop, credible.up_to_hop), (2, 3));
    assert!(credible.probability >= 0.9);
    assert!(weighs(&finding, "quote-changed") && weighs(&finding, "wire-equal"));
    let cited = finding
        .evidence
        .iter()
        .find(|one| one.excerpt.starts_with("hop 3"))
        .expect("the quote");
    assert_eq!(cited.excerpt, "hop 3 198.18.1.5 quoted \"XXXXXXXX\\r\\n\"");
    assert_eq!(
        (cited.direction, cited.bytes),
        ("to-server", Some((40, 48)))
    );
    let trace = scene
        .measurements
        .iter()
        .find(|m| m.id == cited.measurement)
        .and_then(Measurement::trace)
        .unwrap();
    assert_eq!(trace.probes[cited.step.unwrap() as usize].ttl, 3);
    let path = finding.path.as_ref().expect("a path");
    assert_eq!(path.hops.len(), 5);
    let hop = &path.hops[2];
    assert_eq!(
        (
            hop.changed,
            hop.was.as_deref(),
            hop.became.as_deref(),
            hop.asn
        ),
        (Some(true), Some("STARTTLS"), Some("XXXXXXXX"), Some(64501))
    );
    assert_eq!(path.hops[1].changed, Some(false));
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(json["path"][2]["became"], "XXXXXXXX");
    assert_eq!(
        (&json["engine"], &json["direction"]),
        (&"raw".into(), &"to-server".into())
    );
    assert!(json.get("paths").is_none() && json["location"]["weighed"].is_array());
}

#[test]
fn positions_along_the_path() {
    let place = |hop| {
        let finding = judge(&traced(masked(), [Road::changed_at(hop).sweep()]));
        assert_eq!(segment(&finding), Some((hop - 1, hop)));
        finding.location
    };
    // Between two networks either may own it: the likelier is said, and never that it is likely.
    for (hop, leader, other) in [
        (2, L::AccessNetwork, "local-network"),
        (4, L::AccessNetwork, "transit"),
        (5, L::ServerEdge, "transit"),
    ] {
        let found = place(hop);
        assert_eq!(found.class, leader, "{found:?}");
        assert!(
            found.probability < 0.8 && found.posterior[other] > 0.0,
            "{found:?}"
        );
    }
    // The interface carried it whole, so it is not this host.
    assert_eq!(place(1).class, L::LocalNetwork);
    // Behind the last router that quotes: in front of the server.
    let finding = judge(&traced(masked(), [Road::default().sweep()]));
    assert_eq!(
        finding.location.class,
        L::ServerEdge,
        "{:?}",
        finding.location
    );
    assert!(finding.location.probability > 0.9 && weighs(&finding, "whole-up-to-there"));
}

#[test]
fn what_a_box_looks_for_is_told_and_not_weighed() {
    const UNKNOWN_VERB: &[u8] = b"BCDFGHJK\r\n";
    let traced_with = |became: Option<&[u8]>| {
        let mut sweep = Road::changed_at(3).sweep();
        if let Some(became) = became {
            let mut probe = sweep.probes[2].clone();
            probe.payload = Payload::UnknownVerb;
            probe.sent = UNKNOWN_VERB.to_vec();
            probe.packet = packet(3, 40_000, 25, UNKNOWN_VERB);
            probe.answers.truncate(1);
            let Answered::TimeExceeded {
                quote: Some(quote), ..
            } = &mut probe.answers[0].what
            else {
                panic!("a quote");
            };
            quote.bytes = packet(1, 40_000, 25, became);
            sweep.probes.push(probe);
        }
        judge(&traced(masked(), [sweep]))
    };
    let without = traced_with(None);
    for (became, claim, innocent) in [
        (MASKED, "and did not look for STARTTLS", true),
        (
            UNKNOWN_VERB,
            "the device changes STARTTLS, and not whatever",
            false,
        ),
    ] {
        let finding = traced_with(Some(became));
        assert!(
            finding.evidence.iter().any(|one| one.claim.contains(claim)),
            "{finding:#?}"
        );
        let delivered = finding
            .innocent
            .iter()
            .any(|one| one.contains("are delivered"));
        assert_eq!(delivered, innocent);
        assert_eq!(
            (finding.verdict, &finding.location),
            (without.verdict, &without.location)
        );
    }
}

#[test]
fn what_the_interface_carries_tells_this_host() {
    let mut sweep = Road::changed_at(1).sweep();
    for probe in &mut sweep.probes {
        if probe.payload == Payload::StartTls {
            probe.packet = packet(probe.ttl, 40_000, 25, MASKED);
        }
    }
    let finding = judge(&traced(masked(), [sweep]));
    assert_eq!(
        (finding.location.class, segment(&finding)),
        (L::ThisHost, Some((0, 1)))
    );
    assert!(weighs(&finding, "wire-differs"));
}

#[test]
fn a_command_that_never_leaves_is_taken_on_this_host() {
    // Hops tell nothing of STARTTLS, every control was captured as it left, and no STARTTLS was.
    let mut sweep = Road::default().sweep();
    for probe in &mut sweep.probes {
        if probe.payload == Payload::StartTls {
            probe.packet.clear();
            probe
                .answers
                .retain(|answer| !matches!(answer.what, Answered::TimeExceeded { .. }));
        }
    }
    let finding = judge(&traced(masked(), [sweep.clone()]));
    assert_eq!(
        (finding.location.class, segment(&finding)),
        (L::ThisHost, Some((0, 1))),
        "{finding:#?}"
    );
    assert!(weighs(&finding, "never-left-this-host"));
    // The server's own words are an answer to what arrived: the capture missed it.
    let finding = judge(&traced(honest(), [sweep]));
    assert_eq!(finding.verdict, Verdict::Server);
}

#[test]
fn who_answers_before_the_question_has_left_is_on_this_host() {
    // Forged at the first hop: this host, or the box next to it. `ahead`: how long before STARTTLS passed the interface
    // somebody acknowledged it, in milliseconds; below zero, after.
    let forged = |ahead: &dyn Fn(u8) -> i64| {
        let road = Road {
            forged_at: Some((1, true)),
            ..Road::default()
        };
        let mut sweep = road.sweep();
        for probe in &mut sweep.probes {
            let at = probe.at.0.as_millis();
            let at = i64::try_from(at).unwrap() + 2;
            probe.left = u64::try_from(at).ok().map(Elapsed::from_millis);
            let early = if probe.payload == Payload::StartTls {
                ahead(probe.ttl)
            } else {
                -5
            };
            probe.acknowledged = u64::try_from(at - early).ok().map(Elapsed::from_millis);
        }
        judge(&traced(plain(), [sweep]))
    };
    let here = forged(&|_| 1);
    assert_eq!(
        (here.verdict, here.location.class, segment(&here)),
        (Verdict::Interference, L::ThisHost, Some((0, 1))),
        "{here:#?}"
    );
    assert!(weighs(&here, "answered-here"));
    assert!(
        here.evidence
            .iter()
            .any(|one| one.claim.contains("had passed this computer's interface"))
    );
    // Afterwards, or once after and otherwise before, it may be anybody at that hop.
    for ahead in [|_: u8| -1_i64, |ttl: u8| if ttl == 3 { -1 } else { 1 }] {
        let there = forged(&ahead);
        assert!(!weighs(&there, "answered-here") && weighs(&there, "wire-equal"));
        assert_ne!(there.location.class, L::ThisHost, "{there:#?}");
    }
}

#[test]
fn what_an_earlier_command_left_behind_is_no_answer() {
    // A reply that no captured packet bears, and one that is older than its question.
    for older in [false, true] {
        let mut sweep = Road::default().sweep();
        for probe in &mut sweep.probes {
            if probe.payload == Payload::StartTls && probe.ttl == 3 {
                let reply = probe
                    .answers
                    .iter_mut()
                    .find(|answer| matches!(answer.what, Answered::Reply { .. }))
                    .unwrap();
                reply.ttl = older.then_some(59);
                let at = u64::try_from(probe.at.0.as_millis()).unwrap();
                reply.at = Elapsed::from_millis(if older { at - 2 } else { at + 3 });
            }
        }
        let finding = judge(&traced(plain(), [sweep]));
        assert_ne!(finding.verdict, Verdict::Interference, "{finding:#?}");
    }
}

#[test]
fn two_answers_to_one_command_are_not_both_the_servers() {
    let mut sweep = Road {
        quote: 28,
        ..Road::default()
    }
    .sweep();
    let ttl = |of, ttl| ReceivedTtl {
        of,
        ttl,
        by: TtlMethod::Capture,
    };
    sweep.received = vec![
        ttl(PacketKind::ControlReply, 59),
        ttl(PacketKind::StartTlsReply, 62),
        ttl(PacketKind::StartTlsReply, 59),
    ];
    let finding = judge(&traced(plain(), [sweep]));
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::CommandRefused)),
        "{finding:#?}"
    );
}

#[test]
fn hops_turn_a_plain_refusal_into_an_accusation() {
    let before = judge(&plain());
    assert_ne!(before.verdict, Verdict::Interference);
    let finding = judge(&traced(plain(), [Road::changed_at(3).sweep()]));
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::CommandRewritten)),
        "{finding:#?}"
    );
    assert_eq!(finding.location.class, L::AccessNetwork);
    // Whole everywhere: the server is the likelier for it.
    let whole = judge(&traced(plain(), [Road::default().sweep()]));
    assert_ne!(whole.verdict, Verdict::Interference);
    assert!(weighs(&whole, "command-intact"));
}

#[test]
fn a_servers_own_words_outweigh_hops() {
    let finding = judge(&traced(honest(), [Road::changed_at(3).sweep()]));
    assert_eq!(
        (finding.verdict, finding.location.class),
        (Verdict::Server, L::Server)
    );
    assert_eq!(segment(&finding), None);
    assert!(
        finding
            .innocent
            .iter()
            .any(|one| one.contains("told and not weighed"))
    );
}

#[test]
fn a_clean_server_stays_clear_and_shows_its_path() {
    let scene = traced(Scene::new().talk(clean()), [Road::default().sweep()]);
    let finding = judge(&scene);
    assert_eq!((finding.verdict, segment(&finding)), (Verdict::Clear, None));
    assert!(
        finding
            .path
            .unwrap()
            .hops
            .iter()
            .all(|hop| hop.changed == Some(false))
    );
}

#[test]
fn silent_hops_and_short_quotes_widen_or_say_nothing() {
    let silent = Road {
        silent: vec![2, 3],
        ..Road::changed_at(2)
    };
    let finding = judge(&traced(masked(), [silent.sweep()]));
    assert_eq!(segment(&finding), Some((1, 4)));
    assert_eq!(finding.location.class, L::Undetermined);
    // Headers only: the payload is not quoted, so nothing changed and nothing is whole.
    for quote in [28, 40] {
        let short = Road {
            quote,
            ..Road::changed_at(3)
        };
        let finding = judge(&traced(masked(), [short.sweep()]));
        assert_eq!(
            (segment(&finding), weighs(&finding, "quote-changed")),
            (None, false)
        );
        let path = finding.path.unwrap();
        assert!(
            path.hops
                .iter()
                .all(|hop| hop.changed.is_none() && hop.quoted == Some(quote))
        );
    }
}

#[test]
fn a_path_that_changes_in_the_middle_names_no_place() {
    let detour = Road {
        detours_of_test: vec![(3, ip("198.18.3.9")), (4, ip("198.18.3.10"))],
        ..Road::changed_at(4)
    };
    let finding = judge(&traced(masked(), [detour.sweep()]));
    assert_eq!(finding.verdict, Verdict::Interference);
    assert_eq!(
        finding.location.class,
        L::Undetermined,
        "{:?}",
        finding.location
    );
    assert!(
        finding
            .innocent
            .iter()
            .any(|one| one.contains("route changed"))
    );
    let credible = finding.location.credible.unwrap();
    assert!(credible.up_to_hop - credible.after_hop >= 3, "{credible:?}");
    // Routers that share the load far from there change nothing of what happens behind them.
    let fork = Road {
        detours_of_test: vec![(2, ip("198.18.2.9"))],
        ..Road::changed_at(5)
    };
    let finding = judge(&traced(masked(), [fork.sweep()]));
    assert_eq!(segment(&finding), Some((4, 5)), "{finding:#?}");
    // Hops that contradict each other.
    let mut sweep = Road::changed_at(3).sweep();
    for probe in &mut sweep.probes {
        if probe.payload == Payload::StartTls && probe.ttl == 5 {
            *probe = Road::default()
                .sweep()
                .probes
                .iter()
                .find(|p| p.payload == Payload::StartTls && p.ttl == 5)
                .unwrap()
                .clone();
        }
    }
    let finding = judge(&traced(masked(), [sweep]));
    assert_eq!(finding.location.class, L::Undetermined);
}

#[test]
fn branches_that_agree_are_said_and_branches_that_differ_widen() {
    let other = |hop| Road {
        source: 40_001,
        detours: vec![(4, ip("198.18.3.77"))],
        ..Road::changed_at(hop)
    };
    let finding = judge(&traced(
        masked(),
        [Road::changed_at(3).sweep(), other(3).sweep()],
    ));
    assert_eq!(
        (segment(&finding), finding.location.class),
        (Some((2, 3)), L::AccessNetwork)
    );
    assert!(
        finding
            .innocent
            .iter()
            .any(|one| one.contains("different routes"))
    );
    let finding = judge(&traced(
        masked(),
        [Road::changed_at(3).sweep(), other(5).sweep()],
    ));
    assert_eq!(finding.location.class, L::Undetermined);
    // A box on one branch only.
    let free = Road {
        source: 40_001,
        detours: vec![(3, ip("198.18.1.9"))],
        ..Road::default()
    };
    let finding = judge(&traced(
        masked(),
        [Road::changed_at(3).sweep(), free.sweep()],
    ));
    assert_eq!(segment(&finding), Some((2, 3)));
    assert!(
        finding
            .innocent
            .iter()
            .any(|one| one.contains("some flows"))
    );
}

#[test]
fn without_a_prefix_table_the_same_stretch_is_said_more_softly() {
    let scene = masked()
        .body(surroundings(false))
        .body(Body::Trace(Road::changed_at(4).sweep()));
    let finding = judge(&scene);
    assert_eq!(
        (segment(&finding), finding.location.class),
        (Some((3, 4)), L::Undetermined)
    );
}

#[test]
fn forgers_in_the_path_and_beside_it() {
    for beside in [false, true] {
        let road = Road {
            forged_at: Some((3, beside)),
            ..Road::default()
        };
        let finding = judge(&traced(plain(), [road.sweep()]));
        assert_eq!(
            (finding.verdict, finding.mechanism),
            (Verdict::Interference, Some(M::CommandRefused)),
            "{finding:#?}"
        );
        assert_eq!(
            (segment(&finding), finding.location.class),
            (Some((2, 3)), L::AccessNetwork)
        );
        assert_eq!(
            finding
                .evidence
                .iter()
                .any(|one| one.claim.contains("beside the path")),
            beside
        );
    }
    // A prober that does not tell when it raised the TTL accuses nobody.
    let mut sweep = Road {
        silent: vec![3],
        ..Road::default()
    }
    .sweep();
    sweep
        .probes
        .iter_mut()
        .for_each(|probe| probe.restored = None);
    assert_ne!(
        judge(&traced(plain(), [sweep])).verdict,
        Verdict::Interference
    );
}

#[test]
fn the_ttl_of_a_forged_answer_tells_a_borders_sides() {
    let answered = |ttl| {
        let mut sweep = Road {
            forged_at: Some((2, false)),
            ..Road::default()
        }
        .sweep();
        for probe in &mut sweep.probes {
            for answer in &mut probe.answers {
                if probe.payload == Payload::StartTls
                    && matches!(answer.what, Answered::Reply { .. })
                {
                    answer.ttl = Some(ttl);
                }
            }
        }
        let finding = judge(&traced(plain(), [sweep]));
        assert_eq!(segment(&finding), Some((1, 2)), "{finding:#?}");
        finding.location
    };
    // 64 is what the home router's own packets arrive with, and 63 its next neighbour's.
    assert_eq!(answered(64).class, L::LocalNetwork);
    assert_eq!(answered(63).class, L::AccessNetwork);
    // A TTL of nobody's on this stretch leaves the border what it is.
    let anybody = answered(50);
    assert!(anybody.probability < 0.80, "{anybody:?}");
}

/// The server's packets, and the refusal of STARTTLS with a TTL of its own.
fn refused_with_ttl(refusal: u8) -> Vec<ReceivedTtl> {
    [
        (PacketKind::SynAck, 59),
        (PacketKind::ControlReply, 59),
        (PacketKind::StartTlsReply, refusal),
    ]
    .map(|(of, ttl)| ReceivedTtl {
        of,
        ttl,
        by: TtlMethod::Capture,
    })
    .into()
}

#[test]
fn a_reply_with_another_ttl_is_another_machines() {
    let mut sweep = Road::default().sweep();
    sweep.received = refused_with_ttl(62);
    for probe in &mut sweep.probes {
        if probe.payload == Payload::StartTls {
            // Header quotes only, so that nothing is known of the payload.
            for answer in &mut probe.answers {
                if let Answered::TimeExceeded {
                    quote: Some(quote), ..
                } = &mut answer.what
                {
                    quote.bytes.truncate(28);
                }
            }
        }
    }
    let finding = judge(&traced(masked(), [sweep]));
    assert!(
        weighs(&finding, "reply-with-another-ttl"),
        "{:?}",
        finding.location
    );
    assert!(
        finding
            .evidence
            .iter()
            .any(|one| one.claim.contains("another machine sent it"))
    );
    // STARTTLS died unanswered behind that distance: the two do not fit, and the wider stretch stays.
    assert_eq!(segment(&finding), Some((2, 4)));
}

#[test]
fn where_the_command_dies_unanswered_narrows_a_forgers_stretch() {
    let mut sweep = Road::default().sweep();
    // The hop in front of the server sends it, and no command that died up to there was answered.
    sweep.received = refused_with_ttl(60);
    let finding = judge(&traced(masked(), [sweep]));
    assert!(weighs(&finding, "reply-with-another-ttl"), "{finding:#?}");
    assert_eq!(segment(&finding), Some((5, 6)), "{finding:#?}");
}

#[test]
fn a_filter_swallows_the_command() {
    let silent = Scene::new()
        .talk(differential(GREETING, POSTFIX).silent(Label::StartTls, "STARTTLS"))
        .talk(differential(GREETING, POSTFIX).silent(Label::StartTls, "STARTTLS"));
    let road = Road {
        dropped_at: Some(3),
        ..Road::default()
    };
    let finding = judge(&traced(silent, [road.sweep()]));
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::CommandDropped)),
        "{finding:#?}"
    );
    assert_eq!(
        (segment(&finding), finding.location.class),
        (Some((2, 3)), L::AccessNetwork)
    );
}

#[test]
fn a_proxy_ends_the_port_nearer_than_others() {
    let connected = Answered::Connected;
    let near = |hop| {
        [
            syns(25, Role::Target, Some(hop), &connected, hop - 1),
            syns(587, Role::Sibling, Some(6), &connected, 5),
        ]
    };
    let finding = judge(&traced(masked(), near(2)));
    assert_eq!(
        (segment(&finding), finding.location.class),
        (Some((1, 2)), L::AccessNetwork),
        "{finding:#?}"
    );
    assert!(weighs(&finding, "terminated-early"));
    // It overturns what a session with the proxy looks like.
    let finding = judge(&traced(plain(), near(1)));
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::SessionProxied)),
        "{finding:#?}"
    );
    // Near the server it may be the operator's own load balancer.
    let finding = judge(&traced(plain(), near(5)));
    assert_ne!(finding.verdict, Verdict::Interference, "{finding:#?}");
    // As far away as the other port by the TTL of its answers: only the way there was shortened.
    let mut shortened = near(2);
    for probe in &mut shortened[0].probes {
        probe
            .answers
            .iter_mut()
            .filter(|answer| answer.what == connected)
            .for_each(|answer| answer.ttl = Some(59));
    }
    let finding = judge(&traced(plain(), shortened.clone()));
    assert!(finding.verdict != Verdict::Interference && !weighs(&finding, "terminated-early"));
    // Without those TTLs it is a hint, and no accusation.
    shortened[0]
        .probes
        .iter_mut()
        .flat_map(|probe| &mut probe.answers)
        .for_each(|answer| answer.ttl = None);
    let finding = judge(&traced(plain(), shortened));
    assert!(
        finding.verdict != Verdict::Interference && weighs(&finding, "terminated-early"),
        "{finding:#?}"
    );
    // Another port that is silent in the end, but whose SYNs die further out, tells as well.
    let silent = [
        syns(25, Role::Target, Some(2), &connected, 1),
        syns(443, Role::Sibling, None, &connected, 4),
    ];
    assert_eq!(segment(&judge(&traced(masked(), silent))), Some((1, 2)));
    // The same hop for both ports: nothing.
    let same = [
        syns(25, Role::Target, Some(6), &connected, 5),
        syns(587, Role::Sibling, Some(6), &connected, 5),
    ];
    let finding = judge(&traced(masked(), same));
    assert!(weighs(&finding, "same-terminator") && segment(&finding).is_none());
}

#[test]
fn a_bad_certificate_from_a_nearer_end_is_no_operators_mistake() {
    use hoofbeat_observation::InvalidReason;
    let scene = || {
        Scene::new().talk(inside(postfix().starttls(GO).invalid(
            InvalidReason::SelfSigned,
            "CN=mx.example.org",
            7,
        )))
    };
    assert_eq!(judge(&scene()).mechanism, Some(M::CertificateInvalid));
    let connected = Answered::Connected;
    let near = [
        syns(25, Role::Target, Some(2), &connected, 1),
        syns(443, Role::Sibling, Some(6), &connected, 5),
    ];
    let finding = judge(&traced(scene(), near));
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::TlsIntercepted)),
        "{finding:#?}"
    );
    let same = [
        syns(25, Role::Target, Some(6), &connected, 5),
        syns(443, Role::Sibling, Some(6), &connected, 5),
    ];
    assert_eq!(
        judge(&traced(scene(), same)).mechanism,
        Some(M::CertificateInvalid)
    );
}

#[test]
fn a_blocked_port_is_placed_by_where_its_syns_end() {
    let closed = || Scene::new().talk(Talk::smtp().refused(FailureKind::TimedOut));
    let connected = Answered::Connected;
    let open = || syns(587, Role::Sibling, Some(6), &connected, 5);
    let finding = judge(&traced(
        closed(),
        [syns(25, Role::Target, None, &connected, 2), open()],
    ));
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::PortBlocked)),
        "{finding:#?}"
    );
    assert_eq!(
        (segment(&finding), finding.location.class),
        (Some((2, 3)), L::AccessNetwork)
    );
    // No SYN to it ever left: stopped on this host.
    let silent = |port, end, left: bool| {
        let mut trace = syns(
            port,
            Role::Target,
            end,
            &connected,
            if left { 5 } else { 0 },
        );
        trace.role = if port == 25 {
            Role::Target
        } else {
            Role::Sibling
        };
        for probe in &mut trace.probes {
            probe.packet = if left {
                packet(probe.ttl, probe.source_port, port, b"")
            } else {
                Vec::new()
            };
        }
        trace
    };
    let finding = judge(&traced(
        closed(),
        [silent(25, None, false), silent(587, Some(6), true)],
    ));
    assert_eq!(
        (finding.mechanism, finding.location.class),
        (Some(M::PortBlocked), L::ThisHost),
        "{finding:#?}"
    );
    // A packet that was lost on the way moves nothing: it is heard of again one hop further on.
    let mut lossy = syns(25, Role::Target, None, &connected, 2);
    lossy.probes[0].answers.clear();
    let finding = judge(&traced(closed(), [lossy, open()]));
    assert_eq!(
        (finding.mechanism, segment(&finding)),
        (Some(M::PortBlocked), Some((2, 3))),
        "{finding:#?}"
    );
    // In front of the server it is the operator's choice.
    let finding = judge(&traced(
        closed(),
        [syns(25, Role::Target, None, &connected, 5), open()],
    ));
    assert_eq!(
        (finding.verdict, segment(&finding)),
        (Verdict::Unreachable, Some((5, 6))),
        "{finding:#?}"
    );
    // What ends before the last router, where other ports go on, is not the server, and accuses nobody all the same.
    let before = judge(&traced(
        closed(),
        [syns(25, Role::Target, Some(5), &Answered::Reset, 4), open()],
    ));
    assert_eq!(
        (before.verdict, segment(&before), before.location.class),
        (Verdict::Unreachable, Some((4, 5)), L::ServerEdge),
        "{before:#?}"
    );
    assert!(before.location.posterior["server"] < 0.1, "{before:#?}");
    let unreachable = Answered::Unreachable {
        from: router(3),
        code: 13,
        quote: None,
    };
    let finding = judge(&traced(
        closed(),
        [syns(25, Role::Target, Some(3), &unreachable, 2), open()],
    ));
    assert_eq!(
        (finding.verdict, finding.location.class),
        (Verdict::Interference, L::AccessNetwork)
    );
}

#[test]
fn what_is_left_out_is_not_weighed() {
    let scene = traced(masked(), [Road::changed_at(3).sweep()]);
    let finding = diagnosis(&scene.measurements, &["g11"]).findings.remove(0);
    assert_eq!(
        (segment(&finding), weighs(&finding, "quote-changed")),
        (None, false)
    );
    assert!(finding.path.is_some());
    let without_masks = diagnosis(&scene.measurements, &["G2"]).findings.remove(0);
    assert!(
        without_masks
            .location
            .weighed
            .iter()
            .all(|one| one.group != "G2")
    );
}

#[test]
fn hops_are_asked_for_when_the_rest_is_answered() {
    let settings = |declined: &[&str]| Settings {
        now: NOW,
        declined: declined
            .iter()
            .map(|test| ((*test).into(), "not allowed".into()))
            .collect(),
        ..Settings::default()
    };
    let scene = masked();
    let ask = |declined: &[&str]| {
        diagnose(&Case {
            target: "",
            measurements: &scene.measurements,
            settings: settings(declined),
            elsewhere: Vec::new(),
        })
    };
    let first = ask(&[]);
    assert!(
        !first
            .questions
            .iter()
            .any(|question| matches!(question, Q::Trace(_) | Q::Witness(..))),
        "{:?}",
        first.questions
    );
    let later = ask(&["controls", "negative-control"]);
    assert!(
        later
            .questions
            .iter()
            .any(|question| matches!(question, Q::Trace(_))),
        "{:?}",
        later.questions
    );
    assert!(later.questions.contains(&Q::Witness(Scheme::Smtp, 25)));
    let last = ask(&["controls", "negative-control", "trace", "witness"]);
    assert!(last.questions.is_empty());
    let finding = &last.findings[0];
    assert!(finding.not_run.iter().any(|test| test.test == "trace"));
    // The one that tells the leading places (the server's edge, the access provider) apart most is named.
    assert_eq!(
        finding.next.as_deref(),
        Some("controls (not run: not allowed)")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Quotes of any bytes: no panic, and no accusation of an honest server.
    #[test]
    fn arbitrary_quotes_accuse_nobody(
        quotes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 12),
        keep in any::<u16>(),
        restored in any::<bool>(),
        which in 0..2_usize,
    ) {
        let mut sweep = Road::default().sweep();
        for (at, (probe, bytes)) in sweep.probes.iter_mut().zip(&quotes).enumerate() {
            if !restored {
                probe.restored = None;
            }
            for answer in &mut probe.answers {
                if let Answered::TimeExceeded { quote: Some(quote), .. } = &mut answer.what
                    && keep & (1 << at) != 0
                {
                    quote.bytes.clone_from(bytes);
                }
            }
        }
        let scene = traced(if which == 0 { plain() } else { honest() }, [sweep]);
        let finding = judge(&scene);
        prop_assert!(finding.verdict != Verdict::Interference, "{finding:#?}");
    }

    /// Packets mutilated byte by byte, hops, ports and times at will: no panic, and sums of one.
    #[test]
    fn mutilated_traces_do_not_panic(
        cuts in proptest::collection::vec((any::<u8>(), any::<u8>(), any::<u16>()), 0..40),
        changed in 1..8_u8,
    ) {
        let mut sweep = Road::changed_at(changed).sweep();
        for (at, what, value) in cuts {
            let count = sweep.probes.len();
            let probe = &mut sweep.probes[usize::from(at) % count];
            match what % 6 {
                0 => probe.ttl = value as u8,
                1 => probe.source_port = value,
                2 => probe.sent.truncate(usize::from(value % 12)),
                3 => probe.packet.truncate(usize::from(value % 60)),
                4 => probe.restored = Some(Elapsed::from_millis(u64::from(value))),
                _ => for answer in &mut probe.answers {
                    if let Answered::TimeExceeded { quote: Some(quote), .. } = &mut answer.what {
                        let length = quote.bytes.len();
                        if length > 0 {
                            quote.bytes[usize::from(value) % length] = what;
                        }
                    }
                },
            }
        }
        judge(&traced(masked(), [sweep.clone(), sweep]));
    }

    /// A clean trace never lifts an accusation of a third party above its cap.
    #[test]
    fn clean_traces_do_not_accuse_third_parties(quote in 20..128_usize, silent in proptest::collection::vec(1..6_u8, 0..4)) {
        let road = Road { quote, silent, ..Road::default() };
        let finding = judge(&traced(masked(), [road.sweep()]));
        for class in ["transit", "access-network"] {
            prop_assert!(finding.location.posterior.get(class).is_none_or(|p| *p <= 0.8 + 1e-3));
        }
    }
}

#[test]
fn a_reset_of_the_command_is_placed() {
    // The engine sees RST at TTL 3 on the test command only.
    let mut sweep = Road {
        forged_at: Some((3, true)),
        ..Road::default()
    }
    .sweep();
    for probe in &mut sweep.probes {
        for answer in &mut probe.answers {
            if probe.payload == Payload::StartTls && matches!(answer.what, Answered::Reply { .. }) {
                answer.what = Answered::Reset;
            }
        }
    }
    let reset =
        || differential(GREETING, POSTFIX).raw(Label::StartTls, "STARTTLS", b"", Outcome::Reset);
    let finding = judge(&traced(Scene::new().talk(reset()).talk(reset()), [sweep]));
    assert_eq!(
        (finding.verdict, segment(&finding)),
        (Verdict::Interference, Some((2, 3))),
        "{finding:#?}"
    );
}

/// A TLS record's beginning.
const HELLO: &[u8] = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";

/// What becomes of a ClientHello from some hop on.
#[derive(Clone, Copy, PartialEq)]
enum Met {
    Reset,
    Silence,
    /// The server takes it in and says nothing.
    Ignored,
}

/// A connection on which control commands die at every hop, and then ClientHellos leave.
fn hellos(source: u16, ttls: &[u8], from: u8, met: Met) -> Trace {
    let road = Road {
        source,
        ..Road::default()
    };
    let mut trace = road.sweep();
    trace
        .probes
        .retain(|probe| probe.payload == Payload::Control);
    let controls = trace.probes.clone();
    for (count, ttl) in (0_u64..).zip(ttls) {
        let mut probe = controls[usize::from(*ttl) - 1].clone();
        probe.payload = Payload::ClientHello;
        probe.sent = HELLO.to_vec();
        probe.packet = packet(*ttl, source, 25, HELLO);
        probe.at = Elapsed::from_millis(10_000 + count * 500);
        probe.restored = None;
        let at = Elapsed::from_millis(10_010 + count * 500);
        let said = |what| {
            let ttl = Some(if from < SERVER { 62 } else { 59 });
            vec![hoofbeat_observation::Answer { at, ttl, what }]
        };
        probe.answers = match met {
            Met::Reset if probe.ttl >= from => said(Answered::Reset),
            Met::Ignored if probe.ttl >= from => said(Answered::Acknowledged),
            Met::Silence if probe.ttl >= from => Vec::new(),
            _ => said(Answered::TimeExceeded {
                from: router(probe.ttl),
                quote: None,
            }),
        };
        trace.probes.push(probe);
    }
    trace
}

/// STARTTLS is accepted, and the handshake ends like this.
fn dies(outcome: &HandshakeOutcome) -> Scene {
    let talk = || differential(GREETING, POSTFIX).starttls("220 2.0.0 Ready to start TLS");
    Scene::new()
        .talk(talk().dies(outcome.clone()))
        .talk(talk().dies(outcome.clone()))
}

#[test]
fn what_ends_client_hellos_is_placed() {
    for (met, outcome, mechanism) in [
        (Met::Reset, HandshakeOutcome::Reset, M::HandshakeReset),
        (
            Met::Silence,
            HandshakeOutcome::TimedOut,
            M::HandshakeBlackholed,
        ),
    ] {
        let two: [&[u8]; 2] = match met {
            Met::Reset => [&[2, 3], &[1, 3]],
            _ => [&[6, 3, 2, 4], &[6, 3, 2]],
        };
        let traces = [
            hellos(40_001, two[0], 3, met),
            hellos(40_002, two[1], 3, met),
        ];
        assert_ne!(judge(&dies(&outcome)).verdict, Verdict::Interference);
        let finding = judge(&traced(dies(&outcome), traces.clone()));
        assert_eq!(
            (finding.verdict, finding.mechanism, segment(&finding)),
            (Verdict::Interference, Some(mechanism), Some((2, 3))),
            "{finding:#?}"
        );
        assert_eq!(finding.location.class, L::AccessNetwork, "{finding:#?}");
        // One connection is not enough, nor is it where an alert came, or TLS came up.
        let once = judge(&traced(dies(&outcome), traces[..1].to_vec()));
        assert_ne!(once.verdict, Verdict::Interference, "{once:#?}");
        let alert = HandshakeOutcome::Alert {
            description: "internal error".into(),
        };
        let own = judge(&traced(dies(&alert), traces.clone()));
        assert_ne!(own.verdict, Verdict::Interference, "{own:#?}");
        let clear = judge(&traced(Scene::new().talk(clean()), traces.clone()));
        assert_eq!(clear.verdict, Verdict::Clear);
        // Controls that the hop did not tell of are no control.
        let mut deaf = traces;
        for probe in deaf.iter_mut().flat_map(|trace| &mut trace.probes) {
            if probe.payload == Payload::Control && probe.ttl >= 3 {
                probe
                    .answers
                    .retain(|answer| !matches!(answer.what, Answered::TimeExceeded { .. }));
            }
        }
        let finding = judge(&traced(dies(&outcome), deaf));
        assert_ne!(finding.verdict, Verdict::Interference, "{finding:#?}");
    }
}

#[test]
fn the_ttl_of_resets_tells_how_far_their_sender_is() {
    // Whole ClientHellos are all that was answered, so no hop tells where; the resets come from three hops away.
    let traces = |ttls: [u8; 2]| {
        [(40_001, ttls[0]), (40_002, ttls[1])].map(|(source, ttl)| {
            let mut trace = hellos(source, &[6], 3, Met::Reset);
            for probe in &mut trace.probes {
                for answer in &mut probe.answers {
                    if answer.what == Answered::Reset {
                        answer.ttl = Some(ttl);
                    }
                }
            }
            trace
        })
    };
    let died = || {
        dies(&HandshakeOutcome::Reset)
            .talk(clean_control(Scheme::Smtp, 1).dies(HandshakeOutcome::Reset))
            .talk(clean_control(Scheme::Smtp, 2).dies(HandshakeOutcome::Reset))
    };
    let finding = judge(&traced(died(), traces([62, 62])));
    assert_eq!(
        (finding.verdict, finding.mechanism, finding.location.class),
        (
            Verdict::Interference,
            Some(M::HandshakeReset),
            L::AccessNetwork
        ),
        "{finding:#?}"
    );
    assert!(weighs(&finding, "hello-reset-with-another-ttl"));
    // It places what dialogues accuse; alone it accuses nobody.
    let alone = judge(&traced(dies(&HandshakeOutcome::Reset), traces([62, 62])));
    assert_ne!(alone.verdict, Verdict::Interference);
    // The server's own TTL, or two that differ, place nothing.
    for ttls in [[59, 59], [62, 61], [62, 59]] {
        let finding = judge(&traced(died(), traces(ttls)));
        assert!(!weighs(&finding, "hello-reset-with-another-ttl"));
    }
}

#[test]
fn a_server_that_breaks_its_own_handshakes_is_not_a_box() {
    for (met, outcome) in [
        (Met::Reset, HandshakeOutcome::Reset),
        (Met::Silence, HandshakeOutcome::TimedOut),
        (Met::Ignored, HandshakeOutcome::TimedOut),
    ] {
        let finding = judge(&traced(
            dies(&outcome),
            [
                hellos(40_001, &[6, 3, 5], SERVER, met),
                hellos(40_002, &[4, 5, 6], SERVER, met),
            ],
        ));
        assert_ne!(finding.verdict, Verdict::Interference, "{finding:#?}");
        // Whole, they fail at the end of the path: a place to look. One that was taken in met nothing at all.
        let at_the_end = (met != Met::Ignored).then_some((SERVER - 1, SERVER));
        assert_eq!(segment(&finding), at_the_end, "{finding:#?}");
    }
    // A server that resets by the clock, whatever died on the way meanwhile: its resets come from as far as its words.
    let by_the_clock = |source| {
        let mut trace = hellos(source, &[3, 4], 3, Met::Reset);
        for probe in &mut trace.probes {
            if probe.payload == Payload::ClientHello {
                for answer in &mut probe.answers {
                    answer.ttl = Some(59);
                }
            }
        }
        trace
    };
    let finding = judge(&traced(
        dies(&HandshakeOutcome::Reset),
        [by_the_clock(40_001), by_the_clock(40_002)],
    ));
    assert_ne!(finding.verdict, Verdict::Interference, "{finding:#?}");
    // Silent routers in front of a server that took the ClientHello in: the silence is theirs.
    let limited = |source| {
        let mut trace = hellos(source, &[6, 3, 4], SERVER, Met::Ignored);
        for probe in &mut trace.probes {
            if probe.payload == Payload::ClientHello && probe.ttl < SERVER {
                probe.answers.clear();
            }
        }
        trace
    };
    let finding = judge(&traced(
        dies(&HandshakeOutcome::TimedOut),
        [limited(40_001), limited(40_002)],
    ));
    assert_ne!(finding.verdict, Verdict::Interference, "{finding:#?}");
}
