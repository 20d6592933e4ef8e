//! An honest IMAP server's conversation before login, in Dovecot's, Courier's or nobody's words. It must not know
//! sockets, boxes or verdicts, and keeps nothing of what LOGIN carries. RFC 9051, 3501, 2595.

use crate::server::dialogue::{Deed, Dialogue, Visit, say, verb_and_rest};
use crate::server::spec::{Dialect, Place, ServerSpec, Starttls};

/// One program's words, without tag and line end.
struct Words {
    ready: &'static str,
    keywords: &'static [&'static str],
    listed: &'static str,
    noop: &'static str,
    bye: &'static str,
    logout: &'static str,
    /// To a command that it does not know.
    unknown: &'static str,
    /// To STARTTLS where it is switched off.
    tls_refused: &'static str,
    /// Its name, told to who asks with ID.
    name: Option<&'static str>,
    login_failed: &'static str,
}

const DOVECOT: Words = Words {
    ready: "Dovecot (Debian) ready.",
    keywords: &[
        "IMAP4rev1",
        "SASL-IR",
        "LOGIN-REFERRALS",
        "ID",
        "ENABLE",
        "IDLE",
        "LITERAL+",
    ],
    listed: "Pre-login capabilities listed, post-login capabilities have more.",
    noop: "NOOP completed.",
    bye: "Logging out",
    logout: "Logout completed.",
    unknown: "BAD Error in IMAP command received by server.",
    tls_refused: "BAD TLS support isn't enabled.",
    name: Some("Dovecot"),
    login_failed: "[AUTHENTICATIONFAILED] Authentication failed.",
};

const COURIER: Words = Words {
    ready: "Courier-IMAP ready.",
    keywords: &[
        "IMAP4rev1",
        "UIDPLUS",
        "CHILDREN",
        "NAMESPACE",
        "SORT",
        "QUOTA",
        "IDLE",
    ],
    listed: "CAPABILITY completed",
    noop: "NOOP completed",
    bye: "Courier-IMAP server shutting down",
    logout: "LOGOUT completed",
    unknown: "NO Error in IMAP command received by server.",
    tls_refused: "BAD TLS support isn't enabled.",
    name: None,
    login_failed: "Login failed.",
};

/// What somebody writes who has only read the RFC, down to `BAD Unknown command.`
const PLAIN: Words = Words {
    ready: "IMAP4rev1 Service Ready",
    keywords: &["IMAP4rev1", "IDLE"],
    listed: "CAPABILITY completed",
    noop: "NOOP completed",
    bye: "IMAP4rev1 Server logging out",
    logout: "LOGOUT completed",
    unknown: "BAD Unknown command.",
    tls_refused: "BAD STARTTLS not available",
    name: None,
    login_failed: "[AUTHENTICATIONFAILED] Authentication failed",
};

pub(crate) struct Imap {
    spec: ServerSpec,
    visit: Visit,
    words: &'static Words,
    /// The command whose literal is being forgotten.
    awaiting: Option<(String, String)>,
    bad: u32,
}

/// A literal longer than this is not read; the connection ends.
const LITERAL_LIMIT: usize = 64 * 1024;
/// Unknown commands before the server hangs up.
const PATIENCE: u32 = 20;

impl Imap {
    pub(crate) fn new(spec: ServerSpec, visit: Visit) -> Self {
        let words = match spec.dialect {
            Some(Dialect::Courier) => &COURIER,
            Some(Dialect::Plain) => &PLAIN,
            _ => &DOVECOT,
        };
        Self {
            spec,
            visit,
            words,
            awaiting: None,
            bad: 0,
        }
    }

    fn login_allowed(&self) -> bool {
        use crate::server::spec::AuthOffer;
        match self.spec.auth {
            AuthOffer::Usual => self.visit.secure || !self.spec.login_disabled,
            offer => self.visit.offers_auth(offer),
        }
    }

    fn capabilities(&self) -> String {
        let own = self.words.keywords.iter();
        let mut words: Vec<String> = own.map(|&word| word.to_owned()).collect();
        if self.visit.advertises() {
            let keyword = self.spec.cased("STARTTLS");
            match self.spec.keyword_place {
                Place::Usual | Place::Last => words.push(keyword),
                Place::First => words.insert(1, keyword),
            }
        }
        if self.login_allowed() {
            words.push("AUTH=PLAIN".into());
            words.push("AUTH=LOGIN".into());
        } else if self.spec.login_disabled {
            words.push("LOGINDISABLED".into());
        }
        words.extend(self.spec.extra_keywords.iter().cloned());
        if self.spec.keyword_place == Place::Last && self.visit.advertises() {
            let keyword = self.spec.cased("STARTTLS");
            words.retain(|word| *word != keyword);
            words.push(keyword);
        }
        words.join(" ")
    }

    fn answer(&mut self, tag: &str, verb: &str) -> Vec<Deed> {
        let words = self.words;
        match verb {
            "CAPABILITY" => {
                let text = format!(
                    "* CAPABILITY {}\r\n{tag} OK {}\r\n",
                    self.capabilities(),
                    words.listed
                );
                vec![Deed::Offer(text.into_bytes())]
            }
            "NOOP" => vec![say(format!("{tag} OK {}", words.noop))],
            "ID" if words.name.is_some() => vec![say(format!(
                "* ID (\"name\" \"{}\")\r\n{tag} OK ID completed.",
                words.name.unwrap_or_default()
            ))],
            "LOGOUT" => vec![
                say(format!("* BYE {}\r\n{tag} OK {}", words.bye, words.logout)),
                Deed::Close,
            ],
            "STARTTLS" => self.starttls(tag),
            "LOGIN" | "AUTHENTICATE" if !self.login_allowed() => vec![say(format!(
                "{tag} NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections."
            ))],
            "LOGIN" | "AUTHENTICATE" => vec![say(format!("{tag} NO {}", words.login_failed))],
            _ => self.bad(tag),
        }
    }

    fn bad(&mut self, tag: &str) -> Vec<Deed> {
        self.bad += 1;
        let tag = if tag.is_empty() { "*" } else { tag };
        let mut deeds = vec![say(format!("{tag} {}", self.words.unknown))];
        if self.bad >= PATIENCE {
            deeds.push(say("* BYE Too many invalid IMAP commands."));
            deeds.push(Deed::Close);
        }
        deeds
    }

    fn starttls(&mut self, tag: &str) -> Vec<Deed> {
        if self.visit.secure {
            return vec![say(format!("{tag} BAD TLS is already active."))];
        }
        match self.visit.starttls {
            Starttls::Absent => self.bad(tag),
            Starttls::Hidden => vec![say(format!("{tag} {}", self.words.tls_refused))],
            Starttls::Unavailable => {
                vec![say(format!(
                    "{tag} NO [UNAVAILABLE] TLS is temporarily not available."
                ))]
            }
            Starttls::Offered | Starttls::HiddenWorks | Starttls::Broken => {
                vec![
                    say(format!("{tag} OK Begin TLS negotiation now.")),
                    Deed::StartTls,
                ]
            }
        }
    }
}

impl Dialogue for Imap {
    fn greet(&mut self) -> Vec<Deed> {
        if let Some(text) = &self.spec.turned_away {
            return vec![say(text), Deed::Close];
        }
        let mut deeds = Vec::new();
        if self.spec.greeting_delay_ms > 0 {
            deeds.push(Deed::Pause(self.spec.greeting_delay_ms));
        }
        let state = if self.spec.preauth { "PREAUTH" } else { "OK" };
        let text = match &self.spec.banner {
            Some(text) => text.clone(),
            None => self.words.ready.to_owned(),
        };
        let line = format!("* {state} [CAPABILITY {}] {text}\r\n", self.capabilities());
        deeds.push(Deed::Say(line.into_bytes()));
        deeds
    }

    fn line(&mut self, line: &[u8]) -> Vec<Deed> {
        let (tag, verb) = match self.awaiting.take() {
            Some(command) => command,
            None => {
                let text = String::from_utf8_lossy(line);
                let (tag, rest) = text.split_once(' ').unwrap_or((text.as_ref(), ""));
                (tag.to_owned(), verb_and_rest(rest.as_bytes()).0)
            }
        };
        match literal(line) {
            Some((size, _)) if size > LITERAL_LIMIT => {
                vec![say("* BYE Too long argument."), Deed::Close]
            }
            Some((size, waits)) => {
                self.awaiting = Some((tag, verb));
                let mut deeds = Vec::new();
                if waits {
                    deeds.push(say("+ OK"));
                }
                deeds.push(Deed::Forget(size));
                deeds
            }
            None => self.answer(&tag, &verb),
        }
    }

    fn tls_fails(&self) -> Deed {
        say("* BYE TLS initialization failed.")
    }

    fn secured(&mut self) -> Vec<Deed> {
        self.visit.secure = true;
        self.bad = 0;
        Vec::new()
    }
}

/// The announced literal at a line's end: its size, and whether the client waits for leave to send it.
pub(crate) fn literal(line: &[u8]) -> Option<(usize, bool)> {
    let body = line.strip_suffix(b"}")?;
    let open = body.iter().rposition(|&byte| byte == b'{')?;
    let digits = body.get(open + 1..)?;
    let (digits, waits) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    let size = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((size, waits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Scheme;

    fn server(spec: ServerSpec) -> Imap {
        let visit = Visit {
            starttls: spec.starttls,
            secure: false,
            known: false,
            peer: "127.0.0.1".into(),
            scheme: Scheme::Imap,
        };
        Imap::new(spec, visit)
    }

    fn said(deeds: &[Deed]) -> String {
        deeds
            .iter()
            .map(|deed| match deed {
                Deed::Say(bytes) | Deed::Offer(bytes) => {
                    String::from_utf8_lossy(bytes).into_owned()
                }
                other => format!("<{other:?}>"),
            })
            .collect()
    }

    #[test]
    fn dovecot_greets_with_its_capabilities_and_upgrades() {
        let mut imap = server(ServerSpec::default());
        assert_eq!(
            said(&imap.greet()),
            "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS LOGINDISABLED] \
             Dovecot (Debian) ready.\r\n"
        );
        assert_eq!(
            said(&imap.line(b"a1 login u p")),
            "a1 NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.\r\n"
        );
        assert_eq!(
            said(&imap.line(b"a2 sTaRtTlS")),
            "a2 OK Begin TLS negotiation now.\r\n<StartTls>"
        );
        imap.secured();
        let after = said(&imap.line(b"a3 CAPABILITY"));
        assert!(
            after.contains("AUTH=PLAIN")
                && !after.contains("STARTTLS")
                && !after.contains("LOGINDISABLED")
        );
    }

    #[test]
    fn a_refused_verb_and_an_unknown_one_differ() {
        let mut imap = server(ServerSpec {
            starttls: Starttls::Hidden,
            ..ServerSpec::default()
        });
        assert_eq!(
            said(&imap.line(b"a STARTTLS")),
            "a BAD TLS support isn't enabled.\r\n"
        );
        assert_eq!(
            said(&imap.line(b"b XQZTLSAB")),
            "b BAD Error in IMAP command received by server.\r\n"
        );
    }

    #[test]
    fn a_plain_server_without_tls_knows_no_starttls() {
        let mut imap = server(ServerSpec {
            dialect: Some(Dialect::Plain),
            starttls: Starttls::Absent,
            ..ServerSpec::default()
        });
        assert_eq!(
            said(&imap.greet()),
            "* OK [CAPABILITY IMAP4rev1 IDLE LOGINDISABLED] IMAP4rev1 Service Ready\r\n"
        );
        assert_eq!(
            said(&imap.line(b"a STARTTLS")),
            "a BAD Unknown command.\r\n"
        );
        assert_eq!(said(&imap.line(b"b ID NIL")), "b BAD Unknown command.\r\n");
    }

    #[test]
    fn literals_are_forgotten_before_the_answer() {
        let mut imap = server(ServerSpec {
            login_disabled: false,
            ..ServerSpec::default()
        });
        assert_eq!(
            imap.line(b"a LOGIN {4}"),
            vec![say("+ OK"), Deed::Forget(4)]
        );
        assert_eq!(imap.line(b" {3+}"), vec![Deed::Forget(3)]);
        assert_eq!(
            said(&imap.line(b"")),
            "a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"
        );
        assert_eq!(imap.line(b"b LOGIN {99999999}").last(), Some(&Deed::Close));
    }

    #[test]
    fn without_login_disabled_a_login_is_offered_in_the_clear() {
        let mut imap = server(ServerSpec {
            login_disabled: false,
            ..ServerSpec::default()
        });
        let greeting = said(&imap.greet());
        assert!(
            greeting.contains("STARTTLS AUTH=PLAIN AUTH=LOGIN]"),
            "{greeting}"
        );
    }
}
