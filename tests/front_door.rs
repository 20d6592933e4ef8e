//! The front door as scripts meet it: exit statuses, JSON, archives, bad input, and manners towards servers
//! (docs/diagnosis-v1.md). Everything runs on loopback against the lab.

use hoofbeat_lab::{Background, Scenario};
use serde_json::Value;
use std::{
    io::Write as _,
    net::TcpListener,
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

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A lab scenario, its URL, and a file with what to trust.
struct Box {
    lab: Background,
    folder: tempfile::TempDir,
}

impl Box {
    fn start(id: &str) -> Self {
        let lab = Background::start(Scenario::by_id(id).unwrap(), None, None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), &lab.ca_pem).unwrap();
        Self { lab, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn check(&self, more: &[&str]) -> Output {
        let (ca, url, control) = (self.file("ca.pem"), self.lab.url(), self.lab.control_url());
        let mut arguments = vec!["check", "--ca", &ca, "--control", &control];
        arguments.extend(more);
        arguments.push(&url);
        hoofbeat(&arguments)
    }
}

#[test]
fn a_clean_server_is_clear_and_sees_one_connection() {
    let clean = Box::start("clean-postfix");
    let output = clean.check(&["--json"]);
    assert_eq!(status(&output), 0, "{output:?}");
    let document = json(&output);
    assert_eq!(document["schema"], "hoofbeat.diagnosis/1");
    assert_eq!(document["target"], clean.lab.url());
    assert_eq!(document["overall"]["verdict"], "clear");
    assert_eq!(document["findings"][0]["encryption"], "verified");
    assert_eq!(document["connections"], 1);
    assert_eq!(clean.lab.connections(), 1);
    let started = document["started"].as_str().unwrap();
    assert!(
        started.ends_with('Z') && started.contains('T'),
        "{started} is not RFC 3339 in UTC"
    );
}

#[test]
fn interference_is_two_and_cites_its_bytes() {
    let masked = Box::start("cisco-asa-gen2");
    let output = masked.check(&["--json"]);
    assert_eq!(status(&output), 2, "{output:?}");
    let finding = &json(&output)["findings"][0];
    assert_eq!(
        (&finding["mechanism"], &finding["product"]),
        (&"capability-masked".into(), &"cisco-asa".into())
    );
    let cited = finding["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .any(|evidence| {
            evidence["excerpt"]
                .as_str()
                .is_some_and(|text| text.starts_with("XXXXXXXA"))
                && evidence["bytes"].is_array()
                && evidence["step"].is_u64()
        });
    assert!(cited, "{finding:#}");
    assert!(!finding["remedies"].as_array().unwrap().is_empty());
    assert!(
        masked.lab.connections() <= 12,
        "{} connections",
        masked.lab.connections()
    );
}

#[test]
fn the_servers_own_doing_is_one() {
    for (id, mechanism) in [
        ("no-tls-postfix", "not-offered"),
        ("cert-expired", "certificate-invalid"),
    ] {
        let output = Box::start(id).check(&["--json"]);
        assert_eq!(status(&output), 1, "{id}: {output:?}");
        assert_eq!(json(&output)["findings"][0]["mechanism"], mechanism);
    }
}

#[test]
fn an_archive_is_judged_again_to_the_same_verdict() {
    for id in [
        "clean-imap",
        "cisco-asa-gen2",
        "untangle-spam-blocker",
        "no-tls-postfix",
        "norton-2002",
    ] {
        let subject = Box::start(id);
        let archive = subject.file("kept.jsonl");
        let live = json(&subject.check(&["--json", "--archive", &archive]));
        let again = hoofbeat(&["explain", "--json", &archive]);
        let offline = json(&again);
        assert_eq!(offline["overall"], live["overall"], "{id}");
        for part in [
            "verdict",
            "mechanism",
            "product",
            "location",
            "confidence",
            "encryption",
            "evidence",
            "weaknesses",
        ] {
            assert_eq!(
                offline["findings"][0][part], live["findings"][0][part],
                "{id}: {part}"
            );
        }
    }
}

#[test]
fn no_credential_reaches_an_archive_or_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let pasted = folder.path().join("session.txt");
    let session = "220 mx.example.org ESMTP Postfix\nEHLO me\n250-mx.example.org\n250 AUTH PLAIN LOGIN\n\
        AUTH PLAIN AHVzZXIAaHVudGVyMg==\n235 2.7.0 Authentication successful\nMAIL FROM:<a@b.example>\n250 2.1.0 Ok\n\
        DATA\n354 End data with <CR><LF>.<CR><LF>\nSubject: the-secret-subject\n\n.\n250 2.0.0 Ok\nQUIT\n221 2.0.0 Bye\n";
    std::fs::write(&pasted, session).unwrap();
    let output = hoofbeat(&["explain", "--verbose", pasted.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("AUTH"), "{text}");
    for secret in ["AHVzZXIAaHVudGVyMg", "hunter2", "the-secret-subject"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn wrong_usage_is_sixty_four() {
    for arguments in [
        &["chek"][..],
        &["check", "--no-such-option"],
        &["check", "someone@example.org"],
        &["check", "smtp://example.org:99999"],
        &["check", "gopher://example.org"],
        &["check", "--ca", "/no/such/file", "smtp://127.0.0.1:1"],
        &["check", "--resolver", "not an address", "example.org"],
        &[
            "check",
            "--ehlo",
            "a\r\nMAIL FROM:<x@y>",
            "smtp://127.0.0.1:1",
        ],
        &["explain"],
        &["lab", "serve", "no-such-box"],
        &["lab", "serve", "clean-postfix", "--listen", "192.0.2.1:25"],
    ] {
        let output = hoofbeat(arguments);
        assert_eq!(status(&output), 64, "{arguments:?}: {output:?}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{arguments:?}: {output:?}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_three_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let noise: Vec<u8> = (0..4096_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let files = [
        write("empty", b""),
        write("noise", &noise),
        write("prose", b"Dear all,\nthe mail is late again.\n"),
        write("broken.pcap", &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]),
        write("other.jsonl", b"{\"schema\":\"hoofbeat.measurement/99\"}\n"),
        folder.path().join("absent").to_str().unwrap().to_owned(),
        folder.path().to_str().unwrap().to_owned(),
    ];
    for file in &files {
        let output = hoofbeat(&["explain", file]);
        assert_eq!(status(&output), 3, "{file}: {output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(file),
            "{file}: {output:?}"
        );
    }
}

#[test]
fn a_closed_port_and_a_silent_one_are_unreachable() {
    // Bound and not listening: nobody else can take the port meanwhile.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    let output = hoofbeat(&[
        "check",
        "--json",
        "--no-controls",
        "--timeout",
        "3",
        &silent,
    ]);
    assert_eq!(status(&output), 3, "{output:?}");
    let verdict = &json(&output)["overall"]["verdict"];
    assert!(
        verdict == "inconclusive" || verdict == "unreachable",
        "{verdict}"
    );
    drop(listener);
    let output = hoofbeat(&[
        "check",
        "--json",
        "--no-controls",
        "--timeout",
        "3",
        &silent,
    ]);
    assert_eq!(status(&output), 3);
    assert_eq!(json(&output)["overall"]["verdict"], "unreachable");
}

#[test]
fn the_worst_of_several_targets_decides_and_their_order_stays() {
    let (clean, masked) = (Box::start("clean-postfix"), Box::start("cisco-asa-gen2"));
    let (ca, first, second) = (clean.file("ca.pem"), clean.lab.url(), masked.lab.url());
    let archive = clean.file("both.jsonl");
    let output = hoofbeat(&[
        "check",
        "--json",
        "--no-controls",
        "--ca",
        &ca,
        "--archive",
        &archive,
        &first,
        &second,
    ]);
    assert_eq!(status(&output), 2, "{output:?}");
    let lines: Vec<Value> = output
        .stdout
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert_eq!(
        lines
            .iter()
            .map(|l| l["target"].as_str().unwrap())
            .collect::<Vec<_>>(),
        [first, second]
    );
    let ids: Vec<String> = std::fs::read_to_string(archive)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["schema"] == "hoofbeat.measurement/1")
        .map(|line| line["id"].to_string())
        .collect();
    let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(
        distinct.len(),
        ids.len(),
        "measurement ids are unique in an archive: {ids:?}"
    );
}

#[test]
fn text_for_people_has_no_colour_in_a_pipe_and_survives_a_closed_one() {
    let masked = Box::start("cisco-asa-gen2");
    let output = masked.check(&[]);
    assert!(!output.stdout.contains(&0x1b), "escape codes in a pipe");
    assert!(
        output.stderr.is_empty(),
        "progress outside a terminal: {output:?}"
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_hoofbeat"))
        .args(["lab", "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_ne!(status(&ended), 70, "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn explain_reads_standard_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hoofbeat"))
        .args(["explain", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"S: 220 mx ESMTP Postfix\nC: EHLO me\nS: 250-mx\nS: 250-PIPELINING\nS: 250-SIZE 1\nS: 250-VRFY\nS: 250-ETRN\nS: 250-XXXXXXXA\nS: 250-ENHANCEDSTATUSCODES\nS: 250-8BITMIME\nS: 250 DSN\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(status(&output), 2, "{output:?}");
    assert_eq!(
        json(&output)["findings"][0]["mechanism"],
        "capability-masked"
    );
}

#[test]
fn man_pages_and_completions_come_from_the_definitions() {
    let folder = tempfile::tempdir().unwrap();
    let output = hoofbeat(&["man", folder.path().to_str().unwrap()]);
    assert_eq!(status(&output), 0, "{output:?}");
    for page in ["hoofbeat.1", "hoofbeat-check.1", "hoofbeat-explain.1"] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
    let check = std::fs::read_to_string(folder.path().join("hoofbeat-check.1")).unwrap();
    assert!(check.contains("no\\-controls"), "options are in the page");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = hoofbeat(&["completions", shell]);
        assert!(
            status(&output) == 0 && String::from_utf8_lossy(&output.stdout).contains("no-controls"),
            "{shell}"
        );
    }
}

#[test]
fn every_box_and_look_alike_gets_its_verdict() {
    let output = hoofbeat(&["demo", "--all"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let wrong: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("EXPECTED "))
        .collect();
    assert!(
        wrong.is_empty() && status(&output) == 0,
        "{}\n{output:?}",
        wrong.join("\n")
    );
}

/// Misses are allowed among scenarios that the judge was not made with; accusing an honest server is not.
#[test]
fn no_held_out_server_is_accused() {
    let honest = Scenario::all().iter().filter(|scenario| {
        let expected = &scenario.expected;
        let conclusions = expected.also.iter().map(|also| also.verdict);
        scenario.held_out
            && std::iter::once(expected.verdict)
                .chain(conclusions)
                .all(|verdict| verdict.word() != "interference")
    });
    let mut checked = 0;
    for scenario in honest {
        let output = Box::start(&scenario.id).check(&["--json"]);
        let document = json(&output);
        assert_ne!(
            document["overall"]["verdict"], "interference",
            "{}: {document:#}",
            scenario.id
        );
        checked += 1;
    }
    assert!(checked > 30, "{checked} honest held-out scenarios");
}

#[test]
fn the_words_of_the_contract_are_in_the_docs() {
    let contract =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis-v1.md"))
            .unwrap();
    let words = hoofbeat_diagnosis::Mechanism::ALL
        .iter()
        .map(|m| m.word())
        .chain(hoofbeat_diagnosis::Weakness::ALL.iter().map(|w| w.word()))
        .chain(
            hoofbeat_diagnosis::LocationClass::ALL
                .iter()
                .map(|l| l.word()),
        );
    for word in words {
        assert!(
            contract.contains(word),
            "{word} is not in docs/diagnosis-v1.md"
        );
    }
}
