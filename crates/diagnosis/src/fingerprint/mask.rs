//! Keywords overwritten in place: the counter-letter rule of Cisco's `inspect esmtp`, and generic masks.
//!
//! Cisco overwrites the n-th unknown line of an EHLO reply with `X` in every place but the last, which
//! becomes `A`, `B`, `C`, … in order; length and position stay. The letter counts, it does not mark:
//! `XXXXXXXA` is STARTTLS only where STARTTLS stood. CHUNKING and SMTPUTF8 are as long, HELP gives `XXXA`.

use alloc::{string::String, vec::Vec};
use hoofbeat_session::{ByteRange, Protocol};

use crate::{
    dialect::{DIALECTS, Dialect, KNOWN_KEYWORDS},
    hearing::List,
};

/// How an item is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `X…X` and the letter that its place among the masked lines demands.
    Counter,
    /// One character, repeated.
    Run,
    /// STARTTLS with one or two letters changed, or up to half of it overwritten with one character.
    Altered,
    /// One `*` in a keyword that is otherwise known (smtp-gated).
    Star,
}

/// One overwritten item.
#[derive(Debug, Clone)]
pub(crate) struct Masked {
    /// Its position in the list.
    pub(crate) index: usize,
    /// Its bytes, relative to the reply.
    pub(crate) range: ByteRange,
    /// Its text.
    pub(crate) text: String,
    /// How.
    pub(crate) kind: Kind,
    /// Whether it stands where STARTTLS stood.
    pub(crate) slot: Slot,
}

/// Whether a masked item was STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// No: wrong length, or its neighbours leave no room for STARTTLS.
    Other,
    /// It may be: length fits, and no known order of keywords decides.
    Perhaps,
    /// Yes: its neighbours and its length leave nothing else.
    StartTls,
}

/// Every overwritten item of a list.
#[derive(Debug, Default)]
pub(crate) struct Masks {
    /// In the list's order.
    pub(crate) items: Vec<Masked>,
    /// All of them follow the counter rule: Cisco's `inspect esmtp`.
    pub(crate) cisco: bool,
}

impl Masks {
    /// The item most likely to have been STARTTLS.
    pub(crate) fn starttls(&self) -> Option<&Masked> {
        self.items
            .iter()
            .filter(|item| item.slot > Slot::Other)
            .max_by_key(|item| (item.slot, usize::MAX - item.index))
    }
}

/// Finds what is overwritten. `dialect` is the server's, where the session shows it.
pub(crate) fn masks(
    list: &List<'_, '_>,
    protocol: Protocol,
    dialect: Option<&'static Dialect>,
) -> Masks {
    let offered = list.items.offers_starttls(protocol);
    let wanted = if protocol == Protocol::Pop3 {
        "STLS"
    } else {
        "STARTTLS"
    };
    let mut found = Vec::new();
    let mut counted = 0u8;
    let mut cisco = matches!(protocol, Protocol::Smtp | Protocol::Lmtp);
    for (index, item) in list.items.items.iter().enumerate() {
        let bytes = unquoted(item.range.of(&list.step.bytes));
        let Some(kind) = kind_of(bytes, wanted, counted) else {
            continue;
        };
        if kind == Kind::Counter {
            counted += 1;
        } else {
            cisco = false;
        }
        found.push(Masked {
            index,
            range: item.range,
            text: String::from_utf8_lossy(bytes).into_owned(),
            kind,
            slot: Slot::Other,
        });
    }
    // `XA` alone could be anybody's extension; a run of four is nobody's.
    cisco &= found.iter().any(|item| item.text.len() >= 4);
    if !cisco {
        found.retain(|item| item.kind != Kind::Counter || item.text.len() >= 4);
    }
    if !offered {
        let keywords: Vec<&str> = list.items.keywords().collect();
        let slots: Vec<Slot> = found
            .iter()
            .map(|item| slot_of(item, &found, &keywords, wanted, protocol, dialect))
            .collect();
        for (item, slot) in found.iter_mut().zip(slots) {
            item.slot = slot;
        }
    }
    Masks {
        cisco: cisco && !found.is_empty(),
        items: found,
    }
}

/// ManageSieve's items are quoted strings.
fn unquoted(item: &[u8]) -> &[u8] {
    item.strip_prefix(b"\"")
        .and_then(|item| item.strip_suffix(b"\""))
        .unwrap_or(item)
}

fn kind_of(item: &[u8], wanted: &str, counted: u8) -> Option<Kind> {
    let (last, front) = item.split_last()?;
    let expected = b'A'.checked_add(counted).filter(u8::is_ascii_uppercase);
    if item.len() >= 2 && front.iter().all(|byte| *byte == b'X') && Some(*last) == expected {
        return Some(Kind::Counter);
    }
    if item.len() >= 4 && !last.is_ascii_digit() && front.iter().all(|byte| byte == last) {
        return Some(Kind::Run);
    }
    let text = core::str::from_utf8(item).ok()?.to_ascii_uppercase();
    if KNOWN_KEYWORDS.contains(&text.as_str()) {
        return None;
    }
    if text.len() == wanted.len() && text != wanted {
        let changed: Vec<u8> = text
            .bytes()
            .zip(wanted.bytes())
            .filter(|(a, b)| a != b)
            .map(|(a, _)| a)
            .collect();
        let one_filler = changed.windows(2).all(|pair| pair[0] == pair[1]);
        if changed.len() <= wanted.len() / 4 || (one_filler && changed.len() <= wanted.len() / 2) {
            return Some(Kind::Altered);
        }
    }
    let star = text.find('*')?;
    let fits = |known: &&str| {
        known.len() == text.len()
            && known
                .bytes()
                .zip(text.bytes())
                .enumerate()
                .all(|(at, (a, b))| at == star || a == b)
    };
    let extensions = ["XEXCH50", "X-EXPS", "X-LINK2STATE"];
    KNOWN_KEYWORDS
        .iter()
        .chain(&extensions)
        .any(fits)
        .then_some(Kind::Star)
}

/// Keywords that are never listed bare, so that a mask over them is longer than they are.
const WITH_ARGUMENTS: &[&str] = &["AUTH", "LIMITS", "XCLIENT", "XFORWARD"];

/// What a keyword is called in the reference lists.
fn base(keyword: &str) -> &str {
    keyword.split('=').next().unwrap_or(keyword)
}

fn slot_of(
    item: &Masked,
    all: &[Masked],
    keywords: &[&str],
    wanted: &str,
    protocol: Protocol,
    dialect: Option<&'static Dialect>,
) -> Slot {
    if item.text.len() != wanted.len() {
        return Slot::Other;
    }
    if item.kind == Kind::Altered {
        return Slot::StartTls;
    }
    if item.kind == Kind::Star {
        return Slot::Other;
    }
    let is_masked = |index: usize| all.iter().any(|other| other.index == index);
    let judge = |known: &Dialect| -> Option<Slot> {
        let place = |keyword: &str| known.list.iter().position(|one| *one == base(keyword));
        // The visible keywords must be this server's, in its order, or it is not this server's list.
        let mut last = None;
        for (index, keyword) in keywords.iter().enumerate() {
            if is_masked(index) {
                continue;
            }
            let here = place(keyword)?;
            if last.is_some_and(|before| here < before) {
                return None;
            }
            last = Some(here);
        }
        let before = (0..item.index).rev().find(|index| !is_masked(*index));
        let after = (item.index + 1..keywords.len()).find(|index| !is_masked(*index));
        let from = before
            .and_then(|index| keywords.get(index))
            .and_then(|keyword| place(keyword))
            .map_or(0, |at| at + 1);
        let to = after
            .and_then(|index| keywords.get(index))
            .and_then(|keyword| place(keyword))
            .unwrap_or(known.list.len());
        let candidates: Vec<&str> = known
            .list
            .get(from..to.max(from))
            .unwrap_or_default()
            .iter()
            .copied()
            .filter(|one| one.len() == wanted.len() && !WITH_ARGUMENTS.contains(one))
            .collect();
        if !candidates.contains(&wanted) {
            // Orders that were not read in source differ by version; they exclude nothing.
            return Some(if known.authoritative {
                Slot::Other
            } else {
                Slot::Perhaps
            });
        }
        let rivals = all
            .iter()
            .filter(|other| {
                other.text.len() == wanted.len()
                    && before.is_none_or(|at| other.index > at)
                    && after.is_none_or(|at| other.index < at)
            })
            .count();
        Some(if rivals >= candidates.len() {
            Slot::StartTls
        } else {
            Slot::Perhaps
        })
    };
    let visible = keywords.len() - all.len().min(keywords.len());
    let known: Vec<Slot> = match dialect.filter(|known| !known.list.is_empty()) {
        Some(known) => judge(known).into_iter().collect(),
        None => DIALECTS
            .iter()
            .filter(|known| known.protocol == protocol && !known.list.is_empty() && visible >= 2)
            .filter_map(judge)
            .collect(),
    };
    match known.split_first() {
        Some((first, rest)) if rest.iter().all(|slot| slot == first) => *first,
        _ => Slot::Perhaps,
    }
}

/// A greeting's mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Banner {
    /// Every character but `2`, `0` and perhaps blanks is an asterisk, and some of those survive: PIX.
    Sparing,
    /// Nothing but asterisks: ASA.
    Solid,
    /// Asterisks, but too few to be a real greeting's length.
    Short,
}

/// Whether a greeting is masked so that Postfix's clients fall back to HELO: only `2`, `0`, blanks and at least one `*`.
///
/// The rule is Postfix's own (`smtp_proto.c`), applied to every line.
pub(crate) fn banner(greeting: &[u8]) -> Option<Banner> {
    let mut stars = 0usize;
    let mut digits = 0usize;
    for line in greeting.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            continue;
        }
        // The code and its separator are never masked, whatever came of the separator.
        let text = line.get(3..)?;
        if !line.starts_with(b"2")
            || !text
                .iter()
                .all(|byte| matches!(byte, b'2' | b'0' | b' ' | b'*' | b'\t' | b'-'))
        {
            return None;
        }
        stars += text.iter().filter(|byte| **byte == b'*').count();
        digits += text
            .iter()
            .filter(|byte| matches!(byte, b'2' | b'0'))
            .count();
    }
    match (stars, digits) {
        (0, _) => None,
        // PowerMTA's threshold for "this is a PIX".
        (1..10, _) => Some(Banner::Short),
        (_, 0) => Some(Banner::Solid),
        _ => Some(Banner::Sparing),
    }
}
