//! What the witness answers to a line of SMTP (RFC 5321, 3207), IMAP (RFC 9051) or POP3 (RFC 1939, 2449, 2595): an honest
//! server with TLS, and nothing behind it.
//!
//! It takes no mail, knows no users and relays nothing. No sockets here: lines in, answers out.

use hoofbeat_session::Protocol;

use super::wording::Wording;

/// Refused and unknown commands of one connection; the one behind them ends it. The tests need five.
const MOST_REFUSALS: u8 = 12;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// These bytes.
    Reply(Vec<u8>),
    /// These bytes, which are a capability list.
    Capabilities(Vec<u8>),
    /// These bytes; then TLS.
    StartTls(Vec<u8>),
    /// These bytes; then close.
    Goodbye(Vec<u8>),
}

/// One connection's state.
#[derive(Debug, Clone)]
pub struct Mail {
    protocol: Protocol,
    name: String,
    in_tls: bool,
    refusals: u8,
    lists: u32,
}

impl Mail {
    /// A connection in the clear; `name` is how the server calls itself.
    #[must_use]
    pub const fn new(protocol: Protocol, name: String) -> Self {
        Self {
            protocol,
            name,
            in_tls: false,
            refusals: 0,
            lists: 0,
        }
    }

    /// The first words.
    #[must_use]
    pub fn greeting(&self) -> Vec<u8> {
        let name = &self.name;
        match self.protocol {
            Protocol::Imap => format!("* OK {name} IMAP4rev1 witness ready\r\n"),
            Protocol::Pop3 => format!("+OK {name} POP3 witness ready\r\n"),
            _ => format!("220 {name} ESMTP witness, takes no mail\r\n"),
        }
        .into_bytes()
    }

    /// The words for one who cannot be served.
    #[must_use]
    pub fn turned_away(&self, why: &str) -> Vec<u8> {
        match self.protocol {
            Protocol::Imap => format!("* BYE {why}\r\n"),
            Protocol::Pop3 => format!("-ERR [SYS/TEMP] {why}\r\n"),
            _ => format!("421 4.7.0 {} {why}\r\n", self.name),
        }
        .into_bytes()
    }

    /// TLS is up: everything begins anew, without a greeting.
    pub const fn upgraded(&mut self) {
        self.in_tls = true;
        self.lists = 0;
    }

    /// Answers a line, given with or without its end.
    pub fn hear(&mut self, line: &[u8], wording: &Wording) -> Say {
        let text = String::from_utf8_lossy(line);
        let say = match self.protocol {
            Protocol::Imap => self.imap(text.trim_end(), wording),
            Protocol::Pop3 => self.pop3(text.trim_end(), wording),
            _ => self.smtp(text.trim_end(), wording),
        };
        let is_refusal = matches!(&say, Say::Reply(reply) if refuses(self.protocol, reply));
        if is_refusal {
            self.refusals += 1;
        }
        if self.refusals > MOST_REFUSALS {
            return Say::Goodbye(self.turned_away("too many errors"));
        }
        say
    }

    fn keywords(&mut self, usual: &[&str], upgrade: &str, wording: &Wording) -> Vec<String> {
        let upgrade = Some(upgrade).filter(|_| !self.in_tls);
        let keywords = wording.keywords(usual, upgrade, self.lists);
        self.lists = self.lists.wrapping_add(1);
        keywords
    }

    fn smtp(&mut self, line: &str, wording: &Wording) -> Say {
        let (verb, rest) = split(line);
        let reply = |text: &str| Say::Reply(format!("{text}\r\n").into_bytes());
        match verb.as_str() {
            "EHLO" | "HELO" if rest.is_empty() => reply("501 5.5.4 a name is missing"),
            "EHLO" => {
                let usual = ["PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8"];
                let keywords = self.keywords(&usual, "STARTTLS", wording);
                let mut list = format!("250-{}\r\n", self.name);
                let last = keywords.len().saturating_sub(1);
                for (number, keyword) in keywords.iter().enumerate() {
                    let between = if number == last { ' ' } else { '-' };
                    list += &format!("250{between}{keyword}\r\n");
                }
                Say::Capabilities(list.into_bytes())
            }
            "HELO" => reply(&format!("250 {}", self.name)),
            "STARTTLS" if !rest.is_empty() => reply("501 5.5.4 STARTTLS takes no argument"),
            "STARTTLS" if self.in_tls => reply("503 5.5.1 TLS is up"),
            "STARTTLS" => Say::StartTls(b"220 2.0.0 ready for TLS\r\n".to_vec()),
            // Here the word is no keyword: who masks it masks without reading.
            "NOOP" => reply("250 2.0.0 STARTTLS is but a word here"),
            "RSET" => reply("250 2.0.0 nothing to forget"),
            "QUIT" => Say::Goodbye(b"221 2.0.0 goodbye\r\n".to_vec()),
            "MAIL" | "RCPT" | "DATA" | "BDAT" => {
                reply("550 5.7.1 this server takes no mail, it only tells what it saw")
            }
            "AUTH" => reply("502 5.5.1 nobody logs in here"),
            "VRFY" | "EXPN" | "HELP" => reply("502 5.5.1 not implemented"),
            _ => reply("500 5.5.2 command not recognized"),
        }
    }

    fn imap(&mut self, line: &str, wording: &Wording) -> Say {
        let (tag, rest) = line.split_once(' ').unwrap_or((line, ""));
        let good = !tag.is_empty()
            && tag.len() <= 64
            && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !good {
            return Say::Reply(b"* BAD that is no tag\r\n".to_vec());
        }
        // A literal would have to be read, and there is nothing that it could be for.
        if rest.ends_with('}') {
            return Say::Goodbye(
                format!("* BYE literals are not taken\r\n{tag} BAD no\r\n").into_bytes(),
            );
        }
        let (verb, rest) = split(rest);
        let reply = |text: &str| Say::Reply(format!("{tag} {text}\r\n").into_bytes());
        match verb.as_str() {
            "CAPABILITY" => {
                let usual = ["LOGINDISABLED", "ID"];
                let keywords = self.keywords(&usual, "STARTTLS", wording).join(" ");
                let list = format!("* CAPABILITY IMAP4rev1 {keywords}\r\n{tag} OK that is all\r\n");
                Say::Capabilities(list.into_bytes())
            }
            "STARTTLS" if !rest.is_empty() => reply("BAD STARTTLS takes no argument"),
            "STARTTLS" if self.in_tls => reply("BAD TLS is up"),
            "STARTTLS" => Say::StartTls(format!("{tag} OK begin TLS\r\n").into_bytes()),
            "NOOP" => reply("OK STARTTLS is but a word here"),
            "ID" => Say::Reply(format!("* ID NIL\r\n{tag} OK\r\n").into_bytes()),
            "LOGOUT" => Say::Goodbye(format!("* BYE goodbye\r\n{tag} OK\r\n").into_bytes()),
            "LOGIN" | "AUTHENTICATE" => reply("NO [PRIVACYREQUIRED] nobody logs in here"),
            _ => reply("BAD command not recognized"),
        }
    }

    fn pop3(&mut self, line: &str, wording: &Wording) -> Say {
        let (verb, rest) = split(line);
        let reply = |text: &str| Say::Reply(format!("{text}\r\n").into_bytes());
        match verb.as_str() {
            "CAPA" => {
                let keywords =
                    self.keywords(&["UIDL", "RESP-CODES", "PIPELINING"], "STLS", wording);
                let list = format!("+OK my list\r\n{}\r\n.\r\n", keywords.join("\r\n"));
                Say::Capabilities(list.into_bytes())
            }
            "STLS" if !rest.is_empty() => reply("-ERR STLS takes no argument"),
            "STLS" if self.in_tls => reply("-ERR TLS is up"),
            "STLS" => Say::StartTls(b"+OK begin TLS\r\n".to_vec()),
            "QUIT" => Say::Goodbye(b"+OK goodbye\r\n".to_vec()),
            "USER" | "PASS" | "APOP" | "AUTH" => reply("-ERR [SYS/PERM] nobody logs in here"),
            _ => reply("-ERR command not recognized"),
        }
    }
}

/// Verb in upper case, and the rest.
fn split(text: &str) -> (String, &str) {
    let (verb, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (verb.to_ascii_uppercase(), rest.trim())
}

fn refuses(protocol: Protocol, reply: &[u8]) -> bool {
    match protocol {
        Protocol::Imap => {
            let word = reply.split(|byte| *byte == b' ').nth(1);
            matches!(word, Some(b"NO" | b"BAD"))
        }
        Protocol::Pop3 => reply.starts_with(b"-"),
        _ => reply.starts_with(b"5"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heard(protocol: Protocol, line: &str) -> Say {
        let mut mail = Mail::new(protocol, "witness.example".into());
        mail.hear(line.as_bytes(), &Wording::new([0; 5]))
    }

    fn text(say: &Say) -> String {
        let (Say::Reply(bytes)
        | Say::Capabilities(bytes)
        | Say::StartTls(bytes)
        | Say::Goodbye(bytes)) = say;
        String::from_utf8(bytes.clone()).unwrap()
    }

    #[test]
    fn what_each_protocol_offers() {
        for (protocol, line, offer) in [
            (Protocol::Smtp, "ehlo me\r\n", "250-STARTTLS\r\n"),
            (Protocol::Imap, "a CAPABILITY\r\n", " STARTTLS "),
            (Protocol::Pop3, "CAPA\r\n", "\r\nSTLS\r\n"),
        ] {
            let list = heard(protocol, line);
            assert!(matches!(list, Say::Capabilities(_)));
            assert!(
                text(&list).contains(offer) && text(&list).contains("XCANARY-00000000"),
                "{list:?}"
            );
            let mut inside = Mail::new(protocol, "w".into());
            inside.upgraded();
            assert!(
                !text(&inside.hear(line.as_bytes(), &Wording::new([0; 5]))).contains(offer.trim())
            );
        }
        for (protocol, line) in [
            (Protocol::Smtp, "StartTLS\r\n"),
            (Protocol::Imap, "x1 starttls\r\n"),
            (Protocol::Pop3, "stls\n"),
        ] {
            assert!(matches!(heard(protocol, line), Say::StartTls(_)));
        }
    }

    #[test]
    fn no_mail_no_users() {
        for line in [
            "MAIL FROM:<a@b>",
            "RCPT TO:<a@b>",
            "DATA",
            "BDAT 3 LAST",
            "AUTH PLAIN AGE=",
            "VRFY root",
            "XXXXXXXX",
            "",
        ] {
            assert!(
                text(&heard(Protocol::Smtp, line)).starts_with('5'),
                "{line}"
            );
        }
        for line in ["a LOGIN b c", "a AUTHENTICATE PLAIN", "a SELECT INBOX"] {
            assert!(refuses(
                Protocol::Imap,
                text(&heard(Protocol::Imap, line)).as_bytes()
            ));
        }
        for line in ["USER a", "PASS b", "APOP a b", "AUTH", "RETR 1", "NOOP"] {
            assert!(text(&heard(Protocol::Pop3, line)).starts_with('-'));
        }
        assert!(matches!(
            heard(Protocol::Imap, "a LOGIN {3}"),
            Say::Goodbye(_)
        ));
    }

    #[test]
    fn patience_ends() {
        let mut mail = Mail::new(Protocol::Smtp, "w".into());
        let wording = Wording::new([0; 5]);
        let ended = (0..100).position(|_| matches!(mail.hear(b"WHAT", &wording), Say::Goodbye(_)));
        assert_eq!(ended, Some(usize::from(MOST_REFUSALS)));
    }

    proptest! {
        #[test]
        fn every_line_is_answered_with_whole_lines(lines in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
            for protocol in [Protocol::Smtp, Protocol::Imap, Protocol::Pop3] {
                let mut mail = Mail::new(protocol, "w".into());
                for line in &lines {
                    prop_assert!(text(&mail.hear(line, &Wording::new([1; 5]))).ends_with("\r\n"));
                }
            }
        }
    }
}
