//! Hops, a witness and several vantages joined: caps hold, ablation works, and what was not measured changes nothing.

mod road;
mod scene;

use hoofbeat_diagnosis::{Case, Confidence, Diagnosis, Elsewhere, Settings, Verdict, diagnose};
use hoofbeat_observation::{Body, Measurement, Scheme, Trace, Vantage};
use proptest::prelude::*;
use road::*;
use scene::*;

fn judge(
    measurements: &[Measurement],
    leave_out: &[&str],
    elsewhere: &[(Vantage, Vec<Measurement>)],
) -> Diagnosis {
    diagnose(&Case {
        target: "example.org",
        measurements,
        settings: Settings {
            now: NOW,
            leave_out: leave_out.iter().map(|code| (*code).into()).collect(),
            ..Settings::default()
        },
        elsewhere: elsewhere
            .iter()
            .map(|(vantage, measurements)| Elsewhere {
                vantage,
                measurements,
            })
            .collect(),
    })
}

fn bases() -> Vec<Scene> {
    let without = postfix_without();
    let unknown = "250-mx.example.org\n250-8BITMIME\n250 SIZE 1000\n";
    vec![
        Scene::new().talk(clean()),
        Scene::new()
            .talk(Talk::smtp().greets(STARS).ehlo(POSTFIX_ASA))
            .talk(differential(STARS, POSTFIX_ASA).starttls(UNKNOWN)),
        Scene::new().talk(differential(GREETING, &without).starttls(OFF)),
        Scene::new()
            .talk(Talk::smtp().greets(GREETING).ehlo(&without))
            .talk(inside(
                differential(GREETING, &without).starttls(GO).verified(),
            )),
        Scene::new().talk(
            Talk::smtp()
                .variation(hoofbeat_observation::Variation::Differential)
                .greets("220 mx ready")
                .ehlo(unknown)
                .noop("250 fine")
                .unknown("500 what?")
                .starttls("500 what?"),
        ),
        Scene::new().talk(Talk::smtp().greets("421 4.7.0 too many")),
    ]
}

fn third_party(diagnosis: &Diagnosis) -> f64 {
    diagnosis
        .findings
        .iter()
        .flat_map(|finding| {
            ["transit", "access-network"].map(|class| {
                finding
                    .location
                    .posterior
                    .get(class)
                    .copied()
                    .unwrap_or(0.0)
            })
        })
        .fold(0.0, f64::max)
}

/// Any combination of what may be measured beyond dialogues.
#[derive(Debug, Clone)]
struct More {
    base: usize,
    changed: Option<u8>,
    forged: Option<(u8, bool)>,
    silent: Vec<u8>,
    quote: usize,
    table: bool,
    witness: Option<bool>,
    backward: Option<u8>,
    controls: Option<bool>,
    vantages: Vec<(usize, bool, bool)>,
}

fn more() -> impl Strategy<Value = More> {
    let road = (
        0..6_usize,
        proptest::option::of(1..8_u8),
        proptest::option::of((1..6_u8, any::<bool>())),
        proptest::collection::vec(1..6_u8, 0..3),
        prop_oneof![Just(28_usize), Just(40), Just(45), Just(128)],
        any::<bool>(),
    );
    let others = (
        proptest::option::of(any::<bool>()),
        proptest::option::of(1..5_u8),
        proptest::option::of(any::<bool>()),
        proptest::collection::vec((0..6_usize, any::<bool>(), any::<bool>()), 0..4),
    );
    (road, others).prop_map(
        |(
            (base, changed, forged, silent, quote, table),
            (witness, backward, controls, vantages),
        )| More {
            base,
            changed,
            forged,
            silent,
            quote,
            table,
            witness,
            backward,
            controls,
            vantages,
        },
    )
}

impl More {
    fn road(&self) -> Trace {
        Road {
            changed_at: self.changed,
            forged_at: self.forged,
            silent: self.silent.clone(),
            quote: self.quote,
            ..Road::default()
        }
        .sweep()
    }
    fn scene(&self) -> Scene {
        let mut scene = bases()
            .swap_remove(self.base)
            .body(surroundings(self.table))
            .body(Body::Trace(self.road()));
        if let Some(tampered) = self.witness {
            let visit = Visit {
                trace: self.backward.map(|hop| backward(Some(hop))),
                ..if tampered {
                    Visit::masked()
                } else {
                    Visit::default()
                }
            };
            scene = scene.talk(visit.talk()).body(visit.body());
        }
        if let Some(clean) = self.controls {
            for n in [1, 2] {
                scene = scene.talk(if clean {
                    clean_control(Scheme::Smtp, n)
                } else {
                    Talk::to(control_service(Scheme::Smtp, n))
                        .role(control(&format!("p{n}")))
                        .greets(STARS)
                        .ehlo(POSTFIX_ASA)
                });
            }
        }
        scene
    }
    fn elsewhere(&self) -> Vec<(Vantage, Vec<Measurement>)> {
        self.vantages
            .iter()
            .map(|(base, host, network)| {
                let vantage = Vantage {
                    host: Some(if *host { "laptop".into() } else { "pad".into() }),
                    network: Some(if *network {
                        "mobile".into()
                    } else {
                        "cafe".into()
                    }),
                    ..Vantage::default()
                };
                (vantage, bases().swap_remove(*base).measurements)
            })
            .collect()
    }
}

fn labelled(scene: Scene) -> Vec<Measurement> {
    let mut measurements = scene.measurements;
    for measurement in &mut measurements {
        measurement.vantage.host = Some("laptop".into());
        measurement.vantage.network = Some("mobile".into());
    }
    measurements
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever comes together: sums of one, caps, evidence that cites what was measured, and the same again.
    #[test]
    fn everything_together_is_sound(more in more()) {
        let measurements = labelled(more.scene());
        let elsewhere = more.elsewhere();
        let diagnosis = judge(&measurements, &[], &elsewhere);
        prop_assert_eq!(&diagnosis, &judge(&measurements, &[], &elsewhere));
        for finding in &diagnosis.findings {
            let sum: f64 = finding.location.posterior.values().sum();
            prop_assert!((sum - 1.0).abs() < 1e-3, "{:?}", finding.location);
            prop_assert!(finding.location.posterior.values().all(|p| (0.0..=1.0).contains(p)));
            if finding.verdict == Verdict::Interference {
                prop_assert!(!finding.evidence.is_empty() && finding.mechanism.is_some() && !finding.innocent.is_empty());
                prop_assert!(finding.confidence != Confidence::Undetermined);
            }
            let everything = || measurements.iter().chain(elsewhere.iter().flat_map(|(_, all)| all));
            for cited in &finding.evidence {
                prop_assert!(everything().any(|one| one.id == cited.measurement), "{cited:?}");
                prop_assert!(cited.excerpt.chars().count() <= 160);
            }
            if let (Some(segment), Some(credible)) = (finding.location.segment, finding.location.credible) {
                prop_assert!(segment.after_hop < segment.up_to_hop && credible.after_hop < credible.up_to_hop);
                prop_assert!(credible.probability >= 0.9 - 1e-6);
            }
        }
        let alone = elsewhere.is_empty();
        let cap = match (alone, more.witness.is_some()) {
            (true, false) => 0.80,
            (false, false) => 0.90,
            _ => 0.97,
        };
        prop_assert!(third_party(&diagnosis) <= cap + 1e-3, "{:?}", diagnosis.findings);
        // A server that shows working TLS from here is never accused by hops, witnesses or other places.
        if more.base == 0 {
            prop_assert!(diagnosis.findings.iter().all(|finding| finding.verdict == Verdict::Clear));
        }
        // Nor is one that says no in its own words, unless servers that are known to offer TLS are masked as well.
        if more.base == 2 && more.controls != Some(false) {
            prop_assert!(diagnosis.findings.iter().all(|finding| finding.verdict != Verdict::Interference), "{:#?}", diagnosis.findings);
        }
    }

    /// With every further group left out, the judgement is the one of the dialogues.
    #[test]
    fn leaving_all_of_it_out_gives_the_dialogues_judgement(more in more()) {
        let measurements = labelled(more.scene());
        let dialogues: Vec<Measurement> = measurements
            .iter()
            .filter(|one| one.dialogue().is_some_and(|dialogue| !matches!(dialogue.role, hoofbeat_observation::Role::Witness { .. })))
            .cloned()
            .collect();
        let left = judge(&measurements, &["G3", "G5", "G6", "G7", "G8", "G9", "G11"], &more.elsewhere());
        let bare = judge(&dialogues, &["G6"], &[]);
        for (left, bare) in left.findings.iter().zip(&bare.findings) {
            prop_assert_eq!((left.verdict, left.mechanism, left.confidence), (bare.verdict, bare.mechanism, bare.confidence));
            prop_assert_eq!((&left.location.posterior, left.location.class), (&bare.location.posterior, bare.location.class));
            prop_assert_eq!(left.location.segment, None);
        }
    }

    /// A trace that shows no change never lifts a third party above its cap, nor makes an accusation of its own.
    #[test]
    fn clean_traces_accuse_nobody(more in more()) {
        let clean = More { changed: None, forged: None, witness: None, vantages: Vec::new(), ..more };
        let with = judge(&labelled(clean.scene()), &[], &[]);
        let bare = labelled(bases().swap_remove(clean.base));
        let without = judge(&bare, &[], &[]);
        prop_assert!(third_party(&with) <= 0.8 + 1e-3);
        if clean.controls.is_none() && without.findings[0].verdict != Verdict::Interference {
            prop_assert!(with.findings[0].verdict != Verdict::Interference, "{:#?}", with.findings);
        }
    }
}

#[test]
fn left_out_words_are_told_by_group() {
    let scene = bases().swap_remove(1);
    let all = judge(&scene.measurements, &["G10"], &[]);
    let told: Vec<&str> = all.findings[0]
        .location
        .weighed
        .iter()
        .map(|one| one.group)
        .collect();
    assert!(told.contains(&"G1") && told.contains(&"G2"), "{told:?}");
    let without = judge(&scene.measurements, &["G1", "G2"], &[]);
    assert!(
        without.findings[0]
            .location
            .weighed
            .iter()
            .all(|one| one.group != "G1" && one.group != "G2")
    );
    // Dialogues alone, with nothing left out, say nothing of it: their document stays as it was.
    assert!(
        judge(&scene.measurements, &[], &[]).findings[0]
            .location
            .weighed
            .is_empty()
    );
}
