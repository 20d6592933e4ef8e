//! The commands: typed → settings → inquiry → rendering → exit status.

mod check;
mod demo;
mod explain;
mod inquiry;
mod lab;
mod manual;
mod progress;
mod render;
mod settings;
mod tracing;
pub mod typed;
mod verify;
mod witness;

use clap::Parser as _;
use std::process::ExitCode;

/// `EX_USAGE` of sysexits(3), as diagnosis-v1 promises.
const WRONG_USAGE: u8 = 64;
/// `EX_SOFTWARE`: our own fault.
const OUR_FAULT: u8 = 70;
/// Nothing could be judged.
const INCONCLUSIVE: u8 = 3;

/// Why a command could not do its work, with the exit status that says so.
#[derive(Debug)]
struct Stop {
    status: u8,
    message: String,
}
impl Stop {
    fn usage(message: impl Into<String>) -> Self {
        Self {
            status: WRONG_USAGE,
            message: message.into(),
        }
    }
    fn unreadable(message: impl Into<String>) -> Self {
        Self {
            status: INCONCLUSIVE,
            message: message.into(),
        }
    }
    fn bug(message: impl Into<String>) -> Self {
        Self {
            status: OUR_FAULT,
            message: message.into(),
        }
    }
}

/// Runs the program and returns its exit status (diagnosis-v1, "Exit status").
#[must_use]
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("hoofbeat: a bug of ours, please report it with the command you ran: {panic}");
        std::process::exit(OUR_FAULT.into());
    }));
    let typed = match typed::Typed::try_parse() {
        Ok(typed) => typed,
        Err(error) => {
            // Help and version go to standard output and are no mistake.
            let status = if error.use_stderr() { WRONG_USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    match run(typed) {
        Ok(status) => ExitCode::from(status),
        Err(stop) => {
            eprintln!("hoofbeat: {}", stop.message);
            ExitCode::from(stop.status)
        }
    }
}

fn run(typed: typed::Typed) -> Result<u8, Stop> {
    match typed.command {
        typed::Command::Check(check) => on_runtime(check::run(settings::check(check)?)),
        typed::Command::Trace(trace) => on_runtime(check::run(settings::trace(trace)?)),
        typed::Command::Explain(explain) => explain::run(&explain),
        typed::Command::Verify(verify) => verify::run(&verify),
        typed::Command::Demo(demo) => on_runtime(demo::run(demo)),
        typed::Command::Lab(lab) => on_runtime(lab::run(lab)),
        typed::Command::Witness(witness) => witness::run(witness),
        typed::Command::Man(man) => manual::pages(&man.directory).map(|()| 0),
        typed::Command::Completions(completions) => {
            manual::completions(completions.shell);
            Ok(0)
        }
    }
}

/// One thread serves everything: the work is waiting, and start-up time is part of every check.
fn on_runtime(work: impl Future<Output = Result<u8, Stop>>) -> Result<u8, Stop> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::bug(format!("cannot start the runtime: {error}")))?
        .block_on(work)
}
