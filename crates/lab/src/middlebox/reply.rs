//! How a proxying box cuts a server's stream into greetings and replies, for each protocol, and finds the capability
//! words in them. It must not know what any box wants. RFC 5321 §4.2, 9051 §2.2, 1939 §3, 5804 §1.

use crate::protocol::Protocol;

/// A reply that grows beyond this is passed on as it is, unread.
const REPLY_LIMIT: usize = 256 * 1024;

/// A command as a box read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The verb in upper case.
    pub verb: String,
    /// IMAP: the tag.
    pub tag: String,
}

impl Asked {
    /// Reads one command line without its end.
    pub fn read(protocol: Protocol, line: &[u8]) -> Self {
        let text = String::from_utf8_lossy(line);
        let mut words = text.split_whitespace();
        let tag = match protocol {
            Protocol::Imap => words.next().unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        Self {
            verb: words.next().unwrap_or_default().to_ascii_uppercase(),
            tag,
        }
    }

    /// Whether it asks to start TLS.
    pub fn starts_tls(&self) -> bool {
        matches!(self.verb.as_str(), "STARTTLS" | "STLS")
    }

    /// Whether its reply lists capabilities.
    pub fn lists_capabilities(&self) -> bool {
        matches!(self.verb.as_str(), "EHLO" | "LHLO" | "CAPABILITY" | "CAPA")
    }
}

/// Takes the first whole reply (to `asked`, or a greeting) out of `buffer`.
///
/// IMAP yields line by line until the tagged one; what is yielded is whole lines in any case.
pub fn take(protocol: Protocol, asked: Option<&Asked>, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut end = 0;
    let mut first = true;
    while let Some(length) = buffer.get(end..)?.iter().position(|&byte| byte == b'\n') {
        let line = buffer.get(end..end + length)?;
        let done = ends(protocol, asked, line, first);
        end += length + 1;
        first = false;
        if done {
            return Some(buffer.drain(..end).collect());
        }
    }
    (buffer.len() > REPLY_LIMIT).then(|| std::mem::take(buffer))
}

fn ends(protocol: Protocol, asked: Option<&Asked>, line: &[u8], first: bool) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match protocol {
        Protocol::Smtp | Protocol::Lmtp => line.get(3) != Some(&b'-'),
        Protocol::Pop3 => {
            let long = asked.is_some_and(|asked| asked.verb == "CAPA");
            if first {
                !(long && line.starts_with(b"+OK"))
            } else {
                line == b"."
            }
        }
        Protocol::Imap => match asked {
            None => true,
            Some(asked) => {
                line.starts_with(b"+")
                    || line.split(|&byte| byte == b' ').next() == Some(asked.tag.as_bytes())
            }
        },
        Protocol::Sieve => {
            let word = line.split(|&byte| byte == b' ').next().unwrap_or_default();
            [&b"OK"[..], b"NO", b"BYE"]
                .iter()
                .any(|end| word.eq_ignore_ascii_case(end))
        }
    }
}

/// Whether the reply asks the client to go on (354, 334, `+`), so that its next line is no command.
pub fn continues(protocol: Protocol, reply: &[u8]) -> bool {
    match protocol {
        Protocol::Smtp | Protocol::Lmtp => reply.starts_with(b"334") || reply.starts_with(b"354"),
        Protocol::Imap => reply.starts_with(b"+"),
        Protocol::Pop3 => reply.starts_with(b"+ "),
        Protocol::Sieve => false,
    }
}

/// Whether this reply agrees to start TLS.
pub fn agrees(protocol: Protocol, asked: &Asked, reply: &[u8]) -> bool {
    let last = reply
        .split(|&byte| byte == b'\n')
        .rfind(|line| !line.is_empty())
        .unwrap_or_default();
    let positive = match protocol {
        Protocol::Smtp | Protocol::Lmtp => last.starts_with(b"220"),
        Protocol::Pop3 => reply.starts_with(b"+OK"),
        Protocol::Imap => last
            .strip_prefix(asked.tag.as_bytes())
            .is_some_and(|rest| rest.to_ascii_uppercase().starts_with(b" OK")),
        Protocol::Sieve => last.to_ascii_uppercase().starts_with(b"OK"),
    };
    asked.starts_tls() && positive
}

/// Rewrites the capability words of a reply: `edit` gets the list and may change it.
///
/// `asked` is `None` for a greeting. Replies without a capability list come back as they are.
pub fn edit_capabilities(
    protocol: Protocol,
    asked: Option<&Asked>,
    reply: Vec<u8>,
    edit: &mut dyn FnMut(&mut Vec<String>),
) -> Vec<u8> {
    let lists = asked.is_some_and(Asked::lists_capabilities);
    match protocol {
        Protocol::Smtp | Protocol::Lmtp if lists && reply.starts_with(b"250") => {
            smtp_list(&reply, edit)
        }
        Protocol::Pop3 if lists && reply.starts_with(b"+OK") => pop3_list(&reply, edit),
        Protocol::Imap => imap_list(&reply, edit),
        Protocol::Sieve => sieve_list(&reply, edit),
        _ => reply,
    }
}

fn text_lines(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(reply);
    text.lines().map(str::to_owned).collect()
}

fn smtp_list(reply: &[u8], edit: &mut dyn FnMut(&mut Vec<String>)) -> Vec<u8> {
    let lines = text_lines(reply);
    let text = |line: &String| line.get(4..).unwrap_or_default().to_owned();
    let Some(domain) = lines.first().map(text) else {
        return reply.to_vec();
    };
    let mut words: Vec<String> = lines.iter().skip(1).map(text).collect();
    edit(&mut words);
    let mut out = String::new();
    for (at, word) in std::iter::once(&domain).chain(&words).enumerate() {
        let mark = if at == words.len() { ' ' } else { '-' };
        out.push_str(&format!("250{mark}{word}\r\n"));
    }
    out.into_bytes()
}

fn pop3_list(reply: &[u8], edit: &mut dyn FnMut(&mut Vec<String>)) -> Vec<u8> {
    let lines = text_lines(reply);
    let Some(status) = lines.first() else {
        return reply.to_vec();
    };
    let mut words: Vec<String> = lines
        .iter()
        .skip(1)
        .take_while(|line| line.as_str() != ".")
        .cloned()
        .collect();
    edit(&mut words);
    let mut out = format!("{status}\r\n");
    for word in words {
        out.push_str(&format!("{word}\r\n"));
    }
    out.push_str(".\r\n");
    out.into_bytes()
}

fn imap_list(reply: &[u8], edit: &mut dyn FnMut(&mut Vec<String>)) -> Vec<u8> {
    let mut out = String::new();
    for line in text_lines(reply) {
        out.push_str(&imap_line(&line, edit));
        out.push_str("\r\n");
    }
    out.into_bytes()
}

fn imap_line(line: &str, edit: &mut dyn FnMut(&mut Vec<String>)) -> String {
    let split = |list: &str| {
        list.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    if let Some(list) = line.strip_prefix("* CAPABILITY ") {
        let mut words = split(list);
        edit(&mut words);
        return format!("* CAPABILITY {}", words.join(" "));
    }
    if let Some((before, rest)) = line.split_once("[CAPABILITY ")
        && let Some((list, after)) = rest.split_once(']')
    {
        let mut words = split(list);
        edit(&mut words);
        return format!("{before}[CAPABILITY {}]{after}", words.join(" "));
    }
    line.to_owned()
}

fn sieve_list(reply: &[u8], edit: &mut dyn FnMut(&mut Vec<String>)) -> Vec<u8> {
    let lines = text_lines(reply);
    let is_word = |line: &&String| line.starts_with('"');
    if !lines.iter().any(|line| is_word(&line)) {
        return reply.to_vec();
    }
    // The words keep their arguments and lose the quotes of the first token only while they are edited.
    let mut words: Vec<String> = lines
        .iter()
        .filter(is_word)
        .map(|line| line.strip_prefix('"').unwrap_or(line).replacen('"', "", 1))
        .collect();
    edit(&mut words);
    let mut out = String::new();
    for word in words {
        let (name, rest) = match word.split_once(' ') {
            Some((name, rest)) => (name, format!(" {rest}")),
            None => (word.as_str(), String::new()),
        };
        out.push_str(&format!("\"{name}\"{rest}\r\n"));
    }
    for line in lines.iter().filter(|line| !is_word(line)) {
        out.push_str(&format!("{line}\r\n"));
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(verb: &str, tag: &str) -> Asked {
        Asked {
            verb: verb.into(),
            tag: tag.into(),
        }
    }

    #[test]
    fn replies_are_cut_where_each_protocol_ends_them() {
        let mut smtp = b"250-a\r\n250 b\r\n220 c".to_vec();
        assert_eq!(
            take(Protocol::Smtp, None, &mut smtp).as_deref(),
            Some(&b"250-a\r\n250 b\r\n"[..])
        );
        assert_eq!(take(Protocol::Smtp, None, &mut smtp), None);
        let mut pop = b"+OK\r\nSTLS\r\n.\r\n+OK go\r\n".to_vec();
        assert_eq!(
            take(Protocol::Pop3, Some(&asked("CAPA", "")), &mut pop).as_deref(),
            Some(&b"+OK\r\nSTLS\r\n.\r\n"[..])
        );
        assert_eq!(
            take(Protocol::Pop3, Some(&asked("STLS", "")), &mut pop).as_deref(),
            Some(&b"+OK go\r\n"[..])
        );
        let mut imap = b"* CAPABILITY A\r\na1 OK\r\n".to_vec();
        assert_eq!(
            take(Protocol::Imap, Some(&asked("CAPABILITY", "a1")), &mut imap).as_deref(),
            Some(&b"* CAPABILITY A\r\na1 OK\r\n"[..])
        );
        let mut sieve = b"\"SASL\" \"\"\r\nOK \"x\"\r\n".to_vec();
        assert!(take(Protocol::Sieve, None, &mut sieve).is_some() && sieve.is_empty());
    }

    #[test]
    fn capability_words_are_edited_in_every_protocol() {
        let mut drop =
            |words: &mut Vec<String>| words.retain(|word| word != "STARTTLS" && word != "STLS");
        let ehlo = asked("EHLO", "");
        assert_eq!(
            edit_capabilities(
                Protocol::Smtp,
                Some(&ehlo),
                b"250-h\r\n250-SIZE 1\r\n250 STARTTLS\r\n".to_vec(),
                &mut drop
            ),
            b"250-h\r\n250 SIZE 1\r\n"
        );
        assert_eq!(
            edit_capabilities(
                Protocol::Imap,
                None,
                b"* OK [CAPABILITY A STARTTLS B] hi\r\n".to_vec(),
                &mut drop
            ),
            b"* OK [CAPABILITY A B] hi\r\n"
        );
        assert_eq!(
            edit_capabilities(
                Protocol::Pop3,
                Some(&asked("CAPA", "")),
                b"+OK\r\nSTLS\r\nUIDL\r\n.\r\n".to_vec(),
                &mut drop
            ),
            b"+OK\r\nUIDL\r\n.\r\n"
        );
        assert_eq!(
            edit_capabilities(
                Protocol::Sieve,
                None,
                b"\"SASL\" \"\"\r\n\"STARTTLS\"\r\nOK \"x\"\r\n".to_vec(),
                &mut drop
            ),
            b"\"SASL\" \"\"\r\nOK \"x\"\r\n"
        );
    }

    #[test]
    fn only_a_positive_answer_to_starttls_agrees() {
        let smtp = asked("STARTTLS", "");
        assert!(agrees(Protocol::Smtp, &smtp, b"220 go\r\n"));
        assert!(!agrees(Protocol::Smtp, &smtp, b"454 no\r\n"));
        assert!(!agrees(Protocol::Smtp, &asked("NOOP", ""), b"220 go\r\n"));
        assert!(agrees(
            Protocol::Imap,
            &asked("STARTTLS", "a"),
            b"* OK x\r\na OK go\r\n"
        ));
        assert!(!agrees(
            Protocol::Imap,
            &asked("STARTTLS", "a"),
            b"a BAD no\r\n"
        ));
    }
}
