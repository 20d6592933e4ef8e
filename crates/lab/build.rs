//! Lists `scenarios/*.toml` and `scenarios/net/*.toml` so that the crate embeds every scenario file without naming each
//! by hand. It knows nothing of what a scenario means.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=scenarios");
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let folder = Path::new(&manifest).join("scenarios");
    for (name, folder, file) in [
        ("FILES", folder.clone(), "scenario_files.rs"),
        ("NET_FILES", folder.join("net"), "net_scenario_files.rs"),
    ] {
        let table = table(name, &folder);
        fs::write(Path::new(&out).join(file), table).expect("OUT_DIR is writable");
    }
}

fn table(name: &str, folder: &Path) -> String {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the scenarios folder exists")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    let mut table = format!("pub(crate) const {name}: &[(&str, &str)] = &[\n");
    for file in &files {
        let name = file
            .file_name()
            .expect("a listed file has a name")
            .to_string_lossy();
        writeln!(table, "    ({name:?}, include_str!({file:?})),").expect("writing to a string");
    }
    table.push_str("];\n");
    table
}
