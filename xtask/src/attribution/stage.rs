//! Plays one scenario: builds its network, checks from its clients, keeps the archives.
//!
//! Everything happens inside one `hoofbeat lab up`, which takes the network down with it, whatever becomes of us.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::case::Case;
use crate::tool;

/// A world with four checks; each of them ends by itself within a minute.
const LIMIT: Duration = Duration::from_secs(240);

/// What is run: the check with everything, the check of a process without any right, and the plain checks from the other
/// network and from the server's own. Exit statuses are data.
const SCRIPT: &str = r#"
set -u
hoofbeat=$1 out=$2 target=$3 control=$4 ca=$5 prefixes=$6 witness=$7 vantage=$8 elsewhere=$9 other=${10}
look() {
    name=$1; shift
    began=$(date +%s%N)
    "$@" --json --control "$control" --ca "$ca" --archive "$out/$name.jsonl" "$target" >"$out/$name.json" 2>"$out/$name.err"
    echo "$? $((($(date +%s%N) - began) / 1000000))" >"$out/$name.end"
}
look raw "$hoofbeat" trace --engine raw --witness "$witness" --prefixes "$prefixes" --vantage "$vantage"
look unprivileged setpriv --bounding-set=-all --inh-caps=-all "$hoofbeat" trace --engine unprivileged --prefixes "$prefixes" --vantage "$vantage"
look elsewhere ip netns exec "$elsewhere" "$hoofbeat" check --vantage "$other"
look inside ip netns exec inside "$hoofbeat" check --vantage mx@inside --inside
"#;

/// What runs are made with.
pub(crate) struct Means {
    /// The built program.
    pub(crate) program: PathBuf,
    /// Exim, which is unpacked beside Postfix and not installed.
    pub(crate) exim: Option<PathBuf>,
}

/// The archives of one run.
pub(crate) struct Kept {
    pub(crate) raw: PathBuf,
    pub(crate) unprivileged: PathBuf,
    pub(crate) elsewhere: PathBuf,
    pub(crate) inside: PathBuf,
    /// Of the check with everything.
    pub(crate) seconds: f64,
}

/// Runs the scenario and leaves its archives in `folder`.
pub(crate) fn play(means: &Means, case: &Case, folder: &Path) -> Result<Kept> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut command = Command::new(&means.program);
    if let Some(exim) = &means.exim {
        command.env("HOOFBEAT_EXIM", exim);
    }
    command
        .args(["lab", "up", case.scenario, "--quiet"])
        .args([
            "--from",
            case.vantage.node(),
            "--",
            "sh",
            "-c",
            SCRIPT,
            "sh",
        ])
        .arg(&means.program)
        .arg(folder)
        .args(["{target}", "{control}", "{ca}", "{prefixes}", "{witness}"])
        .arg(case.vantage.label())
        .args([case.vantage.other().node(), case.vantage.other().label()]);
    let ran = tool::run(&mut command, LIMIT)?;
    ensure!(!ran.timed_out, "not done within {LIMIT:?}");
    ensure!(
        ran.exit == Some(0),
        "lab up: exit {:?}: {}",
        ran.exit,
        last_line(&ran.stderr)
    );
    kept(folder)
}

/// The archives that an earlier run left in `folder`.
pub(crate) fn kept(folder: &Path) -> Result<Kept> {
    let archive = |name: &str| -> Result<PathBuf> {
        let (exit, _) = end(folder, name)?;
        let path = folder.join(format!("{name}.jsonl"));
        let said = || {
            let text = std::fs::read_to_string(folder.join(format!("{name}.err")));
            last_line(&text.unwrap_or_default())
        };
        ensure!(
            (0..=3).contains(&exit),
            "the check {name:?} ended with {exit}: {}",
            said()
        );
        ensure!(
            path.is_file(),
            "the check {name:?} kept nothing: {}",
            said()
        );
        Ok(path)
    };
    Ok(Kept {
        raw: archive("raw")?,
        unprivileged: archive("unprivileged")?,
        elsewhere: archive("elsewhere")?,
        inside: archive("inside")?,
        seconds: end(folder, "raw")?.1,
    })
}

/// What the live check with everything said.
pub(crate) fn live(folder: &Path) -> Result<Value> {
    let path = folder.join("raw.json");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    serde_json::from_str(line).with_context(|| path.display().to_string())
}

/// Exit status and seconds.
fn end(folder: &Path, name: &str) -> Result<(i32, f64)> {
    let path = folder.join(format!("{name}.end"));
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("the check {name:?} did not come to its end"))?;
    let mut words = text.split_whitespace();
    let exit = words.next().and_then(|word| word.parse().ok());
    let millis: Option<f64> = words.next().and_then(|word| word.parse().ok());
    let (exit, millis) = exit
        .zip(millis)
        .with_context(|| format!("{} is not exit and time", path.display()))?;
    Ok((exit, millis / 1000.0))
}

fn last_line(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("nothing was said").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{kept, last_line};

    #[test]
    fn a_check_that_did_not_end_is_no_run() {
        let folder = std::env::temp_dir().join(format!("attribution-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).expect("a file");
        };
        assert!(kept(&folder).is_err());
        for name in ["raw", "unprivileged", "elsewhere", "inside"] {
            write(&format!("{name}.end"), "2 1500\n");
            write(&format!("{name}.jsonl"), "{}\n");
        }
        let whole = kept(&folder).expect("four archives");
        assert!((whole.seconds - 1.5).abs() < 1e-9);
        write("elsewhere.end", "70 20\n");
        write("elsewhere.err", "first\nhoofbeat: a bug\n\n");
        let failed = kept(&folder).err().expect("a bug is no answer").to_string();
        assert!(
            failed.contains("70") && failed.contains("a bug"),
            "{failed}"
        );
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(last_line(""), "nothing was said");
    }
}
