//! The lab's certificate authority: one root, good leaves, the bad kinds a judge must recognise, and roots named like
//! the products that intercept TLS. It must not know protocols, servers or boxes. RFC 5280, 9525.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

/// The host name every lab server can prove, and that a client should verify.
pub const HOST: &str = "localhost";

/// What a server's certificate is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateKind {
    /// Signed by the lab authority, right names, in date.
    #[default]
    Good,
    /// Its own issuer.
    SelfSigned,
    /// Right names and issuer, ended in 2020.
    Expired,
    /// Right issuer and dates, another host's name.
    WrongName,
    /// A chain to a root that nobody was told about.
    UnknownCa,
    /// Good, but ends in three days.
    ExpiresSoon,
}

/// Which TLS versions an endpoint will speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Versions {
    /// TLS 1.2 and 1.3.
    #[default]
    Modern,
    /// TLS 1.2 only.
    Only12,
    /// TLS 1.3 only.
    Only13,
}

impl Versions {
    /// The versions in rustls' words.
    pub fn supported(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        static MODERN: [&rustls::SupportedProtocolVersion; 2] =
            [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Self::Modern => &MODERN,
            Self::Only12 => MODERN.get(1..).unwrap_or_default(),
            Self::Only13 => MODERN.get(..1).unwrap_or_default(),
        }
    }
}

/// A certificate could not be made, or rustls refused it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// rcgen could not make the certificate.
    #[error("the lab authority could not issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// rustls refused the certificate or the settings.
    #[error("the lab's TLS settings were refused: {0}")]
    Settings(#[from] rustls::Error),
}

/// A root with its key.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A fresh root with this common name and organisation.
    ///
    /// # Errors
    /// When a key or the certificate cannot be made.
    pub fn new(common_name: &str, organization: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name, organization);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::days(30);
        params.not_after = now + Duration::days(3650);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// The one root that every lab of this process shares, so that a client needs a single `--ca`.
    ///
    /// # Errors
    /// When it cannot be made; the next call tries anew.
    pub fn shared() -> Result<&'static Self, AuthorityError> {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        if let Some(authority) = SHARED.get() {
            return Ok(authority);
        }
        let fresh = Self::new("Hoofbeat Lab Root", "Hoofbeat Lab")?;
        Ok(SHARED.get_or_init(|| fresh))
    }

    /// The root as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// A server's TLS settings with a new leaf of this kind for [`HOST`], the loopback addresses and `names`.
    ///
    /// # Errors
    /// When the leaf cannot be made or rustls refuses it.
    pub fn server_config(
        &self,
        kind: CertificateKind,
        names: &[&str],
        versions: Versions,
    ) -> Result<Arc<ServerConfig>, AuthorityError> {
        let (chain, key) = self.leaf(kind, names)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions.supported())?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Arc::new(config))
    }

    /// A new leaf of this kind for [`HOST`], the loopback addresses and `names`, with its key, both as PEM: for servers
    /// that read files.
    ///
    /// # Errors
    /// When the leaf cannot be made.
    pub fn leaf_pem(
        &self,
        kind: CertificateKind,
        names: &[&str],
    ) -> Result<(String, String), AuthorityError> {
        let (certificate, key) = self.issue(kind, names)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    fn leaf(
        &self,
        kind: CertificateKind,
        names: &[&str],
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), AuthorityError> {
        let (certificate, key) = self.issue(kind, names)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((vec![certificate.der().clone()], private))
    }

    fn issue(
        &self,
        kind: CertificateKind,
        names: &[&str],
    ) -> Result<(rcgen::Certificate, KeyPair), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let now = OffsetDateTime::now_utc();
        let (from, to) = match kind {
            CertificateKind::Expired => (
                rcgen::date_time_ymd(2019, 10, 1),
                rcgen::date_time_ymd(2020, 1, 1),
            ),
            CertificateKind::ExpiresSoon => (now - Duration::days(87), now + Duration::days(3)),
            _ => (now - Duration::days(1), now + Duration::days(89)),
        };
        params.not_before = from;
        params.not_after = to;
        let own: Vec<&str> = match kind {
            CertificateKind::WrongName => vec!["other.example.org"],
            _ => std::iter::once(HOST).chain(names.iter().copied()).collect(),
        };
        for host in &own {
            // A name that is an address is proven as one (RFC 5280, section 4.2.1.6).
            if let Ok(address) = host.parse::<IpAddr>() {
                params.subject_alt_names.push(SanType::IpAddress(address));
                continue;
            }
            if !params
                .subject_alt_names
                .iter()
                .any(|had| matches!(had, SanType::DnsName(name) if name.as_str() == *host))
            {
                params
                    .subject_alt_names
                    .push(SanType::DnsName((*host).try_into()?));
            }
        }
        if kind != CertificateKind::WrongName {
            for address in [
                IpAddr::from([127, 0, 0, 1]),
                IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16]),
            ] {
                params.subject_alt_names.push(SanType::IpAddress(address));
            }
        }
        params.distinguished_name = name(own.first().copied().unwrap_or(HOST), "Hoofbeat Lab");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = match kind {
            CertificateKind::SelfSigned => params.self_signed(&key)?,
            CertificateKind::UnknownCa => {
                let stranger = Self::new("Unknown Root", "Nobody in Particular")?;
                params.signed_by(&key, &stranger.issuer)?
            }
            _ => params.signed_by(&key, &self.issuer)?,
        };
        Ok((certificate, key))
    }
}

fn name(common_name: &str, organization: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name.push(DnType::OrganizationName, organization);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_makes_settings_that_rustls_accepts() {
        let authority = Authority::new("Test Root", "Test").expect("a root");
        for kind in [
            CertificateKind::Good,
            CertificateKind::SelfSigned,
            CertificateKind::Expired,
            CertificateKind::WrongName,
            CertificateKind::UnknownCa,
            CertificateKind::ExpiresSoon,
        ] {
            authority
                .server_config(kind, &["mx.lab.example"], Versions::Modern)
                .expect("settings");
        }
        assert!(
            authority
                .ca_pem()
                .starts_with("-----BEGIN CERTIFICATE-----")
        );
    }

    #[test]
    fn an_address_among_the_names_is_proven_as_an_address() {
        let authority = Authority::new("Test Root", "Test").expect("a root");
        let names = ["mx.lab.test", "198.18.64.25", "2001:db8:4504::25"];
        let (certificate, key) = authority
            .issue(CertificateKind::Good, &names)
            .expect("a leaf");
        let der = certificate.der().as_ref();
        let held = |bytes: &[u8]| der.windows(bytes.len()).any(|window| window == bytes);
        // GeneralName [7], four bytes; and not the text.
        assert!(held(&[0x87, 4, 198, 18, 64, 25]));
        assert!(!held(b"198.18.64.25"));
        assert!(held(b"mx.lab.test"));
        assert!(key.serialize_pem().contains("PRIVATE KEY"));
    }

    #[test]
    fn the_shared_root_is_one() {
        let one = Authority::shared().expect("a root").ca_pem();
        let two = Authority::shared().expect("a root").ca_pem();
        assert_eq!(one, two);
    }
}
