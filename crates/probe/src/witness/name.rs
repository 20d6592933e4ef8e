//! How a witness is named: `KEY@HOST[:PORT]`, the key being what makes its report worth something.

use std::{fmt, str::FromStr};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use crate::{Host, Target, TargetError};

/// The control channel's port, unless the witness says otherwise: none that boxes inspect for mail, above 1023 so that
/// it needs no privilege, and near enough to 443 to be remembered.
pub const CONTROL_PORT: u16 = 4443;

/// A witness as the user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessName {
    /// Its host name in ASCII form, or its address.
    pub host: String,
    /// The port of its control channel.
    pub control_port: u16,
    /// Its key; without one the control channel's certificate must verify for the host.
    pub key: Option<Key>,
}

/// An Ed25519 public key (RFC 8032).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 32]);

/// Why a text names no witness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The part before the @.
    #[error(
        "{0:?} is no witness key: that is 43 letters, digits, - and _, as `hoofbeat witness` prints it"
    )]
    Key(String),
    /// The part behind it.
    #[error("{0}")]
    Host(#[from] TargetError),
    /// A scheme, where none can be.
    #[error("a witness is KEY@HOST or KEY@HOST:PORT, without a scheme: {0:?}")]
    Scheme(String),
}

impl FromStr for WitnessName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        let (key, host) = match text.split_once('@') {
            Some((key, host)) => (Some(key.parse()?), host),
            None => (None, text),
        };
        if host.contains("://") {
            return Err(NameError::Scheme(host.to_owned()));
        }
        let (host, control_port) = match Target::parse(host)? {
            Target::Domain(name) => (name, CONTROL_PORT),
            Target::Address(address) => (address.to_string(), CONTROL_PORT),
            Target::Service { host, port, .. } => match host {
                Host::Name(name) => (name, port),
                Host::Address(address) => (address.to_string(), port),
            },
        };
        Ok(Self {
            host,
            control_port,
            key,
        })
    }
}

impl fmt::Display for WitnessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = self.key {
            write!(f, "{key}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.control_port == CONTROL_PORT {
            Ok(())
        } else {
            write!(f, ":{}", self.control_port)
        }
    }
}

impl Key {
    /// As records have it: RFC 4648 §4 with padding.
    #[must_use]
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    /// From [`Key::to_base64`].
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl FromStr for Key {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| NameError::Key(text.to_owned()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let key = Key([7; 32]);
        for (host, port, wanted) in [
            ("witness.example", CONTROL_PORT, "witness.example"),
            ("Witness.Example:443", 443, "witness.example:443"),
            ("192.0.2.1", CONTROL_PORT, "192.0.2.1"),
            ("[2001:db8::1]:99", 99, "[2001:db8::1]:99"),
        ] {
            let name: WitnessName = format!("{key}@{host}").parse().unwrap();
            assert_eq!((name.key, name.control_port), (Some(key), port));
            assert_eq!(name.to_string(), format!("{key}@{wanted}"));
            assert_eq!(name.to_string().parse(), Ok(name));
            assert_eq!(host.parse::<WitnessName>().unwrap().key, None);
        }
    }

    #[test]
    fn what_names_no_witness() {
        for text in ["", "@", "short@host", "host:0", "https://host", "a b"] {
            assert!(text.parse::<WitnessName>().is_err(), "{text}");
        }
        let padded = Key([1; 32]).to_base64();
        assert!(format!("{padded}@host").parse::<WitnessName>().is_err());
        assert_eq!(Key::from_base64(&padded), Some(Key([1; 32])));
        assert_eq!(Key::from_base64("AAAA"), None);
    }
}
