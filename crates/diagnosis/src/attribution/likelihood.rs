//! How likely an observation is under each hypothesis: the reviewed tables, one place.
//!
//! Expert starting values, joined with counts from the lab where there are any ([`super::counted`]). Columns:
//! A the server offers nobody, A′ the server decides by who asks, B a firewall in front of the server, C1 transit,
//! C2 the access provider, D1 the client's own network, D2 software on this host. Rows marked `tables` are from the
//! project's attribution notes (§6.4 there), with C in both columns where the notes do not part it; rows marked
//! `expert` were added here, in the same spirit.

use super::counted::COUNTED;

/// How many hypotheses there are.
pub(crate) const CLASSES: usize = 7;

/// One value a hypothesis: A, A′, B, C1, C2, D1, D2.
pub(crate) type Row = [f64; CLASSES];

/// How many counted runs an expert's row weighs as much as.
pub(crate) const EXPERT_WEIGHT: f64 = 20.0;

/// Of the prior of C, how much is the client's access provider; the rest is transit.
///
/// One vantage without hop evidence cannot tell them apart; then the split stays as it is here. Every documented case of 2008–2026 was an
/// access provider (O2 Germany, Cricket, Vodafone India, TOT and True in Thailand), so they get most of it.
pub(crate) const ACCESS_SHARE: f64 = 0.8;

/// Cap on the likelihood ratio that one group may contribute.
pub(crate) const RATIO_CAP: f64 = 50.0;

/// The same where a command was followed hop by hop ([`LEAST_FOLLOWED`]). The notes cap every group at 50, for likelihoods
/// that are guessed; that a packet died at hop 5 as it was written is counted, and no product's usual place outweighs it.
pub(crate) const RATIO_CAP_FOLLOWED: f64 = 500.0;

/// A group's ratio from which on it counts as support of its own.
pub(crate) const SUPPORT: f64 = 3.0;

/// What is to be explained, and how likely each hypothesis is before any evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// STARTTLS is not visible, refused, or answered oddly, between servers (port 25).
    NoTls,
    /// The same on a port for people: 587, 143, 110, 4190.
    NoTlsForPeople,
    /// STARTTLS is offered and refused.
    Refused,
    /// 220, and then no handshake.
    NoHandshake,
    /// A handshake, and a certificate that does not verify.
    BadCertificate,
    /// Nothing answers on the port.
    Closed,
    /// TLS works and something else is odd.
    Odd,
    /// The command was seen to be changed, answered or swallowed on the way, on this very flow.
    Altered,
    /// The command left this host's interface as something else than it was written, or not at all.
    AlteredHere,
}

impl State {
    /// The prior.
    pub(crate) const fn prior(self) -> Row {
        let [offers, policy, edge, path, local, host] = self.six();
        let transit = path * (1.0 - ACCESS_SHARE);
        [
            offers,
            policy,
            edge,
            transit,
            path * ACCESS_SHARE,
            local,
            host,
        ]
    }

    /// The prior with C in one.
    const fn six(self) -> [f64; 6] {
        match self {
            // tables: "STARTTLS not visible on 25".
            Self::NoTls => [0.60, 0.08, 0.20, 0.07, 0.03, 0.02],
            // expert: clients' networks and hosts meddle with 143, 110 and 587 more than servers' firewalls do.
            Self::NoTlsForPeople => [0.58, 0.08, 0.14, 0.08, 0.06, 0.06],
            // expert: who offers and refuses is mostly broken or busy.
            Self::Refused => [0.62, 0.08, 0.10, 0.08, 0.05, 0.07],
            // expert: crashed or misconfigured TLS is the rule, boxes the exception.
            Self::NoHandshake => [0.70, 0.05, 0.08, 0.09, 0.04, 0.04],
            // expert: expired, self-signed and wrong names are nearly always the operator's.
            Self::BadCertificate => [0.90, 0.02, 0.02, 0.02, 0.02, 0.02],
            // expert: a closed port 25 is as often the access provider's rule as an absent server.
            Self::Closed => [0.55, 0.05, 0.10, 0.20, 0.07, 0.03],
            // expert: TLS stands, so only an odd detail is to be explained.
            Self::Odd => [0.60, 0.08, 0.20, 0.07, 0.03, 0.02],
            // expert: a server does not change what is on its way to it; what is left to it are mistaken quotes. The
            // others keep their shares of `NoTls`.
            Self::Altered => [0.02, 0.01, 0.60, 0.21, 0.09, 0.07],
            // expert: what a capture can miss.
            Self::AlteredHere => [0.01, 0.01, 0.02, 0.02, 0.04, 0.90],
        }
    }
}

/// Tests that share their causes; the strongest observation of a group counts, the others do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// G1: the reply to STARTTLS against the reply to an unknown verb.
    Verb,
    /// G2: overwritten or deleted keywords, masked greeting: fingerprints.
    Mask,
    /// G4: servers known to offer TLS, from the same place.
    Controls,
    /// G6: who completes the TCP handshake, and how fast.
    Terminator,
    /// G10: what the domain publishes.
    Intent,
    /// How cut commands and repeats fare: expert.
    Segments,
    /// How the handshake went, here and on siblings: expert.
    Handshake,
    /// Whose certificate was shown: expert.
    Certificate,
    /// G3: a cooperating server, both ends' bytes held against each other.
    Witness,
    /// G5: the target from other places.
    Vantages,
    /// G5: the target from inside its own network.
    Inside,
    /// G7: what the interface carried against what was written.
    Wire,
    /// G8: another host in the same network.
    Peer,
    /// G9: the same host in another network.
    Tether,
    /// G11: where on the path.
    Path,
}

impl Group {
    /// Its name in reports, and in the list of what is left out.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Verb => "G1",
            Self::Mask => "G2",
            Self::Witness => "G3",
            Self::Controls => "G4",
            Self::Vantages | Self::Inside => "G5",
            Self::Terminator => "G6",
            Self::Wire => "G7",
            Self::Peer => "G8",
            Self::Tether => "G9",
            Self::Intent => "G10",
            Self::Path => "G11",
            Self::Segments => "segments",
            Self::Handshake => "handshake",
            Self::Certificate => "certificate",
        }
    }

    /// A fingerprint names a product; it is no independent proof.
    pub(crate) const fn is_fingerprint(self) -> bool {
        matches!(self, Self::Mask)
    }
}

/// An expert's row as so many pseudo-runs, and counted runs beside them (Beta with that prior, mean).
fn joined(expert: &Row, hits: &[u32; CLASSES], trials: &[u32; CLASSES]) -> Row {
    let mut row = *expert;
    for ((value, hits), trials) in row.iter_mut().zip(hits).zip(trials) {
        *value = (EXPERT_WEIGHT * *value + f64::from((*hits).min(*trials)))
            / (EXPERT_WEIGHT + f64::from(*trials));
    }
    row
}

/// `P(observation | place)` for a connection that ends nearer than the address's other ports', by the place of that
/// end in the order of [`crate::path::place::PLACES`] (tables, G6; transit by analogy).
pub(crate) const TERMINATED: [Row; 5] = [
    [0.04, 0.04, 0.18, 0.02, 0.02, 0.005, 0.005],
    [0.005, 0.005, 0.01, 0.20, 0.05, 0.005, 0.005],
    [0.005, 0.005, 0.01, 0.05, 0.20, 0.04, 0.02],
    [0.005, 0.005, 0.005, 0.02, 0.02, 0.30, 0.80],
    [0.005, 0.005, 0.005, 0.02, 0.02, 0.30, 0.80],
];

/// Least that a change-point's row says of any class (attribution notes, G11).
pub(crate) const LEAST: f64 = 0.01;

/// The same for the places of a command that was followed hop by hop beside a control on its own flow: how often hops
/// mislead is in the change-point's probabilities already, and what is left are far-off places.
pub(crate) const LEAST_FOLLOWED: f64 = 0.002;

/// One thing that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observation {
    /// O1: a blind STARTTLS brings up TLS with a certificate that verifies.
    WorksThoughHidden,
    /// O1 without a certificate that verifies.
    WorksThoughHiddenUnverified,
    /// O3: refused in the server's own words, which differ from those for an unknown verb.
    OwnRefusal,
    /// O4: the same words as for an unknown verb.
    LikeUnknown,
    /// O4 in a dialect in which no build answers both alike.
    LikeUnknownImpossible,
    /// O5: the echo shows another verb.
    AlteredEcho,
    // O6 as the notes have it, "5xx text foreign to this server", is not used: filters word 5xx freely.
    /// O6 against a closed set of replies that was read in the server's source.
    ForeignToFixed,
    /// O6: a reply that breaks the form this very session otherwise keeps.
    Misshapen,
    /// O6, and the words are known of boxes or tools alone.
    ForgedWords,
    /// A 2xx that is not 220.
    OddSuccess,
    /// O7: silence or a reset for STARTTLS only.
    SilentForVerb,
    /// O7 from a server that answers STARTTLS before it touches its TLS library.
    SilentImpossible,
    /// Another spelling gets through where STARTTLS does not.
    SpellingPasses,
    /// An item overwritten where STARTTLS stood.
    MaskInSlot,
    /// An item overwritten that may have been STARTTLS.
    MaskPerhaps,
    /// A masked greeting.
    MaskedGreeting,
    /// A list deleted down to a known box's pattern.
    KnownDeletion,
    /// A greeting or list that is a known proxy's.
    KnownProxy,
    /// A scanner on this host greets.
    HostScanner,
    /// Plain list, nothing suspicious.
    PlainList,
    /// EHLO met the words for an unknown verb, from a server that knows EHLO.
    EhloUnknown,
    /// All controls show STARTTLS.
    ControlsClean,
    /// No control shows it.
    ControlsAffected,
    /// This very server is known to offer it.
    KnownToOffer,
    /// An address where nothing may answer greets.
    NegativeAnswers,
    /// The TCP handshake is far quicker than the same address is on another port.
    NearTerminator,
    /// A secure TLSA record or an MTA-STS policy names this server.
    IntentPublished,
    /// None is published.
    IntentAbsent,
    /// NOOP whole passes, NOOP cut does not.
    SplitNoopFails,
    /// The handshake dies here and works on a sibling of the same host.
    SiblingWorks,
    /// The handshake died here, and nothing else is known.
    HandshakeDies,
    /// The handshake dies on controls too.
    ControlsDie,
    /// The handshake failed by the server's own word (alert, close, plaintext).
    ServerFails,
    /// Bytes that no dialogue contains stand behind the 220.
    ForeignLeftover,
    /// The certificate's issuer is an intercepting product's.
    InterceptorIssuer,
    /// The same, and the product runs on the client's own machine.
    HostInterceptorIssuer,
    /// The same private issuer or key for unrelated hosts.
    SharedIssuer,
    /// The certificate copies a verified sibling's names and dates with another key.
    ClonedCertificate,
    /// No TLSA record of a secure answer fits, and an unknown authority signed.
    TlsaContradicts,
    /// Expired, self-signed, wrong name, unknown authority: an operator's usual mistakes.
    OperatorMistake,
    /// Greeting of another owner than the address's.
    ForeignOwner,
    /// Closed here while open on the same host's other ports, and closed on the controls.
    PortClosedForAll,
    /// Signed proof of a downgrade in the ServerHello.
    DowngradeSentinel,
    /// An offer of TLS 1.3 is refused by version, and one of TLS 1.2 alone is taken.
    RefusedByVersion,
    /// Witness: both directions arrive as they were sent.
    WitnessClean,
    /// Witness: they do not.
    WitnessTampered,
    /// Witness: its port does not answer from here, while its control channel does.
    WitnessUnreached,
    /// Witness: this port's SYN arrived with another TTL or other options than other ports' did.
    WitnessSynDiffers,
    /// The target is clean from at least five other networks.
    ManyVantagesClean,
    /// The target is clean from all of one to four other networks.
    FewVantagesClean,
    /// Clean from some, stripped from others.
    VantagesDiffer,
    /// Stripped from every other network, of at least five.
    VantagesStripped,
    /// Stripped from all of one to four other networks.
    FewVantagesStripped,
    /// Clean from inside the server's own network.
    InsideClean,
    /// Without STARTTLS even from there.
    InsideStripped,
    /// Another host in the same network is clean.
    PeerClean,
    /// It is stripped too.
    PeerStripped,
    /// The same host is clean in another network.
    TetherClean,
    /// It is stripped there too.
    TetherStripped,
    /// The interface carried other bytes than were written.
    WireDiffers,
    /// The answer was there before the interface carried the question.
    AnsweredHere,
    /// It carried what was written, and it was changed further on.
    WireEqual,
    /// The port answers at the same hop as the address's other ports.
    SameTerminator,
    /// STARTTLS arrived whole at every hop that quoted it.
    CommandIntact,
}

impl Observation {
    /// Its group and its likelihood under A, A′, B, C1, C2, D1, D2: the expert's, and what was counted.
    pub(crate) fn row(self) -> (Group, Row) {
        let (group, expert) = self.expert();
        let counted = COUNTED.iter().find(|(name, ..)| *name == self.name());
        let row = counted.map_or(expert, |(_, hits, trials)| joined(&expert, hits, trials));
        (group, row)
    }

    /// Its name in reports and counts.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::WorksThoughHidden => "works-though-hidden",
            Self::WorksThoughHiddenUnverified => "works-though-hidden-unverified",
            Self::OwnRefusal => "own-refusal",
            Self::LikeUnknown => "like-unknown",
            Self::LikeUnknownImpossible => "like-unknown-impossible",
            Self::AlteredEcho => "altered-echo",
            Self::ForeignToFixed => "foreign-to-fixed",
            Self::Misshapen => "misshapen",
            Self::ForgedWords => "forged-words",
            Self::OddSuccess => "odd-success",
            Self::SilentForVerb => "silent-for-verb",
            Self::SilentImpossible => "silent-impossible",
            Self::SpellingPasses => "spelling-passes",
            Self::MaskInSlot => "mask-in-slot",
            Self::MaskPerhaps => "mask-perhaps",
            Self::MaskedGreeting => "masked-greeting",
            Self::KnownDeletion => "known-deletion",
            Self::KnownProxy => "known-proxy",
            Self::HostScanner => "host-scanner",
            Self::PlainList => "plain-list",
            Self::EhloUnknown => "ehlo-unknown",
            Self::ControlsClean => "controls-clean",
            Self::ControlsAffected => "controls-affected",
            Self::KnownToOffer => "known-to-offer",
            Self::NegativeAnswers => "negative-answers",
            Self::NearTerminator => "near-terminator",
            Self::IntentPublished => "intent-published",
            Self::IntentAbsent => "intent-absent",
            Self::SplitNoopFails => "split-noop-fails",
            Self::SiblingWorks => "sibling-works",
            Self::HandshakeDies => "handshake-dies",
            Self::ControlsDie => "controls-die",
            Self::ServerFails => "server-fails",
            Self::ForeignLeftover => "foreign-leftover",
            Self::InterceptorIssuer => "interceptor-issuer",
            Self::HostInterceptorIssuer => "host-interceptor-issuer",
            Self::SharedIssuer => "shared-issuer",
            Self::ClonedCertificate => "cloned-certificate",
            Self::TlsaContradicts => "tlsa-contradicts",
            Self::OperatorMistake => "operator-mistake",
            Self::ForeignOwner => "foreign-owner",
            Self::PortClosedForAll => "port-closed-for-all",
            Self::DowngradeSentinel => "downgrade-sentinel",
            Self::RefusedByVersion => "refused-by-version",
            Self::WitnessClean => "witness-clean",
            Self::WitnessTampered => "witness-tampered",
            Self::WitnessUnreached => "witness-unreached",
            Self::WitnessSynDiffers => "witness-syn-differs",
            Self::ManyVantagesClean => "many-vantages-clean",
            Self::FewVantagesClean => "few-vantages-clean",
            Self::VantagesDiffer => "vantages-differ",
            Self::VantagesStripped => "vantages-stripped",
            Self::FewVantagesStripped => "few-vantages-stripped",
            Self::InsideClean => "inside-clean",
            Self::InsideStripped => "inside-stripped",
            Self::PeerClean => "peer-clean",
            Self::PeerStripped => "peer-stripped",
            Self::TetherClean => "tether-clean",
            Self::TetherStripped => "tether-stripped",
            Self::WireDiffers => "wire-differs",
            Self::AnsweredHere => "answered-here",
            Self::WireEqual => "wire-equal",
            Self::SameTerminator => "same-terminator",
            Self::CommandIntact => "command-intact",
        }
    }

    /// Its group and its likelihood under A, A′, B, C1, C2, D1, D2, as an expert puts it.
    #[rustfmt::skip]
    const fn expert(self) -> (Group, Row) {
        use Group as G;
        use Observation as O;
        match self {
            // tables, G1
            O::WorksThoughHidden           => (G::Verb, [0.001, 0.001, 0.35, 0.35, 0.35, 0.35, 0.25]),
            O::OwnRefusal                  => (G::Verb, [0.70, 0.85, 0.01, 0.02, 0.02, 0.02, 0.02]),
            O::LikeUnknown                 => (G::Verb, [0.25, 0.10, 0.40, 0.40, 0.40, 0.30, 0.10]),
            O::AlteredEcho                 => (G::Verb, [0.002, 0.002, 0.55, 0.55, 0.55, 0.40, 0.10]),
            O::SilentForVerb               => (G::Verb, [0.01, 0.02, 0.05, 0.08, 0.08, 0.08, 0.05]),
            // expert, G1: self-made servers do honour what they do not advertise, now and then
            O::WorksThoughHiddenUnverified => (G::Verb, [0.01, 0.01, 0.30, 0.30, 0.30, 0.30, 0.30]),
            // expert: the wording was read in the server's source; other programs imitate it rarely
            O::LikeUnknownImpossible       => (G::Verb, [0.015, 0.015, 0.40, 0.40, 0.40, 0.30, 0.10]),
            // expert: as O6, weighed for boxes in front of the server as well as here
            O::ForeignToFixed              => (G::Verb, [0.003, 0.003, 0.10, 0.12, 0.12, 0.15, 0.30]),
            O::Misshapen                   => (G::Verb, [0.006, 0.006, 0.10, 0.12, 0.12, 0.15, 0.30]),
            O::SilentImpossible            => (G::Verb, [0.001, 0.001, 0.05, 0.08, 0.08, 0.08, 0.05]),
            // expert: as O6, and known of boxes; a box in front of the server says it as well as one here
            O::ForgedWords                 => (G::Verb, [0.004, 0.004, 0.15, 0.15, 0.15, 0.20, 0.30]),
            O::OddSuccess                  => (G::Verb, [0.001, 0.001, 0.20, 0.20, 0.20, 0.10, 0.05]),
            O::SpellingPasses              => (G::Segments, [0.001, 0.001, 0.10, 0.20, 0.20, 0.15, 0.10]),
            // tables, G2
            O::MaskInSlot                  => (G::Mask, [0.003, 0.003, 0.55, 0.45, 0.45, 0.25, 0.02]),
            O::MaskedGreeting              => (G::Mask, [0.003, 0.003, 0.55, 0.45, 0.45, 0.25, 0.02]),
            O::PlainList                   => (G::Mask, [0.97, 0.94, 0.20, 0.25, 0.25, 0.35, 0.48]),
            // expert, G2: the mask is there all the same, only what it covers is open
            O::MaskPerhaps                 => (G::Mask, [0.02, 0.02, 0.55, 0.45, 0.45, 0.25, 0.02]),
            O::KnownDeletion               => (G::Mask, [0.01, 0.02, 0.30, 0.25, 0.25, 0.40, 0.10]),
            O::KnownProxy                  => (G::Mask, [0.02, 0.02, 0.10, 0.30, 0.30, 0.30, 0.30]),
            // a product that runs on hosts, and words that any gateway may borrow: never a place by itself
            O::HostScanner                 => (G::Mask, [0.002, 0.002, 0.05, 0.05, 0.05, 0.15, 0.60]),
            O::EhloUnknown                 => (G::Mask, [0.004, 0.004, 0.30, 0.20, 0.20, 0.10, 0.05]),
            // tables, G4 (controls)
            O::ControlsClean               => (G::Controls, [0.95, 0.95, 0.95, 0.10, 0.10, 0.03, 0.03]),
            O::ControlsAffected            => (G::Controls, [0.01, 0.01, 0.01, 0.75, 0.75, 0.90, 0.90]),
            // expert: a control's entry may have grown old
            O::KnownToOffer                => (G::Controls, [0.02, 0.05, 0.05, 0.60, 0.60, 0.60, 0.60]),
            // expert, after G6 "SYN-ACK at hop <= 1"
            O::NegativeAnswers             => (G::Terminator, [0.005, 0.005, 0.005, 0.20, 0.20, 0.30, 0.80]),
            // tables, G6 "SYN-ACK RTT < 2 ms", used only against the same address on another port
            O::NearTerminator              => (G::Terminator, [0.005, 0.005, 0.005, 0.02, 0.02, 0.30, 0.80]),
            // tables, G10
            O::IntentPublished             => (G::Intent, [0.02, 0.10, 0.30, 0.60, 0.60, 0.60, 0.60]),
            O::IntentAbsent                => (G::Intent, [0.98, 0.90, 0.70, 0.40, 0.40, 0.40, 0.40]),
            // expert: TCP is a stream to every mail server; only a filter reads packets
            O::SplitNoopFails              => (G::Segments, [0.005, 0.005, 0.50, 0.40, 0.40, 0.30, 0.05]),
            // expert, handshakes: a process that dies with the ClientHello unread resets, so even a
            // sibling that works leaves the server in question
            O::SiblingWorks                => (G::Handshake, [0.12, 0.12, 0.15, 0.35, 0.35, 0.35, 0.30]),
            O::HandshakeDies               => (G::Handshake, [0.10, 0.10, 0.10, 0.15, 0.15, 0.15, 0.15]),
            O::ControlsDie                 => (G::Handshake, [0.005, 0.005, 0.005, 0.40, 0.40, 0.40, 0.40]),
            O::ServerFails                 => (G::Handshake, [0.60, 0.60, 0.05, 0.05, 0.05, 0.05, 0.05]),
            O::ForeignLeftover             => (G::Handshake, [0.01, 0.01, 0.20, 0.30, 0.30, 0.30, 0.20]),
            O::DowngradeSentinel           => (G::Handshake, [0.005, 0.005, 0.30, 0.30, 0.30, 0.30, 0.30]),
            O::RefusedByVersion            => (G::Handshake, [0.05, 0.05, 0.20, 0.30, 0.30, 0.30, 0.30]),
            // expert, certificates
            O::InterceptorIssuer           => (G::Certificate, [0.002, 0.002, 0.05, 0.10, 0.10, 0.40, 0.60]),
            O::HostInterceptorIssuer       => (G::Certificate, [0.002, 0.002, 0.01, 0.02, 0.02, 0.05, 0.60]),
            O::SharedIssuer                => (G::Certificate, [0.001, 0.001, 0.001, 0.30, 0.30, 0.50, 0.50]),
            O::ClonedCertificate           => (G::Certificate, [0.002, 0.002, 0.10, 0.30, 0.30, 0.30, 0.30]),
            O::TlsaContradicts             => (G::Certificate, [0.02, 0.02, 0.30, 0.60, 0.60, 0.60, 0.60]),
            O::OperatorMistake             => (G::Certificate, [0.90, 0.80, 0.30, 0.30, 0.30, 0.30, 0.30]),
            O::ForeignOwner                => (G::Terminator, [0.005, 0.005, 0.02, 0.40, 0.40, 0.30, 0.20]),
            // expert, ports
            O::PortClosedForAll            => (G::Controls, [0.01, 0.01, 0.01, 0.60, 0.60, 0.40, 0.20]),
            // tables, G3; a transit need not lie on the way to the witness as well
            O::WitnessClean                => (G::Witness, [0.97, 0.97, 0.95, 0.35, 0.15, 0.03, 0.03]),
            O::WitnessTampered             => (G::Witness, [0.005, 0.005, 0.02, 0.65, 0.82, 0.95, 0.95]),
            // expert, G3: the control channel answers, so the way there is open, and not on this port
            O::WitnessUnreached            => (G::Witness, [0.03, 0.03, 0.03, 0.50, 0.75, 0.60, 0.40]),
            // expert, G6: as a proxy's SYN; routes of different lengths give the same
            O::WitnessSynDiffers           => (G::Terminator, [0.05, 0.05, 0.05, 0.20, 0.30, 0.40, 0.50]),
            // tables, G5; with fewer than five networks a firewall that exempts some is no surprise
            O::ManyVantagesClean           => (G::Vantages, [0.01, 0.80, 0.15, 0.80, 0.93, 0.95, 0.95]),
            O::FewVantagesClean            => (G::Vantages, [0.01, 0.90, 0.30, 0.85, 0.95, 0.95, 0.95]),
            O::VantagesDiffer              => (G::Vantages, [0.02, 0.80, 0.30, 0.60, 0.50, 0.50, 0.50]),
            O::VantagesStripped            => (G::Vantages, [0.95, 0.05, 0.80, 0.10, 0.02, 0.01, 0.01]),
            // expert, after G9: two networks may share a transit, five seldom do
            O::FewVantagesStripped         => (G::Vantages, [0.95, 0.15, 0.85, 0.35, 0.05, 0.02, 0.02]),
            // expert: behind the firewall only the server itself speaks; who decides by who asks mostly spares its own
            O::InsideClean                 => (G::Inside, [0.005, 0.60, 0.95, 0.95, 0.95, 0.95, 0.95]),
            O::InsideStripped              => (G::Inside, [0.95, 0.50, 0.03, 0.03, 0.03, 0.03, 0.03]),
            // tables, G7
            O::WireDiffers                 => (G::Wire, [0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.95]),
            // expert, G7: the same proof by time; nothing beyond an interface answers what has not passed it
            O::AnsweredHere                => (G::Wire, [0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.95]),
            O::WireEqual                   => (G::Wire, [0.99, 0.99, 0.99, 0.99, 0.99, 0.99, 0.05]),
            // tables, G8
            O::PeerClean                   => (G::Peer, [0.02, 0.05, 0.02, 0.05, 0.05, 0.05, 0.95]),
            O::PeerStripped                => (G::Peer, [0.95, 0.90, 0.95, 0.93, 0.93, 0.93, 0.03]),
            // tables, G9; two networks may share a transit
            O::TetherClean                 => (G::Tether, [0.01, 0.60, 0.10, 0.60, 0.93, 0.95, 0.05]),
            O::TetherStripped              => (G::Tether, [0.95, 0.35, 0.88, 0.40, 0.05, 0.03, 0.90]),
            // tables, G6 "same hop, same TTL"
            O::SameTerminator              => (G::Terminator, [0.90, 0.90, 0.80, 0.75, 0.75, 0.65, 0.10]),
            // expert, G11: says nothing of the other direction
            O::CommandIntact               => (G::Path, [0.97, 0.97, 0.60, 0.30, 0.20, 0.15, 0.15]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priors_are_distributions() {
        for state in [
            State::NoTls,
            State::NoTlsForPeople,
            State::Refused,
            State::NoHandshake,
            State::BadCertificate,
            State::Closed,
            State::Odd,
            State::Altered,
            State::AlteredHere,
        ] {
            let sum: f64 = state.prior().iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "{state:?} sums to {sum}");
        }
    }

    #[test]
    fn counts_move_a_row_towards_what_was_counted() {
        let expert = [0.5; CLASSES];
        let row = joined(&expert, &[20, 0, 0, 0, 0, 0, 9], &[20, 20, 0, 0, 0, 0, 3]);
        assert_eq!((row[0], row[1], row[2]), (0.75, 0.25, 0.5));
        // More hits than trials are a broken table, not a probability above 1.
        assert!(row[6] < 1.0);
    }
}
