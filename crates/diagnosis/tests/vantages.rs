//! The same target from several places: what each relation adds, and how little two of them prove.

mod scene;

use hoofbeat_diagnosis::{
    Case, Elsewhere, Finding, LocationClass as L, Mechanism as M, Settings, Verdict, diagnose,
};
use hoofbeat_observation::{HandshakeOutcome, Measurement, Vantage, Variation};
use hoofbeat_session::Label;
use scene::*;

fn vantage(host: &str, network: &str) -> Vantage {
    Vantage {
        name: Some(format!("{host} at {network}")),
        host: Some(host.into()),
        network: Some(network.into()),
        ..Vantage::default()
    }
}
/// A scene as measured from a place.
fn from(scene: Scene, vantage: &Vantage, hours: i64) -> Vec<Measurement> {
    let mut measurements = scene.measurements;
    for measurement in &mut measurements {
        measurement.vantage = vantage.clone();
        measurement.started += hours * 3600;
    }
    measurements
}
fn judge(here: &[Measurement], others: &[(Vantage, Vec<Measurement>)]) -> Finding {
    let elsewhere = others
        .iter()
        .map(|(vantage, measurements)| Elsewhere {
            vantage,
            measurements,
        })
        .collect();
    diagnose(&Case {
        target: "example.org",
        measurements: here,
        settings: Settings {
            now: NOW,
            ..Settings::default()
        },
        elsewhere,
    })
    .findings
    .remove(0)
}
fn at(place: Vantage, scene: Scene) -> (Vantage, Vec<Measurement>) {
    let measurements = from(scene, &place, 0);
    (place, measurements)
}
fn hidden() -> Scene {
    Scene::new()
        .talk(Talk::smtp().greets(GREETING).ehlo(&postfix_without()))
        .talk(inside(
            differential(GREETING, &postfix_without())
                .starttls(GO)
                .verified(),
        ))
}
fn refused() -> Scene {
    Scene::new().talk(
        differential(GREETING, &postfix_without())
            .starttls(OFF)
            .quit(BYE),
    )
}
fn fine() -> Scene {
    Scene::new().talk(clean())
}
fn mobile() -> Vantage {
    vantage("laptop", "mobile")
}

#[test]
fn the_cafe_is_clean_and_the_carrier_strips() {
    let here = from(masked(), &mobile(), 0);
    let alone = judge(&here, &[]);
    let finding = judge(&here, &[at(vantage("laptop", "cafe"), fine())]);
    assert_eq!(finding.verdict, Verdict::Interference);
    assert!(weighs(&finding, "tether-clean"));
    assert!(finding.location.posterior["server-edge"] < alone.location.posterior["server-edge"]);
    // Two places are an anecdote: nobody is named.
    assert_eq!(
        finding.location.class,
        L::Undetermined,
        "{:?}",
        finding.location
    );
    // Another machine on the carrier's network as well, and a friend elsewhere: the carrier leads, below its cap.
    let finding = judge(
        &here,
        &[
            at(vantage("laptop", "cafe"), fine()),
            at(vantage("pad", "mobile"), masked()),
            at(vantage("desk", "office"), fine()),
        ],
    );
    assert!(weighs(&finding, "peer-stripped") && weighs(&finding, "few-vantages-clean"));
    assert!(finding.location.posterior["access-network"] <= 0.9 + 1e-3);
    assert!(
        finding.location.posterior["access-network"] > finding.location.posterior["server-edge"]
    );
}

#[test]
fn stripped_from_everywhere_is_the_servers_edge() {
    let here = from(masked(), &mobile(), 0);
    let finding = judge(
        &here,
        &[
            at(vantage("laptop", "cafe"), masked()),
            at(vantage("desk", "office"), masked()),
        ],
    );
    assert_eq!(
        finding.location.class,
        L::ServerEdge,
        "{:?}",
        finding.location
    );
    assert!(weighs(&finding, "tether-stripped") && weighs(&finding, "few-vantages-stripped"));
}

#[test]
fn hidden_by_who_asks() {
    let here = from(refused(), &mobile(), 0);
    assert_eq!(judge(&here, &[]).mechanism, Some(M::NotOffered));
    let finding = judge(&here, &[at(vantage("laptop", "cafe"), fine())]);
    assert_eq!(
        (finding.verdict, finding.mechanism, finding.location.class),
        (Verdict::Server, Some(M::HiddenFromUs), L::ServerPolicy),
        "{finding:#?}"
    );
    // In this session the server itself shows STARTTLS: no vantage makes that a policy.
    let here = from(hidden(), &mobile(), 0);
    let finding = judge(&here, &[at(vantage("laptop", "cafe"), fine())]);
    assert_eq!(finding.verdict, Verdict::Interference);
    assert!(!finding.location.posterior.contains_key("server-policy"));
}

#[test]
fn what_gets_no_answer_elsewhere_is_not_clean_there() {
    let unanswered = || {
        Scene::new()
            .talk(differential(GREETING, POSTFIX).quit(BYE))
            .talk(differential(GREETING, POSTFIX).silent(Label::StartTls, "STARTTLS"))
    };
    let here = from(unanswered(), &mobile(), 0);
    let finding = judge(&here, &[at(vantage("desk", "office"), unanswered())]);
    assert!(weighs(&finding, "few-vantages-stripped"), "{finding:#?}");
    // Another spelling that passes there does not clear it.
    let spelled = unanswered().talk(
        inside(
            Talk::smtp()
                .greets(GREETING)
                .ehlo(POSTFIX)
                .starttls(GO)
                .verified(),
        )
        .variation(Variation::MixedCase),
    );
    let finding = judge(&here, &[at(vantage("desk", "office"), spelled)]);
    assert!(weighs(&finding, "few-vantages-stripped"), "{finding:#?}");
    let finding = judge(&here, &[at(vantage("desk", "office"), fine())]);
    assert!(weighs(&finding, "few-vantages-clean"), "{finding:#?}");
}

#[test]
fn from_inside_the_servers_network() {
    let inside = Vantage {
        inside: true,
        ..vantage("postmaster", "server")
    };
    let here = from(masked(), &mobile(), 0);
    let finding = judge(&here, &[at(inside.clone(), fine())]);
    assert!(weighs(&finding, "inside-clean") && finding.verdict == Verdict::Interference);
    // A handshake that breaks out here alone is not the server's doing, if both looked at the same time.
    let broken = || {
        let dies = || {
            differential(GREETING, POSTFIX)
                .starttls(GO)
                .dies(HandshakeOutcome::Reset)
        };
        Scene::new().talk(dies()).talk(dies())
    };
    let here = from(broken(), &mobile(), 0);
    assert_ne!(judge(&here, &[]).verdict, Verdict::Interference);
    let finding = judge(&here, &[at(inside.clone(), fine())]);
    assert_eq!(
        (finding.verdict, finding.mechanism),
        (Verdict::Interference, Some(M::HandshakeReset)),
        "{finding:#?}"
    );
    // Two hours later it may have been mended.
    let later = from(fine(), &inside, 2);
    let finding = judge(&here, &[(inside.clone(), later)]);
    assert_ne!(finding.verdict, Verdict::Interference, "{finding:#?}");
    // The server does not offer it even there.
    let here = from(refused(), &mobile(), 0);
    let finding = judge(&here, &[at(inside, refused())]);
    assert_eq!(
        (finding.verdict, finding.location.class),
        (Verdict::Server, L::Server)
    );
}

#[test]
fn other_days_and_unknown_places_count_for_nothing() {
    let here = from(masked(), &mobile(), 0);
    let alone = judge(&here, &[]);
    let cafe = vantage("laptop", "cafe");
    let late = (cafe.clone(), from(fine(), &cafe, 30));
    let finding = judge(&here, &[late]);
    assert_eq!(finding.location.posterior, alone.location.posterior);
    assert!(
        finding
            .not_run
            .iter()
            .any(|test| test.test == "vantages" && test.why.contains("30 hours"))
    );
    let nameless = (Vantage::default(), fine().measurements);
    let finding = judge(&here, &[nameless]);
    assert_eq!(finding.location.posterior, alone.location.posterior);
    assert!(
        finding
            .not_run
            .iter()
            .any(|test| test.why.contains("cannot be told"))
    );
    // Another target altogether says nothing.
    let other = Scene::new().talk(
        Talk::to(service(
            hoofbeat_observation::Scheme::Smtp,
            "mx.other.example",
        ))
        .greets(GREETING)
        .ehlo(POSTFIX),
    );
    assert_eq!(judge(&here, &[at(cafe, other)]), alone);
}

#[test]
fn another_host_of_the_network_points_to_this_one_or_away() {
    let here = from(hidden(), &vantage("laptop", "home"), 0);
    let clean = judge(&here, &[at(vantage("pad", "home"), fine())]);
    let stripped = judge(&here, &[at(vantage("pad", "home"), hidden())]);
    assert!(
        clean.location.posterior["this-host"] > 0.3,
        "{:?}",
        clean.location
    );
    assert!(
        stripped.location.posterior["this-host"] < 0.05,
        "{:?}",
        stripped.location
    );
}

#[test]
fn a_handshake_that_fails_everywhere_is_no_rule_about_who_asks() {
    let broken = || Scene::new().talk(postfix().starttls(GO).dies(HandshakeOutcome::Closed));
    let finding = judge(
        &from(broken(), &mobile(), 0),
        &[at(vantage("laptop", "cafe"), broken())],
    );
    assert!(!weighs(&finding, "tether-clean"), "{:?}", finding.location);
    let finding = judge(
        &from(broken(), &mobile(), 0),
        &[at(vantage("laptop", "cafe"), fine())],
    );
    assert!(weighs(&finding, "tether-clean"), "{:?}", finding.location);
}
