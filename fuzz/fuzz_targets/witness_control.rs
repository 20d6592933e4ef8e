//! The control channel and the report: any line is a message or refused, what was read is written and read again, and a
//! report that nobody signed is never taken for a signed one.
#![no_main]

use hoofbeat_observation::{SignedReport, Standing, WitnessVisit};
use hoofbeat_probe::witness::{
    check,
    message::{self, Answer, Request},
};
use hoofbeat_session::Elapsed;

/// A key whose private half nobody has any more.
const KEY: &str = "Bj8xVEzxMzgm4fUKnjF1VGH94R1t+KLv92rEOCzvYzI=";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(request) = message::parse::<Request>(data) {
        let line = message::line(&request).expect("what was read can be written");
        assert_eq!(message::parse::<Request>(&line).ok(), Some(request));
    }
    if let Ok(answer) = message::parse::<Answer>(data) {
        let line = message::line(&answer).expect("what was read can be written");
        assert_eq!(message::parse::<Answer>(&line).ok().as_ref(), Some(&answer));
        if let Answer::Report { report } = answer {
            judge(report);
        }
    }
    judge(SignedReport {
        bytes: data.to_vec(),
        signature: String::new(),
        key: KEY.to_owned(),
    });
});

fn judge(report: SignedReport) {
    let read = report.read();
    let mut visit = WitnessVisit {
        host: String::new(),
        pinned: Some(KEY.to_owned()),
        session: read.as_ref().map(|r| r.session.clone()).unwrap_or_default(),
        nonce: read.map(|r| r.nonce).unwrap_or_default(),
        errands: Vec::new(),
        report: Some(report),
        failure: None,
        started: Elapsed::default(),
        ended: Elapsed::default(),
        standing: Standing::Signed,
    };
    check(&mut visit);
    assert_ne!(visit.standing, Standing::Signed, "nobody signed it");
}
