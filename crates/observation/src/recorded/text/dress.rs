//! What a line wears in front of the words that were said: marks, quotes, numbers, times.
//!
//! It must not know dialogues: it undresses one line and says whose mark it wore.

use hoofbeat_session::{Direction, Layer};

use super::form::Form;

/// A line without its dress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dressed<'a> {
    /// What was said.
    pub(super) text: &'a str,
    /// Whose mark it wore.
    pub(super) who: Option<Direction>,
    /// The mark can mean nothing else; `> ` alone may also be a quotation.
    pub(super) sure: bool,
    /// The mark tells the layer.
    pub(super) layer: Option<Layer>,
    /// The mark belongs to one form.
    pub(super) form: Option<Form>,
}

use Direction::{ToClient, ToServer};

/// Marks of swaks, at the very beginning of a line.
const SWAKS: [(&str, Direction, Layer); 8] = [
    ("<-  ", ToClient, Layer::Plain),
    ("<** ", ToClient, Layer::Plain),
    ("<~  ", ToClient, Layer::Tls),
    ("<~* ", ToClient, Layer::Tls),
    (" -> ", ToServer, Layer::Plain),
    (" ~> ", ToServer, Layer::Tls),
    ("**> ", ToServer, Layer::Plain),
    ("*~> ", ToServer, Layer::Tls),
];

/// Marks that stand in front of what was said: text, side, whether it is sure, and its form.
const MARKS: [(&str, Direction, bool, Option<Form>); 31] = [
    ("SERVER -> CLIENT: ", ToClient, true, Some(Form::Marked)),
    ("CLIENT -> SERVER: ", ToServer, true, Some(Form::Marked)),
    ("SMTP<< ", ToClient, true, Some(Form::EximLog)),
    ("SMTP>> ", ToServer, true, Some(Form::EximLog)),
    ("SMTP<<", ToClient, true, Some(Form::EximLog)),
    ("SMTP>>", ToServer, true, Some(Form::EximLog)),
    ("server: ", ToClient, true, Some(Form::Marked)),
    ("client: ", ToServer, true, Some(Form::Marked)),
    ("Server: ", ToClient, true, Some(Form::Marked)),
    ("Client: ", ToServer, true, Some(Form::Marked)),
    ("SERVER: ", ToClient, true, Some(Form::Marked)),
    ("CLIENT: ", ToServer, true, Some(Form::Marked)),
    ("reply: ", ToClient, true, Some(Form::Marked)),
    ("send: ", ToServer, true, Some(Form::Marked)),
    ("[S] ", ToClient, true, Some(Form::Marked)),
    ("[C] ", ToServer, true, Some(Form::Marked)),
    ("S: ", ToClient, true, Some(Form::Marked)),
    ("C: ", ToServer, true, Some(Form::Marked)),
    ("S> ", ToClient, true, Some(Form::Marked)),
    ("C> ", ToServer, true, Some(Form::Marked)),
    ("<-- ", ToClient, true, Some(Form::Msmtp)),
    ("--> ", ToServer, true, Some(Form::Msmtp)),
    ("<<< ", ToClient, true, None),
    (">>> ", ToServer, false, None),
    ("<< ", ToClient, true, None),
    (">> ", ToServer, false, None),
    ("<- ", ToClient, true, None),
    ("-> ", ToServer, false, None),
    ("~> ", ToServer, false, None),
    ("< ", ToClient, true, None),
    ("> ", ToServer, false, None),
];

/// Marks that are also looked for behind a logger's own prefix.
const INNER: [&str; 6] = [
    " S: ",
    " C: ",
    "<<< ",
    ">>> ",
    " SERVER -> CLIENT: ",
    " CLIENT -> SERVER: ",
];

/// Most layers of dress: quoted twice, numbered, with date and time, is five.
const LAYERS: usize = 8;

/// Takes the dress off.
pub(super) fn undress(line: &str) -> Dressed<'_> {
    let mut dressed = Dressed {
        text: line.trim_end(),
        who: None,
        sure: false,
        layer: None,
        form: None,
    };
    for (mark, who, layer) in SWAKS {
        if let Some(text) = dressed.text.strip_prefix(mark) {
            return Dressed {
                text,
                who: Some(who),
                sure: true,
                layer: Some(layer),
                form: Some(Form::Swaks),
            };
        }
    }
    for _ in 0..LAYERS {
        dressed.text = dressed.text.trim_start();
        if let Some((text, who, sure, form)) = mark(dressed.text) {
            dressed = Dressed {
                text,
                who: Some(who),
                sure,
                layer: None,
                form: form.or(dressed.form),
            };
            if sure {
                break;
            }
        } else if let Some(text) = behind_prefix(dressed.text) {
            dressed.text = text;
        } else {
            break;
        }
    }
    if dressed.who.is_none()
        && let Some(inner) = behind_inner_mark(dressed.text)
    {
        return inner;
    }
    dressed.text = unquoted(dressed.text.trim());
    dressed
}

fn mark(text: &str) -> Option<(&str, Direction, bool, Option<Form>)> {
    // Most lines of most files begin with none of these.
    let first = *text.as_bytes().first()?;
    if !matches!(
        first,
        b'S' | b'C' | b's' | b'c' | b'r' | b'[' | b'<' | b'>' | b'-' | b'~' | b'0'..=b'9'
    ) {
        return None;
    }
    if first.is_ascii_digit() {
        // mutt: `4< * OK`, `5> a0001 CAPABILITY`.
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let rest = text.get(digits..)?;
        return if let Some(said) = rest.strip_prefix("< ") {
            Some((said, ToClient, true, Some(Form::Marked)))
        } else {
            rest.strip_prefix("> ")
                .map(|said| (said, ToServer, true, Some(Form::Marked)))
        };
    }
    if let Some(said) = text.strip_prefix("S:")
        && said.starts_with(|c: char| c.is_ascii_digit())
    {
        return Some((said, ToClient, true, Some(Form::Marked)));
    }
    MARKS.iter().find_map(|(mark, who, sure, form)| {
        let said = text
            .strip_prefix(mark)
            .or_else(|| (text == mark.trim_end()).then_some(""))?;
        // A lone `>` is an empty quotation, not a client's word.
        (!said.is_empty() || *sure).then_some((said, *who, *sure, *form))
    })
}

/// The text behind a time, a date, a line number, a bracket that holds one, or a quoting bar.
fn behind_prefix(text: &str) -> Option<&str> {
    match *text.as_bytes().first()? {
        b'[' => {
            let (inside, rest) = text.get(1..)?.split_once(']')?;
            (inside.len() <= 40
                && inside.bytes().any(|b| b.is_ascii_digit())
                && inside.parse::<core::net::IpAddr>().is_err())
            .then(|| rest.trim_start_matches(':'))
        }
        b'|' => text.strip_prefix("| "),
        b'p' => text.strip_prefix("posttls-finger: "),
        b'0'..=b'9' => {
            let end = text.find([' ', '\t'])?;
            let (token, rest) = text.split_at(end);
            (is_time(token) || is_date(token) || is_line_number(token, rest)).then_some(rest)
        }
        _ => None,
    }
}

fn is_time(token: &str) -> bool {
    token.len() >= 5
        && token.bytes().any(|b| b == b':')
        && token.bytes().filter(u8::is_ascii_digit).count() >= 4
        && token.bytes().all(|b| {
            b.is_ascii_digit() || matches!(b, b':' | b'.' | b',' | b'-' | b'+' | b'T' | b'Z' | b'/')
        })
        && token.parse::<core::net::IpAddr>().is_err()
        && !token.ends_with(['.', '-'])
}

fn is_date(token: &str) -> bool {
    (8..=10).contains(&token.len())
        && token.bytes().filter(|b| matches!(b, b'-' | b'/')).count() == 2
        && token
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'/'))
}

/// `12:`, `12.`, `12)`, `12|`; or a number and a tabulator, as `cat -n` writes it.
fn is_line_number(token: &str, rest: &str) -> bool {
    let digits = token.trim_end_matches([':', '.', ')', '|']);
    digits.len() <= 6
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (token.len() == digits.len() + 1
            || (token.len() == digits.len() && rest.starts_with('\t')))
}

fn behind_inner_mark(text: &str) -> Option<Dressed<'_>> {
    // Most lines have none of the characters that every mark has.
    memchr::memchr3(b':', b'<', b'>', text.as_bytes())?;
    INNER.iter().find_map(|inner| {
        let at = text.find(inner)?;
        let (text, who, _, form) = mark(text.get(at..)?.trim_start())?;
        Some(Dressed {
            text: unquoted(text.trim()),
            who: Some(who),
            sure: true,
            layer: None,
            form: form.or(Some(Form::Marked)),
        })
    })
}

/// Python's smtplib prints what it says as literals: `b'250-mx\r\n'`.
fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('b').unwrap_or(text);
    for quote in ['\'', '"'] {
        if let Some(inner) = inner
            .strip_prefix(quote)
            .and_then(|inner| inner.strip_suffix(quote))
            && let Some(said) = inner
                .strip_suffix("\\r\\n")
                .or_else(|| inner.strip_suffix("\\n"))
        {
            return said;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dress_comes_off() {
        for (line, text, who) in [
            ("<-  220 mx ESMTP", "220 mx ESMTP", Some(ToClient)),
            (" -> EHLO a", "EHLO a", Some(ToServer)),
            (" ~> EHLO a", "EHLO a", Some(ToServer)),
            ("S: 220 mx", "220 mx", Some(ToClient)),
            ("S:220 mx", "220 mx", Some(ToClient)),
            ("> > 220 mx", "220 mx", Some(ToServer)),
            ("> S: 220 mx", "220 mx", Some(ToClient)),
            ("12: 220 mx", "220 mx", None),
            ("   12\t220 mx", "220 mx", None),
            ("[10:11:12.345] S: 220 mx", "220 mx", Some(ToClient)),
            ("2024-01-02 10:11:12,345 220 mx", "220 mx", None),
            (
                "[2024-01-02 10:11:12] 4< * OK hi",
                "* OK hi",
                Some(ToClient),
            ),
            ("<-- 220 mx", "220 mx", Some(ToClient)),
            ("  SMTP>> EHLO a", "EHLO a", Some(ToServer)),
            (
                "send: 'ehlo [127.0.0.1]\\r\\n'",
                "ehlo [127.0.0.1]",
                Some(ToServer),
            ),
            ("reply: b'250-SIZE 10\\r\\n'", "250-SIZE 10", Some(ToClient)),
            ("Net::SMTP=GLOB(0x55)<<< 220 mx", "220 mx", Some(ToClient)),
            (
                "2024-01-02 10:11:12.3 UTC - [Parent 1: Main Thread]: D/SMTP 0x1 C: EHLO a",
                "EHLO a",
                Some(ToServer),
            ),
            ("posttls-finger: < 220 mx", "220 mx", Some(ToClient)),
            ("250-8BITMIME", "250-8BITMIME", None),
            ("250 2.0.0 Ok", "250 2.0.0 Ok", None),
            ("220 mx", "220 mx", None),
            ("a1 OK", "a1 OK", None),
        ] {
            let dressed = undress(line);
            assert_eq!((dressed.text, dressed.who), (text, who), "{line}");
        }
    }
}
