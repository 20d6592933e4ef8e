//! What tools say about a connection beside the dialogue: telnet, nc, swaks, openssl, gnutls, curl, msmtp,
//! posttls-finger, and the command line that started them.
//!
//! It must not know dialogues: it reads one line.

mod command;
mod tls;
mod tools;

use hoofbeat_session::Protocol;

use self::{
    command::command_line,
    tls::{gnutls, gnutls_progress, openssl},
    tools::{curl_failure, msmtp, ncat, posttls, starred, swaks, telnet, unable},
};
use super::{form::Form, peer::Peer};
use crate::{FailureKind, HandshakeOutcome, InvalidReason};

/// A tool's remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note<'a> {
    /// A connection is begun.
    Dial {
        peer: Option<Peer<'a>>,
        protocol: Option<Protocol>,
    },
    /// It stands.
    Up { peer: Option<Peer<'a>> },
    /// It could not be made.
    Down(FailureKind),
    /// The peer closed.
    Closed,
    /// It was reset.
    Reset,
    /// An answer was waited for in vain.
    TimedOut,
    /// TLS is up.
    Secured {
        version: Option<&'a str>,
        cipher: Option<&'a str>,
    },
    /// The chain verified and, where a name is given, the name.
    Trusted { name: Option<&'a str> },
    /// The chain did not verify.
    Untrusted(InvalidReason),
    /// The server does not offer STARTTLS.
    NotOffered,
    /// STARTTLS was refused.
    Refused,
    /// The handshake failed.
    Failed(HandshakeOutcome),
    /// The connection was lost during the handshake; how, the tool does not tell.
    Lost,
    /// Seen before, and of no weight.
    Nothing,
}

/// A remark and the form it belongs to.
pub(super) type Remark<'a> = (Option<Form>, Note<'a>);

/// Reads a line, without its line end.
pub(super) fn read(line: &str) -> Option<Remark<'_>> {
    let line = line.trim_end();
    let text = line.trim_start();
    match *text.as_bytes().first()? {
        b'=' => swaks(text.strip_prefix("=== ")?),
        b'*' => starred(text),
        b'-' => gnutls(text.strip_prefix("- ")?),
        b'T' | b'C' | b'E' | b'U' => telnet(text)
            .or_else(|| openssl(text))
            .or_else(|| gnutls_progress(text)),
        b'p' if text.starts_with("posttls-finger: ") => posttls(text),
        b'm' if text.starts_with("msmtp: ") => msmtp(text),
        b'c' if text.starts_with("curl: ") => curl_failure(text),
        b't' | b'n' if text.starts_with("telnet: ") || text.starts_with("nc: ") => unable(text),
        b'N' if text.starts_with("Ncat: ") => ncat(text),
        _ => openssl(text).or_else(|| gnutls_progress(text)),
    }
    .or_else(|| command_line(text))
}

fn failure(text: &str) -> FailureKind {
    let text = text.to_ascii_lowercase();
    if text.contains("refused") || text.contains("errno=111") {
        FailureKind::Refused
    } else if text.contains("timed out") || text.contains("timeout") || text.contains("errno=110") {
        FailureKind::TimedOut
    } else if text.contains("no route to host") || text.contains("errno=113") {
        FailureKind::HostUnreachable
    } else if text.contains("network is unreachable") {
        FailureKind::NetworkUnreachable
    } else if text.contains("could not resolve")
        || text.contains("not known")
        || text.contains("unknown host")
    {
        FailureKind::NoSuchName
    } else {
        FailureKind::Other
    }
}

/// How a handshake failed, in a tool's words.
fn failed(text: &str) -> HandshakeOutcome {
    let lower = text.to_ascii_lowercase();
    let alerts = [
        "handshake failure",
        "protocol version",
        "internal error",
        "unrecognized name",
        "illegal parameter",
    ];
    if lower.contains("wrong version number")
        || lower.contains("unexpected tls packet")
        || lower.contains("packet length")
    {
        HandshakeOutcome::NotTls
    } else if lower.contains("reset by peer")
        || lower.contains("errno=104")
        || lower.contains("errno 104")
    {
        HandshakeOutcome::Reset
    } else if lower.contains("timed out") || lower.contains("timeout") {
        HandshakeOutcome::TimedOut
    } else if lower.contains("unexpected eof")
        || lower.contains("lost connection")
        || lower.contains("non-properly terminated")
    {
        HandshakeOutcome::Closed
    } else if let Some(alert) = alerts
        .iter()
        .find(|alert| lower.contains("alert") && lower.contains(**alert))
    {
        HandshakeOutcome::Alert {
            description: alert.replace(' ', "_"),
        }
    } else {
        HandshakeOutcome::Failed {
            detail: text.chars().take(160).collect(),
        }
    }
}

fn invalid(text: &str) -> InvalidReason {
    let lower = text.to_ascii_lowercase();
    if lower.contains("expired") {
        InvalidReason::Expired
    } else if lower.contains("not yet valid") || lower.contains("not yet activated") {
        InvalidReason::NotYetValid
    } else if lower.contains("self-signed certificate in")
        || lower.contains("self signed certificate in")
    {
        InvalidReason::UnknownIssuer
    } else if lower.contains("self-signed") || lower.contains("self signed") {
        InvalidReason::SelfSigned
    } else if lower.contains("unable to get")
        || lower.contains("unable to verify")
        || lower.contains("issuer")
    {
        InvalidReason::UnknownIssuer
    } else if lower.contains("mismatch")
        || lower.contains("does not match")
        || lower.contains("host name")
    {
        InvalidReason::WrongName
    } else {
        InvalidReason::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_and_connections() {
        for (line, form, host, port) in [
            (
                "$ telnet mx.example 25",
                Form::Telnet,
                "mx.example",
                Some(25),
            ),
            (
                "user@box:~$ nc -C mx.example smtp",
                Form::Telnet,
                "mx.example",
                Some(25),
            ),
            (
                "$ openssl s_client -starttls smtp -connect mx.example:587",
                Form::SClient,
                "mx.example",
                Some(587),
            ),
            (
                "# swaks --to a@b.example --server mx.example:26",
                Form::Swaks,
                "mx.example",
                Some(26),
            ),
            (
                "gnutls-cli --starttls-proto=smtp -p 25 mx.example",
                Form::GnutlsCli,
                "mx.example",
                Some(25),
            ),
            (
                "=== Trying mx.example:25...",
                Form::Swaks,
                "mx.example",
                Some(25),
            ),
            (
                "* Connected to mx.example (192.0.2.1) port 25 (#0)",
                Form::Curl,
                "mx.example",
                Some(25),
            ),
            (
                "Connection to mx.example 25 port [tcp/smtp] succeeded!",
                Form::Telnet,
                "mx.example",
                Some(25),
            ),
            (
                "posttls-finger: Connected to mx.example[192.0.2.1]:25",
                Form::PosttlsFinger,
                "mx.example",
                Some(25),
            ),
        ] {
            let (found, note) = read(line).unwrap_or_else(|| panic!("{line}"));
            let (Note::Dial {
                peer: Some(peer), ..
            }
            | Note::Up { peer: Some(peer) }) = note
            else {
                panic!("{line}")
            };
            assert_eq!(
                (found, peer.host, peer.port),
                (Some(form), host, port),
                "{line}"
            );
        }
    }

    #[test]
    fn openssl_with_and_without_a_handshake() {
        assert_eq!(
            read("Didn't find STARTTLS in server response, trying anyway...")
                .unwrap()
                .1,
            Note::NotOffered
        );
        assert_eq!(
            read("New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384")
                .unwrap()
                .1,
            Note::Secured {
                version: Some("TLSv1.3"),
                cipher: Some("TLS_AES_256_GCM_SHA384")
            }
        );
        assert!(matches!(
            read("New, (NONE), Cipher is (NONE)").unwrap().1,
            Note::Failed(_)
        ));
        // Printed after a failed handshake too: it proves nothing alone.
        assert_eq!(
            read("    Verify return code: 0 (ok)").unwrap().1,
            Note::Nothing
        );
        assert_eq!(
            read("verify error:num=18:self-signed certificate")
                .unwrap()
                .1,
            Note::Untrusted(InvalidReason::SelfSigned)
        );
        assert_eq!(
            read("409C:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl/record.c:354:").unwrap().1,
            Note::Failed(HandshakeOutcome::NotTls)
        );
    }

    #[test]
    fn dialogue_and_prose_are_no_remarks() {
        for line in [
            "220 mx ESMTP",
            "* OK ready",
            "EHLO a",
            "The connection was fine",
            "TLS is nice",
            "250-STARTTLS",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
