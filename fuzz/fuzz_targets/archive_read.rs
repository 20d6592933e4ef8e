//! Archives: any line is read or refused; what was read is written and read again to the same measurement.
#![no_main]

use hoofbeat_observation::archive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(measurement) = archive::read(data) else {
        return;
    };
    let line = archive::write(&measurement).expect("what was read can be written");
    assert_eq!(archive::read(line.as_bytes()).as_ref(), Ok(&measurement));
});
