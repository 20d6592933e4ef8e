//! What is told of addresses that traces met: by a local table and by a scripted DNS server, within bounds.

#![allow(missing_docs, unreachable_pub, reason = "a test's own helpers")]

#[path = "../../net/tests/authority/mod.rs"]
#[expect(dead_code, reason = "this test needs little of it")]
mod authority;

use std::{io::Write, net::IpAddr, sync::atomic::Ordering, time::Duration};

use authority::{PTR, Reply, Zone, name, serve};
use hoofbeat_net::Resolver;
use hoofbeat_observation::{
    Answer, Answered, Body, Engine, Measurement, Method, Payload, Probe, Role, Scheme, Service,
    Surroundings, Trace,
};
use hoofbeat_probe::{
    Context,
    path::{PrefixTable, TableError, surroundings},
};
use hoofbeat_session::{Direction, Elapsed};

fn trace(context: &Context, routers: &[&str]) -> Measurement {
    let probe = |(router, ttl): (&&str, u8)| Probe {
        ttl,
        source_port: 40000,
        payload: Payload::None,
        sent: Vec::new(),
        packet: Vec::new(),
        left: None,
        acknowledged: None,
        at: Elapsed::default(),
        restored: None,
        answers: vec![Answer {
            at: Elapsed::default(),
            ttl: None,
            what: Answered::TimeExceeded {
                from: router.parse().unwrap(),
                quote: None,
            },
        }],
    };
    context.measurement(Body::Trace(Trace {
        service: Service {
            scheme: Scheme::Smtp,
            host: "mx.example".to_owned(),
            address: "9.9.9.9".parse().ok(),
            port: 25,
        },
        role: Role::Target,
        engine: Engine::Unprivileged,
        method: Method::Syn,
        direction: Direction::ToServer,
        local: None,
        probes: routers.iter().zip(1..).map(probe).collect(),
        received: Vec::new(),
        started: Elapsed::default(),
        ended: Elapsed::default(),
        failure: None,
    }))
}

fn told(measurement: &Measurement) -> &Surroundings {
    match &measurement.body {
        Body::Surroundings(surroundings) => surroundings,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tables_and_names_are_joined() {
    let zone = Zone::default()
        .answer("1.1.8.8.in-addr.arpa", PTR, &[name("ae1.isp.example")])
        .with("9.9.9.9.in-addr.arpa", PTR, Reply::Answer(3, Vec::new()));
    let (address, asked) = serve(zone).await;
    let mut context = Context::new("test 0", "mx.example");
    context.resolver = Resolver::at(address);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"8.8.0.0/16 64501 An ISP\n9.9.9.0\t24\t64504\nnonsense\n")
        .unwrap();
    let table = PrefixTable::read(file.path()).unwrap();
    let traces = [
        trace(&context, &["192.168.1.1", "8.8.1.1", "8.8.1.1"]),
        trace(&context, &["10.0.0.1", "8.8.1.1"]),
    ];
    let measurement = surroundings(&traces, Some(&table), &context).await;
    let told = told(&measurement);
    let facts: Vec<_> = told
        .addresses
        .iter()
        .map(|fact| {
            let (asn, holder) = (fact.asn, fact.holder.as_deref());
            (
                fact.address.to_string(),
                asn,
                holder,
                fact.reverse.as_deref(),
            )
        })
        .collect();
    let isp = Some("An ISP");
    assert_eq!(
        facts,
        [
            (
                "8.8.1.1".to_owned(),
                Some(64501),
                isp,
                Some("ae1.isp.example")
            ),
            ("9.9.9.9".to_owned(), Some(64504), None, None),
            ("10.0.0.1".to_owned(), None, None, None),
            ("192.168.1.1".to_owned(), None, None, None),
        ]
    );
    assert_eq!(asked.load(Ordering::Relaxed), 2, "each public address once");
    assert!(
        told.own
            .iter()
            .all(|(address, _): &(IpAddr, u8)| !address.is_loopback())
    );
    let described = told.table.as_deref().unwrap();
    assert!(
        described.contains("2 prefixes, 1 lines not understood, written today"),
        "{described}"
    );
}

#[tokio::test]
async fn a_silent_resolver_costs_a_bounded_time() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut context = Context::new("test 0", "mx.example");
    context.resolver = Resolver::at(silent.local_addr().unwrap());
    context.deadline = Duration::from_millis(300);
    let measurement = surroundings(&[trace(&context, &["8.8.1.1"])], None, &context).await;
    assert!(
        told(&measurement)
            .addresses
            .iter()
            .all(|fact| fact.reverse.is_none())
    );
    assert!(context.clock.now() < Duration::from_secs(3));
}

#[test]
fn tables_that_are_none() {
    let missing = PrefixTable::read(std::path::Path::new("/nonexistent")).unwrap_err();
    assert!(matches!(missing, TableError::Unreadable(_)));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let error = PrefixTable::read(empty.path()).unwrap_err();
    assert!(error.to_string().contains("192.0.2.0/24 64500"), "{error}");
}
