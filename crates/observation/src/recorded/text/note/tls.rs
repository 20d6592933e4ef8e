//! The remarks of `openssl s_client` and gnutls-cli, which show the handshake and hide the dialogue.

use alloc::borrow::ToOwned;

use super::{
    super::{form::Form, peer},
    Note, Remark, failed, failure, invalid,
};
use crate::{FailureKind, HandshakeOutcome};

pub(super) fn openssl(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::SClient);
    let note = if text.starts_with("CONNECTED(") {
        Note::Up { peer: None }
    } else if let Some(rest) = text.strip_prefix("Connecting to ") {
        Note::Dial {
            peer: Some(peer::typed(rest)?),
            protocol: None,
        }
    } else if text.starts_with("Didn't find STARTTLS in server response, trying anyway") {
        Note::NotOffered
    } else if text.starts_with("connect:errno=")
        || (text.starts_with("connect: ") && failure(text) != FailureKind::Other)
    {
        Note::Down(failure(text))
    } else if text.starts_with("write:errno=") || text.starts_with("read:errno=") {
        if text.ends_with("=104") {
            Note::Failed(HandshakeOutcome::Reset)
        } else {
            Note::Failed(HandshakeOutcome::Closed)
        }
    } else if let Some((_, error)) = text.split_once("error:")
        && error.contains("SSL routines")
    {
        Note::Failed(failed(text))
    } else if let Some(rest) = text.strip_prefix("New, ") {
        let (version, cipher) = rest.split_once(", Cipher is ")?;
        if cipher == "(NONE)" {
            Note::Failed(HandshakeOutcome::Failed {
                detail: "no cipher was agreed".to_owned(),
            })
        } else {
            Note::Secured {
                version: Some(version),
                cipher: Some(cipher),
            }
        }
    } else if let Some(rest) = text.strip_prefix("Protocol version: ") {
        Note::Secured {
            version: Some(rest),
            cipher: None,
        }
    } else if let Some(code) = text
        .strip_prefix("Verify return code: ")
        .or(text.strip_prefix("Verification error: "))
    {
        if code.starts_with("0 ") {
            Note::Nothing
        } else {
            Note::Untrusted(invalid(code))
        }
    } else if text.starts_with("verify error:") {
        Note::Untrusted(invalid(text))
    } else if let Some(name) = text.strip_prefix("Verified peername: ") {
        Note::Trusted { name: Some(name) }
    } else if [
        "depth=",
        "verify return:",
        "Certificate chain",
        "SSL-Session:",
        "Server certificate",
        "no peer certificate",
    ]
    .iter()
    .any(|begin| text.starts_with(begin))
    {
        Note::Nothing
    } else {
        return None;
    };
    Some((form, note))
}

pub(super) fn gnutls_progress(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::GnutlsCli);
    let note = if let Some(rest) = text.strip_prefix("Connecting to '") {
        Note::Dial {
            peer: Some(peer::typed(rest.split('\'').next()?)?),
            protocol: None,
        }
    } else if text.starts_with("error receiving '220 '") || text.starts_with("error receiving '") {
        // It waits in silence for the very characters, whatever else the server answers.
        Note::Refused
    } else if text.starts_with("Processed ") && text.contains(" CA certificate") {
        Note::Nothing
    } else {
        return None;
    };
    Some((form, note))
}

/// gnutls-cli's `- …` lines.
pub(super) fn gnutls(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::GnutlsCli);
    let note = if let Some(rest) = text.strip_prefix("Description: (") {
        let (version, rest) = rest.split_once(")-")?;
        Note::Secured {
            version: Some(version),
            cipher: Some(rest),
        }
    } else if text.starts_with("Handshake was completed") {
        Note::Secured {
            version: None,
            cipher: None,
        }
    } else if text.starts_with("Status: The certificate is trusted") {
        // gnutls-cli checks the name it was given.
        Note::Trusted { name: None }
    } else if text.starts_with("Status: The certificate is NOT trusted") {
        Note::Untrusted(invalid(text))
    } else if text.starts_with("Certificate type: ")
        || text.starts_with("Peer has closed the GnuTLS connection")
    {
        Note::Nothing
    } else {
        return None;
    };
    Some((form, note))
}
