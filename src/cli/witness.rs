//! `hoofbeat witness`: a cooperating server, set up with privilege and run without.

use hoofbeat_observation::WitnessService;
use hoofbeat_probe::witness::{
    CONTROL_PORT, WitnessName,
    message::Served,
    server::{Limits, Looking, Prepared, Settings, SigningKey, drop_privileges},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use super::{Stop, on_runtime, render, settings::TOOL, typed};

/// Longest statement, in bytes: a sentence or two in every report.
const LONGEST_STATEMENT: usize = 500;

/// Sets the witness up, drops privileges and serves until it is told to stop.
pub(super) fn run(typed: typed::Witness) -> Result<u8, Stop> {
    let (settings, is_new_key) = settings(&typed)?;
    let prepared = Prepared::bind(settings).map_err(|error| Stop::unreadable(error.to_string()))?;
    let user = drop_privileges(typed.user.as_deref())
        .map_err(|error| Stop::unreadable(error.to_string()))?;
    render::print(&welcome(&typed, &prepared, is_new_key, &user));
    on_runtime(async {
        prepared
            .serve(told_to_stop())
            .await
            .map(|()| 0)
            .map_err(|error| Stop::bug(format!("cannot serve: {error}")))
    })
}

fn settings(typed: &typed::Witness) -> Result<(Settings, bool), Stop> {
    if typed.statement.len() > LONGEST_STATEMENT {
        return Err(Stop::usage(format!(
            "--statement: at most {LONGEST_STATEMENT} bytes"
        )));
    }
    if let Some(name) = &typed.name {
        let good = name
            .parse::<WitnessName>()
            .is_ok_and(|name| name.key.is_none());
        if !good || name.len() > 253 {
            return Err(Stop::usage(format!("--name {name:?} is no host name")));
        }
    }
    let read = |option: &str, path: &Path| {
        std::fs::read(path).map_err(|error| {
            Stop::usage(format!("{option}: cannot read {}: {error}", path.display()))
        })
    };
    let certificate = match (&typed.certificate, &typed.private_key) {
        (Some(chain), Some(key)) => {
            Some((read("--certificate", chain)?, read("--private-key", key)?))
        }
        _ => None,
    };
    let (key, is_new) = SigningKey::open_or_create(&typed.key)
        .map_err(|error| Stop::unreadable(error.to_string()))?;
    let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let settings = Settings {
        addresses: if typed.listen.is_empty() {
            everywhere.to_vec()
        } else {
            typed.listen.clone()
        },
        smtp: typed.smtp.0.clone(),
        imap: typed.imap.0.clone(),
        pop3: typed.pop3.0.clone(),
        http: typed.http.0.clone(),
        tls: typed.tls.0.clone(),
        control: typed.control,
        key,
        certificate,
        name: typed.name.clone(),
        statement: typed.statement.clone(),
        tool: TOOL.to_owned(),
        looking: if typed.look {
            Looking::Public
        } else {
            Looking::Never
        },
        limits: Limits::default(),
    };
    Ok((settings, is_new))
}

/// What the operator is told; the last line says that it listens.
fn welcome(typed: &typed::Witness, prepared: &Prepared, is_new_key: bool, user: &str) -> String {
    let mut text = String::new();
    if is_new_key {
        text += &format!(
            "a new key was written to {}; keep it\n",
            typed.key.display()
        );
    }
    for served in prepared.ports() {
        text += &format!("{} on port {}\n", service(served), served.port);
    }
    if typed.look {
        text += "looks at mail servers that clients ask about\n";
    }
    if !prepared.can_trace() {
        text += "no traces towards clients: that needs CAP_NET_RAW when it starts\n";
    }
    let name = WitnessName {
        host: typed
            .name
            .clone()
            .unwrap_or_else(|| own_address(&typed.listen)),
        control_port: prepared.control_port(),
        key: Some(prepared.key()),
    };
    let port = match prepared.control_port() {
        CONTROL_PORT => String::new(),
        port => format!(" (control channel on port {port})"),
    };
    text + &format!(
        "running as {user}{port}\nuse it with: hoofbeat check --witness {name} TARGET\nready: {name}\n"
    )
}

fn service(served: &Served) -> String {
    match served.service {
        WitnessService::Mail { protocol } => format!("{protocol:?}").to_lowercase(),
        WitnessService::Http => "http".to_owned(),
        WitnessService::Tls => "tls".to_owned(),
    }
}

/// The first address that was asked for, where it is one.
fn own_address(listen: &[IpAddr]) -> String {
    listen
        .iter()
        .find(|address| !address.is_unspecified())
        .map_or_else(|| "THIS-HOST".to_owned(), ToString::to_string)
}

/// Ctrl-C, or what a service manager sends.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => _ = signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = terminated => {}
        () = interrupted => {}
    }
}
