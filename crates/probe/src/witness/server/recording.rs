//! The witness's record of one mail connection: the exact bytes as they came and went, without anybody's secrets.
//!
//! Segments are kept as they were read, but what is secret is known only once a line is whole: the line is then
//! overwritten in place, for a veil is as long as what it hides. A line that never ends is veiled where it stands.

use hoofbeat_session::{Direction, Elapsed, Layer, Protocol, Redactor, Transcript};

use super::trace::Place;

/// Commands whose arguments name people or hold secrets or mail. This server refuses them all, so they are looked for in
/// every protocol: who talks SMTP to an IMAP port gives away as much.
const PRIVATE: [&[u8]; 14] = [
    b"MAIL",
    b"RCPT",
    b"VRFY",
    b"EXPN",
    b"BDAT",
    b"AUTH",
    b"AUTHENTICATE",
    b"LOGIN",
    b"USER",
    b"PASS",
    b"APOP",
    b"APPEND",
    b"SELECT",
    b"STATUS",
];

/// A record in the making.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    protocol: Protocol,
    transcript: Transcript,
    redactor: Redactor,
    /// Where the client's unfinished line begins.
    line_from: u64,
    line: Vec<u8>,
}

impl Recording {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            transcript: Transcript::default(),
            redactor: Redactor::default(),
            line_from: 0,
            line: Vec::new(),
        }
    }

    /// Bytes of the client, as one read returned them.
    pub(super) fn received(&mut self, layer: Layer, at: Elapsed, bytes: &[u8]) {
        self.transcript.push(Direction::ToServer, layer, at, bytes);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.veil_line();
            }
        }
    }

    /// Bytes of the witness, as they were written; whole lines.
    pub(super) fn sent(&mut self, layer: Layer, at: Elapsed, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // The redactor learns from answers; our own hold nothing that the client said.
            let _ = self.redactor.server_line(self.protocol, line);
        }
        self.transcript.push(Direction::ToClient, layer, at, bytes);
    }

    /// How many bytes came from the client.
    pub(super) fn length(&self) -> u64 {
        self.transcript.length(Direction::ToServer)
    }

    /// Where the two streams stand; TCP's numbers wrap.
    pub(super) fn place(&self) -> Place {
        let low = |length: u64| u32::try_from(length & u64::from(u32::MAX)).unwrap_or(0);
        Place {
            sent: low(self.transcript.length(Direction::ToClient)),
            received: low(self.transcript.length(Direction::ToServer)),
        }
    }

    /// Bytes that came and were not kept.
    pub(super) fn discarded(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.transcript.discarded = self.transcript.discarded.saturating_add(bytes);
    }

    /// The record, with nothing secret left in it.
    pub(super) fn finish(mut self) -> Transcript {
        self.veil_line();
        self.transcript
    }

    fn veil_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let from = self.line_from;
        let kept = self.redactor.client_line(self.protocol, &line);
        let kept = private_veiled(self.protocol, &kept);
        self.line_from = from.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        if kept != line {
            overwrite(&mut self.transcript, from, &kept);
        }
    }
}

/// The line with the arguments of private commands replaced, blanks and its end kept.
fn private_veiled(protocol: Protocol, line: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = line
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
        .collect();
    // Behind the tag, where there is one.
    let verb = words.iter().take(2).find(|word| {
        // The protocol's own AUTH was redacted by whoever knows where its mechanism ends.
        let is_done = word.eq_ignore_ascii_case(b"AUTH") && protocol != Protocol::Imap;
        !is_done && PRIVATE.iter().any(|known| known.eq_ignore_ascii_case(word))
    });
    let Some(verb) = verb else {
        return line.to_vec();
    };
    // The verb is a part of the line, so this is where it ends.
    let end = (verb.as_ptr() as usize).saturating_sub(line.as_ptr() as usize) + verb.len();
    let veil = |(at, byte): (usize, &u8)| match byte {
        byte if at < end || byte.is_ascii_whitespace() => *byte,
        _ => b'*',
    };
    line.iter().enumerate().map(veil).collect()
}

fn overwrite(transcript: &mut Transcript, from: u64, bytes: &[u8]) {
    let to = from.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    let chunks = transcript
        .chunks
        .iter_mut()
        .filter(|chunk| chunk.direction == Direction::ToServer);
    for chunk in chunks {
        let end = chunk
            .offset
            .saturating_add(u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX));
        if end <= from || chunk.offset >= to {
            continue;
        }
        for (offset, byte) in (chunk.offset..).zip(&mut chunk.bytes) {
            let new = offset
                .checked_sub(from)
                .and_then(|at| bytes.get(usize::try_from(at).ok()?));
            if let Some(new) = new {
                *byte = *new;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoofbeat_session::ByteRange;
    use proptest::prelude::*;

    fn kept(protocol: Protocol, said: &[&[u8]]) -> String {
        let mut recording = Recording::new(protocol);
        for bytes in said {
            recording.received(Layer::Plain, Elapsed::default(), bytes);
        }
        let transcript = recording.finish();
        let all = ByteRange {
            from: 0,
            to: u64::MAX,
        };
        String::from_utf8(transcript.bytes(Direction::ToServer, all).into_owned()).unwrap()
    }

    #[test]
    fn secrets_are_veiled_however_they_are_cut() {
        for (protocol, said, wanted) in [
            (
                Protocol::Smtp,
                &[&b"EHLO a\r\nAUTH PL"[..], b"AIN AGJv", b"Yg==\r\nNOOP\r\n"][..],
                "EHLO a\r\nAUTH PLAIN ********\r\n****\r\n",
            ),
            (
                Protocol::Smtp,
                &[b"mail FROM:<me@home> SIZE=3\r\n"],
                "mail ************** ******\r\n",
            ),
            (Protocol::Smtp, &[b"RCPT TO:<you"], "RCPT *******"),
            (
                Protocol::Imap,
                &[b"a LOGIN bo", b"b pw\r\n"],
                "a LOGIN ******\r\n",
            ),
            (
                Protocol::Imap,
                &[b"a select INBOX\r\n"],
                "a select *****\r\n",
            ),
            (Protocol::Pop3, &[b"PASS secret"], "PASS ******"),
            (Protocol::Smtp, &[b"XXXXXXXX\r\n"], "XXXXXXXX\r\n"),
            (
                Protocol::Imap,
                &[b"h3 AUTH PLAIN AGJv\r\n"],
                "h3 AUTH ***** ****\r\n",
            ),
            (
                Protocol::Smtp,
                &[b"a LOGIN me@x secret\r\n"],
                "a LOGIN **** ******\r\n",
            ),
        ] {
            let found = kept(protocol, said);
            assert_eq!(found, wanted);
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(text in "((AUTH PLAIN|MAIL FROM:|EHLO|a LOGIN|USER) [a-z<>= ]{0,9}\r?\n){0,6}[A-Z ]{0,9}", at in any::<prop::sample::Index>()) {
            let bytes = text.as_bytes();
            let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
            for protocol in [Protocol::Smtp, Protocol::Imap, Protocol::Pop3] {
                prop_assert_eq!(kept(protocol, &[bytes]), kept(protocol, &[first, second]));
                prop_assert_eq!(kept(protocol, &[bytes]).len(), bytes.len());
            }
        }
    }
}
