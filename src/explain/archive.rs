//! Hoofbeat's own archives: JSON Lines of measurements.
//!
//! Bounded in lines and bytes. A last line that was cut off (a full disk, a killed program) does not spoil
//! the others; anything else that is wrong is an error, for half an archive may judge otherwise.

use hoofbeat_observation::archive::{self, LONGEST_LINE, ReadError};
use std::io::{BufRead, Read as _};

use super::{ExplainError, Read};
use crate::bundle::{HEADER_SCHEMA, MANIFEST_SCHEMA};

/// Most measurements of one archive that are judged.
const MOST: usize = 10_000;
/// Most bytes of one archive that are read: the judge holds them all.
const BYTES: u64 = 512 << 20;

pub(super) fn read(mut stream: impl BufRead) -> Result<Read, ExplainError> {
    let mut read = Read::default();
    let mut line = Vec::new();
    let (mut number, mut bytes) = (0, 0);
    loop {
        line.clear();
        let got = stream
            .by_ref()
            .take(LONGEST_LINE as u64 + 2)
            .read_until(b'\n', &mut line)?;
        if got == 0 {
            break;
        }
        number += 1;
        bytes += got as u64;
        let whole = line.ends_with(b"\n");
        let text = line
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&line)
            .trim_ascii();
        if text.is_empty() {
            continue;
        }
        match archive::read(text) {
            Ok(measurement) => read.measurements.push(measurement),
            // A bundle's first and last line; whether they fit is `verify`'s to find out.
            Err(ReadError::Schema(schema))
                if matches!(schema.as_str(), HEADER_SCHEMA | MANIFEST_SCHEMA) => {}
            Err(ReadError::Malformed(_)) if !whole && !read.measurements.is_empty() => {
                read.notes.push(format!(
                    "the last line ({number}) is cut off; the {} before it are judged",
                    number - 1
                ));
                break;
            }
            Err(source) => {
                return Err(ExplainError::Damaged {
                    line: number,
                    source,
                });
            }
        }
        if read.measurements.len() >= MOST || bytes >= BYTES {
            read.notes.push(format!(
                "only the first {number} lines are judged: the archive is too large"
            ));
            break;
        }
    }
    if read.measurements.is_empty() {
        return Err(ExplainError::NoDialogue(
            "the archive has no measurement".to_owned(),
        ));
    }
    Ok(read)
}
