//! From targets to services against a scripted DNS, and the facts that are found beside them.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a test's own helpers"
)]

#[path = "../../net/tests/authority/mod.rs"]
mod authority;

use std::time::Duration;

use authority::{A, AAAA, DNSKEY, MX, Reply, SOA, SRV, Signer, TLSA, Zone, mx, name, serve, srv};
use hoofbeat_net::Resolver;
use hoofbeat_observation::{
    Body, DnsStatus, Failure, FailureKind, Lookup, Question, measurement::Unresolved,
};
use hoofbeat_probe::{Context, Discovery, Target, discover, policy_facts};

async fn context(zone: Zone) -> Context {
    let (address, _) = serve(zone).await;
    let mut context = Context::new("test 0", "test");
    context.resolver = Resolver::at(address).with_limit(Duration::from_secs(2));
    context
}

async fn found(zone: Zone, target: &str) -> Discovery {
    discover(&Target::parse(target).unwrap(), &context(zone).await).await
}

/// What is asked: the service, and whether it is a guess.
fn asks(discovery: &Discovery) -> Vec<(String, bool)> {
    discovery
        .asks
        .iter()
        .map(|ask| {
            (
                format!("{}@{}", ask.service, ask.service.address.unwrap()),
                ask.tentative,
            )
        })
        .collect()
}

const V4: [u8; 4] = [127, 0, 0, 25];
const OTHER: [u8; 4] = [127, 0, 0, 26];
const V6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn example() -> Zone {
    Zone::default()
        .answer(
            "example.org",
            MX,
            &[mx(20, "mx2.example.org"), mx(10, "mx1.example.org")],
        )
        .answer("mx1.example.org", A, &[V4.to_vec(), OTHER.to_vec()])
        .answer("mx1.example.org", AAAA, &[V6.to_vec()])
        .answer("mx2.example.org", A, &[OTHER.to_vec()])
}

#[tokio::test]
async fn a_domain_leads_to_its_exchangers_in_both_families() {
    let discovery = found(example(), "example.org").await;
    assert_eq!(
        asks(&discovery),
        [
            ("smtp://mx1.example.org:25@127.0.0.25".to_owned(), false),
            ("smtp://mx1.example.org:25@::1".to_owned(), true),
            ("smtp://mx2.example.org:25@127.0.0.26".to_owned(), false),
        ]
    );
    assert_eq!(
        (discovery.domain(), discovery.unresolved.clone()),
        (Some("example.org"), None)
    );
}

#[tokio::test]
async fn srv_records_say_where_people_read_and_send() {
    let zone = example()
        .answer(
            "_imaps._tcp.example.org",
            SRV,
            &[
                srv(5, 1993, "mx2.example.org"),
                srv(1, 993, "mx1.example.org"),
            ],
        )
        .answer("_imap._tcp.example.org", SRV, &[srv(0, 0, "")])
        .answer(
            "_submission._tcp.example.org",
            SRV,
            &[srv(0, 587, "gone.example.org")],
        )
        .answer("mail.example.org", A, &[V4.to_vec()]);
    let asked = asks(&found(zone, "example.org").await);
    let wanted = |service: &str| {
        asked
            .iter()
            .any(|(known, tentative)| known == service && !tentative)
    };
    assert!(
        wanted("imaps://mx1.example.org:993@127.0.0.25")
            && wanted("imaps://mx2.example.org:1993@127.0.0.26")
    );
    assert!(wanted("smtp://mx1.example.org:25@127.0.0.25"));
    assert!(
        !asked
            .iter()
            .any(|(known, _)| known.starts_with("imap:") || known.contains("mail.example.org")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn without_srv_records_the_usual_hosts_are_guessed() {
    let zone = example()
        .answer("imap.example.org", A, &[OTHER.to_vec()])
        .answer("mail.example.org", A, &[V4.to_vec()]);
    let asked = asks(&found(zone, "example.org").await);
    let guesses: Vec<&str> = asked
        .iter()
        .filter(|(_, tentative)| *tentative)
        .map(|(known, _)| known.as_str())
        .collect();
    assert!(guesses.contains(&"imaps://imap.example.org:993@127.0.0.26"));
    assert!(guesses.contains(&"submission://mail.example.org:587@127.0.0.25"));
    assert!(
        !guesses
            .iter()
            .any(|guess| guess.contains("smtp.example.org"))
    );
}

#[tokio::test]
async fn a_name_without_mx_is_its_own_exchanger_or_a_host() {
    let zone = Zone::default().answer("host.example", A, &[V4.to_vec()]);
    let discovery = found(zone, "host.example").await;
    let asked = asks(&discovery);
    assert_eq!(
        asked[0],
        ("smtp://host.example:25@127.0.0.25".to_owned(), true)
    );
    assert_eq!(asked.len(), 7);
    assert_eq!(asks(&found(Zone::default(), "127.0.0.9").await).len(), 7);
}

#[tokio::test]
async fn targets_that_lead_nowhere_say_why() {
    let exists = || Zone::default().answer("x.example", A, &[V4.to_vec()]);
    for (zone, target, wanted) in [
        (
            Zone::default().answer("null.example", MX, &[mx(0, "")]),
            "null.example",
            None,
        ),
        (exists(), "nowhere.test", Some(FailureKind::NoSuchName)),
        (
            exists(),
            "smtp://nowhere.test",
            Some(FailureKind::NoSuchName),
        ),
        (
            exists().with("broken.example", MX, Reply::Answer(2, Vec::new())),
            "broken.example",
            Some(FailureKind::ResolverFailed),
        ),
        (
            exists().with("silent.example", A, Reply::Silence),
            "imap://silent.example",
            Some(FailureKind::ResolverFailed),
        ),
    ] {
        let discovery = found(zone, target).await;
        assert!(discovery.asks.is_empty(), "{target}");
        match (discovery.unresolved.as_ref().unwrap(), wanted) {
            (Unresolved::NullMx, None) => {}
            (
                Unresolved::Dns {
                    failure: Failure { kind, .. },
                },
                Some(wanted),
            ) => assert_eq!(*kind, wanted, "{target}"),
            other => panic!("{target}: {other:?}"),
        }
        assert!(matches!(
            discovery.measurements[0].body,
            Body::Unresolved(_)
        ));
    }
    let discovery = found(
        Zone::default().answer("txt.example", 16, &[b"\x01x".to_vec()]),
        "txt.example",
    )
    .await;
    assert_eq!(discovery.unresolved, Some(Unresolved::NoServices));
}

#[tokio::test]
async fn only_one_family_where_the_user_wants_one() {
    let mut context = context(example()).await;
    context.families = hoofbeat_net::Families::OnlyV6;
    let discovery = discover(&Target::parse("smtp://mx1.example.org").unwrap(), &context).await;
    assert_eq!(
        asks(&discovery),
        [("smtp://mx1.example.org:25@::1".to_owned(), false)]
    );
}

fn lookups(measurements: &[hoofbeat_observation::Measurement]) -> Vec<&Lookup> {
    measurements.iter().filter_map(|m| m.lookup()).collect()
}

#[tokio::test]
async fn facts_tell_the_status_of_every_answer_and_ask_for_tlsa_where_it_counts() {
    let signer = Signer::new("example");
    let soa = [name("ns.example"), name("root.example"), vec![0; 20]].concat();
    let tlsa = vec![vec![3, 1, 1, 7]];
    let zone = Zone::default()
        .with(
            "example",
            DNSKEY,
            signer.signed("example", DNSKEY, &[signer.dnskey()]),
        )
        .with("example", SOA, signer.signed("example", SOA, &[soa]))
        .with(
            "d.example",
            MX,
            signer.signed("d.example", MX, &[mx(10, "mx.example")]),
        )
        .with(
            "mx.example",
            A,
            signer.signed("mx.example", A, &[V4.to_vec()]),
        )
        .with(
            "_25._tcp.mx.example",
            TLSA,
            signer.signed("_25._tcp.mx.example", TLSA, &tlsa),
        );
    let mut context = context(zone).await;
    context.resolver = context
        .resolver
        .with_anchor(signer.anchor().as_bytes())
        .unwrap();
    let discovery = discover(&Target::parse("d.example").unwrap(), &context).await;
    let facts = policy_facts(&discovery, &context).await;
    let lookups = lookups(&facts);
    let status = |name: &str, question| {
        lookups
            .iter()
            .find(|l| l.name == name && l.question == question)
            .map(|l| l.status)
    };
    assert_eq!(status("d.example", Question::Mx), Some(DnsStatus::Secure));
    assert_eq!(status("mx.example", Question::A), Some(DnsStatus::Secure));
    assert_eq!(
        status("_25._tcp.mx.example", Question::Tlsa),
        Some(DnsStatus::Secure)
    );
    assert!(status("_mta-sts.d.example", Question::Txt).is_some());
}

#[tokio::test]
async fn facts_never_ask_for_tlsa_in_unsigned_zones() {
    let context = context(example()).await;
    let discovery = discover(&Target::parse("example.org").unwrap(), &context).await;
    let facts = policy_facts(&discovery, &context).await;
    let lookups = lookups(&facts);
    assert!(lookups.iter().all(
        |lookup| lookup.question != Question::Tlsa && lookup.status == DnsStatus::Indeterminate
    ));
    assert!(
        lookups
            .iter()
            .any(|lookup| lookup.question == Question::Mx && lookup.records.len() == 2)
    );
}
