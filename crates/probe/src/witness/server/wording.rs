//! How one session's capability lists are worded: an honest list with a keyword that nobody knows, in an order that
//! changes from session to session and from list to list.
//!
//! A box that masks whatever it does not know masks the unknown keyword too; one that looks for STARTTLS at a fixed place
//! misses it at another.

/// The wording of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// A keyword that no box and no client knows.
    canary: String,
    /// Where STARTTLS stands in the session's first list.
    place: u8,
}

impl Wording {
    /// From random bytes.
    #[must_use]
    pub fn new(random: [u8; 5]) -> Self {
        let [place, nonce @ ..] = random;
        let digits: String = nonce.iter().map(|byte| format!("{byte:02X}")).collect();
        Self {
            canary: format!("XCANARY-{digits}"),
            place: place % 3,
        }
    }

    /// The keywords of the list that is sent as the `number`th of a connection (from 0), in order.
    #[must_use]
    pub fn keywords(&self, usual: &[&str], upgrade: Option<&str>, number: u32) -> Vec<String> {
        let mut words: Vec<String> = usual.iter().map(|&word| word.to_owned()).collect();
        // Behind the first, so that it is neither first nor last where STARTTLS may be.
        words.insert(1.min(words.len()), self.canary.clone());
        if let Some(upgrade) = upgrade {
            let at = match (u32::from(self.place) + number) % 3 {
                0 => 0,
                1 => words.len() / 2,
                _ => words.len(),
            };
            words.insert(at, upgrade.to_owned());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_moves_and_the_words_stay() {
        let wording = Wording::new([0, 1, 2, 3, 255]);
        let usual = ["PIPELINING", "8BITMIME", "SMTPUTF8"];
        let lists: Vec<_> = (0..3)
            .map(|n| wording.keywords(&usual, Some("STARTTLS"), n))
            .collect();
        let at = |list: &Vec<String>| list.iter().position(|word| word == "STARTTLS");
        assert_eq!(
            lists.iter().map(at).collect::<Vec<_>>(),
            [Some(0), Some(2), Some(4)]
        );
        assert!(
            lists
                .iter()
                .all(|list| list.len() == 5 && list.iter().any(|w| w == "XCANARY-010203FF"))
        );
        assert_eq!(wording.keywords(&[], None, 0), ["XCANARY-010203FF"]);
    }
}
