//! What a domain asks of those who send it mail: MTA-STS (RFC 8461) and DANE (RFC 6698, 7671, 7672).
//!
//! Only the meaning of bytes that somebody else fetched: this crate can be audited alone. It must not
//! know how a record is obtained, whether its answer was secure, nor what follows from it for a verdict.
#![no_std]
extern crate alloc;

pub mod mta_sts;
pub mod tlsa;
