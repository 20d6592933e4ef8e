//! Looking at somebody else's mail server for a client: the target as it is seen from the witness's own network.
//!
//! Only where the operator allows it, because it connects to strangers: one plain dialogue, on the ports that mail has,
//! towards addresses that the world routes to, and so seldom that it bothers nobody. A closed port says little: many
//! hosters close port 25 outwards. It must not know what a dialogue proves.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use hoofbeat_net::{Clock, Trust};
use hoofbeat_observation::{Body, Dialogue, Look, Scheme, Service, address::is_private};
use hoofbeat_session::{ClientName, Elapsed};
use rustls::pki_types::ServerName;

use super::limits::{Limits, Neighbourhood};
use crate::{Ask, Context, converse, witness::message::LOOK_LIMIT};

/// Whose servers a witness looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Looking {
    /// Nobody's.
    #[default]
    Never,
    /// Mail servers at addresses that the world routes to, on the usual ports.
    Public,
    /// Any address and port: for networks of one's own, such as tests.
    Anywhere,
}

const MINUTE: Duration = Duration::from_secs(60);

/// Why a witness does not look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Declined {
    #[error("this witness does not look at other servers (its operator allows it by --look)")]
    Never,
    #[error("only mail services on their usual ports are looked at")]
    Port,
    #[error("only addresses that the world routes to are looked at")]
    Address,
    #[error("that is no name of a host")]
    Name,
    #[error("somebody asked for this server less than a minute ago; ask again in a minute")]
    Again,
    #[error("too many servers were asked for; ask again in a minute")]
    Often,
}

/// What looking takes, and how often it was done.
#[derive(Debug)]
pub(super) struct Looker {
    looking: Looking,
    limits: Limits,
    tool: String,
    name: Option<String>,
    trust: Arc<Trust>,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// Servers, by address and port, and when they were looked at.
    servers: HashMap<(Neighbourhood, u16), Duration>,
    /// Clients, and when each of their looks was.
    clients: HashMap<Neighbourhood, Vec<Duration>>,
}

impl Looker {
    pub(super) fn new(
        looking: Looking,
        limits: Limits,
        tool: String,
        name: Option<String>,
    ) -> Self {
        let trust = Arc::new(Trust::system());
        if looking != Looking::Never {
            trust.preload();
        }
        Self {
            looking,
            limits,
            tool,
            name,
            trust,
            books: Mutex::default(),
        }
    }

    pub(super) fn is_willing(&self) -> bool {
        self.looking != Looking::Never
    }

    /// Looks at everything that a session asked for, all at the same time. `opened`: the session's zero on this clock.
    pub(super) async fn look_at(
        &self,
        services: &[Service],
        client: IpAddr,
        local: SocketAddr,
        clock: Clock,
        opened: Duration,
    ) -> Vec<Look> {
        let looks = services.iter().map(|service| async {
            let now = clock.now();
            let (dialogue, declined) = match self.admit(service, client, local.ip(), now) {
                Ok(()) => (self.dialogue(service).await, None),
                Err(declined) => (None, Some(declined.to_string())),
            };
            Look {
                service: service.clone(),
                at: Elapsed(now.saturating_sub(opened)),
                dialogue,
                declined,
            }
        });
        join_all(looks).await
    }

    /// Whether it may be done now; then it counts as done.
    fn admit(
        &self,
        service: &Service,
        client: IpAddr,
        own: IpAddr,
        now: Duration,
    ) -> Result<(), Declined> {
        let address = service.address.ok_or(Declined::Address)?.to_canonical();
        match self.looking {
            Looking::Never => return Err(Declined::Never),
            Looking::Public => {
                // LMTP is no service for the world (RFC 2033 §1).
                let known = Scheme::of_port(service.port) == Some(service.scheme);
                if !known || service.scheme == Scheme::Lmtp {
                    return Err(Declined::Port);
                }
                if !is_public(address) || address == own.to_canonical() {
                    return Err(Declined::Address);
                }
            }
            Looking::Anywhere => {}
        }
        if ServerName::try_from(service.host.as_str()).is_err() {
            return Err(Declined::Name);
        }
        let recent = |then: &Duration| now.saturating_sub(*then) < MINUTE;
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.servers.retain(|_, then| recent(then));
        books.clients.retain(|_, looks| {
            looks.retain(recent);
            !looks.is_empty()
        });
        let server = (Neighbourhood::from(address), service.port);
        if books.servers.contains_key(&server) {
            return Err(Declined::Again);
        }
        let client = Neighbourhood::from(client);
        let of_client = books.clients.get(&client).map_or(0, Vec::len);
        let of_all: usize = books.clients.values().map(Vec::len).sum();
        if of_client >= self.limits.looks_per_address || of_all >= self.limits.looks {
            return Err(Declined::Often);
        }
        books.servers.insert(server, now);
        books.clients.entry(client).or_default().push(now);
        Ok(())
    }

    async fn dialogue(&self, service: &Service) -> Option<Dialogue> {
        let context = Context {
            trust: Arc::clone(&self.trust),
            client_name: self.name.clone().map(ClientName),
            deadline: LOOK_LIMIT,
            ..Context::new(&self.tool, &service.host)
        };
        let ask = Ask::baseline(service.clone());
        let measured = converse::converse(&ask, &context);
        // The driver keeps to the deadline by itself, as far as the peer speaks at all.
        let measured = tokio::time::timeout(LOOK_LIMIT, measured).await.ok()?;
        match measured.body {
            Body::Dialogue(dialogue) => Some(dialogue),
            _ => None,
        }
    }
}

/// Whether it is of the kind that the world routes to: nobody may reach the witness's own neighbours through it
/// (RFC 6890). What is set aside for examples and for measuring leads nowhere but into laboratories.
fn is_public(address: IpAddr) -> bool {
    if is_private(address)
        || address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
    {
        return false;
    }
    match address {
        IpAddr::V4(v4) => {
            let [first, second, third, _] = v4.octets();
            let protocols = (first, second, third) == (192, 0, 0);
            !(first == 0 || first >= 240 || protocols)
        }
        // Global unicast (RFC 4291 §2.4) without what carries an IPv4 address inside.
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            let global = first & 0xe000 == 0x2000;
            let carries = first == 0x2002 || (first, second) == (0x2001, 0);
            global && !carries
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 1));

    fn service(address: &str, scheme: Scheme, port: u16) -> Service {
        Service {
            scheme,
            host: "mx.example.org".to_owned(),
            address: address.parse().ok(),
            port,
        }
    }

    fn looker(looking: Looking) -> Looker {
        Looker::new(
            looking,
            Limits {
                looks: 3,
                looks_per_address: 2,
                ..Limits::default()
            },
            "hoofbeat test".to_owned(),
            None,
        )
    }

    #[test]
    fn nobody_reaches_the_witnesses_neighbours_through_it() {
        for address in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "10.0.0.1",
            "::ffff:10.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "fe80::1",
            "fd00::1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
            "240.0.0.1",
            "192.0.0.8",
            "2002:a00:1::1",
            "2001::1",
            "64:ff9b::a00:1",
            "198.18.0.1",
        ] {
            let declined = looker(Looking::Public).admit(
                &service(address, Scheme::Smtp, 25),
                OWN,
                OWN,
                Duration::ZERO,
            );
            assert_eq!(declined, Err(Declined::Address), "{address}");
        }
        for address in ["198.18.64.25", "203.0.114.1", "2a00:1450::1", "2001:db8::1"] {
            let admitted = looker(Looking::Public).admit(
                &service(address, Scheme::Smtp, 25),
                OWN,
                OWN,
                Duration::ZERO,
            );
            assert_eq!(admitted, Ok(()), "{address}");
        }
    }

    #[test]
    fn only_mail_is_looked_at_and_only_where_it_is_allowed() {
        for (scheme, port) in [
            (Scheme::Smtp, 22),
            (Scheme::Smtp, 587),
            (Scheme::Lmtp, 24),
            (Scheme::Imap, 80),
        ] {
            let declined = looker(Looking::Public).admit(
                &service("198.18.64.25", scheme, port),
                OWN,
                OWN,
                Duration::ZERO,
            );
            assert_eq!(declined, Err(Declined::Port), "{scheme} {port}");
        }
        let asked = service("127.0.0.1", Scheme::Smtp, 2525);
        let never = looker(Looking::Never);
        assert!(!never.is_willing());
        assert_eq!(
            never.admit(&asked, OWN, OWN, Duration::ZERO),
            Err(Declined::Never)
        );
        assert_eq!(
            looker(Looking::Anywhere).admit(&asked, OWN, OWN, Duration::ZERO),
            Ok(())
        );
        let nameless = Service {
            host: "not a name".to_owned(),
            ..service("198.18.64.25", Scheme::Smtp, 25)
        };
        assert_eq!(
            looker(Looking::Public).admit(&nameless, OWN, OWN, Duration::ZERO),
            Err(Declined::Name)
        );
    }

    #[test]
    fn a_server_is_looked_at_once_a_minute_and_clients_have_a_share() {
        let looker = looker(Looking::Public);
        let client = |last: u8| IpAddr::from([198, 18, 9, last]);
        let ask = |server: u8, of: u8, seconds: u64| {
            let asked = service(&format!("198.18.64.{server}"), Scheme::Smtp, 25);
            looker.admit(&asked, client(of), OWN, Duration::from_secs(seconds))
        };
        assert_eq!(ask(1, 1, 0), Ok(()));
        assert_eq!(ask(1, 2, 1), Err(Declined::Again), "whoever asks");
        assert_eq!(ask(2, 1, 2), Ok(()));
        assert_eq!(ask(3, 1, 3), Err(Declined::Often), "two a client");
        assert_eq!(ask(3, 2, 4), Ok(()));
        assert_eq!(ask(4, 3, 5), Err(Declined::Often), "three in all");
        assert_eq!(ask(1, 1, 60), Ok(()));
        assert_eq!(ask(4, 3, 65), Ok(()));
    }
}
