//! One question to one service, and the script that asks it.

use std::net::{IpAddr, SocketAddr};

use hoofbeat_observation::{Role, Service, Variation};
use hoofbeat_session::{ClientName, Label, Script};

use crate::Context;

/// One connection to make: where, why, and with which script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The service, with its pinned address.
    pub service: Service,
    /// What it is held against.
    pub role: Role,
    /// Which question is asked.
    pub variation: Variation,
    /// Whether nothing says that this service exists (a usual port, another family): where it cannot be
    /// reached although others of the same run can, it is recorded as a sibling instead of the target.
    pub tentative: bool,
}

impl Ask {
    /// A question to a service that is known to be meant.
    #[must_use]
    pub const fn new(service: Service, role: Role, variation: Variation) -> Self {
        Self {
            service,
            role,
            variation,
            tentative: false,
        }
    }

    /// The plain dialogue with a service of the target.
    #[must_use]
    pub const fn baseline(service: Service) -> Self {
        Self::new(service, Role::Target, Variation::Baseline)
    }
}

/// The script for an ask.
pub(crate) fn script(ask: &Ask, name: &ClientName, context: &Context) -> Script {
    let (scheme, limits) = (ask.service.scheme, context.limits);
    let protocol = scheme.protocol();
    match ask.variation {
        // Inside TLS from the first byte on there is nothing to vary.
        _ if scheme.is_implicit_tls() => Script::baseline(protocol, name, true, limits),
        Variation::Differential => {
            Script::differential(protocol, name, &context.unknown_verb, limits)
        }
        Variation::MixedCase => Script::spelled(protocol, name, Label::MixedCaseStartTls, limits),
        Variation::SplitVerb => Script::spelled(protocol, name, Label::SplitStartTls, limits),
        Variation::Injection => Script::injection(protocol, name, limits),
        Variation::Baseline | Variation::Repeat | Variation::LegacyTls | Variation::Recorded => {
            Script::baseline(protocol, name, false, limits)
        }
    }
}

/// Our end's address as RFC 5321 §4.1.3 writes it: honest even where the machine has no name.
pub(crate) fn address_literal(local: Option<SocketAddr>) -> ClientName {
    ClientName(match local.map(|local| local.ip()) {
        Some(IpAddr::V4(address)) => format!("[{address}]"),
        Some(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        None => "[127.0.0.1]".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_literals_of_rfc_5321() {
        for (local, wanted) in [
            ("192.0.2.1:5", "[192.0.2.1]"),
            ("[2001:db8::1]:5", "[IPv6:2001:db8::1]"),
        ] {
            assert_eq!(address_literal(local.parse().ok()).0, wanted);
        }
    }
}
