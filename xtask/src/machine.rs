//! Makes a Debian machine ready: real mail servers for the witnesses, peers for the accuracy table.
//!
//! Only as root, only with apt, never removing anything: the MTA packages exclude each other, and somebody's working mail
//! server is worth more than our test. Exim therefore is unpacked beside Postfix, not installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{on_path, succeeds};

/// What the tests need: Postfix, Dovecot, openssl, the libraries of the unpacked Exim, and a C++ compiler for libFuzzer.
const FOR_TESTS: [&str; 8] = [
    "postfix",
    "dovecot-imapd",
    "dovecot-pop3d",
    "dovecot-managesieved",
    "openssl",
    "libidn12",
    "libgnutls-dane0",
    "g++",
];

/// What the networks of namespaces are made with: `ip`, `nft`, `iptables`, and `unshare`, `nsenter`, `setpriv`.
const FOR_NETWORKS: [&str; 4] = ["iproute2", "nftables", "iptables", "util-linux"];

/// Compiled into Debian's Exim: it refuses to start without this user.
const EXIM_USER: &str = "Debian-exim";

/// Installs what the tests need and tells where Exim is.
pub(crate) fn prepare_for_tests(target: &Path) -> Result<PathBuf> {
    install(&FOR_TESTS)?;
    unpack_exim(target)
}

/// Installs what networks of namespaces are made with.
pub(crate) fn prepare_for_networks() -> Result<()> {
    install(&FOR_NETWORKS)
}

/// Installs those of the Debian packages that are missing.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(
        on_path("apt-get").is_some(),
        "no apt-get here, and these are missing: {}",
        missing.join(" ")
    );
    ensure!(
        is_root(),
        "not root, and these Debian packages are missing: {}",
        missing.join(" ")
    );
    if missing.contains(&"postfix") {
        preseed_postfix()?;
    }
    if !lists_know(missing[0]) {
        ensure!(apt(&["update", "-q"])?, "apt-get update failed");
    }
    let arguments = [
        &[
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            "--no-remove",
        ][..],
        &missing,
    ]
    .concat();
    if apt(&arguments)? {
        return Ok(());
    }
    // The lists may be older than the mirror.
    ensure!(
        apt(&["update", "-q"])? && apt(&arguments)?,
        "apt-get install {} failed",
        missing.join(" ")
    );
    Ok(())
}

fn unpack_exim(target: &Path) -> Result<PathBuf> {
    let folder = target.join("witness");
    let program = folder.join("usr/sbin/exim4");
    if is_root() && !has_user(EXIM_USER) {
        // adduser refuses the capital letter.
        ensure!(
            succeeds(Command::new("useradd").args(["-r", EXIM_USER]))?,
            "useradd -r {EXIM_USER} failed"
        );
    }
    if program.exists() {
        return Ok(program);
    }
    if Path::new("/usr/sbin/exim4").exists() {
        return Ok(PathBuf::from("/usr/sbin/exim4"));
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let download = |folder: &Path| {
        let mut command = Command::new("apt-get");
        command
            .args(["download", "-q", "exim4-daemon-light"])
            .current_dir(folder);
        succeeds(&mut command)
    };
    if !download(&folder)? {
        ensure!(
            is_root() && apt(&["update", "-q"])? && download(&folder)?,
            "apt-get download exim4-daemon-light failed"
        );
    }
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let mut packages = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_package);
    let Some(package) = packages.next() else {
        bail!("apt-get download left no package in {}", folder.display())
    };
    ensure!(
        succeeds(Command::new("dpkg").arg("-x").arg(package).arg(&folder))?,
        "dpkg -x failed"
    );
    ensure!(
        program.exists(),
        "the Exim package holds no {}",
        program.display()
    );
    Ok(program)
}

fn has_user(name: &str) -> bool {
    let asked = Command::new("id")
        .arg(name)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// Otherwise Postfix' installation asks, and would write a configuration for this machine.
fn preseed_postfix() -> Result<()> {
    let answer = "postfix postfix/main_mailer_type select No configuration\n";
    let mut child = Command::new("debconf-set-selections")
        .stdin(Stdio::piped())
        .spawn()
        .context("debconf-set-selections")?;
    if let Some(mut input) = child.stdin.take() {
        std::io::Write::write_all(&mut input, answer.as_bytes())?;
    }
    ensure!(child.wait()?.success(), "debconf-set-selections failed");
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<bool> {
    succeeds(
        Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null()),
    )
}

fn lists_know(package: &str) -> bool {
    let shown = Command::new("apt-cache")
        .args(["show", package])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    shown.is_ok_and(|status| status.success())
}

fn is_installed(package: &str) -> bool {
    let asked = Command::new("dpkg-query")
        .args(["-W", "-f", "${Status}", package])
        .stderr(Stdio::null())
        .output();
    asked.is_ok_and(|output| output.stdout == b"install ok installed")
}

/// Effective user 0, read where Linux says it.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    effective == Some("0")
}

/// Date, processors and kernel, for the pages that hold measurements.
pub(crate) fn description() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .stderr(Stdio::null())
            .output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = said("uname", &["-sr"]);
    format!(
        "{}, {processors} processors, {kernel}, {}.",
        said("date", &["-u", "+%Y-%m-%d"]),
        said("rustc", &["--version"])
    )
}
