//! Asking the DNS, with the DNSSEC status of each answer (RFC 4035 §4.3): every outcome is data.
//!
//! An answer and its validation are two steps, because a dialogue need not wait for the second:
//! [`Resolver::ask`] is quick and leaves the status indeterminate, [`Resolver::validate`] completes it.
//! Names of the hosts file, `localhost` and literal addresses never reach the DNS.

mod local;
mod records;
mod upstream;
mod validate;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use domain::{
    base::{Name, message::Message},
    dnssec::validator::anchor::TrustAnchors,
};
use hoofbeat_observation::{DnsStatus, Failure, FailureKind, Lookup, Operation, Question, Record};

use crate::Clock;
use local::{HostsFile, ResolverSettings};
use upstream::Upstream;

/// Longest wait for one answer, all tries of one resolver together.
pub const QUERY_LIMIT: Duration = Duration::from_secs(3);

/// The root zone's key-signing keys as IANA publishes them: KSK-2017 and KSK-2024.
pub const ROOT_ANCHOR: &str = "\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
";

/// Most resolvers of one configuration that are asked, as in the C library.
const MOST_UPSTREAMS: usize = 3;

/// One or more resolvers that are asked in turn until one answers.
#[derive(Debug, Clone)]
pub struct Resolver {
    upstreams: Vec<Arc<Upstream>>,
    hosts: Arc<HostsFile>,
    search: Vec<String>,
    limit: Duration,
}

/// Why a trust anchor cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the trust anchor is not DS or DNSKEY records in zone file form: {0}")]
pub struct AnchorError(String);

/// An answer whose DNSSEC status is still open.
#[derive(Debug, Clone)]
pub struct Answer {
    lookup: Lookup,
    /// What to validate: the message and who sent it.
    message: Option<(Message<bytes::Bytes>, usize)>,
}

impl Answer {
    /// What is known so far; the status is indeterminate.
    #[must_use]
    pub const fn lookup(&self) -> &Lookup {
        &self.lookup
    }
}

impl Resolver {
    /// The resolvers and hosts that the operating system is configured with.
    #[must_use]
    pub fn system() -> Self {
        let settings = ResolverSettings::of_system();
        Self {
            upstreams: upstreams(settings.servers, ROOT_ANCHOR.as_bytes()),
            hosts: Arc::new(HostsFile::of_system()),
            search: settings.search,
            limit: QUERY_LIMIT,
        }
    }

    /// One resolver, and of the hosts file only `localhost`.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self::at_first_of(&[address])
    }

    /// Several resolvers: the next is asked where one does not answer usefully.
    #[must_use]
    pub fn at_first_of(addresses: &[SocketAddr]) -> Self {
        Self {
            upstreams: upstreams(addresses.to_vec(), ROOT_ANCHOR.as_bytes()),
            hosts: Arc::default(),
            search: Vec::new(),
            limit: QUERY_LIMIT,
        }
    }

    /// With another trust anchor, as DS or DNSKEY records in zone file form.
    ///
    /// # Errors
    /// When the text is no such records.
    pub fn with_anchor(mut self, anchor: &[u8]) -> Result<Self, AnchorError> {
        TrustAnchors::from_u8(anchor).map_err(|error| AnchorError(error.to_string()))?;
        let addresses = self
            .upstreams
            .iter()
            .map(|upstream| upstream.address)
            .collect();
        self.upstreams = upstreams(addresses, anchor);
        Ok(self)
    }

    /// With another limit for one answer.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Asks and validates: [`Resolver::ask`], then [`Resolver::validate`].
    pub async fn lookup(&self, name: &str, question: Question, clock: &Clock) -> Lookup {
        self.validate(self.ask(name, question, clock).await, clock)
            .await
    }

    /// Asks, and leaves the status indeterminate.
    pub async fn ask(&self, name: &str, question: Question, clock: &Clock) -> Answer {
        let started = clock.now();
        let name = name.strip_suffix('.').unwrap_or(name);
        let begun = Lookup {
            name: name.to_ascii_lowercase(),
            question,
            records: Vec::new(),
            status: DnsStatus::Indeterminate,
            failure: None,
            resolver: String::new(),
            started: micros(started).into(),
            ended: micros(started).into(),
        };
        let mut answer = match self.without_dns(&begun) {
            Some(lookup) => Answer {
                lookup,
                message: None,
            },
            None => self.over_dns(begun).await,
        };
        answer.lookup.ended = micros(clock.now()).into();
        answer
    }

    /// Finds the status of an answer. Bogus is only said of a zone that fails again when asked anew while the
    /// rest of the chain is answered; whatever hinders validation is indeterminate.
    pub async fn validate(&self, answer: Answer, clock: &Clock) -> Lookup {
        let Answer {
            mut lookup,
            message,
        } = answer;
        if let Some((message, number)) = message
            && let Some(upstream) = self.upstreams.get(number)
        {
            let (status, why) = validate::status(upstream, &message, self.limit).await;
            lookup.status = status;
            if status == DnsStatus::Bogus {
                let raw = why.unwrap_or_else(|| "DNSSEC validation failed".to_owned());
                lookup.failure = Some(Failure {
                    operation: Operation::Resolve,
                    kind: FailureKind::Bogus,
                    raw,
                });
            }
            lookup.ended = micros(clock.now()).into();
        }
        lookup
    }

    /// Literal addresses, `localhost` (RFC 6761 §6.3) and the hosts file.
    fn without_dns(&self, begun: &Lookup) -> Option<Lookup> {
        let addresses = match begun.name.parse() {
            Ok(address) => (vec![address], "literal address"),
            Err(_) => (self.hosts.addresses(&begun.name)?, "hosts file"),
        };
        let mut lookup = begun.clone();
        lookup.resolver = addresses.1.to_owned();
        lookup.records = (addresses.0.into_iter())
            .filter(|address| match begun.question {
                Question::A => address.is_ipv4(),
                Question::Aaaa => address.is_ipv6(),
                _ => false,
            })
            .map(Record::Address)
            .collect();
        if lookup.records.is_empty() {
            lookup.failure = Some(no_such_record());
        }
        Some(lookup)
    }

    async fn over_dns(&self, begun: Lookup) -> Answer {
        // A single label may be one of the local network's, by the search list; a name with dots is whole.
        let is_address = matches!(begun.question, Question::A | Question::Aaaa);
        if is_address && !begun.name.contains('.') && !begun.name.is_empty() {
            for suffix in &self.search {
                let candidate = Lookup {
                    name: format!("{}.{suffix}", begun.name),
                    ..begun.clone()
                };
                let answer = self.ask_upstreams(candidate).await;
                if !answer.lookup.records.is_empty() {
                    return answer;
                }
            }
        }
        self.ask_upstreams(begun).await
    }

    async fn ask_upstreams(&self, begun: Lookup) -> Answer {
        let Ok(name) = Name::<Vec<u8>>::vec_from_str(&begun.name) else {
            let raw = format!("{:?} is no name for the DNS", begun.name);
            let failure = Failure {
                operation: Operation::Resolve,
                kind: FailureKind::Other,
                raw,
            };
            return Answer {
                lookup: Lookup {
                    failure: Some(failure),
                    ..begun
                },
                message: None,
            };
        };
        let mut last = None;
        for (number, upstream) in self.upstreams.iter().enumerate() {
            let mut lookup = Lookup {
                resolver: upstream.address.to_string(),
                ..begun.clone()
            };
            match upstream
                .ask(name.clone(), records::rtype(begun.question), self.limit)
                .await
            {
                Ok(message) => {
                    let (found, failure) = records::read(&message, begun.question);
                    let useless = failure
                        .as_ref()
                        .is_some_and(|f| f.kind == FailureKind::ResolverFailed);
                    lookup.records = found;
                    lookup.failure = failure;
                    if !useless {
                        return Answer {
                            lookup,
                            message: Some((message, number)),
                        };
                    }
                }
                Err(raw) => lookup.failure = Some(resolver_failed(raw)),
            }
            // The first refusal is told; the others were only asked for help.
            last = last.or(Some(lookup));
        }
        let lookup = last.unwrap_or_else(|| Lookup {
            failure: Some(resolver_failed("no resolver is configured".to_owned())),
            ..begun
        });
        Answer {
            lookup,
            message: None,
        }
    }
}

fn upstreams(addresses: Vec<SocketAddr>, anchor: &[u8]) -> Vec<Arc<Upstream>> {
    let anchor: Arc<[u8]> = anchor.into();
    addresses
        .into_iter()
        .take(MOST_UPSTREAMS)
        .map(|a| Arc::new(Upstream::new(a, Arc::clone(&anchor))))
        .collect()
}

fn micros(since_zero: Duration) -> u64 {
    since_zero.as_micros().try_into().unwrap_or(u64::MAX)
}

fn resolver_failed(raw: String) -> Failure {
    Failure {
        operation: Operation::Resolve,
        kind: FailureKind::ResolverFailed,
        raw,
    }
}

fn no_such_record() -> Failure {
    let raw = "the name has no such record".to_owned();
    Failure {
        operation: Operation::Resolve,
        kind: FailureKind::NoSuchRecord,
        raw,
    }
}
