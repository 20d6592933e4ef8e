//! `docs/accuracy.md`: the method, the sums, and every scenario, so that each number can be checked by hand.

use std::fmt::Write as _;

use super::peers::{PEERS, Peer};
use super::score::{PeerScore, Score, is_right, median, own_medians, share, truth};
use super::{Row, State};
use crate::machine::description;

/// The whole page. `tools` holds each peer's version, none where it was not asked.
pub(crate) fn page(
    rows: &[Row],
    score: &Score,
    tools: &[Option<String>],
    own_version: &str,
    jobs: usize,
) -> String {
    let mut page = String::new();
    let asked = tools.iter().any(Option::is_some);
    let command = if asked {
        "cargo xtask accuracy --peers"
    } else {
        "cargo xtask accuracy"
    };
    let _ = writeln!(
        page,
        "# How often Hoofbeat is right\n\nWritten by `{command}`; do not edit. {}\n",
        description()
    );
    page += METHOD;
    let _ = writeln!(
        page,
        "\nProgram: {own_version}, release build, {jobs} scenarios at once.\n"
    );
    page += &summaries(rows);
    if asked {
        page += &peers(rows, score, tools);
    }
    page += &scenarios(rows, tools);
    page
}

const METHOD: &str = "Every scenario of the lab (`hoofbeat lab list`) is started on loopback and checked by \
`hoofbeat check --json --control CONTROL --sibling SIBLING --ca CA URL`, where CONTROL is a clean server of the same scenario (behind the same \
box, if the box is on the client's side) and SIBLING are the host's other ports, if it has any. The expected verdict stands in the scenario's file, written before the check; where \
two answers are honest from one vantage point, the file names both. The scenarios were made by us, from documented bytes of \
real products: this table shows that Hoofbeat tells apart what is in it, not how often it is right in the wild.\n";

/// A few lines for the terminal: the sums and everything that is wrong.
pub(crate) fn in_short(rows: &[Row], score: &Score) -> String {
    let mut text = format!("All scenarios\n\n{}", summary(rows, score));
    for row in rows
        .iter()
        .filter(|row| !is_right(row.scenario, &row.answer))
    {
        let _ = writeln!(
            text,
            "wrong: {:<40} expected {}, got {}",
            row.scenario.id,
            expected(row),
            got(row)
        );
    }
    text
}

/// The scenarios that the judge grew up with, and those that it had not seen; the rows are in this order.
fn summaries(rows: &[Row]) -> String {
    let (known, held_out) = rows.split_at(rows.partition_point(|row| !row.scenario.held_out));
    let mut text = String::new();
    for (heading, said, rows) in [
        (
            "The scenarios that the judge was developed on",
            KNOWN,
            known,
        ),
        ("Held out", HELD_OUT, held_out),
    ] {
        if !rows.is_empty() {
            let _ = writeln!(text, "## {heading}\n\n{said}\n");
            text += &summary(rows, &Score::of(rows));
        }
    }
    text
}

const KNOWN: &str = "Its rules were written and mended with these in view, so this is what it was made to do, not an estimate.";
const HELD_OUT: &str = "Written from the facts by somebody who had not seen the judge. What they showed to be wrong was \
mended since, where it was a mistake of the judge (`docs/design/` tells which); they are held out no longer than once.";

fn summary(rows: &[Row], score: &Score) -> String {
    let (connections, seconds) = own_medians(rows);
    let of = |part: usize, whole: usize| {
        format!("{part} of {whole} ({:.1} %)", 100.0 * share(part, whole))
    };
    let list = |ids: &[&str]| {
        if ids.is_empty() {
            "0".to_owned()
        } else {
            format!("{}: {}", ids.len(), ids.join(", "))
        }
    };
    let most = rows
        .iter()
        .map(|row| row.answer.connections)
        .max()
        .unwrap_or_default();
    let mut text = "| measure | value |\n|---|---|\n".to_owned();
    for (measure, value) in [
        (
            "state right (encrypts, interference, server, unknown)",
            of(score.states_right, score.scenarios),
        ),
        (
            "verdict and mechanism right",
            of(score.mechanisms_right, score.scenarios),
        ),
        (
            "product named rightly, where the bytes name one",
            of(score.products_right, score.products),
        ),
        (
            "place named rightly, where the wire proves one",
            of(score.places_right, score.places),
        ),
        ("wrong product named", list(&score.products_wrong)),
        ("**false accusations**", list(&score.false_accusations)),
        (
            "**misses** (clear or server, where something interferes)",
            list(&score.misses),
        ),
        (
            "no answer where something interferes",
            list(&score.abstained),
        ),
        (
            "expected weakness not named",
            list(&score.weaknesses_missed),
        ),
        ("exit status not as promised", list(&score.exits_wrong)),
        (
            "connections to the server per verdict, median (most)",
            format!("{connections} ({most})"),
        ),
        ("seconds per verdict, median", format!("{seconds:.2}")),
    ] {
        let _ = writeln!(text, "| {measure} | {value} |");
    }
    text.push('\n');
    text
}

fn peers(rows: &[Row], score: &Score, tools: &[Option<String>]) -> String {
    let mut text = PEERS_INTRODUCTION.to_owned();
    let (connections, seconds) = own_medians(rows);
    let answered = |said: State, is: fn(State) -> bool| {
        let wanted = |row: &&Row| State::of(&row.answer.verdict) == said && is(truth(row.scenario));
        rows.iter()
            .filter(wanted)
            .filter(|row| !is_right(row.scenario, &row.answer))
            .count()
    };
    let _ = writeln!(
        text,
        "| **hoofbeat** | {} | {} | {} | {} | {} | {} | {} | {connections} | {seconds:.2} |",
        score.scenarios,
        score.states_right,
        answered(State::Server, |truth| truth == State::Interference),
        answered(State::Encrypts, |truth| truth == State::Interference),
        score.false_accusations.len(),
        answered(State::Server, |truth| truth == State::Encrypts),
        answered(State::Unknown, |truth| truth != State::Unknown),
    );
    for ((peer, version), score) in PEERS.iter().zip(tools).zip(&score.peers) {
        match version {
            Some(_) => text += &peer_line(peer.name, score),
            None => _ = writeln!(text, "| {} | not installed | | | | | | | | |", peer.name),
        }
    }
    let version = |(peer, version): (&Peer, &Option<String>)| {
        version
            .as_ref()
            .map(|version| format!("{} `{version}`", peer.name))
    };
    let versions: Vec<String> = PEERS.iter().zip(tools).filter_map(version).collect();
    let _ = writeln!(text, "\nVersions: {}.\n", versions.join(", "));
    text
}

const PEERS_INTRODUCTION: &str = "## Beside the tools that people use today\n\n\
Most of these do not claim to tell interference from a server's own doing (nmap's version detection knows a few boxes by their \
banner), so they cannot be right about boxes; the question is what they say instead. What each answer counts as stands in \
`xtask/src/accuracy/peers.rs`. swaks, openssl and posttls-finger are asked to verify the certificate; sslscan, nmap and \
testssl -p do not verify, and a bad certificate counts as wrong for them. Each is asked only about protocols that it speaks, and testssl, \
which takes ten to twenty seconds a server, only about the scenarios of `hoofbeat demo`.\n\n\
| tool | asked | state right | blames the server for a box | calls a box clear | accuses falsely | blames a good server | no answer | connections | seconds |\n\
|---|---|---|---|---|---|---|---|---|---|\n";

fn peer_line(name: &str, score: &PeerScore) -> String {
    let connections: Vec<f64> = score
        .connections
        .iter()
        .map(|count| *count as f64)
        .collect();
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} |\n",
        score.asked,
        score.right,
        score.blames_server,
        score.calls_clear,
        score.accuses_falsely,
        score.blames_good_server,
        score.unknown,
        median(&connections),
        median(&score.seconds)
    )
}

fn scenarios(rows: &[Row], tools: &[Option<String>]) -> String {
    let asked: Vec<(usize, &str)> = PEERS
        .iter()
        .enumerate()
        .filter(|(index, _)| tools.get(*index).is_some_and(Option::is_some))
        .map(|(index, peer)| (index, peer.name))
        .collect();
    let mut text = "## Every scenario\n\n".to_owned();
    if !asked.is_empty() {
        text += "Peers: E = says that it encrypts, S = blames the server, I = sees a box, ? = no answer, – = does not speak the protocol.\n\n";
    }
    let names: String = asked.iter().map(|(_, name)| format!(" {name} |")).collect();
    let _ = writeln!(
        text,
        "| scenario | family | expected | Hoofbeat | | conn. | s |{names}"
    );
    let _ = writeln!(
        text,
        "|---|---|---|---|---|---|---|{}",
        "---|".repeat(asked.len())
    );
    for row in rows {
        let mark = if is_right(row.scenario, &row.answer) {
            ""
        } else {
            "**wrong**"
        };
        let letters: String = asked
            .iter()
            .map(|(index, _)| format!(" {} |", letter(row, *index)))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {mark} | {} | {:.2} |{letters}",
            row.scenario.id,
            row.scenario.family,
            expected(row),
            got(row),
            row.answer.connections,
            row.answer.took.as_secs_f64()
        );
    }
    text
}

fn letter(row: &Row, peer: usize) -> &'static str {
    match row
        .peers
        .get(peer)
        .and_then(Option::as_ref)
        .map(|answer| answer.state)
    {
        Some(State::Encrypts) => "E",
        Some(State::Server) => "S",
        Some(State::Interference) => "I",
        Some(State::Unknown) => "?",
        None => "–",
    }
}

fn expected(row: &Row) -> String {
    let expected = &row.scenario.expected;
    words(
        expected.verdict.word(),
        expected.mechanism.map(|word| word.word()),
        expected.product.as_deref(),
    )
}

fn got(row: &Row) -> String {
    words(
        &row.answer.verdict,
        row.answer.mechanism.as_deref(),
        row.answer.product.as_deref(),
    )
}

fn words(verdict: &str, mechanism: Option<&str>, product: Option<&str>) -> String {
    let parts = [Some(verdict), mechanism, product];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn absent_parts_leave_no_separators() {
        assert_eq!(super::words("clear", None, None), "clear");
        assert_eq!(
            super::words("interference", None, Some("cisco-asa")),
            "interference · cisco-asa"
        );
    }
}
