//! Bundles as somebody gets them who was not there: what is checked, what is noticed, what is kept to oneself.
//! Everything is measured on loopback against the lab (docs/diagnosis-v1.md, "Archives and bundles").

use hoofbeat::bundle::{
    self, Addresses, Header, Judged, Shortener, Writer, bundle_hash, line_hash,
};
use hoofbeat_diagnosis::{Case, Settings, diagnose};
use hoofbeat_lab::{Background, Scenario};
use hoofbeat_observation::{
    Body, Capture, Measurement, Side, SignedReport, Standing, Vantage, WitnessVisit, archive,
};
use hoofbeat_session::Elapsed;
use serde_json::Value;
use std::{
    net::IpAddr,
    path::Path,
    process::{Command, Output, Stdio},
};

fn hoofbeat(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hoofbeat"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The bundle of one check of a lab scenario, and the document that the check printed.
fn measured(id: &str, folder: &Path, options: &[&str]) -> (String, Value) {
    let lab = Background::start(Scenario::by_id(id).unwrap(), None, None).unwrap();
    let ca = folder.join("ca.pem").display().to_string();
    std::fs::write(&ca, &lab.ca_pem).unwrap();
    let file = folder.join(format!("{id}.jsonl")).display().to_string();
    let (url, control) = (lab.url(), lab.control_url());
    let mut arguments = vec!["check", "--json", "--ca", &ca, "--control", &control];
    arguments.extend(["--archive", &file]);
    arguments.extend(options);
    arguments.push(&url);
    let output = hoofbeat(&arguments);
    assert!(output.stderr.is_empty(), "{output:?}");
    (file, serde_json::from_slice(&output.stdout).unwrap())
}

fn verified(file: &str) -> (i32, Value) {
    let output = hoofbeat(&["verify", "--json", file]);
    let document =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    (status(&output), document)
}

/// The names of the checks that do not hold.
fn broken(document: &Value) -> Vec<&str> {
    let checks = document["checks"].as_array().unwrap();
    checks
        .iter()
        .filter(|check| check["holds"] == false)
        .map(|check| check["name"].as_str().unwrap())
        .collect()
}

#[test]
fn a_bundle_is_verified_and_explained_to_the_same_verdict() {
    let folder = tempfile::tempdir().unwrap();
    for id in ["cisco-asa-gen2", "clean-postfix"] {
        let (file, live) = measured(id, folder.path(), &["--vantage", "laptop@cafe"]);
        let (exit, document) = verified(&file);
        assert_eq!(
            (exit, broken(&document).len()),
            (0, 0),
            "{id}: {document:#}"
        );
        assert_eq!(document["addresses"], "shortened");
        assert!(document["unknowable"].as_array().unwrap().len() >= 3);
        let text = std::fs::read_to_string(&file).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["schema"], "hoofbeat.bundle/1");
        assert_eq!(first["settings"]["command"], "check");
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["schema"], "hoofbeat.manifest/1");
        assert_eq!(last["bundle"], document["bundle"]);
        assert_eq!(last["verdicts"][0]["verdict"], live["overall"]["verdict"]);
        let again = hoofbeat(&["explain", "--json", &file]);
        let again: Value = serde_json::from_slice(&again.stdout).unwrap();
        assert_eq!(again["overall"], live["overall"], "{id}");
        assert_eq!(again["vantage"], live["vantage"], "{id}");
        assert_eq!(again["vantage"]["network"], "cafe", "{id}");
    }
}

#[test]
fn whatever_was_done_to_it_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = measured("cisco-asa-gen2", folder.path(), &[]);
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = lines.len() - 1;
    assert!(lines.len() > 4, "{}", lines.len());
    type Change = (
        &'static str,
        fn(&mut Vec<String>),
        &'static [&'static str],
        &'static str,
    );
    let changes: [Change; 7] = [
        (
            "one word changed",
            |lines| lines[1] = lines[1].replacen("XXXXXXXA", "STARTTLS", 1),
            &["lines", "hash"],
            "line 2 was changed",
        ),
        (
            "a line removed",
            |lines| drop(lines.remove(2)),
            &["lines", "hash", "verdict"],
            "line 3 of the manifest is missing",
        ),
        (
            "two lines moved",
            |lines| lines.swap(1, 2),
            &["lines", "hash", "verdict"],
            "another order",
        ),
        (
            "a line added",
            |lines| {
                let more = lines[1].replacen("\"id\":\"m", "\"id\":\"m9", 1);
                lines.insert(2, more);
            },
            &["lines", "hash", "verdict"],
            "not in the manifest",
        ),
        (
            "a line said twice",
            |lines| lines.insert(2, lines[1].clone()),
            &["lines", "hash", "ids", "verdict"],
            "stands there twice",
        ),
        (
            "cut off",
            |lines| drop(lines.pop()),
            &["whole"],
            "there is no manifest",
        ),
        (
            "something behind it",
            |lines| lines.push(lines[1].clone()),
            &["whole"],
            "behind the manifest",
        ),
    ];
    for (what, change, names, sentence) in changes {
        let mut changed = lines.clone();
        change(&mut changed);
        assert_ne!(changed, lines, "{what}");
        let path = folder.path().join("changed.jsonl").display().to_string();
        std::fs::write(&path, changed.join("\n") + "\n").unwrap();
        let (exit, document) = verified(&path);
        assert_eq!(exit, 1, "{what}: {document:#}");
        for name in names {
            assert!(
                broken(&document).contains(name),
                "{what}: {name} in {document:#}"
            );
        }
        assert!(
            document.to_string().contains(sentence),
            "{what}: {document:#}"
        );
    }
    // Whoever changes a verdict and the hashes with it is contradicted by the measurements.
    let mut manifest: Value = serde_json::from_str(&lines[last]).unwrap();
    manifest["verdicts"][0]["verdict"] = "clear".into();
    manifest["verdicts"][0]["findings"][0]["verdict"] = "clear".into();
    let verdicts = manifest["verdicts"].to_string();
    let hashes: Vec<String> = lines[..last]
        .iter()
        .map(|l| line_hash(l.as_bytes()))
        .collect();
    let forged = format!(
        "{{\"schema\":\"hoofbeat.manifest/1\",\"lines\":{},\"bundle\":\"{}\",\"verdicts\":{verdicts}}}",
        serde_json::to_string(&hashes).unwrap(),
        bundle_hash(hashes.iter().map(String::as_str), &verdicts),
    );
    let path = folder.path().join("forged.jsonl").display().to_string();
    std::fs::write(&path, lines[..last].join("\n") + "\n" + &forged + "\n").unwrap();
    let (exit, document) = verified(&path);
    assert_eq!(
        (exit, broken(&document)),
        (1, vec!["verdict"]),
        "{document:#}"
    );
}

#[test]
fn plain_archives_stay_readable_and_are_no_bundles() {
    let folder = tempfile::tempdir().unwrap();
    let (file, live) = measured("cisco-asa-gen2", folder.path(), &["--full-addresses"]);
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let plain = folder.path().join("plain.jsonl").display().to_string();
    std::fs::write(&plain, lines[1..lines.len() - 1].join("\n")).unwrap();
    let again: Value =
        serde_json::from_slice(&hoofbeat(&["explain", "--json", &plain]).stdout).unwrap();
    assert_eq!(again["overall"], live["overall"]);
    let prose = folder.path().join("prose.txt").display().to_string();
    std::fs::write(&prose, "Dear all,\n").unwrap();
    let absent = folder.path().join("absent").display().to_string();
    for file in [&plain, &prose, &absent] {
        let output = hoofbeat(&["verify", file]);
        assert_eq!(status(&output), 3, "{file}: {output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(file.as_str()),
            "{output:?}"
        );
        assert!(output.stdout.is_empty());
    }
}

/// A measurement of the lab as if it had been made over a network: the client is 100.9.8.7, the server 198.51.100.25.
fn over_a_network(line: &str) -> Measurement {
    fn walk(value: &mut Value) {
        match value {
            Value::String(text) => *text = text.replace("127.0.0.1", "100.9.8.7"),
            Value::Array(items) => items.iter_mut().for_each(walk),
            Value::Object(members) => {
                for (name, member) in members {
                    if name == "service" || name == "target" {
                        let server = member.to_string().replace("127.0.0.1", "198.51.100.25");
                        *member = serde_json::from_str(&server).unwrap();
                    } else if name != "handshake" {
                        walk(member);
                    }
                }
            }
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_str(line).unwrap();
    walk(&mut value);
    serde_json::from_value(value).unwrap()
}

fn judged(target: &str, measurements: &[Measurement]) -> Judged {
    let settings = Settings {
        now: 1_795_000_000,
        ..Settings::default()
    };
    let diagnosis = diagnose(&Case {
        target,
        measurements,
        settings: settings.clone(),
        elsewhere: Vec::new(),
    });
    Judged::of(target, measurements, &diagnosis, &settings)
}

fn written(measurements: &[Measurement], judged: Judged, addresses: Addresses) -> (Vec<u8>, bool) {
    let header = Header::new(
        "hoofbeat test",
        Value::Null,
        "2026-11-22T00:00:00Z".into(),
        addresses,
    );
    let mut file = Vec::new();
    let mut writer = Writer::begin(&mut file, &header).unwrap();
    let same = writer.keep(measurements, judged).unwrap();
    writer.finish().unwrap();
    (file, same)
}

#[test]
fn shortened_addresses_change_no_verdict_and_do_not_survive() {
    let folder = tempfile::tempdir().unwrap();
    for id in [
        "cisco-asa-gen2",
        "untangle-spam-blocker",
        "norton-2002",
        "clean-exim",
        "clean-sendmail",
        "no-tls-postfix",
        "clean-imap",
    ] {
        let (file, _) = measured(id, folder.path(), &["--full-addresses"]);
        let text = std::fs::read_to_string(file).unwrap();
        let measurements: Vec<Measurement> = text
            .lines()
            .filter(|line| archive::read(line.as_bytes()).is_ok())
            .map(over_a_network)
            .collect();
        let target = measurements[0].target.clone();
        let conclusion = judged(&target, &measurements);
        let (full, _) = written(&measurements, conclusion.clone(), Addresses::Full);
        // IMAP has no word in which a client names itself.
        let greets = !id.ends_with("imap");
        let full = String::from_utf8_lossy(&full);
        assert!(full.contains("\"local\":\"100.9.8.7:"), "{id}");
        assert_eq!(full.contains("[100.9.8.7]"), greets, "{id}");
        let (short, same) = written(&measurements, conclusion.clone(), Addresses::Shortened);
        assert!(same, "{id}: judged otherwise");
        let bundle = bundle::read(short.as_slice()).unwrap();
        let kept: Vec<Measurement> = bundle.measurements().cloned().collect();
        assert_eq!(conclusion.again(&kept), conclusion, "{id}");
        let short = String::from_utf8_lossy(&short);
        assert!(!short.contains("100.9.8.7"), "{id}");
        assert!(short.contains("\"local\":\"100.9.8.0:"), "{id}");
        assert_eq!(short.contains("[100.9.8.0]"), greets, "{id}");
    }
}

fn around(body: Body, id: &str) -> Measurement {
    Measurement {
        schema: archive::SCHEMA.to_owned(),
        id: id.to_owned(),
        tool: "hoofbeat test".to_owned(),
        target: "mx.example.org".to_owned(),
        started: 1_795_000_000,
        vantage: Vantage::default(),
        body,
    }
}

fn visit(key: &str) -> WitnessVisit {
    WitnessVisit {
        host: "witness.example".to_owned(),
        pinned: None,
        session: "s1".to_owned(),
        nonce: "00".to_owned(),
        errands: Vec::new(),
        report: Some(SignedReport {
            bytes: b"{}".to_vec(),
            signature: "c2lnbmF0dXJl".to_owned(),
            key: key.to_owned(),
        }),
        failure: None,
        started: Elapsed::default(),
        ended: Elapsed::default(),
        standing: Standing::Unchecked,
    }
}

#[test]
fn a_signature_that_does_not_hold_and_a_foreign_key_are_noticed() {
    let measurements = [around(Body::Witness(visit("a2V5")), "m1")];
    let (file, _) = written(
        &measurements,
        judged("mx.example.org", &measurements),
        Addresses::Full,
    );
    let bundle = bundle::read(file.as_slice()).unwrap();
    let with = |standing: Standing, named: Option<&dyn Fn(&str) -> bool>| {
        let verification = bundle::verify(&bundle, &|visit| visit.standing = standing, named);
        let check = verification
            .checks
            .iter()
            .find(|c| c.name == "witness")
            .unwrap();
        assert_eq!(verification.holds, check.holds, "{verification:#?}");
        check.holds
    };
    assert!(with(Standing::Signed, None));
    assert!(with(Standing::Signed, Some(&|key| key == "a2V5")));
    assert!(!with(Standing::Signed, Some(&|key| key == "b3RoZXI=")));
    for standing in [
        Standing::Unchecked,
        Standing::Forged,
        Standing::WrongKey,
        Standing::CutOff,
        Standing::OtherSession,
    ] {
        assert!(!with(standing, None), "{standing:?}");
    }
    // Nobody's signature, as the program itself sees it.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("visit.jsonl").display().to_string();
    std::fs::write(&path, file).unwrap();
    let (exit, document) = verified(&path);
    assert_eq!(
        (exit, broken(&document)),
        (1, vec!["witness"]),
        "{document:#}"
    );
}

/// A visit whose report is really signed, and the key as its operator would publish it.
fn signed_visit() -> (WitnessVisit, String) {
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let report = hoofbeat_observation::Report {
        schema: hoofbeat_observation::witness::REPORT_SCHEMA.to_owned(),
        tool: "hoofbeat test".to_owned(),
        session: "s1".to_owned(),
        nonce: "00".to_owned(),
        started: 1_795_000_000,
        client: "192.0.2.0".parse().unwrap(),
        shortened: true,
        statement: "a test".to_owned(),
        certificate: Default::default(),
        connections: Vec::new(),
        dropped: 0,
        looks_elsewhere: false,
        looks: Vec::new(),
    };
    let bytes = serde_json::to_vec(&report).unwrap();
    let signed = [b"hoofbeat witness report\0".as_slice(), &bytes].concat();
    let mut visit = visit(&STANDARD.encode(pair.public_key()));
    visit.report = Some(SignedReport {
        signature: STANDARD.encode(pair.sign(&signed)),
        key: STANDARD.encode(pair.public_key()),
        bytes,
    });
    (visit, URL_SAFE_NO_PAD.encode(pair.public_key()))
}

#[test]
fn a_real_signature_is_checked_against_the_named_key() {
    let folder = tempfile::tempdir().unwrap();
    let (visit, key) = signed_visit();
    let path = folder.path().join("visit.jsonl").display().to_string();
    let check = |visit: &WitnessVisit, options: &[&str]| {
        let measurements = [around(Body::Witness(visit.clone()), "m1")];
        let (file, _) = written(
            &measurements,
            judged("mx.example.org", &measurements),
            Addresses::Shortened,
        );
        std::fs::write(&path, file).unwrap();
        let mut arguments = vec!["verify"];
        arguments.extend(options);
        arguments.push(&path);
        let output = hoofbeat(&arguments);
        (
            status(&output),
            stdout(&output).replace("\n                   ", " "),
        )
    };
    let (exit, text) = check(&visit, &[]);
    assert_eq!(exit, 0, "{text}");
    assert!(
        text.contains(&format!("is signed by {key}")) && text.contains("with --key"),
        "{text}"
    );
    let (exit, text) = check(&visit, &["--key", &key]);
    assert_eq!(exit, 0, "{text}");
    let other = "A".repeat(43);
    let (exit, text) = check(&visit, &["--key", &other]);
    assert!(
        exit == 1 && text.contains("no key that was named"),
        "{text}"
    );
    let changed = |change: fn(&mut SignedReport)| {
        let mut visit = visit.clone();
        change(visit.report.as_mut().unwrap());
        visit
    };
    for (change, sentence) in [
        (
            (|report| report.bytes[30] ^= 1) as fn(&mut SignedReport),
            "does not belong to it",
        ),
        (|report| report.bytes.truncate(40), "is cut off"),
    ] {
        let (exit, text) = check(&changed(change), &[]);
        assert!(exit == 1 && text.contains(sentence), "{text}");
    }
    let mut elsewhere = visit.clone();
    elsewhere.nonce = "11".to_owned();
    let (exit, text) = check(&elsewhere, &[]);
    assert!(exit == 1 && text.contains("another session"), "{text}");
    let mut pinned = visit.clone();
    pinned.pinned = Some("AAAA".to_owned());
    let (exit, text) = check(&pinned, &[]);
    assert!(
        exit == 1 && text.contains("another key than the expected"),
        "{text}"
    );
}

#[test]
fn captures_and_reports_are_written_out_and_nothing_is_overwritten() {
    let capture = Capture {
        by: Side::Client,
        packets: 0,
        dropped: 0,
        cut: false,
        pcapng: vec![0x0a, 0x0d, 0x0d, 0x0a, 0xff],
    };
    let measurements = [
        around(Body::Capture(capture.clone()), "m1"),
        around(Body::Capture(capture), "../m2"),
        around(Body::Witness(visit("a2V5")), "m3"),
    ];
    let (file, _) = written(
        &measurements,
        judged("mx.example.org", &measurements),
        Addresses::Full,
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.jsonl").display().to_string();
    std::fs::write(&path, file).unwrap();
    let into = folder.path().join("out");
    let extract = || hoofbeat(&["verify", "--extract", &into.display().to_string(), &path]);
    let output = extract();
    assert_eq!(status(&output), 1, "the signature is nobody's: {output:?}");
    assert!(stdout(&output).contains("Written:"), "{output:?}");
    let mut names: Vec<String> = std::fs::read_dir(&into)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "line-3.pcapng",
            "m1.pcapng",
            "m3.report.json",
            "m3.report.key",
            "m3.report.sig"
        ]
    );
    assert_eq!(std::fs::read(into.join("m1.pcapng")).unwrap().len(), 5);
    let again = extract();
    assert_eq!(status(&again), 3, "{again:?}");
}

#[test]
fn a_shortener_spares_the_servers_and_loopback() {
    let own = ["192.0.2.5", "127.0.0.1"].map(|a| a.parse().unwrap());
    let surroundings = hoofbeat_observation::Surroundings {
        own: own.iter().map(|address| (*address, 24)).collect(),
        ..Default::default()
    };
    let shortener = Shortener::of(&[around(Body::Surroundings(surroundings), "m1")]);
    for (address, wanted) in [
        ("192.0.2.5", "192.0.2.0"),
        ("192.0.2.6", "192.0.2.6"),
        ("127.0.0.1", "127.0.0.1"),
        ("10.1.2.3", "10.1.2.0"),
        ("fe80::1:2", "fe80::"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        let short = shortener.address(address.parse().unwrap());
        assert_eq!(short.to_string(), wanted);
    }
}

/// SYNs that expired at these hops.
fn trace(hops: &[(u8, &str)]) -> Body {
    use hoofbeat_observation::{
        Answer, Answered, Engine, Method, Payload, Probe, Role, Scheme, Service, Trace,
    };
    use hoofbeat_session::Direction;
    let probes = hops.iter().map(|(ttl, from)| Probe {
        ttl: *ttl,
        source_port: 40_000,
        payload: Payload::None,
        sent: Vec::new(),
        packet: Vec::new(),
        at: Elapsed::default(),
        restored: None,
        left: None,
        acknowledged: None,
        answers: vec![Answer {
            at: Elapsed::default(),
            ttl: None,
            what: Answered::TimeExceeded {
                from: from.parse().unwrap(),
                quote: None,
            },
        }],
    });
    Body::Trace(Trace {
        service: Service {
            scheme: Scheme::Smtp,
            host: "mx.example.org".to_owned(),
            address: "198.51.100.25".parse().ok(),
            port: 25,
        },
        role: Role::Target,
        engine: Engine::Unprivileged,
        method: Method::Syn,
        direction: Direction::ToServer,
        local: None,
        probes: probes.collect(),
        received: Vec::new(),
        started: Elapsed::default(),
        ended: Elapsed::default(),
        failure: None,
    })
}

#[test]
fn our_own_network_stays_apart_from_its_neighbours() {
    let own: Vec<(IpAddr, u8)> = [
        ("2001:db8:1:f::57", 64),
        ("203.0.113.57", 29),
        ("192.0.2.7", 24),
    ]
    .map(|(address, length)| (address.parse().unwrap(), length))
    .to_vec();
    let near: Vec<IpAddr> = [
        "2001:db8:1:f::1",
        "2001:db8:1:e::1",
        "203.0.113.62",
        "203.0.113.65",
        "192.0.2.1",
    ]
    .map(|address| address.parse().unwrap())
    .to_vec();
    let surroundings = hoofbeat_observation::Surroundings {
        own: own.clone(),
        ..Default::default()
    };
    let mut measurements = vec![around(Body::Surroundings(surroundings), "m1")];
    // Known as first hops: each answers at hop 1 of some trace.
    measurements.extend(
        near.iter()
            .map(|address| around(trace(&[(1, &address.to_string())]), "m2")),
    );
    let shortener = Shortener::of(&measurements);
    let within = |address: IpAddr, (network, length): (IpAddr, u8)| match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).leading_zeros() >= u32::from(length)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).leading_zeros() >= u32::from(length)
        }
        _ => false,
    };
    for address in near {
        let short = shortener.address(address);
        assert_ne!(short, address);
        for (network, length) in &own {
            assert_eq!(
                within(short, (shortener.address(*network), *length)),
                within(address, (*network, *length)),
                "{address} and {network}/{length}"
            );
        }
    }
}

#[test]
fn first_hops_are_those_near_the_client() {
    // The second trace begins in the middle of the path.
    let measurements = [
        around(
            trace(&[
                (1, "192.168.1.1"),
                (2, "203.0.113.1"),
                (3, "203.0.113.9"),
                (4, "8.8.4.4"),
            ]),
            "m1",
        ),
        around(trace(&[(4, "8.8.4.4"), (5, "9.9.9.9")]), "m2"),
    ];
    let shortener = Shortener::of(&measurements);
    for (address, wanted) in [
        ("192.168.1.1", "192.168.1.0"),
        ("203.0.113.1", "203.0.113.0"),
        ("203.0.113.9", "203.0.113.9"),
        ("8.8.4.4", "8.8.4.4"),
        ("9.9.9.9", "9.9.9.9"),
    ] {
        assert_eq!(
            shortener.address(address.parse().unwrap()).to_string(),
            wanted
        );
    }
    let short = shortener.measurement(&measurements[0]).unwrap();
    let text = archive::write(&short).unwrap();
    assert!(
        text.contains("\"192.168.1.0\"") && !text.contains("192.168.1.1"),
        "{text}"
    );
}
