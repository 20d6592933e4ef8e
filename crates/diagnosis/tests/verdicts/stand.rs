//! Where every test of verdicts stands: judges a scene and compares what matters.

use hoofbeat_diagnosis::{Case, Diagnosis, Finding, Mechanism, Settings, Verdict, diagnose};

use crate::scene::{NOW, Scene};

pub fn settings() -> Settings {
    Settings {
        now: NOW,
        ..Settings::default()
    }
}
pub fn judge(scene: &Scene) -> Diagnosis {
    diagnose(&Case {
        target: "example.org",
        measurements: &scene.measurements,
        settings: settings(),
        elsewhere: Vec::new(),
    })
}
pub fn first(scene: &Scene) -> Finding {
    judge(scene).findings.into_iter().next().expect("a finding")
}
#[track_caller]
pub fn expect(
    scene: &Scene,
    verdict: Verdict,
    mechanism: Option<Mechanism>,
    product: Option<&str>,
) -> Finding {
    let finding = first(scene);
    assert_eq!(
        (
            finding.verdict,
            finding.mechanism,
            finding.product.as_deref()
        ),
        (verdict, mechanism, product),
        "{finding:#?}"
    );
    for cited in &finding.evidence {
        assert!(
            scene.measurements.iter().any(|m| m.id == cited.measurement),
            "cites what was measured: {cited:?}"
        );
    }
    finding
}
