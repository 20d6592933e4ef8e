//! The resolver against a scripted DNS server: each kind of answer, and each DNSSEC status.

#![allow(missing_docs, unreachable_pub, reason = "a test's own helpers")]

mod authority;

use std::{sync::atomic::Ordering, time::Duration};

use authority::{
    A, AAAA, CNAME, DNSKEY, DS, MX, PTR, Reply, SOA, SRV, Signer, TLSA, TXT, Zone, mx, name, serve,
    srv,
};
use hoofbeat_net::{Clock, Resolver};
use hoofbeat_observation::{DnsStatus, FailureKind, Lookup, Question, Record};

/// No busy machine needs as long for an answer; a silent server is waited for with less.
const LIMIT: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(800);

async fn lookup(zone: Zone, name: &str, question: Question) -> Lookup {
    let (address, _) = serve(zone).await;
    let limit = if name.starts_with("silent.") {
        SHORT
    } else {
        LIMIT
    };
    let answer = Resolver::at(address)
        .with_limit(limit)
        .ask(name, question, &Clock::start())
        .await;
    answer.lookup().clone()
}

fn kind(lookup: &Lookup) -> Option<FailureKind> {
    lookup.failure.as_ref().map(|failure| failure.kind)
}

#[tokio::test]
async fn every_question_is_answered() {
    let zone = Zone::default()
        .answer(
            "example.org",
            MX,
            &[mx(20, "Backup.example.org"), mx(10, "mx.example.org")],
        )
        .answer("null.example", MX, &[mx(0, "")])
        .answer(
            "_imaps._tcp.example.org",
            SRV,
            &[srv(0, 993, "imap.example.org"), srv(0, 0, "")],
        )
        .answer("mx.example.org", A, &[vec![192, 0, 2, 1]])
        .answer(
            "mx.example.org",
            AAAA,
            &[vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
        )
        .answer(
            "_mta-sts.example.org",
            TXT,
            &[b"\x08v=STSv1;\x05 id=1".to_vec()],
        )
        .answer(
            "_25._tcp.mx.example.org",
            TLSA,
            &[vec![3, 1, 1, 0xab, 0xcd]],
        )
        .answer("1.2.0.192.in-addr.arpa", PTR, &[name("R1.example.org")]);
    for (asked, question, records) in [
        (
            "Example.ORG.",
            Question::Mx,
            vec![
                Record::Mx(20, "backup.example.org".into()),
                Record::Mx(10, "mx.example.org".into()),
            ],
        ),
        (
            "null.example",
            Question::Mx,
            vec![Record::Mx(0, ".".into())],
        ),
        (
            "_imaps._tcp.example.org",
            Question::Srv,
            vec![
                Record::Srv(0, 0, 993, "imap.example.org".into()),
                Record::Srv(0, 0, 0, ".".into()),
            ],
        ),
        (
            "mx.example.org",
            Question::A,
            vec![Record::Address("192.0.2.1".parse().unwrap())],
        ),
        (
            "mx.example.org",
            Question::Aaaa,
            vec![Record::Address("2001:db8::1".parse().unwrap())],
        ),
        (
            "_mta-sts.example.org",
            Question::Txt,
            vec![Record::Txt(b"v=STSv1; id=1".to_vec())],
        ),
        (
            "_25._tcp.mx.example.org",
            Question::Tlsa,
            vec![Record::Tlsa(vec![3, 1, 1, 0xab, 0xcd])],
        ),
        (
            "1.2.0.192.in-addr.arpa",
            Question::Ptr,
            vec![Record::Ptr("r1.example.org".into())],
        ),
    ] {
        let found = lookup(zone.clone(), asked, question).await;
        assert_eq!((found.records, found.failure), (records, None), "{asked}");
        assert_eq!(found.name, asked.trim_end_matches('.').to_ascii_lowercase());
        assert!(found.started <= found.ended && found.resolver.starts_with("127.0.0.1:"));
        assert_eq!(found.status, DnsStatus::Indeterminate);
    }
}

#[tokio::test]
async fn absence_refusal_and_nonsense() {
    let zone = || {
        Zone::default()
            .answer("exists.example", A, &[vec![192, 0, 2, 1]])
            .with("servfail.example", A, Reply::Answer(2, Vec::new()))
            .with("refused.example", A, Reply::Answer(5, Vec::new()))
            .with("garbage.example", A, Reply::Garbage)
            .with("silent.example", A, Reply::Silence)
    };
    for (asked, question, wanted) in [
        ("nowhere.example", Question::A, FailureKind::NoSuchName),
        ("exists.example", Question::Mx, FailureKind::NoSuchRecord),
        ("servfail.example", Question::A, FailureKind::ResolverFailed),
        ("refused.example", Question::A, FailureKind::ResolverFailed),
        ("garbage.example", Question::A, FailureKind::ResolverFailed),
        ("silent.example", Question::A, FailureKind::ResolverFailed),
        ("a..b", Question::A, FailureKind::Other),
    ] {
        let found = lookup(zone(), asked, question).await;
        assert_eq!(
            (kind(&found), found.records),
            (Some(wanted), Vec::new()),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn the_next_resolver_helps_where_the_first_does_not() {
    let zone = Zone::default().answer("x.example", A, &[vec![192, 0, 2, 1]]);
    let (good, _) = serve(zone).await;
    let (broken, _) =
        serve(Zone::default().with("x.example", A, Reply::Answer(2, Vec::new()))).await;
    let closed = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let clock = Clock::start();
    for first in [broken, closed] {
        let resolver = Resolver::at_first_of(&[first, good]).with_limit(LIMIT);
        let found = resolver
            .ask("x.example", Question::A, &clock)
            .await
            .lookup()
            .clone();
        assert_eq!((found.records.len(), found.resolver), (1, good.to_string()));
        let found = resolver
            .ask("no.example", Question::A, &clock)
            .await
            .lookup()
            .clone();
        assert_eq!(
            kind(&found),
            Some(FailureKind::NoSuchName),
            "an honest no is an answer"
        );
    }
    let none = Resolver::at_first_of(&[])
        .ask("x.example", Question::A, &clock)
        .await
        .lookup()
        .clone();
    assert_eq!(kind(&none), Some(FailureKind::ResolverFailed));
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let records = (0..40)
        .map(|i| ("many.example".to_owned(), A, vec![192, 0, 2, i]))
        .collect();
    let found = lookup(
        Zone::default().with("many.example", A, Reply::OverTcp(records)),
        "many.example",
        Question::A,
    )
    .await;
    assert_eq!((found.records.len(), found.failure), (40, None));
}

#[tokio::test]
async fn aliases_are_followed_and_strangers_are_not() {
    let records = vec![
        ("www.example".to_owned(), CNAME, name("real.example")),
        ("real.example".to_owned(), A, vec![192, 0, 2, 7]),
        ("stranger.example".to_owned(), A, vec![192, 0, 2, 66]),
    ];
    let found = lookup(
        Zone::default().with("www.example", A, Reply::Answer(0, records)),
        "www.example",
        Question::A,
    )
    .await;
    assert_eq!(
        found.records,
        [Record::Address("192.0.2.7".parse().unwrap())]
    );
}

#[tokio::test]
async fn the_hosts_own_names_never_reach_the_dns() {
    let (address, questions) = serve(Zone::default()).await;
    let resolver = Resolver::at(address);
    let clock = Clock::start();
    for (asked, question, records, by) in [
        ("localhost", Question::A, 1, "hosts file"),
        ("x.localhost", Question::Aaaa, 1, "hosts file"),
        ("localhost", Question::Mx, 0, "hosts file"),
        ("192.0.2.1", Question::A, 1, "literal address"),
        ("192.0.2.1", Question::Aaaa, 0, "literal address"),
        ("::1", Question::Aaaa, 1, "literal address"),
    ] {
        let found = resolver.lookup(asked, question, &clock).await;
        assert_eq!(
            (found.records.len(), found.resolver.as_str(), found.status),
            (records, by, DnsStatus::Indeterminate)
        );
        assert_eq!(
            kind(&found),
            (records == 0).then_some(FailureKind::NoSuchRecord)
        );
    }
    assert_eq!(questions.load(Ordering::Relaxed), 0);
}

/// `example.` with a key, an SOA and one address, everything signed.
fn signed_zone(signer: &Signer) -> Zone {
    let soa = [
        name("ns.example"),
        name("root.example"),
        vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1],
    ]
    .concat();
    Zone::default()
        .with(
            "example",
            DNSKEY,
            signer.signed("example", DNSKEY, &[signer.dnskey()]),
        )
        .with("example", SOA, signer.signed("example", SOA, &[soa]))
        .with(
            "mx.example",
            A,
            signer.signed("mx.example", A, &[vec![192, 0, 2, 1], vec![192, 0, 2, 2]]),
        )
        .with("mx.example", DS, Reply::Answer(0, Vec::new()))
}

async fn status(zone: Zone, signer: &Signer) -> Lookup {
    let is_silent = zone.0.values().any(|reply| matches!(reply, Reply::Silence));
    let limit = if is_silent { SHORT } else { LIMIT };
    let (address, _) = serve(zone).await;
    let resolver = Resolver::at(address)
        .with_limit(limit)
        .with_anchor(signer.anchor().as_bytes())
        .unwrap();
    resolver
        .lookup("mx.example", Question::A, &Clock::start())
        .await
}

#[tokio::test]
async fn secure_is_what_the_anchor_signed() {
    let signer = Signer::new("example");
    let found = status(signed_zone(&signer), &signer).await;
    assert_eq!(
        (found.status, found.failure, found.records.len()),
        (DnsStatus::Secure, None, 2)
    );
}

#[tokio::test]
async fn bogus_is_what_somebody_changed() {
    let signer = Signer::new("example");
    let Reply::Answer(_, mut records) = signer.signed("mx.example", A, &[vec![192, 0, 2, 1]])
    else {
        panic!("an answer")
    };
    records[0].2 = vec![192, 0, 2, 66];
    let found = status(
        signed_zone(&signer).with("mx.example", A, Reply::Answer(0, records)),
        &signer,
    )
    .await;
    assert_eq!(
        (found.status, kind(&found)),
        (DnsStatus::Bogus, Some(FailureKind::Bogus))
    );
    assert_eq!(found.records.len(), 1, "what was answered is kept");
}

#[tokio::test]
async fn what_hinders_validation_is_not_bogus() {
    let signer = Signer::new("example");
    let changed = |zone: Zone| {
        let Reply::Answer(_, mut records) = signer.signed("mx.example", A, &[vec![192, 0, 2, 1]])
        else {
            panic!("an answer")
        };
        records[0].2 = vec![192, 0, 2, 66];
        zone.with("mx.example", A, Reply::Answer(0, records))
    };
    let whole = || signed_zone(&signer);
    for (what, zone) in [
        (
            "no answer for the keys",
            whole().with("example", DNSKEY, Reply::Silence),
        ),
        (
            "no keys",
            whole().with("example", DNSKEY, Reply::Answer(2, Vec::new())),
        ),
        ("signatures stripped everywhere", {
            let mut zone = whole();
            for reply in zone.0.values_mut() {
                if let Reply::Answer(_, records) = reply {
                    records.retain(|(_, rtype, _)| *rtype != authority::RRSIG);
                }
            }
            zone
        }),
        (
            "DS refused",
            changed(whole()).with("mx.example", DS, Reply::Answer(2, Vec::new())),
        ),
        (
            "DS dropped",
            changed(whole()).with("mx.example", DS, Reply::Silence),
        ),
    ] {
        let found = status(zone, &signer).await;
        assert_eq!(
            (found.status, kind(&found)),
            (DnsStatus::Indeterminate, None),
            "{what}"
        );
        assert!(!found.records.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn an_anchor_must_be_one() {
    let address = "127.0.0.1:9".parse().unwrap();
    assert!(
        Resolver::at(address)
            .with_anchor(b"this is no anchor")
            .is_err()
    );
    assert!(
        Resolver::at(address)
            .with_anchor(hoofbeat_net::resolve::ROOT_ANCHOR.as_bytes())
            .is_ok()
    );
}
