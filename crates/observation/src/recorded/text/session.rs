//! One dialogue in the making, from lines whose speaker is marked or inferred.
//!
//! It must not know files, encodings or logs: it takes undressed lines and tools' remarks, and gives a
//! recording, or nothing where the lines were no mail dialogue after all.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;
use hoofbeat_session::{Direction, Elapsed, Layer, Protocol};

use super::{
    super::{
        cutter::{Cutter, Trust, protocol_of_server, reply_code},
        verb::{self, first_word},
    },
    Recording,
    dress::Dressed,
    form::Form,
    ledger::example,
    note::Note,
    peer::Peer,
};
use crate::{
    Connect, Dialogue, Ending, Failure, FailureKind, Handshake, HandshakeOutcome, InvalidReason, Operation, Role, Scheme,
    Service, Source, Variation, Verification,
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
            trusted: None,
            untrusted: None,
            over: false,
        }
    }

    /// Whether anything was said or happened yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.server_lines == 0 && self.client_lines == 0 && self.claims.is_empty() && self.down.is_none()
    }

    /// Whether a remark begins another connection.
    pub(super) fn is_ended_by(&self, note: &Note<'_>) -> bool {
        match note {
            // A tool that tries one address after the other is still making this connection; and one
            // whose complaints (stderr) were pasted before its progress is only now naming it.
            Note::Dial { .. } => {
                let said = self.server_lines + self.client_lines > 0;
                said || (!self.is_fresh() && self.is_named() && (self.down.is_none() || self.connected))
            }
            Note::Up { .. } => self.connected && !self.is_fresh(),
            _ => false,
        }
    }

    const fn is_named(&self) -> bool {
        !self.host.is_empty() || self.address.is_some()
    }

    /// Whether a line greets anew: then it belongs to another dialogue.
    pub(super) fn is_ended_by_line(&self, dressed: &Dressed<'_>) -> bool {
        let text = dressed.text;
        if dressed.who == Some(Direction::ToClient) && dressed.sure && self.greets(text) {
            // A marked greeting in another language than this dialogue's.
            let other = |protocol| !matches!((self.cutter.protocol(), protocol), (None, _) | (Some(Protocol::Lmtp), Protocol::Smtp)) && self.cutter.protocol() != Some(protocol);
            if protocol_of_server(text.as_bytes()).is_some_and(other) {
                return true;
            }
        }
        if self.server_lines == 0 || self.cutter.is_listing() {
            return self.over && self.server_lines + self.client_lines > 0 && self.greets(text);
        }
        let idle = !self.cutter.is_waiting();
        match self.cutter.protocol() {
            Some(Protocol::Smtp | Protocol::Lmtp) => {
                let code = reply_code(text.as_bytes());
                (self.over && (self.greets(text) || self.is_opening(text)))
                    || (idle && code == Some(220) && !text.contains("TLS") && self.client_lines > 0)
                    || (idle && code.is_some_and(|c| c == 200 || c == 220) && text.contains("****"))
                    || (idle && self.client_lines > 1 && starts(text, "* OK"))
            }
            Some(Protocol::Imap | Protocol::Pop3 | Protocol::Sieve) => {
                (self.over && (self.greets(text) || self.is_opening(text)))
                    || (idle && self.client_lines > 0 && self.cutter.layer() == Layer::Plain && self.greets(text))
            }
            None => false,
        }
    }

    fn greets(&self, text: &str) -> bool {
        matches!(reply_code(text.as_bytes()), Some(220 | 421 | 554 | 200))
            || starts(text, "* OK")
            || starts(text, "* PREAUTH")
            || starts(text, "* BYE")
            || starts(text, "+OK")
            || starts(text, "\"IMPLEMENTATION\"")
    }

    fn is_opening(&self, text: &str) -> bool {
        ["EHLO ", "HELO ", "LHLO "].iter().any(|verb| starts(text, verb)) || text.eq_ignore_ascii_case("CAPA")
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
                if self.down.as_ref().is_none_or(|(known, _)| *known == FailureKind::Other) {
                    self.down = Some((*kind, example(line)));
                }
            }
            Note::Closed => self.end(Ending::Peer),
            Note::Reset => self.end(Ending::Reset),
            Note::TimedOut => self.cutter.time_out(),
            Note::Secured { version, cipher } => {
                self.version = version.map(|v| spelled_version(v)).or(self.version.take());
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
                let name = name.map(ToOwned::to_owned).or_else(|| (!self.host.is_empty()).then(|| self.host.clone()));
                self.trusted = Some(name.unwrap_or_default());
                self.claim(Claimed::TlsVerified, line);
            }
            Note::Untrusted(reason) => {
                self.untrusted.get_or_insert_with(|| (*reason, example(line)));
                self.claim(Claimed::CertificateInvalid, line);
            }
            Note::NotOffered => self.claim(Claimed::StartTlsNotOffered, line),
            // Swaks says so too where STARTTLS was granted and the handshake failed.
            Note::Refused if self.cutter.awaits_tls() || self.failed.is_some() => {
                self.claim(Claimed::HandshakeFailed, line);
            }
            Note::Refused => self.claim(Claimed::StartTlsRefused, line),
            Note::Failed(outcome) => {
                // After the handshake these words concern the end of the session.
                if !self.secured {
                    self.failed.get_or_insert_with(|| outcome.clone());
                    self.claim(Claimed::HandshakeFailed, line);
                }
            }
            Note::Nothing => {}
        }
    }

    fn end(&mut self, ending: Ending) {
        let told = if self.cutter.exchanges().last().is_some_and(|e| e.label == hoofbeat_session::Label::Quit) {
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
            self.claims.push(Claim { what, line: example(line) });
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
        if self.form == Form::SClient && self.secured && self.client_lines == 0 && code == Some(250) && !self.cutter.is_waiting() {
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
            let words = ["SMTP", "IMAP", "POP3", "MAIL", "SENDMAIL", "****", "DOVECOT", "CAPABILITY", "IMPLEMENTATION", "READY"];
            self.mail_words += u32::from(words.iter().any(|word| upper.contains(word)));
        }
        if code == Some(250) && self.client_lines == 0 {
            self.mail_words += u32::from(is_keyword(text.get(4..).unwrap_or_default()));
        }
        self.hear(Direction::ToClient, text);
        self.server_lines += 1;
        if self.cutter.exchanges().last().is_some_and(|e| e.label == hoofbeat_session::Label::Quit) && !self.cutter.is_waiting()
            || code == Some(421)
        {
            self.over = true;
        }
    }

    fn client(&mut self, dressed: &Dressed<'_>) {
        self.perhaps = None;
        self.enter_layer(dressed);
        if self.cutter.awaits_tls() && !self.form.tells_tls() && (self.marked || dressed.sure) && self.failed.is_none() {
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
        self.cutter.hear(direction, Elapsed::default(), format!("{text}\r\n").as_bytes());
    }

    fn speaker(&self, dressed: &Dressed<'_>) -> Said {
        let text = dressed.text;
        let begun = self.server_lines + self.client_lines > 0;
        if dressed.sure {
            return match dressed.who {
                Some(Direction::ToClient) if self.is_server_like(text) || self.cutter.is_listing() => Said::Server,
                Some(Direction::ToServer) if self.is_client_like(text) || self.cutter.is_hiding() => Said::Client,
                Some(Direction::ToServer) if begun && self.form.marks_sides() && !text.is_empty() => Said::Client,
                _ => Said::Nobody,
            };
        }
        if self.cutter.is_hiding() {
            let secret_answered = self.cutter.is_waiting() && self.is_server_like(text);
            // A form that marks the client's lines marks these too.
            let hidden = !text.is_empty() && (dressed.who == Some(Direction::ToServer) || !self.marked);
            return match (secret_answered, hidden) {
                (true, _) => Said::Server,
                (false, true) => Said::Client,
                (false, false) => Said::Nobody,
            };
        }
        if text.is_empty() {
            return Said::Nobody;
        }
        if self.cutter.is_listing() {
            return if self.marked { Said::Nobody } else { Said::Server };
        }
        if self.is_server_like(text) {
            return Said::Server;
        }
        if self.is_client_like(text) {
            return Said::Client;
        }
        let guess = begun
            && !self.cutter.is_answering()
            && text.len() <= LONGEST_GUESS
            && !text.contains('\'')
            && text.starts_with(|c: char| c.is_ascii_alphabetic());
        if guess { Said::Perhaps } else { Said::Nobody }
    }

    fn is_server_like(&self, text: &str) -> bool {
        let protocol = self.cutter.protocol();
        let is = |wanted: &[Protocol]| protocol.is_none_or(|p| wanted.contains(&p));
        if is(&[Protocol::Smtp, Protocol::Lmtp]) && reply_code(text.as_bytes()).is_some_and(|code| code >= 200) {
            return true;
        }
        if is(&[Protocol::Imap]) {
            if let Some(rest) = text.strip_prefix("* ") {
                let (word, _) = first_word(rest);
                return ["OK", "NO", "BAD", "BYE", "PREAUTH", "CAPABILITY", "FLAGS", "LIST", "ID"]
                    .iter()
                    .any(|w| word.eq_ignore_ascii_case(w))
                    || (!word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) && protocol.is_some());
            }
            let (tag, rest) = first_word(text);
            let status = first_word(rest).0;
            let ends = ["OK", "NO", "BAD"].iter().any(|w| status.eq_ignore_ascii_case(w));
            let asked = self.cutter.expects_tag(tag)
                || self.perhaps.as_ref().is_some_and(|perhaps| first_word(perhaps).0 == tag)
                || (protocol.is_some() && self.cutter.is_answering());
            if ends && asked && verb::is_tag(tag) {
                return true;
            }
            if protocol.is_some() && self.cutter.is_waiting() && (text == "+" || text.starts_with("+ ")) {
                return true;
            }
        }
        if is(&[Protocol::Pop3]) {
            if starts(text, "+OK") || starts(text, "-ERR") {
                return true;
            }
            if protocol.is_some() && self.cutter.is_waiting() && (text == "+" || text.starts_with("+ ")) {
                return true;
            }
        }
        if is(&[Protocol::Sieve]) {
            if starts(text, "\"IMPLEMENTATION\"") || starts(text, "\"SASL\"") || starts(text, "\"SIEVE\"") {
                return true;
            }
            let open = self.cutter.is_waiting() || self.cutter.exchanges().is_empty();
            let word = text.split([' ', '(']).next().unwrap_or_default();
            return protocol.is_some()
                && open
                && (text.starts_with('"') || ["OK", "NO", "BYE"].iter().any(|w| word.eq_ignore_ascii_case(w)));
        }
        false
    }

    fn is_client_like(&self, text: &str) -> bool {
        let begun = self.server_lines + self.client_lines > 0;
        match self.cutter.protocol() {
            Some(protocol) if begun || protocol != Protocol::Smtp => verb::is_command(protocol, text),
            // Without a dialogue only the verbs that begin one are taken at their word.
            _ => {
                let (first, rest) = first_word(text);
                let opens = ["EHLO", "HELO", "LHLO"].iter().any(|v| first.eq_ignore_ascii_case(v)) && !rest.is_empty();
                (opens && !rest.contains(' '))
                    || (begun && (text.eq_ignore_ascii_case("CAPA") || text.eq_ignore_ascii_case("STLS")))
                    || (verb::is_command(Protocol::Imap, text)
                        && ["CAPABILITY", "STARTTLS"].iter().any(|v| rest.eq_ignore_ascii_case(v)))
            }
        }
    }

    /// Whether what was heard is a mail dialogue, and not a list of numbers.
    fn is_mail(&self) -> bool {
        let understood = self
            .cutter
            .exchanges()
            .iter()
            .any(|e| e.sent.is_some() && !matches!(e.label, hoofbeat_session::Label::UnknownVerb | hoofbeat_session::Label::Other));
        !self.claims.is_empty()
            || (self.client_lines > 0 && (self.server_lines > 0 || self.connected))
            || understood
            || self.mail_words >= 2
            || (self.mail_words >= 1 && (self.connected || self.marked || self.server_lines == 1))
            || (self.down.is_some() && self.port.and_then(Scheme::of_port).is_some())
    }

    /// The recording, if it is one.
    pub(super) fn finish(mut self) -> Option<Recording> {
        if !self.is_mail() {
            return None;
        }
        if let Some((kind, line)) = self.down.clone()
            && !matches!(kind, FailureKind::NoSuchName)
        {
            self.claim(Claimed::ConnectFailed, &line);
        }
        let cut = self.cutter.finish();
        let protocol = cut.protocol.or_else(|| Some(Scheme::of_port(self.port?)?.protocol())).unwrap_or(Protocol::Smtp);
        let fitting = |scheme: Scheme| scheme.protocol() == protocol;
        let usual = Scheme::ALL.into_iter().find(|scheme| fitting(*scheme)).unwrap_or(Scheme::Smtp);
        let scheme = self.port.and_then(Scheme::of_port).filter(|scheme| fitting(*scheme)).unwrap_or(usual);
        let handshake = match (self.secured, self.failed) {
            (true, _) => Some(HandshakeOutcome::Completed),
            (false, None) if self.untrusted.is_some() => {
                Some(HandshakeOutcome::Failed { detail: "the recorded client refused the certificate".to_owned() })
            }
            (false, failed) => failed,
        }
        .map(|outcome| Handshake {
            started: Elapsed::default(),
            ended: Elapsed::default(),
            outcome,
            server_name: None,
            version: self.version,
            cipher: self.cipher,
            chain: Vec::new(),
            verification: match (self.untrusted, self.trusted) {
                (Some((reason, detail)), _) => Verification::Invalid { reason, detail },
                (None, Some(name)) => Verification::Verified { name },
                (None, None) => Verification::Unknown,
            },
            first_bytes: Vec::new(),
        });
        let host = match self.address {
            Some(address) if self.host.is_empty() => address.to_string(),
            _ => self.host,
        };
        let counts = self.claims.iter().map(|claim| (claim.what, 1)).collect();
        let failure = self.down.map(|(kind, raw)| Failure { operation: Operation::Connect, kind, raw });
        Some(Recording {
            dialogue: Dialogue {
                service: Service { scheme, host, address: self.address, port: self.port.unwrap_or(scheme.default_port()) },
                protocol,
                role: Role::Target,
                variation: Variation::Recorded,
                source: Source::Text {
                    form: self.form.name().to_owned(),
                    limits: self.form.limits().iter().map(|limit| (*limit).to_owned()).collect(),
                    claims: self.claims,
                },
                route: "direct".to_owned(),
                connect: Connect { failure, ..Connect::default() },
                transcript: cut.transcript,
                exchanges: cut.exchanges,
                handshake,
                legacy: None,
                ending: cut.ending,
            },
            first_line: self.first_line,
            counts,
        })
    }
}

/// Whether a line can begin a dialogue: a quick look before a session is made for it.
pub(super) fn may_begin(dressed: &Dressed<'_>) -> bool {
    let text = dressed.text;
    match text.as_bytes() {
        _ if dressed.sure => true,
        [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', ..] | [b'*' | b'+' | b'-', ..] => true,
        [b'"', ..] => starts(text, "\"IMPLEMENTATION\"") || starts(text, "\"SASL\"") || starts(text, "\"SIEVE\""),
        [a, ..] if a.is_ascii_alphanumeric() => {
            let (first, rest) = first_word(text);
            let is = |word: &str, verbs: &[&str]| verbs.iter().any(|verb| word.eq_ignore_ascii_case(verb));
            is(first, &["EHLO", "HELO", "LHLO"]) || is(rest, &["CAPABILITY", "STARTTLS"])
        }
        _ => false,
    }
}

fn starts(text: &str, prefix: &str) -> bool {
    text.as_bytes().get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
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
        "PIPELINING", "SIZE", "VRFY", "ETRN", "STARTTLS", "AUTH", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8",
        "CHUNKING", "HELP", "BINARYMIME", "DELIVERBY", "X-ANONYMOUSTLS", "X-EXPS", "XRDST", "EXPN", "TURN", "OK",
    ];
    let masked = word.len() >= 3 && word.bytes().rev().skip(1).all(|b| b == b'X');
    masked || known.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}
