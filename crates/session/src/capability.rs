//! What a server says it offers: the items of EHLO, CAPABILITY, CAPA and ManageSieve lists.
//!
//! Unknown and mangled items stay what they are: `XXXXXXXA` is an item like any other, and what
//! it once was is for `diagnosis` to find out.

use alloc::{string::String, vec::Vec};

use crate::{
    ByteRange, Label, Protocol, imap, pop3, reply, sieve, smtp,
    token::{first_word, offset_in, trim, upper},
};

/// A list of offers. All ranges are relative to the bytes that were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// The items in the server's order.
    pub items: Vec<Capability>,
    /// The text of EHLO's first line, which greets and offers nothing (SMTP, LMTP).
    pub first_line: Option<ByteRange>,
}

/// One offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// The item's text.
    pub range: ByteRange,
    /// Its first word in upper case; what is not UTF-8 is replaced.
    pub keyword: String,
    /// What follows the keyword, as written.
    pub arguments: String,
}

impl Capability {
    /// From an item that is words apart by blanks; `None` where it is blank. `item` lies in `bytes`.
    pub(crate) fn of_words(bytes: &[u8], item: &[u8]) -> Option<Self> {
        let item = trim(item);
        let (keyword, arguments) = first_word(item);
        let from = offset_in(bytes, item);
        (!item.is_empty()).then(|| Self {
            range: ByteRange::at(from, from + item.len()),
            keyword: upper(keyword),
            arguments: String::from_utf8_lossy(trim(arguments)).into_owned(),
        })
    }
}

impl Capabilities {
    /// Whether a keyword is in the list; `keyword` in any case.
    #[must_use]
    pub fn has(&self, keyword: &str) -> bool {
        self.items
            .iter()
            .any(|item| item.keyword.eq_ignore_ascii_case(keyword))
    }

    /// Whether STARTTLS (STLS on POP3) is in the list.
    #[must_use]
    pub fn offers_starttls(&self, protocol: Protocol) -> bool {
        self.has(if protocol == Protocol::Pop3 {
            "STLS"
        } else {
            "STARTTLS"
        })
    }

    /// The ways to log in, in upper case and each once: SASL mechanisms, and POP3's USER as `USER`.
    #[must_use]
    pub fn auth(&self, protocol: Protocol) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut add = |names: &str| {
            for name in names.split_ascii_whitespace().map(str::to_ascii_uppercase) {
                if !found.contains(&name) {
                    found.push(name);
                }
            }
        };
        for item in &self.items {
            let keyword = item.keyword.as_str();
            match protocol {
                Protocol::Smtp | Protocol::Lmtp => {
                    // `AUTH=LOGIN PLAIN` is what servers wrote before RFC 2554, and some still do.
                    if let Some(first) = keyword.strip_prefix("AUTH=") {
                        add(first);
                        add(&item.arguments);
                    } else if keyword == "AUTH" {
                        add(&item.arguments);
                    }
                }
                Protocol::Imap => add(keyword.strip_prefix("AUTH=").unwrap_or_default()),
                Protocol::Pop3 if keyword == "USER" => add(keyword),
                Protocol::Pop3 | Protocol::Sieve if keyword == "SASL" => add(&item.arguments),
                Protocol::Pop3 | Protocol::Sieve => {}
            }
        }
        found
    }

    /// Whether an IMAP server forbids LOGIN here (RFC 9051 §6.2.3).
    #[must_use]
    pub fn login_disabled(&self) -> bool {
        self.has("LOGINDISABLED")
    }

    /// The keywords in the server's order.
    pub fn keywords(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| item.keyword.as_str())
    }
}

/// Reads the list in a reply to EHLO, LHLO, CAPABILITY or CAPA, or in an IMAP or ManageSieve greeting.
///
/// A refusal, or a reply without a list, gives an empty one; a reply that was broken off gives
/// what had arrived.
///
/// ```
/// use hoofbeat_session::{Protocol, capabilities};
/// let list = capabilities(Protocol::Smtp, b"250-mx Hello\r\n250-SIZE 1000\r\n250 starttls\r\n");
/// assert!(list.offers_starttls(Protocol::Smtp));
/// assert_eq!(list.keywords().collect::<Vec<_>>(), ["SIZE", "STARTTLS"]);
/// ```
#[must_use]
pub fn capabilities(protocol: Protocol, bytes: &[u8]) -> Capabilities {
    let reply = reply::read(protocol, Label::Capabilities, bytes);
    match protocol {
        Protocol::Smtp | Protocol::Lmtp => smtp::capability::read(bytes, &reply),
        Protocol::Imap => imap::capability::read(bytes, &reply),
        Protocol::Pop3 => pop3::capability::read(bytes, &reply),
        Protocol::Sieve => sieve::capability::read(bytes, &reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{borrow::ToOwned, vec};

    fn read(protocol: Protocol, bytes: &[u8]) -> (Vec<String>, Vec<String>, bool) {
        let list = capabilities(protocol, bytes);
        for item in &list.items {
            assert!(
                upper(item.range.of(bytes)).contains(&item.keyword),
                "the range holds the item"
            );
        }
        (
            list.keywords().map(ToOwned::to_owned).collect(),
            list.auth(protocol),
            list.offers_starttls(protocol),
        )
    }

    #[test]
    fn every_protocol_lists() {
        for (protocol, bytes, keywords, auth, offered) in [
            (Protocol::Smtp, &b"250-mx\r\n250-XXXXXXXA\r\n250-AUTH=LOGIN\r\n250 AUTH PLAIN login\r\n"[..], vec!["XXXXXXXA", "AUTH=LOGIN", "AUTH"], vec!["LOGIN", "PLAIN"], false),
            (Protocol::Lmtp, b"250-mx\n250 STARTTLS\n", vec!["STARTTLS"], vec![], true),
            (Protocol::Smtp, b"250 STARTTLS\r\n", vec![], vec![], false),
            (Protocol::Smtp, b"250-mx\r\n250 STARTTLSX\r\n", vec!["STARTTLSX"], vec![], false),
            (Protocol::Smtp, b"502 STARTTLS\r\n", vec![], vec![], false),
            (Protocol::Imap, b"* OK [CAPABILITY IMAP4rev1 StartTLS LOGINDISABLED] hi\r\n", vec!["IMAP4REV1", "STARTTLS", "LOGINDISABLED"], vec![], true),
            (Protocol::Imap, b"* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN \r\nh1 OK done\r\n", vec!["IMAP4REV1", "AUTH=PLAIN", "AUTH=LOGIN"], vec!["PLAIN", "LOGIN"], false),
            (Protocol::Pop3, b"+OK\r\nSTLS\r\nSASL PLAIN\r\nUSER\r\n.\r\n", vec!["STLS", "SASL", "USER"], vec!["PLAIN", "USER"], true),
            (Protocol::Pop3, b"-ERR\r\n", vec![], vec![], false),
            (Protocol::Sieve, b"\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"PLAIN LOGIN\"\r\n\"STARTTLS\"\r\nOK \"hi\"\r\n", vec!["IMPLEMENTATION", "SASL", "STARTTLS"], vec!["PLAIN", "LOGIN"], true),
        ] {
            let found = read(protocol, bytes);
            assert_eq!((found.0, found.1, found.2), (keywords.into_iter().map(ToOwned::to_owned).collect(), auth.into_iter().map(ToOwned::to_owned).collect(), offered), "{bytes:?}");
        }
    }

    #[test]
    fn the_greeting_line_offers_nothing() {
        let bytes = b"250-STARTTLS.example.org\r\n250 HELP\r\n";
        let list = capabilities(Protocol::Smtp, bytes);
        assert_eq!(list.first_line.unwrap().of(bytes), b"STARTTLS.example.org");
        assert!(
            capabilities(Protocol::Imap, b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n")
                .login_disabled()
        );
    }
}
