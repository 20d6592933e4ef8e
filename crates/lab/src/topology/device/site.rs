//! The putting up of a device on a node: first the thread that works, then the rules that lead packets to it, in an order
//! in which nothing slips through unseen. It must not know what a device does with a packet.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustls::ServerConfig;
use tokio::sync::oneshot;

use crate::protocol::Scheme;
use crate::topology::device::flow::Heading;
use crate::topology::device::inspect::{Inspector, Tally};
use crate::topology::device::place::Place;
use crate::topology::device::queue::{self, Bound};
use crate::topology::device::rules::{Rules, chains, matches};
use crate::topology::device::spec::{Address, BlockSpec, Family, Hook, Only, Refusal};
use crate::topology::device::terminate::{Proxy, Work};
use crate::topology::device::{DeviceError, Installed, Worker, plain};
use crate::topology::namespace::Node;
use crate::topology::tool::feed;

/// A node with room for a device.
pub(super) struct Site {
    node: Node,
    place: Place,
    tally: Arc<Tally>,
}

impl Site {
    pub(super) fn new(node: &Node) -> Result<Self, DeviceError> {
        let place =
            Place::take(&node.name).ok_or_else(|| DeviceError::Crowded(node.name.clone()))?;
        Ok(Self {
            node: node.clone(),
            place,
            tally: Arc::default(),
        })
    }

    /// Matches packets that this device has neither seen nor made.
    pub(super) fn unseen(&self) -> String {
        let mark = self.place.mark();
        format!("-m mark ! --mark {mark:#x}/{mark:#x}")
    }

    pub(super) fn lead(&self) -> String {
        format!("-j NFQUEUE --queue-num {}", self.place.queue())
    }

    fn kernel(&self, what: &'static str) -> impl FnOnce(io::Error) -> DeviceError {
        let node = self.node.name.clone();
        move |cause| DeviceError::Kernel { what, node, cause }
    }

    /// An inspector of TCP segments at a hook.
    pub(super) fn queue(
        self,
        inspector: Box<dyn Inspector>,
        hook: Hook,
        only: &Only,
        sends: bool,
    ) -> Result<Installed, DeviceError> {
        let ports = only.mail_ports();
        let mut rules = Rules::default();
        for heading in [Heading::ToServer, Heading::ToClient] {
            for (family, matches) in matches(only, ports, heading) {
                for chain in chains(hook, heading) {
                    let unseen = format!("{matches} {}", self.unseen());
                    rules.add(family, "mangle", chain, &unseen, &self.lead());
                }
            }
        }
        if sends {
            // To connection tracking a forged reply would be a connection that clashes with the genuine one.
            let mark = self.place.mark();
            for (family, matches) in matches(only, ports, Heading::ToClient) {
                let own = format!("{matches} -m mark --mark {mark:#x}/{mark:#x}");
                rules.add(family, "raw", "OUTPUT", &own, "-j CT --notrack");
            }
        }
        if hook == Hook::Bridge && sends {
            return Err(DeviceError::Misplaced {
                what: "a box that sends packets of its own",
                hook,
            });
        }
        self.open_frames(hook)?;
        if sends {
            // Where numbers are translated, tracking in the same node sees only one half of it.
            self.set("net/netfilter/nf_conntrack_tcp_be_liberal", "1")?;
        }
        self.serve(inspector, rules, u16::MAX)
    }

    /// Has a bridge show the packets in its frames to the rules.
    fn open_frames(&self, hook: Hook) -> Result<(), DeviceError> {
        if hook == Hook::Bridge {
            self.set("net/bridge/bridge-nf-call-iptables", "1")?;
            self.set("net/bridge/bridge-nf-call-ip6tables", "1")?;
        }
        Ok(())
    }

    pub(super) fn block(self, spec: &BlockSpec) -> Result<Installed, DeviceError> {
        self.open_frames(spec.hook)?;
        let undo = match (spec.hook, spec.how) {
            (Hook::Bridge, Refusal::Icmp) => {
                return Err(DeviceError::Misplaced {
                    what: "a box that sends ICMP of its own",
                    hook: spec.hook,
                });
            }
            // The kernel sends a reset back through the port that the SYN came from, but only if it knows any route.
            (Hook::Bridge, Refusal::Reset) => {
                let bridge = self.bridge()?;
                let lines = move |verb| format!("route {verb} default dev {bridge} metric 7000\n");
                self.ip(&lines("add"))?;
                Some(lines("del"))
            }
            _ => None,
        };
        self.finish(plain::block(spec), undo, None)
    }

    /// The name of the node's bridge.
    fn bridge(&self) -> Result<String, DeviceError> {
        let list = self
            .node
            .command("ip", ["-o", "link", "show", "type", "bridge"])
            .output()
            .map_err(self.kernel("a list of bridges"))?;
        let text = String::from_utf8_lossy(&list.stdout).into_owned();
        // `4: br0: <BROADCAST,…`
        let name = text.split(": ").nth(1).map(str::to_owned);
        name.ok_or(DeviceError::Empty("the node has no bridge"))
    }

    /// Lines for `ip`, for both families.
    fn ip(&self, lines: &str) -> Result<(), DeviceError> {
        for family in ["-4", "-6"] {
            feed(Some(&self.node), "ip", &[family, "-batch", "-"], lines)?;
        }
        Ok(())
    }

    fn set(&self, name: &'static str, value: &'static str) -> Result<(), DeviceError> {
        let write = move || std::fs::write(format!("/proc/sys/{name}"), value);
        match self.node.inside(write).and_then(|written| written) {
            Ok(()) => Ok(()),
            Err(cause) => Err(self.kernel(name)(cause)),
        }
    }

    /// Binds the queue, then leads packets to it.
    pub(super) fn serve(
        self,
        inspector: Box<dyn Inspector>,
        rules: Rules,
        copied: u16,
    ) -> Result<Installed, DeviceError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, tally) = (Arc::clone(&stop), Arc::clone(&self.tally));
        let place = queue::Place {
            number: self.place.queue(),
            mark: self.place.mark(),
            copied,
        };
        let (bound, ready) = std::sync::mpsc::sync_channel(1);
        let work = move || match queue::bind(place) {
            Ok(queue) => {
                // The one who waits for it is this device's own installation.
                let _ = bound.send(Ok(()));
                Bound::serve(queue, inspector, &tally, &told);
            }
            Err(cause) => {
                let _ = bound.send(Err(cause));
            }
        };
        let thread = self
            .node
            .thread("device", work)
            .map_err(self.kernel("a thread"))?;
        ready
            .recv()
            .unwrap_or_else(|gone| Err(io::Error::other(gone)))
            .map_err(self.kernel("a packet queue"))?;
        let worker = Worker::Queue { stop, thread };
        self.finish(rules, None, Some(worker))
    }

    pub(super) fn proxy(
        &self,
        work: Work,
        address: Address,
        scheme: Scheme,
        interceptor: Option<Arc<ServerConfig>>,
    ) -> Proxy {
        Proxy {
            work,
            address,
            scheme,
            interceptor,
            mark: self.place.mark(),
            tally: Arc::clone(&self.tally),
        }
    }

    /// Opens the doors, then leads connections to them.
    pub(super) fn terminate(
        self,
        proxy: Proxy,
        hook: Hook,
        only: &Only,
        ports: &[u16],
    ) -> Result<Installed, DeviceError> {
        let address = proxy.address;
        if hook == Hook::Bridge || (hook == Hook::Host && address == Address::Kept) {
            return Err(DeviceError::Misplaced {
                what: "a terminating box",
                hook,
            });
        }
        let (open, ready) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let begun = runtime.and_then(|runtime| Ok((runtime, proxy.listen()?)));
            match begun {
                Ok((runtime, doors)) => {
                    // The one who waits for it is this device's own installation.
                    let _ = open.send(Ok(doors.ports));
                    let tally = Arc::clone(&proxy.tally);
                    if runtime.block_on(proxy.serve(doors, stopped)).is_err() {
                        tally.failed();
                    }
                }
                Err(cause) => {
                    let _ = open.send(Err(cause));
                }
            }
        };
        let thread = self
            .node
            .thread("device", work)
            .map_err(self.kernel("a thread"))?;
        let doors = ready
            .recv()
            .unwrap_or_else(|gone| Err(io::Error::other(gone)))
            .map_err(self.kernel("a listening socket"))?;
        let door = |family| match family {
            Family::Ipv4 => doors.0,
            Family::Ipv6 => doors.1,
        };
        let worker = Some(Worker::Proxy { stop, thread });
        let (mark, unseen) = (self.place.mark(), self.unseen());
        let mut rules = Rules::default();
        let to_server = matches(only, ports, Heading::ToServer);
        if address == Address::Own {
            let before: &[&str] = match hook {
                Hook::Host => &["PREROUTING", "OUTPUT"],
                _ => &["PREROUTING"],
            };
            for (family, matches) in to_server {
                for chain in before {
                    let unseen = format!("{matches} {unseen}");
                    let then = format!("-j REDIRECT --to-ports {}", door(family));
                    rules.add(family, "nat", chain, &unseen, &then);
                }
            }
            return self.finish(rules, None, worker);
        }
        let to_client = matches(only, ports, Heading::ToClient);
        for (family, matches) in to_client {
            // Tracking would take the two connections with equal ends for one, and a NAT in the node would go wrong.
            rules.add(family, "raw", "OUTPUT", &matches, "-j CT --notrack");
            // What the server answers to the client's address is for the proxy's own connection.
            let ours = format!("{matches} -m socket --transparent");
            let then = format!("-j MARK --set-xmark {mark:#x}/{mark:#x}");
            rules.add(family, "mangle", "PREROUTING", &ours, &then);
        }
        for (family, matches) in to_server {
            rules.add(family, "raw", "PREROUTING", &matches, "-j CT --notrack");
            let then = format!(
                "-j TPROXY --on-port {} --tproxy-mark {mark:#x}/{mark:#x}",
                door(family)
            );
            rules.add(family, "mangle", "PREROUTING", &matches, &then);
        }
        let table = self.place.table();
        let lines = |verb: &str| {
            format!(
                "rule {verb} fwmark {mark:#x}/{mark:#x} lookup {table}\n\
                 route {verb} local default dev lo table {table}\n"
            )
        };
        self.ip(&lines("add"))?;
        self.finish(rules, Some(lines("del")), worker)
    }

    /// A device that is rules and nothing else.
    pub(super) fn plain(self, rules: Rules) -> Result<Installed, DeviceError> {
        self.finish(rules, None, None)
    }

    /// From here on what was begun is undone by dropping, also when the rules are refused.
    fn finish(
        self,
        rules: Rules,
        undo: Option<String>,
        worker: Option<Worker>,
    ) -> Result<Installed, DeviceError> {
        let installed = Installed {
            node: self.node,
            _place: self.place,
            rules,
            undo,
            tally: self.tally,
            worker,
        };
        installed.rules.install(&installed.node)?;
        Ok(installed)
    }
}
