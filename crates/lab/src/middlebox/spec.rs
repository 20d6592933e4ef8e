//! A box as a scenario writes it down, and how one is built for a connection. Only data and construction.

use serde::Deserialize;

use crate::middlebox::answer::{Answer, AnswerSpec};
use crate::middlebox::chain::Chain;
use crate::middlebox::cisco::{Cisco, CiscoSpec};
use crate::middlebox::cut::{Cut, CutSpec};
use crate::middlebox::handshake::{Direct, Handshake, HandshakeSpec};
use crate::middlebox::inject::{Inject, InjectSpec};
use crate::middlebox::mask::{Mask, MaskSpec};
use crate::middlebox::proxy::Proxy;
use crate::middlebox::remove::{Remove, RemoveSpec};
use crate::middlebox::{Connection, Middlebox};
use crate::protocol::Scheme;

/// Which connections the box cares for; the others pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Every one.
    #[default]
    Always,
    /// The first of all.
    FirstConnection,
    /// The first three: a burst.
    FirstThree,
    /// Every other one, the first included.
    EveryOther,
    /// Those over IPv4.
    Ipv4,
}

/// One box.
#[derive(Clone, Debug, Deserialize)]
pub struct BoxSpec {
    /// Which connections it cares for.
    #[serde(default)]
    pub when: When,
    /// What it does.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What a box does.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// Cisco's inspection, in place.
    Cisco(CiscoSpec),
    /// Same-length replacement, in place.
    Mask(MaskSpec),
    /// Changes to the capability list.
    Remove(RemoveSpec),
    /// Answers in the server's place.
    Answer(AnswerSpec),
    /// Added lines.
    Inject(InjectSpec),
    /// Acts on the TLS handshake.
    Handshake(HandshakeSpec),
    /// Cuts and delays.
    Cut(CutSpec),
}

impl BoxSpec {
    fn applies(&self, connection: &Connection) -> bool {
        match self.when {
            When::Always => true,
            When::FirstConnection => connection.ordinal == 0,
            When::FirstThree => connection.ordinal < 3,
            When::EveryOther => connection.ordinal.is_multiple_of(2),
            When::Ipv4 => connection.client.ip().to_canonical().is_ipv4(),
        }
    }

    fn build(&self, scheme: Scheme) -> Box<dyn Middlebox> {
        let protocol = scheme.protocol();
        match self.kind.clone() {
            Kind::Cisco(spec) => Box::new(Cisco::new(spec)),
            Kind::Mask(spec) => Box::new(Mask::new(spec)),
            Kind::Remove(spec) => Box::new(Proxy::new(protocol, Remove::new(protocol, spec))),
            Kind::Answer(spec) => Box::new(Proxy::new(protocol, Answer::new(spec))),
            Kind::Inject(spec) => Box::new(Proxy::new(protocol, Inject::new(spec))),
            Kind::Handshake(spec) if scheme.implicit_tls() => Box::new(Direct::new(protocol, spec)),
            Kind::Handshake(spec) => Box::new(Proxy::new(protocol, Handshake::new(protocol, spec))),
            Kind::Cut(spec) => Box::new(Cut::new(spec)),
        }
    }
}

/// The row of boxes that `connection` passes.
pub(crate) fn row(specs: &[BoxSpec], scheme: Scheme, connection: &Connection) -> Chain {
    Chain::new(
        specs
            .iter()
            .filter(|spec| spec.applies(connection))
            .map(|spec| spec.build(scheme))
            .collect(),
    )
}
