//! The scripts that are spoken: one table of words for all protocols, and one order for each question.
//!
//! Towards servers that are not ours only what the RFCs allow: case and cuts of a verb, NOOP, a
//! second EHLO, one unknown verb. [`Script::injection`] is the exception and is for servers that one runs.

use alloc::{format, string::String, vec, vec::Vec};
use core::time::Duration;

use crate::{Act, ClientName, Label, Limits, Protocol, Script, ScriptStep, Segment, When};

/// The pause between two segments of one verb: longer than a LAN's round trip, so that no stack
/// joins them again, and far below every server's patience.
const CUT: Duration = Duration::from_millis(60);
/// How long silence must last to count as silence after an injected command.
const QUIET: Duration = Duration::from_secs(1);
/// The tag, or NOOP's string, of a command that is injected: an answer that carries it is ours.
pub(crate) const INJECTED_TAG: &str = "hbinjected";
/// Stands in where a verb without letters was asked for, or one that a server knows.
const UNKNOWN_VERB: &str = "XQJVKWZF";

impl Script {
    /// The plain dialogue: greeting, capabilities, STARTTLS where it is offered, capabilities inside TLS, goodbye.
    ///
    /// ```
    /// use hoofbeat_session::{ClientName, Limits, Protocol, Script};
    /// let script = Script::baseline(Protocol::Smtp, &ClientName("probe.example.org".into()), false, Limits::default());
    /// assert_eq!(script.steps.len(), 6);
    /// ```
    #[must_use]
    pub fn baseline(
        protocol: Protocol,
        name: &ClientName,
        implicit_tls: bool,
        limits: Limits,
    ) -> Self {
        let mut writer = Writer::new(protocol, name);
        if implicit_tls {
            writer.step(Act::TlsFirst, When::Always);
        }
        writer.opening();
        writer.start_tls(Label::StartTls, When::Offered);
        writer.closing(limits)
    }

    /// The differential: NOOP whole and cut (not on POP3), `unknown_verb` (eight letters; on POP3 its first four,
    /// STLS's length), and STARTTLS last, although it may not be offered, because a 220 switches to TLS.
    ///
    /// A strict server counts at most EHLO, NOOP, the unknown verb and STARTTLS as bad.
    #[must_use]
    pub fn differential(
        protocol: Protocol,
        name: &ClientName,
        unknown_verb: &str,
        limits: Limits,
    ) -> Self {
        let mut writer = Writer::new(protocol, name);
        writer.opening();
        writer.command(Label::CapabilitiesAgain, When::Always);
        // POP3 has no NOOP before login (RFC 1939 §4), and Dovecot hangs up at the third command it does not know.
        if protocol != Protocol::Pop3 {
            writer.command(Label::Noop, When::Always);
            writer.command(Label::SplitNoop, When::Always);
        }
        let verb = eight_letters(unknown_verb);
        let verb = if protocol == Protocol::Pop3 {
            four_letters(&verb)
        } else {
            verb
        };
        let segments = writer.segments(&verb, None);
        writer.step(
            Act::Command {
                label: Label::UnknownVerb,
                segments,
            },
            When::Always,
        );
        writer.start_tls(Label::StartTls, When::StillPlain);
        writer.closing(limits)
    }

    /// STARTTLS in another spelling: [`Label::MixedCaseStartTls`] or [`Label::SplitStartTls`], offered or not.
    #[must_use]
    pub fn spelled(protocol: Protocol, name: &ClientName, spelling: Label, limits: Limits) -> Self {
        let mut writer = Writer::new(protocol, name);
        writer.opening();
        writer.start_tls(spelling, When::StillPlain);
        writer.closing(limits)
    }

    /// Greeting, capabilities, goodbye: for sampling answers that differ, and for controls.
    #[must_use]
    pub fn capabilities_only(protocol: Protocol, name: &ClientName, limits: Limits) -> Self {
        let mut writer = Writer::new(protocol, name);
        writer.command_free(Act::Greeting);
        writer.command(Label::Capabilities, When::Always);
        writer.step(Act::Quit, When::Always);
        writer.finish(limits)
    }

    /// STARTTLS and a harmless command in one segment; then, inside TLS, silence is the good answer
    /// (the CVE-2011-0411 class). No RFC allows this: only for servers that one runs.
    #[must_use]
    pub fn injection(protocol: Protocol, name: &ClientName, limits: Limits) -> Self {
        let mut writer = Writer::new(protocol, name);
        writer.opening();
        let mut segments = writer.segments(words(protocol, Label::StartTls), None);
        if let Some(segment) = segments.first_mut() {
            let behind = match protocol {
                Protocol::Smtp | Protocol::Lmtp => String::from("NOOP\r\n"),
                Protocol::Imap => format!("{INJECTED_TAG} NOOP\r\n"),
                Protocol::Pop3 => String::from("CAPA\r\n"),
                Protocol::Sieve => format!("NOOP \"{INJECTED_TAG}\"\r\n"),
            };
            segment.bytes.extend_from_slice(behind.as_bytes());
        }
        writer.step(
            Act::StartTls {
                label: Label::StartTls,
                segments,
            },
            When::Offered,
        );
        writer.step(Act::AwaitInjected { quiet: QUIET }, When::InTls);
        writer.closing(limits)
    }
}

/// Goodbye in the protocol's words.
pub(crate) fn goodbye(protocol: Protocol) -> Vec<Segment> {
    let line = match protocol {
        Protocol::Imap => "hq LOGOUT\r\n",
        Protocol::Sieve => "LOGOUT\r\n",
        Protocol::Smtp | Protocol::Lmtp | Protocol::Pop3 => "QUIT\r\n",
    };
    vec![Segment {
        bytes: line.as_bytes().to_vec(),
        pause_after: Duration::ZERO,
    }]
}

/// The command's words without tag and arguments. A `|` shows where a split spelling is cut.
fn words(protocol: Protocol, label: Label) -> &'static str {
    use Protocol::{Imap, Lmtp, Pop3, Sieve, Smtp};
    match (label, protocol) {
        (Label::Capabilities | Label::CapabilitiesAgain, Smtp) => "EHLO",
        (Label::Capabilities | Label::CapabilitiesAgain, Lmtp) => "LHLO",
        (Label::Capabilities | Label::CapabilitiesAgain, Imap | Sieve) => "CAPABILITY",
        (Label::Capabilities | Label::CapabilitiesAgain, Pop3) => "CAPA",
        (Label::Helo, _) => "HELO",
        (Label::SplitNoop, _) => "NO|OP",
        (Label::MixedCaseStartTls, Pop3) => "StLs",
        (Label::MixedCaseStartTls, _) => "StartTLS",
        (Label::SplitStartTls, Pop3) => "ST|LS",
        (Label::SplitStartTls, _) => "STAR|TTLS",
        (Label::StartTls, Pop3) => "STLS",
        (Label::StartTls, _) => "STARTTLS",
        (Label::Quit, Imap | Sieve) => "LOGOUT",
        (Label::Quit, _) => "QUIT",
        (_, _) => "NOOP",
    }
}

/// Builds a script step by step; counts IMAP's tags.
struct Writer<'a> {
    protocol: Protocol,
    name: &'a ClientName,
    tags: u32,
    steps: Vec<ScriptStep>,
}

impl<'a> Writer<'a> {
    const fn new(protocol: Protocol, name: &'a ClientName) -> Self {
        Self {
            protocol,
            name,
            tags: 0,
            steps: Vec::new(),
        }
    }

    fn step(&mut self, act: Act, when: When) {
        self.steps.push(ScriptStep { act, when });
    }

    fn command_free(&mut self, act: Act) {
        self.step(act, When::Always);
    }

    fn command(&mut self, label: Label, when: When) {
        let argument = (matches!(self.protocol, Protocol::Smtp | Protocol::Lmtp)
            && matches!(
                label,
                Label::Capabilities | Label::CapabilitiesAgain | Label::Helo
            ))
        .then(|| sayable(self.name));
        let segments = self.segments(words(self.protocol, label), argument.as_deref());
        self.step(Act::Command { label, segments }, when);
    }

    fn start_tls(&mut self, label: Label, when: When) {
        let segments = self.segments(words(self.protocol, label), None);
        self.step(Act::StartTls { label, segments }, when);
    }

    /// Greeting and capabilities; HELO where EHLO is refused. LMTP has no HELO (RFC 2033 §4.1).
    fn opening(&mut self) {
        self.command_free(Act::Greeting);
        self.command(Label::Capabilities, When::Always);
        if self.protocol == Protocol::Smtp {
            self.command(Label::Helo, When::CapabilitiesRefused);
        }
    }

    /// Capabilities inside TLS, goodbye.
    fn closing(mut self, limits: Limits) -> Script {
        let after_tls_first = self
            .steps
            .first()
            .is_some_and(|step| step.act == Act::TlsFirst);
        if !after_tls_first {
            self.command(Label::Capabilities, When::InTls);
        }
        self.step(Act::Quit, When::Always);
        self.finish(limits)
    }

    fn finish(self, limits: Limits) -> Script {
        Script {
            protocol: self.protocol,
            steps: self.steps,
            limits,
        }
    }

    fn segments(&mut self, words: &str, argument: Option<&str>) -> Vec<Segment> {
        let mut line = String::new();
        if self.protocol == Protocol::Imap {
            self.tags += 1;
            line = format!("h{} ", self.tags);
        }
        line.push_str(words);
        if let Some(argument) = argument {
            line.push(' ');
            line.push_str(argument);
        }
        line.push_str("\r\n");
        let mut segments: Vec<Segment> = line
            .split('|')
            .map(|part| Segment {
                bytes: part.as_bytes().to_vec(),
                pause_after: CUT,
            })
            .collect();
        if let Some(last) = segments.last_mut() {
            last.pause_after = Duration::ZERO;
        }
        segments
    }
}

/// The client's name as one word that cannot carry a second command or a cut.
fn sayable(name: &ClientName) -> String {
    let word: String = name
        .0
        .chars()
        .filter(|c| c.is_ascii_graphic() && *c != '|')
        .collect();
    if word.is_empty() {
        String::from("[127.0.0.1]")
    } else {
        word
    }
}

/// Exactly eight upper-case letters, the length of STARTTLS.
fn eight_letters(verb: &str) -> String {
    let letters = verb
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_uppercase());
    letters.chain(UNKNOWN_VERB.chars()).take(8).collect()
}

/// Four letters that are no POP3 command.
fn four_letters(verb: &str) -> String {
    const KNOWN: [&str; 17] = [
        "APOP", "AUTH", "CAPA", "DELE", "LANG", "LIST", "NOOP", "PASS", "PING", "QUIT", "RETR",
        "RSET", "STAT", "STLS", "UIDL", "USER", "UTF8",
    ];
    let four: String = verb.chars().take(4).collect();
    if KNOWN.contains(&four.as_str()) {
        UNKNOWN_VERB.chars().take(4).collect()
    } else {
        four
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn said(script: &Script) -> Vec<String> {
        let segments = |segments: &[Segment]| {
            segments
                .iter()
                .map(|s| String::from_utf8_lossy(&s.bytes).into_owned())
                .collect::<Vec<_>>()
                .join("|")
        };
        script
            .steps
            .iter()
            .map(|step| match &step.act {
                Act::Command { segments: s, .. } | Act::StartTls { segments: s, .. } => segments(s),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn name() -> ClientName {
        ClientName("probe.example.org\r\nMAIL FROM:<>|".to_string())
    }

    #[test]
    fn a_name_is_one_word() {
        let script = Script::capabilities_only(Protocol::Smtp, &name(), Limits::default());
        assert_eq!(said(&script)[1], "EHLO probe.example.orgMAILFROM:<>\r\n");
    }

    #[test]
    fn the_differential_ends_with_starttls() {
        let name = ClientName("c".into());
        let said_by = |protocol, verb| {
            said(&Script::differential(
                protocol,
                &name,
                verb,
                Limits::default(),
            ))
        };
        assert_eq!(
            said_by(Protocol::Smtp, "qwzkvbnx"),
            [
                "Greeting",
                "EHLO c\r\n",
                "HELO c\r\n",
                "EHLO c\r\n",
                "NOOP\r\n",
                "NO|OP\r\n",
                "QWZKVBNX\r\n",
                "STARTTLS\r\n",
                "EHLO c\r\n",
                "Quit"
            ]
        );
        assert_eq!(
            said_by(Protocol::Imap, "q1!"),
            [
                "Greeting",
                "h1 CAPABILITY\r\n",
                "h2 CAPABILITY\r\n",
                "h3 NOOP\r\n",
                "h4 NO|OP\r\n",
                "h5 QXQJVKWZ\r\n",
                "h6 STARTTLS\r\n",
                "h7 CAPABILITY\r\n",
                "Quit"
            ]
        );
        assert_eq!(said_by(Protocol::Pop3, "DELETEXX")[3], "XQJV\r\n");
        assert_eq!(said_by(Protocol::Pop3, "ABCDEFGH")[3], "ABCD\r\n");
        assert!(
            !said_by(Protocol::Pop3, "ABCDEFGH")
                .iter()
                .any(|line| line.contains("OP\r\n"))
        );
    }

    #[test]
    fn the_injection_is_one_segment() {
        let name = ClientName("c".into());
        for (protocol, bytes) in [
            (Protocol::Smtp, "STARTTLS\r\nNOOP\r\n"),
            (Protocol::Imap, "h2 STARTTLS\r\nhbinjected NOOP\r\n"),
            (Protocol::Pop3, "STLS\r\nCAPA\r\n"),
            (Protocol::Sieve, "STARTTLS\r\nNOOP \"hbinjected\"\r\n"),
        ] {
            assert!(
                said(&Script::injection(protocol, &name, Limits::default()))
                    .iter()
                    .any(|said| said == bytes)
            );
        }
    }

    #[test]
    fn spellings_differ_in_case_and_cuts() {
        let name = ClientName("c".into());
        let said_by =
            |protocol, label| said(&Script::spelled(protocol, &name, label, Limits::default()));
        assert!(
            said_by(Protocol::Smtp, Label::MixedCaseStartTls).contains(&"StartTLS\r\n".to_string())
        );
        assert!(said_by(Protocol::Pop3, Label::SplitStartTls).contains(&"ST|LS\r\n".to_string()));
        assert!(
            said_by(Protocol::Imap, Label::SplitStartTls).contains(&"h2 STAR|TTLS\r\n".to_string())
        );
    }
}
