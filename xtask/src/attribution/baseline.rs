//! Three rules that people use today, applied to the very archives that Hoofbeat is scored on.
//!
//! Each is written as its users describe it, with nothing of Hoofbeat's judgement in it: what is compared are methods,
//! not measurements.

use serde_json::Value;

use super::archive::{Archive, bytes, reply};
use super::place::{Place, Segment};

/// What a rule concludes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    pub(crate) place: Place,
    pub(crate) segment: Option<Segment>,
}

impl Claim {
    const fn at(place: Place) -> Self {
        Self {
            place,
            segment: None,
        }
    }
}

/// A rule with what stands for it in the tables.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) says: &'static str,
    /// Sees the client's archive and, where there is one, that of the second vantage.
    pub(crate) apply: fn(&Archive, Option<&Archive>) -> Claim,
}

/// The rules, in the order of the tables.
pub(crate) const RULES: [Rule; 3] = [
    Rule {
        name: "two vantages",
        says: "STARTTLS here: fine. Missing here and there on another network: the server. Missing here only: this network's provider.",
        apply: two_vantages,
    },
    Rule {
        name: "terminating TTL",
        says: "as CenTrace: the first TTL at which STARTTLS is answered other than by ICMP, against that of a harmless command. \
            Earlier: a box at that hop. The same, and refused: a firewall at the endpoint.",
        apply: terminating_ttl,
    },
    Rule {
        name: "fingerprint",
        says: "an overwritten keyword or a starred greeting is the server's own firewall; STARTTLS missing otherwise is the server.",
        apply: fingerprint,
    },
];

/// How STARTTLS fares in the plain dialogues of one vantage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sight {
    /// Offered, and the handshake came about.
    Works,
    /// A capability list came, and STARTTLS did not come about.
    Missing,
    /// Nothing was said.
    Nothing,
}

fn sight(archive: &Archive) -> Sight {
    let lists: Vec<&Value> = archive
        .of_target("dialogue")
        .filter(|dialogue| dialogue["variation"] == "baseline")
        .collect();
    let works = |dialogue: &&Value| {
        offers(dialogue) && dialogue["handshake"]["outcome"]["how"] == "completed"
    };
    if lists.iter().any(works) {
        Sight::Works
    } else if lists
        .iter()
        .any(|dialogue| reply(dialogue, "greeting").is_some_and(|bytes| !bytes.is_empty()))
    {
        Sight::Missing
    } else {
        Sight::Nothing
    }
}

fn offers(dialogue: &Value) -> bool {
    let list = reply(dialogue, "capabilities").unwrap_or_default();
    words(&list)
        .any(|word| word.eq_ignore_ascii_case("STARTTLS") || word.eq_ignore_ascii_case("STLS"))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let words: Vec<String> = text
        .split(|one: char| one.is_whitespace() || one == '-')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    words.into_iter()
}

fn two_vantages(here: &Archive, there: Option<&Archive>) -> Claim {
    let elsewhere = there.map_or(Sight::Nothing, sight);
    Claim::at(match (sight(here), elsewhere) {
        (Sight::Works, _) => Place::None,
        (Sight::Missing | Sight::Nothing, Sight::Works) => Place::Access,
        (Sight::Missing, Sight::Missing) => Place::Server,
        _ => Place::Undetermined,
    })
}

fn fingerprint(here: &Archive, _: Option<&Archive>) -> Claim {
    let marked = here.of_target("dialogue").any(is_marked);
    Claim::at(match sight(here) {
        _ if marked => Place::ServerEdge,
        Sight::Works => Place::None,
        Sight::Missing => Place::Server,
        Sight::Nothing => Place::Undetermined,
    })
}

/// `XXXXXXXA` for a keyword, or a greeting of stars: the fingerprints that every guide prints.
fn is_marked(dialogue: &Value) -> bool {
    let list = reply(dialogue, "capabilities").unwrap_or_default();
    let overwritten = words(&list).any(|word| word.len() >= 4 && word.starts_with("XXX"));
    let greeting = reply(dialogue, "greeting").unwrap_or_default();
    let stars = greeting.iter().filter(|byte| **byte == b'*').count();
    overwritten || stars >= 8
}

/// Sooner than any retransmission, microseconds: what comes in this time answers the limited packet itself.
const PROMPT: u64 = 150_000;

/// What one limited packet met, as CenTrace tells answers apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Met {
    /// Only ICMP, or nothing.
    Nobody {
        /// A router told that it dropped the packet.
        router: bool,
    },
    /// Somebody answered this very packet.
    Somebody { refuses: bool },
    /// The server answered once the packet was sent again without a limit.
    Later { refuses: bool },
}

fn terminating_ttl(here: &Archive, _: Option<&Archive>) -> Claim {
    let met = |payload: &'static str| -> Vec<(u8, Met)> {
        let probes = here
            .of_target("trace")
            .filter(|trace| trace["direction"] == "to-server" && trace["method"] == "sweep")
            .filter_map(|trace| trace["probes"].as_array())
            .flatten()
            .filter(|probe| probe["payload"] == payload);
        probes
            .filter_map(|probe| Some((u8::try_from(probe["ttl"].as_u64()?).ok()?, met(probe))))
            .collect()
    };
    let (control, test) = (met("control"), met("start-tls"));
    let Some((server_at, _)) = first_answer(&control) else {
        // Nothing to compare with. It measures on only where test and control differ without a limit.
        return Claim::at(match sight(here) {
            Sight::Works => Place::None,
            _ => Place::Undetermined,
        });
    };
    let later = test.iter().find_map(|(_, met)| match met {
        Met::Later { refuses } => Some((server_at, *refuses)),
        _ => None,
    });
    let Some((ends_at, refuses)) = first_answer(&test).or(later).or_else(|| dropped(&test)) else {
        return Claim::at(Place::Undetermined);
    };
    if !refuses {
        return Claim::at(Place::None);
    }
    if ends_at > server_at {
        // "Terminating TTL past control": the hop cannot be told.
        return Claim::at(Place::Undetermined);
    }
    if ends_at == server_at {
        return Claim::at(Place::ServerEdge);
    }
    Claim {
        place: place_of_hop(here, ends_at),
        segment: Some(Segment {
            after: ends_at.saturating_sub(1),
            up_to: ends_at,
        }),
    }
}

/// The precedence within one probe: what is not ICMP first. A FIN is left out: in a standing connection it is the server
/// that has had enough errors.
fn met(probe: &Value) -> Met {
    let sent = probe["at"].as_u64().unwrap_or_default();
    let answers = || probe["answers"].as_array().into_iter().flatten();
    let is = |answer: &Value, kinds: &[&str]| kinds.iter().any(|kind| answer["answer"] == *kind);
    let router = answers().any(|answer| is(answer, &["time-exceeded", "unreachable", "expired"]));
    let Some(answer) = answers().find(|answer| is(answer, &["reply", "reset", "acknowledged"]))
    else {
        return Met::Nobody { router };
    };
    let refuses = is(answer, &["reset"]) || is(answer, &["reply"]) && !is_positive(answer);
    let after = answer["at"]
        .as_u64()
        .unwrap_or_default()
        .saturating_sub(sent);
    if router && after >= PROMPT {
        Met::Later { refuses }
    } else {
        Met::Somebody { refuses }
    }
}

fn is_positive(answer: &Value) -> bool {
    let text = String::from_utf8_lossy(&bytes(&answer["bytes"])).into_owned();
    text.starts_with('2') || text.starts_with("+OK") || text.contains(" OK")
}

/// The lowest TTL that somebody answers, and whether with a refusal.
fn first_answer(met: &[(u8, Met)]) -> Option<(u8, bool)> {
    met.iter()
        .filter_map(|(ttl, met)| match met {
            Met::Somebody { refuses } => Some((*ttl, *refuses)),
            _ => None,
        })
        .min()
}

/// Silence from here on, behind the last router that dropped the packet: a dropper's.
fn dropped(met: &[(u8, Met)]) -> Option<(u8, bool)> {
    let routers = met
        .iter()
        .filter(|(_, met)| *met == Met::Nobody { router: true });
    Some((routers.map(|(ttl, _)| *ttl).max()?.saturating_add(1), true))
}

/// Whose router it is, by the address that the control's sweep met there: the systems of the two ends, else between.
fn place_of_hop(here: &Archive, hop: u8) -> Place {
    if hop == 1 {
        return Place::Local;
    }
    let routers = |wanted: u8| {
        here.of_target("trace")
            .filter_map(|trace| trace["probes"].as_array())
            .flatten()
            .filter(move |probe| probe["ttl"].as_u64() == Some(u64::from(wanted)))
            .filter_map(|probe| probe["answers"].as_array())
            .flatten()
            .filter(|answer| answer["answer"] == "time-exceeded")
            .filter_map(|answer| answer["from"].as_str())
    };
    let system = |wanted: u8| routers(wanted).find_map(|address| here.system_of(address));
    let target = here
        .of_target("dialogue")
        .find_map(|dialogue| here.system_of(dialogue["service"]["address"].as_str()?));
    let Some(own) = system(hop) else {
        return Place::Undetermined;
    };
    if Some(own) == system(2) {
        Place::Access
    } else if Some(own) == target {
        Place::ServerEdge
    } else {
        Place::Transit
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::{archive, dialogue};
    use super::*;
    use serde_json::json;

    const OFFERS: &str = "250-mx\r\n250 STARTTLS\r\n";
    const PLAIN: &str = "250-mx\r\n250 SIZE\r\n";
    const MASKED: &str = "250-mx\r\n250 XXXXXXXA\r\n";

    fn seen(capabilities: &str) -> Archive {
        archive(&[dialogue("220 mx\r\n", capabilities, capabilities == OFFERS)])
    }

    #[test]
    fn two_vantages_blame_whoever_differs() {
        let claim = |here: &str, there: &str| two_vantages(&seen(here), Some(&seen(there))).place;
        assert_eq!(claim(OFFERS, PLAIN), Place::None);
        assert_eq!(claim(PLAIN, OFFERS), Place::Access);
        assert_eq!(claim(PLAIN, PLAIN), Place::Server);
        assert_eq!(two_vantages(&seen(PLAIN), None).place, Place::Undetermined);
    }

    #[test]
    fn fingerprints_blame_the_edge() {
        let claim = |archive: &Archive| fingerprint(archive, None).place;
        assert_eq!(claim(&seen(MASKED)), Place::ServerEdge);
        assert_eq!(claim(&seen(PLAIN)), Place::Server);
        assert_eq!(claim(&seen(OFFERS)), Place::None);
        let starred = archive(&[dialogue("220 **********\r\n", PLAIN, false)]);
        assert_eq!(claim(&starred), Place::ServerEdge);
    }

    fn probe(payload: &str, ttl: u8, answer: &Value) -> Value {
        json!({"ttl": ttl, "payload": payload, "answers": [answer]})
    }

    fn traced(test: &[Value]) -> Archive {
        let router =
            |hop: u8| json!({"answer": "time-exceeded", "from": format!("198.18.{hop}.1")});
        let mut probes: Vec<Value> = (1..4)
            .map(|hop| probe("control", hop, &router(hop)))
            .collect();
        probes.push(probe(
            "control",
            4,
            &json!({"answer": "reply", "bytes": "250 ok\r\n"}),
        ));
        probes.extend(test.iter().cloned());
        let trace = json!({"kind": "trace", "role": {"role": "target"}, "direction": "to-server", "method": "sweep",
            "probes": probes});
        let fact = |hop: u8, asn: u64| json!({"address": format!("198.18.{hop}.1"), "asn": asn});
        let around = json!({"kind": "surroundings", "addresses": [fact(2, 64501), fact(3, 64503)]});
        archive(&[dialogue("220 mx\r\n", PLAIN, false), trace, around])
    }

    #[test]
    fn an_early_answer_is_a_box_at_its_hop() {
        let refused = json!({"answer": "reply", "bytes": "500 no\r\n"});
        let expired = json!({"answer": "time-exceeded", "from": "198.18.1.1"});
        let early = traced(&[
            probe("start-tls", 1, &expired),
            probe("start-tls", 2, &refused),
        ]);
        let claim = terminating_ttl(&early, None);
        assert_eq!(claim.place, Place::Access);
        assert_eq!(claim.segment, Some(Segment { after: 1, up_to: 2 }));
        let transit = traced(&[probe("start-tls", 3, &refused)]);
        assert_eq!(terminating_ttl(&transit, None).place, Place::Transit);
    }

    #[test]
    fn an_answer_beside_a_routers_is_a_tap_at_its_hop() {
        let expired = json!({"answer": "time-exceeded", "from": "198.18.2.1", "at": 900});
        let forged = json!({"answer": "reply", "bytes": "500 no\r\n", "at": 1200});
        let tapped =
            json!({"ttl": 2, "payload": "start-tls", "at": 0, "answers": [expired, forged]});
        let claim = terminating_ttl(&traced(&[tapped]), None);
        assert_eq!(claim.segment, Some(Segment { after: 1, up_to: 2 }));
    }

    #[test]
    fn an_answer_at_the_servers_own_ttl_is_called_the_endpoints_firewall() {
        let refused = json!({"answer": "reply", "bytes": "500 no\r\n"});
        let in_place = traced(&[probe("start-tls", 4, &refused)]);
        assert_eq!(terminating_ttl(&in_place, None).place, Place::ServerEdge);
        let taken = json!({"answer": "reply", "bytes": "220 go ahead\r\n"});
        assert_eq!(
            terminating_ttl(&traced(&[probe("start-tls", 4, &taken)]), None).place,
            Place::None
        );
        let past = traced(&[probe("start-tls", 6, &refused)]);
        assert_eq!(terminating_ttl(&past, None).place, Place::Undetermined);
        // A quote of a changed packet changes nothing for this rule: the server's own answer to the retransmission counts.
        let expired = json!({"answer": "time-exceeded", "from": "198.18.2.1", "at": 1000});
        let later = json!({"answer": "reply", "bytes": "500 no\r\n", "at": 210_000});
        let masked =
            json!({"ttl": 2, "payload": "start-tls", "at": 0, "answers": [expired, later]});
        assert_eq!(
            terminating_ttl(&traced(&[masked]), None).place,
            Place::ServerEdge
        );
    }

    #[test]
    fn silence_behind_the_last_router_is_a_dropper() {
        let expired = json!({"answer": "time-exceeded", "from": "198.18.1.1"});
        let silent = json!({"ttl": 2, "payload": "start-tls", "answers": []});
        let claim = terminating_ttl(&traced(&[probe("start-tls", 1, &expired), silent]), None);
        assert_eq!(claim.segment, Some(Segment { after: 1, up_to: 2 }));
    }

    #[test]
    fn without_a_trace_nothing_is_claimed() {
        assert_eq!(
            terminating_ttl(&seen(PLAIN), None).place,
            Place::Undetermined
        );
        assert_eq!(terminating_ttl(&seen(OFFERS), None).place, Place::None);
    }
}
