//! Operating system errors as typed failures, the raw words kept beside the kind.

use std::io::{Error, ErrorKind};

use hoofbeat_observation::{Failure, FailureKind, Operation};

// Linux numbers of errors that `std` has no stable kind for.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOBUFS: i32 = 105;

/// The failure that an I/O error means for an operation.
#[must_use]
pub fn failure(operation: Operation, error: &Error) -> Failure {
    Failure {
        operation,
        kind: kind(error),
        raw: error.to_string(),
    }
}

/// A failure for a wait that came to its limit.
#[must_use]
pub fn timed_out(operation: Operation, what: &str) -> Failure {
    Failure {
        operation,
        kind: FailureKind::TimedOut,
        raw: what.to_owned(),
    }
}

/// The kind of an I/O error.
#[must_use]
pub fn kind(error: &Error) -> FailureKind {
    match error.kind() {
        ErrorKind::ConnectionRefused => FailureKind::Refused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => FailureKind::Reset,
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::NotConnected => {
            FailureKind::Closed
        }
        ErrorKind::TimedOut => FailureKind::TimedOut,
        ErrorKind::HostUnreachable => FailureKind::HostUnreachable,
        // EADDRNOTAVAIL: we have no address of that family.
        ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown | ErrorKind::AddrNotAvailable => {
            FailureKind::NetworkUnreachable
        }
        ErrorKind::PermissionDenied => FailureKind::Prohibited,
        ErrorKind::OutOfMemory => FailureKind::LocalResources,
        _ => match error.raw_os_error() {
            Some(EPERM | EACCES) => FailureKind::Prohibited,
            Some(ENFILE | EMFILE | ENOBUFS) => FailureKind::LocalResources,
            _ => FailureKind::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_numbers_have_kinds() {
        for (number, wanted) in [
            (111, FailureKind::Refused),
            (104, FailureKind::Reset),
            (103, FailureKind::Reset),
            (32, FailureKind::Closed),
            (110, FailureKind::TimedOut),
            (113, FailureKind::HostUnreachable),
            (101, FailureKind::NetworkUnreachable),
            (99, FailureKind::NetworkUnreachable),
            (EACCES, FailureKind::Prohibited),
            (EPERM, FailureKind::Prohibited),
            (EMFILE, FailureKind::LocalResources),
            (ENFILE, FailureKind::LocalResources),
            (ENOBUFS, FailureKind::LocalResources),
            (22, FailureKind::Other),
        ] {
            let failure = failure(Operation::Connect, &Error::from_raw_os_error(number));
            assert_eq!(failure.kind, wanted, "{number}");
            assert!(!failure.raw.is_empty());
        }
    }
}
