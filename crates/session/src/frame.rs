//! Stage one: lines and whole replies in any bytes, without losing one and without asking what they say.
//!
//! A line ends with LF; a CR belongs to the end only directly before it, or where the stream stops.
//! IMAP (RFC 9051 §4.3) and ManageSieve (RFC 5804 §1.2) literals `{n}` belong to their line. Every
//! byte is looked at once, however the input was cut. Which line is a reply's last one is each
//! protocol's own knowledge; what the reply means is stage two, in `reply`.

use alloc::vec::Vec;

use crate::{ByteRange, Label, Protocol, imap, pop3, sieve, smtp};

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Terminator {
    /// CR LF, as every RFC here demands.
    CrLf,
    /// A bare LF.
    Lf,
    /// A CR with nothing behind it.
    Cr,
    /// Not at all: the bytes stop inside the line.
    None,
}
impl Terminator {
    /// How many bytes it takes.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::CrLf => 2,
            Self::Lf | Self::Cr => 1,
            Self::None => 0,
        }
    }
    /// Whether the line has no end.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None)
    }
}

/// One line with its literals and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// All of it, relative to the bytes that were framed.
    pub range: ByteRange,
    /// How it ended.
    pub terminator: Terminator,
}
impl Line {
    /// The line without its end.
    #[must_use]
    pub const fn text(self) -> ByteRange {
        ByteRange {
            from: self.range.from,
            to: self.range.to.saturating_sub(self.terminator.len() as u64),
        }
    }
}

/// All lines of some bytes; their ranges tile the input.
///
/// ```
/// use hoofbeat_session::{Protocol, Terminator, frame};
/// let lines = frame::lines(Protocol::Smtp, b"250-mx\r\n250 HELP\n250");
/// assert_eq!(lines.len(), 3);
/// assert_eq!(lines[0].text().of(b"250-mx\r\n250 HELP\n250"), b"250-mx");
/// assert_eq!((lines[1].terminator, lines[2].terminator), (Terminator::Lf, Terminator::None));
/// ```
#[must_use]
pub fn lines(protocol: Protocol, bytes: &[u8]) -> Vec<Line> {
    let mut scanner = Scanner::new(protocol);
    let mut lines = Vec::new();
    while let Some(line) = scanner.next_line(bytes) {
        lines.push(line);
    }
    if scanner.start < bytes.len() {
        let terminator = if bytes.last() == Some(&b'\r') && scanner.literal == 0 {
            Terminator::Cr
        } else {
            Terminator::None
        };
        lines.push(Line {
            range: ByteRange::at(scanner.start, bytes.len()),
            terminator,
        });
    }
    lines
}

/// How far a reply has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More must come.
    Incomplete,
    /// The reply is the first so many bytes.
    Complete(usize),
    /// The reply has more lines than the limit allows; the lines within it are the first so many bytes.
    TooManyLines(usize),
}

/// Finds the end of one reply in bytes that grow.
///
/// ```
/// use hoofbeat_session::{Framer, Label, Progress, Protocol};
/// let mut framer = Framer::new(Protocol::Smtp, Label::Capabilities, None, 100);
/// assert_eq!(framer.advance(b"250-mx\r\n250 HE"), Progress::Incomplete);
/// assert_eq!(framer.advance(b"250-mx\r\n250 HELP\r\n220"), Progress::Complete(18));
/// ```
#[derive(Debug, Clone)]
pub struct Framer {
    protocol: Protocol,
    label: Label,
    tag: Option<Vec<u8>>,
    scanner: Scanner,
    first: bool,
    lines: usize,
    most_lines: usize,
    settled: Option<Progress>,
}

impl Framer {
    /// For the reply to a step. IMAP replies are recognised by `tag`; without one, by any tag.
    #[must_use]
    pub fn new(protocol: Protocol, label: Label, tag: Option<&[u8]>, most_lines: usize) -> Self {
        Self {
            protocol,
            label,
            tag: tag.map(<[u8]>::to_vec),
            scanner: Scanner::new(protocol),
            first: true,
            lines: 0,
            most_lines,
            settled: None,
        }
    }

    /// Looks at what is new in `bytes`, which begin where the reply begins and only ever grow.
    pub fn advance(&mut self, bytes: &[u8]) -> Progress {
        while self.settled.is_none() {
            let Some(line) = self.scanner.next_line(bytes) else {
                return Progress::Incomplete;
            };
            self.lines += 1;
            let text = line.text().of(bytes);
            if self.is_last(text) {
                self.settled = Some(Progress::Complete(self.scanner.start));
            } else if self.lines >= self.most_lines {
                self.settled = Some(Progress::TooManyLines(self.scanner.start));
            }
            // Blank lines before a reply are noise in every one of these protocols.
            self.first &= text.trim_ascii().is_empty();
        }
        self.settled.unwrap_or(Progress::Incomplete)
    }

    fn is_last(&self, text: &[u8]) -> bool {
        if self.first && text.trim_ascii().is_empty() {
            return false;
        }
        match self.protocol {
            Protocol::Smtp | Protocol::Lmtp => smtp::reply::ends(text, self.first),
            Protocol::Imap => imap::reply::ends(text, self.first, self.label, self.tag.as_deref()),
            Protocol::Pop3 => pop3::reply::ends(text, self.first, self.label),
            Protocol::Sieve => sieve::reply::ends(text, self.first),
        }
    }
}

/// Finds complete lines one by one; remembers how far it has looked.
#[derive(Debug, Clone)]
struct Scanner {
    protocol: Protocol,
    /// Where the current line begins.
    start: usize,
    /// Where its text behind the last literal begins.
    part: usize,
    /// How far it was looked at.
    at: usize,
    /// Bytes of a literal still to pass over.
    literal: usize,
}

impl Scanner {
    const fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            start: 0,
            part: 0,
            at: 0,
            literal: 0,
        }
    }

    fn next_line(&mut self, bytes: &[u8]) -> Option<Line> {
        loop {
            let passed = self.literal.min(bytes.len().saturating_sub(self.at));
            self.at += passed;
            self.literal -= passed;
            if self.literal > 0 {
                return None;
            }
            if passed > 0 {
                self.part = self.at;
            }
            let rest = bytes.get(self.at..)?;
            let Some(line_feed) = rest.iter().position(|byte| *byte == b'\n') else {
                self.at = bytes.len();
                return None;
            };
            let end = self.at + line_feed + 1;
            self.at = end;
            let part = bytes.get(self.part..end).unwrap_or_default();
            let terminator = if part.ends_with(b"\r\n") {
                Terminator::CrLf
            } else {
                Terminator::Lf
            };
            let part = part
                .get(..part.len() - terminator.len())
                .unwrap_or_default();
            let head = bytes.get(self.start..end).unwrap_or_default();
            self.part = end;
            if let Some(length) = announced(self.protocol, head, part) {
                self.literal = length;
                continue;
            }
            let range = ByteRange::at(self.start, end);
            self.start = end;
            return Some(Line { range, terminator });
        }
    }
}

/// How much of a line's beginning decides what kind it is. Bounded, because a line made of many
/// empty literals asks this for each of them.
const HEAD: usize = 96;

/// The length of the literal that a line's text announces at its end.
fn announced(protocol: Protocol, head: &[u8], part: &[u8]) -> Option<usize> {
    match protocol {
        Protocol::Imap if imap::reply::is_free_text(head.get(..HEAD).unwrap_or(head)) => None,
        Protocol::Imap | Protocol::Sieve => literal(part),
        Protocol::Smtp | Protocol::Lmtp | Protocol::Pop3 => None,
    }
}

/// `… {n}`, `… {n+}` or `… {n-}` at the end of a line.
pub(crate) fn literal(text: &[u8]) -> Option<usize> {
    let text = text.strip_suffix(b"}")?;
    let text = text
        .strip_suffix(b"+")
        .or_else(|| text.strip_suffix(b"-"))
        .unwrap_or(text);
    let digits = text
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .take(20)
        .count();
    let (rest, digits) = text.split_at_checked(text.len() - digits)?;
    if rest.last() != Some(&b'{') {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_belong_to_their_line() {
        let bytes = b"* 1 FETCH (BODY[] {7}\r\na\r\nb\r\n) x\r\nA1 OK done {3}\r\n";
        let lines = lines(Protocol::Imap, bytes);
        assert_eq!(lines.len(), 2, "a status line's text announces nothing");
        assert_eq!(lines[1].range.of(bytes), b"A1 OK done {3}\r\n");
        assert_eq!(
            super::lines(Protocol::Sieve, b"NO {4+}\r\na\r\nb\r\nOK\r\n").len(),
            2
        );
        assert_eq!(literal(b"x {99999999999999999999}"), None);
        assert_eq!(literal(b"x {}"), None);
    }

    #[test]
    fn a_carriage_return_ends_a_line_only_at_the_end() {
        let bytes = b"220 a\rb\r\r\n220 c\r";
        let lines = lines(Protocol::Smtp, bytes);
        assert_eq!(lines[0].text().of(bytes), b"220 a\rb\r");
        assert_eq!(
            (lines[0].terminator, lines[1].terminator),
            (Terminator::CrLf, Terminator::Cr)
        );
    }

    #[test]
    fn an_endless_reply_is_stopped() {
        let mut framer = Framer::new(Protocol::Smtp, Label::Capabilities, None, 3);
        let bytes = b"250-a\r\n".repeat(5);
        assert_eq!(framer.advance(&bytes), Progress::TooManyLines(21));
    }

    fn protocols() -> impl Strategy<Value = Protocol> {
        prop::sample::select(alloc::vec![
            Protocol::Smtp,
            Protocol::Imap,
            Protocol::Pop3,
            Protocol::Sieve
        ])
    }

    proptest! {
        #[test]
        fn lines_tile_any_bytes(protocol in protocols(), bytes in "[a{}0-9+\r\n\"* OK]{0,200}") {
            let bytes = bytes.as_bytes();
            let mut at = 0;
            for line in lines(protocol, bytes) {
                prop_assert_eq!(line.range.from, at);
                prop_assert!(!line.range.is_empty());
                at = line.range.to;
            }
            prop_assert_eq!(at, bytes.len() as u64);
        }

        #[test]
        fn framing_does_not_depend_on_cuts(
            protocol in protocols(),
            bytes in "([a25{}0-3+* OK.\"-]{0,12}\r?\n){0,12}",
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let bytes = bytes.as_bytes();
            let mut whole = Framer::new(protocol, Label::Capabilities, Some(b"a"), 8);
            let expected = whole.advance(bytes);
            let mut pieces = Framer::new(protocol, Label::Capabilities, Some(b"a"), 8);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut progress = Progress::Incomplete;
            for cut in cuts {
                progress = pieces.advance(&bytes[..cut]);
            }
            prop_assert_eq!(progress, expected);
        }
    }
}
