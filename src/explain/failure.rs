//! Why an input cannot be explained, as sentences for a person.
//!
//! They belong to the command line's contract: exit status 3 and a clear message.

use hoofbeat_observation::archive;
use std::io;

/// Why there is nothing to judge.
#[derive(Debug)]
pub enum ExplainError {
    /// The operating system refused.
    Unreadable(io::Error),
    /// Not one byte.
    Empty,
    /// Neither text, nor capture, nor archive; with what it seems to be.
    Binary(&'static str),
    /// It was understood, and holds no mail dialogue; with what it holds instead.
    NoDialogue(String),
    /// A line of an archive is none.
    Damaged {
        /// Which line, from 1.
        line: u64,
        /// Why.
        source: archive::ReadError,
    },
    /// The head of a capture is broken.
    BrokenCapture(String),
}

impl std::fmt::Display for ExplainError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(source) => write!(f, "cannot be read: {source}"),
            Self::Empty => f.write_str("is empty"),
            Self::Binary(what) => write!(
                f,
                "is {what}: neither a text, nor a packet capture, nor a Hoofbeat archive"
            ),
            Self::NoDialogue(what) => write!(f, "holds no mail dialogue: {what}"),
            Self::Damaged { line, source } => write!(f, "line {line} is damaged: {source}"),
            Self::BrokenCapture(why) => write!(f, "is a packet capture that cannot be read: {why}"),
        }
    }
}

impl std::error::Error for ExplainError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(source) => Some(source),
            Self::Damaged { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for ExplainError {
    fn from(source: io::Error) -> Self {
        Self::Unreadable(source)
    }
}
