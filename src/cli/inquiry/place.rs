//! The part of an inquiry that asks *where*: the trace of a service's path, the visit to a cooperating server, and what
//! is known of the addresses that both met. Whether a question is asked is decided here; what an answer means is not.

use hoofbeat_diagnosis::{Diagnosis, NotRun, Question, Verdict};
use hoofbeat_observation::{
    Body, HandshakeOutcome, Measurement, Report, Role, Scheme, Service, Standing,
    address::is_private,
};
use hoofbeat_probe::{
    Context,
    path::TraceProgress,
    witness::{VisitSettings, look, message::MOST_LOOKS, visit},
};
use std::{collections::BTreeSet, net::IpAddr};

use super::Inquiry;
use crate::cli::{
    progress::Step,
    settings::{LEAST_FOR_A_ROUND, Visiting},
    tracing::{MOST_TRACED, Tracing, When},
};

/// What is not run where raw sockets are not to be had; the trace itself is.
const RAW_ENGINE: &str = "raw-engine";

/// The same service from the witness's network.
pub(super) async fn look_from_elsewhere(
    wanted: Option<(&Visiting, Vec<Service>)>,
    context: &Context,
) -> Option<Measurement> {
    let (visiting, services) = wanted?;
    Some(look(&visiting.name, &services, visiting.shorten, context).await)
}

impl<'a> Inquiry<'a> {
    /// The visit to the cooperating server that the user named; nothing where none was.
    pub(super) async fn visit(&self, mut ports: Vec<(Scheme, u16)>) -> Vec<Measurement> {
        let Some(visiting) = &self.settings.witness else {
            return Vec::new();
        };
        // A server on an odd port says what happens there; the usual port says what happens to mail.
        let usual = ports.clone().into_iter();
        ports.extend(usual.map(|(scheme, _)| (scheme, scheme.default_port())));
        let mut seen = BTreeSet::new();
        ports.retain(|port| !port.0.is_implicit_tls() && seen.insert(*port));
        let settings = VisitSettings {
            schemes: ports,
            http: visiting.http,
            server_names: visiting.server_names.clone(),
            shorten: visiting.shorten,
            trace: self.settings.tracing.when != When::Never,
        };
        let on_step = |step: hoofbeat_probe::Progress<'_>| (self.progress)(Step::Dialogue(step));
        visit(&visiting.name, &settings, self.context, &on_step).await
    }

    /// The services of the target at which a witness shall look, where it is willing: those that are not all well, in
    /// networks that it can reach. A clean server is spared, and the names of private ones stay here.
    pub(super) fn wants_a_look(
        &self,
        diagnosis: &Diagnosis,
    ) -> Option<(&'a Visiting, Vec<Service>)> {
        let late = self.context.time_left() < LEAST_FOR_A_ROUND;
        let visiting = self.settings.witness.as_ref();
        let visiting = visiting.filter(|_| !late && !self.looked)?;
        let dialogues = self.measurements.iter().filter_map(Measurement::dialogue);
        let targets: BTreeSet<&Service> = dialogues
            .filter(|dialogue| dialogue.role == Role::Target)
            .map(|dialogue| &dialogue.service)
            .collect();
        let services: Vec<Service> = diagnosis
            .findings
            .iter()
            .filter(|finding| finding.verdict != Verdict::Clear)
            .map(|finding| &finding.service)
            .filter(|service| service.address.is_some_and(|address| !is_local(address)))
            .filter(|service| targets.contains(service))
            .take(MOST_LOOKS)
            .cloned()
            .collect();
        // Reports are long, so they are read last.
        let wanted = !services.is_empty() && self.reports().any(|report| report.looks_elsewhere);
        wanted.then_some((visiting, services))
    }

    /// The reports of witnesses whose signature holds.
    fn reports(&self) -> impl Iterator<Item = Report> {
        let visits = self.measurements.iter().filter_map(Measurement::visit);
        visits
            .filter(|visit| visit.standing == Standing::Signed)
            .filter_map(|visit| visit.report.as_ref()?.read())
    }

    /// Traces those of the target's services that were not yet traced, the one that mail servers use first: all of them
    /// where the path itself is the question, else those that something interferes with, for whoever allows a trace
    /// wants to see where. Returns whether there was one.
    pub(super) async fn trace_targets(&mut self, diagnosis: &Diagnosis) -> bool {
        let wanted = |service: &Service| match self.settings.tracing.when {
            When::Never => false,
            When::Asked => diagnosis.findings.iter().any(|finding| {
                finding.service == *service && finding.verdict == Verdict::Interference
            }),
            When::Always => true,
        };
        let mut services: Vec<Service> = Vec::new();
        for measurement in &self.measurements {
            if let Some(dialogue) = measurement.dialogue()
                && dialogue.role == Role::Target
                && !services.contains(&dialogue.service)
                && wanted(&dialogue.service)
            {
                services.push(dialogue.service.clone());
            }
        }
        services.sort_by_key(|service| service.scheme != Scheme::Smtp);
        services.retain(|service| !self.asked.contains(&Question::Trace(service.clone())));
        for service in &services {
            let question = Question::Trace(service.clone());
            self.trace(&question, service).await;
            self.asked.insert(question);
        }
        if self.has_news() {
            self.look_around().await;
        }
        !services.is_empty()
    }

    /// Traces one service, unless something forbids it, which is noted.
    pub(super) async fn trace(&mut self, question: &Question, service: &Service) {
        let traced = self.asked.iter();
        let traced = traced.filter(|q| matches!(q, Question::Trace(_))).count();
        let hindrance = match self.settings.tracing.when {
            When::Never => Some("packets with a limited TTL were not allowed (--trace)"),
            When::Asked | When::Always if service.address.is_none() => {
                Some("the service has no address")
            }
            When::Asked | When::Always if traced >= MOST_TRACED => {
                Some("two services of this target were traced; name this one to trace it")
            }
            When::Asked | When::Always => Tracing::hindrance(&self.settings.route),
        };
        if let Some(why) = hindrance {
            self.decline(question, why);
            return;
        }
        let controls = self.controls(service.scheme, service.port).await;
        let controls: Vec<Service> = controls.into_iter().map(|ask| ask.service).collect();
        let on_step = |step: TraceProgress<'_>| (self.progress)(Step::Trace(step));
        let tracing = &self.settings.tracing;
        let traces = tracing
            .trace(
                service,
                &controls,
                self.handshake_dies(service),
                self.context,
                &on_step,
            )
            .await;
        self.measurements.extend(traces);
    }

    /// Whether the service accepts STARTTLS and every handshake with it was reset or met by silence: then, and only then,
    /// a ClientHello's path is worth connections that the server sees broken off.
    fn handshake_dies(&self, service: &Service) -> bool {
        let dialogues = self.measurements.iter().filter_map(Measurement::dialogue);
        let outcomes: Vec<&HandshakeOutcome> = dialogues
            .filter(|dialogue| dialogue.role == Role::Target && dialogue.service == *service)
            .filter_map(|dialogue| Some(&dialogue.handshake.as_ref()?.outcome))
            .collect();
        let dies = |outcome: &&HandshakeOutcome| {
            matches!(
                outcome,
                HandshakeOutcome::Reset | HandshakeOutcome::TimedOut
            )
        };
        !outcomes.is_empty() && outcomes.iter().all(dies)
    }

    /// One record of what is known of all addresses that were met so far, by us and by a witness that traced back.
    pub(super) async fn look_around(&mut self) {
        let mut traces: Vec<Measurement> = Vec::new();
        for measurement in &self.measurements {
            match &measurement.body {
                Body::Trace(_) => traces.push(measurement.clone()),
                Body::Witness(visit) if visit.standing == Standing::Signed => {
                    let report = visit.report.as_ref().and_then(|signed| signed.read());
                    let witnessed = report.into_iter().flat_map(|report| report.connections);
                    traces.extend(witnessed.filter_map(|connection| {
                        Some(Measurement {
                            body: Body::Trace(connection.trace?),
                            ..measurement.clone()
                        })
                    }));
                }
                _ => {}
            }
        }
        if traces.is_empty() {
            return;
        }
        self.measurements
            .retain(|m| !matches!(m.body, Body::Surroundings(_)));
        let tracing = &self.settings.tracing;
        let mut around = tracing.surroundings(&traces, self.context).await;
        if let Body::Surroundings(known) = &mut around.body {
            known.public = known.public.or(self.seen_from_outside());
            let unknown = |public: &IpAddr| known.addresses.iter().all(|f| f.address != *public);
            let public = known.public.filter(unknown);
            known
                .addresses
                .extend(public.map(|public| tracing.fact(public)));
        }
        self.measurements.push(around);
    }

    /// Whether something was traced since the surroundings were recorded.
    pub(super) fn has_news(&self) -> bool {
        let last = |is: fn(&Body) -> bool| self.measurements.iter().rposition(|m| is(&m.body));
        last(|body| matches!(body, Body::Trace(_)))
            > last(|body| matches!(body, Body::Surroundings(_)))
    }

    /// Our address as a witness saw it.
    pub(super) fn seen_from_outside(&self) -> Option<IpAddr> {
        self.reports().map(|report| report.client).next()
    }

    /// Where raw sockets were wished for and not to be had, traced services say so.
    pub(super) fn tell_engine(&self, diagnosis: &mut Diagnosis) {
        let Some(why) = &self.settings.tracing.without_raw else {
            return;
        };
        for finding in &mut diagnosis.findings {
            if self
                .asked
                .contains(&Question::Trace(finding.service.clone()))
            {
                finding.not_run.push(NotRun {
                    test: RAW_ENGINE.to_owned(),
                    why: why.clone(),
                });
            }
        }
    }

    /// Every measurement tells our address towards the world, where it is known: places are told apart by it.
    pub(super) fn tell_address(&mut self) {
        let own = self
            .measurements
            .iter()
            .filter_map(Measurement::dialogue)
            .filter_map(|dialogue| dialogue.connect.local.as_ref()?.parse().ok())
            .map(|local: std::net::SocketAddr| local.ip())
            .find(|address| !is_local(*address));
        if let Some(address) = self.seen_from_outside().or(own) {
            for measurement in &mut self.measurements {
                measurement.vantage.address.get_or_insert(address);
            }
        }
    }
}

/// Addresses that do not tell one network from another.
fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    is_private(address) || address.is_loopback() || address.is_unspecified()
}
