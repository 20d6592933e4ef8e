//! The same on servers that are known to work: what one server may do, unrelated servers do not do alike.

use hoofbeat_diagnosis::{
    Confidence, LocationClass, Mechanism as M,
    Verdict::{Inconclusive, Interference, Server},
};
use hoofbeat_observation::Scheme;
use hoofbeat_session::{Label, Outcome};

use crate::{
    scene::*,
    stand::{expect, first},
};

const COURIER_LIST: &str = "+OK Here's what I can do:\nTOP\nUIDL\nSASL\n.\n";

fn courier(talk: Talk, list: &str) -> Talk {
    talk.greets("+OK Hello there.")
        .step(Label::Capabilities, "CAPA", list)
}

/// Hangs up at STLS, which it does not list.
fn hangs_up() -> Scene {
    Scene::new()
        .talk(courier(Talk::pop3(), COURIER_LIST).quit("+OK Better luck next time."))
        .talk(
            courier(
                Talk::pop3().variation(hoofbeat_observation::Variation::Differential),
                COURIER_LIST,
            )
            .unknown("-ERR Invalid command.")
            .raw(Label::StartTls, "STLS", b"", Outcome::Closed),
        )
}

fn control_of(scheme: Scheme, n: u8) -> Talk {
    Talk::to(control_service(scheme, n)).role(control(&format!("provider {n}")))
}

#[test]
fn a_connection_that_ends_at_stls_is_judged_by_the_controls_lists() {
    let alone = expect(&hangs_up(), Server, Some(M::NotOffered), None);
    assert_eq!(alone.confidence, Confidence::Indicated);
    let stripped = |n| courier(control_of(Scheme::Pop3, n), COURIER_LIST).quit("+OK bye");
    let one = expect(
        &hangs_up().talk(stripped(1)),
        Interference,
        Some(M::CapabilityRemoved),
        None,
    );
    assert_eq!(
        one.confidence,
        Confidence::Indicated,
        "one control may have grown old"
    );
    let two = expect(
        &hangs_up().talk(stripped(1)).talk(stripped(2)),
        Interference,
        Some(M::CapabilityRemoved),
        None,
    );
    assert_eq!(two.confidence, Confidence::Likely);
    assert!(
        matches!(
            two.location.class,
            LocationClass::AccessNetwork
                | LocationClass::LocalNetwork
                | LocationClass::Undetermined
        ),
        "{:?}",
        two.location
    );
    let offers = courier(
        control_of(Scheme::Pop3, 3),
        "+OK Here's what I can do:\nTOP\nSTLS\n.\n",
    )
    .starttls("+OK Begin TLS")
    .verified();
    expect(
        &hangs_up().talk(offers.clone()),
        Server,
        Some(M::NotOffered),
        None,
    );
    expect(
        &hangs_up().talk(stripped(1)).talk(offers),
        Server,
        Some(M::NotOffered),
        None,
    );
}

const STRANGER: &str = "250-mx.example.org\n250-SIZE 1000\n250 STARTTLS\n";
const GATE: &str = "554 Encrypted mail is not carried here";

fn stranger(talk: Talk, refusal: &str) -> Talk {
    talk.greets("220 mail ESMTP ready")
        .ehlo(STRANGER)
        .starttls(refusal)
        .quit("221 bye")
}

#[test]
fn a_refusal_in_one_voice_from_unrelated_servers_is_not_theirs() {
    let here = |refusal: &str| Scene::new().talk(stranger(Talk::smtp(), refusal));
    let there = |n, refusal: &str| stranger(control_of(Scheme::Smtp, n), refusal);
    let two = expect(
        &here(GATE).talk(there(1, GATE)).talk(there(2, GATE)),
        Interference,
        Some(M::CommandRefused),
        None,
    );
    assert_eq!(two.confidence, Confidence::Likely);
    let one = expect(
        &here(GATE).talk(there(1, GATE)),
        Interference,
        Some(M::CommandRefused),
        None,
    );
    assert_eq!(one.confidence, Confidence::Indicated);
    // Each in words of its own: two busy servers, no voice between them.
    let two_voices = here(GATE).talk(there(1, "454 4.7.0 try another time"));
    assert_ne!(first(&two_voices).verdict, Interference);
    // One that works is enough to clear the network.
    let works = here(GATE)
        .talk(there(1, GATE))
        .talk(clean_control(Scheme::Smtp, 2));
    assert_ne!(first(&works).verdict, Interference);
    // Words that a known server has of its own prove nothing, wherever they are met.
    for own in [
        "454 TLS currently unavailable",
        "454 4.7.0 TLS not available due to local problem",
    ] {
        let busy = here(own).talk(there(1, own)).talk(there(2, own));
        assert_ne!(first(&busy).verdict, Interference, "{own}");
    }
}

#[test]
fn ehlo_unknown_to_everybody_is_not_everybodys_age() {
    let refuses = |talk: Talk, words: &str| {
        talk.greets("220 mail ESMTP")
            .ehlo(words)
            .step(Label::Helo, "HELO probe.example.net", "250 mail\n")
            .quit("221 bye")
    };
    let gate = "502 Extensions are closed\n";
    let here = |words: &str| Scene::new().talk(refuses(Talk::smtp(), words));
    let there = |n, words: &str| refuses(control_of(Scheme::Smtp, n), words);
    let two = expect(
        &here(gate).talk(there(1, gate)).talk(there(2, gate)),
        Interference,
        Some(M::EhloRefused),
        None,
    );
    assert_eq!(two.confidence, Confidence::Likely);
    assert_ne!(first(&here(gate)).verdict, Interference, "one server alone");
    // A rule about our name is every server's to have, in the words of the software they share.
    let rule = "504 5.5.2 <probe>: Helo command rejected: need fully-qualified hostname\n";
    expect(
        &here(rule).talk(there(1, rule)).talk(there(2, rule)),
        Inconclusive,
        None,
        None,
    );
    let knows = here(gate)
        .talk(there(1, gate))
        .talk(clean_control(Scheme::Smtp, 2));
    assert_ne!(first(&knows).verdict, Interference);
}
