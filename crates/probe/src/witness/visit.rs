//! One visit: a session is opened, everything is asked at the data ports, and the report is taken. Or the witness is only
//! asked to look at a mail server from where it stands.

use futures_util::{StreamExt as _, future::join, stream};
use hoofbeat_observation::{
    Body, Errand, Failure, FailureKind, Measurement, Operation, Role, Scheme, Service, Standing,
    Variation, WitnessService, WitnessVisit,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::ServerName;

use super::{
    WitnessName,
    channel::Channel,
    check, errand,
    message::{Hello, MOST_LOOKS, PROTOCOL, Session},
    script,
    token::{Errandry, Token},
};
use crate::{Ask, Context, Progress, converse, plan};

/// What is done at a witness.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VisitSettings {
    /// Mail services to compare, by scheme and port; those that the witness does not serve are left out, and none at all
    /// means whatever it serves.
    pub schemes: Vec<(Scheme, u16)>,
    /// Whether plain HTTP is compared.
    pub http: bool,
    /// Server names for TLS handshakes; beside them one control with the witness's own name is made.
    pub server_names: Vec<String>,
    /// Whether the report names our address shortened (/24, /48).
    pub shorten: bool,
    /// Whether the witness shall trace towards us.
    pub trace: bool,
}

/// Connections to the witness at a time: it is ours, or meant for this.
const AT_A_TIME: usize = 6;
/// Most server names in one visit.
const MOST_NAMES: usize = 8;
/// Most traced dialogues: one for each of the usual protocols and a spare port.
const MOST_TRACES: usize = 4;
/// Most capability lists in one traced dialogue, whatever the witness asks for: paths are seldom longer.
const MOST_ROUNDS: u8 = 30;

/// Visits a witness.
///
/// The dialogues come first, as measurements of their own with [`Role::Witness`]; the last measurement is the visit
/// itself, whose report has been checked.
pub async fn visit(
    name: &WitnessName,
    settings: &VisitSettings,
    context: &Context,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Vec<Measurement> {
    let mut visit = begun(name, context);
    let measurements = match attend(name, settings, context, progress, &mut visit).await {
        Ok(measurements) => measurements,
        Err(failure) => {
            visit.failure = Some(failure);
            Vec::new()
        }
    };
    let visit = ended(visit, context);
    measurements.into_iter().chain([visit]).collect()
}

/// Asks a witness to look at mail servers from where it stands, at most [`MOST_LOOKS`]; `shorten` as in
/// [`VisitSettings`]. The report has been checked.
pub async fn look(
    name: &WitnessName,
    services: &[Service],
    shorten: bool,
    context: &Context,
) -> Measurement {
    let mut visit = begun(name, context);
    let asked = async {
        let mut hello = hello(shorten, context)?;
        hello.look = services.iter().take(MOST_LOOKS).cloned().collect();
        visit.nonce.clone_from(&hello.nonce);
        let channel = Channel::open(name, hello, context).await?;
        visit.session.clone_from(&channel.session.session);
        channel.report(context).await
    };
    match asked.await {
        Ok(report) => visit.report = Some(report),
        Err(failure) => visit.failure = Some(failure),
    }
    ended(visit, context)
}

fn begun(name: &WitnessName, context: &Context) -> WitnessVisit {
    WitnessVisit {
        host: host_and_port(name),
        pinned: name.key.map(super::Key::to_base64),
        session: String::new(),
        nonce: String::new(),
        errands: Vec::new(),
        report: None,
        failure: None,
        started: context.now(),
        ended: context.now(),
        standing: Standing::Unchecked,
    }
}

fn ended(mut visit: WitnessVisit, context: &Context) -> Measurement {
    visit.ended = context.now();
    check(&mut visit);
    context.measurement(Body::Witness(visit))
}

fn hello(shorten: bool, context: &Context) -> Result<Hello, Failure> {
    Ok(Hello {
        protocol: PROTOCOL.to_owned(),
        tool: context.tool.clone(),
        nonce: nonce()?,
        shorten,
        trace: false,
        look: Vec::new(),
    })
}

fn host_and_port(name: &WitnessName) -> String {
    let bare = WitnessName {
        key: None,
        ..name.clone()
    };
    bare.to_string()
}

async fn attend(
    name: &WitnessName,
    settings: &VisitSettings,
    context: &Context,
    progress: &(dyn Fn(Progress<'_>) + Sync),
    visit: &mut WitnessVisit,
) -> Result<Vec<Measurement>, Failure> {
    context.trust.preload();
    let mut hello = hello(settings.shorten, context)?;
    hello.trace = settings.trace;
    visit.nonce.clone_from(&hello.nonce);
    let channel = Channel::open(name, hello, context).await?;
    visit.session.clone_from(&channel.session.session);
    let plan = Plan::new(name, settings, &channel);
    if plan.dialogues.is_empty() && !settings.schemes.is_empty() {
        visit.failure = Some(Failure {
            operation: Operation::Connect,
            kind: FailureKind::NoSuchRecord,
            raw: "the witness serves none of the mail ports that were to be compared".to_owned(),
        });
    }
    let dialogues = stream::iter(plan.dialogues)
        .map(|planned| dialogue(planned, context, progress))
        .buffered(AT_A_TIME)
        .collect::<Vec<_>>();
    let errands = stream::iter(plan.errands)
        .map(|planned| run(planned, &name.host, context))
        .buffered(AT_A_TIME)
        .collect::<Vec<_>>();
    let (measurements, errands) = join(dialogues, errands).await;
    visit.errands = errands;
    match channel.report(context).await {
        Ok(report) => visit.report = Some(report),
        Err(failure) => visit.failure = Some(failure),
    }
    Ok(measurements)
}

fn nonce() -> Result<String, Failure> {
    let mut random = [0_u8; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| Failure {
        operation: Operation::Talk,
        kind: FailureKind::LocalResources,
        raw: "the operating system gives no random numbers".to_owned(),
    })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Everything that one visit does at the data ports.
struct Plan {
    dialogues: Vec<PlannedDialogue>,
    errands: Vec<PlannedErrand>,
}

struct PlannedDialogue {
    ask: Ask,
    token: String,
    /// How often capabilities are asked for in a traced dialogue; 0 in an ordinary one.
    rounds: u8,
}

struct PlannedErrand {
    address: std::net::SocketAddr,
    service: WitnessService,
    server_name: Option<String>,
    token: String,
}

impl Plan {
    fn new(name: &WitnessName, settings: &VisitSettings, channel: &Channel) -> Self {
        let session = &channel.session;
        let mut tokens = Tokens::of(session);
        let schemes = schemes(settings, session);
        let mut plan = Self {
            dialogues: Vec::new(),
            errands: Vec::new(),
        };
        let rounds = session.rounds.min(MOST_ROUNDS);
        let traced = if settings.trace && rounds > 0 {
            MOST_TRACES
        } else {
            0
        };
        let ordinary = [Variation::Baseline, Variation::Differential]
            .into_iter()
            .flat_map(|variation| schemes.iter().map(move |scheme| (*scheme, variation, 0)));
        let traces = schemes
            .iter()
            .take(traced)
            .map(|scheme| (*scheme, Variation::Repeat, rounds));
        for ((scheme, port), variation, rounds) in ordinary.chain(traces) {
            let errandry = if rounds > 0 {
                Errandry::Trace
            } else {
                Errandry::Dialogue
            };
            let Some(token) = tokens.next(errandry) else {
                break;
            };
            let service = Service {
                scheme,
                host: name.host.clone(),
                address: Some(channel.address),
                port,
            };
            let role = Role::Witness {
                token: token.clone(),
            };
            plan.dialogues.push(PlannedDialogue {
                ask: Ask::new(service, role, variation),
                token,
                rounds,
            });
        }
        let http = session
            .of(WitnessService::Http)
            .take(usize::from(settings.http));
        let mut errands: Vec<_> = http
            .map(|port| (port, WitnessService::Http, None))
            .collect();
        if let Some(port) = session
            .of(WitnessService::Tls)
            .next()
            .filter(|_| !settings.server_names.is_empty())
        {
            // The control: what is blocked by its name alone is not blocked here.
            let own = Some(name.host.clone()).filter(|host| {
                matches!(
                    ServerName::try_from(host.as_str()),
                    Ok(ServerName::DnsName(_))
                )
            });
            errands.push((port, WitnessService::Tls, own));
            let names = settings.server_names.iter().take(MOST_NAMES).cloned();
            errands.extend(names.map(|name| (port, WitnessService::Tls, Some(name))));
        }
        for (port, service, server_name) in errands {
            let Some(token) = tokens.next(Errandry::Web) else {
                break;
            };
            plan.errands.push(PlannedErrand {
                address: (channel.address, port).into(),
                service,
                server_name,
                token,
            });
        }
        plan
    }
}

/// What was asked for, as far as the witness serves it in the clear.
fn schemes(settings: &VisitSettings, session: &Session) -> Vec<(Scheme, u16)> {
    if settings.schemes.is_empty() {
        return session.schemes();
    }
    let mut wanted: Vec<(Scheme, u16)> = Vec::new();
    for (scheme, port) in &settings.schemes {
        let served = !scheme.is_implicit_tls()
            && session
                .mail_ports(scheme.protocol())
                .any(|served| served == *port);
        if served && !wanted.contains(&(*scheme, *port)) {
            wanted.push((*scheme, *port));
        }
    }
    wanted
}

/// Tokens of one session, as many as the witness keeps connections.
struct Tokens<'a> {
    session: &'a str,
    next: u8,
    most: u16,
}

impl<'a> Tokens<'a> {
    fn of(session: &'a Session) -> Self {
        Self {
            session: &session.session,
            next: 1,
            most: session.most_connections.min(99),
        }
    }

    fn next(&mut self, errandry: Errandry) -> Option<String> {
        let number = self.next;
        (u16::from(number) <= self.most).then(|| {
            self.next += 1;
            let session = self.session.to_owned();
            Token {
                session,
                errandry,
                number,
            }
            .to_string()
        })
    }
}

async fn dialogue(
    planned: PlannedDialogue,
    context: &Context,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Measurement {
    let (ask, token) = (&planned.ask, planned.token.as_str());
    progress(Progress::Began(ask));
    let name = script::client_name(token);
    let spoken = if planned.rounds > 0 {
        let protocol = ask.service.scheme.protocol();
        script::asking_again(protocol, token, planned.rounds, context.limits)
    } else {
        script::with_token(plan::script(ask, &name, context), token)
    };
    let on_step = |exchange: &_| progress(Progress::Step(ask, exchange));
    let measurement = converse::speaking(ask, |_| spoken, context, &on_step).await;
    progress(Progress::Ended(ask, &measurement));
    measurement
}

async fn run(planned: PlannedErrand, host: &str, context: &Context) -> Errand {
    match planned.service {
        WitnessService::Tls => {
            errand::tls(planned.address, planned.server_name, planned.token, context).await
        }
        _ => errand::http(planned.address, host, planned.token, context).await,
    }
}
