//! Which numbers a device has in its node's namespace: its packet queue, its bit in packets' marks, its routing table.
//! Several devices on one node must not share them. It must not know what they are used for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

/// Devices on one node at most: each has a bit of its own in the upper half of the mark.
pub(super) const MOST: u8 = 15;
/// The first device's bit.
const FIRST_BIT: u8 = 16;

static TAKEN: Mutex<Option<HashMap<String, BTreeSet<u8>>>> = Mutex::new(None);

/// A device's numbers, its own until dropped.
#[derive(Debug)]
pub(super) struct Place {
    node: String,
    slot: u8,
}

impl Place {
    /// The lowest free numbers on the node of this name; `None` when there are none.
    pub(super) fn take(node: &str) -> Option<Self> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = taken
            .get_or_insert_default()
            .entry(node.to_owned())
            .or_default();
        let slot = (0..MOST).find(|slot| !slots.contains(slot))?;
        slots.insert(slot);
        Some(Self {
            node: node.to_owned(),
            slot,
        })
    }

    /// The packet queue.
    pub(super) fn queue(&self) -> u16 {
        7000 + u16::from(self.slot)
    }

    /// The bit in packets' marks.
    pub(super) fn mark(&self) -> u32 {
        1 << (FIRST_BIT + self.slot)
    }

    /// The routing table.
    pub(super) fn table(&self) -> u16 {
        7000 + u16::from(self.slot)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = taken.as_mut().and_then(|all| all.get_mut(&self.node)) {
            slots.remove(&self.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_once_and_come_back() {
        let all: Vec<Place> = (0..MOST).filter_map(|_| Place::take("crowded")).collect();
        assert_eq!(all.len(), usize::from(MOST));
        let marks: BTreeSet<u32> = all.iter().map(Place::mark).collect();
        assert_eq!(marks.len(), all.len());
        assert_eq!(marks.last(), Some(&(1 << 30)));
        assert!(Place::take("crowded").is_none());
        assert_eq!(
            Place::take("elsewhere").map(|place| place.queue()),
            Some(7000)
        );
        drop(all);
        assert!(Place::take("crowded").is_some());
    }
}
