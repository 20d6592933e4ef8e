//! Captures and signed reports of a bundle as files of their own, for Wireshark and for other verifiers.

use hoofbeat_observation::Body;
use hoofbeat_probe::witness::packets;
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{Bundle, read::Held};

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct ExtractError {
    /// Which.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

/// Writes `ID.pcapng` for each capture, and `ID.report.json`, `ID.report.sig` (base64) and `ID.report.key` (base64)
/// for each report, with `ID.witness.pcapng` where the witness kept its packets' headers, into a directory that is made where it is not there. Files that exist are not overwritten.
/// Returns what was written.
///
/// # Errors
/// When a file cannot be written or exists already.
pub fn extract(bundle: &Bundle, directory: &Path) -> Result<Vec<PathBuf>, ExtractError> {
    let mut written = Vec::new();
    let mut write = |name: String, bytes: &[u8]| -> Result<(), ExtractError> {
        let path = directory.join(name);
        let done = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(bytes));
        match done {
            Ok(()) => {
                written.push(path);
                Ok(())
            }
            Err(source) => Err(ExtractError { path, source }),
        }
    };
    fs::create_dir_all(directory).map_err(|source| ExtractError {
        path: directory.to_owned(),
        source,
    })?;
    for line in &bundle.lines {
        let Held::Measurement(measurement) = &line.held else {
            continue;
        };
        let name = file_name(&measurement.id, line.number);
        match &measurement.body {
            Body::Capture(capture) => write(format!("{name}.pcapng"), &capture.pcapng)?,
            Body::Witness(visit) => {
                if let Some(report) = &visit.report {
                    write(format!("{name}.report.json"), &report.bytes)?;
                    write(format!("{name}.report.sig"), report.signature.as_bytes())?;
                    write(format!("{name}.report.key"), report.key.as_bytes())?;
                    let kept = report.read().and_then(|report| packets(&report));
                    if let Some(kept) = kept {
                        write(format!("{name}.witness.pcapng"), &kept)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(written)
}

/// The id, if it is a plain word; ids are foreign and must not lead out of the directory.
fn file_name(id: &str, line: usize) -> String {
    let is_plain = !id.is_empty()
        && id.len() <= 64
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_plain {
        id.to_owned()
    } else {
        format!("line-{line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_ids_stay_in_the_directory() {
        for (id, name) in [
            ("m3", "m3"),
            ("../../etc/passwd", "line-7"),
            ("", "line-7"),
            ("a/b", "line-7"),
        ] {
            assert_eq!(file_name(id, 7), name);
        }
    }
}
