//! What log lines of Postfix, Exim and Sendmail say about TLS, with the party that they name.
//!
//! The sentences are those of the programs' sources and documentation: Postfix smtp(8), smtpd(8) and
//! TLS_README; Exim's specification, chapter "Log files"; Sendmail's STARTTLS log entries. It must not
//! know how often a line occurs, nor what it proves.

use memchr::memmem::Finder;

use super::{
    form::Form,
    peer::{self, Peer},
};
use crate::dialogue::Claimed;

/// A line understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Saying<'a> {
    /// What it says.
    pub(super) what: Claimed,
    /// Whose log.
    pub(super) form: Form,
    /// The server that was spoken to; for a server's own log the client.
    pub(super) peer: Peer<'a>,
    /// The line is of a server's log about its client.
    pub(super) server_side: bool,
}

/// A quick look that lets pass what may matter: most lines of a log do not.
#[derive(Debug)]
pub(super) struct Sieve {
    needles: [Finder<'static>; 8],
}

impl Sieve {
    /// The needles, prepared once.
    pub(super) fn new() -> Self {
        let needle = |text: &'static str| Finder::new(text.as_bytes());
        Self {
            needles: [
                needle("TLS"),
                needle("SSL"),
                needle("PIX workarounds"),
                needle("connect to "),
                needle("lost connection"),
                needle("ertificate"),
                needle("closed connection"),
                needle(" H="),
            ],
        }
    }

    /// Whether the line deserves a closer look.
    pub(super) fn lets_pass(&self, line: &[u8]) -> bool {
        self.needles
            .iter()
            .any(|needle| needle.find(line).is_some())
    }
}

/// Reads one line.
pub(super) fn read(line: &str) -> Option<Saying<'_>> {
    // Only Exim writes this; its logs have such a line for every delivery.
    if line.contains(" H=") {
        return exim(line);
    }
    postfix(line)
        .or_else(|| sendmail(line))
        .or_else(|| exim(line))
}

/// The party that is named behind a phrase.
fn behind<'a>(line: &'a str, phrase: &str) -> Option<(Peer<'a>, &'a str)> {
    peer::bracketed(line.split_once(phrase)?.1)
}

fn postfix(line: &str) -> Option<Saying<'_>> {
    let has = |text: &str| line.contains(text);
    if let Some((grade, rest)) = line.split_once(" TLS connection established to ") {
        let what = if grade.ends_with("Verified") {
            Claimed::TlsVerified
        } else {
            Claimed::TlsEstablished
        };
        return Some(make(what, peer::bracketed(rest)?.0, false));
    }
    if let Some((_, rest)) = line.split_once(" TLS connection established from ") {
        return Some(make(
            Claimed::TlsEstablished,
            peer::bracketed(rest)?.0,
            true,
        ));
    }
    if let Some((peer, _)) = behind(line, "TLS is required, but was not offered by host ") {
        return Some(make(Claimed::StartTlsNotOffered, peer, false));
    }
    if let Some((peer, _)) = behind(line, "refused to start TLS").or_else(|| refused_to_start(line))
    {
        return Some(make(Claimed::StartTlsRefused, peer, false));
    }
    if has("in reply to STARTTLS command") {
        return Some(make(
            Claimed::StartTlsRefused,
            behind(line, "host ")?.0,
            false,
        ));
    }
    if has("enabling PIX workarounds") {
        return Some(make(
            Claimed::PixWorkarounds,
            behind(line, " for ")?.0,
            false,
        ));
    }
    if let Some((peer, rest)) = behind(line, "SSL_connect error to ") {
        let lost = rest.contains("lost connection") || rest.contains("reset by peer");
        let what = if lost {
            Claimed::LostAfterStartTls
        } else {
            Claimed::HandshakeFailed
        };
        return Some(make(what, peer, false));
    }
    if has("Cannot start TLS: handshake failure") {
        return Some(make(Claimed::HandshakeFailed, relay(line), false));
    }
    if has("Server certificate not trusted") || has("Server certificate not verified") {
        return Some(make(Claimed::CertificateInvalid, relay(line), false));
    }
    if let Some((peer, _)) = behind(line, "certificate verification failed for ")
        .or_else(|| behind(line, "certificate peer name verification failed for "))
    {
        return Some(make(Claimed::CertificateInvalid, peer, false));
    }
    if let Some((peer, _)) = behind(line, "SSL_accept error from ") {
        return Some(make(Claimed::HandshakeFailed, peer, true));
    }
    if let Some((peer, _)) = behind(line, "lost connection after STARTTLS from ") {
        return Some(make(Claimed::LostAfterStartTls, peer, true));
    }
    if let Some((peer, rest)) = behind(line, "lost connection with ") {
        let handshake = rest.contains("STARTTLS") || rest.contains("TLS handshake");
        return handshake.then(|| make(Claimed::LostAfterStartTls, peer, false));
    }
    if let Some((peer, rest)) = behind(line, "connect to ") {
        let failed = [
            "Connection timed out",
            "Connection refused",
            "No route to host",
            "Network is unreachable",
        ];
        return failed
            .iter()
            .any(|why| rest.contains(why))
            .then(|| make(Claimed::ConnectFailed, peer, false));
    }
    None
}

const fn make(what: Claimed, peer: Peer<'_>, server_side: bool) -> Saying<'_> {
    Saying {
        what,
        form: Form::PostfixLog,
        peer,
        server_side,
    }
}

/// `TLS is required, but host mx[ip] refused to start TLS: 454 …`: the party stands in front.
fn refused_to_start(line: &str) -> Option<(Peer<'_>, &str)> {
    line.contains(" refused to start TLS")
        .then(|| behind(line, "host "))
        .flatten()
}

/// The `relay=` of a delivery line.
fn relay(line: &str) -> Peer<'_> {
    behind(line, "relay=").map_or_else(Peer::default, |(peer, _)| peer)
}

fn sendmail(line: &str) -> Option<Saying<'_>> {
    let (_, rest) = line.split_once("STARTTLS=")?;
    let server_side = rest.starts_with("server");
    if !server_side && !rest.starts_with("client") {
        return None;
    }
    let field = |name: &str| {
        rest.split(", ")
            .find_map(|part| part.strip_prefix(name))
            .map(|value| value.trim_end_matches(['.', ',']))
    };
    let host = field("relay=").unwrap_or_default();
    let peer = peer::bracketed(host).map_or_else(
        || Peer {
            host: host
                .split(' ')
                .next()
                .unwrap_or_default()
                .trim_end_matches('.'),
            address: None,
            port: None,
        },
        |(peer, _)| peer,
    );
    let what = if rest.contains("error: ") || rest.contains("handshake failed") {
        Claimed::HandshakeFailed
    } else if field("verify=") == Some("OK") {
        Claimed::TlsVerified
    } else if field("version=").is_some() {
        Claimed::TlsEstablished
    } else {
        return None;
    };
    Some(Saying {
        what,
        form: Form::SendmailLog,
        peer,
        server_side,
    })
}

fn exim(line: &str) -> Option<Saying<'_>> {
    let saying = |what, peer, server_side| {
        Some(Saying {
            what,
            form: Form::EximLog,
            peer,
            server_side,
        })
    };
    let has = |text: &str| line.contains(text);
    if has(" => ") || has(" -> ") {
        return delivery(line);
    }
    if has("a TLS session is required") {
        let (peer, rest) = peer::bracketed(line)?;
        let what = if rest.contains("did not offer TLS") || has("did not offer TLS support") {
            Claimed::StartTlsNotOffered
        } else {
            Claimed::HandshakeFailed
        };
        return saying(what, peer, false);
    }
    if has("TLS session failure: delivering unencrypted") {
        return saying(Claimed::PlaintextUsed, peer::bracketed(line)?.0, false);
    }
    if has("(SSL_accept)") || has("(gnutls_handshake)") && has("connection from") {
        return saying(Claimed::HandshakeFailed, peer::bracketed(line)?.0, true);
    }
    if has("TLS session: (") || has("TLS error on connection to ") || has("(SSL_connect)") {
        let what = if has("certificate") {
            Claimed::CertificateInvalid
        } else {
            Claimed::HandshakeFailed
        };
        return saying(what, peer::bracketed(line)?.0, false);
    }
    if has("SMTP error from remote mail server after STARTTLS") {
        return saying(Claimed::StartTlsRefused, peer::bracketed(line)?.0, false);
    }
    if has("emote host closed connection in response to STARTTLS") {
        return saying(Claimed::LostAfterStartTls, peer::bracketed(line)?.0, false);
    }
    let (peer, _) = behind(line, " H=")?;
    let failed = has("Connection timed out") || has("Connection refused");
    if failed {
        saying(Claimed::ConnectFailed, peer, false)
    } else {
        None
    }
}

/// `=> b@example.org R=dnslookup T=remote_smtp H=mx.example [192.0.2.1] X=TLS1.3:… CV=yes`
fn delivery(line: &str) -> Option<Saying<'_>> {
    let (peer, rest) = behind(line, " H=")?;
    let what = if rest.contains(" X=") {
        if rest.contains(" CV=yes") || rest.contains(" CV=dane") {
            Claimed::TlsVerified
        } else {
            Claimed::TlsEstablished
        }
    } else if peer.address.is_some_and(|address| address.is_loopback()) {
        // To one's own house no encryption is needed.
        return None;
    } else {
        Claimed::PlaintextUsed
    };
    Some(Saying {
        what,
        form: Form::EximLog,
        peer,
        server_side: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_of_the_programs() {
        let sieve = Sieve::new();
        for (line, what, host, server_side) in [
            (
                "Oct  1 10:00:00 out postfix/smtp[7]: 3F: to=<a@b.example>, relay=mx.b.example[192.0.2.1]:25, delay=1, \
                 status=deferred (TLS is required, but was not offered by host mx.b.example[192.0.2.1])",
                Claimed::StartTlsNotOffered,
                "mx.b.example",
                false,
            ),
            (
                "postfix/smtp[7]: 3F: enabling PIX workarounds: disable_esmtp delay_dotcrlf for mx.b.example[192.0.2.1]:25",
                Claimed::PixWorkarounds,
                "mx.b.example",
                false,
            ),
            (
                "postfix/smtp[7]: Untrusted TLS connection established to mx.b.example[192.0.2.1]:25: TLSv1.2 with cipher X",
                Claimed::TlsEstablished,
                "mx.b.example",
                false,
            ),
            (
                "postfix/smtp[7]: Verified TLS connection established to mx.b.example[192.0.2.1]:25: TLSv1.3 with cipher X",
                Claimed::TlsVerified,
                "mx.b.example",
                false,
            ),
            (
                "postfix/smtp[7]: SSL_connect error to mx.b.example[192.0.2.1]:25: lost connection",
                Claimed::LostAfterStartTls,
                "mx.b.example",
                false,
            ),
            (
                "postfix/smtp[7]: 3F: to=<a@b>, relay=mx.b.example[192.0.2.1]:25, status=deferred (host \
                 mx.b.example[192.0.2.1] said: 454 4.7.0 TLS not available due to local problem (in reply to STARTTLS command))",
                Claimed::StartTlsRefused,
                "mx.b.example",
                false,
            ),
            (
                "Oct  1 10:00:00 mx postfix/smtpd[9]: lost connection after STARTTLS from c.example[198.51.100.7]",
                Claimed::LostAfterStartTls,
                "c.example",
                true,
            ),
            (
                "postfix/smtpd[9]: SSL_accept error from c.example[198.51.100.7]: -1",
                Claimed::HandshakeFailed,
                "c.example",
                true,
            ),
            (
                "postfix/smtp[7]: connect to mx.b.example[192.0.2.1]:25: Connection timed out",
                Claimed::ConnectFailed,
                "mx.b.example",
                false,
            ),
            (
                "2024-10-01 10:00:00 1AbCdE-000001-Ab => u@b.example R=dnslookup T=remote_smtp H=mx.b.example [192.0.2.1] \
                 X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=yes C=\"250 ok\"",
                Claimed::TlsVerified,
                "mx.b.example",
                false,
            ),
            (
                "2024-10-01 10:00:00 1AbCdE-000001-Ab => u@b.example R=dnslookup T=remote_smtp H=mx.b.example [192.0.2.1] C=\"250 ok\"",
                Claimed::PlaintextUsed,
                "mx.b.example",
                false,
            ),
            (
                "2024-10-01 10:00:00 1AbCdE-000001-Ab == u@b.example R=dnslookup T=remote_smtp defer (-38) \
                 H=mx.b.example [192.0.2.1]: a TLS session is required, but the server did not offer TLS support",
                Claimed::StartTlsNotOffered,
                "mx.b.example",
                false,
            ),
            (
                "2024-10-01 10:00:00 1AbCdE-000001-Ab H=mx.b.example [192.0.2.1] TLS error on connection (SSL_connect): \
                 error:0A00010B:SSL routines::wrong version number",
                Claimed::HandshakeFailed,
                "mx.b.example",
                false,
            ),
            (
                "sm-mta[5]: STARTTLS=client, relay=mx.b.example., version=TLSv1.2, verify=OK, cipher=X, bits=256/256",
                Claimed::TlsVerified,
                "mx.b.example",
                false,
            ),
        ] {
            assert!(sieve.lets_pass(line.as_bytes()), "{line}");
            let saying = read(line).unwrap_or_else(|| panic!("not understood: {line}"));
            assert_eq!(
                (saying.what, saying.peer.host, saying.server_side),
                (what, host, server_side),
                "{line}"
            );
        }
    }

    #[test]
    fn lines_that_say_nothing() {
        for line in [
            "postfix/smtpd[9]: connect from c.example[198.51.100.7]",
            "postfix/smtpd[9]: disconnect from c.example[198.51.100.7] ehlo=1 starttls=1 quit=1",
            "postfix/smtp[7]: 3F: to=<a@b>, relay=mx.b.example[192.0.2.1]:25, status=sent (250 2.0.0 Ok)",
            "postfix/qmgr[9]: 3F: removed",
            "2024-10-01 10:00:00 1AbCdE-000001-Ab => u <u@b.example> R=local T=local_delivery",
            "2024-10-01 10:00:00 1AbCdE-000001-Ab => u@b.example R=filter T=relay H=localhost [127.0.0.1] C=\"250 ok\"",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
