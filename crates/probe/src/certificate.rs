//! A certificate's DER summed up for a reader: tolerant, because the odd ones matter most.

use std::net::{Ipv4Addr, Ipv6Addr};

use hoofbeat_observation::Certificate;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    oid_registry::{
        OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_SIG_ED448, OID_SIG_ED25519,
    },
    prelude::FromDer,
    public_key::PublicKey,
    x509::{SubjectPublicKeyInfo, X509Name},
};

/// Most names of one certificate that are kept.
const MOST_NAMES: usize = 256;

/// What can be read of a certificate; the exact DER is always kept.
pub fn summary(der: &[u8]) -> Certificate {
    let mut summary = Certificate {
        der: der.to_vec(),
        public_key: Vec::new(),
        subject: String::new(),
        issuer: String::new(),
        names: Vec::new(),
        not_before: None,
        not_after: None,
        key: None,
    };
    if let Ok((_, certificate)) = X509Certificate::from_der(der) {
        summary.public_key = certificate.public_key().raw.to_vec();
        summary.subject = distinguished_name(certificate.subject());
        summary.issuer = distinguished_name(certificate.issuer());
        summary.names = names(&certificate);
        summary.not_before = Some(certificate.validity().not_before.timestamp());
        summary.not_after = Some(certificate.validity().not_after.timestamp());
        summary.key = key(certificate.public_key());
    }
    summary
}

/// Whether a subjectAltName names any host: only without one does the common name count (RFC 6125 §6.4.4).
pub(crate) fn has_alternative_names(der: &[u8]) -> bool {
    X509Certificate::from_der(der)
        .is_ok_and(|(_, certificate)| !alternative_names(&certificate).is_empty())
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = alternative_names(certificate);
    if !names.is_empty() {
        return names;
    }
    let common = certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok());
    common.take(MOST_NAMES).map(str::to_owned).collect()
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
                Ok(bytes) => Some(Ipv4Addr::from(bytes).to_string()),
                Err(_) => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|bytes| Ipv6Addr::from(bytes).to_string()),
            },
            _ => None,
        });
    names.take(MOST_NAMES).collect()
}

/// RFC 4514: the most specific part first, special characters escaped.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let attributes: Vec<String> = part
                .iter()
                .map(|attribute| {
                    let oid = attribute.attr_type();
                    let kind = abbreviation(&oid.to_id_string())
                        .map_or_else(|| oid.to_id_string(), str::to_owned);
                    let value = attribute.as_str().map_or_else(
                        |_| String::from_utf8_lossy(attribute.as_slice()).into_owned(),
                        str::to_owned,
                    );
                    format!("{kind}={}", escaped(&value))
                })
                .collect();
            attributes.join("+")
        })
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

/// RFC 4514 §3's table, and the mail address that old certificates bear.
fn abbreviation(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        let at_edge = at == 0 || at + c.len_utf8() == value.len();
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (c == ' ' && at_edge)
            || (c == '#' && at == 0)
        {
            out.push('\\');
        }
        if c.is_control() {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
    }
    out
}

fn key(info: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    match info.parsed() {
        Ok(PublicKey::RSA(rsa)) => Some(format!("RSA {}", rsa.key_size())),
        Ok(PublicKey::EC(_)) => {
            let curve = info
                .algorithm
                .parameters
                .as_ref()
                .and_then(|p| p.as_oid().ok())?;
            Some(match curve {
                curve if curve == OID_EC_P256 => "EC P-256".to_owned(),
                curve if curve == OID_NIST_EC_P384 => "EC P-384".to_owned(),
                curve if curve == OID_NIST_EC_P521 => "EC P-521".to_owned(),
                other => format!("EC {other}"),
            })
        }
        Ok(PublicKey::DSA(_)) => Some("DSA".to_owned()),
        _ if info.algorithm.algorithm == OID_SIG_ED25519 => Some("Ed25519".to_owned()),
        _ if info.algorithm.algorithm == OID_SIG_ED448 => Some("Ed448".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn made(with: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params =
            CertificateParams::new(vec!["mx.example".into(), "192.0.2.1".into()]).unwrap();
        with(&mut params);
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .to_vec()
    }

    #[test]
    fn what_a_reader_wants_to_know() {
        let der = made(|params| {
            params
                .distinguished_name
                .push(DnType::OrganizationName, "Post, Office");
            params.distinguished_name.push(DnType::CommonName, "mx");
        });
        let summary = summary(&der);
        assert_eq!(summary.names, ["mx.example", "192.0.2.1"]);
        assert!(
            summary.subject.contains("O=Post\\, Office") && summary.subject.contains("CN=mx"),
            "{}",
            summary.subject
        );
        assert_eq!(summary.subject, summary.issuer);
        assert_eq!(summary.key.as_deref(), Some("EC P-256"));
        assert!(summary.not_before < summary.not_after && summary.der == der);
        assert!(
            der.windows(summary.public_key.len())
                .any(|part| part == summary.public_key)
        );
    }

    #[test]
    fn without_alternative_names_the_common_name_counts() {
        let der = made(|params| {
            params.subject_alt_names.clear();
            params
                .distinguished_name
                .push(DnType::CommonName, "cn.example");
        });
        assert_eq!(summary(&der).names, ["cn.example"]);
        assert!(!has_alternative_names(&der));
    }

    proptest! {
        #[test]
        fn any_bytes_are_summed_up(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(summary(&der).der, der);
        }

        #[test]
        fn a_mutilated_certificate_never_panics(at in 0usize..200, byte in any::<u8>()) {
            let mut der = made(|_| {});
            der[at] = byte;
            let _ = (summary(&der), has_alternative_names(&der));
        }
    }
}
