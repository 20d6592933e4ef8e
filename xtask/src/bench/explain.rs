//! How fast `explain` reads a large log and how much memory it takes, beside programs that only count.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::accuracy::median;

const RUNS: usize = 3;
/// One failed delivery among this many ordinary lines.
const ONE_IN: u64 = 20_000;
const GNU_TIME: &str = "/usr/bin/time";

pub(super) fn section(program: &Path, scratch: &Path, megabytes: u64) -> Result<String> {
    let log = scratch.join("mail.log");
    let (bytes, lines) = generate(&log, megabytes << 20)?;
    let log = log.to_string_lossy().into_owned();
    let mut text = format!(
        "## Reading a large log\n\nA generated Postfix log of {:.0} MB, {lines} lines, one in {ONE_IN} of them a delivery that \
         asked for TLS in vain. Wall time, median of {RUNS}; memory is the largest resident set.\n\n\
         | command | s | MB/s | peak memory, MB |\n|---|---|---|---|\n",
        bytes as f64 / 1e6
    );
    let program = program.to_string_lossy().into_owned();
    for command in [
        vec!["wc", "-l", &log],
        vec!["grep", "-c", "TLS is required", &log],
        vec![&program, "explain", "--json", &log],
    ] {
        let shown = if command[0] == program {
            "hoofbeat explain --json LOG".to_owned()
        } else {
            command.join(" ").replace(&log, "LOG")
        };
        let runs = (0..RUNS)
            .map(|_| measured(&command))
            .collect::<Result<Vec<_>>>()?;
        let seconds = median(&runs.iter().map(|run| run.0).collect::<Vec<_>>());
        let memory = runs.iter().filter_map(|run| run.1).max();
        let memory = memory.map_or(
            "unknown (GNU time is not installed)".to_owned(),
            |kilobytes| format!("{:.1}", kilobytes as f64 / 1e3),
        );
        text += &format!(
            "| `{shown}` | {seconds:.2} | {:.0} | {memory} |\n",
            bytes as f64 / 1e6 / seconds
        );
    }
    text.push('\n');
    std::fs::remove_file(&log)?;
    Ok(text)
}

fn generate(path: &Path, size: u64) -> Result<(u64, u64)> {
    let mut file =
        BufWriter::new(File::create(path).with_context(|| format!("creating {}", path.display()))?);
    let (mut bytes, mut lines) = (0, 0);
    while bytes < size {
        let (second, queue) = (lines / 40 % 60, format!("4b{:08X}", lines / 4));
        let host = lines % 977;
        let line = match lines % 4 {
            _ if lines % ONE_IN == ONE_IN - 1 => format!(
                "Nov 22 10:{:02}:{second:02} mx1 postfix/smtp[{}]: {queue}: to=<user@host{host}.example.net>, \
                 relay=mx.host{host}.example.net[192.0.2.{}]:25, delay=0.4, delays=0.1/0/0.3/0, dsn=4.7.4, status=deferred \
                 (TLS is required, but was not offered by host mx.host{host}.example.net[192.0.2.{}])\n",
                lines / 2400 % 60,
                1000 + lines % 90,
                host % 254,
                host % 254
            ),
            0 => format!(
                "Nov 22 10:{:02}:{second:02} mx1 postfix/smtpd[{}]: connect from host{host}.example.net[198.51.100.{}]\n",
                lines / 2400 % 60,
                1000 + lines % 90,
                host % 254
            ),
            1 => format!(
                "Nov 22 10:{:02}:{second:02} mx1 postfix/smtpd[{}]: {queue}: client=host{host}.example.net[198.51.100.{}]\n",
                lines / 2400 % 60,
                1000 + lines % 90,
                host % 254
            ),
            2 => format!(
                "Nov 22 10:{:02}:{second:02} mx1 postfix/qmgr[812]: {queue}: from=<list{host}@example.net>, size={}, nrcpt=1 (queue active)\n",
                lines / 2400 % 60,
                1000 + host * 7
            ),
            _ => format!(
                "Nov 22 10:{:02}:{second:02} mx1 postfix/smtpd[{}]: disconnect from host{host}.example.net[198.51.100.{}] ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7\n",
                lines / 2400 % 60,
                1000 + lines % 90,
                host % 254
            ),
        };
        file.write_all(line.as_bytes())?;
        bytes += line.len() as u64;
        lines += 1;
    }
    file.flush()?;
    Ok((bytes, lines))
}

/// Seconds, and the largest resident set in kilobytes where GNU time can tell.
fn measured(command: &[&str]) -> Result<(f64, Option<u64>)> {
    let gnu_time = Path::new(GNU_TIME).exists();
    let words: Vec<&str> = if gnu_time {
        [&[GNU_TIME, "-f", "%M"][..], command].concat()
    } else {
        command.to_vec()
    };
    let (program, arguments) = words.split_first().context("a command")?;
    let began = Instant::now();
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    let seconds = began.elapsed().as_secs_f64();
    // `explain` tells its verdict by the exit status; 64 and 70 are our own faults.
    ensure!(
        output.status.code().is_some_and(|code| code <= 3),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    let memory = errors
        .lines()
        .last()
        .filter(|_| gnu_time)
        .and_then(|line| line.trim().parse().ok());
    Ok((seconds, memory))
}
