//! The list in `* CAPABILITY …` and in the code `[CAPABILITY …]` of a greeting or status (RFC 9051 §7.1, §7.2.2).

use super::line::{Kind, kind};
use crate::{Capabilities, Capability, Reply, token::starts_with_word};

/// Every item of every list in the reply, in order.
pub(crate) fn read(bytes: &[u8], reply: &Reply) -> Capabilities {
    let mut found = Capabilities::default();
    for line in &reply.lines {
        let list = match kind(line.range.of(bytes).trim_ascii_end()) {
            Kind::Untagged { rest } => Some(rest),
            Kind::Status { rest, .. } => rest
                .strip_prefix(b"[")
                .and_then(|rest| rest.split(|byte| *byte == b']').next()),
            Kind::Continuation { .. } | Kind::Odd => None,
        };
        let Some(list) = list.filter(|list| starts_with_word(list, b"CAPABILITY")) else {
            continue;
        };
        let items = list.split(|byte| byte.is_ascii_whitespace()).skip(1);
        found
            .items
            .extend(items.filter_map(|item| Capability::of_words(bytes, item)));
    }
    found
}
