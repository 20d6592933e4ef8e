//! `cargo xtask bench`: how long a check takes beside one bare handshake of `openssl s_client`, how long the demo takes, and how fast
//! and with how much memory `explain` reads a large log; writes `docs/benchmarks.md`.
//!
//! Numbers of one machine at one time, for comparison within one run. No test depends on them.

mod explain;
mod handshake;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::accuracy::median;
use crate::workspace::Workspace;
use crate::{machine, tool};

/// What to measure, and how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Pairs of check and handshake, for each protocol
    #[arg(long, default_value_t = 30)]
    pairs: usize,
    /// Size of the generated log
    #[arg(long, default_value_t = 512)]
    log_megabytes: u64,
    /// Runs of the demo
    #[arg(long, default_value_t = 3)]
    demos: usize,
    /// Where the page goes, from the workspace's root
    #[arg(long, default_value = "docs/benchmarks.md")]
    out: PathBuf,
}

/// Measures and writes.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let workspace = Workspace::read()?;
    let program = workspace.release_program()?;
    let scratch = workspace.target.join("bench");
    std::fs::create_dir_all(&scratch).with_context(|| format!("making {}", scratch.display()))?;
    let mut page = format!(
        "# How fast it is\n\nWritten by `cargo xtask bench`; do not edit. {}\n\n",
        machine::description()
    );
    let versions = [
        tool::version(&program.to_string_lossy(), &["--version"]),
        tool::version("openssl", &["version"]),
        tool::version("grep", &["--version"]),
    ];
    let _ = writeln!(
        page,
        "Programs: {}. Everything on loopback, from a warm file cache.\n",
        versions.join(" · ")
    );
    page += &handshake::section(&program, &scratch, options.pairs)?;
    page += &demo_section(&program, options.demos)?;
    page += &explain::section(&program, &scratch, options.log_megabytes)?;
    print!("{page}");
    let path = workspace.root.join(&options.out);
    std::fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
    Ok(true)
}

fn demo_section(program: &std::path::Path, runs: usize) -> Result<String> {
    let mut seconds = Vec::new();
    let mut exits = Vec::new();
    for _ in 0..runs.max(1) {
        let began = Instant::now();
        let status = Command::new(program)
            .arg("demo")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        exits.push(status.context("running the demo")?.code().unwrap_or(-1));
        seconds.push(began.elapsed().as_secs_f64());
    }
    Ok(format!(
        "## The demo\n\n`hoofbeat demo`: median {:.1} s of {} runs, exit statuses {exits:?} (0 = every box got its expected verdict).\n\n",
        median(&seconds),
        seconds.len()
    ))
}
