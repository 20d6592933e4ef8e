//! A scenario of the network: one TOML text that says how the chain is laid out, what makes it confusing, who serves, which
//! box stands where, and what a careful judge should conclude from each vantage point. It must not start anything.
//!
//! A file is a family, as on loopback: `[[scenario]]` tables, each merged over the file's `[defaults]`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use serde::Deserialize;

use super::device::DeviceSpec;
use super::matrix;
use super::plan::ChainSpec;
use crate::protocol::Scheme;
use crate::scenario::{Conclusion, ReadError, read_family};
use crate::server::ServerSpec;

include!(concat!(env!("OUT_DIR"), "/net_scenario_files.rs"));

/// Which Internet Protocol the target is named by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Ip {
    /// IPv4.
    #[default]
    #[serde(rename = "4")]
    V4,
    /// IPv6.
    #[serde(rename = "6")]
    V6,
}

/// Which program serves mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// The lab's own, for every service.
    #[default]
    Own,
    /// Postfix for SMTP, the lab's own for the rest.
    Postfix,
    /// Exim for SMTP, the lab's own for the rest.
    Exim,
    /// Dovecot for IMAP and POP3, the lab's own for the rest.
    Dovecot,
}

impl Program {
    /// The word in a scenario.
    pub fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Postfix => "postfix",
            Self::Exim => "exim",
            Self::Dovecot => "dovecot",
        }
    }
}

/// The checked server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ServerPart {
    /// Who serves.
    pub program: Program,
    /// Which services there are.
    pub services: Vec<Scheme>,
    /// What the lab's own servers are like. Of a real one only `starttls`, `certificate` and `host` count.
    pub spec: ServerSpec,
    /// Networks (`isp`, `carrier`, …) or prefixes whose clients are not offered STARTTLS.
    pub hides_from: Vec<String>,
    /// A second backend, which gets every other connection. Both are the lab's own.
    pub backend: Option<ServerSpec>,
}

impl Default for ServerPart {
    fn default() -> Self {
        Self {
            program: Program::Own,
            services: SERVICES.to_vec(),
            spec: ServerSpec::default(),
            hides_from: Vec::new(),
            backend: None,
        }
    }
}

/// What a mail host usually has.
pub const SERVICES: [Scheme; 7] = [
    Scheme::Smtp,
    Scheme::Submission,
    Scheme::Submissions,
    Scheme::Imap,
    Scheme::Imaps,
    Scheme::Pop3,
    Scheme::Pop3s,
];

/// A path that changes while it is being measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PathChange {
    /// After this many connections to the server were opened, 1 to 1000.
    pub after_syns: u16,
    /// And this long after the last of them, milliseconds (at most 60,000).
    #[serde(default)]
    pub then_ms: u16,
}

/// What makes it hard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Confounders {
    /// Routers that send no ICMP errors.
    pub silent: Vec<String>,
    /// Routers that quote the IP header and 8 bytes.
    pub short_quotes: Vec<String>,
    /// Routers with the kernel's limits on ICMP errors.
    pub rate_limited: Vec<String>,
    /// Two ways through the transit, chosen by connection.
    pub two_ways: bool,
    /// The path changes in the middle.
    pub path_change: Option<PathChange>,
    /// How long an access router holds each packet, milliseconds.
    pub delay_ms: u16,
    /// How many of a hundred packets it loses.
    pub loss_percent: u8,
}

impl Confounders {
    /// In one word or more, for tables.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        let mut say = |there: bool, word: &str| {
            if there {
                words.push(word.to_owned());
            }
        };
        say(!self.silent.is_empty(), "silent");
        say(!self.short_quotes.is_empty(), "short-quotes");
        say(!self.rate_limited.is_empty(), "rate-limited");
        say(self.two_ways, "two-ways");
        say(self.path_change.is_some(), "path-change");
        say(self.delay_ms > 0, "delay");
        say(self.loss_percent > 0, "loss");
        if words.is_empty() {
            words.push("none".to_owned());
        }
        words.join("+")
    }
}

/// A box and where it stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    /// A node: `client`, `home`, `isp-1`, `bridge`, `edge`, …
    pub at: String,
    /// What it is.
    pub device: DeviceSpec,
}

/// Where, in the words of `hoofbeat.diagnosis/1`, and `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Nothing interferes.
    None,
    /// The server itself, towards everybody.
    Server,
    /// The server itself, by the client's address or by chance of the backend.
    ServerPolicy,
    /// A firewall in front of the server.
    ServerEdge,
    /// Between the access network and the server's.
    Transit,
    /// The client's provider.
    AccessNetwork,
    /// The client's home or office.
    LocalNetwork,
    /// The client's own machine.
    ThisHost,
    /// Nobody can say.
    Undetermined,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::Server,
        Self::ServerPolicy,
        Self::ServerEdge,
        Self::Transit,
        Self::AccessNetwork,
        Self::LocalNetwork,
        Self::ThisHost,
        Self::Undetermined,
    ];

    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Server => "server",
            Self::ServerPolicy => "server-policy",
            Self::ServerEdge => "server-edge",
            Self::Transit => "transit",
            Self::AccessNetwork => "access-network",
            Self::LocalNetwork => "local-network",
            Self::ThisHost => "this-host",
            Self::Undetermined => "undetermined",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// Between the TTL checks of two hops, counted from the vantage point: 0 is the vantage point itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The last hop before the box.
    pub after_hop: u8,
    /// The first hop behind it.
    pub up_to_hop: u8,
}

/// What a careful judge should conclude at one vantage point.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetExpected {
    /// Where it is done. `undetermined` is honest always.
    pub class: Class,
    /// Other places that are honest too, because nothing on the wire speaks against them.
    #[serde(default)]
    pub also_class: Vec<Class>,
    /// Where the way to the server is first seen changed, ended or cut.
    #[serde(default)]
    pub segment: Option<Span>,
    /// Where the way back from the server is changed: only a cooperating server can see it.
    #[serde(default)]
    pub reply_segment: Option<Span>,
    /// Verdicts and mechanisms that are right.
    pub verdicts: Vec<Conclusion>,
}

impl NetExpected {
    /// Whether this class is right or honest.
    pub fn accepts_class(&self, class: Class) -> bool {
        class == Class::Undetermined || self.class == class || self.also_class.contains(&class)
    }

    /// Whether these words (as in JSON) are right.
    pub fn accepts(&self, verdict: &str, mechanism: Option<&str>) -> bool {
        self.verdicts.iter().any(|one| {
            one.verdict.word() == verdict && one.mechanism.map(|one| one.word()) == mechanism
        })
    }
}

/// By which words a run is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Axes {
    /// Where: `none`, `host`, `home`, `isp`, `transit`, `edge`, `bridge`, `server`, `server-policy`, `carrier`.
    pub position: String,
    /// What: `cisco-mask`, `redirect-proxy`, …; `none`.
    #[serde(rename = "box")]
    pub kind: String,
    /// `to-server`, `to-client`, `both`; empty for boxes without one.
    pub direction: String,
    /// What confuses; `none`.
    pub confounder: String,
}

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetScenario {
    /// Short, kebab-case, stable: scripts name it.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Measured, never tuned on.
    #[serde(default)]
    pub held_out: bool,
    /// One of the dozen that stand for all.
    #[serde(default)]
    pub representative: bool,
    /// Why the expectation is what it is.
    #[serde(default)]
    pub notes: String,
    /// By which words it is counted.
    #[serde(default)]
    pub axes: Axes,
    /// The service that is asked about.
    pub scheme: Scheme,
    /// The protocol that the target is named by.
    #[serde(default)]
    pub ip: Ip,
    /// How the chain is laid out.
    #[serde(default)]
    pub chain: ChainSpec,
    /// What confuses.
    #[serde(default)]
    pub confounders: Confounders,
    /// Who serves.
    #[serde(default)]
    pub server: ServerPart,
    /// The boxes.
    #[serde(default, rename = "device")]
    pub devices: Vec<Placed>,
    /// What a judge should conclude, by vantage point: `client`, `mobile`, `peer`, `inside`.
    pub expected: BTreeMap<String, NetExpected>,
}

impl NetScenario {
    /// Every embedded scenario, the matrix's included, by identifier.
    ///
    /// # Panics
    /// When an embedded file is malformed, which a test rules out.
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<NetScenario>> = OnceLock::new();
        ALL.get_or_init(|| {
            let mut all = Vec::new();
            for (name, text) in NET_FILES {
                let read = if *name == "matrix.toml" {
                    matrix::expand(text).map_err(|error| error.to_string())
                } else {
                    Self::read(text).map_err(|error| error.to_string())
                };
                all.extend(read.unwrap_or_else(|error| panic!("embedded net/{name}: {error}")));
            }
            all.sort_by(|one, other| one.id.cmp(&other.id));
            all
        })
    }

    /// The embedded scenario of this identifier.
    pub fn by_id(id: &str) -> Option<&'static Self> {
        Self::all().iter().find(|scenario| scenario.id == id)
    }

    /// Reads a family of scenarios, or a single one.
    ///
    /// # Errors
    /// When it is not TOML, or does not say what a scenario says.
    pub fn read(text: &str) -> Result<Vec<Self>, ReadError> {
        read_family(text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::{Mechanism, Verdict};
    use crate::topology::plan::Plan;

    #[test]
    fn names_are_unique_and_every_scenario_says_what_the_client_sees() {
        let mut seen = BTreeSet::new();
        for scenario in NetScenario::all() {
            let id = &scenario.id;
            assert!(seen.insert(id), "{id} twice");
            let kebab = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-';
            assert!(id.chars().all(kebab) && id.len() <= 60, "{id}");
            assert!(!scenario.title.is_empty(), "{id}");
            assert!(scenario.expected.contains_key("client"), "{id}");
        }
    }

    #[test]
    fn vantage_points_boxes_and_routers_are_on_the_map() {
        for scenario in NetScenario::all() {
            let id = &scenario.id;
            let plan = Plan::draw(&scenario.chain).unwrap_or_else(|error| panic!("{id}: {error}"));
            let vantages = scenario.expected.keys().map(String::as_str);
            let boxes = scenario.devices.iter().map(|placed| placed.at.as_str());
            let routers = scenario.confounders.routers().map(|(_, name)| name);
            for name in vantages.chain(boxes).chain(routers) {
                assert!(plan.spot(name).is_some(), "{id}: {name}");
            }
        }
    }

    #[test]
    fn conclusions_are_such_as_a_judge_can_reach() {
        for scenario in NetScenario::all() {
            let id = &scenario.id;
            for (vantage, expected) in &scenario.expected {
                assert!(!expected.verdicts.is_empty(), "{id} from {vantage}");
                assert_ne!(expected.class, Class::Undetermined, "{id} from {vantage}");
                for one in &expected.verdicts {
                    let fits = match (one.verdict, one.mechanism) {
                        (Verdict::Interference, Some(mechanism)) => !servers_own(mechanism),
                        (Verdict::Server, Some(mechanism)) => servers_own(mechanism),
                        (Verdict::Interference | Verdict::Server, None) => false,
                        (_, mechanism) => mechanism.is_none(),
                    };
                    assert!(fits, "{id} from {vantage}: {one:?}");
                }
                let honest = matches!(
                    expected.class,
                    Class::None | Class::Server | Class::ServerPolicy
                );
                if honest {
                    assert_eq!(expected.segment, None, "{id} from {vantage}");
                    assert_eq!(expected.reply_segment, None, "{id} from {vantage}");
                    let accused = |one: &Conclusion| one.verdict == Verdict::Interference;
                    assert!(
                        !expected.verdicts.iter().any(accused),
                        "{id} from {vantage}"
                    );
                }
                let spans = [expected.segment, expected.reply_segment];
                for span in spans.into_iter().flatten() {
                    assert_eq!(span.after_hop + 1, span.up_to_hop, "{id} from {vantage}");
                }
            }
        }
    }

    fn servers_own(mechanism: Mechanism) -> bool {
        matches!(
            mechanism,
            Mechanism::NotOffered
                | Mechanism::HiddenFromUs
                | Mechanism::TlsUnavailable
                | Mechanism::CertificateInvalid
                | Mechanism::StarttlsBroken
        )
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        let text = "id = 'x'\ntitle = 'x'\nscheme = 'smtp'\n[expected.client]\nclass = 'none'\nverdicts = []\n";
        assert!(NetScenario::read(text).is_ok());
        for wrong in [
            "chian = {}\n",
            "confounders = { slient = ['home'] }\n",
            "ip = '5'\n",
        ] {
            let text = format!("{wrong}{text}");
            assert!(NetScenario::read(&text).is_err(), "{wrong}");
        }
    }

    #[test]
    fn undetermined_is_honest_always_and_other_places_only_where_they_are_named() {
        let scenario = NetScenario::by_id("dispute-carrier").expect("embedded");
        let mobile = &scenario.expected["mobile"];
        assert!(mobile.accepts_class(Class::AccessNetwork));
        assert!(mobile.accepts_class(Class::Undetermined));
        assert!(!mobile.accepts_class(Class::ServerEdge));
        assert!(mobile.accepts("interference", Some("capability-masked")));
        assert!(!mobile.accepts("server", Some("not-offered")));
    }
}
