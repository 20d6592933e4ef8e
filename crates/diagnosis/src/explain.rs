//! Sentences for a tired postmaster: the finding in one, the whole in one, what to test next.

use alloc::{format, string::String, vec::Vec};
use hoofbeat_observation::measurement::Unresolved;

use crate::{
    Finding, Location, LocationClass, Mechanism, Overall, Question, Verdict,
    fingerprint::catalogue, verdict,
};

/// The place as words of a sentence.
const fn place(class: LocationClass) -> &'static str {
    match class {
        LocationClass::Server => "at the server itself",
        LocationClass::ServerPolicy => "by a rule of the server's",
        LocationClass::ServerEdge => "in a firewall in front of the server",
        LocationClass::Transit => "between the two networks",
        LocationClass::AccessNetwork => "in the access provider's network",
        LocationClass::LocalNetwork => "in the local network",
        LocationClass::ThisHost => "on this computer",
        LocationClass::Undetermined => "at a place not known",
    }
}

/// Whether a mechanism is a state of the server's own.
const fn is_servers(mechanism: Mechanism) -> bool {
    matches!(
        mechanism,
        Mechanism::NotOffered
            | Mechanism::HiddenFromUs
            | Mechanism::TlsUnavailable
            | Mechanism::CertificateInvalid
            | Mechanism::StarttlsBroken
    )
}

/// A finding in one sentence. `reason` is the judge's, without the service's name.
pub(crate) fn finding(finding: &Finding, reason: &str, suspected: Option<Mechanism>) -> String {
    let mut out = format!("{}: {reason}", finding.service);
    if let Some(suspected) = suspected.filter(|mechanism| !is_servers(*mechanism)) {
        out.push_str(&format!(" (in question: {suspected})"));
    }
    if finding.verdict == Verdict::Interference {
        if let Some(product) = &finding.product {
            out.push_str(&format!(
                "; it looks like {}",
                catalogue::name_of(product).unwrap_or(product)
            ));
        }
        match finding.location.class {
            LocationClass::Undetermined => {
                if let Some((first, second)) = leaders(finding) {
                    out.push_str(&format!(
                        "; where is not settled (most likely {}, else {})",
                        place(first),
                        place(second)
                    ));
                }
            }
            class => {
                out.push_str(&format!("; most likely {}", place(class)));
                // On a border the other side is said in the same breath.
                if finding.location.segment.is_some()
                    && finding.location.probability < 0.80
                    && let Some((_, second)) = leaders(finding)
                {
                    out.push_str(&format!(", else {}", place(second)));
                }
            }
        }
    }
    if finding.verdict == Verdict::Clear
        && let Some(weakness) = finding.weaknesses.first()
    {
        out.push_str(&format!("; weakness: {weakness}"));
        for more in finding.weaknesses.iter().skip(1) {
            out.push_str(&format!(", {more}"));
        }
    }
    out.push('.');
    out
}

/// The two most likely places.
pub(crate) fn leaders(finding: &Finding) -> Option<(LocationClass, LocationClass)> {
    leading_two(&finding.location)
}

/// The two most likely places of a location.
pub(crate) fn leading_two(location: &Location) -> Option<(LocationClass, LocationClass)> {
    let mut places: Vec<(LocationClass, f64)> = location
        .posterior
        .iter()
        .filter_map(|(word, probability)| Some((LocationClass::of(word)?, *probability)))
        .filter(|(class, _)| *class != LocationClass::Undetermined)
        .collect();
    places.sort_by(|a, b| b.1.total_cmp(&a.1));
    Some((places.first()?.0, places.get(1)?.0))
}

/// The whole in one sentence: the worst finding, and how many there are of what.
pub(crate) fn overall(findings: &[Finding], sentences: &[String]) -> Overall {
    let status = |finding: &Finding| verdict::status_of(finding);
    let worst = verdict::worst(findings.iter().map(status));
    let leading = findings
        .iter()
        .zip(sentences)
        .find(|(finding, _)| Some(status(finding)) == worst);
    let Some((finding, sentence)) = leading else {
        return Overall {
            verdict: Verdict::Inconclusive,
            summary: "Nothing was measured.".into(),
        };
    };
    let alike = findings
        .iter()
        .filter(|other| other.verdict == finding.verdict)
        .count();
    let summary = match (findings.len(), alike) {
        (1, _) => sentence.clone(),
        (all, alike)
            if all == alike
                && finding.verdict == Verdict::Clear
                && finding.weaknesses.is_empty() =>
        {
            format!("All {all} services are encrypted and verified.")
        }
        (all, 1) => format!("{sentence} (One of {all} services.)"),
        (all, alike) => format!(
            "{sentence} ({alike} of {all} services are {}.)",
            finding.verdict
        ),
    };
    Overall {
        verdict: finding.verdict,
        summary,
    }
}

/// No service was found at all.
pub(crate) fn unresolved(target: &str, why: &Unresolved) -> Overall {
    match why {
        Unresolved::NullMx => Overall {
            verdict: Verdict::Unreachable,
            summary: format!("{target} takes no mail: it says so by a null MX record (RFC 7505)."),
        },
        Unresolved::NoServices => Overall {
            verdict: Verdict::Unreachable,
            summary: format!("{target} has neither mail servers nor addresses in the DNS."),
        },
        Unresolved::Dns { failure } => Overall {
            verdict: Verdict::Inconclusive,
            summary: format!("The DNS gave no usable answer for {target}: {failure}."),
        },
    }
}

/// What a test would tell, for `next`.
pub(crate) fn next(question: &Question) -> &'static str {
    match question {
        Question::Differential(_) => {
            "send STARTTLS although it is not offered, and a made-up command beside it"
        }
        Question::MixedCase(_) => "send StartTLS in mixed case: naive filters miss it",
        Question::SplitVerb(_) => {
            "send STARTTLS in two segments: filters that read packets miss it"
        }
        Question::Repeat(..) => "ask again: do the answers differ between connections?",
        Question::Siblings(_) => "compare with the same host's other ports and addresses",
        Question::Controls(..) => {
            "speak to other providers' servers on this port, to tell this network from that server"
        }
        Question::NegativeControl(_) => "connect to an address where nothing may answer",
        Question::LegacyTls(_) => "ask which old TLS versions the server speaks",
        Question::Injection(_) => {
            "test whether a command in the clear behind STARTTLS is executed (only on a server that you run)"
        }
        Question::Trace(_) => {
            "trace the path: hops quote what they received, which shows where it was changed (hoofbeat trace)"
        }
        Question::Witness(..) => {
            "say the same to a cooperating server and compare what both ends saw (hoofbeat check --witness)"
        }
    }
}
