//! SMTP and LMTP: what their replies look like (RFC 5321 §4.2, RFC 2033) and list (RFC 5321 §4.1.1.1).

pub(crate) mod capability;
pub(crate) mod reply;
