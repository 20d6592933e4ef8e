//! One dialogue in the making, from lines whose speaker is marked or inferred.
//!
//! It must not know files, encodings or logs: it takes undressed lines and tools' remarks, and gives a
//! recording, or nothing where the lines were no mail dialogue after all.

mod recording;
mod speaker;

pub(super) use speaker::may_begin;

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::net::IpAddr;
use hoofbeat_session::{Direction, Elapsed, Label, Layer, Protocol};

use self::speaker::starts;
use super::{
    super::{
        cutter::{Cutter, Trust, reply_code},
        verb::first_word,
    },
    dress::Dressed,
    form::Form,
    ledger::example,
    note::Note,
    peer::Peer,
};
use crate::{
    Ending, FailureKind, HandshakeOutcome, InvalidReason,
    dialogue::{Claim, Claimed},
};

/// Who said a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Server,
    Client,
    /// Perhaps a command that no protocol knows: an answer will tell.
    Perhaps,
    Nobody,
}

/// Longest line that may be an unknown command where nothing marks it.
const LONGEST_GUESS: usize = 60;

/// The dialogue so far.
#[derive(Debug)]
pub(super) struct Session {
    cutter: Cutter,
    form: Form,
    first_line: u64,
    host: String,
    address: Option<IpAddr>,
    port: Option<u16>,
    /// A tool said that a connection stands.
    connected: bool,
    down: Option<(FailureKind, String)>,
    /// Lines with a mark that means only one thing were seen.
    marked: bool,
    server_lines: u32,
    client_lines: u32,
    /// What speaks for a mail dialogue; see [`Session::is_mail`].
    mail_words: u32,
    perhaps: Option<String>,
    claims: Vec<Claim>,
    secured: bool,
    version: Option<String>,
    cipher: Option<String>,
    failed: Option<HandshakeOutcome>,
    /// The connection was lost during the handshake.
    lost: bool,
    /// The tool was told to say STARTTLS first, or says that it did.
    upgrades: bool,
    trusted: Option<String>,
    untrusted: Option<(InvalidReason, String)>,
    over: bool,
}

impl Session {
    /// A dialogue of which nothing was heard.
    pub(super) fn new(form: Form, first_line: u64) -> Self {
        Self {
            cutter: Cutter::new(None, Trust::Copied),
            form,
            first_line,
            host: String::new(),
            address: None,
            port: None,
            connected: false,
            down: None,
            marked: false,
            server_lines: 0,
            client_lines: 0,
            mail_words: 0,
            perhaps: None,
            claims: Vec::new(),
            secured: false,
            version: None,
            cipher: None,
            failed: None,
            lost: false,
            upgrades: false,
            trusted: None,
            untrusted: None,
            over: false,
        }
    }

    /// Whether anything was said or happened yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.server_lines == 0
            && self.client_lines == 0
            && self.claims.is_empty()
            && self.down.is_none()
    }

    /// Whether a remark begins another connection.
    pub(super) fn is_ended_by(&self, note: &Note<'_>) -> bool {
        match note {
            // A tool that tries one address after the other is still making this connection; and one
            // whose complaints (stderr) were pasted before its progress is only now naming it.
            Note::Dial { .. } => {
                let said = self.server_lines + self.client_lines > 0;
                said || (!self.is_fresh()
                    && self.is_named()
                    && (self.down.is_none() || self.connected))
            }
            Note::Up { .. } => self.connected && !self.is_fresh(),
            _ => false,
        }
    }

    const fn is_named(&self) -> bool {
        !self.host.is_empty() || self.address.is_some()
    }

    /// Names the service, where it is not named yet or better known now.
    pub(super) fn with(&mut self, peer: &Peer<'_>, protocol: Option<Protocol>) {
        if !peer.host.is_empty() {
            self.host = peer.host.to_owned();
        }
        self.address = peer.address.or(self.address);
        self.port = peer.port.or(self.port);
        if protocol.is_some() && self.server_lines + self.client_lines == 0 {
            self.cutter = Cutter::new(protocol, Trust::Copied);
        }
    }

    /// A tool's remark; `line` is how it said so.
    pub(super) fn remark(&mut self, form: Option<Form>, note: &Note<'_>, line: &str) {
        if let Some(form) = form
            && (self.is_fresh() || matches!(self.form, Form::Pasted | Form::Telnet))
        {
            self.form = form;
        }
        match note {
            Note::Dial { peer, protocol } => {
                self.upgrades |= protocol.is_some();
                if let Some(peer) = peer {
                    self.with(peer, *protocol);
                }
            }
            Note::Up { peer } => {
                self.connected = true;
                self.down = None;
                if let Some(peer) = peer {
                    self.with(peer, None);
                }
            }
            Note::Down(kind) => {
                if self
                    .down
                    .as_ref()
                    .is_none_or(|(known, _)| *known == FailureKind::Other)
                {
                    self.down = Some((*kind, example(line)));
                }
            }
            Note::Closed => self.end(Ending::Peer),
            Note::Reset => self.end(Ending::Reset),
            Note::TimedOut => self.cutter.time_out(),
            Note::Secured { version, cipher } => {
                self.version = version.map(spelled_version).or(self.version.take());
                self.cipher = cipher.map(ToOwned::to_owned).or(self.cipher.take());
                if !self.secured {
                    self.secure();
                    self.claim(Claimed::TlsEstablished, line);
                }
            }
            Note::Trusted { name } => {
                if self.form == Form::PosttlsFinger && !self.secured {
                    self.secure();
                }
                let name = name
                    .map(ToOwned::to_owned)
                    .or_else(|| (!self.host.is_empty()).then(|| self.host.clone()));
                self.trusted = Some(name.unwrap_or_default());
                self.claim(Claimed::TlsVerified, line);
            }
            Note::Untrusted(reason) => {
                self.untrusted
                    .get_or_insert_with(|| (*reason, example(line)));
                self.claim(Claimed::CertificateInvalid, line);
            }
            Note::NotOffered => {
                self.upgrades = true;
                self.claim(Claimed::StartTlsNotOffered, line);
            }
            // Swaks says so too where STARTTLS was granted and the handshake failed.
            Note::Refused if self.lost => {}
            Note::Refused if self.cutter.awaits_tls() || self.failed.is_some() => {
                self.claim(Claimed::HandshakeFailed, line);
            }
            Note::Refused => self.claim(Claimed::StartTlsRefused, line),
            // s_client does not look at the answer to STARTTLS: a refusal meets its handshake as plain text.
            Note::Failed(HandshakeOutcome::NotTls)
                if self.form == Form::SClient && self.upgrades =>
            {
                self.lost = true;
                self.claim(Claimed::StartTlsRefused, line);
            }
            Note::Failed(_) if self.lost => {}
            Note::Failed(outcome) => {
                // After the handshake these words concern the end of the session.
                if !self.secured {
                    self.failed.get_or_insert_with(|| outcome.clone());
                    self.claim(Claimed::HandshakeFailed, line);
                }
            }
            Note::Lost => {
                self.lost = true;
                self.claim(Claimed::LostAfterStartTls, line);
            }
            Note::Nothing => {}
        }
    }

    fn end(&mut self, ending: Ending) {
        let told = if self
            .cutter
            .exchanges()
            .last()
            .is_some_and(|e| e.label == Label::Quit)
        {
            Ending::Ours
        } else {
            ending
        };
        self.cutter.end(told, Elapsed::default());
        self.over = true;
    }

    fn secure(&mut self) {
        self.secured = true;
        self.perhaps = None;
        self.cutter.secure();
    }

    fn claim(&mut self, what: Claimed, line: &str) {
        if !self.claims.iter().any(|claim| claim.what == what) {
            self.claims.push(Claim {
                what,
                line: example(line),
            });
        }
    }

    /// A line of the dialogue, perhaps. Returns whether it was taken.
    pub(super) fn line(&mut self, dressed: &Dressed<'_>) -> bool {
        let said = self.speaker(dressed);
        match said {
            Said::Nobody => return false,
            Said::Perhaps => {
                self.perhaps = Some(dressed.text.to_owned());
                return false;
            }
            Said::Server => self.server(dressed),
            Said::Client => self.client(dressed),
        }
        if let Some(form) = dressed.form
            && matches!(self.form, Form::Pasted | Form::Telnet)
        {
            self.form = form;
        }
        self.marked |= dressed.sure;
        true
    }

    fn server(&mut self, dressed: &Dressed<'_>) {
        let text = dressed.text;
        let code = reply_code(text.as_bytes());
        if self.form == Form::SClient
            && self.secured
            && self.client_lines == 0
            && code == Some(250)
            && !self.cutter.is_waiting()
        {
            // s_client shows the last line of the plaintext EHLO reply behind the handshake.
            return;
        }
        self.enter_layer(dressed);
        let unknown = code.is_some_and(|c| (500..=504).contains(&c))
            || starts(text, "-ERR")
            || (first_word(first_word(text).1).0.eq_ignore_ascii_case("BAD"));
        if let Some(perhaps) = self.perhaps.take()
            && unknown
            && !self.cutter.is_waiting()
        {
            self.hear(Direction::ToServer, &perhaps);
            self.client_lines += 1;
        }
        if self.server_lines == 0 && self.client_lines == 0 && code.is_none_or(|c| c != 250) {
            let upper = text.to_ascii_uppercase();
            let words = [
                "SMTP",
                "IMAP",
                "POP3",
                "MAIL",
                "SENDMAIL",
                "****",
                "DOVECOT",
                "CAPABILITY",
                "IMPLEMENTATION",
                "READY",
            ];
            self.mail_words += u32::from(words.iter().any(|word| upper.contains(word)));
        }
        if code == Some(250) && self.client_lines == 0 {
            self.mail_words += u32::from(is_keyword(text.get(4..).unwrap_or_default()));
        }
        self.hear(Direction::ToClient, text);
        self.server_lines += 1;
        if self
            .cutter
            .exchanges()
            .last()
            .is_some_and(|e| e.label == Label::Quit)
            && !self.cutter.is_waiting()
            || code == Some(421)
        {
            self.over = true;
        }
    }

    fn client(&mut self, dressed: &Dressed<'_>) {
        self.perhaps = None;
        self.enter_layer(dressed);
        if self.cutter.awaits_tls()
            && !self.form.tells_tls()
            && (self.marked || dressed.sure)
            && self.failed.is_none()
        {
            self.cutter.secure();
        }
        if !self.cutter.is_hiding() {
            self.client_lines += 1;
        }
        self.hear(Direction::ToServer, dressed.text);
    }

    fn enter_layer(&mut self, dressed: &Dressed<'_>) {
        if dressed.layer == Some(Layer::Tls) && self.cutter.layer() == Layer::Plain {
            self.secure();
        }
    }

    fn hear(&mut self, direction: Direction, text: &str) {
        self.cutter.hear(
            direction,
            Elapsed::default(),
            format!("{text}\r\n").as_bytes(),
        );
    }
}

/// `TLS1.3` and `TLSv1.3` are one.
fn spelled_version(version: &str) -> String {
    match version.strip_prefix("TLS") {
        Some(number) if number.starts_with(|c: char| c.is_ascii_digit()) => format!("TLSv{number}"),
        _ => version.to_owned(),
    }
}

/// Whether the text of a 250 line is an EHLO keyword, or what a Cisco writes over one.
fn is_keyword(text: &str) -> bool {
    let word = text.split([' ', '=']).next().unwrap_or_default();
    let known = [
        "PIPELINING",
        "SIZE",
        "VRFY",
        "ETRN",
        "STARTTLS",
        "AUTH",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "DSN",
        "SMTPUTF8",
        "CHUNKING",
        "HELP",
        "BINARYMIME",
        "DELIVERBY",
        "X-ANONYMOUSTLS",
        "X-EXPS",
        "XRDST",
        "EXPN",
        "TURN",
        "OK",
    ];
    let masked = word.len() >= 3 && word.bytes().rev().skip(1).all(|b| b == b'X');
    masked
        || known
            .iter()
            .any(|keyword| word.eq_ignore_ascii_case(keyword))
}
