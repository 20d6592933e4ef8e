//! Other ways to the same host: its other address family, and the neighbouring ports.
//!
//! A contrast for the judge. Neighbouring ports are only asked where the service is on its own port: next
//! to an odd port there is no telling whose they are.

use std::net::IpAddr;

use futures_util::future::join;
use hoofbeat_observation::{Question, Record, Role, Scheme, Service, Variation};

use crate::{Ask, Context};

/// Most other addresses on the same port that are asked: a pool's members may differ.
const MOST_ADDRESSES: usize = 2;

/// The asks for a service's siblings. Those in `known` were asked already and are left out.
pub async fn sibling_asks(service: &Service, known: &[Service], context: &Context) -> Vec<Ask> {
    let mut siblings = neighbours(service);
    let others = other_addresses(service, context)
        .await
        .into_iter()
        .take(MOST_ADDRESSES);
    siblings.extend(others.map(|address| Service {
        address: Some(address),
        ..service.clone()
    }));
    siblings
        .into_iter()
        .filter(|sibling| {
            !known
                .iter()
                .any(|k| k.address == sibling.address && k.port == sibling.port)
        })
        .map(|sibling| Ask::new(sibling, Role::Sibling, Variation::Baseline))
        .collect()
}

/// The ports beside it at the same address.
fn neighbours(service: &Service) -> Vec<Service> {
    if service.port != service.scheme.default_port() {
        return Vec::new();
    }
    let schemes: &[Scheme] = match service.scheme {
        Scheme::Smtp => &[Scheme::Submissions, Scheme::Submission],
        Scheme::Submission => &[Scheme::Submissions, Scheme::Smtp],
        Scheme::Imap => &[Scheme::Imaps],
        Scheme::Pop3 => &[Scheme::Pop3s],
        Scheme::Sieve => &[Scheme::Imaps, Scheme::Imap],
        Scheme::Submissions => &[Scheme::Submission],
        Scheme::Imaps => &[Scheme::Imap],
        Scheme::Pop3s => &[Scheme::Pop3],
        Scheme::Lmtp => &[],
    };
    let at = |scheme: &Scheme| Service {
        scheme: *scheme,
        port: scheme.default_port(),
        ..service.clone()
    };
    schemes.iter().map(at).collect()
}

/// The host's other addresses, those of the other family first.
async fn other_addresses(service: &Service, context: &Context) -> Vec<IpAddr> {
    if service.host.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    let ask = |question| {
        context
            .resolver
            .ask(&service.host, question, &context.clock)
    };
    let (v4, v6) = join(ask(Question::A), ask(Question::Aaaa)).await;
    let mut others = Vec::new();
    for record in v4.lookup().records.iter().chain(&v6.lookup().records) {
        if let Record::Address(address) = record
            && Some(*address) != service.address
            && context.families.allow(*address)
            && hoofbeat_net::dial::is_routable(*address).await
        {
            others.push(*address);
        }
    }
    others.sort_by_key(|address| {
        service
            .address
            .is_some_and(|own| own.is_ipv4() == address.is_ipv4())
    });
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(scheme: Scheme, port: u16) -> Service {
        Service {
            scheme,
            host: "localhost".into(),
            address: "127.0.0.1".parse().ok(),
            port,
        }
    }

    #[test]
    fn neighbours_of_a_service_on_its_own_port() {
        let ports = |scheme: Scheme, port| {
            neighbours(&service(scheme, port))
                .iter()
                .map(|s| s.port)
                .collect::<Vec<_>>()
        };
        assert_eq!(ports(Scheme::Smtp, 25), [465, 587]);
        assert_eq!(ports(Scheme::Imap, 143), [993]);
        assert!(ports(Scheme::Smtp, 2525).is_empty() && ports(Scheme::Lmtp, 24).is_empty());
    }

    #[tokio::test]
    async fn the_other_family_and_nothing_twice() {
        let mut context = Context::new("test 0", "test");
        context.resolver = hoofbeat_net::Resolver::at_first_of(&[]);
        let asks = sibling_asks(&service(Scheme::Smtp, 2525), &[], &context).await;
        assert!(
            asks.iter()
                .all(|ask| ask.service.address == "::1".parse().ok() && ask.role == Role::Sibling)
        );
        let known = [Service {
            address: "::1".parse().ok(),
            ..service(Scheme::Smtp, 2525)
        }];
        assert!(
            sibling_asks(&service(Scheme::Smtp, 2525), &known, &context)
                .await
                .is_empty()
        );
    }
}
