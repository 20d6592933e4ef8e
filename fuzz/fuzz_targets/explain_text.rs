//! Pasted sessions and logs: any text is read, within the bounds, to the same recordings in whatever parts it comes.
#![no_main]

use hoofbeat_observation::recorded::text::{RECORDINGS, Reader, read};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [size, text @ ..] = data else { return };
    let whole = read(text);
    assert!(whole.recordings.len() <= RECORDINGS);
    let mut reader = Reader::new();
    for part in text.chunks(usize::from(*size).max(1)) {
        reader.feed(part);
    }
    assert_eq!(reader.finish(), whole, "the parts changed what was read");
});
