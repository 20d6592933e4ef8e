//! The command line as it was typed. What it means is decided once, in `settings`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

/// Tells whether mail encryption is being stripped, how, by what and where
#[derive(Debug, Parser)]
#[command(
    name = "hoofbeat",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  \
        hoofbeat check example.org              every mail service of a domain\n  \
        hoofbeat check mx.example.org:25        one service\n  \
        hoofbeat check                          the network you are on\n  \
        hoofbeat trace mx.example.org           the path, and where STARTTLS is changed\n  \
        hoofbeat explain session.txt            a pasted telnet, swaks or openssl session\n  \
        hoofbeat explain mail.log capture.pcap  logs and captures\n  \
        hoofbeat demo                           see it find every kind of box, without a network\n\n\
        Exit status: 0 clear, 1 the server's own doing or a weakness, 2 interference,\n  \
        3 inconclusive or unreachable, 64 wrong usage, 70 a bug of ours."
)]
pub struct Typed {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check mail services, or the network you are on
    Check(Check),
    /// Draw the path to a mail server, and between which hops STARTTLS is changed
    Trace(Trace),
    /// Judge what was recorded: pasted sessions, logs, captures, archives
    Explain(Explain),
    /// Check a bundle that somebody else measured: hashes, signatures, verdict
    Verify(Verify),
    /// Check an embedded lab of honest servers and meddling boxes, on loopback
    Demo(Demo),
    /// List or run the lab's servers and boxes
    Lab(Lab),
    /// Run a cooperating server, whose signed report tells a client what arrived
    Witness(Witness),
    /// Write the man pages into a directory
    Man(Man),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// How results are printed.
#[derive(Debug, Args, Clone, Copy, Default)]
pub struct Output {
    /// One JSON document a target, one line each (schema hoofbeat.diagnosis/1)
    #[arg(long)]
    pub json: bool,
    /// Only the verdict lines; no progress
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Every piece of evidence, and the dialogues byte for byte
    #[arg(long, short)]
    pub verbose: bool,
}

/// `hoofbeat check`.
#[derive(Debug, Args)]
#[command(
    after_help = "A target is DOMAIN, HOST, HOST:PORT or SCHEME://HOST[:PORT] with smtp (25), submission (587),\n\
    submissions (465), lmtp (24), imap (143), imaps (993), pop3 (110), pop3s (995) or sieve (4190).\n\
    Without a target the network you are on is checked against servers known to offer TLS.\n\n\
    Examples:\n  hoofbeat check example.org\n  hoofbeat check smtp://mx.example.org --json\n  \
    hoofbeat check --archive kept.jsonl imap://[2001:db8::7]:143\n  \
    hoofbeat check --trace --witness KEY@witness.example.net mx.example.org"
)]
pub struct Check {
    /// What to check; nothing: the network you are on
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Where something is odd, also find the stretch of the path, with packets of limited TTL
    #[arg(long)]
    pub trace: bool,
    /// What `trace` shares.
    #[command(flatten)]
    pub asking: Asking,
    /// How many targets to check at once
    #[arg(long, value_name = "N", default_value_t = super::settings::JOBS, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
}

/// `hoofbeat trace`.
#[derive(Debug, Args)]
#[command(
    after_help = "Draws the path to a mail server and shows between which hops STARTTLS is changed. Routers quote the packets\n\
    whose time ran out on them; a quote that differs from what was sent shows a change before that hop.\n\n\
    The raw engine (CAP_NET_RAW) sees quotes of mail commands. The unprivileged one sees hops, terminating proxies\n\
    and what is quoted of connection attempts. To allow the raw one without root:\n  \
    sudo setcap cap_net_raw+ep $(command -v hoofbeat)\n\n\
    Examples:\n  hoofbeat trace mx.example.org\n  \
    hoofbeat trace --json --witness KEY@witness.example.net smtp://mx.example.org"
)]
pub struct Trace {
    /// To which server: HOST, HOST:PORT, DOMAIN, SCHEME://HOST or SCHEME://HOST:PORT
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// What `check` shares.
    #[command(flatten)]
    pub asking: Asking,
}

/// What `check` and `trace` share.
#[derive(Debug, Args)]
pub struct Asking {
    /// How to print.
    #[command(flatten)]
    pub output: Output,
    /// Keep every measurement (exact bytes, times, packets, failures) in this file, as a bundle of JSON Lines
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
    /// Keep your own addresses and first hops whole in the archive [default: cut to /24 and /48]
    #[arg(long)]
    pub full_addresses: bool,
    /// A server known to offer TLS, instead of the built-in ones (repeatable)
    #[arg(long, value_name = "URL", conflicts_with = "no_controls")]
    pub control: Vec<String>,
    /// Another service of the same host, on an unusual port, to compare with (repeatable)
    #[arg(long, value_name = "URL")]
    pub sibling: Vec<String>,
    /// Contact no server but the target's (and a witness that you name)
    #[arg(long)]
    pub no_controls: bool,
    /// How to trace: raw needs CAP_NET_RAW; auto takes it where it is to be had
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<EngineTyped>,
    /// Which network announces which addresses: lines of PREFIX/LEN, ASN and perhaps a name, or CAIDA's pfx2as
    #[arg(long, value_name = "FILE")]
    pub prefixes: Option<PathBuf>,
    /// A cooperating server to compare both ends' bytes with, as `hoofbeat witness` prints it
    #[arg(long, value_name = "KEY@HOST[:PORT]", allow_hyphen_values = true)]
    pub witness: Option<String>,
    /// At the witness, also a TLS handshake with this server name: is it blocked? (repeatable)
    #[arg(long, value_name = "NAME", requires = "witness")]
    pub server_name: Vec<String>,
    /// At the witness, do not compare plain HTTP headers
    #[arg(long, requires = "witness")]
    pub no_witness_http: bool,
    /// From where this is measured, in your own words, to compare with other places later: laptop@cafe
    #[arg(long, value_name = "HOST@NETWORK")]
    pub vantage: Option<String>,
    /// This is measured from inside the target's own network, behind its firewall
    #[arg(long)]
    pub inside: bool,
    /// PEM file with certificates to trust beside the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The resolver to ask, instead of the system's
    #[arg(long, value_name = "ADDR")]
    pub resolver: Option<String>,
    /// Limit of the whole check [default: 60; 120 with tracing]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: Option<u64>,
    /// Most connections to one server [default: 12; 24 with tracing]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub max_connections: Option<u32>,
    /// The name to greet with [default: the address literal of this host]
    #[arg(long, value_name = "NAME")]
    pub ehlo: Option<String>,
    /// Also tests that are harmless but not RFC-legal (a command pipelined behind STARTTLS): only for servers that you run
    #[arg(long)]
    pub thorough: bool,
    /// How to connect: direct, socks5://HOST:PORT, http://HOST:PORT, or interface:NAME
    #[arg(long, value_name = "URL", default_value = "direct")]
    pub route: String,
    /// Only IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Only IPv6
    #[arg(short = '6', long)]
    pub ipv6: bool,
}

/// The engines that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum EngineTyped {
    /// The raw one where it is to be had, else the unprivileged one
    #[default]
    Auto,
    /// Ordinary sockets only
    Unprivileged,
    /// Raw sockets and a capture, or nothing
    Raw,
}

impl EngineTyped {
    /// The word as typed.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Unprivileged => "unprivileged",
            Self::Raw => "raw",
        }
    }
}

/// `hoofbeat explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads telnet and nc sessions, swaks, openssl s_client and gnutls-cli output, S:/C: logs, Postfix and Exim\n\
    logs, pcap and pcapng captures, and Hoofbeat's archives. Credentials and message bodies are never kept.\n\
    Archives of one target from several places (check --vantage) are judged together.\n\n\
    Examples:\n  hoofbeat explain session.txt\n  hoofbeat explain cafe.jsonl mobile.jsonl inside.jsonl\n  \
    swaks --server mx.example.org --quit-after TLS --tls | hoofbeat explain -"
)]
pub struct Explain {
    /// What was recorded; - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
    /// A group of evidence about the place (G1 to G11, see docs/diagnosis-v1.md) that is not to be weighed: shows
    /// what it contributes (repeatable)
    #[arg(long, value_name = "GROUP", hide_short_help = true)]
    pub leave_out: Vec<String>,
}

/// `hoofbeat verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Checks that no line of a bundle was changed, added, removed or moved, that the witness's signatures hold, and\n\
    that the measurements lead to the verdict that is stored. Says what nobody can know from the file alone.\n\n\
    Exit status: 0 everything holds, 1 something does not, 3 the file is no bundle or cannot be read.\n\n\
    Examples:\n  hoofbeat verify kept.jsonl\n  hoofbeat verify --key KEY --extract folder kept.jsonl"
)]
pub struct Verify {
    /// What `check --archive` or `trace --archive` wrote
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// One JSON document (schema hoofbeat.verification/1)
    #[arg(long)]
    pub json: bool,
    /// Write captures (pcapng) and signed reports into this directory, which must not hold them yet
    #[arg(long, value_name = "DIR")]
    pub extract: Option<PathBuf>,
    /// A witness's key as its operator publishes it; reports must be signed with one that is named (repeatable)
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub key: Vec<String>,
}

/// `hoofbeat demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// One JSON document a box instead of the table
    #[arg(long)]
    pub json: bool,
    /// Every scenario of the lab but the held-out ones; the slow ones included
    #[arg(long)]
    pub all: bool,
}

/// `hoofbeat lab`.
#[derive(Debug, Args)]
pub struct Lab {
    /// What to do.
    #[command(subcommand)]
    pub verb: LabVerb,
}

/// The lab's verbs.
#[derive(Debug, Subcommand)]
pub enum LabVerb {
    /// The servers and boxes, with the verdict that each should get
    List {
        /// One JSON document a line
        #[arg(long)]
        json: bool,
        /// The scenarios for `lab up`, with the place that should be named
        #[arg(long)]
        net: bool,
    },
    /// Build a whole network in Linux namespaces and run a command on one of its hosts
    #[command(
        after_help = "In the command's arguments these are replaced: {target} {control} {ca} {prefixes} {nobody} {server}\n\
        {peer} {inside} {witness-address} and, where a witness runs, {witness} (KEY@ADDRESS). Other hosts are reached\n\
        with `ip netns exec HOST …`. Nothing is seen or left outside.\n\n\
        Examples:\n  hoofbeat lab up dispute-carrier --from mobile -- hoofbeat check --ca {ca} --control {control} {target}\n  \
        hoofbeat lab up net-clean -- traceroute -n {server}\n  hoofbeat lab up dispute-pix"
    )]
    Up {
        /// Its name, from `hoofbeat lab list --net`, or a TOML file with one scenario
        #[arg(value_name = "SCENARIO")]
        id: String,
        /// The host to run the command on
        #[arg(long, value_name = "HOST", default_value = "client")]
        from: String,
        /// Stay up when the command has ended, until Ctrl-C
        #[arg(long)]
        keep: bool,
        /// Do not draw the map
        #[arg(long, short)]
        quiet: bool,
        /// What to run; nothing: only tell how to enter
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Run one until interrupted
    #[command(after_help = "Examples:\n  hoofbeat lab serve cisco-asa-gen2\n  \
        hoofbeat lab serve untangle --listen 127.0.0.1:2525 --upstream 127.0.0.1:25")]
    Serve {
        /// Its name, from `hoofbeat lab list`
        #[arg(value_name = "BOX")]
        id: String,
        /// Where to listen [default: a free port on 127.0.0.1]
        #[arg(long, value_name = "ADDR:PORT")]
        listen: Option<SocketAddr>,
        /// Put the box in front of this server instead of the lab's own
        #[arg(long, value_name = "ADDR:PORT")]
        upstream: Option<SocketAddr>,
        /// Write the lab authority's certificate (PEM) here, for `check --ca`
        #[arg(long, value_name = "FILE")]
        ca_out: Option<PathBuf>,
        /// Allow addresses other than loopback
        #[arg(long)]
        beyond_loopback: bool,
    },
}

/// `hoofbeat witness`.
#[derive(Debug, Args)]
#[command(
    after_help = "It takes no mail and relays nothing. Ports below 1024 and traces towards clients need privilege at the start\n\
    (root, or CAP_NET_BIND_SERVICE and CAP_NET_RAW), which is given up before anybody is served.\n\n\
    With --look clients learn whether the server that they ask about offers STARTTLS to this network as well, which one\n\
    place alone cannot tell. Only mail ports are looked at, and only addresses that the world routes to.\n\n\
    Examples:\n  hoofbeat witness --key /var/lib/hoofbeat-witness/key --name witness.example.org --look\n  \
    hoofbeat witness --key key --listen 127.0.0.1 --smtp 2525 --imap 1143 --pop3 1110 --http 8080 --tls 8443"
)]
pub struct Witness {
    /// The key that signs reports; made on the first start
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Where to listen [default: every address] (repeatable)
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<std::net::IpAddr>,
    /// SMTP ports, or none
    #[arg(long, value_name = "PORTS", default_value = "25,587,2525")]
    pub smtp: Ports,
    /// IMAP ports, or none
    #[arg(long, value_name = "PORTS", default_value = "143")]
    pub imap: Ports,
    /// POP3 ports, or none
    #[arg(long, value_name = "PORTS", default_value = "110")]
    pub pop3: Ports,
    /// Plain HTTP ports, or none
    #[arg(long, value_name = "PORTS", default_value = "80")]
    pub http: Ports,
    /// TLS ports, or none
    #[arg(long, value_name = "PORTS", default_value = "443")]
    pub tls: Ports,
    /// The port of the control channel
    #[arg(long, value_name = "PORT", default_value_t = hoofbeat_probe::witness::CONTROL_PORT)]
    pub control: u16,
    /// The name it greets with, which clients reach it by [default: its address]
    #[arg(long, value_name = "HOST")]
    pub name: Option<String>,
    /// Certificate chain (PEM) for the mail, TLS and control ports [default: one made for each start]
    #[arg(long, value_name = "FILE", requires = "private_key")]
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub private_key: Option<PathBuf>,
    /// Whom to become once the ports are open [default: nobody, where started by root]
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// What reports say of the place, such as "VPS in AS64505, nothing in front of port 25"
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub statement: String,
    /// Look at mail servers that clients ask about, from here: one plain dialogue, each server once a minute at most
    #[arg(long)]
    pub look: bool,
}

/// `25,587` or `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(pub Vec<u16>);

impl std::str::FromStr for Ports {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let ports = text.split(',').map(|port| port.trim().parse());
        ports.collect::<Result<_, _>>().map(Self)
    }
}

/// `hoofbeat man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Where to write them
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// `hoofbeat completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell
    pub shell: Shell,
}

/// The shells that completions exist for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// elvish
    Elvish,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// zsh
    Zsh,
}
