//! The judge: any archive, and any dialogues that a server may lead us into, are judged without a panic and within the contract.
#![no_main]

use hoofbeat_diagnosis::{Case, Diagnosis, Header, Settings, diagnose, report};
use hoofbeat_fuzz::{Played, play, turns};
use hoofbeat_observation::{
    Body, Connect, Dialogue, Ending, Handshake, HandshakeOutcome, InvalidReason, Measurement, Role,
    Scheme, Service, Source, Vantage, Variation, Verification, archive,
};
use hoofbeat_session::{Elapsed, Protocol};

/// Between two connections of one case.
const CONNECTION: u8 = 0x1c;
const CONNECTIONS_MAX: usize = 8;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [kind, rest @ ..] = data else { return };
    let measurements: Vec<Measurement> = if kind & 1 == 0 {
        rest.split(|byte| *byte == b'\n')
            .filter_map(|line| archive::read(line).ok())
            .collect()
    } else {
        let connections = rest.split(|byte| *byte == CONNECTION).take(CONNECTIONS_MAX);
        connections
            .enumerate()
            .filter_map(|(number, data)| measured(number, data))
            .collect()
    };
    let settings = Settings {
        thorough: kind & 2 != 0,
        ..Settings::default()
    };
    let case = Case {
        target: "mx.example.org",
        measurements: &measurements,
        settings,
        elsewhere: Vec::new(),
    };
    let diagnosis = diagnose(&case);
    holds(&diagnosis, &measurements);
    assert_eq!(diagnosis, diagnose(&case), "the same case, judged twice");
});

/// What is promised of every diagnosis.
fn holds(diagnosis: &Diagnosis, measurements: &[Measurement]) {
    for finding in &diagnosis.findings {
        let location = &finding.location;
        assert!((0.0..=1.0).contains(&location.probability), "{location:?}");
        assert!(
            location
                .posterior
                .values()
                .all(|part| (0.0..=1.0).contains(part)),
            "{location:?}"
        );
        for evidence in &finding.evidence {
            let cited = measurements
                .iter()
                .find(|measurement| measurement.id == evidence.measurement);
            assert!(
                cited.is_some(),
                "evidence cites {:?}, which is not there",
                evidence.measurement
            );
        }
    }
    let header = Header {
        tool: "fuzz".to_owned(),
        started: "1970-01-01T00:00:00Z".to_owned(),
        target: "mx.example.org".to_owned(),
        vantage: Vantage::default(),
        connections: measurements.len(),
        elapsed_ms: 0,
    };
    serde_json::to_string(&report(diagnosis, &header)).expect("a diagnosis is always printable");
}

/// One connection as the prober would record it. First byte: script and protocol; second: role, and how TLS ends.
fn measured(number: usize, data: &[u8]) -> Option<Measurement> {
    let [choice, cut, stream @ ..] = data else {
        return None;
    };
    let protocols = [
        Protocol::Smtp,
        Protocol::Imap,
        Protocol::Pop3,
        Protocol::Sieve,
        Protocol::Lmtp,
    ];
    let protocol = *protocols.get(usize::from(choice >> 4) % protocols.len())?;
    let (scheme, port) = match protocol {
        Protocol::Smtp => (Scheme::Smtp, 25),
        Protocol::Imap => (Scheme::Imap, 143),
        Protocol::Pop3 => (Scheme::Pop3, 110),
        Protocol::Sieve => (Scheme::Sieve, 4190),
        Protocol::Lmtp => (Scheme::Lmtp, 24),
    };
    let played = play(protocol, *choice, turns(stream), *cut);
    let role = match cut & 0x07 {
        5 => Role::Sibling,
        6 => Role::Control {
            operator: "Example".to_owned(),
            known: vec!["STARTTLS".to_owned()],
        },
        7 => Role::NegativeControl,
        _ => Role::Target,
    };
    let variation = match choice & 0x0f {
        0 | 1 => Variation::Baseline,
        2 => Variation::Repeat,
        3 => Variation::Injection,
        _ => Variation::Differential,
    };
    let handshake = (played.upgraded || choice & 0x0f == 1).then(|| handshake(*cut));
    let Played {
        transcript,
        exchanges,
        ..
    } = played;
    let host = "mx.example.org".to_owned();
    let address = Some([192, 0, 2, 25].into());
    Some(Measurement {
        schema: archive::SCHEMA.to_owned(),
        id: format!("m{number}"),
        tool: "fuzz".to_owned(),
        target: host.clone(),
        started: 1_700_000_000,
        vantage: Vantage::default(),
        body: Body::Dialogue(Dialogue {
            service: Service {
                scheme,
                host,
                address,
                port,
            },
            protocol,
            role,
            variation,
            source: Source::Live,
            route: "direct".to_owned(),
            connect: Connect {
                established: Some(Elapsed::default()),
                ..Connect::default()
            },
            transcript,
            exchanges,
            handshake,
            legacy: None,
            swallowed: None,
            ending: if cut & 0x20 == 0 {
                Ending::Ours
            } else {
                Ending::Reset
            },
        }),
    })
}

fn handshake(cut: u8) -> Handshake {
    let outcome = match (cut & 0x80 == 0, cut & 0x18) {
        (true, _) => HandshakeOutcome::Completed,
        (false, 0x00) => HandshakeOutcome::Reset,
        (false, 0x08) => HandshakeOutcome::NotTls,
        (false, 0x10) => HandshakeOutcome::TimedOut,
        (false, _) => HandshakeOutcome::Alert {
            description: "protocol_version".to_owned(),
        },
    };
    let verification = match (&outcome, cut & 0x10) {
        (HandshakeOutcome::Completed, 0) => Verification::Verified {
            name: "mx.example.org".to_owned(),
        },
        (HandshakeOutcome::Completed, _) => Verification::Invalid {
            reason: InvalidReason::UnknownIssuer,
            detail: "UnknownIssuer".to_owned(),
        },
        _ => Verification::Unknown,
    };
    Handshake {
        started: Elapsed::default(),
        ended: Elapsed::default(),
        outcome,
        server_name: Some("mx.example.org".to_owned()),
        version: Some("TLSv1.3".to_owned()),
        cipher: None,
        chain: Vec::new(),
        verification,
        first_bytes: b"500 what?\r\n".to_vec(),
    }
}
