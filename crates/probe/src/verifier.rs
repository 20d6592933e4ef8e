//! The recording verifier: it lets every handshake complete and remembers what was presented, and
//! afterwards the chain is checked properly (RFC 5280, RFC 9525).
//!
//! It must never be linked into anything that protects a connection: it accepts impostors in order to
//! describe them.

use std::sync::{Arc, Mutex, PoisonError};

use hoofbeat_net::{Trust, trust};
use hoofbeat_observation::{Certificate, InvalidReason, Verification};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// Most certificates of one chain that are kept.
const LONGEST_CHAIN: usize = 16;

/// What the server presented.
#[derive(Debug, Default)]
pub(crate) struct Presented {
    /// The chain, leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// What is wrong with the handshake's signature.
    pub(crate) signature: Option<Error>,
}

/// Accepts and remembers.
#[derive(Debug)]
pub(crate) struct Recorder {
    provider: Arc<CryptoProvider>,
    presented: Mutex<Presented>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            provider: trust::provider(),
            presented: Mutex::default(),
        }
    }

    pub(crate) fn take(&self) -> Presented {
        std::mem::take(
            &mut self
                .presented
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn note(&self, checked: Result<HandshakeSignatureValid, Error>) -> HandshakeSignatureValid {
        checked.unwrap_or_else(|error| {
            self.presented
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .signature = Some(error);
            HandshakeSignatureValid::assertion()
        })
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(others).take(LONGEST_CHAIN);
        let chain = chain
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        self.presented
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .chain = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        Ok(self.note(rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            algorithms,
        )))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        Ok(self.note(rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            algorithms,
        )))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // Old ones as well: a server that has nothing better shall still show its chain.
        let old = [
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
            SignatureScheme::ED448,
        ];
        let mut schemes = self
            .provider
            .signature_verification_algorithms
            .supported_schemes();
        schemes.extend(old);
        schemes
    }
}

/// Checks what was presented against roots, time (seconds since 1970) and the names of which one must match.
pub(crate) fn verify(
    presented: &Presented,
    leaf: Option<&Certificate>,
    trust: &Trust,
    names: &[&str],
    now: i64,
) -> Verification {
    let ([first, others @ ..], Some(summary)) = (presented.chain.as_slice(), leaf) else {
        return Verification::Unknown;
    };
    match chain(first, others, summary, trust, now).and_then(|parsed| {
        // The handshake's own signature comes behind the chain, for it is the rarer fault.
        match &presented.signature {
            Some(error) => Err((reason(error), error.to_string())),
            None => matching_name(&parsed, summary, names),
        }
    }) {
        Ok(name) => Verification::Verified { name },
        Err((reason, detail)) => Verification::Invalid { reason, detail },
    }
}

type Fault = (InvalidReason, String);

fn chain<'a>(
    first: &'a CertificateDer<'a>,
    others: &[CertificateDer<'_>],
    summary: &Certificate,
    trust: &Trust,
    now: i64,
) -> Result<ParsedCertificate<'a>, Fault> {
    let signed_itself = !summary.subject.is_empty() && summary.subject == summary.issuer;
    let fault = |error: Error| match reason(&error) {
        // The library has several words for it, by what else the certificate says of itself.
        InvalidReason::UnknownIssuer | InvalidReason::Other | InvalidReason::Malformed
            if signed_itself =>
        {
            let detail = format!("the certificate is signed by itself alone ({error})");
            (InvalidReason::SelfSigned, detail)
        }
        reason => (reason, error.to_string()),
    };
    let parsed = ParsedCertificate::try_from(first).map_err(fault)?;
    if trust.has_added(first) {
        // The user vouches for exactly this one, which need not be a CA's; its dates still count.
        if summary.not_after.is_some_and(|end| now > end) {
            return Err((
                InvalidReason::Expired,
                "the certificate has expired".to_owned(),
            ));
        }
        if summary.not_before.is_some_and(|start| now < start) {
            return Err((
                InvalidReason::NotYetValid,
                "the certificate is not valid yet".to_owned(),
            ));
        }
        return Ok(parsed);
    }
    let provider = trust::provider();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        u64::try_from(now).unwrap_or(0),
    ));
    let algorithms = provider.signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, trust.roots(), others, time, algorithms)
        .map_err(fault)?;
    Ok(parsed)
}

fn matching_name(
    parsed: &ParsedCertificate<'_>,
    summary: &Certificate,
    names: &[&str],
) -> Result<String, Fault> {
    let mut refusal = None;
    for name in names {
        let Ok(server_name) = ServerName::try_from(*name) else {
            continue;
        };
        match verify_server_name(parsed, &server_name) {
            Ok(()) => return Ok((*name).to_owned()),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    // Without any subjectAltName the names are the common name's. Mail clients and servers built on OpenSSL
    // accept it, so calling it wrong would accuse a server that works.
    if !crate::certificate::has_alternative_names(&summary.der)
        && let Some(name) = names
            .iter()
            .find(|name| summary.names.iter().any(|n| n.eq_ignore_ascii_case(name)))
    {
        return Ok((*name).to_owned());
    }
    let detail = refusal.map_or_else(
        || "no name to check against".to_owned(),
        |error| error.to_string(),
    );
    Err((InvalidReason::WrongName, detail))
}

fn reason(error: &Error) -> InvalidReason {
    use CertificateError as E;
    match error {
        Error::InvalidCertificate(error) => match error {
            E::Expired | E::ExpiredContext { .. } => InvalidReason::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => InvalidReason::NotYetValid,
            E::UnknownIssuer => InvalidReason::UnknownIssuer,
            E::NotValidForName | E::NotValidForNameContext { .. } => InvalidReason::WrongName,
            E::BadSignature => InvalidReason::BadSignature,
            E::BadEncoding
            | E::UnhandledCriticalExtension
            | E::UnsupportedSignatureAlgorithmContext { .. }
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                InvalidReason::Malformed
            }
            _ => InvalidReason::Other,
        },
        _ => InvalidReason::Other,
    }
}
