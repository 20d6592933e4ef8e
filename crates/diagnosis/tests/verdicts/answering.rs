//! Somebody else answers: EHLO refused, other servers in the place of this one, nobody at all.

use hoofbeat_diagnosis::{
    Encryption, LocationClass, Mechanism as M,
    Verdict::{Clear, Inconclusive, Interference, Unreachable},
};
use hoofbeat_observation::{FailureKind, Role, Scheme, measurement::Unresolved};
use hoofbeat_session::{Label, Outcome};

use crate::{
    scene::*,
    stand::{expect, first, judge},
};

#[test]
fn ehlo_is_refused() {
    let pix6 = Talk::smtp()
        .greets("220 ****************2*******")
        .ehlo("500 5.5.2 Error: command not recognized\n")
        .step(Label::Helo, "HELO probe", "250 mx.example.org\n");
    expect(
        &Scene::new().talk(pix6),
        Interference,
        Some(M::EhloRefused),
        Some("cisco-pix"),
    );
    let striptls = Talk::smtp()
        .greets(GREETING)
        .ehlo("502 Error: command \"EHLO\" not implemented\n")
        .step(Label::Helo, "HELO probe", "250 mx.example.org\n");
    expect(
        &Scene::new().talk(striptls),
        Interference,
        Some(M::EhloRefused),
        None,
    );
    // An ancient server that never said ESMTP.
    let old = Talk::smtp()
        .greets("220 mx.example.org SMTP ready")
        .ehlo("500 5.5.2 Error: command not recognized\n")
        .step(Label::Helo, "HELO probe", "250 mx.example.org\n");
    let finding = first(&Scene::new().talk(old));
    assert_ne!(finding.verdict, Interference, "{finding:#?}");
}

#[test]
fn somebody_else_answers() {
    let avast = Talk::smtp()
        .greets("220 mx.example.org avast! SMTP proxy ready.")
        .ehlo(&postfix_without());
    let finding = expect(
        &Scene::new().talk(avast),
        Interference,
        Some(M::SessionProxied),
        Some("avast-antivirus"),
    );
    // The words name a product; a gateway may borrow them, so they name no place by themselves.
    assert_eq!(finding.location.class, LocationClass::Undetermined);
    let leading = finding
        .location
        .posterior
        .iter()
        .max_by(|a, b| a.1.total_cmp(b.1));
    assert_eq!(leading.map(|(place, _)| *place), Some("this-host"));
    let canned = "250-Requested mail action okay, completed\n250-SIZE 20000000\n250-ETRN\n250-8BITMIME\n250 OK\n";
    expect(
        &Scene::new().talk(
            Talk::smtp()
                .greets("220 mx.example.org ESMTP Service ready")
                .ehlo(canned),
        ),
        Interference,
        Some(M::SessionProxied),
        None,
    );
    // McAfee's near-twin has a full stop, and STARTTLS.
    let twin = canned
        .replace("completed\n", "completed.\n")
        .replace("250-ETRN", "250-STARTTLS");
    let finding = first(
        &Scene::new().talk(inside(
            Talk::smtp()
                .greets("220 mx.example.org ESMTP")
                .ehlo(&twin)
                .starttls("220 go")
                .verified(),
        )),
    );
    assert_eq!(finding.verdict, Clear);
    // Postfix's words from an address that is Google's.
    let google = Talk::to(service(Scheme::Smtp, "gmail-smtp-in.l.google.com"))
        .greets("220 relay.carrier.example ESMTP Postfix")
        .ehlo(&postfix_without());
    expect(
        &Scene::new().talk(google),
        Interference,
        Some(M::SessionProxied),
        None,
    );
    // Nobody lives at TEST-NET-1.
    let nowhere = Talk::to(service(Scheme::Smtp, "192.0.2.1"))
        .role(Role::NegativeControl)
        .greets("220 relay ESMTP");
    let scene = Scene::new()
        .talk(
            Talk::smtp()
                .greets("220 relay ESMTP")
                .ehlo("250-relay\n250 SIZE 1\n"),
        )
        .talk(nowhere);
    expect(&scene, Interference, Some(M::SessionProxied), None);
}

#[test]
fn turned_away_and_unreachable() {
    for words in [
        "421 4.7.0 too many connections",
        "450 4.2.0 Greylisted",
        "554 5.7.1 blocked",
        "452 syntax error (connecting)",
    ] {
        expect(
            &Scene::new().talk(Talk::smtp().greets(words)),
            Inconclusive,
            None,
            None,
        );
    }
    let tarpit =
        Scene::new().talk(Talk::smtp().raw(Label::Greeting, "", b"220-wait", Outcome::TimedOut));
    expect(&tarpit, Inconclusive, None, None);
    assert!(
        judge(&tarpit).questions.is_empty(),
        "a limit is not answered by asking more often"
    );
    let closed = Scene::new().talk(Talk::smtp().refused(FailureKind::Refused));
    let finding = expect(&closed, Unreachable, None, None);
    assert_eq!(finding.encryption, Encryption::Unknown);
    assert_eq!(judge(&closed).exit_status(), 3);
    let control = |n| {
        Talk::to(control_service(Scheme::Smtp, n))
            .role(control(&format!("provider {n}")))
            .refused(FailureKind::TimedOut)
    };
    let one = closed.clone().talk(control(1)).talk(
        Talk::to(service(Scheme::Submissions, HOST))
            .role(Role::Sibling)
            .verified(),
    );
    expect(&one, Unreachable, None, None);
    expect(
        &one.talk(control(2)),
        Interference,
        Some(M::PortBlocked),
        None,
    );
}

#[test]
fn targets_without_services() {
    let null = Scene::new().unresolved(Unresolved::NullMx);
    let diagnosis = judge(&null);
    assert_eq!(
        (diagnosis.overall.verdict, diagnosis.exit_status()),
        (Unreachable, 3)
    );
    assert!(diagnosis.overall.summary.contains("RFC 7505"));
}
