//! The words for people behind the words for scripts: one sentence each, in one place.

use anstyle::{AnsiColor, Style};
use hoofbeat_diagnosis::{
    Confidence, Encryption, LocationClass, Mechanism, Verdict, Weakness, Who,
};

/// The headline of a verdict.
pub(crate) const fn headline(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Clear => "CLEAR",
        Verdict::Interference => "INTERFERENCE",
        Verdict::Server => "THE SERVER'S OWN DOING",
        Verdict::Unreachable => "UNREACHABLE",
        Verdict::Inconclusive => "INCONCLUSIVE",
    }
}

/// The colour of a verdict, seen only on a terminal.
pub(crate) const fn colour(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Clear => AnsiColor::Green,
        Verdict::Interference => AnsiColor::Red,
        Verdict::Server => AnsiColor::Yellow,
        Verdict::Unreachable | Verdict::Inconclusive => AnsiColor::Cyan,
    };
    colour.on_default().bold()
}

/// What a mechanism means.
pub(crate) const fn mechanism(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::CapabilityMasked => "the offer of encryption is overwritten on its way to you",
        Mechanism::CapabilityRemoved => "the offer of encryption is deleted on its way to you",
        Mechanism::CommandRewritten => {
            "your request for encryption is changed into something else on its way to the server"
        }
        Mechanism::CommandRefused => "a box refuses encryption in the server's place",
        Mechanism::CommandDropped => "your request for encryption is swallowed on its way",
        Mechanism::EhloRefused => "extended SMTP, and with it encryption, is refused on the way",
        Mechanism::SessionProxied => "another program answers in the server's place",
        Mechanism::HandshakeReset => "the connection is torn down as soon as encryption starts",
        Mechanism::HandshakeBlackholed => "everything falls silent as soon as encryption starts",
        Mechanism::TlsIntercepted => {
            "the encryption ends at somebody else, who can read everything"
        }
        Mechanism::TlsDowngraded => "only older or weaker encryption gets through",
        Mechanism::PlaintextInjected => "foreign replies are slipped in before encryption starts",
        Mechanism::PortBlocked => "the port is closed by something between you and the server",
        Mechanism::BannerMasked => {
            "the greeting is blanked out; encryption works, but some senders then do not ask for it"
        }
        Mechanism::NotOffered => "the server offers no encryption",
        Mechanism::HiddenFromUs => "the server offers encryption, but not to your address",
        Mechanism::TlsUnavailable => "the server says that its encryption is out of order just now",
        Mechanism::CertificateInvalid => {
            "encryption works, but the certificate does not prove whose server it is"
        }
        Mechanism::StarttlsBroken => "the server agrees to encrypt and then fails to",
    }
}

/// What a weakness means.
pub(crate) const fn weakness(weakness: Weakness) -> &'static str {
    match weakness {
        Weakness::AuthBeforeTls => "passwords are accepted before encryption",
        Weakness::CommandInjection => {
            "commands slipped in before encryption are executed after it (CVE-2011-0411 class)"
        }
        Weakness::ExpiresSoon => "the certificate ends within two weeks",
        Weakness::OldTls => "only superseded TLS is spoken",
        Weakness::NoPolicy => {
            "the domain publishes neither DANE nor MTA-STS, so senders may be talked out of encryption"
        }
        Weakness::PolicyMismatch => "what the domain publishes contradicts what the server shows",
        Weakness::Preauth => "the session starts logged in, which leaves no room for encryption",
        Weakness::LogindisabledMissing => "plaintext LOGIN is not refused before encryption",
    }
}

/// What a place means.
pub(crate) const fn place(class: LocationClass) -> &'static str {
    match class {
        LocationClass::Server => "the mail server itself",
        LocationClass::ServerPolicy => "a rule of the mail server about who asks",
        LocationClass::ServerEdge => "a firewall in front of the server",
        LocationClass::Transit => "a network between the two providers",
        LocationClass::AccessNetwork => "your internet provider",
        LocationClass::LocalNetwork => "your local network",
        LocationClass::ThisHost => "software on this computer",
        LocationClass::Undetermined => "not known",
    }
}

/// What the confidence word rests on.
pub(crate) const fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Established => "established: independent evidence agrees",
        Confidence::Likely => "likely",
        Confidence::Indicated => "indicated, not proven",
        Confidence::Undetermined => "undetermined",
    }
}

/// What a witness's report is worth.
pub(crate) fn standing(standing: &str) -> &str {
    match standing {
        "signed" => "signed with its key, about this session",
        "absent" => "there is none",
        "wrong-key" => "signed with another key than the expected one; it counts for nothing",
        "forged" => "its signature does not belong to it; it counts for nothing",
        "cut-off" => "cut off; it counts for nothing",
        "other-session" => "about another session; it counts for nothing",
        "unchecked" => "not checked; it counts for nothing",
        other => other,
    }
}

/// What this service gives now.
pub(crate) const fn encryption(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Verified => "yes, and with the right server",
        Encryption::Unverified => "yes, but with whom is not proven",
        Encryption::None => "no",
        Encryption::Unknown => "not found out",
    }
}

/// Whom a remedy is for.
pub(crate) const fn who(who: Who) -> &'static str {
    match who {
        Who::FirewallOperator => "If you run the firewall",
        Who::ServerOperator => "If you run the mail server",
        Who::Sender => "If you send mail to it",
        Who::Reader => "If you read your mail there",
        Who::NetworkOperator => "If you run the network",
    }
}
