//! Playbooks for every protocol, and what holds however a server's bytes are cut.

mod bounds;
mod cuts;
mod other_protocols;
mod smtp;

use crate::{ClientName, Limits, Protocol, Script};

pub(super) fn name() -> ClientName {
    ClientName("c".into())
}

pub(super) fn baseline(protocol: Protocol) -> Script {
    Script::baseline(protocol, &name(), false, Limits::default())
}
