//! The remarks of telnet, nc, swaks, curl, msmtp and posttls-finger.

use super::{
    super::{form::Form, peer},
    Note, Remark, failed, failure, invalid,
};
use crate::InvalidReason;

pub(super) fn telnet(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::Telnet);
    if let Some(rest) = text.strip_prefix("Trying ") {
        let party = rest.trim_end_matches('.').trim();
        return Some((
            form,
            Note::Dial {
                peer: Some(peer::typed(party)?),
                protocol: None,
            },
        ));
    }
    if let Some(rest) = text.strip_prefix("Connected to ") {
        let peer = peer::bracketed(rest).map_or_else(
            || peer::typed(rest.trim_end_matches('.')),
            |(peer, _)| Some(peer),
        );
        return Some((form, Note::Up { peer: Some(peer?) }));
    }
    if text.starts_with("Connection to ") && text.ends_with("succeeded!") {
        // nc -v: `Connection to mx.example 25 port [tcp/smtp] succeeded!`, newer with `(192.0.2.1)`.
        let mut words = text.split(' ').skip(2);
        let mut peer = peer::typed(words.next()?)?;
        peer.port = words.find_map(|word| word.parse().ok());
        return Some((form, Note::Up { peer: Some(peer) }));
    }
    if text.starts_with("Escape character is ") {
        return Some((form, Note::Nothing));
    }
    if text.starts_with("Connection closed by foreign host") {
        return Some((form, Note::Closed));
    }
    if text.starts_with("Connection reset by peer") {
        return Some((None, Note::Reset));
    }
    None
}

pub(super) fn unable(text: &str) -> Option<Remark<'_>> {
    Some((Some(Form::Telnet), Note::Down(failure(text))))
}

pub(super) fn ncat(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::Telnet);
    if let Some(rest) = text.strip_prefix("Ncat: Connected to ") {
        return Some((
            form,
            Note::Up {
                peer: Some(peer::typed(rest.trim_end_matches('.'))?),
            },
        ));
    }
    let down =
        text.contains("refused") || text.contains("timed out") || text.contains("unreachable");
    Some((
        form,
        if down {
            Note::Down(failure(text))
        } else {
            Note::Nothing
        },
    ))
}

pub(super) fn swaks(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::Swaks);
    let note = if let Some(rest) = text.strip_prefix("Trying ") {
        Note::Dial {
            peer: Some(peer::typed(rest.trim_end_matches('.'))?),
            protocol: None,
        }
    } else if let Some(rest) = text.strip_prefix("Connected to ") {
        Note::Up {
            peer: peer::typed(rest.trim_end_matches('.')),
        }
    } else if let Some(rest) = text
        .strip_prefix("TLS started with cipher ")
        .or(text.strip_prefix("TLS started w/ cipher "))
    {
        let (version, cipher) = rest
            .split_once(':')
            .map_or((None, rest), |(version, cipher)| (Some(version), cipher));
        Note::Secured {
            version,
            cipher: cipher.split(':').next(),
        }
    } else if text.starts_with("TLS peer[0] certificate passed CA verification")
        || text.starts_with("TLS peer certificate passed CA verification")
    {
        let name = text
            .split_once("(using host ")
            .and_then(|(_, rest)| rest.split([' ', ')']).next());
        if text.contains("failed host verification") {
            Note::Untrusted(InvalidReason::WrongName)
        } else if text.contains("passed host verification") {
            Note::Trusted { name }
        } else {
            Note::Nothing
        }
    } else if text.starts_with("TLS peer") && text.contains("failed CA verification") {
        Note::Untrusted(InvalidReason::UnknownIssuer)
    } else {
        Note::Nothing
    };
    Some((form, note))
}

/// Swaks' complaints (`*** …`), curl's remarks (`* …`), gnutls-cli's (`*** …`).
pub(super) fn starred(text: &str) -> Option<Remark<'_>> {
    if let Some(text) = text.strip_prefix("*** ") {
        let (swaks, text) = (Some(Form::Swaks), text.trim_start());
        return Some(if text.starts_with("Host did not advertise STARTTLS") {
            (swaks, Note::NotOffered)
        } else if text.starts_with("STARTTLS attempted but failed") {
            (swaks, Note::Refused)
        } else if text.starts_with("TLS startup failed") {
            // An error number of zero is the operating system's: end of file, or a reset.
            (
                swaks,
                if text.contains("error:00000000") {
                    Note::Lost
                } else {
                    Note::Failed(failed(text))
                },
            )
        } else if text.starts_with("Error connecting") {
            (swaks, Note::Down(failure(text)))
        } else if text.starts_with("Remote host closed connection") {
            (swaks, Note::Closed)
        } else if text.starts_with("Timeout") {
            (swaks, Note::TimedOut)
        } else if text.starts_with("PKI verification of server certificate failed") {
            (Some(Form::GnutlsCli), Note::Untrusted(InvalidReason::Other))
        } else if text.starts_with("Fatal error: Error in the certificate") {
            // The lines that follow say what is wrong with it.
            (Some(Form::GnutlsCli), Note::Nothing)
        } else if text.starts_with("IO::Socket::") {
            (swaks, Note::Down(failure(text)))
        } else if text.starts_with("Fatal error: ") || text.starts_with("Handshake has failed") {
            (Some(Form::GnutlsCli), Note::Failed(failed(text)))
        } else {
            (None, Note::Nothing)
        });
    }
    let text = text.strip_prefix("* ")?.trim_start();
    let curl = Some(Form::Curl);
    if let Some(rest) = text.strip_prefix("Trying ") {
        return Some((
            curl,
            Note::Dial {
                peer: Some(peer::typed(rest.trim_end_matches('.'))?),
                protocol: None,
            },
        ));
    }
    if let Some(rest) = text.strip_prefix("Connected to ") {
        // `mx.example (192.0.2.1) port 25 (#0)`
        let mut peer = peer::typed(rest.split(' ').next()?)?;
        peer.port = rest
            .split_once(" port ")
            .and_then(|(_, port)| port.split(' ').next()?.parse().ok());
        return Some((curl, Note::Up { peer: Some(peer) }));
    }
    if let Some(rest) = text.strip_prefix("SSL connection using ") {
        let mut parts = rest.split(" / ");
        return Some((
            curl,
            Note::Secured {
                version: parts.next(),
                cipher: parts.next(),
            },
        ));
    }
    if text.starts_with("SSL certificate verify ok") {
        return Some((curl, Note::Trusted { name: None }));
    }
    if text.starts_with("SSL certificate problem")
        || text.starts_with("SSL certificate verify result")
    {
        return Some((curl, Note::Untrusted(invalid(text))));
    }
    if text.starts_with("STARTTLS not supported") || text.contains("STARTTLS not available") {
        return Some((curl, Note::NotOffered));
    }
    if text.starts_with("STARTTLS denied") {
        return Some((curl, Note::Refused));
    }
    if text.starts_with("connect to ") {
        return Some((curl, Note::Down(failure(text))));
    }
    None
}

pub(super) fn curl_failure(text: &str) -> Option<Remark<'_>> {
    let note = if text.starts_with("curl: (64)") {
        Note::NotOffered
    } else if text.starts_with("curl: (35)") {
        Note::Failed(failed(text))
    } else if text.starts_with("curl: (60)") {
        Note::Untrusted(invalid(text))
    } else if text.starts_with("curl: (7)")
        || text.starts_with("curl: (28)")
        || text.starts_with("curl: (6)")
    {
        Note::Down(failure(text))
    } else {
        return None;
    };
    Some((Some(Form::Curl), note))
}

pub(super) fn msmtp(text: &str) -> Option<Remark<'_>> {
    let note = if text.contains("the server does not support TLS via the STARTTLS command") {
        Note::NotOffered
    } else if text.contains("TLS certificate verification failed") {
        Note::Untrusted(invalid(text))
    } else if text.contains("TLS handshake failed") {
        Note::Failed(failed(text))
    } else if text.contains("cannot connect to ") {
        Note::Down(failure(text))
    } else {
        Note::Nothing
    };
    Some((Some(Form::Msmtp), note))
}

pub(super) fn posttls(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::PosttlsFinger);
    if let Some((grade, rest)) = text.split_once(" TLS connection established to ") {
        let (peer, rest) = peer::bracketed(rest)?;
        if grade.ends_with("Verified") {
            return Some((
                form,
                Note::Trusted {
                    name: Some(peer.host),
                },
            ));
        }
        let (version, rest) = rest
            .trim_start_matches([':', ' '])
            .split_once(" with cipher ")?;
        return Some((
            form,
            Note::Secured {
                version: Some(version),
                cipher: rest.split(' ').next(),
            },
        ));
    }
    if let Some(rest) = text.strip_prefix("posttls-finger: Connected to ") {
        return Some((
            form,
            Note::Up {
                peer: Some(peer::bracketed(rest)?.0),
            },
        ));
    }
    if text.contains("certificate verification failed for ") {
        return Some((form, Note::Untrusted(invalid(text))));
    }
    if text.contains("SSL_connect error") {
        return Some((form, Note::Failed(failed(text))));
    }
    if text.contains("Failed to establish session") || text.contains("connect to ") {
        return Some((form, Note::Down(failure(text))));
    }
    None
}
