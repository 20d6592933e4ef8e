//! Real mail servers as witnesses: Postfix, Exim and Dovecot from Debian, each in a folder and on a port of its own.
//!
//! Our lab is written by those who wrote the prober; these servers are not. Every witness is first asked by a
//! plain dialogue of a dozen lines ([`dialogue`]) whether it is what the test believes it to be, and only then by Hoofbeat.
//! Nothing here may reach beyond loopback, and nothing touches the machine's own mail configuration.

pub(crate) mod boxed;
pub(crate) mod certificates;
pub(crate) mod daemon;
pub(crate) mod dialogue;
pub(crate) mod dovecot;
pub(crate) mod exim;
pub(crate) mod folder;
pub(crate) mod inquiry;
pub(crate) mod port;
pub(crate) mod postfix;

use std::path::Path;

/// What a witness needs of the machine, asked for before the test begins.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    /// A program or file that must exist.
    File(&'static str),
    /// Effective user 0: Postfix and Dovecot switch users.
    Root,
}

/// Whether all needs are met. If not: a line that says so, or a panic where skipping is forbidden
/// (`CI=true` or `HOOFBEAT_NO_SKIP=1`), so that a test that did not run is never mistaken for one that passed.
pub(crate) fn ready(needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(missing).collect();
    if missing.is_empty() {
        return true;
    }
    let reason = missing.join(", ");
    let forbidden = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    assert!(
        !forbidden("CI", "true") && !forbidden("HOOFBEAT_NO_SKIP", "1"),
        "may not be skipped, but lacks {reason}"
    );
    eprintln!("skipped: {reason}");
    false
}

fn missing(need: &Need) -> Option<String> {
    match need {
        Need::File(path) => (!Path::new(path).exists()).then(|| (*path).to_owned()),
        Need::Root => (!is_root()).then(|| "root".to_owned()),
    }
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    effective == Some("0")
}
