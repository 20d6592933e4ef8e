//! `cargo xtask attribution`: every scenario of the lab's network, checked with all means and judged with fewer, against the
//! truth and beside the rules that people use; writes `docs/attribution.md`. `--estimate` counts the training runs
//! into the judge's likelihoods instead.
//!
//! Nothing is measured twice, and a run that could not be run is told as such: it is nobody's success.

mod answer;
mod archive;
mod baseline;
mod bound;
mod case;
mod engine;
mod estimate;
mod judge;
mod place;
mod report;
mod row;
mod score;
mod stage;
mod target;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use hoofbeat_lab::topology::scenario::NetScenario;

use crate::workspace::Workspace;
use crate::{machine, tool};
use case::Case;
use engine::Engine;
use row::{NotRun, Row};
use stage::Means;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Scenarios at once [default: one more than there are processors]
    #[arg(long)]
    jobs: Option<usize>,
    /// Only scenarios whose identifier holds this text (repeatable); the page is printed, not written
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Where the page goes, from the workspace's root
    #[arg(long, value_name = "FILE", default_value = "docs/attribution.md")]
    out: PathBuf,
    /// Count the training runs into the judge's likelihoods; held-out scenarios are not even run
    #[arg(long)]
    estimate: bool,
    /// Keep every archive here
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Judge again what an earlier run kept; runs nothing
    #[arg(long, value_name = "DIR", conflicts_with = "keep")]
    again: Option<PathBuf>,
    /// Use this program instead of building it
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Measures and writes; true when no target is missed and everything could be run.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let workspace = Workspace::read()?;
    let began = Instant::now();
    let mut exim = None;
    if options.again.is_none() {
        ensure!(
            machine::is_root(),
            "not root: a network of namespaces needs its rights"
        );
        machine::prepare_for_networks()?;
        // Without a real server its scenarios are told as not run.
        match machine::prepare_for_tests(&workspace.target) {
            Ok(program) => exim = Some(program),
            Err(error) => eprintln!("machine: {error:#}"),
        }
    }
    let program = match &options.program {
        Some(program) => std::fs::canonicalize(program)
            .with_context(|| format!("finding {}", program.display()))?,
        None => workspace.release_program()?,
    };
    let means = Means { program, exim };
    let wanted = |id: &str| {
        options.only.is_empty() || options.only.iter().any(|part| id.contains(part.as_str()))
    };
    let cases = NetScenario::all()
        .iter()
        .filter(|scenario| wanted(&scenario.id) && !(options.estimate && scenario.held_out))
        .map(Case::all)
        .collect::<Result<Vec<_>>>()?
        .concat();
    ensure!(!cases.is_empty(), "no scenario of that name");
    let jobs = options
        .jobs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, |count| count.get() + 1));
    let scratch = Scratch::new(options, &workspace)?;
    let (rows, not_run) = measure(&means, &cases, &scratch, jobs)?;
    for run in &not_run {
        eprintln!("not run: {}: {}", run.id, run.why);
    }
    if options.estimate {
        let runs: Vec<_> = rows
            .iter()
            .filter_map(|row| {
                let (case, answer) = row.by(Engine::FULLEST)?;
                estimate::seen(case, answer)
            })
            .collect();
        print!("{}", estimate::write(&runs, &workspace.root)?);
        return Ok(not_run.is_empty());
    }
    let head = report::Head {
        machine: machine::description(),
        program: tool::version(&means.program.to_string_lossy(), &["--version"]),
        jobs,
        again: scratch.filled,
        took: began.elapsed().as_secs_f64(),
    };
    let page = report::page(&rows, &not_run, &head);
    println!("{}", report::in_short(&rows, &not_run));
    if options.only.is_empty() {
        let path = workspace.root.join(&options.out);
        std::fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
        println!("written: {}", options.out.display());
    } else {
        println!("{page}");
    }
    let held_out: Vec<&Row> = rows.iter().filter(|row| row.case.held_out).collect();
    let missed = target::all(&held_out)
        .iter()
        .any(|target| target.met == Some(false));
    let enough = rows.len() >= target::RUNS || !options.only.is_empty();
    if !enough {
        eprintln!("{} runs; {} are wanted", rows.len(), target::RUNS);
    }
    Ok(!missed && not_run.is_empty() && enough)
}

/// Where archives lie while they are judged.
struct Scratch {
    folder: PathBuf,
    /// Filled by an earlier run.
    filled: bool,
    /// Nobody asked to keep it.
    passing: bool,
}

impl Scratch {
    fn new(options: &Options, workspace: &Workspace) -> Result<Self> {
        let (folder, filled, passing) = match (&options.again, &options.keep) {
            (Some(folder), _) => (folder.clone(), true, false),
            (None, Some(folder)) => (folder.clone(), false, false),
            (None, None) => (workspace.target.join("attribution"), false, true),
        };
        if passing && folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("emptying {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let folder = std::fs::canonicalize(folder)?;
        Ok(Self {
            folder,
            filled,
            passing,
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.passing {
            // What cannot be removed lies in the target folder, which is removed with it.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn measure(
    means: &Means,
    cases: &[Case],
    scratch: &Scratch,
    jobs: usize,
) -> Result<(Vec<Row>, Vec<NotRun>)> {
    let shown = std::io::stderr().is_terminal();
    let next = AtomicUsize::new(0);
    let done = Mutex::new((Vec::new(), Vec::new()));
    let work = || -> Result<()> {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let measured = measure_one(means, case, scratch);
            let Ok(mut done) = done.lock() else {
                bail!("a worker panicked")
            };
            match measured {
                Ok(row) => done.0.push(row),
                Err(error) => done.1.push(NotRun {
                    id: case.id.clone(),
                    held_out: case.held_out,
                    why: format!("{error:#}"),
                }),
            }
            if shown {
                let count = done.0.len() + done.1.len();
                eprint!("\r{count} of {} runs ", cases.len());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))?
        })
    })?;
    let (mut rows, mut not_run) = done
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a worker panicked"))?;
    rows.sort_by(|one: &Row, other| {
        (one.case.held_out, &one.case.id).cmp(&(other.case.held_out, &other.case.id))
    });
    not_run.sort_by(|one: &NotRun, other| one.id.cmp(&other.id));
    Ok((rows, not_run))
}

fn measure_one(means: &Means, case: &Case, scratch: &Scratch) -> Result<Row> {
    let folder = scratch.folder.join(&case.id);
    let kept = if scratch.filled {
        stage::kept(&folder)?
    } else {
        stage::play(means, case, &folder)?
    };
    judge::row(&means.program, case, &kept, &folder, !scratch.filled)
}
