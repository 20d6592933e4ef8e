//! Hoofbeat against real Postfix, Exim and Dovecot: on, off, hidden, badly certified, and behind boxes.
//!
//! Each test first asks the server itself, by a plain dialogue or by openssl, whether it is what the test believes.
//! Needs root and Debian's packages, which `cargo xtask test` installs; without them a test says that it was skipped.

mod witness;

use witness::certificates::{Certificates, Leaf};
use witness::dialogue::{openssl_verifies, talk};
use witness::dovecot::{Dovecot, REMOTE};
use witness::exim::Exim;
use witness::inquiry::{Answer, check};
use witness::postfix::{Door, Postfix};
use witness::{boxed, dovecot, exim, postfix, ready};

const CLEAR: &[&str] = &[];

fn smtp(port: u16, certificates: &Certificates) -> Answer {
    check(&format!("smtp://localhost:{port}"), &certificates.ca(), &[])
}

fn at(scheme: &str, host: &str, port: u16, certificates: &Certificates) -> Answer {
    check(
        &format!("{scheme}://{host}:{port}"),
        &certificates.ca(),
        &[],
    )
}

/// The EHLO reply, by a client that is not ours.
fn ehlo(port: u16) -> String {
    talk("127.0.0.1", port, &["EHLO localhost", "QUIT"])
}

mod postfix_itself {
    use super::*;

    fn started(tls: postfix::Tls) -> Option<(Certificates, Postfix)> {
        let certificates = ready(&postfix::NEEDS).then(Certificates::new)?;
        let server = Postfix::start(tls, Door::Smtpd, &certificates);
        Some((certificates, server))
    }

    #[test]
    fn with_a_good_certificate_is_clear() {
        let Some((certificates, server)) = started(postfix::Tls::On(Leaf::Good)) else {
            return;
        };
        assert!(openssl_verifies("smtp", server.port(), &certificates.ca()));
        smtp(server.port(), &certificates).is(server.port(), "clear", CLEAR, &["verified"], 0);
    }

    #[test]
    fn behind_postscreen_is_clear() {
        if !ready(&postfix::NEEDS) {
            return;
        }
        let certificates = Certificates::new();
        let server = Postfix::start(
            postfix::Tls::On(Leaf::Good),
            Door::Postscreen,
            &certificates,
        );
        assert!(ehlo(server.port()).starts_with("220-"), "the teaser");
        smtp(server.port(), &certificates).is(server.port(), "clear", CLEAR, &["verified"], 0);
    }

    #[test]
    fn without_tls_is_the_servers_own_doing() {
        let Some((certificates, server)) = started(postfix::Tls::Off) else {
            return;
        };
        assert!(!ehlo(server.port()).contains("STARTTLS"));
        smtp(server.port(), &certificates).is(
            server.port(),
            "server",
            &["not-offered"],
            &["none"],
            1,
        );
    }

    #[test]
    fn that_hides_it_from_our_address_is_never_called_interference() {
        let Some((certificates, server)) = started(postfix::Tls::HiddenFromLoopback) else {
            return;
        };
        assert!(!ehlo(server.port()).contains("STARTTLS"));
        // Postfix answers 502 as it does without TLS: from one address nobody can tell the two apart.
        let answer = smtp(server.port(), &certificates);
        answer.is(
            server.port(),
            "server",
            &["hidden-from-us", "not-offered"],
            &["none"],
            1,
        );
    }

    #[test]
    fn that_cannot_read_its_key_is_unavailable() {
        let Some((certificates, server)) = started(postfix::Tls::KeyUnreadable) else {
            return;
        };
        assert!(
            talk(
                "127.0.0.1",
                server.port(),
                &["EHLO localhost", "STARTTLS", "QUIT"]
            )
            .contains("\r\n454 ")
        );
        smtp(server.port(), &certificates).is(
            server.port(),
            "server",
            &["tls-unavailable"],
            &["none"],
            1,
        );
    }

    #[test]
    fn with_a_bad_certificate_is_the_servers_own_doing() {
        for leaf in [Leaf::SelfSigned, Leaf::Expired, Leaf::WrongName] {
            let Some((certificates, server)) = started(postfix::Tls::On(leaf)) else {
                return;
            };
            assert!(
                !openssl_verifies("smtp", server.port(), &certificates.ca()),
                "{leaf:?}"
            );
            let answer = smtp(server.port(), &certificates);
            answer.is(
                server.port(),
                "server",
                &["certificate-invalid"],
                &["unverified"],
                1,
            );
        }
    }
}

mod exim_itself {
    use super::*;

    fn started(tls: exim::Tls) -> Option<(Certificates, Exim)> {
        let certificates = ready(&exim::needs()).then(Certificates::new)?;
        let server = Exim::start(tls, &certificates);
        Some((certificates, server))
    }

    #[test]
    fn with_a_good_certificate_is_clear() {
        let Some((certificates, server)) = started(exim::Tls::On(Leaf::Good)) else {
            return;
        };
        assert!(openssl_verifies("smtp", server.port(), &certificates.ca()));
        smtp(server.port(), &certificates).is(server.port(), "clear", CLEAR, &["verified"], 0);
    }

    #[test]
    fn that_does_not_advertise_it_is_never_called_interference() {
        for tls in [exim::Tls::Off, exim::Tls::HiddenFromLoopback] {
            let Some((certificates, server)) = started(tls) else {
                return;
            };
            assert!(!ehlo(server.port()).contains("STARTTLS"), "{tls:?}");
            let answer = smtp(server.port(), &certificates);
            answer.is(
                server.port(),
                "server",
                &["hidden-from-us", "not-offered"],
                &["none"],
                1,
            );
        }
    }

    #[test]
    fn with_a_bad_certificate_is_the_servers_own_doing() {
        for leaf in [Leaf::SelfSigned, Leaf::Expired, Leaf::WrongName] {
            let Some((certificates, server)) = started(exim::Tls::On(leaf)) else {
                return;
            };
            assert!(
                !openssl_verifies("smtp", server.port(), &certificates.ca()),
                "{leaf:?}"
            );
            let answer = smtp(server.port(), &certificates);
            answer.is(
                server.port(),
                "server",
                &["certificate-invalid"],
                &["unverified"],
                1,
            );
        }
    }
}

mod dovecot_itself {
    use super::*;

    fn started(tls: dovecot::Tls, plaintext_logins: bool) -> Option<(Certificates, Dovecot)> {
        let certificates = ready(&dovecot::NEEDS).then(Certificates::new)?;
        let server = Dovecot::start(tls, plaintext_logins, &certificates);
        Some((certificates, server))
    }

    fn services(server: &Dovecot) -> [(&'static str, u16); 3] {
        [
            ("imap", server.imap()),
            ("pop3", server.pop3()),
            ("sieve", server.sieve()),
        ]
    }

    #[test]
    fn with_a_good_certificate_is_clear() {
        let Some((certificates, server)) = started(dovecot::Tls::On(Leaf::Good), false) else {
            return;
        };
        let capabilities = talk(REMOTE, server.imap(), &["a CAPABILITY", "b LOGOUT"]);
        assert!(
            capabilities.contains("STARTTLS LOGINDISABLED"),
            "{capabilities}"
        );
        for (scheme, port) in services(&server) {
            assert!(
                openssl_verifies(scheme, port, &certificates.ca()),
                "{scheme}"
            );
            at(scheme, REMOTE, port, &certificates).is(port, "clear", CLEAR, &["verified"], 0);
        }
        let imaps = server.imaps();
        at("imaps", "localhost", imaps, &certificates).is(imaps, "clear", CLEAR, &["verified"], 0);
    }

    #[test]
    fn that_requires_tls_is_clear() {
        let Some((certificates, server)) = started(dovecot::Tls::Required, true) else {
            return;
        };
        for (scheme, port) in services(&server) {
            let answer = at(scheme, REMOTE, port, &certificates);
            // `ssl = required` with `disable_plaintext_auth = no`: this Dovecot lists USER in CAPA (and would refuse it).
            let offers_user = scheme == "pop3";
            answer.is(port, "clear", CLEAR, &["verified"], i32::from(offers_user));
            assert_eq!(
                answer.weaknesses(port),
                if offers_user {
                    &["auth-before-tls"][..]
                } else {
                    &[]
                }
            );
        }
    }

    #[test]
    fn that_takes_passwords_before_tls_is_clear_with_a_weakness() {
        let Some((certificates, server)) = started(dovecot::Tls::On(Leaf::Good), true) else {
            return;
        };
        for (scheme, port) in services(&server) {
            let answer = at(scheme, REMOTE, port, &certificates);
            answer.is(port, "clear", CLEAR, &["verified"], 1);
            let weaknesses = answer.weaknesses(port);
            assert!(
                weaknesses.contains(&"auth-before-tls"),
                "{scheme}: {weaknesses:?}"
            );
            assert_eq!(
                weaknesses.contains(&"logindisabled-missing"),
                scheme == "imap",
                "{weaknesses:?}"
            );
        }
    }

    #[test]
    fn without_tls_is_the_servers_own_doing() {
        // Without TLS and without plaintext logins it says LOGINDISABLED and offers no STARTTLS: as after a
        // clumsy stripping, and yet it is the server that says so.
        for plaintext_logins in [false, true] {
            let Some((certificates, server)) = started(dovecot::Tls::Off, plaintext_logins) else {
                return;
            };
            let capabilities = talk(REMOTE, server.imap(), &["a CAPABILITY", "b LOGOUT"]);
            assert!(!capabilities.contains("STARTTLS"), "{capabilities}");
            assert_eq!(
                capabilities.contains("LOGINDISABLED"),
                !plaintext_logins,
                "{capabilities}"
            );
            for (scheme, port) in services(&server) {
                at(scheme, REMOTE, port, &certificates).is(
                    port,
                    "server",
                    &["not-offered"],
                    &["none"],
                    1,
                );
            }
        }
    }

    #[test]
    fn with_a_bad_certificate_is_the_servers_own_doing() {
        for leaf in [Leaf::SelfSigned, Leaf::Expired, Leaf::WrongName] {
            let Some((certificates, server)) = started(dovecot::Tls::On(leaf), false) else {
                return;
            };
            for (scheme, port) in services(&server) {
                assert!(
                    !openssl_verifies(scheme, port, &certificates.ca()),
                    "{scheme} {leaf:?}"
                );
                let answer = at(scheme, REMOTE, port, &certificates);
                match leaf {
                    // Asked by address, a certificate that names another host accuses nobody.
                    Leaf::WrongName => answer.is(port, "inconclusive", &[], &["unverified"], 3),
                    _ => answer.is(port, "server", &["certificate-invalid"], &["unverified"], 1),
                }
            }
        }
    }
}

mod behind_a_box {
    use super::*;

    /// Boxes that any SMTP server may stand behind, with mechanism and product that must be found. Where the verb still
    /// works, encryption is to be had for a client that insists, and none for one that asks politely.
    const SMTP: [(&str, &str, &[&str], Option<&str>); 4] = [
        (
            boxed::CISCO_ASA,
            "capability-masked",
            &["none"],
            Some("cisco-asa"),
        ),
        (
            boxed::REMOVES_STARTTLS,
            "capability-removed",
            &["none", "verified"],
            None,
        ),
        (boxed::REFUSES_STARTTLS, "command-refused", &["none"], None),
        (boxed::INTERCEPTS, "tls-intercepted", &["unverified"], None),
    ];

    fn smtp_server_behind_boxes(port: u16, certificates: &Certificates) {
        for (what, mechanism, encryption, product) in SMTP {
            let between = boxed::in_front_of("127.0.0.1", port, "smtp", what);
            let front = between.address.port();
            let answer = smtp(front, certificates);
            answer.is(front, "interference", &[mechanism], encryption, 2);
            if product.is_some() {
                assert_eq!(answer.finding(front)["product"].as_str(), product);
            }
        }
        let between = boxed::in_front_of("127.0.0.1", port, "smtp", boxed::WAITS);
        let front = between.address.port();
        smtp(front, certificates).is(front, "clear", CLEAR, &["verified"], 0);
    }

    #[test]
    fn postfix() {
        if !ready(&postfix::NEEDS) {
            return;
        }
        let certificates = Certificates::new();
        let server = Postfix::start(postfix::Tls::On(Leaf::Good), Door::Smtpd, &certificates);
        smtp_server_behind_boxes(server.port(), &certificates);
    }

    #[test]
    fn exim() {
        if !ready(&exim::needs()) {
            return;
        }
        let certificates = Certificates::new();
        let server = Exim::start(exim::Tls::On(Leaf::Good), &certificates);
        smtp_server_behind_boxes(server.port(), &certificates);
    }

    #[test]
    fn dovecot() {
        if !ready(&dovecot::NEEDS) {
            return;
        }
        let certificates = Certificates::new();
        let server = Dovecot::start(dovecot::Tls::On(Leaf::Good), false, &certificates);
        for (scheme, port, what, mechanism, encryption) in [
            (
                "imap",
                server.imap(),
                boxed::REMOVES_FROM_IMAP,
                "capability-removed",
                &["none", "verified"][..],
            ),
            (
                "imap",
                server.imap(),
                boxed::INTERCEPTS,
                "tls-intercepted",
                &["unverified"],
            ),
            (
                "pop3",
                server.pop3(),
                boxed::REMOVES_STLS,
                "capability-removed",
                &["none", "verified"],
            ),
            (
                "pop3",
                server.pop3(),
                boxed::INTERCEPTS,
                "tls-intercepted",
                &["unverified"],
            ),
            (
                "sieve",
                server.sieve(),
                boxed::REMOVES_STARTTLS,
                "capability-removed",
                &["none", "verified"],
            ),
        ] {
            let between = boxed::in_front_of(REMOTE, port, scheme, what);
            let front = between.address.port();
            let answer = at(scheme, "localhost", front, &certificates);
            answer.is(front, "interference", &[mechanism], encryption, 2);
        }
    }
}
