//! `hoofbeat demo`: the real prober and judge against an embedded lab; no privilege, no network.

use futures_util::StreamExt as _;
use hoofbeat_lab::{Lab, Scenario};
use hoofbeat_net::{Families, Resolver, Route, Trust};
use hoofbeat_observation::Vantage;
use hoofbeat_probe::Target;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Stop,
    check::json,
    inquiry::{Answer, inquire},
    progress::Line,
    render::{self, table::columns, text::Detail},
    settings::{CONNECTIONS_PER_SERVER, Controls, InquirySettings},
    tracing::Tracing,
    typed,
};

/// Boxes at once: most of a check is waiting for silence to prove itself.
const AT_ONCE: usize = 16;
/// Long enough for the slowest box of the demo, short enough for whoever watches.
const TIMEOUT: Duration = Duration::from_secs(12);
/// With `--all`: a postscreen delay and its kin.
const TIMEOUT_ALL: Duration = Duration::from_secs(60);
/// The full report at the end shows this box, the one the whole story began with.
const SHOWN: &str = "cisco-asa-gen2";

struct Outcome {
    scenario: &'static Scenario,
    answer: Answer,
}

impl Outcome {
    fn verdict(&self) -> String {
        let Some(finding) = self.answer.diagnosis.findings.first() else {
            return self.answer.diagnosis.overall.verdict.to_string();
        };
        finding.mechanism.map_or_else(
            || finding.verdict.to_string(),
            |m| format!("{}, {m}", finding.verdict),
        )
    }

    fn as_expected(&self) -> bool {
        let expected = &self.scenario.expected;
        let (verdict, mechanism) = match self.answer.diagnosis.findings.first() {
            Some(finding) => (finding.verdict, finding.mechanism),
            None => (self.answer.diagnosis.overall.verdict, None),
        };
        expected.accepts(verdict.word(), mechanism.map(|m| m.word()))
    }
}

/// Runs the command: 0 when every box got its expected verdict, 1 otherwise.
pub(super) async fn run(typed: typed::Demo) -> Result<u8, Stop> {
    let began = Instant::now();
    // Held-out scenarios are for estimates (`cargo xtask accuracy`); nobody promises their verdicts.
    let chosen: Vec<&'static Scenario> = Scenario::all()
        .iter()
        .filter(|s| s.demo || (typed.all && !s.held_out))
        .collect();
    let line = Line::new(!typed.json);
    line.say(format!(
        "starting {} lab servers and boxes on loopback",
        chosen.len()
    ));
    let timeout = if typed.all { TIMEOUT_ALL } else { TIMEOUT };
    let total = chosen.len();
    let mut running = futures_util::stream::iter(chosen)
        .map(|scenario| one(scenario, timeout, &line))
        .buffer_unordered(AT_ONCE);
    let mut outcomes = Vec::with_capacity(total);
    while let Some(outcome) = running.next().await {
        let outcome = outcome?;
        line.say(format!(
            "{} of {total} checked, last: {}",
            outcomes.len() + 1,
            outcome.scenario.id
        ));
        outcomes.push(outcome);
    }
    drop(running);
    drop(line);
    // As the lab lists them, not as they happened to finish.
    outcomes.sort_by_key(|outcome| {
        Scenario::all()
            .iter()
            .position(|s| s.id == outcome.scenario.id)
    });
    let right = outcomes
        .iter()
        .filter(|outcome| outcome.as_expected())
        .count();
    if typed.json {
        render::print(
            &outcomes
                .iter()
                .map(|o| format!("{}\n", json(&o.answer)))
                .collect::<String>(),
        );
    } else {
        render::print(&overview(&outcomes));
        if let Some(shown) = outcomes.iter().find(|outcome| outcome.scenario.id == SHOWN) {
            render::print(&format!(
                "\nThe full report of {SHOWN}, as `hoofbeat check` prints it:\n\n"
            ));
            render::print(&render::text::report(
                &shown.answer.target,
                &shown.answer.diagnosis,
                &shown.answer.measurements,
                Detail::Report,
            ));
        }
        let seconds = began.elapsed().as_secs_f64();
        render::print(&format!(
            "\n{right} of {total} as expected, in {seconds:.1} s\n"
        ));
    }
    Ok(u8::from(right != total))
}

async fn one(scenario: &'static Scenario, timeout: Duration, line: &Line) -> Result<Outcome, Stop> {
    let failed =
        |error: &dyn std::fmt::Display| Stop::bug(format!("demo: {}: {error}", scenario.id));
    let lab = Lab::start(scenario, None, None)
        .await
        .map_err(|error| failed(&error))?;
    let typed = lab.url();
    let target = Target::parse(&typed).map_err(|error| failed(&error))?;
    let parse = |url: &str| Target::parse(url).map_err(|error| failed(&error));
    let settings = InquirySettings {
        controls: Controls::Own(vec![parse(&lab.control_url())?]),
        siblings: lab
            .siblings
            .iter()
            .map(|sibling| parse(&format!("{}://{}", sibling.scheme, sibling.address)))
            .collect::<Result<_, Stop>>()?,
        trust: Arc::new(
            Trust::none()
                .with_pem(lab.ca_pem.as_bytes())
                .map_err(|error| failed(&error))?,
        ),
        resolver: Resolver::system(),
        route: Route::Direct,
        families: Families::Both,
        timeout,
        connections_per_server: CONNECTIONS_PER_SERVER,
        client_name: None,
        thorough: scenario.thorough,
        tracing: Tracing::never(),
        witness: None,
        vantage: Vantage::default(),
        numbering: Arc::default(),
    };
    let answer = inquire(&typed, Some(&target), &settings, &|step| {
        line.show(&scenario.id, step)
    })
    .await;
    lab.stop().await;
    Ok(Outcome { scenario, answer })
}

fn expected(scenario: &Scenario) -> String {
    let wanted = &scenario.expected;
    wanted.mechanism.map_or_else(
        || wanted.verdict.to_string(),
        |m| format!("{}, {m}", wanted.verdict),
    )
}

fn overview(outcomes: &[Outcome]) -> String {
    let rows: Vec<Vec<String>> = outcomes
        .iter()
        .map(|outcome| {
            let finding = outcome.answer.diagnosis.findings.first();
            vec![
                outcome.scenario.id.clone(),
                outcome.verdict(),
                finding.and_then(|f| f.product.clone()).unwrap_or_default(),
                finding.map_or_else(String::new, |f| f.location.class.to_string()),
                format!("{:.2} s", outcome.answer.elapsed.as_secs_f64()),
                outcome.answer.connections.to_string(),
                if outcome.as_expected() {
                    "as expected".to_owned()
                } else {
                    format!("EXPECTED {}", expected(outcome.scenario))
                },
            ]
        })
        .collect();
    columns(
        &["BOX", "VERDICT", "PRODUCT", "PLACE", "TIME", "CONN.", ""],
        &rows,
    )
}
