//! Writing a bundle as the answers come in: the header at once, measurements as they are, the manifest at the end.
//!
//! A run that is killed leaves a readable archive without a manifest.

use hoofbeat_observation::{Measurement, archive};
use std::io::{self, Write};

use super::{
    Addresses, Header, Judged, MANIFEST_SCHEMA, Manifest, Shortener, bundle_hash, line_hash,
};

/// A bundle in the making.
#[derive(Debug)]
pub struct Writer<W: Write> {
    to: W,
    addresses: Addresses,
    hashes: Vec<String>,
    judged: Vec<Judged>,
}

impl<W: Write> Writer<W> {
    /// Begins a bundle.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn begin(to: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self {
            to,
            addresses: header.addresses,
            hashes: Vec::new(),
            judged: Vec::new(),
        };
        writer.line(&serde_json::to_string(header)?)?;
        writer.to.flush()?;
        Ok(writer)
    }

    /// Keeps all measurements of one target, addresses shortened unless the header says otherwise, and what was
    /// concluded from the full ones. Returns whether what was kept is judged to the same.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn keep(&mut self, measurements: &[Measurement], judged: Judged) -> io::Result<bool> {
        let same = match self.addresses {
            Addresses::Full => {
                self.measurements(measurements)?;
                true
            }
            Addresses::Shortened => {
                let shortener = Shortener::of(measurements);
                let kept = measurements
                    .iter()
                    .map(|measurement| shortener.measurement(measurement))
                    .collect::<Result<Vec<_>, _>>()?;
                self.measurements(&kept)?;
                judged.again(&kept) == judged
            }
        };
        self.judged.push(judged);
        self.to.flush()?;
        Ok(same)
    }

    /// Writes the manifest and returns the hash of the whole.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<String> {
        let verdicts = serde_json::value::to_raw_value(&self.judged)?;
        let bundle = bundle_hash(self.hashes.iter().map(String::as_str), verdicts.get());
        let manifest = Manifest {
            schema: MANIFEST_SCHEMA.to_owned(),
            lines: std::mem::take(&mut self.hashes),
            bundle: bundle.clone(),
            verdicts,
        };
        writeln!(self.to, "{}", serde_json::to_string(&manifest)?)?;
        self.to.flush()?;
        Ok(bundle)
    }

    fn measurements(&mut self, measurements: &[Measurement]) -> io::Result<()> {
        for measurement in measurements {
            let line = archive::write(measurement).map_err(io::Error::other)?;
            self.line(&line)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        self.hashes.push(line_hash(line.as_bytes()));
        writeln!(self.to, "{line}")
    }
}
