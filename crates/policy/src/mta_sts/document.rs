//! The MTA-STS policy document (RFC 8461 §3.2) and the match of MX hosts against it (§4.1).
//!
//! Unknown fields are passed over, as the RFC asks; everything else that is not as it should be makes
//! the document invalid. It must not know how the body came here or how long it is kept.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

/// Longest body that is read, in bytes (RFC 8461 §3.3 suggests 64 KiB).
pub const LONGEST_BODY: usize = 64 << 10;

/// Longest lifetime that a policy may ask for, in seconds: about a year (RFC 8461 §3.2).
pub const LONGEST_MAX_AGE: u32 = 31_557_600;

/// What a sender is asked to do when an MX does not meet the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not to deliver.
    Enforce,
    /// To deliver, and to report.
    Testing,
    /// Nothing: a policy is being withdrawn.
    None,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What is asked.
    pub mode: Mode,
    /// How long it may be kept, in seconds; larger values are read as [`LONGEST_MAX_AGE`].
    pub max_age: u32,
    /// Which MX hosts are right; empty only with [`Mode::None`].
    pub mx: Vec<MxPattern>,
}

impl Document {
    /// Whether an MX host is one of those that the policy names.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| pattern.matches(host))
    }
}

/// A host name, or `*.` and a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxPattern {
    /// In lower case, without the `*.` and a final dot.
    domain: String,
    wildcard: bool,
}

impl MxPattern {
    /// Whether a host matches: `*` stands for exactly one left-most label; case and a final dot do not count.
    ///
    /// ```
    /// let body = b"version: STSv1\nmode: enforce\nmx: *.example.net\nmax_age: 86400\n";
    /// let policy = hoofbeat_policy::mta_sts::document::parse(body)?;
    /// assert!(policy.mx[0].matches("MX1.example.net."));
    /// assert!(!policy.mx[0].matches("a.b.example.net"));
    /// # Ok::<(), hoofbeat_policy::mta_sts::document::DocumentError>(())
    /// ```
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if !self.wildcard {
            return host.eq_ignore_ascii_case(&self.domain);
        }
        host.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && rest.eq_ignore_ascii_case(&self.domain)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (wildcard, domain) = text
            .strip_prefix("*.")
            .map_or((false, text), |rest| (true, rest));
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let well_formed = domain.len() <= 253 && domain.split('.').all(is_label);
        // An address is no domain (RFC 5321 §4.1.2 Domain against address-literal).
        let all_digits = domain
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        (well_formed && !all_digits).then(|| Self {
            domain: domain.to_ascii_lowercase(),
            wildcard,
        })
    }
}

impl core::fmt::Display for MxPattern {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{}{}",
            if self.wildcard { "*." } else { "" },
            self.domain
        )
    }
}

/// Why a body is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is longer than [`LONGEST_BODY`].
    #[error("the policy is longer than 64 KiB")]
    TooLong,
    /// It is not UTF-8 text.
    #[error("the policy is not text")]
    NotText,
    /// A line is not `name: value`.
    #[error("line {0} of the policy is not `name: value`")]
    BadLine(usize),
    /// There is no `version: STSv1`.
    #[error("the policy does not say `version: STSv1`")]
    Version,
    /// `mode` is missing or unknown.
    #[error("the policy's mode is missing or none of enforce, testing, none")]
    Mode,
    /// `max_age` is missing or not 1 to 10 digits.
    #[error("the policy's max_age is missing or not a number of seconds")]
    MaxAge,
    /// An `mx` is not a host name or `*.` and a domain.
    #[error("{0:?} in the policy is not an MX host pattern")]
    Mx(String),
    /// No `mx`, although the mode asks for one.
    #[error("the policy names no mx")]
    NoMx,
}

/// Reads the body of `https://mta-sts.<domain>/.well-known/mta-sts.txt`.
///
/// # Errors
/// When senders must act as if there were no such policy.
pub fn parse(body: &[u8]) -> Result<Document, DocumentError> {
    if body.len() > LONGEST_BODY {
        return Err(DocumentError::TooLong);
    }
    let text = core::str::from_utf8(body).map_err(|_| DocumentError::NotText)?;
    let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
    for (number, line) in text.split('\n').enumerate() {
        let line = line
            .strip_suffix('\r')
            .unwrap_or(line)
            .trim_end_matches([' ', '\t']);
        if line.is_empty() {
            continue;
        }
        let (name, value) = field(line).ok_or(DocumentError::BadLine(number + 1))?;
        // The first of a repeated field counts, `mx` alone may repeat (RFC 8461 §3.2).
        match name {
            "version" => version = version.or(Some(value)),
            "mode" => mode = mode.or(Some(value)),
            "max_age" => max_age = max_age.or(Some(value)),
            "mx" => {
                mx.push(MxPattern::parse(value).ok_or_else(|| DocumentError::Mx(value.to_owned()))?)
            }
            _ => {}
        }
    }
    if version != Some("STSv1") {
        return Err(DocumentError::Version);
    }
    let mode = match mode {
        Some("enforce") => Mode::Enforce,
        Some("testing") => Mode::Testing,
        Some("none") => Mode::None,
        _ => return Err(DocumentError::Mode),
    };
    let max_age = max_age.and_then(seconds).ok_or(DocumentError::MaxAge)?;
    if mx.is_empty() && mode != Mode::None {
        return Err(DocumentError::NoMx);
    }
    Ok(Document { mode, max_age, mx })
}

fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let mut bytes = name.bytes();
    let good_name = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() <= 32
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    let value = value.trim_start_matches([' ', '\t']);
    (good_name && !value.is_empty() && !value.chars().any(char::is_control))
        .then_some((name, value))
}

fn seconds(text: &str) -> Option<u32> {
    let digits = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| text.parse::<u64>().ok()).flatten()?;
    Some(
        u32::try_from(number)
            .unwrap_or(u32::MAX)
            .min(LONGEST_MAX_AGE),
    )
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString, vec};
    use proptest::prelude::*;

    /// RFC 8461 §3.2's example.
    const RFC: &[u8] =
        b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n\
        mx: backupmx.example.com\r\nmax_age: 604800\r\n";

    #[test]
    fn the_example_of_the_rfc() {
        let policy = parse(RFC).unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 604_800));
        let patterns: Vec<_> = policy.mx.iter().map(ToString::to_string).collect();
        assert_eq!(
            patterns,
            ["mail.example.com", "*.example.net", "backupmx.example.com"]
        );
        assert!(policy.allows("MAIL.example.com.") && policy.allows("mx.example.net"));
        assert!(!policy.allows("example.net") && !policy.allows("a.b.example.net"));
        assert!(!policy.allows(".example.net") && !policy.allows("mx.example.com"));
    }

    #[test]
    fn what_is_repeated_unknown_or_oddly_ended() {
        let policy = parse(b"version: STSv1\nversion: STSv2\nmode:none\nmode: enforce\nx-new: \xc3\xa9\n\nmax_age: 9999999999 ").unwrap();
        assert_eq!(
            policy,
            Document {
                mode: Mode::None,
                max_age: LONGEST_MAX_AGE,
                mx: vec![]
            }
        );
    }

    #[test]
    fn what_is_no_policy() {
        let with = |mode: &str, max_age: &str, mx: &str| {
            format!("version: STSv1\nmode: {mode}\nmax_age: {max_age}\nmx: {mx}\n")
        };
        for (body, error) in [
            (String::new(), DocumentError::Version),
            ("<html>".into(), DocumentError::BadLine(1)),
            (
                "mode: enforce\nmax_age: 1\nmx: a.example".into(),
                DocumentError::Version,
            ),
            (
                "version: stsv1\nmode: none\nmax_age: 1".into(),
                DocumentError::Version,
            ),
            (
                "version: STSv1\nmode: enforce\nmax_age: 1".into(),
                DocumentError::NoMx,
            ),
            (
                "version: STSv1\n mode: enforce".into(),
                DocumentError::BadLine(2),
            ),
            (with("Enforce", "1", "a.example"), DocumentError::Mode),
            (with("enforce", "-1", "a.example"), DocumentError::MaxAge),
            (
                with("enforce", "12345678901", "a.example"),
                DocumentError::MaxAge,
            ),
            (
                with("enforce", "1", "192.0.2.1"),
                DocumentError::Mx("192.0.2.1".into()),
            ),
            (
                with("enforce", "1", "*.*.example"),
                DocumentError::Mx("*.*.example".into()),
            ),
            (
                with("enforce", "1", "a..example"),
                DocumentError::Mx("a..example".into()),
            ),
            ("x".repeat(LONGEST_BODY + 1), DocumentError::TooLong),
        ] {
            assert_eq!(parse(body.as_bytes()), Err(error), "{body:.60}");
        }
        assert_eq!(parse(b"version: STSv1\n\xff"), Err(DocumentError::NotText));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }

        #[test]
        fn a_mutilated_policy_never_panics(at in 0..RFC.len(), byte in any::<u8>()) {
            let mut body = RFC.to_vec();
            body[at] = byte;
            if let Ok(policy) = parse(&body) {
                prop_assert!(policy.max_age <= LONGEST_MAX_AGE && !policy.mx.is_empty());
            }
        }

        #[test]
        fn a_wildcard_is_one_label(labels in proptest::collection::vec("[a-z0-9]{1,8}", 0..4)) {
            let pattern = MxPattern::parse("*.example.net").unwrap();
            let host = labels.iter().map(String::as_str).chain(["example", "net"]).collect::<Vec<_>>().join(".");
            prop_assert_eq!(pattern.matches(&host), labels.len() == 1);
        }
    }
}
