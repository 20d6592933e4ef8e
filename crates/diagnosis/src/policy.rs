//! What the domain publishes about a service, as far as its DNS answers may be believed: DANE and MTA-STS.
//!
//! Only a DNSSEC-secure TLSA answer counts (RFC 7672 §2.2); an MTA-STS policy counts once fetched and
//! parsed (RFC 8461 §3). It must not know what a mismatch says about anybody.

use alloc::{format, vec::Vec};
use hoofbeat_observation::{
    Body, DnsStatus, FailureKind, Handshake, Lookup, Measurement, Question, Record, Service,
};
use hoofbeat_policy::{
    mta_sts::{document, record},
    tlsa::{TlsaRecord, Usage},
};

/// The published facts about one service.
#[derive(Debug, Default)]
pub(crate) struct Policy<'a> {
    /// Usable records of a secure answer, and the measurement that holds them.
    pub(crate) tlsa: Option<(&'a str, Vec<TlsaRecord>)>,
    /// The MTA-STS policy, and the measurement that holds it.
    pub(crate) mta_sts: Option<(&'a str, document::Document)>,
    /// MX records were looked up, so a policy would apply.
    pub(crate) has_mx: bool,
    /// A look-up failed, so absence is not known.
    pub(crate) uncertain: bool,
}

impl<'a> Policy<'a> {
    /// Gathers what is published about a service of the target.
    pub(crate) fn gather(measurements: &'a [Measurement], service: &Service) -> Self {
        let mut policy = Self::default();
        let host = service.host.trim_end_matches('.').to_ascii_lowercase();
        let tlsa_name = format!("_{}._tcp.{host}", service.port);
        let mut announced = false;
        for measurement in measurements {
            match &measurement.body {
                Body::Lookup(lookup) => {
                    let name = lookup.name.trim_end_matches('.');
                    match lookup.question {
                        Question::Mx => {
                            policy.has_mx |=
                                lookup.records.iter().any(|r| matches!(r, Record::Mx(..)))
                        }
                        Question::Tlsa if name.eq_ignore_ascii_case(&tlsa_name) => {
                            policy.uncertain |= is_uncertain(lookup);
                            policy.take_tlsa(&measurement.id, lookup);
                        }
                        Question::Txt if name.to_ascii_lowercase().starts_with("_mta-sts.") => {
                            policy.uncertain |= is_uncertain(lookup);
                            announced |= is_announced(lookup);
                        }
                        _ => {}
                    }
                }
                Body::MtaSts(fetch) => {
                    if fetch.http_status == Some(200)
                        && let Ok(document) = document::parse(&fetch.body)
                    {
                        policy.mta_sts.get_or_insert((&measurement.id, document));
                    } else {
                        policy.uncertain = true;
                    }
                }
                _ => {}
            }
        }
        if !announced {
            policy.mta_sts = None;
        }
        policy
    }

    fn take_tlsa(&mut self, id: &'a str, lookup: &Lookup) {
        if lookup.status != DnsStatus::Secure {
            return;
        }
        let usable: Vec<TlsaRecord> = lookup
            .records
            .iter()
            .filter_map(|one| match one {
                Record::Tlsa(rdata) => TlsaRecord::parse(rdata).ok(),
                _ => None,
            })
            .filter(TlsaRecord::is_usable_for_smtp)
            .collect();
        if !usable.is_empty() {
            self.tlsa = Some((id, usable));
        }
    }

    /// A secure DANE-EE record matches the leaf: that alone proves the server (RFC 7672 §3.1.1).
    pub(crate) fn dane_ee_matches(&self, handshake: &Handshake) -> bool {
        let Some((_, records)) = &self.tlsa else {
            return false;
        };
        let Some(leaf) = handshake.chain.first() else {
            return false;
        };
        records
            .iter()
            .any(|one| one.usage == Usage::DaneEe && one.matches(&leaf.der, &leaf.public_key))
    }

    /// A secure record names a certificate of the presented chain. For DANE-TA this proves nothing: the
    /// signatures up to it were not checked here. `None` where nothing is published or shown.
    pub(crate) fn tlsa_names_chain(&self, handshake: &Handshake) -> Option<bool> {
        let (_, records) = self.tlsa.as_ref()?;
        if handshake.chain.is_empty() {
            return None;
        }
        Some(records.iter().any(|one| {
            match one.usage {
                Usage::DaneTa => handshake
                    .chain
                    .iter()
                    .any(|certificate| one.matches(&certificate.der, &certificate.public_key)),
                _ => handshake
                    .chain
                    .first()
                    .is_some_and(|leaf| one.matches(&leaf.der, &leaf.public_key)),
            }
        }))
    }

    /// The domain says that this server offers TLS to everybody.
    pub(crate) fn promises_tls(&self, host: &str) -> bool {
        self.tlsa.is_some()
            || self.mta_sts.as_ref().is_some_and(|(_, policy)| {
                policy.mode == document::Mode::Enforce
                    && policy.mx.iter().any(|pattern| pattern.matches(host))
            })
    }

    /// Nothing is published, for sure, although it could be.
    pub(crate) fn is_absent(&self) -> bool {
        self.has_mx
            && !self.uncertain
            && self.tlsa.is_none()
            && !self
                .mta_sts
                .as_ref()
                .is_some_and(|(_, policy)| policy.mode != document::Mode::None)
    }
}

fn is_uncertain(lookup: &Lookup) -> bool {
    lookup.status == DnsStatus::Bogus
        || lookup.failure.as_ref().is_some_and(|failure| {
            !matches!(
                failure.kind,
                FailureKind::NoSuchName | FailureKind::NoSuchRecord
            )
        })
}

fn is_announced(lookup: &Lookup) -> bool {
    let texts: Vec<&[u8]> = lookup
        .records
        .iter()
        .filter_map(|one| match one {
            Record::Txt(text) => Some(text.as_slice()),
            _ => None,
        })
        .collect();
    matches!(record::parse(&texts), record::RecordOutcome::Valid { .. })
}
