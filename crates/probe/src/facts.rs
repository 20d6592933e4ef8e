//! The context of a verdict: the DNSSEC status of every answer used, TLSA records and the MTA-STS policy.
//!
//! It runs beside the dialogues and delays none of them. RFC 7672 §2.2: TLSA is only asked for where the
//! host's addresses are secure, because resolvers of unsigned zones are known to fail on the question.

use futures_util::future::{join, join_all};
use hoofbeat_observation::{Body, DnsStatus, Lookup, Measurement, Question, Record};

use crate::{Context, Discovery, fetch};

/// Validates what discovery was told, and fetches the policies of the target's domain and SMTP servers.
pub async fn policy_facts(discovery: &Discovery, context: &Context) -> Vec<Measurement> {
    if discovery.asks.is_empty() {
        // Nothing will be encrypted or not: the answers are told as they came, at once.
        let told = discovery
            .answers
            .iter()
            .map(|answer| Body::Lookup(answer.lookup().clone()));
        return told.map(|body| context.measurement(body)).collect();
    }
    let (lookups, (announcement, policy)) = join(
        join_all(
            discovery
                .answers
                .iter()
                .map(|answer| context.resolver.validate(answer.clone(), &context.clock)),
        ),
        mta_sts(discovery.domain(), context),
    )
    .await;
    let secure = |host: &str| {
        lookups.iter().any(|lookup| {
            lookup.name == host && lookup.status == DnsStatus::Secure && gives_address(lookup)
        })
    };
    let signed = discovery.exchangers.iter().filter(|(host, _)| secure(host));
    let associations = join_all(signed.map(|(host, port)| {
        let name = format!("_{port}._tcp.{host}");
        async move {
            context
                .resolver
                .lookup(&name, Question::Tlsa, &context.clock)
                .await
        }
    }))
    .await;
    let lookups = lookups
        .into_iter()
        .chain(announcement)
        .chain(associations)
        .map(Body::Lookup);
    lookups
        .chain(policy.map(Body::MtaSts))
        .map(|body| context.measurement(body))
        .collect()
}

fn gives_address(lookup: &Lookup) -> bool {
    lookup
        .records
        .iter()
        .any(|record| matches!(record, Record::Address(_)))
}

/// The announcement, and the policy where one is announced.
async fn mta_sts(
    domain: Option<&str>,
    context: &Context,
) -> (Option<Lookup>, Option<hoofbeat_observation::MtaStsFetch>) {
    let Some(domain) = domain else {
        return (None, None);
    };
    let announcement = context
        .resolver
        .lookup(&format!("_mta-sts.{domain}"), Question::Txt, &context.clock)
        .await;
    let announced = announcement
        .records
        .iter()
        .any(|record| matches!(record, Record::Txt(text) if text.starts_with(b"v=STSv1")));
    let policy = if announced {
        Some(fetch::policy(domain, context).await)
    } else {
        None
    };
    (Some(announcement), policy)
}
