//! Whatever `hoofbeat explain` is given (captures, archives, texts, anything): read or refused, never a panic, and what was read
//! can be kept in an archive.
#![no_main]

use hoofbeat::explain::read_stream;
use hoofbeat_observation::archive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(read) = read_stream(data, "capture", 0) else {
        return;
    };
    for measurement in &read.measurements {
        let line = archive::write(measurement).expect("what was read can be kept");
        assert_eq!(archive::read(line.as_bytes()).as_ref(), Ok(measurement));
    }
});
