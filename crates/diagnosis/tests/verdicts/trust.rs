//! Certificates, DANE and MTA-STS: an operator's mistakes, and forgeries.

use hoofbeat_diagnosis::{
    Confidence, Encryption, LocationClass, Mechanism as M,
    Verdict::{Clear, Inconclusive, Interference, Server},
    Weakness,
};
use hoofbeat_observation::{DnsStatus, InvalidReason, Question, Record, Role, Scheme, Variation};

use crate::{
    scene::*,
    stand::{expect, first, judge},
};

/// A user's own control may have a private certificate: its STARTTLS arrives all the same.
#[test]
fn a_control_with_a_bad_certificate_accuses_nobody() {
    let list = "250-mail.example.org\n250-8BITMIME\n250 SIZE";
    let plain = |talk: Talk| talk.greets("220 mail.example.org ready").ehlo(list);
    let differential = plain(Talk::smtp().variation(Variation::Differential))
        .unknown("500 What?")
        .starttls("500 What?");
    let control = Talk::to(control_service(Scheme::Smtp, 1))
        .role(control("one"))
        .greets(GREETING)
        .ehlo(POSTFIX)
        .starttls(GO)
        .invalid(InvalidReason::UnknownIssuer, "CN=Own CA", 9);
    let scene = Scene::new()
        .talk(plain(Talk::smtp()))
        .talk(differential)
        .talk(control);
    expect(&scene, Server, Some(M::NotOffered), None);
}

#[test]
fn certificates_of_operators_and_of_forgers() {
    for reason in [
        InvalidReason::Expired,
        InvalidReason::SelfSigned,
        InvalidReason::UnknownIssuer,
        InvalidReason::WrongName,
    ] {
        let scene = Scene::new()
            .talk(postfix().starttls(GO).invalid(reason, "CN=Private CA", 7))
            .talk(clean_control(Scheme::Smtp, 1));
        let finding = expect(&scene, Server, Some(M::CertificateInvalid), None);
        assert_eq!(
            (finding.encryption, finding.location.class),
            (Encryption::Unverified, LocationClass::Server)
        );
    }
    // Who asks by address cannot blame the certificate for naming a host.
    let by_address = postfix()
        .starttls(GO)
        .invalid(InvalidReason::WrongName, "CN=Public CA", 7)
        .tweak(|d| d.service.host = "192.0.2.25".into());
    let finding = expect(&Scene::new().talk(by_address), Inconclusive, None, None);
    assert_eq!(finding.encryption, Encryption::Unverified);
    assert!(
        finding
            .evidence
            .iter()
            .any(|cited| cited.excerpt.contains(HOST))
    );
    // One private issuer for unrelated hosts.
    let forged = |talk: Talk, key| {
        talk.greets(GREETING).ehlo(POSTFIX).starttls(GO).invalid(
            InvalidReason::UnknownIssuer,
            "CN=Gateway CA",
            key,
        )
    };
    let scene = Scene::new().talk(forged(Talk::smtp(), 7)).talk(forged(
        Talk::to(control_service(Scheme::Smtp, 1)).role(control("one")),
        8,
    ));
    let finding = expect(&scene, Interference, Some(M::TlsIntercepted), None);
    assert_eq!(
        finding.confidence,
        Confidence::Likely,
        "one control is one witness"
    );
    // An intercepting product's issuer, even where its root is trusted here.
    let scene = Scene::new().talk(postfix().starttls(GO).verified().tweak(|d| {
        d.handshake.as_mut().unwrap().chain =
            vec![certificate(HOST, "CN=Avast Web/Mail Shield Root", 3)]
    }));
    let finding = expect(
        &scene,
        Interference,
        Some(M::TlsIntercepted),
        Some("avast-antivirus"),
    );
    assert_eq!(
        finding.location.class,
        LocationClass::ThisHost,
        "{:?}",
        finding.location
    );
    // A firewall vendor's factory certificate names the device, not the host.
    let scene = Scene::new().talk(
        postfix()
            .starttls(GO)
            .invalid(InvalidReason::UnknownIssuer, "O=Fortinet, CN=support", 3)
            .tweak(|d| {
                d.handshake.as_mut().unwrap().chain[0].names = vec!["FE400E0000000000".into()];
            }),
    );
    expect(&scene, Server, Some(M::CertificateInvalid), None);
    // A copy of the host's real certificate.
    let sibling = Talk::to(service(Scheme::Submissions, HOST))
        .role(Role::Sibling)
        .verified();
    let scene = Scene::new()
        .talk(
            postfix()
                .starttls(GO)
                .invalid(InvalidReason::UnknownIssuer, "CN=Good CA", 9),
        )
        .talk(sibling);
    expect(&scene, Interference, Some(M::TlsIntercepted), None);
}

fn tlsa(records: &[&[u8]]) -> Vec<Record> {
    records
        .iter()
        .map(|rdata| Record::Tlsa(rdata.to_vec()))
        .collect()
}

#[test]
fn dane_proves_and_contradicts() {
    let scene = |rdata: &[u8], status, reason| {
        Scene::new()
            .lookup(
                "_25._tcp.mx.example.org",
                Question::Tlsa,
                tlsa(&[rdata]),
                status,
            )
            .talk(postfix().starttls(GO).invalid(reason, "CN=Private CA", 7))
    };
    // 3 1 0: the leaf's whole key.
    let matching = [3, 1, 0, 0x30, 0x59, 7];
    let other = [3, 1, 0, 0x30, 0x59, 8];
    let finding = expect(
        &scene(&matching, DnsStatus::Secure, InvalidReason::SelfSigned),
        Clear,
        None,
        None,
    );
    assert_eq!(finding.encryption, Encryption::Verified);
    let finding = expect(
        &scene(&matching, DnsStatus::Insecure, InvalidReason::SelfSigned),
        Server,
        Some(M::CertificateInvalid),
        None,
    );
    assert!(finding.weaknesses.is_empty());
    expect(
        &scene(&other, DnsStatus::Secure, InvalidReason::SelfSigned),
        Inconclusive,
        None,
        None,
    );
    let finding = expect(
        &scene(&other, DnsStatus::Secure, InvalidReason::UnknownIssuer),
        Interference,
        Some(M::TlsIntercepted),
        None,
    );
    assert_eq!(finding.confidence, Confidence::Indicated);
    let mismatch = Scene::new()
        .lookup(
            "_25._tcp.mx.example.org",
            Question::Tlsa,
            tlsa(&[&other]),
            DnsStatus::Secure,
        )
        .talk(clean());
    let finding = expect(&mismatch, Clear, None, None);
    assert_eq!(finding.weaknesses, [Weakness::PolicyMismatch]);
}

#[test]
fn policies_are_missed_or_contradicted() {
    let mx = |scene: Scene| {
        scene.lookup(
            "example.org",
            Question::Mx,
            vec![Record::Mx(10, HOST.into())],
            DnsStatus::Insecure,
        )
    };
    let absent = mx(Scene::new())
        .lookup(
            "_mta-sts.example.org",
            Question::Txt,
            vec![],
            DnsStatus::Insecure,
        )
        .talk(clean());
    let finding = expect(&absent, Clear, None, None);
    assert_eq!(finding.weaknesses, [Weakness::NoPolicy]);
    assert_eq!(judge(&absent).exit_status(), 0);
    let policy = |mx_line: &str| {
        mx(Scene::new())
            .lookup(
                "_mta-sts.example.org",
                Question::Txt,
                vec![Record::Txt(b"v=STSv1; id=1;".to_vec())],
                DnsStatus::Insecure,
            )
            .body(hoofbeat_observation::Body::MtaSts(
                hoofbeat_observation::MtaStsFetch {
                    domain: "example.org".into(),
                    http_status: Some(200),
                    content_type: Some("text/plain".into()),
                    body: format!(
                        "version: STSv1\r\nmode: enforce\r\nmx: {mx_line}\r\nmax_age: 86400\r\n"
                    )
                    .into_bytes(),
                    failure: None,
                },
            ))
    };
    assert!(
        first(&policy("*.example.org").talk(clean()))
            .weaknesses
            .is_empty()
    );
    assert_eq!(
        first(&policy("mail.example.net").talk(clean())).weaknesses,
        [Weakness::PolicyMismatch]
    );
    // Refused in its own words while the policy promises TLS: a rule about who asks.
    let hidden = policy("*.example.org").talk(
        differential(GREETING, &postfix_without())
            .starttls(OFF)
            .quit(BYE),
    );
    expect(&hidden, Server, Some(M::HiddenFromUs), None);
}
