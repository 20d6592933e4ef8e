//! Reading what people paste or keep as text: sessions of telnet, nc, swaks, openssl and other tools,
//! `S:`/`C:` dialogues, bounced or quoted mail, and the logs of Postfix, Exim and Sendmail.
//!
//! A [`Reader`] takes the file in parts, in bounded memory whatever its size, and gives [`Recording`]s.
//! Roles that are not marked are inferred from the grammar of lines (RFC 5321 §4.2, RFC 9051 §7,
//! RFC 1939 §3, RFC 5804 §1.2). It must not know files, nor what a recording proves.

mod claim;
mod decode;
mod dress;
mod form;
mod ledger;
mod log;
mod note;
mod peer;
mod session;

use alloc::{string::String, vec::Vec};

use self::{
    claim::Sieve, decode::Decoder, form::Form, ledger::Ledger, note::Note, session::Session,
};
use crate::{Dialogue, dialogue::Claimed};

/// Most recordings of one text.
pub const RECORDINGS: usize = 64;
/// Longest line that is read, in bytes; what is longer is cut and counted.
pub const LONGEST_LINE: usize = 16 << 10;
/// Most dialogues of a verbose log that are followed at once.
const OPEN_LOGS: usize = 64;

/// One dialogue found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The dialogue. Its service's host is empty where the text does not tell it.
    pub dialogue: Dialogue,
    /// The line where it begins, from 1.
    pub first_line: u64,
    /// How often each claim was made; the claims themselves hold the first line of each.
    pub counts: Vec<(Claimed, u64)>,
}

/// Everything found in a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// The dialogues, at most [`RECORDINGS`], in the order of their first lines.
    pub recordings: Vec<Recording>,
    /// How many lines were read.
    pub lines: u64,
    /// Lines that were cut at [`LONGEST_LINE`].
    pub cut_lines: u64,
    /// Dialogues, and parties of logs, beyond the bounds: seen and left out.
    pub left_out: u64,
    /// Lines of logs about more parties than can be told apart.
    pub uncounted_lines: u64,
}

/// Reads a whole text at once.
#[must_use]
pub fn read(text: &[u8]) -> Reading {
    let mut reader = Reader::new();
    reader.feed(text);
    reader.finish()
}

/// Reads a text in parts.
///
/// ```
/// use hoofbeat_observation::recorded::text::Reader;
/// let mut reader = Reader::new();
/// for part in ["S: 220 mx.example ESMTP\nC: EHLO me\nS: 250-mx.exam", "ple\nS: 250 STARTTLS\n"] {
///     reader.feed(part.as_bytes());
/// }
/// let reading = reader.finish();
/// assert_eq!(reading.recordings.len(), 1);
/// assert_eq!(reading.recordings[0].dialogue.exchanges.len(), 2);
/// ```
#[derive(Debug)]
pub struct Reader {
    decoder: Decoder,
    /// A line whose end has not come.
    carry: Vec<u8>,
    /// The carried line is too long: what comes of it is passed over.
    cutting: bool,
    /// The last byte was a carriage return: a line feed behind it is no line of its own.
    returned: bool,
    scribe: Scribe,
}

/// What is done with whole lines.
#[derive(Debug)]
struct Scribe {
    number: u64,
    cut_lines: u64,
    left_out: u64,
    sieve: Sieve,
    ledger: Ledger,
    current: Option<Session>,
    /// Dialogues of verbose logs, by process and party.
    logged: Vec<(String, Session)>,
    done: Vec<Recording>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            decoder: Decoder::default(),
            carry: Vec::new(),
            cutting: false,
            returned: false,
            scribe: Scribe {
                number: 0,
                cut_lines: 0,
                left_out: 0,
                sieve: Sieve::new(),
                ledger: Ledger::default(),
                current: None,
                logged: Vec::new(),
                done: Vec::new(),
            },
        }
    }

    /// The next part of the text, of any length.
    pub fn feed(&mut self, bytes: &[u8]) {
        let decoded = self.decoder.feed(bytes);
        Self::split(
            &mut self.carry,
            &mut self.cutting,
            &mut self.returned,
            &mut self.scribe,
            &decoded,
        );
    }

    /// Everything that was found.
    #[must_use]
    pub fn finish(mut self) -> Reading {
        let rest = self.decoder.finish();
        Self::split(
            &mut self.carry,
            &mut self.cutting,
            &mut self.returned,
            &mut self.scribe,
            &rest,
        );
        if !self.carry.is_empty() {
            self.scribe.line(&self.carry);
        }
        self.scribe.finish()
    }

    fn split(
        carry: &mut Vec<u8>,
        cutting: &mut bool,
        returned: &mut bool,
        scribe: &mut Scribe,
        mut bytes: &[u8],
    ) {
        while !bytes.is_empty() {
            if core::mem::take(returned)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if carry.is_empty() && !*cutting && end.is_some() && line.len() <= LONGEST_LINE {
                scribe.line(line);
            } else {
                if !*cutting {
                    let room = LONGEST_LINE.saturating_sub(carry.len());
                    carry.extend_from_slice(line.get(..room.min(line.len())).unwrap_or_default());
                    if line.len() > room {
                        *cutting = true;
                        scribe.cut_lines += 1;
                    }
                }
                if end.is_some() {
                    scribe.line(carry);
                    carry.clear();
                    *cutting = false;
                }
            }
            match rest.split_first() {
                Some((ending, behind)) => {
                    *returned = *ending == b'\r';
                    bytes = behind;
                }
                None => break,
            }
        }
    }
}

impl Scribe {
    fn line(&mut self, bytes: &[u8]) {
        self.number += 1;
        if bytes.is_empty() {
            return;
        }
        let telling = self.sieve.lets_pass(bytes);
        let logged = log::begins_like_log(bytes);
        if logged && !telling && !log::may_hold_dialogue(bytes) {
            return;
        }
        let line = decode::line(bytes);
        if logged {
            let said = log::spoken(&line).is_some_and(|spoken| self.spoken(&spoken));
            if said || telling && self.claimed(&line) {
                return;
            }
        } else if telling && !line.starts_with("posttls-finger: ") && self.claimed(&line) {
            return;
        }
        self.dialogue(&line);
    }

    fn claimed(&mut self, line: &str) -> bool {
        let Some(saying) = claim::read(line) else {
            return false;
        };
        self.ledger
            .enter(&saying, log::host(line), line, self.number);
        true
    }

    /// A line of a verbose log: each process has its own dialogue.
    fn spoken(&mut self, spoken: &log::Spoken<'_>) -> bool {
        let key = spoken.key();
        let at = match self.logged.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None => {
                if self.logged.len() >= OPEN_LOGS {
                    let (_, oldest) = self.logged.remove(0);
                    self.put_away(oldest);
                }
                self.logged.push((key, self.logged_session(spoken)));
                self.logged.len() - 1
            }
        };
        let Some((_, session)) = self.logged.get_mut(at) else {
            return false;
        };
        if session.is_ended_by_line(&spoken.dressed) {
            let fresh = Self::session_of(self.number, spoken);
            let before = core::mem::replace(session, fresh);
            session.line(&spoken.dressed);
            self.put_away(before);
        } else {
            session.line(&spoken.dressed);
        }
        true
    }

    fn logged_session(&self, spoken: &log::Spoken<'_>) -> Session {
        Self::session_of(self.number, spoken)
    }

    fn session_of(number: u64, spoken: &log::Spoken<'_>) -> Session {
        let mut session = Session::new(Form::PostfixLog, number);
        session.with(&spoken.peer, None);
        session
    }

    fn dialogue(&mut self, line: &str) {
        let dressed = dress::undress(line);
        let remark = note::read(line).or_else(|| {
            if dressed.sure {
                None
            } else {
                note::read(dressed.text)
            }
        });
        if let Some((form, note)) = remark {
            if self
                .current
                .as_ref()
                .is_some_and(|session| session.is_ended_by(&note))
            {
                self.close();
            }
            let begins = matches!(
                note,
                Note::Dial { .. } | Note::Up { .. } | Note::NotOffered | Note::Secured { .. }
            );
            if self.current.is_none() && (begins || form.is_some()) {
                self.current = Some(Session::new(form.unwrap_or(Form::Pasted), self.number));
            }
            if let Some(session) = &mut self.current {
                session.remark(form, &note, line);
            }
            return;
        }
        if self
            .current
            .as_ref()
            .is_some_and(|session| session.is_ended_by_line(&dressed))
        {
            self.close();
        }
        match &mut self.current {
            Some(session) => {
                session.line(&dressed);
            }
            None if !session::may_begin(&dressed) => {}
            None => {
                let mut session = Session::new(dressed.form.unwrap_or(Form::Pasted), self.number);
                if session.line(&dressed) {
                    self.current = Some(session);
                }
            }
        }
    }

    fn close(&mut self) {
        if let Some(session) = self.current.take() {
            self.put_away(session);
        }
    }

    fn put_away(&mut self, session: Session) {
        let Some(recording) = session.finish() else {
            return;
        };
        if self.done.len() < RECORDINGS {
            self.done.push(recording);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    fn finish(mut self) -> Reading {
        self.close();
        for (_, session) in core::mem::take(&mut self.logged) {
            self.put_away(session);
        }
        let room = RECORDINGS.saturating_sub(self.done.len());
        let uncounted = self.ledger.left_out;
        let (parties, over) = self.ledger.finish(room);
        self.done.extend(parties);
        self.done.sort_by_key(|recording| recording.first_line);
        Reading {
            recordings: self.done,
            lines: self.number,
            cut_lines: self.cut_lines,
            left_out: self.left_out.saturating_add(over),
            uncounted_lines: uncounted,
        }
    }
}
