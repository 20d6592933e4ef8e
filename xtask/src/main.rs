//! One door for whoever works on the code: `cargo xtask test | fuzz | accuracy | attribution | lab | bench`.
//!
//! It knows how to install what tests need, how to run everything, and how to say what it could not run. It must not know
//! how Hoofbeat works: it uses the built program by its published contract, and the lab.

mod accuracy;
#[cfg(target_os = "linux")]
mod attribution;
mod bench;
mod fuzz;
mod lab;
mod machine;
mod test;
mod tool;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Works on Hoofbeat's code")]
struct Typed {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what tests need and runs every test; says at the end what was not run and why
    Test(test::Options),
    /// Runs the fuzz targets, longer than `test` does
    Fuzz(fuzz::Options),
    /// Checks every lab scenario, beside the peers if asked, and writes docs/accuracy.md
    Accuracy(accuracy::Options),
    /// Checks every scenario of the lab's network, judges it with more and fewer means, and writes docs/attribution.md
    #[cfg(target_os = "linux")]
    Attribution(attribution::Options),
    /// Enters a scenario of the lab's network, or lists them
    Lab(lab::Options),
    /// Measures speed and memory, and writes docs/benchmarks.md
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let outcome = match Typed::parse().command {
        Task::Test(options) => test::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Accuracy(options) => accuracy::run(&options),
        #[cfg(target_os = "linux")]
        Task::Attribution(options) => attribution::run(&options),
        Task::Lab(options) => lab::run(&options),
        Task::Bench(options) => bench::run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
