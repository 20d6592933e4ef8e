//! Pasted and kept texts, against golden pictures of what is read from them; and what must hold for any text.
//!
//! The samples lie in `tests/explain/` of the repository. `GOLDEN=write` writes the pictures anew; look at the
//! difference before you keep it.

use hoofbeat_observation::{
    Dialogue, Source,
    recorded::text::{self, Reader, Reading},
};
use hoofbeat_session::{Direction, bytes::printable};
use proptest::prelude::*;
use std::{fmt::Write as _, fs, path::PathBuf};

fn samples() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/explain");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "txt"));
    files.sort();
    assert!(files.len() > 25);
    files
}

/// A dialogue as a person compares it.
fn picture(dialogue: &Dialogue) -> String {
    let mut out = String::new();
    let Source::Text { form, claims, .. } = &dialogue.source else {
        panic!("not a text")
    };
    let address = dialogue
        .service
        .address
        .map_or(String::new(), |address| format!(" [{address}]"));
    let _ = writeln!(
        out,
        "{}{address}, {form}, {:?}",
        dialogue.service, dialogue.ending
    );
    for exchange in &dialogue.exchanges {
        let words = |direction, range| printable(&dialogue.transcript.bytes(direction, range));
        let sent = exchange
            .sent
            .map_or("-".to_owned(), |range| words(Direction::ToServer, range));
        let received = words(Direction::ToClient, exchange.received);
        let _ = writeln!(
            out,
            "  {:?}/{:?}/{:?}: {sent} -> {received}",
            exchange.label, exchange.layer, exchange.outcome
        );
    }
    if let Some(handshake) = &dialogue.handshake {
        let _ = writeln!(
            out,
            "  handshake: {:?} {:?} {:?} {:?}",
            handshake.outcome, handshake.version, handshake.cipher, handshake.verification
        );
    }
    if let Some(failure) = &dialogue.connect.failure {
        let _ = writeln!(out, "  connect: {:?}", failure.kind);
    }
    for claim in claims {
        let _ = writeln!(out, "  claim {:?}: {}", claim.what, claim.line);
    }
    out
}

fn pictures(reading: &Reading) -> String {
    reading
        .recordings
        .iter()
        .fold(String::new(), |mut out, recording| {
            let counts: Vec<_> = recording
                .counts
                .iter()
                .filter(|(_, times)| *times > 1)
                .collect();
            let counts = if counts.is_empty() {
                String::new()
            } else {
                format!(" {counts:?}")
            };
            let _ = write!(
                out,
                "line {}{counts}: {}",
                recording.first_line,
                picture(&recording.dialogue)
            );
            out
        })
}

#[test]
fn golden_samples() {
    let mut wrong = Vec::new();
    for file in samples() {
        let found = pictures(&text::read(&fs::read(&file).unwrap()));
        let golden = file.with_extension("picture");
        if std::env::var_os("GOLDEN").is_some() {
            fs::write(&golden, &found).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", golden.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "differ from the golden pictures:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn no_credential_and_no_message_survives() {
    for path in samples() {
        let reading = text::read(&fs::read(&path).unwrap());
        let kept = format!("{reading:?}") + &pictures(&reading);
        let secrets = [
            "hunter2secret",
            "aHVudGVyMnNlY3JldA",
            "AGpvZQBodW50ZXIyc2VjcmV0",
            "am9l",
            "private words",
            "Resumption",
        ];
        for secret in secrets {
            assert!(!kept.contains(secret), "{secret} in {}", path.display());
        }
    }
}

#[test]
fn a_file_in_parts_is_the_same_file() {
    for path in samples() {
        let whole = fs::read(&path).unwrap();
        let at_once = text::read(&whole);
        for cut in [1, 7, 64, 1000] {
            let mut reader = Reader::new();
            for part in whole.chunks(cut) {
                reader.feed(part);
            }
            assert_eq!(reader.finish(), at_once, "{} cut at {cut}", path.display());
        }
        // Other line ends and encodings mean the same.
        let text = String::from_utf8(whole).unwrap();
        if text.contains('\r') {
            continue;
        }
        let carriage = text::read(text.replace('\n', "\r\n").as_bytes());
        assert_eq!(carriage, at_once, "{} with CRLF", path.display());
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(text.encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert_eq!(text::read(&utf16), at_once, "{} in UTF-16", path.display());
    }
}

#[test]
fn quoted_numbered_and_coloured_texts_mean_the_same() {
    let sample = samples()
        .into_iter()
        .find(|path| path.ends_with("vodafone-india-2014.txt"))
        .unwrap();
    let plain = fs::read_to_string(sample).unwrap();
    let exchanges = |reading: &Reading| {
        reading
            .recordings
            .iter()
            .map(|r| r.dialogue.exchanges.clone())
            .collect::<Vec<_>>()
    };
    let expected = exchanges(&text::read(plain.as_bytes()));
    for dressed in [
        plain
            .lines()
            .map(|line| format!("> {line}\n"))
            .collect::<String>(),
        plain.lines().map(|line| format!(">> {line}\n")).collect(),
        plain
            .lines()
            .enumerate()
            .map(|(n, line)| format!("{:4}: {line}\n", n + 1))
            .collect(),
        plain
            .lines()
            .enumerate()
            .map(|(n, line)| format!("{:6}\t{line}\n", n + 1))
            .collect(),
        plain
            .lines()
            .map(|line| format!("2026-10-01 10:00:00.123 {line}\n"))
            .collect(),
        plain
            .lines()
            .map(|line| format!("[10:00:00] {line}\n"))
            .collect(),
        plain
            .lines()
            .map(|line| format!("\x1b[32m{line}\x1b[0m\n"))
            .collect(),
    ] {
        assert_eq!(
            exchanges(&text::read(dressed.as_bytes())),
            expected,
            "{dressed}"
        );
    }
}

/// Lines of all kinds, put together at random.
fn any_line() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "220 mx ESMTP", "220 ****", "250-STARTTLS", "250 OK", "EHLO a", "STARTTLS", "220 go", "AUTH LOGIN", "334 VXNl",
        "354 go", "DATA", ".", "QUIT", "221 bye", "* OK IMAP4", "* CAPABILITY IMAP4rev1", "a1 STARTTLS", "a1 OK",
        "a1 BAD x", "a2 LOGIN {4}", "+ go", "+OK POP3", "CAPA", "STLS", "-ERR no", "S: 220 x", "C: EHLO y",
        "<-  220 x", " -> EHLO y", " ~> EHLO y", "=== TLS started with cipher TLSv1.3:X:256",
        "*** Host did not advertise STARTTLS", "CONNECTED(3)", "Trying 192.0.2.1...", "Connected to mx.example.",
        "New, TLSv1.3, Cipher is X", "write:errno=104",
        "Oct  1 10:00:00 h postfix/smtp[1]: < mx[192.0.2.1]:25: 220 x",
        "Oct  1 10:00:00 h postfix/smtp[1]: TLS is required, but was not offered by host mx[192.0.2.1]",
        "\"IMPLEMENTATION\" \"x\"", "OK \"ready\"", "XXXXXXXX", "BDAT 10 LAST", "[", "a1 {", "> ", "<", "1:", "S:",
        "=== ",
    ])
    .prop_map(str::to_owned);
    prop_oneof![4 => known, 1 => "\\PC{0,40}"]
}

proptest! {
    #[test]
    fn any_lines_are_read_without_panic_and_alike_in_parts(
        lines in prop::collection::vec(any_line(), 0..40), cut in 1usize..50,
    ) {
        let whole = lines.join("\n");
        let at_once = text::read(whole.as_bytes());
        let mut reader = Reader::new();
        whole.as_bytes().chunks(cut).for_each(|part| reader.feed(part));
        prop_assert_eq!(&reader.finish(), &at_once);
        for recording in &at_once.recordings {
            let dialogue = &recording.dialogue;
            for (step, exchange) in dialogue.exchanges.iter().enumerate() {
                prop_assert_eq!(exchange.step as usize, step);
                prop_assert!(exchange.received.from <= exchange.received.to);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = text::read(&bytes);
    }

    #[test]
    fn a_password_never_survives(
        password in "[A-Za-z0-9]{12,20}", form in 0usize..9, before in prop::collection::vec(any_line(), 0..3),
    ) {
        let dialogue = match form {
            0 => format!("220 mx ESMTP\nEHLO a\n250 AUTH PLAIN\nAUTH PLAIN {password}\n235 ok\n"),
            1 => format!("220 mx ESMTP\nEHLO a\n250 AUTH LOGIN\nAUTH LOGIN\n334 VXNl\nam9l\n334 UGFz\n{password}\n235 ok\n"),
            2 => format!("S: * OK IMAP4\nC: a LOGIN joe {password}\nS: a OK in\n"),
            3 => format!("S: * OK IMAP4\nC: a LOGIN {{3}}\nS: + go\nC: joe {{9}}\nS: + go\nC: {password}\nS: a OK in\n"),
            4 => format!("+OK POP3 ready\nUSER joe\n+OK\nPASS {password}\n+OK in\n"),
            5 => format!("<-  220 mx ESMTP\n -> AUTH CRAM-MD5\n<-  334 PDQx\n -> {password}\n<-  235 ok\n"),
            6 => format!("S: * OK IMAP4\nC: a AUTHENTICATE PLAIN\nS: +\nC: {password}\nS: a OK in\n"),
            7 => format!("S: 220 mx ESMTP\nC: AUTH LOGIN\nC: am9l\nC: {password}\nS: 334 x\nS: 334 x\nS: 235 ok\n"),
            _ => format!("220 mx ESMTP\nDATA\n354 go\nSubject: {password}\n\n{password}\n.\n250 ok\n"),
        };
        let text = format!("{}\n{dialogue}", before.join("\n"));
        let kept: Vec<u8> = text::read(text.as_bytes())
            .recordings
            .iter()
            .flat_map(|recording| {
                let Source::Text { claims, .. } = &recording.dialogue.source else { return Vec::new() };
                let mut kept: Vec<u8> =
                    recording.dialogue.transcript.chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
                kept.extend(claims.iter().flat_map(|claim| claim.line.bytes()));
                kept
            })
            .collect();
        let kept = String::from_utf8_lossy(&kept).into_owned();
        prop_assert!(!kept.contains(&password), "{}", kept);
    }
}
