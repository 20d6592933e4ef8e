//! Golden triples: scenario → measurements → diagnosis, kept as files; the judge is held to them byte by byte.
//!
//! `tests/golden/<scenario>.measurements.jsonl` is an archive as `--archive` writes it, `<scenario>.diagnosis.json`
//! the document that follows from it. Field finds and lab runs join by putting an archive there. To write the
//! diagnoses anew (and the synthetic archives): `HOOFBEAT_BLESS=1 cargo test -p hoofbeat-diagnosis --test golden`,
//! then read the difference before committing it.

mod scene;

use std::{fs, path::PathBuf};

use hoofbeat_diagnosis::{Case, Header, Settings, diagnose, report};
use hoofbeat_observation::{
    HandshakeOutcome, InvalidReason, Measurement, Scheme, Vantage, Variation, archive,
};
use hoofbeat_session::Label;
use scene::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The synthetic scenes that are kept as archives.
fn scenes() -> Vec<(&'static str, Scene)> {
    let without = postfix_without();
    let reset = || postfix().starttls(GO).dies(HandshakeOutcome::Reset);
    let dying = Talk::to(control_service(Scheme::Smtp, 1))
        .role(control("provider 1"))
        .greets(GREETING)
        .ehlo(POSTFIX)
        .starttls(GO)
        .dies(HandshakeOutcome::Reset);
    let dovecot = "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ LOGINDISABLED] Dovecot ready.";
    vec![
        ("clean-postfix", Scene::new().talk(clean())),
        (
            "cisco-asa-postfix",
            Scene::new()
                .talk(Talk::smtp().greets(STARS).ehlo(POSTFIX_ASA).quit(BYE))
                .talk(differential(STARS, POSTFIX_ASA).starttls(UNKNOWN).quit(BYE))
                .talk(clean_control(Scheme::Smtp, 1))
                .talk(clean_control(Scheme::Smtp, 2)),
        ),
        ("cisco-asa-allow-tls", Scene::new().talk(inside(Talk::smtp().greets(STARS).ehlo(&POSTFIX.replace("250-SMTPUTF8", "250-XXXXXXXA").replace("250 CHUNKING", "250 XXXXXXXB")).starttls(GO).verified()))),
        ("deleted-offer", Scene::new().talk(Talk::smtp().greets(GREETING).ehlo(&without)).talk(inside(differential(GREETING, &without).starttls(GO).verified()))),
        ("postfix-without-tls", Scene::new().talk(Talk::smtp().greets(GREETING).ehlo(&without)).talk(differential(GREETING, &without).starttls(OFF).quit(BYE))),
        ("norton-2002", Scene::new().talk(postfix().starttls("500 Unsupported command.").quit("221 Closing connection. Good bye."))),
        ("reset-everywhere", Scene::new().talk(reset()).talk(reset().variation(Variation::Repeat)).talk(dying)),
        ("reset-here-only", Scene::new().talk(reset()).talk(reset().variation(Variation::Repeat)).talk(clean_control(Scheme::Smtp, 1))),
        ("self-signed", Scene::new().talk(inside(postfix().starttls(GO).invalid(InvalidReason::SelfSigned, "CN=mx.example.org", 7)))),
        (
            "imap-deleted-offer",
            Scene::new().talk(Talk::imap().greets(dovecot)).talk(
                Talk::imap()
                    .variation(Variation::Differential)
                    .greets(dovecot)
                    .step(Label::Capabilities, "CAPABILITY", "* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ LOGINDISABLED\n{tag} OK done\n")
                    .unknown("{tag} BAD Error in IMAP command received by server.")
                    .starttls("{tag} OK Begin TLS negotiation now.")
                    .verified(),
            ),
        ),
        ("turned-away", Scene::new().talk(Talk::smtp().greets("421 4.7.0 mx.example.org Error: too many connections from 192.0.2.1"))),
        ("vodafone-text", Scene::new().talk(Talk::smtp().text().ehlo(
            "250-mail.example\n250-PIPELINING\n250-SIZE 307200000\n250-VRFY\n250-ETRN\n250-XXXXXXXA\n250-AUTH PLAIN CRAM-MD5\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250 DSN\n",
        ))),
    ]
}

fn document(measurements: &[Measurement]) -> String {
    let target = measurements
        .first()
        .map_or("", |first| first.target.as_str());
    let settings = Settings {
        now: NOW,
        ..Settings::default()
    };
    let diagnosis = diagnose(&Case {
        target,
        measurements,
        settings,
        elsewhere: Vec::new(),
    });
    let header = Header {
        tool: "hoofbeat golden".into(),
        started: "2026-11-18T11:06:40Z".into(),
        target: target.into(),
        vantage: Vantage::default(),
        connections: measurements
            .iter()
            .filter(|m| m.dialogue().is_some())
            .count(),
        elapsed_ms: 0,
    };
    let mut text = serde_json::to_string_pretty(&report(&diagnosis, &header)).unwrap();
    text.push('\n');
    text
}

#[test]
fn archives_give_their_diagnoses() {
    let bless = std::env::var_os("HOOFBEAT_BLESS").is_some();
    if bless {
        fs::create_dir_all(folder()).unwrap();
        for (name, scene) in scenes() {
            let lines: String = scene
                .measurements
                .iter()
                .map(|m| archive::write(m).unwrap() + "\n")
                .collect();
            fs::write(folder().join(format!("{name}.measurements.jsonl")), lines).unwrap();
        }
    }
    for (name, scene) in scenes() {
        let lines: String = scene
            .measurements
            .iter()
            .map(|m| archive::write(m).unwrap() + "\n")
            .collect();
        assert_eq!(
            lines,
            fs::read_to_string(folder().join(format!("{name}.measurements.jsonl"))).unwrap(),
            "{name}"
        );
    }
    let mut archives: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".measurements.jsonl"))
        .collect();
    archives.sort();
    assert!(archives.len() >= scenes().len(), "the archives are missing");
    for path in archives {
        let text = fs::read_to_string(&path).unwrap();
        let measurements: Vec<Measurement> = text
            .lines()
            .map(|line| archive::read(line.as_bytes()).unwrap())
            .collect();
        let diagnosis = document(&measurements);
        let kept = PathBuf::from(
            path.to_string_lossy()
                .replace(".measurements.jsonl", ".diagnosis.json"),
        );
        if bless {
            fs::write(&kept, &diagnosis).unwrap();
        }
        assert_eq!(
            diagnosis,
            fs::read_to_string(&kept).unwrap(),
            "{}",
            kept.display()
        );
    }
}
