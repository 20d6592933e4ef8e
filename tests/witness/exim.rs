//! Exim 4 (Debian's light daemon), as one foreground process with a configuration of its own.
//! The MTA packages exclude each other, so `cargo xtask test` unpacks this one beside Postfix and names it in `HOOFBEAT_EXIM`.

use std::path::PathBuf;

use super::Need;
use super::certificates::{Certificates, Leaf};
use super::daemon::Daemon;
use super::folder::Folder;
use super::port::Port;

/// How STARTTLS is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    On(Leaf),
    Off,
    /// Offered, but not to 127.0.0.0/8 (`tls_advertise_hosts`).
    HiddenFromLoopback,
}

pub(crate) struct Exim {
    port: Port,
    _daemon: Daemon,
    _folder: Folder,
}

/// Exim's program, or none where it is not installed.
pub(crate) fn program() -> Option<PathBuf> {
    let named = std::env::var_os("HOOFBEAT_EXIM").map(PathBuf::from);
    let unpacked = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/witness/usr/sbin/exim4");
    [
        named,
        Some(PathBuf::from("/usr/sbin/exim4")),
        Some(unpacked),
    ]
    .into_iter()
    .flatten()
    .find(|path| path.exists())
}

/// What this witness needs; a missing program is said by the name that Debian gives it.
pub(crate) fn needs() -> [Need; 3] {
    let installed = if program().is_some() {
        "/"
    } else {
        "/usr/sbin/exim4"
    };
    [
        Need::Root,
        Need::File(installed),
        Need::File("/usr/bin/openssl"),
    ]
}

impl Exim {
    pub(crate) fn start(tls: Tls, certificates: &Certificates) -> Self {
        let folder = Folder::new("exim");
        let port = Port::claim();
        let configuration = folder.write(
            "exim.conf",
            &configuration(&folder, port.number(), tls, certificates),
        );
        let spool = folder.folder("spool");
        let status = std::process::Command::new("chown")
            .arg("Debian-exim")
            .arg(&spool)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "user Debian-exim is missing (compiled into Exim)"
        );
        let log = folder.path().join("exim.log");
        let program = program().expect("checked by needs()");
        let configuration = configuration.to_str().expect("a UTF-8 path");
        let mut daemon = Daemon::start(&program, &["-C", configuration, "-bdf"], &log);
        daemon.wait_for(port.number(), true, &log);
        Self {
            port,
            _daemon: daemon,
            _folder: folder,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }
}

fn configuration(folder: &Folder, port: u16, tls: Tls, certificates: &Certificates) -> String {
    let root = folder.path().display();
    let mut text = format!(
        "primary_hostname = localhost\nspool_directory = {root}/spool\nlog_file_path = {root}/spool/log-%s\n\
         local_interfaces = <; 127.0.0.1.{port}\ndaemon_smtp_ports = {port}\npid_file_path = {root}/spool/exim.pid\n\
         host_lookup =\nrfc1413_query_timeout = 0s\nacl_smtp_rcpt = accept\n"
    );
    let mut offer = |to: &str, leaf: Leaf| {
        let (certificate, key) = certificates.leaf(leaf);
        // Exim reads the key as its own user.
        let copy = |from: &PathBuf, name: &str| {
            folder.write(name, &std::fs::read_to_string(from).expect("a PEM file"))
        };
        let (certificate, key) = (copy(&certificate, "leaf.pem"), copy(&key, "leaf.key"));
        text += &format!(
            "tls_advertise_hosts = {to}\ntls_certificate = {}\ntls_privatekey = {}\n",
            certificate.display(),
            key.display()
        );
    };
    match tls {
        Tls::On(leaf) => offer("*", leaf),
        Tls::HiddenFromLoopback => offer("! 127.0.0.0/8 : *", Leaf::Good),
        Tls::Off => text += "tls_advertise_hosts =\n",
    }
    text + "begin acl\nbegin routers\nhole:\n  driver = redirect\n  data = :blackhole:\nbegin transports\nbegin retry\nbegin rewrite\nbegin authenticators\n"
}
