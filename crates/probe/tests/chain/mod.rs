//! A chain of namespaces: client, routers, server; the server's dozen lines of SMTP; and the tracer as a process.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use hoofbeat_observation::{Measurement, Scheme, Service, archive};
use hoofbeat_probe::{
    Budget, Context,
    path::{self, EngineChoice, RawRight},
};
use nix::sched::{CloneFlags, setns};

const INSIDE: &str = "HOOFBEAT_TEST_INSIDE";
const ENGINE: &str = "HOOFBEAT_TEST_ENGINE";
const TARGET: &str = "HOOFBEAT_TEST_TARGET";
const PORT: &str = "HOOFBEAT_TEST_PORT";
const OUTPUT: &str = "HOOFBEAT_TEST_OUTPUT";

/// Nobody, with nothing.
const NOBODY: [&str; 6] = [
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--no-new-privs",
    "--bounding-set=-all",
    "--inh-caps=-all",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Unprivileged,
    Raw,
}

/// What the server does with STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Refuses,
    Offers,
}

/// Runs a test inside fresh namespaces, or says why it cannot (a failure where `CI=true`).
pub(crate) fn inside(name: &str, test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        run("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]);
        fs::create_dir_all("/run/netns").unwrap();
        return test();
    }
    let wrapped = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["-nmpf", "--kill-child", "--mount-proc"])
            .args(arguments);
        command
    };
    let possible = wrapped(&["nft", "list", "ruleset"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let missing = match possible {
        Ok(status) if status.success() => ["ip", "setpriv"]
            .into_iter()
            .find(|program| Command::new(program).arg("-V").output().is_err())
            .map(|program| format!("{program} is not installed")),
        Ok(_) => Some("namespaces with nftables are not to be had".to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    };
    if let Some(reason) = missing {
        let forbidden = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
        assert!(
            !forbidden("CI", "true") && !forbidden("HOOFBEAT_NO_SKIP", "1"),
            "may not be skipped: {reason}"
        );
        eprintln!("skipped: {reason}");
        return;
    }
    let own = env::current_exe().unwrap();
    let status = wrapped(&[])
        .arg(own)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "inside: {status}");
}

/// client – r1 – … – rn – server, IPv4 10.77.i.0/24 and IPv6 fd77:i::/64, left .1, right .2.
pub(crate) struct Chain {
    routers: u8,
    /// Makes names of several chains differ.
    mark: usize,
    made: Arc<AtomicUsize>,
}

impl Chain {
    pub(crate) fn build(routers: u8) -> Self {
        static BUILT: AtomicUsize = AtomicUsize::new(0);
        let chain = Self {
            routers,
            mark: BUILT.fetch_add(1, Ordering::Relaxed),
            made: Arc::default(),
        };
        let last = routers + 1;
        for place in 0..=last {
            let name = chain.name(place);
            run("ip", &["netns", "add", &name]);
            run("ip", &["-n", &name, "link", "set", "lo", "up"]);
            chain.exec(
                place,
                "sh",
                &[
                    "-c",
                    "cd /proc/sys/net; echo 0 >ipv4/icmp_ratemask; echo 0 >ipv6/icmp/ratelimit; \
                         echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding; \
                         echo 0 >ipv6/conf/default/accept_dad; echo 0 >ipv6/conf/all/accept_dad",
                ],
            );
        }
        for link in 1..=last {
            let (left, right) = (chain.name(link - 1), chain.name(link));
            run(
                "ip",
                &[
                    "link", "add", "right", "netns", &left, "type", "veth", "peer", "name", "left",
                    "netns", &right,
                ],
            );
            for (node, side, host) in [(&left, "right", 1), (&right, "left", 2)] {
                run(
                    "ip",
                    &[
                        "-n",
                        node,
                        "addr",
                        "add",
                        &format!("10.77.{link}.{host}/24"),
                        "dev",
                        side,
                    ],
                );
                run(
                    "ip",
                    &[
                        "-n",
                        node,
                        "addr",
                        "add",
                        &format!("fd77:{link}::{host}/64"),
                        "dev",
                        side,
                        "nodad",
                    ],
                );
                run("ip", &["-n", node, "link", "set", side, "up"]);
            }
        }
        for place in 0..=last {
            let name = chain.name(place);
            for link in 1..=last {
                // What lies to the right is reached over the right neighbour, and so on.
                let (v4, v6) = if link > place + 1 {
                    (
                        format!("10.77.{}.2", place + 1),
                        format!("fd77:{}::2", place + 1),
                    )
                } else if link < place {
                    (format!("10.77.{place}.1"), format!("fd77:{place}::1"))
                } else {
                    continue;
                };
                run(
                    "ip",
                    &[
                        "-n",
                        &name,
                        "route",
                        "add",
                        &format!("10.77.{link}.0/24"),
                        "via",
                        &v4,
                    ],
                );
                run(
                    "ip",
                    &[
                        "-n",
                        &name,
                        "-6",
                        "route",
                        "add",
                        &format!("fd77:{link}::/64"),
                        "via",
                        &v6,
                    ],
                );
            }
        }
        chain
    }

    pub(crate) fn address(&self, family: u8) -> IpAddr {
        let last = self.routers + 1;
        match family {
            4 => IpAddr::from([10, 77, last, 2]),
            _ => format!("fd77:{last}::2").parse().unwrap(),
        }
    }

    /// Lets routers limit their ICMP errors as Linux does: six in a burst, then one a second.
    pub(crate) fn with_usual_icmp_limits(&self) {
        for router in 1..=self.routers {
            let defaults = "echo 6168 >/proc/sys/net/ipv4/icmp_ratemask; \
                            echo 1000 >/proc/sys/net/ipv6/icmp/ratelimit";
            self.exec(router, "sh", &["-c", defaults]);
        }
    }

    /// Starts SMTP on 25 and 587 and IMAP on 143 of the server.
    pub(crate) fn serve(&self, server: Server) {
        for port in [25, 587, 143] {
            let made = Arc::clone(&self.made);
            let listener = self.listener(self.routers + 1, port);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    made.fetch_add(1, Ordering::Relaxed);
                    thread::spawn(move || match port {
                        143 => imap(stream),
                        _ => smtp(stream, server),
                    });
                }
            });
        }
    }

    /// Connections that the server accepted.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// A rule of nftables on a router.
    pub(crate) fn filter(&self, router: u8, hook: &str, priority: &str, rule: &str) {
        let family = if rule.contains("icmp") { "inet" } else { "ip" };
        let rules = format!(
            "table {family} box {{\n chain m {{\n  type filter hook {hook} priority {priority}; policy accept;\n  {rule}\n }}\n}}\n"
        );
        self.nft(router, &rules);
    }

    /// A box on a router that answers port 25 itself.
    pub(crate) fn intercept(&self, router: u8) {
        let listener = self.listener(router, 2525);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || smtp(stream, Server::Refuses));
            }
        });
        self.nft(
            router,
            "table ip box {\n chain p {\n  type nat hook prerouting priority dstnat; policy accept;\n  tcp dport 25 redirect to :2525\n }\n}\n",
        );
    }

    /// Traces SMTP from the client.
    pub(crate) fn trace(&self, engine: Engine, family: u8) -> Vec<Measurement> {
        self.trace_port(engine, family, 25)
    }

    /// Traces a port from the client.
    pub(crate) fn trace_port(&self, engine: Engine, family: u8, port: u16) -> Vec<Measurement> {
        let output = PathBuf::from(format!("/run/measured-{}", self.mark));
        fs::write(&output, "").unwrap();
        let status = self
            .tracer(engine, &self.address(family).to_string(), &output)
            .env(PORT, port.to_string())
            .status()
            .unwrap();
        assert!(status.success(), "the tracer: {status}");
        let text = fs::read_to_string(&output).unwrap();
        let lines = text.lines();
        lines
            .map(|line| archive::read(line.as_bytes()).unwrap())
            .collect()
    }

    /// What a process without the right is told when it wants raw sockets.
    pub(crate) fn refused(&self) -> String {
        let output = PathBuf::from("/run/refused");
        fs::write(&output, "").unwrap();
        let mut command = self.tracer(Engine::Unprivileged, "none", &output);
        assert!(command.status().unwrap().success());
        fs::read_to_string(&output).unwrap()
    }

    fn tracer(&self, engine: Engine, target: &str, output: &Path) -> Command {
        run("chmod", &["666", output.to_str().unwrap()]);
        // Nobody may not be allowed to read where the test lies.
        let program = "/run/tracer";
        if !Path::new(program).exists() {
            fs::copy(env::current_exe().unwrap(), program).unwrap();
        }
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(0)]);
        if engine == Engine::Unprivileged {
            command.arg("setpriv").args(NOBODY);
        }
        command
            .arg(program)
            .args([
                "--exact",
                "tracer",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ENGINE, format!("{engine:?}"))
            .env(TARGET, target)
            .env(OUTPUT, output)
            .stdout(Stdio::null());
        command
    }

    fn listener(&self, place: u8, port: u16) -> TcpListener {
        let namespace = fs::File::open(format!("/run/netns/{}", self.name(place))).unwrap();
        let made = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            TcpListener::bind(("::", port)).unwrap()
        });
        made.join().unwrap()
    }

    fn name(&self, place: u8) -> String {
        format!("t{}-{place}", self.mark)
    }

    fn exec(&self, place: u8, program: &str, arguments: &[&str]) {
        let name = self.name(place);
        let all = [&["netns", "exec", &name, program], arguments].concat();
        run("ip", &all);
    }

    fn nft(&self, router: u8, rules: &str) {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name(router), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(rules.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success(), "{rules}");
    }
}

/// What the process does that traces.
pub(crate) fn trace_as_told() {
    let Ok(target) = env::var(TARGET) else {
        eprintln!("only the other tests start this one");
        return;
    };
    let output = env::var(OUTPUT).unwrap();
    let engine = match env::var(ENGINE).unwrap().as_str() {
        "Raw" => EngineChoice::Raw,
        _ => EngineChoice::Unprivileged,
    };
    if target == "none" {
        let refused = RawRight::acquire().unwrap_err();
        fs::write(output, refused.to_string()).unwrap();
        return;
    }
    let right = (engine == EngineChoice::Raw).then(|| RawRight::acquire().unwrap());
    let address: IpAddr = target.parse().unwrap();
    let port: u16 = env::var(PORT).unwrap().parse().unwrap();
    let service = Service {
        scheme: Scheme::of_port(port).unwrap(),
        host: target.clone(),
        address: Some(address),
        port,
    };
    let mut context = Context::new("hoofbeat test", &target);
    context.budget = Budget::new(14);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let started = std::time::Instant::now();
    let measurements = runtime.block_on(async {
        let asks = path::trace_asks(&service, &[]);
        path::trace(asks, right.as_ref(), &context, &|_| {}).await
    });
    let made = context.budget.made();
    let syns: usize = measurements
        .iter()
        .filter_map(Measurement::trace)
        .filter(|trace| trace.method != hoofbeat_observation::Method::Sweep)
        .map(|trace| trace.probes.len())
        .sum();
    eprintln!(
        "{engine:?} {target}: {:.1} s, {syns} SYNs, {made} connections allowed for",
        started.elapsed().as_secs_f32()
    );
    let lines = measurements
        .iter()
        .map(|m| archive::write(m).unwrap() + "\n");
    fs::write(output, lines.collect::<String>()).unwrap();
}

/// A server that knows the verb STARTTLS, and nothing of what is behind it.
fn smtp(mut stream: TcpStream, server: Server) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut say = |text: &str| stream.write_all(text.as_bytes()).is_ok();
    say("220 mx.test ESMTP\r\n");
    while let Some(Ok(line)) = lines.next() {
        let going_on = match line.split(' ').next().unwrap_or_default() {
            "EHLO" => say("250-mx.test\r\n250-PIPELINING\r\n250 HELP\r\n"),
            "NOOP" => say("250 2.0.0 Ok\r\n"),
            "STARTTLS" if server == Server::Refuses => say("502 5.5.1 Error: not implemented\r\n"),
            "STARTTLS" => {
                say("220 2.0.0 Ready to start TLS\r\n");
                return;
            }
            "QUIT" => {
                say("221 2.0.0 Bye\r\n");
                return;
            }
            _ => say("500 5.5.2 Error: command not recognized\r\n"),
        };
        if !going_on {
            return;
        }
    }
}

/// The same in IMAP; as Dovecot it hangs up at the third command that it does not know.
fn imap(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut say = |text: &str| stream.write_all(text.as_bytes()).is_ok();
    say("* OK ready\r\n");
    let mut unknown = 0;
    while let Some(Ok(line)) = lines.next() {
        let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
        let going_on = match command {
            "CAPABILITY" => say(&format!("* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n")),
            "NOOP" => say(&format!("{tag} OK done\r\n")),
            "LOGOUT" => {
                say(&format!("* BYE\r\n{tag} OK done\r\n"));
                return;
            }
            _ => {
                unknown += 1;
                say(&format!("{tag} BAD unknown\r\n"))
            }
        };
        if unknown == 3 {
            say("* BYE too many\r\n");
            return;
        }
        if !going_on {
            return;
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
