//! How likely an observation is under each hypothesis: the reviewed tables, one place.
//!
//! Expert starting values, to be replaced by counts from the lab. Columns: A the server offers nobody,
//! A′ the server decides by who asks, B a firewall in front of the server, C transit or access provider,
//! D1 the client's own network, D2 software on this host. Rows marked `tables` are from the project's
//! attribution notes (§6.4 there); rows marked `expert` were added here, in the same spirit.

/// One value a hypothesis: A, A′, B, C, D1, D2.
pub(crate) type Row = [f64; 6];

/// Of the mass of C, how much is the client's access provider; the rest is transit.
///
/// One vantage without hop evidence cannot tell them apart; every documented case of 2008–2026 was an
/// access provider (O2 Germany, Cricket, Vodafone India, TOT and True in Thailand), so they get most of it.
pub(crate) const ACCESS_SHARE: f64 = 0.8;

/// Cap on the likelihood ratio that one group may contribute.
pub(crate) const RATIO_CAP: f64 = 50.0;

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
}

impl State {
    /// The prior.
    pub(crate) const fn prior(self) -> Row {
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
}

impl Group {
    /// A fingerprint names a product; it is no independent proof.
    pub(crate) const fn is_fingerprint(self) -> bool {
        matches!(self, Self::Mask)
    }
}

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
}

impl Observation {
    /// Its group and its likelihood under A, A′, B, C, D1, D2.
    #[rustfmt::skip]
    pub(crate) const fn row(self) -> (Group, Row) {
        use Group as G;
        use Observation as O;
        match self {
            // tables, G1
            O::WorksThoughHidden           => (G::Verb, [0.001, 0.001, 0.35, 0.35, 0.35, 0.25]),
            O::OwnRefusal                  => (G::Verb, [0.70, 0.85, 0.01, 0.02, 0.02, 0.02]),
            O::LikeUnknown                 => (G::Verb, [0.25, 0.10, 0.40, 0.40, 0.30, 0.10]),
            O::AlteredEcho                 => (G::Verb, [0.002, 0.002, 0.55, 0.55, 0.40, 0.10]),
            O::SilentForVerb               => (G::Verb, [0.01, 0.02, 0.05, 0.08, 0.08, 0.05]),
            // expert, G1: self-made servers do honour what they do not advertise, now and then
            O::WorksThoughHiddenUnverified => (G::Verb, [0.01, 0.01, 0.30, 0.30, 0.30, 0.30]),
            // expert: the wording was read in the server's source; other programs imitate it rarely
            O::LikeUnknownImpossible       => (G::Verb, [0.015, 0.015, 0.40, 0.40, 0.30, 0.10]),
            // expert: as O6, weighed for boxes in front of the server as well as here
            O::ForeignToFixed              => (G::Verb, [0.003, 0.003, 0.10, 0.12, 0.15, 0.30]),
            O::Misshapen                   => (G::Verb, [0.006, 0.006, 0.10, 0.12, 0.15, 0.30]),
            O::SilentImpossible            => (G::Verb, [0.001, 0.001, 0.05, 0.08, 0.08, 0.05]),
            // expert: as O6, and known of boxes; a box in front of the server says it as well as one here
            O::ForgedWords                 => (G::Verb, [0.004, 0.004, 0.15, 0.15, 0.20, 0.30]),
            O::OddSuccess                  => (G::Verb, [0.001, 0.001, 0.20, 0.20, 0.10, 0.05]),
            O::SpellingPasses              => (G::Segments, [0.001, 0.001, 0.10, 0.20, 0.15, 0.10]),
            // tables, G2
            O::MaskInSlot                  => (G::Mask, [0.003, 0.003, 0.55, 0.45, 0.25, 0.02]),
            O::MaskedGreeting              => (G::Mask, [0.003, 0.003, 0.55, 0.45, 0.25, 0.02]),
            O::PlainList                   => (G::Mask, [0.97, 0.94, 0.20, 0.25, 0.35, 0.48]),
            // expert, G2: the mask is there all the same, only what it covers is open
            O::MaskPerhaps                 => (G::Mask, [0.02, 0.02, 0.55, 0.45, 0.25, 0.02]),
            O::KnownDeletion               => (G::Mask, [0.01, 0.02, 0.30, 0.25, 0.40, 0.10]),
            O::KnownProxy                  => (G::Mask, [0.02, 0.02, 0.10, 0.30, 0.30, 0.30]),
            O::HostScanner                 => (G::Mask, [0.002, 0.002, 0.01, 0.01, 0.05, 0.60]),
            O::EhloUnknown                 => (G::Mask, [0.004, 0.004, 0.30, 0.20, 0.10, 0.05]),
            // tables, G4 (controls)
            O::ControlsClean               => (G::Controls, [0.95, 0.95, 0.95, 0.10, 0.03, 0.03]),
            O::ControlsAffected            => (G::Controls, [0.01, 0.01, 0.01, 0.75, 0.90, 0.90]),
            // expert: a control's entry may have grown old
            O::KnownToOffer                => (G::Controls, [0.02, 0.05, 0.05, 0.60, 0.60, 0.60]),
            // expert, after G6 "SYN-ACK at hop <= 1"
            O::NegativeAnswers             => (G::Terminator, [0.005, 0.005, 0.005, 0.20, 0.30, 0.80]),
            // tables, G6 "SYN-ACK RTT < 2 ms", used only against the same address on another port
            O::NearTerminator              => (G::Terminator, [0.005, 0.005, 0.005, 0.02, 0.30, 0.80]),
            // tables, G10
            O::IntentPublished             => (G::Intent, [0.02, 0.10, 0.30, 0.60, 0.60, 0.60]),
            O::IntentAbsent                => (G::Intent, [0.98, 0.90, 0.70, 0.40, 0.40, 0.40]),
            // expert: TCP is a stream to every mail server; only a filter reads packets
            O::SplitNoopFails              => (G::Segments, [0.005, 0.005, 0.50, 0.40, 0.30, 0.05]),
            // expert, handshakes: a process that dies with the ClientHello unread resets, so even a
            // sibling that works leaves the server in question
            O::SiblingWorks                => (G::Handshake, [0.12, 0.12, 0.15, 0.35, 0.35, 0.30]),
            O::HandshakeDies               => (G::Handshake, [0.10, 0.10, 0.10, 0.15, 0.15, 0.15]),
            O::ControlsDie                 => (G::Handshake, [0.005, 0.005, 0.005, 0.40, 0.40, 0.40]),
            O::ServerFails                 => (G::Handshake, [0.60, 0.60, 0.05, 0.05, 0.05, 0.05]),
            O::ForeignLeftover             => (G::Handshake, [0.01, 0.01, 0.20, 0.30, 0.30, 0.20]),
            O::DowngradeSentinel           => (G::Handshake, [0.005, 0.005, 0.30, 0.30, 0.30, 0.30]),
            O::RefusedByVersion            => (G::Handshake, [0.05, 0.05, 0.20, 0.30, 0.30, 0.30]),
            // expert, certificates
            O::InterceptorIssuer           => (G::Certificate, [0.002, 0.002, 0.05, 0.10, 0.40, 0.60]),
            O::HostInterceptorIssuer       => (G::Certificate, [0.002, 0.002, 0.01, 0.02, 0.05, 0.60]),
            O::SharedIssuer                => (G::Certificate, [0.001, 0.001, 0.001, 0.30, 0.50, 0.50]),
            O::ClonedCertificate           => (G::Certificate, [0.002, 0.002, 0.10, 0.30, 0.30, 0.30]),
            O::TlsaContradicts             => (G::Certificate, [0.02, 0.02, 0.30, 0.60, 0.60, 0.60]),
            O::OperatorMistake             => (G::Certificate, [0.90, 0.80, 0.30, 0.30, 0.30, 0.30]),
            O::ForeignOwner                => (G::Terminator, [0.005, 0.005, 0.02, 0.40, 0.30, 0.20]),
            // expert, ports
            O::PortClosedForAll            => (G::Controls, [0.01, 0.01, 0.01, 0.60, 0.40, 0.20]),
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
        ] {
            let sum: f64 = state.prior().iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "{state:?} sums to {sum}");
        }
    }
}
