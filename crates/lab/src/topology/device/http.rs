//! Inserts a header into the plain HTTP requests of a connection, as carriers did in 2014 (X-UIDH).
//! Requests with a length are followed to the next one; after anything else the box goes blind. It must not know sockets.
//! RFC 9112.

use crate::middlebox::{Action, Middlebox};

/// A head that is longer is passed as it is.
const HEAD_LIMIT: usize = 64 * 1024;

/// The box.
pub(super) struct HeaderInserter {
    line: String,
    state: State,
}

enum State {
    /// Collecting a request's head.
    Head(Vec<u8>),
    /// Passing a request's body: so many octets are left.
    Body(usize),
    /// Passing everything.
    Blind,
}

impl HeaderInserter {
    pub(super) fn new(name: &str, value: &str) -> Self {
        // What a scenario's author writes is to stay one header.
        let one_line = |text: &str| text.replace(['\r', '\n'], " ");
        Self {
            line: format!("{}: {}\r\n", one_line(name), one_line(value)),
            state: State::Head(Vec::new()),
        }
    }

    /// What goes on for `segment`.
    fn passed(&mut self, mut segment: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while !segment.is_empty() {
            match &mut self.state {
                State::Blind => {
                    out.extend_from_slice(segment);
                    segment = &[];
                }
                State::Body(left) => {
                    let (body, rest) = segment.split_at((*left).min(segment.len()));
                    out.extend_from_slice(body);
                    *left -= body.len();
                    segment = rest;
                    if *left == 0 {
                        self.state = State::Head(Vec::new());
                    }
                }
                State::Head(head) => {
                    let had = head.len();
                    head.extend_from_slice(segment);
                    let end = head.windows(4).position(|four| four == b"\r\n\r\n");
                    let first = head.iter().position(|&byte| byte == b'\n');
                    let foreign = first.is_some_and(|end| !is_request(head.get(..end)));
                    match end {
                        Some(end) if !foreign => {
                            let used = (end + 4).saturating_sub(had);
                            segment = segment.get(used..).unwrap_or_default();
                            head.truncate(end + 2);
                            out.extend_from_slice(head);
                            out.extend_from_slice(self.line.as_bytes());
                            out.extend_from_slice(b"\r\n");
                            self.state = after(head);
                        }
                        _ => {
                            segment = &[];
                            if foreign || head.len() > HEAD_LIMIT {
                                out.append(head);
                                self.state = State::Blind;
                            }
                        }
                    }
                }
            }
        }
        out
    }
}

impl Middlebox for HeaderInserter {
    fn client_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        let passed = self.passed(segment);
        if !passed.is_empty() {
            out.push(Action::ToServer(passed));
        }
    }

    fn server_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        out.push(Action::ToClient(segment.to_vec()));
    }

    fn client_closed(&mut self, out: &mut Vec<Action>) -> bool {
        if let State::Head(head) = &mut self.state
            && !head.is_empty()
        {
            out.push(Action::ToServer(std::mem::take(head)));
        }
        true
    }
}

fn is_request(line: Option<&[u8]>) -> bool {
    let line = line.unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}

/// What follows this head.
fn after(head: &[u8]) -> State {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let field = |name: &str| {
        let mut lines = text.split("\r\n").skip(1);
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    if field("transfer-encoding").is_some() || field("upgrade").is_some() {
        return State::Blind;
    }
    match field("content-length").map(str::parse) {
        None | Some(Ok(0)) => State::Head(Vec::new()),
        Some(Ok(length)) => State::Body(length),
        Some(Err(_)) => State::Blind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::play;
    use proptest::prelude::*;

    const TWO: &str =
        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
    const MARKED: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nX-UIDH: abc\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 5\r\nX-UIDH: abc\r\n\r\nhello";

    fn inserter() -> HeaderInserter {
        HeaderInserter::new("X-UIDH", "abc")
    }

    #[test]
    fn each_request_gets_the_header() {
        assert_eq!(play::client(&mut inserter(), TWO), format!("S:{MARKED}"));
        assert_eq!(
            play::server(&mut inserter(), "HTTP/1.1 200 OK\r\n\r\n"),
            "C:HTTP/1.1 200 OK\r\n\r\n"
        );
    }

    #[test]
    fn what_is_not_http_passes_at_once() {
        assert_eq!(
            play::client(&mut inserter(), "EHLO x\r\nfoo\r\n\r\n"),
            "S:EHLO x\r\nfoo\r\n\r\n"
        );
    }

    #[test]
    fn a_head_that_never_ends_is_passed_when_the_client_closes() {
        let mut inserter = inserter();
        assert_eq!(play::client(&mut inserter, "GET / HTTP/1.1\r\nHost"), "");
        let mut out = Vec::new();
        assert!(inserter.client_closed(&mut out));
        assert_eq!(play::text(&out), "S:GET / HTTP/1.1\r\nHost");
    }

    proptest! {
        #[test]
        fn the_cuts_do_not_matter(cuts in prop::collection::vec(1usize..20, 0..20)) {
            let mut inserter = inserter();
            let mut seen = Vec::new();
            let mut rest = TWO.as_bytes();
            for cut in cuts.into_iter().chain([TWO.len()]) {
                let (part, other) = rest.split_at(cut.min(rest.len()));
                seen.extend(inserter.passed(part));
                rest = other;
            }
            prop_assert_eq!(String::from_utf8(seen).expect("text"), MARKED);
        }

        #[test]
        fn foreign_bytes_lose_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut inserter = inserter();
            let mut seen = inserter.passed(&bytes);
            let mut out = Vec::new();
            inserter.client_closed(&mut out);
            for action in out {
                if let Action::ToServer(rest) = action { seen.extend(rest); }
            }
            prop_assert_eq!(seen, bytes);
        }
    }
}
