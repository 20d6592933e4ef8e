//! Holds the house's walls: which crate may know which, what the pure crates may not have, where `unsafe` may stand.
//!
//! The table is the one of the design document; a new edge is a decision, made here in the open. Each check is a function
//! of plain data and is itself shown to fail on a made-up violation, so that it cannot rot into one that always passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Who may depend on whom. What is not listed is forbidden.
const EDGES: [(&str, &[&str]); 11] = [
    ("hoofbeat-session", &[]),
    ("hoofbeat-observation", &["hoofbeat-session"]),
    // The judge names policy weaknesses; the policy decision itself stays in the policy crate.
    (
        "hoofbeat-diagnosis",
        &[
            "hoofbeat-observation",
            "hoofbeat-session",
            "hoofbeat-policy",
        ],
    ),
    ("hoofbeat-policy", &[]),
    ("hoofbeat-net", &["hoofbeat-observation"]),
    (
        "hoofbeat-probe",
        &["hoofbeat-net", "hoofbeat-session", "hoofbeat-observation"],
    ),
    (
        "hoofbeat-guard",
        &[
            "hoofbeat-net",
            "hoofbeat-session",
            "hoofbeat-policy",
            "hoofbeat-observation",
        ],
    ),
    (
        "hoofbeat-watch",
        &[
            "hoofbeat-probe",
            "hoofbeat-diagnosis",
            "hoofbeat-observation",
        ],
    ),
    ("hoofbeat-lab", &[]),
    (
        "hoofbeat",
        &[
            "hoofbeat-session",
            "hoofbeat-observation",
            "hoofbeat-diagnosis",
            "hoofbeat-policy",
            "hoofbeat-net",
            "hoofbeat-probe",
            "hoofbeat-guard",
            "hoofbeat-watch",
            "hoofbeat-lab",
        ],
    ),
    // The accuracy and bench commands start lab scenarios; xtask is never shipped.
    ("xtask", &["hoofbeat-lab"]),
];

/// The crates without windows: no sockets, files, clocks, threads, because there is no `std`.
const PURE: [&str; 4] = [
    "hoofbeat-session",
    "hoofbeat-observation",
    "hoofbeat-diagnosis",
    "hoofbeat-policy",
];

/// What the pure crates may use from outside. All of these work without `std`.
const PURE_ALLOWS: [&str; 8] = [
    "serde",
    "serde_json",
    "base64",
    "sha2",
    "thiserror",
    "memchr",
    "x509-cert",
    "der",
];

/// The only file that may hold `unsafe`.
const UNSAFE_LIVES_IN: &str = "crates/net/src/sys.rs";

#[derive(Clone, Debug)]
struct Dependency {
    name: String,
    /// Only for tests, examples and benches.
    dev: bool,
    defaults: bool,
    features: Vec<String>,
}

#[derive(Clone, Debug)]
struct Package {
    name: String,
    root: PathBuf,
    dependencies: Vec<Dependency>,
}

#[test]
fn crates_keep_to_the_allowed_edges() {
    assert_none(packages().iter().flat_map(edge_violations));
}

#[test]
fn pure_crates_have_no_windows() {
    let packages = packages();
    let pure: Vec<&Package> = packages
        .iter()
        .filter(|package| PURE.contains(&package.name.as_str()))
        .collect();
    assert_eq!(
        pure.len(),
        PURE.len(),
        "a pure crate is missing from the workspace"
    );
    assert_none(pure.iter().flat_map(|package| {
        let sources = sources_of(package);
        assert!(
            sources.iter().any(|(path, _)| path.ends_with("src/lib.rs")),
            "{} has no src/lib.rs",
            package.name
        );
        let files = sources
            .into_iter()
            .flat_map(|(path, text)| pure_source_violations(&path, &text));
        pure_dependency_violations(package)
            .into_iter()
            .chain(files)
            .collect::<Vec<_>>()
    }));
}

#[test]
fn unsafe_stands_in_one_file() {
    let all = packages();
    assert_none(
        all.iter()
            .flat_map(sources_of)
            .flat_map(|(path, text)| unsafe_violations(&path, &text)),
    );
}

#[test]
fn every_file_has_its_door_plate() {
    let all = packages();
    let bare = |(path, text): (String, String)| {
        (!text.starts_with("//!")).then(|| format!("{path}: starts without `//!`"))
    };
    assert_none(all.iter().flat_map(sources_of).filter_map(bare));
}

#[test]
fn a_forbidden_edge_is_found() {
    let made_up = |name: &str, to: &str, dev: bool| Package {
        name: name.to_owned(),
        root: PathBuf::new(),
        dependencies: vec![Dependency {
            name: to.to_owned(),
            dev,
            defaults: false,
            features: Vec::new(),
        }],
    };
    // The witness does not judge; the lab shares no reading of an RFC with us; nobody gets in unlisted.
    for (from, to) in [
        ("hoofbeat-probe", "hoofbeat-diagnosis"),
        ("hoofbeat-lab", "hoofbeat-session"),
        ("hoofbeat-guard", "hoofbeat-probe"),
        ("hoofbeat-policy", "hoofbeat-observation"),
        ("hoofbeat-newcomer", "serde"),
    ] {
        assert_eq!(
            edge_violations(&made_up(from, to, false)).len(),
            1,
            "{from} -> {to}"
        );
    }
    assert!(edge_violations(&made_up("hoofbeat-probe", "hoofbeat-net", false)).is_empty());
    assert!(
        edge_violations(&made_up("hoofbeat-probe", "hoofbeat-lab", true)).is_empty(),
        "tests may use the lab"
    );
    assert_eq!(
        edge_violations(&made_up("hoofbeat-lab", "hoofbeat-session", true)).len(),
        1,
        "the lab's may not"
    );
    assert_eq!(
        edge_violations(&made_up("hoofbeat-session", "hoofbeat-lab", true)).len(),
        1,
        "nor may the pure crates'"
    );
}

#[test]
fn a_window_in_a_pure_crate_is_found() {
    let lib = "crates/session/src/lib.rs";
    let fine = "//! x\n#![no_std]\nextern crate alloc;\n// std::fs in a comment\nlet s = \"std::fs\";\nlet my_std::x;\n\
                #[cfg(test)]\nmod tests {\n    extern crate std;\n    use std::vec;\n}\n";
    assert_eq!(pure_source_violations(lib, fine), Vec::<String>::new());
    for broken in [
        "//! x\nextern crate alloc;\n",
        "//! x\n#![no_std]\nuse std::fs;\n",
        "//! x\n#![no_std]\nextern crate std;\n",
        "//! x\n#![no_std]\nfn f() { let x = ::std::time::Instant::now(); }\n",
        "//! x\n#![no_std]\nuse {alloc::vec, std :: net};\n",
        "//! x\n#![cfg_attr(not(test), no_std)]\n",
    ] {
        assert_eq!(pure_source_violations(lib, broken).len(), 1, "{broken}");
    }
    let dependency = |name: &str, defaults, features: &[&str]| Package {
        name: "hoofbeat-session".to_owned(),
        root: PathBuf::new(),
        dependencies: vec![Dependency {
            name: name.to_owned(),
            dev: false,
            defaults,
            features: features
                .iter()
                .map(|feature| (*feature).to_owned())
                .collect(),
        }],
    };
    assert!(pure_dependency_violations(&dependency("serde", false, &["alloc"])).is_empty());
    assert_eq!(
        pure_dependency_violations(&dependency("tokio", false, &[])).len(),
        1
    );
    assert_eq!(
        pure_dependency_violations(&dependency("serde", true, &[])).len(),
        1
    );
    assert_eq!(
        pure_dependency_violations(&dependency("serde", false, &["std"])).len(),
        1
    );
}

#[test]
fn unsafe_elsewhere_is_found() {
    let hidden =
        "//! unsafe here is prose\n// unsafe {\nlet s = \"unsafe {\"; let unsafe_looking = 1;\n";
    assert!(unsafe_violations("crates/lab/src/lib.rs", hidden).is_empty());
    for text in [
        "fn f() { unsafe { g() } }",
        "unsafe fn f() {}",
        "#![allow(unsafe_code)]",
        "unsafe\nimpl Send for X {}",
    ] {
        assert_eq!(
            unsafe_violations("crates/lab/src/lib.rs", text).len(),
            1,
            "{text}"
        );
        assert!(unsafe_violations(UNSAFE_LIVES_IN, text).is_empty());
    }
}

fn edge_violations(package: &Package) -> Vec<String> {
    let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
        return vec![format!("{} is not in the table", package.name)];
    };
    let lab_for_tests = !PURE.contains(&package.name.as_str()) && package.name != "hoofbeat-lab";
    let is_allowed = |dependency: &&Dependency| {
        !dependency.name.starts_with("hoofbeat")
            || allowed.contains(&dependency.name.as_str())
            || (dependency.dev && lab_for_tests && dependency.name == "hoofbeat-lab")
    };
    let forbidden = package
        .dependencies
        .iter()
        .filter(|dependency| !is_allowed(dependency));
    forbidden
        .map(|dependency| format!("{} may not depend on {}", package.name, dependency.name))
        .collect()
}

fn pure_dependency_violations(package: &Package) -> Vec<String> {
    let outside =
        |dependency: &&Dependency| !dependency.dev && !dependency.name.starts_with("hoofbeat");
    let fault = |dependency: &Dependency| {
        if !PURE_ALLOWS.contains(&dependency.name.as_str()) {
            Some("is not on the list of crates that work without std")
        } else if dependency.defaults {
            Some("is used with its default features, which bring std")
        } else if dependency.features.iter().any(|feature| feature == "std") {
            Some("is used with its feature std")
        } else {
            None
        }
    };
    let of_outside = package.dependencies.iter().filter(outside);
    of_outside
        .filter_map(|it| Some(format!("{}: {} {}", package.name, it.name, fault(it)?)))
        .collect()
}

fn pure_source_violations(path: &str, text: &str) -> Vec<String> {
    let code = code_of(without_tests(text));
    let mut found = Vec::new();
    if path.ends_with("src/lib.rs") && !code.lines().any(|line| line.trim() == "#![no_std]") {
        found.push(format!("{path}: lacks #![no_std]"));
    }
    let words = words_of(&code);
    let before = |index: usize| index.checked_sub(1).and_then(|at| words.get(at)).copied();
    for (index, word) in words.iter().enumerate().filter(|(_, word)| **word == "std") {
        let next_is_path = words.get(index + 1) == Some(&"::");
        if next_is_path || before(index) == Some("crate") {
            found.push(format!("{path}: uses {word}"));
        }
    }
    found
}

fn unsafe_violations(path: &str, text: &str) -> Vec<String> {
    let code = code_of(text);
    let found = words_of(&code).contains(&"unsafe")
        || ["allow(unsafe_code)", "expect(unsafe_code)"]
            .iter()
            .any(|attribute| code.contains(attribute));
    if found && path != UNSAFE_LIVES_IN {
        vec![format!("{path}: unsafe outside {UNSAFE_LIVES_IN}")]
    } else {
        Vec::new()
    }
}

/// The text before the test module, which stands last by the house's custom.
fn without_tests(text: &str) -> &str {
    let test_module = text.match_indices("#[cfg(test)]").find(|(at, marker)| {
        let after = text
            .get(at + marker.len()..)
            .unwrap_or_default()
            .trim_start();
        after.starts_with("mod ") && after.lines().next().is_some_and(|line| line.contains('{'))
    });
    test_module.map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}

/// The text without line comments and without what stands in plain string literals on one line.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let mut in_string = false;
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' if in_string => _ = characters.next(),
                '"' => in_string = !in_string,
                '/' if !in_string && characters.peek() == Some(&'/') => break,
                _ if in_string => {}
                other => code.push(other),
            }
        }
        code.push('\n');
    }
    code
}

/// Identifiers and `::`, in order.
fn words_of(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code;
    let part_of_word = |character: char| character.is_alphanumeric() || character == '_';
    while let Some(first) = rest.chars().next() {
        let length = if part_of_word(first) {
            rest.find(|character| !part_of_word(character))
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            rest = &rest[first.len_utf8()..];
            continue;
        };
        words.push(&rest[..length]);
        rest = &rest[length..];
    }
    words
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON from cargo metadata");
    let list = document["packages"].as_array().expect("packages");
    list.iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let manifest = Path::new(value["manifest_path"].as_str().expect("a manifest"));
    let dependencies = value["dependencies"]
        .as_array()
        .expect("dependencies")
        .iter()
        .map(|dependency| Dependency {
            name: dependency["name"].as_str().expect("a name").to_owned(),
            dev: dependency["kind"] == "dev",
            defaults: dependency["uses_default_features"]
                .as_bool()
                .unwrap_or(true),
            features: dependency["features"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|it| Some(it.as_str()?.to_owned()))
                .collect(),
        });
    Package {
        name: value["name"].as_str().expect("a name").to_owned(),
        root: manifest.parent().expect("a folder").to_owned(),
        dependencies: dependencies.collect(),
    }
}

/// Every `.rs` file below the package's `src`, by its path from the workspace's root. Files that exist for tests only
/// (`tests.rs`, folder `tests`) are not part of what is shipped.
fn sources_of(package: &Package) -> Vec<(String, String)> {
    let mut folders = vec![package.root.join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.expect("a folder entry").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default()
                .to_owned();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).expect("a source file");
                let from_root = path
                    .strip_prefix(env!("CARGO_MANIFEST_DIR"))
                    .expect("inside the workspace");
                found.push((from_root.to_str().expect("a UTF-8 path").to_owned(), text));
            }
        }
    }
    found
}

#[track_caller]
fn assert_none(violations: impl Iterator<Item = String>) {
    let violations: Vec<String> = violations.collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}
