//! Archives of one target from several places, judged together by `hoofbeat explain` (docs/diagnosis-v1.md, "Several
//! vantages"), and options that are typed wrongly. Measured on loopback against the lab.

use hoofbeat_lab::{Background, Scenario};
use serde_json::Value;
use std::{
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

fn documents(output: &Output) -> Vec<Value> {
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {output:?}")))
        .collect()
}

/// The archive of a check of a lab scenario, as if it had been made of mx.example.org from a place of this name.
fn archive(scenario: &str, name: &str, vantage: Option<&str>, folder: &Path) -> String {
    let lab = Background::start(Scenario::by_id(scenario).unwrap(), None, None).unwrap();
    let ca = folder.join("ca.pem").display().to_string();
    std::fs::write(&ca, &lab.ca_pem).unwrap();
    let raw = folder.join("raw.jsonl").display().to_string();
    let url = lab.url();
    let mut arguments = vec!["check", "--no-controls", "--ca", &ca, "--archive", &raw];
    arguments.extend(
        vantage
            .into_iter()
            .flat_map(|vantage| ["--vantage", vantage]),
    );
    arguments.push(&url);
    hoofbeat(&arguments);
    let port = url.rsplit(':').next().unwrap();
    let text = std::fs::read_to_string(raw)
        .unwrap()
        .replace(&url, "mx.example.org")
        .replace("\"host\":\"127.0.0.1\"", "\"host\":\"mx.example.org\"")
        .replace("\"address\":\"127.0.0.1\"", "\"address\":\"198.51.100.25\"")
        .replace(&format!("\"port\":{port}"), "\"port\":25");
    let file = folder.join(format!("{name}.jsonl")).display().to_string();
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn each_place_gets_its_document_and_knows_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let cafe = archive("clean-postfix", "cafe", Some("laptop@cafe"), folder.path());
    let mobile = archive(
        "cisco-asa-gen2",
        "mobile",
        Some("laptop@mobile"),
        folder.path(),
    );
    let alone = documents(&hoofbeat(&["explain", "--json", &mobile]));
    let output = hoofbeat(&["explain", "--json", &cafe, &mobile]);
    assert_eq!(status(&output), 2, "{output:?}");
    let both = documents(&output);
    assert_eq!(both.len(), 2);
    for document in &both {
        let network = document["vantage"]["network"].as_str().unwrap();
        assert_eq!(document["vantage"]["host"], "laptop");
        assert_eq!(document["target"], "mx.example.org");
        let verdict = if network == "cafe" {
            "clear"
        } else {
            "interference"
        };
        assert_eq!(document["overall"]["verdict"], verdict, "{network}");
        // Both files have an m1; what is cited is told apart.
        for evidence in document["findings"][0]["evidence"].as_array().unwrap() {
            let cited = evidence["measurement"].as_str().unwrap();
            assert!(
                ["cafe:m", "mobile:m"].iter().any(|p| cited.starts_with(p)),
                "{cited}"
            );
        }
    }
    let together = both
        .iter()
        .find(|document| document["vantage"]["network"] == "mobile")
        .unwrap();
    assert_ne!(
        together["findings"][0]["location"]["posterior"],
        alone[0]["findings"][0]["location"]["posterior"],
        "the same machine on another network is evidence"
    );
    let text = hoofbeat(&["explain", &cafe, &mobile]);
    let text = String::from_utf8_lossy(&text.stdout);
    let table: Vec<&str> = text.lines().take(3).collect();
    assert!(
        table[0].starts_with("FROM") && table[0].contains("VERDICT"),
        "{text}"
    );
    assert!(
        table[1].starts_with("laptop@cafe") && table[1].contains("clear"),
        "{text}"
    );
    assert!(
        table[2].contains("interference") && table[2].contains("capability-masked"),
        "{text}"
    );
    assert!(text.contains("From laptop@mobile:"), "{text}");
}

#[test]
fn archives_of_one_place_are_one_case_and_nameless_places_are_called_by_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let first = archive("clean-postfix", "first", Some("laptop@cafe"), folder.path());
    let second = archive(
        "clean-postfix",
        "second",
        Some("laptop@cafe"),
        folder.path(),
    );
    let together = documents(&hoofbeat(&["explain", "--json", &first, &second]));
    assert_eq!(together.len(), 1, "{together:#?}");
    assert_eq!(together[0]["connections"], 2);
    let nameless = archive("cisco-asa-gen2", "train", None, folder.path());
    let places = documents(&hoofbeat(&["explain", "--json", &first, &nameless]));
    let names: Vec<&str> = places
        .iter()
        .map(|document| document["vantage"]["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"laptop@cafe") && names.contains(&"train"),
        "{names:?}"
    );
    // One file alone is named by nobody.
    let alone = documents(&hoofbeat(&["explain", "--json", &nameless]));
    assert_eq!(alone[0]["vantage"]["name"], Value::Null);
    // The same file under two names: ids must not clash.
    let copy = folder.path().join("elsewhere");
    std::fs::create_dir(&copy).unwrap();
    let copy = copy.join("first.jsonl").display().to_string();
    std::fs::copy(&first, &copy).unwrap();
    let twice = documents(&hoofbeat(&["explain", "--json", &first, &copy]));
    let evidence = twice[0]["findings"][0]["evidence"].as_array().unwrap();
    let cited = |e: &Value| e["measurement"].as_str().unwrap().to_owned();
    assert!(
        evidence
            .iter()
            .all(|e| cited(e).starts_with("first:") || cited(e).starts_with("first-2:"))
    );
}

#[test]
fn groups_of_evidence_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = archive("cisco-asa-gen2", "kept", None, folder.path());
    let whole = documents(&hoofbeat(&["explain", "--json", &file]));
    let without = documents(&hoofbeat(&[
        "explain",
        "--json",
        "--leave-out",
        "G1",
        "--leave-out",
        "G2",
        &file,
    ]));
    assert_eq!(
        without[0]["overall"]["verdict"],
        whole[0]["overall"]["verdict"]
    );
    assert_ne!(
        without[0]["findings"][0]["location"]["posterior"],
        whole[0]["findings"][0]["location"]["posterior"]
    );
}

#[test]
fn what_is_typed_wrongly_is_sixty_four() {
    let folder = tempfile::tempdir().unwrap();
    let unused = folder.path().join("unused.jsonl").display().to_string();
    for arguments in [
        &["check", "--engine", "raw", "smtp://127.0.0.1:1"][..],
        &["check", "--prefixes", "/dev/null", "smtp://127.0.0.1:1"],
        &[
            "check",
            "--server-name",
            "example.org",
            "smtp://127.0.0.1:1",
        ],
        &["check", "--no-witness-http", "smtp://127.0.0.1:1"],
        &["check", "--witness", "not a witness", "smtp://127.0.0.1:1"],
        &[
            "check",
            "--witness",
            "c2hvcnQ@127.0.0.1",
            "smtp://127.0.0.1:1",
        ],
        &["check", "--vantage", "@", "smtp://127.0.0.1:1"],
        &["check", "--vantage", "a\nb@c", "smtp://127.0.0.1:1"],
        &[
            "check",
            "--archive",
            "/no/such/folder/file",
            "smtp://127.0.0.1:1",
        ],
        &["trace"],
        &["trace", "--engine", "magic", "smtp://127.0.0.1:1"],
        &[
            "trace",
            "--prefixes",
            "/no/such/file",
            "--archive",
            &unused,
            "smtp://127.0.0.1:1",
        ],
        &["trace", "smtp://127.0.0.1:1", "smtp://127.0.0.1:2"],
        &["explain", "--leave-out", "G12", "file"],
        &["explain", "--leave-out", "masks", "file"],
        &["verify"],
        &["verify", "--key", "short", "file"],
    ] {
        let output = hoofbeat(arguments);
        assert_eq!(status(&output), 64, "{arguments:?}: {output:?}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{arguments:?}: {output:?}"
        );
    }
    assert!(
        !Path::new(&unused).exists(),
        "nothing is written before everything is understood"
    );
}
