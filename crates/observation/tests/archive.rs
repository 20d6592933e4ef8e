//! The archive: what is written is read back as it was, and what is foreign is refused without harm.

use hoofbeat_observation::{Body, Measurement, Vantage, archive, recorded::text};
use proptest::prelude::*;

fn measurement(id: usize, body: Body) -> Measurement {
    Measurement {
        schema: archive::SCHEMA.to_owned(),
        id: format!("m{id}"),
        tool: "hoofbeat test".to_owned(),
        target: "mx.example".to_owned(),
        started: 1_790_000_000,
        vantage: Vantage::default(),
        body,
    }
}

fn any_dialogue_text() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("220 mx ESMTP".to_owned()),
        Just("EHLO a".to_owned()),
        Just("STARTTLS".to_owned()),
        Just("=== TLS started with cipher TLSv1.3:X:256".to_owned()),
        Just("*** Host did not advertise STARTTLS".to_owned()),
        Just("connect to mx[192.0.2.1]:25: Connection refused".to_owned()),
        "250-[A-Z0-9 é\\x00-\\x1f\u{fffd}]{0,20}",
        "5[0-9][0-9] \\PC{0,30}",
    ];
    prop::collection::vec(line, 1..20).prop_map(|lines| {
        let mut text =
            b"Trying 192.0.2.1...\nConnected to mx.example.\n220 mx ESMTP\nEHLO b\n".to_vec();
        text.extend(lines.join("\n").bytes());
        text
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(text in any_dialogue_text()) {
        for (id, recording) in text::read(&text).recordings.into_iter().enumerate() {
            let before = measurement(id, Body::Dialogue(recording.dialogue));
            let line = archive::write(&before).unwrap();
            prop_assert!(!line.contains('\n'));
            let after = archive::read(line.as_bytes()).unwrap();
            prop_assert_eq!(&after, &before);
            prop_assert_eq!(archive::write(&after).unwrap(), line);
        }
    }

    #[test]
    fn foreign_lines_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(archive::read(&bytes).is_err());
    }

    #[test]
    fn a_damaged_line_never_panics(text in any_dialogue_text(), at in any::<prop::sample::Index>(), byte: u8) {
        let Some(recording) = text::read(&text).recordings.into_iter().next() else { return Ok(()) };
        let mut line = archive::write(&measurement(0, Body::Dialogue(recording.dialogue))).unwrap().into_bytes();
        let at = at.index(line.len());
        line[at] = byte;
        let _ = archive::read(&line);
        line.truncate(at);
        prop_assert!(archive::read(&line).is_err());
    }
}

#[test]
fn another_schema_is_named() {
    let error = archive::read(br#"{"schema":"hoofbeat.measurement/2"}"#).unwrap_err();
    assert!(
        error.to_string().contains("hoofbeat.measurement/2"),
        "{error}"
    );
}
