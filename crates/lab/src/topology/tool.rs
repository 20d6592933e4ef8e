//! The programs that the namespace lab calls — `ip`, `nft`, `iptables-restore`, `unshare`, `nsenter` — found, fed and
//! listened to. A missing one is named by its Debian package. It must not know what is built with them.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::namespace::Node;

/// Which Debian package holds which program.
const PACKAGES: &[(&str, &str)] = &[
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iptables-restore", "iptables"),
    ("ip6tables-restore", "iptables"),
    ("iptables", "iptables"),
    ("ip6tables", "iptables"),
    ("newuidmap", "uidmap"),
    ("postfix", "postfix"),
    ("exim4", "exim4-daemon-light"),
    ("dovecot", "dovecot-imapd and dovecot-pop3d"),
];

/// Where programs are, also for users whose `PATH` leaves out what administrators use.
const ALSO: &[&str] = &["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// A program that the lab calls could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("the lab needs the program {program:?} (Debian package {package})")]
    Missing {
        /// Its name.
        program: String,
        /// Who has it.
        package: &'static str,
    },
    /// It could not be run.
    #[error("the lab cannot run {program}: {cause}")]
    Run {
        /// Its name.
        program: String,
        /// Why.
        cause: io::Error,
    },
    /// It said no.
    #[error("{program} on {place}: {said}")]
    Refused {
        /// Its name.
        program: String,
        /// On which host of the lab.
        place: String,
        /// What it said.
        said: String,
    },
}

/// Finds a program by name.
///
/// # Errors
/// When it is nowhere; the error names the package.
pub fn find(program: &str) -> Result<PathBuf, ToolError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(ALSO.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| ToolError::Missing {
            program: program.to_owned(),
            package: PACKAGES
                .iter()
                .find(|(name, _)| *name == program)
                .map_or("unknown", |(_, package)| package),
        })
}

/// Runs `program` with `input` on its standard input: inside `node`, or where the caller is.
///
/// # Errors
/// When it is missing, cannot be run or ends with another status than 0.
pub fn feed(
    node: Option<&Node>,
    program: &str,
    arguments: &[&str],
    input: &str,
) -> Result<(), ToolError> {
    if input.is_empty() {
        return Ok(());
    }
    let path = find(program)?;
    let mut command = Command::new(&path);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run_failed = |cause| ToolError::Run {
        program: program.to_owned(),
        cause,
    };
    let text = input.to_owned();
    let mut run = move || -> io::Result<Output> {
        let mut child = command.spawn()?;
        // These programs read everything before they say anything that could fill a pipe.
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = match node {
        Some(node) => node.inside(run).and_then(|ran| ran),
        None => run(),
    }
    .map_err(run_failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(ToolError::Refused {
        program: program.to_owned(),
        place: node.map_or("the lab", |node| &node.name).to_owned(),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Lines for `ip -batch`, of either family, inside `node` or where the caller is.
///
/// # Errors
/// As [`feed`].
pub fn ip(node: Option<&Node>, lines: &str) -> Result<(), ToolError> {
    feed(node, "ip", &["-batch", "-"], lines)
}

/// Rules for `nft -f`.
///
/// # Errors
/// As [`feed`].
pub fn nft(node: &Node, rules: &str) -> Result<(), ToolError> {
    feed(Some(node), "nft", &["-f", "-"], rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = find("newuidmap-that-is-nowhere").expect_err("missing");
        assert!(error.to_string().contains("unknown"), "{error}");
        for (program, package) in PACKAGES {
            if let Err(error) = find(program) {
                assert!(error.to_string().contains(package), "{error}");
            }
        }
    }

    #[test]
    fn what_a_program_says_when_it_refuses_is_kept() {
        let error = feed(None, "ip", &["-batch", "-"], "nonsense\n");
        match error {
            Err(ToolError::Refused { said, .. }) => assert!(said.contains("nonsense"), "{said}"),
            Err(ToolError::Missing { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
