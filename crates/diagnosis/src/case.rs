//! A case: all that was measured for one target. Groups it by service, has each judged, sums up.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use hoofbeat_observation::{Body, Measurement, Role, Service, Vantage};

use crate::{
    Confidence, Diagnosis, DirectedPath, Finding, Location, PathReport, Verdict, asking,
    bench::{Bench, dialect_of},
    elsewhere::{self, Others},
    evidence, explain,
    hearing::Hearing,
    judge,
    path::{
        place::Map,
        walk::{Cited, walk},
    },
    policy::Policy,
    remedy, weakness,
    witness::testimony,
};

/// How a case is to be judged.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Wall clock, seconds since 1970; used only where a measurement does not tell its own time.
    pub now: i64,
    /// Tests that are harmless but not RFC-legal may be asked for: the server is the user's own.
    pub thorough: bool,
    /// Tests (see [`crate::Question::id`]) that will not or could not be run, and why: not asked again.
    pub declined: Vec<(String, String)>,
    /// Groups of evidence that are not to be weighed, such as `G3`: shows what each contributes.
    pub leave_out: Vec<String>,
}

/// What another vantage measured of the same target.
#[derive(Debug, Clone, Copy)]
pub struct Elsewhere<'a> {
    /// From where.
    pub vantage: &'a Vantage,
    /// What it measured.
    pub measurements: &'a [Measurement],
}

/// All that was measured for one target.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// The target as typed; empty for a check of the network one sits on.
    pub target: &'a str,
    /// The measurements, in the order in which they were made.
    pub measurements: &'a [Measurement],
    /// How to judge.
    pub settings: Settings,
    /// What other vantages measured of the same target.
    pub elsewhere: Vec<Elsewhere<'a>>,
}

/// Judges a case.
///
/// The same measurements and settings give the same diagnosis, however often and wherever it is called.
/// With no dialogue to a target service, the controls themselves are judged: does this network interfere?
///
/// ```
/// use hoofbeat_diagnosis::{Case, Settings, Verdict, diagnose};
/// let nothing = diagnose(&Case { target: "example.org", measurements: &[], settings: Settings::default(), elsewhere: Vec::new() });
/// assert_eq!((nothing.overall.verdict, nothing.exit_status()), (Verdict::Inconclusive, 3));
/// ```
#[must_use]
pub fn diagnose(case: &Case<'_>) -> Diagnosis {
    let hearings: Vec<Hearing<'_>> = case.measurements.iter().filter_map(Hearing::of).collect();
    let is_target = |hearing: &&Hearing<'_>| hearing.dialogue.role == Role::Target;
    let network_only = !hearings.iter().any(|hearing| is_target(&hearing));
    let judged = |hearing: &&Hearing<'_>| {
        if network_only {
            matches!(hearing.dialogue.role, Role::Control { .. })
        } else {
            is_target(hearing)
        }
    };
    let mut services: Vec<&Service> = Vec::new();
    for hearing in hearings.iter().filter(judged) {
        if !services.contains(&&hearing.dialogue.service) {
            services.push(&hearing.dialogue.service);
        }
    }
    if services.is_empty() {
        return without_services(case);
    }
    let mut findings = Vec::new();
    let mut sentences = Vec::new();
    let mut questions = Vec::new();
    for service in services {
        let bench = bench(case, &hearings, service, network_only);
        let (finding, sentence, open) = find(&bench);
        findings.push(finding);
        sentences.push(sentence);
        for question in open {
            if !questions.contains(&question) {
                questions.push(question);
            }
        }
    }
    Diagnosis {
        overall: explain::overall(&findings, &sentences),
        findings,
        questions,
    }
}

fn without_services(case: &Case<'_>) -> Diagnosis {
    let why = case
        .measurements
        .iter()
        .find_map(|measurement| match &measurement.body {
            Body::Unresolved(why) => Some(why),
            _ => None,
        });
    let overall = why.map_or_else(
        || explain::overall(&[], &[]),
        |why| explain::unresolved(case.target, why),
    );
    Diagnosis {
        overall,
        findings: Vec::new(),
        questions: Vec::new(),
    }
}

fn bench<'c, 'a>(
    case: &'c Case<'a>,
    hearings: &'c [Hearing<'a>],
    service: &'a Service,
    network_only: bool,
) -> Bench<'c, 'a> {
    let mut bench = Bench {
        service,
        hearings: Vec::new(),
        siblings: Vec::new(),
        controls: Vec::new(),
        negatives: Vec::new(),
        known: None,
        policy: Policy::gather(case.measurements, service),
        settings: &case.settings,
        dialect: None,
        path: None,
        testimony: None,
        others: Others::default(),
    };
    for hearing in hearings {
        let dialogue = hearing.dialogue;
        let is_it = dialogue.service == *service;
        let same_host =
            dialogue.service.host.eq_ignore_ascii_case(&service.host) && !service.host.is_empty();
        let same_address =
            dialogue.service.address.is_some() && dialogue.service.address == service.address;
        match &dialogue.role {
            Role::Control { operator, known } if network_only && is_it => {
                bench.known = Some((operator, known));
                bench.hearings.push(hearing);
            }
            Role::Control { .. } => bench.controls.push(hearing),
            Role::NegativeControl => bench.negatives.push(hearing),
            Role::Target if is_it => bench.hearings.push(hearing),
            Role::Target | Role::Sibling if same_host || same_address => {
                bench.siblings.push(hearing)
            }
            Role::Target | Role::Sibling | Role::Witness { .. } => {}
        }
    }
    bench.dialect = dialect_of(&bench.hearings);
    further(case, hearings, &mut bench);
    bench
}

/// Reads what lies beyond dialogues: the path, a witness, other vantages.
fn further<'a>(case: &Case<'a>, hearings: &[Hearing<'a>], bench: &mut Bench<'_, 'a>) {
    let first = bench.hearings.first().map(|hearing| hearing.id);
    let here = case
        .measurements
        .iter()
        .find(|measurement| Some(measurement.id.as_str()) == first);
    let surroundings = case
        .measurements
        .iter()
        .filter_map(|measurement| match &measurement.body {
            Body::Surroundings(surroundings) => Some(surroundings),
            _ => None,
        });
    let map = Map::of(surroundings, here.and_then(|here| here.vantage.address));
    let traces: Vec<Cited<'a>> = case
        .measurements
        .iter()
        .filter_map(|measurement| Some((measurement.id.as_str(), measurement.trace()?)))
        .collect();
    bench.path = walk(bench.service, &traces, &map);
    let visits: Vec<_> = case
        .measurements
        .iter()
        .filter_map(|measurement| Some((measurement.id.as_str(), measurement.visit()?)))
        .collect();
    bench.testimony = testimony::hear(bench.service, &visits, hearings, &map);
    if let Some(here) = here {
        bench.others = elsewhere::hear(
            bench.service,
            here,
            &case.elsewhere,
            case.measurements,
            |group| bench.leaves_out(group),
        );
    }
}

/// The path as reported: the target's own trace, and the witness's beside it.
fn path_report(bench: &Bench<'_, '_>, location: &Location) -> Option<PathReport> {
    let back = bench
        .testimony
        .as_ref()
        .and_then(|testimony| testimony.path.clone());
    let there = bench.path.as_ref().map(|walk| walk.report.clone());
    match (there, back) {
        (Some(mut there), Some(back)) => {
            there.paths = alloc::vec![
                DirectedPath {
                    direction: there.direction,
                    engine: there.engine,
                    path: there.hops.clone(),
                    segment: location.segment.filter(|_| bench
                        .path
                        .as_ref()
                        .is_some_and(|walk| walk.change.is_some())),
                },
                back,
            ];
            Some(there)
        }
        (Some(there), None) => Some(there),
        (None, Some(back)) => Some(PathReport {
            hops: back.path.clone(),
            engine: back.engine,
            direction: back.direction,
            paths: Vec::new(),
        }),
        (None, None) => None,
    }
}

fn find(bench: &Bench<'_, '_>) -> (Finding, String, Vec<crate::Question>) {
    let weighed = judge::judge(bench);
    let asking::Asked {
        open,
        not_run,
        missed,
    } = asking::questions(bench, &weighed);
    let judge::Weighed {
        opinion,
        location,
        confidence,
    } = weighed;
    let (weaknesses, cited) = weakness::find(bench);
    let mut evidence = opinion.evidence;
    evidence.extend(cited);
    evidence::deduplicate(&mut evidence);
    let first_open = open
        .first()
        .map(|question| explain::next(question).to_string());
    let tls = judge::tls_facts(bench);
    let path = path_report(bench, &location);
    let mut finding = Finding {
        service: bench.service.clone(),
        verdict: opinion.verdict,
        // The words of mechanisms belong to interference and to the server (diagnosis/1); a suspicion is said in words.
        mechanism: opinion
            .mechanism
            .filter(|_| matches!(opinion.verdict, Verdict::Interference | Verdict::Server)),
        product: opinion.product.map(ToString::to_string),
        location,
        confidence,
        encryption: opinion.encryption,
        tls,
        weaknesses,
        evidence,
        innocent: opinion.innocent,
        not_run,
        next: first_open.or(opinion.next),
        remedies: Vec::new(),
        path,
        witness: bench.testimony.as_ref().map(|testimony| {
            let mut summary = testimony.summary.clone();
            summary.notes.extend(bench.others.looks.iter().cloned());
            summary
        }),
    };
    if finding.next.is_none()
        && finding.verdict != Verdict::Clear
        && (confidence > Confidence::Established || missed.is_some())
    {
        finding.next = missed
            .as_ref()
            .or_else(|| finding.not_run.iter().find(|test| test.test != "recording"))
            .map(|test| alloc::format!("{} (not run: {})", test.test, test.why));
    }
    finding.remedies = remedy::remedies(&finding);
    let suspected = opinion
        .mechanism
        .filter(|_| opinion.verdict == Verdict::Inconclusive);
    let sentence = explain::finding(&finding, &opinion.reason, suspected);
    (finding, sentence, open)
}
