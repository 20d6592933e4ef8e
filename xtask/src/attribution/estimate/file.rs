//! `counted.rs`, the judge's generated table: written in a fixed order, read back to show what a new count changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::counts::{Count, Counts, Row};

/// The table as Rust source.
pub(crate) fn source(counts: &Counts, runs: usize, command: &str, temper: f64) -> String {
    let mut text = format!(
        "//! Likelihoods counted in the lab's training scenarios: written by `{command}` from {runs} runs, not by\n\
        //! hand. Held-out scenarios are never counted.\n\
        //!\n\
        //! Columns: server, server-policy, server-edge, transit, access-network, local-network, this-host. `hits` counts the\n\
        //! runs of a class in which the observation entered, `trials` those in which its group was tested at all.\n\n\
        use super::likelihood::CLASSES;\n\n\
        /// Observation, hits and trials by class.\n\
        pub(crate) type Counted = (&'static str, [u32; CLASSES], [u32; CLASSES]);\n\n\
        /// Exponent on every likelihood, 0 to 1, fitted by log loss on training runs: below 1 where groups agree by chance\n\
        /// of construction more than by independence.\n\
        pub(crate) const TEMPER: f64 = {temper:?};\n\n\
        /// The counts; an observation that is not listed keeps its expert row.\n\
        #[rustfmt::skip]\n\
        pub(crate) const COUNTED: &[Counted] = &[\n"
    );
    for (observation, Count { hits, trials }) in &counts.rows {
        let _ = writeln!(text, "    (\"{observation}\", {hits:?}, {trials:?}),");
    }
    text.push_str("];\n");
    text
}

/// The counts of an earlier table; a line that is no row is none.
pub(crate) fn rows(source: &str) -> BTreeMap<String, Count> {
    source.lines().filter_map(row).collect()
}

/// The exponent of an earlier table.
pub(crate) fn temper(source: &str) -> Option<f64> {
    let line = source.lines().find(|line| line.contains("const TEMPER"))?;
    line.split('=')
        .nth(1)?
        .trim()
        .trim_end_matches(';')
        .parse()
        .ok()
}

fn row(line: &str) -> Option<(String, Count)> {
    let line = line.trim().strip_prefix("(\"")?;
    let (name, rest) = line.split_once('"')?;
    let mut lists = rest.split('[').skip(1).map(numbers);
    let (hits, trials) = (lists.next()??, lists.next()??);
    Some((name.to_owned(), Count { hits, trials }))
}

fn numbers(text: &str) -> Option<Row> {
    let (inside, _) = text.split_once(']')?;
    let numbers: Vec<u32> = inside
        .split(',')
        .map(|number| number.trim().parse().ok())
        .collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// What changed, a line an observation and class: `old → new` smoothed likelihood with the counts.
pub(crate) fn changes(before: &BTreeMap<String, Count>, now: &Counts) -> String {
    const CLASSES: [&str; 7] = ["A", "A\u{2032}", "B", "C1", "C2", "D1", "D2"];
    let mut text = String::new();
    for (observation, count) in &now.rows {
        let old = before.get(observation).copied();
        if old == Some(*count) {
            continue;
        }
        let kinds = now.kinds(observation);
        let (was, is) = (
            old.unwrap_or_default().smoothed(kinds),
            count.smoothed(kinds),
        );
        let _ = writeln!(text, "{observation}");
        for (class, name) in CLASSES.iter().enumerate() {
            let (hits, trials) = (count.hits[class], count.trials[class]);
            let moved = (was[class] - is[class]).abs() >= 0.0005;
            if trials > 0 && (moved || old.is_none()) {
                let before =
                    old.map_or_else(|| "  –  ".to_owned(), |_| format!("{:.3}", was[class]));
                let _ = writeln!(
                    text,
                    "  {name:<3} {before} → {:.3}  ({hits} of {trials})",
                    is[class]
                );
            }
        }
    }
    for observation in before.keys().filter(|name| !now.rows.contains_key(*name)) {
        let _ = writeln!(text, "{observation}\n  no longer observed");
    }
    if text.is_empty() {
        text.push_str("nothing changed\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::place::Place;
    use super::super::counts::tests::seen;
    use super::*;

    fn counts() -> Counts {
        Counts::of(&[
            seen("a", Place::Access, &[("G2", "mask-in-slot")]),
            seen(
                "b",
                Place::Server,
                &[("G2", "plain-list"), ("G1", "own-refusal")],
            ),
        ])
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = source(&counts(), 2, "cargo xtask attribution --estimate", 0.85);
        assert_eq!(rows(&text), counts().rows);
        assert_eq!(temper(&text), Some(0.85));
        assert!(text.starts_with("//! Likelihoods counted") && text.contains("from 2 runs"));
        assert!(
            text.find("mask-in-slot") < text.find("own-refusal")
                && text.find("own-refusal") < text.find("plain-list"),
            "a fixed order"
        );
    }

    #[test]
    fn an_empty_table_is_an_empty_table() {
        let text = "pub(crate) const COUNTED: &[Counted] = &[];\n";
        assert!(rows(text).is_empty());
        assert_eq!(temper(text), None);
    }

    #[test]
    fn only_what_changed_is_told() {
        let old = counts();
        assert_eq!(changes(&old.rows, &old), "nothing changed\n");
        let mut new = old.clone();
        if let Some(row) = new.rows.get_mut("mask-in-slot") {
            row.trials[4] = 9;
        }
        let told = changes(&old.rows, &new);
        assert!(told.contains("C2  0.667 → 0.182  (1 of 9)"), "{told}");
        assert!(!told.contains("own-refusal"), "{told}");
        let gone = changes(&old.rows, &Counts::default());
        assert!(gone.contains("no longer observed"), "{gone}");
    }
}
