//! Fuzzing with libFuzzer on the stable compiler: coverage counters are an LLVM pass, and need no nightly.
//!
//! `cargo fuzz` would add address sanitizing, for which stable has no switch; our parsers hold no `unsafe`. The targets
//! have its layout (`fuzz/fuzz_targets/*.rs`, seeds in `fuzz/seeds/TARGET/`), so that it works on them too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::test::Outcome;
use crate::workspace::{Workspace, on_path, succeeds};

/// How to fuzz.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds a target
    #[arg(long, default_value_t = 300)]
    seconds: u32,
    /// Only these targets
    targets: Vec<String>,
}

/// What `cargo fuzz` passes for coverage, without its `-Z` flags.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks";

/// A real dialogue is far shorter; longer inputs only slow the search down.
const LENGTH_MAX: u32 = 16 * 1024;
/// One input may take this many seconds: nothing here is allowed to be quadratic in something large.
const INPUT_SECONDS: u32 = 5;
const MEMORY_MB: u32 = 1024;
/// At once, on the two cores of a small CI machine.
const AT_ONCE: usize = 2;

/// Runs the targets with a corpus that is kept in the target folder and grows from run to run.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let workspace = Workspace::read()?;
    let wanted = |name: &String| options.targets.is_empty() || options.targets.contains(name);
    let names: Vec<String> = targets(&workspace.root)?
        .into_iter()
        .filter(wanted)
        .collect();
    ensure!(
        !names.is_empty(),
        "no such target; there are: {}",
        targets(&workspace.root)?.join(" ")
    );
    let broken = build_and_run(&workspace, &names, options.seconds)?;
    for name in &broken {
        eprintln!("fuzz target {name} FAILED; the input is kept in fuzz/artifacts/{name}");
    }
    Ok(broken.is_empty())
}

/// The part that belongs to the tests: every target for a few seconds.
pub(crate) fn briefly(workspace: &Workspace, seconds: u32) -> Result<Outcome> {
    let names = targets(&workspace.root)?;
    if names.is_empty() {
        return Ok(Outcome::Skipped("there are no fuzz targets".to_owned()));
    }
    if on_path("c++").is_none() {
        return Ok(Outcome::Skipped(
            "libFuzzer needs a C++ compiler (package g++)".to_owned(),
        ));
    }
    let broken = build_and_run(workspace, &names, seconds)?;
    if broken.is_empty() {
        Ok(Outcome::Passed(format!(
            "{} targets, {seconds} s each",
            names.len()
        )))
    } else {
        Ok(Outcome::Failed(format!(
            "inputs kept in fuzz/artifacts: {}",
            broken.join(" ")
        )))
    }
}

fn targets(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let sources = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut names: Vec<String> = sources
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// The names of the targets that found something.
fn build_and_run(workspace: &Workspace, names: &[String], seconds: u32) -> Result<Vec<String>> {
    let programs = build(workspace)?;
    let waiting = Mutex::new(names.iter());
    let broken = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let Some(name) = waiting.lock().ok().and_then(|mut names| names.next()) else {
                return Ok(());
            };
            if !search(workspace, &programs.join(name), name, seconds)? {
                broken
                    .lock()
                    .map_err(|_| anyhow::anyhow!("a worker panicked"))?
                    .push(name.clone());
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))?
        })
    })?;
    broken
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a worker panicked"))
}

/// Builds all targets; the folder of the programs. A target triple is given so that build scripts stay uninstrumented.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let host = host()?;
    let folder = workspace.target.join("fuzz");
    let mut command = workspace.cargo();
    command.args([
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target",
        &host,
    ]);
    command
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", INSTRUMENTED)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    ensure!(succeeds(&mut command)?, "the fuzz targets do not build");
    Ok(folder.join(host).join("release"))
}

fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("running rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc tells no host")
}

fn search(workspace: &Workspace, program: &Path, name: &str, seconds: u32) -> Result<bool> {
    let corpus = workspace.target.join("fuzz/corpus").join(name);
    let seeds = workspace.root.join("fuzz/seeds").join(name);
    let artifacts = workspace.root.join("fuzz/artifacts").join(name);
    for folder in [&corpus, &seeds, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let output = Command::new(program)
        .arg(&corpus)
        .arg(&seeds)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LENGTH_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-verbosity=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    let log = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let fact = |key: &str| {
            log.lines()
                .find_map(|line| line.strip_prefix(key))
                .map_or("?", str::trim)
        };
        let coverage = log
            .lines()
            .rev()
            .find_map(|line| line.split("cov: ").nth(1)?.split_whitespace().next());
        let inputs = fact("stat::number_of_executed_units:");
        eprintln!(
            "{name}: {inputs} inputs, {} edges covered",
            coverage.unwrap_or("?")
        );
        // An empty folder would only be noise in the checkout.
        let _ = fs::remove_dir(&artifacts);
        return Ok(true);
    }
    let tail: Vec<&str> = log.lines().rev().take(40).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    eprintln!("{name}: FAILED\n{}", tail.join("\n"));
    Ok(false)
}
