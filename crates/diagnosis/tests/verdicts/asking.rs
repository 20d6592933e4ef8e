//! What is asked, of whom, and how often.

use hoofbeat_diagnosis::{Case, Mechanism as M, Question as Q, Settings, diagnose};
use hoofbeat_observation::Scheme;

use crate::{
    scene::*,
    stand::{judge, settings},
};

#[test]
fn without_a_target_the_network_is_judged() {
    let scene = Scene::new()
        .talk(clean_control(Scheme::Smtp, 1))
        .talk(clean_control(Scheme::Smtp, 2));
    let diagnosis = diagnose(&Case {
        target: "",
        measurements: &scene.measurements,
        settings: settings(),
        elsewhere: Vec::new(),
    });
    assert_eq!(
        (diagnosis.findings.len(), diagnosis.exit_status()),
        (2, 0),
        "{diagnosis:#?}"
    );
    let stripped = |n| {
        // Each keeps its own name: a list is edited, not one proxy for all.
        let list =
            postfix_without().replace("mx.example.org", &format!("mx{n}.provider{n}.example"));
        let talk =
            differential(GREETING, &list).starttls("502 5.5.1 Error: command not implemented");
        talk.tweak(|d| {
            d.service = control_service(Scheme::Smtp, n);
            d.role = control(&format!("provider {n}"));
        })
    };
    let scene = Scene::new().talk(stripped(1)).talk(stripped(2));
    let diagnosis = diagnose(&Case {
        target: "",
        measurements: &scene.measurements,
        settings: settings(),
        elsewhere: Vec::new(),
    });
    assert_eq!(diagnosis.exit_status(), 2, "{diagnosis:#?}");
    assert!(
        diagnosis
            .findings
            .iter()
            .all(|finding| finding.mechanism == Some(M::CapabilityRemoved))
    );
}

#[test]
fn declined_tests_are_said_and_not_asked() {
    let scene = Scene::new().talk(Talk::smtp().greets(GREETING).ehlo(&postfix_without()));
    let settings = Settings {
        declined: vec![("verb-differential".into(), "no time left".into())],
        ..settings()
    };
    let diagnosis = diagnose(&Case {
        target: "",
        measurements: &scene.measurements,
        settings,
        elsewhere: Vec::new(),
    });
    assert!(
        !diagnosis
            .questions
            .iter()
            .any(|q| matches!(q, Q::Differential(_)))
    );
    assert!(
        diagnosis.findings[0]
            .not_run
            .iter()
            .any(|test| test.test == "verb-differential" && test.why == "no time left")
    );
}

#[test]
fn twelve_connections_are_enough() {
    let mut scene = Scene::new();
    for _ in 0..12 {
        scene = scene.talk(Talk::smtp().greets(GREETING).ehlo(&postfix_without()));
    }
    let diagnosis = judge(&scene);
    assert!(
        !diagnosis
            .questions
            .iter()
            .any(|q| matches!(q, Q::Differential(_)))
    );
    assert!(
        diagnosis.findings[0]
            .not_run
            .iter()
            .any(|test| test.test == "verb-differential")
    );
}

#[test]
fn a_trace_that_the_user_allows_has_a_budget_of_its_own() {
    let masked = |count: usize| {
        let mut scene = Scene::new();
        for _ in 0..count {
            scene = scene.talk(Talk::smtp().greets(STARS).ehlo(POSTFIX_ASA).quit(BYE));
        }
        let rest = ["verb-differential", "controls", "negative-control"];
        diagnose(&Case {
            target: "",
            measurements: &scene.measurements,
            settings: Settings {
                declined: rest.map(|test| (test.into(), "not now".into())).to_vec(),
                ..settings()
            },
            elsewhere: Vec::new(),
        })
    };
    let asks = |count| {
        let mut questions = masked(count).questions.into_iter();
        questions.any(|question| matches!(question, Q::Trace(_)))
    };
    assert!(asks(12) && asks(21) && !asks(22));
}
