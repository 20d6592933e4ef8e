//! The witness's own key: a PKCS#8 file made on the first start, Ed25519.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hoofbeat_observation::SignedReport;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};

use crate::witness::{Key, signature};

/// A key that signs reports and the control channel's handshakes.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pkcs8: Vec<u8>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error("the key file {path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The operating system's words.
        error: io::Error,
    },
    /// What is in it.
    #[error("the key file {0} holds no Ed25519 key in PKCS#8 form")]
    NotAKey(PathBuf),
    /// No key could be made.
    #[error("no key could be made: the operating system gives no random numbers")]
    NoRandom,
}

impl SigningKey {
    /// Makes a new key, kept nowhere.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let pkcs8 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)
            .map_err(|_| KeyError::NoRandom)?
            .serialize_der();
        Self::from_pkcs8(pkcs8).ok_or(KeyError::NoRandom)
    }

    /// Reads the key, or makes one and writes it, readable by its owner alone. The second value tells whether it is new.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else.
    pub fn open_or_create(path: &Path) -> Result<(Self, bool), KeyError> {
        let failed = |error| KeyError::Io {
            path: path.to_owned(),
            error,
        };
        match fs::read(path) {
            Ok(pem) => Self::from_pem(&pem)
                .map(|key| (key, false))
                .ok_or_else(|| KeyError::NotAKey(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate()?;
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(0o600);
                let mut file = options.open(path).map_err(failed)?;
                file.write_all(key.to_pem().as_bytes()).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                Ok((key, true))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> Key {
        let mut key = [0; 32];
        // Ed25519's public keys have exactly this length.
        for (to, from) in key.iter_mut().zip(self.pair.public_key().as_ref()) {
            *to = *from;
        }
        Key(key)
    }

    /// Signs a report's exact bytes.
    #[must_use]
    pub fn sign(&self, report: Vec<u8>) -> SignedReport {
        let signature = self.pair.sign(&signature::signed_bytes(&report));
        SignedReport {
            bytes: report,
            signature: STANDARD.encode(signature.as_ref()),
            key: self.public().to_base64(),
        }
    }

    /// PKCS#8, DER.
    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
        Self::from_pkcs8(der.secret_pkcs8_der().to_vec())
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Option<Self> {
        // OpenSSL writes the form without the public half.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).ok()?;
        Some(Self { pair, pkcs8 })
    }

    fn to_pem(&self) -> String {
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        let text = STANDARD.encode(&self.pkcs8);
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem + "-----END PRIVATE KEY-----\n"
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (made, new) = SigningKey::open_or_create(&path).unwrap();
        let (read, again) = SigningKey::open_or_create(&path).unwrap();
        assert_eq!((made.public(), new, again), (read.public(), true, false));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            made.sign(b"x".to_vec()),
            read.sign(b"x".to_vec()),
            "RFC 8032 is deterministic"
        );
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(
            SigningKey::open_or_create(&path),
            Err(KeyError::NotAKey(_))
        ));
        let nowhere = folder.path().join("no/such/folder");
        assert!(matches!(
            SigningKey::open_or_create(&nowhere),
            Err(KeyError::Io { .. })
        ));
    }
}
