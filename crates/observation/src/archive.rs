//! The archive: measurements as JSON Lines, schema `hoofbeat.measurement/1`.

use alloc::string::{String, ToString};

use crate::Measurement;

/// The schema's name, written into every line.
pub const SCHEMA: &str = "hoofbeat.measurement/1";

/// Longest line that is read, in bytes: a session keeps at most 2 MiB, which base64 makes 2.7 MiB.
pub const LONGEST_LINE: usize = 16 << 20;

/// Why a line is no measurement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not JSON, or not of this shape.
    #[error("not a measurement: {0}")]
    Malformed(String),
    /// It is of another schema.
    #[error("unknown schema {0:?}; this program reads {SCHEMA}")]
    Schema(String),
    /// It is longer than [`LONGEST_LINE`].
    #[error("a line of more than 16 MiB")]
    TooLong,
}

/// One line, without the line feed.
///
/// # Errors
/// Never for measurements that this crate's types can hold; serde_json's signature is passed on as text.
pub fn write(measurement: &Measurement) -> Result<String, ReadError> {
    serde_json::to_string(measurement).map_err(|e| ReadError::Malformed(e.to_string()))
}

/// Reads one line.
///
/// # Errors
/// When the line is too long, no measurement, or of another schema.
pub fn read(line: &[u8]) -> Result<Measurement, ReadError> {
    #[derive(serde::Deserialize)]
    struct Tag {
        schema: String,
    }
    if line.len() > LONGEST_LINE {
        return Err(ReadError::TooLong);
    }
    let tag: Tag = serde_json::from_slice(line).map_err(|e| ReadError::Malformed(e.to_string()))?;
    if tag.schema != SCHEMA {
        return Err(ReadError::Schema(tag.schema));
    }
    serde_json::from_slice(line).map_err(|e| ReadError::Malformed(e.to_string()))
}
