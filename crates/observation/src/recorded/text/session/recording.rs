//! The end of a dialogue in a text: whether it was one, and the record of it.

use alloc::{borrow::ToOwned, string::ToString, vec::Vec};
use hoofbeat_session::{Elapsed, Label, Protocol};

use super::{super::Recording, Session};
use crate::{
    Connect, Dialogue, Failure, FailureKind, Handshake, HandshakeOutcome, Operation, Role, Scheme,
    Service, Source, Variation, Verification, dialogue::Claimed,
};

impl Session {
    /// Whether what was heard is a mail dialogue, and not a list of numbers.
    fn is_mail(&self) -> bool {
        let understood = self
            .cutter
            .exchanges()
            .iter()
            .any(|e| e.sent.is_some() && !matches!(e.label, Label::UnknownVerb | Label::Other));
        !self.claims.is_empty()
            || (self.client_lines > 0 && (self.server_lines > 0 || self.connected))
            || understood
            || self.mail_words >= 2
            || (self.mail_words >= 1 && (self.connected || self.marked || self.server_lines == 1))
            || (self.down.is_some() && self.port.and_then(Scheme::of_port).is_some())
    }

    /// The recording, if it is one.
    pub(in super::super) fn finish(mut self) -> Option<Recording> {
        if !self.is_mail() {
            return None;
        }
        if let Some((kind, line)) = self.down.clone()
            && !matches!(kind, FailureKind::NoSuchName)
        {
            self.claim(Claimed::ConnectFailed, &line);
        }
        let cut = self.cutter.finish();
        let protocol = cut
            .protocol
            .or_else(|| Some(Scheme::of_port(self.port?)?.protocol()))
            .unwrap_or(Protocol::Smtp);
        let fitting = |scheme: Scheme| scheme.protocol() == protocol;
        let usual = Scheme::ALL
            .into_iter()
            .find(|scheme| fitting(*scheme))
            .unwrap_or(Scheme::Smtp);
        let scheme = self
            .port
            .and_then(Scheme::of_port)
            .filter(|scheme| fitting(*scheme))
            .unwrap_or(usual);
        let handshake = match (self.secured, self.failed) {
            (true, _) => Some(HandshakeOutcome::Completed),
            // The client broke off for the certificate's sake: the server had done its part.
            (false, None) if self.untrusted.is_some() => Some(HandshakeOutcome::Completed),
            (false, failed) => failed,
        }
        .map(|outcome| Handshake {
            started: Elapsed::default(),
            ended: Elapsed::default(),
            outcome,
            server_name: None,
            version: self.version,
            cipher: self.cipher,
            chain: Vec::new(),
            verification: match (self.untrusted, self.trusted) {
                (Some((reason, detail)), _) => Verification::Invalid { reason, detail },
                (None, Some(name)) => Verification::Verified { name },
                (None, None) => Verification::Unknown,
            },
            first_bytes: Vec::new(),
        });
        let host = match self.address {
            Some(address) if self.host.is_empty() => address.to_string(),
            _ => self.host,
        };
        let counts = self.claims.iter().map(|claim| (claim.what, 1)).collect();
        let failure = self.down.map(|(kind, raw)| Failure {
            operation: Operation::Connect,
            kind,
            raw,
        });
        Some(Recording {
            dialogue: Dialogue {
                service: Service {
                    scheme,
                    host,
                    address: self.address,
                    port: self.port.unwrap_or(scheme.default_port()),
                },
                protocol,
                role: Role::Target,
                variation: Variation::Recorded,
                source: Source::Text {
                    form: self.form.name().to_owned(),
                    limits: self
                        .form
                        .limits()
                        .iter()
                        .map(|limit| (*limit).to_owned())
                        .collect(),
                    claims: self.claims,
                },
                route: "direct".to_owned(),
                connect: Connect {
                    failure,
                    ..Connect::default()
                },
                transcript: cut.transcript,
                exchanges: cut.exchanges,
                handshake,
                legacy: None,
                swallowed: None,
                ending: cut.ending,
            },
            first_line: self.first_line,
            counts,
        })
    }
}
