//! An honest SMTP or LMTP server's conversation. It must not know sockets, boxes or verdicts. RFC 5321, 3207, 2033.
//!
//! ```text
//! greet ─▶ Commands ─DATA─▶ Body ─"."─▶ Commands ─STARTTLS─▶ (TLS) ─▶ Commands, anew
//!              └──AUTH──▶ Secret ─▶ Commands
//! ```

use crate::protocol::Protocol;
use crate::server::dialogue::{Deed, Dialogue, Visit, say, verb_and_rest};
use crate::server::smtp_dialect::{Words, words};
use crate::server::spec::{Place, ServerSpec, Starttls};

pub(crate) struct Smtp {
    spec: ServerSpec,
    visit: Visit,
    words: &'static Words,
    client: String,
    state: State,
    bad_verbs: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Commands,
    Body,
    Secret,
}

impl Smtp {
    pub(crate) fn new(spec: ServerSpec, visit: Visit) -> Self {
        let words = words(spec.dialect_for(visit.scheme.protocol()));
        Self {
            spec,
            visit,
            words,
            client: String::new(),
            state: State::Commands,
            bad_verbs: 0,
        }
    }

    fn fill(&self, text: &str, verb: &str) -> String {
        text.replace("{host}", &self.spec.host)
            .replace("{client}", &self.client)
            .replace("{peer}", &self.visit.peer)
            .replace("{verb}", verb)
    }

    fn tell(&self, text: &str) -> Vec<Deed> {
        vec![say(self.fill(text, ""))]
    }

    fn capabilities(&self) -> Deed {
        let mut keywords: Vec<String> = Vec::new();
        for keyword in self.words.keywords {
            match *keyword {
                "STARTTLS" => {
                    if self.visit.advertises() && self.spec.keyword_place == Place::Usual {
                        keywords.push(self.spec.cased(keyword));
                    }
                }
                keyword if keyword.starts_with("AUTH ") => {
                    if self.visit.offers_auth(self.spec.auth) {
                        keywords.push(keyword.to_owned());
                    }
                }
                keyword => keywords.push(keyword.to_owned()),
            }
        }
        keywords.extend(self.spec.extra_keywords.iter().cloned());
        if self.visit.advertises() {
            match self.spec.keyword_place {
                Place::Usual => {}
                Place::First => keywords.insert(0, self.spec.cased("STARTTLS")),
                Place::Last => keywords.push(self.spec.cased("STARTTLS")),
            }
        }
        let mut lines = vec![self.fill(self.words.ehlo, "")];
        lines.extend(keywords);
        Deed::Offer(multiline("250", &lines))
    }

    fn unknown(&mut self, verb_as_sent: &str) -> Vec<Deed> {
        self.bad_verbs += 1;
        let (limit, last) = self.words.patience;
        let mut deeds = vec![say(self.fill(self.words.unknown, verb_as_sent))];
        if self.bad_verbs >= limit {
            deeds = vec![say(self.fill(last, verb_as_sent)), Deed::Close];
        }
        deeds
    }

    fn starttls(&mut self, argument: &str, verb_as_sent: &str) -> Vec<Deed> {
        if self.visit.secure {
            return self.tell(self.words.tls_active);
        }
        match self.visit.starttls {
            Starttls::Absent => vec![say(self.fill(self.words.tls_unbuilt, verb_as_sent))],
            Starttls::Hidden => vec![say(self.fill(self.words.tls_refused, verb_as_sent))],
            _ if !argument.is_empty() => self.tell(self.words.tls_argument),
            Starttls::Unavailable => self.tell(self.words.tls_unavailable),
            Starttls::Offered | Starttls::HiddenWorks | Starttls::Broken => {
                vec![say(self.fill(self.words.tls_go, "")), Deed::StartTls]
            }
        }
    }

    fn command(&mut self, line: &[u8]) -> Vec<Deed> {
        if line.first().is_some_and(u8::is_ascii_whitespace) && !self.words.skips_leading_blank {
            return self.unknown("");
        }
        let as_sent = String::from_utf8_lossy(line).trim().to_owned();
        let (verb, rest) = verb_and_rest(line);
        let lmtp = self.visit.scheme.protocol() == Protocol::Lmtp;
        match verb.as_str() {
            "LHLO" if lmtp => self.hello(&rest),
            "EHLO" if !lmtp && !self.spec.refuses_ehlo => self.hello(&rest),
            "HELO" if !lmtp => {
                self.client = rest;
                vec![say(format!("250 {}", self.fill(self.words.helo, "")))]
            }
            "NOOP" => self.tell(self.words.noop),
            "RSET" => self.tell(self.words.rset),
            "HELP" => {
                let text: Vec<u8> = self
                    .words
                    .help
                    .iter()
                    .flat_map(|line| format!("{line}\r\n").into_bytes())
                    .collect();
                vec![Deed::Say(text)]
            }
            "VRFY" => self.tell(self.words.vrfy),
            "MAIL" if self.client.is_empty() => self.tell(self.words.sequence),
            "MAIL" => self.tell(self.words.mail),
            "RCPT" if self.spec.greylists && !self.visit.known => self.tell(self.words.greylisted),
            "RCPT" => self.tell(self.words.rcpt),
            "DATA" => {
                self.state = State::Body;
                self.tell(self.words.data)
            }
            "AUTH" if !self.visit.offers_auth(self.spec.auth) => {
                self.tell(self.words.auth_needs_tls)
            }
            "AUTH" if rest.contains(char::is_whitespace) => self.tell(self.words.auth_failed),
            "AUTH" => {
                self.state = State::Secret;
                vec![say("334 ")]
            }
            "STARTTLS" => self.starttls(&rest, &as_sent),
            "QUIT" => vec![say(self.fill(self.words.quit, "")), Deed::Close],
            _ => self.unknown(&as_sent),
        }
    }

    fn hello(&mut self, client: &str) -> Vec<Deed> {
        self.client = if client.is_empty() {
            "unknown".to_owned()
        } else {
            client.to_owned()
        };
        vec![self.capabilities()]
    }
}

impl Dialogue for Smtp {
    fn greet(&mut self) -> Vec<Deed> {
        if let Some(text) = &self.spec.turned_away {
            return vec![say(text), Deed::Close];
        }
        let mut deeds = Vec::new();
        if let Some(teaser) = &self.spec.teaser {
            deeds.push(say(format!("220-{teaser}")));
        }
        if self.spec.greeting_delay_ms > 0 {
            deeds.push(Deed::Pause(self.spec.greeting_delay_ms));
        }
        let mut lines = self.spec.banner_lines.clone();
        lines.push(match &self.spec.banner {
            Some(text) => text.clone(),
            None => self.fill(self.words.greeting, ""),
        });
        deeds.push(Deed::Say(multiline("220", &lines)));
        deeds
    }

    fn line(&mut self, line: &[u8]) -> Vec<Deed> {
        match self.state {
            State::Commands => self.command(line),
            State::Body => {
                if line == b"." {
                    self.state = State::Commands;
                    return self.tell(self.words.queued);
                }
                Vec::new()
            }
            State::Secret => {
                self.state = State::Commands;
                self.tell(self.words.auth_failed)
            }
        }
    }

    fn tls_fails(&self) -> Deed {
        say(self.fill(self.words.tls_unavailable, ""))
    }

    fn secured(&mut self) -> Vec<Deed> {
        self.visit.secure = true;
        self.client.clear();
        self.bad_verbs = 0;
        Vec::new()
    }
}

fn multiline(code: &str, lines: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let mark = if number + 1 == lines.len() { ' ' } else { '-' };
        bytes.extend_from_slice(format!("{code}{mark}{line}\r\n").as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Scheme;
    use crate::server::spec::{AuthOffer, Dialect, KeywordCase};

    fn server(spec: ServerSpec, scheme: Scheme) -> Smtp {
        let visit = Visit {
            starttls: spec.starttls,
            secure: false,
            known: false,
            peer: "127.0.0.1".into(),
            scheme,
        };
        Smtp::new(spec, visit)
    }

    fn said(deeds: Vec<Deed>) -> String {
        deeds
            .into_iter()
            .map(|deed| match deed {
                Deed::Say(bytes) | Deed::Offer(bytes) => {
                    String::from_utf8_lossy(&bytes).into_owned()
                }
                other => format!("<{other:?}>"),
            })
            .collect()
    }

    fn of(dialect: Dialect) -> ServerSpec {
        ServerSpec {
            dialect: Some(dialect),
            ..ServerSpec::default()
        }
    }

    #[test]
    fn postfix_lists_its_keywords_in_its_order() {
        let mut postfix = server(ServerSpec::default(), Scheme::Smtp);
        assert_eq!(
            said(postfix.greet()),
            "220 mx.lab.example ESMTP Postfix\r\n"
        );
        assert_eq!(
            said(postfix.line(b"EHLO probe.example")),
            "250-mx.lab.example\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n\
             250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n"
        );
        assert_eq!(
            postfix.line(b"starttls"),
            vec![say("220 2.0.0 Ready to start TLS"), Deed::StartTls]
        );
        postfix.secured();
        assert!(!said(postfix.line(b"EHLO x")).contains("STARTTLS"));
        assert_eq!(
            said(postfix.line(b"STARTTLS")),
            "554 5.5.1 Error: TLS already active\r\n"
        );
    }

    #[test]
    fn a_refused_verb_and_an_unknown_one_differ_as_in_the_real_programs() {
        for (dialect, refused, unknown) in [
            (
                Dialect::Postfix,
                "502 5.5.1 Error: command not implemented",
                "500 5.5.2 Error: command not recognized",
            ),
            (
                Dialect::PostfixOld,
                "502 5.5.1 Error: command not implemented",
                "502 5.5.2 Error: command not recognized",
            ),
            (
                Dialect::Exim,
                "503 STARTTLS command used when not advertised",
                "500 unrecognized command",
            ),
            (
                Dialect::Sendmail,
                "503 5.5.0 TLS not available",
                "500 5.5.1 Command unrecognized: \"XQZTLSAB\"",
            ),
            (
                Dialect::Exchange,
                "502 5.5.1 Command not implemented",
                "500 5.3.3 Unrecognized command 'XQZTLSAB'",
            ),
            (
                Dialect::Verizon,
                "533 5.7.1 STARTTLS command is not enabled.",
                "500 5.5.1 Unknown or unimplemented command",
            ),
            (
                Dialect::Qmail,
                "502 unimplemented (#5.5.1)",
                "502 unimplemented (#5.5.1)",
            ),
        ] {
            let mut server = server(
                ServerSpec {
                    starttls: Starttls::Hidden,
                    ..of(dialect)
                },
                Scheme::Smtp,
            );
            assert!(
                !said(server.line(b"EHLO x")).contains("STARTTLS"),
                "{dialect:?}"
            );
            assert_eq!(
                said(server.line(b"STARTTLS")),
                format!("{refused}\r\n"),
                "{dialect:?}"
            );
            assert_eq!(
                said(server.line(b"XQZTLSAB")),
                format!("{unknown}\r\n"),
                "{dialect:?}"
            );
        }
    }

    #[test]
    fn cisco_esa_hangs_up_at_the_fifth_bad_verb() {
        let mut esa = server(of(Dialect::CiscoEsa), Scheme::Smtp);
        for _ in 0..4 {
            assert_eq!(
                said(esa.line(b"XXXXXXXX")),
                "500 #5.5.1 command not recognized\r\n"
            );
        }
        assert_eq!(
            said(esa.line(b"XXXXXXXX")),
            "421 Exceeded bad SMTP command limit, disconnecting.\r\n<Close>"
        );
    }

    #[test]
    fn leading_blanks_are_skipped_by_postfix_and_rejected_by_exim() {
        assert_eq!(
            said(server(of(Dialect::Postfix), Scheme::Smtp).line(b" NOOP")),
            "250 2.0.0 Ok\r\n"
        );
        assert_eq!(
            said(server(of(Dialect::Exim), Scheme::Smtp).line(b" NOOP")),
            "500 unrecognized command\r\n"
        );
    }

    #[test]
    fn the_body_and_the_secret_are_swallowed() {
        let mut postfix = server(
            ServerSpec {
                auth: AuthOffer::BeforeTls,
                ..ServerSpec::default()
            },
            Scheme::Submission,
        );
        assert!(said(postfix.line(b"EHLO x")).contains("250-AUTH PLAIN LOGIN\r\n"));
        assert_eq!(said(postfix.line(b"AUTH PLAIN")), "334 \r\n");
        assert!(said(postfix.line(b"AHgAeQ==")).starts_with("535 "));
        assert!(said(postfix.line(b"DATA")).starts_with("354 "));
        assert_eq!(said(postfix.line(b"QUIT")), "");
        assert!(said(postfix.line(b".")).starts_with("250 "));
        assert!(said(postfix.line(b"quit")).starts_with("221 "));
    }

    #[test]
    fn the_keyword_may_stand_first_or_last_in_any_case() {
        let spec = ServerSpec {
            keyword_place: Place::Last,
            keyword_case: KeywordCase::Mixed,
            ..ServerSpec::default()
        };
        assert!(said(server(spec, Scheme::Smtp).line(b"EHLO x")).ends_with("250 StartTLS\r\n"));
        let spec = ServerSpec {
            keyword_place: Place::First,
            keyword_case: KeywordCase::Lower,
            ..ServerSpec::default()
        };
        assert!(
            said(server(spec, Scheme::Smtp).line(b"EHLO x"))
                .starts_with("250-mx.lab.example\r\n250-starttls\r\n")
        );
    }

    #[test]
    fn lmtp_wants_lhlo() {
        let mut lmtp = server(ServerSpec::default(), Scheme::Lmtp);
        assert_eq!(
            said(lmtp.greet()),
            "220 mx.lab.example Dovecot (Debian) ready.\r\n"
        );
        assert!(said(lmtp.line(b"EHLO x")).starts_with("502 5.5.1 Unknown command"));
        assert!(said(lmtp.line(b"LHLO x")).contains("250 STARTTLS\r\n"));
    }
}
