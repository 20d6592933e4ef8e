//! Sequence numbers on the two sides of a box that took octets out of a stream or put some in.
//! Pure arithmetic of one direction. It must not know packets. RFC 9293 §3.4.

/// Changes remembered per stream; a box that wants more leaves the stream alone from then on.
const MOST: usize = 64;

/// One direction of a connection: the sender's numbers, and the receiver's.
#[derive(Clone, Debug, Default)]
pub(super) struct Splice {
    /// The sender's number that place 0 stands for: where the first change was made.
    base: Option<u32>,
    /// In the order of their places.
    changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    /// Where, in the sender's octets.
    place: i64,
    /// How many of the sender's octets the receiver never gets.
    removed: i64,
    /// How many octets the receiver gets that the sender never sent, before whatever stands at `place`.
    inserted: i64,
}

impl Splice {
    /// Whether both sides still count alike.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether no more changes are remembered.
    pub(super) fn is_full(&self) -> bool {
        self.changes.len() >= MOST
    }

    /// `length` octets of the sender from `at` on are not passed on.
    pub(super) fn remove(&mut self, at: u32, length: usize) {
        self.change(at, length, 0);
    }

    /// `length` octets are put in before the sender's octet `at`.
    pub(super) fn insert(&mut self, at: u32, length: usize) {
        self.change(at, 0, length);
    }

    fn change(&mut self, at: u32, removed: usize, inserted: usize) {
        self.base.get_or_insert(at);
        let change = Change {
            place: self.place(at),
            removed: i64::try_from(removed).unwrap_or(0),
            inserted: i64::try_from(inserted).unwrap_or(0),
        };
        let after = self
            .changes
            .partition_point(|known| known.place <= change.place);
        self.changes.insert(after, change);
    }

    /// The receiver's number for the sender's `sequence`.
    pub(super) fn forward(&self, sequence: u32) -> u32 {
        let place = self.place(sequence);
        let mut shift = 0;
        for change in &self.changes {
            if change.place > place {
                break;
            }
            shift += change.inserted - change.removed.min(place - change.place);
        }
        moved(sequence, shift)
    }

    /// The sender's number for the receiver's `acknowledged`. What the sender sent and the receiver never got counts as
    /// acknowledged; what the receiver got from elsewhere does not.
    pub(super) fn backward(&self, acknowledged: u32) -> u32 {
        let place = self.place(acknowledged);
        let mut shift = 0;
        for change in &self.changes {
            let here = change.place - shift;
            if place < here {
                break;
            }
            shift += change.removed - change.inserted.min(place - here);
        }
        moved(acknowledged, shift)
    }

    /// Which parts of `length` octets from `at` on are passed on: ranges within these octets.
    pub(super) fn kept(&self, at: u32, length: usize) -> Vec<std::ops::Range<usize>> {
        let place = self.place(at);
        let end = place + i64::try_from(length).unwrap_or(0);
        let mut kept = Vec::new();
        let mut from = place;
        for change in self.changes.iter().filter(|change| change.removed > 0) {
            let (start, stop) = (change.place, change.place + change.removed);
            if stop <= from || start >= end {
                continue;
            }
            kept.extend(range(from - place, start - place));
            from = stop;
        }
        kept.extend(range(from - place, end - place));
        kept
    }

    /// How many of `length` octets from `at` on come before the next insertion.
    pub(super) fn unbroken(&self, at: u32, length: usize) -> usize {
        let place = self.place(at);
        let next = self
            .changes
            .iter()
            .filter(|change| change.inserted > 0 && change.place > place)
            .find_map(|change| usize::try_from(change.place - place).ok());
        next.map_or(length, |next| next.min(length))
    }

    fn place(&self, sequence: u32) -> i64 {
        let base = self.base.unwrap_or(sequence);
        i64::from(sequence.wrapping_sub(base).cast_signed())
    }
}

fn range(from: i64, to: i64) -> Option<std::ops::Range<usize>> {
    let from = usize::try_from(from).ok()?;
    let to = usize::try_from(to).ok()?;
    (from < to).then_some(from..to)
}

fn moved(sequence: u32, shift: i64) -> u32 {
    // Modulo 2^32 on purpose: sequence numbers wrap.
    let modulus = 1i64 << 32;
    u32::try_from((i64::from(sequence) + shift).rem_euclid(modulus)).unwrap_or(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_swallowed_command() {
        let mut client = Splice::default();
        client.remove(110, 10);
        assert_eq!(
            [100, 110, 115, 120, 126].map(|at| client.forward(at)),
            [100, 110, 110, 110, 116]
        );
        assert_eq!(
            [100, 109, 110, 116].map(|at| client.backward(at)),
            [100, 109, 120, 126]
        );
        assert_eq!(client.kept(110, 10), []);
        assert_eq!(client.kept(110, 16).first(), Some(&(10..16)));
        assert_eq!(client.kept(105, 20), [0..5, 15..20]);
        assert_eq!(client.kept(120, 5).first(), Some(&(0..5)));
    }

    #[test]
    fn a_forged_reply() {
        let mut server = Splice::default();
        server.insert(1050, 20);
        assert_eq!(
            [1000, 1049, 1050, 1060].map(|at| server.forward(at)),
            [1000, 1049, 1070, 1080]
        );
        assert_eq!(
            [1000, 1050, 1060, 1070, 1071].map(|at| server.backward(at)),
            [1000, 1050, 1050, 1050, 1051]
        );
        assert_eq!(server.unbroken(1040, 30), 10);
        assert_eq!(server.unbroken(1050, 30), 30);
    }

    #[test]
    fn two_forgeries_without_a_word_from_the_server() {
        let mut server = Splice::default();
        server.insert(50, 20);
        server.insert(50, 5);
        assert_eq!(server.forward(50), 75);
        assert_eq!([70, 75, 80].map(|at| server.backward(at)), [50, 50, 55]);
    }

    proptest! {
        /// The receiver's stream is the sender's without what was removed and with what was inserted.
        #[test]
        fn numbers_agree_with_the_streams(base in any::<u32>(), cuts in prop::collection::btree_map(1usize..100, (0usize..9, 0usize..9), 0..8)) {
            let mut splice = Splice::default();
            let at = |place: usize| base.wrapping_add(u32::try_from(place).expect("small"));
            // The receiver's number of each of the sender's octets, by building the stream.
            let mut gone = [false; 220];
            let mut inserted = [0usize; 220];
            let mut free = 0;
            for (place, (removed, added)) in cuts {
                if place < free { continue; }
                if removed > 0 {
                    splice.remove(at(place), removed);
                    for octet in gone.iter_mut().skip(place).take(removed) { *octet = true; }
                    free = place + removed + 1;
                } else if added > 0 {
                    splice.insert(at(place), added);
                    inserted[place] = added;
                    free = place + 1;
                }
            }
            let mut receiver = 0usize;
            for place in 0..200 {
                receiver += inserted[place];
                prop_assert_eq!(splice.forward(at(place)), at(receiver));
                if !gone[place] {
                    // Having got everything up to this octet acknowledges exactly the sender's octets up to it,
                    // and those that were removed right behind it.
                    receiver += 1;
                    let mut next = place + 1;
                    while gone[next] { next += 1; }
                    prop_assert_eq!(splice.backward(at(receiver)), at(next));
                }
            }
        }
    }
}
