//! Answers to a TLS ClientHello: any bytes are read, and more bytes never change what fewer had already said.
#![no_main]

use hoofbeat_probe::legacy::{ServerHello, read_server_hello};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let whole = read_server_hello(data);
    let said = (0..=data.len())
        .map(|length| read_server_hello(&data[..length]))
        .find(|hello| *hello != ServerHello::Incomplete);
    assert_eq!(said.unwrap_or(ServerHello::Incomplete), whole);
});
