//! Programs that a caller wants to run on hosts of the lab before anything is asked: each is waited for until it says that
//! it is ready, and is ended when dropped. It must not know what they are.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::namespace::Node;

/// How long a companion may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// A line longer than this is cut.
const LINE: u64 = 4096;
/// Lines kept for the error, should it not get ready.
const KEPT: usize = 20;

/// A program to run on a host.
#[derive(Clone, Debug)]
pub struct Companion {
    /// The host.
    pub node: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments; placeholders are replaced.
    pub arguments: Vec<String>,
    /// It is ready when a line of its output, of either kind, has this in it.
    pub ready: String,
    /// What follows `ready` in that line, up to the next blank, becomes this placeholder's value.
    pub publishes: Option<String>,
}

/// A companion did not start.
#[derive(Debug, thiserror::Error)]
pub enum CompanionError {
    /// It could not be run.
    #[error("{program} on {node} cannot be run: {cause}")]
    Run {
        /// Which.
        program: String,
        /// Where.
        node: String,
        /// Why.
        cause: io::Error,
    },
    /// It said nothing of being ready.
    #[error("{program} on {node} did not get ready in {PATIENCE:?}; it said: {said}")]
    NotReady {
        /// Which.
        program: String,
        /// Where.
        node: String,
        /// Its last lines.
        said: String,
    },
}

/// A companion that runs until dropped.
pub(super) struct Attended {
    child: Child,
    /// What followed `ready` in the line.
    pub(super) published: String,
}

/// Starts `companion` on `node`, with `arguments` filled in, and waits until it is ready.
///
/// # Errors
/// When it cannot be run, ends, or does not get ready.
pub(super) fn start(
    companion: &Companion,
    arguments: &[String],
    node: &Node,
) -> Result<Attended, CompanionError> {
    let program = companion.program.display().to_string();
    let failed = |cause| CompanionError::Run {
        program: program.clone(),
        node: node.name.clone(),
        cause,
    };
    let mut child = node
        .command(&companion.program, arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (told, lines) = sync_channel(64);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    // From here on a failure ends the child.
    let mut attended = Attended {
        child,
        published: String::new(),
    };
    if let Some(out) = out {
        listen(out, told.clone()).map_err(failed)?;
    }
    if let Some(err) = err {
        listen(err, told).map_err(failed)?;
    }
    let mut kept = VecDeque::new();
    let until = Instant::now() + PATIENCE;
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some((_, rest)) = line.split_once(&companion.ready) {
                    let word = rest.split_whitespace().next().unwrap_or_default();
                    attended.published = word.to_owned();
                    return Ok(attended);
                }
                if kept.len() == KEPT {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let kept: Vec<String> = kept.into();
                return Err(CompanionError::NotReady {
                    program,
                    node: node.name.clone(),
                    said: kept.join(" / "),
                });
            }
        }
    }
}

/// Reads to the end, also when nobody listens any more: a full pipe would stop the companion.
fn listen(output: impl Read + Send + 'static, told: SyncSender<String>) -> io::Result<()> {
    let work = move || {
        let mut reader = BufReader::new(output);
        loop {
            let mut line = Vec::new();
            match (&mut reader).take(LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    // The receiver hears only until the companion is ready.
                    let _ = told.try_send(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("companion".to_owned())
        .spawn(work)
        .map(drop)
}

impl Drop for Attended {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
