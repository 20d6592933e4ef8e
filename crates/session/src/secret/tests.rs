//! Redaction of whole dialogues, and what holds for any bytes.

use super::*;
use alloc::string::String;
use proptest::prelude::*;

/// Plays lines `C: …` and `S: …` and compares with what may be kept.
fn plays(protocol: Protocol, lines: &[(&str, &str)]) {
    let mut redactor = Redactor::default();
    for (said, kept) in lines {
        let (side, said) = said.split_at(3);
        let line = [said.as_bytes(), b"\r\n"].concat();
        let found = if side == "C: " {
            redactor.client_line(protocol, &line)
        } else {
            redactor.server_line(protocol, &line)
        };
        let same = [said.as_bytes(), b"\r\n"].concat();
        let expected = if *kept == "=" {
            same
        } else {
            [kept.as_bytes(), b"\r\n"].concat()
        };
        assert_eq!(
            String::from_utf8_lossy(&found),
            String::from_utf8_lossy(&expected)
        );
    }
}

#[test]
fn smtp() {
    plays(
        Protocol::Smtp,
        &[
            ("S: 220 mx", "="),
            ("C: auth plain AGJvYgBwdw==", "auth plain ************"),
            (
                "S: 535 5.7.8 no such AGJvYgBwdw==",
                "535 5.7.8 no such ************",
            ),
            ("C: AUTH LOGIN", "="),
            ("S: 334 VXNlcm5hbWU6", "334 ************"),
            ("C: Ym9i", "****"),
            ("S: 334 UGFzc3dvcmQ6", "334 ************"),
            ("C: *", "="),
            ("S: 501 5.7.0 cancelled", "="),
            ("C: MAIL FROM:<a@example.org>", "="),
            ("C: DATA", "="),
            ("S: 550 5.1.1 no such user", "="),
            ("S: 354 go ahead", "="),
            ("C: Subject: secret", "***************"),
            ("C: AUTH PLAIN x", "************"),
            ("C: .", "="),
            ("S: 250 ok", "="),
            ("C: BDAT 6 LAST", "="),
            ("C: hush", "****"),
            ("C: QUIT", "="),
            ("C: DATA", "="),
            ("S: 503 no", "="),
            ("C: STARTTLS", "="),
            ("S: 334 what", "334 ****"),
            ("C: QUIT", "="),
        ],
    );
}

#[test]
fn imap() {
    plays(
        Protocol::Imap,
        &[
            ("C: a1 login bob \"p w\"", "a1 login *********"),
            ("S: a1 NO no", "="),
            ("C: a2 LOGIN {3}", "a2 LOGIN {3}"),
            ("S: + go on", "="),
            ("C: bob {4+}", "****{4+}"),
            ("C: pass", "****"),
            ("S: a2 OK in", "="),
            (
                "C: a3 AUTHENTICATE PLAIN AGJvYg==",
                "a3 AUTHENTICATE PLAIN ********",
            ),
            ("S: + Y2hhbA==", "+ ********"),
            ("C: AGJvYg==", "********"),
            ("S: * OK still here", "="),
            ("C: c2VjcmV0", "********"),
            ("S: a3 OK in", "="),
            ("C: a4 APPEND Sent {8}", "="),
            ("S: + go", "="),
            ("C: a\r\nb\r\nc.", "*\r\n*\r\n**"),
            ("C: a5 APPEND Sent {8}", "="),
            ("S: a5 NO too big", "="),
            ("C: a5 APPEND Sent {9}", "="),
            ("C: ab", "**"),
            ("S: a5 NO too late", "="),
            ("C: cd", "**"),
            ("C: e", "*"),
            ("C: a6 FETCH 1 BODY[]", "="),
            ("S: * 1 FETCH (BODY[] {6}", "* 1 FETCH ********{6}"),
            ("S: text", "****"),
            ("S: )", "*"),
            ("S: a6 OK done {3}", "="),
            ("S: * 2 EXISTS", "="),
            ("C: LOGIN bob pw", "LOGIN ******"),
        ],
    );
}

#[test]
fn pop3() {
    plays(
        Protocol::Pop3,
        &[
            ("S: +OK ready <1.2@x>", "="),
            ("C: USER bobby", "USER *****"),
            ("S: -ERR no bobby here", "-ERR no ***** here"),
            ("C: PASS a b c", "PASS *****"),
            ("S: +OK", "="),
            ("C: APOP bob c4c9334b", "APOP ************"),
            ("C: AUTH PLAIN", "="),
            ("S: +OK", "="),
            ("S: + ", "="),
            ("C: AGJvYg==", "********"),
            ("S: +OK in", "="),
            ("C: CAPA", "="),
            ("S: +OK list", "="),
            ("S: STLS", "="),
            ("S: .", "="),
            ("C: NOOP", "="),
            ("C: RETR 1", "="),
            ("S: -ERR what", "="),
            ("S: +OK 120 octets", "="),
            ("S: +OK inside", "**********"),
            ("S: .", "="),
            ("S: +OK", "="),
            ("S: Subject: hush", "*************"),
            ("S: .", "="),
            ("S: STLS", "="),
        ],
    );
}

#[test]
fn sieve() {
    plays(
        Protocol::Sieve,
        &[
            ("S: \"SASL\" \"PLAIN\"", "="),
            (
                "C: Authenticate \"PLAIN\" \"AGJvYg==\"",
                "Authenticate \"PLAIN\" **********",
            ),
            ("S: NO", "="),
            (
                "C: AUTHENTICATE \"LOGIN\" {4+}",
                "AUTHENTICATE \"LOGIN\" {4+}",
            ),
            ("C: Ym9i", "****"),
            ("S: \"Y2hhbA==\"", "**********"),
            ("C: \"cGFzcw==\"", "**********"),
            ("S: OK", "="),
            ("C: PUTSCRIPT \"a\" {4+}", "PUTSCRIPT \"a\" {4+}"),
            ("C: keep", "****"),
            ("S: OK", "="),
            ("C: GETSCRIPT \"a\"", "="),
            ("S: {4}", "***"),
            ("S: keep", "****"),
            ("S: OK", "="),
            ("C: NOOP \"x\"", "="),
        ],
    );
}

fn protocols() -> impl Strategy<Value = Protocol> {
    prop::sample::select(alloc::vec![
        Protocol::Smtp,
        Protocol::Lmtp,
        Protocol::Imap,
        Protocol::Pop3,
        Protocol::Sieve
    ])
}

proptest! {
    #[test]
    fn length_and_line_ends_stay(
        protocol in protocols(),
        lines in prop::collection::vec((any::<bool>(), "(AUTH |a LOGIN |PASS |DATA|BDAT 5|334 |\\+ |\\+OK|RETR 1|a APPEND x|\\* 1 FETCH |GETSCRIPT )?[ -~\r\n]{0,12}(\\{[0-9]{1,2}\\+?\\})?\r?\n?"), 0..12),
    ) {
        let mut redactor = Redactor::default();
        for (from_client, line) in lines {
            let line = line.as_bytes();
            let kept = if from_client { redactor.client_line(protocol, line) } else { redactor.server_line(protocol, line) };
            prop_assert_eq!(kept.len(), line.len());
            for (kept, said) in kept.iter().zip(line) {
                prop_assert!(kept == said || *kept == b'*');
                prop_assert_eq!(*kept == b'\n', *said == b'\n');
            }
        }
    }

    #[test]
    fn any_bytes_are_survived(protocol in protocols(), lines in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..12)) {
        let mut redactor = Redactor::default();
        for (from_client, line) in lines {
            let kept = if from_client { redactor.client_line(protocol, &line) } else { redactor.server_line(protocol, &line) };
            prop_assert_eq!(kept.len(), line.len());
        }
    }

    #[test]
    fn no_secret_survives(secret in "[A-Za-z0-9+/]{8,40}", verb in 0usize..6) {
        let (protocol, command) = [
            (Protocol::Smtp, "AUTH PLAIN "), (Protocol::Lmtp, "  auth\tplain "), (Protocol::Imap, "a  LOGIN bob "),
            (Protocol::Imap, "a authenticate plain "), (Protocol::Pop3, "PASS "), (Protocol::Sieve, "AUTHENTICATE \"PLAIN\" "),
        ][verb];
        let mut redactor = Redactor::default();
        let line = alloc::format!("{command}{secret}\r\n");
        let kept = redactor.client_line(protocol, line.as_bytes()).into_owned();
        prop_assert!(!String::from_utf8_lossy(&kept).contains(&secret));
        let echo = alloc::format!("500 unrecognized: \"{line}\"\r\n");
        let kept = redactor.server_line(protocol, echo.as_bytes()).into_owned();
        prop_assert!(!String::from_utf8_lossy(&kept).contains(&secret));
    }

    #[test]
    fn harmless_commands_stay(verb in "(EHLO|STARTTLS|NOOP|QUIT|CAPA|STLS|h[0-9] CAPABILITY|h[0-9] STARTTLS|[A-Z]{8})( [a-z.]{1,12})?", protocol in protocols()) {
        let line = alloc::format!("{verb}\r\n");
        prop_assert_eq!(&*redact_command(protocol, line.as_bytes()), line.as_bytes());
    }
}
