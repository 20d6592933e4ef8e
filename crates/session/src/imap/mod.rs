//! IMAP: what its responses look like (RFC 9051 §2.2.2, §7) and list (RFC 9051 §7.2.2).

pub(crate) mod capability;
pub(crate) mod line;
pub(crate) mod reply;
