//! The decision table: which places a combination of tests may name (attribution notes, §8.2). First match wins, and
//! the posterior must agree; otherwise no place is named.
//!
//! It holds only where hops, a witness or other vantages were heard: dialogues alone go by the posterior. It must not
//! know probabilities.

use crate::LocationClass as L;

/// What the rules ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// The interface carried other bytes than were written.
    pub(crate) wire_differs: bool,
    /// It carried the same.
    pub(crate) wire_equal: bool,
    /// Something happens, or somebody answers, before or at the first hop.
    pub(crate) first_hop: bool,
    /// Another host in the same network is clean.
    pub(crate) peer_clean: Option<bool>,
    /// The same host is clean in another network.
    pub(crate) tether_clean: Option<bool>,
    /// The witness's bytes were changed on this port.
    pub(crate) witness_tampered: Option<bool>,
    /// The place that hop evidence leads to, where it leads to one.
    pub(crate) place: Option<L>,
    /// There is hop evidence.
    pub(crate) hops: bool,
    /// Servers that are known to offer TLS do so from here.
    pub(crate) controls_clean: Option<bool>,
    /// STARTTLS works although it is hidden, or is seen to be rewritten, masked or edited packet by packet.
    pub(crate) shown_in_session: bool,
    /// STARTTLS works although it is hidden.
    pub(crate) works_though_hidden: bool,
    /// The server refuses in its own words.
    pub(crate) own_refusal: bool,
    /// Other vantages that see STARTTLS.
    pub(crate) vantages_clean: usize,
    /// Other vantages that do not.
    pub(crate) vantages_stripped: usize,
    /// From inside the server's network STARTTLS is seen.
    pub(crate) inside_clean: Option<bool>,
}

impl Facts {
    /// Whether there is more than dialogues from one place.
    pub(crate) fn is_more(&self) -> bool {
        self.wire_differs
            || self.hops
            || self.witness_tampered.is_some()
            || self.inside_clean.is_some()
            || self.peer_clean.is_some()
            || self.tether_clean.is_some()
            || self.vantages_clean + self.vantages_stripped > 0
    }
}

/// One row.
pub(crate) struct Rule {
    /// Its number in the notes.
    pub(crate) number: u8,
    holds: fn(&Facts) -> bool,
    /// The places that it may name.
    pub(crate) may: &'static [L],
    /// Most that it lets be said, 0 to 1.
    pub(crate) most: f64,
}

/// The rows, first match first.
const TABLE: &[Rule] = &[
    Rule {
        number: 1,
        holds: |f| f.wire_differs || (f.first_hop && f.peer_clean == Some(true)),
        may: &[L::ThisHost],
        most: 0.97,
    },
    Rule {
        number: 2,
        holds: |f| f.first_hop && f.peer_clean == Some(false) && f.tether_clean != Some(false),
        may: &[L::LocalNetwork],
        most: 0.95,
    },
    // Hops tell the border of the local network from what lies behind it.
    Rule {
        number: 2,
        holds: |f| f.first_hop || f.place == Some(L::LocalNetwork),
        may: &[L::LocalNetwork, L::ThisHost],
        most: 0.95,
    },
    Rule {
        number: 3,
        holds: |f| f.witness_tampered == Some(true) && f.place == Some(L::AccessNetwork),
        may: &[L::AccessNetwork],
        most: 0.97,
    },
    Rule {
        number: 4,
        holds: |f| f.witness_tampered == Some(true) && f.place == Some(L::Transit),
        may: &[L::Transit],
        most: 0.97,
    },
    Rule {
        number: 5,
        holds: |f| f.witness_tampered == Some(true),
        may: &[L::Transit, L::AccessNetwork, L::LocalNetwork, L::ThisHost],
        most: 0.80,
    },
    // Hop evidence alone: one vantage, a third party.
    Rule {
        number: 3,
        holds: |f| f.place == Some(L::AccessNetwork) && f.witness_tampered.is_none(),
        may: &[L::AccessNetwork],
        most: 0.90,
    },
    Rule {
        number: 4,
        holds: |f| f.place == Some(L::Transit) && f.witness_tampered.is_none(),
        may: &[L::Transit],
        most: 0.90,
    },
    // The witness is clean, and the box is further out than its way and the target's part.
    Rule {
        number: 4,
        holds: |f| f.place == Some(L::Transit),
        may: &[L::Transit, L::ServerEdge],
        most: 0.80,
    },
    // Hop evidence beside a clean witness: something that is keyed on the destination, or a mistake of one of them.
    Rule {
        number: 3,
        holds: |f| f.place == Some(L::AccessNetwork) && f.witness_tampered == Some(false),
        may: &[L::AccessNetwork],
        most: 0.80,
    },
    Rule {
        number: 7,
        holds: |f| f.place == Some(L::ServerEdge),
        may: &[L::ServerEdge],
        most: 0.97,
    },
    Rule {
        number: 10,
        holds: |f| {
            f.works_though_hidden
                && f.vantages_clean > 0
                && f.witness_tampered == Some(false)
                && !f.hops
        },
        may: &[L::ServerEdge, L::Transit, L::AccessNetwork],
        most: 0.70,
    },
    Rule {
        number: 6,
        holds: |f| {
            f.shown_in_session
                && (f.witness_tampered == Some(false) || f.controls_clean == Some(true))
                && f.vantages_clean <= f.vantages_stripped
        },
        may: &[L::ServerEdge],
        most: 0.99,
    },
    Rule {
        number: 9,
        holds: |f| f.own_refusal && (f.vantages_clean > 0 || f.tether_clean == Some(true)),
        may: &[L::ServerPolicy],
        most: 0.90,
    },
    Rule {
        number: 8,
        holds: |f| f.own_refusal && f.witness_tampered != Some(true),
        may: &[L::Server, L::ServerPolicy],
        most: 0.95,
    },
];

/// The first rule that holds.
pub(crate) fn rule(facts: &Facts) -> Option<&'static Rule> {
    if !facts.is_more() {
        return None;
    }
    TABLE.iter().find(|rule| (rule.holds)(facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(facts: Facts) -> Option<u8> {
        rule(&facts).map(|rule| rule.number)
    }

    #[test]
    fn rows_match_in_order() {
        let tampered = Facts {
            witness_tampered: Some(true),
            ..Facts::default()
        };
        assert_eq!(number(Facts::default()), None);
        assert_eq!(number(tampered), Some(5));
        let access = Facts {
            hops: true,
            place: Some(L::AccessNetwork),
            ..tampered
        };
        assert_eq!(number(access), Some(3));
        let host = Facts {
            wire_differs: true,
            ..access
        };
        assert_eq!(number(host), Some(1));
        let lan = Facts {
            hops: true,
            first_hop: true,
            peer_clean: Some(false),
            tether_clean: Some(true),
            ..tampered
        };
        assert_eq!(number(lan), Some(2));
        let edge = Facts {
            hops: true,
            place: Some(L::ServerEdge),
            witness_tampered: Some(false),
            shown_in_session: true,
            ..Facts::default()
        };
        assert_eq!(number(edge), Some(7));
        let far = Facts {
            works_though_hidden: true,
            shown_in_session: true,
            vantages_clean: 2,
            witness_tampered: Some(false),
            ..Facts::default()
        };
        assert_eq!(number(far), Some(10));
        let policy = Facts {
            own_refusal: true,
            vantages_clean: 1,
            ..Facts::default()
        };
        assert_eq!(number(policy), Some(9));
        let nobody = Facts {
            own_refusal: true,
            vantages_stripped: 3,
            ..Facts::default()
        };
        assert_eq!(number(nobody), Some(8));
        // Dialogues alone are not this table's.
        let dialogue = Facts {
            own_refusal: true,
            shown_in_session: true,
            controls_clean: Some(true),
            ..Facts::default()
        };
        assert_eq!(number(dialogue), None);
    }
}
