//! A box that adds its own lines to the plaintext: after the greeting, before or behind the reply to STARTTLS, behind
//! the client's STARTTLS. It must not change what the two sides said. EAST's buffering and tampering vectors; RFC 3207 §6.

use serde::Deserialize;

use crate::middlebox::proxy::{Fate, Manner, ended, fill};
use crate::middlebox::reply::Asked;

/// What is added, and where. Texts may span lines (`\n`) and use `{tag}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct InjectSpec {
    /// Behind the greeting.
    pub after_greeting: Option<String>,
    /// In front of the greeting.
    pub before_greeting: Option<String>,
    /// In front of the reply to STARTTLS.
    pub before_starttls_reply: Option<String>,
    /// Behind the reply to STARTTLS, in the same segment, so that a careless client reads it inside TLS.
    pub after_starttls_reply: Option<String>,
    /// In front of the capability reply.
    pub before_capabilities: Option<String>,
    /// Behind the client's STARTTLS, so that a careless server executes it inside TLS.
    pub after_starttls_command: Option<String>,
}

/// The manner.
pub struct Inject {
    spec: InjectSpec,
}

impl Inject {
    /// A box with these settings.
    pub fn new(spec: InjectSpec) -> Self {
        Self { spec }
    }
}

impl Manner for Inject {
    fn command(&mut self, asked: &Asked, line: &[u8]) -> Fate {
        match &self.spec.after_starttls_command {
            Some(text) if asked.starts_tls() => {
                let mut bytes = line.to_vec();
                bytes.extend_from_slice(b"\r\n");
                bytes.extend_from_slice(&fill(text, asked, line));
                // The engine adds the last line end.
                bytes.truncate(bytes.len().saturating_sub(2));
                Fate::Rewrite(bytes)
            }
            _ => Fate::Pass,
        }
    }

    fn reply(&mut self, asked: Option<&Asked>, reply: Vec<u8>) -> Vec<u8> {
        let spec = &self.spec;
        let (before, after) = match asked {
            None => (&spec.before_greeting, &spec.after_greeting),
            Some(asked) if asked.starts_tls() => {
                (&spec.before_starttls_reply, &spec.after_starttls_reply)
            }
            Some(asked) if asked.lists_capabilities() => (&spec.before_capabilities, &None),
            Some(_) => (&None, &None),
        };
        let text = |text: &Option<String>| match (text, asked) {
            (Some(text), Some(asked)) => fill(text, asked, b""),
            (Some(text), None) => ended(text),
            (None, _) => Vec::new(),
        };
        [text(before), reply, text(after)].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::play;
    use crate::middlebox::proxy::Proxy;
    use crate::protocol::Protocol;

    #[test]
    fn lines_behind_the_agreement_go_out_with_it() {
        let spec = InjectSpec {
            after_starttls_reply: Some("250-example.org\n250 AUTH LOGIN".into()),
            ..InjectSpec::default()
        };
        let mut tool = Proxy::new(Protocol::Smtp, Inject::new(spec));
        play::server(&mut tool, "220 mx\r\n");
        assert_eq!(play::client(&mut tool, "STARTTLS\r\n"), "S:STARTTLS\r\n");
        assert_eq!(
            play::server(&mut tool, "220 go\r\n"),
            "C:220 go\r\n250-example.org\r\n250 AUTH LOGIN\r\n"
        );
        assert_eq!(play::client(&mut tool, "\u{16}\u{3}"), "S:\u{16}\u{3}");
    }

    #[test]
    fn a_command_is_added_behind_the_clients_own() {
        let spec = InjectSpec {
            after_starttls_command: Some("INJECTED_INVALID_COMMAND".into()),
            ..InjectSpec::default()
        };
        let mut tool = Proxy::new(Protocol::Smtp, Inject::new(spec));
        play::server(&mut tool, "220 mx\r\n");
        assert_eq!(
            play::client(&mut tool, "STARTTLS\r\n"),
            "S:STARTTLS\r\nINJECTED_INVALID_COMMAND\r\n"
        );
    }

    #[test]
    fn untagged_data_is_put_around_the_greeting_and_the_reply() {
        let spec = InjectSpec {
            after_greeting: Some("* 54321 EXISTS".into()),
            before_starttls_reply: Some("* OK [ALERT] for {tag}".into()),
            ..InjectSpec::default()
        };
        let mut tool = Proxy::new(Protocol::Imap, Inject::new(spec));
        assert_eq!(
            play::server(&mut tool, "* OK hi\r\n"),
            "C:* OK hi\r\n* 54321 EXISTS\r\n"
        );
        play::client(&mut tool, "a STARTTLS\r\n");
        assert_eq!(
            play::server(&mut tool, "a OK go\r\n"),
            "C:* OK [ALERT] for a\r\na OK go\r\n"
        );
    }
}
