//! What every connection of one check shares: how to reach out, whom to trust, and the bounds.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hoofbeat_net::{Clock, Families, Resolver, Route, Trust};
use hoofbeat_observation::{Body, Measurement, Vantage, archive};
use hoofbeat_session::{ClientName, Elapsed, Limits};

use crate::Budget;

/// Longest wait for a TCP connection: three SYNs of Linux.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(8);

/// Longest wait for a TCP connection to what is likely not there: two SYNs.
pub const GUESS_LIMIT: Duration = Duration::from_millis(2500);

/// Longest wait for a TLS handshake.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Longest whole check.
pub const WHOLE_LIMIT: Duration = Duration::from_secs(60);

/// The surroundings of one check of one target.
#[derive(Debug)]
pub struct Context {
    /// Who is asked for names.
    pub resolver: Resolver,
    /// By which way connections go.
    pub route: Route,
    /// Which address families are used.
    pub families: Families,
    /// Which roots certificates are checked against.
    pub trust: Arc<Trust>,
    /// The check's clock: its zero is the measurements' zero.
    pub clock: Clock,
    /// How we call ourselves; without it, by the address literal of our end of the connection.
    pub client_name: Option<ClientName>,
    /// Names that a certificate may bear besides the host's, such as the mail domain (RFC 6186 §6).
    pub accepted_names: Vec<String>,
    /// The bounds of each session.
    pub limits: Limits,
    /// Longest wait for a TCP connection.
    pub connect_limit: Duration,
    /// Longest wait for a TLS handshake.
    pub handshake_limit: Duration,
    /// When the whole check must be over, since the clock's zero.
    pub deadline: Duration,
    /// The connections that may be made.
    pub budget: Budget,
    /// The source of measurement ids; one for all targets that share an archive.
    pub numbering: Arc<Numbering>,
    /// The random verb of the verb differential: eight letters that no server knows.
    pub unknown_verb: String,
    /// The program that writes, such as `hoofbeat 0.1.0`.
    pub tool: String,
    /// From where it is measured.
    pub vantage: Vantage,
    /// The target as typed.
    pub target: String,
}

impl Context {
    /// With the system's resolver and roots, a direct route and the default bounds; the clock starts now.
    #[must_use]
    pub fn new(tool: &str, target: &str) -> Self {
        Self {
            resolver: Resolver::system(),
            route: Route::Direct,
            families: Families::Both,
            trust: Arc::new(Trust::system()),
            clock: Clock::start(),
            client_name: None,
            accepted_names: Vec::new(),
            limits: Limits::default(),
            connect_limit: CONNECT_LIMIT,
            handshake_limit: HANDSHAKE_LIMIT,
            deadline: WHOLE_LIMIT,
            budget: Budget::default(),
            numbering: Arc::default(),
            unknown_verb: random_verb(),
            tool: tool.to_owned(),
            vantage: Vantage::default(),
            target: target.to_owned(),
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Elapsed {
        Elapsed(self.clock.now())
    }

    /// How much of the whole check's time is left.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_sub(self.clock.now())
    }

    /// A new measurement around a body.
    #[must_use]
    pub fn measurement(&self, body: Body) -> Measurement {
        Measurement {
            schema: archive::SCHEMA.to_owned(),
            id: self.numbering.next(),
            tool: self.tool.clone(),
            target: self.target.clone(),
            started: self.clock.wall(),
            vantage: self.vantage.clone(),
            body,
        }
    }
}

/// Ids that are unique in one archive: `m1`, `m2`, ….
#[derive(Debug, Default)]
pub struct Numbering(AtomicU64);

impl Numbering {
    /// The next id.
    pub fn next(&self) -> String {
        format!(
            "m{}",
            self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1)
        )
    }
}

impl fmt::Display for Numbering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} measurements", self.0.load(Ordering::Relaxed))
    }
}

/// Eight random consonants: no word, no verb, and nothing that a filter looks for.
fn random_verb() -> String {
    const LETTERS: &[u8; 16] = b"BCDFGHJKLMPRSVWZ";
    // The standard library seeds each of these from the operating system.
    let mut number = RandomState::new().build_hasher().finish();
    (0..8)
        .map(|_| {
            let letter = LETTERS[(number & 15) as usize];
            number >>= 4;
            char::from(letter)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_verbs_are_eight_letters_and_differ() {
        let verbs: std::collections::HashSet<String> = (0..50).map(|_| random_verb()).collect();
        assert!(
            verbs.len() > 40
                && verbs
                    .iter()
                    .all(|verb| verb.len() == 8 && verb.bytes().all(|b| b.is_ascii_uppercase()))
        );
    }

    #[test]
    fn ids_are_unique() {
        let numbering = Numbering::default();
        assert_eq!(
            (numbering.next(), numbering.next()),
            ("m1".into(), "m2".into())
        );
    }
}
