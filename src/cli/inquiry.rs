//! Where the loop closes: plan → probe → diagnose → open questions → plan, bounded in rounds, time and
//! connections. It decides *whether* a question is asked; what an answer means is the judge's.

use hoofbeat_diagnosis::{Case, Diagnosis, Question, Settings, diagnose};
use hoofbeat_net::Families;
use hoofbeat_observation::{Measurement, Role, Scheme, Service, Variation};
use hoofbeat_probe::{
    Ask, Context, Control, Progress, Run, Target, built_in_controls, control_asks, discover,
    negative_control, policy_facts, run, sibling_asks,
};
use std::{collections::BTreeSet, time::Duration};

use super::settings::{
    CONTROLS, Controls, InquirySettings, LEAST_FOR_A_ROUND, NETWORK_SCHEMES, ROUNDS,
};

/// The judge's name for the plain dialogue.
const BASELINE: &str = "baseline";

/// What one inquiry found, and what it cost.
pub(super) struct Answer {
    pub(super) target: String,
    pub(super) diagnosis: Diagnosis,
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
    declined: Vec<(String, String)>,
    progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

/// Checks one target (`None`: the network one sits on).
pub(super) async fn inquire(
    typed: &str,
    target: Option<&Target>,
    settings: &InquirySettings,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Answer {
    let context = settings.context(typed);
    let mut inquiry = Inquiry {
        settings,
        context: &context,
        measurements: Vec::new(),
        asked: BTreeSet::new(),
        declined: Vec::new(),
        progress,
    };
    match target {
        Some(target) => inquiry.first_look(target).await,
        None => inquiry.network().await,
    }
    let diagnosis = inquiry.settle().await;
    let connections = inquiry
        .measurements
        .iter()
        .filter(|m| m.dialogue().is_some())
        .count();
    Answer {
        target: typed.to_owned(),
        diagnosis,
        measurements: inquiry.measurements,
        connections,
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
        let (ran, facts) = tokio::join!(
            run(asks, self.context, self.progress),
            policy_facts(&discovery, self.context)
        );
        self.take(ran);
        self.measurements.extend(facts);
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
        self.ask(asks).await;
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
            if open.is_empty() {
                return diagnosis;
            }
            let late = self.context.time_left() < LEAST_FOR_A_ROUND;
            let mut asks = Vec::new();
            for question in open {
                if late {
                    self.decline(&question, "the time of the check was used up (--timeout)");
                } else {
                    asks.extend(self.asks_for(&question).await);
                }
                self.asked.insert(question);
            }
            self.ask(asks).await;
        }
        self.judge()
    }

    fn judge(&self) -> Diagnosis {
        diagnose(&Case {
            target: &self.context.target,
            measurements: &self.measurements,
            settings: Settings {
                now: self.context.clock.wall(),
                thorough: self.settings.thorough,
                declined: self.declined.clone(),
            },
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
        };
        if asks.is_empty() {
            let why = match question {
                Question::Siblings(_) => "the same host has no other known port or address",
                Question::Controls(..) | Question::NegativeControl(_)
                    if matches!(self.settings.controls, Controls::None) =>
                {
                    "no control servers were allowed (--no-controls)"
                }
                Question::Controls(..) | Question::NegativeControl(_) if !self.asks_strangers() => {
                    "the target is on this host: no network lies between to be compared"
                }
                Question::Controls(..) => "no control server is known for this kind of service",
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
        let ran = run(asks, self.context, self.progress).await;
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
