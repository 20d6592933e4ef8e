//! Where the loop closes: plan → probe → diagnose → open questions → plan, bounded in rounds, time and
//! connections. It decides *whether* a question is asked; what an answer means is the judge's.

mod place;

use hoofbeat_diagnosis::{Case, Diagnosis, Question, Settings, diagnose};
use hoofbeat_net::Families;
use hoofbeat_observation::{
    Answered, Body, Measurement, Method, Role, Scheme, Service, Vantage, Variation,
};
use hoofbeat_probe::{
    Ask, Context, Control, Run, Target, built_in_controls, control_asks, discover,
    negative_control, policy_facts, run, sibling_asks,
};
use std::{collections::BTreeSet, time::Duration};

use super::{
    progress::Step,
    settings::{CONTROLS, Controls, InquirySettings, LEAST_FOR_A_ROUND, NETWORK_SCHEMES, ROUNDS},
};

/// The judge's name for the plain dialogue.
const BASELINE: &str = "baseline";

/// What one inquiry found, and what it cost.
pub(super) struct Answer {
    pub(super) target: String,
    pub(super) diagnosis: Diagnosis,
    /// What the judge was told besides the measurements.
    pub(super) judged_with: Settings,
    /// From where.
    pub(super) vantage: Vantage,
    pub(super) measurements: Vec<Measurement>,
    pub(super) connections: usize,
    pub(super) started: i64,
    pub(super) elapsed: Duration,
}

/// One inquiry in progress.
struct Inquiry<'a> {
    settings: &'a InquirySettings,
    context: &'a Context,
    measurements: Vec<Measurement>,
    asked: BTreeSet<Question>,
    /// A witness was asked to look from where it stands.
    looked: bool,
    declined: Vec<(String, String)>,
    progress: &'a (dyn Fn(Step<'_>) + Sync),
}

/// Checks one target (`None`: the network one sits on).
pub(super) async fn inquire(
    typed: &str,
    target: Option<&Target>,
    settings: &InquirySettings,
    progress: &(dyn Fn(Step<'_>) + Sync),
) -> Answer {
    let context = settings.context(typed);
    let mut inquiry = Inquiry {
        settings,
        context: &context,
        measurements: Vec::new(),
        asked: BTreeSet::new(),
        looked: false,
        declined: Vec::new(),
        progress,
    };
    match target {
        Some(target) => inquiry.first_look(target).await,
        None => inquiry.network().await,
    }
    inquiry.look_around().await;
    let mut diagnosis = inquiry.settle().await;
    // What happens is asked before where: a trace is the costliest question.
    if inquiry.trace_targets(&diagnosis).await {
        diagnosis = inquiry.settle().await;
    }
    inquiry.tell_engine(&mut diagnosis);
    inquiry.tell_address();
    Answer {
        target: typed.to_owned(),
        diagnosis,
        judged_with: inquiry.judge_settings(),
        vantage: inquiry
            .measurements
            .first()
            .map_or_else(|| settings.vantage.clone(), |m| m.vantage.clone()),
        connections: connections(&inquiry.measurements),
        measurements: inquiry.measurements,
        started: context.clock.wall(),
        elapsed: context.clock.now(),
    }
}

impl Inquiry<'_> {
    /// Baselines of the target's services, and the domain's policy facts beside them.
    async fn first_look(&mut self, target: &Target) {
        let discovery = discover(target, self.context).await;
        self.measurements
            .extend(discovery.measurements.iter().cloned());
        for (service, why) in &discovery.skipped {
            self.declined
                .push((BASELINE.to_owned(), format!("{service}: {why}")));
        }
        let asks = discovery.asks.clone();
        let ports = asks
            .iter()
            .map(|ask| (ask.service.scheme, ask.service.port));
        let visit = self.visit(ports.collect());
        let on_step = |step: hoofbeat_probe::Progress<'_>| (self.progress)(Step::Dialogue(step));
        let (ran, facts, visited) = tokio::join!(
            run(asks, self.context, &on_step),
            policy_facts(&discovery, self.context),
            visit
        );
        self.take(ran);
        self.measurements.extend(facts);
        self.measurements.extend(visited);
    }

    /// The control servers themselves are the subject; nobody else is contacted.
    async fn network(&mut self) {
        let mut asks = Vec::new();
        for scheme in NETWORK_SCHEMES {
            asks.extend(self.controls(scheme, scheme.default_port()).await);
        }
        asks.push(negative_control(
            Scheme::Smtp,
            Scheme::Smtp.default_port(),
            false,
        ));
        let ports = NETWORK_SCHEMES.map(|scheme| (scheme, scheme.default_port()));
        let on_step = |step: hoofbeat_probe::Progress<'_>| (self.progress)(Step::Dialogue(step));
        let (ran, visited) = tokio::join!(
            run(asks, self.context, &on_step),
            self.visit(ports.to_vec())
        );
        self.take(ran);
        self.measurements.extend(visited);
    }

    /// Judges, asks what the judge asks, and judges again.
    async fn settle(&mut self) -> Diagnosis {
        for _ in 0..ROUNDS {
            let diagnosis = self.judge();
            let open: Vec<Question> = diagnosis
                .questions
                .iter()
                .filter(|question| !self.asked.contains(question))
                .cloned()
                .collect();
            let look = self.wants_a_look(&diagnosis);
            if open.is_empty() && look.is_none() {
                return diagnosis;
            }
            let late = self.context.time_left() < LEAST_FOR_A_ROUND;
            let mut asks = Vec::new();
            let mut traces = Vec::new();
            for question in open {
                if late {
                    self.decline(&question, "the time of the check was used up (--timeout)");
                } else if matches!(question, Question::Trace(_)) {
                    traces.push(question);
                    continue;
                } else {
                    asks.extend(self.asks_for(&question).await);
                }
                self.asked.insert(question);
            }
            self.looked |= look.is_some();
            let look = place::look_from_elsewhere(look, self.context);
            let (looked, ()) = tokio::join!(look, self.ask(asks));
            self.measurements.extend(looked);
            for question in traces {
                if let Question::Trace(service) = &question {
                    self.trace(&question, service).await;
                }
                self.asked.insert(question);
            }
            if self.has_news() {
                self.look_around().await;
            }
        }
        self.judge()
    }

    fn judge_settings(&self) -> Settings {
        Settings {
            now: self.context.clock.wall(),
            thorough: self.settings.thorough,
            declined: self.declined.clone(),
            ..Settings::default()
        }
    }

    fn judge(&self) -> Diagnosis {
        diagnose(&Case {
            target: &self.context.target,
            measurements: &self.measurements,
            settings: self.judge_settings(),
            elsewhere: Vec::new(),
        })
    }

    /// A question as connections to make; none where it cannot be asked, which is noted.
    async fn asks_for(&mut self, question: &Question) -> Vec<Ask> {
        let again =
            |service: &Service, variation| vec![Ask::new(service.clone(), Role::Target, variation)];
        let asks = match question {
            Question::Differential(service) => again(service, Variation::Differential),
            Question::MixedCase(service) => again(service, Variation::MixedCase),
            Question::SplitVerb(service) => again(service, Variation::SplitVerb),
            Question::LegacyTls(service) => again(service, Variation::LegacyTls),
            Question::Injection(service) => again(service, Variation::Injection),
            Question::Repeat(service, times) => (0..*times)
                .flat_map(|_| again(service, Variation::Repeat))
                .collect(),
            Question::Siblings(service) => self.siblings(service).await,
            Question::Controls(scheme, port) => self.controls(*scheme, *port).await,
            Question::NegativeControl(port) if self.asks_strangers() => {
                let over_v6 = self.context.families == Families::OnlyV6;
                vec![negative_control(
                    Scheme::of_port(*port).unwrap_or(Scheme::Smtp),
                    *port,
                    over_v6,
                )]
            }
            Question::NegativeControl(_) => Vec::new(),
            // A trace is no dialogue; a witness that was named was visited already.
            Question::Trace(_) | Question::Witness(..) => Vec::new(),
        };
        if asks.is_empty() {
            let why = match question {
                Question::Siblings(_) => "the same host has no other known port or address",
                Question::Controls(..) | Question::NegativeControl(_)
                    if matches!(self.settings.controls, Controls::None) =>
                {
                    "no control servers were allowed (--no-controls)"
                }
                Question::NegativeControl(_)
                    if matches!(self.settings.controls, Controls::Own(_)) =>
                {
                    "no servers were allowed but those that were named (--control)"
                }
                Question::Controls(..) | Question::NegativeControl(_) if !self.asks_strangers() => {
                    "the target is on this host: no network lies between to be compared"
                }
                Question::Controls(..) => "no control server is known for this kind of service",
                Question::Witness(..) if self.settings.witness.is_none() => {
                    "no cooperating server was named (--witness KEY@HOST)"
                }
                Question::Witness(..) => {
                    "the witness that was named does not serve this protocol on this port, or did not answer"
                }
                _ => "nothing could be asked",
            };
            self.decline(question, why);
        }
        asks
    }

    /// The same host elsewhere: services that the user named, its other addresses and usual ports.
    async fn siblings(&mut self, service: &Service) -> Vec<Ask> {
        let known: Vec<Service> = self
            .measurements
            .iter()
            .filter_map(|m| Some(m.dialogue()?.service.clone()))
            .collect();
        let mut asks = sibling_asks(service, &known, self.context).await;
        for target in &self.settings.siblings {
            let discovery = discover(target, self.context).await;
            self.measurements.extend(discovery.measurements);
            asks.extend(discovery.asks.into_iter().map(|ask| Ask {
                role: Role::Sibling,
                ..ask
            }));
        }
        asks
    }

    /// Whether servers of others may be contacted for comparison, and would tell anything.
    fn asks_strangers(&self) -> bool {
        let mut targets = self
            .measurements
            .iter()
            .filter_map(Measurement::dialogue)
            .filter(|d| d.role == Role::Target);
        matches!(self.settings.controls, Controls::BuiltIn)
            && !targets.any(|dialogue| {
                dialogue
                    .service
                    .address
                    .is_some_and(|address| address.is_loopback())
            })
    }

    /// Control servers of a scheme, each pinned to one address.
    async fn controls(&mut self, scheme: Scheme, port: u16) -> Vec<Ask> {
        let chosen: Vec<Control> = match &self.settings.controls {
            Controls::None => Vec::new(),
            Controls::BuiltIn if !self.asks_strangers() => Vec::new(),
            Controls::BuiltIn => built_in_controls(scheme, port)
                .take(CONTROLS)
                .cloned()
                .collect(),
            Controls::Own(targets) => targets
                .iter()
                .map(Control::of_user)
                .filter(|control| control.scheme.protocol() == scheme.protocol())
                .collect(),
        };
        let (asks, lookups) = control_asks(&chosen, Variation::Baseline, self.context).await;
        self.measurements.extend(lookups);
        asks
    }

    /// Makes the connections; what budget or time forbade is noted.
    async fn ask(&mut self, asks: Vec<Ask>) {
        let on_step = |step: hoofbeat_probe::Progress<'_>| (self.progress)(Step::Dialogue(step));
        let ran = run(asks, self.context, &on_step).await;
        self.take(ran);
    }

    fn take(&mut self, run: Run) {
        for (ask, why) in run.not_run {
            self.declined.push((
                test_id(ask.variation).to_owned(),
                format!("{}: {why}", ask.service),
            ));
        }
        self.measurements.extend(run.measurements);
    }

    fn decline(&mut self, question: &Question, why: &str) {
        self.declined
            .push((question.id().to_owned(), why.to_owned()));
    }
}

/// How many connections were made: dialogues, those of traces, and what else was asked of a witness.
pub(super) fn connections(measurements: &[Measurement]) -> usize {
    measurements
        .iter()
        .map(|measurement| match &measurement.body {
            Body::Dialogue(_) => 1,
            Body::Trace(trace) if trace.method == Method::Sweep => 1,
            Body::Trace(trace) => trace
                .probes
                .iter()
                .flat_map(|probe| &probe.answers)
                .filter(|answer| matches!(answer.what, Answered::Connected))
                .count(),
            // The control channel is one more.
            Body::Witness(visit) => visit.errands.len() + 1,
            _ => 0,
        })
        .sum()
}

/// The judge's name for the test that a variation carries out.
const fn test_id(variation: Variation) -> &'static str {
    match variation {
        Variation::Differential => "verb-differential",
        Variation::MixedCase => "mixed-case",
        Variation::SplitVerb => "split-verb",
        Variation::Repeat => "repeat",
        Variation::Injection => "injection",
        Variation::LegacyTls => "legacy-tls",
        Variation::Baseline | Variation::Recorded => BASELINE,
    }
}
