//! `hoofbeat lab`: the embedded servers and boxes, to list and to run by hand.

use hoofbeat_lab::{Lab, Scenario};
use std::net::SocketAddr;

use super::{Stop, render, typed};

#[cfg_attr(not(target_os = "linux"), path = "lab/elsewhere.rs")]
mod network;

/// Runs the command.
pub(super) async fn run(typed: typed::Lab) -> Result<u8, Stop> {
    match typed.verb {
        typed::LabVerb::List { json, net: false } => list(json),
        typed::LabVerb::List { json, net: true } => network::list(json),
        typed::LabVerb::Up {
            id,
            from,
            keep,
            quiet,
            command,
        } => {
            network::up(&network::Wanted {
                id,
                from,
                keep,
                quiet,
                command,
            })
            .await
        }
        typed::LabVerb::Serve {
            id,
            listen,
            upstream,
            ca_out,
            beyond_loopback,
        } => {
            for address in [listen, upstream].into_iter().flatten() {
                refuse_foreign(address, beyond_loopback)?;
            }
            serve(&id, listen, upstream, ca_out.as_deref()).await
        }
    }
}

/// The lab imitates attackers: it stays on this host unless told otherwise.
fn refuse_foreign(address: SocketAddr, allowed: bool) -> Result<(), Stop> {
    if allowed || address.ip().is_loopback() {
        return Ok(());
    }
    Err(Stop::usage(format!(
        "{address} is not on this host; the lab stays on loopback unless you say --beyond-loopback"
    )))
}

fn list(json: bool) -> Result<u8, Stop> {
    if json {
        let mut text = String::new();
        for scenario in Scenario::all() {
            let expected = &scenario.expected;
            let line = serde_json::json!({
                "id": scenario.id,
                "title": scenario.title,
                "scheme": scenario.scheme.as_str(),
                "expected": {
                    "verdict": expected.verdict.word(),
                    "mechanism": expected.mechanism.map(|m| m.word()),
                    "product": expected.product,
                    "exit": expected.exit(),
                },
            });
            text += &format!("{line}\n");
        }
        render::print(&text);
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = Scenario::all()
        .iter()
        .map(|s| {
            let mechanism = s
                .expected
                .mechanism
                .map_or_else(String::new, |m| format!(", {m}"));
            vec![
                s.id.clone(),
                s.scheme.to_string(),
                format!("{}{mechanism}", s.expected.verdict),
                s.title.clone(),
            ]
        })
        .collect();
    render::print(&render::table::columns(
        &["BOX", "SCHEME", "EXPECTED", "WHAT IT IS"],
        &rows,
    ));
    Ok(0)
}

async fn serve(
    id: &str,
    listen: Option<SocketAddr>,
    upstream: Option<SocketAddr>,
    ca_out: Option<&std::path::Path>,
) -> Result<u8, Stop> {
    let scenario = Scenario::by_id(id).ok_or_else(|| {
        Stop::usage(format!(
            "no box is called {id:?}; `hoofbeat lab list` names them all"
        ))
    })?;
    let started = match upstream {
        // Beyond loopback was allowed by now.
        Some(upstream) => Lab::start_in_front_of_any(scenario, listen, upstream).await,
        None => Lab::start(scenario, listen, None).await,
    };
    let running =
        started.map_err(|error| Stop::unreadable(format!("cannot start {id}: {error}")))?;
    if let Some(path) = ca_out {
        std::fs::write(path, &running.ca_pem).map_err(|error| {
            Stop::usage(format!(
                "--ca-out: cannot write {}: {error}",
                path.display()
            ))
        })?;
    }
    render::print(&format!(
        "{}: {}\nready: {}://{}\nstop with Ctrl-C\n",
        scenario.id, scenario.title, scenario.scheme, running.address
    ));
    let interrupted = tokio::signal::ctrl_c().await;
    running.stop().await;
    interrupted
        .map(|()| 0)
        .map_err(|error| Stop::bug(format!("cannot wait for Ctrl-C: {error}")))
}
