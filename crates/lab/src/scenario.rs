//! A scenario: one TOML text that says what the server is like, which boxes stand in front of it, and what a careful
//! judge should conclude. The words are those of `hoofbeat.diagnosis/1`, written here anew so that the lab depends on
//! no other crate. It must not start anything.
//!
//! A file is one scenario, or a family: `[[scenario]]` tables, each merged over the file's `[defaults]` (tables merge,
//! an empty text takes a default away, anything else replaces).

use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, de::DeserializeOwned};

use crate::middlebox::BoxSpec;
use crate::protocol::Scheme;
use crate::server::ServerSpec;

include!(concat!(env!("OUT_DIR"), "/scenario_files.rs"));

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        pub enum $name {
            $(
                #[doc = concat!("`", $word, "`")]
                #[serde(rename = $word)]
                $variant,
            )+
        }

        impl $name {
            /// Every word.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as it stands in JSON.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.word())
            }
        }
    };
}

words! {
    /// What kind of thing a scenario shows.
    Family {
        Box = "box",
        Server = "server",
        LookAlike = "look-alike",
    }
}

words! {
    /// The verdict on one service.
    Verdict {
        Clear = "clear",
        Interference = "interference",
        Server = "server",
        Unreachable = "unreachable",
        Inconclusive = "inconclusive",
    }
}

words! {
    /// How it is done.
    Mechanism {
        CapabilityMasked = "capability-masked",
        CapabilityRemoved = "capability-removed",
        CommandRewritten = "command-rewritten",
        CommandRefused = "command-refused",
        CommandDropped = "command-dropped",
        EhloRefused = "ehlo-refused",
        SessionProxied = "session-proxied",
        HandshakeReset = "handshake-reset",
        HandshakeBlackholed = "handshake-blackholed",
        TlsIntercepted = "tls-intercepted",
        TlsDowngraded = "tls-downgraded",
        PlaintextInjected = "plaintext-injected",
        PortBlocked = "port-blocked",
        BannerMasked = "banner-masked",
        NotOffered = "not-offered",
        HiddenFromUs = "hidden-from-us",
        TlsUnavailable = "tls-unavailable",
        CertificateInvalid = "certificate-invalid",
        StarttlsBroken = "starttls-broken",
    }
}

words! {
    /// What weakens a service that otherwise works.
    Weakness {
        AuthBeforeTls = "auth-before-tls",
        CommandInjection = "command-injection",
        ExpiresSoon = "expires-soon",
        OldTls = "old-tls",
        NoPolicy = "no-policy",
        PolicyMismatch = "policy-mismatch",
        Preauth = "preauth",
        LogindisabledMissing = "logindisabled-missing",
    }
}

words! {
    /// Where it is done.
    Location {
        Server = "server",
        ServerPolicy = "server-policy",
        ServerEdge = "server-edge",
        Transit = "transit",
        AccessNetwork = "access-network",
        LocalNetwork = "local-network",
        ThisHost = "this-host",
        Undetermined = "undetermined",
    }
}

/// A verdict with its mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conclusion {
    /// The verdict.
    pub verdict: Verdict,
    /// The mechanism, where the verdict has one.
    pub mechanism: Option<Mechanism>,
}

/// What a careful judge should conclude.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The verdict.
    pub verdict: Verdict,
    /// The mechanism, where the verdict has one.
    pub mechanism: Option<Mechanism>,
    /// The product, where the bytes name it.
    pub product: Option<String>,
    /// The place, only where the wire proves it.
    pub location: Option<Location>,
    /// Weaknesses that must be named. `no-policy` is not listed: no lab host has a policy.
    #[serde(default)]
    pub weaknesses: Vec<Weakness>,
    /// Other conclusions that would be honest too, from one vantage point.
    #[serde(default)]
    pub also: Vec<Conclusion>,
    /// The exit status, where it is not the verdict's usual one.
    exit: Option<u8>,
}

impl Expected {
    /// The exit status of `check` for this scenario alone.
    pub fn exit(&self) -> u8 {
        self.exit.unwrap_or(match self.verdict {
            Verdict::Clear => u8::from(!self.weaknesses.is_empty()),
            Verdict::Server => 1,
            Verdict::Interference => 2,
            Verdict::Unreachable | Verdict::Inconclusive => 3,
        })
    }

    /// Whether these words (as in JSON) are right, or honest too.
    pub fn accepts(&self, verdict: &str, mechanism: Option<&str>) -> bool {
        let first = Conclusion {
            verdict: self.verdict,
            mechanism: self.mechanism,
        };
        std::iter::once(&first).chain(&self.also).any(|conclusion| {
            conclusion.verdict.word() == verdict
                && conclusion.mechanism.map(Mechanism::word) == mechanism
        })
    }
}

/// Whether the door that a client knocks at is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// Something listens.
    #[default]
    Open,
    /// Connections are refused.
    Closed,
}

/// A further service of the same host, without boxes unless said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiblingSpec {
    /// How it is named.
    pub scheme: Scheme,
    /// Whether the scenario's boxes stand in front of it too.
    #[serde(default)]
    pub boxed: bool,
    /// Its own server; without one, the scenario's.
    pub server: Option<ServerSpec>,
}

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short, kebab-case, stable: scripts name it.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Its kind.
    pub family: Family,
    /// How a client names the service.
    pub scheme: Scheme,
    /// Among the fast ones that the demo shows.
    #[serde(default)]
    pub demo: bool,
    /// Waits for seconds by its nature.
    #[serde(default)]
    pub slow: bool,
    /// The boxes also stand in front of the control servers: they are on the client's side.
    #[serde(default)]
    pub client_side: bool,
    /// Only a thorough check (`--thorough`) can see it.
    #[serde(default)]
    pub thorough: bool,
    /// Written without a look at the judge, to measure it; never to be tuned on.
    #[serde(default)]
    pub held_out: bool,
    /// Also listens on the IPv6 loopback address, where there is one, at the same port.
    #[serde(default)]
    pub dual_stack: bool,
    /// Whether the door is open.
    #[serde(default)]
    pub door: Door,
    /// Why the expectation is what it is.
    #[serde(default)]
    pub notes: String,
    /// Where the behaviour is known from.
    #[serde(default)]
    pub source: String,
    /// The server.
    #[serde(default)]
    pub server: ServerSpec,
    /// The boxes, the client's side first.
    #[serde(default, rename = "box")]
    pub boxes: Vec<BoxSpec>,
    /// Further services of the same host.
    #[serde(default, rename = "sibling")]
    pub siblings: Vec<SiblingSpec>,
    /// Texts that a simple client must find in its transcript (`[tls] verified` and the like tell of the handshake).
    #[serde(default)]
    pub sees: Vec<String>,
    /// Texts that it must not find.
    #[serde(default)]
    pub never: Vec<String>,
    /// What a careful judge should conclude.
    pub expected: Expected,
}

/// A scenario's text is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The TOML does not say what a scenario says.
    #[error("the scenario cannot be read: {0}")]
    Toml(#[from] toml::de::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FamilyFile {
    #[serde(default)]
    defaults: toml::Table,
    scenario: Vec<toml::Table>,
}

impl Scenario {
    /// Every embedded scenario, by identifier.
    ///
    /// # Panics
    /// When an embedded file is malformed, which a test rules out.
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Scenario>> = OnceLock::new();
        ALL.get_or_init(|| {
            let mut all: Vec<Self> = FILES
                .iter()
                .flat_map(|(name, text)| {
                    Self::read(text).unwrap_or_else(|error| panic!("embedded {name}: {error}"))
                })
                .collect();
            all.sort_by(|one, other| one.id.cmp(&other.id));
            all
        })
    }

    /// The embedded scenario of this identifier.
    pub fn by_id(id: &str) -> Option<&'static Self> {
        Self::all().iter().find(|scenario| scenario.id == id)
    }

    /// The fast, representative ones.
    pub fn demo() -> impl Iterator<Item = &'static Self> {
        Self::all().iter().filter(|scenario| scenario.demo)
    }

    /// Reads a text: one scenario, or a family of them.
    ///
    /// # Errors
    /// When it is not TOML, or does not say what a scenario says.
    pub fn read(text: &str) -> Result<Vec<Self>, ReadError> {
        read_family(text)
    }
}

/// Reads a text: one scenario, or a family of them laid over their defaults.
pub(crate) fn read_family<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, ReadError> {
    let table: toml::Table = text.parse()?;
    if !table.contains_key("scenario") {
        return Ok(vec![table.try_into()?]);
    }
    let family: FamilyFile = table.try_into()?;
    let mut scenarios = Vec::new();
    for own in family.scenario {
        let mut whole = family.defaults.clone();
        merge(&mut whole, own);
        scenarios.push(whole.try_into()?);
    }
    Ok(scenarios)
}

/// Lays `over` on `base`: tables merge, an empty text takes a default away, anything else replaces.
pub(crate) fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(table)) => merge(under, table),
            (Some(_), toml::Value::String(text)) if text.is_empty() => {
                base.remove(&key);
            }
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn identifiers_are_unique_short_and_kebab_case() {
        let mut seen = BTreeSet::new();
        for scenario in Scenario::all() {
            assert!(seen.insert(&scenario.id), "{} twice", scenario.id);
            assert!(scenario.id.len() <= 40, "{}", scenario.id);
            assert!(
                scenario
                    .id
                    .chars()
                    .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-'),
                "{}",
                scenario.id
            );
            assert!(!scenario.title.is_empty(), "{}", scenario.id);
        }
    }

    #[test]
    fn mechanisms_belong_to_their_verdicts() {
        let servers = [
            Mechanism::NotOffered,
            Mechanism::HiddenFromUs,
            Mechanism::TlsUnavailable,
            Mechanism::CertificateInvalid,
            Mechanism::StarttlsBroken,
        ];
        for scenario in Scenario::all() {
            let expected = &scenario.expected;
            match (expected.verdict, expected.mechanism) {
                (Verdict::Interference, Some(mechanism)) => {
                    assert!(!servers.contains(&mechanism), "{}", scenario.id);
                }
                (Verdict::Server, Some(mechanism)) => {
                    assert!(servers.contains(&mechanism), "{}", scenario.id);
                }
                (Verdict::Interference | Verdict::Server, None) => {
                    panic!("{} names no mechanism", scenario.id)
                }
                (Verdict::Clear | Verdict::Unreachable | Verdict::Inconclusive, None) => {}
                (verdict, Some(_)) => panic!("{}: {verdict} has no mechanism", scenario.id),
            }
            if scenario.family != Family::Box {
                assert!(
                    scenario.boxes.is_empty() || scenario.family == Family::LookAlike,
                    "{}",
                    scenario.id
                );
                assert_ne!(expected.verdict, Verdict::Interference, "{}", scenario.id);
            }
        }
    }

    #[test]
    fn the_demo_is_small_and_fast() {
        let demo: Vec<_> = Scenario::demo().collect();
        assert!(
            (16..=20).contains(&demo.len()),
            "{} in the demo",
            demo.len()
        );
        for scenario in demo {
            assert!(
                !scenario.slow && scenario.server.greeting_delay_ms <= 1000,
                "{}",
                scenario.id
            );
        }
    }

    #[test]
    fn the_held_out_are_told_by_their_names_and_never_shown_in_the_demo() {
        let held_out = Scenario::all().iter().filter(|scenario| scenario.held_out);
        assert!(held_out.clone().count() >= 60);
        for scenario in Scenario::all() {
            assert_eq!(
                scenario.held_out,
                scenario.id.starts_with("held-"),
                "{}",
                scenario.id
            );
            assert!(!(scenario.held_out && scenario.demo), "{}", scenario.id);
        }
    }

    #[test]
    fn a_family_lays_each_scenario_over_its_defaults() {
        let text = r#"
[defaults]
title = "said once"
family = "server"
scheme = "smtp"
server = { dialect = "exim", host = "mx.example" }
expected = { verdict = "clear" }
[[scenario]]
id = "x-one"
[[scenario]]
id = "x-two"
server = { dialect = "qmail" }
expected = { verdict = "server", mechanism = "not-offered" }
"#;
        let read = Scenario::read(text).expect("a family");
        let [one, two] = read.as_slice() else {
            panic!("two scenarios")
        };
        assert_eq!(
            (one.id.as_str(), one.expected.verdict),
            ("x-one", Verdict::Clear)
        );
        assert_eq!(two.expected.mechanism, Some(Mechanism::NotOffered));
        assert_eq!(two.server.host, "mx.example");
        let wrong = text.replace("dialect = \"exim\"", "dialekt = \"exim\"");
        assert!(matches!(Scenario::read(&wrong), Err(ReadError::Toml(_))));
    }

    #[test]
    fn exit_follows_the_verdict() {
        let read = |verdict: &str| {
            Scenario::read(&format!(
                "id='x'\ntitle='x'\nfamily='server'\nscheme='smtp'\n[expected]\nverdict='{verdict}'"
            ))
            .expect("a scenario")
            .remove(0)
            .expected
            .exit()
        };
        assert_eq!(
            [
                "clear",
                "server",
                "interference",
                "unreachable",
                "inconclusive"
            ]
            .map(read),
            [0, 1, 2, 3, 3]
        );
    }
}
