//! A box of the lab in front of a real server: what it does stands in the test as the lab writes it down, so that the
//! test's expectation does not come from the lab.

use std::net::SocketAddr;

use hoofbeat_lab::{Background, Scenario};

/// Starts the box described by `what` (the inside of a `[[box]]` table) in front of a server on loopback.
pub(crate) fn in_front_of(host: &str, port: u16, scheme: &str, what: &str) -> Background {
    let text = format!(
        "id = \"witness\"\ntitle = \"a box in front of a real server\"\nfamily = \"box\"\nscheme = \"{scheme}\"\n\
         [[box]]\n{what}\n[expected]\nverdict = \"interference\"\n"
    );
    let scenarios = Scenario::read(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
    let upstream: SocketAddr = format!("{host}:{port}").parse().expect("an address");
    Background::start(&scenarios[0], None, Some(upstream)).unwrap_or_else(|error| panic!("{error}"))
}

/// Cisco's inspection as it comes from the factory: masks keywords and banner in place, rewrites verbs.
pub(crate) const CISCO_ASA: &str = "kind = \"cisco\"";

/// Deletes the line and lets the verb through.
pub(crate) const REMOVES_STARTTLS: &str = "kind = \"remove\"\nwords = [\"STARTTLS\"]";

/// What striptls does to IMAP: away with the offer and with the prohibition of plaintext logins.
pub(crate) const REMOVES_FROM_IMAP: &str =
    "kind = \"remove\"\nwords = [\"STARTTLS\", \"LOGINDISABLED\"]";

/// The same for POP3.
pub(crate) const REMOVES_STLS: &str = "kind = \"remove\"\nwords = [\"STLS\"]";

/// Norton AntiVirus 2002: the offer stays, the verb is answered in words that no MTA uses.
pub(crate) const REFUSES_STARTTLS: &str =
    "kind = \"answer\"\n[box.verbs]\nSTARTTLS = \"500 Unsupported command.\"";

/// Ends TLS itself with a certificate of its own.
pub(crate) const INTERCEPTS: &str = "kind = \"handshake\"\nact = \"intercept\"\nissuer = \"avast! Mail Scanner Root\"\nissuer-organization = \"avast! Mail Scanner\"";

/// Only waits before it lets anything through: nothing that a verdict may rest on.
pub(crate) const WAITS: &str = "kind = \"cut\"\npause-ms = 1500";
