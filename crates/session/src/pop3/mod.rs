//! POP3: what its replies look like (RFC 1939 §3) and list (RFC 2449).

pub(crate) mod capability;
pub(crate) mod reply;
