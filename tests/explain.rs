//! Offline: what people paste or keep, read by the front door and judged. The samples lie in `tests/explain/`.

use hoofbeat::explain::{self, ExplainError, Read};
use hoofbeat_diagnosis::{Case, Diagnosis, Mechanism, Settings, Verdict, diagnose};
use hoofbeat_observation::archive;
use std::path::{Path, PathBuf};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/explain")
        .join(name)
}

fn judge(read: &Read) -> Diagnosis {
    let target = &read.measurements[0].target;
    let settings = Settings {
        now: 1_795_000_000,
        ..Settings::default()
    };
    diagnose(&Case {
        target,
        measurements: &read.measurements,
        settings,
        elsewhere: Vec::new(),
    })
}

/// The worst finding of a sample.
fn judged(name: &str) -> (Verdict, Option<Mechanism>) {
    let diagnosis =
        judge(&explain::read(&sample(name)).unwrap_or_else(|error| panic!("{name} {error}")));
    let worst = diagnosis
        .findings
        .iter()
        .find(|finding| finding.verdict == diagnosis.overall.verdict);
    (
        diagnosis.overall.verdict,
        worst.and_then(|finding| finding.mechanism),
    )
}

#[test]
fn what_was_done_in_the_field_is_recognised() {
    for (name, mechanism) in [
        ("vodafone-india-2014.txt", Mechanism::CapabilityMasked),
        ("o2-germany-2008.txt", Mechanism::CapabilityMasked),
        ("exim-2006.txt", Mechanism::CapabilityMasked),
        ("fcc-filing-2014.txt", Mechanism::CapabilityMasked),
        ("swaks-masked.txt", Mechanism::CapabilityMasked),
        ("curl-masked.txt", Mechanism::CapabilityMasked),
        ("python-smtplib.txt", Mechanism::CapabilityMasked),
        // STARTTLS is offered: only the greeting is masked, however Cisco-like HELP looks.
        ("barracuda-allow-tls.txt", Mechanism::BannerMasked),
        ("norton-2002.txt", Mechanism::CommandRefused),
        ("canned-proxy.txt", Mechanism::SessionProxied),
        ("pix-noop.txt", Mechanism::CommandRewritten),
        ("postfix-log.txt", Mechanism::BannerMasked),
        ("loopback-smtp.pcap", Mechanism::CapabilityMasked),
    ] {
        assert_eq!(
            judged(name),
            (Verdict::Interference, Some(mechanism)),
            "{name}"
        );
    }
}

#[test]
fn honest_servers_and_thin_evidence_accuse_nobody() {
    for name in [
        "swaks-clean.txt",
        "swaks-mail.txt",
        "swaks-454.txt",
        "swaks-rst.txt",
        "swaks-refused.txt",
        "curl-clean.txt",
        "msmtp-debug.txt",
        "gnutls-cli-untrusted.txt",
        "gnutls-cli-refused.txt",
        "openssl-self-signed.txt",
        "openssl-reset.txt",
        "openssl-trying-anyway.txt",
        "sieve-session.txt",
        "auth-login-telnet.txt",
        "exim-log.txt",
    ] {
        assert_ne!(judged(name).0, Verdict::Interference, "{name}");
    }
    assert_eq!(
        judged("swaks-454.txt"),
        (Verdict::Server, Some(Mechanism::TlsUnavailable))
    );
    assert_eq!(
        judged("curl-clean.txt"),
        (Verdict::Server, Some(Mechanism::CertificateInvalid))
    );
    assert_eq!(judged("swaks-refused.txt").0, Verdict::Unreachable);
    assert_eq!(judged("openssl-reset.txt").0, Verdict::Inconclusive);
}

#[test]
fn an_archive_of_what_was_read_is_judged_alike() {
    for name in [
        "vodafone-india-2014.txt",
        "swaks-clean.txt",
        "postfix-log.txt",
        "loopback-smtp.pcap",
    ] {
        let read = explain::read(&sample(name)).unwrap();
        let mut lines: Vec<String> = read
            .measurements
            .iter()
            .map(|m| archive::write(m).unwrap())
            .collect();
        let again = explain::read_stream(lines.join("\n").as_bytes(), "x", 0).unwrap();
        assert_eq!(again.measurements, read.measurements, "{name}");
        assert_eq!(
            judge(&again).overall.verdict,
            judge(&read).overall.verdict,
            "{name}"
        );
        // A last line that was cut off does not spoil the others.
        let last = lines.last().unwrap().clone();
        lines.push(last[..last.len() / 2].to_owned());
        let cut = explain::read_stream(lines.join("\n").as_bytes(), "x", 0).unwrap();
        assert_eq!(cut.measurements, read.measurements, "{name}");
        assert!(cut.notes[0].contains("cut off"), "{:?}", cut.notes);
    }
}

#[test]
fn the_target_is_the_host_or_else_the_file() {
    let target = |name: &str| {
        explain::read(&sample(name)).unwrap().measurements[0]
            .target
            .clone()
    };
    assert_eq!(target("swaks-masked.txt"), "mx.example.net");
    assert_eq!(
        target("exim-2006.txt"),
        "mail.example.net",
        "as it calls itself"
    );
    assert_eq!(
        target("postfix-log.txt"),
        "postfix-log.txt",
        "several servers"
    );
    let fcc = explain::read(&sample("fcc-filing-2014.txt")).unwrap();
    let hosts: Vec<_> = fcc
        .measurements
        .iter()
        .map(|m| m.dialogue().unwrap().service.host.as_str())
        .collect();
    assert_eq!(
        hosts,
        ["fcc-filing-2014.txt", "fcc-filing-2014.txt"],
        "one server, seen from two networks"
    );
}

#[test]
fn what_cannot_be_explained_is_said_in_a_sentence() {
    let sentence = |bytes: &[u8]| explain::read_stream(bytes, "x", 0).unwrap_err().to_string();
    assert_eq!(sentence(b""), "is empty");
    assert!(sentence(b"250 chairs were ordered\n").starts_with("holds no mail dialogue"));
    assert!(sentence(&[0; 100]).starts_with("is binary"));
    assert!(sentence(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0").starts_with("is a program"));
    assert!(sentence(b"\xd4\xc3\xb2\xa1\x02\0").contains("first block"));
    assert!(sentence(b"{\"schema\":\"hoofbeat.diagnosis/1\"}\n").contains("hoofbeat.diagnosis/1"));
    assert!(
        sentence(b"{\"schema\":\"hoofbeat.measurement/1\",\"id\":3}\n")
            .starts_with("line 1 is damaged")
    );
    let missing = explain::read(&sample("no-such-file")).unwrap_err();
    assert!(matches!(missing, ExplainError::Unreadable(_)));
    assert!(
        missing.to_string().starts_with("cannot be read: "),
        "{missing}"
    );
    assert!(
        matches!(explain::read(&sample("")), Err(ExplainError::Unreadable(_))),
        "a folder"
    );
}

#[test]
fn a_long_log_is_read_in_bounded_memory_and_counted() {
    /// Sixty megabytes that nobody has to hold.
    struct Log {
        lines: u32,
        rest: Vec<u8>,
    }
    impl std::io::Read for Log {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.rest.is_empty() && self.lines > 0 {
                self.lines -= 1;
                self.rest = if self.lines.is_multiple_of(1000) {
                    b"Oct 14 09:13:02 out postfix/smtp[9]: 4X: status=deferred (TLS is required, but was not offered by host mx.strict.example[192.0.2.33])\n".to_vec()
                } else {
                    format!("Oct 14 09:12:02 out postfix/qmgr[811]: {:08X}: from=<a@example.org>, size=1243, nrcpt=1 (queue active)\n", self.lines).into_bytes()
                };
            }
            let length = into.len().min(self.rest.len());
            into[..length].copy_from_slice(&self.rest[..length]);
            self.rest.drain(..length);
            Ok(length)
        }
    }
    let read = explain::read_stream(
        Log {
            lines: 600_000,
            rest: Vec::new(),
        },
        "mail.log",
        0,
    )
    .unwrap();
    assert_eq!(read.measurements.len(), 1);
    let told =
        "mx.strict.example:25: STARTTLS was not offered, 600 times (line 1000 has the first)";
    assert_eq!(read.notes, [told]);
}
