//! The EHLO and LHLO list: the first line greets, every further line is one item (RFC 5321 §4.1.1.1).

use crate::{Capabilities, Capability, Reply, Status};

/// The items of a reply; none in one that is not positive.
pub(crate) fn read(bytes: &[u8], reply: &Reply) -> Capabilities {
    let mut found = Capabilities::default();
    if reply.status != Status::Positive {
        return found;
    }
    let mut lines = reply
        .lines
        .iter()
        .skip_while(|line| line.range.of(bytes).trim_ascii().is_empty());
    found.first_line = lines.next().map(|line| line.text);
    found.items = lines
        .filter_map(|line| Capability::of_words(bytes, line.text.of(bytes)))
        .collect();
    found
}
