//! Pasted sessions and logs: streams the file through the reader of recorded texts.

use hoofbeat_observation::{
    dialogue::Claimed,
    recorded::text::{Reader, Reading},
};
use std::io;

use super::{
    ExplainError, Read,
    kept::{self, Dated},
};

/// How much is read at once.
const PART: usize = 256 << 10;
/// Most sayings whose counts are told.
const COUNTS: usize = 12;

pub(super) fn read(
    mut stream: impl io::Read,
    label: &str,
    started: i64,
) -> Result<Read, ExplainError> {
    let mut reader = Reader::new();
    let mut part = vec![0; PART];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => reader.feed(part.get(..length).unwrap_or_default()),
            Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(source.into()),
        }
    }
    let reading = reader.finish();
    if reading.recordings.is_empty() {
        let what = format!(
            "{} lines were read, and none is a mail server's or client's",
            reading.lines
        );
        return Err(ExplainError::NoDialogue(what));
    }
    let notes = notes(&reading);
    let dialogues = reading.recordings.into_iter().map(|recording| Dated {
        dialogue: recording.dialogue,
        started,
    });
    Ok(Read {
        measurements: kept::measurements(dialogues.collect(), label),
        notes,
    })
}

fn notes(reading: &Reading) -> Vec<String> {
    let mut notes = Vec::new();
    let repeated = reading.recordings.iter().flat_map(|recording| {
        // Good news alone needs no count; beside bad news it is a contrast.
        let good = |what| matches!(what, Claimed::TlsEstablished | Claimed::TlsVerified);
        let all_good = recording.counts.iter().all(|(what, _)| good(*what));
        let counts = recording
            .counts
            .iter()
            .filter(move |(_, times)| !all_good && *times > 1);
        counts.map(move |(what, times)| {
            let said = saying(*what);
            let service = &recording.dialogue.service;
            format!(
                "{}:{}: {said}, {times} times (line {} has the first)",
                service.host, service.port, recording.first_line
            )
        })
    });
    notes.extend(repeated.take(COUNTS));
    if reading.left_out > 0 {
        let kept = reading.recordings.len();
        notes.push(format!(
            "{} more dialogues or servers were seen and left out; {kept} are judged",
            reading.left_out
        ));
    }
    if reading.uncounted_lines > 0 {
        notes.push(format!(
            "{} log lines are about more servers than can be told apart; they are not judged",
            reading.uncounted_lines
        ));
    }
    if reading.cut_lines > 0 {
        notes.push(format!("{} very long lines were cut", reading.cut_lines));
    }
    notes
}

/// A claim in a person's words.
const fn saying(what: Claimed) -> &'static str {
    match what {
        Claimed::TlsEstablished => "TLS was established",
        Claimed::TlsVerified => "TLS was established and verified",
        Claimed::CertificateInvalid => "the certificate was not trusted",
        Claimed::StartTlsNotOffered => "STARTTLS was not offered",
        Claimed::StartTlsRefused => "STARTTLS was refused",
        Claimed::HandshakeFailed => "the TLS handshake failed",
        Claimed::LostAfterStartTls => "the connection was lost after STARTTLS",
        Claimed::PixWorkarounds => "the banner was masked (PIX workarounds)",
        Claimed::ConnectFailed => "the connection could not be made",
        Claimed::PlaintextUsed => "mail went in the clear",
    }
}
