//! Witness visits: both directions, every bad report, and what a clean one clears.

mod road;
mod scene;

use hoofbeat_diagnosis::{
    Case, Finding, LocationClass as L, Mechanism as M, Settings, Verdict, diagnose,
};
use hoofbeat_observation::{
    Body, Errand, FailureKind, Measurement, Scheme, SignedReport, Standing, WitnessService,
};
use hoofbeat_session::ByteRange;
use proptest::prelude::*;
use road::*;
use scene::*;

fn judge(measurements: &[Measurement]) -> Finding {
    let finding = diagnose(&Case {
        target: "example.org",
        measurements,
        settings: Settings {
            now: NOW,
            ..Settings::default()
        },
        elsewhere: Vec::new(),
    })
    .findings
    .remove(0);
    let sum: f64 = finding.location.posterior.values().sum();
    assert!((sum - 1.0).abs() < 1e-3, "{:?}", finding.location);
    finding
}
fn visited(scene: Scene, visit: &Visit) -> Scene {
    scene
        .body(surroundings(true))
        .talk(visit.talk())
        .body(visit.body())
}
#[test]
fn a_clean_witness_turns_to_the_servers_side() {
    let finding = judge(&visited(masked(), &Visit::default()).measurements);
    assert_eq!(
        (finding.verdict, finding.location.class),
        (Verdict::Interference, L::ServerEdge)
    );
    assert!(finding.location.probability > 0.9, "{:?}", finding.location);
    let witness = finding.witness.expect("a summary");
    assert_eq!(witness.standing, "signed");
    assert!(
        witness
            .to_server
            .as_ref()
            .is_some_and(|told| !told.changed && told.bytes > 20)
    );
    assert!(
        witness
            .to_client
            .is_some_and(|told| !told.changed && told.was.is_none())
    );
    assert!(
        finding
            .location
            .weighed
            .iter()
            .any(|one| (one.group, one.observation) == ("G3", "witness-clean"))
    );
}

#[test]
fn a_tampered_witness_turns_to_this_side_and_names_nobody_without_hops() {
    let finding = judge(&visited(masked(), &Visit::masked()).measurements);
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::CapabilityMasked))
    );
    assert!(
        finding.location.posterior["server-edge"] < 0.15,
        "{:?}",
        finding.location
    );
    let witness = finding.witness.unwrap();
    let (up, down) = (witness.to_server.unwrap(), witness.to_client.unwrap());
    assert_eq!(
        (up.was.as_deref(), up.became.as_deref()),
        (Some("STARTTLS"), Some("XXXXXXXX"))
    );
    assert_eq!(
        (down.was.as_deref(), down.became.as_deref()),
        (Some("STARTTLS"), Some("XXXXXXXA"))
    );
    assert!(
        finding
            .evidence
            .iter()
            .any(|one| one.claim.contains("signed report"))
    );
    for class in ["transit", "access-network", "local-network", "this-host"] {
        assert!(finding.location.posterior[class] <= 0.8 + 1e-3);
    }
}

#[test]
fn it_overturns_a_refusal_that_looks_like_the_servers() {
    assert_ne!(judge(&plain().measurements).verdict, Verdict::Interference);
    let removed = Visit {
        heard: replaced(&Visit::default().offered, "250-STARTTLS\r\n", ""),
        ..Visit::default()
    };
    let finding = judge(&visited(plain(), &removed).measurements);
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::CapabilityRemoved)),
        "{finding:#?}"
    );
    // A box that overwrites would have left its marks in this list too.
    assert_ne!(
        judge(&visited(plain(), &Visit::masked()).measurements).verdict,
        Verdict::Interference
    );
    // Not where the server itself says no.
    let finding = judge(&visited(honest(), &Visit::masked()).measurements);
    assert_eq!(finding.verdict, Verdict::Server);
}

#[test]
fn each_direction_is_told_apart() {
    let both = Visit::masked();
    let to_client = Visit {
        received: Visit::default().received,
        ..Visit::masked()
    };
    let finding = judge(&visited(masked(), &to_client).measurements);
    let witness = finding.witness.unwrap();
    assert!(!witness.to_server.unwrap().changed && witness.to_client.unwrap().changed);
    let to_server = Visit {
        heard: Visit::default().heard,
        ..both
    };
    let witness = judge(&visited(masked(), &to_server).measurements)
        .witness
        .unwrap();
    assert!(witness.to_server.unwrap().changed && !witness.to_client.unwrap().changed);
}

#[test]
fn tls_with_the_witness_may_end_at_somebody_else_or_die() {
    use hoofbeat_observation::{HandshakeOutcome, InvalidReason};
    let visit = Visit::default();
    let mut report = visit.body();
    let Body::Witness(signed) = &mut report else {
        unreachable!()
    };
    let told = signed.report.as_mut().unwrap();
    let mut inner = told.read().unwrap();
    // SHA-256 of the leaf that `scene::certificate` makes for key 1: DER 30 01.
    inner.certificate = Some("e8b8f9f6a7b3d9a2".into());
    told.bytes = serde_json::to_vec(&inner).unwrap();
    let bad = || {
        Scene::new().talk(inside(postfix().starttls(GO).invalid(
            InvalidReason::UnknownIssuer,
            "CN=Some CA",
            9,
        )))
    };
    let other = bad()
        .body(surroundings(true))
        .talk(
            visit
                .talk()
                .invalid(InvalidReason::UnknownIssuer, "CN=Some CA", 9),
        )
        .body(report);
    let finding = judge(&other.measurements);
    assert!(
        weighs(&finding, "witness-tampered"),
        "{:?}",
        finding.location
    );
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::TlsIntercepted)),
        "{finding:#?}"
    );
    // Cut with the witness too.
    let reset = || postfix().starttls(GO).dies(HandshakeOutcome::Reset);
    let scene = || {
        Scene::new()
            .talk(reset())
            .talk(reset().variation(hoofbeat_observation::Variation::Repeat))
    };
    let cut = scene()
        .body(surroundings(true))
        .talk(visit.talk().dies(HandshakeOutcome::Reset))
        .body(visit.body());
    let (before, after) = (judge(&scene().measurements), judge(&cut.measurements));
    assert!(weighs(&after, "witness-tampered"));
    assert!(
        after
            .location
            .posterior
            .get("server-edge")
            .copied()
            .unwrap_or(0.0)
            < 0.1,
        "{:?} {:?}",
        before.location,
        after.location
    );
}

#[test]
fn a_session_cut_short_is_neither_clean_nor_tampered() {
    let mut visit = Visit::default();
    visit.received.truncate(20);
    let finding = judge(&visited(masked(), &visit).measurements);
    assert!(!weighs(&finding, "witness-clean") && !weighs(&finding, "witness-tampered"));
    assert!(
        finding
            .witness
            .unwrap()
            .notes
            .iter()
            .any(|note| note.contains("cannot be told"))
    );
}

#[test]
fn bad_reports_count_for_nothing_and_are_named() {
    let before = judge(
        &masked()
            .body(surroundings(true))
            .talk(Visit::masked().talk())
            .measurements,
    );
    for (standing, word) in [
        (Standing::Unchecked, "unchecked"),
        (Standing::Absent, "absent"),
        (Standing::WrongKey, "wrong-key"),
        (Standing::Forged, "forged"),
        (Standing::CutOff, "cut-off"),
        (Standing::OtherSession, "other-session"),
    ] {
        let finding = judge(
            &visited(
                masked(),
                &Visit {
                    standing,
                    ..Visit::masked()
                },
            )
            .measurements,
        );
        assert_eq!(finding.witness.as_ref().unwrap().standing, word);
        assert!(finding.witness.as_ref().unwrap().to_client.is_none());
        assert!(
            finding
                .not_run
                .iter()
                .any(|test| test.test == "witness" && test.why.contains("counts for nothing"))
        );
        assert_eq!(
            (
                &finding.verdict,
                finding.confidence,
                &finding.location.posterior
            ),
            (
                &before.verdict,
                before.confidence,
                &before.location.posterior
            )
        );
        assert_eq!(
            (&finding.evidence, finding.location.class),
            (&before.evidence, before.location.class)
        );
    }
    // A right signature under another session or nonce, marked as signed by mistake.
    let visit = Visit::masked();
    let mut scene = visited(masked(), &visit);
    for measurement in &mut scene.measurements {
        if let Body::Witness(visit) = &mut measurement.body {
            visit.nonce = "beef".into();
        }
    }
    let finding = judge(&scene.measurements);
    assert!(!weighs(&finding, "witness-tampered") && finding.witness.unwrap().to_server.is_none());
}

#[test]
fn the_witness_may_not_have_been_reached() {
    // Nothing of ours arrived, and yet somebody answered as a server does.
    let visit = Visit {
        reached: false,
        ..Visit::default()
    };
    let finding = judge(&visited(masked(), &visit).measurements);
    assert!(weighs(&finding, "witness-tampered"));
    assert!(
        finding
            .evidence
            .iter()
            .any(|one| one.claim.contains("never saw this connection"))
    );
    // The port does not answer at all.
    let closed = Scene::new()
        .talk(Talk::smtp().refused(FailureKind::TimedOut))
        .body(surroundings(true))
        .talk(
            visit
                .talk()
                .refused(FailureKind::TimedOut)
                .tweak(|dialogue| dialogue.transcript.chunks.clear()),
        )
        .body(visit.body());
    let finding = judge(&closed.measurements);
    assert_eq!(finding.verdict, Verdict::Unreachable);
    // With a control that is closed too, it is two servers that are known to be open.
    let shut = |n: u8| {
        Talk::to(control_service(Scheme::Smtp, n))
            .role(control(&format!("provider {n}")))
            .refused(FailureKind::TimedOut)
    };
    let finding = judge(&closed.talk(shut(1)).measurements);
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::PortBlocked)),
        "{finding:#?}"
    );
    // A witness that answers on this port, or whose report nobody believes, turns it into the servers' own matter.
    for visit in [
        Visit::default(),
        Visit {
            reached: false,
            standing: Standing::Forged,
            ..Visit::default()
        },
    ] {
        let scene = visited(
            Scene::new()
                .talk(Talk::smtp().refused(FailureKind::TimedOut))
                .talk(shut(1)),
            &visit,
        );
        assert_eq!(judge(&scene.measurements).verdict, Verdict::Unreachable);
    }
}

/// A clean visit, and another one in which the witness only looked.
fn looked(scene: Scene, look: &Visit) -> Scene {
    visited(scene, &Visit::default()).body(look.body())
}

#[test]
fn what_the_witness_meets_itself_is_another_networks_word() {
    let elsewhere = "198.18.5.9";
    // The server refuses us in its own words: it has no TLS, or not for us.
    let alone = judge(&visited(honest(), &Visit::default()).measurements);
    assert_eq!(
        (alone.verdict, alone.location.class),
        (Verdict::Server, L::Server)
    );
    let look = Visit::looking(clean(), elsewhere);
    let hidden = judge(&looked(honest(), &look).measurements);
    assert_eq!(
        (hidden.verdict, hidden.mechanism, hidden.location.class),
        (Verdict::Server, Some(M::HiddenFromUs), L::ServerPolicy),
        "{hidden:#?}"
    );
    let from_look = hidden
        .evidence
        .iter()
        .find(|one| one.claim == "from the witness w.example, TLS comes up")
        .expect("the look is cited");
    let notes = hidden.witness.as_ref().map(|witness| &witness.notes);
    assert!(notes.is_some_and(|notes| notes.contains(&from_look.claim)));
    // What is cited is the signed report, whose own steps are not this archive's.
    assert_eq!((from_look.step, from_look.bytes), (None, None));
    // Nobody is offered it: then it is the server.
    let stripped = || {
        Talk::smtp()
            .greets(GREETING)
            .ehlo(&postfix_without())
            .quit(BYE)
    };
    let look = Visit::looking(stripped(), elsewhere);
    let nobody = judge(&looked(honest(), &look).measurements);
    assert_eq!(nobody.location.class, L::Server);
    assert!(weighs(&nobody, "few-vantages-stripped"));
}

#[test]
fn a_look_says_nothing_of_the_connections_of_another_session() {
    // Its report holds none of them, and that is no sign of a proxy.
    for scene in [honest, masked, plain] {
        let before = judge(&visited(scene(), &Visit::default()).measurements);
        let look = Visit::looking(Talk::smtp().greets("421 busy"), "198.18.5.9");
        let with = judge(&looked(scene(), &look).measurements);
        assert!(weighs(&with, "witness-clean"), "{with:#?}");
        assert_eq!(
            (with.verdict, with.mechanism, with.location),
            (before.verdict, before.mechanism, before.location)
        );
        assert_eq!(with.witness, before.witness);
    }
}

#[test]
fn looks_that_count_for_nothing_say_why() {
    let judged = |look: &Visit| judge(&looked(honest(), look).measurements);
    let why = |finding: &Finding| {
        let not_run = finding.not_run.iter();
        let mut whys = not_run.filter(|one| one.test == "vantages");
        whys.next().map(|one| one.why.clone()).unwrap_or_default()
    };
    let elsewhere = "198.18.5.9";
    for (look, words) in [
        (
            Visit::looking(Talk::smtp().refused(FailureKind::TimedOut), elsewhere),
            "hosters close mail ports",
        ),
        (
            Visit::looking(clean(), "198.18.1.77"),
            "stands in this network",
        ),
        (
            Visit::looking(Talk::smtp().greets("421 busy"), elsewhere),
            "neither an offer",
        ),
    ] {
        let finding = judged(&look);
        assert_eq!(finding.location.class, L::Server);
        assert!(why(&finding).contains(words), "{}", why(&finding));
    }
    let forged = Visit {
        standing: Standing::Forged,
        ..Visit::looking(clean(), elsewhere)
    };
    assert_eq!(judged(&forged).location.class, L::Server);
    // Another server's is nothing to this one.
    let other = Visit::looking(
        Talk::to(service(Scheme::Smtp, "mx.example.net"))
            .greets(GREETING)
            .ehlo(POSTFIX),
        elsewhere,
    );
    assert!(!weighs(&judged(&other), "few-vantages-clean"));
}

#[test]
fn the_way_back_places_a_box_that_only_masks_lists() {
    // Hop 3 from the witness receives the list changed: the second of our provider's routers, or the link to it.
    let visit = Visit {
        trace: Some(backward(Some(3))),
        received: Visit::default().received,
        ..Visit::masked()
    };
    let hidden = Scene::new()
        .talk(Talk::smtp().greets(GREETING).ehlo(&postfix_without()))
        .talk(inside(
            differential(GREETING, &postfix_without())
                .starttls(GO)
                .verified(),
        ));
    let finding = judge(&visited(hidden, &visit).measurements);
    assert_eq!(finding.verdict, Verdict::Interference);
    assert!(weighs(&finding, "reply-quote-changed"));
    let segment = finding.location.segment.expect("in our numbers");
    assert_eq!((segment.after_hop, segment.up_to_hop), (2, 3));
    let path = finding.path.as_ref().expect("the witness's path");
    assert_eq!(
        (path.hops.len(), path.hops[1].changed, path.hops[2].changed),
        (4, Some(false), Some(true))
    );
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(json["direction"], "to-client");
}

#[test]
fn a_list_that_arrives_whole_places_no_forged_refusal() {
    // The witness's list is whole at every hop; what differs is the reply to STARTTLS, or the list's last way to us.
    let placed = |from: &str, to: &str| {
        let visit = Visit {
            heard: replaced(&Visit::default().offered, from, to),
            trace: Some(backward(None)),
            ..Visit::default()
        };
        let heard = visit.heard.clone();
        let talk = visit.talk().starttls("220 go").tweak(|dialogue| {
            dialogue.transcript = transcript(&visit.sent, &heard);
            let length = heard.len() as u64;
            let reply = dialogue.exchanges.last_mut().unwrap();
            reply.received = ByteRange {
                from: length - 8,
                to: length,
            };
        });
        let scene = masked().body(surroundings(true)).talk(talk);
        let finding = judge(&scene.body(visit.body()).measurements);
        assert!(weighs(&finding, "witness-tampered"), "{finding:#?}");
        weighs(&finding, "reply-quote-changed")
    };
    assert!(!placed("220 go", "500 no"));
    assert!(placed("STARTTLS", "XXXXXXXA"));
}

#[test]
fn both_ways_together_name_the_node_where_they_meet() {
    // Forward the change shows at hop 3, so behind hop 2's TTL check; backward between our hops 1 and 2: hop 2 does both.
    let visit = Visit {
        trace: Some(backward(Some(4))),
        ..Visit::masked()
    };
    let scene = visited(masked(), &visit).body(Body::Trace(Road::changed_at(3).sweep()));
    let finding = judge(&scene.measurements);
    assert_eq!(
        finding.location.class,
        L::AccessNetwork,
        "{:?}",
        finding.location
    );
    // Hops and a signed witness agree: the cap of a single vantage falls.
    assert!(finding.location.probability > 0.9, "{:?}", finding.location);
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(json["paths"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (
            &json["paths"][0]["direction"],
            &json["paths"][1]["direction"]
        ),
        (&"to-server".into(), &"to-client".into())
    );
    // On a border the way back tells whose it is: the home router, which is hop 1 and does both.
    let forward = || Body::Trace(Road::changed_at(2).sweep());
    let border = judge(
        &visited(masked(), &Visit::masked())
            .body(forward())
            .measurements,
    );
    assert!(border.location.probability < 0.8, "{:?}", border.location);
    let mut back = backward(Some(4));
    // No router on the way back receives it changed any more: it happens behind the last one, in our own network.
    back.probes.retain(|probe| probe.ttl < 4);
    let visit = Visit {
        trace: Some(back),
        ..Visit::masked()
    };
    let pinned = judge(&visited(masked(), &visit).body(forward()).measurements);
    assert!(
        pinned.location.probability < 0.8,
        "nothing changed at a hop that was asked: {:?}",
        pinned.location
    );
}

#[test]
fn a_box_in_front_of_the_witness_is_not_ours() {
    let visit = Visit {
        trace: Some(backward(Some(1))),
        ..Visit::masked()
    };
    let finding = judge(&visited(plain(), &visit).measurements);
    assert!(
        !weighs(&finding, "witness-tampered"),
        "{:?}",
        finding.location
    );
    assert_ne!(finding.verdict, Verdict::Interference);
}

#[test]
fn errands_are_told_and_decide_nothing() {
    let visit = Visit::default();
    let mut scene = visited(honest(), &visit);
    let before = judge(&scene.measurements);
    let request = b"GET /h-1 HTTP/1.1\r\nHost: w.example\r\n\r\n";
    let arrived = b"GET /h-1 HTTP/1.1\r\nHost: w.example\r\nX-UIDH: OTgx\r\n\r\n";
    let errand = |token: &str, service, name: Option<&str>, done| Errand {
        token: token.into(),
        service,
        server_name: name.map(Into::into),
        remote: "198.18.5.9:80".into(),
        transcript: transcript(request, b""),
        tls_completed: done,
        certificate: None,
        failure: None,
    };
    for measurement in &mut scene.measurements {
        let Body::Witness(visit) = &mut measurement.body else {
            continue;
        };
        visit.errands = vec![
            errand("h-1", WitnessService::Http, None, None),
            errand("n-1", WitnessService::Tls, Some("ok.example"), Some(true)),
            errand(
                "n-2",
                WitnessService::Tls,
                Some("blocked.example"),
                Some(false),
            ),
        ];
        let signed = visit.report.as_mut().unwrap();
        let mut report = signed.read().unwrap();
        let mut http = report.connections[0].clone();
        http.token = Some("h-1".into());
        http.service = WitnessService::Http;
        http.port = 80;
        http.transcript = transcript(arrived, b"");
        report.connections.push(http);
        *signed = SignedReport {
            bytes: serde_json::to_vec(&report).unwrap(),
            ..signed.clone()
        };
    }
    let finding = judge(&scene.measurements);
    let witness = finding.witness.as_ref().unwrap();
    assert_eq!(
        (
            witness.http_inserted.as_slice(),
            witness.blocked_names.as_slice()
        ),
        (
            &["X-UIDH: OTgx".to_string()][..],
            &["blocked.example".to_string()][..]
        )
    );
    assert_eq!(
        (finding.verdict, finding.location.posterior),
        (before.verdict, before.location.posterior)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Reports of any bytes, however marked: no panic; and unsigned they change nothing.
    #[test]
    fn arbitrary_reports_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<u16>(), signed in any::<bool>()) {
        let mut scene = visited(honest(), &Visit { trace: Some(backward(Some(3))), ..Visit::masked() });
        let before = judge(&honest().body(surroundings(true)).measurements);
        for measurement in &mut scene.measurements {
            if let Body::Witness(visit) = &mut measurement.body {
                visit.standing = if signed { Standing::Signed } else { Standing::Forged };
                let report = visit.report.as_mut().unwrap();
                if at % 2 == 0 {
                    report.bytes = bytes.clone();
                } else {
                    for (n, byte) in bytes.iter().enumerate() {
                        let length = report.bytes.len();
                        report.bytes[(usize::from(at) * 7 + n * 13) % length] = *byte;
                    }
                }
            }
        }
        let finding = judge(&scene.measurements);
        if !signed {
            prop_assert_eq!((finding.verdict, finding.location.posterior), (before.verdict, before.location.posterior));
        } else {
            prop_assert!(finding.verdict != Verdict::Interference);
        }
    }
}
