//! `docs/attribution.md`: the method, the targets, the sums, every error by its name, and every run.

mod runs;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::baseline::RULES;
use super::bound::upper;
use super::case::Case;
use super::engine::Engine;
use super::place::Place;
use super::row::{NotRun, Row};
use super::score::{Belief, Said, Tally, reliability, share};
use super::target::{self, Target};
use crate::accuracy::median;
use runs::{differing, errors, every, left_out};

/// What the head of the page tells.
pub(crate) struct Head {
    /// Date, processors, kernel.
    pub(crate) machine: String,
    pub(crate) program: String,
    pub(crate) jobs: usize,
    /// The archives were made before, perhaps by another build; only judging is new.
    pub(crate) again: bool,
    /// How long all of it took, seconds.
    pub(crate) took: f64,
}

/// The whole page.
pub(crate) fn page(rows: &[Row], not_run: &[NotRun], head: &Head) -> String {
    let (held_out, training): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.case.held_out);
    let mut page = format!(
        "# How often the right place is named\n\nWritten by `cargo xtask attribution`; do not edit. {}\n\n{METHOD}\n\n\
        Program: {}, {} runs at once, {:.0} minutes{}. {} runs: {} held out, {} for training; {} could not be run.\n\n",
        head.machine,
        head.program,
        head.jobs,
        head.took / 60.0,
        if head.again {
            " of judging archives that were kept before (`--again`)"
        } else {
            ""
        },
        rows.len(),
        held_out.len(),
        training.len(),
        not_run.len(),
    );
    page += &targets(&target::all(&held_out));
    page += "## Held-out runs\n\nThe boxes and difficulties of these runs were combined in no run that the judge was developed or its likelihoods counted on.\n\n";
    page += &engines(&held_out);
    page += &confusion(&held_out);
    page += &words(&held_out);
    page += &by(&held_out, "box", |case| case.kind.clone());
    page += &by(&held_out, "direction", |case| {
        if case.direction.is_empty() {
            "none".to_owned()
        } else {
            case.direction.clone()
        }
    });
    page += &by(&held_out, "difficulty", |case| case.confounder.clone());
    page += &by(&held_out, "server", |case| case.server.clone());
    page += &baselines(&held_out);
    page += &ablation(&held_out);
    page += &cost(&held_out);
    page += &errors(&held_out);
    page += "## Training runs\n\nThe judge was developed with these in view: this is what it was made to do, not an estimate.\n\n";
    page += &engines(&training);
    page += &errors(&training);
    page += &differing(rows);
    page += &left_out(not_run);
    page += &every(rows);
    page
}

const METHOD: &str = "Every scenario of the lab's network (`hoofbeat lab list --net`) is built anew from Linux network namespaces: client, home \
router with NAT, access provider, transit, the server's edge, the server, beside them a control server, a witness and a second client on a mobile network. \
`hoofbeat trace --witness … --control … --ca … --prefixes … --archive FILE --json TARGET` runs on the client (as `check`, and traces \
whatever it finds), the same without privilege and without \
witness, and plain checks on the mobile network and, by the postmaster, inside the server's own; where only the phone meets something (the dispute of 2014), the two change places. The truth stands in the scenario's file, written before the run. The archives \
are then judged offline (`hoofbeat explain`) with more and with fewer means, so that the engines differ in nothing but evidence: *check alone* has the \
dialogues, *U* the traces of an unprivileged process, *R* those with raw sockets, then the witness's signed report is added (both ends' bytes, its trace back, and what it met itself at the server where something was odd), then the second network, then the view from inside. \
Routers and boxes are ours, made from documented behaviour, and all routers are Linux: the tables show that the method tells apart what is in them, \
not how often it is right in the wild.\n\n\
*Accused* means named with a probability of 0.80 or more. A **false accusation** is a verdict of interference, or a place other than the server accused, where \
nothing interferes. *As honest* counts answers that name another place which the scenario allows, because nothing that can be seen tells the two apart \
(a box on the home router's inner side and one on the host, the edge's outer side and its provider). Bounds are exact (Clopper and Pearson), one-sided, 95 %. Log loss and Brier score are over the seven places, with undetermined belief spread evenly; \
`clear` where something stands in the way costs ln 1000.";

/// A few lines for the terminal.
pub(crate) fn in_short(rows: &[Row], not_run: &[NotRun]) -> String {
    let held_out: Vec<&Row> = rows.iter().filter(|row| row.case.held_out).collect();
    let training: Vec<&Row> = rows.iter().filter(|row| !row.case.held_out).collect();
    format!(
        "{} runs, {} not run\n\nHeld out\n{}{}\nTraining\n{}{}{}",
        rows.len(),
        not_run.len(),
        targets(&target::all(&held_out)),
        engines(&held_out),
        engines(&training),
        differing(rows),
        left_out(not_run),
    )
}

fn targets(targets: &[Target]) -> String {
    let mut text =
        "## Targets (held-out runs)\n\n| target | found | met |\n|---|---|---|\n".to_owned();
    for target in targets {
        let met = match target.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "nothing to say",
        };
        let _ = writeln!(text, "| {} | {} | {met} |", target.what, target.found);
    }
    text.push('\n');
    text
}

/// One line an engine.
fn engines(rows: &[&Row]) -> String {
    let mut text = "| | runs | right place | as honest | undetermined | wrong place | false accusations (of innocent runs; bound) | another accused | missed | \
segment exact, of all on the path (of told) | within one | credible set holds, mean hops | macro-F1 | log loss | Brier |\n\
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for engine in Engine::ALL {
        let tally = Tally::of(rows.iter().filter_map(|row| row.said(engine)));
        if tally.runs == 0 {
            continue;
        }
        let belief = Belief::of(rows.iter().filter_map(|row| row.by(engine)));
        let _ = writeln!(
            text,
            "| {} {} {:.2} | {:.2} | {:.2} |",
            line(engine.name(), &tally),
            hops(&tally),
            tally.macro_f1(),
            belief.log_loss,
            belief.brier
        );
    }
    text.push('\n');
    text
}

/// The columns that rules without probabilities have too.
fn line(name: &str, tally: &Tally) -> String {
    format!(
        "{name} | {} | {} | {} | {} | {} | {} of {} (≤ {}) | {} | {} |",
        tally.runs,
        of(tally.right, tally.runs),
        tally.honest,
        of(tally.abstained, tally.runs),
        of(tally.wrong, tally.runs),
        tally.false_accusations.len(),
        tally.innocent,
        percent(upper(tally.false_accusations.len(), tally.innocent)),
        tally.another_named.len(),
        of(tally.missed.len(), tally.guilty),
    )
}

fn hops(tally: &Tally) -> String {
    let hops = &tally.hops;
    let width = hops.width as f64 / hops.credible.max(1) as f64;
    format!(
        "{} ({}) | {} | {}, {width:.1} |",
        of(hops.exact, hops.on_path),
        percent(share(hops.exact, hops.told)),
        of(hops.within_one, hops.on_path),
        of(hops.covered, hops.credible),
    )
}

fn confusion(rows: &[&Row]) -> String {
    let mut text = "### Truth (rows) and answer (columns)\n\n".to_owned();
    for engine in Engine::ALL {
        let tally = Tally::of(rows.iter().filter_map(|row| row.said(engine)));
        if tally.runs == 0 {
            continue;
        }
        let headings: String = Place::ALL
            .iter()
            .map(|place| format!(" {} |", place.heading()))
            .collect();
        let _ = writeln!(
            text,
            "{}:\n\n| |{headings}\n|---|{}",
            engine.name(),
            "---|".repeat(Place::ALL.len())
        );
        for (truth, counts) in Place::ALL.iter().zip(&tally.confusion) {
            if counts.iter().sum::<usize>() == 0 {
                continue;
            }
            let cells = Place::ALL
                .iter()
                .zip(counts)
                .map(|(place, count)| match count {
                    0 => " |".to_owned(),
                    count if place == truth => format!(" **{count}** |"),
                    count => format!(" {count} |"),
                });
            let _ = writeln!(text, "| {} |{}", truth.word(), cells.collect::<String>());
        }
        let _ = writeln!(
            text,
            "\nThe server's edge accused for a network on the way: {}; a network accused for the server's edge: {}.\n",
            tally.edge_for_network, tally.network_for_edge
        );
    }
    text
}

/// How often each word was right: reliability, and coverage against risk.
fn words(rows: &[&Row]) -> String {
    let mut text = "### What the words are worth\n\nAnswers that name a place, by the probability that they give it; in brackets the mean of those probabilities.\n\n\
| | ≥ .95 established | ≥ .80 likely | ≥ .60 indicated | less | right verdict and mechanism |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for engine in Engine::ALL {
        let judged: Vec<_> = rows.iter().filter_map(|row| row.by(engine)).collect();
        if judged.is_empty() {
            continue;
        }
        let steps = reliability(judged.iter().copied()).map(|step| {
            if step.named == 0 {
                return " – |".to_owned();
            }
            let told = step.told / step.named as f64;
            format!(" {} ({told:.2}) |", of(step.right, step.named))
        });
        let right = judged
            .iter()
            .filter(|(case, answer)| case.accepts(&answer.verdict, answer.mechanism.as_deref()))
            .count();
        let _ = writeln!(
            text,
            "| {} |{} {} |",
            engine.name(),
            steps.concat(),
            of(right, judged.len())
        );
    }
    text.push('\n');
    text
}

/// The strongest engine's counts, split by one property of the runs; beside it R's segments.
fn by(rows: &[&Row], name: &str, key: impl Fn(&Case) -> String) -> String {
    let keys: BTreeSet<String> = rows.iter().map(|row| key(&row.case)).collect();
    let mut text = format!(
        "### By {name}\n\n| {name} | runs | right: check alone | U | R | R + witness | wrong: R + witness | false accusations | segment exact: U | R | R + witness |\n\
|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for wanted in keys {
        let tally = |engine: Engine| {
            let of_kind = rows.iter().filter(|row| key(&row.case) == wanted);
            Tally::of(of_kind.filter_map(|row| row.said(engine)))
        };
        let [check, u, r, witness] = [
            Engine::Check,
            Engine::Unprivileged,
            Engine::Raw,
            Engine::Witness,
        ]
        .map(tally);
        let right = |tally: &Tally| format!(" {} |", of(tally.right, tally.runs));
        let exact = |tally: &Tally| match tally.hops.on_path {
            0 => " – |".to_owned(),
            on_path => format!(" {} |", of(tally.hops.exact, on_path)),
        };
        let _ = writeln!(
            text,
            "| {wanted} | {} |{} {} | {} |{}",
            witness.runs,
            [&check, &u, &r, &witness].map(right).concat(),
            witness.wrong,
            witness.false_accusations.len(),
            [&u, &r, &witness].map(exact).concat(),
        );
    }
    text.push('\n');
    text
}

fn baselines(rows: &[&Row]) -> String {
    let mut text = "### Beside rules that people use\n\n".to_owned();
    for rule in &RULES {
        let _ = writeln!(text, "- *{}*: {}", rule.name, rule.says);
    }
    text += "\n| | runs | right place | as honest | undetermined | wrong place | false accusations (of innocent runs; bound) | another accused | missed | \
segment exact, of all on the path (of told) | within one | macro-F1 |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    let mut add = |name: &str, tally: &Tally| {
        let hops = &tally.hops;
        let _ = writeln!(
            text,
            "| {} {} ({}) | {} | {:.2} |",
            line(name, tally),
            of(hops.exact, hops.on_path),
            percent(share(hops.exact, hops.told)),
            of(hops.within_one, hops.on_path),
            tally.macro_f1()
        );
    };
    for (at, rule) in RULES.iter().enumerate() {
        let claimed = rows
            .iter()
            .filter_map(|row| Some((&row.case, Said::from(*row.claims.get(at)?))));
        add(rule.name, &Tally::of(claimed));
    }
    for engine in [Engine::Raw, Engine::FULLEST] {
        let tally = Tally::of(rows.iter().filter_map(|row| row.said(engine)));
        add(&format!("Hoofbeat, {}", engine.name()), &tally);
    }
    text.push('\n');
    text
}

/// The fullest judgement with one group of evidence left out at a time.
fn ablation(rows: &[&Row]) -> String {
    let full = Tally::of(rows.iter().filter_map(|row| row.said(Engine::FULLEST)));
    let groups: BTreeSet<&String> = rows.iter().flat_map(|row| row.without.keys()).collect();
    if groups.is_empty() {
        return String::new();
    }
    let mut text = "### Without one group of evidence\n\nThe fullest judgement again, with one group not weighed. *Entered* counts the runs in which the group said anything.\n\n\
| left out | entered | right place | wrong place | false accusations | another accused | segment exact | macro-F1 | lost |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut add = |name: &str, entered: String, tally: &Tally| {
        let _ = writeln!(
            text,
            "| {name} | {entered} | {} | {} | {} | {} | {} | {:.3} | {:+.3} |",
            of(tally.right, tally.runs),
            tally.wrong,
            tally.false_accusations.len(),
            tally.another_named.len(),
            of(tally.hops.exact, tally.hops.on_path),
            tally.macro_f1(),
            tally.macro_f1() - full.macro_f1(),
        );
    };
    add("nothing", "–".to_owned(), &full);
    for group in sorted_groups(&groups) {
        let judged: Vec<(&Case, Said)> = rows
            .iter()
            .filter_map(|row| {
                // Where the group said nothing, leaving it out changes nothing.
                let whole = row.answers.get(&Engine::FULLEST);
                Some((&row.case, Said::from(row.without.get(group).or(whole)?)))
            })
            .collect();
        let entered = rows
            .iter()
            .filter_map(|row| row.answers.get(&Engine::FULLEST))
            .filter(|answer| answer.weighed.iter().any(|(one, _)| one == group))
            .count();
        add(group, entered.to_string(), &Tally::of(judged));
    }
    text.push('\n');
    text
}

/// G2 before G10, words behind numbers.
fn sorted_groups<'a>(groups: &BTreeSet<&'a String>) -> Vec<&'a String> {
    let mut list: Vec<&String> = groups.iter().copied().collect();
    list.sort_by_key(|group| {
        let number = group.trim_start_matches('G').parse::<u32>();
        (number.unwrap_or(u32::MAX), group.as_str())
    });
    list
}

fn cost(rows: &[&Row]) -> String {
    let mut text = "### Cost\n\nTo the target's own host, median (most). SYNs with a limited TTL that never became a connection are counted apart.\n\n\
| | connections | limited SYNs |\n|---|---|---|\n"
        .to_owned();
    for engine in Engine::ALL {
        let costs: Vec<_> = rows
            .iter()
            .filter_map(|row| row.cost.get(&engine))
            .collect();
        let column = |values: Vec<usize>| {
            let most = values.iter().max().copied().unwrap_or_default();
            let values: Vec<f64> = values.into_iter().map(|value| value as f64).collect();
            format!("{} ({most})", median(&values))
        };
        if !costs.is_empty() {
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                engine.name(),
                column(costs.iter().map(|cost| cost.connections).collect()),
                column(costs.iter().map(|cost| cost.syns).collect()),
            );
        }
    }
    let seconds: Vec<f64> = rows.iter().map(|row| row.seconds).collect();
    let most = seconds.iter().copied().fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "\n`hoofbeat trace` with raw sockets and witness took {:.1} seconds (most {most:.1}).\n",
        median(&seconds)
    );
    text
}

fn of(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    format!("{part} of {whole}, {}", percent(share(part, whole)))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::super::archive::Cost;
    use super::super::baseline::Claim;
    use super::super::row::Live;
    use super::super::score::tests::case;
    use super::*;
    use std::collections::BTreeMap;

    fn row(id: &str, truth: Place, held_out: bool, verdict: &str, said: Place) -> Row {
        let mut case = case(id, truth, None);
        case.held_out = held_out;
        let said = answer(verdict, said, 0.85);
        let claim = Claim {
            place: Place::Undetermined,
            segment: None,
        };
        Row {
            case,
            answers: Engine::ALL.map(|engine| (engine, said.clone())).into(),
            live: Live::NotCompared,
            without: BTreeMap::from([("G2".to_owned(), said.clone()), ("G11".to_owned(), said)]),
            claims: vec![claim; 3],
            cost: BTreeMap::from([(
                Engine::Raw,
                Cost {
                    connections: 3,
                    syns: 5,
                },
            )]),
            seconds: 2.0,
        }
    }

    fn written() -> String {
        let rows = [
            row(
                "held-right",
                Place::Access,
                true,
                "interference",
                Place::Access,
            ),
            row(
                "held-accused",
                Place::Server,
                true,
                "interference",
                Place::ServerEdge,
            ),
            row(
                "trained",
                Place::ServerEdge,
                false,
                "interference",
                Place::ServerEdge,
            ),
        ];
        let not_run = [NotRun {
            id: "broken".to_owned(),
            held_out: true,
            why: "no | answer".to_owned(),
        }];
        let head = Head {
            machine: "today.".to_owned(),
            program: "hoofbeat 0".to_owned(),
            jobs: 3,
            again: false,
            took: 60.0,
        };
        page(&rows, &not_run, &head)
    }

    #[test]
    fn the_page_names_every_error_and_what_was_not_run() {
        let page = written();
        assert!(page.contains("| held-accused | server |"), "{page}");
        assert!(
            page.contains("**interference · server-edge 0.85**"),
            "{page}"
        );
        assert!(
            page.contains("| broken | held out | no   answer |"),
            "{page}"
        );
        assert!(
            page.contains("2 held out, 1 for training; 1 could not be run"),
            "{page}"
        );
    }

    #[test]
    fn training_runs_stay_out_of_the_held_out_sums() {
        let page = written();
        let (held_out, training) = page.split_once("## Training runs").expect("both parts");
        assert!(!held_out.contains("trained"));
        assert!(
            training.contains("| check alone | 1 | 1 of 1, 100.0 % |"),
            "{training}"
        );
        assert!(held_out.contains("1 of 1 (≤ 100.0 %)"), "{held_out}");
    }

    #[test]
    fn tables_are_rectangular() {
        let page = written();
        let mut columns = None;
        for line in page.lines() {
            if !line.starts_with('|') {
                columns = None;
                continue;
            }
            let found = line.matches('|').count();
            assert_eq!(*columns.get_or_insert(found), found, "{line}");
        }
    }

    #[test]
    fn groups_are_listed_by_their_numbers() {
        let names = ["G10", "G2", "handshake", "G1"].map(str::to_owned);
        let set: BTreeSet<&String> = names.iter().collect();
        assert_eq!(sorted_groups(&set), ["G1", "G2", "G10", "handshake"]);
    }
}
