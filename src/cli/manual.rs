//! Man pages and completions, from the same definitions as `--help`.

use clap::CommandFactory as _;
use std::{io, path::Path};

use super::{Stop, render, typed};

/// Writes `hoofbeat.1` and a page for each subcommand.
pub(super) fn pages(directory: &Path) -> Result<(), Stop> {
    let failed = |error: io::Error| {
        Stop::unreadable(format!(
            "cannot write man pages into {}: {error}",
            directory.display()
        ))
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(typed::Typed::command(), directory).map_err(failed)
}

/// Prints the completion script.
pub(super) fn completions(shell: typed::Shell) {
    use clap_complete::{Shell, generate};
    let shell = match shell {
        typed::Shell::Bash => Shell::Bash,
        typed::Shell::Elvish => Shell::Elvish,
        typed::Shell::Fish => Shell::Fish,
        typed::Shell::Powershell => Shell::PowerShell,
        typed::Shell::Zsh => Shell::Zsh,
    };
    let mut script = Vec::new();
    generate(shell, &mut typed::Typed::command(), "hoofbeat", &mut script);
    render::print(&String::from_utf8_lossy(&script));
}
