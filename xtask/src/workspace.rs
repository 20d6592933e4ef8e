//! Where things are: the root, the target folder, the test targets; and `cargo` as a command that respects the lock file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One integration test file of a package.
pub(crate) struct TestTarget {
    pub(crate) package: String,
    pub(crate) name: String,
}

/// What `cargo metadata` says of the workspace.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) tests: Vec<TestTarget>,
}

impl Workspace {
    pub(crate) fn read() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
            .stderr(Stdio::inherit())
            .output()
            .context("running cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata failed");
        let document: Value =
            serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
        let path = |key: &str| {
            document[key]
                .as_str()
                .map(PathBuf::from)
                .with_context(|| format!("{key} is missing"))
        };
        let packages = document["packages"]
            .as_array()
            .context("packages are missing")?;
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            tests: packages.iter().flat_map(test_targets).collect(),
        })
    }

    /// `cargo` in the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root);
        command
    }
}

fn test_targets(package: &Value) -> Vec<TestTarget> {
    let owner = package["name"].as_str().unwrap_or_default();
    let targets = package["targets"].as_array().into_iter().flatten();
    let tests = targets.filter(|target| {
        target["kind"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(|it| it == "test"))
    });
    let named = tests.filter_map(|target| target["name"].as_str());
    named
        .map(|name| TestTarget {
            package: owner.to_owned(),
            name: name.to_owned(),
        })
        .collect()
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether a program is found on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Whether cargo has a subcommand of that name.
pub(crate) fn has_cargo_command(name: &str) -> bool {
    on_path(&format!("cargo-{name}")).is_some()
}

/// Runs to the end with the terminal's own output; whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    eprintln!("$ {}", shown(command));
    let status = command
        .status()
        .with_context(|| format!("starting {}", shown(command)))?;
    Ok(status.success())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
