//! The capability list: `"NAME"` or `"NAME" "value"`, one a line, before OK (RFC 5804 §1.7).
//! The greeting is such a list too.

use alloc::string::String;

use super::{reply::ends, string::strings};
use crate::{ByteRange, Capabilities, Capability, Reply, token::upper};

/// The items before the status line.
pub(crate) fn read(bytes: &[u8], reply: &Reply) -> Capabilities {
    let mut found = Capabilities::default();
    for line in &reply.lines {
        let text = line.range.of(bytes).trim_ascii_end();
        if ends(text, false) {
            continue;
        }
        let mut strings = strings(text).into_iter();
        if let Some(name) = strings.next().filter(|name| !name.is_empty()) {
            let arguments = strings.next().unwrap_or_default();
            let from = line.range.from as usize;
            found.items.push(Capability {
                range: ByteRange::at(from, from + text.len()),
                keyword: upper(&name),
                arguments: String::from_utf8_lossy(&arguments).into_owned(),
            });
        }
    }
    found
}
