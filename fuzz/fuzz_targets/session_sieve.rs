//! ManageSieve (RFC 5804): any server stream, cut anywhere, neither breaks a session nor loses a byte of it.
#![no_main]

use hoofbeat_session::Protocol;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hoofbeat_fuzz::converse(&[Protocol::Sieve], data));
