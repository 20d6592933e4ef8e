//! An honest POP3 server's conversation before login, in Dovecot's, Courier's or nobody's words. It must not know
//! sockets, boxes or verdicts. RFC 1939, 2449, 2595.

use crate::server::dialogue::{Deed, Dialogue, Visit, say, verb_and_rest};
use crate::server::spec::{AuthOffer, Dialect, Place, ServerSpec, Starttls};

/// One program's words, without line end.
struct Words {
    ready: &'static str,
    listed: &'static str,
    keywords: &'static [&'static str],
    unknown: &'static str,
    tls_refused: &'static str,
    quit: &'static str,
    /// Unknown commands before it hangs up.
    patience: u32,
}

const DOVECOT: Words = Words {
    ready: "Dovecot (Debian) ready.",
    listed: "+OK",
    keywords: &[
        "CAPA",
        "TOP",
        "UIDL",
        "RESP-CODES",
        "PIPELINING",
        "AUTH-RESP-CODE",
    ],
    unknown: "-ERR Unknown command.",
    tls_refused: "-ERR TLS support isn't enabled.",
    quit: "+OK Logging out",
    // As Debian 12's 2.3.19.
    patience: 3,
};

const COURIER: Words = Words {
    ready: "Hello there.",
    listed: "+OK Here's what I can do:",
    keywords: &[
        "TOP",
        "UIDL",
        "PIPELINING",
        "IMPLEMENTATION Courier Mail Server",
    ],
    unknown: "-ERR Invalid command.",
    tls_refused: "-ERR TLS support isn't enabled.",
    quit: "+OK Better luck next time.",
    patience: 20,
};

/// What somebody writes who has only read the RFC, down to `-ERR Unknown command.`
const PLAIN: Words = Words {
    ready: "POP3 server ready",
    listed: "+OK Capability list follows",
    keywords: &["TOP", "UIDL"],
    unknown: "-ERR Unknown command.",
    tls_refused: "-ERR STLS not available",
    quit: "+OK POP3 server signing off",
    patience: 20,
};

pub(crate) struct Pop3 {
    spec: ServerSpec,
    visit: Visit,
    words: &'static Words,
    bad: u32,
    secret: bool,
}

impl Pop3 {
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
            bad: 0,
            secret: false,
        }
    }

    fn login_allowed(&self) -> bool {
        match self.spec.auth {
            AuthOffer::Usual => self.visit.secure,
            offer => self.visit.offers_auth(offer),
        }
    }

    fn capabilities(&self) -> Deed {
        let own = self.words.keywords.iter();
        let mut words: Vec<String> = own.map(|&word| word.to_owned()).collect();
        if self.visit.advertises() && self.spec.keyword_place == Place::Usual {
            words.push(self.spec.cased("STLS"));
        }
        if self.login_allowed() {
            words.push("USER".into());
            words.push("SASL PLAIN LOGIN".into());
        } else {
            words.push("SASL".into());
        }
        words.extend(self.spec.extra_keywords.iter().cloned());
        if self.visit.advertises() {
            match self.spec.keyword_place {
                Place::Usual => {}
                Place::First => words.insert(0, self.spec.cased("STLS")),
                Place::Last => words.push(self.spec.cased("STLS")),
            }
        }
        let listed = self.words.listed;
        Deed::Offer(format!("{listed}\r\n{}\r\n.\r\n", words.join("\r\n")).into_bytes())
    }

    fn starttls(&mut self) -> Vec<Deed> {
        if self.visit.secure {
            return vec![say("-ERR TLS is already active.")];
        }
        match self.visit.starttls {
            Starttls::Absent => self.bad(),
            Starttls::Hidden => vec![say(self.words.tls_refused)],
            Starttls::Unavailable => vec![say("-ERR [SYS/TEMP] TLS is temporarily not available.")],
            Starttls::Offered | Starttls::HiddenWorks | Starttls::Broken => {
                vec![say("+OK Begin TLS negotiation now."), Deed::StartTls]
            }
        }
    }

    fn bad(&mut self) -> Vec<Deed> {
        self.bad += 1;
        let mut deeds = vec![say(self.words.unknown)];
        if self.bad >= self.words.patience {
            deeds.extend([say("-ERR Too many invalid bad commands."), Deed::Close]);
        }
        deeds
    }
}

impl Dialogue for Pop3 {
    fn greet(&mut self) -> Vec<Deed> {
        if let Some(text) = &self.spec.turned_away {
            return vec![say(text), Deed::Close];
        }
        let mut deeds = Vec::new();
        if self.spec.greeting_delay_ms > 0 {
            deeds.push(Deed::Pause(self.spec.greeting_delay_ms));
        }
        deeds.push(say(match &self.spec.banner {
            Some(text) => format!("+OK {text}"),
            None => format!("+OK {}", self.words.ready),
        }));
        deeds
    }

    fn line(&mut self, line: &[u8]) -> Vec<Deed> {
        if self.secret {
            self.secret = false;
            return vec![say("-ERR [AUTH] Authentication failed.")];
        }
        let (verb, rest) = verb_and_rest(line);
        match verb.as_str() {
            "CAPA" => vec![self.capabilities()],
            "STLS" => self.starttls(),
            "USER" | "PASS" | "APOP" | "AUTH" if !self.login_allowed() => vec![say(
                "-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.",
            )],
            "USER" => vec![say("+OK")],
            "PASS" | "APOP" => vec![say("-ERR [AUTH] Authentication failed.")],
            "AUTH" if rest.is_empty() => vec![say("+OK\r\nPLAIN\r\nLOGIN\r\n.")],
            "AUTH" => {
                self.secret = true;
                vec![say("+ ")]
            }
            // Dovecot does not know NOOP before login; Courier does not either.
            "QUIT" => vec![say(self.words.quit), Deed::Close],
            _ => self.bad(),
        }
    }

    fn tls_fails(&self) -> Deed {
        say("-ERR TLS initialization failed.")
    }

    fn secured(&mut self) -> Vec<Deed> {
        self.visit.secure = true;
        self.bad = 0;
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Scheme;

    fn server(spec: ServerSpec) -> Pop3 {
        let visit = Visit {
            starttls: spec.starttls,
            secure: false,
            known: false,
            peer: "127.0.0.1".into(),
            scheme: Scheme::Pop3,
        };
        Pop3::new(spec, visit)
    }

    #[test]
    fn stls_is_listed_and_works_in_any_case() {
        let mut pop = server(ServerSpec::default());
        let Some(Deed::Offer(list)) = pop.line(b"capa").pop() else {
            panic!("a capability list")
        };
        assert_eq!(
            String::from_utf8_lossy(&list),
            "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nSTLS\r\nSASL\r\n.\r\n"
        );
        assert_eq!(
            pop.line(b"stls"),
            vec![say("+OK Begin TLS negotiation now."), Deed::StartTls]
        );
    }

    #[test]
    fn a_refused_verb_and_an_unknown_one_differ() {
        let mut pop = server(ServerSpec {
            starttls: Starttls::Hidden,
            ..ServerSpec::default()
        });
        assert_eq!(
            pop.line(b"STLS"),
            vec![say("-ERR TLS support isn't enabled.")]
        );
        assert_eq!(pop.line(b"XQZT"), vec![say("-ERR Unknown command.")]);
    }

    #[test]
    fn the_password_is_refused_in_the_clear() {
        let mut pop = server(ServerSpec::default());
        assert!(
            matches!(pop.line(b"USER x").first(), Some(Deed::Say(text)) if text.starts_with(b"-ERR"))
        );
    }
}
