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
    /// Judge what was recorded: pasted sessions, logs, captures, archives
    Explain(Explain),
    /// Check an embedded lab of honest servers and meddling boxes, on loopback
    Demo(Demo),
    /// List or run the lab's servers and boxes
    Lab(Lab),
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
    hoofbeat check --archive kept.jsonl imap://[2001:db8::7]:143"
)]
pub struct Check {
    /// What to check; nothing: the network you are on
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
    /// Keep every measurement (exact bytes, times, failures) in this file, as JSON Lines
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
    /// A server known to offer TLS, instead of the built-in ones (repeatable)
    #[arg(long, value_name = "URL", conflicts_with = "no_controls")]
    pub control: Vec<String>,
    /// Another service of the same host, on an unusual port, to compare with (repeatable)
    #[arg(long, value_name = "URL")]
    pub sibling: Vec<String>,
    /// Contact no server but the target's
    #[arg(long)]
    pub no_controls: bool,
    /// PEM file with certificates to trust beside the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The resolver to ask, instead of the system's
    #[arg(long, value_name = "ADDR")]
    pub resolver: Option<String>,
    /// Limit of the whole check
    #[arg(long, value_name = "SECONDS", default_value_t = super::settings::TIMEOUT_SECONDS, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// Most connections to one server
    #[arg(long, value_name = "N", default_value_t = super::settings::CONNECTIONS_PER_SERVER, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub max_connections: u32,
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
    /// How many targets to check at once
    #[arg(long, value_name = "N", default_value_t = super::settings::JOBS, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
}

/// `hoofbeat explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads telnet and nc sessions, swaks, openssl s_client and gnutls-cli output, S:/C: logs, Postfix and Exim\n\
    logs, pcap and pcapng captures, and Hoofbeat's archives. Credentials and message bodies are never kept.\n\n\
    Examples:\n  hoofbeat explain session.txt\n  swaks --server mx.example.org --quit-after TLS --tls | hoofbeat explain -"
)]
pub struct Explain {
    /// What was recorded; - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
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
