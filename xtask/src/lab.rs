//! `cargo xtask lab [ID]`: builds the program and enters a scenario of the lab's network with it.
//!
//! For whoever works on the code: `hoofbeat lab up` with a program that is what the sources say.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::workspace::{Workspace, succeeds};

/// What to enter.
#[derive(Args)]
pub(crate) struct Options {
    /// A scenario of the network; nothing: the list of them
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// List the scenarios of the network
    #[arg(long, conflicts_with = "id")]
    list: bool,
    /// In which node the command runs, such as `client`, `mobile` or `inside`
    #[arg(long, value_name = "NODE", default_value = "client")]
    from: String,
    /// Build and use the release program
    #[arg(long)]
    release: bool,
    /// What to run there; `{target}`, `{control}`, `{ca}`, `{prefixes}` and `{witness}` are filled in. Nothing: tells how to enter, and waits
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Enters; true when the command succeeded.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let workspace = Workspace::read()?;
    let program = if options.release {
        workspace.release_program()?
    } else {
        let mut build = workspace.cargo();
        build.args([
            "build",
            "--locked",
            "--package",
            "hoofbeat",
            "--bin",
            "hoofbeat",
        ]);
        if !succeeds(&mut build)? {
            bail!("the program does not build")
        }
        workspace.target.join("debug/hoofbeat")
    };
    let mut command = Command::new(program);
    match &options.id {
        Some(id) => {
            command.args(["lab", "up", id, "--from", &options.from]);
            if !options.command.is_empty() {
                command.arg("--").args(&options.command);
            }
        }
        None => {
            command.args(["lab", "list", "--net"]);
        }
    }
    succeeds(&mut command)
}
