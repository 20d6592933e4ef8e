//! Dovecot (Debian's): IMAP, POP3 and ManageSieve of one instance, in the foreground, in a folder of its own.

use std::path::Path;

use super::Need;
use super::certificates::{Certificates, Leaf};
use super::daemon::Daemon;
use super::folder::Folder;
use super::port::Port;

pub(crate) const NEEDS: [Need; 5] = [
    Need::Root,
    Need::File("/usr/sbin/dovecot"),
    Need::File("/usr/lib/dovecot/pop3-login"),
    Need::File("/usr/lib/dovecot/managesieve-login"),
    Need::File("/usr/bin/openssl"),
];

/// Dovecot takes a client for secure whose address equals the server's own, and then never says LOGINDISABLED. A client
/// that connects to this second loopback address comes from 127.0.0.1 and is treated like everybody else.
pub(crate) const REMOTE: &str = "127.0.0.3";

/// `ssl` and `disable_plaintext_auth`, as the configuration words them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// `ssl = yes`
    On(Leaf),
    /// `ssl = required`: no login without TLS, whatever else is set.
    Required,
    /// `ssl = no`
    Off,
}

pub(crate) struct Dovecot {
    imap: Port,
    imaps: Port,
    pop3: Port,
    sieve: Port,
    _daemon: Daemon,
    _folder: Folder,
}

impl Dovecot {
    /// `plaintext_logins` = `disable_plaintext_auth = no`: LOGIN, USER and PASS are taken before TLS.
    pub(crate) fn start(tls: Tls, plaintext_logins: bool, certificates: &Certificates) -> Self {
        let folder = Folder::new("dovecot");
        let ports = [Port::claim(), Port::claim(), Port::claim(), Port::claim()];
        let numbers = ports.each_ref().map(Port::number);
        let text = configuration(&folder, numbers, tls, plaintext_logins, certificates);
        let configuration = folder.write("dovecot.conf", &text);
        let log = folder.path().join("dovecot.log");
        let configuration = configuration.to_str().expect("a UTF-8 path");
        let mut daemon = Daemon::start(
            Path::new("/usr/sbin/dovecot"),
            &["-F", "-c", configuration],
            &log,
        );
        for port in [numbers[0], numbers[2], numbers[3]] {
            daemon.wait_for(port, true, &log);
        }
        let [imap, imaps, pop3, sieve] = ports;
        Self {
            imap,
            imaps,
            pop3,
            sieve,
            _daemon: daemon,
            _folder: folder,
        }
    }

    pub(crate) fn imap(&self) -> u16 {
        self.imap.number()
    }

    pub(crate) fn imaps(&self) -> u16 {
        self.imaps.number()
    }

    pub(crate) fn pop3(&self) -> u16 {
        self.pop3.number()
    }

    pub(crate) fn sieve(&self) -> u16 {
        self.sieve.number()
    }
}

fn configuration(
    folder: &Folder,
    ports: [u16; 4],
    tls: Tls,
    plaintext: bool,
    certificates: &Certificates,
) -> String {
    let root = folder.path().display();
    let [imap, imaps, pop3, sieve] = ports;
    let plaintext = if plaintext { "no" } else { "yes" };
    let tls_lines = match tls {
        Tls::Off => "ssl = no\n".to_owned(),
        Tls::Required => tls_lines("required", &certificates.leaf(Leaf::Good)),
        Tls::On(leaf) => tls_lines("yes", &certificates.leaf(leaf)),
    };
    let implicit = if tls == Tls::Off { 0 } else { imaps };
    format!(
        "instance_name = {root}\nbase_dir = {root}/run\nstate_dir = {root}/state\nlog_path = {root}/mail.log\n\
         protocols = imap pop3 sieve\nlisten = 127.0.0.1, {REMOTE}\nmail_location = maildir:{root}/mail\n\
         disable_plaintext_auth = {plaintext}\nauth_mechanisms = plain login\n{tls_lines}\
         passdb {{\n driver = static\n args = nopassword=no password=unused\n}}\n\
         userdb {{\n driver = static\n args = uid=65534 gid=65534 home={root}/home\n}}\n\
         service imap-login {{\n inet_listener imap {{\n port = {imap}\n }}\n inet_listener imaps {{\n port = {implicit}\n ssl = yes\n }}\n}}\n\
         service pop3-login {{\n inet_listener pop3 {{\n port = {pop3}\n }}\n inet_listener pop3s {{\n port = 0\n }}\n}}\n\
         service managesieve-login {{\n inet_listener sieve {{\n port = {sieve}\n }}\n}}\n"
    )
}

fn tls_lines(ssl: &str, (certificate, key): &(std::path::PathBuf, std::path::PathBuf)) -> String {
    format!(
        "ssl = {ssl}\nssl_cert = <{}\nssl_key = <{}\n",
        certificate.display(),
        key.display()
    )
}
