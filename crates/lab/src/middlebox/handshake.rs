//! A box that lets STARTTLS be agreed on and then acts on the handshake: resets, swallows, answers in plain words,
//! intercepts, or forces an older version. It must not touch the plaintext dialogue, except the agreement's wording.
//! T-Mobile UK 2011; UTM and antivirus interceptors; striptls' UntrustedIntercept.

use serde::Deserialize;

use crate::authority::Versions;
use crate::middlebox::hello::{offers_of_tls13, whole_record};
use crate::middlebox::proxy::{Fate, Manner, Upgrade, ended, fill};
use crate::middlebox::reply::{Asked, agrees};
use crate::middlebox::{Action, Interception, Middlebox};
use crate::protocol::Protocol;

/// What the box does to the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Resets both sides at the first TLS record.
    #[default]
    Reset,
    /// Closes both sides in order at the first TLS record.
    Close,
    /// Swallows everything from the ClientHello on.
    Blackhole,
    /// Answers the ClientHello in plain words and closes.
    Plaintext,
    /// Answers a ClientHello that offers TLS 1.3 with the alert protocol_version; an older one passes.
    AlertTls13,
    /// Resets on a ClientHello that offers TLS 1.3; an older one passes.
    ResetTls13,
    /// Overwrites the offer of TLS 1.3 in place, so that both sides see different hellos.
    HideTls13,
    /// Terminates TLS with its own certificate.
    Intercept,
}

/// The settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct HandshakeSpec {
    /// What it does.
    pub act: Act,
    /// The words of the agreement as the client reads them.
    pub agreement: Option<String>,
    /// With `plaintext`: what is said in place of a ServerHello.
    pub says: String,
    /// With `intercept`: the issuer's common name.
    pub issuer: String,
    /// With `intercept`: the issuer's organisation.
    pub issuer_organization: String,
    /// With `intercept`: whether the client trusts the issuer, as after the product's installation.
    pub trusted: bool,
    /// With `intercept`: the versions it speaks.
    pub versions: Versions,
    /// With `intercept`: goes on in the clear with the server, which never hears STARTTLS.
    pub plain_upstream: bool,
}

impl Default for HandshakeSpec {
    fn default() -> Self {
        Self {
            act: Act::Reset,
            agreement: None,
            says: "500 5.5.1 Protocol error".to_owned(),
            issuer: "Mail Inspection CA".to_owned(),
            issuer_organization: "Example Security Gateway".to_owned(),
            trusted: false,
            versions: Versions::Modern,
            plain_upstream: false,
        }
    }
}

/// The alert protocol_version, fatal: RFC 8446 §6.
const PROTOCOL_VERSION_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];
/// A value that no TLS version has (GREASE, RFC 8701).
const NO_VERSION: [u8; 2] = [0x0a, 0x0a];
/// A hello that is longer is passed on as it is.
const HELLO_LIMIT: usize = 20 * 1024;

/// The manner.
pub struct Handshake {
    protocol: Protocol,
    spec: HandshakeSpec,
    hello: Option<Vec<u8>>,
}

impl Handshake {
    /// A box with these settings.
    pub fn new(protocol: Protocol, spec: HandshakeSpec) -> Self {
        Self {
            protocol,
            spec,
            hello: Some(Vec::new()),
        }
    }

    fn on_hello(&self, mut hello: Vec<u8>, out: &mut Vec<Action>) {
        let offers = offers_of_tls13(&hello);
        match self.spec.act {
            Act::Reset => out.push(Action::Reset),
            Act::Close => out.push(Action::Close),
            Act::Blackhole => out.push(Action::Blackhole),
            Act::Plaintext => {
                out.push(Action::ToClient(ended(&self.spec.says)));
                out.push(Action::Close);
            }
            Act::AlertTls13 if !offers.is_empty() => {
                out.push(Action::ToClient(PROTOCOL_VERSION_ALERT.to_vec()));
                out.push(Action::Close);
            }
            Act::ResetTls13 if !offers.is_empty() => out.push(Action::Reset),
            Act::HideTls13 => {
                for at in offers {
                    if let Some(version) = hello.get_mut(at..at + 2) {
                        version.copy_from_slice(&NO_VERSION);
                    }
                }
                out.push(Action::ToServer(hello));
            }
            Act::AlertTls13 | Act::ResetTls13 | Act::Intercept => out.push(Action::ToServer(hello)),
        }
    }
}

impl Manner for Handshake {
    fn command(&mut self, asked: &Asked, line: &[u8]) -> Fate {
        if self.spec.act == Act::Intercept && self.spec.plain_upstream && asked.starts_tls() {
            let text = self.spec.agreement.as_deref().unwrap_or("220 Go ahead");
            return Fate::Answer(fill(text, asked, line));
        }
        Fate::Pass
    }

    fn reply(&mut self, asked: Option<&Asked>, reply: Vec<u8>) -> Vec<u8> {
        match (&self.spec.agreement, asked) {
            (Some(text), Some(asked)) if agrees(self.protocol, asked, &reply) => {
                fill(text, asked, b"")
            }
            _ => reply,
        }
    }

    fn upgraded(&mut self) -> Upgrade {
        match self.spec.act {
            Act::Intercept => Upgrade::Act(Action::InterceptTls(Interception {
                versions: self.spec.versions,
                upstream_tls: !self.spec.plain_upstream,
            })),
            _ => Upgrade::Watch,
        }
    }

    fn handshake_from_client(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        let Some(mut hello) = self.hello.take() else {
            out.push(Action::ToServer(segment.to_vec()));
            return;
        };
        hello.extend_from_slice(segment);
        if whole_record(&hello) || hello.len() > HELLO_LIMIT || hello.first() != Some(&22) {
            self.on_hello(hello, out);
        } else {
            self.hello = Some(hello);
        }
    }
}

/// A handshake box on a port where TLS comes first.
pub struct Direct {
    manner: Handshake,
}

impl Direct {
    /// A box with these settings.
    pub fn new(protocol: Protocol, spec: HandshakeSpec) -> Self {
        Self {
            manner: Handshake::new(protocol, spec),
        }
    }
}

impl Middlebox for Direct {
    fn opened(&mut self, out: &mut Vec<Action>) {
        if let Upgrade::Act(action) = self.manner.upgraded() {
            out.push(action);
        }
    }

    fn client_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        self.manner.handshake_from_client(segment, out);
    }

    fn server_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        self.manner.handshake_from_server(segment, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::play;
    use crate::middlebox::proxy::Proxy;

    fn agreed(spec: HandshakeSpec) -> Proxy<Handshake> {
        let mut proxy = Proxy::new(Protocol::Smtp, Handshake::new(Protocol::Smtp, spec));
        play::server(&mut proxy, "220 mx\r\n");
        play::client(&mut proxy, "STARTTLS\r\n");
        assert_eq!(play::server(&mut proxy, "220 go\r\n"), "C:220 go\r\n");
        proxy
    }

    #[test]
    fn the_reset_comes_with_the_first_record_not_before() {
        let mut proxy = agreed(HandshakeSpec::default());
        assert_eq!(play::client(&mut proxy, "\u{16}\u{3}\u{1}\0\u{1}"), "");
        assert_eq!(play::client(&mut proxy, "x"), "<Reset>");
    }

    #[test]
    fn plain_words_in_place_of_a_server_hello() {
        let mut proxy = agreed(HandshakeSpec {
            act: Act::Plaintext,
            ..HandshakeSpec::default()
        });
        assert_eq!(
            play::client(&mut proxy, "\u{16}\u{3}\u{1}\0\0"),
            "C:500 5.5.1 Protocol error\r\n<Close>"
        );
    }

    #[test]
    fn a_hello_without_tls13_passes_the_box_that_hates_it() {
        let mut proxy = agreed(HandshakeSpec {
            act: Act::AlertTls13,
            ..HandshakeSpec::default()
        });
        assert_eq!(
            play::client(&mut proxy, "\u{16}\u{3}\u{1}\0\u{1}z"),
            "S:\u{16}\u{3}\u{1}\0\u{1}z"
        );
        assert_eq!(play::client(&mut proxy, "more"), "S:more");
        assert_eq!(play::server(&mut proxy, "hello"), "C:hello");
    }

    #[test]
    fn interception_with_a_plain_upstream_answers_for_the_server() {
        let mut proxy = Proxy::new(
            Protocol::Smtp,
            Handshake::new(
                Protocol::Smtp,
                HandshakeSpec {
                    act: Act::Intercept,
                    plain_upstream: true,
                    ..HandshakeSpec::default()
                },
            ),
        );
        play::server(&mut proxy, "220 mx\r\n");
        let out = play::client(&mut proxy, "STARTTLS\r\n");
        assert!(out.starts_with("C:220 Go ahead\r\n<InterceptTls("), "{out}");
    }
}
