//! MTA-STS (RFC 8461): the TXT record that announces a policy, and the policy document itself.

pub mod document;
pub mod record;
