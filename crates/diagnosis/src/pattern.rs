//! Patterns over one line of a reply: literal text with `%` for "anything".
//!
//! Catalogues stay readable and reviewable as data; nothing here can backtrack far, because a line is
//! bounded and `%` is matched greedily left to right. It must not know what a match proves.

/// Whether `line` matches `pattern`, in which every `%` stands for any text, also none. Case counts.
#[must_use]
pub(crate) fn matches(pattern: &str, line: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('%') else {
        return pattern == line;
    };
    let Some(line) = line.strip_prefix(head) else {
        return false;
    };
    let mut line = line;
    let mut rest = rest;
    while let Some((part, after)) = rest.split_once('%') {
        let Some(at) = line.find(part) else {
            return false;
        };
        line = line.get(at + part.len()..).unwrap_or_default();
        rest = after;
    }
    line.len() >= rest.len() && line.ends_with(rest)
}

/// Whether any of the patterns matches.
#[must_use]
pub(crate) fn any(patterns: &[&str], line: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_stands_for_anything() {
        assert!(matches(
            "502 unimplemented (#5.5.1)",
            "502 unimplemented (#5.5.1)"
        ));
        assert!(matches(
            "220 % ESMTP Postfix%",
            "220 mx.example ESMTP Postfix (Debian)"
        ));
        assert!(matches("%", ""));
        assert!(matches("a%b", "ab"));
        assert!(
            !matches("a%ab", "ab"),
            "the head and the tail may not share bytes"
        );
        assert!(!matches("-ERR Unknown command.", "-ERR unknown command"));
        assert!(!matches("220 %gsmtp", "220 mx.example ESMTP"));
    }
}
