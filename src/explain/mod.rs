//! What people paste or keep, made into measurements that the judge can read offline: archives of ours,
//! packet captures, and texts of many forms.
//!
//! The input streams by in bounded memory, whatever its size. It must not know verdicts: it reads.

mod archive;
mod capture;
mod failure;
mod kept;
mod sniff;
mod text;

pub use failure::ExplainError;
pub use kept::Read;

use std::{
    fs::File,
    io::{self, Cursor, Read as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use sniff::Kind;

/// How much is read before the kind is decided.
const HEAD: usize = 8 << 10;

/// Reads a file, or standard input where the path is `-`.
///
/// # Errors
/// When the input cannot be read, is empty, is of no kind that is understood, or holds no mail dialogue.
/// The sentence does not name the file: the caller knows it.
pub fn read(path: &Path) -> Result<Read, ExplainError> {
    if path == Path::new("-") {
        return read_stream(io::stdin().lock(), "standard input", now());
    }
    let file = File::open(path)?;
    let written = file
        .metadata()
        .and_then(|about| about.modified())
        .map_or_else(|_| now(), seconds);
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    read_stream(file, &name, written)
}

/// Reads a stream. `label` names the target where the content does not; `started` is the wall clock
/// that is assumed where the content tells none, in seconds since 1970.
///
/// # Errors
/// As [`read`].
pub fn read_stream(
    mut stream: impl io::Read,
    label: &str,
    started: i64,
) -> Result<Read, ExplainError> {
    let mut head = Vec::with_capacity(HEAD);
    stream.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let kind = sniff::kind(&head);
    let whole = Cursor::new(head).chain(stream);
    match kind {
        Kind::Empty => Err(ExplainError::Empty),
        Kind::Binary(what) => Err(ExplainError::Binary(what)),
        Kind::Archive => archive::read(io::BufReader::with_capacity(1 << 16, whole)),
        Kind::Capture(format) => capture::read(whole, format, label),
        Kind::Text => text::read(whole, label, started),
    }
}

fn now() -> i64 {
    seconds(SystemTime::now())
}

fn seconds(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}
