//! A box that changes the capability list: deletes words, lets only some through, adds some, spoils a byte.
//! It must not touch commands. Products: Untangle, F-Secure IGK, Zorp, striptls, nogotofail, smtp-gated.

use serde::Deserialize;

use crate::middlebox::proxy::Manner;
use crate::middlebox::reply::{Asked, edit_capabilities};
use crate::protocol::Protocol;

/// What becomes of the capability words. A word is matched by its first token, in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RemoveSpec {
    /// Words that are deleted.
    pub words: Vec<String>,
    /// When not empty: only these survive.
    pub only: Vec<String>,
    /// Words that are added at the end.
    pub add: Vec<String>,
    /// `SIZE n` is lowered to at most this, octets.
    pub size_at_most: Option<u64>,
    /// In these words the byte at this offset of the *line* (code and separator included) becomes `*`: smtp-gated.
    pub spoil: Vec<String>,
    /// Words that are replaced by this same-length text, as a proxy would that imitates Cisco.
    pub cross: Vec<String>,
    /// Whether letter case counts, as in striptls.
    pub case_sensitive: bool,
    /// The first token of the greeting is left alone unless this is set: IMAP lists in greetings are edited always.
    pub greeting: Option<String>,
}

/// Where smtp-gated puts its asterisk: the eighth byte of the line, the fourth of the word.
const SPOILED_BYTE: usize = 3;

/// The manner.
pub struct Remove {
    protocol: Protocol,
    spec: RemoveSpec,
}

impl Remove {
    /// A box for this protocol with these settings.
    pub fn new(protocol: Protocol, spec: RemoveSpec) -> Self {
        Self { protocol, spec }
    }

    fn has(&self, list: &[String], word: &str) -> bool {
        let token = word.split(' ').next().unwrap_or_default();
        list.iter().any(|one| {
            if self.spec.case_sensitive {
                one == token
            } else {
                one.eq_ignore_ascii_case(token)
            }
        })
    }

    fn edit(&self, words: &mut Vec<String>) {
        words.retain(|word| {
            !self.has(&self.spec.words, word)
                && (self.spec.only.is_empty() || self.has(&self.spec.only, word))
        });
        for word in words.iter_mut() {
            if self.has(&self.spec.spoil, word) && word.is_char_boundary(SPOILED_BYTE + 1) {
                word.replace_range(SPOILED_BYTE..=SPOILED_BYTE, "*");
            }
            if self.has(&self.spec.cross, word) {
                *word = "X".repeat(word.len());
            }
            if let (Some(limit), Some(size)) = (self.spec.size_at_most, word.strip_prefix("SIZE "))
            {
                let size = size.trim().parse().unwrap_or(0);
                *word = format!("SIZE {}", if size == 0 { limit } else { limit.min(size) });
            }
        }
        for word in &self.spec.add {
            if !words.contains(word) {
                words.push(word.clone());
            }
        }
    }
}

impl Manner for Remove {
    fn reply(&mut self, asked: Option<&Asked>, reply: Vec<u8>) -> Vec<u8> {
        if asked.is_none()
            && let Some(text) = &self.spec.greeting
        {
            return crate::middlebox::proxy::ended(text);
        }
        edit_capabilities(self.protocol, asked, reply, &mut |words| self.edit(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::play;
    use crate::middlebox::proxy::Proxy;

    fn smtp(spec: RemoveSpec) -> Proxy<Remove> {
        let mut proxy = Proxy::new(Protocol::Smtp, Remove::new(Protocol::Smtp, spec));
        play::server(&mut proxy, "220 mx\r\n");
        play::client(&mut proxy, "EHLO x\r\n");
        proxy
    }

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn the_last_line_gets_its_blank_when_the_last_is_deleted() {
        let mut proxy = smtp(RemoveSpec {
            words: words(&["STARTTLS"]),
            ..RemoveSpec::default()
        });
        assert_eq!(
            play::server(&mut proxy, "250-mx\r\n250-SIZE 9\r\n250 STARTTLS\r\n"),
            "C:250-mx\r\n250 SIZE 9\r\n"
        );
    }

    #[test]
    fn removal_works_although_the_reply_comes_in_pieces() {
        let mut proxy = smtp(RemoveSpec {
            words: words(&["STARTTLS"]),
            ..RemoveSpec::default()
        });
        assert_eq!(play::server(&mut proxy, "250-mx\r\n250-STAR"), "");
        assert_eq!(
            play::server(&mut proxy, "TTLS\r\n250 DSN\r\n"),
            "C:250-mx\r\n250 DSN\r\n"
        );
    }

    #[test]
    fn untangle_keeps_its_allow_list() {
        let mut proxy = smtp(RemoveSpec {
            only: words(&["SIZE", "DSN", "VRFY", "AUTH", "HELP"]),
            ..RemoveSpec::default()
        });
        assert_eq!(
            play::server(
                &mut proxy,
                "250-mx\r\n250-PIPELINING\r\n250-SIZE 9\r\n250-VRFY\r\n250-STARTTLS\r\n250-DSN\r\n250 CHUNKING\r\n"
            ),
            "C:250-mx\r\n250-SIZE 9\r\n250-VRFY\r\n250 DSN\r\n"
        );
    }

    #[test]
    fn smtp_gated_spoils_one_byte() {
        let mut proxy = smtp(RemoveSpec {
            spoil: words(&["CHUNKING", "BINARYMIME", "XEXCH50"]),
            ..RemoveSpec::default()
        });
        assert_eq!(
            play::server(
                &mut proxy,
                "250-mx\r\n250-STARTTLS\r\n250-BINARYMIME\r\n250-XEXCH50\r\n250 CHUNKING\r\n"
            ),
            "C:250-mx\r\n250-STARTTLS\r\n250-BIN*RYMIME\r\n250-XEX*H50\r\n250 CHU*KING\r\n"
        );
    }

    #[test]
    fn fsigk_lowers_the_size_and_adds_auth() {
        let mut proxy = smtp(RemoveSpec {
            words: words(&["CHUNKING", "BINARYMIME", "PIPELINING", "STARTTLS"]),
            size_at_most: Some(2_000_000_000),
            add: words(&["AUTH PLAIN LOGIN"]),
            ..RemoveSpec::default()
        });
        assert_eq!(
            play::server(
                &mut proxy,
                "250-mx\r\n250-SIZE 0\r\n250-STARTTLS\r\n250 CHUNKING\r\n"
            ),
            "C:250-mx\r\n250-SIZE 2000000000\r\n250 AUTH PLAIN LOGIN\r\n"
        );
    }

    #[test]
    fn imap_loses_starttls_and_logindisabled_in_greeting_and_list() {
        let spec = RemoveSpec {
            words: words(&["STARTTLS", "LOGINDISABLED"]),
            ..RemoveSpec::default()
        };
        let mut proxy = Proxy::new(Protocol::Imap, Remove::new(Protocol::Imap, spec));
        assert_eq!(
            play::server(
                &mut proxy,
                "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\r\n"
            ),
            "C:* OK [CAPABILITY IMAP4rev1] hi\r\n"
        );
        play::client(&mut proxy, "a CAPABILITY\r\n");
        assert_eq!(
            play::server(
                &mut proxy,
                "* CAPABILITY IMAP4rev1 STARTTLS\r\na OK done\r\n"
            ),
            "C:* CAPABILITY IMAP4rev1\r\na OK done\r\n"
        );
    }
}
