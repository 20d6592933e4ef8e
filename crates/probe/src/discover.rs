//! From a target to services with pinned addresses: MX (RFC 5321 §5), SRV (RFC 6186, RFC 8314), usual ports.
//!
//! Answers of the DNS are used as soon as they come; their DNSSEC status is found out beside the dialogues,
//! by [`crate::policy_facts`]. It must not know what a missing record means for anybody.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::{join, join_all, join4};
use hoofbeat_net::{Answer, Route, dial};
use hoofbeat_observation::{
    Body, Failure, FailureKind, Measurement, Question, Record, Role, Scheme, Service, Variation,
    measurement::Unresolved,
};

use crate::{
    Ask, Context,
    target::{Host, Target},
};

/// Most mail exchangers of one domain that are asked, the most preferred first.
const MOST_EXCHANGERS: usize = 8;

/// Most targets of one SRV answer that are asked.
const MOST_SRV_TARGETS: usize = 2;

/// Most connections that one target may lead to at first.
const MOST_ASKS: usize = 32;

/// How long a guessed port's greeting is waited for before it is taken for SMTP.
const SNIFF_LIMIT: Duration = Duration::from_secs(5);

/// The SRV labels of mail services.
const SRV: [(&str, Scheme); 7] = [
    ("_submission", Scheme::Submission),
    ("_submissions", Scheme::Submissions),
    ("_imap", Scheme::Imap),
    ("_imaps", Scheme::Imaps),
    ("_pop3", Scheme::Pop3),
    ("_pop3s", Scheme::Pop3s),
    ("_sieve", Scheme::Sieve),
];

const SENDING: [Scheme; 2] = [Scheme::Submission, Scheme::Submissions];
const READING: [Scheme; 4] = [Scheme::Imap, Scheme::Imaps, Scheme::Pop3, Scheme::Pop3s];

/// Where the services of a domain without SRV records usually are.
const USUAL_HOSTS: [(&str, &[Scheme]); 4] = [
    ("smtp", &SENDING),
    ("imap", &[Scheme::Imap, Scheme::Imaps]),
    ("pop", &[Scheme::Pop3, Scheme::Pop3s]),
    (
        "mail",
        &[
            Scheme::Submission,
            Scheme::Submissions,
            Scheme::Imap,
            Scheme::Imaps,
            Scheme::Pop3,
            Scheme::Pop3s,
        ],
    ),
];

/// What a target led to.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The plain dialogues to begin with. Guesses are marked tentative.
    pub asks: Vec<Ask>,
    /// Why there is nothing to ask; then `asks` is empty.
    pub unresolved: Option<Unresolved>,
    /// Services that were left out, with the reason: no route for their address family, or too many.
    pub skipped: Vec<(Service, String)>,
    /// The record of `unresolved`. The DNS answers themselves come from [`crate::policy_facts`].
    pub measurements: Vec<Measurement>,
    /// Every answer, to be validated.
    pub(crate) answers: Vec<Answer>,
    /// The mail domain, where the target is one.
    pub(crate) domain: Option<String>,
    /// The SMTP servers of the target by name and port, for TLSA.
    pub(crate) exchangers: Vec<(String, u16)>,
}

impl Discovery {
    /// The services to be asked.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.asks.iter().map(|ask| &ask.service)
    }

    /// The mail domain whose policies matter, where the target is a domain that takes mail.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }
}

/// Finds the services of a target.
pub async fn discover(target: &Target, context: &Context) -> Discovery {
    let mut found = Found {
        context,
        discovery: Discovery::default(),
        v6_routable: None,
    };
    match target {
        Target::Domain(name) => found.domain(name).await,
        Target::Address(address) => {
            for scheme in usual_schemes() {
                found
                    .add(
                        scheme,
                        &address.to_string(),
                        scheme.default_port(),
                        &[*address],
                        true,
                    )
                    .await;
            }
        }
        Target::Service {
            scheme,
            host,
            port,
            guessed,
        } => found.service(*scheme, host, *port, *guessed).await,
    }
    found.finish()
}

fn usual_schemes() -> impl Iterator<Item = Scheme> {
    std::iter::once(Scheme::Smtp).chain(SENDING).chain(READING)
}

struct Found<'a> {
    context: &'a Context,
    discovery: Discovery,
    /// Found out at the first IPv6 address.
    v6_routable: Option<bool>,
}

/// The answers for one name.
struct Addresses {
    found: Vec<IpAddr>,
    failure: Option<Failure>,
    answers: Vec<Answer>,
}

impl Found<'_> {
    async fn domain(&mut self, name: &str) {
        let context = self.context;
        let ask = |name: String, question| async move {
            context.resolver.ask(&name, question, &context.clock).await
        };
        let srv = SRV.map(|(label, _)| ask(format!("{label}._tcp.{name}"), Question::Srv));
        let usual = USUAL_HOSTS
            .map(|(label, _)| async move { addresses(&format!("{label}.{name}"), context).await });
        let (mx, own, srv, usual) = join4(
            ask(name.to_owned(), Question::Mx),
            addresses(name, context),
            join_all(srv),
            join_all(usual),
        )
        .await;

        let mut exchangers: Vec<(u16, String)> =
            mx.lookup().records.iter().filter_map(exchanger).collect();
        exchangers.sort();
        let is_null = matches!(exchangers.as_slice(), [(_, host)] if host == ".");
        exchangers.retain(|(_, host)| host != ".");
        let mx_failure = mx.lookup().failure.clone();
        self.keep(mx);
        self.services_by_srv(srv).await;
        let by_srv = !self.discovery.asks.is_empty();

        if !exchangers.is_empty() {
            self.discovery.domain = Some(name.to_owned());
            self.exchangers(exchangers).await;
        } else if mx_failure
            .as_ref()
            .is_some_and(|failure| failure.kind == FailureKind::NoSuchRecord)
        {
            // No MX: the name itself takes the mail (RFC 5321 §5.1), or is just a host.
            let port = Scheme::Smtp.default_port();
            if !own.found.is_empty() {
                self.discovery.domain = Some(name.to_owned());
                self.discovery.exchangers.push((name.to_owned(), port));
            }
            for scheme in usual_schemes() {
                self.add(scheme, name, scheme.default_port(), &own.found, true)
                    .await;
            }
        }
        let own_failure = own.failure.clone();
        self.discovery.answers.extend(own.answers);
        if !by_srv
            && !self.discovery.exchangers.is_empty()
            && !is_null
            && self.has_exchangers_apart(name)
        {
            for ((label, schemes), usual) in USUAL_HOSTS.into_iter().zip(usual) {
                if usual.found.is_empty() {
                    continue;
                }
                for scheme in schemes {
                    self.add(
                        *scheme,
                        &format!("{label}.{name}"),
                        scheme.default_port(),
                        &usual.found,
                        true,
                    )
                    .await;
                }
                self.discovery.answers.extend(usual.answers);
            }
        }
        if self.discovery.asks.is_empty() {
            self.discovery.unresolved = Some(match (is_null, mx_failure, own_failure) {
                (true, ..) => Unresolved::NullMx,
                (_, Some(failure), _) if failure.kind != FailureKind::NoSuchRecord => {
                    Unresolved::Dns { failure }
                }
                (_, _, Some(failure)) if is_trouble(&failure) => Unresolved::Dns { failure },
                _ => Unresolved::NoServices,
            });
        }
    }

    /// Whether the domain has mail exchangers of its own name: a bare host's usual ports are asked already.
    fn has_exchangers_apart(&self, name: &str) -> bool {
        self.discovery
            .exchangers
            .iter()
            .any(|(host, _)| host != name)
    }

    async fn exchangers(&mut self, exchangers: Vec<(u16, String)>) {
        let context = self.context;
        let hosts: Vec<String> = exchangers
            .into_iter()
            .map(|(_, host)| host)
            .take(MOST_EXCHANGERS)
            .collect();
        let resolved = join_all(hosts.iter().map(|host| addresses(host, context))).await;
        let port = Scheme::Smtp.default_port();
        for (host, resolved) in hosts.into_iter().zip(resolved) {
            self.add(Scheme::Smtp, &host, port, &resolved.found, false)
                .await;
            self.discovery.answers.extend(resolved.answers);
            self.discovery.exchangers.push((host, port));
        }
    }

    async fn services_by_srv(&mut self, answers: Vec<Answer>) {
        let context = self.context;
        let mut wanted: Vec<(Scheme, u16, String)> = Vec::new();
        for ((_, scheme), answer) in SRV.into_iter().zip(answers) {
            let mut targets: Vec<(u16, u16, String)> = (answer.lookup().records.iter())
                .filter_map(|record| match record {
                    // The target `.` says that the service is not offered (RFC 2782).
                    Record::Srv(priority, _, port, target) if target != "." && *port != 0 => {
                        Some((*priority, *port, target.clone()))
                    }
                    _ => None,
                })
                .collect();
            targets.sort();
            wanted.extend(
                targets
                    .into_iter()
                    .take(MOST_SRV_TARGETS)
                    .map(|(_, port, target)| (scheme, port, target)),
            );
            self.keep(answer);
        }
        let resolved = join_all(
            wanted
                .iter()
                .map(|(_, _, target)| addresses(target, context)),
        )
        .await;
        for ((scheme, port, target), resolved) in wanted.into_iter().zip(resolved) {
            self.add(scheme, &target, port, &resolved.found, false)
                .await;
            self.discovery.answers.extend(resolved.answers);
        }
    }

    async fn service(&mut self, scheme: Scheme, host: &Host, port: u16, guessed: bool) {
        let resolved = match host {
            Host::Address(address) => Addresses {
                found: vec![*address],
                failure: None,
                answers: Vec::new(),
            },
            Host::Name(name) => addresses(name, self.context).await,
        };
        let first = resolved
            .found
            .first()
            .map(|address| SocketAddr::new(*address, port));
        let scheme = match first {
            Some(address) if guessed => sniff(address, self.context).await.unwrap_or(scheme),
            _ => scheme,
        };
        if let (Scheme::Smtp, Host::Name(name)) = (scheme, host) {
            self.discovery.exchangers.push((name.clone(), port));
        }
        self.add(scheme, &host.to_string(), port, &resolved.found, false)
            .await;
        self.discovery.answers.extend(resolved.answers);
        if self.discovery.asks.is_empty() {
            self.discovery.unresolved = Some(
                resolved
                    .failure
                    .map_or(Unresolved::NoServices, |failure| Unresolved::Dns {
                        failure,
                    }),
            );
        }
    }

    /// One service at the first address of each family; the second family is tentative.
    async fn add(
        &mut self,
        scheme: Scheme,
        host: &str,
        port: u16,
        addresses: &[IpAddr],
        tentative: bool,
    ) {
        let allowed = || {
            addresses
                .iter()
                .filter(|address| self.context.families.allow(**address))
        };
        let v4 = allowed().find(|address| address.is_ipv4()).copied();
        let v6 = allowed().find(|address| address.is_ipv6()).copied();
        for (address, is_second) in [(v4, false), (v6, v4.is_some())] {
            let Some(address) = address else { continue };
            let service = Service {
                scheme,
                host: host.to_owned(),
                address: Some(address),
                port,
            };
            let known = self
                .discovery
                .asks
                .iter()
                .any(|ask| ask.service.address == Some(address) && ask.service.port == port);
            if known {
                continue;
            }
            if is_second && !self.is_v6_routable(address).await {
                self.discovery
                    .skipped
                    .push((service, "there is no IPv6 route from here".to_owned()));
            } else if self.discovery.asks.len() >= MOST_ASKS {
                self.discovery
                    .skipped
                    .push((service, format!("more than {MOST_ASKS} services")));
            } else {
                let tentative = tentative || is_second;
                self.discovery.asks.push(Ask {
                    service,
                    role: Role::Target,
                    variation: Variation::Baseline,
                    tentative,
                });
            }
        }
    }

    async fn is_v6_routable(&mut self, address: IpAddr) -> bool {
        // Through a proxy our own routes say nothing.
        if !matches!(self.context.route, Route::Direct) || address.is_loopback() {
            return true;
        }
        match self.v6_routable {
            Some(known) => known,
            None => *self
                .v6_routable
                .insert(hoofbeat_net::dial::is_routable(address).await),
        }
    }

    fn keep(&mut self, answer: Answer) {
        self.discovery.answers.push(answer);
    }

    fn finish(mut self) -> Discovery {
        if let Some(unresolved) = &self.discovery.unresolved {
            self.discovery.measurements.push(
                self.context
                    .measurement(Body::Unresolved(unresolved.clone())),
            );
        }
        self.discovery
    }
}

fn exchanger(record: &Record) -> Option<(u16, String)> {
    match record {
        Record::Mx(preference, host) => Some((*preference, host.clone())),
        _ => None,
    }
}

/// Both families at once.
async fn addresses(name: &str, context: &Context) -> Addresses {
    let (v4, v6) = join(
        context.resolver.ask(name, Question::A, &context.clock),
        context.resolver.ask(name, Question::Aaaa, &context.clock),
    )
    .await;
    let failures = [&v4, &v6]
        .into_iter()
        .filter_map(|answer| answer.lookup().failure.clone());
    // A broken resolver is worse news than a family that is not there.
    let failure = failures.reduce(|first, second| {
        if is_trouble(&second) && !is_trouble(&first) {
            second
        } else {
            first
        }
    });
    let records = [&v4, &v6]
        .into_iter()
        .flat_map(|answer| &answer.lookup().records);
    let found: Vec<IpAddr> = records
        .filter_map(|record| match record {
            Record::Address(address) => Some(*address),
            _ => None,
        })
        .collect();
    Addresses {
        failure: failure.filter(|_| found.is_empty()),
        found,
        answers: vec![v4, v6],
    }
}

fn is_trouble(failure: &Failure) -> bool {
    failure.kind != FailureKind::NoSuchRecord
}

/// Looks at a greeting without answering it, where a port does not tell the protocol.
async fn sniff(address: SocketAddr, context: &Context) -> Option<Scheme> {
    let _permit = context.budget.admit(address, &context.clock).await.ok()?;
    let limit = context.connect_limit.min(context.time_left());
    let dialled = dial(address, &context.route, limit, &context.clock)
        .await
        .ok()?;
    let mut first = [0; 16];
    let peek = async { dialled.stream.peek(&mut first).await.ok() };
    let read = tokio::time::timeout(SNIFF_LIMIT.min(context.time_left()), peek)
        .await
        .ok()??;
    scheme_of_greeting(first.get(..read)?)
}

fn scheme_of_greeting(bytes: &[u8]) -> Option<Scheme> {
    match bytes {
        [b'*', b' ', ..] => Some(Scheme::Imap),
        [b'+', b'O', ..] | [b'-', b'E', ..] => Some(Scheme::Pop3),
        [b'"', ..] => Some(Scheme::Sieve),
        [b'0'..=b'9', ..] => Some(Scheme::Smtp),
        _ => None,
    }
}
