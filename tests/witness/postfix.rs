//! Postfix (Debian's, built by others): master and smtpd, in the foreground, in a folder of its own.

use std::path::Path;
use std::process::Command;

use super::Need;
use super::certificates::{Certificates, Leaf, chain_file};
use super::daemon::Daemon;
use super::folder::Folder;
use super::port::Port;

pub(crate) const NEEDS: [Need; 3] = [
    Need::Root,
    Need::File("/usr/lib/postfix/sbin/master"),
    Need::File("/usr/bin/openssl"),
];

/// How STARTTLS is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    On(Leaf),
    Off,
    /// Offered, but not to clients from 127.0.0.0/8 (`smtpd_discard_ehlo_keyword_address_maps`).
    HiddenFromLoopback,
    /// Offered, but the private key cannot be read: smtpd answers 454.
    KeyUnreadable,
}

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Smtpd,
    /// postscreen before smtpd, with a pregreet teaser and a wait of two seconds.
    Postscreen,
}

pub(crate) struct Postfix {
    port: Port,
    // Order matters: the daemon ends before its folder goes.
    _daemon: Daemon,
    _folder: Folder,
}

impl Postfix {
    pub(crate) fn start(tls: Tls, door: Door, certificates: &Certificates) -> Self {
        let folder = Folder::new("postfix");
        let port = Port::claim();
        let main = folder.write("etc/main.cf", &main_cf(&folder, tls, door, certificates));
        let master = folder.write("etc/master.cf", &master_cf(port.number(), door));
        // Postfix waits in steps of 0.3 s while main.cf is younger than two seconds.
        run(Command::new("touch")
            .args(["-d", "1 hour ago"])
            .arg(&main)
            .arg(&master));
        let etc = folder.folder("etc");
        let data = folder.folder("data");
        folder.folder("queue");
        run(Command::new("chown").arg("postfix").arg(&data));
        run(Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(&etc)
            .arg("check"));
        let log = folder.path().join("postfix.log");
        let etc = etc.to_str().expect("a UTF-8 path");
        let mut daemon = Daemon::start(
            Path::new("/usr/lib/postfix/sbin/master"),
            &["-c", etc, "-d"],
            &log,
        );
        daemon.wait_for(port.number(), door == Door::Smtpd, &log);
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

fn main_cf(folder: &Folder, tls: Tls, door: Door, certificates: &Certificates) -> String {
    let root = folder.path().display();
    let mut text = format!(
        "compatibility_level = 3.6\n\
         queue_directory = {root}/queue\ndata_directory = {root}/data\n\
         maillog_file = {root}/mail.log\nmaillog_file_prefixes = {root}\n\
         daemon_directory = /usr/lib/postfix/sbin\ncommand_directory = /usr/sbin\n\
         myhostname = localhost\nmydestination =\nmynetworks = 127.0.0.0/8\n\
         inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
         alias_maps =\nalias_database =\ndefault_transport = discard\n\
         smtpd_peername_lookup = no\nsmtpd_tls_session_cache_database =\n"
    );
    let leaf = match tls {
        Tls::On(leaf) => Some(leaf),
        Tls::HiddenFromLoopback | Tls::KeyUnreadable => Some(Leaf::Good),
        Tls::Off => None,
    };
    match leaf {
        Some(leaf) => {
            let chain = chain_file(folder, &certificates.leaf(leaf));
            text += &format!(
                "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {}\n",
                chain.display()
            );
        }
        None => text += "smtpd_tls_security_level = none\n",
    }
    if tls == Tls::KeyUnreadable {
        folder.write("chain.pem", "not a key\n");
    }
    if tls == Tls::HiddenFromLoopback {
        let map = folder.write("etc/hide.cidr", "127.0.0.0/8 starttls\n");
        text += &format!(
            "smtpd_discard_ehlo_keyword_address_maps = cidr:{}\n",
            map.display()
        );
    }
    if door == Door::Postscreen {
        // Empty access list: by default postscreen lets its own networks pass untested.
        text += "postscreen_access_list =\npostscreen_greet_wait = 2s\npostscreen_greet_action = enforce\n\
                 postscreen_greet_banner = localhost teaser\npostscreen_cache_map =\n";
    }
    text
}

fn master_cf(port: u16, door: Door) -> String {
    let listener = match door {
        Door::Smtpd => format!("127.0.0.1:{port} inet n - n - - smtpd\n"),
        Door::Postscreen => format!(
            "127.0.0.1:{port} inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n\
             tlsproxy unix - - n - 0 tlsproxy\ndnsblog unix - - n - 0 dnsblog\n"
        ),
    };
    listener
        + "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
           rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n\
           trace unix - - n - 0 bounce\nproxymap unix - - n - - proxymap\ndiscard unix - - n - - discard\n\
           anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n"
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
