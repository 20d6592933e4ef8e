//! The whole program in networks of Linux namespaces: a dozen runs that stand for all, one for each place at least, and
//! the dispute of 2014 told three ways. `cargo xtask attribution` runs the others.
//!
//! Each run builds its own network by `hoofbeat lab up`, several at once. The expectations stand in the lab's scenarios;
//! here an answer that is merely honest (`undetermined`) is not enough. Needs Linux, root and the programs that networks are
//! made with: skipped with its reason elsewhere, and never where `CI=true` or `HOOFBEAT_NO_SKIP=1`.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hoofbeat_lab::topology::scenario::{Class, NetScenario};
use serde_json::Value;

/// Networks at once: they wait more than they work.
const JOBS: usize = 4;
/// A network and a check in it; the check ends by itself within a minute.
const LIMIT: Duration = Duration::from_secs(120);

const PROGRAM: &str = env!("CARGO_BIN_EXE_hoofbeat");

#[test]
fn each_representative_run_is_placed_rightly() {
    if !ready() {
        return;
    }
    let runs: Vec<&NetScenario> = representatives().collect();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some(scenario) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let judged = check(scenario).and_then(|answer| judge(scenario, &answer));
                    println!("{:6.1} s  {}", began.elapsed().as_secs_f64(), scenario.id);
                    if let Err(why) = judged {
                        wrong
                            .lock()
                            .expect("no panic")
                            .push(format!("{}: {why}", scenario.id));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(
        wrong.is_empty(),
        "{} of {} wrong:\n{}",
        wrong.len(),
        runs.len(),
        wrong.join("\n")
    );
}

/// Needs no network: the dozen is a dozen, and stands for all.
#[test]
fn the_representatives_cover_every_place_and_the_dispute() {
    let ids: BTreeSet<&str> = representatives().map(|run| run.id.as_str()).collect();
    assert!(
        (12..=20).contains(&ids.len()),
        "{} of them: {ids:?}",
        ids.len()
    );
    for dispute in ["dispute-carrier", "dispute-pix", "dispute-policy"] {
        assert!(ids.contains(dispute), "{dispute} is missing");
    }
    let places: BTreeSet<Class> = representatives()
        .filter_map(|run| Some(run.expected.get(vantage(run))?.class))
        .collect();
    for place in Class::ALL {
        assert!(
            places.contains(&place) || place == Class::Undetermined,
            "no representative run is about {place}"
        );
    }
    assert!(
        representatives().all(|run| !run.held_out),
        "held-out runs are measured, not tested on"
    );
}

fn representatives() -> impl Iterator<Item = &'static NetScenario> {
    NetScenario::all().iter().filter(|run| run.representative)
}

/// From where a run is checked: the dispute is about the phone's carrier.
fn vantage(scenario: &NetScenario) -> &'static str {
    if scenario.id.starts_with("dispute-") {
        "mobile"
    } else {
        "client"
    }
}

/// What the program said: exit status and document.
struct Answer {
    exit: i32,
    document: Value,
}

/// Builds the network and checks with every means.
fn check(scenario: &NetScenario) -> Result<Answer, String> {
    let folder = Folder::new(&scenario.id);
    let mut command = Command::new(PROGRAM);
    command
        .args([
            "lab",
            "up",
            &scenario.id,
            "--quiet",
            "--from",
            vantage(scenario),
            "--",
        ])
        .args([PROGRAM, "trace", "--json", "--engine", "raw"])
        .args(["--witness", "{witness}", "--control", "{control}"])
        .args(["--ca", "{ca}", "--prefixes", "{prefixes}", "{target}"])
        .stdin(Stdio::null());
    let (exit, said, errors) = run(&mut command, &folder.0)?;
    let line = said.lines().next().unwrap_or_default();
    let document = serde_json::from_str(line)
        .map_err(|error| format!("{error}; exit {exit}; {said:?}; {errors:?}"))?;
    Ok(Answer { exit, document })
}

/// Holds the answer against the scenario.
fn judge(scenario: &NetScenario, answer: &Answer) -> Result<(), String> {
    let expected = scenario
        .expected
        .get(vantage(scenario))
        .ok_or("nothing is expected of this vantage")?;
    let verdict = &answer.document["overall"]["verdict"];
    let findings = answer.document["findings"].as_array();
    let finding = findings
        .and_then(|all| {
            let asked = |one: &&Value| one["service"]["scheme"] == scenario.scheme.as_str();
            all.iter()
                .filter(asked)
                .find(|one| one["verdict"] == *verdict)
                .or_else(|| all.iter().find(asked))
        })
        .ok_or_else(|| {
            format!(
                "no finding about {}: {:#}",
                scenario.scheme, answer.document
            )
        })?;
    let word = finding["verdict"].as_str().unwrap_or_default();
    let location = &finding["location"];
    let mut wrong = Vec::new();
    if !expected.accepts(word, finding["mechanism"].as_str()) {
        wrong.push(format!("verdict, of {:?}", expected.verdicts));
    }
    let class = location["class"].as_str().unwrap_or_default();
    let is_accepted = Class::ALL
        .into_iter()
        .any(|one| one.word() == class && expected.accepts_class(one));
    if expected.class != Class::None && !is_accepted {
        wrong.push(format!("place, which is {}", expected.class));
    }
    // The dispute has no excuse: from one place a server's rule about who asks looks like a server without TLS, and the
    // witness looks from another.
    if scenario.id.starts_with("dispute-") && class != expected.class.word() {
        wrong.push(format!("place, which is plainly {}", expected.class));
    }
    if let Some(truth) = expected.segment {
        let told = &location["segment"];
        let hops = [&told["after_hop"], &told["up_to_hop"]].map(Value::as_u64);
        let holds = match hops {
            [Some(after), Some(up_to)] => {
                after <= u64::from(truth.after_hop) && up_to >= u64::from(truth.up_to_hop)
            }
            _ => told.is_null() && class == Class::Undetermined.word(),
        };
        if !holds {
            wrong.push(format!("segment, which is {truth:?}"));
        }
    }
    let exit = match word {
        "clear" => 0,
        "server" => 1,
        "interference" => 2,
        _ => 3,
    };
    if answer.exit != exit {
        wrong.push(format!("exit status {}, not {exit}", answer.exit));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let told = ["verdict", "mechanism", "location", "not_run"].map(|key| &finding[key]);
    Err(format!("wrong {}: {told:?}", wrong.join("; ")))
}

/// Runs to the end or to the limit; exit status, what was said, and what was complained of. The output goes to files, so
/// that nothing waits for a reader.
fn run(command: &mut Command, folder: &Path) -> Result<(i32, String, String), String> {
    let paths = ["said", "errors"].map(|name| folder.join(name));
    let file = |path: &PathBuf| std::fs::File::create(path).map_err(|error| error.to_string());
    let mut child = command
        .stdout(file(&paths[0])?)
        .stderr(file(&paths[1])?)
        .spawn()
        .map_err(|error| error.to_string())?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        if began.elapsed() > LIMIT {
            // The network dies with the process that built it.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("not done within {LIMIT:?}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let [said, errors] = paths.map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let exit = status
        .code()
        .ok_or_else(|| format!("ended by a signal: {errors}"))?;
    Ok((exit, said, errors))
}

/// A folder of this process and run, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(id: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hoofbeat-{}-{id}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether networks can be had. If not: a line that says so, or a panic where skipping is forbidden.
fn ready() -> bool {
    let Err(reason) = able() else { return true };
    let forbidden = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    assert!(
        !forbidden("CI", "true") && !forbidden("HOOFBEAT_NO_SKIP", "1"),
        "may not be skipped, but {reason}"
    );
    eprintln!("skipped: {reason}");
    false
}

fn able() -> Result<(), String> {
    let programs = ["unshare", "nsenter", "ip", "nft", "iptables-restore"];
    let missing: Vec<&str> = programs.into_iter().filter(|name| !on_path(name)).collect();
    if !missing.is_empty() {
        return Err(format!("these programs are missing: {}", missing.join(" ")));
    }
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "true"])
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("no namespaces are to be had here: {}", said.trim()))
}

fn on_path(program: &str) -> bool {
    let named = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&named).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join(program))
        .any(|path| path.is_file())
}
