//! The lengths and counts that an ASA's default `inspect esmtp` map enforces on what the client sends, each with
//! `drop-connection` (`match cmd line length gt 512` and its neighbours). It must not edit anything.
//!
//! Whether a real one says so with a reset is not known: the map names that another action (`reset`), so here the
//! connection just falls silent. A body line beyond 998 octets is only logged there, and passes here.

/// Longest command line, octets without its end.
const COMMAND: usize = 512;
/// Longest header line.
const HEADER: usize = 998;
/// Longest sender address, between the angle brackets.
const SENDER: usize = 320;
/// Most recipients of one message.
const RECIPIENTS: usize = 100;
/// Longest name of an attached file.
const FILENAME: usize = 255;
/// So much of a line is kept to be read; its length is counted on.
const KEPT: usize = 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Commands,
    Header,
    Text,
}

/// What one client has sent so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    part: Part,
    line: Vec<u8>,
    length: usize,
    recipients: usize,
}

impl Limits {
    /// Whether this segment goes beyond what is let through; `body` tells that the server asked for a message.
    pub(super) fn exceeded_by(&mut self, segment: &[u8], body: bool) -> bool {
        if body && self.part == Part::Commands {
            self.part = Part::Header;
        }
        segment.iter().any(|&byte| self.takes(byte))
    }

    fn takes(&mut self, byte: u8) -> bool {
        if byte == b'\n' {
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            self.length = 0;
            return self.ends(&line);
        }
        self.length += 1;
        if self.line.len() < KEPT {
            self.line.push(byte);
        }
        let longest = match self.part {
            Part::Commands => COMMAND,
            Part::Header => HEADER,
            Part::Text => return false,
        };
        // The line's own end is not counted.
        self.length > longest + usize::from(byte == b'\r')
    }

    fn ends(&mut self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        match self.part {
            Part::Commands => {
                let verb: String = text.chars().take(4).collect();
                match verb.to_ascii_uppercase().as_str() {
                    "MAIL" => {
                        self.recipients = 0;
                        between(&text, '<', '>').is_some_and(|sender| sender.len() > SENDER)
                    }
                    "RSET" => {
                        self.recipients = 0;
                        false
                    }
                    "RCPT" => {
                        self.recipients += 1;
                        self.recipients > RECIPIENTS
                    }
                    _ => false,
                }
            }
            _ if line == b"." => {
                self.part = Part::Commands;
                self.recipients = 0;
                false
            }
            part => {
                if part == Part::Header && line.is_empty() {
                    self.part = Part::Text;
                }
                names_too_long_a_file(&text)
            }
        }
    }
}

/// MIME headers stand in the message's header and, for its parts, in its text.
fn names_too_long_a_file(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let header = lower.starts_with("content-") || lower.starts_with([' ', '\t']);
    let value = lower
        .find("filename=")
        .and_then(|at| lower.get(at + "filename=".len()..));
    value.filter(|_| header).is_some_and(|value| {
        let name = match value.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap_or_default(),
            None => value
                .split(|c: char| c == ';' || c.is_whitespace())
                .next()
                .unwrap_or_default(),
        };
        name.len() > FILENAME
    })
}

fn between(text: &str, open: char, close: char) -> Option<&str> {
    let (_, rest) = text.split_once(open)?;
    Some(rest.split_once(close)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exceeded(limits: &mut Limits, text: &str, body: bool) -> bool {
        limits.exceeded_by(text.as_bytes(), body)
    }

    #[test]
    fn a_command_of_512_octets_passes_and_one_more_does_not() {
        let longest = format!("NOOP {}", "x".repeat(COMMAND - 5));
        assert!(!exceeded(
            &mut Limits::default(),
            &format!("{longest}\r\n"),
            false
        ));
        let mut cut = Limits::default();
        assert!(!exceeded(&mut cut, &longest[..100], false));
        assert!(exceeded(&mut cut, &format!("{}x", &longest[100..]), false));
    }

    #[test]
    fn senders_and_recipients_are_counted_for_each_message() {
        let mut limits = Limits::default();
        let sender = |length: usize| format!("MAIL FROM:<{}>\r\n", "a".repeat(length));
        assert!(!exceeded(&mut limits, &sender(SENDER), false));
        for _ in 0..RECIPIENTS {
            assert!(!exceeded(&mut limits, "RCPT TO:<b@lab.example>\r\n", false));
        }
        let mut next = limits.clone();
        assert!(exceeded(&mut limits, "RCPT TO:<b@lab.example>\r\n", false));
        assert!(!exceeded(
            &mut next,
            "RSET\r\nRCPT TO:<b@lab.example>\r\n",
            false
        ));
        assert!(exceeded(&mut next, &sender(SENDER + 1), false));
    }

    #[test]
    fn headers_are_limited_and_bodies_are_not() {
        let long = "x".repeat(HEADER + 1);
        let mut message = Limits::default();
        assert!(!exceeded(&mut message, "DATA\r\n", false));
        assert!(!exceeded(
            &mut message,
            &format!("Subject: a\r\n\r\n{long}\r\n"),
            true
        ));
        assert!(!exceeded(&mut message, ".\r\nNOOP\r\n", true));
        let mut other = Limits::default();
        assert!(exceeded(&mut other, &format!("Subject: {long}\r\n"), true));
    }

    #[test]
    fn file_names_are_limited_in_the_headers_of_parts_too() {
        let part = |length: usize| {
            format!(
                "\r\n--b\r\nContent-Disposition: attachment;\r\n filename=\"{}\"\r\n",
                "n".repeat(length)
            )
        };
        assert!(!exceeded(&mut Limits::default(), &part(FILENAME), true));
        assert!(exceeded(&mut Limits::default(), &part(FILENAME + 1), true));
        assert!(
            !exceeded(
                &mut Limits::default(),
                &format!("\r\nwe met filename={}\r\n", "n".repeat(300)),
                true
            ),
            "a text may speak of them"
        );
    }
}
