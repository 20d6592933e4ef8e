//! A diagnosis as a tired postmaster wants it: verdict first, the strongest reasons with their bytes,
//! what was not tested, what to do now.

use anstyle::Style;
use hoofbeat_diagnosis::{Diagnosis, Finding, LocationClass, Mechanism, Verdict};
use hoofbeat_observation::Measurement;
use hoofbeat_session::{Direction, bytes::printable};
use std::fmt::Write as _;

use super::{path, width, words};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// A line a service.
    Verdicts,
    /// The report.
    Report,
    /// The report with all evidence and the dialogues.
    Everything,
}

/// How many reasons a report shows unless everything is asked for.
const REASONS: usize = 3;
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The report of one target.
pub(crate) fn report(
    target: &str,
    diagnosis: &Diagnosis,
    measurements: &[Measurement],
    detail: Detail,
) -> String {
    let mut out = String::new();
    if detail == Detail::Verdicts {
        for finding in &diagnosis.findings {
            let _ = writeln!(out, "{}", verdict_line(finding));
        }
        if diagnosis.findings.is_empty() {
            let _ = writeln!(
                out,
                "{target}: {} ({})",
                diagnosis.overall.verdict, diagnosis.overall.summary
            );
        }
        return out;
    }
    let style = words::colour(diagnosis.overall.verdict);
    let subject = if target.is_empty() {
        "the network you are on"
    } else {
        target
    };
    let _ = writeln!(
        out,
        "{style}{}{style:#}  {BOLD}{subject}{BOLD:#}",
        words::headline(diagnosis.overall.verdict)
    );
    paragraph(&mut out, &diagnosis.overall.summary, "  ");
    // The clear ones of many need a line, not a page.
    let several = diagnosis.findings.len() > 1;
    let (plain, notable): (Vec<_>, Vec<_>) = diagnosis.findings.iter().partition(|finding| {
        several && finding.verdict == Verdict::Clear && detail == Detail::Report
    });
    for finding in plain {
        let _ = writeln!(out, "\n  {}", verdict_line(finding));
    }
    for finding in notable {
        one(&mut out, finding, detail);
    }
    if detail == Detail::Everything {
        dialogues(&mut out, measurements);
    }
    out
}

/// One finding in one line, as `--quiet` prints it.
pub(crate) fn verdict_line(finding: &Finding) -> String {
    let mut line = format!("{}: {}", named(finding), finding.verdict);
    if let Some(mechanism) = finding.mechanism {
        let _ = write!(line, ", {mechanism}");
    }
    if let Some(product) = &finding.product {
        let _ = write!(line, ", {product}");
    }
    let _ = write!(line, "; encryption {}", finding.encryption);
    for weakness in &finding.weaknesses {
        let _ = write!(line, "; {weakness}");
    }
    line
}

fn named(finding: &Finding) -> String {
    match finding.service.address {
        Some(address) if address.to_string() != finding.service.host => {
            format!("{} [{address}]", finding.service)
        }
        _ => finding.service.to_string(),
    }
}

fn one(out: &mut String, finding: &Finding, detail: Detail) {
    let style = words::colour(finding.verdict);
    let _ = writeln!(out, "\n{BOLD}{}{BOLD:#}", named(finding));
    let _ = writeln!(
        out,
        "  {style}{}{style:#}{}",
        finding.verdict,
        mechanism(finding.mechanism)
    );
    fact(out, "Encryption now", words::encryption(finding.encryption));
    if let Some(tls) = &finding.tls {
        let parts = [
            tls.version.clone(),
            tls.cipher.clone(),
            tls.issuer.as_ref().map(|i| format!("issued by {i}")),
        ];
        fact(
            out,
            "TLS",
            &parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
        );
    }
    if let Some(product) = &finding.product {
        fact(out, "Product", product);
    }
    if finding.verdict == Verdict::Interference || finding.verdict == Verdict::Server {
        fact(out, "Place", &place(finding));
        fact(out, "Confidence", words::confidence(finding.confidence));
    }
    for weakness in &finding.weaknesses {
        fact(
            out,
            "Weakness",
            &format!("{weakness}: {}", words::weakness(*weakness)),
        );
    }
    out.push_str(&path::draw(finding, path::signs()));
    witness(out, finding);
    evidence(out, finding, detail);
    list(out, "Innocent explanations considered", &finding.innocent);
    let not_run: Vec<String> = finding
        .not_run
        .iter()
        .map(|test| format!("{}: {}", test.test, test.why))
        .collect();
    list(out, "Not tested", &not_run);
    if let Some(next) = &finding.next {
        list(out, "What would tell more", std::slice::from_ref(next));
    }
    if !finding.remedies.is_empty() {
        heading(out, "What to do now");
        for remedy in &finding.remedies {
            paragraph(
                out,
                &format!("{}: {}", words::who(remedy.who), remedy.text),
                "    ",
            );
            for command in &remedy.commands {
                let _ = writeln!(out, "        {command}");
            }
        }
    }
}

fn mechanism(mechanism: Option<Mechanism>) -> String {
    mechanism.map_or_else(String::new, |m| format!(": {} ({m})", words::mechanism(m)))
}

fn place(finding: &Finding) -> String {
    let location = &finding.location;
    let mut leaders: Vec<(&&str, &f64)> = location
        .posterior
        .iter()
        .filter(|(_, p)| **p >= 0.05)
        .collect();
    leaders.sort_by(|a, b| b.1.total_cmp(a.1));
    let leaders: Vec<String> = leaders
        .into_iter()
        .take(if location.class == LocationClass::Undetermined {
            3
        } else {
            2
        })
        .map(|(word, probability)| {
            let said = LocationClass::of(word).map_or(*word, words::place);
            format!("{said} {probability:.2}")
        })
        .collect();
    match (location.class, leaders.is_empty()) {
        (class, true) => words::place(class).to_owned(),
        (LocationClass::Undetermined, false) => {
            format!("undetermined between: {}", leaders.join(", "))
        }
        (_, false) => leaders.join(", else "),
    }
}

/// Both ends' bytes, held against each other.
fn witness(out: &mut String, finding: &Finding) {
    let Some(witness) = &finding.witness else {
        return;
    };
    heading(out, &format!("Cooperating server {}", witness.host));
    let mut items = vec![format!("its report: {}", words::standing(witness.standing))];
    let compared = [
        ("what was sent to it", &witness.to_server),
        ("what came from it", &witness.to_client),
    ];
    for (what, compared) in compared {
        let Some(compared) = compared else {
            continue;
        };
        let length = compared.bytes;
        items.push(match (compared.changed, &compared.was, &compared.became) {
            (false, ..) => format!("{what}: {length} bytes, the same at both ends"),
            (true, Some(was), Some(became)) => {
                format!("{what}: changed on the way: {was:?} arrived as {became:?}")
            }
            (true, ..) => format!("{what}: changed on the way"),
        });
    }
    for line in &witness.http_inserted {
        items.push(format!("inserted into a plain HTTP request: {line}"));
    }
    if !witness.blocked_names.is_empty() {
        let names = witness.blocked_names.join(", ");
        items.push(format!(
            "no TLS handshake gets through that asks for {names}; others do"
        ));
    }
    items.extend(witness.notes.iter().cloned());
    for item in items {
        let _ = writeln!(out, "{}", filled(&item, "    - ", "      "));
    }
}

fn evidence(out: &mut String, finding: &Finding, detail: Detail) {
    if finding.evidence.is_empty() {
        return;
    }
    heading(out, "Why");
    let shown = if detail == Detail::Everything {
        finding.evidence.len()
    } else {
        REASONS
    };
    for (number, item) in finding.evidence.iter().take(shown).enumerate() {
        paragraph(out, &format!("{}. {}", number + 1, item.claim), "    ");
        let step = item
            .step
            .map_or_else(String::new, |step| format!(" step {step}"));
        let range = item
            .bytes
            .map_or_else(String::new, |(from, to)| format!(" bytes {from}–{to}"));
        let excerpt = if item.excerpt.is_empty() {
            String::new()
        } else {
            format!(": {}", item.excerpt)
        };
        let _ = writeln!(
            out,
            "       {DIM}{}{step}{range}{DIM:#}{excerpt}",
            item.measurement
        );
    }
    if let Some(more) = finding
        .evidence
        .len()
        .checked_sub(shown)
        .filter(|more| *more > 0)
    {
        let _ = writeln!(out, "       {DIM}and {more} more: --verbose{DIM:#}");
    }
}

fn dialogues(out: &mut String, measurements: &[Measurement]) {
    for measurement in measurements {
        let Some(dialogue) = measurement.dialogue() else {
            continue;
        };
        let _ = writeln!(
            out,
            "\n{BOLD}{} {}{BOLD:#} ({:?})",
            measurement.id, dialogue.service, dialogue.variation
        );
        if let Some(failure) = &dialogue.connect.failure {
            let _ = writeln!(out, "  {failure}");
        }
        for chunk in &dialogue.transcript.chunks {
            let arrow = match chunk.direction {
                Direction::ToServer => "->",
                Direction::ToClient => "<-",
            };
            let at = chunk.at.0.as_secs_f64() * 1e3;
            let _ = writeln!(
                out,
                "  {DIM}{at:9.1} ms{DIM:#} {arrow} {}",
                printable(&chunk.bytes)
            );
        }
    }
}

fn fact(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(
            out,
            "{}",
            filled(
                &format!("  {name:<15} : {value}"),
                "",
                "                    "
            )
        );
    }
}

fn heading(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n  {BOLD}{text}{BOLD:#}");
}

fn list(out: &mut String, name: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    heading(out, name);
    for item in items {
        let _ = writeln!(out, "{}", filled(item, "    - ", "      "));
    }
}

fn paragraph(out: &mut String, text: &str, indent: &str) {
    let hanging = if text.starts_with(|c: char| c.is_ascii_digit()) {
        format!("{indent}   ")
    } else {
        indent.to_owned()
    };
    let _ = writeln!(out, "{}", filled(text, indent, &hanging));
}

/// Broken at blanks alone: `mask-banner` is a word that people copy.
pub(crate) fn filled(text: &str, first: &str, rest: &str) -> String {
    let options = textwrap::Options::new(width())
        .initial_indent(first)
        .subsequent_indent(rest)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}
