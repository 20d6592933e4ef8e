//! `hoofbeat trace` as people meet it: the right to raw sockets, the drawn path, and a bundle that tells nobody where
//! it was measured. The network is the lab's, in Linux namespaces; without root those tests say that they are skipped,
//! and fail where `CI` is set.

use hoofbeat_lab::{Background, Scenario};
use serde_json::Value;
use std::{
    net::IpAddr,
    path::Path,
    process::{Command, Output, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hoofbeat");

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether this process may do what the test needs; where not, the reason is printed, and is a failure in CI.
fn may(what: &str, can: bool) -> bool {
    if !can {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci.is_empty()),
            "{what} is needed in CI"
        );
        eprintln!("SKIPPED: this test needs {what}");
    }
    can
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout == b"0\n")
}

/// Runs the program as somebody without any right: the tests' own user, or nobody where that is root.
fn without_rights(arguments: &[&str]) -> Option<Output> {
    if !is_root() {
        return Some(run(PROGRAM, arguments));
    }
    let folder = tempfile::tempdir().unwrap();
    // The build's folder may be closed to others.
    let copy = folder.path().join("hoofbeat");
    std::fs::copy(PROGRAM, &copy).unwrap();
    let open = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    open(folder.path());
    open(&copy);
    let copy = copy.display().to_string();
    let mut all = vec![
        "--reuid",
        "65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
        &copy,
    ];
    all.extend(arguments);
    let has_setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    may("setpriv (util-linux)", has_setpriv).then(|| run("setpriv", &all))
}

#[test]
fn without_the_right_the_raw_engine_says_how_to_give_it() {
    let Some(output) = without_rights(&["trace", "--engine", "raw", "smtp://127.0.0.1:1"]) else {
        return;
    };
    assert_eq!(status(&output), 3, "{output:?}");
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        sentence.contains("CAP_NET_RAW") && sentence.contains("setcap"),
        "{sentence}"
    );
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn without_the_right_the_automatic_engine_goes_on_and_says_so() {
    let lab = Background::start(Scenario::by_id("no-tls-postfix").unwrap(), None, None).unwrap();
    let url = lab.url();
    let Some(output) = without_rights(&["trace", "--json", "--no-controls", &url]) else {
        return;
    };
    assert_eq!(status(&output), 1, "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = &document["findings"][0];
    assert_eq!(finding["mechanism"], "not-offered");
    let not_run = finding["not_run"].as_array().unwrap();
    let told = not_run.iter().find(|test| test["test"] == "raw-engine");
    assert!(
        told.is_some_and(|test| test["why"].as_str().unwrap().contains("setcap")),
        "{finding:#}"
    );
    // Nobody sits between a computer and itself, and no place is made up.
    assert_eq!(finding["location"]["segment"], Value::Null);
}

#[test]
fn a_path_is_drawn_and_its_bundle_tells_nobody_where_it_was_measured() {
    if !may("root, for network namespaces", is_root()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.jsonl").display().to_string();
    let output = run(
        PROGRAM,
        &[
            "lab",
            "up",
            "cisco-mask-at-isp-out-none",
            "--",
            PROGRAM,
            "trace",
            "--engine",
            "raw",
            "--witness",
            "{witness}",
            "--ca",
            "{ca}",
            "--control",
            "{control}",
            "--prefixes",
            "{prefixes}",
            "--vantage",
            "laptop@home",
            "--archive",
            &file,
            "{target}",
        ],
    );
    let text = stdout(&output);
    assert_eq!(status(&output), 2, "{output:?}");
    let drawn: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("Path to the server"))
        .take_while(|line| !line.is_empty())
        .collect();
    let line = |word: &str| drawn.iter().position(|line| line.contains(word));
    let stretch = line("changed in this stretch").unwrap_or_else(|| panic!("{text}"));
    assert!(drawn[stretch - 1].contains("as sent"), "{text}");
    assert!(
        drawn[stretch + 1].contains("\"STARTTLS\" → \"XXXXXXXX\""),
        "{text}"
    );
    assert!(drawn[stretch - 1].trim_start().starts_with("2 "), "{text}");
    assert!(
        text.contains("the same at both ends"),
        "the way back is clean: {text}"
    );

    let (exit, verified) = {
        let output = run(PROGRAM, &["verify", "--json", &file]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (status(&output), document)
    };
    assert_eq!(
        (exit, &verified["holds"]),
        (0, &Value::Bool(true)),
        "{verified:#}"
    );
    let checks = verified["checks"].as_array().unwrap();
    assert!(
        checks.iter().any(|check| check["name"] == "witness"),
        "{verified:#}"
    );
    let live: Value = {
        let text = std::fs::read_to_string(&file).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    };
    let segment = &live["verdicts"][0]["findings"][0]["segment"];
    assert_eq!(*segment, serde_json::json!([2, 3]));

    // The client, its router, and the router's outer side, in every form that a bundle has.
    let bundle = hoofbeat::bundle::read(std::fs::read(&file).unwrap().as_slice()).unwrap();
    let secrets: [IpAddr; 4] = [
        "192.168.77.10",
        "192.168.77.1",
        "198.18.17.1",
        "2001:db8:4501:f::10",
    ]
    .map(|a| a.parse().unwrap());
    let mut captures = 0;
    for measurement in bundle.measurements() {
        let mut streams = vec![serde_json::to_vec(measurement).unwrap()];
        match &measurement.body {
            hoofbeat_observation::Body::Capture(capture) => {
                captures += 1;
                assert!(capture.packets > 20, "{} packets", capture.packets);
                streams.push(capture.pcapng.clone());
            }
            hoofbeat_observation::Body::Trace(trace) => {
                for probe in &trace.probes {
                    streams.push(probe.packet.clone());
                }
            }
            hoofbeat_observation::Body::Witness(visit) => {
                streams.push(visit.report.as_ref().unwrap().bytes.clone());
            }
            _ => {}
        }
        for secret in secrets {
            let octets: Vec<u8> = match secret {
                IpAddr::V4(secret) => secret.octets().into(),
                IpAddr::V6(secret) => secret.octets().into(),
            };
            let word = format!("{secret}");
            for stream in &streams {
                let told = stream.windows(octets.len()).any(|window| window == octets)
                    || String::from_utf8_lossy(stream)
                        .split(|c: char| !c.is_ascii_hexdigit() && !matches!(c, '.' | ':'))
                        .any(|part| part == word || part.starts_with(&format!("{word}:")));
                assert!(!told, "{secret} in {}", measurement.id);
            }
        }
    }
    assert_eq!(captures, 1, "the packets are kept");
}
