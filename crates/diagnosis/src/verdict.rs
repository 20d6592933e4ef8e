//! The words of a diagnosis, schema `hoofbeat.diagnosis/1`. People script against them: additions are
//! free, changes need `/2`.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use hoofbeat_observation::Service;
use serde::Serialize;

use crate::{PathReport, Question, WitnessSummary};

/// The schema's name.
pub const SCHEMA: &str = "hoofbeat.diagnosis/1";

/// Words that are written in kebab-case, with their text form.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)+ }
        impl $name {
            /// Every word.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// The word as written in JSON.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
            /// The variant of a word.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.word() == word)
            }
        }
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { f.write_str(self.word()) }
        }
    };
}

words! {
    /// What was found for one service.
    Verdict {
        /// Encrypted and verified, nothing odd.
        Clear = "clear",
        /// Something between the two programs changed, forged, blocked or intercepted.
        Interference = "interference",
        /// The server's own doing.
        Server = "server",
        /// Nothing answered.
        Unreachable = "unreachable",
        /// Said with its reason.
        Inconclusive = "inconclusive",
    }
}

words! {
    /// How it was done.
    Mechanism {
        /// The keyword is overwritten in place.
        CapabilityMasked = "capability-masked",
        /// The keyword is deleted.
        CapabilityRemoved = "capability-removed",
        /// The client's STARTTLS arrives as something else.
        CommandRewritten = "command-rewritten",
        /// A box answered the command in the server's place.
        CommandRefused = "command-refused",
        /// The command is swallowed.
        CommandDropped = "command-dropped",
        /// ESMTP is turned into SMTP.
        EhloRefused = "ehlo-refused",
        /// Another server answers.
        SessionProxied = "session-proxied",
        /// A reset once TLS starts.
        HandshakeReset = "handshake-reset",
        /// Silence once TLS starts.
        HandshakeBlackholed = "handshake-blackholed",
        /// TLS ends at somebody else.
        TlsIntercepted = "tls-intercepted",
        /// Only older or weaker TLS gets through.
        TlsDowngraded = "tls-downgraded",
        /// Replies that the server did not send stand before the TLS layer.
        PlaintextInjected = "plaintext-injected",
        /// The port is closed by somebody between.
        PortBlocked = "port-blocked",
        /// Only the greeting is masked: warns, for Postfix senders fall back to HELO on it.
        BannerMasked = "banner-masked",
        /// The server offers nobody.
        NotOffered = "not-offered",
        /// The server offers by client address.
        HiddenFromUs = "hidden-from-us",
        /// The server answers 454.
        TlsUnavailable = "tls-unavailable",
        /// The certificate does not verify.
        CertificateInvalid = "certificate-invalid",
        /// 220, then its own failure.
        StarttlsBroken = "starttls-broken",
    }
}

words! {
    /// What weakens a service that otherwise works.
    Weakness {
        /// AUTH or LOGIN is offered before TLS.
        AuthBeforeTls = "auth-before-tls",
        /// Plaintext is buffered across STARTTLS (CVE-2011-0411 class).
        CommandInjection = "command-injection",
        /// The certificate ends within two weeks.
        ExpiresSoon = "expires-soon",
        /// TLS below 1.2, or another superseded choice.
        OldTls = "old-tls",
        /// Neither DANE nor MTA-STS.
        NoPolicy = "no-policy",
        /// What is published contradicts what is served.
        PolicyMismatch = "policy-mismatch",
        /// The IMAP session starts authenticated, which forbids STARTTLS.
        Preauth = "preauth",
        /// Plaintext LOGIN is not refused before TLS.
        LogindisabledMissing = "logindisabled-missing",
    }
}

words! {
    /// Where it is done.
    LocationClass {
        /// The mail server itself.
        Server = "server",
        /// The mail server, by a rule about who asks.
        ServerPolicy = "server-policy",
        /// A firewall in front of the server.
        ServerEdge = "server-edge",
        /// Between the two edge networks.
        Transit = "transit",
        /// The client's provider.
        AccessNetwork = "access-network",
        /// The client's own network.
        LocalNetwork = "local-network",
        /// Software on this host.
        ThisHost = "this-host",
        /// Not known.
        Undetermined = "undetermined",
    }
}

words! {
    /// How sure the verdict is.
    Confidence {
        /// At least .95, two independent groups of evidence, one of them not a fingerprint.
        Established = "established",
        /// At least .80.
        Likely = "likely",
        /// At least .60.
        Indicated = "indicated",
        /// Less; the two leaders are named.
        Undetermined = "undetermined",
    }
}

words! {
    /// What this service gives from here, now.
    Encryption {
        /// TLS with a certificate that verifies, or matches a secure TLSA record.
        Verified = "verified",
        /// TLS, but with whom is not proven.
        Unverified = "unverified",
        /// No TLS.
        None = "none",
        /// Not found out.
        Unknown = "unknown",
    }
}

words! {
    /// Who can do something about it.
    Who {
        /// Who runs the box in front of the server.
        FirewallOperator = "firewall-operator",
        /// Who runs the mail server.
        ServerOperator = "server-operator",
        /// Who sends mail to it.
        Sender = "sender",
        /// Who reads mail from it.
        Reader = "reader",
        /// Who runs the client's network.
        NetworkOperator = "network-operator",
    }
}

/// What a piece of evidence speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Support {
    /// A mechanism.
    Mechanism(Mechanism),
    /// A place.
    Location(LocationClass),
    /// A weakness.
    Weakness(Weakness),
    /// A verdict as such.
    Verdict(Verdict),
}

/// One citation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// The claim as a sentence.
    pub claim: String,
    /// What it speaks for.
    #[serde(rename = "for")]
    pub supports: Support,
    /// The measurement's identifier.
    pub measurement: String,
    /// The exchange within it; null for a connection, a handshake or a look-up.
    pub step: Option<u32>,
    /// Offsets in the stream to the client (in the stream to the server where `direction` says so).
    pub bytes: Option<(u64, u64)>,
    /// Which stream the offsets count in: `to-client` or `to-server`.
    pub direction: &'static str,
    /// The bytes as printable text, shortened.
    pub excerpt: String,
}

/// A stretch of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// Behind this hop …
    pub after_hop: u8,
    /// … and up to this one.
    pub up_to_hop: u8,
}

impl Segment {
    /// Whether another one lies in it.
    pub(crate) fn holds(self, other: Self) -> bool {
        self.after_hop <= other.after_hop && other.up_to_hop <= self.up_to_hop
    }
}

/// Where, with what probability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Location {
    /// The leading class, or `undetermined`.
    pub class: LocationClass,
    /// Its probability, 0 to 1.
    pub probability: f64,
    /// Every class's probability; sums to 1.
    pub posterior: BTreeMap<&'static str, f64>,
    /// The stretch of the path, where it was traced.
    pub segment: Option<Segment>,
    /// The stretch in which it lies with 90 % probability, where the path was traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credible: Option<Credible>,
    /// The observations that entered, one a group; told where the record holds more than dialogues, and where
    /// groups were left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weighed: Vec<WeighedObservation>,
}

/// A credible set of neighbouring stretches, as its hull.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Credible {
    /// Behind this hop …
    pub after_hop: u8,
    /// … and up to this one …
    pub up_to_hop: u8,
    /// … with this probability, 0 to 1.
    pub probability: f64,
}

/// An observation that entered the posterior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WeighedObservation {
    /// Its group, such as `G11`.
    pub group: &'static str,
    /// Its name, in kebab-case.
    pub observation: &'static str,
}

/// TLS as this service gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsFacts {
    /// `TLSv1.3`, ….
    pub version: Option<String>,
    /// IANA name of the suite.
    pub cipher: Option<String>,
    /// The leaf's issuer.
    pub issuer: Option<String>,
    /// End of the leaf's validity, RFC 3339.
    pub not_after: Option<String>,
    /// Names in the leaf.
    pub names: Vec<String>,
}

/// A test that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotRun {
    /// Its identifier.
    pub test: String,
    /// Why not, as a sentence.
    pub why: String,
}

/// What somebody can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// Who.
    pub who: Who,
    /// What, as a sentence.
    pub text: String,
    /// The exact commands or settings, in order.
    pub commands: Vec<String>,
}

/// What was found for one service at one address.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Which service.
    pub service: Service,
    /// What.
    pub verdict: Verdict,
    /// How.
    pub mechanism: Option<Mechanism>,
    /// By which product.
    pub product: Option<String>,
    /// Where.
    pub location: Location,
    /// How sure.
    pub confidence: Confidence,
    /// What this service gives from here, now.
    pub encryption: Encryption,
    /// TLS facts, where TLS came up.
    pub tls: Option<TlsFacts>,
    /// What weakens it.
    pub weaknesses: Vec<Weakness>,
    /// Citations, strongest first.
    pub evidence: Vec<Evidence>,
    /// Innocent explanations that were considered, and what spoke against (or for) each.
    pub innocent: Vec<String>,
    /// Tests not run.
    pub not_run: Vec<NotRun>,
    /// The one test that would change the answer most.
    pub next: Option<String>,
    /// Remedies.
    pub remedies: Vec<Remedy>,
    /// The path, where it was traced.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathReport>,
    /// What a cooperating server showed, where one was visited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<WitnessSummary>,
}

/// The whole in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overall {
    /// The worst verdict that matters, in the order of the exit status.
    pub verdict: Verdict,
    /// One sentence.
    pub summary: String,
}

/// The judgement of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// The whole in one sentence.
    pub overall: Overall,
    /// A finding a service and address.
    pub findings: Vec<Finding>,
    /// What the judge would like to know.
    pub questions: Vec<Question>,
}

impl Diagnosis {
    /// The Nagios-compatible exit status: 0 clear, 1 the server's own doing or clear with a weakness
    /// (other than `no-policy` alone), 2 interference, 3 inconclusive or unreachable.
    /// The worst of several findings, in the order 2, 1, 3, 0.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        worst(self.findings.iter().map(status_of)).unwrap_or(match self.overall.verdict {
            Verdict::Clear => 0,
            Verdict::Server => 1,
            Verdict::Interference => 2,
            Verdict::Unreachable | Verdict::Inconclusive => 3,
        })
    }
}

/// The exit status of one finding.
pub(crate) fn status_of(finding: &Finding) -> u8 {
    match finding.verdict {
        Verdict::Interference => 2,
        Verdict::Server => 1,
        Verdict::Clear
            if finding
                .weaknesses
                .iter()
                .any(|weakness| *weakness != Weakness::NoPolicy) =>
        {
            1
        }
        Verdict::Clear => 0,
        Verdict::Unreachable | Verdict::Inconclusive => 3,
    }
}

/// The worst exit status of several, in the order 70, 2, 1, 3, 0.
pub fn worst(statuses: impl IntoIterator<Item = u8>) -> Option<u8> {
    const ORDER: [u8; 5] = [70, 2, 1, 3, 0];
    statuses
        .into_iter()
        .min_by_key(|status| ORDER.iter().position(|known| known == status).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_status_follows_the_contract() {
        assert_eq!(worst([0, 3]), Some(3));
        assert_eq!(worst([3, 1]), Some(1));
        assert_eq!(worst([1, 2, 3]), Some(2));
        assert_eq!(worst([2, 70]), Some(70));
        assert_eq!(worst([]), None);
    }

    #[test]
    fn words_are_read_back() {
        for word in Mechanism::ALL {
            assert_eq!(Mechanism::of(word.word()), Some(*word));
        }
        assert_eq!(Mechanism::of("STRIPPED"), None);
    }
}
