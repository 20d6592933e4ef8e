//! The roots that certificates are checked against: the system's, those that the user adds, and
//! Mozilla's where the system has none. Loaded on first use and once, for loading costs milliseconds.

use std::{
    fmt,
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Where the common systems keep all their roots in one file: reading it spares a walk over a folder.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Trusted roots.
pub struct Trust {
    added: Vec<CertificateDer<'static>>,
    with_system: bool,
    loaded: OnceLock<Loaded>,
}

struct Loaded {
    roots: Arc<RootCertStore>,
    source: &'static str,
}

/// Why added roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not PEM.
    #[error("the CA file is not PEM: {0}")]
    NotPem(String),
    /// PEM without a certificate.
    #[error("the CA file holds no certificate")]
    Empty,
    /// A certificate that no verifier can use.
    #[error("a certificate of the CA file cannot be used: {0}")]
    Unusable(String),
}

impl Trust {
    /// The system's roots; Mozilla's (as of this build) where it has none.
    #[must_use]
    pub const fn system() -> Self {
        Self {
            added: Vec::new(),
            with_system: true,
            loaded: OnceLock::new(),
        }
    }

    /// No root at all, until some are added.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            added: Vec::new(),
            with_system: false,
            loaded: OnceLock::new(),
        }
    }

    /// Adds the certificates of a PEM file.
    ///
    /// # Errors
    /// When it is no PEM, empty, or holds what cannot be a root.
    pub fn with_pem(mut self, pem: &[u8]) -> Result<Self, TrustError> {
        let before = self.added.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| TrustError::NotPem(error.to_string()))?;
            // Tried now, so that the mistake is told where it was made.
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| TrustError::Unusable(error.to_string()))?;
            self.added.push(certificate);
        }
        if self.added.len() == before {
            return Err(TrustError::Empty);
        }
        self.loaded = OnceLock::new();
        Ok(self)
    }

    /// All roots.
    #[must_use]
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.loaded().roots
    }

    /// Begins to load in a thread of its own, so that the roots are there once a certificate is.
    pub fn preload(self: &Arc<Self>) {
        if self.loaded.get().is_none() {
            let trust = Arc::clone(self);
            // Where no thread is to be had, the first use loads.
            let _ = std::thread::Builder::new().spawn(move || {
                trust.loaded();
            });
        }
    }

    /// Where the roots came from, as a phrase.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.loaded().source
    }

    /// Whether the user added exactly this certificate: then it is trusted as it stands, even as a leaf.
    #[must_use]
    pub fn has_added(&self, certificate: &[u8]) -> bool {
        self.added.iter().any(|added| added.as_ref() == certificate)
    }

    fn loaded(&self) -> &Loaded {
        self.loaded.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let mut source = "added by the user";
            if self.with_system {
                roots.add_parsable_certificates(system_certificates());
                source = "the system's";
                if roots.is_empty() {
                    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
                    source = "Mozilla's, for the system has none";
                }
            }
            roots.add_parsable_certificates(self.added.iter().cloned());
            Loaded {
                roots: Arc::new(roots),
                source,
            }
        })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Trust({} added, with system's: {})",
            self.added.len(),
            self.with_system
        )
    }
}

fn system_certificates() -> Vec<CertificateDer<'static>> {
    let chosen_by_user =
        std::env::var_os("SSL_CERT_FILE").is_some() || std::env::var_os("SSL_CERT_DIR").is_some();
    let bundle = BUNDLES
        .into_iter()
        .map(Path::new)
        .find(|path| path.is_file())
        .filter(|_| !chosen_by_user);
    match bundle {
        Some(file) => rustls_native_certs::load_certs_from_paths(Some(file), None).certs,
        None => rustls_native_certs::load_native_certs().certs,
    }
}

/// The crypto library of every handshake here: ring.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_added_or_refused_with_a_reason() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["mx.example".into()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let trust = Trust::none()
            .with_pem(certificate.pem().as_bytes())
            .unwrap();
        assert_eq!(trust.roots().len(), 1);
        assert!(trust.has_added(certificate.der()) && !trust.has_added(b"other"));
        assert!(matches!(
            Trust::none().with_pem(b"hello"),
            Err(TrustError::Empty)
        ));
        let torn = certificate.pem().replace("-----END", "-----XXX");
        assert!(Trust::none().with_pem(torn.as_bytes()).is_err());
        let nonsense = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            Trust::none().with_pem(nonsense),
            Err(TrustError::Unusable(_))
        ));
    }

    #[test]
    fn there_is_always_some_root() {
        let trust = Trust::system();
        assert!(!trust.roots().is_empty() && !trust.source().is_empty());
        assert!(Trust::none().roots().is_empty());
    }
}
