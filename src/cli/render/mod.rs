//! How results look: text for people, tables for overviews. JSON comes from `diagnosis` as it is.

pub(super) mod path;
pub(super) mod table;
pub(super) mod text;
pub(super) mod words;

use std::io::{ErrorKind, Write as _};

/// Prints to standard output; colours only reach a terminal. A reader that has gone away
/// (`| head`) is no mistake of anybody.
pub(super) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("hoofbeat: cannot write the result: {error}");
        }
        _ => {}
    }
}

/// How wide text may be, in columns: the terminal's width, and never so wide that it tires.
pub(super) fn width() -> usize {
    const WIDEST: usize = 100;
    const USUAL: usize = 80;
    terminal_size::terminal_size().map_or(USUAL, |(columns, _)| {
        usize::from(columns.0).clamp(40, WIDEST)
    })
}
