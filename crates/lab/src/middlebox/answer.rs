//! A box that speaks in the server's place: refuses, forges or replaces answers, drops commands, rewrites verbs, greets
//! for the server. It must not touch the capability list of a reply it lets through.
//! Products: Norton, smtp-gated, nogotofail, striptls, canned proxies, carrier relays, EAST's negotiation vectors.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::middlebox::proxy::{Fate, Manner, ended, fill};
use crate::middlebox::reply::Asked;

/// Who answers what. Texts may span lines (`\n`) and use `{tag}`, `{verb}`, `{line}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct AnswerSpec {
    /// The greeting the client gets instead of the server's.
    pub greeting: Option<String>,
    /// Verb → the box's answer; the server never sees the command.
    pub verbs: BTreeMap<String, String>,
    /// Verb → the text that replaces the server's reply; the server does see the command.
    pub replies: BTreeMap<String, String>,
    /// Verbs that vanish.
    pub drop: Vec<String>,
    /// Verbs on which both sides are reset.
    pub reset: Vec<String>,
    /// Verbs on which both sides are closed in order.
    pub close: Vec<String>,
    /// Verb → the line that the server gets in its place. `{tag}` stands for IMAP's.
    pub rewrite: BTreeMap<String, String>,
    /// When not empty: verbs that pass; every other gets `others`.
    pub allow: Vec<String>,
    /// The answer to a verb that is not allowed.
    pub others: Option<String>,
    /// Verbs are matched in exactly this letter case, as a naive stream matcher does.
    pub case_sensitive: bool,
}

/// The manner.
pub struct Answer {
    spec: AnswerSpec,
}

impl Answer {
    /// A box with these settings.
    pub fn new(spec: AnswerSpec) -> Self {
        Self { spec }
    }
}

fn ends_connection(text: &str) -> bool {
    text.starts_with("421") || text.starts_with("* BYE") || text.starts_with("BYE")
}

impl Manner for Answer {
    fn command(&mut self, asked: &Asked, line: &[u8]) -> Fate {
        let spec = &self.spec;
        if spec.case_sensitive && !contains(line, asked.verb.as_bytes()) {
            return Fate::Pass;
        }
        let verb = asked.verb.as_str();
        if spec.drop.iter().any(|one| one == verb) {
            return Fate::Drop;
        }
        if spec.reset.iter().any(|one| one == verb) {
            return Fate::Reset;
        }
        if spec.close.iter().any(|one| one == verb) {
            return Fate::Close;
        }
        if let Some(text) = spec.rewrite.get(verb) {
            return Fate::Rewrite(text.replace("{tag}", &asked.tag).into_bytes());
        }
        if let Some(text) = spec.verbs.get(verb) {
            let answer = fill(text, asked, line);
            return if ends_connection(text) {
                Fate::AnswerAndClose(answer)
            } else {
                Fate::Answer(answer)
            };
        }
        if let Some(text) = &spec.others
            && !spec.allow.iter().any(|one| one == verb)
        {
            return Fate::Answer(fill(text, asked, line));
        }
        Fate::Pass
    }

    fn reply(&mut self, asked: Option<&Asked>, reply: Vec<u8>) -> Vec<u8> {
        match asked {
            None => self.spec.greeting.as_deref().map_or(reply, ended),
            Some(asked) => match self.spec.replies.get(&asked.verb) {
                Some(text) => fill(text, asked, b""),
                None => reply,
            },
        }
    }

    fn ends_after_greeting(&self) -> bool {
        self.spec.greeting.as_deref().is_some_and(ends_connection)
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty()
        && haystack
            .windows(needle.len())
            .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::play;
    use crate::middlebox::proxy::Proxy;
    use crate::protocol::Protocol;

    fn table(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|&(verb, text)| (verb.to_owned(), text.to_owned()))
            .collect()
    }

    fn play_on(protocol: Protocol, spec: AnswerSpec) -> Proxy<Answer> {
        Proxy::new(protocol, Answer::new(spec))
    }

    #[test]
    fn norton_refuses_in_its_own_words() {
        let mut norton = play_on(
            Protocol::Smtp,
            AnswerSpec {
                verbs: table(&[
                    ("STARTTLS", "500 Unsupported command."),
                    ("QUIT", "221 Closing connection. Good bye."),
                ]),
                ..AnswerSpec::default()
            },
        );
        play::server(&mut norton, "220 mx\r\n");
        assert_eq!(
            play::client(&mut norton, "StartTLS\r\n"),
            "C:500 Unsupported command.\r\n"
        );
        assert_eq!(
            play::client(&mut norton, "QUIT\r\n"),
            "C:221 Closing connection. Good bye.\r\n"
        );
        assert_eq!(play::client(&mut norton, "NOOP\r\n"), "S:NOOP\r\n");
    }

    #[test]
    fn imap_answers_carry_the_tag() {
        let mut tool = play_on(
            Protocol::Imap,
            AnswerSpec {
                verbs: table(&[("STARTTLS", "{tag} BAD unknown command")]),
                ..AnswerSpec::default()
            },
        );
        play::server(&mut tool, "* OK hi\r\n");
        assert_eq!(
            play::client(&mut tool, "a7 starttls\r\n"),
            "C:a7 BAD unknown command\r\n"
        );
    }

    #[test]
    fn verbs_that_are_not_allowed_get_the_boxs_reply() {
        let mut untangle = play_on(
            Protocol::Smtp,
            AnswerSpec {
                allow: vec!["EHLO".into(), "NOOP".into()],
                others: Some("500 Syntax error, command unrecognized".into()),
                ..AnswerSpec::default()
            },
        );
        play::server(&mut untangle, "220 mx\r\n");
        assert_eq!(
            play::client(&mut untangle, "XQZTLSAB\r\n"),
            "C:500 Syntax error, command unrecognized\r\n"
        );
        assert_eq!(play::client(&mut untangle, "EHLO x\r\n"), "S:EHLO x\r\n");
    }

    #[test]
    fn a_421_greeting_closes() {
        let mut carrier = play_on(
            Protocol::Smtp,
            AnswerSpec {
                greeting: Some("421 too many connections".into()),
                ..AnswerSpec::default()
            },
        );
        assert_eq!(
            play::server(&mut carrier, "220 mx\r\n"),
            "C:421 too many connections\r\n<Close>"
        );
    }

    #[test]
    fn dropped_rewritten_and_reset_commands() {
        let mut tool = play_on(
            Protocol::Smtp,
            AnswerSpec {
                drop: vec!["STARTTLS".into()],
                reset: vec!["XRST".into()],
                rewrite: table(&[("EHLO", "HELO x")]),
                ..AnswerSpec::default()
            },
        );
        play::server(&mut tool, "220 mx\r\n");
        assert_eq!(play::client(&mut tool, "STARTTLS\r\n"), "");
        assert_eq!(play::client(&mut tool, "XRST\r\n"), "<Reset>");
        assert_eq!(play::client(&mut tool, "EHLO me\r\n"), "S:HELO x\r\n");
    }

    #[test]
    fn a_case_sensitive_matcher_misses_mixed_case() {
        let mut naive = play_on(
            Protocol::Smtp,
            AnswerSpec {
                verbs: table(&[("STARTTLS", "500 no")]),
                case_sensitive: true,
                ..AnswerSpec::default()
            },
        );
        play::server(&mut naive, "220 mx\r\n");
        assert_eq!(play::client(&mut naive, "sTaRtTlS\r\n"), "S:sTaRtTlS\r\n");
        assert_eq!(play::client(&mut naive, "STARTTLS\r\n"), "");
        assert_eq!(play::server(&mut naive, "220 go\r\n"), "C:220 go\r\n");
    }
}
