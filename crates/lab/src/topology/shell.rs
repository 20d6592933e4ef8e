//! The shell around one namespace lab: a process tree with its own networks, mounts and process ids, which ends with its
//! first process, however that one ends.
//!
//! Outside, [`enter`] makes the command that starts the tree; inside, [`settle`] makes `/run` private. Nothing of a lab is
//! therefore ever to be seen, or left, outside. It must not know what is built inside.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::unistd::geteuid;

use super::tool::{ToolError, find};

/// Where a lab keeps its files, inside.
pub const FOLDER: &str = "/run/hoofbeat-lab";

/// Set for the processes inside, to the id of the process that entered.
const MARK: &str = "HOOFBEAT_LAB_INSIDE";

/// The name resolver that hosts of the lab are told of: nothing listens there, so that a question fails at once.
const RESOLVER: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";

/// With which rights a lab is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// As root.
    Root,
    /// As an ordinary user who owns a range of subordinate ids: real servers can change users.
    ManyIds,
    /// As an ordinary user with one id: only the lab's own servers can run.
    OneId,
}

impl Rights {
    /// What this process has.
    pub fn ours() -> Self {
        if geteuid().is_root() {
            return Self::Root;
        }
        let user = format!("{}:", geteuid());
        let name = std::env::var("USER").map(|name| name + ":");
        let listed = |file: &str| {
            fs::read_to_string(file).is_ok_and(|text| {
                text.lines().any(|line| {
                    line.starts_with(&user)
                        || name.as_ref().is_ok_and(|name| line.starts_with(name))
                })
            })
        };
        if find("newuidmap").is_ok() && listed("/etc/subuid") && listed("/etc/subgid") {
            Self::ManyIds
        } else {
            Self::OneId
        }
    }
}

impl Rights {
    /// With which rights the lab around this process was entered: only the map of its ids tells.
    pub fn inside() -> Self {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let count = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
        match map.lines().filter_map(count).sum() {
            0 | 1 => Self::OneId,
            // The whole of a host's ids: no user namespace is between.
            ids if ids >= u32::MAX.into() => Self::Root,
            _ => Self::ManyIds,
        }
    }
}

/// The command that runs `program` as the first process of a lab of its own. It ends when it is killed, too: the kernel
/// takes everything inside with it.
///
/// # Errors
/// When `unshare` is not installed.
pub fn enter<I>(program: impl AsRef<OsStr>, arguments: I) -> Result<Command, ToolError>
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut command = Command::new(find("unshare")?);
    command.args(match Rights::ours() {
        Rights::Root => &["-nmpf"][..],
        Rights::ManyIds => &["-Urnmpf", "--map-auto"],
        Rights::OneId => &["-Urnmpf"],
    });
    command
        .args(["--kill-child", "--mount-proc", "--"])
        .arg(program)
        .args(arguments)
        .env(MARK, std::process::id().to_string());
    Ok(command)
}

/// Whether this process is the first of a lab. Both signs are asked for: rules must never be laid on a real host.
pub fn is_inside() -> bool {
    std::process::id() == 1 && std::env::var_os(MARK).is_some()
}

/// The command that leads from outside to the host `node`, for a lab whose [`enter`] command took its caller's place.
pub fn way_in(node: &str) -> String {
    let outer = std::env::var(MARK).unwrap_or_default();
    let user = match Rights::inside() {
        Rights::Root => "",
        Rights::ManyIds | Rights::OneId => " --user --preserve-credentials",
    };
    format!("nsenter --target $(pgrep -P {outer}){user} --mount --pid ip netns exec {node} sh")
}

/// Why no lab can be built on this machine, if so: asked by starting one with nothing in it.
///
/// # Errors
/// The reason, in a sentence.
pub fn possible() -> Result<(), String> {
    for program in ["ip", "nft", "nsenter", "iptables-restore"] {
        find(program).map_err(|error| error.to_string())?;
    }
    let output = enter("true", [""; 0])
        .map_err(|error| error.to_string())?
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("unshare cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("namespaces are not to be had: {}", said.trim()))
}

/// The lab could not be given a place of its own.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The caller is not inside.
    #[error(
        "a namespace lab is built by the first process inside of its own namespaces, and this is none"
    )]
    Outside,
    /// The kernel refused a mount.
    #[error("the lab cannot mount over {}: {cause}", place.display())]
    Mount {
        /// Where.
        place: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// Makes `/run` private and empty, and gives the lab its own names. Done once; a second call changes nothing.
///
/// # Errors
/// When the caller is not inside, or a mount is refused.
pub fn settle(names: &str) -> Result<(), SettleError> {
    if !is_inside() {
        return Err(SettleError::Outside);
    }
    let (run, folder) = (Path::new("/run"), Path::new(FOLDER));
    if !folder.exists() {
        let kind = Some("tmpfs");
        mount(kind, run, kind, MsFlags::empty(), Some("mode=755")).map_err(|cause| {
            SettleError::Mount {
                place: run.to_owned(),
                cause: cause.into(),
            }
        })?;
    }
    let made = |place: &Path, cause: io::Error| SettleError::Mount {
        place: place.to_owned(),
        cause,
    };
    fs::create_dir_all(folder).map_err(|cause| made(folder, cause))?;
    for (name, text) in [("hosts", names), ("resolv.conf", RESOLVER)] {
        let own = folder.join(name);
        let there = own.exists();
        write(&own, text).map_err(|cause| made(&own, cause))?;
        let place = Path::new("/etc").join(name);
        if !there {
            cover(&own, &place).map_err(|cause| made(&place, cause))?;
        }
    }
    Ok(())
}

/// Keeps the file's identity, so that what is mounted from it changes too.
fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::File::create(path)?.write_all(text.as_bytes())
}

/// Lays `own` over `place`. Where `place` leads into the `/run` that is no longer there, what it leads to is made anew.
fn cover(own: &Path, place: &Path) -> io::Result<()> {
    match fs::canonicalize(place) {
        Ok(real) => {
            let none = None::<&str>;
            Ok(mount(Some(own), &real, none, MsFlags::MS_BIND, none)?)
        }
        Err(_) => {
            let Ok(goal) = fs::read_link(place) else {
                // A system without that file asks nobody.
                return Ok(());
            };
            let goal = Path::new("/etc").join(goal);
            let lost = fs::canonicalize("/run").is_ok()
                && goal.components().any(|part| part.as_os_str() == "run");
            if let Some(parent) = goal.parent().filter(|_| lost) {
                fs::create_dir_all(parent)?;
                fs::copy(own, &goal)?;
            }
            Ok(())
        }
    }
}
