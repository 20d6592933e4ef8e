//! What tools say about a connection beside the dialogue: telnet, nc, swaks, openssl, gnutls, curl, msmtp,
//! posttls-finger, and the command line that started them.
//!
//! It must not know dialogues: it reads one line.

use hoofbeat_session::Protocol;

use super::{
    super::verb::first_word,
    form::Form,
    peer::{self, Peer},
};
use crate::{FailureKind, HandshakeOutcome, InvalidReason};
use alloc::borrow::ToOwned;

/// A tool's remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note<'a> {
    /// A connection is begun.
    Dial { peer: Option<Peer<'a>>, protocol: Option<Protocol> },
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
    Secured { version: Option<&'a str>, cipher: Option<&'a str> },
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
        b'T' | b'C' | b'E' | b'U' => telnet(text).or_else(|| openssl(text)).or_else(|| gnutls_progress(text)),
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
    } else if text.contains("could not resolve") || text.contains("not known") || text.contains("unknown host") {
        FailureKind::NoSuchName
    } else {
        FailureKind::Other
    }
}

fn telnet(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::Telnet);
    if let Some(rest) = text.strip_prefix("Trying ") {
        let party = rest.trim_end_matches('.').trim();
        return Some((form, Note::Dial { peer: Some(peer::typed(party)?), protocol: None }));
    }
    if let Some(rest) = text.strip_prefix("Connected to ") {
        let peer = peer::bracketed(rest).map_or_else(|| peer::typed(rest.trim_end_matches('.')), |(peer, _)| Some(peer));
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

fn unable(text: &str) -> Option<Remark<'_>> {
    Some((Some(Form::Telnet), Note::Down(failure(text))))
}

fn ncat(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::Telnet);
    if let Some(rest) = text.strip_prefix("Ncat: Connected to ") {
        return Some((form, Note::Up { peer: Some(peer::typed(rest.trim_end_matches('.'))?) }));
    }
    let down = text.contains("refused") || text.contains("timed out") || text.contains("unreachable");
    Some((form, if down { Note::Down(failure(text)) } else { Note::Nothing }))
}

fn swaks(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::Swaks);
    let note = if let Some(rest) = text.strip_prefix("Trying ") {
        Note::Dial { peer: Some(peer::typed(rest.trim_end_matches('.'))?), protocol: None }
    } else if let Some(rest) = text.strip_prefix("Connected to ") {
        Note::Up { peer: peer::typed(rest.trim_end_matches('.')) }
    } else if let Some(rest) = text.strip_prefix("TLS started with cipher ").or(text.strip_prefix("TLS started w/ cipher ")) {
        let (version, cipher) = rest.split_once(':').map_or((None, rest), |(version, cipher)| (Some(version), cipher));
        Note::Secured { version, cipher: cipher.split(':').next() }
    } else if text.starts_with("TLS peer[0] certificate passed CA verification")
        || text.starts_with("TLS peer certificate passed CA verification")
    {
        let name = text.split_once("(using host ").and_then(|(_, rest)| rest.split([' ', ')']).next());
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
fn starred(text: &str) -> Option<Remark<'_>> {
    if let Some(text) = text.strip_prefix("*** ") {
        let (swaks, text) = (Some(Form::Swaks), text.trim_start());
        return Some(if text.starts_with("Host did not advertise STARTTLS") {
            (swaks, Note::NotOffered)
        } else if text.starts_with("STARTTLS attempted but failed") {
            (swaks, Note::Refused)
        } else if text.starts_with("TLS startup failed") {
            (swaks, Note::Failed(failed(text)))
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
        return Some((curl, Note::Dial { peer: Some(peer::typed(rest.trim_end_matches('.'))?), protocol: None }));
    }
    if let Some(rest) = text.strip_prefix("Connected to ") {
        // `mx.example (192.0.2.1) port 25 (#0)`
        let mut peer = peer::typed(rest.split(' ').next()?)?;
        peer.port = rest.split_once(" port ").and_then(|(_, port)| port.split(' ').next()?.parse().ok());
        return Some((curl, Note::Up { peer: Some(peer) }));
    }
    if let Some(rest) = text.strip_prefix("SSL connection using ") {
        let mut parts = rest.split(" / ");
        return Some((curl, Note::Secured { version: parts.next(), cipher: parts.next() }));
    }
    if text.starts_with("SSL certificate verify ok") {
        return Some((curl, Note::Trusted { name: None }));
    }
    if text.starts_with("SSL certificate problem") || text.starts_with("SSL certificate verify result") {
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

fn curl_failure(text: &str) -> Option<Remark<'_>> {
    let note = if text.starts_with("curl: (64)") {
        Note::NotOffered
    } else if text.starts_with("curl: (35)") {
        Note::Failed(failed(text))
    } else if text.starts_with("curl: (60)") {
        Note::Untrusted(invalid(text))
    } else if text.starts_with("curl: (7)") || text.starts_with("curl: (28)") || text.starts_with("curl: (6)") {
        Note::Down(failure(text))
    } else {
        return None;
    };
    Some((Some(Form::Curl), note))
}

fn msmtp(text: &str) -> Option<Remark<'_>> {
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

fn posttls(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::PosttlsFinger);
    if let Some((grade, rest)) = text.split_once(" TLS connection established to ") {
        let (peer, rest) = peer::bracketed(rest)?;
        if grade.ends_with("Verified") {
            return Some((form, Note::Trusted { name: Some(peer.host) }));
        }
        let (version, rest) = rest.trim_start_matches([':', ' ']).split_once(" with cipher ")?;
        return Some((form, Note::Secured { version: Some(version), cipher: rest.split(' ').next() }));
    }
    if let Some(rest) = text.strip_prefix("posttls-finger: Connected to ") {
        return Some((form, Note::Up { peer: Some(peer::bracketed(rest)?.0) }));
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

fn openssl(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::SClient);
    let note = if text.starts_with("CONNECTED(") {
        Note::Up { peer: None }
    } else if let Some(rest) = text.strip_prefix("Connecting to ") {
        Note::Dial { peer: Some(peer::typed(rest)?), protocol: None }
    } else if text.starts_with("Didn't find STARTTLS in server response, trying anyway") {
        Note::NotOffered
    } else if text.starts_with("connect:errno=")
        || (text.starts_with("connect: ") && failure(text) != FailureKind::Other)
    {
        Note::Down(failure(text))
    } else if text.starts_with("write:errno=") || text.starts_with("read:errno=") {
        if text.ends_with("=104") { Note::Failed(HandshakeOutcome::Reset) } else { Note::Failed(HandshakeOutcome::Closed) }
    } else if let Some((_, error)) = text.split_once("error:")
        && error.contains("SSL routines")
    {
        Note::Failed(failed(text))
    } else if let Some(rest) = text.strip_prefix("New, ") {
        let (version, cipher) = rest.split_once(", Cipher is ")?;
        if cipher == "(NONE)" {
            Note::Failed(HandshakeOutcome::Failed { detail: "no cipher was agreed".to_owned() })
        } else {
            Note::Secured { version: Some(version), cipher: Some(cipher) }
        }
    } else if let Some(rest) = text.strip_prefix("Protocol version: ") {
        Note::Secured { version: Some(rest), cipher: None }
    } else if let Some(code) = text.strip_prefix("Verify return code: ").or(text.strip_prefix("Verification error: ")) {
        if code.starts_with("0 ") { Note::Nothing } else { Note::Untrusted(invalid(code)) }
    } else if text.starts_with("verify error:") {
        Note::Untrusted(invalid(text))
    } else if let Some(name) = text.strip_prefix("Verified peername: ") {
        Note::Trusted { name: Some(name) }
    } else if ["depth=", "verify return:", "Certificate chain", "SSL-Session:", "Server certificate", "no peer certificate"]
        .iter()
        .any(|begin| text.starts_with(begin))
    {
        Note::Nothing
    } else {
        return None;
    };
    Some((form, note))
}

fn gnutls_progress(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::GnutlsCli);
    let note = if let Some(rest) = text.strip_prefix("Connecting to '") {
        Note::Dial { peer: Some(peer::typed(rest.split('\'').next()?)?), protocol: None }
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
fn gnutls(text: &str) -> Option<Remark<'_>> {
    let form = Some(Form::GnutlsCli);
    let note = if let Some(rest) = text.strip_prefix("Description: (") {
        let (version, rest) = rest.split_once(")-")?;
        Note::Secured { version: Some(version), cipher: Some(rest) }
    } else if text.starts_with("Handshake was completed") {
        Note::Secured { version: None, cipher: None }
    } else if text.starts_with("Status: The certificate is trusted") {
        // gnutls-cli checks the name it was given.
        Note::Trusted { name: None }
    } else if text.starts_with("Status: The certificate is NOT trusted") {
        Note::Untrusted(invalid(text))
    } else if text.starts_with("Certificate type: ") || text.starts_with("Peer has closed the GnuTLS connection") {
        Note::Nothing
    } else {
        return None;
    };
    Some((form, note))
}

/// How a handshake failed, in a tool's words.
fn failed(text: &str) -> HandshakeOutcome {
    let lower = text.to_ascii_lowercase();
    let alerts = ["handshake failure", "protocol version", "internal error", "unrecognized name", "illegal parameter"];
    if lower.contains("wrong version number") || lower.contains("unexpected tls packet") || lower.contains("packet length") {
        HandshakeOutcome::NotTls
    } else if lower.contains("reset by peer") || lower.contains("errno=104") || lower.contains("errno 104") {
        HandshakeOutcome::Reset
    } else if lower.contains("timed out") || lower.contains("timeout") {
        HandshakeOutcome::TimedOut
    } else if lower.contains("unexpected eof") || lower.contains("lost connection") || lower.contains("non-properly terminated") {
        HandshakeOutcome::Closed
    } else if let Some(alert) = alerts.iter().find(|alert| lower.contains("alert") && lower.contains(**alert)) {
        HandshakeOutcome::Alert { description: alert.replace(' ', "_") }
    } else {
        HandshakeOutcome::Failed { detail: text.chars().take(160).collect() }
    }
}

fn invalid(text: &str) -> InvalidReason {
    let lower = text.to_ascii_lowercase();
    if lower.contains("expired") {
        InvalidReason::Expired
    } else if lower.contains("not yet valid") || lower.contains("not yet activated") {
        InvalidReason::NotYetValid
    } else if lower.contains("self-signed certificate in") || lower.contains("self signed certificate in") {
        InvalidReason::UnknownIssuer
    } else if lower.contains("self-signed") || lower.contains("self signed") {
        InvalidReason::SelfSigned
    } else if lower.contains("unable to get") || lower.contains("unable to verify") || lower.contains("issuer") {
        InvalidReason::UnknownIssuer
    } else if lower.contains("mismatch") || lower.contains("does not match") || lower.contains("host name") {
        InvalidReason::WrongName
    } else {
        InvalidReason::Other
    }
}

/// The command that started it all: `$ telnet mx.example 25`.
fn command_line(text: &str) -> Option<Remark<'_>> {
    // A prompt is short; what stands behind it is the command.
    let prompt = text.bytes().take(48).position(|b| matches!(b, b'$' | b'#' | b'%' | b'>'));
    let text = prompt.map_or(text, |at| text.get(at + 1..).unwrap_or_default().trim_start());
    let text = text.strip_prefix("sudo ").unwrap_or(text);
    let (program, arguments) = first_word(text);
    let form = match program {
        "telnet" | "nc" | "ncat" | "netcat" => Form::Telnet,
        "openssl" if arguments.starts_with("s_client") => Form::SClient,
        "swaks" => Form::Swaks,
        "gnutls-cli" => Form::GnutlsCli,
        "curl" if arguments.contains("://") => Form::Curl,
        "posttls-finger" => Form::PosttlsFinger,
        _ => return None,
    };
    let words = || arguments.split_ascii_whitespace();
    let option = |name: &str| {
        words()
            .zip(words().skip(1))
            .find_map(|(word, next)| (word == name).then_some(next))
            .or_else(|| words().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')))
    };
    let plain = || words().filter(|word| !word.starts_with('-'));
    let port = |word: &str| word.parse::<u16>().ok();
    let mut protocol = None;
    let peer = match form {
        Form::SClient => {
            protocol = option("-starttls").and_then(named_protocol);
            option("-connect").and_then(peer::typed)
        }
        Form::Swaks => option("--server").or_else(|| option("-s")).and_then(peer::typed).map(|mut peer| {
            peer.port = option("--port").or_else(|| option("-p")).and_then(port).or(peer.port);
            peer
        }),
        Form::GnutlsCli => {
            protocol = option("--starttls-proto").and_then(named_protocol);
            plain().filter(|word| port(word).is_none()).last().and_then(peer::typed).map(|mut peer| {
                peer.port = option("-p").or_else(|| option("--port")).and_then(port).or(peer.port);
                peer
            })
        }
        Form::Curl => words().find(|word| word.contains("://")).and_then(peer::typed),
        Form::PosttlsFinger => plain().last().and_then(peer::typed),
        _ => {
            let mut rest = plain().skip_while(|word| peer::typed(word).is_none() || port(word).is_some());
            let mut peer = rest.next().and_then(peer::typed)?;
            peer.port = rest.next().and_then(service_port).or(peer.port);
            Some(peer)
        }
    };
    Some((Some(form), Note::Dial { peer, protocol }))
}

fn named_protocol(name: &str) -> Option<Protocol> {
    match name {
        "smtp" => Some(Protocol::Smtp),
        "lmtp" => Some(Protocol::Lmtp),
        "imap" => Some(Protocol::Imap),
        "pop3" => Some(Protocol::Pop3),
        "sieve" => Some(Protocol::Sieve),
        _ => None,
    }
}

fn service_port(word: &str) -> Option<u16> {
    match word {
        "smtp" => Some(25),
        "submission" => Some(587),
        "imap" | "imap2" => Some(143),
        "pop3" => Some(110),
        "sieve" => Some(4190),
        digits => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_and_connections() {
        for (line, form, host, port) in [
            ("$ telnet mx.example 25", Form::Telnet, "mx.example", Some(25)),
            ("user@box:~$ nc -C mx.example smtp", Form::Telnet, "mx.example", Some(25)),
            ("$ openssl s_client -starttls smtp -connect mx.example:587", Form::SClient, "mx.example", Some(587)),
            ("# swaks --to a@b.example --server mx.example:26", Form::Swaks, "mx.example", Some(26)),
            ("gnutls-cli --starttls-proto=smtp -p 25 mx.example", Form::GnutlsCli, "mx.example", Some(25)),
            ("=== Trying mx.example:25...", Form::Swaks, "mx.example", Some(25)),
            ("* Connected to mx.example (192.0.2.1) port 25 (#0)", Form::Curl, "mx.example", Some(25)),
            ("Connection to mx.example 25 port [tcp/smtp] succeeded!", Form::Telnet, "mx.example", Some(25)),
            ("posttls-finger: Connected to mx.example[192.0.2.1]:25", Form::PosttlsFinger, "mx.example", Some(25)),
        ] {
            let (found, note) = read(line).unwrap_or_else(|| panic!("{line}"));
            let (Note::Dial { peer: Some(peer), .. } | Note::Up { peer: Some(peer) }) = note else { panic!("{line}") };
            assert_eq!((found, peer.host, peer.port), (Some(form), host, port), "{line}");
        }
    }

    #[test]
    fn openssl_with_and_without_a_handshake() {
        assert_eq!(read("Didn't find STARTTLS in server response, trying anyway...").unwrap().1, Note::NotOffered);
        assert_eq!(
            read("New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384").unwrap().1,
            Note::Secured { version: Some("TLSv1.3"), cipher: Some("TLS_AES_256_GCM_SHA384") }
        );
        assert!(matches!(read("New, (NONE), Cipher is (NONE)").unwrap().1, Note::Failed(_)));
        // Printed after a failed handshake too: it proves nothing alone.
        assert_eq!(read("    Verify return code: 0 (ok)").unwrap().1, Note::Nothing);
        assert_eq!(
            read("verify error:num=18:self-signed certificate").unwrap().1,
            Note::Untrusted(InvalidReason::SelfSigned)
        );
        assert_eq!(
            read("409C:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl/record.c:354:").unwrap().1,
            Note::Failed(HandshakeOutcome::NotTls)
        );
    }

    #[test]
    fn dialogue_and_prose_are_no_remarks() {
        for line in ["220 mx ESMTP", "* OK ready", "EHLO a", "The connection was fine", "TLS is nice", "250-STARTTLS"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
