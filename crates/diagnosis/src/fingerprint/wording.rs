//! Whose words are these? Recognises the server by its replies and tells its own refusals from others'.
//!
//! A foreign refusal is a contradiction only where the rest of the session shows, by at least two marks
//! or one unmistakable one, which server it is. An unknown server's words accuse nobody.

use alloc::string::String;
use hoofbeat_session::{Label, Layer, Protocol, Status};

use crate::{
    dialect::{DIALECTS, Dialect, Fixed, Refusal},
    fingerprint::{
        catalogue::{FORGED, Forged},
        mask,
    },
    hearing::{Hearing, Step},
    pattern,
};

/// Marks that are needed to call a server by its name.
const ENOUGH: u8 = 2;
/// The same where its words for the unknown are commonplace: then every other trait is needed, too.
const ENOUGH_OF_COMMONPLACES: u8 = 3;

/// The server's dialect, where its replies show it. Replies to STARTTLS are left out: they are in question.
pub(crate) fn recognise(hearings: &[&Hearing<'_>]) -> Option<&'static Dialect> {
    let mut best: Option<(u8, &'static Dialect)> = None;
    let mut tied = false;
    for dialect in DIALECTS {
        let marks = hearings
            .iter()
            .map(|hearing| marks_in(dialect, hearing))
            .max()
            .unwrap_or(0);
        match best {
            Some((most, _)) if marks < most => {}
            Some((most, _)) if marks == most => tied = true,
            _ => {
                best = Some((marks, dialect));
                tied = false;
            }
        }
    }
    best.filter(|(marks, dialect)| *marks >= enough(dialect, hearings) && !tied)
        .map(|(_, dialect)| dialect)
}

/// Whoever names himself is believed; `Unknown command.` is said by half the world.
fn enough(dialect: &Dialect, hearings: &[&Hearing<'_>]) -> u8 {
    if hearings
        .iter()
        .any(|hearing| names_itself(dialect, hearing))
    {
        ENOUGH
    } else {
        ENOUGH_OF_COMMONPLACES
    }
}

/// By its greeting, or by words for the unknown that no other program has.
fn names_itself(dialect: &Dialect, hearing: &Hearing<'_>) -> bool {
    said(hearing, Label::Greeting, dialect.greeting)
        || hearing.steps.iter().any(|step| {
            asks_the_unknown(step)
                && step.answered()
                && pattern::any(dialect.unknown, &step.line)
                && !pattern::any(dialect.commonplace, &step.line)
        })
}

/// A made-up command; an old server does not know that for capabilities either.
fn asks_the_unknown(step: &Step<'_>) -> bool {
    matches!(
        step.exchange.label,
        Label::UnknownVerb | Label::Capabilities
    )
}

fn said(hearing: &Hearing<'_>, label: Label, patterns: &[&str]) -> bool {
    hearing.steps.iter().any(|step| {
        step.exchange.label == label && step.answered() && pattern::any(patterns, &step.line)
    })
}

fn marks_in(dialect: &Dialect, hearing: &Hearing<'_>) -> u8 {
    if dialect.protocol != hearing.protocol()
        && !(dialect.protocol == Protocol::Smtp && hearing.protocol() == Protocol::Lmtp)
    {
        return 0;
    }
    let said = |label: Label, patterns: &[&str]| said(hearing, label, patterns);
    let mut marks = 0;
    if said(Label::Greeting, dialect.greeting) {
        marks += 2;
    }
    if said(Label::UnknownVerb, dialect.unknown) || said(Label::Capabilities, dialect.unknown) {
        marks += if names_itself(dialect, hearing) { 2 } else { 1 };
    }
    // Courtesies are imitated; without a name or its words for the unknown nobody is recognised.
    if marks == 0 {
        return 0;
    }
    if said(Label::Noop, dialect.noop) {
        marks += 1;
    }
    if said(Label::Quit, dialect.quit) {
        marks += 1;
    }
    if fits_list(dialect, hearing) {
        marks += 1;
    }
    marks
}

/// Whether every keyword of the list is this server's and in its order.
pub(crate) fn fits_list(dialect: &Dialect, hearing: &Hearing<'_>) -> bool {
    let Some(list) = hearing.list(Layer::Plain) else {
        return false;
    };
    let mut last = 0;
    let mut known = 0;
    for keyword in list.items.keywords() {
        let base = keyword.split('=').next().unwrap_or(keyword);
        let place = |wanted: &str| dialect.list.iter().position(|one| *one == wanted);
        match place(keyword).or_else(|| place(base)) {
            Some(at) if at >= last => {
                last = at;
                known += 1;
            }
            _ => return false,
        }
    }
    known >= if dialect.commonplace.is_empty() { 3 } else { 4 }
}

/// Where a refusal comes from, as far as its words tell.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    /// The server's own: it means this.
    Own(&'static Dialect, Refusal),
    /// Words that boxes or tools use, and this recognised server never.
    Forged(&'static Forged, Option<&'static Dialect>),
    /// Not in the form that this server gives all its other replies.
    Shape(&'static str, Option<&'static Dialect>),
    /// Not among the words of a recognised server that has no others.
    Foreign(&'static Dialect),
    /// Nothing speaks for or against the server.
    Unlisted,
}

/// Judges the words of a refusal in a session.
pub(crate) fn origin(
    hearing: &Hearing<'_>,
    step: &Step<'_>,
    dialect: Option<&'static Dialect>,
) -> Origin {
    if let Some(dialect) = dialect
        && let Some(refusal) = dialect.refusal(&step.line)
    {
        return Origin::Own(dialect, refusal);
    }
    let authoritative = dialect.filter(|dialect| dialect.authoritative);
    let forged = FORGED.iter().find(|one| {
        one.protocol == hearing.protocol() && pattern::matches(one.pattern, &step.line)
    });
    if let Some(forged) = forged
        && (forged.unique || authoritative.is_some() || shows_spoiled_keyword(hearing, forged))
    {
        return Origin::Forged(forged, authoritative);
    }
    let temporary = matches!(step.reply.status, Status::Transient | Status::Intermediate);
    if let Some(known) = dialect.filter(|dialect| match dialect.fixed {
        Fixed::All => true,
        Fixed::Temporary => temporary,
        Fixed::No => false,
    }) {
        return Origin::Foreign(known);
    }
    if let Some(why) = misshapen(hearing, step, dialect) {
        return Origin::Shape(why, dialect);
    }
    if dialect.is_none()
        && let Some((known, refusal)) = DIALECTS
            .iter()
            .filter(|known| known.protocol == hearing.protocol())
            .find_map(|known| {
                known
                    .refusal(&step.line)
                    .filter(|refusal| *refusal != Refusal::Unknown)
                    .map(|refusal| (known, refusal))
            })
    {
        // An unrecognised server that uses a known server's exact words: its own, most likely.
        return Origin::Own(known, refusal);
    }
    Origin::Unlisted
}

/// smtp-gated overwrites one letter of the keywords that it cannot follow: no server lists `CHU*KING`.
fn shows_spoiled_keyword(hearing: &Hearing<'_>, forged: &Forged) -> bool {
    forged.product == Some("smtp-gated")
        && hearing.list(Layer::Plain).is_some_and(|list| {
            mask::masks(&list, hearing.protocol(), None)
                .items
                .iter()
                .any(|item| item.kind == mask::Kind::Star)
        })
}

/// Why a reply to STARTTLS cannot have the form of this server's replies. A 5xx is left out: milters and
/// ACLs word those, with and without an enhanced code.
fn misshapen(
    hearing: &Hearing<'_>,
    step: &Step<'_>,
    dialect: Option<&'static Dialect>,
) -> Option<&'static str> {
    if !matches!(hearing.protocol(), Protocol::Smtp | Protocol::Lmtp) || !step.answered() {
        return None;
    }
    if step.reply.status == Status::Intermediate {
        return Some("no server answers STARTTLS with a 3xx code");
    }
    // A box may have deleted the promise; a recognised server keeps it all the same.
    let promised = dialect.is_some_and(|dialect| dialect.enhanced)
        || hearing
            .list(Layer::Plain)
            .is_some_and(|list| list.items.has("ENHANCEDSTATUSCODES"));
    let kept = hearing
        .steps
        .iter()
        .filter(|other| {
            other.answered()
                && other.exchange.layer == Layer::Plain
                && matches!(
                    other.exchange.label,
                    Label::Noop | Label::UnknownVerb | Label::Quit | Label::SplitNoop
                )
        })
        .filter(|other| other.reply.enhanced.is_some())
        .count();
    let code = step.reply.code.unwrap_or(0);
    (promised && kept >= 1 && step.reply.enhanced.is_none() && (400..500).contains(&code) && code != 421)
        .then_some("the server promises enhanced status codes (RFC 2034) and gives them in its other replies, not in this one")
}

/// How a reply writes its enhanced status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CodeForm {
    /// `550 5.7.1 text` (RFC 2034).
    Leading,
    /// `500 #5.5.1 text`.
    Hashed,
    /// `502 text (#5.5.1)`.
    Trailing,
}

fn code_form(line: &str) -> Option<CodeForm> {
    let text = line.get(4..)?;
    let is_code = |word: &str| {
        let mut parts = word.split('.');
        let mut number = |digits: usize| {
            parts.next().is_some_and(|part| {
                (1..=digits).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
            })
        };
        number(1) && number(3) && number(3) && parts.next().is_none()
    };
    let first = text.split_ascii_whitespace().next()?;
    let last = text
        .rsplit('(')
        .next()
        .and_then(|tail| tail.strip_prefix('#')?.strip_suffix(')'));
    if is_code(first) {
        Some(CodeForm::Leading)
    } else if first.strip_prefix('#').is_some_and(is_code) {
        Some(CodeForm::Hashed)
    } else {
        last.is_some_and(is_code).then_some(CodeForm::Trailing)
    }
}

/// Why a refusal of STARTTLS does not look like this server's others: it writes its enhanced code otherwise. One
/// program has one way; a filter that it runs, and a box in front of it, may have another. It convicts nobody.
pub(crate) fn otherwise_coded(hearings: &[&Hearing<'_>], step: &Step<'_>) -> Option<&'static str> {
    let form = code_form(&step.line).filter(|_| step.refused())?;
    let own = hearings
        .iter()
        .filter_map(|hearing| hearing.step(Layer::Plain, Label::UnknownVerb))
        .filter(|other| other.refused())
        .find_map(|other| code_form(&other.line))?;
    (form != own)
        .then_some("this refusal writes its enhanced status code otherwise than the server's refusal of an unknown command does")
}

/// What the server seems to have received, where its reply quotes something else than was sent.
pub(crate) fn altered_echo(hearing: &Hearing<'_>, step: &Step<'_>) -> Option<String> {
    if !step.refused() {
        return None;
    }
    let verb = step.verb(hearing.protocol());
    if verb.len() < 4
        || step
            .line
            .to_ascii_uppercase()
            .contains(&verb.to_ascii_uppercase())
    {
        return None;
    }
    // A run of X as long as the verb (or the line), wherever it stands.
    let runs = step
        .line
        .split(|c: char| c != 'X')
        .filter(|run| run.len() >= 4);
    for run in runs {
        if run.len() == verb.len() || run.len() == step.sent.len() {
            return Some(run.into());
        }
    }
    // Something else of the verb's length between quotes.
    let mut parts = step.line.split(['"', '\'']);
    parts.next();
    let quoted = parts.next()?;
    let first = quoted.split_ascii_whitespace().next()?;
    (first.len() == verb.len() && !first.eq_ignore_ascii_case(verb) && first.is_ascii())
        .then(|| first.into())
}

/// Whether STARTTLS and an unknown verb met the same words, the echoed verb aside.
pub(crate) fn like_unknown(hearing: &Hearing<'_>, step: &Step<'_>) -> Option<bool> {
    let unknown = hearing
        .step(Layer::Plain, Label::UnknownVerb)
        .filter(|unknown| unknown.refused())?;
    if !step.refused() {
        return Some(false);
    }
    if altered_echo(hearing, step).is_some() {
        return Some(true);
    }
    let protocol = hearing.protocol();
    Some(unknown.line_without_verb(protocol) == step.line_without_verb(protocol))
}
