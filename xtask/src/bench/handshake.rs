//! A full check of one clean local server beside one handshake of `openssl s_client`, in alternation on the same server.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hoofbeat_lab::{Background, Running, Scenario};

use crate::accuracy::median;

/// Protocols: the scheme of the target, and openssl's word for it.
const PROTOCOLS: [(&str, &str); 3] = [("smtp", "smtp"), ("imap", "imap"), ("pop3", "pop3")];

pub(super) fn section(program: &Path, scratch: &Path, pairs: usize) -> Result<String> {
    let mut text = format!(
        "## A check beside one handshake\n\nOne clean lab server each; {pairs} pairs in alternation: \
         `hoofbeat check --json --no-controls --ca CA URL` (its whole verdict) and `openssl s_client -starttls PROTOCOL -brief` \
         (one handshake). Wall time of the process, medians; the ratio is the median of the pairs' ratios. Aim: at most 1.5, and at \
         most 6 connections.\n\n| protocol | hoofbeat, ms | openssl, ms | ratio | connections a check |\n|---|---|---|---|---|\n"
    );
    for (scheme, starttls) in PROTOCOLS {
        text += &pairs_on(program, scratch, pairs, scheme, starttls)?;
    }
    text.push('\n');
    Ok(text)
}

fn pairs_on(
    program: &Path,
    scratch: &Path,
    pairs: usize,
    scheme: &str,
    starttls: &str,
) -> Result<String> {
    let lab = clean_server(scheme)?;
    let ca = scratch.join("ca.pem");
    std::fs::write(&ca, &lab.ca_pem)?;
    let mut check = Command::new(program);
    check
        .args(["check", "--json", "--no-controls", "--ca"])
        .arg(&ca)
        .arg(lab.url());
    let mut handshake = Command::new("openssl");
    handshake
        .args([
            "s_client",
            "-brief",
            "-starttls",
            starttls,
            "-connect",
            &lab.address.to_string(),
            "-CAfile",
        ])
        .arg(&ca);
    // One pair unmeasured: page cache, and the lab's first key exchange.
    timed(&mut check)?;
    timed(&mut handshake)?;
    let before = lab.connections();
    let mut measured = Vec::new();
    for _ in 0..pairs.max(1) {
        measured.push((timed(&mut check)?, timed(&mut handshake)?));
    }
    let of_handshakes = measured.len();
    let connections =
        (lab.connections() - before).saturating_sub(of_handshakes) as f64 / measured.len() as f64;
    let column =
        |pick: fn(&(f64, f64)) -> f64| median(&measured.iter().map(pick).collect::<Vec<_>>());
    Ok(format!(
        "| {scheme} | {:.1} | {:.1} | {:.2} | {connections} |\n",
        1000.0 * column(|pair| pair.0),
        1000.0 * column(|pair| pair.1),
        column(|pair| pair.0 / pair.1)
    ))
}

fn clean_server(scheme: &str) -> Result<Background> {
    let text = format!(
        "id = \"bench\"\ntitle = \"a clean server\"\nfamily = \"server\"\nscheme = \"{scheme}\"\n[expected]\nverdict = \"clear\"\n"
    );
    let scenarios = Scenario::read(&text)?;
    let scenario = scenarios.first().context("one scenario")?;
    let lab = Background::start(scenario, None, None)?;
    let _: &Running = &lab;
    Ok(lab)
}

/// Seconds of one run that must succeed: a failed run measures something else.
fn timed(command: &mut Command) -> Result<f64> {
    let began = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(seconds)
}
