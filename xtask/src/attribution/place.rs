//! The nine words between which a run's truth and the program's answer are compared.
//!
//! They are the contract's places, with `none` for "nothing stands in the way" in front and `undetermined` behind. It must
//! not know how either side came to its word.

/// Who keeps the client from encryption, or nobody, or not told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Place {
    None,
    Server,
    ServerPolicy,
    ServerEdge,
    Transit,
    Access,
    Local,
    Host,
    Undetermined,
}

impl Place {
    /// Every word, in the order of the tables.
    pub(crate) const ALL: [Self; 9] = [
        Self::None,
        Self::Server,
        Self::ServerPolicy,
        Self::ServerEdge,
        Self::Transit,
        Self::Access,
        Self::Local,
        Self::Host,
        Self::Undetermined,
    ];

    /// The places that a posterior is spread over, in the order of the judge's own tables: A, A′, B, C1, C2, D1, D2.
    pub(crate) const CAUSES: [Self; 7] = [
        Self::Server,
        Self::ServerPolicy,
        Self::ServerEdge,
        Self::Transit,
        Self::Access,
        Self::Local,
        Self::Host,
    ];

    /// The word of the contract; `none` where the verdict is `clear`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Server => "server",
            Self::ServerPolicy => "server-policy",
            Self::ServerEdge => "server-edge",
            Self::Transit => "transit",
            Self::Access => "access-network",
            Self::Local => "local-network",
            Self::Host => "this-host",
            Self::Undetermined => "undetermined",
        }
    }

    /// A column's heading: narrow.
    pub(crate) const fn heading(self) -> &'static str {
        match self {
            Self::ServerPolicy => "policy",
            Self::ServerEdge => "edge",
            Self::Access => "access",
            Self::Local => "LAN",
            Self::Host => "host",
            Self::Undetermined => "undet.",
            other => other.word(),
        }
    }

    /// The place of a word; what is unknown is undetermined.
    pub(crate) fn of(word: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|place| place.word() == word)
            .unwrap_or(Self::Undetermined)
    }

    /// Where a box would have to stand: whoever is named there is accused of meddling.
    pub(crate) const fn accuses(self) -> bool {
        matches!(
            self,
            Self::ServerEdge | Self::Transit | Self::Access | Self::Local | Self::Host
        )
    }

    /// Nothing meddles: all is well, or it is the server's own doing.
    pub(crate) const fn is_innocent(self) -> bool {
        matches!(self, Self::None | Self::Server | Self::ServerPolicy)
    }
}

/// The link or router between two TTL checks: behind `after`, up to `up_to`. Hops count from the client, 1 = the first
/// router; 0 is the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Segment {
    pub(crate) after: u8,
    pub(crate) up_to: u8,
}

impl Segment {
    /// How many hops the two ends are apart from the other's, at the end that is further off.
    pub(crate) fn distance(self, other: Self) -> u8 {
        let ends = [
            self.after.abs_diff(other.after),
            self.up_to.abs_diff(other.up_to),
        ];
        ends.into_iter().max().unwrap_or_default()
    }

    /// Whether `inner` lies within.
    pub(crate) fn holds(self, inner: Self) -> bool {
        self.after <= inner.after && inner.up_to <= self.up_to
    }

    /// How many hops it spans.
    pub(crate) fn width(self) -> u8 {
        self.up_to.saturating_sub(self.after)
    }
}

impl std::fmt::Display for Segment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "({}, {}]", self.after, self.up_to)
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Segment};

    #[test]
    fn words_are_read_back_and_strangers_are_undetermined() {
        for place in Place::ALL {
            assert_eq!(Place::of(place.word()), place);
        }
        assert_eq!(Place::of("the-moon"), Place::Undetermined);
    }

    #[test]
    fn every_place_is_innocent_or_accuses_except_the_unknown() {
        for place in Place::ALL {
            let sides = usize::from(place.accuses()) + usize::from(place.is_innocent());
            assert_eq!(
                sides,
                usize::from(place != Place::Undetermined),
                "{place:?}"
            );
        }
    }

    #[test]
    fn segments_are_compared_at_the_worse_end() {
        let segment = |after, up_to| Segment { after, up_to };
        assert_eq!(segment(1, 2).distance(segment(1, 2)), 0);
        assert_eq!(segment(1, 2).distance(segment(2, 3)), 1);
        assert_eq!(segment(1, 2).distance(segment(1, 4)), 2);
        assert!(segment(0, 4).holds(segment(2, 3)));
        assert!(!segment(2, 3).holds(segment(1, 3)));
        assert_eq!(segment(1, 4).width(), 3);
    }
}
