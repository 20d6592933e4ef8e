//! The CAPA list: one item a line between the status line and the dot (RFC 2449 §5).

use crate::{Capabilities, Capability, Reply, Status};

/// The items of a reply; none in one that is not positive.
pub(crate) fn read(bytes: &[u8], reply: &Reply) -> Capabilities {
    let mut found = Capabilities::default();
    if reply.status == Status::Positive {
        let lines = reply
            .lines
            .iter()
            .skip_while(|line| line.range.of(bytes).trim_ascii().is_empty());
        found.items = lines
            .skip(1)
            .filter_map(|line| Capability::of_words(bytes, line.text.of(bytes)))
            .collect();
    }
    found
}
