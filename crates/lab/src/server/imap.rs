//! An honest IMAP server's conversation before login, in Dovecot's or Courier's words. It must not know sockets, boxes
//! or verdicts, and keeps nothing of what LOGIN carries. RFC 9051, 3501, 2595.

use crate::server::dialogue::{Deed, Dialogue, Visit, say, verb_and_rest};
use crate::server::spec::{Dialect, Place, ServerSpec, Starttls};

pub(crate) struct Imap {
    spec: ServerSpec,
    visit: Visit,
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
        Self {
            spec,
            visit,
            awaiting: None,
            bad: 0,
        }
    }

    fn courier(&self) -> bool {
        self.spec.dialect == Some(Dialect::Courier)
    }

    fn login_allowed(&self) -> bool {
        use crate::server::spec::AuthOffer;
        match self.spec.auth {
            AuthOffer::Usual => self.visit.secure || !self.spec.login_disabled,
            offer => self.visit.offers_auth(offer),
        }
    }

    fn capabilities(&self) -> String {
        let mut words: Vec<String> = if self.courier() {
            [
                "IMAP4rev1",
                "UIDPLUS",
                "CHILDREN",
                "NAMESPACE",
                "SORT",
                "QUOTA",
                "IDLE",
            ]
        } else {
            [
                "IMAP4rev1",
                "SASL-IR",
                "LOGIN-REFERRALS",
                "ID",
                "ENABLE",
                "IDLE",
                "LITERAL+",
            ]
        }
        .map(str::to_owned)
        .into();
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
        let courier = self.courier();
        match verb {
            "CAPABILITY" => {
                let done = if courier {
                    "CAPABILITY completed"
                } else {
                    "Pre-login capabilities listed, post-login capabilities have more."
                };
                let text = format!(
                    "* CAPABILITY {}\r\n{tag} OK {done}\r\n",
                    self.capabilities()
                );
                vec![Deed::Offer(text.into_bytes())]
            }
            "NOOP" => vec![say(format!(
                "{tag} OK NOOP completed{}",
                if courier { "" } else { "." }
            ))],
            "ID" if !courier => {
                vec![say(format!(
                    "* ID (\"name\" \"Dovecot\")\r\n{tag} OK ID completed."
                ))]
            }
            "LOGOUT" => {
                let bye = if courier {
                    "* BYE Courier-IMAP server shutting down"
                } else {
                    "* BYE Logging out"
                };
                vec![
                    say(format!(
                        "{bye}\r\n{tag} OK {}",
                        if courier {
                            "LOGOUT completed"
                        } else {
                            "Logout completed."
                        }
                    )),
                    Deed::Close,
                ]
            }
            "STARTTLS" => self.starttls(tag),
            "LOGIN" | "AUTHENTICATE" if !self.login_allowed() => vec![say(format!(
                "{tag} NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections."
            ))],
            "LOGIN" | "AUTHENTICATE" => {
                let text = if courier {
                    "Login failed."
                } else {
                    "[AUTHENTICATIONFAILED] Authentication failed."
                };
                vec![say(format!("{tag} NO {text}"))]
            }
            _ => self.bad(tag),
        }
    }

    fn bad(&mut self, tag: &str) -> Vec<Deed> {
        self.bad += 1;
        let tag = if tag.is_empty() { "*" } else { tag };
        let word = if self.courier() { "NO" } else { "BAD" };
        let mut deeds = vec![say(format!(
            "{tag} {word} Error in IMAP command received by server."
        ))];
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
            Starttls::Hidden => vec![say(format!("{tag} BAD TLS support isn't enabled."))],
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
            None if self.courier() => "Courier-IMAP ready.".to_owned(),
            None => "Dovecot (Debian) ready.".to_owned(),
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
