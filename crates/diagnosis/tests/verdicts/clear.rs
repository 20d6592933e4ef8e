//! A clean server, and what is asked of one.

use hoofbeat_diagnosis::{
    Case, Confidence, Encryption, LocationClass, Question as Q, Settings, Verdict::Clear, diagnose,
};
use hoofbeat_observation::Variation;

use crate::{
    scene::*,
    stand::{expect, judge, settings},
};

#[test]
fn a_clean_server_is_clear_and_asks_nothing() {
    let scene = Scene::new().talk(clean());
    let finding = expect(&scene, Clear, None, None);
    assert_eq!(
        (finding.encryption, finding.confidence),
        (Encryption::Verified, Confidence::Established)
    );
    assert_eq!(finding.location.class, LocationClass::Undetermined);
    let diagnosis = judge(&scene);
    assert!(
        diagnosis.questions.is_empty() && diagnosis.exit_status() == 0,
        "{:?}",
        diagnosis.questions
    );
    assert!(
        finding
            .tls
            .is_some_and(|tls| tls.not_after.as_deref() == Some("2027-01-17T11:06:40Z"))
    );
}

#[test]
fn thorough_asks_for_the_injection_once() {
    let scene = Scene::new().talk(clean());
    let ask = |scene: &Scene| {
        diagnose(&Case {
            target: "",
            measurements: &scene.measurements,
            settings: Settings {
                thorough: true,
                ..settings()
            },
            elsewhere: Vec::new(),
        })
        .questions
    };
    assert!(matches!(ask(&scene).as_slice(), [Q::Injection(_)]));
    let answered = scene.talk(clean().variation(Variation::Injection));
    assert!(ask(&answered).is_empty());
}
