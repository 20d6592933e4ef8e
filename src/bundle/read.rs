//! Reading a bundle line by line, keeping each line's hash: the lines are foreign, and nothing of them is trusted.

use hoofbeat_observation::{
    Measurement,
    archive::{self, LONGEST_LINE, ReadError},
};
use std::io::{self, BufRead, Read as _};

use super::{HEADER_SCHEMA, Header, MANIFEST_SCHEMA, Manifest, line_hash};

/// Most lines that are read.
const MOST: usize = 10_002;
/// Most bytes that are read: everything is held at once.
const BYTES: u64 = 512 << 20;

/// Why a file cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The operating system refused.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Measurements without header and manifest, or something else altogether.
    #[error("is no bundle: its first line is no header ({0})")]
    NoBundle(&'static str),
    /// Too many lines or bytes.
    #[error("is larger than a bundle may be (10,000 measurements, 512 MiB)")]
    TooLarge,
}

/// One line of the file.
#[derive(Debug)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// Its SHA-256 without the line feed, in hex.
    pub hash: String,
    /// What it holds.
    pub held: Held,
}

/// What a line holds.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every line is a measurement"
)]
pub enum Held {
    /// The header, which was read apart.
    Header,
    /// A measurement.
    Measurement(Measurement),
    /// Nothing that can be read; why.
    Damaged(String),
}

/// A bundle as it was found.
#[derive(Debug)]
pub struct Bundle {
    /// The first line.
    pub header: Header,
    /// Every line before the manifest, the header's first.
    pub lines: Vec<Line>,
    /// The last line; none: the file ends without one.
    pub manifest: Option<Manifest>,
    /// Lines behind the manifest.
    pub behind: usize,
}

impl Bundle {
    /// The measurements that can be read.
    pub fn measurements(&self) -> impl Iterator<Item = &Measurement> {
        self.lines.iter().filter_map(|line| match &line.held {
            Held::Measurement(measurement) => Some(measurement),
            Held::Header | Held::Damaged(_) => None,
        })
    }
}

/// Reads a bundle.
///
/// # Errors
/// When the file cannot be read, is too large, or does not begin as a bundle does.
pub fn read(mut stream: impl BufRead) -> Result<Bundle, BundleError> {
    let mut text = Vec::new();
    let Some(first) = next(&mut stream, &mut text)? else {
        return Err(BundleError::NoBundle("the file is empty"));
    };
    let header = header(&text)?;
    let mut bytes = first;
    let mut bundle = Bundle {
        header,
        lines: vec![Line {
            number: 1,
            hash: line_hash(&text),
            held: Held::Header,
        }],
        manifest: None,
        behind: 0,
    };
    let mut number = 1;
    while let Some(got) = next(&mut stream, &mut text)? {
        number += 1;
        bytes += got;
        if number > MOST || bytes > BYTES {
            return Err(BundleError::TooLarge);
        }
        if bundle.manifest.is_some() {
            bundle.behind += 1;
            continue;
        }
        if let Ok(manifest) = serde_json::from_slice::<Manifest>(&text)
            && manifest.schema == MANIFEST_SCHEMA
        {
            bundle.manifest = Some(manifest);
            continue;
        }
        bundle.lines.push(Line {
            number,
            hash: line_hash(&text),
            held: match archive::read(&text) {
                Ok(measurement) => Held::Measurement(measurement),
                Err(error) => Held::Damaged(error.to_string()),
            },
        });
    }
    Ok(bundle)
}

fn header(text: &[u8]) -> Result<Header, BundleError> {
    match serde_json::from_slice::<Header>(text) {
        Ok(header) if header.schema == HEADER_SCHEMA => Ok(header),
        _ if archive::read(text).is_ok() => Err(BundleError::NoBundle(
            "it is a measurement of a plain archive, which `hoofbeat explain` reads",
        )),
        _ => match archive::read(text) {
            Err(ReadError::Schema(_)) => Err(BundleError::NoBundle("it is of another schema")),
            _ => Err(BundleError::NoBundle("it is no JSON of ours")),
        },
    }
}

/// The next line without its line feed; how many bytes it took, or none at the end. A line that is too long is an
/// error: its hash could not be told.
fn next(stream: &mut impl BufRead, text: &mut Vec<u8>) -> Result<Option<u64>, BundleError> {
    text.clear();
    let got = stream
        .by_ref()
        .take(LONGEST_LINE as u64 + 2)
        .read_until(b'\n', text)?;
    if got == 0 {
        return Ok(None);
    }
    if text.pop_if(|byte| *byte == b'\n').is_none() && text.len() > LONGEST_LINE {
        return Err(BundleError::TooLarge);
    }
    Ok(Some(got as u64))
}
