//! Unfolds the matrix: boxes × confounders, at positions, in directions, in front of servers and over protocols that take
//! turns, so that every run's expectation follows from where its box stands.
//!
//! Deterministic: the same text gives the same runs with the same names. It must not know what any judge answers.

mod stand;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use super::plan::{ChainSpec, Plan};
use super::scenario::{Axes, Class, NetExpected, NetScenario, Span};
use super::server::port_of;
use crate::protocol::{Protocol, Scheme};
use crate::scenario::{Conclusion, Mechanism, ReadError, Verdict, merge};

use stand::{BLOCKS, NODES, STANDS, Stand};

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Matrix {
    representative: Vec<String>,
    confounder: Vec<Confounder>,
    #[serde(rename = "box")]
    boxes: Vec<BoxRow>,
    honest: Vec<HonestRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confounder {
    word: String,
    /// Laid over the run.
    #[serde(default)]
    lay: Table,
}

/// How a box acts on packets, which decides where it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Manner {
    /// Changes or swallows what passes.
    InPlace,
    /// Sends packets of its own.
    Speaks,
    /// Ends the connection and begins another.
    Terminates,
    /// Refuses connections.
    Blocks,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoxRow {
    kind: String,
    manner: Manner,
    protocols: Vec<Scheme>,
    #[serde(default)]
    directions: Vec<String>,
    device: Table,
    /// Laid over the device where this protocol is spoken: `imap`, `pop3`.
    #[serde(default)]
    words: BTreeMap<String, Table>,
    /// By direction; `both` where there is none.
    verdicts: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HonestRow {
    kind: String,
    protocols: Vec<Scheme>,
    #[serde(default)]
    lay: Table,
    /// What is spoken where this protocol is: not every program can be like that.
    #[serde(default)]
    dialects: BTreeMap<String, String>,
    /// Only the lab's own servers can be like that.
    #[serde(default)]
    own: bool,
    /// Only for SMTP can real servers be like that.
    #[serde(default)]
    own_imap: bool,
    class: Class,
    #[serde(default)]
    also_class: Vec<Class>,
    verdicts: Vec<Conclusion>,
    /// Other vantage points see a clean server.
    #[serde(default)]
    elsewhere: bool,
}

/// What serves SMTP in turn: program and dialect.
const MAIL_SERVERS: &[(&str, &str)] = &[
    ("own", "postfix"),
    ("own", "exim"),
    ("postfix", "postfix"),
    ("own", "sendmail"),
    ("own", "exchange"),
    ("exim", "exim"),
    ("own", "haraka"),
    ("own", "postfix-old"),
];
/// What serves IMAP and POP3 in turn.
const BOX_SERVERS: &[(&str, &str)] = &[
    ("own", "dovecot"),
    ("dovecot", "dovecot"),
    ("own", "courier"),
];

/// Unfolds `text`.
///
/// # Errors
/// When it is not TOML, or a run is none that a scenario can say.
pub fn expand(text: &str) -> Result<Vec<NetScenario>, ReadError> {
    let matrix: Matrix = toml::from_str(text)?;
    let mut runs = Vec::new();
    let mut turns = Turns::default();
    for (row, one) in matrix.boxes.iter().enumerate() {
        let stands = stands_of(one);
        let mut stand = row;
        for (column, confounder) in matrix.confounder.iter().enumerate() {
            let held_out = (row + column) % 2 == 1;
            for _ in 0..runs_of(row, column) {
                let place = next_fitting(&stands, &mut stand, &confounder.word);
                runs.push(turns.boxed(one, place, confounder, held_out)?);
            }
        }
    }
    for (row, one) in matrix.honest.iter().enumerate() {
        for (column, confounder) in matrix.confounder.iter().enumerate() {
            // What the second backend is like is the row's own matter.
            if confounder.word == "backends" && one.lay.contains_key("server") {
                continue;
            }
            let held_out = (row + column) % 2 == 1;
            runs.push(turns.honest(one, confounder, held_out)?);
        }
    }
    for run in &mut runs {
        run.representative = matrix.representative.contains(&run.id);
    }
    Ok(runs)
}

/// Without a confounder a box is shown at four positions; with one, at one or two.
fn runs_of(row: usize, column: usize) -> usize {
    match column {
        0 => 4,
        _ => 1 + (row / 2 + column) % 2,
    }
}

fn stands_of(one: &BoxRow) -> Vec<&'static Stand> {
    match one.manner {
        Manner::InPlace => STANDS.iter().collect(),
        // It needs addresses to send from.
        Manner::Speaks => STANDS.iter().filter(|stand| stand.at != "bridge").collect(),
        Manner::Blocks => {
            // A bridge has no address to send ICMP from.
            let icmp = one.device.get("how").and_then(Value::as_str) == Some("icmp");
            let fits =
                |stand: &&Stand| BLOCKS.contains(&stand.word) && !(icmp && stand.at == "bridge");
            STANDS.iter().filter(fits).collect()
        }
        Manner::Terminates => {
            // A host cannot speak to itself from a stranger's address.
            let kept = one.device.get("address").and_then(Value::as_str) == Some("kept");
            let fits = |stand: &&Stand| !(kept && stand.at == "client");
            NODES.iter().filter(fits).collect()
        }
    }
}

/// The next position in turn that goes with this confounder.
fn next_fitting(stands: &[&'static Stand], stand: &mut usize, confounder: &str) -> &'static Stand {
    loop {
        let place = stands[*stand % stands.len()];
        *stand += 1;
        // One bridge is drawn at most.
        if !(place.at == "bridge" && confounder == "innocent-bridge") {
            return place;
        }
    }
}

/// Whose turn it is.
#[derive(Default)]
struct Turns {
    scheme: BTreeMap<String, usize>,
    direction: BTreeMap<String, usize>,
    mail_server: usize,
    box_server: usize,
}

impl Turns {
    fn boxed(
        &mut self,
        one: &BoxRow,
        stand: &Stand,
        confounder: &Confounder,
        held_out: bool,
    ) -> Result<NetScenario, ReadError> {
        let scheme = turn(&mut self.scheme, &one.kind, &one.protocols);
        let direction = turn(&mut self.direction, &one.kind, &one.directions);
        let mut run = Table::new();
        if stand.at == "bridge" {
            merge(&mut run, table("chain", table("bridge-before", "edge")));
        }
        merge(&mut run, confounder.lay.clone());
        self.server(&mut run, scheme, confounder.word == "backends");
        let mut device = one.device.clone();
        device.insert("hook".to_owned(), stand.hook.into());
        let scheme_word = scheme.map_or("smtp", |scheme| scheme.as_str());
        if let Some(words) = one.words.get(scheme_word) {
            merge(&mut device, words.clone());
        }
        if one.manner == Manner::Blocks {
            // Providers block a port, not mail.
            let ports = vec![i64::from(port_of(scheme.copied().unwrap_or(Scheme::Smtp)))];
            device.insert("only".to_owned(), table("ports", ports).into());
        }
        if let Some(direction) = direction {
            device.insert("direction".to_owned(), direction.clone().into());
        }
        let mut placed = Table::new();
        placed.insert("at".to_owned(), stand.at.into());
        placed.insert("device".to_owned(), device.into());
        run.insert("device".to_owned(), vec![Value::from(placed)].into());
        let id = format!("{}-at-{}-{}", one.kind, stand.word, confounder.word);
        let title = format!("{} at {}, {}", one.kind, stand.word, confounder.word);
        let mut scenario = base(&mut run, &id, &title, scheme)?;
        let plan = plan_of(&scenario.chain);
        let direction = direction.cloned().unwrap_or_default();
        let words = one
            .verdicts
            .get(&direction)
            .or_else(|| one.verdicts.get("both"));
        let verdicts = conclusions(words.map_or(&[][..], Vec::as_slice));
        for vantage in ["client", "peer", "mobile", "inside"] {
            let expected = expected(one.manner, stand, &scenario, &plan, vantage, &verdicts);
            scenario.expected.insert(vantage.to_owned(), expected);
        }
        if one.manner == Manner::InPlace && direction == "to-server" {
            forget(&mut scenario, |expected| expected.reply_segment = None);
        }
        if direction == "to-client" {
            forget(&mut scenario, |expected| {
                // Resets towards the client are set off by what goes to the server.
                if one.manner == Manner::InPlace {
                    expected.segment = None;
                }
            });
        }
        let around = scenario.expected.get("client").and_then(|one| one.segment);
        let around = around.or_else(|| reply_of(&scenario));
        resolve(&mut scenario, &plan, around);
        scenario.axes = Axes {
            position: stand.position.to_owned(),
            kind: one.kind.clone(),
            direction,
            confounder: confounder.word.clone(),
        };
        scenario.held_out = held_out;
        Ok(scenario)
    }

    fn honest(
        &mut self,
        one: &HonestRow,
        confounder: &Confounder,
        held_out: bool,
    ) -> Result<NetScenario, ReadError> {
        let scheme = turn(&mut self.scheme, &one.kind, &one.protocols).unwrap_or(&Scheme::Smtp);
        let mut run = confounder.lay.clone();
        merge(&mut run, one.lay.clone());
        let own = one.own
            || (one.own_imap && scheme.protocol() != Protocol::Smtp)
            || confounder.word == "backends";
        if let Some(dialect) = one.dialects.get(scheme.as_str()) {
            let spec = table("spec", table("dialect", dialect.as_str()));
            merge(&mut run, table("server", spec));
        }
        self.server(&mut run, Some(scheme), own);
        let id = format!("{}-{}", one.kind, confounder.word);
        let title = format!("{}, {}", one.kind, confounder.word);
        let mut scenario = base(&mut run, &id, &title, Some(scheme))?;
        let there = NetExpected {
            class: one.class,
            also_class: one.also_class.clone(),
            segment: None,
            reply_segment: None,
            verdicts: one.verdicts.clone(),
        };
        for vantage in ["client", "peer", "mobile", "inside"] {
            let far = one.elsewhere && matches!(vantage, "mobile" | "inside");
            let expected = if far { clear() } else { there.clone() };
            scenario.expected.insert(vantage.to_owned(), expected);
        }
        let plan = plan_of(&scenario.chain);
        let middle = Span {
            after_hop: 3,
            up_to_hop: 4,
        };
        resolve(&mut scenario, &plan, Some(middle));
        scenario.axes = Axes {
            position: match one.class {
                Class::None => "none",
                Class::ServerPolicy => "server-policy",
                _ => "server",
            }
            .to_owned(),
            kind: one.kind.clone(),
            direction: String::new(),
            confounder: confounder.word.clone(),
        };
        scenario.held_out = held_out;
        Ok(scenario)
    }

    /// Lays the server whose turn it is under what the row says of it.
    fn server(&mut self, run: &mut Table, scheme: Option<&Scheme>, own: bool) {
        let (all, next) = match scheme.map(|scheme| scheme.protocol()) {
            Some(Protocol::Imap | Protocol::Pop3) => (BOX_SERVERS, &mut self.box_server),
            _ => (MAIL_SERVERS, &mut self.mail_server),
        };
        let (mut program, dialect) = all[*next % all.len()];
        *next += 1;
        if own {
            program = "own";
        }
        let mut server = table("program", program);
        server.insert("spec".to_owned(), table("dialect", dialect).into());
        let mut whole = table("server", server);
        merge(&mut whole, std::mem::take(run));
        *run = whole;
    }
}

fn turn<'a, T>(turns: &mut BTreeMap<String, usize>, kind: &str, all: &'a [T]) -> Option<&'a T> {
    let next = turns.entry(kind.to_owned()).or_default();
    // One further at each round: lists of the same row must not march in step.
    let round = next.checked_div(all.len())?;
    let at = (*next + round) % all.len();
    *next += 1;
    all.get(at)
}

fn table(key: &str, value: impl Into<Value>) -> Table {
    Table::from_iter([(key.to_owned(), value.into())])
}

fn base(
    run: &mut Table,
    id: &str,
    title: &str,
    scheme: Option<&Scheme>,
) -> Result<NetScenario, ReadError> {
    let scheme = scheme.copied().unwrap_or(Scheme::Smtp);
    run.insert("id".to_owned(), id.into());
    run.insert("title".to_owned(), title.into());
    run.insert("scheme".to_owned(), scheme.as_str().into());
    run.insert("expected".to_owned(), Table::new().into());
    Ok(std::mem::take(run).try_into()?)
}

/// The matrix's layouts are all drawable, which a test holds.
fn plan_of(chain: &ChainSpec) -> Plan {
    Plan::draw(chain)
        .or_else(|_| Plan::draw(&ChainSpec::default()))
        .unwrap_or_else(|error| unreachable!("the usual chain can be drawn: {error}"))
}

fn clear() -> NetExpected {
    NetExpected {
        class: Class::None,
        also_class: Vec::new(),
        segment: None,
        reply_segment: None,
        verdicts: vec![Conclusion {
            verdict: Verdict::Clear,
            mechanism: None,
        }],
    }
}

/// Mechanisms of interference by their words, and `unreachable`.
fn conclusions(words: &[String]) -> Vec<Conclusion> {
    words
        .iter()
        .map(|word| {
            let mechanism = Mechanism::ALL.iter().find(|one| one.word() == word);
            let verdict = match mechanism {
                Some(_) => Verdict::Interference,
                None => Verdict::Unreachable,
            };
            Conclusion {
                verdict,
                mechanism: mechanism.copied(),
            }
        })
        .collect()
}

/// What a box at `stand` looks like from `vantage`.
fn expected(
    manner: Manner,
    stand: &Stand,
    scenario: &NetScenario,
    plan: &Plan,
    vantage: &str,
    verdicts: &[Conclusion],
) -> NetExpected {
    let before_mobile = ["client", "home", "isp-1"].contains(&stand.at);
    let passes = match vantage {
        "client" => true,
        "peer" => stand.at != "client",
        "mobile" => !before_mobile,
        _ => false,
    };
    if !passes {
        return clear();
    }
    let confounders = &scenario.confounders;
    let mut also = stand.also.to_vec();
    if vantage == "mobile" && also.contains(&Class::AccessNetwork) && stand.class != Class::Transit
    {
        also.retain(|class| *class != Class::AccessNetwork);
    }
    let on_one_way = stand.at == "transit-1"
        && vantage != "mobile"
        && (confounders.two_ways || confounders.path_change.is_some());
    if on_one_way {
        // A connection that takes the other way meets nobody.
        also.push(Class::None);
    }
    let mut verdicts = verdicts.to_vec();
    if on_one_way {
        verdicts.extend(clear().verdicts);
    }
    let moves = confounders.path_change.is_some() && !before_mobile && vantage != "mobile";
    let (there, back) = match stand.at {
        "bridge" => {
            let hop = plan.hop(vantage_chain(vantage), "edge").unwrap_or_default();
            (span(hop), span(hop))
        }
        at => {
            let hop = plan.hop(vantage_chain(vantage), at).unwrap_or_default();
            match (manner, stand.hook) {
                (_, "host") => (span(1), span(1)),
                (Manner::Terminates, _) => (span(hop), span(hop)),
                (Manner::Blocks, _) => (span(hop + 1), None),
                (_, "client-link") => (span(hop), span(hop)),
                (_, "server-link") => (span(hop + 1), span(hop + 1)),
                _ => (span(hop + 1), span(hop)),
            }
        }
    };
    NetExpected {
        class: stand.class,
        also_class: also,
        segment: there.filter(|_| !moves),
        reply_segment: back.filter(|_| !moves && manner == Manner::InPlace),
        verdicts,
    }
}

/// The peer stands where the client stands.
fn vantage_chain(vantage: &str) -> &str {
    if vantage == "mobile" {
        "mobile"
    } else {
        "client"
    }
}

/// The segment that ends at this hop.
fn span(up_to_hop: u8) -> Option<Span> {
    Some(Span {
        after_hop: up_to_hop.checked_sub(1)?,
        up_to_hop,
    })
}

fn forget(scenario: &mut NetScenario, change: impl Fn(&mut NetExpected)) {
    scenario.expected.values_mut().for_each(change);
}

fn reply_of(scenario: &NetScenario) -> Option<Span> {
    scenario.expected.get("client")?.reply_segment
}

/// Puts routers in the place of `@before` and `@after`. Where the segment ends at an end of the path there is none, and
/// the nearest router is taken.
fn resolve(scenario: &mut NetScenario, plan: &Plan, around: Option<Span>) {
    let router = |hop: u8| {
        let last = plan.chain.len();
        let index = usize::from(hop).clamp(1, last) - 1;
        plan.chain.get(index).cloned().unwrap_or_default()
    };
    let span = around.unwrap_or(Span {
        after_hop: 3,
        up_to_hop: 4,
    });
    let confounders = &mut scenario.confounders;
    for names in [
        &mut confounders.silent,
        &mut confounders.short_quotes,
        &mut confounders.rate_limited,
    ] {
        for name in names.iter_mut() {
            match name.as_str() {
                "@before" => *name = router(span.after_hop),
                "@after" => *name = router(span.up_to_hop),
                _ => {}
            }
        }
        names.sort();
        names.dedup();
    }
}
