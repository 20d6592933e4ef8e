//! `hoofbeat verify`: what holds of a bundle, and what nobody can know from it.

use hoofbeat_probe::witness::{self, Key};
use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use super::{Stop, render, typed};
use crate::bundle::{self, Verification};

/// Something does not hold.
const BROKEN: u8 = 1;

/// Runs the command: 0 when everything holds, 1 when something does not.
pub(super) fn run(typed: &typed::Verify) -> Result<u8, Stop> {
    let keys = typed
        .key
        .iter()
        .map(|text| {
            text.parse::<Key>()
                .map_err(|error| Stop::usage(format!("--key: {error}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let name = typed.bundle.display();
    let bundle = open(&typed.bundle)
        .map_err(bundle::BundleError::from)
        .and_then(|stream| bundle::read(BufReader::with_capacity(1 << 16, stream)))
        .map_err(|error| Stop::unreadable(format!("{name} {error}")))?;
    let is_named = |key: &str| Key::from_base64(key).is_some_and(|signer| keys.contains(&signer));
    let named: Option<&dyn Fn(&str) -> bool> = if keys.is_empty() {
        None
    } else {
        Some(&is_named)
    };
    let verification = bundle::verify(&bundle, &witness::check, named);
    let written = match &typed.extract {
        Some(directory) => bundle::extract(&bundle, directory)
            .map_err(|error| Stop::unreadable(format!("--extract: {error}")))?,
        None => Vec::new(),
    };
    if typed.json {
        let line = serde_json::to_string(&verification)
            .map_err(|error| Stop::bug(format!("verify: {error}")))?;
        render::print(&format!("{line}\n"));
    } else {
        let written: Vec<String> = written
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        render::print(&text(&name.to_string(), &verification, &written));
    }
    Ok(if verification.holds { 0 } else { BROKEN })
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        Ok(Box::new(io::stdin().lock()))
    } else {
        Ok(Box::new(File::open(path)?))
    }
}

fn text(name: &str, verification: &Verification, written: &[String]) -> String {
    let headline = if verification.holds {
        "EVERYTHING THAT CAN BE CHECKED HOLDS"
    } else {
        "SOMETHING DOES NOT HOLD"
    };
    let mut out = format!("{headline}  {name}\n");
    let about = format!(
        "written by {}, begun {} by its own clock, addresses {}",
        verification.tool,
        verification.started,
        match verification.addresses {
            bundle::Addresses::Shortened => "shortened",
            bundle::Addresses::Full => "in full",
        }
    );
    out += &render::text::filled(&about, "  ", "  ");
    out += "\n\n";
    for check in &verification.checks {
        let word = if check.holds { "holds " } else { "BROKEN" };
        let first = format!("  {word}  {:<8} ", check.name);
        out += &render::text::filled(&check.found, &first, "                   ");
        out.push('\n');
    }
    out += "\n  What this file cannot show\n";
    for sentence in &verification.unknowable {
        out += &render::text::filled(sentence, "    - ", "      ");
        out.push('\n');
    }
    if let Some(hash) = &verification.bundle {
        out += &format!("\n  To publish: {hash}\n");
    }
    if !written.is_empty() {
        out += &format!("\n  Written: {}\n", written.join(", "));
    }
    out
}
