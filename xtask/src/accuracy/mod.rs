//! `cargo xtask accuracy`: every scenario of the lab, benign look-alikes included, against Hoofbeat and (`--peers`) against the
//! tools that people use today; writes `docs/accuracy.md`.
//!
//! Each tool gets a freshly started scenario: some servers and boxes remember who came before. Nothing is measured twice.

mod peers;
mod report;
mod score;
mod subject;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use hoofbeat_lab::{Background, Scenario, Verdict};

use crate::machine;
use crate::tool;
use crate::workspace::{Workspace, succeeds};
use peers::{PEERS, Question};
use score::Score;
pub(crate) use score::median;
use subject::Answer;

/// A peer that says nothing for this long has not answered.
const PEER_LIMIT: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Only scenarios whose identifier holds this text; nothing is written then
    #[arg(long)]
    only: Option<String>,
    /// Also ask swaks, openssl, sslscan, nmap, testssl and posttls-finger (installed by apt where missing and root)
    #[arg(long)]
    peers: bool,
    /// Scenarios at once
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Where the table goes, from the workspace's root
    #[arg(long, default_value = "docs/accuracy.md")]
    out: PathBuf,
}

/// What a tool claims, or what is true, in the four words that all tools share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Encryption comes about, and verifies.
    Encrypts,
    /// Something in between prevents or changes it.
    Interference,
    /// The server itself does not offer it, or offers it wrongly.
    Server,
    /// No answer, an error, or honest doubt.
    Unknown,
}

impl State {
    fn of(verdict: &str) -> Self {
        match verdict {
            "clear" => Self::Encrypts,
            "interference" => Self::Interference,
            "server" => Self::Server,
            _ => Self::Unknown,
        }
    }

    fn of_expected(verdict: Verdict) -> Self {
        Self::of(verdict.word())
    }
}

/// Everything measured on one scenario.
struct Row {
    scenario: &'static Scenario,
    answer: Answer,
    /// In the order of [`PEERS`]; none where the tool does not speak the protocol or is missing.
    peers: Vec<Option<PeerAnswer>>,
}

struct PeerAnswer {
    state: State,
    took: Duration,
    connections: usize,
}

/// Measures and writes; true when nobody is falsely accused, and the scenarios that the judge was developed on show
/// no miss and 98 % of the mechanisms right. Held-out scenarios give an estimate, which is not a promise.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let workspace = Workspace::read()?;
    if options.peers {
        install_peers();
    }
    let program = workspace.release_program()?;
    let wanted = |scenario: &&Scenario| {
        options
            .only
            .as_ref()
            .is_none_or(|part| scenario.id.contains(part.as_str()))
    };
    let scenarios: Vec<&'static Scenario> = Scenario::all().iter().filter(wanted).collect();
    ensure!(!scenarios.is_empty(), "no scenario of that name");
    let scratch = workspace.target.join("accuracy");
    let rows = measure(&program, &scenarios, &scratch, options)?;
    let score = Score::of(&rows);
    let tools: Vec<Option<String>> = PEERS
        .iter()
        .map(|peer| (options.peers && peer.path().is_some()).then(|| peer.version()))
        .collect();
    let page = report::page(
        &rows,
        &score,
        &tools,
        &tool::version(&program.to_string_lossy(), &["--version"]),
        options.jobs,
    );
    println!("{}", report::in_short(&rows, &score));
    if options.only.is_some() {
        println!("{page}");
    } else {
        let path = workspace.root.join(&options.out);
        std::fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
        println!("written: {}", options.out.display());
    }
    let developed_on = rows.partition_point(|row| !row.scenario.held_out);
    let known = Score::of(&rows[..developed_on]);
    Ok(score.false_accusations.is_empty() && known.is_good())
}

/// Missing peers are left out of the table, which says so; they are no reason to measure nothing.
fn install_peers() {
    let helpers = ["libnet-ssleay-perl", "bind9-dnsutils"];
    let packages: Vec<&str> = PEERS
        .iter()
        .map(|peer| peer.package)
        .chain(helpers)
        .collect();
    if let Err(error) = machine::install(&packages) {
        eprintln!("peers: {error:#}");
    }
}

fn measure(
    program: &Path,
    scenarios: &[&'static Scenario],
    scratch: &Path,
    options: &Options,
) -> Result<Vec<Row>> {
    std::fs::create_dir_all(scratch).with_context(|| format!("making {}", scratch.display()))?;
    // The least that posttls-finger needs.
    std::fs::write(
        scratch.join("main.cf"),
        "compatibility_level = 3.6\ninet_protocols = all\n",
    )?;
    let shown = std::io::stderr().is_terminal();
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
            let row = measure_one(program, scenario, scratch, options.peers)?;
            let mut rows = rows
                .lock()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))?;
            rows.push(row);
            if shown {
                eprint!("\r{} of {} scenarios ", rows.len(), scenarios.len());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))?
        })
    })?;
    let mut rows = rows
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a worker panicked"))?;
    rows.sort_by_key(|row| (row.scenario.held_out, row.scenario.id.as_str()));
    Ok(rows)
}

fn measure_one(
    program: &Path,
    scenario: &'static Scenario,
    scratch: &Path,
    with_peers: bool,
) -> Result<Row> {
    let start = || -> Result<(Background, PathBuf)> {
        let lab = Background::start(scenario, None, None)
            .with_context(|| format!("starting {}", scenario.id))?;
        let ca = scratch.join(format!("{}.pem", scenario.id));
        std::fs::write(&ca, &lab.ca_pem)?;
        Ok((lab, ca))
    };
    let (lab, ca) = start()?;
    let answer = subject::ask(program, scenario, &lab, &ca)?;
    drop(lab);
    let ask = |peer: &peers::Peer| -> Result<Option<PeerAnswer>> {
        if !with_peers || (peer.is_slow() && !scenario.demo) {
            return Ok(None);
        }
        let (lab, ca) = start()?;
        let question = Question {
            scheme: scenario.scheme,
            address: lab.address,
            ca: &ca,
        };
        let Some(mut command) = peer.command(&question, scratch) else {
            return Ok(None);
        };
        let ran = tool::run(&mut command, PEER_LIMIT)?;
        Ok(Some(PeerAnswer {
            state: peer.claims(&ran),
            took: ran.took,
            connections: lab.connections(),
        }))
    };
    let peers = PEERS.iter().map(ask).collect::<Result<Vec<_>>>()?;
    Ok(Row {
        scenario,
        answer,
        peers,
    })
}

impl Workspace {
    /// Builds the release program and tells where it is.
    pub(crate) fn release_program(&self) -> Result<PathBuf> {
        let mut command = self.cargo();
        command.args([
            "build",
            "--release",
            "--locked",
            "--package",
            "hoofbeat",
            "--bin",
            "hoofbeat",
        ]);
        ensure!(succeeds(&mut command)?, "the program does not build");
        Ok(self.target.join("release/hoofbeat"))
    }
}
