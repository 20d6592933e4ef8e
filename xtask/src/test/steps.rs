//! The steps themselves: which command each kind of test is.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::Kind;
use super::table::Outcome;
use crate::workspace::{Workspace, has_cargo_command, succeeds};
use crate::{fuzz, machine};

/// Compiles nothing that has a window: no std, no allocator of its own.
const BARE_TARGET: &str = "x86_64-unknown-none";
const PURE: [&str; 4] = [
    "hoofbeat-session",
    "hoofbeat-observation",
    "hoofbeat-diagnosis",
    "hoofbeat-policy",
];

/// Integration tests that build whole networks of namespaces, in whichever crate they are.
const NETWORKS: [&str; 2] = ["namespaces", "devices"];

/// The work bench: the workspace and what was found out about the machine.
pub(crate) struct Bench<'a> {
    workspace: &'a Workspace,
    fuzz_seconds: u32,
    exim: Option<PathBuf>,
    /// What networks of namespaces are made with is there.
    networks: bool,
    nextest: bool,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(workspace: &'a Workspace, fuzz_seconds: u32) -> Self {
        Self {
            workspace,
            fuzz_seconds,
            exim: None,
            networks: false,
            nextest: has_cargo_command("nextest"),
        }
    }

    pub(crate) fn prepare(&mut self) -> Result<Outcome> {
        let networks = machine::prepare_for_networks();
        let servers = machine::prepare_for_tests(&self.workspace.target);
        let mut missing = Vec::new();
        match servers {
            Ok(exim) => self.exim = Some(exim),
            Err(error) => missing.push(format!("{error:#}")),
        }
        match networks {
            Ok(()) => self.networks = true,
            Err(error) => missing.push(format!("{error:#}")),
        }
        if missing.is_empty() {
            Ok(Outcome::Passed("Debian packages are there".to_owned()))
        } else {
            Ok(Outcome::Skipped(missing.join("; ")))
        }
    }

    pub(crate) fn run(&self, kind: Kind) -> Result<Outcome> {
        match kind {
            Kind::Unit => self.tests(&["--lib", "--bins"], |package, name| {
                package != "hoofbeat" && !NETWORKS.contains(&name)
            }),
            Kind::Architecture => self.tests(&[], |package, name| {
                package == "hoofbeat" && name == "architecture"
            }),
            Kind::Scenario => self.tests(&[], |package, name| {
                package == "hoofbeat"
                    && !["architecture", "witnesses"].contains(&name)
                    && !NETWORKS.contains(&name)
            }),
            Kind::Witness => self.witnesses(),
            Kind::Network => self.networks(),
            Kind::Doc => self.cargo(&["test", "--locked", "--workspace", "--doc"]),
            Kind::Bare => self.bare(),
            Kind::Fuzz => fuzz::briefly(self.workspace, self.fuzz_seconds),
            Kind::Licences => self.licences(),
        }
    }

    /// Runs the chosen integration tests and, with `targets`, the tests inside the sources. Always over the whole
    /// workspace: another choice of packages means other features and a second build.
    fn tests(&self, targets: &[&str], wanted: impl Fn(&str, &str) -> bool) -> Result<Outcome> {
        self.with_environment(targets, &[], wanted)
    }

    fn with_environment(
        &self,
        targets: &[&str],
        environment: &[(&str, &str)],
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<Outcome> {
        let tests = self
            .workspace
            .tests
            .iter()
            .filter(|test| wanted(&test.package, &test.name));
        let mut names: Vec<&str> = tests.map(|test| test.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if targets.is_empty() && names.is_empty() {
            return Ok(Outcome::Skipped("there are no such tests".to_owned()));
        }
        let named = names.iter().flat_map(|name| ["--test", name]);
        let mut command = self.workspace.cargo();
        command
            .args(self.runner())
            .args(["--locked", "--workspace"])
            .args(targets)
            .args(named);
        command.envs(environment.iter().copied());
        if let Some(exim) = &self.exim {
            command.env("HOOFBEAT_EXIM", exim);
        }
        Ok(judged(succeeds(&mut command)?, &names.join(" ")))
    }

    /// A witness that finds no server says so and returns; here that would hide a skip behind a pass, so it is told to fail.
    fn witnesses(&self) -> Result<Outcome> {
        if !machine::is_root() {
            return Ok(Outcome::Skipped(
                "not root: Postfix and Dovecot switch users".to_owned(),
            ));
        }
        if self.exim.is_none() {
            return Ok(Outcome::Skipped(
                "the real servers could not be installed (step machine)".to_owned(),
            ));
        }
        self.with_environment(&[], &[("HOOFBEAT_NO_SKIP", "1")], |package, name| {
            package == "hoofbeat" && name == "witnesses"
        })
    }

    /// As for witnesses: told to fail rather than to return without a word.
    fn networks(&self) -> Result<Outcome> {
        if !machine::is_root() {
            return Ok(Outcome::Skipped(
                "not root: networks of namespaces with real servers need its rights".to_owned(),
            ));
        }
        if !self.networks {
            return Ok(Outcome::Skipped(
                "what networks are made with could not be installed (step machine)".to_owned(),
            ));
        }
        self.with_environment(&[], &[("HOOFBEAT_NO_SKIP", "1")], |_, name| {
            NETWORKS.contains(&name)
        })
    }

    fn bare(&self) -> Result<Outcome> {
        let root = Command::new("rustc")
            .args(["--print", "sysroot"])
            .stderr(Stdio::null())
            .output();
        let installed = root.is_ok_and(|output| {
            let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
            sysroot
                .join("lib/rustlib")
                .join(BARE_TARGET)
                .join("lib")
                .is_dir()
        });
        if !installed {
            return Ok(Outcome::Absent(format!(
                "target {BARE_TARGET} is not installed; the architecture test holds instead"
            )));
        }
        let packages = PURE.iter().flat_map(|package| ["-p", package]);
        let arguments: Vec<&str> = ["check", "--locked", "--target", BARE_TARGET]
            .into_iter()
            .chain(packages)
            .collect();
        self.cargo(&arguments)
    }

    fn licences(&self) -> Result<Outcome> {
        if !has_cargo_command("deny") {
            return Ok(Outcome::Absent("cargo-deny is not installed".to_owned()));
        }
        self.cargo(&["deny", "check", "licenses", "bans", "sources"])
    }

    fn cargo(&self, arguments: &[&str]) -> Result<Outcome> {
        Ok(judged(
            succeeds(self.workspace.cargo().args(arguments))?,
            "",
        ))
    }

    fn runner(&self) -> &'static [&'static str] {
        if self.nextest {
            &["nextest", "run", "--no-fail-fast", "--retries", "0"]
        } else {
            &["test", "--no-fail-fast"]
        }
    }
}

fn judged(success: bool, note: &str) -> Outcome {
    let note = note.to_owned();
    if success {
        Outcome::Passed(note)
    } else {
        Outcome::Failed(note)
    }
}
