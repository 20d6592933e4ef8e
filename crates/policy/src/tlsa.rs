//! TLSA records (RFC 6698) as SMTP uses them (RFC 7672): parsing, usability and the match of one certificate.
//!
//! It must not know whether the answer was secure, nor build chains: for a trust anchor (DANE-TA) the
//! caller matches each certificate of a chain that it has verified itself.

use alloc::vec::Vec;
use sha2::{Digest, Sha256, Sha512};

/// The certificate usage (RFC 7218 names).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// 0: a trusted CA must be this one.
    PkixTa,
    /// 1: the leaf must be this one, and trusted.
    PkixEe,
    /// 2: this is the trust anchor.
    DaneTa,
    /// 3: the leaf is this one, whatever its names and dates (RFC 7671 §5.1).
    DaneEe,
    /// Unassigned or private.
    Other(u8),
}

/// Which part of the certificate is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// 0: the whole certificate.
    Cert,
    /// 1: its public key (SubjectPublicKeyInfo).
    Spki,
    /// Unassigned or private.
    Other(u8),
}

/// How the part is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// 0: as it is.
    Full,
    /// 1: its SHA-256 digest.
    Sha256,
    /// 2: its SHA-512 digest.
    Sha512,
    /// Unassigned or private.
    Other(u8),
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsaRecord {
    /// The certificate usage.
    pub usage: Usage,
    /// The selector.
    pub selector: Selector,
    /// The matching type.
    pub matching: Matching,
    /// The certificate association data.
    pub association: Vec<u8>,
}

/// Why record data is no TLSA record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsaError {
    /// Fewer than the three numbers and one byte of data.
    #[error("TLSA record data of {0} bytes is too short")]
    TooShort(usize),
}

impl TlsaRecord {
    /// Reads the wire form: usage, selector, matching type, association (RFC 6698 §2.1).
    ///
    /// # Errors
    /// When it is too short to be one. Unknown numbers are no error: such a record is merely not usable.
    ///
    /// ```
    /// # use hoofbeat_policy::tlsa::{TlsaRecord, Usage};
    /// let mut rdata = vec![3, 1, 1];
    /// rdata.extend([0xab; 32]);
    /// let record = TlsaRecord::parse(&rdata)?;
    /// assert!(record.usage == Usage::DaneEe && record.is_usable_for_smtp());
    /// # Ok::<(), hoofbeat_policy::tlsa::TlsaError>(())
    /// ```
    pub fn parse(rdata: &[u8]) -> Result<Self, TlsaError> {
        let [usage, selector, matching, association @ ..] = rdata else {
            return Err(TlsaError::TooShort(rdata.len()));
        };
        if association.is_empty() {
            return Err(TlsaError::TooShort(rdata.len()));
        }
        Ok(Self {
            usage: match *usage {
                0 => Usage::PkixTa,
                1 => Usage::PkixEe,
                2 => Usage::DaneTa,
                3 => Usage::DaneEe,
                other => Usage::Other(other),
            },
            selector: match *selector {
                0 => Selector::Cert,
                1 => Selector::Spki,
                other => Selector::Other(other),
            },
            matching: match *matching {
                0 => Matching::Full,
                1 => Matching::Sha256,
                2 => Matching::Sha512,
                other => Matching::Other(other),
            },
            association: association.to_vec(),
        })
    }

    /// Whether an SMTP client may use it: DANE-TA or DANE-EE (RFC 7672 §3.1.3), known selector and matching
    /// type, and a digest of the right length.
    #[must_use]
    pub fn is_usable_for_smtp(&self) -> bool {
        let right_length = match self.matching {
            Matching::Full => true,
            Matching::Sha256 => self.association.len() == 32,
            Matching::Sha512 => self.association.len() == 64,
            Matching::Other(_) => false,
        };
        matches!(self.usage, Usage::DaneTa | Usage::DaneEe)
            && matches!(self.selector, Selector::Cert | Selector::Spki)
            && right_length
    }

    /// Whether one certificate is the one meant, by its exact DER and the exact DER of its public key.
    #[must_use]
    pub fn matches(&self, certificate_der: &[u8], public_key_der: &[u8]) -> bool {
        let selected = match self.selector {
            Selector::Cert => certificate_der,
            Selector::Spki => public_key_der,
            Selector::Other(_) => return false,
        };
        // Nothing was read where the part is empty: that matches no record.
        !selected.is_empty()
            && match self.matching {
                Matching::Full => self.association == selected,
                Matching::Sha256 => Sha256::digest(selected).as_slice() == self.association,
                Matching::Sha512 => Sha512::digest(selected).as_slice() == self.association,
                Matching::Other(_) => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};
    use proptest::prelude::*;

    fn record(usage: u8, selector: u8, matching: u8, association: &[u8]) -> TlsaRecord {
        TlsaRecord::parse(&[&[usage, selector, matching], association].concat()).unwrap()
    }

    #[test]
    fn digests_of_known_text() {
        // FIPS 180-2's vector: SHA-256 of "abc".
        let abc: Vec<u8> = (0..64)
            .step_by(2)
            .map(|i| {
                u8::from_str_radix(
                    &"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"[i..i + 2],
                    16,
                )
                .unwrap()
            })
            .collect();
        assert!(record(3, 1, 1, &abc).matches(b"certificate", b"abc"));
        assert!(record(3, 0, 1, &abc).matches(b"abc", b"key"));
        assert!(!record(3, 0, 1, &abc).matches(b"certificate", b"abc"));
        assert!(!record(3, 1, 2, &abc).matches(b"certificate", b"abc"));
        assert!(record(2, 0, 0, b"der").matches(b"der", b"key"));
        assert!(record(3, 1, 2, &Sha512::digest(b"key")).matches(b"der", b"key"));
        assert!(
            !record(3, 1, 9, &abc).matches(b"der", b"abc")
                && !record(3, 9, 1, &abc).matches(b"abc", b"abc")
        );
    }

    #[test]
    fn what_smtp_may_use() {
        let sha256 = [0; 32];
        for (record, usable) in [
            (record(3, 1, 1, &sha256), true),
            (record(2, 0, 1, &sha256), true),
            (record(2, 0, 0, b"der"), true),
            (record(3, 1, 2, &[0; 64]), true),
            (record(0, 0, 1, &sha256), false),
            (record(1, 1, 1, &sha256), false),
            (record(4, 1, 1, &sha256), false),
            (record(3, 2, 1, &sha256), false),
            (record(3, 1, 3, &sha256), false),
            (record(3, 1, 1, &[0; 31]), false),
        ] {
            assert_eq!(record.is_usable_for_smtp(), usable, "{record:?}");
        }
    }

    #[test]
    fn too_short_is_no_record() {
        for n in 0..=3 {
            assert_eq!(TlsaRecord::parse(&vec![3; n]), Err(TlsaError::TooShort(n)));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(rdata in proptest::collection::vec(any::<u8>(), 0..80)) {
            match TlsaRecord::parse(&rdata) {
                Ok(record) => {
                    prop_assert_eq!(&record.association[..], &rdata[3..]);
                    prop_assert!(!record.matches(b"", b""));
                }
                Err(_) => prop_assert!(rdata.len() < 4),
            }
        }
    }
}
