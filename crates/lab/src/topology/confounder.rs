//! What makes a path hard to read without being an attack: silent routers, short quotes, delay, loss, and a path that
//! changes in the middle. It must not know boxes that attack, nor verdicts.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nfq::{Queue, Verdict};

use super::chain::Chain;
use super::device::{
    self, DeviceError, DeviceSpec, ImpairSpec, Installed, ShortQuotesSpec, SilentSpec, Surroundings,
};
use super::namespace::Node;
use super::plan::Plan;
use super::scenario::{Confounders, NetScenario, PathChange};
use super::tool::{self, ToolError};

/// The queue in which the last access router counts connections; boxes take theirs from 0 upwards.
const COUNTING_QUEUE: u16 = 60_000;
/// How long the counter sleeps when nothing comes.
const NAP: Duration = Duration::from_millis(1);

/// Something that stays in place until dropped.
pub(super) enum Standing {
    /// A habit of a router.
    Device { _own: Installed },
    /// Who changes the path.
    Change { _own: Changer },
}

/// A confounder could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum ConfounderError {
    /// No such router.
    #[error("{what}: the chain has no router {name:?}")]
    Nobody {
        /// Which confounder.
        what: &'static str,
        /// Who is missing.
        name: String,
    },
    /// A router's habit cannot be had.
    #[error("{at}: {cause}")]
    Device {
        /// Where.
        at: String,
        /// Why.
        cause: DeviceError,
    },
    /// The chain has no second way for the path to change to.
    #[error("a path change needs a second way")]
    NoSecondWay,
    /// The counter cannot be started.
    #[error("connections cannot be counted on {at}: {cause}")]
    Count {
        /// Where.
        at: String,
        /// Why.
        cause: io::Error,
    },
    /// A program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// Installs what `scenario` asks for.
///
/// # Errors
/// When a router does not exist or the kernel refuses.
pub(super) fn install(
    scenario: &NetScenario,
    plan: &Plan,
    chain: &Chain,
) -> Result<Vec<Standing>, ConfounderError> {
    let wanted = &scenario.confounders;
    let mut standing = Vec::new();
    let around = Surroundings::default();
    let mut habit = |what, name: &str, spec: DeviceSpec| {
        let node = chain.node(name).ok_or_else(|| ConfounderError::Nobody {
            what,
            name: name.to_owned(),
        })?;
        let installed =
            device::install(&spec, node, &around).map_err(|cause| ConfounderError::Device {
                at: name.to_owned(),
                cause,
            })?;
        standing.push(Standing::Device { _own: installed });
        Ok::<(), ConfounderError>(())
    };
    for name in &wanted.silent {
        habit("silent", name, DeviceSpec::Silent(SilentSpec {}))?;
    }
    for name in &wanted.short_quotes {
        let spec = DeviceSpec::ShortQuotes(ShortQuotesSpec::default());
        habit("short-quotes", name, spec)?;
    }
    if wanted.delay_ms > 0 || wanted.loss_percent > 0 {
        let spec = DeviceSpec::Impair(ImpairSpec {
            delay_ms: wanted.delay_ms,
            loss_percent: wanted.loss_percent,
            // Another one in every scenario, the same in every run of it.
            seed: seed_of(&scenario.id),
        });
        habit("delay", &free_router(scenario, plan), spec)?;
    }
    if let Some(change) = wanted.path_change {
        standing.push(Standing::Change {
            _own: change_path(change, plan, chain)?,
        });
    }
    Ok(standing)
}

/// A router of the access network on which no box stands, or else one of the transit.
fn free_router(scenario: &NetScenario, plan: &Plan) -> String {
    let taken = |name: &String| scenario.devices.iter().any(|placed| placed.at == *name);
    let router = plan
        .chain
        .iter()
        .filter(|name| name.starts_with("isp-") || name.starts_with("transit-"))
        .find(|name| !taken(name));
    router.cloned().unwrap_or_else(|| "isp-1".to_owned())
}

/// FNV-1a: only that it differs matters.
fn seed_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Waits for connections and then takes the second way, in both directions.
pub(super) struct Changer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn change_path(change: PathChange, plan: &Plan, chain: &Chain) -> Result<Changer, ConfounderError> {
    let routes = plan.second_routes(false, "main");
    let mut steps = Vec::new();
    for (name, lines) in routes {
        let node = chain.node(&name).ok_or(ConfounderError::NoSecondWay)?;
        steps.push((node.clone(), lines));
    }
    let Some((counter, _)) = steps.first().cloned() else {
        return Err(ConfounderError::NoSecondWay);
    };
    let failed = |cause| ConfounderError::Count {
        at: counter.name.clone(),
        cause,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let (ready, readiness) = std::sync::mpsc::sync_channel(1);
    let thread = counter
        .thread("path change", move || {
            let opened = open_queue();
            match opened {
                Ok(queue) => {
                    let _ = ready.send(Ok(()));
                    count(queue, change, &steps, &stopping);
                }
                Err(cause) => {
                    let _ = ready.send(Err(cause));
                }
            }
        })
        .map_err(failed)?;
    let changer = Changer {
        stop,
        thread: Some(thread),
    };
    let heard = readiness.recv().map_err(io::Error::other);
    heard.and_then(|heard| heard).map_err(failed)?;
    // Only now: a queue without a reader lets packets pass uncounted.
    for (v6, program) in [(false, "iptables-restore"), (true, "ip6tables-restore")] {
        if let Some(server) = plan.address("server", v6) {
            let rules = counting_rules(server);
            tool::feed(Some(&counter), program, &["--noflush"], &rules)?;
        }
    }
    Ok(changer)
}

fn counting_rules(server: IpAddr) -> String {
    format!(
        "*mangle\n-A PREROUTING -d {server} -p tcp --syn -j NFQUEUE --queue-num {COUNTING_QUEUE} --queue-bypass\nCOMMIT\n"
    )
}

fn open_queue() -> io::Result<Queue> {
    let mut queue = Queue::open()?;
    queue.bind(COUNTING_QUEUE)?;
    queue.set_copy_range(COUNTING_QUEUE, 0)?;
    queue.set_nonblocking(true);
    Ok(queue)
}

fn count(mut queue: Queue, change: PathChange, steps: &[(Node, String)], stop: &AtomicBool) {
    let mut seen = 0_u16;
    let mut due = None;
    while !stop.load(Ordering::Relaxed) {
        match queue.recv() {
            Ok(mut message) => {
                message.set_verdict(Verdict::Accept);
                // A packet whose verdict is lost is retransmitted by its sender.
                let _ = queue.verdict(message);
                seen = seen.saturating_add(1);
                if seen == change.after_syns.max(1) {
                    due = Some(Instant::now() + Duration::from_millis(change.then_ms.into()));
                }
            }
            Err(_) => std::thread::sleep(NAP),
        }
        if due.is_some_and(|due| Instant::now() >= due) {
            due = None;
            for (node, lines) in steps {
                if let Err(error) = tool::ip(Some(node), lines) {
                    eprintln!("the lab could not change the path: {error}");
                }
            }
        }
    }
}

impl Drop for Changer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Confounders {
    /// The routers that are named, each with the word under which it is.
    pub fn routers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let named = [
            ("silent", &self.silent),
            ("short-quotes", &self.short_quotes),
            ("rate-limited", &self.rate_limited),
        ];
        named
            .into_iter()
            .flat_map(|(what, names)| names.iter().map(move |name| (what, name.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_between_scenarios_and_not_between_runs() {
        assert_eq!(seed_of("net-1"), seed_of("net-1"));
        assert_ne!(seed_of("net-1"), seed_of("net-2"));
    }
}
