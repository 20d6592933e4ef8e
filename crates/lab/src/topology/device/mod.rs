//! Packet-level boxes of the namespace lab: what stands on a node and does to packets what middleboxes, interceptors,
//! filters and plain bad links do.
//!
//! ```text
//!              iptables rules of the node's namespace (both families)
//!                    │ NFQUEUE              │ TPROXY or REDIRECT        │ DROP, REJECT, TTL
//!   queue: one thread per device     terminate: a runtime of its own    nothing of ours runs
//!          │ packet  ▲ fate, forged         │ bytes ▲
//!   rewrite, forge, cut, impair, quote     the sans-IO boxes
//! ```
//!
//! Whatever decides about bytes is pure and tested without a network. It must not know a topology's names or verdicts.

mod cut;
mod flow;
mod forge;
mod http;
mod impair;
mod inspect;
pub mod packet;
mod place;
mod plain;
mod queue;
mod quote;
mod rewrite;
mod rules;
mod site;
pub mod spec;
mod splice;
mod terminate;
mod trigger;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustls::ServerConfig;
use tokio::sync::oneshot;

use crate::authority::{Authority, AuthorityError, CertificateKind};
use crate::middlebox::handshake::Act;
use crate::middlebox::{BoxSpec, Kind};
use crate::protocol::Scheme;
use crate::topology::namespace::Node;
use crate::topology::tool::{ToolError, feed};

use cut::{Dropper, Resetter};
use forge::Forger;
use impair::Impaired;
use inspect::Tally;
use place::Place;
use quote::ShortQuotes;
use rewrite::Rewriter;
use rules::{FAMILIES, Rules};
use site::Site;
use terminate::Work;

pub use inspect::Counts;
pub use spec::{
    Address, BlockSpec, DeviceSpec, Direction, DropSpec, Family, ForgeSpec, ForgedTtl, Hook,
    HttpHeaderSpec, ImpairSpec, Only, Prefix, Refusal, ResetSpec, RewriteSpec, Scope,
    ShortQuotesSpec, SilentSpec, Stance, TerminateSpec, Trigger, TtlNormaliseSpec,
};

/// What a device has to know of the world around its node.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// What is spoken on ports that say nothing of it themselves.
    pub scheme: Option<Scheme>,
    /// The TLS settings of a box that intercepts; see [`interceptor`].
    pub interceptor: Option<Arc<ServerConfig>>,
}

/// A device could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A program of the lab's is missing, or refused a rule.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The kernel refused a socket, a queue or a setting.
    #[error("{what} on {node}: {cause}")]
    Kernel {
        /// What was wanted.
        what: &'static str,
        /// The node.
        node: String,
        /// Why.
        cause: io::Error,
    },
    /// Such a device cannot stand there.
    #[error("{what} cannot stand at {hook:?}")]
    Misplaced {
        /// The kind.
        what: &'static str,
        /// Where.
        hook: Hook,
    },
    /// A box was to edit in place that does more than that.
    #[error("only the boxes cisco and mask work in place")]
    NotInPlace,
    /// A rewriter without boxes, or a bridge's device on a node without one.
    #[error("{0}")]
    Empty(&'static str),
    /// The node is full of devices.
    #[error("more than {most} devices on {0}", most = place::MOST)]
    Crowded(String),
}

/// A device at work until this is dropped.
pub struct Installed {
    node: Node,
    /// Held so that nobody else gets the same numbers.
    _place: Place,
    rules: Rules,
    /// Lines for `ip` that undo what was done with it.
    undo: Option<String>,
    tally: Arc<Tally>,
    worker: Option<Worker>,
}

enum Worker {
    Queue {
        stop: Arc<AtomicBool>,
        thread: JoinHandle<()>,
    },
    Proxy {
        stop: oneshot::Sender<()>,
        thread: JoinHandle<()>,
    },
}

impl Installed {
    /// What the device has done so far. Devices that are rules and nothing else count nothing.
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // First no more packets, then nobody who waits for them.
        self.rules.remove(&self.node);
        if let Some(lines) = &self.undo {
            for family in ["-4", "-6"] {
                // The namespace may be gone already.
                let _ = feed(Some(&self.node), "ip", &[family, "-batch", "-"], lines);
            }
        }
        let thread = match self.worker.take() {
            Some(Worker::Queue { stop, thread }) => {
                stop.store(true, Ordering::Relaxed);
                thread
            }
            Some(Worker::Proxy { stop, thread }) => {
                // Gone when it ended by itself.
                let _ = stop.send(());
                thread
            }
            None => return,
        };
        // A panic there has been printed; there is nothing to add.
        let _ = thread.join();
    }
}

/// An interceptor's TLS settings, and what a client would have to trust.
pub struct Interceptor {
    /// For [`Surroundings::interceptor`].
    pub settings: Arc<ServerConfig>,
    /// The issuer's certificate, PEM.
    pub ca_pem: String,
    /// Whether the client trusts it, as the scenario says.
    pub trusted: bool,
}

/// What an intercepting box among the device's needs to show a certificate for `names`; `None` when none intercepts.
///
/// # Errors
/// When a certificate cannot be made.
pub fn interceptor(
    spec: &DeviceSpec,
    names: &[&str],
) -> Result<Option<Interceptor>, AuthorityError> {
    let DeviceSpec::Terminate(spec) = spec else {
        return Ok(None);
    };
    for one in &spec.boxes {
        if let Kind::Handshake(spec) = &one.kind
            && spec.act == Act::Intercept
        {
            let issuer = Authority::new(&spec.issuer, &spec.issuer_organization)?;
            let settings = issuer.server_config(CertificateKind::Good, names, spec.versions)?;
            return Ok(Some(Interceptor {
                settings,
                ca_pem: issuer.ca_pem().to_owned(),
                trusted: spec.trusted,
            }));
        }
    }
    Ok(None)
}

/// Puts a device on `node`. It works when this returns, and ends when what is returned is dropped.
///
/// # Errors
/// When the device cannot stand there, or the kernel or a program refuses.
pub fn install(
    spec: &DeviceSpec,
    node: &Node,
    around: &Surroundings,
) -> Result<Installed, DeviceError> {
    let scheme = around.scheme.unwrap_or(Scheme::Smtp);
    let site = Site::new(node)?;
    match spec {
        DeviceSpec::Rewrite(spec) => {
            in_place(&spec.boxes)?;
            let ports = spec.only.mail_ports();
            let rewriter = Rewriter::new(spec.boxes.clone(), spec.direction, ports, scheme);
            site.queue(Box::new(rewriter), spec.hook, &spec.only, false)
        }
        DeviceSpec::Forge(spec) => {
            let forger = Forger::new(spec.clone(), scheme);
            site.queue(Box::new(forger), spec.hook, &spec.only, true)
        }
        DeviceSpec::Drop(spec) => {
            let dropper = Dropper::new(spec.clone(), scheme);
            site.queue(Box::new(dropper), spec.hook, &spec.only, false)
        }
        DeviceSpec::Reset(spec) => {
            let resetter = Resetter::new(spec.clone(), scheme);
            site.queue(Box::new(resetter), spec.hook, &spec.only, true)
        }
        DeviceSpec::Impair(spec) => {
            let mut rules = Rules::default();
            for family in FAMILIES {
                rules.add(family, "mangle", "FORWARD", &site.unseen(), &site.lead());
            }
            site.serve(Box::new(Impaired::new(*spec)), rules, impair::HEAD)
        }
        DeviceSpec::ShortQuotes(spec) => {
            let mut rules = Rules::default();
            let expired = format!("-p icmp --icmp-type time-exceeded {}", site.unseen());
            rules.add(Family::Ipv4, "mangle", "OUTPUT", &expired, &site.lead());
            site.serve(Box::new(ShortQuotes { bytes: spec.bytes }), rules, u16::MAX)
        }
        DeviceSpec::Terminate(spec) => {
            let work = Work::Boxes(spec.boxes.clone());
            let proxy = site.proxy(work, spec.address, scheme, around.interceptor.clone());
            site.terminate(proxy, spec.hook, &spec.only, spec.only.mail_ports())
        }
        DeviceSpec::HttpHeader(spec) => {
            let work = Work::Header {
                name: spec.name.clone(),
                value: spec.value.clone(),
            };
            let proxy = site.proxy(work, spec.address, scheme, None);
            site.terminate(proxy, spec.hook, &spec.only, spec.only.http_ports())
        }
        DeviceSpec::Block(spec) => site.block(spec),
        DeviceSpec::Silent(SilentSpec {}) => site.plain(plain::silence()),
        DeviceSpec::TtlNormalise(spec) => site.plain(plain::lift(spec)),
    }
}

/// Refuses boxes that hold bytes back or speak themselves.
fn in_place(boxes: &[BoxSpec]) -> Result<(), DeviceError> {
    if boxes.is_empty() {
        return Err(DeviceError::Empty("a rewriter needs a box"));
    }
    let fits = |one: &BoxSpec| matches!(one.kind, Kind::Cisco(_) | Kind::Mask(_));
    if boxes.iter().all(fits) {
        Ok(())
    } else {
        Err(DeviceError::NotInPlace)
    }
}
