//! A stateless in-place rewriter: replaces words by others of the same length, in any segment, in either direction.
//! It keeps every length and holds nothing back, so a word that is cut by a segment border escapes it. It must not know
//! replies or phases; Cisco's inspection, which does, is [`cisco`](super::cisco).

use serde::Deserialize;

use crate::middlebox::{Action, Middlebox};

/// One replacement. A `to` of another length is cut or padded with `X`: the length never changes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// What is looked for.
    pub from: String,
    /// What it becomes.
    pub to: String,
}

/// What is replaced where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct MaskSpec {
    /// In what the server sends.
    pub from_server: Vec<Swap>,
    /// In what the client sends.
    pub from_client: Vec<Swap>,
    /// Whether letter case counts.
    pub case_sensitive: bool,
    /// The greeting's text after the code becomes asterisks.
    pub banner: bool,
}

/// The box.
pub struct Mask {
    spec: MaskSpec,
    greeted: bool,
}

impl Mask {
    /// A box with these settings.
    pub fn new(spec: MaskSpec) -> Self {
        Self {
            spec,
            greeted: false,
        }
    }

    fn swap(&self, bytes: &mut [u8], swaps: &[Swap]) {
        for swap in swaps {
            let from = swap.from.as_bytes();
            let mut at = 0;
            while let Some(window) = bytes.get_mut(at..at + from.len()) {
                let hit = !from.is_empty()
                    && if self.spec.case_sensitive {
                        window == from
                    } else {
                        window.eq_ignore_ascii_case(from)
                    };
                if hit {
                    for (offset, byte) in window.iter_mut().enumerate() {
                        *byte = *swap.to.as_bytes().get(offset).unwrap_or(&b'X');
                    }
                }
                at += 1;
            }
        }
    }
}

impl Middlebox for Mask {
    fn client_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        let mut bytes = segment.to_vec();
        self.swap(&mut bytes, &self.spec.from_client);
        out.push(Action::ToServer(bytes));
    }

    fn server_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        let mut bytes = segment.to_vec();
        if self.spec.banner && !self.greeted {
            for (line, _) in super::cisco::lines(&mut bytes) {
                line.iter_mut().skip(4).for_each(|byte| *byte = b'*');
            }
        }
        self.greeted = true;
        self.swap(&mut bytes, &self.spec.from_server);
        out.push(Action::ToClient(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::play;
    use proptest::prelude::*;

    fn swap(from: &str, to: &str) -> Swap {
        Swap {
            from: from.into(),
            to: to.into(),
        }
    }

    #[test]
    fn stls_is_crossed_in_both_directions() {
        let mut mask = Mask::new(MaskSpec {
            from_server: vec![swap("STLS", "XXXX")],
            from_client: vec![swap("STLS", "XXXX")],
            ..MaskSpec::default()
        });
        assert_eq!(
            play::server(&mut mask, "+OK\r\nSTLS\r\n.\r\n"),
            "C:+OK\r\nXXXX\r\n.\r\n"
        );
        assert_eq!(play::client(&mut mask, "stls\r\n"), "S:XXXX\r\n");
    }

    #[test]
    fn a_word_cut_by_a_segment_border_escapes() {
        let mut mask = Mask::new(MaskSpec {
            from_server: vec![swap("STARTTLS", "XXXXXXXX")],
            ..MaskSpec::default()
        });
        assert_eq!(play::server(&mut mask, "250-START"), "C:250-START");
        assert_eq!(
            play::server(&mut mask, "TLS\r\n250 STARTTLS\r\n"),
            "C:TLS\r\n250 XXXXXXXX\r\n"
        );
    }

    proptest! {
        #[test]
        fn every_segment_keeps_its_length(segment in prop::collection::vec(any::<u8>(), 0..200), to in ".{0,12}") {
            let mut mask = Mask::new(MaskSpec { from_server: vec![swap("a", &to), swap("STLS", &to)], banner: true, ..MaskSpec::default() });
            let mut out = Vec::new();
            mask.server_sent(&segment, &mut out);
            let [Action::ToClient(bytes)] = out.as_slice() else { panic!("one segment out") };
            prop_assert_eq!(bytes.len(), segment.len());
        }
    }
}
