//! An honest ManageSieve server's conversation before login, in Pigeonhole's or nobody's words. It must not know
//! sockets, boxes or verdicts. RFC 5804.

use crate::server::dialogue::{Deed, Dialogue, Visit, say, verb_and_rest};
use crate::server::imap::literal;
use crate::server::spec::{AuthOffer, Dialect, ServerSpec, Starttls};

pub(crate) struct Sieve {
    spec: ServerSpec,
    visit: Visit,
    awaiting: Option<String>,
    bad: u32,
}

/// A literal longer than this is not read; the connection ends.
const LITERAL_LIMIT: usize = 64 * 1024;
/// Unknown commands before the server hangs up.
const PATIENCE: u32 = 20;

impl Sieve {
    pub(crate) fn new(spec: ServerSpec, visit: Visit) -> Self {
        Self {
            spec,
            visit,
            awaiting: None,
            bad: 0,
        }
    }

    fn plain(&self) -> bool {
        self.spec.dialect == Some(Dialect::Plain)
    }

    fn login_allowed(&self) -> bool {
        match self.spec.auth {
            AuthOffer::Usual => self.visit.secure,
            offer => self.visit.offers_auth(offer),
        }
    }

    fn capabilities(&self, done: &str) -> Vec<u8> {
        let mut text = String::from(if self.plain() {
            "\"IMPLEMENTATION\" \"sieved\"\r\n\"SIEVE\" \"fileinto vacation\"\r\n"
        } else {
            "\"IMPLEMENTATION\" \"Dovecot (Debian) Pigeonhole\"\r\n\
             \"SIEVE\" \"fileinto reject envelope encoded-character vacation subaddress comparator-i;ascii-numeric\"\r\n\
             \"NOTIFY\" \"mailto\"\r\n"
        });
        text.push_str(if self.login_allowed() {
            "\"SASL\" \"PLAIN LOGIN\"\r\n"
        } else {
            "\"SASL\" \"\"\r\n"
        });
        if self.visit.advertises() {
            text.push_str(&format!("\"{}\"\r\n", self.spec.cased("STARTTLS")));
        }
        for word in &self.spec.extra_keywords {
            text.push_str(&format!("\"{word}\"\r\n"));
        }
        text.push_str(&format!("\"VERSION\" \"1.0\"\r\nOK \"{done}\"\r\n"));
        text.into_bytes()
    }

    fn answer(&mut self, verb: &str) -> Vec<Deed> {
        match verb {
            "CAPABILITY" => vec![Deed::Offer(self.capabilities("Capability completed."))],
            "NOOP" => vec![say("OK \"NOOP completed.\"")],
            "LOGOUT" => vec![say("OK \"Logout completed.\""), Deed::Close],
            "STARTTLS" if self.visit.secure => vec![say("NO \"TLS is already active.\"")],
            "STARTTLS" => match self.visit.starttls {
                Starttls::Absent => self.bad(),
                Starttls::Hidden if self.plain() => vec![say("NO \"STARTTLS not available\"")],
                Starttls::Hidden => vec![say("NO \"TLS support isn't enabled.\"")],
                Starttls::Unavailable => {
                    vec![say("NO (TRYLATER) \"TLS is temporarily not available.\"")]
                }
                Starttls::Offered | Starttls::HiddenWorks | Starttls::Broken => {
                    vec![say("OK \"Begin TLS negotiation now.\""), Deed::StartTls]
                }
            },
            "AUTHENTICATE" if !self.login_allowed() => {
                vec![say(
                    "NO (ENCRYPT-NEEDED) \"Plaintext authentication disabled.\"",
                )]
            }
            "AUTHENTICATE" => vec![say("NO \"Authentication failed.\"")],
            _ => self.bad(),
        }
    }

    fn bad(&mut self) -> Vec<Deed> {
        self.bad += 1;
        if self.bad >= PATIENCE {
            return vec![
                say("BYE \"Too many invalid MANAGESIEVE commands.\""),
                Deed::Close,
            ];
        }
        vec![say(if self.plain() {
            "NO \"Unknown command.\""
        } else {
            "NO \"Error in MANAGESIEVE command received by server.\""
        })]
    }
}

impl Dialogue for Sieve {
    fn greet(&mut self) -> Vec<Deed> {
        if let Some(text) = &self.spec.turned_away {
            return vec![say(text), Deed::Close];
        }
        let mut deeds = Vec::new();
        if self.spec.greeting_delay_ms > 0 {
            deeds.push(Deed::Pause(self.spec.greeting_delay_ms));
        }
        let ready = if self.plain() {
            "ManageSieve ready"
        } else {
            "Dovecot (Debian) ready."
        };
        deeds.push(Deed::Offer(self.capabilities(ready)));
        deeds
    }

    fn line(&mut self, line: &[u8]) -> Vec<Deed> {
        let verb = match self.awaiting.take() {
            Some(verb) => verb,
            None => verb_and_rest(line).0,
        };
        match literal(line) {
            Some((size, _)) if size > LITERAL_LIMIT => {
                vec![say("BYE \"Too long argument.\""), Deed::Close]
            }
            Some((size, _)) => {
                self.awaiting = Some(verb);
                vec![Deed::Forget(size)]
            }
            None => self.answer(&verb),
        }
    }

    fn tls_fails(&self) -> Deed {
        say("BYE \"TLS initialization failed.\"")
    }

    fn secured(&mut self) -> Vec<Deed> {
        self.visit.secure = true;
        self.bad = 0;
        vec![Deed::Say(self.capabilities("TLS negotiation successful."))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Scheme;

    #[test]
    fn the_list_is_said_again_inside_tls() {
        let spec = ServerSpec::default();
        let visit = Visit {
            starttls: spec.starttls,
            secure: false,
            known: false,
            peer: "127.0.0.1".into(),
            scheme: Scheme::Sieve,
        };
        let mut sieve = Sieve::new(spec, visit);
        let Some(Deed::Offer(list)) = sieve.greet().pop() else {
            panic!("a capability list")
        };
        assert!(String::from_utf8_lossy(&list).contains("\r\n\"STARTTLS\"\r\n"));
        assert_eq!(
            sieve.line(b"STARTTLS"),
            vec![say("OK \"Begin TLS negotiation now.\""), Deed::StartTls]
        );
        let Some(Deed::Say(list)) = sieve.secured().pop() else {
            panic!("a capability list")
        };
        assert!(!String::from_utf8_lossy(&list).contains("STARTTLS"));
    }
}
