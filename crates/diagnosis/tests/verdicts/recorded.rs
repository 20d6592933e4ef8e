//! What other people recorded: judged as far as it goes.

use hoofbeat_diagnosis::{
    Mechanism as M,
    Verdict::{Clear, Inconclusive, Interference, Server, Unreachable},
};
use hoofbeat_observation::dialogue::Claimed;

use crate::{
    scene::*,
    stand::{expect, judge},
};

#[test]
fn recordings_say_what_they_can() {
    let list_only = Talk::smtp()
        .text()
        .greets(GREETING)
        .ehlo(&postfix_without());
    let finding = expect(&Scene::new().talk(list_only), Inconclusive, None, None);
    assert!(
        finding
            .not_run
            .iter()
            .any(|test| test.why.contains("line ends"))
    );
    assert!(
        judge(
            &Scene::new().talk(
                Talk::smtp()
                    .text()
                    .greets(GREETING)
                    .ehlo(&postfix_without())
            )
        )
        .questions
        .is_empty()
    );
    let norton = Talk::smtp()
        .text()
        .greets(GREETING)
        .ehlo(POSTFIX)
        .starttls("500 Unsupported command.")
        .quit("221 Closing connection. Good bye.");
    expect(
        &Scene::new().talk(norton),
        Interference,
        Some(M::CommandRefused),
        Some("norton-antivirus"),
    );
    for (claimed, verdict, mechanism) in [
        (Claimed::PixWorkarounds, Interference, Some(M::BannerMasked)),
        (
            Claimed::CertificateInvalid,
            Server,
            Some(M::CertificateInvalid),
        ),
        (Claimed::StartTlsNotOffered, Inconclusive, None),
        (Claimed::LostAfterStartTls, Inconclusive, None),
        (Claimed::TlsVerified, Clear, None),
        (Claimed::TlsEstablished, Inconclusive, None),
        (Claimed::ConnectFailed, Unreachable, None),
    ] {
        let talk = Talk::smtp()
            .claims(&[(
                claimed,
                "postfix/smtp[1]: certificate verification failed: certificate has expired",
            )])
            .tweak(|d| d.connect.established = None);
        expect(&Scene::new().talk(talk), verdict, mechanism, None);
    }
}
