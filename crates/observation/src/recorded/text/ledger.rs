//! What logs say, counted per party: two gigabytes of lines become a few sentences with an example each.
//!
//! Bounded in parties and in text. It must not know where a line came from beyond its number.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;
use hoofbeat_session::{Protocol, Transcript};

use super::{Recording, claim::Saying, form::Form};
use crate::{
    Connect, Dialogue, Ending, Role, Scheme, Service, Source, Variation,
    dialogue::{Claim, Claimed},
};

/// Most parties that are told apart; what is said of later ones is counted only.
const PARTIES: usize = 4096;
/// Most parties that are entered for good news: there must be room for the bad.
const WELL: usize = PARTIES / 2;
/// Most characters of a line that are kept as the example.
pub(super) const EXAMPLE: usize = 512;

#[derive(Debug)]
struct Said {
    what: Claimed,
    times: u64,
    line: String,
}

#[derive(Debug)]
struct Entry {
    form: Form,
    host: String,
    address: Option<IpAddr>,
    port: u16,
    server_side: bool,
    first_line: u64,
    said: Vec<Said>,
}

/// The ledger.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<String, Entry>,
    /// Sayings about parties for which there was no room.
    pub(super) left_out: u64,
}

impl Ledger {
    /// Enters a saying. `logger` is the host that wrote the line, where the line tells.
    pub(super) fn enter(&mut self, saying: &Saying<'_>, logger: &str, line: &str, number: u64) {
        // In a server's own log the server is the one that writes; the client is in the line.
        let (host, address, port) = if saying.server_side {
            (logger, None, 25)
        } else {
            (
                saying.peer.host,
                saying.peer.address,
                saying.peer.port.unwrap_or(25),
            )
        };
        let host = match address {
            Some(address) if host.is_empty() => address.to_string(),
            _ => host.to_owned(),
        };
        if host.is_empty() && !saying.server_side {
            return;
        }
        let key = format!("{host} {port} {}", saying.server_side);
        let room = if severity(saying.what) > 1 {
            PARTIES
        } else {
            WELL
        };
        if self.entries.len() >= room && !self.entries.contains_key(&key) {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            form: saying.form,
            host,
            address,
            port,
            server_side: saying.server_side,
            first_line: number,
            said: Vec::new(),
        });
        if entry.address != address {
            entry.address = None;
        }
        match entry.said.iter_mut().find(|said| said.what == saying.what) {
            Some(said) => said.times = said.times.saturating_add(1),
            None => entry.said.push(Said {
                what: saying.what,
                times: 1,
                line: example(line),
            }),
        }
    }

    /// At most `most` recordings, those with the most trouble first; and how many parties had no room.
    pub(super) fn finish(self, most: usize) -> (Vec<Recording>, u64) {
        let mut entries: Vec<Entry> = self.entries.into_values().collect();
        entries.sort_by_key(|entry| {
            let trouble = entry
                .said
                .iter()
                .map(|said| severity(said.what))
                .max()
                .unwrap_or(0);
            let times: u64 = entry.said.iter().map(|said| said.times).sum();
            core::cmp::Reverse((trouble, times))
        });
        let over = entries.len().saturating_sub(most) as u64;
        entries.truncate(most);
        (
            entries.into_iter().map(Entry::into_recording).collect(),
            over,
        )
    }
}

impl Entry {
    fn into_recording(mut self) -> Recording {
        self.said
            .sort_by_key(|said| core::cmp::Reverse(severity(said.what)));
        let counts = self
            .said
            .iter()
            .map(|said| (said.what, said.times))
            .collect();
        let side = if self.server_side {
            ", the server's side"
        } else {
            ""
        };
        let claims = self
            .said
            .into_iter()
            .map(|said| Claim {
                what: said.what,
                line: said.line,
            })
            .collect();
        let scheme = Scheme::of_port(self.port).unwrap_or(Scheme::Smtp);
        Recording {
            dialogue: Dialogue {
                service: Service {
                    scheme,
                    host: self.host,
                    address: self.address,
                    port: self.port,
                },
                protocol: Protocol::Smtp,
                role: Role::Target,
                variation: Variation::Recorded,
                source: Source::Text {
                    form: format!("{}{side}", self.form.name()),
                    limits: Form::log_limits(self.server_side)
                        .iter()
                        .map(|limit| (*limit).to_owned())
                        .collect(),
                    claims,
                },
                route: "direct".to_owned(),
                connect: Connect::default(),
                transcript: Transcript::default(),
                exchanges: Vec::new(),
                handshake: None,
                legacy: None,
                swallowed: None,
                ending: Ending::None,
            },
            first_line: self.first_line,
            counts,
        }
    }
}

/// How much a saying deserves to be shown.
const fn severity(what: Claimed) -> u8 {
    match what {
        Claimed::StartTlsNotOffered | Claimed::StartTlsRefused | Claimed::PixWorkarounds => 5,
        Claimed::LostAfterStartTls | Claimed::HandshakeFailed => 4,
        Claimed::CertificateInvalid | Claimed::PlaintextUsed => 3,
        Claimed::ConnectFailed => 2,
        Claimed::TlsEstablished | Claimed::TlsVerified => 1,
    }
}

/// A line as an example: cut, trimmed.
pub(super) fn example(line: &str) -> String {
    let line = line.trim();
    let end = line
        .char_indices()
        .nth(EXAMPLE)
        .map_or(line.len(), |(at, _)| at);
    line.get(..end).unwrap_or_default().to_owned()
}
