//! The witness's mail servers: whatever lines come, whole lines are answered, no mail is taken, and patience ends.
#![no_main]

use hoofbeat_probe::witness::server::{
    mail::{Mail, Say},
    wording::Wording,
};
use hoofbeat_session::Protocol;

/// Longer answers would make the witness worth abusing.
const ANSWER_MAX: usize = 1024;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [choice, lines @ ..] = data else { return };
    let protocol = match choice % 3 {
        0 => Protocol::Smtp,
        1 => Protocol::Imap,
        _ => Protocol::Pop3,
    };
    let wording = Wording::new([choice >> 2; 5]);
    let mut mail = Mail::new(protocol, "witness.example".to_owned());
    if choice & 128 != 0 {
        mail.upgraded();
    }
    let mut upgraded = choice & 128 != 0;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let say = mail.hear(line, &wording);
        let (Say::Reply(words)
        | Say::Capabilities(words)
        | Say::StartTls(words)
        | Say::Goodbye(words)) = &say;
        assert!(words.ends_with(b"\r\n") && words.len() <= ANSWER_MAX);
        assert!(!words.starts_with(b"354"), "it takes no mail");
        match say {
            Say::StartTls(_) => {
                assert!(!upgraded, "TLS within TLS");
                mail.upgraded();
                upgraded = true;
            }
            Say::Goodbye(_) => return,
            Say::Reply(_) | Say::Capabilities(_) => {}
        }
    }
});
