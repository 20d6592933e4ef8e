//! The command line that started it all: `$ telnet mx.example 25`.

use hoofbeat_session::Protocol;

use super::{
    super::{super::verb::first_word, form::Form, peer},
    Note, Remark,
};

/// The command that started it all: `$ telnet mx.example 25`.
pub(super) fn command_line(text: &str) -> Option<Remark<'_>> {
    // A prompt is short; what stands behind it is the command.
    let prompt = text
        .bytes()
        .take(48)
        .position(|b| matches!(b, b'$' | b'#' | b'%' | b'>'));
    let text = prompt.map_or(text, |at| {
        text.get(at + 1..).unwrap_or_default().trim_start()
    });
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
        Form::Swaks => option("--server")
            .or_else(|| option("-s"))
            .and_then(peer::typed)
            .map(|mut peer| {
                peer.port = option("--port")
                    .or_else(|| option("-p"))
                    .and_then(port)
                    .or(peer.port);
                peer
            }),
        Form::GnutlsCli => {
            protocol = option("--starttls-proto").and_then(named_protocol);
            plain()
                .rfind(|word| port(word).is_none())
                .and_then(peer::typed)
                .map(|mut peer| {
                    peer.port = option("-p")
                        .or_else(|| option("--port"))
                        .and_then(port)
                        .or(peer.port);
                    peer
                })
        }
        Form::Curl => words()
            .find(|word| word.contains("://"))
            .and_then(peer::typed),
        Form::PosttlsFinger => plain().next_back().and_then(peer::typed),
        _ => {
            let mut rest =
                plain().skip_while(|word| peer::typed(word).is_none() || port(word).is_some());
            let mut peer = rest.next().and_then(peer::typed)?;
            peer.port = rest.next().and_then(service_port).or(peer.port);
            Some(peer)
        }
    };
    Some((Some(form), Note::Dial { peer, protocol }))
}

pub(super) fn named_protocol(name: &str) -> Option<Protocol> {
    match name {
        "smtp" => Some(Protocol::Smtp),
        "lmtp" => Some(Protocol::Lmtp),
        "imap" => Some(Protocol::Imap),
        "pop3" => Some(Protocol::Pop3),
        "sieve" => Some(Protocol::Sieve),
        _ => None,
    }
}

pub(super) fn service_port(word: &str) -> Option<u16> {
    match word {
        "smtp" => Some(25),
        "submission" => Some(587),
        "imap" | "imap2" => Some(143),
        "pop3" => Some(110),
        "sieve" => Some(4190),
        digits => digits.parse().ok(),
    }
}
