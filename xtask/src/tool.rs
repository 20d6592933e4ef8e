//! Runs one program with an end in sight and keeps what it said, how it ended, and how long that took.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Most bytes kept of what a program says.
const OUTPUT_MAX: u64 = 4 << 20;
/// How often the end is looked for; also the error of the measured time.
const STEP: Duration = Duration::from_millis(2);

/// One finished (or ended) run.
pub(crate) struct Ran {
    /// The exit status; none when it was ended by the time limit or a signal.
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
    pub(crate) timed_out: bool,
}

impl Ran {
    /// Everything it said.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs to the end, or to `limit` and then ends the program with all that it started (its process group).
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Ran> {
    let began = Instant::now();
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let (status, timed_out) = loop {
        if let Some(status) = child.try_wait()? {
            break (Some(status), false);
        }
        if began.elapsed() > limit {
            end_group(&mut child)?;
            break (None, true);
        }
        sleep(STEP);
    };
    let took = began.elapsed();
    let exit = status.and_then(|status| status.code());
    Ok(Ran {
        exit,
        stdout: gathered(stdout),
        stderr: gathered(stderr),
        took,
        timed_out,
    })
}

fn collect(pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A broken pipe ends the text; what came until then counts.
        let _ = pipe.take(OUTPUT_MAX).read_to_end(&mut bytes);
        bytes
    })
}

fn gathered(thread: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = thread
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn end_group(child: &mut Child) -> Result<()> {
    let group = format!("-{}", child.id());
    let _ = Command::new("kill")
        .args(["-s", "KILL", "--", &group])
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    child.wait()?;
    Ok(())
}

/// The first line of what `program arguments` says that holds a version such as `1.2`, without colours.
pub(crate) fn version(program: &str, arguments: &[&str]) -> String {
    let ran = run(
        Command::new(program).args(arguments),
        Duration::from_secs(5),
    );
    let text = ran.map(|ran| ran.text()).unwrap_or_default();
    let plain = without_colours(&text);
    let line = plain.lines().find(|line| holds_version(line));
    line.unwrap_or("unknown")
        .trim()
        .trim_matches('#')
        .trim()
        .to_owned()
}

fn holds_version(line: &str) -> bool {
    line.as_bytes().windows(3).any(|three| {
        matches!(three, [before, b'.', after] if before.is_ascii_digit() && after.is_ascii_digit())
    })
}

/// Without the terminal's escape sequences that end in `m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}

#[cfg(test)]
mod tests {
    use super::{holds_version, run, without_colours};
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn versions_are_found_under_paint() {
        assert_eq!(without_colours("\x1b[1;34m\t2.0.7\x1b[0m\nx"), "\t2.0.7\nx");
        assert!(holds_version("testssl.sh 3.0.8 from"));
        assert!(!holds_version("see 1234 and a.b"));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo said; sleep 60 & sleep 60"]);
        let ran = run(&mut command, Duration::from_millis(300)).expect("sh");
        assert!(ran.timed_out && ran.exit.is_none());
        assert_eq!(ran.stdout, "said\n");
    }
}
