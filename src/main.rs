//! The front door: everything is behind it, in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hoofbeat::cli::main()
}
