//! Control servers: large providers that are known to offer TLS, spoken to in the same way on the same port,
//! so that "this network" and "that server" can be told apart; and addresses where nothing may answer.
//!
//! The list is data. What an operator is said to offer has a source and the date at which it was read: it
//! may change, and nothing here was measured. The user can replace the list.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::future::{join, join_all};
use hoofbeat_observation::{Body, Measurement, Question, Record, Role, Scheme, Service, Variation};

use crate::{
    Ask, Context,
    target::{Host, Target},
};

/// One control server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Which service it offers.
    pub scheme: Scheme,
    /// Its name or address.
    pub host: Cow<'static, str>,
    /// Its port.
    pub port: u16,
    /// Whose it is: controls of one operator are one witness.
    pub operator: Cow<'static, str>,
    /// Keywords that it is known to offer before TLS; none where TLS comes first.
    pub known: Cow<'static, [&'static str]>,
    /// How that is known.
    pub source: Cow<'static, str>,
    /// When the source was read, year and month; the source itself may be older.
    pub as_of: Cow<'static, str>,
}

/// The weaker of the two: before a release these servers want measuring from a clean network.
const MX_SOURCE: &str = "host name seen as the operator's MX in public configurations; \
    that it offers STARTTLS is general knowledge and was not measured for this list";
const ISP_SOURCE: &str =
    "Mozilla's database of mail providers' published settings (ISPDB), a stored copy; not measured";

const fn built_in(
    scheme: Scheme,
    host: &'static str,
    operator: &'static str,
    known: &'static [&'static str],
    source: &'static str,
) -> Control {
    Control {
        scheme,
        host: Cow::Borrowed(host),
        port: scheme.default_port(),
        operator: Cow::Borrowed(operator),
        known: Cow::Borrowed(known),
        source: Cow::Borrowed(source),
        as_of: Cow::Borrowed("2026-11"),
    }
}

const STARTTLS: &[&str] = &["STARTTLS"];
const STLS: &[&str] = &["STLS"];

/// The built-in list, in the order in which it is asked: different operators first.
static BUILT_IN: [Control; 26] = [
    built_in(
        Scheme::Smtp,
        "gmail-smtp-in.l.google.com",
        "Google",
        STARTTLS,
        MX_SOURCE,
    ),
    built_in(
        Scheme::Smtp,
        "outlook-com.olc.protection.outlook.com",
        "Microsoft",
        STARTTLS,
        MX_SOURCE,
    ),
    built_in(
        Scheme::Smtp,
        "in1-smtp.messagingengine.com",
        "Fastmail",
        STARTTLS,
        MX_SOURCE,
    ),
    built_in(
        Scheme::Smtp,
        "mail.protonmail.ch",
        "Proton",
        STARTTLS,
        MX_SOURCE,
    ),
    built_in(
        Scheme::Smtp,
        "mxext1.mailbox.org",
        "mailbox.org",
        STARTTLS,
        MX_SOURCE,
    ),
    built_in(
        Scheme::Smtp,
        "mta5.am0.yahoodns.net",
        "Yahoo",
        STARTTLS,
        MX_SOURCE,
    ),
    built_in(
        Scheme::Smtp,
        "mx00.emig.gmx.net",
        "GMX",
        STARTTLS,
        MX_SOURCE,
    ),
    built_in(
        Scheme::Submission,
        "smtp.gmail.com",
        "Google",
        STARTTLS,
        ISP_SOURCE,
    ),
    built_in(
        Scheme::Submission,
        "smtp.office365.com",
        "Microsoft",
        STARTTLS,
        ISP_SOURCE,
    ),
    built_in(
        Scheme::Submission,
        "posteo.de",
        "Posteo",
        STARTTLS,
        ISP_SOURCE,
    ),
    built_in(
        Scheme::Submission,
        "smtp.mailbox.org",
        "mailbox.org",
        STARTTLS,
        ISP_SOURCE,
    ),
    built_in(
        Scheme::Submission,
        "mail.gmx.net",
        "GMX",
        STARTTLS,
        ISP_SOURCE,
    ),
    built_in(
        Scheme::Submissions,
        "smtp.gmail.com",
        "Google",
        &[],
        ISP_SOURCE,
    ),
    built_in(Scheme::Submissions, "posteo.de", "Posteo", &[], ISP_SOURCE),
    built_in(
        Scheme::Submissions,
        "smtp.mailbox.org",
        "mailbox.org",
        &[],
        ISP_SOURCE,
    ),
    built_in(Scheme::Imap, "posteo.de", "Posteo", STARTTLS, ISP_SOURCE),
    built_in(Scheme::Imap, "imap.gmx.net", "GMX", STARTTLS, ISP_SOURCE),
    built_in(
        Scheme::Imap,
        "mx.freenet.de",
        "freenet",
        STARTTLS,
        ISP_SOURCE,
    ),
    built_in(Scheme::Imaps, "imap.gmail.com", "Google", &[], ISP_SOURCE),
    built_in(
        Scheme::Imaps,
        "outlook.office365.com",
        "Microsoft",
        &[],
        ISP_SOURCE,
    ),
    built_in(Scheme::Imaps, "posteo.de", "Posteo", &[], ISP_SOURCE),
    built_in(Scheme::Pop3, "posteo.de", "Posteo", STLS, ISP_SOURCE),
    built_in(Scheme::Pop3, "pop.gmx.net", "GMX", STLS, ISP_SOURCE),
    built_in(Scheme::Pop3s, "pop.gmail.com", "Google", &[], ISP_SOURCE),
    built_in(
        Scheme::Pop3s,
        "outlook.office365.com",
        "Microsoft",
        &[],
        ISP_SOURCE,
    ),
    built_in(Scheme::Pop3s, "posteo.de", "Posteo", &[], ISP_SOURCE),
];

/// The whole built-in list, for documentation.
#[must_use]
pub fn all_built_in_controls() -> &'static [Control] {
    &BUILT_IN
}

/// The built-in controls for a service on a port; none on ports that no provider uses for it.
pub fn built_in_controls(scheme: Scheme, port: u16) -> impl Iterator<Item = &'static Control> {
    BUILT_IN
        .iter()
        .filter(move |control| control.scheme == scheme && control.port == port)
}

impl Control {
    /// A control that the user names; nothing but TLS is known of it. A bare name or address is an SMTP server.
    #[must_use]
    pub fn of_user(target: &Target) -> Self {
        let (scheme, host, port) = match target {
            Target::Domain(name) => (
                Scheme::Smtp,
                Host::Name(name.clone()),
                Scheme::Smtp.default_port(),
            ),
            Target::Address(address) => (
                Scheme::Smtp,
                Host::Address(*address),
                Scheme::Smtp.default_port(),
            ),
            Target::Service {
                scheme, host, port, ..
            } => (*scheme, host.clone(), *port),
        };
        let known = match scheme {
            scheme if scheme.is_implicit_tls() => &[],
            Scheme::Pop3 => STLS,
            _ => STARTTLS,
        };
        Self {
            scheme,
            operator: Cow::Owned(host.to_string()),
            host: Cow::Owned(host.to_string()),
            port,
            known: Cow::Borrowed(known),
            source: Cow::Borrowed("named by the user"),
            as_of: Cow::Borrowed("now"),
        }
    }
}

/// The asks that controls come to, at one address each, and the failed lookups of those without an address.
pub async fn control_asks(
    controls: &[Control],
    variation: Variation,
    context: &Context,
) -> (Vec<Ask>, Vec<Measurement>) {
    let resolved = join_all(
        controls
            .iter()
            .map(|control| one_address(&control.host, context)),
    )
    .await;
    let (mut asks, mut measurements) = (Vec::new(), Vec::new());
    for (control, resolved) in controls.iter().zip(resolved) {
        match resolved {
            Ok(address) => {
                let known = control
                    .known
                    .iter()
                    .map(|keyword| (*keyword).to_owned())
                    .collect();
                let role = Role::Control {
                    operator: control.operator.clone().into_owned(),
                    known,
                };
                let host = control.host.clone().into_owned();
                let service = Service {
                    scheme: control.scheme,
                    host,
                    address: Some(address),
                    port: control.port,
                };
                asks.push(Ask::new(service, role, variation));
            }
            Err(failed) => measurements.push(*failed),
        }
    }
    (asks, measurements)
}

async fn one_address(host: &str, context: &Context) -> Result<IpAddr, Box<Measurement>> {
    let ask = |question| context.resolver.ask(host, question, &context.clock);
    let (v4, v6) = join(ask(Question::A), ask(Question::Aaaa)).await;
    let mut records = v4.lookup().records.iter().chain(&v6.lookup().records);
    let address = records.find_map(|record| match record {
        Record::Address(address) if context.families.allow(*address) => Some(*address),
        _ => None,
    });
    address.ok_or_else(|| Box::new(context.measurement(Body::Lookup(v4.lookup().clone()))))
}

/// A question to an address that is reserved for documentation (RFC 5737, RFC 3849): whoever answers is no
/// mail server of anybody's.
#[must_use]
pub fn negative_control(scheme: Scheme, port: u16, over_v6: bool) -> Ask {
    let address: IpAddr = if over_v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()
    } else {
        Ipv4Addr::new(192, 0, 2, 1).into()
    };
    let service = Service {
        scheme,
        host: address.to_string(),
        address: Some(address),
        port,
    };
    Ask::new(service, Role::NegativeControl, Variation::Baseline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_list_is_well_formed() {
        for control in all_built_in_controls() {
            let target = Target::parse(&format!(
                "{}://{}:{}",
                control.scheme, control.host, control.port
            ))
            .unwrap();
            let of_user = Control::of_user(&target);
            assert_eq!(
                (of_user.scheme, &of_user.host, of_user.port),
                (control.scheme, &control.host, control.port)
            );
            assert_eq!(
                of_user.known, control.known,
                "what TLS needs is known of each"
            );
            assert_eq!(control.known.is_empty(), control.scheme.is_implicit_tls());
        }
        let operators: HashSet<_> = built_in_controls(Scheme::Smtp, 25)
            .map(|control| &control.operator)
            .collect();
        assert!(operators.len() >= 6);
        assert_eq!(built_in_controls(Scheme::Smtp, 2525).count(), 0);
    }

    #[test]
    fn negative_controls_are_documentation_addresses() {
        assert_eq!(
            negative_control(Scheme::Smtp, 25, false)
                .service
                .to_string(),
            "smtp://192.0.2.1:25"
        );
        assert_eq!(
            negative_control(Scheme::Imap, 143, true)
                .service
                .to_string(),
            "imap://[2001:db8::1]:143"
        );
    }
}
